/* Time, parts of dates, and what turns scalars into vectors and back. */
#include "promql/functions.h"
#include "promql/label_set.h"
#include "promql/mapper.h"

#include <math.h>

#define DAY_S 86400
/* Go's calendar counts seconds from the first of January of the year -292277022399, modulo 2^64: so far before 1970. */
#define GO_EPOCH_S UINT64_C(9223372028715321600)

int call_time(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    CLEANUP_BUDGET double *values = budget_array(eval->budget, grid->steps, sizeof(double));
    if (!values)
        return eval_fail_memory(eval, ast);
    for (size_t step = 0; step < grid->steps; step++)
        values[step] = (double)grid_time_ms(grid, step) / 1000;
    return eval_emit_scalar(eval, grid, values, sink);
}

int call_vector(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    return eval_node(eval, grid, ast->call.args[0], sink); /* a scalar is a series without labels already */
}

/* ---- scalar(v): the value of the only series, NaN where there is none or more than one ----------------------------
 */

struct only {
    struct sink sink;
    size_t steps;
    struct promql_series seen;
};

static int only_emit(struct sink *sink, const struct promql_series *series)
{
    struct only *only = CONTAINER_OF(sink, struct only, sink);
    PROMQL_EACH(step, series, only->steps)
    promql_set(&only->seen, step, promql_present(&only->seen, step) ? NAN : series->values[step]);
    return 0;
}

int call_scalar(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    struct only only = {{.emit = only_emit}, grid->steps, {0}};
    if (!series_slots(eval->budget, grid->steps, &only.seen))
        return eval_fail_memory(eval, ast);
    CLEANUP_BUDGET UNUSED double *slots = only.seen.values;
    int error = eval_node(eval, grid, ast->call.args[0], &only.sink);
    if (error < 0)
        return error;
    for (size_t step = 0; step < grid->steps; step++)
        if (!promql_present(&only.seen, step))
            only.seen.values[step] = NAN;
    return eval_emit_scalar(eval, grid, only.seen.values, sink);
}

/* ---- timestamp(v) --------------------------------------------------------------------------------------------------
 */

static void map_step_time(const struct mapper *mapper, const struct promql_series *in, struct promql_series *out)
{
    PROMQL_EACH(step, in, mapper->grid->steps)
    promql_set(out, step, (double)grid_time_ms(mapper->grid, step) / 1000);
}

/* Of a selector the times are the samples' own; of all else the time of the step. */
struct times {
    struct sink sink;
    struct sink *next;
};

static int times_emit(struct sink *sink, const struct promql_series *series)
{
    struct times *times = CONTAINER_OF(sink, struct times, sink);
    CLEANUP(labels_unrefp) struct labels *labels = label_set_without_name(series->labels);
    struct promql_series unnamed = *series;
    unnamed.labels = labels;
    return times->next->emit(times->next, &unnamed);
}

int call_timestamp(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    const struct ast *arg = ast_unparen(ast->call.args[0]);
    if (arg->kind != AST_SELECTOR) {
        struct mapper mapper = {.eval = eval, .grid = grid, .ast = ast, .drop_name = true, .map = map_step_time};
        return mapper_run(&mapper, arg, sink);
    }
    struct times times = {{.emit = times_emit}, sink};
    if (ast_has_one_name(arg))
        return eval_selector_times(eval, grid, arg, &times.sink);
    CLEANUP(merge_done) struct merge merge;
    merge_init(&merge, eval, grid, ast);
    times.next = &merge.sink;
    int error = eval_selector_times(eval, grid, arg, &times.sink);
    return error < 0 ? error : vector_drain(&merge.vector, sink);
}

/* ---- Parts of dates, UTC ------------------------------------------------------------------------------------------
 */

struct date {
    int64_t year;
    int month;       /* 1..12 */
    int day;         /* 1..31 */
    int64_t days;    /* since 1970-01-01 */
    int64_t seconds; /* of the day */
};

/* As Go converts on amd64: what does not fit is the smallest number. */
static int64_t seconds_of(double value)
{
    if (!(value >= -9223372036854775808.0 && value < 9223372036854775808.0))
        return INT64_MIN;
    return (int64_t)value;
}

/* Howard Hinnant's days-to-civil: years begin in March, so that the leap day is the last of its year. */
static struct date date_of(double value)
{
    uint64_t since_go_epoch = (uint64_t)seconds_of(value) + GO_EPOCH_S;
    struct date date = {.days = (int64_t)(since_go_epoch / DAY_S) - (int64_t)(GO_EPOCH_S / DAY_S),
                        .seconds = (int64_t)(since_go_epoch % DAY_S)};
    int64_t shifted = date.days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    date.day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    date.month = (int)(month < 10 ? month + 3 : month - 9);
    date.year = year_of_era + era * 400 + (date.month <= 2);
    return date;
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static double date_minute(double value)
{
    return (double)(date_of(value).seconds / 60 % 60);
}

static double date_hour(double value)
{
    int64_t hour = date_of(value).seconds / 3600;
    return (double)hour;
}

static double date_day_of_month(double value)
{
    return date_of(value).day;
}

static double date_day_of_week(double value)
{
    int64_t day = (date_of(value).days + 4) % 7; /* 1970 began on a Thursday */
    return (double)(day < 0 ? day + 7 : day);
}

static double date_day_of_year(double value)
{
    static const int before[12] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    struct date date = date_of(value);
    return before[date.month - 1] + date.day + (date.month > 2 && is_leap(date.year));
}

static double date_days_in_month(double value)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    struct date date = date_of(value);
    return days[date.month - 1] + (date.month == 2 && is_leap(date.year));
}

static double date_month(double value)
{
    return date_of(value).month;
}

static double date_year(double value)
{
    return (double)date_of(value).year;
}

static void map_date(const struct mapper *mapper, const struct promql_series *in, struct promql_series *out)
{
    PROMQL_EACH(step, in, mapper->grid->steps)
    promql_set(out, step, mapper->function(in->values[step]));
}

static double (*date_function(uint16_t id))(double)
{
    switch (id) {
    case FUNCTION_MINUTE:
        return date_minute;
    case FUNCTION_HOUR:
        return date_hour;
    case FUNCTION_DAY_OF_MONTH:
        return date_day_of_month;
    case FUNCTION_DAY_OF_WEEK:
        return date_day_of_week;
    case FUNCTION_DAY_OF_YEAR:
        return date_day_of_year;
    case FUNCTION_DAYS_IN_MONTH:
        return date_days_in_month;
    case FUNCTION_MONTH:
        return date_month;
    default:
        return date_year;
    }
}

int call_date(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    double (*function)(double) = date_function(ast->call.function->id);
    if (ast->call.arg_count > 0) {
        struct mapper mapper = {
            .eval = eval, .grid = grid, .ast = ast, .drop_name = true, .map = map_date, .function = function};
        return mapper_run(&mapper, ast->call.args[0], sink);
    }
    CLEANUP_BUDGET double *values = budget_array(eval->budget, grid->steps, sizeof(double));
    if (!values)
        return eval_fail_memory(eval, ast);
    for (size_t step = 0; step < grid->steps; step++) {
        int64_t seconds = grid_time_ms(grid, step) / 1000;
        values[step] = function((double)seconds);
    }
    return eval_emit_scalar(eval, grid, values, sink);
}
