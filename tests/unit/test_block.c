/* Blocks written and read back: all kinds of values and windows, equal to the bit; what the files look like; crashes.
 *
 *   test_block --write DIR       writes a block into DIR/blocks and DIR/aggregates and prints its name
 *   test_block --golden DIR      the same, the small one of tests/data/blocks, after a change of the format
 *   test_block --read DIR ULID   prints every sample of a block of DIR */
#include "block_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

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

/* ---- For tests in other languages ---- */

static void print_series(struct block_cursor *cursor, const struct block_series *series)
{
    static const char *const kinds[] = {"gauge", "counter", "last"};
    CLEANUP(buf_done) struct buf text = BUF_INIT(MIB);
    struct entries entries = {0};
    labels_print(series->labels, &text);
    printf(STR_FMT " %s\n", STR_ARG(buf_view(&text)), kinds[series->kind]);
    int error = block_cursor_entries(cursor, series, 0, series->chunk_count, true, &entries);
    if (error) {
        printf("error %d\n", error);
    }
    for (size_t i = 0; i < entries.count; i++) {
        const struct entry *entry = &entries.items[i];
        printf(" %lld %016llx %u %u %u", (long long)entry->sample.time_ms,
               (unsigned long long)double_bits(entry->sample.value), entry->count, entry->resolution_ms, entry->flags);
        if (entry->flags & ENTRY_AGGREGATES) {
            printf(" %016llx %016llx %016llx", (unsigned long long)double_bits(entry->sum),
                   (unsigned long long)double_bits(entry->min), (unsigned long long)double_bits(entry->max));
        }
        printf("\n");
    }
    entries_done(&entries);
}

static void print_block(struct block *block)
{
    CLEANUP(block_cursor_freep) struct block_cursor *cursor = block_cursor_new(block);
    CLEANUP(bitmap_freep) roaring_bitmap_t *ids = NULL;
    struct postings_query query = {0};
    if (block_select(block, &query, &ids) < 0) {
        exit(1);
    }
    roaring_uint32_iterator_t at;
    for (roaring_init_iterator(ids, &at); at.has_value; roaring_advance_uint32_iterator(&at)) {
        struct block_series series;
        if (block_cursor_series(cursor, at.current_value, &series) < 0) {
            exit(1);
        }
        print_series(cursor, &series);
    }
}

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
    print_block(block);
    return 0;
}

static int write_command(const char *dir, size_t series, size_t samples)
{
    CLEANUP_FREE char *blocks = mem_printf("%s/blocks", dir);
    CLEANUP_FREE char *aggregates = mem_printf("%s/aggregates", dir);
    struct block_dirs dirs = {.fs = file_system_real(), .blocks = blocks, .aggregates = aggregates};
    struct world world;
    world_init(&world, 4711, series, samples);
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
        return write_command(argv[2], 40, 400);
    }
    if (argc == 3 && strcmp(argv[1], "--golden") == 0) {
        return write_command(argv[2], 6, 60);
    }
    if (argc == 4 && strcmp(argv[1], "--read") == 0) {
        return read_command(argv[2], argv[3]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_series_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
