#include "promql/label_set.h"

#include "base/quote.h"

bool label_set_has(const struct ast_names *names, struct str name)
{
    for (size_t i = 0; i < names->count; i++)
        if (str_equal(names->items[i], name))
            return true;
    return false;
}

/* Counting a reference is no change of the set. */
static struct labels *same(const struct labels *labels)
{
    return labels_ref((struct labels *)(uintptr_t)labels);
}

/* Out of line: the array of labels must not stand in the frame of callers that recurse. */
__attribute__((noinline)) static struct labels *filter(const struct labels *labels, const struct ast_names *names,
                                                       bool keep, bool drop_name)
{
    struct label kept[LABELS_MAX];
    size_t count = 0;
    size_t all = labels_count(labels);
    for (size_t i = 0; i < all; i++) {
        struct label label = labels_at(labels, i);
        if (drop_name && str_equal(label.name, STR(LABEL_NAME)))
            continue;
        if (names && label_set_has(names, label.name) != keep)
            continue;
        kept[count++] = label;
    }
    return count == all ? same(labels) : labels_new(kept, count);
}

struct labels *label_set_without_name(const struct labels *labels)
{
    return filter(labels, NULL, false, true);
}

struct labels *label_set_keep(const struct labels *labels, const struct ast_names *names)
{
    return filter(labels, names, true, false);
}

struct labels *label_set_drop(const struct labels *labels, const struct ast_names *names, bool drop_name)
{
    return filter(labels, names, false, drop_name);
}

__attribute__((noinline)) struct labels *label_set_with(const struct labels *labels, struct str name, struct str value)
{
    struct labels_builder builder;
    labels_builder_init(&builder, labels);
    labels_builder_set(&builder, name, value);
    return labels_builder_build(&builder);
}

int label_set_print(const struct labels *labels, struct buf *text)
{
    buf_append_byte(text, '{');
    for (size_t i = 0; i < labels_count(labels); i++) {
        struct label label = labels_at(labels, i);
        if (i > 0)
            buf_append_text(text, ", ");
        buf_append_str(text, label.name);
        buf_append_byte(text, '=');
        quote_print(label.value, text);
    }
    return buf_append_byte(text, '}');
}
