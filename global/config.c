#include "config.h"

#include "base/conf_object.h"
#include "base/fail.h"
#include "store/compact.h"
#include "store/retention.h"
#include "write/write.h"

#include <stdio.h>
#include <string.h>

#define SOURCES_MAX           1000
#define SENDERS_MAX           WRITE_SENDERS_MAX
#define HEAD_AGE_MIN_MS       3600000LL
#define HEAD_AGE_MAX_MS       (30 * 86400000LL)
#define QUERY_SAMPLES_MIN     1000
#define QUERY_SAMPLES_MAX     100000000000LL
#define QUERY_TIMEOUT_MIN_MS  1000LL
#define QUERY_TIMEOUT_MAX_MS  3600000LL
#define QUERY_CONCURRENCY_MAX 255 /* and one thread more */
#define QUERY_THREADS_MAX     64
#define QUERY_WAITING_MAX     100000
#define QUERY_MEMORY_MIN      (16LL << 20)
#define QUERY_MEMORY_MAX      (1LL << 40)
#define LOOKBACK_MIN_MS       1000LL
#define LOOKBACK_MAX_MS       86400000LL

#define RETENTION_MIN_MS      3600000LL
#define RETENTION_MAX_MS      (100 * 366 * 86400000LL)
#define RETENTION_FALLBACK_MS (30 * 86400000LL)
#define CLASS_BYTES_MIN       (1LL << 20)
#define CLASS_BYTES_MAX       (1LL << 60)
#define CLOSE_AFTER_MIN_MS    60000LL
#define CLOSE_AFTER_MAX_MS    86400000LL
#define LEVEL_MAX_MS          (31 * 86400000LL)

#define FIELD(member)         offsetof(struct global_config, member)
#define SECTION_FIELD(section, member)                                                                                 \
    (offsetof(struct global_config, section.member) - offsetof(struct global_config, section))
#define SECTION_BYTES(section) sizeof(((struct global_config *)0)->section)

/* ---- checks over several keys -------------------------------------------------------------------------------------
 */

static bool any_failed(const struct conf_node *node)
{
    for (size_t i = 0; i < conf_child_count(node); i++)
        if (conf_failed(conf_child_at(node, i)))
            return true;
    return false;
}

static void check_tls(struct conf *conf, const struct conf_node *node, void *object)
{
    const struct global_config_tls *tls = object;
    if (any_failed(node))
        return;
    if (!tls->cert_file != !tls->key_file)
        conf_error(conf, node, "cert_file and key_file belong together");
    else if (tls->client_ca_file && !tls->cert_file)
        conf_error(conf, conf_child(node, "client_ca_file"), "client_ca_file: needs cert_file and key_file");
}

static void check_query(struct conf *conf, const struct conf_node *node, void *object)
{
    const struct global_config_query *query = object;
    if (!any_failed(node) && query->total_memory_bytes_max < query->memory_bytes_max)
        conf_error(conf, node, "max_total_memory: is less than max_memory, that of one query");
}

_Static_assert(GLOBAL_LEVELS_MAX == COMPACT_LEVELS_MAX, "lengths of blocks");

static int make_retention(const struct global_config *config, char ret_error[static 256],
                          struct retention **ret_retention)
{
    struct retention_class classes[RETENTION_CLASSES_MAX] = {
        {.name = RETENTION_DEFAULT, .keep_ms = RETENTION_FALLBACK_MS}};
    const struct global_config_class *items = config->retention.items;
    for (size_t i = 0; i < config->retention.count; i++) {
        bool all = strcmp(items[i].match, "all") == 0;
        classes[i] = (struct retention_class){
            .match = all ? NULL : items[i].match, .keep_ms = items[i].samples_ms, .bytes_max = items[i].bytes_max};
        snprintf(classes[i].name, sizeof(classes[i].name), "%s", items[i].name);
    }
    return retention_new(classes, MAX(config->retention.count, (size_t)1), config->blocks.bytes_max, ret_error,
                         ret_retention);
}

