/* What goes past a bound is told: runs of numbers that somebody had not stored become gaps. */
#include "base/fail.h"
#include "hop/gap.h"
#include "hop/spool_internal.h"

#include <stdlib.h>

static bool is_pending_somewhere(const struct spool *spool, const struct spool_entry *entry)
{
    for (size_t i = 0; i < spool->consumer_count; i++)
        if (entry_state(entry, i) < BATCH_STORED)
            return true;
    return false;
}

/* For whom none of the run was pending, its gap is delivered from the start. */
static uint32_t gap_states_of(const struct spool *spool, const struct spool_entry *entry)
{
    uint32_t states = 0;
    for (size_t i = 0; i < spool->consumer_count; i++)
        if (entry_state(entry, i) >= BATCH_STORED)
            states |= (uint32_t)BATCH_DELIVERED << (2 * i);
    return states;
}

static void flush_gap(struct stream *stream, struct gap_list *gaps)
{
    if (stream->gap.seq == 0)
        return;
    if (gaps->count == gaps->capacity) {
        gaps->capacity = MAX(gaps->capacity * 2, (size_t)16);
        gaps->items = mem_resize(gaps->items, gaps->capacity, sizeof(*gaps->items));
    }
    gaps->items[gaps->count++] = (struct gap_item){.stream = stream, .gap = stream->gap, .states = stream->gap_states};
    stream->gap.seq = 0;
}

static int by_stream_and_seq(const void *a, const void *b)
{
    const struct gap_item *left = a, *right = b;
    if (left->stream != right->stream)
        return left->stream < right->stream ? -1 : 1;
    return left->gap.seq < right->gap.seq ? -1 : left->gap.seq > right->gap.seq;
}

static void widen_gap(struct spool_batch *gap, const struct spool_batch *by)
{
    gap->seq = MIN(gap->seq, by->seq);
    gap->seq_end = MAX(gap->seq_end, by->seq_end);
    gap->window_start_ms = MIN(gap->window_start_ms, by->window_start_ms);
    gap->window_end_ms = MAX(gap->window_end_ms, by->window_end_ms);
}

/* Entries of a segment are not in order of their seqs, and gaps stand among batches. */
static void join_gaps(struct gap_list *gaps)
{
    size_t kept = 0;
    if (gaps->count > 0)
        qsort(gaps->items, gaps->count, sizeof(*gaps->items), by_stream_and_seq);
    for (size_t i = 0; i < gaps->count; i++) {
        struct gap_item *last = kept > 0 ? &gaps->items[kept - 1] : NULL;
        const struct gap_item *item = &gaps->items[i];
        if (!last || last->stream != item->stream || last->gap.seq_end + 1 != item->gap.seq) {
            gaps->items[kept++] = *item;
            continue;
        }
        widen_gap(&last->gap, &item->gap);
        last->states &= item->states;
    }
    gaps->count = kept;
}

/* Gaps that stand in later segments and touch a new one become a part of it. Without this each segment that goes would
 * leave gaps for ever, more each time round, until the spool holds nothing else. */
static void absorb_gaps(struct spool *spool, struct gap_list *gaps)
{
    for (size_t i = 0; i < gaps->count; i++) {
        struct gap_item *item = &gaps->items[i];
        const struct spool_batch own = item->gap;
        for (int behind = 0; behind < 2; behind++) {
            struct segment *segment;
            uint64_t id = index_gap_beside(spool, item->stream, &own, behind);
            const struct spool_entry *entry = id != 0 ? index_find(spool, id, &segment) : NULL;
            if (!entry || segment == spool->segments[0] || !is_pending_somewhere(spool, entry) ||
                gap_states_of(spool, entry) != item->states)
                continue;
            struct spool_batch other = entry_batch(segment, entry);
            widen_gap(&item->gap, &other);
            item->absorbed[behind] = id;
        }
    }
}

/* What a batch that goes had replaced goes with it, and is told too: nobody else speaks for it any more. */
static void collect_replaced(struct spool *spool, const struct spool_batch *batch, struct stream *stream,
                             uint32_t states, struct gap_list *gaps)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(FRAME_PAYLOAD_BYTES_MAX + FRAME_HEADER_BYTES);
    struct spool_batch read;
    struct envelope envelope;
    struct str body;
    arena_reset(&spool->arena);
    if (spool_read(spool, batch->id, &read, &bytes) < 0 ||
        envelope_decode(bytes.data, bytes.len, &spool->arena, &envelope, &body) < 0)
        return;
    for (uint32_t i = 0; i < envelope.replaces_count; i++) {
        stream->gap = *batch;
        stream->gap.is_gap = true;
        stream->gap.seq = stream->gap.seq_end = envelope.replaces[i];
        stream->gap_states = states;
        flush_gap(stream, gaps);
    }
}

uint64_t gaps_collect(struct spool *spool, struct segment *segment, struct gap_list *gaps)
{
    uint64_t batches = 0;
    for (size_t i = 0; i < segment->entry_count; i++) {
        const struct spool_entry *entry = &segment->entries[i];
        struct stream *stream = entry->stream;
        if (!is_pending_somewhere(spool, entry))
            continue;
        batches += entry->is_gap ? 0 : 1;
        struct spool_batch batch = entry_batch(segment, entry);
        if (!batch.replaces && stream->gap.seq != 0 && stream->gap.seq_end + 1 == batch.seq) {
            widen_gap(&stream->gap, &batch);
            stream->gap_states &= gap_states_of(spool, entry);
            continue;
        }
        flush_gap(stream, gaps);
        if (batch.replaces)
            collect_replaced(spool, &batch, stream, gap_states_of(spool, entry), gaps);
        stream->gap = batch;
        stream->gap.is_gap = true;
        stream->gap_states = gap_states_of(spool, entry);
    }
    for (size_t i = 0; i < segment->entry_count; i++)
        flush_gap(segment->entries[i].stream, gaps);
    join_gaps(gaps);
    absorb_gaps(spool, gaps);
    return batches;
}

static int append_gap_frame(struct spool *spool, struct spool_batch *gap, uint32_t *ret_offset)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(GAP_BYTES_MAX);
    int error = gap_encode(gap, &payload);
    if (!error) {
        *ret_offset = (uint32_t)(segment_newest(spool)->bytes + spool->frames.len);
        error = frame_append(&spool->frames, FRAME_GAP, payload.data, payload.len);
    }
    gap->bytes = payload.len;
    return error;
}

/* The gaps are on disk before the segment goes, so that nothing is lost unseen. Only then are they in the index, where
 * a failed sync must not find them. */
int gaps_write(struct spool *spool, struct gap_list *gaps)
{
    buf_reset(&spool->frames);
    int error = gaps->count > 0 ? segment_open(spool) : 0;
    for (size_t i = 0; !error && i < gaps->count; i++) {
        error = append_gap_frame(spool, &gaps->items[i].gap, &gaps->items[i].offset);
        if (!error && (spool->frames.len >= SPOOL_WRITE_BYTES || i + 1 == gaps->count))
            error = segment_write_or_fail(spool);
    }
    if (!error && gaps->count > 0)
        error = segment_sync(spool);
    for (size_t i = 0; !error && i < gaps->count; i++)
        index_add(spool, segment_newest(spool), &gaps->items[i].gap, gaps->items[i].offset, gaps->items[i].states);
    for (size_t i = 0; !error && i < gaps->count; i++)
        for (size_t j = 0; j < ARRAY_LEN(gaps->items[i].absorbed); j++)
            index_give_up(spool, gaps->items[i].absorbed[j]);
    return error;
}
