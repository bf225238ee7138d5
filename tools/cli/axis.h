#pragma once
/* What a plot's axes stand for: from which value to which, from which time to which, and where a mark is. */
#include "number.h"
#include "series.h"

/* ---- Values, upwards ---- */

struct axis {
    double low, high; /* finite, low < high */
    double step;      /* between marks; low is the first, high the last */
    size_t marks;
    struct number_scale scale;
};
/* Round numbers around low..high (finite), with about so many marks. */
struct axis axis_of(double low, double high, size_t marks_wanted);
double axis_value(const struct axis *axis, size_t mark);
/* 0 (at low or below) to 1; of infinities too. Not NaN. */
double axis_share(const struct axis *axis, double value);

/* ---- Times, to the right, in UTC ---- */

#define TIME_MARK_BYTES 32

/* Milliseconds between marks on round times, so that at most marks_max are on the span. */
int64_t time_axis_step_ms(const struct series_span *span, size_t marks_max);
/* "15:04", with seconds or as a date where the marks are that close or far; midnight among hours as "01-02". */
void time_axis_print(int64_t time_ms, int64_t step_ms, char ret_text[static TIME_MARK_BYTES]);
/* The first round time from the span's start on. */
int64_t time_axis_first_ms(const struct series_span *span, int64_t step_ms);
/* The smallest round step for a span of so many steps at most: 1, 2, 5, 10, 15, 30 seconds, minutes, ... */
int64_t time_step_ms(int64_t length_ms, size_t steps_max);
