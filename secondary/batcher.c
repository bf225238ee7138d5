#include "batcher.h"

#include "aggregator.h"
#include "backlog.h"
#include "base/fail.h"
#include "base/log.h"
#include "upstream.h"

#include <errno.h>
#include <string.h>

#define PART_COUNTERS   64    /* windows whose parts are counted; with more open at once numbers may repeat */
#define PACKING_SHARE   4     /* of the spool's bound, up to which a backlog is put together */
#define DROPPED_MAX     4     /* reasons of an envelope */
#define LOG_INTERVAL_MS 60000 /* one line a minute while the disk is full */

struct part_counter { /* windows of two resolutions that begin together count together: a part's number is theirs */
    int64_t window_start_ms;
    uint32_t next;
};

struct unsynced { /* a batch in the spool, and not on disk for sure */
    uint64_t id;
    uint64_t records;
    struct backlog_set set; /* what it replaces, to be given up when it is on disk; zeros: nothing */
};

struct batcher {
    struct seams seams;
    struct spool *spool;
    struct batcher_options options;
    char *datacenter, *secondary;
    struct backlog *backlog;
    struct aggregator *aggregator;
    int64_t *closed_through_ms; /* of each worker; INT64_MIN: it has said nothing yet */
    struct part_counter parts[PART_COUNTERS];
    uint64_t seq;          /* of the last batch of this epoch */
    uint64_t lost_records; /* since the last batch that was written */
    struct buf bytes;
    struct log_limit log_limit;
    bool syncing, sync_again;
    struct unsynced *unsynced; /* in order; at most what comes while one sync runs, twice */
    size_t unsynced_count, unsynced_capacity;
    size_t covered;  /* of these: by the sync under way */
    loop_fn *synced; /* of batcher_sync */
    void *synced_arg;
    struct batcher_stats stats;
};

struct batcher *batcher_new(const struct seams *seams, struct spool *spool, const struct batcher_options *options)
{
    ASSERT(options->workers > 0);
    struct batcher *batcher = mem_zalloc(sizeof(*batcher));
    batcher->seams = *seams;
    batcher->spool = spool;
    batcher->options = *options;
    batcher->datacenter = mem_strdup(options->datacenter);
    batcher->secondary = mem_strdup(options->secondary);
    batcher->backlog = backlog_new(spool, UPSTREAM_CONSUMER);
    batcher->aggregator = aggregator_new(options->secondary);
    batcher->closed_through_ms = mem_array(options->workers, sizeof(int64_t));
    for (unsigned i = 0; i < options->workers; i++)
        batcher->closed_through_ms[i] = INT64_MIN;
    for (size_t i = 0; i < PART_COUNTERS; i++)
        batcher->parts[i].window_start_ms = INT64_MIN;
    buf_init(&batcher->bytes, BATCH_BYTES_MAX + ENVELOPE_BYTES_MAX);
    log_limit_init(&batcher->log_limit);
    return batcher;
}

void batcher_free(struct batcher *batcher)
{
    if (!batcher)
        return;
    ASSERT(!batcher->syncing);
    backlog_free(batcher->backlog);
    aggregator_free(batcher->aggregator);
    log_limit_done(&batcher->log_limit);
    buf_done(&batcher->bytes);
    mem_free(batcher->closed_through_ms);
    mem_free(batcher->unsynced);
    mem_free(batcher->datacenter);
    mem_free(batcher->secondary);
    mem_free(batcher);
}

/* ---- On disk: one sync for all that came meanwhile ---- */

static void start_sync(struct batcher *batcher);

