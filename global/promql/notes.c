#include "promql/notes.h"

#include "base/fail.h"
#include "promql/functions.h"
#include "promql/scan.h"

#include <errno.h>
#include <stdlib.h>

#define PROBE_SERIES  64 /* looked at for their spacing; those of one selector are scraped alike nearly always */
#define PROBE_SAMPLES 64 /* of each, from the first on */
/* Looked back beyond the range: windows up to half as long are seen twice in it. */
#define PROBE_MS       (30 * 60 * INT64_C(1000))
#define TEXT_BYTES_MAX 160 /* of an expression in a note */

enum rule {
    RULE_TWO = 1, /* needs two samples in a window */
    RULE_LAST = 2 /* sees the last value of each record alone, where that stands for several */
};

static const uint8_t rules[FUNCTION_COUNT] = {
    [FUNCTION_RATE] = RULE_TWO,
    [FUNCTION_INCREASE] = RULE_TWO,
    [FUNCTION_DELTA] = RULE_TWO,
    [FUNCTION_IRATE] = RULE_TWO,
    [FUNCTION_IDELTA] = RULE_TWO,
    [FUNCTION_DERIV] = RULE_TWO,
    [FUNCTION_PREDICT_LINEAR] = RULE_TWO,
    [FUNCTION_HOLT_WINTERS] = RULE_TWO | RULE_LAST,
    [FUNCTION_CHANGES] = RULE_LAST,
    [FUNCTION_QUANTILE_OVER_TIME] = RULE_LAST,
    [FUNCTION_STDDEV_OVER_TIME] = RULE_LAST,
    [FUNCTION_STDVAR_OVER_TIME] = RULE_LAST,
};

static bool has_rule(const struct ast *call, enum rule rule)
{
    return rules[call->call.function->id] & rule;
}

/* ---- A look at the first series ---- */

struct probe {
    int64_t spacing_ms; /* the longest of any series; 0: none has two samples */
    bool is_several;    /* a record stands for more than one scrape */
};

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The median: samples around resets stand closer, windows that are missing leave twice the space. */
static int64_t spacing_of(const struct sample *samples, int64_t count)
{
    int64_t spaces[PROBE_SAMPLES], before_ms = INT64_MIN;
    size_t found = 0;
    for (int64_t i = 0; i < count; i++) {
        if (value_is_stale(samples[i].value))
            continue;
        int64_t space_ms;
        if (before_ms != INT64_MIN && !__builtin_sub_overflow(samples[i].time_ms, before_ms, &space_ms))
            spaces[found++] = MIN(space_ms, TIME_MS_MAX / (2 * NOTES_WIDE_SPACINGS)); /* any times may lie in a block */
        before_ms = samples[i].time_ms;
    }
    if (found == 0)
        return 0;
    qsort(spaces, found, sizeof(spaces[0]), compare_times);
    return spaces[found / 2];
}

static void probe_series(struct sample_reader *reader, enum select_field field, struct probe *probe)
{
    struct sample samples[PROBE_SAMPLES];
    int64_t count = sample_reader_read(reader, samples, PROBE_SAMPLES);
    for (int64_t i = 0; i < count && field == SELECT_COUNT; i++)
        probe->is_several |= samples[i].value > 1;
    if (count > 1)
        probe->spacing_ms = MAX(probe->spacing_ms, spacing_of(samples, count));
}

static bool is_cancelled(void *eval)
{
    return eval_work_slow(eval) < 0;
}

