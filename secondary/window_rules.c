#include "window_rules.h"

#include "base/arena.h"
#include "base/conf.h"
#include "base/crc.h"
#include "base/fail.h"
#include "metric/selector.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

/* Behind those of the configuration, which may say otherwise: what a collector of node_exporter took is a duration per
 * collector, host and scrape, new each time, whose minimum, maximum and sum cost as much as the rest of the page. */
static const struct window_rule own_rules[] = {
    {.match = "node_scrape_collector_duration_seconds", .resolution_ms = RESOLUTION_UNSAID, .fields = FIELDS_LAST},
};

struct compiled {
    struct window_rule rule;
    struct selector *selector;
};

struct window_rules {
    atomic_uint references;
    struct arena arena;
    struct compiled *rules;
    size_t count;
    int64_t default_ms, beat_ms;
    struct str *read; /* names of labels that rules read */
    size_t read_count;
    uint64_t hash; /* of all that rules say */
};

static int fail_with(struct window_rules_error *error, size_t rule, const char *property)
{
    error->rule = rule;
    error->property = property;
    return -EINVAL;
}

/* ---- making ---- */

static int compile(struct window_rules *rules, size_t index, const struct window_rule *from,
                   struct window_rules_error *error)
{
    struct compiled *to = &rules->rules[index];
    char text[256];
    size_t at = 0;
    int r = selector_new(str_from(from->match), text, &at, &to->selector);
    if (r < 0) {
        snprintf(error->text, sizeof(error->text), "at character %zu: %.200s", at + 1, text);
        return fail_with(error, index, "match");
    }
    to->rule = *from;
    to->rule.match = arena_str(&rules->arena, str_from(from->match)).ptr;
    const char **by = arena_array(&rules->arena, from->by_count, sizeof(*by));
    for (size_t i = 0; i < from->by_count; i++)
        by[i] = arena_str(&rules->arena, str_from(from->by[i])).ptr;
    to->rule.by = by;
    return 0;
}

static bool reads(const struct window_rules *rules, struct str name)
{
    for (size_t i = 0; i < rules->read_count; i++)
        if (str_equal(rules->read[i], name))
            return true;
    return false;
}

static void list_read(struct window_rules *rules)
{
    rules->read = arena_array(&rules->arena, rules->count * SELECTOR_MATCHERS_MAX, sizeof(*rules->read));
    for (size_t i = 0; i < rules->count; i++) {
        const struct selector *selector = rules->rules[i].selector;
        for (size_t j = 0; j < selector->count; j++)
            if (!reads(rules, selector->matchers[j].name))
                rules->read[rules->read_count++] = selector->matchers[j].name;
    }
}

static uint64_t hash_text(const char *text, uint64_t seed)
{
    return hash64(text, strlen(text) + 1, seed);
}

static uint64_t hash_rules(const struct window_rules *rules)
{
    uint64_t hash = hash64(&rules->default_ms, sizeof(rules->default_ms), rules->count);
    for (size_t i = 0; i < rules->count; i++) {
        const struct window_rule *rule = &rules->rules[i].rule;
        const int64_t numbers[] = {rule->resolution_ms, rule->fields, rule->keep, (int64_t)rule->by_count};
        hash = hash64(numbers, sizeof(numbers), hash_text(rule->match, hash));
        for (size_t j = 0; j < rule->by_count; j++)
            hash = hash_text(rule->by[j], hash);
    }
    return hash;
}

static int settle_beat(struct window_rules *rules, struct window_rules_error *error)
{
    rules->beat_ms = rules->default_ms;
    for (size_t i = 0; i < rules->count; i++)
        if (rules->rules[i].rule.resolution_ms > 0)
            rules->beat_ms = MIN(rules->beat_ms, rules->rules[i].rule.resolution_ms);
    if (rules->default_ms % rules->beat_ms != 0) {
        for (size_t i = 0; i < rules->count; i++)
            if (rules->rules[i].rule.resolution_ms == rules->beat_ms)
                fail_with(error, i, "resolution");
        char other[64];
        conf_format_duration(rules->default_ms, other);
        snprintf(error->text, sizeof(error->text),
                 "the finest resolution in use must divide windows.resolution, %s, without a rest", other);
        return -EINVAL;
    }
    for (size_t i = 0; i < rules->count; i++) {
        if (rules->rules[i].rule.resolution_ms <= 0 || rules->rules[i].rule.resolution_ms % rules->beat_ms == 0)
            continue;
        char finest[64];
        conf_format_duration(rules->beat_ms, finest);
        snprintf(error->text, sizeof(error->text),
                 "it is no multiple of %s, the finest resolution in use: all others must be", finest);
        return fail_with(error, i, "resolution");
    }
    return 0;
}

