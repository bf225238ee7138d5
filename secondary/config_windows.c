#include "config_windows.h"

#include "base/fail.h"
#include "metric/labels.h"
#include "metric/selector.h"

#include <stdio.h>

#define RESOLUTION_MIN_MS 1000LL
#define RESOLUTION_MAX_MS 3600000LL
#define PARTITION_MS      7200000LL /* of the global's store: windows are parts of them */
#define ERRORS_TOLD_MAX   16        /* of rules that do not go together: each look compiles all of them */

static const char *const keep_names[] = {"full", "aggregate", "drop", NULL};
static const enum window_keep keeps[] = {KEEP_FULL, KEEP_AGGREGATE, KEEP_DROP};

static bool is_said(const struct conf_node *rule, const char *key)
{
    const struct conf_node *node = conf_child(rule, key);
    return node && (conf_text(node) || conf_child_count(node) > 0);
}

static void check_match(struct conf *conf, const struct conf_node *node, const char *match)
{
    CLEANUP(selector_freep) struct selector *selector = NULL;
    char error[256];
    size_t at = 0;
    if (match && selector_new(str_from(match), error, &at, &selector) < 0)
        conf_error(conf, node, "match: at character %zu: %s", at + 1, error);
}

static void check_fields(struct conf *conf, const struct conf_node *node, const struct conf_strings *fields)
{
    for (size_t i = 0; i < fields->count; i++)
        if (strcmp(fields->items[i], "all") != 0 && strcmp(fields->items[i], "last") != 0)
            conf_error(conf, conf_child_at(node, i), "fields: \"%.64s\" is not one of all, last", fields->items[i]);
    if (fields->count > 1)
        conf_error(conf, node, "fields: either [all] or [last]");
}

static void check_by(struct conf *conf, const struct conf_node *node, const struct conf_strings *by)
{
    /* The first is always there; the others tell apart what many secondaries and datacenters make. */
    static const char *const taken[] = {LABEL_NAME, "secondary", "datacenter"};
    for (size_t i = 0; i < by->count; i++) {
        const struct conf_node *at = conf_child_at(node, i);
        if (!label_name_is_valid(str_from(by->items[i])))
            conf_error(conf, at, "by: \"%.64s\" is not a label name ([a-zA-Z_][a-zA-Z0-9_]*)", by->items[i]);
        for (size_t j = 0; j < ARRAY_LEN(taken); j++)
            if (strcmp(by->items[i], taken[j]) == 0)
                conf_error(conf, at, "by: \"%s\" is a label that aggregates have anyway", taken[j]);
        for (size_t j = 0; j < i; j++)
            if (strcmp(by->items[i], by->items[j]) == 0)
                conf_error(conf, at, "by: \"%.64s\" is there twice", by->items[i]);
    }
}

/* A window that lies over a border of the store's two hours would be no window there. */
static void check_divides(struct conf *conf, const struct conf_node *node, int64_t resolution_ms)
{
    if (node && !conf_failed(node) && resolution_ms > 0 && PARTITION_MS % resolution_ms != 0)
        conf_error(conf, node, "resolution: \"%s\": two hours are no multiple of it", conf_text(node));
}

static void check_rule(struct conf *conf, const struct conf_node *node, void *object)
{
    struct window_rule_config *rule = object;
    const struct conf_node *resolution = conf_child(node, "resolution"), *keep = conf_child(node, "keep");
    rule->keep_said = is_said(node, "keep") && !conf_failed(keep);
    if (!is_said(node, "resolution"))
        rule->resolution_ms = RESOLUTION_UNSAID;
    else if (rule->resolution_ms > 0 && rule->resolution_ms < RESOLUTION_MIN_MS && !conf_failed(resolution))
        conf_error(conf, resolution, "resolution: \"%s\": the least is 1s; 0s is every scrape as it is",
                   conf_text(resolution));
    else
        check_divides(conf, resolution, rule->resolution_ms);
    check_match(conf, conf_child(node, "match"), rule->match);
    check_fields(conf, conf_child(node, "fields"), &rule->fields);
    check_by(conf, conf_child(node, "by"), &rule->by);
    bool aggregates = rule->keep_said && keeps[rule->keep] == KEEP_AGGREGATE;
    bool drops = rule->keep_said && keeps[rule->keep] == KEEP_DROP;
    if (rule->by.count > 0 && !aggregates && !conf_failed(keep))
        conf_error(conf, conf_child(node, "by"), "by: belongs to keep: aggregate");
    if (aggregates && rule->resolution_ms == 0 && !conf_failed(resolution))
        conf_error(conf, resolution, "resolution: \"%s\": aggregates are of windows", conf_text(resolution));
    if ((aggregates || drops) && rule->fields.count > 0)
        conf_error(conf, conf_child(node, "fields"), "fields: says nothing beside keep: %s", keep_names[rule->keep]);
    if (drops && rule->resolution_ms != RESOLUTION_UNSAID)
        conf_error(conf, resolution, "resolution: says nothing beside keep: drop");
    if (!is_said(node, "resolution") && !is_said(node, "fields") && !is_said(node, "keep") && !is_said(node, "by"))
        conf_error(conf, node, "a rule needs one of resolution, fields, keep");
}

