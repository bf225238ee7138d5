/* Compaction against a plain array of all that was ever written: random blocks, deletions, restarts, power cuts, full
 * and failing disks; after each step what the blocks give is what the array says, to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "block_rows.h"

#include "metric/record.h"
#include "store/compact.h"

#define HOUR_MS    INT64_C(3600000)
#define NOW_MS     INT64_C(1790000000000)
#define START_MS   (INT64_C(497200) * HOUR_MS) /* a multiple of 48 h */
#define DIR        "/data"
#define SERIES     9
#define PARTITIONS 8
#define ITEMS_MAX  3 /* entries of a version: two extras and the record */

#ifdef __SANITIZE_ADDRESS__
#define SEEDS 6 /* what it can find shows in the first */
#else
#define SEEDS 40
#endif
#define STEPS 120 /* a seed */

/* One record of a window with its extras, as some block had it. */
struct version {
    uint32_t series;
    int64_t window_ms;
    struct entry entries[ITEMS_MAX]; /* the record last */
    size_t count;
    size_t block; /* which one it came in */
    bool deleted;
};

struct rig {
    struct file_system *memory, *fs;
    struct clock *clock;
    struct random random;
    struct blocks *blocks;
    struct deletions *deletions;
    struct compact *compact;
    struct version *versions;
    size_t version_count, version_capacity, block_count;
    uint64_t active[8]; /* deletions that are not done */
    size_t active_count;
    size_t without; /* versions of this block are not expected; SIZE_MAX: all are */
    uint64_t unit_bytes_max;
};

static const int64_t levels[] = {2 * HOUR_MS, 4 * HOUR_MS, 8 * HOUR_MS};

/* ---- the store's parts, up and down ---- */

static void rig_start(struct rig *rig)
{
    char reason[256] = "";
    assert_int_equal(blocks_open(rig->fs, rig->clock, DIR, &rig->blocks), 0);
    assert_int_equal(deletions_open(rig->fs, rig->clock, DIR, reason, &rig->deletions), 0);
    struct compact_options options = {.blocks = rig->blocks,
                                      .deletions = rig->deletions,
                                      .clock = rig->clock,
                                      .random = &rig->random,
                                      .level_count = ARRAY_LEN(levels),
                                      .unit_bytes_max = rig->unit_bytes_max,
                                      .retry_ms = 60000,
                                      .settle_ms = HOUR_MS};
    memcpy(options.levels_ms, levels, sizeof(levels));
    rig->compact = compact_new(&options);
}

static void rig_stop(struct rig *rig)
{
    compact_free(rig->compact);
    deletions_free(rig->deletions);
    blocks_close(rig->blocks);
}

static void rig_init(struct rig *rig, uint64_t seed)
{
    *rig = (struct rig){.without = SIZE_MAX};
    rig->memory = file_system_memory_new(0);
    rig->fs = file_system_failing_new(rig->memory);
    rig->clock = clock_simulated_new(NOW_MS);
    random_seed(&rig->random, seed);
    rig->unit_bytes_max = random_below(&rig->random, 3) ? GIB : 60 * KIB;
    rig_start(rig);
}

static void rig_done(struct rig *rig)
{
    rig_stop(rig);
    clock_free(rig->clock);
    file_system_free(rig->fs);
    file_system_free(rig->memory);
    mem_free(rig->versions);
}

static uint64_t below(struct rig *rig, uint64_t bound)
{
    return random_below(&rig->random, bound);
}

/* ---- versions ---- */

static uint32_t resolution_of(uint32_t series)
{
    static const uint32_t resolutions[] = {60000, 15000, 0};
    return resolutions[series % 3];
}

/* All content follows from what identifies it, so that equal versions are equal. */
static double value_of(uint64_t a, uint64_t b, uint64_t c)
{
    struct random random;
    random_seed(&random, a * 1000003 + b * 31 + c);
    uint64_t bits = random_next(&random);
    return bits % 4 ? (double)(bits % 1000) : double_from_bits(bits);
}