static int64_t aggregate_ms(const struct window_rules *rules, const struct window_rule *rule)
{
    return rule->resolution_ms == RESOLUTION_UNSAID ? rules->default_ms : rule->resolution_ms;
}

/* Series of aggregates are named by metric and the labels their members have of those in `by`, so any two rules may
 * make the same one: all are of the same windows. In each all members must have been scraped, so it is not shorter than
 * the longest interval allowed. */
static int check_aggregates(const struct window_rules *rules, struct window_rules_error *error)
{
    const struct window_rule *first = NULL;
    char other[64];
    for (size_t i = 0; i < rules->count; i++) {
        const struct window_rule *rule = &rules->rules[i].rule;
        if (rule->keep != KEEP_AGGREGATE)
            continue;
        first = first ? first : rule;
        if (aggregate_ms(rules, rule) < rules->default_ms) {
            conf_format_duration(rules->default_ms, other);
            snprintf(error->text, sizeof(error->text),
                     "aggregates need windows of windows.resolution, %s, or longer: leave resolution out, or say more",
                     other);
            return fail_with(error, i, "resolution");
        }
        if (aggregate_ms(rules, rule) != aggregate_ms(rules, first)) {
            conf_format_duration(aggregate_ms(rules, first), other);
            snprintf(error->text, sizeof(error->text),
                     "an earlier rule makes aggregates at a resolution of %s: all must have the same", other);
            return fail_with(error, i, rule->resolution_ms == RESOLUTION_UNSAID ? "keep" : "resolution");
        }
    }
    return 0;
}

int window_rules_new(const struct window_rule *given, size_t count, int64_t default_resolution_ms,
                     struct window_rules_error *ret_error, struct window_rules **ret_rules)
{
    ASSERT(default_resolution_ms > 0 && count <= WINDOW_RULES_MAX);
    CLEANUP(window_rules_unrefp) struct window_rules *rules = mem_zalloc(sizeof(*rules));
    atomic_init(&rules->references, 1);
    arena_init(&rules->arena, 0);
    rules->default_ms = default_resolution_ms;
    rules->rules = mem_array(count + ARRAY_LEN(own_rules), sizeof(*rules->rules));
    for (size_t i = 0; i < count + ARRAY_LEN(own_rules); i++, rules->count++) {
        int r = compile(rules, i, i < count ? &given[i] : &own_rules[i - count], ret_error);
        if (r < 0)
            return r;
    }
    int r = settle_beat(rules, ret_error);
    if (r == 0)
        r = check_aggregates(rules, ret_error);
    if (r < 0)
        return r;
    list_read(rules);
    rules->hash = hash_rules(rules);
    *ret_rules = STEAL(rules);
    return 0;
}

struct window_rules *window_rules_ref(struct window_rules *rules)
{
    atomic_fetch_add_explicit(&rules->references, 1, memory_order_relaxed);
    return rules;
}

