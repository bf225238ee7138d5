/* Layout and quirks: Prometheus 2.42 tsdb/chunkenc/xor.go. */
#include "store/xor.h"

#include "base/fail.h"

#include <errno.h>

#define LEADING_MAX 31 /* 5 bits; more leading zeros are written as significant bits */

/* The forms of a delta of deltas: prefix, then the number in two's complement of so many bits. The range of a form is
 * -(2^(bits-1) - 1) .. 2^(bits-1). */
static const struct {
    uint8_t prefix, prefix_bits, bits;
} dod_forms[] = {{0x2, 2, 14}, {0x6, 3, 17}, {0xe, 4, 20}};

static void write_dod(struct bit_writer *writer, int64_t dod)
{
    if (dod == 0) {
        bit_write(writer, 0, 1);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(dod_forms); i++) {
        int64_t highest = INT64_C(1) << (dod_forms[i].bits - 1);
        if (dod > -highest && dod <= highest) {
            bit_write(writer, dod_forms[i].prefix, dod_forms[i].prefix_bits);
            bit_write(writer, (uint64_t)dod, dod_forms[i].bits);
            return;
        }
    }
    bit_write(writer, 0xf, 4);
    bit_write(writer, (uint64_t)dod, 64);
}

static void write_value(struct bit_writer *writer, struct xor_state *state, uint64_t bits)
{
    uint64_t changed = bits ^ state->value_bits;
    if (changed == 0) {
        bit_write(writer, 0, 1);
        return;
    }
    unsigned leading = (unsigned)MIN(__builtin_clzll(changed), LEADING_MAX);
    unsigned trailing = (unsigned)__builtin_ctzll(changed);
    if (state->leading != XOR_NOTHING_KEPT && leading >= state->leading && trailing >= state->trailing) {
        bit_write(writer, 0x2, 2);
        bit_write(writer, changed >> state->trailing, 64U - state->leading - state->trailing);
        return;
    }
    unsigned significant = 64 - leading - trailing;
    bit_write(writer, 0x3, 2);
    bit_write(writer, leading, 5);
    bit_write(writer, significant, 6); /* 64 becomes 0 */
    bit_write(writer, changed >> trailing, significant);
    state->leading = (uint8_t)leading;
    state->trailing = (uint8_t)trailing;
}

void xor_write(struct bit_writer *writer, struct xor_state *state, struct sample sample)
{
    ASSERT(state->count < UINT16_MAX);
    uint64_t bits = double_bits(sample.value);
    uint64_t delta = (uint64_t)sample.time_ms - (uint64_t)state->time_ms;
    if (state->count == 0) {
        bit_write_varint(writer, sample.time_ms);
        bit_write(writer, bits, 64);
        delta = 0;
    } else if (state->count == 1) {
        bit_write_uvarint(writer, delta);
        write_value(writer, state, bits);
    } else {
        write_dod(writer, (int64_t)(delta - state->delta_ms));
        write_value(writer, state, bits);
    }
    state->time_ms = sample.time_ms;
    state->delta_ms = delta;
    state->value_bits = bits;
    state->count++;
}

void xor_reader_init(struct xor_reader *reader, const void *bytes, size_t len)
{
    *reader = (struct xor_reader){.bits = bit_reader_of(bytes, len), .state = XOR_STATE_INIT};
    reader->left = (uint32_t)bit_read(&reader->bits, 16);
}

static int64_t read_dod(struct bit_reader *bits)
{
    if (bit_read(bits, 1) == 0) {
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(dod_forms); i++) {
        if (bit_read(bits, 1) == 0) {
            int64_t value = (int64_t)bit_read(bits, dod_forms[i].bits);
            int64_t highest = INT64_C(1) << (dod_forms[i].bits - 1);
            return value > highest ? value - 2 * highest : value;
        }
    }
    return (int64_t)bit_read(bits, 64);
}

