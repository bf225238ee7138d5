#include "backlog.h"

#include "base/fail.h"
#include "base/map.h"

#include <errno.h>

/* Groups of targets whose newest batches are known; past it all are forgotten, and their batches leave one by one. */
#define LINES_MAX 4096

struct line { /* the newest windows of one group of targets, while they wait */
    struct hash128 targets;
    int64_t resolution_ms;
    int64_t window_start_ms; /* of the newest */
    uint64_t ids[BACKLOG_WINDOWS];
    uint32_t count;
};

struct backlog {
    struct spool *spool;
    size_t consumer;
    struct map lines;
};

struct backlog *backlog_new(struct spool *spool, size_t consumer)
{
    struct backlog *backlog = mem_zalloc(sizeof(*backlog));
    backlog->spool = spool;
    backlog->consumer = consumer;
    map_init(&backlog->lines);
    return backlog;
}

static void forget_lines(struct backlog *backlog)
{
    size_t at = 0;
    for (struct line *line; (line = map_next(&backlog->lines, &at));)
        mem_free(line);
    map_clear(&backlog->lines);
}

void backlog_free(struct backlog *backlog)
{
    if (!backlog)
        return;
    forget_lines(backlog);
    map_done(&backlog->lines);
    mem_free(backlog);
}

/* ---- Sets ---- */

static bool is_line(const void *item, const void *key)
{
    const struct line *line = item;
    const struct envelope *envelope = key;
    return hash128_equal(line->targets, envelope->targets) && line->resolution_ms == envelope->resolution_ms;
}

static struct line *line_of(struct backlog *backlog, const struct envelope *envelope)
{
    uint64_t hash = hash128_low(envelope->targets) ^ (uint64_t)envelope->resolution_ms;
    struct line *line = map_get(&backlog->lines, hash, is_line, envelope);
    if (line)
        return line;
    if (backlog->lines.count == LINES_MAX)
        forget_lines(backlog);
    line = mem_zalloc(sizeof(*line));
    line->targets = envelope->targets;
    line->resolution_ms = envelope->resolution_ms;
    map_put(&backlog->lines, hash, line);
    return line;
}

bool backlog_note(struct backlog *backlog, const struct envelope *envelope, uint64_t id, struct backlog_set *ret_set)
{
    if (envelope->resolution_ms == 0 || envelope->span_ms != envelope->resolution_ms || envelope->page_count == 0)
        return false;
    struct line *line = line_of(backlog, envelope);
    bool follows = line->count > 0 && envelope->window_start_ms == line->window_start_ms + line->resolution_ms;
    for (uint32_t i = 0; i < line->count && follows; i++)
        follows = spool_is_waiting(backlog->spool, backlog->consumer, line->ids[i]);
    line->count = follows ? line->count : 0;
    line->window_start_ms = envelope->window_start_ms;
    line->ids[line->count++] = id;
    if (line->count < BACKLOG_WINDOWS)
        return false;
    memcpy(ret_set->ids, line->ids, sizeof(line->ids));
    line->count = 0;
    return true;
}

/* ---- One batch of them ---- */

struct packing {
    struct spool *spool;
    struct batch_writer *writer;
    struct arena arena; /* of what the new envelope points to, until it is written */
    struct reason_count *failed, *dropped;
    uint64_t *replaces;
};

static void add_reasons(struct packing *packing, struct reason_count *sums, uint32_t *count,
                        const struct reason_count *reasons, uint32_t reason_count)
{
    for (uint32_t i = 0; i < reason_count; i++) {
        uint32_t at = 0;
        while (at < *count && !str_equal(sums[at].reason, reasons[i].reason))
            at++;
        if (at == ENVELOPE_REASONS_MAX)
            at--; /* more words than there are: counted with the last */
        else if (at == *count)
            sums[(*count)++] = (struct reason_count){arena_str(&packing->arena, reasons[i].reason), 0};
        sums[at].count += reasons[i].count;
    }
}

/* The first window says where the batch begins, each adds its counts. */
static void add_envelope(struct packing *packing, const struct envelope *one, uint32_t round, struct envelope *all)
{
    if (round == 0) {
        all->window_start_ms = one->window_start_ms;
        all->resolution_ms = one->resolution_ms;
        all->part = one->part;
    }
    all->span_ms = one->window_start_ms + one->span_ms - all->window_start_ms;
    all->targets_expected += one->targets_expected;
    all->targets_answered += one->targets_answered;
    add_reasons(packing, packing->failed, &all->failed_count, one->failed, one->failed_count);
    add_reasons(packing, packing->dropped, &all->dropped_count, one->dropped, one->dropped_count);
    packing->replaces[all->replaces_count++] = one->seq;
}

static int add_window(struct packing *packing, uint64_t id, uint32_t round, struct envelope *all)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(FRAME_PAYLOAD_BYTES_MAX + FRAME_HEADER_BYTES);
    CLEANUP(batch_reader_freep) struct batch_reader *reader = NULL;
    struct spool_batch batch;
    int error = spool_read(packing->spool, id, &batch, &bytes);
    if (error == 0)
        error = batch_reader_open(bytes.data, bytes.len, spool_layouts(packing->spool), &reader);
    if (error == 0)
        error = batch_writer_add_batch(packing->writer, reader, round);
    if (error == 0)
        add_envelope(packing, batch_reader_envelope(reader), round, all);
    return error;
}

int backlog_pack(struct spool *spool, const struct backlog_set *set, struct batch_writer *writer,
                 const struct envelope *envelope, struct buf *out)
{
    struct packing packing = {.spool = spool, .writer = writer};
    struct envelope all = *envelope;
    arena_init(&packing.arena, 0);
    packing.failed = arena_array(&packing.arena, ENVELOPE_REASONS_MAX, sizeof(*packing.failed));
    packing.dropped = arena_array(&packing.arena, ENVELOPE_REASONS_MAX, sizeof(*packing.dropped));
    packing.replaces = arena_array(&packing.arena, BACKLOG_WINDOWS, sizeof(*packing.replaces));
    all.failed = packing.failed;
    all.dropped = packing.dropped;
    all.replaces = packing.replaces;
    int error = 0;
    batch_writer_reset(writer);
    for (uint32_t i = 0; i < BACKLOG_WINDOWS && error == 0; i++)
        error = add_window(&packing, set->ids[i], i, &all);
    if (error == 0)
        error = batch_writer_finish(writer, &all, spool_layouts(spool), out);
    arena_done(&packing.arena);
    return error;
}
