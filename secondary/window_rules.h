#pragma once
/* windows.rules: at which resolution a series is kept, which fields of it, and whether at all; decided by its labels,
 * once per page and per value of the target labels that rules read. Rules apply in order; of each property (resolution,
 * fields, keep) the first rule that matches and says it wins. Immutable, counted references, from any thread. */
#include "metric/labels.h"

#define WINDOW_RULES_MAX    256
#define WINDOW_RULE_BY_MAX  16
#define WINDOW_BEATS_MAX_MS (3600 * INT64_C(1000)) /* the longest window: a period that all resolutions divide */

enum window_fields { FIELDS_UNSAID, FIELDS_ALL, FIELDS_LAST };
enum window_keep { KEEP_UNSAID, KEEP_FULL, KEEP_AGGREGATE, KEEP_DROP };
#define RESOLUTION_UNSAID INT64_C(-1)

/* One rule as it is written. */
struct window_rule {
    const char *match;     /* a selector, metric/selector.h */
    int64_t resolution_ms; /* 0: every scrape as it is; RESOLUTION_UNSAID */
    enum window_fields fields;
    enum window_keep keep;
    const char *const *by; /* with KEEP_AGGREGATE: labels that stay */
    size_t by_count;
};

/* Which windows a series goes to: those of one class share a window per target. */
struct window_class {
    int64_t resolution_ms; /* 0: every scrape as it is */
    int32_t aggregate;     /* the rule by which it is folded into aggregates; -1: the series itself is sent */
};

static inline bool window_class_equal(const struct window_class *a, const struct window_class *b)
{
    return a->resolution_ms == b->resolution_ms && a->aggregate == b->aggregate;
}

struct window_decision {
    struct window_class class;
    bool last_only;
    bool dropped;
};

struct window_rules;

/* default_resolution_ms: windows.resolution. -EINVAL, the reason, the rule and the property it is about
 * ("match", "resolution", "by"). Rules of the project itself come behind the given ones. Texts are copied. */
struct window_rules_error {
    char text[256];
    size_t rule;
    const char *property;
};
MUST_CHECK int window_rules_new(const struct window_rule *rules, size_t count, int64_t default_resolution_ms,
                                struct window_rules_error *ret_error, struct window_rules **ret_rules);
struct window_rules *window_rules_ref(struct window_rules *rules);
void window_rules_unref(struct window_rules *rules); /* NULL allowed */
DEFINE_CLEANUP(struct window_rules *, window_rules_unref)

size_t window_rules_count(const struct window_rules *rules); /* those of the project too */
const struct window_rule *window_rules_at(const struct window_rules *rules, size_t index);
bool window_rule_equal(const struct window_rule *a, const struct window_rule *b);
bool window_rules_equal(const struct window_rules *a, const struct window_rules *b);
/* The finest resolution in use, 0 apart; all others are multiples of it. */
int64_t window_rules_beat_ms(const struct window_rules *rules);
int64_t window_rules_default_ms(const struct window_rules *rules);
/* The shortest time that both sets' resolutions divide; INT64_MAX when it is longer than WINDOW_BEATS_MAX_MS. */
int64_t window_rules_period_ms(const struct window_rules *a, const struct window_rules *b);
/* Of a series that is scraped every interval_ms: no window is shorter than that, rounded up to whole beats. */
int64_t window_rules_resolution_ms(const struct window_rules *rules, int64_t resolution_ms, int64_t interval_ms);
/* Of what a target's labels say to rules: targets of the same key may share pages. */
uint64_t window_rules_key(const struct window_rules *rules, const struct labels *target);
/* labels: the series' own, which win over the target's; an empty value deletes. ret_decided[rule] is counted up for
 * each rule that decides something of it. */
struct window_decision window_rules_decide(const struct window_rules *rules, const struct labels *target,
                                           const struct label *labels, size_t count, uint32_t *ret_decided);
