/* tributary format-query: a PromQL expression in its plain form, or what is wrong with it. */
#include "base/fail.h"
#include "caret.h"
#include "cli.h"
#include "promql/parse.h"

static enum cli_exit format_query(const struct cli_arguments *arguments)
{
    struct str text = str_from(arguments->words[0]);
    CLEANUP(promql_expression_freep) struct promql_expression *expression = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(8 * PROMQL_TEXT_BYTES_MAX);
    struct promql_error error;
    if (promql_parse(text, &error, &expression) < 0) {
        promql_error_print_short(&error, text, &out);
        caret_complain(buf_view(&out), text, MIN(error.position.start, text.len));
        return CLI_FAILED;
    }
    if (ast_print(promql_expression_root(expression), &out) < 0) {
        cli_error("the expression is longer than %zu bytes", out.bytes_max);
        return CLI_FAILED;
    }
    printf(STR_FMT "\n", STR_ARG(buf_view(&out)));
    return CLI_OK;
}

const struct cli_command command_format_query = {
    .name = "format-query",
    .words = "EXPRESSION",
    .purpose = "prints a PromQL expression in its plain form, or what is wrong with it",
    .help = "No daemon is asked. An expression that begins with - goes behind --.\n\n"
            "  tributary format-query 'sum(rate(foo[5m]))by(job)'\n\n"
            "Exit status: 0 it is well formed, 1 it is not, 2 usage.\n",
    .options = (const struct cli_option[]){{0}},
    .words_min = 1,
    .words_max = 1,
    .run = format_query,
};
