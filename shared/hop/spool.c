#include "hop/spool.h"
#include "base/fail.h"
#include "base/log.h"
#include "hop/gap.h"
#include "hop/spool_internal.h"

#include <errno.h>

#define FRAMES_BYTES_MAX (FRAME_PAYLOAD_BYTES_MAX + FRAME_HEADER_BYTES + SPOOL_WRITE_BYTES)
#define ARENA_BYTES_MAX  (16 * MIB) /* of one envelope's arrays: a MiB of hashes each at most */
#define RATE_PERIOD_MS   60000

/* ---- Lifecycle ---- */

static uint64_t segment_bytes_of(const struct spool_options *options)
{
    uint64_t bytes = options->segment_bytes ? options->segment_bytes : SPOOL_SEGMENT_BYTES;
    if (options->bytes_max)
        bytes = MIN(bytes, options->bytes_max / SPOOL_SEGMENTS_IN_BOUND);
    return MAX(bytes, SPOOL_SEGMENT_BYTES_MIN);
}

static struct spool *new_spool(const struct seams *seams, const struct spool_options *options)
{
    ASSERT(options->consumer_count <= SPOOL_CONSUMERS_MAX);
    struct spool *spool = mem_zalloc(sizeof(*spool));
    spool->seams = *seams;
    spool->options = *options;
    spool->options.segment_bytes = segment_bytes_of(options);
    spool->dir = mem_strdup(options->dir);
    spool->options.dir = spool->dir;
    spool->options.consumers = NULL;
    spool->consumer_count = options->consumer_count;
    for (size_t i = 0; i < options->consumer_count; i++)
        spool->consumers[i].name = mem_strdup(options->consumers[i]);
    spool->layouts =
        layout_table_new(options->layout_bytes_max,
                         options->layout_cache_bytes_max ? options->layout_cache_bytes_max : options->layout_bytes_max);
    spool->seen = seqlog_new();
    map_init(&spool->streams);
    buf_init(&spool->frames, FRAMES_BYTES_MAX);
    arena_init(&spool->arena, ARENA_BYTES_MAX);
    spool->number_next = 1;
    spool->rate_from_ms = clock_mono_ms(loop_clock(seams->loop));
    sync_init(spool);
    position_init(spool);
    return spool;
}

static void spool_free(struct spool *spool)
{
    if (!spool)
        return;
    sync_done(spool);
    loop_timer_stop(&spool->position_timer);
    file_close(spool->file);
    while (spool->segment_count > 0)
        segment_forget(spool, spool->segment_count - 1);
    mem_free(spool->segments);
    replaced_forget(spool);
    index_done(spool);
    for (size_t i = 0; i < spool->consumer_count; i++)
        mem_free(spool->consumers[i].name);
    layout_table_free(spool->layouts);
    seqlog_free(spool->seen);
    buf_done(&spool->frames);
    arena_done(&spool->arena);
    file_close(spool->lock);
    mem_free(spool->dir);
    mem_free(spool);
}
DEFINE_CLEANUP(struct spool *, spool_free)

/* Segments of earlier opens that hold no batch. */
static void drop_empty(struct spool *spool)
{
    for (size_t i = 0; i + 1 < spool->segment_count;) {
        if (spool->segments[i]->entry_count == 0)
            segment_drop(spool, i);
        else
            i++;
    }
}

int spool_open(const struct seams *seams, const struct spool_options *options, spool_visit_fn *visit, void *arg,
               struct spool **ret_spool)
{
    int error = file_make_dirs(seams->fs, options->dir);
    if (error < 0)
        return error;
    CLEANUP(spool_freep) struct spool *spool = new_spool(seams, options);
    error = file_lock_dir(seams->fs, options->dir, &spool->lock);
    if (!error)
        error = spool_replay(spool, visit, arg);
    if (!error)
        error = segment_open(spool);
    if (error < 0 && !error_is_full(error))
        return error;
    if (spool->file) { /* what the new segment says of the past is on disk */
        drop_empty(spool);
        spool->segment_done = true;
        segments_free_delivered(spool);
    }
    *ret_spool = STEAL(spool);
    return 0;
}

