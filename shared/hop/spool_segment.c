#include "base/fail.h"
#include "base/log.h"
#include "hop/layout_packer.h"
#include "hop/pack.h"
#include "hop/spool_internal.h"

#include <errno.h>

bool error_is_full(int error)
{
    return error == -ENOSPC || error == -EDQUOT;
}

char *segment_path(const struct spool *spool, uint64_t number)
{
    return mem_printf("%s/%010llu.segment", spool->dir, (unsigned long long)number);
}

/* ---- In memory ---- */

struct segment *segment_add(struct spool *spool, uint64_t number)
{
    ASSERT(!segment_newest(spool) || segment_newest(spool)->number < number);
    if (spool->segment_count == spool->segment_capacity) {
        spool->segment_capacity = MAX(spool->segment_capacity * 2, (size_t)16);
        spool->segments = mem_resize(spool->segments, spool->segment_capacity, sizeof(struct segment *));
    }
    struct segment *segment = mem_zalloc(sizeof(*segment));
    segment->number = number;
    segment->layouts = layout_group_new(spool->layouts);
    spool->segments[spool->segment_count++] = segment;
    return segment;
}

void segment_forget(struct spool *spool, size_t index)
{
    struct segment *segment = spool->segments[index];
    index_cut(spool, segment, 0);
    if (index + 1 == spool->segment_count)
        layout_packer_free(STEAL(spool->packer));
    layout_group_free(segment->layouts);
    if (spool->read_segment == segment) {
        file_close(spool->read_file);
        spool->read_file = NULL;
        spool->read_segment = NULL;
    }
    spool->bytes -= segment->bytes;
    mem_free(segment->entries);
    mem_free(segment);
    spool->segment_count--;
    memmove(spool->segments + index, spool->segments + index + 1,
            (spool->segment_count - index) * sizeof(struct segment *));
}

/* ---- Beginning ---- */

static int append_head(struct spool *spool)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(SEQLOG_PIECE_BYTES_MAX);
    pack_array(&payload, 3);
    pack_uint(&payload, SPOOL_FORMAT_VERSION);
    pack_uint(&payload, spool->incarnation);
    pack_uint(&payload, spool->epoch);
    int error = frame_append(&spool->frames, FRAME_SEGMENT, payload.data, payload.len);
    for (size_t i = 0; !error && i < spool->consumer_count; i++)
        error = position_append(spool, i, &spool->frames);
    return error < 0 ? error : segment_write(spool);
}

static int append_seen(struct spool *spool)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(SEQLOG_PIECE_BYTES_MAX);
    int more = 1;
    for (size_t at = 0; more == 1;) {
        buf_reset(&payload);
        more = seqlog_encode(spool->seen, &at, &payload);
        int error = more < 0 ? more : frame_append(&spool->frames, FRAME_SEEN, payload.data, payload.len);
        if (!error)
            error = segment_write(spool);
        if (error < 0)
            return error;
    }
    return 0;
}

/* All that was seen so far is on disk: a segment is rolled only when it is synced. Otherwise a snapshot could reach the
 * disk before the batches it speaks of, and these, sent again after a crash, would be called duplicates. */
static int begin(struct spool *spool)
{
    int error = append_head(spool);
    if (!error)
        error = append_seen(spool);
    if (!error)
        error = file_sync(spool->file);
    return error < 0 ? error : file_sync_dir(spool->seams.fs, spool->dir);
}

int segment_open(struct spool *spool)
{
    if (spool->file)
        return 0;
    if (spool->number_next > UINT32_MAX)
        return -EFBIG; /* ids have 32 bits for it: a segment per second for 136 years */
    CLEANUP_FREE char *path = segment_path(spool, spool->number_next);
    int error = file_open(spool->seams.fs, path, FILE_CREATE_NEW, &spool->file);
    if (error < 0) {
        spool->stats.errors_total++;
        return error;
    }
    /* Its number is used up in any case: a file that could not be taken away must not be met again. */
    struct segment *segment = segment_add(spool, spool->number_next++);
    struct buf batch = spool->frames; /* what is to be written stays as it is */
    spool->frames = BUF_INIT(batch.bytes_max);
    error = begin(spool);
    buf_done(&spool->frames);
    spool->frames = batch;
    if (!error) {
        segment->synced_bytes = segment->head_bytes = segment->bytes;
        layout_packer_free(spool->packer);
        spool->packer = layout_packer_new_group(spool->layouts, segment->layouts);
        spool->segment_from_ms = clock_mono_ms(loop_clock(spool->seams.loop));
        for (size_t i = 0; i < spool->consumer_count; i++)
            spool->consumers[i].moved = false;
        spool->segment_done = true; /* the one before may go now, if all of it is delivered */
        return 0;
    }
    spool->stats.errors_total++;
    file_close(STEAL(spool->file));
    segment_drop(spool, spool->segment_count - 1);
    return error;
}

/* ---- Writing ---- */

bool segment_is_full(const struct spool *spool)
{
    const struct segment *newest = segment_newest(spool);
    return newest->bytes - newest->head_bytes >= spool->options.segment_bytes;
}

