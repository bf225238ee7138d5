/* Blocks written and read back: all kinds of values and windows, equal to the bit; what the files look like; crashes.
 *
 *   test_block --write DIR       writes a block into DIR/blocks and DIR/aggregates and prints its name
 *   test_block --golden DIR      the same, the small one of tests/data/blocks (its text is what --read prints)
 *   test_block --read DIR ULID   prints every sample of a block of DIR */
#include "block_world.h"

#include "base/crc.h"
#include "store/be.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define GOLDEN_SEED    4712
#define GOLDEN_SERIES  8
#define GOLDEN_SAMPLES 100

static struct block_dirs dirs_of(struct file_system *fs)
{
    return (struct block_dirs){.fs = fs, .blocks = "data/blocks", .aggregates = "data/aggregates"};
}

static struct block *open_good(const struct block_dirs *dirs, const struct ulid *ulid)
{
    char reason[BLOCK_REASON_BYTES] = "";
    struct block *block = NULL;
    int error = block_open(dirs, ulid, reason, &block);
    if (error) {
        fail_msg("block_open: %d, %s", error, reason);
    }
    return block;
}

static void verify_good(struct block *block)
{
    char reason[BLOCK_REASON_BYTES] = "";
    if (block_verify(block, NULL, NULL, reason) != 0) {
        fail_msg("block_verify: %s", reason);
    }
}

static void round_trip(uint64_t seed, size_t series, size_t samples, uint32_t chunk_samples)
{
    struct file_system *fs = file_system_memory_new(0);
    struct block_dirs dirs = dirs_of(fs);
    struct world world;
    world_init(&world, seed, series, samples);
    assert_int_equal(world_write(&world, &dirs, chunk_samples), 0);
    struct block *block = open_good(&dirs, &world.ulid);
    assert_int_equal(world_compare(&world, block, true), 1);
    assert_int_equal(world_compare(&world, block, false), 1);
    verify_good(block);
    assert_true(block_memory_bytes(block) > 0 && block_memory_bytes(block) < 16 * block_disk_bytes(block) + 4096);
    const struct block_meta *meta = block_meta_of(block);
    assert_true(meta->ours);
    assert_string_equal(meta->class, "fast");
    assert_int_equal(meta->series_count, world.count);
    assert_int_equal(meta->missing_count, 1);
    assert_int_equal(meta->deletion, 7);
    block_unref(block);
    world_done(&world);
    file_system_free(fs);
}

static void random_series_come_back(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        round_trip(seed, 1 + seed * 7, 300, seed % 3 == 0 ? 7 : 120);
    }
    round_trip(100, 1, 1, 120);
    round_trip(101, 1000, 5, 1);
    round_trip(102, 3, 2000, 65535);
}

struct reading {
    const struct world *world;
    struct block *block;
    int result;
};

static void *read_in_a_thread(void *arg)
{
    struct reading *reading = arg;
    reading->result = 1;
    for (int i = 0; i < 3 && reading->result == 1; i++) {
        reading->result = world_compare(reading->world, reading->block, true);
    }
    block_unref(reading->block);
    return NULL;
}

static void threads_read_one_block(void **state)
{
    (void)state;
    struct file_system *fs = file_system_memory_new(0);
    struct block_dirs dirs = dirs_of(fs);
    struct world world;
    struct reading readings[4];
    pthread_t threads[4];
    world_init(&world, 51, 60, 200);
    assert_int_equal(world_write(&world, &dirs, 60), 0);
    struct block *block = open_good(&dirs, &world.ulid);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        readings[i] = (struct reading){&world, block_ref(block), 0};
        assert_int_equal(pthread_create(&threads[i], NULL, read_in_a_thread, &readings[i]), 0);
    }
    block_unref(block);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(readings[i].result, 1);
    }
    world_done(&world);
    file_system_free(fs);
}