/* After a sync that failed the spool has forgotten what was not on disk: which of ours, a look tells. */
static void lose_unsynced(struct batcher *batcher, int error)
{
    size_t kept = 0, lost = 0;
    for (size_t i = 0; i < batcher->unsynced_count; i++) {
        struct spool_batch batch;
        buf_reset(&batcher->bytes);
        if (spool_read(batcher->spool, batcher->unsynced[i].id, &batch, &batcher->bytes) == 0) {
            batcher->unsynced[kept++] = batcher->unsynced[i];
        } else if (batcher->unsynced[i].set.ids[0] == 0) { /* what it was to replace is there still */
            batcher->lost_records += batcher->unsynced[i].records;
            lost++;
        }
    }
    batcher->unsynced_count = kept;
    batcher->covered = 0;
    batcher->sync_again = batcher->sync_again || kept > 0;
    batcher->stats.sync_errors_total++;
    batcher->stats.lost_total += lost;
    batcher->stats.last_error = strerrordesc_np(-error);
    if (log_limit_allow(&batcher->log_limit, 2, clock_mono_ms(loop_clock(batcher->seams.loop)), LOG_INTERVAL_MS))
        log_error("spool: %zu batches could not be brought to disk and are lost: %s", lost, strerrordesc_np(-error));
}

static void give_up_replaced(struct batcher *batcher)
{
    for (size_t i = 0; i < batcher->covered; i++)
        for (size_t j = 0; j < BACKLOG_WINDOWS && batcher->unsynced[i].set.ids[j] != 0; j++)
            spool_give_up(batcher->spool, batcher->unsynced[i].set.ids[j]);
}

static void on_synced(void *arg, int error)
{
    struct batcher *batcher = arg;
    batcher->syncing = false;
    if (error == -ECANCELED)
        return; /* the spool is being closed */
    if (error < 0)
        lose_unsynced(batcher, error);
    give_up_replaced(batcher);
    batcher->unsynced_count -= batcher->covered;
    for (size_t i = 0; i < batcher->unsynced_count; i++)
        batcher->unsynced[i] = batcher->unsynced[i + batcher->covered];
    if (batcher->sync_again) {
        start_sync(batcher);
        return;
    }
    loop_fn *synced = STEAL(batcher->synced);
    if (synced)
        synced(batcher->synced_arg);
}

static void start_sync(struct batcher *batcher)
{
    batcher->sync_again = batcher->syncing;
    if (batcher->syncing)
        return;
    batcher->syncing = true;
    batcher->covered = batcher->unsynced_count;
    spool_sync(batcher->spool, on_synced, batcher);
}

void batcher_sync(struct batcher *batcher, loop_fn *fn, void *arg)
{
    ASSERT(!batcher->synced);
    batcher->synced = fn;
    batcher->synced_arg = arg;
    start_sync(batcher);
}

/* ---- One part ---- */

/* The part's number in its window: the oldest window counted makes room for a new one. */
static uint32_t *part_number(struct batcher *batcher, int64_t window_start_ms)
{
    struct part_counter *oldest = &batcher->parts[0];
    for (size_t i = 0; i < PART_COUNTERS; i++) {
        if (batcher->parts[i].window_start_ms == window_start_ms)
            return &batcher->parts[i].next;
        if (batcher->parts[i].window_start_ms < oldest->window_start_ms)
            oldest = &batcher->parts[i];
    }
    *oldest = (struct part_counter){.window_start_ms = window_start_ms};
    return &oldest->next;
}

static int64_t closed_through(struct batcher *batcher)
{
    int64_t smallest_ms = INT64_MAX;
    for (unsigned i = 0; i < batcher->options.workers; i++)
        smallest_ms = MIN(smallest_ms, batcher->closed_through_ms[i]);
    return MAX(smallest_ms, 0);
}

static uint32_t list_reasons(const struct pipeline_sealed *sealed, struct reason_count *reasons)
{
    uint32_t count = 0;
    for (int i = 0; i < SCRAPE_FAILURE_COUNT; i++)
        if (sealed->failed[i] > 0 && i != SCRAPE_OK)
            reasons[count++] = (struct reason_count){str_from(scrape_failure_name(i)), sealed->failed[i]};
    return count;
}

