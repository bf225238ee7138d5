#include "hop/scale.h"
#include "metric/sample.h"

#include <math.h>
#include <string.h>

/* Past it k/10^e is not exact any more; 18446744073709552000, say, would come back as another number. */
#define SCALED_MAX (INT64_C(1) << 51)
/* Values looked at to choose a scale. */
#define SCALE_SAMPLES 48

static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

const char *scale_name(uint8_t scale)
{
    static const char *const names[SCALE_COUNT] = {"bits",   "1",      "1/10",        "1/100",  "1/10^3", "1/10^4",
                                                   "1/10^5", "1/10^6", "1/10^7",      "1/10^8", "1/10^9", "10^3",
                                                   "10^6",   "10^9",   "1/1000/1000", "*0.001"};
    return scale < SCALE_COUNT ? names[scale] : "unknown";
}

/* The ways in which k and a value belong together, so that a loop over a column is made for each. */
enum scale_way { WAY_BITS, WAY_WHOLE, WAY_DIVIDED, WAY_MULTIPLIED, WAY_MILLI_MILLI, WAY_MILLI_PRODUCT };

struct scaling {
    enum scale_way way;
    double power;
};

static struct scaling scaling_of(unsigned scale)
{
    if (scale == SCALE_BITS)
        return (struct scaling){WAY_BITS, 1};
    if (scale == SCALE_DECIMAL)
        return (struct scaling){WAY_WHOLE, 1};
    if (scale < SCALE_HUGE)
        return (struct scaling){WAY_DIVIDED, powers[scale - SCALE_DECIMAL]};
    if (scale < SCALE_MILLI_MILLI)
        return (struct scaling){WAY_MULTIPLIED, powers[3 * (scale - SCALE_HUGE + 1)]};
    return (struct scaling){scale == SCALE_MILLI_MILLI ? WAY_MILLI_MILLI : WAY_MILLI_PRODUCT, 1};
}

/* The value of k units. */
static inline double from_units(double k, enum scale_way way, double power)
{
    switch (way) {
    case WAY_DIVIDED:
        return k / power;
    case WAY_MULTIPLIED:
        return k * power;
    case WAY_MILLI_MILLI:
        return k / 1000 / 1000;
    case WAY_MILLI_PRODUCT:
        return k * 0.001;
    case WAY_WHOLE:
    case WAY_BITS:
        break;
    }
    return k;
}

/* The value in units of the scale, not yet whole. */
static inline double in_units(double value, enum scale_way way, double power)
{
    switch (way) {
    case WAY_DIVIDED:
        return value * power;
    case WAY_MULTIPLIED:
        return value / power;
    case WAY_MILLI_MILLI:
        return value * 1e6;
    case WAY_MILLI_PRODUCT:
        return value * 1e3;
    case WAY_WHOLE:
    case WAY_BITS:
        break;
    }
    return value;
}

/* Added to a number within SCALED_MAX it leaves it rounded to a whole one, which then stands in the low bits of the
 * sum: without a branch or a conversion, which processors do two at a time only in newer instructions. */
#define ROUNDER 0x1.8p52

/* 0 within [-SCALED_MAX, SCALED_MAX). */
static inline uint64_t outside_range(int64_t k)
{
    return ((uint64_t)k + (uint64_t)SCALED_MAX) / (2 * (uint64_t)SCALED_MAX);
}

/* k of a value, and 0 when the value comes back from it bit for bit. Not for WAY_BITS. */
static inline uint64_t scale_value(double value, enum scale_way way, double power, int64_t *ret_k)
{
    double sum = in_units(value, way, power) + ROUNDER;
    int64_t k = (int64_t)(double_bits(sum) - double_bits(ROUNDER));
    *ret_k = k;
    return (double_bits(from_units(sum - ROUNDER, way, power)) ^ double_bits(value)) | outside_range(k);
}

