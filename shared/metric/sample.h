#pragma once
/* A value at a time, what kind of values a series has, and what "stale" is. */
#include "base/defs.h"

#include <math.h>
#include <string.h>

struct sample {
    int64_t time_ms; /* since 1970 */
    double value;
};

/* What may be done with the values of a series. Histogram buckets, counts and sums are counters; of KIND_LAST (a gauge
 * of which a rule keeps the last value alone) records have no range, as of counters, and falls mean nothing. */
enum series_kind { KIND_GAUGE = 0, KIND_COUNTER = 1, KIND_LAST = 2 };
/* Records of the kind have sum, min and max. */
static inline bool kind_has_range(enum series_kind kind)
{
    return kind == KIND_GAUGE;
}

/* Types of the exposition formats, as Prometheus' metadata names them. */
enum metric_type { METRIC_UNKNOWN, METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_SUMMARY, METRIC_TYPE_COUNT };
const char *metric_type_name(enum metric_type type); /* "unknown", "counter", ... */
/* Kind from the family's type and the sample's own name; without a type by its suffix (_total, _bucket, _count, _sum).
 */
enum series_kind series_kind_of(enum metric_type type, const char *name, size_t name_len);

/* Prometheus' stale marker and its ordinary NaN (model/value): compared by bits, never by ==. */
#define STALE_NAN_BITS  UINT64_C(0x7ff0000000000002)
#define NORMAL_NAN_BITS UINT64_C(0x7ff8000000000001)

static inline uint64_t double_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}
static inline double double_from_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}
static inline bool value_is_stale(double value)
{
    return double_bits(value) == STALE_NAN_BITS;
}
static inline double value_stale(void)
{
    return double_from_bits(STALE_NAN_BITS);
}
/* The shortest text that reads back as the same bits, as Go's FormatFloat(v, 'f', -1) writes it (count_values, labels):
 * "NaN", "+Inf", "-Inf", no exponent. Returns its length; VALUE_TEXT_BYTES are always enough. */
#define VALUE_TEXT_BYTES 1100
size_t value_print(double value, char ret_text[static VALUE_TEXT_BYTES]);
/* The same as Prometheus' query API writes it: with an exponent below 1e-6 and from 1e21 on ("1e+22", "5e-324"). */
size_t value_print_api(double value, char ret_text[static VALUE_TEXT_BYTES]);
