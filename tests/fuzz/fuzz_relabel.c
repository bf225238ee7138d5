/* Any bytes as relabelling rules and labels: NUL ends a string. A rule: a byte of action, a byte of how many sources
 * (0-3), a byte of modulus, then the strings: sources, separator, regex, replacement, target label; the one byte string
 * \x01 stands for "not written". Up to 4 rules, then pairs of name and value. A trace comes to the same, and its
 * changes lead from what was to what is. */
#include "base/fail.h"
#include "metric/relabel_trace.h"

#define RULES_MAX   4
#define SOURCES_MAX 3
#define PAIRS_MAX   32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* data ends with NUL: each string ends before the data does. */
static const char *take_string(struct reader *reader)
{
    if (reader_left(reader) == 0)
        return NULL;
    const char *text = (const char *)reader->at;
    reader_bytes(reader, strlen(text) + 1);
    return strcmp(text, "\x01") == 0 ? NULL : text;
}

static void take_rule(struct reader *reader, struct relabel_config *rule, const char **sources)
{
    rule->action = reader_byte(reader) % (RELABEL_UPPERCASE + 1);
    rule->source_label_count = reader_byte(reader) % (SOURCES_MAX + 1);
    rule->source_labels = sources;
    rule->modulus = reader_byte(reader);
    for (size_t i = 0; i < rule->source_label_count; i++)
        sources[i] = take_string(reader);
    rule->separator = take_string(reader);
    rule->regex = take_string(reader);
    rule->replacement = take_string(reader);
    rule->target_label = take_string(reader);
}

/* The labels that the steps so far lead to. */
struct followed {
    struct labels_builder *labels;
    size_t steps;
    bool dropped;
};

static void follow(void *arg, const struct relabel_step *step)
{
    struct followed *followed = arg;
    ASSERT(!followed->dropped && step->rule == followed->steps++);
    followed->dropped = step->dropped;
    for (size_t i = 0; i < step->change_count; i++) {
        const struct relabel_change *change = &step->changes[i];
        ASSERT(!str_equal(change->before, change->after));
        ASSERT(str_equal(labels_builder_get(followed->labels, change->name), change->before));
        labels_builder_set(followed->labels, change->name, change->after);
    }
}

static bool same_labels(const struct labels_builder *a, const struct labels_builder *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++)
        if (!str_equal(a->items[i].name, b->items[i].name) || !str_equal(a->items[i].value, b->items[i].value))
            return false;
    return a->count == b->count;
}

/* before: as they were; after: as relabel_apply left them. */
static void check_trace(const struct relabel *relabel, struct labels_builder *before,
                        const struct labels_builder *after, bool kept)
{
    CLEANUP(arena_done) struct arena arena;
    struct label room[2 * LABELS_MAX];
    struct labels_builder traced;
    struct followed followed = {.labels = before};
    arena_init(&arena, 1 << 20);
    labels_builder_init_room(&traced, room, ARRAY_LEN(room));
    for (size_t i = 0; i < before->count; i++)
        labels_builder_set(&traced, before->items[i].name, before->items[i].value);
    bool trace_kept = relabel_trace(relabel, &traced, &arena, follow, &followed);
    if (after->overflow || traced.overflow)
        return;
    ASSERT(trace_kept == kept && followed.dropped == !kept);
    ASSERT(same_labels(after, &traced) && same_labels(after, before));
}

static void run(struct reader *reader)
{
    struct relabel_config rules[RULES_MAX] = {0};
    const char *sources[RULES_MAX][SOURCES_MAX];
    size_t count = reader_byte(reader) % (RULES_MAX + 1);
    for (size_t i = 0; i < count; i++)
        take_rule(reader, &rules[i], sources[i]);
    CLEANUP(relabel_freep) struct relabel *relabel = NULL;
    char error[256] = "";
    size_t index = 0;
    if (relabel_new(rules, count, error, &index, &relabel) < 0) {
        ASSERT(index < count && error[0] != '\0' && !relabel);
        return;
    }
    struct labels_builder before, builder;
    labels_builder_init(&before, NULL);
    labels_builder_init(&builder, NULL);
    for (size_t i = 0; i < PAIRS_MAX; i++) {
        const char *name = take_string(reader);
        const char *value = take_string(reader);
        if (!name || !value || !label_name_is_valid(str_from(name)) || !str_is_utf8(str_from(value)))
            continue;
        labels_builder_set(&before, str_from(name), str_from(value));
        labels_builder_set(&builder, str_from(name), str_from(value));
    }
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 1 << 16);
    size_t rule = RULES_MAX;
    bool kept = relabel_apply(relabel, &builder, &arena, &rule);
    ASSERT(kept || rule < count);
    check_trace(relabel, &before, &builder, kept);
    CLEANUP(labels_unrefp) struct labels *labels = kept ? labels_builder_build(&builder) : NULL;
    for (size_t i = 0; labels && i < labels_count(labels); i++) {
        struct label label = labels_at(labels, i);
        ASSERT(label_name_is_valid(label.name) && label.value.len > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buf_done) struct buf copy = BUF_INIT(size + 1);
    buf_append(&copy, data, size);
    buf_append_byte(&copy, 0);
    struct reader reader = reader_of(copy.data, copy.len);
    run(&reader);
    return 0;
}