static inline uint64_t scale_column(const double *values, size_t count, enum scale_way way, double power,
                                    int64_t *ret_k)
{
    uint64_t misses = 0;
    for (size_t i = 0; i < count; i++)
        misses |= scale_value(values[i], way, power, &ret_k[i]);
    return misses;
}

static uint64_t misses_of(const double *values, size_t count, const struct scaling *scaling, int64_t *ret_k)
{
    switch (scaling->way) {
    case WAY_BITS:
        memcpy(ret_k, values, count * sizeof(*values));
        return 0;
    case WAY_WHOLE:
        return scale_column(values, count, WAY_WHOLE, 1, ret_k);
    case WAY_DIVIDED:
        return scale_column(values, count, WAY_DIVIDED, scaling->power, ret_k);
    case WAY_MULTIPLIED:
        return scale_column(values, count, WAY_MULTIPLIED, scaling->power, ret_k);
    case WAY_MILLI_MILLI:
        return scale_column(values, count, WAY_MILLI_MILLI, 1, ret_k);
    case WAY_MILLI_PRODUCT:
        return scale_column(values, count, WAY_MILLI_PRODUCT, 1, ret_k);
    }
    return UINT64_MAX;
}

bool scale_all(const double *values, size_t count, unsigned scale, int64_t *ret_k)
{
    const struct scaling scaling = scaling_of(scale);
    return misses_of(values, count, &scaling, ret_k) == 0;
}

size_t scale_mark(const double *values, size_t count, unsigned scale, int64_t *ret_k, uint8_t *ret_missed)
{
    const struct scaling scaling = scaling_of(scale);
    size_t misses = 0;
    for (size_t i = 0; i < count; i++) {
        ret_missed[i] = scale_value(values[i], scaling.way, scaling.power, &ret_k[i]) != 0;
        misses += ret_missed[i];
    }
    return misses;
}

/* In place: values are the integers before. k outside of SCALED_MAX, which no writer of ours makes, is converted. */
static inline void unscale_column(double *values, size_t count, enum scale_way way, double power)
{
    const int64_t *k = (const int64_t *)(const void *)values;
    uint64_t outside = 0;
    for (size_t i = 0; i < count; i++)
        outside |= outside_range(k[i]);
    if (outside == 0)
        for (size_t i = 0; i < count; i++)
            values[i] = from_units(double_from_bits((uint64_t)k[i] + double_bits(ROUNDER)) - ROUNDER, way, power);
    else
        for (size_t i = 0; i < count; i++)
            values[i] = from_units((double)k[i], way, power);
}

void unscale_all(double *values, size_t count, unsigned scale)
{
    const struct scaling scaling = scaling_of(scale);
    switch (scaling.way) {
    case WAY_BITS:
        return;
    case WAY_WHOLE:
        unscale_column(values, count, WAY_WHOLE, 1);
        return;
    case WAY_DIVIDED:
        unscale_column(values, count, WAY_DIVIDED, scaling.power);
        return;
    case WAY_MULTIPLIED:
        unscale_column(values, count, WAY_MULTIPLIED, scaling.power);
        return;
    case WAY_MILLI_MILLI:
        unscale_column(values, count, WAY_MILLI_MILLI, 1);
        return;
    case WAY_MILLI_PRODUCT:
        unscale_column(values, count, WAY_MILLI_PRODUCT, 1);
        return;
    }
}

/* Where k is expected when the value is near base. Both ends compute it, so it is one multiplication or division and a
 * cut: nothing that a processor with fused operations rounds otherwise. */
static inline int64_t expected(double base, const struct scaling *scaling)
{
    if (scaling->way == WAY_BITS)
        return isnan(base) ? 0 : (int64_t)double_bits(base);
    double near = in_units(base, scaling->way, scaling->power);
    return near > -(double)SCALED_MAX && near < (double)SCALED_MAX ? (int64_t)near : 0;
}

void scale_less_expected(const int64_t *k, const double *bases, size_t count, unsigned scale, int64_t *ret_k)
{
    const struct scaling scaling = scaling_of(scale);
    for (size_t i = 0; i < count; i++)
        ret_k[i] = (int64_t)((uint64_t)k[i] - (uint64_t)expected(bases[i], &scaling));
}

