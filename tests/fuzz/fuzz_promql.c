/* The parser of PromQL: whatever it accepts must print, and what it prints must parse to the same tree, and print the
 * same. */
#include "ast_equal.h"
#include "promql/parse.h"
#include "promql/series_text.h"

#include <stdlib.h>

#define PRINTED_BYTES_MAX (16 * MIB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_place(const struct promql_error *error, struct str text)
{
    CLEANUP(buf_done) struct buf shown = BUF_INIT(4 * KIB);
    if (error->position.start > error->position.end || error->position.start > text.len || !error->text[0])
        abort();
    promql_error_print_short(error, text, &shown);
    if (shown.full)
        abort();
}

static void check_series(struct str text)
{
    struct series_text series;
    struct promql_error error;
    if (series_text_parse(text, &error, &series) == 0)
        series_text_done(&series);
    else
        check_place(&error, text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(promql_expression_freep) struct promql_expression *first = NULL;
    CLEANUP(promql_expression_freep) struct promql_expression *second = NULL;
    CLEANUP(promql_expression_freep) struct promql_expression *selector = NULL;
    CLEANUP(buf_done) struct buf once = BUF_INIT(PRINTED_BYTES_MAX);
    CLEANUP(buf_done) struct buf twice = BUF_INIT(PRINTED_BYTES_MAX);
    struct promql_error error;
    struct str text = str_of(data, size);
    check_series(text);
    if (promql_parse_selector(text, &error, &selector) < 0)
        check_place(&error, text);
    if (promql_parse(text, &error, &first) < 0) {
        check_place(&error, text);
        if (selector)
            abort();
        return 0;
    }
    if (ast_print(promql_expression_root(first), &once) < 0)
        abort();
    /* Spaces and escapes may make the printed text longer than what is taken. */
    if (once.len > PROMQL_TEXT_BYTES_MAX)
        return 0;
    if (promql_parse(buf_view(&once), &error, &second) < 0)
        abort();
    if (ast_print(promql_expression_root(second), &twice) < 0 || !str_equal(buf_view(&once), buf_view(&twice)))
        abort();
    if (!ast_equal(promql_expression_root(first), promql_expression_root(second)))
        abort();
    return 0;
}
