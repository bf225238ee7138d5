#include "write/series.h"

#include "base/fail.h"
#include "base/limits.h"
#include "metric/layout.h"

_Static_assert(SERIES_LABELS_MAX == SCRAPE_LABELS_MAX && SERIES_LABEL_NAME_BYTES_MAX == SCRAPE_LABEL_NAME_BYTES_MAX &&
                   SERIES_LABEL_VALUE_BYTES_MAX == SCRAPE_LABEL_VALUE_BYTES_MAX,
               "what is scraped and what is written have the same limits");

static const struct {
    const char *name, *text;
} refusals[REFUSAL_COUNT] = {
    [REFUSAL_NONE] = {"none", "fine"},
    [REFUSAL_LABELS] = {"invalid_labels", "invalid labels"},
    [REFUSAL_TOO_LONG] = {"label_limits", "more or longer labels than are taken"},
    [REFUSAL_TOO_OLD] = {"too_old", "older than head.max_age"},
    [REFUSAL_TOO_NEW] = {"too_new", "too far ahead of this clock"},
};

const char *refusal_name(enum refusal refusal)
{
    return refusals[refusal].name;
}

const char *refusal_text(enum refusal refusal)
{
    return refusals[refusal].text;
}

bool series_is_of_target(struct str name)
{
    return str_equal(name, STR("instance")) || str_equal(name, STR("job")) || str_equal(name, STR("datacenter"));
}

static enum refusal check(const struct label *label)
{
    if (label->name.len > SERIES_LABEL_NAME_BYTES_MAX || label->value.len > SERIES_LABEL_VALUE_BYTES_MAX)
        return REFUSAL_TOO_LONG;
    bool is_metric = str_equal(label->name, STR(LABEL_NAME));
    bool valid =
        is_metric ? metric_name_is_valid(label->value) : label_name_is_valid(label->name) && str_is_utf8(label->value);
    return valid ? REFUSAL_NONE : REFUSAL_LABELS;
}

/* Into its place; they come sorted nearly always. */
static enum refusal insert(struct series_labels *labels, const struct label *label)
{
    size_t at = labels->count;
    int order = 1;
    while (at > 0 && (order = str_compare(labels->items[at - 1].name, label->name)) > 0)
        at--;
    if (at > 0 && order == 0)
        return REFUSAL_LABELS;
    if (at < labels->count)
        memmove(&labels->items[at + 1], &labels->items[at], (labels->count - at) * sizeof(*label));
    labels->items[at] = *label;
    labels->count++;
    return REFUSAL_NONE;
}

/* Its own datacenter moves to exported_datacenter, as of what is scraped (metric/layout). */
static enum refusal set_datacenter(struct series_labels *labels, struct str datacenter)
{
    const struct label label = {STR("datacenter"), datacenter};
    for (size_t i = 0; i < labels->count; i++) {
        if (!str_equal(labels->items[i].name, label.name))
            continue;
        if (str_equal(labels->items[i].value, datacenter))
            return REFUSAL_NONE;
        struct labels_builder builder;
        labels_builder_init(&builder, NULL);
        for (size_t j = 0; j < labels->count; j++)
            labels_builder_set(&builder, labels->items[j].name, labels->items[j].value);
        layout_set_datacenter(&builder, datacenter);
        ASSERT(builder.count <= ARRAY_LEN(labels->items));
        labels->count = 0;
        for (size_t j = 0; j < builder.count; j++)
            if (insert(labels, &builder.items[j]) != REFUSAL_NONE)
                return REFUSAL_LABELS;
        return REFUSAL_NONE;
    }
    return insert(labels, &label);
}

enum refusal series_add(struct series_labels *labels, const struct label *label)
{
    if (label->value.len == 0 && label->name.len > 0)
        return REFUSAL_NONE;
    if (labels->count == SERIES_LABELS_MAX)
        return REFUSAL_TOO_LONG;
    enum refusal refusal = check(label);
    if (refusal == REFUSAL_NONE)
        refusal = insert(labels, label);
    if (refusal == REFUSAL_NONE && str_equal(label->name, STR(LABEL_NAME)))
        labels->metric = label->value;
    return refusal;
}

enum refusal series_finish(struct series_labels *labels, struct str datacenter)
{
    if (labels->metric.len == 0)
        return REFUSAL_LABELS;
    return datacenter.len > 0 ? set_datacenter(labels, datacenter) : REFUSAL_NONE;
}

enum refusal series_read_labels(struct str message, struct str datacenter, struct series_labels *ret_labels)
{
    struct reader reader = reader_of(message.ptr, message.len);
    struct wire_item item;
    enum refusal refusal = REFUSAL_NONE;
    ret_labels->count = 0;
    ret_labels->metric = STR_NULL;
    while (refusal == REFUSAL_NONE && wire_series_next(&reader, &item) == 0 && item.part != WIRE_END)
        if (item.part == WIRE_LABEL)
            refusal = series_add(ret_labels, &item.label);
    return refusal == REFUSAL_NONE ? series_finish(ret_labels, datacenter) : refusal;
}
