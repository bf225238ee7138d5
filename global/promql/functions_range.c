#include "promql/functions_range.h"

#include <math.h>
#include <stdio.h>

#define FACTOR_TEXT_BYTES 352 /* the largest double in full */

/* Prometheus 2.42, promql/functions.go: results are to be equal to the last bits, so the order of operations and the
 * places of compensated sums are its own. */

struct kahan {
    double sum, lost;
};

/* Neumaier's: also right when the next term is larger than the sum. */
static inline void kahan_add(struct kahan *kahan, double term)
{
    double sum = kahan->sum + term;
    if (fabs(kahan->sum) >= fabs(term))
        kahan->lost += (kahan->sum - sum) + term;
    else
        kahan->lost += (term - sum) + kahan->sum;
    kahan->sum = sum;
}

static inline double kahan_total(const struct kahan *kahan)
{
    return isinf(kahan->sum) ? kahan->sum : kahan->sum + kahan->lost;
}

/* ---- Counters and slopes ----------------------------------------------------------------------------------------- */

/* How far the samples' slope is carried on towards an end of the window: all the way when the gap looks like the one
 * between two samples, else half of that, as the series probably began or ended there. */
static double extrapolate_to(double gap_s, double between_s)
{
    return gap_s < between_s * 1.1 ? gap_s : between_s / 2;
}

static int extrapolated(const struct window *window, bool counter, bool rate, double *ret_value)
{
    const struct sample *samples = window->samples;
    size_t count = window->count;
    if (count < 2)
        return 0;
    const struct sample *first = &samples[0];
    const struct sample *last = &samples[count - 1];
    double result = last->value - first->value;
    if (counter && window->falls)
        for (size_t i = 1; i < count; i++)
            if (samples[i].value < samples[i - 1].value)
                result += samples[i - 1].value;
    double to_start_s = (double)(first->time_ms - window->start_ms) / 1000;
    double to_end_s = (double)(window->end_ms - last->time_ms) / 1000;
    double sampled_s = (double)(last->time_ms - first->time_ms) / 1000;
    double between_s = sampled_s / (double)(count - 1);
    if (counter && result > 0 && first->value >= 0) {
        /* A counter was never below zero: do not carry on further back than where it would have been zero. */
        double to_zero_s = sampled_s * (first->value / result);
        if (to_zero_s < to_start_s)
            to_start_s = to_zero_s;
    }
    double interval_s = sampled_s;
    interval_s += extrapolate_to(to_start_s, between_s);
    interval_s += extrapolate_to(to_end_s, between_s);
    double factor = interval_s / sampled_s;
    if (rate)
        factor /= (double)window->range_ms / 1000;
    *ret_value = result * factor;
    return 1;
}

static int range_rate(struct window *window, double *ret_value)
{
    return extrapolated(window, true, true, ret_value);
}

static int range_increase(struct window *window, double *ret_value)
{
    return extrapolated(window, true, false, ret_value);
}

static int range_delta(struct window *window, double *ret_value)
{
    return extrapolated(window, false, false, ret_value);
}

static int last_two(const struct window *window, bool rate, double *ret_value)
{
    if (window->count < 2)
        return 0;
    const struct sample *last = &window->samples[window->count - 1];
    const struct sample *before = last - 1;
    int64_t between_ms = last->time_ms - before->time_ms;
    if (between_ms == 0)
        return 0;
    bool reset = rate && last->value < before->value;
    double result = reset ? last->value : last->value - before->value;
    *ret_value = rate ? result / ((double)between_ms / 1000) : result;
    return 1;
}

static int range_irate(struct window *window, double *ret_value)
{
    return last_two(window, true, ret_value);
}

static int range_idelta(struct window *window, double *ret_value)
{
    return last_two(window, false, ret_value);
}

static int range_resets(struct window *window, double *ret_value)
{
    size_t resets = 0;
    for (size_t i = 1; i < window->count; i++)
        resets += window->samples[i].value < window->samples[i - 1].value;
    *ret_value = (double)resets;
    return 1;
}

static int range_changes(struct window *window, double *ret_value)
{
    size_t changes = 0;
    for (size_t i = 1; i < window->count; i++) {
        double now = window->samples[i].value;
        double before = window->samples[i - 1].value;
        changes += now != before && !(isnan(now) && isnan(before));
    }
    *ret_value = (double)changes;
    return 1;
}