/* Some chunks of a series, asked for alone, and with what lay in the list before. */
static void parts_of_series_are_read_alone(void **state)
{
    (void)state;
    struct file_system *fs = file_system_memory_new(0);
    struct block_dirs dirs = dirs_of(fs);
    struct world world;
    world_init(&world, 61, 20, 300);
    assert_int_equal(world_write(&world, &dirs, 13), 0);
    struct block *block = open_good(&dirs, &world.ulid);
    struct block_cursor *cursor = block_cursor_new(block);
    CLEANUP(bitmap_freep) roaring_bitmap_t *ids = NULL;
    struct postings_query query = {0};
    struct random random;
    struct entries entries = {0};
    uint32_t id_of[20];
    random_seed(&random, 1);
    assert_int_equal(block_select(block, &query, &ids), 0);
    roaring_bitmap_to_uint32_array(ids, id_of);
    for (int i = 0; i < 500; i++) {
        size_t which = random_below(&random, world.count), at = 0, before = entries.count;
        const struct world_series *expected = &world.series[which];
        struct block_series series;
        assert_int_equal(block_cursor_series(cursor, id_of[which], &series), 0);
        size_t first = random_below(&random, series.chunk_count + 1);
        size_t count = random_below(&random, series.chunk_count - first + 1);
        bool with_aggregates = random_below(&random, 2);
        assert_int_equal(block_cursor_entries(cursor, &series, first, count, with_aggregates, &entries), 0);
        while (count > 0 && expected->entries.items[at].sample.time_ms < series.chunks[first].min_time_ms) {
            at++;
        }
        for (size_t k = before; k < entries.count; k++) {
            assert_true(world_same_entry(&expected->entries.items[at++], &entries.items[k], with_aggregates));
        }
        bool to_the_end = first + count == series.chunk_count && count > 0;
        assert_true(!to_the_end || at == expected->entries.count);
        assert_true(count > 0 || entries.count == before);
    }
    entries_done(&entries);
    block_cursor_free(cursor);
    block_unref(block);
    world_done(&world);
    file_system_free(fs);
}

/* ---- What is refused ---- */

static size_t names_in(struct file_system *fs, const char *dir)
{
    char **names;
    size_t count;
    int error = file_list(fs, dir, &names, &count);
    assert_true(error == 0 || error == -ENOENT);
    if (error) {
        return 0;
    }
    file_names_free(names, count);
    return count;
}

static struct block_writer *new_writer(const struct block_dirs *dirs, const struct str *symbols, size_t count)
{
    static const struct block_meta meta = {
        .ulid = {"01HF84E400HWAKCN2VJG5S3ATZ"}, .min_time_ms = 1000, .max_time_ms = 2000, .level = 1, .class = "c"};
    struct block_writer_options options = {.dirs = *dirs,
                                           .meta = &meta,
                                           .symbols = symbols,
                                           .symbol_count = count,
                                           .chunk_samples = 120,
                                           .check_meaning = true};
    struct block_writer *writer = NULL;
    assert_int_equal(block_writer_new(&options, &writer), 0);
    return writer;
}

static struct labels *one_label(const char *name, const char *value)
{
    struct label label = {str_from(name), str_from(value)};
    return labels_new(&label, 1);
}