static void check_retention(struct conf *conf, const struct conf_node *node, const struct global_config *config)
{
    const struct global_config_class *items = config->retention.items;
    for (size_t i = 0; i < config->retention.count; i++)
        if (!items[i].name || !items[i].match || any_failed(conf_child_at(node, i)))
            return;
    char error[256];
    struct retention *retention = NULL;
    if (make_retention(config, error, &retention) < 0)
        conf_error(conf, node, "retention: %s", error);
    retention_unref(retention);
}

/* A list of durations, each a multiple of the one before: the lengths of blocks. */
static void fill_levels(struct conf *conf, const struct conf_node *node, void *field)
{
    int64_t *levels_ms = field;
    size_t *count = (size_t *)(levels_ms + GLOBAL_LEVELS_MAX);
    static const int64_t fallback_ms[] = {7200000, 28800000, 172800000};
    struct conf_strings texts = {0};
    conf_fill_strings(conf, "levels", node, &texts);
    if (texts.count > GLOBAL_LEVELS_MAX)
        conf_error(conf, node, "levels: at most %d", GLOBAL_LEVELS_MAX);
    for (size_t i = 0; i < texts.count && i < GLOBAL_LEVELS_MAX; i++) {
        int64_t level_ms = 0;
        bool fits = str_to_duration_ms(str_from(texts.items[i]), &level_ms) == 0 && level_ms > 0 &&
                    level_ms <= LEVEL_MAX_MS && level_ms % (i == 0 ? fallback_ms[0] : levels_ms[i - 1]) == 0;
        if (!fits || (i == 0 ? level_ms != fallback_ms[0] : level_ms == levels_ms[i - 1])) {
            conf_error(conf, conf_child_at(node, i),
                       "levels: \"%s\": the first is 2h, each other one a multiple of the one "
                       "before, the most 31d",
                       texts.items[i]);
            return;
        }
        levels_ms[i] = level_ms;
        *count = i + 1;
    }
    if (texts.count == 0) {
        memcpy(levels_ms, fallback_ms, sizeof(fallback_ms));
        *count = ARRAY_LEN(fallback_ms);
    }
}

static void print_levels(const void *field, struct buf *text)
{
    const int64_t *levels_ms = field;
    size_t count = *(const size_t *)(levels_ms + GLOBAL_LEVELS_MAX);
    for (size_t i = 0; i < count; i++) {
        char level[64];
        conf_format_duration(levels_ms[i], level);
        buf_printf(text, "%s%s", i > 0 ? ", " : "[", level);
    }
    buf_append_byte(text, ']');
}

/* Who is taken for whom must be said: a name twice, two who show nothing, or one of whom nothing is asked by mistake.
 */
static void check_senders(struct conf *conf, const struct conf_node *nodes, const struct global_config *config,
                          bool certificates)
{
    const struct global_config_sender *senders = config->remote_write.senders.items;
    bool anonymous = false;
    for (size_t i = 0; i < config->remote_write.senders.count; i++) {
        const struct conf_node *node = conf_child_at(nodes, i);
        const struct global_config_sender *sender = &senders[i];
        for (size_t j = 0; sender->name && j < i; j++)
            if (senders[j].name && strcmp(sender->name, senders[j].name) == 0)
                conf_error(conf, conf_child(node, "name"), "name: \"%s\" is named twice", sender->name);
        if (any_failed(node))
            continue;
        if (sender->anonymous && (sender->bearer_token_file || anonymous))
            conf_error(conf, conf_child(node, "anonymous"),
                       "anonymous: of one sender at most, and without bearer_token_file");
        else if (!sender->anonymous && !certificates && !sender->bearer_token_file)
            conf_error(conf, node,
                       "nothing proves who this sender is: give bearer_token_file or tls.client_ca_file, or say "
                       "anonymous: true");
        if (sender->datacenter && sender->honor_datacenter)
            conf_error(conf, conf_child(node, "honor_datacenter"),
                       "honor_datacenter: the series keep their own datacenter, so the sender has none");
        anonymous |= sender->anonymous;
    }
}

