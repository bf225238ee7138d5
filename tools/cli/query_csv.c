#include "query_csv.h"

#include "base/clock.h"
#include "label_columns.h"

struct csv {
    const struct output *output;
    struct label_columns columns; /* none where there are too many: then the series is one */
    struct buf text;
};

static void field(struct csv *csv, struct str text, char behind)
{
    CLEANUP(buf_done) struct buf safe = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    if (csv->output->terminal) {
        output_safe(text, &safe);
        text = buf_view(&safe);
    }
    output_csv(text);
    putchar(behind);
}

static void print_point(struct csv *csv, const struct query_series *series, const struct query_point *point)
{
    char time[32];
    clock_format_rfc3339(point->time_ms, time);
    if (csv->columns.too_many)
        field(csv, buf_view(&csv->text), ',');
    for (size_t i = 0; i < csv->columns.count; i++)
        field(csv, labels_get(series->labels, csv->columns.names[i]), ',');
    field(csv, str_from(time), ',');
    field(csv, str_from(point->text), '\n');
}

void query_csv_print(const struct query_result *result, const struct output *output)
{
    struct csv csv = {.output = output, .text = BUF_INIT(OUTPUT_TEXT_BYTES_MAX)};
    label_columns_of(result->series, result->count, &csv.columns);
    if (csv.columns.too_many) {
        csv.columns.count = 0;
        field(&csv, STR("series"), ',');
    }
    for (size_t i = 0; i < csv.columns.count; i++)
        field(&csv, csv.columns.names[i], ',');
    field(&csv, STR("time"), ',');
    field(&csv, STR("value"), '\n');
    for (size_t i = 0; i < result->count; i++) {
        buf_reset(&csv.text);
        labels_print(result->series[i].labels, &csv.text);
        for (size_t j = 0; j < result->series[i].count; j++)
            print_point(&csv, &result->series[i], &result->series[i].points[j]);
    }
    buf_done(&csv.text);
}
