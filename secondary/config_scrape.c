#include "config_scrape.h"

#include "config_discovery.h"

#include "base/map.h"
#include "metric/labels.h"

#include <stdio.h>

#define BODY_BYTES_MIN     1024LL
#define BODY_BYTES_MAX     (1LL << 30)
#define SAMPLES_MAX        10000000
#define LABEL_BYTES_MAX    65536 /* of a name or value */
#define TARGETS_MAX        1000000
#define TARGET_BYTES_MAX   1024
#define JOB_NAME_BYTES_MAX 256
#define PATH_BYTES_MAX     4096
#define PARAMS_MAX         100
#define RELABEL_RULES_MAX  1000
#define MODULUS_MAX        (1LL << 53)

#define REFUSED(name_text, reason)                                                                                     \
    {                                                                                                                  \
        .name = name_text, .type = CONF_REFUSED, .help = reason                                                        \
    }

/* ---- targets ------------------------------------------------------------------------------------------------------
 */

static void check_static(struct conf *conf, const struct conf_node *node, void *object)
{
    const struct static_config *config = object;
    const struct conf_node *labels = conf_child(node, "labels");
    for (size_t i = 0; i < config->labels.count; i++) {
        const char *name = config->labels.items[i].name;
        if (!label_name_is_valid(str_from(name)) || strlen(name) > LABEL_NAME_BYTES_MAX)
            conf_error(conf, conf_child_at(labels, i), "labels: \"%.64s\" is not a label name ([a-zA-Z_][a-zA-Z0-9_]*)",
                       name);
        if (strlen(config->labels.items[i].value) > LABEL_VALUE_BYTES_MAX)
            conf_error(conf, conf_child_at(labels, i), "labels: a value of more than %zu KiB",
                       LABEL_VALUE_BYTES_MAX / KIB);
    }
    if (config->labels.count > DISCOVERY_LABELS_MAX)
        conf_error(conf, labels, "labels: more than %d", DISCOVERY_LABELS_MAX);
}

static const struct conf_table static_config_table = {
    .title = "static_config",
    .struct_bytes = sizeof(struct static_config),
    .check = check_static,
    .options =
        (const struct conf_option[]){
            {.name = "targets",
             .type = CONF_STRINGS,
             .offset = offsetof(struct static_config, targets),
             .help = "host:port each; without a port that of the scheme."},
            {.name = "labels",
             .type = CONF_STRING_MAP,
             .offset = offsetof(struct static_config, labels),
             .help = "Labels that all of them get."},
            {0},
        },
};

/* ---- relabelling --------------------------------------------------------------------------------------------------
 */

/* source_labels and its count stand together as a conf_strings does. */
_Static_assert(offsetof(struct relabel_config, source_label_count) - offsetof(struct relabel_config, source_labels) ==
                   offsetof(struct conf_strings, count),
               "a relabel_config holds its source labels as a conf_strings");

/* relabel.c alone knows what a good rule is; its message names the field, which gives the place. */
static void check_relabel(struct conf *conf, const struct conf_node *node, void *object)
{
    CLEANUP(relabel_freep) struct relabel *relabel = NULL;
    char error[256] = "";
    size_t index = 0;
    for (size_t i = 0; i < conf_child_count(node); i++)
        if (conf_failed(conf_child_at(node, i)))
            return;
    if (relabel_new(object, 1, error, &index, &relabel) == 0)
        return;
    const struct conf_node *at = node;
    for (size_t i = 0; i < conf_child_count(node); i++) {
        char field[32];
        snprintf(field, sizeof(field), "%s:", conf_child_name(node, i));
        if (strstr(error, field))
            at = conf_child_at(node, i);
    }
    conf_error(conf, at, "%s", error);
}

static const struct conf_table relabel_config_table = {
    .title = "relabel_config",
    .struct_bytes = sizeof(struct relabel_config),
    .check = check_relabel,
    .options =
        (const struct conf_option[]){
            {.name = "source_labels",
             .type = CONF_STRINGS,
             .offset = offsetof(struct relabel_config, source_labels),
             .max = LABELS_MAX,
             .help = "Labels whose values are joined and matched."},
            {.name = "separator",
             .type = CONF_STRING,
             .offset = offsetof(struct relabel_config, separator),
             .fallback = ";",
             .help = "What stands between the joined values."},
            {.name = "regex",
             .type = CONF_STRING,
             .offset = offsetof(struct relabel_config, regex),
             .fallback = "(.*)",
             .help = "RE2 pattern, anchored at both ends."},
            {.name = "modulus",
             .type = CONF_INT,
             .offset = offsetof(struct relabel_config, modulus),
             .min = 0,
             .max = MODULUS_MAX,
             .help = "For hashmod: how many remainders there are."},
            {.name = "target_label",
             .type = CONF_STRING,
             .offset = offsetof(struct relabel_config, target_label),
             .help = "Label that gets the result."},
            {.name = "replacement",
             .type = CONF_STRING,
             .offset = offsetof(struct relabel_config, replacement),
             .fallback = "$1",
             .help = "Result, with $1 or ${name} for the groups of the pattern."},
            {.name = "action",
             .type = CONF_ENUM,
             .offset = offsetof(struct relabel_config, action),
             .names = relabel_action_names,
             .help = "What is done."},
            {0},
        },
};

