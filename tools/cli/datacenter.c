#include "datacenter.h"

#include "base/fail.h"
#include "base/quote.h"
#include "caret.h"
#include "promql/narrow.h"

#define LABEL             "datacenter"
#define PATTERN_BYTES_MAX (64 * KIB)
#define MESSAGE_BYTES_MAX KIB

/* The names as a pattern that matches just them. */
static void append_pattern(const struct cli_arguments *arguments, struct buf *pattern)
{
    const char *name;
    for (int i = 0; (name = cli_value_at(arguments, LABEL, i)); i++) {
        if (i > 0)
            buf_append_byte(pattern, '|');
        for (; *name; name++) {
            if (strchr("\\.+*?()|[]{}^$", *name))
                buf_append_byte(pattern, '\\');
            buf_append_byte(pattern, (uint8_t)*name);
        }
    }
}

/* Keeps a view of pattern. */
static enum cli_exit make_matcher(const struct cli_arguments *arguments, struct buf *pattern,
                                  struct matcher *ret_matcher)
{
    char error[256];
    bool several = cli_value_at(arguments, LABEL, 1) != NULL;
    if (several)
        append_pattern(arguments, pattern);
    else
        buf_append_text(pattern, cli_value(arguments, LABEL));
    if (pattern->full) {
        cli_error("--datacenter: more than %zu bytes", pattern->bytes_max);
        return CLI_USAGE;
    }
    if (matcher_init(ret_matcher, several ? MATCH_REGEX : MATCH_EQUAL, STR(LABEL), buf_view(pattern), error) < 0) {
        cli_error("--datacenter: %s", error);
        return CLI_USAGE;
    }
    return CLI_OK;
}

struct contradiction {
    const struct cli_arguments *arguments;
    const struct ast *selector; /* the first that none of the given datacenters can match */
};

static bool matches_any(const struct matcher *matcher, const struct cli_arguments *arguments)
{
    const char *name;
    for (int i = 0; (name = cli_value_at(arguments, LABEL, i)); i++)
        if (matcher_matches(matcher, str_from(name)))
            return true;
    return false;
}

static bool look_for_contradiction(const struct ast *ast, void *arg)
{
    struct contradiction *found = arg;
    for (size_t i = 0; ast->kind == AST_SELECTOR && i < ast->selector.matcher_count; i++) {
        const struct matcher *matcher = &ast->selector.matchers[i];
        if (str_equal(matcher->name, STR(LABEL)) && !matches_any(matcher, found->arguments))
            found->selector = ast;
    }
    return !found->selector;
}

static enum cli_exit parse(struct str text, enum datacenter_text kind, struct promql_expression **ret_expression)
{
    struct promql_error error;
    int result = kind == DATACENTER_EXPRESSION ? promql_parse(text, &error, ret_expression)
                                               : promql_parse_selector(text, &error, ret_expression);
    if (result == 0)
        return CLI_OK;
    CLEANUP(buf_done) struct buf message = BUF_INIT(MESSAGE_BYTES_MAX);
    promql_error_print_short(&error, text, &message);
    caret_complain(buf_view(&message), text, MIN(error.position.start, text.len));
    return CLI_FAILED;
}

enum cli_exit datacenter_narrow(const struct cli_arguments *arguments, const char *text, enum datacenter_text kind,
                                struct buf *ret_text)
{
    if (!cli_flag(arguments, LABEL)) {
        buf_append_text(ret_text, text);
        return CLI_OK;
    }
    /* Freed in the other order: the expression has views of the matcher, and that of the pattern. */
    CLEANUP(buf_done) struct buf pattern = BUF_INIT(PATTERN_BYTES_MAX);
    CLEANUP(matcher_done) struct matcher matcher = {0};
    CLEANUP(promql_expression_freep) struct promql_expression *expression = NULL;
    enum cli_exit exit_code = make_matcher(arguments, &pattern, &matcher);
    if (exit_code == CLI_OK)
        exit_code = parse(str_from(text), kind, &expression);
    if (exit_code != CLI_OK)
        return exit_code;
    struct contradiction found = {.arguments = arguments};
    ast_walk(promql_expression_root(expression), look_for_contradiction, &found);
    if (found.selector) {
        caret_complain(STR("tributary: --datacenter: the expression asks for another datacenter"), str_from(text),
                       found.selector->position.start);
        return CLI_USAGE;
    }
    if (promql_narrow(expression, &matcher) < 0 || ast_print(promql_expression_root(expression), ret_text) < 0) {
        cli_error("--datacenter: the expression is too long");
        return CLI_USAGE;
    }
    return CLI_OK;
}

enum cli_exit datacenter_selector(const struct cli_arguments *arguments, struct buf *ret_text)
{
    CLEANUP(buf_done) struct buf pattern = BUF_INIT(PATTERN_BYTES_MAX);
    CLEANUP(matcher_done) struct matcher matcher = {0};
    enum cli_exit exit_code = make_matcher(arguments, &pattern, &matcher);
    if (exit_code != CLI_OK)
        return exit_code;
    buf_printf(ret_text, "{" LABEL "%s", matcher_operator(matcher.type));
    quote_print(matcher.value, ret_text);
    buf_append_byte(ret_text, '}');
    return CLI_OK;
}
