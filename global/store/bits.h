#pragma once
/* A stream of bits, most significant first, as XOR chunks are written: writer into memory of the caller, and a reader
 * that never reads past its end. */
#include "base/defs.h"
#include "base/fail.h"

#include <endian.h>
#include <string.h>

struct bit_writer {
    uint8_t *data;
    size_t bytes_max; /* of data; writing past it is our own mistake */
    size_t bits;      /* written so far; the bits behind them in the last byte are zero */
};

void bit_write_at_end(struct bit_writer *writer, uint64_t value, unsigned count); /* bits.c's */
/* Appends the lowest `count` bits of value, count <= 64. Inline, as bit_read: most of encoding and decoding is this. */
static inline void bit_write(struct bit_writer *writer, uint64_t value, unsigned count)
{
    size_t byte = writer->bits / 8;
    unsigned used = writer->bits % 8;
    ASSERT(count <= 64 && writer->bits + count <= writer->bytes_max * 8);
    if (count == 0) {
        return;
    }
    if (used + count > 64 || byte + 8 > writer->bytes_max) {
        bit_write_at_end(writer, value, count);
        return;
    }
    uint64_t word = used > 0 ? (uint64_t)writer->data[byte] << 56 : 0;
    word |= value << (64 - count) >> used; /* what is above the count falls out */
    word = htobe64(word);
    memcpy(writer->data + byte, &word, sizeof(word));
    writer->bits += count;
}
/* LEB128 as Go's encoding/binary writes it, into the bit stream (not aligned to bytes). */
void bit_write_uvarint(struct bit_writer *writer, uint64_t value);
void bit_write_varint(struct bit_writer *writer, int64_t value); /* zigzag */

/* After the first read past the end all reads give 0 and `bad` stays set. */
struct bit_reader {
    const uint8_t *data;
    size_t len; /* bytes */
    size_t at;  /* bits read so far */
    bool bad;
};

struct bit_reader bit_reader_of(const void *data, size_t len);
uint64_t bit_read_at_end(struct bit_reader *reader, unsigned count);       /* bits.c's */
static inline uint64_t bit_read(struct bit_reader *reader, unsigned count) /* count <= 64 */
{
    size_t byte = reader->at / 8;
    unsigned skip = reader->at % 8;
    if (skip + count > 64 || byte + 8 > reader->len || count == 0 || reader->bad) {
        return bit_read_at_end(reader, count);
    }
    uint64_t word; /* one load covers it */
    memcpy(&word, reader->data + byte, sizeof(word));
    reader->at += count;
    return be64toh(word) << skip >> (64 - count);
}
uint64_t bit_read_uvarint(struct bit_reader *reader); /* bad when longer than 64 bits */
int64_t bit_read_varint(struct bit_reader *reader);

/* ---- Decoding in bulk: where it is stays in registers ---- */

struct bit_span {
    const uint8_t *data;
    size_t len; /* bytes */
};
#define BIT_PEEK 57 /* bits that one look shows at any place */

uint64_t bit_peek_at_end(struct bit_span span, size_t at); /* bits.c's */
/* The bits from `at` on, BIT_PEEK of them at least, in the highest places; zeros behind the end: who decodes looks
 * whether he got past it. */
static inline uint64_t bit_peek(struct bit_span span, size_t at)
{
    size_t byte = at / 8;
    uint64_t word;
    if (byte + sizeof(word) <= span.len) {
        memcpy(&word, span.data + byte, sizeof(word));
        return be64toh(word) << (at % 8);
    }
    if (byte >= span.len || span.len < sizeof(word)) {
        return bit_peek_at_end(span, at);
    }
    memcpy(&word, span.data + span.len - sizeof(word), sizeof(word)); /* the last ones, moved to their place */
    return be64toh(word) << (8 * (byte + sizeof(word) - span.len)) << (at % 8);
}
/* 1 <= count <= 64 of them, as a number. */
static inline uint64_t bit_peek_number(struct bit_span span, size_t at, unsigned count)
{
    if (count <= BIT_PEEK) {
        return bit_peek(span, at) >> (64 - count);
    }
    uint64_t high = bit_peek(span, at) >> 32;
    return high << (count - 32) | bit_peek(span, at + 32) >> (96 - count);
}