static uint32_t list_dropped(const struct batcher *batcher, const struct pipeline_sealed *sealed,
                             struct reason_count *reasons)
{
    uint32_t count = 0;
    if (sealed->samples_dropped_total > 0)
        reasons[count++] = (struct reason_count){STR("samples"), sealed->samples_dropped_total};
    if (sealed->series_folded > 0) /* nothing is lost by it: they are here as aggregates */
        reasons[count++] = (struct reason_count){STR("folded"), sealed->series_folded};
    if (sealed->series_refused > 0)
        reasons[count++] = (struct reason_count){STR("aggregate_groups"), sealed->series_refused};
    if (batcher->lost_records > 0)
        reasons[count++] = (struct reason_count){STR("spool"), batcher->lost_records};
    return count;
}

static void note_unsynced(struct batcher *batcher, const struct unsynced *unsynced)
{
    if (batcher->unsynced_count == batcher->unsynced_capacity) {
        batcher->unsynced_capacity = MAX(2 * batcher->unsynced_capacity, (size_t)64);
        batcher->unsynced = mem_resize(batcher->unsynced, batcher->unsynced_capacity, sizeof(*batcher->unsynced));
    }
    batcher->unsynced[batcher->unsynced_count++] = *unsynced;
}

static void count_batch(struct batcher *batcher, const struct batch_writer *writer)
{
    batcher->stats.batches_total++;
    batcher->stats.entries_total += batch_writer_entries(writer);
    batcher->stats.records_total += batch_writer_records(writer);
    batcher->stats.empty_total += batch_writer_entries(writer) == 0;
    batcher->stats.bytes_total += batcher->bytes.len;
    batcher->stats.last_error = NULL;
}

static void lose_batch(struct batcher *batcher, const struct pipeline_sealed *sealed, int error)
{
    batcher->stats.lost_total++;
    batcher->lost_records += batch_writer_records(sealed->writer);
    batcher->stats.last_error = strerrordesc_np(-error);
    if (log_limit_allow(&batcher->log_limit, 1, clock_mono_ms(loop_clock(batcher->seams.loop)), LOG_INTERVAL_MS))
        log_error("spool: a batch of %zu records is lost: %s", batch_writer_records(sealed->writer),
                  strerrordesc_np(-error));
}

/* What waits is put together. Where that fails it stays as it is: nothing is lost by it. */
static void append_packed(struct batcher *batcher, const struct backlog_set *set, const struct envelope *like)
{
    CLEANUP(batch_writer_freep) struct batch_writer *writer = batch_writer_new();
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(BATCH_BYTES_MAX + ENVELOPE_BYTES_MAX);
    CLEANUP(arena_done) struct arena arena;
    struct envelope envelope = {.source = like->source,
                                .epoch = like->epoch,
                                .seq = batcher->seq + 1,
                                .sealed_at_ms = like->sealed_at_ms,
                                .closed_through_ms = like->closed_through_ms};
    struct unsynced unsynced = {.set = *set};
    struct str body;
    arena_init(&arena, 4 * ENVELOPE_BYTES_MAX);
    int r = backlog_pack(batcher->spool, set, writer, &envelope, &bytes);
    if (r == 0) {
        r = envelope_decode(bytes.data, bytes.len, &arena, &envelope, &body);
        if (r == 0)
            r = spool_append(batcher->spool, &envelope, buf_view(&bytes), &unsynced.id);
        batch_writer_release(writer, spool_layouts(batcher->spool));
    }
    if (r < 0) {
        log_debug("backlog: %d windows stay as they are: %d", BACKLOG_WINDOWS, r);
        return;
    }
    batcher->seq++;
    batcher->stats.packed_total += BACKLOG_WINDOWS;
    batcher->stats.bytes_total += bytes.len;
    note_unsynced(batcher, &unsynced);
}

/* Files go as a whole: what was put together and what it was made of stand in them side by side. So it is for the
 * link's sake, while it does not shorten what the bound is worth by much. */
static bool may_pack(const struct batcher *batcher)
{
    struct spool_stats stats;
    spool_stats(batcher->spool, &stats);
    uint64_t bytes_max = spool_bytes_max(batcher->spool);
    return bytes_max == 0 || stats.bytes < bytes_max / PACKING_SHARE;
}

