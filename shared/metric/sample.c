#include "metric/sample.h"
#include "base/str.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>

const char *metric_type_name(enum metric_type type)
{
    static const char *const names[METRIC_TYPE_COUNT] = {"unknown", "counter", "gauge", "histogram", "summary"};
    return (unsigned)type < METRIC_TYPE_COUNT ? names[type] : names[METRIC_UNKNOWN];
}

enum series_kind series_kind_of(enum metric_type type, const char *name, size_t name_len)
{
    struct str text = str_of(name, name_len);
    bool part = str_ends_with(text, STR("_count")) || str_ends_with(text, STR("_sum"));
    bool bucket = str_ends_with(text, STR("_bucket"));
    switch (type) {
    case METRIC_COUNTER:
        return KIND_COUNTER;
    case METRIC_GAUGE:
        return KIND_GAUGE;
    case METRIC_HISTOGRAM:
        return part || bucket ? KIND_COUNTER : KIND_GAUGE;
    case METRIC_SUMMARY: /* the quantiles are gauges */
        return part ? KIND_COUNTER : KIND_GAUGE;
    default:
        return part || bucket || str_ends_with(text, STR("_total")) ? KIND_COUNTER : KIND_GAUGE;
    }
}

/* ---- The shortest text of a value ----
 *
 * A decimal of at most 15 digits is the only one of its length or shorter that reads back as its double (in the normal
 * range), so whatever finds one has found the shortest. Most values of monitoring are such, and integers: they are
 * tried by arithmetic that is exact. The rest asks printf for 15, 16, 17 digits. */

#define DIGITS_MAX 17 /* always enough to tell a double from all others */

/* value == digits[0].digits[1]digits[2]... * 10^exponent */
struct decimal {
    char digits[DIGITS_MAX + 1];
    int count;
    int exponent;
};

static size_t print_unsigned(uint64_t value, char *text)
{
    char reversed[20];
    size_t len = 0;
    do {
        reversed[len++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < len; i++)
        text[i] = reversed[len - 1 - i];
    return len;
}

/* k / 10^e with k below 10^15 is read exactly: division of two exact doubles rounds once. 0 when there is none. */
static size_t print_short(double value, char *text)
{
    static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    for (size_t places = 0; places < ARRAY_LEN(powers); places++) {
        double scaled = value * powers[places];
        if (scaled >= 1e15)
            return 0;
        uint64_t k = (uint64_t)(scaled + 0.5);
        if ((double)k / powers[places] != value)
            continue;
        uint64_t unit = (uint64_t)powers[places];
        size_t len = print_unsigned(k / unit, text);
        if (places == 0)
            return len;
        text[len++] = '.';
        uint64_t rest = k % unit;
        for (size_t i = places; i-- > 0; rest /= 10)
            text[len + i] = (char)('0' + rest % 10);
        return len + places;
    }
    return 0;
}

static struct decimal decimal_of(double value, int digits)
{
    char text[DIGITS_MAX + 16];
    snprintf(text, sizeof(text), "%.*e", digits - 1, value); /* d.ddddde+xx */
    struct decimal decimal = {.count = digits};
    decimal.digits[0] = text[0];
    if (digits > 1)
        memcpy(decimal.digits + 1, text + 2, (size_t)digits - 1);
    decimal.exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    return decimal;
}

/* The next decimal of the same length upward. */
static struct decimal decimal_above(struct decimal decimal)
{
    int at = decimal.count - 1;
    while (at >= 0 && decimal.digits[at] == '9')
        decimal.digits[at--] = '0';
    if (at >= 0) {
        decimal.digits[at]++;
        return decimal;
    }
    decimal.digits[0] = '1';
    decimal.exponent++;
    return decimal;
}

static bool decimal_reads_as(const struct decimal *decimal, double value)
{
    char text[DIGITS_MAX + 16];
    snprintf(text, sizeof(text), "%.*se%d", decimal->count, decimal->digits, decimal->exponent - (decimal->count - 1));
    return strtod(text, NULL) == value;
}

static struct decimal decimal_shortest(double value)
{
    /* Below the normal range fewer digits than 15 may do where 15 give others: 5e-324. */
    struct decimal decimal = {0};
    for (int digits = value < DBL_MIN ? 1 : 15; digits <= DIGITS_MAX; digits++) {
        decimal = decimal_of(value, digits);
        if (decimal_reads_as(&decimal, value))
            break;
        /* At a power of two the doubles below lie twice as dense: the nearest decimal may miss on that side where the
         * next one on the other side does not. */
        decimal = decimal_above(decimal);
        if (decimal_reads_as(&decimal, value))
            break;
    }
    while (decimal.count > 1 && decimal.digits[decimal.count - 1] == '0')
        decimal.count--;
    return decimal;
}

static size_t print_decimal(const struct decimal *decimal, char *text)
{
    size_t len = 0;
    int whole = decimal->exponent + 1; /* digits before the point */
    if (whole <= 0) {
        text[len++] = '0';
        text[len++] = '.';
        for (int i = whole; i < 0; i++)
            text[len++] = '0';
    }
    for (int i = 0; i < MAX(decimal->count, whole); i++) {
        if (i == whole && whole > 0)
            text[len++] = '.';
        text[len++] = i < decimal->count ? decimal->digits[i] : '0';
    }
    return len;
}

/* d.ddde+xx, the exponent of two digits at least, as Go writes it. */
static size_t print_with_exponent(const struct decimal *decimal, char *text)
{
    size_t len = 0;
    text[len++] = decimal->digits[0];
    if (decimal->count > 1)
        text[len++] = '.';
    for (int i = 1; i < decimal->count; i++)
        text[len++] = decimal->digits[i];
    unsigned exponent = (unsigned)abs(decimal->exponent);
    text[len++] = 'e';
    text[len++] = decimal->exponent < 0 ? '-' : '+';
    if (exponent < 10)
        text[len++] = '0';
    return len + print_unsigned(exponent, text + len);
}

static size_t print_word(const char *word, char *text)
{
    size_t len = strlen(word);
    memcpy(text, word, len + 1);
    return len;
}

static size_t print_value(double value, bool exponents, char *text)
{
    if (isnan(value))
        return print_word("NaN", text);
    if (isinf(value))
        return print_word(value > 0 ? "+Inf" : "-Inf", text);
    size_t len = 0;
    if (signbit(value))
        text[len++] = '-';
    value = fabs(value);
    size_t digits = print_short(value, text + len);
    bool exponent = exponents && value != 0 && (value < 1e-6 || value >= 1e21);
    if (digits == 0 || exponent) {
        struct decimal decimal = decimal_shortest(value);
        digits = exponent ? print_with_exponent(&decimal, text + len) : print_decimal(&decimal, text + len);
    }
    len += digits;
    text[len] = '\0';
    return len;
}

size_t value_print(double value, char ret_text[static VALUE_TEXT_BYTES])
{
    return print_value(value, false, ret_text);
}

size_t value_print_api(double value, char ret_text[static VALUE_TEXT_BYTES])
{
    return print_value(value, true, ret_text);
}
