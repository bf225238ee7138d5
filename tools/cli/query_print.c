#include "query_print.h"

#include "base/clock.h"
#include "base/fail.h"

#include <errno.h>
#include <math.h>

#define COLUMNS_MAX  (LABELS_MAX + 8) /* of a table or of CSV; beyond it series are written as one column */
#define SHAPE_PLACES 32               /* of the little picture of a range */

int query_format_parse(const char *name, enum query_format *ret_format)
{
    static const char *const names[] = {"table", "plain", "json", "csv"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(names[i], name) == 0) {
            *ret_format = (enum query_format)i;
            return 0;
        }
    }
    return -EINVAL;
}

static void print_labels(const struct labels *labels, struct buf *out)
{
    buf_reset(out);
    labels_print(labels, out);
}

/* ---- Plain: labels value, a line each; of ranges with the time between ---- */

static void print_plain(const struct query_result *result)
{
    CLEANUP(buf_done) struct buf labels = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    for (size_t i = 0; i < result->count; i++) {
        const struct query_series *series = &result->series[i];
        print_labels(series->labels, &labels);
        for (size_t j = 0; j < series->count; j++) {
            char time[32];
            clock_format_rfc3339(series->points[j].time_ms, time);
            if (result->type == QUERY_SCALAR || result->type == QUERY_STRING)
                printf("%s\n", series->points[j].text);
            else if (result->type == QUERY_VECTOR)
                printf(STR_FMT " %s\n", STR_ARG(buf_view(&labels)), series->points[j].text);
            else
                printf(STR_FMT " %s %s\n", STR_ARG(buf_view(&labels)), time, series->points[j].text);
        }
    }
}

/* ---- Names of labels over all series ---- */

struct names {
    struct str items[COLUMNS_MAX]; /* sorted */
    size_t count;
    bool too_many;
};

static void add_name(struct names *names, struct str name)
{
    size_t at = 0;
    while (at < names->count && str_compare(names->items[at], name) < 0)
        at++;
    if (at < names->count && str_equal(names->items[at], name))
        return;
    if (names->count == COLUMNS_MAX) {
        names->too_many = true;
        return;
    }
    memmove(&names->items[at + 1], &names->items[at], (names->count - at) * sizeof(names->items[0]));
    names->items[at] = name;
    names->count++;
}

static void collect_names(const struct query_result *result, struct names *ret_names)
{
    *ret_names = (struct names){0};
    for (size_t i = 0; i < result->count; i++)
        for (size_t j = 0; j < labels_count(result->series[i].labels); j++)
            add_name(ret_names, labels_at(result->series[i].labels, j).name);
}

/* ---- CSV, RFC 4180 ---- */

static void print_csv(const struct query_result *result)
{
    struct names names;
    collect_names(result, &names);
    CLEANUP(buf_done) struct buf labels = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    if (names.too_many) {
        printf("series,");
        names.count = 0;
    }
    for (size_t i = 0; i < names.count; i++) {
        output_csv(names.items[i]);
        putchar(',');
    }
    printf("time,value\n");
    for (size_t i = 0; i < result->count; i++) {
        const struct query_series *series = &result->series[i];
        print_labels(series->labels, &labels);
        for (size_t j = 0; j < series->count; j++) {
            if (names.too_many) {
                output_csv(buf_view(&labels));
                putchar(',');
            }
            for (size_t k = 0; k < names.count; k++) {
                output_csv(labels_get(series->labels, names.items[k]));
                putchar(',');
            }
            char time[32];
            clock_format_rfc3339(series->points[j].time_ms, time);
            printf("%s,", time);
            output_csv(str_from(series->points[j].text));
            putchar('\n');
        }
    }
}

/* ---- Tables ---- */

static void cell_value(struct table *table, const char *text)
{
    char room[OUTPUT_NUMBER_BYTES];
    table_cell_style(table, output_number(str_from(text), room), STYLE_BOLD);
}

/* Each label in a column of its own, the value last; NULL where that is wider than the terminal. */
static struct table *wide_table(const struct query_result *result, const struct output *output)
{
    struct names names;
    collect_names(result, &names);
    if (names.too_many || names.count == 0)
        return NULL;
    struct table_column columns[COLUMNS_MAX + 1] = {0};
    CLEANUP(buf_done) struct buf titles = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    for (size_t i = 0; i < names.count; i++)
        buf_append_str(&titles, names.items[i]), buf_append_byte(&titles, 0);
    const char *title = (const char *)titles.data;
    for (size_t i = 0; i < names.count; i++) {
        columns[i].title = strcmp(title, LABEL_NAME) == 0 ? "" : title;
        title += strlen(title) + 1;
    }
    columns[names.count] = (struct table_column){.title = "VALUE", .right = true};
    CLEANUP(table_freep) struct table *table = table_new(columns, names.count + 1);
    for (size_t i = 0; i < result->count; i++) {
        for (size_t j = 0; j < names.count; j++)
            table_cell(table, labels_get(result->series[i].labels, names.items[j]));
        cell_value(table, result->series[i].points[0].text);
    }
    if (table_width(table) > (size_t)output->width)
        return NULL;
    table_print(table, output, "");
    return STEAL(table);
}

