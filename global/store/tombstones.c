#include "store/tombstones.h"

#include "base/crc.h"
#include "base/fail.h"
#include "store/be.h"

#include <errno.h>
#include <stdlib.h>

#define TOMBSTONES_MAGIC   0x0130BA30U
#define TOMBSTONES_VERSION 1
#define HEADER_BYTES       5
#define CRC_BYTES          4
#define ITEM_BYTES_MIN     3

void tombstones_print_empty(struct buf *out)
{
    buf_append_be32(out, TOMBSTONES_MAGIC);
    buf_append_byte(out, TOMBSTONES_VERSION);
    buf_append_be32(out, 0); /* of no bytes */
}

static int order(const void *left, const void *right)
{
    const struct tombstone *a = left, *b = right;
    if (a->series != b->series) {
        return a->series < b->series ? -1 : 1;
    }
    return (a->min_time_ms > b->min_time_ms) - (a->min_time_ms < b->min_time_ms);
}

/* Sorted, and what overlaps put together. */
static void put_in_order(struct tombstones *tombstones)
{
    struct tombstone *items = tombstones->items;
    size_t kept = 0;
    qsort(items, tombstones->count, sizeof(*items), order);
    for (size_t i = 0; i < tombstones->count; i++) {
        struct tombstone *last = kept > 0 ? &items[kept - 1] : NULL;
        if (last && last->series == items[i].series && items[i].min_time_ms <= last->max_time_ms) {
            last->max_time_ms = MAX(last->max_time_ms, items[i].max_time_ms);
        } else {
            items[kept++] = items[i];
        }
    }
    tombstones->count = kept;
}

int tombstones_parse(struct str bytes, struct tombstones *ret_tombstones)
{
    if (bytes.len < HEADER_BYTES + CRC_BYTES || bytes.len > TOMBSTONES_BYTES_MAX) {
        return -EBADMSG;
    }
    size_t content = bytes.len - HEADER_BYTES - CRC_BYTES;
    const uint8_t *at = (const uint8_t *)bytes.ptr;
    if (be32_at(at) != TOMBSTONES_MAGIC || at[4] != TOMBSTONES_VERSION) {
        return -EBADMSG;
    }
    at += HEADER_BYTES;
    if (crc32c(0, at, content) != be32_at(at + content)) {
        return -EBADMSG;
    }
    struct tombstones made = {.items = mem_array(content / ITEM_BYTES_MIN, sizeof(*made.items))};
    struct reader reader = reader_of(at, content);
    while (reader_left(&reader) > 0) {
        struct tombstone item = {.series = (uint32_t)reader_uvarint_max(&reader, UINT32_MAX)};
        item.min_time_ms = reader_varint(&reader);
        item.max_time_ms = reader_varint(&reader);
        if (!reader.bad && item.min_time_ms <= item.max_time_ms) {
            made.items[made.count++] = item;
        }
    }
    if (reader.bad) {
        tombstones_done(&made);
        return -EBADMSG;
    }
    put_in_order(&made);
    *ret_tombstones = made;
    return 0;
}

void tombstones_done(struct tombstones *tombstones)
{
    mem_free(tombstones->items);
    *tombstones = (struct tombstones){0};
}

const struct tombstone *tombstones_of(const struct tombstones *tombstones, uint32_t series, size_t *ret_count)
{
    size_t low = 0, high = tombstones->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        bool is_before = tombstones->items[middle].series < series;
        low = is_before ? middle + 1 : low;
        high = is_before ? high : middle;
    }
    size_t end = low;
    while (end < tombstones->count && tombstones->items[end].series == series) {
        end++;
    }
    *ret_count = end - low;
    return tombstones->items + low;
}
