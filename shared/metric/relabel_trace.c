#include "metric/relabel_trace.h"

#include "base/fail.h"
#include "base/quote.h"

/* Both sorted by name. NULL: the arena is full. */
static struct relabel_change *compare(const struct label *before, size_t before_count,
                                      const struct labels_builder *after, struct arena *arena, size_t *ret_count)
{
    struct relabel_change *changes = arena_array(arena, before_count + after->count, sizeof(*changes));
    size_t count = 0, i = 0, j = 0;
    while (changes && (i < before_count || j < after->count)) {
        int order = i == before_count ? 1 : j == after->count ? -1 : str_compare(before[i].name, after->items[j].name);
        struct str old = order <= 0 ? before[i].value : STR_NULL;
        struct str new = order >= 0 ? after->items[j].value : STR_NULL;
        if (!str_equal(old, new))
            changes[count++] = (struct relabel_change){order <= 0 ? before[i].name : after->items[j].name, old, new};
        i += order <= 0;
        j += order >= 0;
    }
    *ret_count = count;
    return changes;
}

static bool trace_rule(const struct relabel *relabel, size_t index, struct labels_builder *builder, struct arena *arena,
                       struct relabel_step *ret_step)
{
    size_t count = builder->count;
    struct label *before = arena_array(arena, count, sizeof(*before));
    if (!before)
        return false;
    if (count > 0)
        memcpy(before, builder->items, count * sizeof(*before));
    *ret_step = (struct relabel_step){.rule = index};
    ret_step->dropped = !relabel_apply_rule(relabel, index, builder, arena);
    if (builder->overflow)
        return false;
    ret_step->changes = compare(before, count, builder, arena, &ret_step->change_count);
    return ret_step->changes != NULL;
}

bool relabel_trace(const struct relabel *relabel, struct labels_builder *builder, struct arena *arena,
                   relabel_trace_fn *fn, void *arg)
{
    for (size_t i = 0; i < relabel_count(relabel); i++) {
        struct relabel_step step;
        if (!trace_rule(relabel, i, builder, arena, &step)) {
            builder->overflow = true;
            return true;
        }
        fn(arg, &step);
        if (step.dropped)
            return false;
    }
    return true;
}

/* ---- A rule's text ---- */

static void begin_field(struct buf *text, const char *name)
{
    bool first = text->data[text->len - 1] == '{';
    buf_printf(text, "%s%s: ", first ? "" : ", ", name);
}

static void print_text(struct buf *text, const char *name, const char *value, const char *fallback)
{
    if (!value || strcmp(value, fallback) == 0)
        return;
    begin_field(text, name);
    quote_print(str_from(value), text);
}

void relabel_config_print(const struct relabel_config *config, struct buf *text)
{
    buf_append_byte(text, '{');
    if (config->source_label_count > 0)
        begin_field(text, "source_labels");
    for (size_t i = 0; i < config->source_label_count; i++)
        buf_printf(text, "%s%s", i > 0 ? ", " : "[", config->source_labels[i]);
    if (config->source_label_count > 0)
        buf_append_byte(text, ']');
    print_text(text, "separator", config->separator, RELABEL_SEPARATOR);
    print_text(text, "regex", config->regex, RELABEL_REGEX);
    if (config->modulus > 0) {
        begin_field(text, "modulus");
        buf_printf(text, "%lld", (long long)config->modulus);
    }
    print_text(text, "target_label", config->target_label, "");
    print_text(text, "replacement", config->replacement, RELABEL_REPLACEMENT);
    if (config->action != RELABEL_REPLACE) {
        begin_field(text, "action");
        buf_append_text(text, relabel_action_names[config->action]);
    }
    buf_append_byte(text, '}');
}
