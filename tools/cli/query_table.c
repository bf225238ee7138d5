#include "query_table.h"

#include "base/clock.h"
#include "base/fail.h"
#include "label_columns.h"
#include "metric/sample.h"
#include "number.h"
#include "plot.h"
#include "spark.h"
#include "table.h"

#include <inttypes.h>

#define SPARK_PLACES_MAX 60 /* more is not read as one picture */
#define SPARK_PLACES_MIN 12
#define SPARK_PLACES     24 /* where the series stands in one column */
#define NARROW_PLACES    60 /* a terminal of less */
#define PLOT_ROWS_LEAST  8
#define PLOT_ROWS_MOST   22
#define ROWS_BESIDE      5 /* of the terminal: title, time, the legend's titles, the prompts */
#define CELL_COLUMNS_MAX 8
#define SPAN_BYTES_MAX   256

/* ---- What stands beside the labels of a series ---- */

enum cell { CELL_MARK, CELL_VALUE, CELL_SHAPE, CELL_MIN, CELL_MAX, CELL_LAST };

static const struct table_column cell_columns[] = {
    [CELL_MARK] = {.title = ""},
    [CELL_VALUE] = {.title = "VALUE", .right = true},
    [CELL_SHAPE] = {.title = "SHAPE"},
    [CELL_MIN] = {.title = "MIN", .right = true},
    [CELL_MAX] = {.title = "MAX", .right = true},
    [CELL_LAST] = {.title = "LAST", .right = true},
};

/* One table while it is made. */
struct sheet {
    const struct query_result *result;
    const struct query_view *view;
    size_t count;            /* of series that are shown */
    const enum cell *wanted; /* CELL_..., in their order */
    size_t wanted_count;
    struct label_columns labels; /* which have a column each */
    bool series_as_one;          /* instead of these; behind all others */
    size_t spark_places;         /* 0: no shape */
    struct table *table;
};

/* Of the labels' columns; the other cells stand behind them. */
static bool stands_before(const struct sheet *sheet, enum cell cell)
{
    return cell == CELL_MARK || sheet->series_as_one;
}

static void cell_number(const struct sheet *sheet, double value)
{
    char text[VALUE_TEXT_BYTES];
    if (sheet->view->exact)
        text[value_print(value, text)] = 0;
    else
        number_print(value, text);
    table_cell(sheet->table, str_from(text));
}

/* The last value; exact as it came. */
static void cell_last(const struct sheet *sheet, const struct query_point *point)
{
    char text[NUMBER_BYTES];
    number_print(point->value, text);
    table_cell_style(sheet->table, str_from(sheet->view->exact ? point->text : text), STYLE_BOLD);
}

static void cell_shape(const struct sheet *sheet, const struct query_series *series)
{
    CLEANUP(buf_done) struct buf shape = BUF_INIT(SPARK_COLUMNS_MAX * 4);
    const struct query_view *view = sheet->view;
    if (sheet->spark_places > 0)
        spark_print(series, &view->span, sheet->spark_places, view->output->utf8, &shape);
    table_cell(sheet->table, buf_view(&shape));
}

static void add_cell(const struct sheet *sheet, size_t row, enum cell cell, const struct series_extremes *extremes)
{
    const struct query_series *series = &sheet->result->series[row];
    switch (cell) {
    case CELL_MARK:
        table_cell_style(sheet->table, str_from(plot_mark(row, sheet->count, sheet->view->output)), STYLE_SERIES + row);
        break;
    case CELL_SHAPE:
        cell_shape(sheet, series);
        break;
    case CELL_MIN:
        cell_number(sheet, extremes->min);
        break;
    case CELL_MAX:
        cell_number(sheet, extremes->max);
        break;
    case CELL_VALUE:
    case CELL_LAST:
        cell_last(sheet, &series->points[series->count - 1]);
        break;
    }
}

static void add_cells(const struct sheet *sheet, size_t row, bool before, const struct series_extremes *extremes)
{
    for (size_t i = 0; i < sheet->wanted_count; i++)
        if (stands_before(sheet, sheet->wanted[i]) == before)
            add_cell(sheet, row, sheet->wanted[i], extremes);
}

