#include "net/kubeconfig.h"

#include "base/conf.h"
#include "base/fail.h"

#include <errno.h>
#include <stdio.h>

/* What the file says of its current context, as it stands there; in the arena of the reading. */
struct chosen {
    const char *name_space;
    const char *server, *ca_file, *ca_data, *tls_server_name, *insecure;
    const char *cert_file, *cert_data, *key_file, *key_data, *token, *token_file, *username, *password;
};

struct key {
    const char *name;
    size_t offset;       /* of a const char * in struct chosen */
    bool is_path;        /* relative to the file's directory */
    const char *refused; /* the reason, where it cannot be used */
};

#define FIELD(member) offsetof(struct chosen, member)
static const struct key context_keys[] = {
    {.name = "namespace", .offset = FIELD(name_space)},
};
static const struct key cluster_keys[] = {
    {.name = "server", .offset = FIELD(server)},
    {.name = "certificate-authority", .offset = FIELD(ca_file), .is_path = true},
    {.name = "certificate-authority-data", .offset = FIELD(ca_data)},
    {.name = "tls-server-name", .offset = FIELD(tls_server_name)},
    {.name = "insecure-skip-tls-verify", .offset = FIELD(insecure)},
    {.name = "proxy-url", .refused = "there are no proxies: run this where the server can be reached"},
};
#define NO_IMPERSONATION "nobody is impersonated here: use a service account that has the rights itself"
static const struct key user_keys[] = {
    {.name = "client-certificate", .offset = FIELD(cert_file), .is_path = true},
    {.name = "client-certificate-data", .offset = FIELD(cert_data)},
    {.name = "client-key", .offset = FIELD(key_file), .is_path = true},
    {.name = "client-key-data", .offset = FIELD(key_data)},
    {.name = "token", .offset = FIELD(token)},
    {.name = "tokenFile", .offset = FIELD(token_file), .is_path = true},
    {.name = "username", .offset = FIELD(username)},
    {.name = "password", .offset = FIELD(password)},
    {.name = "exec",
     .refused = "no programs are run for credentials: use tokenFile with a service account's token, or certificates"},
    {.name = "auth-provider",
     .refused = "Kubernetes gave these up in 1.26: use tokenFile with a service account's token, or certificates"},
    {.name = "as", .refused = NO_IMPERSONATION},
    {.name = "as-uid", .refused = NO_IMPERSONATION},
    {.name = "as-groups", .refused = NO_IMPERSONATION},
    {.name = "as-user-extra", .refused = NO_IMPERSONATION},
};

static void take(struct conf *conf, const struct conf_node *node, const struct key *key, struct chosen *chosen)
{
    const struct conf_node *child = conf_child(node, key->name);
    const char **field = (const char **)((char *)chosen + key->offset);
    const char *text = conf_text(child);
    if (!child || (text && !*text))
        return;
    if (key->refused)
        conf_error(conf, child, "%s: %s", key->name, key->refused);
    else if (!text)
        conf_error(conf, child, "%s: a text is wanted", key->name);
    else
        *field = key->is_path ? conf_path(conf, text) : arena_str(conf_arena(conf), str_from(text)).ptr;
}

/* The item of this name in the list of clusters, users or contexts: what it holds under `kind`. NULL: reported. */
static const struct conf_node *find(struct conf *conf, const struct conf_node *root, const char *kind,
                                    const struct conf_node *name)
{
    CLEANUP_FREE char *list_name = mem_printf("%ss", kind);
    const struct conf_node *list = conf_child(root, list_name);
    const char *wanted = conf_text(name);
    for (size_t i = 0; i < conf_child_count(list); i++) {
        const struct conf_node *item = conf_child_at(list, i);
        const char *own = conf_text(conf_child(item, "name"));
        if (own && strcmp(own, wanted) == 0)
            return conf_child(item, kind) ? conf_child(item, kind) : item;
    }
    conf_error(conf, name, "%s has none that is called so", list_name);
    return NULL;
}

