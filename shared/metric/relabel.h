#pragma once
/* Relabelling as Prometheus 2.42 does it (model/relabel/relabel.go), all actions. Compile once, apply often. */
#include "base/arena.h"
#include "base/regex.h"
#include "metric/labels.h"

enum relabel_action {
    RELABEL_REPLACE,
    RELABEL_KEEP,
    RELABEL_DROP,
    RELABEL_KEEPEQUAL,
    RELABEL_DROPEQUAL,
    RELABEL_HASHMOD,
    RELABEL_LABELMAP,
    RELABEL_LABELDROP,
    RELABEL_LABELKEEP,
    RELABEL_LOWERCASE,
    RELABEL_UPPERCASE
};
extern const char *const relabel_action_names[]; /* by enum, ends with NULL */
#define RELABEL_SEPARATOR   ";"
#define RELABEL_REGEX       "(.*)"
#define RELABEL_REPLACEMENT "$1"

/* As written in the configuration; strings belong to whoever wrote them and must outlive the rules. NULL and 0: not
 * written, the default holds. */
struct relabel_config {
    const char **source_labels;
    size_t source_label_count;
    const char *separator;
    const char *regex;
    int64_t modulus;
    const char *target_label;
    const char *replacement;
    int action; /* enum relabel_action */
};

struct relabel; /* compiled rules, immutable, safe from any thread */

/* 0, or -EINVAL with the reason (which field and why) in ret_error and the rule's index in ret_index. */
MUST_CHECK int relabel_new(const struct relabel_config *configs, size_t count, char ret_error[static 256],
                           size_t *ret_index, struct relabel **ret_relabel);
void relabel_free(struct relabel *relabel);
DEFINE_CLEANUP(struct relabel *, relabel_free)
size_t relabel_count(const struct relabel *relabel);

/* Applies the rules to the builder; made strings go to the arena. False: the target or sample is dropped, and
 * *ret_rule (may be NULL) is the index of the rule that did it. When the arena is full, builder->overflow is set
 * (nothing can be built then) and the rules after it are not applied. A name made by labelmap or by a target label with
 * groups that is no label name is not set. */
bool relabel_apply(const struct relabel *relabel, struct labels_builder *builder, struct arena *arena,
                   size_t *ret_rule);
/* One of them alone, in the same way. */
bool relabel_apply_rule(const struct relabel *relabel, size_t index, struct labels_builder *builder,
                        struct arena *arena);
