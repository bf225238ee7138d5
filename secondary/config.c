/* The secondary's keys. One scrape_config's are in config_scrape.c. */
#include "config.h"

#include "base/conf_object.h"
#include "config_discovery.h"
#include "config_scrape.h"
#include "config_windows.h"

#define WORKERS_MAX      64           /* more threads than that wait for the network, not for a core */
#define PRIMARY_URLS_MAX 16           /* a datacenter has one primary or a pair */
#define SPOOL_BYTES_MIN  (64LL << 20) /* a few segments */
#define SPOOL_BYTES_MAX  (16LL << 40)
#define SPOOL_AGE_MIN_MS 60000LL
#define SPOOL_AGE_MAX_MS (90 * 86400000LL)
#define JOBS_MAX         10000

static void check_tls(struct conf *conf, const struct conf_node *node, void *object)
{
    const struct http_tls *tls = object;
    if (!tls->cert_file != !tls->key_file && !conf_failed(conf_child(node, "cert_file")) &&
        !conf_failed(conf_child(node, "key_file")))
        conf_error(conf, node, "cert_file and key_file belong together");
}

static const struct conf_table primary_tls_table = {
    .title = "primary.tls",
    .struct_bytes = sizeof(struct http_tls),
    .check = check_tls,
    .options =
        (const struct conf_option[]){
            {.name = "ca_file",
             .type = CONF_FILE,
             .offset = offsetof(struct http_tls, ca_file),
             .help = "Certificates to trust (PEM) instead of the system's."},
            {.name = "cert_file",
             .type = CONF_FILE,
             .offset = offsetof(struct http_tls, cert_file),
             .help = "Certificate (PEM) to show to the primary."},
            {.name = "key_file",
             .type = CONF_FILE,
             .offset = offsetof(struct http_tls, key_file),
             .help = "Private key (PEM) of cert_file."},
            {0},
        },
};

#define FIELD(member) offsetof(struct secondary_config, member)
/* Sections are anonymous structs inside the whole: their tables count from the section's beginning. */
#define SECTION_FIELD(section, member)                                                                                 \
    (offsetof(struct secondary_config, section.member) - offsetof(struct secondary_config, section))
#define SECTION_BYTES(section) sizeof(((struct secondary_config *)0)->section)

static const struct conf_table primary_table = {
    .title = "primary",
    .struct_bytes = SECTION_BYTES(primary),
    .options =
        (const struct conf_option[]){
            {.name = "urls",
             .type = CONF_URLS,
             .offset = SECTION_FIELD(primary, urls),
             .required = true,
             .min = 1,
             .max = PRIMARY_URLS_MAX,
             .help = "Where batches go, in order of preference."},
            {.name = "bearer_token_file",
             .type = CONF_FILE,
             .offset = SECTION_FIELD(primary, bearer_token_file),
             .help = "File with the token that says who this secondary is."},
            {.name = "tls",
             .type = CONF_SECTION,
             .offset = SECTION_FIELD(primary, tls),
             .table = &primary_tls_table,
             .help = "Certificates for https URLs."},
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
             .fallback = "4GiB",
             .min = SPOOL_BYTES_MIN,
             .max = SPOOL_BYTES_MAX,
             .help =
                 "Disk for batches not yet delivered; past it the oldest go, and a gap is reported in their place."},
            {.name = "max_age",
             .type = CONF_DURATION,
             .offset = SECTION_FIELD(spool, age_max_ms),
             .fallback = "24h",
             .min = SPOOL_AGE_MIN_MS,
             .max = SPOOL_AGE_MAX_MS,
             .help = "How long batches not yet delivered are kept."},
            {0},
        },
};

static const struct conf_table global_table = {
    .title = "global",
    .struct_bytes = SECTION_BYTES(global),
    .options =
        (const struct conf_option[]){
            {.name = "scrape_interval",
             .type = CONF_DURATION,
             .offset = SECTION_FIELD(global, scrape_interval_ms),
             .fallback = "15s",
             .min = SCRAPE_INTERVAL_MIN_MS,
             .max = SCRAPE_INTERVAL_MAX_MS,
             .help = "How often targets are scraped where their job does not say."},
            {.name = "scrape_timeout",
             .type = CONF_DURATION,
             .offset = SECTION_FIELD(global, scrape_timeout_ms),
             .fallback = "10s",
             .min = SCRAPE_TIMEOUT_MIN_MS,
             .max = SCRAPE_INTERVAL_MAX_MS,
             .help = "When a scrape is given up where its job does not say; at most the interval."},
            {.name = "external_labels",
             .type = CONF_REFUSED,
             .help = "the datacenter label comes from `datacenter`, for others use relabel_configs with target_label"},
            {.name = "evaluation_interval",
             .type = CONF_REFUSED,
             .help = "rules belong to the global service: its rules database comes in a later version"},
            {.name = "query_log_file", .type = CONF_REFUSED, .help = "a secondary answers no queries"},
            {0},
        },
};

