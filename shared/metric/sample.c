#include "metric/sample.h"

#include "base/shortest.h"
#include "base/str.h"

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

/* ---- The shortest text of a value ---- */

#define WHOLE_MAX 1e15 /* whole numbers below are written digit by digit */

/* value == digits[0].digits[1]digits[2]... * 10^exponent */
struct decimal {
    char digits[SHORTEST_DIGITS_MAX];
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
    bool exponent = exponents && value != 0 && (value < 1e-6 || value >= 1e21);
    if (value < WHOLE_MAX && (double)(uint64_t)value == value) {
        len += print_unsigned((uint64_t)value, text + len);
    } else {
        struct decimal decimal;
        decimal.count = (int)shortest_decimal(value, decimal.digits, &decimal.exponent);
        len += exponent ? print_with_exponent(&decimal, text + len) : print_decimal(&decimal, text + len);
    }
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