static void check_global(struct conf *conf, const struct conf_node *root, void *object)
{
    const struct global_config *config = object;
    const struct conf_node *nodes = conf_child(root, "sources");
    const struct global_config_source *sources = config->sources.items;
    bool certificates = conf_child(conf_child(root, "tls"), "client_ca_file") != NULL;
    check_retention(conf, conf_child(root, "retention"), config);
    check_senders(conf, conf_child(conf_child(root, "remote_write"), "senders"), config, certificates);
    for (size_t i = 0; i < config->sources.count; i++) {
        const struct conf_node *node = conf_child_at(nodes, i);
        for (size_t j = 0; sources[i].datacenter && j < i; j++)
            if (sources[j].datacenter && strcmp(sources[i].datacenter, sources[j].datacenter) == 0)
                conf_error(conf, conf_child(node, "datacenter"), "datacenter: \"%s\" is named twice",
                           sources[i].datacenter);
        if (!certificates && !sources[i].bearer_token_file && !any_failed(node))
            conf_error(conf, node, "nothing proves who this source is: give bearer_token_file or tls.client_ca_file");
    }
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
    .struct_bytes = sizeof(struct global_config_source),
    .options =
        (const struct conf_option[]){
            {.name = "datacenter",
             .type = CONF_NAME,
             .offset = offsetof(struct global_config_source, datacenter),
             .required = true,
             .help = "Name of the datacenter, as in its primary's configuration."},
            {.name = "bearer_token_file",
             .type = CONF_FILE,
             .offset = offsetof(struct global_config_source, bearer_token_file),
             .help = "File with the token of its primary; without one its certificate must carry its name."},
            {0},
        },
};

static const struct conf_table sender_table = {
    .title = "remote write sender",
    .struct_bytes = sizeof(struct global_config_sender),
    .options =
        (const struct conf_option[]){
            {.name = "name",
             .type = CONF_NAME,
             .offset = offsetof(struct global_config_sender, name),
             .required = true,
             .help = "Its name: in metrics, in the log, and as the common name of its certificate."},
            {.name = "datacenter",
             .type = CONF_NAME,
             .offset = offsetof(struct global_config_sender, datacenter),
             .help = "Label of all its series; one that they bring becomes exported_datacenter. Without it: `name` of "
                     "this global service."},
            {.name = "honor_datacenter",
             .type = CONF_BOOL,
             .offset = offsetof(struct global_config_sender, honor_datacenter),
             .fallback = "false",
             .help = "Its series keep the datacenter that they bring, and get none: for rules' results (vmalert) and "
                     "for a Prometheus of several datacenters. It may write in the name of any datacenter."},
            {.name = "bearer_token_file",
             .type = CONF_FILE,
             .offset = offsetof(struct global_config_sender, bearer_token_file),
             .help = "File with its token; without one its certificate must carry its name."},
            {.name = "anonymous",
             .type = CONF_BOOL,
             .offset = offsetof(struct global_config_sender, anonymous),
             .fallback = "false",
             .help = "Whoever can connect and shows no token is this sender. At most one sender."},
            {0},
        },
};

static const struct conf_table remote_write_table = {
    .title = "remote_write",
    .struct_bytes = SECTION_BYTES(remote_write),
    .options =
        (const struct conf_option[]){
            {.name = "senders",
             .type = CONF_LIST,
             .offset = SECTION_FIELD(remote_write, senders),
             .max = SENDERS_MAX,
             .table = &sender_table,
             .help = "Who may write; empty = remote write is off."},
            {0},
        },
};

static const struct conf_table head_table = {
    .title = "head",
    .struct_bytes = SECTION_BYTES(head),
    .options =
        (const struct conf_option[]){
            {.name = "max_age",
             .type = CONF_DURATION,
             .offset = SECTION_FIELD(head, age_max_ms),
             .fallback = "168h",
             .min = HEAD_AGE_MIN_MS,
             .max = HEAD_AGE_MAX_MS,
             .help =
                 "How old a record may be when it arrives; older ones are counted and left out. Late ones are merged "
                 "into the blocks of their time."},
            {.name = "close_after",
             .type = CONF_DURATION,
             .offset = SECTION_FIELD(head, close_after_ms),
             .fallback = "1h",
             .min = CLOSE_AFTER_MIN_MS,
             .max = CLOSE_AFTER_MAX_MS,
             .help =
                 "Two hours are written to a block when all sources that are alive have told what they had of them, "
                 "and at the latest so long after their end."},
            {0},
        },
};