static void take_named(struct conf *conf, const struct conf_node *root, const struct conf_node *context,
                       const char *kind, struct chosen *chosen)
{
    const struct conf_node *name = conf_child(context, kind);
    bool is_cluster = strcmp(kind, "cluster") == 0;
    const struct key *keys = is_cluster ? cluster_keys : user_keys;
    size_t count = is_cluster ? ARRAY_LEN(cluster_keys) : ARRAY_LEN(user_keys);
    if (!conf_text(name) || !*conf_text(name)) {
        if (is_cluster)
            conf_error(conf, context, "the context names no cluster");
        return; /* without a user nobody is authenticated, which a proxy may not want */
    }
    const struct conf_node *node = find(conf, root, kind, name);
    for (size_t i = 0; node && i < count; i++)
        take(conf, node, &keys[i], chosen);
}

static void check_whole(struct conf *conf, const struct conf_node *root, void *object)
{
    struct chosen *chosen = object;
    const struct conf_node *current = conf_child(root, "current-context");
    if (!conf_text(current) || !*conf_text(current)) {
        conf_error(conf, current, "current-context is not set");
        return;
    }
    const struct conf_node *context = find(conf, root, "context", current);
    if (!context)
        return;
    for (size_t i = 0; i < ARRAY_LEN(context_keys); i++)
        take(conf, context, &context_keys[i], chosen);
    take_named(conf, root, context, "cluster", chosen);
    take_named(conf, root, context, "user", chosen);
}

/* Each key is read from the whole's nodes, in check_whole. */
static void read_later(struct conf *conf, const struct conf_node *node, void *field)
{
    (void)conf;
    (void)node;
    (void)field;
}

#define KEY(text)                                                                                                      \
    {                                                                                                                  \
        .name = text, .type = CONF_CUSTOM, .custom = read_later                                                        \
    }
static const struct conf_table kubeconfig_table = {
    .title = "kubeconfig",
    .struct_bytes = sizeof(struct chosen),
    .check = check_whole,
    .options = (const struct conf_option[]){KEY("apiVersion"),
                                            KEY("kind"),
                                            KEY("preferences"),
                                            KEY("extensions"),
                                            KEY("clusters"),
                                            KEY("users"),
                                            KEY("contexts"),
                                            KEY("current-context"),
                                            {0}},
};

static void hand_over(struct kubeconfig *config, struct kubeconfig *ret_config)
{
    *ret_config = *config;
    *config = (struct kubeconfig){0};
}

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    mem_free(text);
}

static void wipe_buf(struct buf *buf)
{
    if (buf->data)
        explicit_bzero(buf->data, buf->capacity);
    buf_done(buf);
}

static int base64_value(char letter)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = letter ? strchr(letters, letter) : NULL;
    return at ? (int)(at - letters) : -1;
}