void spool_close(struct spool *spool)
{
    if (!spool)
        return;
    bool moved = false;
    for (size_t i = 0; i < spool->consumer_count; i++)
        moved = moved || spool->consumers[i].moved;
    if (moved && spool->file)
        position_write_now(spool);
    if (spool->file && file_sync(spool->file) < 0)
        log_debug("spool %s: the last sync failed", spool->dir);
    spool_free(spool);
}

/* ---- Facts ---- */

struct layout_table *spool_layouts(struct spool *spool)
{
    return spool->layouts;
}

struct seqlog *spool_seen(struct spool *spool)
{
    return spool->seen;
}

uint64_t spool_bytes_max(const struct spool *spool)
{
    return spool->options.bytes_max;
}

uint64_t spool_incarnation(const struct spool *spool)
{
    return spool->incarnation;
}

uint64_t spool_epoch(const struct spool *spool)
{
    return spool->epoch;
}

void spool_stats(const struct spool *spool, struct spool_stats *ret_stats)
{
    struct spool_stats stats = spool->stats;
    stats.batches = spool->batches;
    stats.bytes = spool->bytes;
    stats.segments = spool->segment_count;
    stats.layout_bytes = layout_table_packed_bytes(spool->layouts);
    stats.layout_cache_bytes = layout_table_cache_bytes(spool->layouts);
    bool any = false;
    for (size_t i = 0; i < spool->segment_count; i++) {
        const struct segment *segment = spool->segments[i];
        if (segment->entry_count == 0)
            continue;
        stats.oldest_window_ms =
            any ? MIN(stats.oldest_window_ms, segment->oldest_window_ms) : segment->oldest_window_ms;
        any = true;
    }
    for (size_t i = 0; i < spool->consumer_count; i++) {
        stats.pending[i] = spool->consumers[i].pending;
        stats.pending_bytes[i] = spool->consumers[i].pending_bytes;
    }
    *ret_stats = stats;
}

static void count_appended(struct spool *spool, size_t bytes)
{
    spool->stats.appended_total++;
    spool->stats.appended_bytes_total += bytes;
    spool->rate_bytes += bytes;
    int64_t passed_ms = clock_mono_ms(loop_clock(spool->seams.loop)) - spool->rate_from_ms;
    if (passed_ms < RATE_PERIOD_MS)
        return;
    double now = (double)spool->rate_bytes * 1000 / (double)passed_ms;
    double before = spool->stats.bytes_per_second;
    spool->stats.bytes_per_second = before > 0 ? (before + now) / 2 : now;
    spool->rate_bytes = 0;
    spool->rate_from_ms += passed_ms;
}

/* ---- Bounds ---- */

static void tell_listeners(struct spool *spool)
{
    for (size_t i = 0; i < spool->listener_count; i++)
        spool->listeners[i].fn(spool->listeners[i].arg);
}

static int drop_oldest(struct spool *spool)
{
    struct segment *oldest = spool->segments[0];
    struct gap_list gaps = {0};
    uint64_t batches = gaps_collect(spool, oldest, &gaps);
    int error = gaps_write(spool, &gaps);
    if (!error) {
        spool->stats.dropped_batches_total += batches;
        segment_drop(spool, 0);
    }
    if (!error && gaps.count > 0)
        tell_listeners(spool);
    mem_free(gaps.items);
    return error;
}

static int64_t age_ms_of(const struct spool *spool, int64_t time_ms)
{
    return clock_wall_ms(loop_clock(spool->seams.loop)) - time_ms;
}

/* The newest segment never goes: it holds the spool's identity. */
static bool is_past_bound(const struct spool *spool, uint64_t more_bytes)
{
    const struct spool_options *options = &spool->options;
    if (spool->segment_count < 2)
        return false;
    if (options->bytes_max && spool->bytes + more_bytes > options->bytes_max)
        return true;
    if (spool->batches >= SPOOL_BATCHES_MAX || (options->bytes_max && layout_table_is_full(spool->layouts)))
        return true;
    const struct segment *oldest = spool->segments[0];
    return options->age_max_ms && oldest->entry_count > 0 &&
           age_ms_of(spool, oldest->newest_window_ms) > options->age_max_ms;
}