/* ---- one scrape_config --------------------------------------------------------------------------------------------
 */

/* name: [value, ...] for the query string. */
static void fill_params(struct conf *conf, const struct conf_node *node, void *field)
{
    struct scrape_params *params = field;
    size_t count = conf_child_count(node);
    if (!node)
        return;
    if (conf_text(node) || (count > 0 && !conf_child_name(node, 0))) {
        conf_error(conf, node, "params: expected a map (name: [value, ...])");
        return;
    }
    if (count > PARAMS_MAX) {
        conf_error(conf, node, "params: %zu names, at most %d are taken", count, PARAMS_MAX);
        return;
    }
    struct scrape_param *items = arena_array(conf_arena(conf), MAX(count, 1), sizeof(*items));
    for (size_t i = 0; items && i < count; i++) {
        items[i].name = arena_str(conf_arena(conf), str_from(conf_child_name(node, i))).ptr;
        conf_fill_strings(conf, "params", conf_child_at(node, i), &items[i].values);
    }
    *params = (struct scrape_params){items, items ? count : 0};
}

/* Without relabelling a target is the address itself; with it, a target may be anything (a URL to be probed). */
static void check_targets(struct conf *conf, const struct conf_node *node, const struct scrape_config *config)
{
    const struct conf_node *groups = conf_child(node, "static_configs");
    const struct static_config *statics = config->static_configs.items;
    for (size_t i = 0; i < config->static_configs.count; i++) {
        const struct conf_node *targets = conf_child(conf_child_at(groups, i), "targets");
        for (size_t j = 0; j < statics[i].targets.count; j++) {
            const char *target = statics[i].targets.items[j];
            const struct conf_node *at = conf_child_at(targets, j);
            if (!target[0] || strlen(target) > TARGET_BYTES_MAX)
                conf_error(conf, at, "targets: 1 to %d bytes are an address", TARGET_BYTES_MAX);
            else if (config->relabel_configs.count == 0 && strpbrk(target, "/ \t"))
                conf_error(conf, at,
                           "targets: \"%.64s\" is not host:port; scheme and metrics_path are keys of the scrape_config",
                           target);
        }
    }
}

static void check_scrape_config(struct conf *conf, const struct conf_node *node, void *object)
{
    const struct scrape_config *config = object;
    if (config->metrics_path[0] != '/')
        conf_error(conf, conf_child(node, "metrics_path"), "metrics_path: \"%.64s\" does not begin with /",
                   config->metrics_path);
    access_check(conf, node, &config->access);
    check_targets(conf, node, config);
}

#define FIELD(member) offsetof(struct scrape_config, member)

