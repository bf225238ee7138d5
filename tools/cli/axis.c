#include "axis.h"

#include "base/clock.h"
#include "base/fail.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- Values ---- */

#define NEAR 1e-9 /* of a step: a mark that is missed by so little is met */

/* 1, 2 or 5 of a power of ten, at least width. */
static double round_step(double width)
{
    double power = pow(10, floor(log10(width)));
    double share = width / power;
    return power * (share <= 1 + NEAR ? 1 : share <= 2 + NEAR ? 2 : share <= 5 + NEAR ? 5 : 10);
}

/* Zero belongs to what is drawn where it is near, and of one value alone, so that its height tells how large it is. */
static void widen(double *low, double *high)
{
    bool constant = *low == *high;
    double span = *high - *low;
    if (*low > 0 && (constant || *low < span))
        *low = 0;
    if (*high < 0 && (constant || -*high < span))
        *high = 0;
    if (*low == *high)
        *high += 1;
}

struct axis axis_of(double low, double high, size_t marks_wanted)
{
    ASSERT(isfinite(low) && isfinite(high) && low <= high && marks_wanted >= 2);
    widen(&low, &high);
    double step = round_step(high / (double)(marks_wanted - 1) - low / (double)(marks_wanted - 1));
    double first = floor(low / step + NEAR);
    double last = ceil(high / step - NEAR);
    bool round = isfinite(first * step) && isfinite(last * step) && last - first < 2 * (double)marks_wanted &&
                 last > first && first * step < last * step && isfinite(last * step - first * step);
    struct axis axis = {.low = low, .high = high, .step = high - low, .marks = 2};
    if (round) /* else so large, or so close together, that a double has no round numbers there */
        axis = (struct axis){.low = fmin(first * step, low),
                             .high = fmax(last * step, high),
                             .step = step,
                             .marks = (size_t)(last - first) + 1};
    double size = fmax(fabs(axis.low), fabs(axis.high));
    axis.scale = round ? number_scale_of(size, step) : (struct number_scale){.divisor = 1, .unit = "", .decimals = -1};
    return axis;
}

double axis_value(const struct axis *axis, size_t mark)
{
    if (mark == 0) /* and no product: the step may be infinite */
        return axis->low;
    return mark + 1 == axis->marks ? axis->high : axis->low + (double)mark * axis->step;
}

double axis_share(const struct axis *axis, double value)
{
    if (value <= axis->low)
        return 0;
    if (value >= axis->high)
        return 1;
    return (value / 2 - axis->low / 2) / (axis->high / 2 - axis->low / 2); /* halves: the whole may be infinite */
}

/* ---- Times ---- */

#define SECOND_MS INT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)

int64_t time_step_ms(int64_t length_ms, size_t steps_max)
{
    static const int64_t steps[] = {1,
                                    2,
                                    5,
                                    10,
                                    20,
                                    50,
                                    100,
                                    200,
                                    500,
                                    SECOND_MS,
                                    2 * SECOND_MS,
                                    5 * SECOND_MS,
                                    10 * SECOND_MS,
                                    15 * SECOND_MS,
                                    30 * SECOND_MS,
                                    MINUTE_MS,
                                    2 * MINUTE_MS,
                                    5 * MINUTE_MS,
                                    10 * MINUTE_MS,
                                    15 * MINUTE_MS,
                                    30 * MINUTE_MS,
                                    HOUR_MS,
                                    2 * HOUR_MS,
                                    3 * HOUR_MS,
                                    6 * HOUR_MS,
                                    12 * HOUR_MS,
                                    DAY_MS,
                                    2 * DAY_MS,
                                    5 * DAY_MS,
                                    10 * DAY_MS,
                                    30 * DAY_MS,
                                    90 * DAY_MS,
                                    365 * DAY_MS};
    int64_t width_ms = length_ms / (int64_t)steps_max + (length_ms % (int64_t)steps_max != 0);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        if (steps[i] >= width_ms)
            return steps[i];
    int64_t years = width_ms / (365 * DAY_MS) + 1;
    return years * 365 * DAY_MS;
}

int64_t time_axis_step_ms(const struct series_span *span, size_t marks_max)
{
    return time_step_ms(span->end_ms - span->start_ms, MAX(marks_max, (size_t)2) - 1);
}

int64_t time_axis_first_ms(const struct series_span *span, int64_t step_ms)
{
    int64_t rest = span->start_ms % step_ms;
    return rest == 0 ? span->start_ms : span->start_ms - rest + (rest > 0 ? step_ms : 0);
}

void time_axis_print(int64_t time_ms, int64_t step_ms, char ret_text[static TIME_MARK_BYTES])
{
    /* 2026-01-02T15:04:05.000Z; years beyond four digits move the rest, and T says where. */
    char text[32];
    clock_format_rfc3339(time_ms, text);
    const char *clock = strchr(text, 'T');
    if (!clock)
        snprintf(ret_text, TIME_MARK_BYTES, "%s", text);
    else if (step_ms >= DAY_MS)
        snprintf(ret_text, TIME_MARK_BYTES, "%.*s", (int)(clock - text), text);
    else if (step_ms >= MINUTE_MS && time_ms % DAY_MS == 0)
        snprintf(ret_text, TIME_MARK_BYTES, "%.5s", clock - 5); /* the day that begins here: 01-02 */
    else
        snprintf(ret_text, TIME_MARK_BYTES, "%.*s", step_ms < SECOND_MS ? 12 : step_ms < MINUTE_MS ? 8 : 5, clock + 1);
}
