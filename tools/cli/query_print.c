#include "query_print.h"

#include "base/clock.h"
#include "base/fail.h"
#include "query_csv.h"
#include "query_prom.h"
#include "query_table.h"

#include <errno.h>

#define PLOTTED_MAX 8 /* series of a range that are plotted unless told otherwise: one for each colour */

int query_format_parse(const char *name, enum query_format *ret_format)
{
    static const char *const names[] = {
        [QUERY_FORMAT_TABLE] = "table", [QUERY_FORMAT_SPARK] = "spark", [QUERY_FORMAT_PLOT] = "plot",
        [QUERY_FORMAT_PLAIN] = "plain", [QUERY_FORMAT_JSON] = "json",   [QUERY_FORMAT_CSV] = "csv",
        [QUERY_FORMAT_PROM] = "prom"};
    for (size_t i = QUERY_FORMAT_TABLE; i < ARRAY_LEN(names); i++) {
        if (strcmp(names[i], name) == 0) {
            *ret_format = (enum query_format)i;
            return 0;
        }
    }
    return -EINVAL;
}

static bool is_single(const struct query_result *result)
{
    return result->type == QUERY_SCALAR || result->type == QUERY_STRING;
}

/* On a terminal made safe. */
static void append(struct str text, const struct output *output, struct buf *out)
{
    if (output->terminal)
        output_safe(text, out);
    else
        buf_append_str(out, text);
}

/* labels value, a line each; of ranges with the time between. */
static void print_plain(const struct query_result *result, const struct output *output)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    CLEANUP(buf_done) struct buf labels = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    for (size_t i = 0; i < result->count; i++) {
        const struct query_series *series = &result->series[i];
        buf_reset(&text);
        buf_reset(&labels);
        labels_print(series->labels, &text);
        append(buf_view(&text), output, &labels);
        for (size_t j = 0; j < series->count; j++) {
            char time[32];
            clock_format_rfc3339(series->points[j].time_ms, time);
            if (result->type == QUERY_VECTOR)
                printf(STR_FMT " %s\n", STR_ARG(buf_view(&labels)), series->points[j].text);
            else
                printf(STR_FMT " %s %s\n", STR_ARG(buf_view(&labels)), time, series->points[j].text);
        }
    }
}

/* A scalar or a string: alone. */
static void print_single(const struct query_result *result, const struct output *output)
{
    CLEANUP(buf_done) struct buf safe = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    const char *text = result->series[0].points[0].text;
    append(str_from(text), output, &safe);
    printf(STR_FMT "\n", STR_ARG(buf_view(&safe)));
}

static enum query_format choose(const struct query_result *result, enum query_format format,
                                const struct output *output)
{
    if (format == QUERY_FORMAT_AUTO && !output->terminal)
        return QUERY_FORMAT_PLAIN;
    if (format == QUERY_FORMAT_AUTO && result->type == QUERY_MATRIX && result->count <= PLOTTED_MAX)
        return QUERY_FORMAT_PLOT;
    if ((format == QUERY_FORMAT_AUTO || format == QUERY_FORMAT_TABLE) && result->type == QUERY_MATRIX)
        return QUERY_FORMAT_SPARK;
    return format == QUERY_FORMAT_AUTO ? QUERY_FORMAT_TABLE : format;
}

static enum cli_exit refuse(const struct query_result *result, enum query_format format)
{
    if ((format == QUERY_FORMAT_PLOT || format == QUERY_FORMAT_SPARK) && result->type != QUERY_MATRIX)
        cli_error("query: plots and sparklines are of a range (--range 1h)");
    else if (format == QUERY_FORMAT_PROM && result->type == QUERY_STRING)
        cli_error("query: a string has no form in the exposition format");
    else
        return CLI_OK;
    return CLI_USAGE;
}

enum cli_exit query_print(const struct query_result *result, const struct query_look *look, const struct output *output)
{
    enum query_format format = choose(result, look->format, output);
    struct query_view view = {.output = output,
                              .exact = look->exact,
                              .span = look->span ? *look->span : series_span_of(result->series, result->count)};
    enum cli_exit exit_code = refuse(result, format);
    ASSERT(format != QUERY_FORMAT_JSON);
    if (exit_code != CLI_OK)
        return exit_code;
    if (format == QUERY_FORMAT_CSV)
        query_csv_print(result, output);
    else if (format == QUERY_FORMAT_PROM)
        query_prom_print(result, output, stdout);
    else if (is_single(result))
        print_single(result, output);
    else if (format == QUERY_FORMAT_PLAIN)
        print_plain(result, output);
    else if (result->count == 0)
        fprintf(stderr, "no series\n");
    else if (format == QUERY_FORMAT_PLOT)
        query_table_plot(result, &view, stdout);
    else if (format == QUERY_FORMAT_SPARK)
        query_table_sparks(result, &view, stdout);
    else
        query_table_vector(result, &view, stdout);
    return CLI_OK;
}
