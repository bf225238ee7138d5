#include "base/buf.h"

#include "base/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define BUF_CAPACITY_MIN 64 /* bytes of the first allocation */
#define UVARINT_BYTES    10 /* a 64-bit number takes at most */

void buf_init(struct buf *buf, size_t bytes_max)
{
    *buf = BUF_INIT(bytes_max);
}

void buf_done(struct buf *buf)
{
    mem_free(buf->data);
    *buf = BUF_INIT(buf->bytes_max);
}

void buf_reset(struct buf *buf)
{
    buf->len = 0;
    buf->full = false;
}

/* Room for len bytes and one more behind them (vsnprintf's terminator); capacity may exceed bytes_max by that one. */
static __attribute__((noinline)) int make_room(struct buf *buf, size_t len)
{
    if (buf->full || len > buf->bytes_max - buf->len) {
        buf->full = true;
        return -EMSGSIZE;
    }
    size_t needed = buf->len + len + 1;
    if (needed <= buf->capacity) {
        return 0;
    }
    size_t doubled = MAX(buf->capacity, (size_t)BUF_CAPACITY_MIN / 2) * 2;
    buf->capacity = MAX(needed, MIN(doubled, buf->bytes_max + 1));
    buf->data = mem_resize(buf->data, buf->capacity, 1);
    return 0;
}

/* The usual case in a few instructions: what is within capacity is within the ceiling too, but for the spare byte. */
static inline int ensure(struct buf *buf, size_t len)
{
    if (!buf->full && len < buf->capacity - buf->len && len <= buf->bytes_max - buf->len) {
        return 0;
    }
    return make_room(buf, len);
}

int buf_append(struct buf *buf, const void *data, size_t len)
{
    int error = ensure(buf, len);
    if (error) {
        return error;
    }
    if (len > 0) {
        memcpy(buf->data + buf->len, data, len);
    }
    buf->len += len;
    return 0;
}

int buf_append_str(struct buf *buf, struct str text)
{
    return buf_append(buf, text.ptr, text.len);
}

int buf_append_text(struct buf *buf, const char *text)
{
    return buf_append(buf, text, strlen(text));
}

int buf_append_byte(struct buf *buf, uint8_t byte)
{
    int error = ensure(buf, 1);
    if (error) {
        return error;
    }
    buf->data[buf->len++] = byte;
    return 0;
}

int buf_append_uvarint(struct buf *buf, uint64_t value)
{
    uint8_t bytes[UVARINT_BYTES];
    size_t len = 0;
    while (value >= 0x80) {
        bytes[len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[len++] = (uint8_t)value;
    return buf_append(buf, bytes, len);
}

int buf_append_le32(struct buf *buf, uint32_t value)
{
    uint8_t bytes[4];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    return buf_append(buf, bytes, sizeof(bytes));
}

int buf_append_le64(struct buf *buf, uint64_t value)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    return buf_append(buf, bytes, sizeof(bytes));
}

static bool is_unreserved(uint8_t byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
           byte == '-' || byte == '.' || byte == '_' || byte == '~';
}

int buf_append_escaped(struct buf *buf, struct str text, bool keep_slashes)
{
    int r = buf->full ? -EMSGSIZE : 0;
    for (size_t i = 0; i < text.len && r == 0; i++) {
        uint8_t byte = (uint8_t)text.ptr[i];
        if (is_unreserved(byte) || (keep_slashes && byte == '/'))
            r = buf_append_byte(buf, byte);
        else
            r = buf_printf(buf, "%%%02X", byte);
    }
    return r;
}

int buf_printf(struct buf *buf, const char *format, ...)
{
    int error = ensure(buf, 0);
    if (error) {
        return error;
    }
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    /* First into the room there is, which suffices mostly; then the length is known. */
    size_t room = buf->capacity - buf->len;
    int len = vsnprintf((char *)buf->data + buf->len, room, format, args);
    va_end(args);
    if (len < 0) {
        buf->full = true;
        error = -EMSGSIZE;
    } else {
        error = ensure(buf, (size_t)len);
    }
    if (!error && (size_t)len >= room) {
        vsnprintf((char *)buf->data + buf->len, (size_t)len + 1, format, again);
    }
    va_end(again);
    if (!error) {
        buf->len += (size_t)len;
    }
    return error;
}

uint8_t *buf_reserve(struct buf *buf, size_t len)
{
    return ensure(buf, len) ? NULL : buf->data + buf->len;
}

void buf_added(struct buf *buf, size_t len)
{
    ASSERT(len <= buf->bytes_max - buf->len && len < buf->capacity - buf->len);
    buf->len += len;
}

struct str buf_view(const struct buf *buf)
{
    return str_of(buf->data, buf->len);
}

uint8_t *buf_steal(struct buf *buf, size_t *ret_len)
{
    uint8_t *data = buf->data ? buf->data : mem_alloc(0);
    *ret_len = buf->len;
    *buf = BUF_INIT(buf->bytes_max);
    return data;
}

/* ---- Reading ---- */

struct reader reader_of(const void *data, size_t len)
{
    const uint8_t *at = data ? data : (const uint8_t *)"";
    ASSERT(data || len == 0);
    return (struct reader){.at = at, .end = at + len};
}

size_t reader_left(const struct reader *reader)
{
    return reader->bad ? 0 : (size_t)(reader->end - reader->at);
}

/* The next len bytes, or NULL and bad for ever. */
static const uint8_t *take(struct reader *reader, size_t len)
{
    if (reader->bad || len > (size_t)(reader->end - reader->at)) {
        reader->bad = true;
        return NULL;
    }
    const uint8_t *bytes = reader->at;
    reader->at += len;
    return bytes;
}

uint8_t reader_byte(struct reader *reader)
{
    const uint8_t *byte = take(reader, 1);
    return byte ? *byte : 0;
}

uint64_t reader_uvarint(struct reader *reader)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < UVARINT_BYTES; i++) {
        uint8_t byte = reader_byte(reader);
        if (i == UVARINT_BYTES - 1 && byte > 1) {
            break; /* more than 64 bits */
        }
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            return reader->bad ? 0 : value; /* cut short: the bytes before the end are no number */
        }
    }
    reader->bad = true;
    return 0;
}

uint32_t reader_le32(struct reader *reader)
{
    const uint8_t *bytes = take(reader, 4);
    uint32_t value = 0;
    for (size_t i = 0; bytes && i < 4; i++) {
        value |= (uint32_t)bytes[i] << (8 * i);
    }
    return value;
}

uint64_t reader_le64(struct reader *reader)
{
    const uint8_t *bytes = take(reader, 8);
    uint64_t value = 0;
    for (size_t i = 0; bytes && i < 8; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

struct str reader_bytes(struct reader *reader, size_t len)
{
    const uint8_t *bytes = take(reader, len);
    return bytes ? str_of(bytes, len) : STR_NULL;
}

struct str reader_string(struct reader *reader, size_t bytes_max)
{
    uint64_t len = reader_uvarint(reader);
    if (len > bytes_max) {
        reader->bad = true;
    }
    return reader_bytes(reader, (size_t)len);
}

size_t reader_count(struct reader *reader, size_t item_bytes, size_t count_max)
{
    uint64_t count = reader_uvarint(reader);
    if (count > count_max || (item_bytes > 0 && count > reader_left(reader) / item_bytes)) {
        reader->bad = true;
    }
    return reader->bad ? 0 : (size_t)count;
}
