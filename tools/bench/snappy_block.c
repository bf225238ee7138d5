/* https://github.com/google/snappy/blob/main/format_description.txt */
#include "snappy_block.h"
#include "base/fail.h"

#include <errno.h>
#include <string.h>

#define FRAGMENT_BYTES    65536 /* offsets of copies are within one, so that two bytes hold them */
#define TABLE_BITS        14
#define MATCH_BYTES_MIN   4
#define COPY_BYTES_MAX    64
#define LITERAL_SHORT_MAX 60
#define SKIP_SHIFT        5 /* after 32 places without a match every second one is tried, and so on */

static uint32_t load32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static void add_literal(struct buf *out, const uint8_t *from, size_t len)
{
    if (len == 0)
        return;
    size_t code = len - 1;
    if (len <= LITERAL_SHORT_MAX) {
        buf_append_byte(out, (uint8_t)(code << 2));
    } else if (code < 256) {
        buf_append_byte(out, LITERAL_SHORT_MAX << 2);
        buf_append_byte(out, (uint8_t)code);
    } else {
        buf_append_byte(out, (LITERAL_SHORT_MAX + 1) << 2);
        buf_append_byte(out, (uint8_t)code);
        buf_append_byte(out, (uint8_t)(code >> 8));
    }
    buf_append(out, from, len);
}

static void add_copy(struct buf *out, size_t offset, size_t len)
{
    while (len > 0) {
        /* What is left over must not be shorter than the short form's least. */
        size_t part = len > COPY_BYTES_MAX && len < COPY_BYTES_MAX + MATCH_BYTES_MIN ? COPY_BYTES_MAX - MATCH_BYTES_MIN
                                                                                     : MIN(len, (size_t)COPY_BYTES_MAX);
        if (part >= 4 && part <= 11 && offset < 2048) {
            buf_append_byte(out, (uint8_t)(1 | (part - 4) << 2 | offset >> 8 << 5));
            buf_append_byte(out, (uint8_t)offset);
        } else {
            buf_append_byte(out, (uint8_t)(2 | (part - 1) << 2));
            buf_append_byte(out, (uint8_t)offset);
            buf_append_byte(out, (uint8_t)(offset >> 8));
        }
        len -= part;
    }
}

static void add_fragment(struct buf *out, const uint8_t *data, size_t len)
{
    uint16_t table[1 << TABLE_BITS] = {0};
    size_t at = 0, literal = 0, tried = 0;
    while (at + MATCH_BYTES_MIN <= len) {
        uint16_t *entry = &table[load32(data + at) * 0x1e35a7bdu >> (32 - TABLE_BITS)];
        size_t candidate = *entry;
        *entry = (uint16_t)at;
        if (candidate >= at || load32(data + candidate) != load32(data + at)) {
            at += 1 + (tried++ >> SKIP_SHIFT);
            continue;
        }
        size_t match = MATCH_BYTES_MIN;
        while (at + match < len && data[candidate + match] == data[at + match])
            match++;
        add_literal(out, data + literal, at - literal);
        add_copy(out, at - candidate, match);
        at += match;
        literal = at;
        tried = 0;
    }
    add_literal(out, data + literal, len - literal);
}

int snappy_block_append(struct buf *out, struct str raw)
{
    ASSERT(raw.len <= SNAPPY_BLOCK_BYTES_MAX);
    buf_append_uvarint(out, raw.len);
    for (size_t at = 0; at < raw.len; at += FRAGMENT_BYTES)
        add_fragment(out, (const uint8_t *)raw.ptr + at, MIN(raw.len - at, (size_t)FRAGMENT_BYTES));
    return out->full ? -EMSGSIZE : 0;
}
