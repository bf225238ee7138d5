#include "store/bits.h"

#define UVARINT_BYTES_MAX 10 /* of 64 bits, 7 a byte */

#define HALF_BITS         32 /* what does not fit into a word beside the bits of a byte goes in two parts */

void bit_write_at_end(struct bit_writer *writer, uint64_t value, unsigned count)
{
    if (count > 64 - 8 && writer->bits / 8 + 8 <= writer->bytes_max) {
        bit_write(writer, value >> HALF_BITS, count - HALF_BITS);
        bit_write(writer, value, HALF_BITS);
        return;
    }
    while (count > 0) { /* byte by byte, where a whole word would reach past the end */
        uint8_t *byte = writer->data + writer->bits / 8;
        unsigned room = 8 - writer->bits % 8;
        unsigned take = MIN(room, count);
        unsigned part = (unsigned)(value >> (count - take)) & ((1U << take) - 1);
        if (room == 8) {
            *byte = 0;
        }
        *byte = (uint8_t)(*byte | part << (room - take));
        writer->bits += take;
        count -= take;
    }
}

void bit_write_uvarint(struct bit_writer *writer, uint64_t value)
{
    while (value >= 0x80) {
        bit_write(writer, (value & 0x7f) | 0x80, 8);
        value >>= 7;
    }
    bit_write(writer, value, 8);
}

void bit_write_varint(struct bit_writer *writer, int64_t value)
{
    uint64_t bits = (uint64_t)value << 1;
    bit_write_uvarint(writer, value < 0 ? ~bits : bits);
}

struct bit_reader bit_reader_of(const void *data, size_t len)
{
    return (struct bit_reader){.data = data, .len = len};
}

uint64_t bit_read_at_end(struct bit_reader *reader, unsigned count)
{
    if (reader->bad || count > reader->len * 8 - reader->at) {
        reader->bad = true;
        return 0;
    }
    if (count > 64 - 8) {
        uint64_t high = bit_read(reader, count - HALF_BITS);
        return high << HALF_BITS | bit_read(reader, HALF_BITS);
    }
    if (count == 0) {
        return 0;
    }
    uint64_t word = 0;
    size_t byte = reader->at / 8;
    unsigned skip = reader->at % 8;
    memcpy(&word, reader->data + byte, MIN(sizeof(word), reader->len - byte));
    reader->at += count;
    return be64toh(word) << skip >> (64 - count);
}

uint64_t bit_read_uvarint(struct bit_reader *reader)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < UVARINT_BYTES_MAX; i++) {
        uint64_t byte = bit_read(reader, 8);
        if (i == UVARINT_BYTES_MAX - 1 && byte > 1) {
            break;
        }
        value |= (byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            return reader->bad ? 0 : value;
        }
    }
    reader->bad = true;
    return 0;
}

int64_t bit_read_varint(struct bit_reader *reader)
{
    uint64_t bits = bit_read_uvarint(reader);
    return (int64_t)(bits & 1 ? ~(bits >> 1) : bits >> 1);
}

uint64_t bit_peek_at_end(struct bit_span span, size_t at)
{
    uint64_t word = 0;
    size_t byte = at / 8;
    if (byte < span.len) {
        memcpy(&word, span.data + byte, MIN(sizeof(word), span.len - byte));
    }
    return be64toh(word) << (at % 8);
}
