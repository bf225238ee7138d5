#pragma once
/* Mutations that keep a format's structure: libFuzzer's own change bytes, and nearly all of what they make of a batch
 * is refused at its first checksum or length. These change a number to one that is likely to matter, repeat, drop and
 * swap tokens, and leave lengths and checksums to be made right by the target. */
#include "base/buf.h"
#include "base/random.h"

/* libFuzzer's; not there where the target runs over its corpus alone, which never mutates. */
extern size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max) __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed);

/* Counts, widths and places at which code decides something. */
static inline uint64_t mutate_number(struct random *random, uint64_t before)
{
    static const uint64_t edges[] = {0,       1,         2,         19,      20,      63,         64,
                                     65,      127,       128,       255,     16383,   16384,      65536,
                                     131072,  131073,    2000000,   2000001, 4000000, UINT32_MAX, UINT64_C(1) << 32,
                                     1 << 30, INT64_MAX, UINT64_MAX};
    switch (random_below(random, 4)) {
    case 0:
        return before + 1;
    case 1:
        return before - 1;
    case 2:
        return before ^ UINT64_C(1) << random_below(random, 64);
    default:
        return edges[random_below(random, sizeof(edges) / sizeof(edges[0]))];
    }
}

/* Copies numbers (uvarints) of `bytes` to out, one of them changed, dropped, doubled, or a new one put before it. */
static inline void mutate_varints(struct random *random, struct str bytes, struct buf *out)
{
    size_t numbers = 0;
    for (size_t i = 0; i < bytes.len; i++)
        numbers += !((uint8_t)bytes.ptr[i] & 0x80);
    size_t chosen = numbers > 0 ? random_below(random, numbers) : 0, at = 0;
    uint64_t what = random_below(random, 8);
    struct reader reader = reader_of(bytes.ptr, bytes.len);
    while (reader_left(&reader) > 0) {
        const uint8_t *start = reader.at;
        uint64_t number = reader_uvarint(&reader);
        if (reader.bad) { /* no number: as it stands, a byte further */
            reader = reader_of(start + 1, (size_t)((const uint8_t *)bytes.ptr + bytes.len - start) - 1);
            buf_append_byte(out, *start);
            continue;
        }
        bool here = at++ == chosen;
        if (here && what == 0)
            continue;
        if (here && what == 1)
            buf_append_uvarint(out, mutate_number(random, number));
        if (here && what > 2)
            buf_append_uvarint(out, mutate_number(random, number));
        else
            buf_append(out, start, (size_t)(reader.at - start));
        if (here && what == 2)
            buf_append(out, start, (size_t)(reader.at - start));
    }
}

/* A few bytes of the payload changed, cut off, or added. */
static inline void mutate_bytes(struct random *random, struct str bytes, struct buf *out)
{
    size_t len = bytes.len;
    if (random_below(random, 6) == 0)
        len = random_below(random, len + 1);
    buf_append(out, bytes.ptr, len);
    for (uint64_t i = random_below(random, 4); i > 0 && len > 0; i--)
        out->data[out->len - 1 - random_below(random, len)] = (uint8_t)random_next(random);
    for (uint64_t i = random_below(random, 6) == 0 ? random_below(random, 40) : 0; i > 0; i--)
        buf_append_byte(out, random_below(random, 2) ? 0 : (uint8_t)random_next(random));
}

/* What was made goes back to libFuzzer, as far as there is room. */
static inline size_t mutate_done(const struct buf *out, uint8_t *data, size_t size_max)
{
    size_t len = out->len < size_max ? out->len : size_max;
    if (len > 0)
        memcpy(data, out->data, len);
    return len;
}
