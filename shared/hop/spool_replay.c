/* State from the files alone: each segment's frames in order, damage passed over, the torn tail of the newest cut off.
 */
#include "base/fail.h"
#include "base/log.h"
#include "hop/gap.h"
#include "hop/pack.h"
#include "hop/spool_internal.h"

#include <errno.h>

#define READ_BYTES          ((size_t)256 * KIB)
#define WINDOW_BYTES        (FRAME_PAYLOAD_BYTES_MAX + FRAME_HEADER_BYTES + READ_BYTES)
#define HEAD_FIELDS         3

#define SEGMENT_NAME_DIGITS 10 /* as segment_path() writes them */

/* A file through a window that holds one frame at a time. */
struct scan {
    struct file *file;
    uint64_t size;
    uint64_t base; /* of the window in the file */
    struct buf window;
    size_t at;
    uint64_t skipped;  /* behind the last good frame, and gone from the window */
    uint64_t good_end; /* of the last good frame, in the file */
    bool failed;       /* not all could be read */
};

struct replay {
    struct spool *spool;
    spool_visit_fn *visit;
    void *arg;
    struct segment *segment;
    struct position positions[SPOOL_CONSUMERS_MAX];
    bool head_seen; /* of this segment */
    bool any_head;
    uint64_t epoch, headless; /* highest; segments that do not tell theirs */
};

static int read_more(struct scan *scan, const struct frame *cut)
{
    size_t kept = scan->window.len - cut->offset;
    scan->skipped += cut->offset - scan->at;
    if (kept > 0)
        memmove(scan->window.data, scan->window.data + cut->offset, kept);
    scan->base += cut->offset;
    scan->window.len = kept;
    scan->at = 0;
    size_t want = MAX(READ_BYTES, cut->wanted_bytes - MIN(cut->wanted_bytes, kept));
    uint8_t *room = buf_reserve(&scan->window, want);
    ASSERT(room);
    int64_t len = file_read_at(scan->file, room, want, scan->base + kept);
    if (len < 0)
        return (int)len;
    buf_added(&scan->window, (size_t)len);
    return len > 0 ? 1 : 0;
}

/* 1: a frame, its offset that in the file. 0: the end. */
static int scan_next(struct scan *scan, struct frame *ret_frame, uint64_t *ret_offset)
{
    for (;;) {
        struct frame frame;
        if (frame_next(buf_view(&scan->window), &scan->at, &frame) == 1) {
            frame.damaged_bytes += scan->skipped;
            scan->skipped = 0;
            scan->good_end = scan->base + scan->at;
            *ret_offset = scan->base + frame.offset;
            *ret_frame = frame;
            return 1;
        }
        int more = scan->base + scan->window.len < scan->size ? read_more(scan, &frame) : 0;
        if (more <= 0)
            return more;
    }
}

/* ---- Frames ---- */

static int take_head(struct replay *replay, struct str payload)
{
    struct unpack in = unpack_of(payload.ptr, payload.len);
    uint32_t fields = unpack_record(&in, HEAD_FIELDS);
    uint64_t version = unpack_uint(&in, UINT64_MAX);
    uint64_t incarnation = unpack_uint(&in, UINT64_MAX);
    uint64_t epoch = unpack_uint(&in, UINT64_MAX);
    unpack_skip(&in, fields > HEAD_FIELDS ? fields - HEAD_FIELDS : 0);
    if (!unpack_done(&in))
        return -EBADMSG;
    if (version != SPOOL_FORMAT_VERSION)
        return -EPROTO;
    replay->spool->incarnation = incarnation;
    replay->epoch = MAX(replay->epoch, epoch);
    replay->head_seen = replay->any_head = true;
    return 0;
}

static int take_pack(struct replay *replay, struct str payload)
{
    int error = layout_group_take(replay->segment->layouts, payload);
    if (error == -EBADMSG)
        return error;
    if (error < 0) /* its batches are counted as not readable */
        log_debug("spool %s: no room for layouts: %d", replay->spool->dir, error);
    return 0;
}

static int tell(struct replay *replay, const struct spool_batch *batch, const struct frame *frame)
{
    return replay->visit ? replay->visit(replay->arg, batch, frame->payload, replay->spool->layouts) : 0;
}

static int visit(struct replay *replay, const struct frame *frame, bool is_remote_write)
{
    const struct segment *segment = replay->segment;
    struct spool_batch batch = entry_batch(segment, &segment->entries[segment->entry_count - 1]);
    batch.is_remote_write = is_remote_write;
    return tell(replay, &batch, frame);
}

