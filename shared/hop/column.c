#include "hop/column.h"
#include "base/fail.h"
#include "metric/sample.h"

#include <errno.h>
#include <math.h>

/* Scales: how an integer k stands for a double. */
enum {
    SCALE_BITS = 0,           /* k is the bits */
    SCALE_DECIMAL = 1,        /* k / 10^e, e = scale - SCALE_DECIMAL, 0..9 */
    SCALE_HUGE = 11,          /* k * 10^e, e = 3, 6, 9 */
    SCALE_MILLI_MILLI = 14,   /* k / 1000 / 1000: PSI's microseconds, divided twice */
    SCALE_MILLI_PRODUCT = 15, /* k * 0.001: disk seconds */
    SCALE_COUNT = 16
};

/* Past it k/10^e is not exact any more; 18446744073709552000, say, would come back as another number. */
#define SCALED_MAX (INT64_C(1) << 51)
/* Values looked at to choose a scale. */
#define SCALE_SAMPLES 48

static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

const char *column_scale_name(uint8_t scale)
{
    static const char *const names[SCALE_COUNT] = {"bits",   "1",      "1/10",        "1/100",  "1/10^3", "1/10^4",
                                                   "1/10^5", "1/10^6", "1/10^7",      "1/10^8", "1/10^9", "10^3",
                                                   "10^6",   "10^9",   "1/1000/1000", "*0.001"};
    return scale < SCALE_COUNT ? names[scale] : "unknown";
}

int column_append_signed(struct buf *out, int64_t value)
{
    return buf_append_uvarint(out, ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0));
}

