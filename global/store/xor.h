#pragma once
/* The XOR encoding of Prometheus' chunks (Gorilla): `u16 count` big endian, then bits: times as deltas of deltas,
 * values as the exclusive or with the value before. The bytes made here are what Prometheus writes; the reader takes
 * any bytes. */
#include "metric/sample.h"
#include "store/bits.h"

#define XOR_HEADER_BYTES     2
#define XOR_SAMPLE_BITS_MAX  157 /* the second of a chunk: 10 bytes of delta and 77 bits of value */
#define XOR_SAMPLE_BYTES_MAX 21  /* XOR_SAMPLE_BITS_MAX that begin anywhere in a byte */
#define XOR_NOTHING_KEPT     0xff

/* What the next sample is encoded against. XOR_STATE_INIT before the first. */
struct xor_state {
    int64_t time_ms;
    uint64_t delta_ms;
    uint64_t value_bits;
    uint16_t count;  /* samples so far */
    uint8_t leading; /* zero bits of the last value that was written with them, or XOR_NOTHING_KEPT */
    uint8_t trailing;
};
#define XOR_STATE_INIT ((struct xor_state){.leading = XOR_NOTHING_KEPT})

/* Writes one sample's bits and moves the state on. The count in the header is the caller's. Any times, any values. */
void xor_write(struct bit_writer *writer, struct xor_state *state, struct sample sample);

struct xor_reader {
    struct bit_reader bits;
    uint32_t left;          /* samples that the header says are still to come */
    struct xor_state state; /* after the last sample that was read: to go on writing from there */
};

void xor_reader_init(struct xor_reader *reader, const void *bytes, size_t len);
/* 1 and a sample, 0 at the end, -EBADMSG when the bytes are no XOR chunk or end early. */
MUST_CHECK int xor_read(struct xor_reader *reader, struct sample *ret_sample);

/* ---- In bulk ---- */

/* How many samples a chunk says it has; 0 also of bytes that are none. */
static inline size_t xor_count(const void *bytes, size_t len)
{
    const uint8_t *head = bytes;
    return len < XOR_HEADER_BYTES ? 0 : (size_t)head[0] << 8 | head[1];
}
/* All samples of a chunk: xor_count of them. -EBADMSG as xor_read. */
MUST_CHECK int xor_decode(const void *bytes, size_t len, struct sample *ret_samples);

/* What a value is written against: the one before, and which of its bits were written last. */
struct xor_value {
    uint64_t bits;
    unsigned trailing, width; /* 0 and 64 before any were: an appender that Prometheus resumed on a chunk of constant
                                 values refers to them all the same */
};
#define XOR_VALUE_INIT ((struct xor_value){.width = 64})
#define XOR_BAD        (SIZE_MAX / 2) /* a place behind every end */

/* Reads one value's bits; where the next ones are. */
static inline size_t xor_value_read(struct bit_span span, size_t at, struct xor_value *value)
{
    uint64_t word = bit_peek(span, at);
    unsigned used = 2;
    if (!(word >> 63)) {
        return at + 1;
    }
    if (word >> 62 & 1) {
        unsigned leading = word >> 57 & 31, width = word >> 51 & 63;
        width = width == 0 ? 64 : width;
        if (leading + width > 64) {
            return XOR_BAD;
        }
        value->width = width;
        value->trailing = 64 - leading - width;
        used = 13;
    }
    bool in_word = used + value->width <= BIT_PEEK;
    uint64_t changed = in_word ? word << used >> (64 - value->width) : bit_peek_number(span, at + used, value->width);
    value->bits ^= changed << value->trailing;
    return at + used + value->width;
}
