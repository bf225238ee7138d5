#include "label_columns.h"

#include <string.h>

static void add_name(struct label_columns *columns, struct str name)
{
    size_t at = 0;
    while (at < columns->count && str_compare(columns->names[at], name) < 0)
        at++;
    if (at < columns->count && str_equal(columns->names[at], name))
        return;
    if (columns->count == LABEL_COLUMNS_MAX) {
        columns->too_many = true;
        return;
    }
    memmove(&columns->names[at + 1], &columns->names[at], (columns->count - at) * sizeof(columns->names[0]));
    columns->names[at] = name;
    columns->count++;
}

void label_columns_of(const struct query_series *series, size_t count, struct label_columns *ret_columns)
{
    *ret_columns = (struct label_columns){0};
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < labels_count(series[i].labels); j++)
            add_name(ret_columns, labels_at(series[i].labels, j).name);
}

static bool is_common(const struct query_series *series, size_t count, struct str name)
{
    struct str value = labels_get(series[0].labels, name);
    for (size_t i = 1; i < count && value.len > 0; i++)
        if (!str_equal(labels_get(series[i].labels, name), value))
            return false;
    return value.len > 0;
}

void label_columns_split(struct label_columns *columns, const struct query_series *series, size_t count,
                         struct buf *common)
{
    struct label shared[LABELS_MAX] = {0};
    size_t shared_count = 0;
    size_t kept = 0;
    for (size_t i = 0; i < columns->count; i++) {
        struct str name = columns->names[i];
        if (shared_count < LABELS_MAX && is_common(series, count, name))
            shared[shared_count++] = (struct label){name, labels_get(series[0].labels, name)};
        else
            columns->names[kept++] = name;
    }
    columns->count = kept;
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(shared, shared_count);
    if (shared_count > 0)
        labels_print(labels, common);
}

void label_columns_print(const struct label_columns *columns, const struct query_series *series, struct buf *out)
{
    struct label own[LABELS_MAX] = {0};
    size_t count = 0;
    if (columns->too_many) {
        labels_print(series->labels, out);
        return;
    }
    for (size_t i = 0; i < columns->count && count < LABELS_MAX; i++) {
        struct str value = labels_get(series->labels, columns->names[i]);
        if (value.len > 0)
            own[count++] = (struct label){columns->names[i], value};
    }
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(own, count);
    labels_print(labels, out);
}
