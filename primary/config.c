#include "config.h"

#include "base/conf_object.h"

#define SPOOL_BYTES_MIN  (64LL << 20) /* a few segments */
#define SPOOL_BYTES_MAX  (64LL << 40)
#define SPOOL_AGE_MIN_MS 60000LL
#define SPOOL_AGE_MAX_MS (90 * 86400000LL)
#define SOURCES_MAX      1000
#define GLOBALS_MAX      16 /* each costs a position and a sender of its own */

/* ---- checks over several keys -------------------------------------------------------------------------------------
 */

static bool any_failed(const struct conf_node *node)
{
    for (size_t i = 0; i < conf_child_count(node); i++)
        if (conf_failed(conf_child_at(node, i)))
            return true;
    return false;
}

static void check_client_tls(struct conf *conf, const struct conf_node *node, void *object)
{
    const struct http_tls *tls = object;
    if (!tls->cert_file != !tls->key_file && !any_failed(node))
        conf_error(conf, node, "cert_file and key_file belong together");
}

#define FIELD(member) offsetof(struct primary_config, member)
#define SECTION_FIELD(section, member)                                                                                 \
    (offsetof(struct primary_config, section.member) - offsetof(struct primary_config, section))
#define SECTION_BYTES(section) sizeof(((struct primary_config *)0)->section)

static void check_tls(struct conf *conf, const struct conf_node *node, void *object)
{
    const struct primary_config_tls *tls = object;
    if (any_failed(node))
        return;
    if (!tls->cert_file != !tls->key_file)
        conf_error(conf, node, "cert_file and key_file belong together");
    else if (tls->client_ca_file && !tls->cert_file)
        conf_error(conf, conf_child(node, "client_ca_file"), "client_ca_file: needs cert_file and key_file");
}

static void check_sources(struct conf *conf, const struct conf_node *root, const struct primary_config *config)
{
    const struct conf_node *nodes = conf_child(root, "sources");
    const struct primary_config_source *sources = config->sources.items;
    bool certificates = conf_child(conf_child(root, "tls"), "client_ca_file") != NULL;
    for (size_t i = 0; i < config->sources.count; i++) {
        const struct conf_node *node = conf_child_at(nodes, i);
        for (size_t j = 0; sources[i].secondary && j < i; j++)
            if (sources[j].secondary && strcmp(sources[i].secondary, sources[j].secondary) == 0)
                conf_error(conf, conf_child(node, "secondary"), "secondary: \"%s\" is named twice",
                           sources[i].secondary);
        if (!certificates && !sources[i].bearer_token_file && !any_failed(node))
            conf_error(conf, node, "nothing proves who this source is: give bearer_token_file or tls.client_ca_file");
    }
}

static void check_primary(struct conf *conf, const struct conf_node *root, void *object)
{
    const struct primary_config *config = object;
    const struct conf_node *nodes = conf_child(root, "globals");
    const struct primary_config_global *globals = config->globals.items;
    check_sources(conf, root, config);
    for (size_t i = 0; i < config->globals.count; i++)
        for (size_t j = 0; globals[i].name && j < i; j++)
            if (globals[j].name && strcmp(globals[i].name, globals[j].name) == 0)
                conf_error(conf, conf_child(conf_child_at(nodes, i), "name"),
                           "name: \"%s\" is the name of another global", globals[i].name);
}

/* ---- tables -------------------------------------------------------------------------------------------------------
 */

static const struct conf_table tls_table = {
    .title = "tls",
    .struct_bytes = SECTION_BYTES(tls),
    .check = check_tls,
    .options =
        (const struct conf_option[]){
            {.name = "cert_file",
             .type = CONF_FILE,
             .offset = SECTION_FIELD(tls, cert_file),
             .help = "Certificate (PEM); with it the server speaks https only."},
            {.name = "key_file",
             .type = CONF_FILE,
             .offset = SECTION_FIELD(tls, key_file),
             .help = "Private key (PEM) of cert_file."},
            {.name = "client_ca_file",
             .type = CONF_FILE,
             .offset = SECTION_FIELD(tls, client_ca_file),
             .help = "Authorities (PEM) of which clients must show a certificate; its common name is who they are."},
            {0},
        },
};

static const struct conf_table source_table = {
    .title = "source",
    .struct_bytes = sizeof(struct primary_config_source),
    .options =
        (const struct conf_option[]){
            {.name = "secondary",
             .type = CONF_NAME,
             .offset = offsetof(struct primary_config_source, secondary),
             .required = true,
             .help = "Name of the secondary, as in its configuration."},
            {.name = "bearer_token_file",
             .type = CONF_FILE,
             .offset = offsetof(struct primary_config_source, bearer_token_file),
             .help = "File with its token; without one its certificate must carry its name."},
            {0},
        },
};