int segment_write(struct spool *spool)
{
    struct segment *segment = segment_newest(spool);
    struct buf *frames = &spool->frames;
    if (frames->full || segment->bytes + frames->len > SPOOL_SEGMENT_BYTES_MAX) {
        bool full = frames->full;
        buf_reset(frames);
        return full ? -EMSGSIZE : -EAGAIN;
    }
    int error = file_append(spool->file, frames->data, frames->len);
    if (!error) {
        segment->bytes += frames->len;
        spool->bytes += frames->len;
    }
    buf_reset(frames);
    return error;
}

int segment_write_or_fail(struct spool *spool)
{
    int error = segment_write(spool);
    if (error == 0 || error == -EMSGSIZE || error == -EAGAIN)
        return error;
    spool->stats.errors_total++;
    /* Full, and cut back to what it was: nothing is broken. */
    if (!error_is_full(error) || file_size(spool->file) != segment_newest(spool)->bytes)
        segment_fail(spool, error);
    return error;
}

static int write_pack(struct spool *spool)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(LAYOUT_PACK_BYTES_MAX + MIB);
    int error = layout_packer_finish(spool->packer, &payload);
    if (!error)
        error = frame_append(&spool->frames, FRAME_PACK, payload.data, payload.len);
    if (!error)
        error = segment_write_or_fail(spool);
    if (!error)
        layout_packer_commit(spool->packer);
    return error;
}

/* One without its batch does no harm where a later one fails. */
int segment_write_layouts(struct spool *spool, const struct envelope *envelope)
{
    struct layout_packer *packer = spool->packer;
    int error = 0;
    for (uint32_t i = 0; i < envelope_layout_count(envelope) && !error; i++) {
        error = layout_packer_add(packer, envelope_layout_at(envelope, i));
        if (!error && layout_packer_is_full(packer))
            error = write_pack(spool);
    }
    if (!error && layout_packer_count(packer) > 0)
        error = write_pack(spool);
    if (error < 0 && spool->packer)
        layout_packer_drop(spool->packer);
    return error;
}

int segment_sync(struct spool *spool)
{
    struct segment *segment = segment_newest(spool);
    ASSERT(!spool->job && spool->file);
    if (segment->synced_bytes == segment->bytes)
        return 0;
    int error = file_sync(spool->file);
    if (error < 0) {
        spool->stats.errors_total++;
        segment_fail(spool, error);
        return error;
    }
    segment->synced_bytes = segment->bytes;
    replaced_synced(spool, segment->synced_bytes);
    spool->stats.synced_total++;
    return 0;
}

int segment_roll(struct spool *spool)
{
    int error = segment_sync(spool);
    if (error < 0)
        return error;
    file_close(STEAL(spool->file));
    return 0;
}

void segment_fail(struct spool *spool, int error)
{
    struct segment *segment = segment_newest(spool);
    ASSERT(spool->file);
    log_debug("spool %s: segment %llu is given up at %llu of %llu bytes: %d", spool->dir,
              (unsigned long long)segment->number, (unsigned long long)segment->synced_bytes,
              (unsigned long long)segment->bytes, error);
    size_t kept = segment->entry_count;
    while (kept > 0 && segment->entries[kept - 1].offset >= segment->synced_bytes) {
        const struct spool_entry *entry = &segment->entries[--kept];
        /* What a gap tells of may have been seen otherwise; a gap itself is not received twice for being forgotten. */
        if (!entry->is_gap)
            seqlog_remove(spool->seen, &entry->stream->source, entry->stream->epoch, entry->seq, entry->seq_end);
    }
    index_cut(spool, segment, kept);
    replaced_forget(spool);
    if (spool->job) {
        sync_give_file(spool, segment->synced_bytes);
        spool->file = NULL;
    } else {
        /* If it cannot be cut, replay meets these batches again and drops what was appended once more since. */
        if (file_truncate(spool->file, segment->synced_bytes) < 0)
            log_debug("spool %s: segment %llu could not be cut", spool->dir, (unsigned long long)segment->number);
        file_close(STEAL(spool->file));
    }
    spool->bytes -= segment->bytes - segment->synced_bytes;
    segment->bytes = segment->synced_bytes;
    spool->lost_error = error;
    if (segment->undelivered == 0)
        spool->segment_done = true;
}

/* ---- Dropping ---- */

void segment_drop(struct spool *spool, size_t index)
{
    CLEANUP_FREE char *path = segment_path(spool, spool->segments[index]->number);
    segment_forget(spool, index);
    /* A file that stays is replayed at the next open: its batches are sent once more, and known upstream. */
    if (file_unlink(spool->seams.fs, path) < 0)
        spool->stats.errors_total++;
}

void segments_free_delivered(struct spool *spool)
{
    if (!spool->segment_done || spool->consumer_count == 0)
        return;
    spool->segment_done = false;
    for (size_t i = 0; i + 1 < spool->segment_count;) {
        if (spool->segments[i]->undelivered == 0)
            segment_drop(spool, i);
        else
            i++;
    }
}