static struct version make_version(uint32_t series, int64_t window_ms, uint32_t number)
{
    struct version version = {.series = series, .window_ms = window_ms};
    uint32_t resolution_ms = resolution_of(series);
    if (resolution_ms == 0) {
        version.entries[version.count++] =
            (struct entry){.sample = {window_ms, value_of(series, (uint64_t)window_ms, 0)}, .count = 1};
        return version;
    }
    for (int64_t i = 0; i < (window_ms / resolution_ms % 4 == 0 ? 2 : 0); i++) {
        version.entries[version.count++] =
            (struct entry){.sample = {window_ms + i, value_of(series, (uint64_t)(window_ms + i), 1)},
                           .resolution_ms = resolution_ms,
                           .flags = ENTRY_EXTRA};
    }
    struct entry record = {.resolution_ms = resolution_ms, .count = number % 5};
    record.sample.time_ms = window_ms + 5000 + number % 3 * 2000;
    uint64_t key = number % 5 * 100 + number % 3;
    record.sample.value = record.count == 0 ? value_stale() : value_of(series, (uint64_t)window_ms, 7 + key);
    if (value_is_stale(record.sample.value)) {
        record.count = 0;
    }
    if (block_row_kind(series) == KIND_GAUGE && record.count > 1 && window_ms / resolution_ms % 3 > 0) {
        record.flags = ENTRY_AGGREGATES;
        record.sum = value_of(series, (uint64_t)window_ms, 1000 + key);
        record.min = value_of(series, (uint64_t)window_ms, 2000 + key);
        record.max = value_of(series, (uint64_t)window_ms, 3000 + key);
    }
    version.entries[version.count++] = record;
    return version;
}

static void add_version(struct rig *rig, const struct version *version)
{
    if (rig->version_count == rig->version_capacity) {
        rig->version_capacity = MAX(rig->version_capacity * 2, (size_t)1024);
        rig->versions = mem_resize(rig->versions, rig->version_capacity, sizeof(*version));
    }
    rig->versions[rig->version_count++] = *version;
}

/* ---- what should be there ---- */

static int compare_versions(const void *a, const void *b)
{
    const struct version *x = *(const struct version *const *)a, *y = *(const struct version *const *)b;
    if (x->series != y->series) {
        return x->series < y->series ? -1 : 1;
    }
    if (x->window_ms != y->window_ms) {
        return x->window_ms < y->window_ms ? -1 : 1;
    }
    const struct entry *p = &x->entries[x->count - 1], *q = &y->entries[y->count - 1];
    if (p->count != q->count) {
        return p->count > q->count ? -1 : 1; /* the winner first */
    }
    return p->sample.time_ms > q->sample.time_ms ? -1 : p->sample.time_ms < q->sample.time_ms;
}

static void expected_rows(const struct rig *rig, struct block_rows *rows)
{
    CLEANUP_FREE const struct version **order = mem_array(rig->version_count, sizeof(*order));
    size_t count = 0;
    for (size_t i = 0; i < rig->version_count; i++) {
        if (!rig->versions[i].deleted && rig->versions[i].block != rig->without) {
            order[count++] = &rig->versions[i];
        }
    }
    qsort(order, count, sizeof(*order), compare_versions);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && order[i - 1]->series == order[i]->series && order[i - 1]->window_ms == order[i]->window_ms) {
            continue;
        }
        for (size_t j = 0; j < order[i]->count; j++) {
            block_rows_add(rows, order[i]->series, &order[i]->entries[j]);
        }
    }
}

/* ---- what is there ---- */

static void cut(void *arg, const struct labels *labels, struct entries *entries)
{
    struct time_range ranges[DELETIONS_MAX];
    time_ranges_cut(ranges, deletion_filter_ranges(arg, labels, ranges), entries);
}

/* As a reader does. NULL: a block was damaged and set aside; once more. */
static struct block_read *try_read(struct rig *rig)
{
    struct block_read *read = mem_zalloc(sizeof(*read));
    CLEANUP(deletion_filter_unrefp) struct deletion_filter *filter = deletions_filter(rig->deletions);
    CLEANUP(blocks_list_free) struct blocks_list list;
    blocks_in_range(rig->blocks, INT64_MIN, INT64_MAX, &list);
    for (size_t i = 0; i < list.count; i++) {
        int r = block_rows_read_block(list.items[i], filter ? cut : NULL, filter, read);
        if (r < 0) {
            blocks_met_error(rig->blocks, list.items[i], r);
            block_read_free(read);
            return NULL;
        }
    }
    return read;
}

static bool same_bits(double a, double b)
{
    return double_bits(a) == double_bits(b);
}

static bool same_entry(const struct entry *a, const struct entry *b)
{
    return a->sample.time_ms == b->sample.time_ms && same_bits(a->sample.value, b->sample.value) &&
           a->count == b->count && a->resolution_ms == b->resolution_ms && a->flags == b->flags &&
           (!(a->flags & ENTRY_AGGREGATES) ||
            (same_bits(a->sum, b->sum) && same_bits(a->min, b->min) && same_bits(a->max, b->max)));
}