static void add_row(const struct sheet *sheet, size_t row, struct buf *text)
{
    const struct query_series *series = &sheet->result->series[row];
    struct series_extremes extremes = series_extremes_of(series);
    add_cells(sheet, row, true, &extremes);
    for (size_t i = 0; i < sheet->labels.count && !sheet->series_as_one; i++)
        table_cell(sheet->table, labels_get(series->labels, sheet->labels.names[i]));
    add_cells(sheet, row, false, &extremes);
    if (!sheet->series_as_one)
        return;
    buf_reset(text);
    label_columns_print(&sheet->labels, series, text);
    table_cell(sheet->table, buf_view(text));
}

/* The columns' titles; names of labels are no C strings, so titles has them as such. */
static size_t make_columns(const struct sheet *sheet, struct buf *titles, struct table_column *ret_columns)
{
    size_t count = 0;
    for (size_t i = 0; i < sheet->wanted_count; i++)
        if (stands_before(sheet, sheet->wanted[i]))
            ret_columns[count++] = cell_columns[sheet->wanted[i]];
    for (size_t i = 0; i < sheet->labels.count; i++) {
        struct str name = sheet->labels.names[i];
        buf_append_str(titles, str_equal(name, STR(LABEL_NAME)) ? STR("") : name);
        buf_append_byte(titles, 0);
    }
    const char *title = (const char *)titles->data;
    for (size_t i = 0; i < sheet->labels.count && !sheet->series_as_one; i++) {
        ret_columns[count++].title = title;
        title += strlen(title) + 1;
    }
    for (size_t i = 0; i < sheet->wanted_count; i++)
        if (!stands_before(sheet, sheet->wanted[i]))
            ret_columns[count++] = cell_columns[sheet->wanted[i]];
    if (sheet->series_as_one)
        ret_columns[count++] = (struct table_column){.title = "SERIES", .wraps = true};
    return count;
}

static struct table *make_table(struct sheet *sheet)
{
    struct table_column columns[LABEL_COLUMNS_MAX + CELL_COLUMNS_MAX] = {0};
    CLEANUP(buf_done) struct buf titles = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    CLEANUP(buf_done) struct buf text = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    size_t count = make_columns(sheet, &titles, columns);
    sheet->table = table_new(columns, count);
    for (size_t i = 0; i < sheet->count; i++)
        add_row(sheet, i, &text);
    return STEAL(sheet->table);
}

/* ---- The form that fits ---- */

static bool wants_shape(const struct sheet *sheet)
{
    for (size_t i = 0; i < sheet->wanted_count; i++)
        if (sheet->wanted[i] == CELL_SHAPE)
            return true;
    return false;
}

/* Each label in a column of its own, where that is not wider than the terminal; else the series as one. A shape takes
 * what room is left. */
static void print_sheet(struct sheet *sheet, FILE *out)
{
    const struct query_view *view = sheet->view;
    size_t width = (size_t)view->output->width;
    CLEANUP(table_freep) struct table *table = NULL;
    if (!sheet->labels.too_many) {
        table = make_table(sheet);
        size_t used = table_width(table) + (wants_shape(sheet) ? SPARK_PLACES_MIN : 0);
        sheet->series_as_one = used > width;
    } else {
        sheet->series_as_one = true;
    }
    if (wants_shape(sheet)) {
        size_t left = !sheet->series_as_one   ? width - table_width(table) + strlen("SHAPE")
                      : width < NARROW_PLACES ? SPARK_PLACES_MIN
                                              : SPARK_PLACES;
        sheet->spark_places = spark_columns(&view->span, MIN(left, (size_t)SPARK_PLACES_MAX));
    }
    if (sheet->series_as_one || sheet->spark_places > 0) {
        table_free(table);
        table = make_table(sheet);
    }
    table_write(table, view->output, "", out);
}

/* Above all: what all series have in common. */
static void print_title(struct sheet *sheet, bool of_one, FILE *out)
{
    CLEANUP(buf_done) struct buf common = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    CLEANUP(buf_done) struct buf safe = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    label_columns_of(sheet->result->series, sheet->count, &sheet->labels);
    if (sheet->labels.too_many || (sheet->count == 1 && !of_one))
        return;
    label_columns_split(&sheet->labels, sheet->result->series, sheet->count, &common);
    output_safe(buf_view(&common), &safe);
    if (safe.len > 0)
        fprintf(out, STR_FMT "\n", STR_ARG(buf_view(&safe)));
}