static void linear_regression(const struct window *window, int64_t intercept_ms, double *ret_slope,
                              double *ret_intercept)
{
    struct kahan x = {0, 0};
    struct kahan y = {0, 0};
    struct kahan xy = {0, 0};
    struct kahan x2 = {0, 0};
    double first = window->samples[0].value;
    bool constant = true;
    for (size_t i = 0; i < window->count; i++) {
        const struct sample *sample = &window->samples[i];
        constant = constant && (i == 0 || sample->value == first);
        double at_s = (double)(sample->time_ms - intercept_ms) / 1e3;
        kahan_add(&x, at_s);
        kahan_add(&y, sample->value);
        kahan_add(&xy, at_s * sample->value);
        kahan_add(&x2, at_s * at_s);
    }
    if (constant) {
        *ret_slope = isinf(first) ? NAN : 0;
        *ret_intercept = isinf(first) ? NAN : first;
        return;
    }
    double n = (double)window->count;
    double sum_x = x.sum + x.lost;
    double sum_y = y.sum + y.lost;
    double covariance = xy.sum + xy.lost - sum_x * sum_y / n;
    double variance = x2.sum + x2.lost - sum_x * sum_x / n;
    *ret_slope = covariance / variance;
    *ret_intercept = sum_y / n - *ret_slope * sum_x / n;
}

static int range_deriv(struct window *window, double *ret_value)
{
    if (window->count < 2)
        return 0;
    /* Any time near the samples will do; a far one costs precision. */
    double intercept;
    linear_regression(window, window->samples[0].time_ms, ret_value, &intercept);
    return 1;
}

static int range_predict_linear(struct window *window, double *ret_value)
{
    if (window->count < 2)
        return 0;
    double slope;
    double intercept;
    linear_regression(window, window->step_time_ms, &slope, &intercept);
    *ret_value = slope * window->args[0] + intercept;
    return 1;
}

/* A factor must lie between 0 and 1; NaN passes, as in Prometheus. */
static int check_factor(const struct window *window, const char *name, const char *symbol, double factor)
{
    char text[FACTOR_TEXT_BYTES];
    if (!(factor <= 0 || factor >= 1))
        return 0;
    if (isinf(factor))
        snprintf(text, sizeof(text), "%s", factor > 0 ? "+Inf" : "-Inf");
    else
        snprintf(text, sizeof(text), "%f", factor);
    return eval_fail(window->eval, PROMQL_EXECUTION, window->ast, "invalid %s factor. Expected: 0 < %s < 1, got: %s",
                     name, symbol, text);
}

static int range_holt_winters(struct window *window, double *ret_value)
{
    double smoothing = window->args[0];
    double trend = window->args[1];
    int error = check_factor(window, "smoothing", "sf", smoothing);
    if (error == 0)
        error = check_factor(window, "trend", "tf", trend);
    if (error < 0)
        return error;
    if (window->count < 2)
        return 0;
    double before = 0;
    double now = window->samples[0].value;
    double slope = window->samples[1].value - window->samples[0].value;
    for (size_t i = 1; i < window->count; i++) {
        double scaled = smoothing * window->samples[i].value;
        if (i > 1)
            slope = trend * (now - before) + (1 - trend) * slope;
        double carried = (1 - smoothing) * (now + slope);
        before = now;
        now = scaled + carried;
    }
    *ret_value = now;
    return 1;
}

/* ---- Aggregations over time -------------------------------------------------------------------------------------- */

static int range_sum(struct window *window, double *ret_value)
{
    struct kahan sum = {0, 0};
    for (size_t i = 0; i < window->count; i++)
        kahan_add(&sum, window->samples[i].value);
    *ret_value = kahan_total(&sum);
    return 1;
}

static int range_avg(struct window *window, double *ret_value)
{
    struct kahan mean = {0, 0};
    for (size_t i = 0; i < window->count; i++) {
        double value = window->samples[i].value;
        double count = (double)(i + 1);
        /* An infinite mean stays, unless the other infinity or a NaN comes: inf - inf would make it NaN. */
        bool same_infinity = isinf(value) && (mean.sum > 0) == (value > 0);
        if (isinf(mean.sum) && (same_infinity || isfinite(value)))
            continue;
        kahan_add(&mean, value / count - mean.sum / count);
    }
    *ret_value = kahan_total(&mean);
    return 1;
}

static int range_count(struct window *window, double *ret_value)
{
    *ret_value = (double)window->count;
    return 1;
}

static int range_last(struct window *window, double *ret_value)
{
    *ret_value = window->samples[window->count - 1].value;
    return 1;
}

static int range_present(struct window *window, double *ret_value)
{
    (void)window;
    *ret_value = 1;
    return 1;
}

static int range_max(struct window *window, double *ret_value)
{
    double max = window->samples[0].value;
    for (size_t i = 1; i < window->count; i++)
        if (window->samples[i].value > max || isnan(max))
            max = window->samples[i].value;
    *ret_value = max;
    return 1;
}

static int range_min(struct window *window, double *ret_value)
{
    double min = window->samples[0].value;
    for (size_t i = 1; i < window->count; i++)
        if (window->samples[i].value < min || isnan(min))
            min = window->samples[i].value;
    *ret_value = min;
    return 1;
}

