/* Any entries as a file of tombstones (checksum made right): what is kept is sorted, joined, found by its series, and
 * covers exactly the times that the entries name. */
#include "base/crc.h"
#include "base/fail.h"
#include "store/be.h"
#include "store/tombstones.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool covers(const struct tombstones *tombstones, uint32_t series, int64_t time_ms)
{
    size_t count;
    const struct tombstone *items = tombstones_of(tombstones, series, &count);
    for (size_t i = 0; i < count; i++) {
        ASSERT(items[i].series == series);
        if (time_ms >= items[i].min_time_ms && time_ms <= items[i].max_time_ms) {
            return true;
        }
    }
    return false;
}

static void check_sorted(const struct tombstones *tombstones)
{
    for (size_t i = 0; i < tombstones->count; i++) {
        const struct tombstone *item = &tombstones->items[i], *before = item - 1;
        ASSERT(item->min_time_ms <= item->max_time_ms);
        ASSERT(i == 0 || before->series < item->series ||
               (before->series == item->series && before->max_time_ms < item->min_time_ms));
    }
}

/* The entries as they stand, looked at one by one. */
static bool named(struct reader reader, uint32_t series, int64_t time_ms)
{
    while (reader_left(&reader) > 0) {
        uint64_t id = reader_uvarint(&reader);
        int64_t min = reader_varint(&reader), max = reader_varint(&reader);
        if (id == series && time_ms >= min && time_ms <= max) {
            return true;
        }
    }
    return false;
}

static void check_times(const struct tombstones *tombstones, struct reader entries)
{
    struct reader at = entries;
    for (int i = 0; i < 20 && reader_left(&at) > 0; i++) {
        uint32_t id = (uint32_t)reader_uvarint(&at);
        int64_t times[] = {reader_varint(&at), reader_varint(&at), 0, INT64_MIN, INT64_MAX};
        for (size_t k = 0; k < ARRAY_LEN(times); k++) {
            ASSERT(covers(tombstones, id, times[k]) == named(entries, id, times[k]));
            ASSERT(covers(tombstones, id + 1, times[k]) == named(entries, id + 1, times[k]));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buf_done) struct buf file = BUF_INIT(size + 64);
    struct tombstones tombstones;
    if (tombstones_parse(str_of(data, size), &tombstones) == 0) { /* as it is */
        check_sorted(&tombstones);
        tombstones_done(&tombstones);
    }
    tombstones_print_empty(&file);
    file.len -= sizeof(uint32_t);
    size_t head = file.len;
    buf_append(&file, data, size);
    buf_append_be32(&file, crc32c(0, data, size));
    int error = tombstones_parse(buf_view(&file), &tombstones);
    if (!error) {
        check_sorted(&tombstones);
        check_times(&tombstones, reader_of(file.data + head, size));
        tombstones_done(&tombstones);
    }
    return 0;
}