static void append(struct batcher *batcher, const struct pipeline_sealed *sealed, int64_t closed_through_ms)
{
    struct reason_count failed[SCRAPE_FAILURE_COUNT], dropped[DROPPED_MAX];
    uint32_t *part = part_number(batcher, sealed->window_start_ms);
    struct layout_table *layouts = spool_layouts(batcher->spool);
    struct envelope envelope = {
        .source = {.datacenter = str_from(batcher->datacenter),
                   .secondary = str_from(batcher->secondary),
                   .incarnation = spool_incarnation(batcher->spool)},
        .epoch = spool_epoch(batcher->spool),
        .seq = batcher->seq + 1,
        .window_start_ms = sealed->window_start_ms,
        .resolution_ms = sealed->resolution_ms,
        .span_ms = sealed->span_ms,
        .part = MIN(*part, ENVELOPE_PART_MAX),
        .sealed_at_ms = clock_wall_ms(loop_clock(batcher->seams.loop)),
        .closed_through_ms = closed_through_ms,
        .targets_expected = sealed->targets_expected,
        .targets_answered = sealed->targets_answered,
        .failed = failed,
        .failed_count = list_reasons(sealed, failed),
        .dropped = dropped,
        .dropped_count = list_dropped(batcher, sealed, dropped),
    };
    uint64_t id = 0;
    buf_reset(&batcher->bytes);
    int r = batch_writer_finish(sealed->writer, &envelope, layouts, &batcher->bytes);
    if (r == 0) {
        r = spool_append(batcher->spool, &envelope, buf_view(&batcher->bytes), &id);
        batch_writer_release(sealed->writer, layouts);
    }
    if (r < 0) {
        lose_batch(batcher, sealed, r);
        return;
    }
    batcher->seq++;
    ++*part;
    batcher->lost_records = 0;
    count_batch(batcher, sealed->writer);
    note_unsynced(batcher, &(struct unsynced){.id = id, .records = batch_writer_records(sealed->writer)});
    struct backlog_set set;
    if (backlog_note(batcher->backlog, &envelope, id, &set) && may_pack(batcher))
        append_packed(batcher, &set, &envelope);
    start_sync(batcher);
}

static void append_aggregates(struct batcher *batcher, int64_t through_ms, int64_t closed_through_ms)
{
    struct pipeline_sealed sealed;
    while (aggregator_next(batcher->aggregator, through_ms, &sealed)) {
        append(batcher, &sealed, closed_through_ms);
        pipeline_sealed_done(&sealed);
    }
}

void batcher_seal_aggregates(struct batcher *batcher)
{
    append_aggregates(batcher, INT64_MAX, closed_through(batcher));
}

void batcher_take(struct batcher *batcher, unsigned worker, struct pipeline_sealed *sealed, int64_t closed_through_ms)
{
    ASSERT(worker < batcher->options.workers);
    int64_t before_ms = closed_through(batcher);
    batcher->closed_through_ms[worker] = MAX(batcher->closed_through_ms[worker], closed_through_ms);
    int64_t after_ms = closed_through(batcher);
    if (sealed->aggregate)
        aggregator_take(batcher->aggregator, sealed->window_start_ms, sealed->resolution_ms, sealed->aggregate);
    /* Only when they are in the spool may a batch say that their windows are closed. */
    if (after_ms > before_ms)
        append_aggregates(batcher, after_ms, before_ms);
    if (sealed->writer)
        append(batcher, sealed, after_ms);
    pipeline_sealed_done(sealed);
}

void batcher_stats(const struct batcher *batcher, struct batcher_stats *ret_stats)
{
    *ret_stats = batcher->stats;
    ret_stats->closed_through_ms = closed_through((struct batcher *)batcher);
    struct aggregator_stats aggregates;
    aggregator_stats(batcher->aggregator, &aggregates);
    ret_stats->aggregate_groups = aggregates.groups;
    ret_stats->series_folded = aggregates.folded;
    ret_stats->series_refused_total = aggregates.refused_total;
    ret_stats->aggregate_totals = aggregates.totals;
    ret_stats->aggregate_totals_evicted_total = aggregates.totals_evicted_total;
}