static int read_value(struct bit_reader *bits, struct xor_state *state)
{
    if (bit_read(bits, 1) == 0) {
        return 0;
    }
    if (bit_read(bits, 1) != 0) {
        unsigned leading = (unsigned)bit_read(bits, 5);
        unsigned significant = (unsigned)bit_read(bits, 6);
        significant = significant == 0 ? 64 : significant;
        if (leading + significant > 64) {
            return -EBADMSG;
        }
        state->leading = (uint8_t)leading;
        state->trailing = (uint8_t)(64 - leading - significant);
    }
    /* An appender that Prometheus resumed on a chunk of constant values refers to 0 and 0 that were never written. */
    bool kept = state->leading != XOR_NOTHING_KEPT;
    unsigned trailing = kept ? state->trailing : 0;
    unsigned leading = kept ? state->leading : 0;
    state->value_bits ^= bit_read(bits, 64 - leading - trailing) << trailing;
    return 0;
}

int xor_read(struct xor_reader *reader, struct sample *ret_sample)
{
    struct xor_state *state = &reader->state;
    int result = 0;
    if (reader->bits.bad) {
        return -EBADMSG;
    }
    if (reader->left == 0) {
        return 0;
    }
    if (state->count == 0) {
        state->time_ms = bit_read_varint(&reader->bits);
        state->value_bits = bit_read(&reader->bits, 64);
    } else {
        state->delta_ms =
            state->count == 1 ? bit_read_uvarint(&reader->bits) : state->delta_ms + (uint64_t)read_dod(&reader->bits);
        state->time_ms = (int64_t)((uint64_t)state->time_ms + state->delta_ms);
        result = read_value(&reader->bits, state);
    }
    if (result < 0 || reader->bits.bad) {
        reader->bits.bad = true;
        return -EBADMSG;
    }
    state->count++;
    reader->left--;
    *ret_sample = (struct sample){state->time_ms, double_from_bits(state->value_bits)};
    return 1;
}

/* ---- In bulk ---- */

/* The delta of deltas that begins at `at`; where the next bits are. */
static inline size_t decode_dod(struct bit_span span, size_t at, int64_t *ret_dod)
{
    uint64_t word = bit_peek(span, at);
    *ret_dod = 0;
    if (!(word >> 63)) {
        return at + 1;
    }
    for (size_t i = 0; i < ARRAY_LEN(dod_forms); i++) {
        unsigned prefix = dod_forms[i].prefix_bits, bits = dod_forms[i].bits;
        if (word >> (64 - prefix) == dod_forms[i].prefix) {
            int64_t value = (int64_t)(word << prefix >> (64 - bits)), highest = INT64_C(1) << (bits - 1);
            *ret_dod = value > highest ? value - 2 * highest : value;
            return at + prefix + bits;
        }
    }
    *ret_dod = (int64_t)bit_peek_number(span, at + 4, 64);
    return at + 4 + 64;
}

/* The first two samples are written in other forms. */
static int decode_first(const void *bytes, size_t len, size_t count, struct sample *ret_samples,
                        struct xor_reader *reader)
{
    xor_reader_init(reader, bytes, len);
    for (size_t i = 0; i < MIN(count, (size_t)2); i++) {
        int result = xor_read(reader, &ret_samples[i]);
        if (result <= 0) {
            return -EBADMSG;
        }
    }
    return 0;
}

int xor_decode(const void *bytes, size_t len, struct sample *ret_samples)
{
    struct bit_span span = {bytes, len};
    size_t count = xor_count(bytes, len);
    struct xor_reader reader;
    if (decode_first(bytes, len, count, ret_samples, &reader) < 0) {
        return -EBADMSG;
    }
    struct xor_value value = {.bits = reader.state.value_bits, .width = 64};
    if (reader.state.leading != XOR_NOTHING_KEPT) {
        value.trailing = reader.state.trailing;
        value.width = 64U - reader.state.leading - reader.state.trailing;
    }
    uint64_t time_ms = (uint64_t)reader.state.time_ms, delta_ms = reader.state.delta_ms;
    size_t at = reader.bits.at, end = len * 8;
    for (size_t i = 2; i < count; i++) {
        int64_t dod;
        at = xor_value_read(span, decode_dod(span, at, &dod), &value);
        if (at > end) {
            return -EBADMSG;
        }
        delta_ms += (uint64_t)dod;
        time_ms += delta_ms;
        ret_samples[i] = (struct sample){(int64_t)time_ms, double_from_bits(value.bits)};
    }
    return 0;
}
