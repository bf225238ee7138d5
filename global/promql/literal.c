#include "promql/literal.h"

#include "base/quote.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define SHOWN_BYTES_MAX 96 /* of a text quoted in an error */

/* A whole number of the base that fits 63 bits. */
static bool read_integer(struct str digits, unsigned base, double *ret_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < digits.len; i++) {
        char digit = digits.ptr[i];
        unsigned digit_value = digit >= '0' && digit <= '9'   ? (unsigned)(digit - '0')
                               : digit >= 'a' && digit <= 'f' ? (unsigned)(digit - 'a' + 10)
                               : digit >= 'A' && digit <= 'F' ? (unsigned)(digit - 'A' + 10)
                                                              : base;
        if (digit_value >= base || value > ((uint64_t)INT64_MAX - digit_value) / base)
            return false;
        value = value * base + digit_value;
    }
    if (digits.len > 0)
        *ret_value = (double)value;
    return digits.len > 0;
}

int literal_number(struct str text, double *ret_value)
{
    if (text.len == 3 && (strncasecmp(text.ptr, "inf", 3) == 0 || strncasecmp(text.ptr, "nan", 3) == 0)) {
        *ret_value = text.ptr[0] == 'i' || text.ptr[0] == 'I' ? INFINITY : NAN;
        return 0;
    }
    bool leading_zero = text.len > 1 && text.ptr[0] == '0';
    if (leading_zero && (text.ptr[1] == 'x' || text.ptr[1] == 'X'))
        return read_integer(str_of(text.ptr + 2, text.len - 2), 16, ret_value) ? 0 : -EINVAL;
    if (leading_zero && read_integer(text, 8, ret_value))
        return 0;
    char *end;
    double value = strtod(text.ptr, &end);
    if (end != text.ptr + text.len)
        return -EINVAL;
    if (isinf(value))
        return -ERANGE;
    *ret_value = value;
    return 0;
}

static int PRINTF_LIKE(2, 3) refuse(char ret_error[static 256], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ret_error, 256, format, args);
    va_end(args);
    return -EINVAL;
}

static int refuse_text(char ret_error[static 256], struct str text)
{
    CLEANUP(buf_done) struct buf shown = BUF_INIT(8 * SHOWN_BYTES_MAX);
    quote_print(str_of(text.ptr, MIN(text.len, SHOWN_BYTES_MAX)), &shown);
    return refuse(ret_error, "not a valid duration string: " STR_FMT, STR_ARG(buf_view(&shown)));
}

int literal_duration_ms(struct str text, char ret_error[static 256], int64_t *ret_ms)
{
    static const struct {
        struct str unit;
        int64_t unit_ms;
    } units[] = {
        {{"y", 1}, INT64_C(365) * 86400000},
        {{"w", 1}, INT64_C(7) * 86400000},
        {{"d", 1}, 86400000},
        {{"h", 1}, 3600000},
        {{"m", 1}, 60000},
        {{"s", 1}, 1000},
        {{"ms", 2}, 1},
    };
    const int64_t sum_max = INT64_MAX / 1000000; /* Prometheus counts nanoseconds */
    int64_t sum = 0;
    size_t next_unit = 0;
    bool overflow = false;
    for (size_t at = 0; at < text.len;) {
        size_t digits = at;
        int64_t count = 0;
        for (; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++)
            count = count > sum_max ? count : count * 10 + (text.ptr[at] - '0');
        size_t letters = at;
        while (at < text.len && text.ptr[at] >= 'a' && text.ptr[at] <= 'z')
            at++;
        struct str unit = str_of(text.ptr + letters, at - letters);
        while (next_unit < ARRAY_LEN(units) && !str_equal(unit, units[next_unit].unit))
            next_unit++;
        if (next_unit == ARRAY_LEN(units) || digits == letters)
            return refuse_text(ret_error, text);
        overflow |= count > (sum_max - sum) / units[next_unit].unit_ms;
        sum += overflow ? 0 : count * units[next_unit].unit_ms;
        next_unit++;
    }
    if (overflow)
        return refuse(ret_error, "duration out of range");
    if (sum == 0)
        return refuse(ret_error, "duration must be greater than 0");
    *ret_ms = sum;
    return 0;
}