static const struct conf_table rule_table = {
    .title = "windows.rule",
    .struct_bytes = sizeof(struct window_rule_config),
    .check = check_rule,
    .options =
        (const struct conf_option[]){
            {.name = "match",
             .type = CONF_STRING,
             .offset = offsetof(struct window_rule_config, match),
             .required = true,
             .min = 1,
             .max = SELECTOR_BYTES_MAX,
             .help = "Series the rule speaks of: a selector of PromQL, over the labels that they have here."},
            {.name = "resolution",
             .type = CONF_DURATION,
             .offset = offsetof(struct window_rule_config, resolution_ms),
             .max = RESOLUTION_MAX_MS,
             .help = "Length of their windows, a part of two hours; a multiple of the finest resolution in use; never "
                     "below the scrape "
                     "interval. 0s: every scrape as it is."},
            {.name = "fields",
             .type = CONF_STRINGS,
             .offset = offsetof(struct window_rule_config, fields),
             .max = 2,
             .help = "[last]: of gauges only the last value of a window, no minimum, maximum and sum; [all]."},
            {.name = "keep",
             .type = CONF_ENUM,
             .offset = offsetof(struct window_rule_config, keep),
             .names = keep_names,
             .help = "full; drop: not at all; aggregate: only what all of them come to."},
            {.name = "by",
             .type = CONF_STRINGS,
             .offset = offsetof(struct window_rule_config, by),
             .max = WINDOW_RULE_BY_MAX,
             .help = "With aggregate: labels whose values have aggregates of their own; le and quantile always have."},
            {0},
        },
};

/* ---- the whole section ---- */

static struct window_rule rule_of(const struct window_rule_config *config)
{
    return (struct window_rule){.match = config->match,
                                .resolution_ms = config->resolution_ms,
                                .fields = config->fields.count == 0                      ? FIELDS_UNSAID
                                          : strcmp(config->fields.items[0], "last") == 0 ? FIELDS_LAST
                                                                                         : FIELDS_ALL,
                                .keep = config->keep_said ? keeps[config->keep] : KEEP_UNSAID,
                                .by = config->by.items,
                                .by_count = config->by.count};
}

/* How rules go together. One that is at fault is told and left out, so that the others are looked at as well. */
static void check_windows(struct conf *conf, const struct conf_node *node, void *object)
{
    const struct windows_config *windows = object;
    const struct window_rule_config *configs = windows->rules.items;
    const struct conf_node *list = conf_child(node, "rules");
    CLEANUP_FREE struct window_rule *rules = mem_array(windows->rules.count, sizeof(*rules));
    CLEANUP_FREE size_t *places = mem_array(windows->rules.count, sizeof(*places));
    size_t count = 0;
    check_divides(conf, conf_child(node, "resolution"), windows->resolution_ms);
    if (conf_failed(conf_child(node, "resolution")))
        return;
    for (size_t i = 0; i < windows->rules.count; i++) {
        const struct conf_node *at = conf_child_at(list, i);
        bool failed = conf_failed(at) || !configs[i].match;
        for (size_t j = 0; j < conf_child_count(at); j++)
            failed |= conf_failed(conf_child_at(at, j));
        if (failed)
            continue;
        places[count] = i;
        rules[count++] = rule_of(&configs[i]);
    }
    struct window_rules_error error;
    struct window_rules *made = NULL;
    for (int told = 0; told < ERRORS_TOLD_MAX; told++) {
        if (window_rules_new(rules, count, windows->resolution_ms, &error, &made) == 0 || error.rule >= count)
            break;
        const struct conf_node *at = conf_child_at(list, places[error.rule]);
        const struct conf_node *property = conf_child(at, error.property);
        conf_error(conf, property ? property : at, "%s: %s", error.property, error.text);
        count--;
        for (size_t i = error.rule; i < count; i++) {
            rules[i] = rules[i + 1];
            places[i] = places[i + 1];
        }
    }
    window_rules_unref(made);
}

const struct conf_table windows_table = {
    .title = "windows",
    .struct_bytes = sizeof(struct windows_config),
    .check = check_windows,
    .options =
        (const struct conf_option[]){
            {.name = "resolution",
             .type = CONF_DURATION,
             .offset = offsetof(struct windows_config, resolution_ms),
             .fallback = "60s",
             .min = RESOLUTION_MIN_MS,
             .max = RESOLUTION_MAX_MS,
             .help =
                 "Length of a window, a part of two hours: one record per series and window is kept; at least every "
                 "scrape_interval."},
            {.name = "rules",
             .type = CONF_LIST,
             .offset = offsetof(struct windows_config, rules),
             .max = WINDOW_RULES_MAX,
             .table = &rule_table,
             .help = "What is kept of which series otherwise; of each property the first rule that matches and says it "
                     "wins."},
            {0},
        },
};

struct window_rules *windows_config_rules(const struct windows_config *windows)
{
    const struct window_rule_config *configs = windows->rules.items;
    CLEANUP_FREE struct window_rule *rules = mem_array(windows->rules.count, sizeof(*rules));
    for (size_t i = 0; i < windows->rules.count; i++)
        rules[i] = rule_of(&configs[i]);
    struct window_rules_error error;
    struct window_rules *made = NULL;
    int r = window_rules_new(rules, windows->rules.count, windows->resolution_ms, &error, &made);
    ASSERT(r == 0); /* checked when it was read */
    return made;
}