/* By size, or where it has been written to for so long that the bound of age would mean little. Not by the windows in
 * it: a backlog that comes in beside what is new spans days in two batches. */
static bool is_to_be_rolled(const struct spool *spool)
{
    /* Full of layouts: only a segment that is not the newest can go. */
    bool layouts = layout_table_is_full(spool->layouts) && segment_newest(spool)->entry_count > 0;
    if (segment_is_full(spool) || layouts)
        return true;
    int64_t open_ms = clock_mono_ms(loop_clock(spool->seams.loop)) - spool->segment_from_ms;
    return spool->options.age_max_ms && segment_newest(spool)->entry_count > 0 &&
           open_ms > spool->options.age_max_ms / SPOOL_SEGMENTS_IN_BOUND;
}

/* While a sync runs no other may (its error would be reported to one of them only): the next append looks again. */
static void keep_bounds(struct spool *spool, uint64_t more_bytes)
{
    while (!spool->job && is_past_bound(spool, more_bytes)) {
        int error = drop_oldest(spool);
        if (error < 0) {
            log_debug("spool %s: nothing dropped: %d", spool->dir, error);
            return;
        }
    }
}

void spool_drop_before(struct spool *spool, uint64_t id)
{
    for (size_t i = 0; i + 1 < spool->segment_count;) {
        struct segment *segment = spool->segments[i];
        if (segment->entry_count == 0 || entry_id(segment, &segment->entries[segment->entry_count - 1]) < id)
            segment_drop(spool, i);
        else
            i++;
    }
}

/* ---- Appending ---- */

struct spool_batch spool_batch_of(const struct envelope *envelope, size_t bytes)
{
    uint64_t from_seq = envelope->seq;
    for (uint32_t i = 0; i < envelope->replaces_count; i++)
        from_seq = MIN(from_seq, envelope->replaces[i]);
    return (struct spool_batch){
        .source = envelope->source,
        .epoch = envelope->epoch,
        .seq = envelope->seq,
        .seq_end = envelope->seq,
        .from_seq = from_seq,
        .replaces = envelope->replaces_count > 0,
        .is_remote_write = envelope->is_remote_write,
        .window_start_ms = envelope->window_start_ms,
        .window_end_ms = envelope->window_start_ms + envelope->span_ms,
        .bytes = bytes,
    };
}

/* A segment to append to, with old ones gone where a bound says so. */
static int prepare(struct spool *spool, size_t bytes)
{
    keep_bounds(spool, bytes);
    if (spool->file && !spool->job && is_to_be_rolled(spool)) {
        int error = segment_roll(spool);
        if (error < 0)
            return error;
    }
    buf_reset(&spool->frames);
    return segment_open(spool);
}

/* One frame, indexed once it is written. */
static int write_entry(struct spool *spool, enum frame_type type, struct spool_batch *batch, struct str payload)
{
    uint32_t offset = (uint32_t)segment_newest(spool)->bytes;
    int error = frame_append(&spool->frames, type, payload.ptr, payload.len);
    if (!error)
        error = segment_write_or_fail(spool);
    if (error < 0)
        return error;
    struct segment *segment = segment_newest(spool);
    index_add(spool, segment, batch, offset, 0);
    batch->id = entry_id(segment, &segment->entries[segment->entry_count - 1]);
    count_appended(spool, payload.len);
    tell_listeners(spool);
    return 0;
}