/* The segment has all that the batch names: with it alone the batch can be read. */
static bool group_has_all(const struct layout_group *group, const struct envelope *envelope)
{
    for (uint32_t i = 0; i < envelope_layout_count(envelope); i++)
        if (!layout_group_has(group, envelope_layout_at(envelope, i)))
            return false;
    return true;
}

static int take_batch(struct replay *replay, const struct frame *frame, uint32_t offset)
{
    struct spool *spool = replay->spool;
    struct envelope envelope;
    struct str body;
    arena_reset(&spool->arena);
    if (envelope_decode(frame->payload.ptr, frame->payload.len, &spool->arena, &envelope, &body) < 0)
        return -EBADMSG;
    const struct source_id *source = &envelope.source;
    /* A power cut leaves batches whose layouts were not written, or some sectors later: nobody was told of them. They
     * are not seen, so that who still has them can send them again. The same where another segment has the layouts: it
     * goes, and then nobody could read the batch; until then it is told. */
    if (!group_has_all(replay->segment->layouts, &envelope)) {
        spool->stats.unreadable_total++;
        bool is_new = seqlog_check(spool->seen, source, envelope.epoch, envelope.seq, frame->checksum) == SEQLOG_NEW;
        struct spool_batch batch = spool_batch_of(&envelope, frame->payload.len);
        batch.id = replay->segment->number << 32 | offset;
        return is_new && layout_table_has_all(spool->layouts, &envelope) ? tell(replay, &batch, frame) : 0;
    }
    /* Known already: an earlier segment was given up and could not be cut, so the batch was appended once more. */
    if (seqlog_check(spool->seen, source, envelope.epoch, envelope.seq, frame->checksum) != SEQLOG_NEW)
        return 0;
    if (seqlog_add(spool->seen, source, envelope.epoch, envelope.seq, frame->checksum) < 0)
        log_debug("spool %s: too many sources or holes to remember", spool->dir);
    replaced_see(spool, &envelope);
    struct spool_batch batch = spool_batch_of(&envelope, frame->payload.len);
    index_add(spool, replay->segment, &batch, offset, 0);
    return visit(replay, frame, envelope.is_remote_write);
}

static int take_gap(struct replay *replay, const struct frame *frame, uint32_t offset)
{
    struct spool *spool = replay->spool;
    struct spool_batch gap;
    if (gap_decode(frame->payload, &gap) < 0)
        return -EBADMSG;
    if (seqlog_add_range(spool->seen, &gap.source, gap.epoch, gap.seq, gap.seq_end) < 0)
        log_debug("spool %s: too many sources or holes to remember", spool->dir);
    index_add(spool, replay->segment, &gap, offset, 0);
    return visit(replay, frame, false);
}

/* -EBADMSG: well framed, but not what it says it is: it is passed over like damage. */
static int take_frame(struct replay *replay, const struct frame *frame, uint32_t offset)
{
    switch (frame->type) {
    case FRAME_SEGMENT:
        return take_head(replay, frame->payload);
    case FRAME_PACK:
        return take_pack(replay, frame->payload);
    case FRAME_BATCH:
        return take_batch(replay, frame, offset);
    case FRAME_GAP:
        return take_gap(replay, frame, offset);
    case FRAME_POSITION:
        return position_read(replay->spool, frame->payload, replay->positions);
    case FRAME_SEEN:
        return seqlog_decode(replay->spool->seen, frame->payload.ptr, frame->payload.len);
    case FRAME_ASK:
        break;
    }
    return 0; /* of a newer version */
}

/* ---- Segments ---- */

static int read_frames(struct replay *replay, struct scan *scan)
{
    for (;;) {
        struct frame frame;
        uint64_t offset;
        int more = scan_next(scan, &frame, &offset);
        if (more < 0) {
            log_debug("%s: %d at %llu", file_path(scan->file), more, (unsigned long long)scan->good_end);
            replay->spool->stats.errors_total++;
            scan->failed = true;
        }
        if (more <= 0)
            return 0;
        replay->spool->stats.damaged_bytes_total += frame.damaged_bytes;
        int error = offset <= UINT32_MAX ? take_frame(replay, &frame, (uint32_t)offset) : -EBADMSG;
        if (error == -EBADMSG)
            replay->spool->stats.damaged_bytes_total += FRAME_HEADER_BYTES + frame.payload.len;
        else if (error < 0)
            return error;
    }
}