void window_rules_unref(struct window_rules *rules)
{
    if (!rules || atomic_fetch_sub_explicit(&rules->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < rules->count; i++)
        selector_free(rules->rules[i].selector);
    arena_done(&rules->arena);
    mem_free(rules->rules);
    mem_free(rules);
}

/* ---- reading ---- */

size_t window_rules_count(const struct window_rules *rules)
{
    return rules->count;
}

const struct window_rule *window_rules_at(const struct window_rules *rules, size_t index)
{
    ASSERT(index < rules->count);
    return &rules->rules[index].rule;
}

static bool same_by(const struct window_rule *a, const struct window_rule *b)
{
    if (a->by_count != b->by_count)
        return false;
    for (size_t i = 0; i < a->by_count; i++) {
        bool found = false;
        for (size_t j = 0; j < b->by_count; j++)
            found |= strcmp(a->by[i], b->by[j]) == 0;
        if (!found)
            return false;
    }
    return true;
}

bool window_rule_equal(const struct window_rule *a, const struct window_rule *b)
{
    return strcmp(a->match, b->match) == 0 && a->resolution_ms == b->resolution_ms && a->fields == b->fields &&
           a->keep == b->keep && same_by(a, b);
}

bool window_rules_equal(const struct window_rules *a, const struct window_rules *b)
{
    return a->hash == b->hash;
}

int64_t window_rules_beat_ms(const struct window_rules *rules)
{
    return rules->beat_ms;
}

int64_t window_rules_default_ms(const struct window_rules *rules)
{
    return rules->default_ms;
}

static int64_t common_multiple(int64_t a, int64_t b)
{
    int64_t x = a, y = b;
    while (y != 0) {
        int64_t rest = x % y;
        x = y;
        y = rest;
    }
    ASSERT(x > 0);
    return a / x * b; /* both at most an hour and a period at most: no overflow */
}

static int64_t period_with(int64_t period_ms, const struct window_rules *rules)
{
    period_ms = common_multiple(period_ms, rules->default_ms);
    for (size_t i = 0; i < rules->count && period_ms <= WINDOW_BEATS_MAX_MS; i++)
        if (rules->rules[i].rule.resolution_ms > 0)
            period_ms = common_multiple(period_ms, rules->rules[i].rule.resolution_ms);
    return period_ms;
}

int64_t window_rules_period_ms(const struct window_rules *a, const struct window_rules *b)
{
    int64_t period_ms = period_with(1, a);
    if (period_ms <= WINDOW_BEATS_MAX_MS)
        period_ms = period_with(period_ms, b);
    return period_ms <= WINDOW_BEATS_MAX_MS ? period_ms : INT64_MAX;
}

int64_t window_rules_resolution_ms(const struct window_rules *rules, int64_t resolution_ms, int64_t interval_ms)
{
    if (resolution_ms == 0 || resolution_ms >= interval_ms)
        return resolution_ms;
    return (interval_ms + rules->beat_ms - 1) / rules->beat_ms * rules->beat_ms;
}

uint64_t window_rules_key(const struct window_rules *rules, const struct labels *target)
{
    uint64_t key = rules->hash;
    for (size_t i = 0; i < rules->read_count; i++) {
        struct str value = labels_get(target, rules->read[i]);
        key = hash64(value.ptr, value.len, key + 1);
    }
    return key;
}

static struct str value_of(const struct labels *target, const struct label *labels, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_equal(labels[i].name, name))
            return labels[i].value;
    return labels_get(target, name);
}

static bool matches(const struct selector *selector, const struct labels *target, const struct label *labels,
                    size_t count)
{
    for (size_t i = 0; i < selector->count; i++) {
        const struct matcher *matcher = &selector->matchers[i];
        if (!matcher_matches(matcher, value_of(target, labels, count, matcher->name)))
            return false;
    }
    return true;
}

struct window_decision window_rules_decide(const struct window_rules *rules, const struct labels *target,
                                           const struct label *labels, size_t count, uint32_t *ret_decided)
{
    int64_t resolution_ms = RESOLUTION_UNSAID;
    enum window_fields fields = FIELDS_UNSAID;
    enum window_keep keep = KEEP_UNSAID;
    struct window_decision decision = {.class = {.aggregate = -1}};
    for (size_t i = 0; i < rules->count; i++) {
        const struct window_rule *rule = &rules->rules[i].rule;
        bool says = (rule->resolution_ms != RESOLUTION_UNSAID && resolution_ms == RESOLUTION_UNSAID) ||
                    (rule->fields != FIELDS_UNSAID && fields == FIELDS_UNSAID) ||
                    (rule->keep != KEEP_UNSAID && keep == KEEP_UNSAID);
        if (!says || !matches(rules->rules[i].selector, target, labels, count))
            continue;
        if (resolution_ms == RESOLUTION_UNSAID)
            resolution_ms = rule->resolution_ms;
        if (fields == FIELDS_UNSAID)
            fields = rule->fields;
        if (keep == KEEP_UNSAID && rule->keep == KEEP_AGGREGATE)
            decision.class.aggregate = (int32_t)i;
        if (keep == KEEP_UNSAID)
            keep = rule->keep;
        ret_decided[i]++;
    }
    decision.class.resolution_ms = resolution_ms == RESOLUTION_UNSAID ? rules->default_ms : resolution_ms;
    /* What many series make together has windows of its own, whatever the single series would have. */
    if (decision.class.aggregate >= 0)
        decision.class.resolution_ms = aggregate_ms(rules, &rules->rules[decision.class.aggregate].rule);
    decision.last_only = fields == FIELDS_LAST && decision.class.aggregate < 0;
    decision.dropped = keep == KEEP_DROP;
    return decision;
}