static void what_is_no_block_is_refused_and_leaves_nothing(void **state)
{
    (void)state;
    struct file_system *fs = file_system_memory_new(0);
    struct block_dirs dirs = dirs_of(fs);
    const struct str symbols[] = {STR("a"), STR("b"), STR("c")};
    struct labels *first = one_label("a", "b"), *second = one_label("a", "c"), *other = one_label("a", "x");
    const struct entry entries[] = {
        {.sample = {1000, 1}, .count = 1}, {.sample = {1999, 2}, .count = 1},
        {.sample = {1999, 2}, .count = 1}, {.sample = {2000, 2}, .count = 1},
        {.sample = {999, 2}, .count = 1},  {.sample = {1500, 2}, .flags = ENTRY_EXTRA | ENTRY_AGGREGATES}};
    const struct {
        struct labels *before, *labels;
        size_t at, count;
    } cases[] = {
        {NULL, first, 0, 0}, {NULL, first, 1, 2}, {NULL, first, 2, 2},  {NULL, first, 4, 1},
        {NULL, first, 5, 1}, {NULL, other, 0, 2}, {first, first, 0, 2}, {second, first, 0, 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct block_writer *writer = new_writer(&dirs, symbols, 3);
        if (cases[i].before) {
            assert_int_equal(block_writer_add(writer, cases[i].before, KIND_GAUGE, entries, 2), 0);
        }
        assert_int_equal(block_writer_add(writer, cases[i].labels, KIND_GAUGE, entries + cases[i].at, cases[i].count),
                         -EINVAL);
        assert_int_equal(block_writer_add(writer, second, KIND_GAUGE, entries, 2), -EINVAL); /* sticky */
        assert_int_equal(block_writer_finish(writer), -EINVAL);
        block_writer_free(writer);
        assert_int_equal(names_in(fs, dirs.blocks) + names_in(fs, dirs.aggregates), 0);
    }
    struct block_writer *writer = new_writer(&dirs, symbols, 3);
    assert_int_equal(block_writer_finish(writer), -ENODATA);
    block_writer_free(writer);
    block_writer_free(new_writer(&dirs, symbols, 3)); /* given up */
    assert_int_equal(names_in(fs, dirs.blocks), 0);
    const struct str unsorted[] = {STR("b"), STR("a")};
    struct block_meta meta = {.ulid = {"01HF84E400HWAKCN2VJG5S3ATZ"}};
    struct block_writer_options options = {.dirs = dirs,
                                           .meta = &meta,
                                           .symbols = unsorted,
                                           .symbol_count = 2,
                                           .chunk_samples = 120,
                                           .check_meaning = true};
    assert_int_equal(block_writer_new(&options, &writer), -EINVAL);
    assert_int_equal(names_in(fs, dirs.blocks), 0);
    labels_unref(first);
    labels_unref(second);
    labels_unref(other);
    file_system_free(fs);
}

static bool give_up(void *arg)
{
    return --*(int *)arg == 0;
}

static void a_check_can_be_given_up(void **state)
{
    (void)state;
    struct file_system *fs = file_system_memory_new(0);
    struct block_dirs dirs = dirs_of(fs);
    struct world world;
    char reason[BLOCK_REASON_BYTES] = "";
    world_init(&world, 71, 300, 300);
    assert_int_equal(world_write(&world, &dirs, 120), 0);
    struct block *block = open_good(&dirs, &world.ulid);
    int asked = 0;
    assert_int_equal(block_verify(block, give_up, &asked, reason), 0);
    assert_true(asked < -5);
    for (int left = 1; left <= -asked; left++) {
        int countdown = left;
        assert_int_equal(block_verify(block, give_up, &countdown, reason), -ECANCELED);
    }
    block_unref(block);
    world_done(&world);
    file_system_free(fs);
}

/* ---- Crashes ---- */

/* After a crash and the next start: no block, or all of it. Returns whether it is there. */
static bool check_after_crash(const struct block_dirs *dirs, const struct world *world)
{
    assert_int_equal(block_remove_leftovers(dirs), 0);
    size_t blocks = names_in(dirs->fs, dirs->blocks), aggregates = names_in(dirs->fs, dirs->aggregates);
    if (blocks == 0) {
        assert_int_equal(aggregates, 0);
        return false;
    }
    assert_int_equal(blocks, 1);
    assert_int_equal(aggregates, 1);
    struct block *block = open_good(dirs, &world->ulid);
    assert_int_equal(world_compare(world, block, true), 1);
    verify_good(block);
    block_unref(block);
    return true;
}

typedef int work_fn(const struct world *world, const struct block_dirs *dirs);

static int write_work(const struct world *world, const struct block_dirs *dirs)
{
    return world_write(world, dirs, 20);
}

static int delete_work(const struct world *world, const struct block_dirs *dirs)
{
    return block_delete(dirs, &world->ulid);
}

/* The nth operation fails, and all after it; then the power goes. Returns how many operations there are. */
static uint64_t crash_at(uint64_t nth, bool is_delete, uint64_t seed, const struct world *world)
{
    struct random random;
    struct file_system *memory = file_system_memory_new(0);
    struct file_system *failing = file_system_failing_new(memory);
    struct block_dirs dirs = dirs_of(failing), after = dirs_of(memory);
    work_fn *work = is_delete ? delete_work : write_work;
    random_seed(&random, seed);
    if (is_delete) {
        assert_int_equal(world_write(world, &after, 20), 0);
    }
    uint64_t before = file_system_failing_count(failing);
    file_system_failing_at(failing, nth, -EIO, seed % 2 == 0);
    int error = work(world, &dirs);
    uint64_t count = file_system_failing_count(failing) - before;
    assert_int_equal(error != 0, nth > 0 && nth <= count);
    if (seed % 3 != 0) {
        file_system_memory_crash(memory, &random);
    }
    bool is_there = check_after_crash(&after, world);
    if (!error) {
        assert_int_equal(is_there, !is_delete); /* what was said to be done is done */
    }
    file_system_free(failing);
    file_system_free(memory);
    return count;
}

static void a_crash_leaves_no_block_or_all_of_it(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 31, 12, 60);
    for (int is_delete = 0; is_delete < 2; is_delete++) {
        uint64_t count = crash_at(0, is_delete, 1, &world);
        assert_true(count > (is_delete ? 2 : 15));
        for (uint64_t nth = 1; nth <= count + 1; nth++) {
            for (uint64_t seed = 1; seed <= 12; seed++) {
                crash_at(nth, is_delete, seed, &world);
            }
        }
    }
    world_done(&world);
}