/* What cannot be read is told by the scan itself. */
static struct probe look(struct eval *eval, const struct grid *grid, const struct ast *selector,
                         enum select_field field)
{
    struct lookup lookup = lookup_of(eval, grid, selector);
    struct select_range range = {.start_ms = lookup.first_ms - lookup.range_ms - PROBE_MS,
                                 .end_ms = lookup_time_ms(&lookup, grid->steps - 1),
                                 .any_order = true,
                                 .cancelled = is_cancelled,
                                 .cancelled_arg = eval,
                                 .charge = scan_charge,
                                 .release = scan_release,
                                 .charge_arg = eval};
    CLEANUP(select_freep) struct select *select = NULL;
    struct probe probe = {0};
    if (select_open(eval->query->store, selector->selector.matchers, selector->selector.matcher_count, &range,
                    &select) < 0)
        return probe;
    CLEANUP(sample_reader_freep) struct sample_reader *reader = sample_reader_new(select, field);
    for (size_t i = 0; i < MIN(select_count(select), (size_t)PROBE_SERIES); i++) {
        sample_reader_series(reader, i);
        probe_series(reader, field, &probe);
    }
    return probe;
}

/* ---- Notes ---- */

static void print_expression(const struct ast *ast, struct buf *out)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(TEXT_BYTES_MAX);
    if (ast_print(ast, &text) >= 0)
        buf_append_str(out, buf_view(&text));
    else
        buf_printf(out, "%s(...) at byte %u", ast->call.function->name, ast->position.start);
    buf_append_text(out, ": ");
}

static void tell_too_short(struct eval *eval, const struct ast *call, int64_t range_ms, int64_t spacing_ms)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(KIB);
    print_expression(call, &text);
    ast_print_duration(range_ms, &text);
    buf_append_text(&text, " is too short for series whose samples are ");
    ast_print_duration(spacing_ms, &text);
    buf_append_text(&text, " apart: two are needed, [");
    ast_print_duration(NOTES_WIDE_SPACINGS * spacing_ms, &text);
    buf_append_text(&text, "] is a good range");
    eval_info(eval, STR_FMT, STR_ARG(buf_view(&text)));
}

static void tell_widened(struct eval *eval, const struct ast *call, int64_t range_ms)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(KIB);
    print_expression(call, &text);
    buf_append_text(&text, "evaluated over [");
    ast_print_duration(range_ms, &text);
    buf_append_text(&text, "], as its own range is too short for samples so far apart");
    eval_info(eval, STR_FMT, STR_ARG(buf_view(&text)));
}

static void tell_approximate(struct eval *eval, const struct ast *call)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(KIB);
    print_expression(call, &text);
    buf_append_text(&text, "approximate, from the last value alone of windows of several scrapes");
    eval_info(eval, STR_FMT, STR_ARG(buf_view(&text)));
}

/* One range for all series of the selector, so that what is added up over them is of the same time. */
const struct ast *notes_widen(struct eval *eval, const struct grid *grid, const struct ast *call,
                              const struct ast *matrix, struct ast *wide)
{
    if (!eval->query->widen_ranges || matrix->kind != AST_SELECTOR || !has_rule(call, RULE_TWO))
        return matrix;
    int64_t spacing_ms = look(eval, grid, matrix, SELECT_LAST).spacing_ms;
    if (matrix->range_ms >= 2 * spacing_ms)
        return matrix;
    *wide = *matrix;
    wide->range_ms = NOTES_WIDE_SPACINGS * spacing_ms;
    tell_widened(eval, call, wide->range_ms);
    return wide;
}

int notes_tell(struct eval *eval, const struct grid *grid, const struct ast *call, const struct ast *matrix,
               bool is_short)
{
    if (matrix->kind != AST_SELECTOR)
        return 0;
    int64_t spacing_ms = is_short && has_rule(call, RULE_TWO) ? look(eval, grid, matrix, SELECT_LAST).spacing_ms : 0;
    if (matrix->range_ms < 2 * spacing_ms)
        tell_too_short(eval, call, matrix->range_ms, spacing_ms);
    if (has_rule(call, RULE_LAST) && look(eval, grid, matrix, SELECT_COUNT).is_several)
        tell_approximate(eval, call);
    return eval->failure == PROMQL_OK ? 0 : -EINVAL;
}