/* ---- checks over several keys -------------------------------------------------------------------------------------
 */

/* Prometheus: a timeout that nobody wrote never exceeds the interval; one that was written must not. */
static void settle_timeout(struct conf *conf, const struct conf_node *section, int64_t interval_ms, int64_t *timeout_ms)
{
    const struct conf_node *node = conf_child(section, "scrape_timeout");
    if (*timeout_ms <= interval_ms)
        return;
    if (conf_text(node) && !conf_failed(node) && !conf_failed(conf_child(section, "scrape_interval")))
        conf_error(conf, node, "scrape_timeout: \"%s\" is longer than the scrape_interval of %lld ms", conf_text(node),
                   (long long)interval_ms);
    *timeout_ms = interval_ms;
}

static void settle_job(struct conf *conf, const struct secondary_config *config, const struct conf_node *node,
                       struct scrape_config *job)
{
    if (job->scrape_interval_ms == 0)
        job->scrape_interval_ms = config->global.scrape_interval_ms;
    if (job->scrape_timeout_ms == 0)
        job->scrape_timeout_ms = MIN(config->global.scrape_timeout_ms, job->scrape_interval_ms);
    settle_timeout(conf, node, job->scrape_interval_ms, &job->scrape_timeout_ms);
}

static void check_interval(struct conf *conf, const struct conf_node *node, int64_t interval_ms, int64_t resolution_ms)
{
    if (conf_text(node) && interval_ms > resolution_ms)
        conf_error(
            conf, node,
            "scrape_interval: \"%s\" is longer than a window (windows.resolution is %lld ms): windows would stay "
            "empty",
            conf_text(node), (long long)resolution_ms);
}

/* An interval longer than a window is told where it was written: at the job, else at global, else at the resolution
 * that is shorter than the default. */
static void check_resolution(struct conf *conf, const struct conf_node *root, const struct secondary_config *config)
{
    const struct conf_node *resolution = conf_child(conf_child(root, "windows"), "resolution");
    const struct conf_node *interval = conf_child(conf_child(root, "global"), "scrape_interval");
    const struct conf_node *jobs = conf_child(root, "scrape_configs");
    const struct scrape_config *configs = config->scrape_configs.items;
    if (conf_failed(resolution))
        return;
    check_interval(conf, interval, config->global.scrape_interval_ms, config->windows.resolution_ms);
    bool inherited = false;
    for (size_t i = 0; i < config->scrape_configs.count; i++) {
        const struct conf_node *own = conf_child(conf_child_at(jobs, i), "scrape_interval");
        check_interval(conf, own, configs[i].scrape_interval_ms, config->windows.resolution_ms);
        inherited = inherited || !conf_text(own);
    }
    if (inherited && !conf_text(interval) && config->global.scrape_interval_ms > config->windows.resolution_ms)
        conf_error(conf, resolution,
                   "resolution: \"%s\" is shorter than the scrape_interval of %lld ms, the default: set "
                   "global.scrape_interval",
                   conf_text(resolution), (long long)config->global.scrape_interval_ms);
}

static void check_secondary(struct conf *conf, const struct conf_node *root, void *object)
{
    struct secondary_config *config = object;
    const struct conf_node *jobs = conf_child(root, "scrape_configs");
    struct scrape_config *configs = config->scrape_configs.items;
    settle_timeout(conf, conf_child(root, "global"), config->global.scrape_interval_ms,
                   &config->global.scrape_timeout_ms);
    for (size_t i = 0; i < config->scrape_configs.count; i++)
        settle_job(conf, config, conf_child_at(jobs, i), &configs[i]);
    check_resolution(conf, root, config);
    scrape_config_check_names(conf, jobs, configs, config->scrape_configs.count);
}