/* "1m30s" */
static void print_step(int64_t step_ms, struct buf *out)
{
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (step_ms >= units[i].ms)
            buf_printf(out, "%" PRId64 "%s", step_ms / units[i].ms, units[i].name);
        step_ms %= units[i].ms;
    }
}

/* "2026-01-02 03:00:00 to 04:00:00 UTC, step 30s", on as many lines as it takes. */
static void print_span(const struct query_view *view, FILE *out)
{
    char start[32];
    char end[32];
    struct buf parts[3];
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        parts[i] = BUF_INIT(SPAN_BYTES_MAX);
    clock_format_rfc3339(view->span.start_ms, start);
    clock_format_rfc3339(view->span.end_ms, end);
    int day = (int)strcspn(start, "T");
    int end_day = (int)strcspn(end, "T");
    bool same_day = strncmp(start, end, (size_t)day + 1) == 0;
    buf_printf(&parts[0], "%.*s %.8s", day, start, start + day + 1);
    buf_printf(&parts[1], "to %.*s%s%.8s UTC,", same_day ? 0 : end_day, end, same_day ? "" : " ", end + end_day + 1);
    buf_append_text(&parts[2], "step ");
    print_step(view->span.step_ms, &parts[2]);
    size_t used = 0;
    fputs(output_on(view->output, STYLE_DIM), out);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        bool fits = used + 1 + parts[i].len <= (size_t)view->output->width;
        fprintf(out, "%s" STR_FMT, i == 0 ? "" : fits ? " " : "\n", STR_ARG(buf_view(&parts[i])));
        used = i > 0 && fits ? used + 1 + parts[i].len : parts[i].len;
        buf_done(&parts[i]);
    }
    fprintf(out, "%s\n", output_off(view->output, STYLE_DIM));
}

void query_table_vector(const struct query_result *result, const struct query_view *view, FILE *out)
{
    static const enum cell wanted[] = {CELL_VALUE};
    struct sheet sheet = {
        .result = result, .view = view, .count = result->count, .wanted = wanted, .wanted_count = ARRAY_LEN(wanted)};
    print_title(&sheet, false, out);
    print_sheet(&sheet, out);
}

void query_table_sparks(const struct query_result *result, const struct query_view *view, FILE *out)
{
    static const enum cell wanted[] = {CELL_SHAPE, CELL_MIN, CELL_MAX, CELL_LAST};
    struct sheet sheet = {
        .result = result, .view = view, .count = result->count, .wanted = wanted, .wanted_count = ARRAY_LEN(wanted)};
    print_title(&sheet, false, out);
    print_span(view, out);
    print_sheet(&sheet, out);
}

void query_table_plot(const struct query_result *result, const struct query_view *view, FILE *out)
{
    static const enum cell wanted[] = {CELL_MARK, CELL_MIN, CELL_MAX, CELL_LAST};
    const struct output *output = view->output;
    size_t count = MIN(result->count, (size_t)PLOT_SERIES_MAX);
    bool marked = count > 1;
    struct sheet sheet = {.result = result,
                          .view = view,
                          .count = count,
                          .wanted = marked ? wanted : wanted + 1,
                          .wanted_count = ARRAY_LEN(wanted) - !marked};
    CLEANUP(buf_done) struct buf drawn = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    size_t taken = MIN(count + ROWS_BESIDE, (size_t)output->plot_height);
    size_t rows = MAX((size_t)output->plot_height - taken, (size_t)PLOT_ROWS_LEAST);
    struct plot plot = {.series = result->series,
                        .count = count,
                        .span = &view->span,
                        .columns = (size_t)output->plot_width,
                        .rows = MIN(rows, (size_t)PLOT_ROWS_MOST)};
    print_title(&sheet, true, out);
    print_span(view, out);
    plot_print(&plot, output, &drawn);
    fwrite(drawn.data, 1, drawn.len, out);
    print_sheet(&sheet, out);
    if (count < result->count)
        fprintf(out, "%s(series left out: %zu)%s\n", output_on(output, STYLE_DIM), result->count - count,
                output_off(output, STYLE_DIM));
}