int spool_append(struct spool *spool, const struct envelope *envelope, struct str batch, uint64_t *ret_id)
{
    if (batch.len > FRAME_PAYLOAD_BYTES_MAX)
        return -EMSGSIZE;
    if (!layout_table_has_all(spool->layouts, envelope))
        return -ENOENT;
    if (seqlog_covers(spool->seen, &envelope->source, envelope->epoch, envelope->seq, envelope->seq))
        return -EEXIST;
    if (!spool->options.bytes_max && layout_table_is_full(spool->layouts))
        return -ENOSPC; /* nothing may be dropped for it */
    int error = prepare(spool, batch.len);
    if (error < 0)
        return error;
    uint32_t checksum = crc32c(0, batch.ptr, batch.len);
    error = seqlog_add(spool->seen, &envelope->source, envelope->epoch, envelope->seq, checksum);
    if (error < 0)
        return error;
    error = segment_write_layouts(spool, envelope);
    struct spool_batch entry = spool_batch_of(envelope, batch.len);
    if (!error)
        error = write_entry(spool, FRAME_BATCH, &entry, batch);
    if (error < 0) {
        seqlog_remove(spool->seen, &envelope->source, envelope->epoch, envelope->seq, envelope->seq);
        return error;
    }
    replaced_note(spool, envelope, (uint32_t)entry.id);
    *ret_id = entry.id;
    return 0;
}

int spool_append_gap(struct spool *spool, const struct spool_batch *gap, uint64_t *ret_id)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(GAP_BYTES_MAX);
    int error = gap_encode(gap, &payload);
    if (!error)
        error = prepare(spool, payload.len);
    if (error < 0)
        return error;
    struct spool_batch entry = *gap;
    entry.is_gap = true;
    entry.bytes = payload.len;
    error = write_entry(spool, FRAME_GAP, &entry, buf_view(&payload));
    if (error < 0)
        return error;
    /* Where there is no room to remember it, it may come once more. */
    if (seqlog_add_range(spool->seen, &gap->source, gap->epoch, gap->seq, gap->seq_end) < 0)
        log_debug("spool %s: too many sources or holes to remember", spool->dir);
    *ret_id = entry.id;
    return 0;
}

void spool_on_append(struct spool *spool, loop_fn *fn, void *arg)
{
    ASSERT(spool->listener_count < SPOOL_CONSUMERS_MAX);
    spool->listeners[spool->listener_count++] = (struct spool_listener){fn, arg};
}

void spool_off_append(struct spool *spool, loop_fn *fn, void *arg)
{
    for (size_t i = 0; i < spool->listener_count; i++) {
        if (spool->listeners[i].fn != fn || spool->listeners[i].arg != arg)
            continue;
        spool->listeners[i] = spool->listeners[--spool->listener_count];
        return;
    }
}

/* ---- Reading ---- */

static int file_of(struct spool *spool, struct segment *segment, struct file **ret_file)
{
    ASSERT(segment);
    if (segment == segment_newest(spool) && spool->file) {
        *ret_file = spool->file;
        return 0;
    }
    if (spool->read_segment != segment) {
        CLEANUP_FREE char *path = segment_path(spool, segment->number);
        struct file *file;
        int error = file_open(spool->seams.fs, path, FILE_READ, &file);
        if (error < 0)
            return error;
        file_close(spool->read_file);
        spool->read_file = file;
        spool->read_segment = segment;
    }
    *ret_file = spool->read_file;
    return 0;
}

int spool_read(struct spool *spool, uint64_t id, struct spool_batch *ret_batch, struct buf *ret_bytes)
{
    struct segment *segment;
    const struct spool_entry *entry = index_find(spool, id, &segment);
    if (!entry)
        return -ENOENT;
    struct file *file;
    int error = file_of(spool, segment, &file);
    if (error < 0)
        return error;
    size_t len = FRAME_HEADER_BYTES + (size_t)entry->bytes;
    uint8_t *room = buf_reserve(ret_bytes, len);
    if (!room)
        return -EMSGSIZE;
    int64_t got = file_read_at(file, room, len, entry->offset);
    if (got < 0)
        return (int)got;
    struct frame frame;
    size_t at = 0;
    bool whole = frame_next(str_of(room, (size_t)got), &at, &frame) == 1 && frame.offset == 0 && at == len;
    if (!whole) {
        spool->stats.damaged_bytes_total += len;
        return -EBADMSG;
    }
    memmove(room, room + FRAME_HEADER_BYTES, entry->bytes);
    buf_added(ret_bytes, entry->bytes);
    *ret_batch = entry_batch(segment, entry);
    return 0;
}
