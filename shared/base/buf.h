#pragma once
/* A byte buffer that grows up to a ceiling given at its birth. Plain struct: data and len may be read.
 * Appending past the ceiling appends nothing, sets `full` and returns -EMSGSIZE; later appends fail too, so that a
 * writer may check once at its end. */
#include "base/defs.h"
#include "base/str.h"

struct buf {
    uint8_t *data;
    size_t len;
    size_t capacity;
    size_t bytes_max;
    bool full;
};

#define BUF_INIT(ceiling) ((struct buf){.bytes_max = (ceiling)})

void buf_init(struct buf *buf, size_t bytes_max);
void buf_done(struct buf *buf);
void buf_reset(struct buf *buf); /* keeps the memory */
int buf_append(struct buf *buf, const void *data, size_t len);
int buf_append_str(struct buf *buf, struct str text);
int buf_append_text(struct buf *buf, const char *text);
int buf_append_byte(struct buf *buf, uint8_t byte);
int buf_append_uvarint(struct buf *buf, uint64_t value); /* LEB128 */
int buf_append_le32(struct buf *buf, uint32_t value);
int buf_append_le64(struct buf *buf, uint64_t value);
/* As texts stand in a URL's query, in a form and, with slashes kept, in a path: all but A-Z a-z 0-9 - . _ ~ as %XX (RFC
 * 3986, unreserved). */
int buf_append_escaped(struct buf *buf, struct str text, bool keep_slashes);
int buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
/* Room for len more bytes at data + len, to be followed by buf_added. NULL past the ceiling. */
uint8_t *buf_reserve(struct buf *buf, size_t len);
void buf_added(struct buf *buf, size_t len);
struct str buf_view(const struct buf *buf);
/* Hands the bytes over to the caller, who frees them with mem_free; the buffer is empty again. */
uint8_t *buf_steal(struct buf *buf, size_t *ret_len);

/* A cursor over bytes from outside. Each read checks what is left; after the first failure all reads fail
 * (return 0 / empty) and `bad` stays set, so that a decoder may check once per step. */
struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};
struct reader reader_of(const void *data, size_t len);
size_t reader_left(const struct reader *reader);
uint8_t reader_byte(struct reader *reader);
uint64_t reader_uvarint(struct reader *reader);
uint32_t reader_le32(struct reader *reader);
uint64_t reader_le64(struct reader *reader);
struct str reader_bytes(struct reader *reader, size_t len);
/* uvarint length, then the bytes; bad when longer than bytes_max. */
struct str reader_string(struct reader *reader, size_t bytes_max);
/* A count of things of at least item_bytes each that must still be in the reader: bad when they cannot be. */
size_t reader_count(struct reader *reader, size_t item_bytes, size_t count_max);