static bool is_as_expected(struct rig *rig)
{
    struct block_rows rows = {0};
    struct block_read *read = NULL;
    while (!read) {
        read = try_read(rig);
    }
    expected_rows(rig, &rows);
    bool same = true;
    size_t at = 0;
    for (uint32_t series = 0; same && series < SERIES; series++) {
        for (size_t i = 0; same && i < read->series[series].count; i++, at++) {
            same = at < rows.count && rows.items[at].series == series &&
                   same_entry(&rows.items[at].entry, &read->series[series].items[i]);
        }
    }
    same = same && at == rows.count;
    block_rows_done(&rows);
    block_read_free(read);
    return same;
}

static void no_warnings(struct rig *rig)
{
    CLEANUP(buf_done) struct buf warnings = BUF_INIT(MIB);
    blocks_warnings(rig->blocks, INT64_MIN, INT64_MAX, &warnings);
    if (warnings.len > 0) {
        print_error("%.*s\n", (int)warnings.len, (const char *)warnings.data);
    }
    assert_int_equal(warnings.len, 0);
}

/* ---- steps ---- */

static void fill_block(struct rig *rig, int64_t start_ms, int64_t span_ms, struct block_rows *rows)
{
    for (uint32_t series = 0; series < SERIES; series++) {
        uint32_t step_ms = resolution_of(series) ? resolution_of(series) : 5000;
        for (uint64_t i = below(rig, 2) ? below(rig, 60) : 0; i > 0; i--) {
            int64_t window_ms = start_ms + (int64_t)below(rig, (uint64_t)span_ms / step_ms) * step_ms;
            struct version version = make_version(series, window_ms, (uint32_t)below(rig, 15));
            version.block = rig->block_count;
            bool there = false; /* a window is once in a block */
            for (size_t k = 0; k < rig->version_count; k++) {
                const struct version *other = &rig->versions[k];
                there |= other->block == version.block && other->series == series && other->window_ms == window_ms;
            }
            if (there) {
                continue;
            }
            add_version(rig, &version);
            for (size_t k = 0; k < version.count; k++) {
                block_rows_add(rows, series, &version.entries[k]);
            }
        }
    }
    block_rows_sort(rows);
}

/* What active deletions cover of the newest block's versions. */
static void mark_deleted(struct rig *rig)
{
    CLEANUP(deletion_filter_unrefp) struct deletion_filter *filter = deletions_filter(rig->deletions);
    struct time_range ranges[DELETIONS_MAX];
    size_t counts[SERIES] = {0};
    for (uint32_t series = 0; filter && series < SERIES; series++) {
        CLEANUP(labels_unrefp) struct labels *labels = block_row_labels(series);
        counts[series] = deletion_filter_ranges(filter, labels, ranges);
        for (size_t i = 0; i < rig->version_count; i++) {
            struct version *version = &rig->versions[i];
            if (version->series == series && time_ranges_have(ranges, counts[series], version->window_ms)) {
                version->deleted = true;
            }
        }
    }
}

/* As the head does it: cut by what is active, and written with its number; or as it comes, with none. */
static void cut_rows(struct rig *rig, struct block_rows *rows, struct block_meta *meta)
{
    CLEANUP(deletion_filter_unrefp) struct deletion_filter *filter = deletions_filter(rig->deletions);
    if (!filter || below(rig, 2)) {
        return;
    }
    struct time_range ranges[DELETIONS_MAX];
    size_t kept = 0;
    for (size_t i = 0; i < rows->count; i++) {
        CLEANUP(labels_unrefp) struct labels *labels = block_row_labels(rows->items[i].series);
        size_t count = deletion_filter_ranges(filter, labels, ranges);
        if (!time_ranges_have(ranges, count, rows->items[i].entry.sample.time_ms)) {
            rows->items[kept++] = rows->items[i];
        }
    }
    rows->count = kept;
    meta->deletion = deletion_filter_newest(filter);
}