/* What is behind the last good frame: in the newest segment a write that a crash cut off, else damage. */
static void end_segment(struct replay *replay, struct scan *scan, bool is_newest)
{
    struct spool *spool = replay->spool;
    uint64_t tail = scan->size - scan->good_end;
    uint64_t kept = scan->size;
    bool is_torn = is_newest && !scan->failed;
    if (tail > 0 && !is_torn)
        spool->stats.damaged_bytes_total += tail;
    if (tail > 0 && is_torn) {
        spool->stats.torn_bytes_total += tail;
        /* Synced, or a crash could bring the tail back when this segment is not the newest any more. */
        if (file_truncate(scan->file, scan->good_end) == 0 && file_sync(scan->file) == 0)
            kept = scan->good_end;
    }
    replay->segment->bytes = replay->segment->synced_bytes = kept;
    spool->bytes += kept;
    if (!replay->head_seen)
        replay->headless++;
}

static int replay_segment(struct replay *replay, uint64_t number, bool is_newest)
{
    struct spool *spool = replay->spool;
    CLEANUP_FREE char *path = segment_path(spool, number);
    replay->segment = segment_add(spool, number);
    replay->head_seen = false;
    struct scan scan = {.window = BUF_INIT(WINDOW_BYTES)};
    int error = file_open(spool->seams.fs, path, FILE_APPEND, &scan.file);
    if (error < 0) {
        spool->stats.errors_total++;
        replay->headless++;
        return error == -ENOMEM || error == -EMFILE || error == -ENFILE ? error : 0;
    }
    /* What a killed process left in the page cache, or a segment that was given up and could not be cut, is read as
     * well as what is on disk, and is promised from now on. */
    if (file_sync(scan.file) < 0)
        spool->stats.errors_total++;
    scan.size = file_size(scan.file);
    error = read_frames(replay, &scan);
    end_segment(replay, &scan, is_newest);
    file_close(scan.file);
    buf_done(&scan.window);
    return error;
}

/* Of a name as segment_path() writes it: a copy under another one must not be taken for a second segment. */
static bool segment_number(const char *name, uint64_t *ret_number)
{
    struct str text = str_from(name);
    if (!str_ends_with(text, STR(".segment")))
        return false;
    text.len -= STR(".segment").len;
    return text.len == SEGMENT_NAME_DIGITS && str_to_u64(text, ret_number) == 0 && *ret_number <= UINT32_MAX;
}

static int replay_files(struct replay *replay, char **names, size_t count)
{
    uint64_t number;
    while (count > 0 && !segment_number(names[count - 1], &number))
        count--;
    for (size_t i = 0; i < count; i++) {
        if (!segment_number(names[i], &number))
            continue;
        replay->spool->number_next = number + 1;
        int error = replay_segment(replay, number, i + 1 == count);
        if (error < 0)
            return error;
    }
    return 0;
}

int spool_replay(struct spool *spool, spool_visit_fn *visit_fn, void *arg)
{
    char **names;
    size_t count;
    int error = file_list(spool->seams.fs, spool->dir, &names, &count);
    if (error < 0)
        return error;
    struct replay replay = {.spool = spool, .visit = visit_fn, .arg = arg};
    error = replay_files(&replay, names, count);
    file_names_free(names, count);
    for (size_t i = 0; i < spool->consumer_count; i++) {
        if (!error)
            position_apply(spool, i, &replay.positions[i]);
        position_done(&replay.positions[i]);
    }
    /* An epoch is never used twice, or its sequence numbers would be: every segment that does not tell its epoch may be
     * of an open that no other tells of. Where none tells, who this is has been lost too. */
    spool->epoch = replay.epoch + replay.headless + 1;
    if (!replay.any_head)
        spool->incarnation = random_next(spool->seams.random) | 1;
    return error;
}

int spool_ids_end(struct file_system *fs, const char *dir, uint64_t *ret_end)
{
    char **names = NULL;
    size_t count = 0;
    uint64_t number, end = 1;
    int result = file_list(fs, dir, &names, &count);
    if (result < 0 && result != -ENOENT)
        return result;
    for (size_t i = 0; i < count; i++)
        if (segment_number(names[i], &number))
            end = MAX(end, (number + 1) << 32);
    file_names_free(names, count);
    *ret_end = end;
    return 0;
}