static void a_full_disk_is_an_error_and_leaves_nothing(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 31, 12, 60);
    int error = -ENOSPC;
    for (uint64_t capacity = 300; error; capacity += 300) {
        struct file_system *fs = file_system_memory_new(capacity);
        struct block_dirs dirs = dirs_of(fs);
        error = world_write(&world, &dirs, 20);
        if (error) {
            assert_int_equal(error, -ENOSPC);
            assert_int_equal(names_in(fs, dirs.blocks) + names_in(fs, dirs.aggregates), 0);
        }
        file_system_free(fs);
    }
    world_done(&world);
}

static void leftovers_go_and_nothing_else(void **state)
{
    (void)state;
    static const char *const left[] = {
        "data/blocks/01HF84E400HWAKCN2VJG5S3ATZ.tmp-for-creation/chunks",
        "data/blocks/01HF84E400HWAKCN2VJG5S3ATZ.tmp-for-deletion",
        "data/aggregates/01HF84E400HWAKCN2VJG5S3ATY/chunks",
        "data/aggregates/01HF84E400HWAKCN2VJG5S3ATY.tmp-for-creation",
    };
    struct file_system *fs = file_system_memory_new(0);
    struct block_dirs dirs = dirs_of(fs);
    assert_int_equal(block_remove_leftovers(&dirs), 0);
    assert_int_equal(file_make_dirs(fs, "data/blocks/01HF84E400HWAKCN2VJG5S3ATX"), 0);
    assert_int_equal(file_make_dirs(fs, "data/aggregates/01HF84E400HWAKCN2VJG5S3ATX"), 0);
    assert_int_equal(file_make_dirs(fs, "data/blocks/of somebody"), 0);
    for (size_t i = 0; i < ARRAY_LEN(left); i++) {
        CLEANUP_FREE char *path = mem_printf("%s/file", left[i]);
        assert_int_equal(file_make_dirs(fs, left[i]), 0);
        assert_int_equal(file_write_whole(fs, path, "x", 1), 0);
    }
    assert_int_equal(block_remove_leftovers(&dirs), 0);
    assert_int_equal(names_in(fs, dirs.blocks), 2);
    assert_int_equal(names_in(fs, dirs.aggregates), 1);
    struct ulid absent = {"01HF84E400HWAKCN2VJG5S3ATT"};
    assert_int_equal(block_delete(&dirs, &absent), -ENOENT);
    file_system_free(fs);
}