const struct conf_table scrape_config_table = {
    .title = "scrape_config",
    .struct_bytes = sizeof(struct scrape_config),
    .check = check_scrape_config,
    .options =
        (const struct conf_option[]){
            {.name = "job_name",
             .type = CONF_STRING,
             .offset = FIELD(job_name),
             .required = true,
             .min = 1,
             .max = JOB_NAME_BYTES_MAX,
             .help = "The `job` label of its targets; unique."},
            {.name = "scrape_interval",
             .type = CONF_DURATION,
             .offset = FIELD(scrape_interval_ms),
             .min = SCRAPE_INTERVAL_MIN_MS,
             .max = SCRAPE_INTERVAL_MAX_MS,
             .help = "How often; default global.scrape_interval; at most windows.resolution."},
            {.name = "scrape_timeout",
             .type = CONF_DURATION,
             .offset = FIELD(scrape_timeout_ms),
             .min = SCRAPE_TIMEOUT_MIN_MS,
             .max = SCRAPE_INTERVAL_MAX_MS,
             .help = "When a scrape is given up; default global.scrape_timeout; at most the interval."},
            {.name = "metrics_path",
             .type = CONF_STRING,
             .offset = FIELD(metrics_path),
             .fallback = "/metrics",
             .min = 1,
             .max = PATH_BYTES_MAX,
             .help = "Path of the page."},
            {.name = "scheme",
             .type = CONF_ENUM,
             .offset = FIELD(scheme),
             .names = (const char *const[]){"http", "https", NULL},
             .help = "Protocol of the page."},
            {.name = "params",
             .type = CONF_CUSTOM,
             .offset = FIELD(params),
             .custom = fill_params,
             .names = (const char *const[]){"map of lists of texts", NULL},
             .help = "Parameters of the query string, each with a list of values."},
            {.name = "honor_labels",
             .type = CONF_BOOL,
             .offset = FIELD(honor_labels),
             .help = "On a conflict the page's label wins; else it is renamed to exported_NAME."},
            {.name = "honor_timestamps",
             .type = CONF_BOOL,
             .offset = FIELD(honor_timestamps),
             .fallback = "true",
             .help = "Keep the timestamps that a page gives; else the time of the scrape is used."},
            {.name = "static_configs",
             .type = CONF_LIST,
             .offset = FIELD(static_configs),
             .table = &static_config_table,
             .help = "Targets written here."},
            {.name = "*_sd_configs",
             .type = CONF_CUSTOM,
             .offset = FIELD(discovery),
             .custom = discovery_config_fill,
             .names = (const char *const[]){"list of sections", NULL},
             .help =
                 "Targets that the discovery plugin of this name finds: ec2, kubernetes, consul, file, http, dns; see "
                 "below."},
            {.name = "relabel_configs",
             .type = CONF_LIST,
             .offset = FIELD(relabel_configs),
             .max = RELABEL_RULES_MAX,
             .table = &relabel_config_table,
             .help = "Rules that choose and change targets before the scrape."},
            {.name = "metric_relabel_configs",
             .type = CONF_LIST,
             .offset = FIELD(metric_relabel_configs),
             .max = RELABEL_RULES_MAX,
             .table = &relabel_config_table,
             .help = "Rules that choose and change samples after the scrape."},
            {.name = "body_size_limit",
             .type = CONF_BYTES,
             .offset = FIELD(body_bytes_max),
             .fallback = "64MiB",
             .min = BODY_BYTES_MIN,
             .max = BODY_BYTES_MAX,
             .help = "Largest page, uncompressed; past it the scrape fails."},
            {.name = "sample_limit",
             .type = CONF_INT,
             .offset = FIELD(samples_max),
             .fallback = "100000",
             .min = 1,
             .max = SAMPLES_MAX,
             .help = "Most samples of one scrape after metric_relabel_configs; past it the scrape fails."},
            {.name = "label_limit",
             .type = CONF_INT,
             .offset = FIELD(labels_max),
             .fallback = "64",
             .min = 1,
             .max = LABELS_MAX,
             .help = "Most labels of one sample; past it the scrape fails."},
            {.name = "label_name_length_limit",
             .type = CONF_INT,
             .offset = FIELD(label_name_bytes_max),
             .fallback = "1024",
             .min = 1,
             .max = LABEL_BYTES_MAX,
             .help = "Longest label name in bytes; past it the scrape fails."},
            {.name = "label_value_length_limit",
             .type = CONF_INT,
             .offset = FIELD(label_value_bytes_max),
             .fallback = "4096",
             .min = 1,
             .max = LABEL_BYTES_MAX,
             .help = "Longest label value in bytes; past it the scrape fails."},
            {.name = "target_limit",
             .type = CONF_INT,
             .offset = FIELD(targets_max),
             .fallback = "100000",
             .min = 1,
             .max = TARGETS_MAX,
             .help = "Most targets of the job after relabelling; those past it are left out, counted and logged."},
            {.name = "keep_dropped_targets",
             .type = CONF_INT,
             .offset = FIELD(dropped_max),
             .fallback = "1000",
             .min = 0,
             .max = TARGETS_MAX,
             .help = "Most targets that relabel_configs drop which /api/v1/targets lists; 0: all. They are counted "
                     "anyhow."},
            ACCESS_OPTIONS(struct scrape_config, access),
            REFUSED("scrape_protocols", "pages are read in the text format 0.0.4"),
            REFUSED("native_histogram_bucket_limit", "native histograms are not read; classic ones are"),
            REFUSED("track_timestamps_staleness", "not in this version"),
            {0},
        },
};

/* ---- names ----------------------------------------------------------------------------------------------------------
 */

static bool name_equal(const void *item, const void *key)
{
    return strcmp(((const struct scrape_config *)item)->job_name, key) == 0;
}

void scrape_config_check_names(struct conf *conf, const struct conf_node *jobs, const struct scrape_config *configs,
                               size_t count)
{
    CLEANUP(map_done) struct map seen;
    map_init(&seen);
    for (size_t i = 0; i < count; i++) {
        const char *name = configs[i].job_name;
        if (!name)
            continue;
        uint64_t hash = str_hash(str_from(name));
        if (map_get(&seen, hash, name_equal, name))
            conf_error(conf, conf_child(conf_child_at(jobs, i), "job_name"),
                       "job_name: \"%.64s\" is the name of another scrape_config", name);
        else
            map_put(&seen, hash, (void *)&configs[i]);
    }
}