void scale_plus_expected(int64_t *k, const double *bases, size_t count, unsigned scale)
{
    const struct scaling scaling = scaling_of(scale);
    for (size_t i = 0; i < count; i++)
        k[i] = (int64_t)((uint64_t)k[i] + (uint64_t)expected(bases[i], &scaling));
}

/* ---- The choice ---- */

/* Some values of a column, from all over it. */
struct probe {
    double values[2 * SCALE_SAMPLES];
    size_t count;
    size_t share; /* values of the column for each of these */
};

static void take_probe(const double *values, size_t count, struct probe *probe)
{
    probe->share = MAX(count / SCALE_SAMPLES, (size_t)1);
    probe->count = 0;
    for (size_t i = 0; i < count; i += probe->share)
        probe->values[probe->count++] = values[i];
}

static size_t signed_bits(int64_t value)
{
    uint64_t zigzag = ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
    return 8 * MAX((scale_bit_width(zigzag) + 6) / 7, 1U);
}

struct scale_packing scale_pack(const uint32_t widths[static 65], size_t count)
{
    unsigned top = 64;
    while (top > 0 && widths[top] == 0)
        top--;
    struct scale_packing best = {.bits = top, .cost_bits = count * top};
    size_t patched = 0;
    for (unsigned width = top; width-- > 0;) {
        patched += widths[width + 1];
        /* An outlier costs its place (mostly one byte) and its high part. */
        size_t cost = count * width + patched * (8 + ((top - width + 6) / 7) * 8);
        if (cost < best.cost_bits)
            best = (struct scale_packing){.bits = width, .patches = patched, .cost_bits = cost};
    }
    return best;
}

static size_t packed_cost(const int64_t *k, size_t count, int64_t low)
{
    uint32_t widths[65] = {0};
    for (size_t i = 0; i < count; i++)
        widths[scale_bit_width((uint64_t)k[i] - (uint64_t)low)]++;
    return scale_pack(widths, count).cost_bits;
}

/* Cost of a scale in bits: of the base, of what fits packed, eleven bytes for what does not; where it is not less than
 * limit, that. */
static size_t scale_cost(const struct probe *probe, unsigned scale, size_t limit, bool *ret_all)
{
    const struct scaling scaling = scaling_of(scale);
    int64_t fitting[2 * SCALE_SAMPLES], low = INT64_MAX;
    size_t missed_cost = 0, count = 0;
    *ret_all = false;
    for (size_t i = 0; i < probe->count; i++) {
        int64_t k = (int64_t)double_bits(probe->values[i]);
        if (scale != SCALE_BITS && scale_value(probe->values[i], scaling.way, scaling.power, &k) != 0) {
            missed_cost += 88 * probe->share;
            if (missed_cost >= limit)
                return limit;
            continue;
        }
        fitting[count++] = k;
        low = MIN(low, k);
    }
    if (count == 0)
        return limit;
    *ret_all = missed_cost == 0;
    return signed_bits(low) + packed_cost(fitting, count, low) * probe->share + missed_cost;
}

unsigned scale_choose(const double *values, size_t count)
{
    struct probe probe;
    take_probe(values, count, &probe);
    unsigned best = SCALE_BITS;
    bool whole = false, all;
    size_t best_cost = scale_cost(&probe, SCALE_BITS, SIZE_MAX, &all);
    for (unsigned scale = SCALE_DECIMAL; scale < SCALE_COUNT; scale++) {
        /* Whole numbers in units of 1/10^e are so in finer ones too, but wider. */
        if (whole && (scale < SCALE_HUGE || scale >= SCALE_MILLI_MILLI))
            continue;
        size_t cost = scale_cost(&probe, scale, best_cost, &all);
        whole |= all;
        if (cost >= best_cost)
            continue;
        best_cost = cost;
        best = scale;
    }
    return best;
}