static const struct conf_table class_table = {
    .title = "retention class",
    .struct_bytes = sizeof(struct global_config_class),
    .options =
        (const struct conf_option[]){
            {.name = "class",
             .type = CONF_NAME,
             .offset = offsetof(struct global_config_class, name),
             .required = true,
             .help = "Its name: in lists of blocks, metrics, and later as a label in the archive."},
            {.name = "match",
             .type = CONF_STRING,
             .offset = offsetof(struct global_config_class, match),
             .fallback = "all",
             .min = 1,
             .max = SELECTOR_BYTES_MAX,
             .help = "Which series: a selector, or `all`."},
            {.name = "samples",
             .type = CONF_DURATION,
             .offset = offsetof(struct global_config_class, samples_ms),
             .fallback = "30d",
             .min = RETENTION_MIN_MS,
             .max = RETENTION_MAX_MS,
             .help = "How long they are kept; whole blocks go when their newest sample is older."},
            {.name = "max_bytes",
             .type = CONF_BYTES,
             .offset = offsetof(struct global_config_class, bytes_max),
             .fallback = "0",
             .max = CLASS_BYTES_MAX,
             .help = "Most bytes of the class on disk; past it its oldest blocks go. 0: no bound of its own."},
            {.name = "5m", .type = CONF_REFUSED, .help = "comes with the downsampled tiers, not in this version"},
            {.name = "1h", .type = CONF_REFUSED, .help = "comes with the downsampled tiers, not in this version"},
            {.name = "local", .type = CONF_REFUSED, .help = "comes with the archive, not in this version"},
            {0},
        },
};

static const struct conf_table blocks_table = {
    .title = "blocks",
    .struct_bytes = SECTION_BYTES(blocks),
    .options =
        (const struct conf_option[]){
            {.name = "max_bytes",
             .type = CONF_BYTES,
             .offset = SECTION_FIELD(blocks, bytes_max),
             .fallback = "0",
             .max = CLASS_BYTES_MAX,
             .help = "Most bytes of all blocks; past it the oldest of the least important class go. 0: no bound."},
            {.name = "levels",
             .type = CONF_CUSTOM,
             .offset = SECTION_FIELD(blocks, levels_ms),
             .custom = fill_levels,
             .print = print_levels,
             .names = (const char *const[]){"list of durations", NULL},
             .fallback = "[2h, 8h, 48h]",
             .help = "Lengths of blocks: they are cut at the first and merged to the next ones."},
            {0},
        },
};

static const struct conf_table query_table = {
    .title = "query",
    .struct_bytes = SECTION_BYTES(query),
    .check = check_query,
    .options =
        (const struct conf_option[]){
            {.name = "max_samples",
             .type = CONF_INT,
             .offset = SECTION_FIELD(query, samples_max),
             .fallback = "50000000",
             .min = QUERY_SAMPLES_MIN,
             .max = QUERY_SAMPLES_MAX,
             .help = "Most samples that one query may load; past it the query is refused."},
            {.name = "timeout",
             .type = CONF_DURATION,
             .offset = SECTION_FIELD(query, timeout_ms),
             .fallback = "60s",
             .min = QUERY_TIMEOUT_MIN_MS,
             .max = QUERY_TIMEOUT_MAX_MS,
             .help = "Longest time of one query."},
            {.name = "concurrency",
             .type = CONF_INT,
             .offset = SECTION_FIELD(query, concurrency),
             .fallback = "8",
             .min = 1,
             .max = QUERY_CONCURRENCY_MAX,
             .help = "Queries that run at once; others wait."},
            {.name = "threads",
             .type = CONF_INT,
             .offset = SECTION_FIELD(query, threads),
             .fallback = "0",
             .max = QUERY_THREADS_MAX,
             .help =
                 "Threads that help queries with many series, beside each query's own, as far as they are idle; 0: one "
                 "less than there are processors. Answers do not depend on it."},
            {.name = "max_waiting",
             .type = CONF_INT,
             .offset = SECTION_FIELD(query, waiting_max),
             .fallback = "1024",
             .min = 1,
             .max = QUERY_WAITING_MAX,
             .help = "Most requests that wait for a thread; past it they are answered 503 at once."},
            {.name = "max_memory",
             .type = CONF_BYTES,
             .offset = SECTION_FIELD(query, memory_bytes_max),
             .fallback = "1GiB",
             .min = QUERY_MEMORY_MIN,
             .max = QUERY_MEMORY_MAX,
             .help = "Most memory of one query, its answer among it; past it the query is refused."},
            {.name = "max_total_memory",
             .type = CONF_BYTES,
             .offset = SECTION_FIELD(query, total_memory_bytes_max),
             .fallback = "2GiB",
             .min = QUERY_MEMORY_MIN,
             .max = QUERY_MEMORY_MAX,
             .help = "Most memory of all queries together, with answers that are being sent; who would pass it is "
                     "answered 503. The first 2 MiB of each are free."},
            {.name = "lookback_delta",
             .type = CONF_DURATION,
             .offset = SECTION_FIELD(query, lookback_delta_ms),
             .fallback = "5m",
             .min = LOOKBACK_MIN_MS,
             .max = LOOKBACK_MAX_MS,
             .help = "How old the newest sample of a series may be to count as its present value."},
            {.name = "widen_ranges",
             .type = CONF_BOOL,
             .offset = SECTION_FIELD(query, widen_ranges),
             .fallback = "false",
             .help = "Ranges that are too short for the samples there are, as in rate(x[1m]) with windows of 60s, are "
                     "evaluated over four of these; a query may say otherwise (widen)."},
            {0},
        },
};