static int range_stdvar(struct window *window, double *ret_value)
{
    struct kahan mean = {0, 0};
    struct kahan squares = {0, 0};
    for (size_t i = 0; i < window->count; i++) {
        double value = window->samples[i].value;
        double delta = value - (mean.sum + mean.lost);
        kahan_add(&mean, delta / (double)(i + 1));
        kahan_add(&squares, delta * (value - (mean.sum + mean.lost)));
    }
    *ret_value = (squares.sum + squares.lost) / (double)window->count;
    return 1;
}

static int range_stddev(struct window *window, double *ret_value)
{
    double variance;
    int given = range_stdvar(window, &variance);
    *ret_value = sqrt(variance);
    return given;
}

static int range_quantile(struct window *window, double *ret_value)
{
    if (window->scratch_count < window->count) {
        double *grown = budget_grow(window->eval->budget, window->scratch, window->count * 2, sizeof(double));
        if (!grown)
            return eval_fail_memory(window->eval, window->ast);
        window->scratch = grown;
        window->scratch_count = window->count * 2;
    }
    for (size_t i = 0; i < window->count; i++)
        window->scratch[i] = window->samples[i].value;
    int error = eval_sort_values(window->eval, window->scratch, window->count);
    if (error < 0)
        return error;
    *ret_value = quantile_of_sorted(window->args[0], window->scratch, window->count);
    return 1;
}

range_fn *range_function(uint16_t id)
{
    static range_fn *const functions[FUNCTION_COUNT] = {
        [FUNCTION_ABSENT_OVER_TIME] = range_present,
        [FUNCTION_AVG_OVER_TIME] = range_avg,
        [FUNCTION_CHANGES] = range_changes,
        [FUNCTION_COUNT_OVER_TIME] = range_count,
        [FUNCTION_DELTA] = range_delta,
        [FUNCTION_DERIV] = range_deriv,
        [FUNCTION_HOLT_WINTERS] = range_holt_winters,
        [FUNCTION_IDELTA] = range_idelta,
        [FUNCTION_INCREASE] = range_increase,
        [FUNCTION_IRATE] = range_irate,
        [FUNCTION_LAST_OVER_TIME] = range_last,
        [FUNCTION_MAX_OVER_TIME] = range_max,
        [FUNCTION_MIN_OVER_TIME] = range_min,
        [FUNCTION_PREDICT_LINEAR] = range_predict_linear,
        [FUNCTION_PRESENT_OVER_TIME] = range_present,
        [FUNCTION_QUANTILE_OVER_TIME] = range_quantile,
        [FUNCTION_RATE] = range_rate,
        [FUNCTION_RESETS] = range_resets,
        [FUNCTION_STDDEV_OVER_TIME] = range_stddev,
        [FUNCTION_STDVAR_OVER_TIME] = range_stdvar,
        [FUNCTION_SUM_OVER_TIME] = range_sum,
    };
    return id < FUNCTION_COUNT ? functions[id] : NULL;
}

/* As range_avg, of sums of so many values each: with counts of 1 it is the same to the bit. */
static int range_avg_counted(struct window *window, double *ret_value)
{
    struct kahan mean = {0, 0};
    double total = 0;
    for (size_t i = 0; i + 1 < window->count; i += 2) {
        double sum = window->samples[i].value;
        double count = window->samples[i + 1].value;
        total += count;
        bool same_infinity = isinf(sum) && (mean.sum > 0) == (sum > 0);
        if (isinf(mean.sum) && (same_infinity || isfinite(sum)))
            continue;
        kahan_add(&mean, sum / total - mean.sum * count / total);
    }
    *ret_value = kahan_total(&mean);
    return 1;
}

struct range_aggregate range_aggregate(uint16_t id)
{
    switch (id) {
    case FUNCTION_AVG_OVER_TIME:
        return (struct range_aggregate){range_avg_counted, SELECT_SUM, true};
    case FUNCTION_COUNT_OVER_TIME:
        return (struct range_aggregate){range_sum, SELECT_COUNT, false};
    case FUNCTION_MAX_OVER_TIME:
        return (struct range_aggregate){range_max, SELECT_MAX, false};
    case FUNCTION_MIN_OVER_TIME:
        return (struct range_aggregate){range_min, SELECT_MIN, false};
    case FUNCTION_SUM_OVER_TIME:
        return (struct range_aggregate){range_sum, SELECT_SUM, false};
    default:
        return (struct range_aggregate){NULL, SELECT_LAST, false};
    }
}

bool range_function_is_sliding(uint16_t id)
{
    switch (id) {
    case FUNCTION_ABSENT_OVER_TIME:
    case FUNCTION_COUNT_OVER_TIME:
    case FUNCTION_DELTA:
    case FUNCTION_IDELTA:
    case FUNCTION_INCREASE:
    case FUNCTION_IRATE:
    case FUNCTION_LAST_OVER_TIME:
    case FUNCTION_PRESENT_OVER_TIME:
    case FUNCTION_RATE:
        return true;
    default:
        return false;
    }
}
