#pragma once
/* Numbers as Prometheus' files hold them: fixed ones big endian, signed ones zigzag in LEB128 (Go's encoding/binary).
 */
#include "base/buf.h"

#include <endian.h>
#include <string.h>

static inline uint32_t be32_at(const void *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof(value));
    return be32toh(value);
}

static inline uint64_t be64_at(const void *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof(value));
    return be64toh(value);
}

#define UVARINT_BYTES_MAX 10

/* Bytes that value took. */
static inline size_t uvarint_put(uint8_t ret_bytes[static UVARINT_BYTES_MAX], uint64_t value)
{
    size_t len = 0;
    for (; value >= 0x80; value >>= 7) {
        ret_bytes[len++] = (uint8_t)(value | 0x80);
    }
    ret_bytes[len++] = (uint8_t)value;
    return len;
}

static inline int buf_append_be32(struct buf *buf, uint32_t value)
{
    value = htobe32(value);
    return buf_append(buf, &value, sizeof(value));
}

static inline int buf_append_be64(struct buf *buf, uint64_t value)
{
    value = htobe64(value);
    return buf_append(buf, &value, sizeof(value));
}

static inline int buf_append_varint(struct buf *buf, int64_t value)
{
    uint64_t bits = (uint64_t)value << 1;
    return buf_append_uvarint(buf, value < 0 ? ~bits : bits);
}

static inline uint32_t reader_be32(struct reader *reader)
{
    struct str bytes = reader_bytes(reader, sizeof(uint32_t));
    return bytes.ptr ? be32_at(bytes.ptr) : 0;
}

static inline uint64_t reader_be64(struct reader *reader)
{
    struct str bytes = reader_bytes(reader, sizeof(uint64_t));
    return bytes.ptr ? be64_at(bytes.ptr) : 0;
}

static inline int64_t reader_varint(struct reader *reader)
{
    uint64_t bits = reader_uvarint(reader);
    return (int64_t)(bits & 1 ? ~(bits >> 1) : bits >> 1);
}

/* A number that must not be above max: else bad. */
static inline uint64_t reader_uvarint_max(struct reader *reader, uint64_t max)
{
    uint64_t value = reader_uvarint(reader);
    if (value > max) {
        reader->bad = true;
        return 0;
    }
    return value;
}
