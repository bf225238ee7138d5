#include "hop/column.h"
#include "base/fail.h"
#include "hop/scale.h"
#include "metric/sample.h"

#include <errno.h>

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

static size_t packed_bytes(size_t count, unsigned bits)
{
    return (count * bits + 7) / 8;
}

/* How integers are written. */
struct plan {
    int64_t low; /* the base */
    bool all_equal;
    unsigned zeros; /* bits that all residuals end with, left out */
    struct scale_packing packing;
};

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
        widths[scale_bit_width(((uint64_t)values[i] - (uint64_t)low) >> plan.zeros)]++;
    plan.packing = scale_pack(widths, count);
    return plan;
}

static uint64_t residual_of(const struct plan *plan, int64_t value)
{
    return ((uint64_t)value - (uint64_t)plan->low) >> plan->zeros;
}

static void pack_bits(const int64_t *values, size_t count, const struct plan *plan, uint8_t *out)
{
    unsigned used = 0, bits = plan->packing.bits;
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
    size_t last = 0, left = plan->packing.patches;
    ASSERT(plan->packing.bits < 64 || left == 0);
    for (size_t i = 0; left > 0 && i < count; i++) {
        uint64_t high = residual_of(plan, values[i]) >> plan->packing.bits;
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
    buf_append_byte(header, (uint8_t)plan->packing.bits);
    buf_append_byte(header, (uint8_t)plan->zeros);
    buf_append_uvarint(header, plan->packing.patches);
    size_t bytes = packed_bytes(count, plan->packing.bits);
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
        if (payload->bad || step >= count - at || (step == 0 && i > 0) || bits + scale_bit_width(high) > 64)
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
    uint8_t *missed;            /* 1: an exception */
    int64_t *scaled, *relative; /* scratch */
};

static void scale_values(struct draft *draft)
{
    draft->scale = scale_choose(draft->values, draft->count);
    if (scale_all(draft->values, draft->count, draft->scale, draft->scaled))
        return;
    draft->misses = scale_mark(draft->values, draft->count, draft->scale, draft->scaled, draft->missed);
    fill_missed(draft->missed, draft->count, draft->scaled);
}

/* The integers that are written: the scaled ones, or where those take less their differences from what is expected. */
static const int64_t *choose_base(struct draft *draft, struct plan *plan)
{
    *plan = plan_ints(draft->scaled, draft->count);
    if (!draft->bases || plan->all_equal)
        return draft->scaled;
    scale_less_expected(draft->scaled, draft->bases, draft->count, draft->scale, draft->relative);
    if (draft->misses > 0)
        fill_missed(draft->missed, draft->count, draft->relative);
    struct plan other = plan_ints(draft->relative, draft->count);
    if (other.packing.cost_bits >= plan->packing.cost_bits && !other.all_equal)
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
    if (relative)
        scale_plus_expected(scaled, bases, count, scale);
    unscale_all(ret_values, count, scale);
    error = read_exceptions(&in->payload, exceptions, count, ret_values);
    if (error == 0 && ret_exceptions)
        *ret_exceptions = (uint32_t)exceptions;
    if (error == 0 && in->trace)
        tell(in, &from, &stats);
    return error;
}
