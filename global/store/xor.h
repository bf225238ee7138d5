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