static void print_vector_table(const struct query_result *result, const struct output *output)
{
    static const struct table_column columns[] = {{.title = "VALUE", .right = true}, {.title = "SERIES"}};
    CLEANUP(table_freep) struct table *table = wide_table(result, output);
    if (table)
        return;
    table = table_new(columns, ARRAY_LEN(columns));
    CLEANUP(buf_done) struct buf labels = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    for (size_t i = 0; i < result->count; i++) {
        print_labels(result->series[i].labels, &labels);
        cell_value(table, result->series[i].points[0].text);
        table_cell(table, buf_view(&labels));
    }
    table_print(table, output, "");
}

struct extent {
    int64_t start_ms, end_ms;
};

static struct extent extent_of(const struct query_result *result)
{
    struct extent extent = {INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < result->count; i++) {
        const struct query_series *series = &result->series[i];
        extent.start_ms = MIN(extent.start_ms, series->points[0].time_ms);
        extent.end_ms = MAX(extent.end_ms, series->points[series->count - 1].time_ms);
    }
    return extent;
}

struct summary {
    double min, max;
    double means[SHAPE_PLACES];
    size_t counts[SHAPE_PLACES];
};

static struct summary summarise(const struct query_series *series, const struct extent *extent)
{
    struct summary summary = {.min = INFINITY, .max = -INFINITY};
    double width_ms = (double)(extent->end_ms - extent->start_ms) + 1;
    for (size_t i = 0; i < series->count; i++) {
        double value = series->points[i].value;
        if (!isfinite(value))
            continue;
        summary.min = fmin(summary.min, value);
        summary.max = fmax(summary.max, value);
        size_t place = (size_t)((double)(series->points[i].time_ms - extent->start_ms) / width_ms * SHAPE_PLACES);
        place = MIN(place, (size_t)SHAPE_PLACES - 1);
        summary.counts[place]++;
        summary.means[place] += (value - summary.means[place]) / (double)summary.counts[place];
    }
    return summary;
}

static void print_shape(const struct summary *summary, struct buf *out)
{
    static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    const unsigned bar_count = ARRAY_LEN(bars);
    double span = summary->max - summary->min;
    buf_reset(out);
    for (size_t i = 0; i < SHAPE_PLACES; i++) {
        double share = span > 0 ? (summary->means[i] - summary->min) / span : 0;
        size_t bar = MIN((size_t)(fmax(share, 0) * bar_count), bar_count - 1);
        buf_append_text(out, summary->counts[i] > 0 ? bars[bar] : " ");
    }
}

static void cell_number(struct table *table, double value)
{
    char text[32] = "";
    if (isfinite(value))
        snprintf(text, sizeof(text), "%.6g", value);
    table_cell(table, str_from(text));
}

/* A line per series: what it went through, not each point; -o plain and csv have those. */
static void print_matrix_table(const struct query_result *result, const struct output *output)
{
    static const struct table_column columns[] = {
        {.title = "LAST", .right = true},  {.title = "MIN", .right = true},
        {.title = "MAX", .right = true},   {.title = "POINTS", .right = true, .minor = true},
        {.title = "SHAPE", .minor = true}, {.title = "SERIES"},
    };
    struct extent extent = extent_of(result);
    CLEANUP(table_freep) struct table *table = table_new(columns, ARRAY_LEN(columns));
    CLEANUP(buf_done) struct buf text = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    for (size_t i = 0; i < result->count; i++) {
        const struct query_series *series = &result->series[i];
        struct summary summary = summarise(series, &extent);
        char count[32];
        snprintf(count, sizeof(count), "%zu", series->count);
        cell_value(table, series->points[series->count - 1].text);
        cell_number(table, summary.min);
        cell_number(table, summary.max);
        table_cell(table, str_from(count));
        print_shape(&summary, &text);
        table_cell(table, output->utf8 ? buf_view(&text) : STR_NULL);
        print_labels(series->labels, &text);
        table_cell(table, buf_view(&text));
    }
    char start[32], end[32];
    clock_format_rfc3339(extent.start_ms, start);
    clock_format_rfc3339(extent.end_ms, end);
    printf("%s%s to %s%s\n", output_on(output, STYLE_DIM), start, end, output_off(output, STYLE_DIM));
    table_print(table, output, "");
}

static void print_table(const struct query_result *result, const struct output *output)
{
    CLEANUP(buf_done) struct buf safe = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    if (result->count == 0) {
        fprintf(stderr, "no series\n");
        return;
    }
    switch (result->type) {
    case QUERY_VECTOR:
        print_vector_table(result, output);
        break;
    case QUERY_MATRIX:
        print_matrix_table(result, output);
        break;
    case QUERY_SCALAR:
    case QUERY_STRING:
        output_safe(str_from(result->series[0].points[0].text), &safe);
        printf(STR_FMT "\n", STR_ARG(buf_view(&safe)));
        break;
    }
}

void query_print(const struct query_result *result, enum query_format format, const struct output *output)
{
    switch (format) {
    case QUERY_FORMAT_TABLE:
        print_table(result, output);
        break;
    case QUERY_FORMAT_PLAIN:
        print_plain(result);
        break;
    case QUERY_FORMAT_JSON:
        json_dumpf(result->json, stdout, JSON_PRESERVE_ORDER | JSON_COMPACT | JSON_REAL_PRECISION(15));
        putchar('\n');
        break;
    case QUERY_FORMAT_CSV:
        print_csv(result);
        break;
    }
}
