#include "upkeep.h"

#include "base/fail.h"
#include "parts.h"

#include <errno.h>

/* Series without samples are dropped and rows swept less often than marks are refreshed. */
#define PRUNE_EVERY_UPKEEPS 60
/* Of the head: a start replays what came since, so many records (some 4 s) or so long. */
#define SNAPSHOT_EVERY_MS      (10 * 60 * INT64_C(1000))
#define SNAPSHOT_EVERY_RECORDS UINT64_C(20000000)
#define SNAPSHOT_PAUSE_MS      (60 * INT64_C(1000))

static void save_coverage(struct global *global)
{
    int result = keeper_write(&global->keeper);
    if (result < 0)
        log_warn("%s: not written, the log is kept longer for it: %s", global->keeper.path, strerror(-result));
}

/* In the background thread. */
static void work(void *arg)
{
    struct global *global = arg;
    if (global->work_snapshot) {
        int result = store_snapshot(global->store, buf_view(&global->rows));
        if (result < 0 && result != -ECANCELED)
            log_warn("no snapshot of the head, the next start replays more of the log: %s", strerror(-result));
        save_coverage(global);
    }
    global->work_more = store_work(global->store);
}

/* A snapshot is due: what belongs to it is taken here, on the loop. */
static bool begin_snapshot(struct global *global)
{
    if (!store_snapshot_begin(global->store))
        return false;
    struct ingest_stats stats;
    ingest_stats(global->ingest, &stats);
    global->snapshot_records = stats.records_total;
    buf_reset(&global->rows);
    ingest_save(global->ingest, &global->rows);
    keeper_begin(&global->keeper);
    return true;
}

static void settle(struct global *global)
{
    store_upkeep(global->store, coverage_solid_ms(global->coverage));
    if (!global->working)
        spool_drop_before(global->log, MIN(store_log_needed(global->store), keeper_saved(&global->keeper) + 1));
}

static bool is_snapshot_due(const struct global *global)
{
    int64_t age_ms = global_now_ms(global) - global->snapshot_ms;
    struct ingest_stats stats;
    ingest_stats(global->ingest, &stats);
    bool many = stats.records_total - global->snapshot_records >= SNAPSHOT_EVERY_RECORDS;
    return age_ms < 0 || age_ms >= (many ? SNAPSHOT_PAUSE_MS : SNAPSHOT_EVERY_MS);
}

static void start_work(struct global *global);

/* Back on the loop: what was cut leaves the head, and the log what is in blocks. */
static void work_done(void *arg)
{
    struct global *global = arg;
    global->working = false;
    if (global->work_snapshot) {
        global->work_snapshot = false;
        buf_done(&global->rows);
        buf_init(&global->rows, SIZE_MAX);
    }
    settle(global);
    if (global->work_more)
        start_work(global);
}

static void start_work(struct global *global)
{
    if (global->working)
        return;
    if (is_snapshot_due(global)) {
        global->snapshot_ms = global_now_ms(global);
        global->work_snapshot = begin_snapshot(global);
    }
    global->working = executor_submit(global->background, global->seams.loop, work, work_done, global) == 0;
}

/* Of what is stored or may still be. */
static int64_t oldest_ms(const struct global *global)
{
    struct store_stats head;
    struct blocks_stats blocks;
    store_stats(global->store, &head);
    blocks_stats(store_blocks(global->store), &blocks);
    int64_t accepted_ms = global_now_ms(global) - global->config->head.age_max_ms;
    return MIN(MIN(head.min_time_ms, blocks.min_time_ms), accepted_ms);
}

void upkeep_run(void *arg)
{
    struct global *global = arg;
    settle(global);
    start_work(global);
    if (++global->upkeeps % PRUNE_EVERY_UPKEEPS != 0)
        return;
    ingest_sweep(global->ingest, global_now_ms(global));
    store_prune(global->store);
    coverage_forget(global->coverage, oldest_ms(global));
}

void upkeep_end(struct global *global)
{
    if (!begin_snapshot(global))
        return;
    int result = store_snapshot(global->store, buf_view(&global->rows));
    if (result < 0)
        log_warn("no snapshot of the head, the next start replays more of the log: %s", strerror(-result));
    save_coverage(global);
}