int64_t column_read_signed(struct reader *reader)
{
    uint64_t value = reader_uvarint(reader);
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

/* ---- Integers ---- */

static unsigned bit_width(uint64_t value)
{
    return value ? 64 - (unsigned)__builtin_clzll(value) : 0;
}

static size_t packed_bytes(size_t count, unsigned bits)
{
    return (count * bits + 7) / 8;
}

/* How integers are written. */
struct plan {
    int64_t low; /* the base */
    bool all_equal;
    unsigned zeros;   /* bits that all residuals end with, left out */
    unsigned bits;    /* packed of each */
    size_t patches;   /* residuals that are wider */
    size_t cost_bits; /* of what is packed */
};

/* Fills bits, patches and cost: the width at which packed bits and patches together are smallest. widths[w]: residuals
 * whose width is w. */
static void choose_width(const uint32_t widths[static 65], size_t count, struct plan *plan)
{
    unsigned top = 64;
    while (top > 0 && widths[top] == 0)
        top--;
    plan->bits = top;
    plan->cost_bits = count * top;
    size_t patched = 0;
    for (unsigned width = top; width-- > 0;) {
        patched += widths[width + 1];
        /* An outlier costs its place (mostly one byte) and its high part. */
        size_t cost = count * width + patched * (8 + ((top - width + 6) / 7) * 8);
        if (cost < plan->cost_bits) {
            plan->cost_bits = cost;
            plan->bits = width;
            plan->patches = patched;
        }
    }
}

static struct plan plan_ints(const int64_t *values, size_t count)
{
    int64_t low = values[0];
    for (size_t i = 1; i < count; i++)
        low = MIN(low, values[i]);
    uint64_t any = 0;
    for (size_t i = 0; i < count; i++)
        any |= (uint64_t)values[i] - (uint64_t)low;
    struct plan plan = {.low = low, .all_equal = any == 0};
    if (plan.all_equal)
        return plan;
    plan.zeros = (unsigned)__builtin_ctzll(any);
    uint32_t widths[65] = {0};
    for (size_t i = 0; i < count; i++)
        widths[bit_width(((uint64_t)values[i] - (uint64_t)low) >> plan.zeros)]++;
    choose_width(widths, count, &plan);
    return plan;
}

static uint64_t residual_of(const struct plan *plan, int64_t value)
{
    return ((uint64_t)value - (uint64_t)plan->low) >> plan->zeros;
}

static void pack_bits(const int64_t *values, size_t count, const struct plan *plan, uint8_t *out)
{
    unsigned used = 0, bits = plan->bits;
    uint64_t word = 0, mask = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    for (size_t i = 0; i < count; i++) {
        uint64_t residual = residual_of(plan, values[i]) & mask;
        word |= residual << used;
        used += bits;
        if (used >= 64) {
            memcpy(out, &word, 8); /* little endian: checked below */
            out += 8;
            used -= 64;
            word = used > 0 ? residual >> (bits - used) : 0;
        }
    }
    memcpy(out, &word, (used + 7) / 8);
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bits are packed in little-endian words");

static void unpack_bits(const uint8_t *in, size_t len, size_t count, unsigned bits, uint64_t *ret_values)
{
    uint64_t mask = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    /* Whole words while eight bytes can be read and a value lies in one of them. */
    size_t i = 0;
    if (bits <= 57 && len >= 8) {
        size_t safe = ((len - 8) * 8) / bits + 1;
        for (size_t end = MIN(count, safe); i < end; i++) {
            uint64_t word;
            memcpy(&word, in + (i * bits >> 3), 8);
            ret_values[i] = word >> (i * bits & 7) & mask;
        }
    }
    for (; i < count; i++) {
        uint64_t value = 0;
        for (unsigned bit = 0; bit < bits; bit++) {
            size_t at = i * bits + bit;
            value |= (uint64_t)(in[at >> 3] >> (at & 7) & 1) << bit;
        }
        ret_values[i] = value;
    }
}

static void append_patches(const int64_t *values, size_t count, const struct plan *plan, struct buf *payload)
{
    size_t last = 0, left = plan->patches;
    for (size_t i = 0; left > 0 && i < count; i++) {
        uint64_t high = residual_of(plan, values[i]) >> plan->bits; /* with patches fewer than 64 bits are packed */
        if (high == 0)
            continue;
        buf_append_uvarint(payload, i - last);
        buf_append_uvarint(payload, high);
        last = i;
        left--;
    }
}

/* header: signed base; byte width (0..64); then unless the width is 0 and there are no patches: byte zeros, uvarint
 * patches. All values equal: width byte 0xff. */
#define WIDTH_ALL_EQUAL 0xff

static int write_ints(const int64_t *values, size_t count, const struct plan *plan, struct buf *header,
                      struct buf *payload)
{
    column_append_signed(header, plan->low);
    if (plan->all_equal)
        return buf_append_byte(header, WIDTH_ALL_EQUAL);
    buf_append_byte(header, (uint8_t)plan->bits);
    buf_append_byte(header, (uint8_t)plan->zeros);
    buf_append_uvarint(header, plan->patches);
    size_t bytes = packed_bytes(count, plan->bits);
    uint8_t *room = buf_reserve(payload, bytes);
    if (!room)
        return -EMSGSIZE;
    pack_bits(values, count, plan, room); /* writes bytes, no more */
    buf_added(payload, bytes);
    append_patches(values, count, plan, payload);
    return header->full || payload->full ? -EMSGSIZE : 0;
}

static int read_patches(struct reader *payload, uint64_t patches, unsigned bits, uint64_t *residuals, size_t count)
{
    size_t at = 0;
    for (uint64_t i = 0; i < patches; i++) {
        uint64_t step = reader_uvarint(payload);
        uint64_t high = reader_uvarint(payload);
        if (payload->bad || step >= count - at || (step == 0 && i > 0) || bits + bit_width(high) > 64)
            return -EBADMSG;
        at += (size_t)step;
        residuals[at] |= high << bits;
    }
    return 0;
}

static int read_ints(struct column_input *in, size_t count, int64_t *ret_values, struct column_stats *stats)
{
    struct reader *header = &in->header, *payload = &in->payload;
    ASSERT(count > 0 && count <= COLUMN_VALUES_MAX);
    int64_t base = column_read_signed(header);
    uint8_t bits = reader_byte(header);
    if (header->bad || (bits > 64 && bits != WIDTH_ALL_EQUAL))
        return -EBADMSG;
    if (bits == WIDTH_ALL_EQUAL) {
        for (size_t i = 0; i < count; i++)
            ret_values[i] = base;
        return 0;
    }
    uint8_t zeros = reader_byte(header);
    uint64_t patches = reader_uvarint(header);
    struct str packed = reader_bytes(payload, packed_bytes(count, bits));
    if (header->bad || payload->bad || zeros > 63 || patches > count || bits == (patches == 0 ? 0 : 64))
        return -EBADMSG;
    uint64_t *residuals = (uint64_t *)ret_values; /* the same bytes, before and after */
    if (bits > 0)
        unpack_bits((const uint8_t *)packed.ptr, packed.len, count, bits, residuals);
    else
        memset(residuals, 0, count * sizeof(*residuals));
    if (read_patches(payload, patches, bits, residuals, count) < 0)
        return -EBADMSG;
    for (size_t i = 0; i < count; i++)
        ret_values[i] = (int64_t)((uint64_t)base + (residuals[i] << zeros));
    stats->bits = bits;
    stats->zeros = zeros;
    stats->patches = (uint32_t)patches;
    return 0;
}

/* Tells of a column that began where `from` stood. */
static void tell(const struct column_input *in, const struct column_input *from, struct column_stats *stats)
{
    stats->header_bytes = (size_t)(in->header.at - from->header.at);
    stats->payload_bytes = (size_t)(in->payload.at - from->payload.at);
    in->trace(in->trace_arg, in->part, stats);
}

int column_decode_ints(struct column_input *in, size_t count, int64_t *ret_values)
{
    const struct column_input from = *in;
    struct column_stats stats = {.count = count, .scale = SCALE_DECIMAL};
    int error = read_ints(in, count, ret_values, &stats);
    if (error == 0 && in->trace)
        tell(in, &from, &stats);
    return error;
}

int column_encode_ints(const int64_t *values, size_t count, struct buf *header, struct buf *payload)
{
    ASSERT(count > 0 && count <= COLUMN_VALUES_MAX);
    struct plan plan = plan_ints(values, count);
    return write_ints(values, count, &plan, header, payload);
}

/* ---- Doubles ---- */

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

/* Fills ret_k; 0: each value comes back from its k bit for bit. */
static uint64_t scale_all(const double *values, size_t count, const struct scaling *scaling, int64_t *ret_k)
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

static void unscale_all(double *values, size_t count, const struct scaling *scaling)
{
    switch (scaling->way) {
    case WAY_BITS:
        return;
    case WAY_WHOLE:
        unscale_column(values, count, WAY_WHOLE, 1);
        return;
    case WAY_DIVIDED:
        unscale_column(values, count, WAY_DIVIDED, scaling->power);
        return;
    case WAY_MULTIPLIED:
        unscale_column(values, count, WAY_MULTIPLIED, scaling->power);
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
    return 8 * MAX((bit_width(zigzag) + 6) / 7, 1U);
}

/* Cost of a scale in bits: of the base, the width of what fits, eleven bytes for what does not; where it is not less
 * than limit, that. */
static size_t scale_cost(const struct probe *probe, unsigned scale, size_t limit, bool *ret_all)
{
    *ret_all = false;
    const struct scaling scaling = scaling_of(scale);
    int64_t low = INT64_MAX, high = INT64_MIN;
    size_t missed_cost = 0, fitting = 0;
    for (size_t i = 0; i < probe->count; i++) {
        int64_t k = (int64_t)double_bits(probe->values[i]);
        if (scale != SCALE_BITS && scale_value(probe->values[i], scaling.way, scaling.power, &k) != 0) {
            missed_cost += 88 * probe->share;
            if (missed_cost >= limit)
                return limit;
            continue;
        }
        fitting++;
        low = MIN(low, k);
        high = MAX(high, k);
    }
    if (fitting == 0)
        return limit;
    *ret_all = missed_cost == 0;
    return signed_bits(low) + fitting * probe->share * bit_width((uint64_t)high - (uint64_t)low) + missed_cost;
}

static unsigned choose_scale(const double *values, size_t count)
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

/* header: byte scale, | 0x80 when there are exceptions (then uvarint count), | 0x40 when the integers are differences
 * from where they are expected; then the integers' header.
 * payload: the integers, then the exceptions: uvarint steps of places and eight bytes each. */
#define SCALE_EXCEPTIONS 0x80
#define SCALE_RELATIVE   0x40

static void append_exceptions(const double *values, const uint8_t *missed, size_t count, struct buf *payload)
{
    size_t last = 0;
    for (size_t i = 0; i < count; i++) {
        if (!missed[i])
            continue;
        buf_append_uvarint(payload, i - last);
        buf_append_le64(payload, double_bits(values[i]));
        last = i;
    }
}

/* An exception's place holds a value of its neighbourhood, so that it does not widen the column. */
static void fill_missed(const uint8_t *missed, size_t count, int64_t *scaled)
{
    size_t first = 0;
    while (first < count && missed[first])
        first++;
    int64_t filler = first < count ? scaled[first] : 0;
    for (size_t i = 0; i < count; i++) {
        scaled[i] = missed[i] ? filler : scaled[i];
        filler = scaled[i];
    }
}

/* A column of doubles on its way. */
struct draft {
    const double *values, *bases; /* bases may be NULL */
    size_t count, misses;
    unsigned scale;
    struct scaling scaling;
    uint8_t *missed;            /* 1: an exception */
    int64_t *scaled, *relative; /* scratch */
};

static void scale_values(struct draft *draft)
{
    draft->scale = choose_scale(draft->values, draft->count);
    draft->scaling = scaling_of(draft->scale);
    if (scale_all(draft->values, draft->count, &draft->scaling, draft->scaled) == 0)
        return;
    for (size_t i = 0; i < draft->count; i++) {
        draft->missed[i] =
            scale_value(draft->values[i], draft->scaling.way, draft->scaling.power, &draft->scaled[i]) != 0;
        draft->misses += draft->missed[i];
    }
    fill_missed(draft->missed, draft->count, draft->scaled);
}

/* The integers that are written: the scaled ones, or where those take less their differences from what is expected. */
static const int64_t *choose_base(struct draft *draft, struct plan *plan)
{
    *plan = plan_ints(draft->scaled, draft->count);
    if (!draft->bases || plan->all_equal)
        return draft->scaled;
    for (size_t i = 0; i < draft->count; i++)
        draft->relative[i] =
            (int64_t)((uint64_t)draft->scaled[i] - (uint64_t)expected(draft->bases[i], &draft->scaling));
    if (draft->misses > 0)
        fill_missed(draft->missed, draft->count, draft->relative);
    struct plan other = plan_ints(draft->relative, draft->count);
    if (other.cost_bits >= plan->cost_bits && !other.all_equal)
        return draft->scaled;
    *plan = other;
    return draft->relative;
}

int column_encode_doubles(const double *values, const double *bases, size_t count, struct buf *header,
                          struct buf *payload)
{
    ASSERT(count > 0 && count <= COLUMN_VALUES_MAX);
    CLEANUP_FREE int64_t *scratch = mem_resize(NULL, count, 2 * sizeof(*scratch) + 1);
    struct draft draft = {.values = values,
                          .bases = bases,
                          .count = count,
                          .scaled = scratch,
                          .relative = scratch + count,
                          .missed = (uint8_t *)(scratch + 2 * count)};
    struct plan plan;
    scale_values(&draft);
    const int64_t *chosen = choose_base(&draft, &plan);
    buf_append_byte(header, (uint8_t)(draft.scale | (draft.misses > 0 ? SCALE_EXCEPTIONS : 0) |
                                      (chosen == draft.relative ? SCALE_RELATIVE : 0)));
    if (draft.misses > 0)
        buf_append_uvarint(header, draft.misses);
    int error = write_ints(chosen, count, &plan, header, payload);
    if (error < 0)
        return error;
    if (draft.misses > 0)
        append_exceptions(values, draft.missed, count, payload);
    return header->full || payload->full ? -EMSGSIZE : 0;
}

static int read_exceptions(struct reader *payload, uint64_t exceptions, size_t count, double *values)
{
    size_t at = 0;
    for (uint64_t i = 0; i < exceptions; i++) {
        uint64_t step = reader_uvarint(payload);
        uint64_t bits = reader_le64(payload);
        if (payload->bad || step >= count - at || (step == 0 && i > 0))
            return -EBADMSG;
        at += (size_t)step;
        values[at] = double_from_bits(bits);
    }
    return 0;
}

int column_decode_doubles(struct column_input *in, const double *bases, size_t count, double *ret_values,
                          uint32_t *ret_exceptions)
{
    _Static_assert(sizeof(int64_t) == sizeof(double), "decoded in place");
    const struct column_input from = *in;
    uint8_t mode = reader_byte(&in->header);
    unsigned scale = mode & (SCALE_RELATIVE - 1);
    bool relative = mode & SCALE_RELATIVE;
    uint64_t exceptions = mode & SCALE_EXCEPTIONS ? reader_uvarint(&in->header) : 0;
    if (in->header.bad || scale >= SCALE_COUNT || exceptions > count || (relative && !bases))
        return -EBADMSG;
    int64_t *scaled = (int64_t *)(void *)ret_values;
    struct column_stats stats = {
        .count = count, .scale = (uint8_t)scale, .relative = relative, .exceptions = (uint32_t)exceptions};
    int error = read_ints(in, count, scaled, &stats);
    if (error < 0)
        return error;
    const struct scaling scaling = scaling_of(scale);
    for (size_t i = 0; i < count && relative; i++)
        scaled[i] = (int64_t)((uint64_t)scaled[i] + (uint64_t)expected(bases[i], &scaling));
    unscale_all(ret_values, count, &scaling);
    error = read_exceptions(&in->payload, exceptions, count, ret_values);
    if (error == 0 && ret_exceptions)
        *ret_exceptions = (uint32_t)exceptions;
    if (error == 0 && in->trace)
        tell(in, &from, &stats);
    return error;
}
