#pragma once
/* A stream of bits, most significant first, as XOR chunks are written: writer into memory of the caller, and a reader
 * that never reads past its end. */
#include "base/defs.h"

struct bit_writer {
    uint8_t *data;
    size_t bytes_max; /* of data; writing past it is our own mistake */
    size_t bits;      /* written so far; the bits behind them in the last byte are zero */
};

/* Appends the lowest `count` bits of value, count <= 64. */
void bit_write(struct bit_writer *writer, uint64_t value, unsigned count);
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
uint64_t bit_read(struct bit_reader *reader, unsigned count); /* count <= 64 */
uint64_t bit_read_uvarint(struct bit_reader *reader);         /* bad when longer than 64 bits */
int64_t bit_read_varint(struct bit_reader *reader);
