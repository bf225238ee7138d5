#pragma once
/* What each rule of relabelling does to one label set, for people; relabel_apply is what scraping uses. */
#include "metric/relabel.h"

struct relabel_change {
    struct str name;
    struct str before, after; /* len 0: the label is not there */
};

struct relabel_step {
    size_t rule;
    const struct relabel_change *changes; /* sorted by name; views until the call returns */
    size_t change_count;
    bool dropped; /* by this rule, the last that is told of */
};
typedef void relabel_trace_fn(void *arg, const struct relabel_step *step);

/* As relabel_apply, telling of each rule, also of those that change nothing. */
bool relabel_trace(const struct relabel *relabel, struct labels_builder *builder, struct arena *arena,
                   relabel_trace_fn *fn, void *arg);

/* The rule as a configuration has it, without what is a default: {source_labels: [a], regex: "x", action: drop}.
 * Into a buf with room for it. */
void relabel_config_print(const struct relabel_config *config, struct buf *text);
