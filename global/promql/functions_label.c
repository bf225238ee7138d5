/* label_replace and label_join. */
#include "base/regex.h"
#include "promql/eval_state.h"
#include "promql/functions.h"
#include "promql/label_set.h"

#include <errno.h>

struct relabelling {
    struct sink sink;
    struct eval *eval;
    const struct ast *ast;
    struct str target;
    /* label_replace */
    struct regex *regex;
    struct str source, replacement;
    /* label_join */
    struct str separator;
    struct sink *next;
};

/* ---- $1, ${1}, $name, ${name}, $$ as Go's Regexp.Expand reads them ------------------------------------------------
 */

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* What stands behind a $: the name, and how many bytes it takes with its braces; false when it is none. */
static bool group_name(struct str text, struct str *ret_name, size_t *ret_taken)
{
    bool braced = text.len > 0 && text.ptr[0] == '{';
    size_t start = braced;
    size_t at = start;
    while (at < text.len && is_word(text.ptr[at]))
        at++;
    if (at == start || (braced && (at == text.len || text.ptr[at] != '}')))
        return false;
    *ret_name = str_of(text.ptr + start, at - start);
    *ret_taken = at + braced;
    return true;
}

static void append_group(const struct regex *regex, struct str name, const struct str *groups, size_t count,
                         struct buf *out)
{
    uint64_t number;
    bool digits = true;
    for (size_t i = 0; i < name.len; i++)
        digits = digits && name.ptr[i] >= '0' && name.ptr[i] <= '9';
    if (!digits) {
        int index = regex_group_index(regex, name);
        if (index < 0)
            return;
        number = (uint64_t)index;
    } else if (str_to_u64(name, &number) < 0) {
        return;
    }
    if (number < count)
        buf_append_str(out, groups[number]);
}

static void expand(const struct regex *regex, struct str text, const struct str *groups, size_t count, struct buf *out)
{
    while (text.len > 0) {
        size_t dollar = str_find(text, '$');
        buf_append_str(out, str_of(text.ptr, dollar));
        if (dollar == text.len)
            return;
        text = str_of(text.ptr + dollar + 1, text.len - dollar - 1);
        struct str name;
        size_t taken;
        if (group_name(text, &name, &taken)) {
            append_group(regex, name, groups, count, out);
            text = str_of(text.ptr + taken, text.len - taken);
            continue;
        }
        buf_append_byte(out, '$');
        if (text.len > 0 && text.ptr[0] == '$')
            text = str_of(text.ptr + 1, text.len - 1);
    }
}

/* ---- The functions ------------------------------------------------------------------------------------------------
 */

static int emit_with(struct relabelling *relabelling, const struct promql_series *series, const struct buf *value)
{
    if (value->full)
        return eval_fail(relabelling->eval, PROMQL_EXECUTION, relabelling->ast,
                         "a label value would have more than %zu bytes", LABEL_VALUE_BYTES_MAX);
    CLEANUP(labels_unrefp)
    struct labels *labels = label_set_with(series->labels, relabelling->target, buf_view(value));
    if (!labels)
        return eval_fail(relabelling->eval, PROMQL_EXECUTION, relabelling->ast,
                         "a series would have more than %d labels", LABELS_MAX);
    struct promql_series named = *series;
    named.labels = labels;
    return relabelling->next->emit(relabelling->next, &named);
}

static int replace_emit(struct sink *sink, const struct promql_series *series)
{
    struct relabelling *relabelling = CONTAINER_OF(sink, struct relabelling, sink);
    struct str groups[REGEX_GROUPS_MAX];
    size_t count = 0;
    struct str source = labels_get(series->labels, relabelling->source);
    int error = eval_work(relabelling->eval, 1 + source.len / 64);
    if (error < 0)
        return error;
    if (!regex_groups(relabelling->regex, source, groups, &count))
        return relabelling->next->emit(relabelling->next, series);
    CLEANUP(buf_done) struct buf value = BUF_INIT(LABEL_VALUE_BYTES_MAX);
    expand(relabelling->regex, relabelling->replacement, groups, count, &value);
    return emit_with(relabelling, series, &value);
}

static int join_emit(struct sink *sink, const struct promql_series *series)
{
    struct relabelling *relabelling = CONTAINER_OF(sink, struct relabelling, sink);
    const struct ast *ast = relabelling->ast;
    int error = eval_work(relabelling->eval, ast->call.arg_count);
    if (error < 0)
        return error;
    CLEANUP(buf_done) struct buf value = BUF_INIT(LABEL_VALUE_BYTES_MAX);
    for (size_t i = 3; i < ast->call.arg_count; i++) {
        if (i > 3)
            buf_append_str(&value, relabelling->separator);
        buf_append_str(&value, labels_get(series->labels, ast_string(ast->call.args[i])));
    }
    return emit_with(relabelling, series, &value);
}

static int run(struct relabelling *relabelling, const struct grid *grid, struct sink *sink)
{
    const struct ast *ast = relabelling->ast;
    CLEANUP(merge_done) struct merge merge;
    merge_init(&merge, relabelling->eval, grid, ast);
    relabelling->next = &merge.sink;
    int error = eval_node(relabelling->eval, grid, ast->call.args[0], &relabelling->sink);
    return error < 0 ? error : vector_drain(&merge.vector, sink);
}

int call_label_replace(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    struct relabelling relabelling = {.sink = {.emit = replace_emit},
                                      .eval = eval,
                                      .ast = ast,
                                      .target = ast_string(ast->call.args[1]),
                                      .replacement = ast_string(ast->call.args[2]),
                                      .source = ast_string(ast->call.args[3])};
    struct str pattern = ast_string(ast->call.args[4]);
    char error[256];
    CLEANUP(regex_freep) struct regex *regex = NULL;
    if (regex_new(pattern, error, &regex) < 0)
        return eval_fail(eval, PROMQL_EXECUTION, ast->call.args[4],
                         "invalid regular expression in label_replace(): " STR_FMT, STR_ARG(pattern));
    relabelling.regex = regex;
    if (!label_name_is_valid(relabelling.target))
        return eval_fail(eval, PROMQL_EXECUTION, ast->call.args[1],
                         "invalid destination label name in label_replace(): " STR_FMT, STR_ARG(relabelling.target));
    return run(&relabelling, grid, sink);
}

int call_label_join(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    struct relabelling relabelling = {.sink = {.emit = join_emit},
                                      .eval = eval,
                                      .ast = ast,
                                      .target = ast_string(ast->call.args[1]),
                                      .separator = ast_string(ast->call.args[2])};
    for (size_t i = 3; i < ast->call.arg_count; i++) {
        struct str source = ast_string(ast->call.args[i]);
        if (!label_name_is_valid(source))
            return eval_fail(eval, PROMQL_EXECUTION, ast->call.args[i],
                             "invalid source label name in label_join(): " STR_FMT, STR_ARG(source));
    }
    if (!label_name_is_valid(relabelling.target))
        return eval_fail(eval, PROMQL_EXECUTION, ast->call.args[1],
                         "invalid destination label name in label_join(): " STR_FMT, STR_ARG(relabelling.target));
    return run(&relabelling, grid, sink);
}