static const struct conf_table global_tls_table = {
    .title = "globals.tls",
    .struct_bytes = sizeof(struct http_tls),
    .check = check_client_tls,
    .options =
        (const struct conf_option[]){
            {.name = "ca_file",
             .type = CONF_FILE,
             .offset = offsetof(struct http_tls, ca_file),
             .help = "Certificates to trust (PEM) instead of the system's."},
            {.name = "cert_file",
             .type = CONF_FILE,
             .offset = offsetof(struct http_tls, cert_file),
             .help = "Certificate (PEM) to show to the global service."},
            {.name = "key_file",
             .type = CONF_FILE,
             .offset = offsetof(struct http_tls, key_file),
             .help = "Private key (PEM) of cert_file."},
            {0},
        },
};

static const struct conf_table global_table = {
    .title = "globals",
    .struct_bytes = sizeof(struct primary_config_global),
    .options =
        (const struct conf_option[]){
            {.name = "name",
             .type = CONF_NAME,
             .offset = offsetof(struct primary_config_global, name),
             .required = true,
             .help = "Name of the global service; the position kept on disk is by this name."},
            {.name = "url",
             .type = CONF_URL,
             .offset = offsetof(struct primary_config_global, url),
             .required = true,
             .help = "Where it listens."},
            {.name = "tls",
             .type = CONF_SECTION,
             .offset = offsetof(struct primary_config_global, tls),
             .table = &global_tls_table,
             .help = "Certificates for an https URL."},
            {.name = "bearer_token_file",
             .type = CONF_FILE,
             .offset = offsetof(struct primary_config_global, bearer_token_file),
             .help = "File with the token that says who this primary is."},
            {0},
        },
};

static const struct conf_table spool_table = {
    .title = "spool",
    .struct_bytes = SECTION_BYTES(spool),
    .options =
        (const struct conf_option[]){
            {.name = "max_bytes",
             .type = CONF_BYTES,
             .offset = SECTION_FIELD(spool, bytes_max),
             .fallback = "64GiB",
             .min = SPOOL_BYTES_MIN,
             .max = SPOOL_BYTES_MAX,
             .help =
                 "Disk for batches that not every global has; past it the oldest go, and a gap is reported in their "
                 "place."},
            {.name = "max_age",
             .type = CONF_DURATION,
             .offset = SECTION_FIELD(spool, age_max_ms),
             .fallback = "72h",
             .min = SPOOL_AGE_MIN_MS,
             .max = SPOOL_AGE_MAX_MS,
             .help = "How long such batches are kept."},
            {0},
        },
};

const struct conf_table primary_config_table = {
    .title = "the primary's configuration",
    .struct_bytes = sizeof(struct primary_config),
    .check = check_primary,
    .options =
        (const struct conf_option[]){
            {.name = "datacenter",
             .type = CONF_NAME,
             .offset = FIELD(datacenter),
             .required = true,
             .help = "Name of this datacenter; batches of another are refused."},
            {.name = "listen",
             .type = CONF_ADDRESS,
             .offset = FIELD(listen),
             .fallback = "127.0.0.1:9411",
             .help = "Address for batches, /metrics, /-/healthy, /-/ready, /-/reload and /api/v1/status."},
            {.name = "data_dir",
             .type = CONF_PATH,
             .offset = FIELD(data_dir),
             .required = true,
             .help = "Directory of the spool and of what was seen; made if absent; one process each."},
            {.name = "tls",
             .type = CONF_SECTION,
             .offset = FIELD(tls),
             .table = &tls_table,
             .help = "Certificates of its own server."},
            {.name = "sources",
             .type = CONF_LIST,
             .offset = FIELD(sources),
             .max = SOURCES_MAX,
             .table = &source_table,
             .help = "Secondaries that may write; empty = any that can connect."},
            {.name = "globals",
             .type = CONF_LIST,
             .offset = FIELD(globals),
             .required = true,
             .min = 1,
             .max = GLOBALS_MAX,
             .table = &global_table,
             .help = "Where batches go: to each of them."},
            {.name = "spool",
             .type = CONF_SECTION,
             .offset = FIELD(spool),
             .table = &spool_table,
             .help = "Bounds of what waits on disk for the globals."},
            {0},
        },
};

int primary_config_load(struct file_system *fs, const char *path, struct primary_config **ret_config, char **ret_errors)
{
    void *object = NULL;
    int r = conf_object_load(&(struct conf_object_source){fs, path, NULL}, &primary_config_table, &object, ret_errors);
    if (r < 0)
        return r;
    *ret_config = object;
    return 0;
}

void primary_config_free(struct primary_config *config)
{
    conf_object_unref(config);
}
