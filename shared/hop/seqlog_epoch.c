#include "hop/seqlog_epoch.h"
#include "base/fail.h"

#include <errno.h>

#define RING_MIN 16
#define RING_LOW_BITS                                                                                                  \
    4                  /* of RING_MIN: what the place in the smallest ring says of a seq; its tag is the rest, plus 1 */
#define EPOCH_FIELDS 3 /* number, ranges, checksums */

void seqlog_epoch_done(struct seqlog_epoch *epoch)
{
    mem_free(epoch->ranges);
    mem_free(epoch->ring);
    *epoch = (struct seqlog_epoch){0};
}

/* ---- Ranges ---- */

/* Index of the first range that ends at seq or later. */
static size_t range_at(const struct seqlog_epoch *epoch, uint64_t seq)
{
    size_t low = 0;
    size_t high = epoch->range_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (epoch->ranges[middle].last < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Makes [at, at + old) into room for `new` ranges. */
static void splice(struct seqlog_epoch *epoch, size_t at, size_t old, size_t new)
{
    size_t count = epoch->range_count - old + new;
    if (count > epoch->range_capacity) {
        epoch->range_capacity = MAX(count, MAX(epoch->range_capacity * 2, (size_t)4));
        epoch->ranges = mem_resize(epoch->ranges, epoch->range_capacity, sizeof(*epoch->ranges));
    }
    if (epoch->range_count > at + old)
        memmove(epoch->ranges + at + new, epoch->ranges + at + old,
                (epoch->range_count - at - old) * sizeof(*epoch->ranges));
    epoch->range_count = count;
}

int seqlog_epoch_add(struct seqlog_epoch *epoch, uint64_t first, uint64_t last)
{
    ASSERT(first >= 1 && first <= last);
    size_t at = range_at(epoch, first - 1); /* one that ends right before is joined */
    size_t end = at;
    while (end < epoch->range_count && epoch->ranges[end].first - 1 <= last)
        end++;
    if (end == at && epoch->range_count >= SEQLOG_RANGES_MAX)
        return -ENOSPC;
    if (end > at) {
        first = MIN(first, epoch->ranges[at].first);
        last = MAX(last, epoch->ranges[end - 1].last);
    }
    splice(epoch, at, end - at, 1);
    epoch->ranges[at] = (struct seqlog_range){first, last};
    return 0;
}

void seqlog_epoch_remove(struct seqlog_epoch *epoch, uint64_t first, uint64_t last)
{
    for (size_t at = range_at(epoch, first); at < epoch->range_count && epoch->ranges[at].first <= last;) {
        struct seqlog_range range = epoch->ranges[at];
        bool before = range.first < first;
        bool behind = range.last > last;
        splice(epoch, at, 1, (size_t)before + (size_t)behind);
        if (before)
            epoch->ranges[at++] = (struct seqlog_range){range.first, first - 1};
        if (behind)
            epoch->ranges[at++] = (struct seqlog_range){last + 1, range.last};
    }
}

bool seqlog_epoch_covers(const struct seqlog_epoch *epoch, uint64_t first, uint64_t last)
{
    size_t at = range_at(epoch, first);
    return at < epoch->range_count && epoch->ranges[at].first <= first && epoch->ranges[at].last >= last;
}

uint64_t seqlog_epoch_highest(const struct seqlog_epoch *epoch)
{
    return epoch->range_count > 0 ? epoch->ranges[epoch->range_count - 1].last : 0;
}

/* ---- Checksums ---- */

static uint32_t tag_of(uint64_t seq)
{
    return (uint32_t)(seq >> RING_LOW_BITS) + 1;
}

/* The seq of a place, modulo 2^36: enough to order what stands in one ring. */
static uint64_t seq_of(const struct seqlog_epoch *epoch, size_t place)
{
    return (uint64_t)(epoch->ring[place].tag - 1) << RING_LOW_BITS | (place & (RING_MIN - 1));
}

static void grow_ring(struct seqlog_epoch *epoch)
{
    struct seqlog_epoch larger = {.ring_size = epoch->ring_size ? epoch->ring_size * 2 : RING_MIN};
    larger.ring = mem_array(larger.ring_size, sizeof(*larger.ring));
    for (size_t i = 0; i < epoch->ring_size; i++)
        if (epoch->ring[i].tag != 0)
            larger.ring[seq_of(epoch, i) & (larger.ring_size - 1)] = epoch->ring[i];
    mem_free(epoch->ring);
    epoch->ring = larger.ring;
    epoch->ring_size = larger.ring_size;
}

void seqlog_epoch_put_checksum(struct seqlog_epoch *epoch, uint64_t seq, uint32_t checksum)
{
    for (;;) {
        size_t place = epoch->ring_size ? seq & (epoch->ring_size - 1) : 0;
        bool taken = epoch->ring_size == 0 || (epoch->ring[place].tag != 0 && epoch->ring[place].tag != tag_of(seq));
        if (taken && epoch->ring_size < SEQLOG_CHECKSUMS_MAX) {
            grow_ring(epoch);
            continue;
        }
        if (!taken || epoch->ring[place].tag < tag_of(seq)) /* the newest stay */
            epoch->ring[place] = (struct seqlog_checksum){tag_of(seq), checksum};
        return;
    }
}

bool seqlog_epoch_checksum(const struct seqlog_epoch *epoch, uint64_t seq, uint32_t *ret_checksum)
{
    if (epoch->ring_size == 0)
        return false;
    const struct seqlog_checksum *entry = &epoch->ring[seq & (epoch->ring_size - 1)];
    if (entry->tag != tag_of(seq))
        return false;
    *ret_checksum = entry->checksum;
    return true;
}

void seqlog_epoch_forget_checksums(struct seqlog_epoch *epoch)
{
    mem_free(epoch->ring);
    epoch->ring = NULL;
    epoch->ring_size = 0;
}

/* ---- Snapshot: [number, [gap before, length - 1, ...], [seqs back from the highest, checksum, ...]] ---- */

/* The newest seqs, from the highest down, that have a checksum: up to SEQLOG_SAVED_CHECKSUMS_MAX. */
static uint32_t newest_checksums(const struct seqlog_epoch *epoch, uint64_t *ret_back, uint32_t *ret_checksums)
{
    uint32_t count = 0;
    uint64_t highest = seqlog_epoch_highest(epoch);
    for (uint64_t back = 0; back < epoch->ring_size && back < highest && count < SEQLOG_SAVED_CHECKSUMS_MAX; back++)
        if (seqlog_epoch_checksum(epoch, highest - back, &ret_checksums[count]))
            ret_back[count++] = back;
    return count;
}

void seqlog_epoch_encode(const struct seqlog_epoch *epoch, struct buf *out)
{
    pack_array(out, EPOCH_FIELDS);
    pack_uint(out, epoch->number);
    pack_array(out, (uint32_t)(2 * epoch->range_count));
    uint64_t last = 0;
    for (size_t i = 0; i < epoch->range_count; i++) {
        pack_uint(out, epoch->ranges[i].first - last);
        pack_uint(out, epoch->ranges[i].last - epoch->ranges[i].first);
        last = epoch->ranges[i].last;
    }
    uint64_t back[SEQLOG_SAVED_CHECKSUMS_MAX];
    uint32_t checksums[SEQLOG_SAVED_CHECKSUMS_MAX];
    uint32_t count = newest_checksums(epoch, back, checksums);
    pack_array(out, 2 * count);
    for (uint32_t i = 0; i < count; i++) {
        pack_uint(out, back[i]);
        pack_uint(out, checksums[i]);
    }
}

uint32_t seqlog_epoch_decode_number(struct unpack *in, uint64_t *ret_number)
{
    uint32_t fields = unpack_record(in, EPOCH_FIELDS);
    *ret_number = unpack_uint(in, UINT64_MAX);
    return fields;
}

void seqlog_epoch_decode(struct seqlog_epoch *epoch, uint32_t fields, struct unpack *in)
{
    uint32_t numbers = unpack_array(in, 2 * SEQLOG_RANGES_MAX);
    uint64_t last = 0;
    for (uint32_t i = 0; i + 1 < numbers && !in->in.bad; i += 2) {
        uint64_t first = last + unpack_uint(in, UINT64_MAX - last);
        uint64_t length = unpack_uint(in, UINT64_MAX - first);
        if (first <= last)
            in->in.bad = true;
        if (in->in.bad)
            return;
        last = first + length;
        /* Past the ceiling of holes the rest is left out: it may be received once more, it is not lost. */
        if (seqlog_epoch_add(epoch, first, last) < 0)
            continue;
    }
    uint32_t pairs = unpack_array(in, 2 * SEQLOG_SAVED_CHECKSUMS_MAX);
    if (numbers % 2 != 0 || pairs % 2 != 0)
        in->in.bad = true;
    for (uint32_t i = 0; i + 1 < pairs && !in->in.bad; i += 2) {
        uint64_t back = unpack_uint(in, last > 0 ? last - 1 : 0);
        uint32_t checksum = (uint32_t)unpack_uint(in, UINT32_MAX);
        if (!in->in.bad)
            seqlog_epoch_put_checksum(epoch, last - back, checksum);
    }
    unpack_skip(in, fields > EPOCH_FIELDS ? fields - EPOCH_FIELDS : 0);
}