/* Writes a random block; 0 when it is published. Its versions are the last ones. */
static int add_block(struct rig *rig, struct ulid *ret_ulid)
{
    static const int64_t spans[] = {2 * HOUR_MS, 2 * HOUR_MS, HOUR_MS, 4 * HOUR_MS};
    struct block_rows rows = {0};
    int64_t span_ms = spans[below(rig, 4)];
    int64_t start_ms = START_MS + (int64_t)below(rig, PARTITIONS) * 2 * HOUR_MS / span_ms * span_ms;
    struct block_meta meta = {.min_time_ms = start_ms, .max_time_ms = start_ms + span_ms, .level = 1};
    clock_simulated_advance(rig->clock, 1 + (int64_t)below(rig, 600000));
    meta.ulid = ulid_new(clock_wall_ms(rig->clock), &rig->random);
    snprintf(meta.class, sizeof(meta.class), "%s", "default");
    fill_block(rig, start_ms, span_ms, &rows);
    rig->block_count++;
    mark_deleted(rig);
    cut_rows(rig, &rows, &meta);
    int r = rows.count == 0 ? 0 : block_rows_write(blocks_dirs(rig->blocks), &meta, &rows);
    if (r == 0 && rows.count > 0) {
        r = blocks_publish(rig->blocks, &meta.ulid, NULL, 0, NULL);
    }
    block_rows_done(&rows);
    if (ret_ulid) {
        *ret_ulid = meta.ulid;
    }
    return r;
}

static void forget_block(struct rig *rig)
{
    rig->block_count--;
    while (rig->version_count > 0 && rig->versions[rig->version_count - 1].block == rig->block_count) {
        rig->version_count--;
    }
}

static void request_deletion(struct rig *rig)
{
    static const char *const matches[] = {"{host=\"002\"}", "{host=~\"00[1-4]\"}", "{parity=\"0\"}", "metric",
                                          "{host=\"777\"}"};
    if (rig->active_count == ARRAY_LEN(rig->active)) {
        return;
    }
    int64_t start_ms = START_MS + (int64_t)below(rig, PARTITIONS * 120) * 60000;
    const struct deletion deletion = {.match = (char *)matches[below(rig, ARRAY_LEN(matches))],
                                      .who = "test",
                                      .why = "test",
                                      .start_ms = start_ms,
                                      .end_ms = start_ms + (int64_t)(1 + below(rig, 300)) * 60000 - 1};
    char error[256];
    assert_int_equal(deletions_request(rig->deletions, &deletion, error, &rig->active[rig->active_count++]), 0);
    mark_deleted(rig);
}

/* As the owner does it: what no block has to be written anew for is done. */
static void finish_deletions(struct rig *rig)
{
    uint64_t oldest = compact_oldest_deletion(rig->compact);
    size_t kept = 0;
    for (size_t i = 0; i < rig->active_count; i++) {
        if (oldest == 0 || rig->active[i] < oldest) {
            assert_int_equal(deletions_done(rig->deletions, rig->active[i]), 0);
        } else {
            rig->active[kept++] = rig->active[i];
        }
    }
    rig->active_count = kept;
}

static void compact_once(struct rig *rig)
{
    int64_t head_ms = below(rig, 3) ? INT64_MAX : START_MS + (int64_t)below(rig, PARTITIONS + 1) * 2 * HOUR_MS;
    assert_true(compact_step(rig->compact, head_ms) >= 0);
}

/* All operations on the disk fail from the nth on; then the power goes. */
static void power_cut(struct rig *rig)
{
    file_system_failing_at(rig->fs, 1 + below(rig, 60), -EIO, false);
    int r = 0;
    bool adds = below(rig, 3) == 0;
    if (adds) {
        r = add_block(rig, NULL);
    } else {
        compact_once(rig);
    }
    file_system_failing_at(rig->fs, 1, -EIO, false);
    rig_stop(rig);
    file_system_memory_crash(rig->memory, &rig->random);
    file_system_failing_at(rig->fs, 0, -EIO, false);
    rig_start(rig);
    if (r < 0 && !is_as_expected(rig)) {
        forget_block(rig); /* not promised: it may be there, all of it, or not at all */
    }
}

static void full_disk(struct rig *rig)
{
    file_system_failing_at(rig->fs, 1 + below(rig, 80), below(rig, 2) ? -ENOSPC : -EIO, below(rig, 2));
    if (below(rig, 4) == 0) {
        if (add_block(rig, NULL) < 0) {
            forget_block(rig);
        }
    } else {
        compact_once(rig);
    }
    assert_true(is_as_expected(rig)); /* also while nothing can be written */
    file_system_failing_at(rig->fs, 0, -EIO, false);
    blocks_sweep(rig->blocks);
}