const struct conf_table secondary_config_table = {
    .title = "the secondary's configuration",
    .struct_bytes = sizeof(struct secondary_config),
    .check = check_secondary,
    .options =
        (const struct conf_option[]){
            {.name = "datacenter",
             .type = CONF_NAME,
             .offset = FIELD(datacenter),
             .required = true,
             .help = "Name of this datacenter: the `datacenter` label of every series."},
            {.name = "secondary",
             .type = CONF_NAME,
             .offset = FIELD(secondary),
             .required = true,
             .help = "Name of this secondary, unique in its datacenter; a label of aggregates only."},
            {.name = "listen",
             .type = CONF_ADDRESS,
             .offset = FIELD(listen),
             .fallback = "127.0.0.1:9410",
             .help = "Address of its own HTTP server: /metrics, /-/healthy, /-/ready, /-/reload, /api/v1/status."},
            {.name = "data_dir",
             .type = CONF_PATH,
             .offset = FIELD(data_dir),
             .required = true,
             .help = "Directory of the spool and of the identity; made if absent; one process each."},
            {.name = "plugin_dir",
             .type = CONF_CUSTOM,
             .offset = FIELD(plugin_dir),
             .custom = discovery_config_fill_dir,
             .names = (const char *const[]){"path", NULL},
             .help = "Directory of discovery plugins, NAME.so each; default lib/tributary/discovery beside the "
                     "program's bin."},
            {.name = "workers",
             .type = CONF_INT,
             .offset = FIELD(workers),
             .fallback = "0",
             .min = 0,
             .max = WORKERS_MAX,
             .help = "Scraping threads; 0 = one per core."},
            {.name = "primary",
             .type = CONF_SECTION,
             .offset = FIELD(primary),
             .required = true,
             .table = &primary_table,
             .help = "The primary of this datacenter."},
            {.name = "spool",
             .type = CONF_SECTION,
             .offset = FIELD(spool),
             .table = &spool_table,
             .help = "Bounds of what waits on disk for the primary."},
            {.name = "windows",
             .type = CONF_SECTION,
             .offset = FIELD(windows),
             .table = &windows_table,
             .help = "How samples become records."},
            {.name = "global",
             .type = CONF_SECTION,
             .offset = FIELD(global),
             .table = &global_table,
             .help = "Defaults for scrape_configs, as in prometheus.yml."},
            {.name = "scrape_configs",
             .type = CONF_LIST,
             .offset = FIELD(scrape_configs),
             .max = JOBS_MAX,
             .table = &scrape_config_table,
             .help = "What is scraped, as in prometheus.yml."},
            {.name = "rule_files",
             .type = CONF_REFUSED,
             .help = "rules belong to the global service, which sees all datacenters: its rules database comes in a "
                     "later version"},
            {.name = "alerting",
             .type = CONF_REFUSED,
             .help = "alerts belong to the global service: they come with its rules in a later version"},
            {.name = "remote_write",
             .type = CONF_REFUSED,
             .help = "a secondary sends to its primary: primary.urls says where"},
            {.name = "remote_read",
             .type = CONF_REFUSED,
             .help = "a secondary answers no queries; the global service has all the data"},
            {.name = "storage",
             .type = CONF_REFUSED,
             .help = "a secondary keeps only its spool: spool.max_bytes, spool.max_age"},
            {.name = "tracing",
             .type = CONF_REFUSED,
             .help = "there are no traces; /metrics tells what the daemon does"},
            {.name = "scrape_config_files",
             .type = CONF_REFUSED,
             .help = "one file per daemon; targets of many files come by file_sd_configs"},
            {.name = "otlp", .type = CONF_REFUSED, .help = "a secondary takes no OTLP"},
            {.name = "runtime", .type = CONF_REFUSED, .help = "settings of Go's runtime, which is not here"},
            {0},
        },
};

int secondary_config_load(struct file_system *fs, const char *path, struct plugins *plugins,
                          struct secondary_config **ret_config, char **ret_errors)
{
    void *object = NULL;
    const struct conf_object_source source = {.fs = fs, .path = path, .context = plugins};
    int r = conf_object_load(&source, &secondary_config_table, &object, ret_errors);
    if (r < 0)
        return r;
    *ret_config = object;
    (*ret_config)->plugins = plugins;
    return 0;
}

struct secondary_config *secondary_config_ref(struct secondary_config *config)
{
    return conf_object_ref(config);
}

void secondary_config_unref(struct secondary_config *config)
{
    conf_object_unref(config);
}
