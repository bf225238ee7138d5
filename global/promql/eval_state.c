#include "promql/eval_state.h"

#include "base/fail.h"
#include "promql/result.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int eval_fail(struct eval *eval, enum promql_failure failure, const struct ast *at, const char *format, ...)
{
    if (eval->failure != PROMQL_OK)
        return -EINVAL;
    eval->failure = failure;
    eval->error->position = at ? at->position : (struct ast_position){0, 0};
    va_list args;
    va_start(args, format);
    vsnprintf(eval->error->text, sizeof(eval->error->text), format, args);
    va_end(args);
    return -EINVAL;
}

int eval_fail_memory(struct eval *eval, const struct ast *at)
{
    char text[BUDGET_TEXT_BYTES];
    budget_text(eval->budget, text);
    return eval_fail(eval, eval->budget->total_full ? PROMQL_BUSY : PROMQL_TOO_MUCH, at, "%s", text);
}

int eval_fail_duplicate(struct eval *eval, const struct ast *at)
{
    return eval_fail(eval, PROMQL_EXECUTION, at, "vector cannot contain metrics with the same labelset");
}

static void add_note(struct result_notes *notes, const char *format, va_list args)
{
    if (notes->count == RESULT_NOTES_MAX)
        return;
    char text[512];
    vsnprintf(text, sizeof(text), format, args);
    for (size_t i = 0; i < notes->count; i++)
        if (strcmp(notes->items[i], text) == 0)
            return;
    notes->items[notes->count++] = mem_strdup(text);
}

void eval_warn(struct eval *eval, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_note(&eval->result->warnings, format, args);
    va_end(args);
}

void eval_info(struct eval *eval, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_note(&eval->result->infos, format, args);
    va_end(args);
}

int eval_work_slow(struct eval *eval)
{
    const struct promql_query *query = eval->query;
    eval->work = 0;
    if (query->cancelled && query->cancelled(query->cancelled_arg))
        return eval_fail(eval, PROMQL_CANCELLED, NULL, "query was canceled in expression evaluation");
    if (eval->deadline_ms != INT64_MAX && clock_mono_ms(query->clock) >= eval->deadline_ms)
        return eval_fail(eval, PROMQL_TIMEOUT, NULL, "query timed out in expression evaluation");
    return 0;
}