static void a_name_is_taken_once(void **state)
{
    (void)state;
    struct file_system *fs = file_system_memory_new(0);
    struct block_dirs dirs = dirs_of(fs);
    struct world world;
    world_init(&world, 31, 12, 60);
    assert_int_equal(world_write(&world, &dirs, 20), 0);
    assert_int_equal(world_write(&world, &dirs, 20), -EEXIST);
    assert_true(check_after_crash(&dirs, &world));
    assert_int_equal(block_delete(&dirs, &world.ulid), 0);
    assert_int_equal(names_in(fs, dirs.blocks) + names_in(fs, dirs.aggregates), 0);
    world_done(&world);
    file_system_free(fs);
}

/* ---- Blocks of others ---- */

static void put_file(struct file_system *fs, const char *path, struct str text)
{
    assert_int_equal(file_unlink(fs, path), 0);
    assert_int_equal(file_write_whole(fs, path, text.ptr, text.len), 0);
}

/* Takes away what makes a block ours. */
static void make_foreign(struct file_system *fs, const struct world *world)
{
    CLEANUP(buf_done) struct buf meta = BUF_INIT(MIB);
    static const char mark[] = ",\"tributary\":true";
    CLEANUP_FREE char *dir = mem_printf("data/blocks/%s", world->ulid.text);
    CLEANUP_FREE char *meta_path = mem_printf("%s/meta.json", dir);
    CLEANUP_FREE char *windows_path = mem_printf("%s/windows", dir);
    CLEANUP_FREE char *ours_path = mem_printf("%s/tributary.json", dir);
    assert_int_equal(file_unlink(fs, ours_path), 0);
    assert_int_equal(file_read_whole(fs, meta_path, &meta), 0);
    char *found = memmem(meta.data, meta.len, mark, strlen(mark));
    assert_non_null(found);
    memmove(found, found + strlen(mark), meta.len - (size_t)(found - (char *)meta.data) - strlen(mark));
    put_file(fs, meta_path, str_of(meta.data, meta.len - strlen(mark)));
    assert_int_equal(file_unlink(fs, windows_path), 0);
}

static void make_plain(struct world *world)
{
    for (size_t i = 0; i < world->count; i++) {
        world->series[i].kind = KIND_GAUGE;
        for (size_t k = 0; k < world->series[i].entries.count; k++) {
            struct entry *entry = &world->series[i].entries.items[k];
            *entry = (struct entry){.sample = entry->sample, .count = !value_is_stale(entry->sample.value)};
        }
    }
}

/* A tombstones file: the first and the last third of each series' time, in two pieces, in no order. */
static void delete_thirds(struct file_system *fs, struct world *world, const uint32_t *ids)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(MIB);
    CLEANUP_FREE char *path = mem_printf("data/blocks/%s/tombstones", world->ulid.text);
    buf_append_be32(&bytes, 0x0130BA30);
    buf_append_byte(&bytes, 1);
    for (size_t i = world->count; i-- > 0;) {
        struct entries *entries = &world->series[i].entries;
        int64_t from = entries->items[0].sample.time_ms, to = entries->items[entries->count / 3].sample.time_ms;
        int64_t ranges[][2] = {
            {to + (INT64_C(1) << 40), INT64_MAX}, {(from + to) / 2, to}, {INT64_MIN, (from + to) / 2}};
        size_t kept = 0;
        for (size_t k = 0; k < ARRAY_LEN(ranges); k++) {
            buf_append_uvarint(&bytes, ids[i]);
            buf_append_varint(&bytes, ranges[k][0]);
            buf_append_varint(&bytes, ranges[k][1]);
        }
        for (size_t k = 0; k < entries->count; k++) {
            if (entries->items[k].sample.time_ms > to) {
                entries->items[kept++] = entries->items[k];
            }
        }
        entries->count = kept;
    }
    buf_append_be32(&bytes, crc32c(0, bytes.data + 5, bytes.len - 5));
    put_file(fs, path, buf_view(&bytes));
}