const struct conf_table global_config_table = {
    .title = "the global service's configuration",
    .struct_bytes = sizeof(struct global_config),
    .check = check_global,
    .options =
        (const struct conf_option[]){
            {.name = "name",
             .type = CONF_NAME,
             .offset = FIELD(name),
             .required = true,
             .help = "Name of this global service."},
            {.name = "listen",
             .type = CONF_ADDRESS,
             .offset = FIELD(listen),
             .fallback = "127.0.0.1:9412",
             .help =
                 "Address for batches, the query API, /metrics, /-/healthy, /-/ready, /-/reload and /api/v1/status."},
            {.name = "data_dir",
             .type = CONF_PATH,
             .offset = FIELD(data_dir),
             .required = true,
             .help = "Directory of log, head and blocks; made if absent; one process each."},
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
             .help = "Datacenters whose primaries may write; empty = any that can connect."},
            {.name = "remote_write",
             .type = CONF_SECTION,
             .offset = FIELD(remote_write),
             .table = &remote_write_table,
             .help = "What Prometheus, vmagent, vmalert and others write to /api/v1/write (remote write 1.0)."},
            {.name = "head",
             .type = CONF_SECTION,
             .offset = FIELD(head),
             .table = &head_table,
             .help = "The newest hours, in memory."},
            {.name = "retention",
             .type = CONF_LIST,
             .offset = FIELD(retention),
             .max = RETENTION_CLASSES_MAX,
             .table = &class_table,
             .help = "Classes of series, the most important first; a series is of the first that matches, and the last "
                     "one must match all. None given: all are kept for 30d. A change is for what is written from then "
                     "on."},
            {.name = "blocks",
             .type = CONF_SECTION,
             .offset = FIELD(blocks),
             .table = &blocks_table,
             .help = "Blocks on disk."},
            {.name = "query",
             .type = CONF_SECTION,
             .offset = FIELD(query),
             .table = &query_table,
             .help = "Limits of queries."},
            {.name = "acting", .type = CONF_REFUSED, .help = "comes with the actions, not in this version"},
            {.name = "rules_database", .type = CONF_REFUSED, .help = "comes with the rules, not in this version"},
            {.name = "archive", .type = CONF_REFUSED, .help = "comes with the archive, not in this version"},
            {0},
        },
};

int global_config_load(struct file_system *fs, const char *path, struct global_config **ret_config, char **ret_errors)
{
    void *object = NULL;
    int r = conf_object_load(&(struct conf_object_source){fs, path, NULL}, &global_config_table, &object, ret_errors);
    if (r < 0)
        return r;
    *ret_config = object;
    return 0;
}

void global_config_free(struct global_config *config)
{
    conf_object_unref(config);
}

struct retention *global_config_retention(const struct global_config *config)
{
    char error[256];
    struct retention *retention = NULL;
    int result = make_retention(config, error, &retention);
    ASSERT(result == 0);
    return retention;
}