/* Padded, spaces and line breaks passed over, as YAML folds long texts. */
static int base64_decode(const char *text, struct buf *out)
{
    uint32_t bits = 0;
    unsigned letters = 0, padding = 0;
    for (; *text; text++) {
        if (strchr(" \r\n\t", *text))
            continue;
        int value = *text == '=' ? 0 : base64_value(*text);
        padding += *text == '=';
        if (value < 0 || (padding > 0 && *text != '='))
            return -EINVAL;
        bits = bits << 6 | (uint32_t)value;
        if (++letters % 4 != 0)
            continue;
        if (padding > 2)
            return -EINVAL;
        const uint8_t bytes[3] = {(uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits};
        int r = buf_append(out, bytes, 3 - padding);
        if (r < 0)
            return r;
    }
    return letters % 4 == 0 ? 0 : -EINVAL;
}

struct pem_source {
    const char *what; /* for messages */
    const char *data, *path;
};

/* PEM from base64 or from a file, the former first as in Kubernetes' own clients. */
static int read_pem(struct file_system *fs, const struct pem_source *source, char ret_error[static 256], char **ret_pem)
{
    CLEANUP(wipe_buf) struct buf pem = BUF_INIT(KUBECONFIG_SECRET_BYTES_MAX);
    if (!source->data && !source->path)
        return 0;
    int r = source->data ? base64_decode(source->data, &pem) : file_read_whole(fs, source->path, &pem);
    if (r < 0 && source->data)
        return error_text(-EINVAL, ret_error, "%s-data is no base64 of at most %zu bytes", source->what, pem.bytes_max);
    if (r < 0)
        return error_text(r, ret_error, "%s: %s: %s", source->what, source->path, strerror(-r));
    struct str text = buf_view(&pem);
    if (text.len == 0 || !memmem(text.ptr, text.len, "-----BEGIN ", 11) || str_find(text, '\0') != text.len)
        return error_text(-EINVAL, ret_error, "%s holds no PEM", source->what);
    *ret_pem = mem_strndup(text.ptr, text.len);
    return 0;
}

static char *copy(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

/* The URL that paths are put behind. -EINVAL: it is none. */
static int read_server(const char *server, char ret_error[static 256], char **ret_server)
{
    struct str text = str_from(server);
    struct str rest = str_starts_with(text, STR("https://"))  ? str_of(server + 8, text.len - 8)
                      : str_starts_with(text, STR("http://")) ? str_of(server + 7, text.len - 7)
                                                              : STR_NULL;
    if (!rest.ptr || rest.len == 0 || rest.ptr[0] == '/' || strpbrk(server, " \t\r\n?#@"))
        return error_text(-EINVAL, ret_error,
                          "server is no https:// or http:// URL of a host, maybe a port and a path, alone");
    while (text.len > 0 && text.ptr[text.len - 1] == '/')
        text.len--;
    *ret_server = mem_strndup(text.ptr, text.len);
    return 0;
}

static int check_chosen(const struct chosen *chosen, char ret_error[static 256])
{
    bool insecure = chosen->insecure && strcmp(chosen->insecure, "true") == 0;
    bool has_cert = chosen->cert_file || chosen->cert_data, has_key = chosen->key_file || chosen->key_data;
    if (!chosen->server)
        return error_text(-EINVAL, ret_error, "the cluster has no server");
    if (chosen->insecure && !insecure && strcmp(chosen->insecure, "false") != 0)
        return error_text(-EINVAL, ret_error, "insecure-skip-tls-verify is neither true nor false");
    if (insecure && (chosen->ca_file || chosen->ca_data))
        return error_text(-EINVAL, ret_error,
                          "insecure-skip-tls-verify and a certificate-authority exclude each other");
    if (has_cert != has_key)
        return error_text(-EINVAL, ret_error, "client-certificate and client-key belong together");
    if (!chosen->username != !chosen->password)
        return error_text(-EINVAL, ret_error, "username and password belong together");
    if (chosen->username && (chosen->token || chosen->token_file))
        return error_text(-EINVAL, ret_error, "a token and a password exclude each other");
    return 0;
}

static int fill(struct file_system *fs, const struct chosen *chosen, char ret_error[static 256],
                struct kubeconfig *config)
{
    const struct pem_source ca = {"certificate-authority", chosen->ca_data, chosen->ca_file};
    const struct pem_source cert = {"client-certificate", chosen->cert_data, chosen->cert_file};
    const struct pem_source key = {"client-key", chosen->key_data, chosen->key_file};
    int r = check_chosen(chosen, ret_error);
    r = r < 0 ? r : read_server(chosen->server, ret_error, &config->server);
    r = r < 0 ? r : read_pem(fs, &ca, ret_error, &config->ca_pem);
    r = r < 0 ? r : read_pem(fs, &cert, ret_error, &config->cert_pem);
    r = r < 0 ? r : read_pem(fs, &key, ret_error, &config->key_pem);
    if (r < 0)
        return r;
    config->insecure_skip_verify = chosen->insecure && strcmp(chosen->insecure, "true") == 0;
    config->tls_server_name = copy(chosen->tls_server_name);
    config->token = copy(chosen->token);
    config->token_file = copy(chosen->token_file);
    config->username = copy(chosen->username);
    config->password = copy(chosen->password);
    config->name_space = copy(chosen->name_space);
    return 0;
}

static void wipe_chosen(struct chosen *chosen)
{
    for (size_t i = 0; i < ARRAY_LEN(user_keys); i++) {
        /* The arena of the reading is ours and goes with it: its texts may be written over. */
        char *text = user_keys[i].refused ? NULL : *(char **)((char *)chosen + user_keys[i].offset);
        if (text)
            explicit_bzero(text, strlen(text));
    }
}

int kubeconfig_load(struct file_system *fs, const char *path, char ret_error[static 256], struct kubeconfig *ret_config)
{
    CLEANUP(wipe_buf) struct buf text = BUF_INIT(KUBECONFIG_FILE_BYTES_MAX);
    CLEANUP(arena_done) struct arena arena;
    CLEANUP(conf_freep) struct conf *conf = NULL;
    struct chosen chosen;
    arena_init(&arena, 0);
    int r = file_read_whole(fs, path, &text);
    if (r < 0)
        return error_text(r, ret_error, "%s: %s", path, r == -EFBIG ? "more than a MiB" : strerror(-r));
    const char *slash = strrchr(path, '/');
    const char *directory = slash ? arena_str(&arena, str_of(path, MAX((size_t)(slash - path), 1))).ptr : NULL;
    const struct conf_source source = {.fs = fs, .text = buf_view(&text), .name = path, .base_dir = directory};
    r = conf_load_text(&source, &kubeconfig_table, &chosen, &arena, &conf);
    if (r < 0) {
        const char *errors = conf_errors(conf);
        return error_text(r, ret_error, "%.*s", (int)strcspn(errors, "\n"), errors);
    }
    char reason[256];
    CLEANUP(kubeconfig_done) struct kubeconfig config = {0};
    r = fill(fs, &chosen, reason, &config);
    wipe_chosen(&chosen);
    if (r < 0)
        return error_text(r, ret_error, "%s: %s", path, reason);
    hand_over(&config, ret_config);
    return 0;
}

int kubeconfig_in_cluster(struct file_system *fs, const char *directory, kubeconfig_getenv_fn *environment,
                          char ret_error[static 256], struct kubeconfig *ret_config)
{
    const char *host = environment("KUBERNETES_SERVICE_HOST"), *port = environment("KUBERNETES_SERVICE_PORT");
    if (!host || !*host || !port || !*port)
        return error_text(
            -ENOENT, ret_error,
            "not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; elsewhere "
            "give api_server or kubeconfig_file");
    CLEANUP(kubeconfig_done) struct kubeconfig config = {0};
    CLEANUP_FREE char *ca = mem_printf("%s/ca.crt", directory);
    CLEANUP_FREE char *name_space_path = mem_printf("%s/namespace", directory);
    CLEANUP_FREE char *server =
        mem_printf(strchr(host, ':') && host[0] != '[' ? "https://[%s]:%s" : "https://%s:%s", host, port);
    CLEANUP(buf_done) struct buf name_space = BUF_INIT(KIB);
    config.token_file = mem_printf("%s/token", directory);
    int r = file_exists(fs, config.token_file);
    if (r <= 0)
        return error_text(r ? r : -ENOENT, ret_error, "%s: %s", config.token_file, strerror(r ? -r : ENOENT));
    r = read_server(server, ret_error, &config.server);
    r = r < 0 ? r : read_pem(fs, &(struct pem_source){.what = "ca.crt", .path = ca}, ret_error, &config.ca_pem);
    if (r < 0)
        return r;
    if (file_read_whole(fs, name_space_path, &name_space) == 0 && name_space.len > 0) {
        struct str text = buf_view(&name_space);
        config.name_space = mem_strndup(text.ptr, str_find(text, '\n'));
    }
    hand_over(&config, ret_config);
    return 0;
}

void kubeconfig_done(struct kubeconfig *config)
{
    if (!config)
        return;
    mem_free(config->server);
    mem_free(config->tls_server_name);
    mem_free(config->ca_pem);
    mem_free(config->cert_pem);
    wipe(config->key_pem);
    wipe(config->token);
    mem_free(config->token_file);
    mem_free(config->username);
    wipe(config->password);
    mem_free(config->name_space);
    *config = (struct kubeconfig){0};
}