static void blocks_of_others_are_plain_samples(void **state)
{
    (void)state;
    struct file_system *fs = file_system_memory_new(0);
    struct block_dirs dirs = dirs_of(fs);
    struct world world;
    world_init(&world, 41, 30, 300);
    assert_int_equal(world_write(&world, &dirs, 50), 0);
    make_foreign(fs, &world);
    make_plain(&world);
    struct block *block = open_good(&dirs, &world.ulid);
    assert_false(block_meta_of(block)->ours);
    assert_string_equal(block_meta_of(block)->class, "default");
    assert_int_equal(world_compare(&world, block, true), 1);
    verify_good(block);
    CLEANUP(bitmap_freep) roaring_bitmap_t *all = NULL;
    struct postings_query query = {0};
    uint32_t ids[30];
    assert_int_equal(block_select(block, &query, &all), 0);
    roaring_bitmap_to_uint32_array(all, ids);
    block_unref(block);

    delete_thirds(fs, &world, ids);
    block = open_good(&dirs, &world.ulid);
    assert_int_equal(world_compare(&world, block, true), 1);
    verify_good(block);
    block_unref(block);
    world_done(&world);
    file_system_free(fs);
}

/* ---- As text ---- */

static void print_entry(const struct entry *entry, struct buf *out)
{
    buf_printf(out, " %lld %016llx %u %u %u", (long long)entry->sample.time_ms,
               (unsigned long long)double_bits(entry->sample.value), entry->count, entry->resolution_ms, entry->flags);
    if (entry->flags & ENTRY_AGGREGATES) {
        buf_printf(out, " %016llx %016llx %016llx", (unsigned long long)double_bits(entry->sum),
                   (unsigned long long)double_bits(entry->min), (unsigned long long)double_bits(entry->max));
    }
    buf_append_byte(out, '\n');
}

static int print_series(struct block_cursor *cursor, uint32_t id, struct buf *out)
{
    static const char *const kinds[] = {"gauge", "counter", "last"};
    struct block_series series;
    struct entries entries = {0};
    int error = block_cursor_series(cursor, id, &series);
    if (error) {
        return error;
    }
    labels_print(series.labels, out);
    buf_printf(out, " %s\n", kinds[series.kind]);
    error = block_cursor_entries(cursor, &series, 0, series.chunk_count, true, &entries);
    for (size_t i = 0; i < entries.count; i++) {
        print_entry(&entries.items[i], out);
    }
    entries_done(&entries);
    return error;
}

/* Each series, then a line a sample: time, bits of the value, count, resolution, flags, bits of sum, min, max. */
static int print_block(struct block *block, struct buf *out)
{
    CLEANUP(block_cursor_freep) struct block_cursor *cursor = block_cursor_new(block);
    CLEANUP(bitmap_freep) roaring_bitmap_t *ids = NULL;
    struct postings_query query = {0};
    int error = block_select(block, &query, &ids);
    if (error) {
        return error;
    }
    roaring_uint32_iterator_t at;
    for (roaring_init_iterator(ids, &at); at.has_value && !error; roaring_advance_uint32_iterator(&at)) {
        error = print_series(cursor, at.current_value, out);
    }
    return error;
}

/* ---- The golden block ---- */