static void one_step(struct rig *rig)
{
    switch (below(rig, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        assert_int_equal(add_block(rig, NULL), 0);
        break;
    case 4:
        rig_stop(rig);
        rig_start(rig);
        break;
    case 5:
        request_deletion(rig);
        break;
    case 6:
        finish_deletions(rig);
        break;
    case 7:
    case 8:
        power_cut(rig);
        break;
    case 9:
    case 10:
        full_disk(rig);
        break;
    case 11:
        clock_simulated_advance(rig->clock, HOUR_MS);
        break;
    default:
        compact_once(rig);
    }
}

static void run_to_end(struct rig *rig)
{
    clock_simulated_advance(rig->clock, 2 * HOUR_MS);
    int steps = 0, r;
    while ((r = compact_step(rig->compact, INT64_MAX)) > 0) {
        assert_true(++steps < 1000);
    }
    assert_int_equal(r, 0);
}

static void check_end(struct rig *rig)
{
    run_to_end(rig);
    assert_true(is_as_expected(rig));
    finish_deletions(rig);
    assert_int_equal(rig->active_count, 0);
    assert_true(is_as_expected(rig)); /* without any filter: what was deleted is gone */
    no_warnings(rig);
    struct compact_stats stats;
    compact_stats(rig->compact, &stats);
    assert_int_equal(stats.failing, 0);
    CLEANUP(blocks_list_free) struct blocks_list list;
    blocks_in_range(rig->blocks, INT64_MIN, INT64_MAX, &list);
    for (size_t i = 1; rig->unit_bytes_max == GIB && i < list.count; i++) {
        assert_true(block_meta_of(list.items[i])->min_time_ms >= block_meta_of(list.items[i - 1])->max_time_ms);
    }
    for (size_t i = 0; i < list.count; i++) {
        char reason[BLOCK_REASON_BYTES];
        assert_int_equal(block_verify(list.items[i], NULL, NULL, reason), 0);
    }
}

static void test_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rig rig;
        rig_init(&rig, seed);
        for (int step = 0; step < STEPS; step++) {
            one_step(&rig);
            if (!is_as_expected(&rig)) {
                print_error("seed %llu, step %d\n", (unsigned long long)seed, step);
                fail();
            }
            no_warnings(&rig);
        }
        check_end(&rig);
        rig_done(&rig);
    }
}

/* ---- damage ---- */

/* A byte of some file of some block is flipped: the rest is served, and where data is missing a warning names it. */
static void damage_one(uint64_t seed)
{
    struct rig rig;
    rig_init(&rig, seed);
    struct ulid ulids[6];
    for (size_t i = 0; i < ARRAY_LEN(ulids); i++) {
        assert_int_equal(add_block(&rig, &ulids[i]), 0);
    }
    static const char *const files[] = {"chunks/000001", "chunks/000001", "index", "windows", "meta.json"};
    size_t chosen = below(&rig, ARRAY_LEN(ulids));
    char path[160];
    snprintf(path, sizeof(path), DIR "/blocks/%s/%s", ulids[chosen].text, files[below(&rig, ARRAY_LEN(files))]);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(16 * MIB);
    assert_int_equal(file_read_whole(rig.memory, path, &bytes), 0);
    bytes.data[below(&rig, bytes.len)] ^= (uint8_t)(1 << below(&rig, 8));
    rig_stop(&rig); /* open files would be the old ones */
    assert_int_equal(file_write_whole(rig.memory, path, bytes.data, bytes.len), 0);
    rig_start(&rig);
    run_to_end(&rig);
    clock_simulated_advance(rig.clock, 24 * HOUR_MS);
    while (blocks_scrub_step(rig.blocks, NULL, NULL) > 0) {
    }
    struct blocks_stats stats;
    blocks_stats(rig.blocks, &stats);
    if (stats.damaged > 0) {
        assert_int_equal(stats.damaged, 1);
        CLEANUP(buf_done) struct buf warnings = BUF_INIT(MIB);
        blocks_warnings(rig.blocks, INT64_MIN, INT64_MAX, &warnings);
        buf_append_byte(&warnings, 0);
        assert_non_null(strstr((const char *)warnings.data, ulids[chosen].text));
        rig.without = chosen;
    }
    assert_true(is_as_expected(&rig));
    rig_done(&rig);
}

static void test_damage(void **state)
{
    (void)state;
    for (uint64_t seed = 1000; seed < 1000 + 5 * SEEDS; seed++) {
        damage_one(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