static void the_golden_block_is_read_as_ever(void **state)
{
    (void)state;
    struct block_dirs dirs = {.fs = file_system_real(),
                              .blocks = SOURCE_DIR "/tests/data/blocks/blocks",
                              .aggregates = SOURCE_DIR "/tests/data/blocks/aggregates"};
    CLEANUP(buf_done) struct buf expected = BUF_INIT(MIB);
    CLEANUP(buf_done) struct buf got = BUF_INIT(MIB);
    struct ulid ulid;
    char **names;
    size_t count;
    assert_int_equal(file_list(dirs.fs, dirs.blocks, &names, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(ulid_parse(str_from(names[0]), &ulid), 0);
    file_names_free(names, count);
    struct block *block = open_good(&dirs, &ulid);
    verify_good(block);
    assert_int_equal(print_block(block, &got), 0);
    block_unref(block);
    assert_int_equal(file_read_whole(dirs.fs, SOURCE_DIR "/tests/data/blocks/golden.txt", &expected), 0);
    buf_append_byte(&expected, 0);
    buf_append_byte(&got, 0);
    assert_string_equal(got.data, expected.data);
}

/* ---- For tests in other languages ---- */

static int read_command(const char *dir, const char *name)
{
    CLEANUP_FREE char *aggregates = mem_printf("%s/../aggregates", dir);
    struct block_dirs dirs = {.fs = file_system_real(), .blocks = dir, .aggregates = aggregates};
    char reason[BLOCK_REASON_BYTES] = "it is no ulid";
    CLEANUP(block_unrefp) struct block *block = NULL;
    struct ulid ulid;
    int error = ulid_parse(str_from(name), &ulid);
    error = error ? error : block_open(&dirs, &ulid, reason, &block);
    error = error ? error : block_verify(block, NULL, NULL, reason);
    if (error) {
        fprintf(stderr, "%s: %s\n", name, reason);
        return 1;
    }
    CLEANUP(buf_done) struct buf text = BUF_INIT(GIB);
    if (print_block(block, &text) != 0) {
        fprintf(stderr, "%s: a series or a chunk is damaged\n", name);
        return 1;
    }
    fwrite(text.data, 1, text.len, stdout);
    return 0;
}

static int write_command(const char *dir, uint64_t seed, size_t series, size_t samples)
{
    CLEANUP_FREE char *blocks = mem_printf("%s/blocks", dir);
    CLEANUP_FREE char *aggregates = mem_printf("%s/aggregates", dir);
    struct block_dirs dirs = {.fs = file_system_real(), .blocks = blocks, .aggregates = aggregates};
    struct world world;
    world_init(&world, seed, series, samples);
    int error = world_write(&world, &dirs, 120);
    if (!error) {
        printf("%s\n", world.ulid.text);
    }
    world_done(&world);
    return error ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        return write_command(argv[2], 4711, 40, 400);
    }
    if (argc == 3 && strcmp(argv[1], "--golden") == 0) {
        return write_command(argv[2], GOLDEN_SEED, GOLDEN_SERIES, GOLDEN_SAMPLES);
    }
    if (argc == 4 && strcmp(argv[1], "--read") == 0) {
        return read_command(argv[2], argv[3]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_series_come_back),
        cmocka_unit_test(threads_read_one_block),
        cmocka_unit_test(parts_of_series_are_read_alone),
        cmocka_unit_test(what_is_no_block_is_refused_and_leaves_nothing),
        cmocka_unit_test(a_check_can_be_given_up),
        cmocka_unit_test(a_crash_leaves_no_block_or_all_of_it),
        cmocka_unit_test(a_full_disk_is_an_error_and_leaves_nothing),
        cmocka_unit_test(leftovers_go_and_nothing_else),
        cmocka_unit_test(a_name_is_taken_once),
        cmocka_unit_test(blocks_of_others_are_plain_samples),
        cmocka_unit_test(the_golden_block_is_read_as_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
