/* The parts of a block on disk, each alone: names, meta, notes and windows, tombstones, chunk files, aggregates, and an
 * index whose postings take many passes. */
#include "block_world.h"

#include "base/crc.h"
#include "store/aggr_chunk.h"
#include "store/be.h"
#include "store/index_read.h"
#include "store/index_write.h"
#include "store/segments.h"
#include "store/tombstones.h"
#include "store/windows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* ---- Names ---- */

static void ulids_hold_their_time_and_sort_by_it(void **state)
{
    (void)state;
    struct random random;
    struct ulid ulid, parsed;
    random_seed(&random, 1);
    char before[ULID_CHARS + 1] = "";
    for (int64_t time_ms = 0; time_ms < INT64_C(1) << 48; time_ms = time_ms * 3 + 1) {
        ulid = ulid_new(time_ms, &random);
        assert_int_equal(strlen(ulid.text), ULID_CHARS);
        assert_int_equal(ulid_time_ms(&ulid), time_ms);
        assert_int_equal(ulid_parse(str_from(ulid.text), &parsed), 0);
        assert_string_equal(parsed.text, ulid.text);
        assert_true(strcmp(before, ulid.text) < 0);
        memcpy(before, ulid.text, sizeof(before));
    }
    static const char *const bad[] = {"",
                                      "01HF84E4003ZKB71ECEZXEKZ1",
                                      "01HF84E4003ZKB71ECEZXEKZ1GG",
                                      "81HF84E4003ZKB71ECEZXEKZ1G",
                                      "01HF84E4003ZKB71ECEZXEKZ1U",
                                      "01hf84e4003zkb71ecezxekz1g",
                                      "01HF84E4003ZKB71ECEZXEKZ1/"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(ulid_parse(str_from(bad[i]), &parsed), -EINVAL);
    }
    assert_int_equal(ulid_parse(str_of("01HF84E4003ZKB71ECEZXEKZ1\0", ULID_CHARS), &parsed), -EINVAL);
}

/* ---- Meta ---- */

static void meta_comes_back(void **state)
{
    (void)state;
    struct ulid sources[2] = {{"01HF84E4003ZKB71ECEZXEKZ1G"}, {"01HF84E4003ZKB71ECEZXEKZ1H"}},
                parents[1] = {sources[1]};
    struct block_missing missing[2] = {{-5, 7, "a \"disk\""}, {INT64_MIN, INT64_MAX, "all"}};
    struct block_file files[2] = {{"index", 12345678901, 0xffffffff}, {"chunks/000001", 8, 0}};
    struct block_meta meta = {.ulid = sources[0],
                              .min_time_ms = -1,
                              .max_time_ms = 1700000000000,
                              .sample_count = 5000000000,
                              .series_count = 3,
                              .chunk_count = 4,
                              .tombstone_count = 1,
                              .level = 3,
                              .sources = sources,
                              .source_count = 2,
                              .parents = parents,
                              .parent_count = 1,
                              .from_late = true,
                              .is_aggregates = true,
                              .ours = true,
                              .class = "slow",
                              .has_aggregates = true,
                              .aggregate_count = 9,
                              .deletion = 77,
                              .missing = missing,
                              .missing_count = 2,
                              .files = files,
                              .file_count = 2};
    struct block_meta read = {0}, copy;
    char reason[BLOCK_REASON_BYTES];
    CLEANUP(buf_done) struct buf text = BUF_INIT(MIB);
    block_meta_print_ours(&meta, &text);
    assert_int_equal(block_meta_parse_ours(buf_view(&text), &read, reason), 0);
    buf_reset(&text);
    block_meta_print(&meta, &text);
    assert_int_equal(block_meta_parse(buf_view(&text), &read, reason), 0);
    assert_int_equal(block_meta_check(&meta), block_meta_check(&read));
    assert_int_equal(read.check, block_meta_check(&read));
    block_meta_copy(&read, &copy);
    block_meta_done(&read);
    assert_true(copy.from_late && copy.is_aggregates && copy.ours && copy.has_aggregates && copy.should_be_ours);
    assert_int_equal(copy.sample_count, 5000000000);
    assert_int_equal(copy.level, 3);
    assert_string_equal(copy.sources[1].text, sources[1].text);
    assert_string_equal(copy.parents[0].text, parents[0].text);
    assert_string_equal(copy.missing[0].reason, "a \"disk\"");
    assert_true(copy.missing[1].start_ms == INT64_MIN && copy.missing[1].end_ms == INT64_MAX);
    assert_int_equal(copy.files[0].bytes, 12345678901);
    assert_int_equal(copy.files[0].crc, 0xffffffff);
    assert_string_equal(copy.class, "slow");
    assert_int_equal(copy.deletion, 77);
    block_meta_done(&copy);
}

static void meta_of_others_is_taken_as_they_do(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int error;
    } cases[] = {
        {"{\"version\":1,\"minTime\":1,\"maxTime\":2}", 0},
        {"{\"version\":1,\"minTime\":1,\"maxTime\":2,\"ulid\":\"x\",\"unknown\":[1,{}]}", 0},
        {"{\"version\":1,\"minTime\":1,\"maxTime\":2,\"stats\":{},\"compaction\":{\"failed\":true}}", 0},
        {"{\"version\":1,\"minTime\":3,\"maxTime\":2}", -EBADMSG},
        {"{\"version\":2,\"minTime\":1,\"maxTime\":2}", -EBADMSG},
        {"{\"version\":\"1\",\"minTime\":1,\"maxTime\":2}", -EBADMSG},
        {"{\"version\":1,\"minTime\":1.5,\"maxTime\":2}", -EBADMSG},
        {"{\"version\":1,\"minTime\":1}", -EBADMSG},
        {"{\"version\":1,\"minTime\":1,\"maxTime\":2,\"stats\":{\"numSeries\":-1}}", -EBADMSG},
        {"{\"version\":1,\"minTime\":1,\"maxTime\":2,\"compaction\":{\"sources\":[7]}}", -EBADMSG},
        {"{\"version\":1,\"version\":1,\"minTime\":1,\"maxTime\":2}", -EBADMSG},
        {"[]", -EBADMSG},
        {"", -EBADMSG},
        {"{", -EBADMSG},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct block_meta meta = {0};
        char reason[BLOCK_REASON_BYTES] = "";
        assert_int_equal(block_meta_parse(str_from(cases[i].text), &meta, reason), cases[i].error);
        assert_int_equal(reason[0] != '\0', cases[i].error != 0);
        block_meta_done(&meta);
    }
}

/* ---- Windows ---- */

static size_t random_window_entries(struct random *random, struct entry *entries, size_t max)
{
    size_t count = 1 + random_below(random, max);
    struct entry window = {.count = 4, .resolution_ms = 60000};
    for (size_t i = 0; i < count; i++) {
        if (random_below(random, 10) == 0) {
            window.count = (uint32_t)random_below(random, random_below(random, 2) ? 5 : UINT32_MAX);
            window.resolution_ms = random_below(random, 4) ? 60000 : (uint32_t)random_next(random);
            window.flags = random_below(random, 3) ? 0 : ENTRY_EXTRA;
        }
        entries[i] = window;
    }
    return count;
}

static void notes_say_what_they_were_told(void **state)
{
    (void)state;
    static struct entry chunks[20][50];
    size_t counts[20];
    struct random random;
    struct note_writer writer;
    note_writer_init(&writer);
    random_seed(&random, 2);
    for (int round = 0; round < 500; round++) {
        size_t chunk_count = 1 + random_below(&random, ARRAY_LEN(chunks));
        note_begin(&writer, (enum series_kind)(round % 3));
        for (size_t i = 0; i < chunk_count; i++) {
            if (i > 0 && random_below(&random, 2)) {
                counts[i] = counts[i - 1];
                memcpy(chunks[i], chunks[i - 1], sizeof(chunks[i]));
            } else {
                counts[i] = random_window_entries(&random, chunks[i], 50);
            }
            note_add_chunk(&writer, chunks[i], counts[i]);
        }
        assert_int_equal(note_end(&writer), 0);
        struct str note = buf_view(&writer.note);
        assert_int_equal(note_check(note), 0);
        assert_int_equal(note_kind(note), round % 3);
        struct note_reader reader;
        note_reader_init(&reader, note);
        for (size_t i = 0; i < chunk_count; i++) {
            note_reader_next_chunk(&reader);
            for (size_t k = 0; k < counts[i]; k++) {
                struct entry entry;
                note_reader_sample(&reader, &entry);
                assert_int_equal(entry.count, chunks[i][k].count);
                assert_int_equal(entry.resolution_ms, chunks[i][k].resolution_ms);
                assert_int_equal(entry.flags, chunks[i][k].flags);
            }
            assert_true(note_reader_is_done(&reader));
        }
    }
    note_writer_done(&writer);
}

static void equal_chunks_take_no_room(void **state)
{
    (void)state;
    struct note_writer writer;
    struct entry entries[120];
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        entries[i] = (struct entry){.count = 4, .resolution_ms = 60000};
    }
    note_writer_init(&writer);
    note_begin(&writer, KIND_COUNTER);
    for (size_t i = 0; i < 1000; i++) {
        note_add_chunk(&writer, entries, 100 + i % 20);
    }
    assert_int_equal(note_end(&writer), 0);
    assert_int_equal(writer.note.len, 8);
    note_writer_done(&writer);
}

/* The note of series i: few at first, then each its own, so that the dictionary runs full. */
static struct str note_of(uint32_t i, uint8_t note[static 4096])
{
    size_t runs = i < 200 ? i % 3 : 300; /* each run of 5 bytes or so */
    size_t at = 0;
    note[at++] = (uint8_t)(i % 3);
    note[at++] = 0; /* all chunks */
    for (size_t k = 0; k < runs; k++) {
        note[at++] = 1;
        at += uvarint_put(note + at, i * 7 + k);
        note[at++] = 60;
        note[at++] = 0;
    }
    memcpy(note + at, "\0\1\60\0", 4);
    return str_of(note, at + 4);
}

static void windows_come_back(void **state)
{
    (void)state;
    struct file_system *fs = file_system_memory_new(0);
    struct windows_writer *writer;
    struct windows windows;
    struct windows_cursor cursor;
    const struct windows_record *record;
    static uint8_t note[4096];
    const char *what = "";
    uint64_t bytes;
    uint32_t crc;
    const uint32_t count = 2000;
    assert_int_equal(windows_writer_new(fs, "windows", &writer), 0);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(windows_writer_add(writer, 10 + i * i, note_of(i, note), i % 5 ? 0 : i), 0);
    }
    assert_int_equal(windows_writer_finish(writer, &bytes, &crc), 0);
    windows_writer_free(writer);
    assert_int_equal(windows_open(&windows, fs, "windows", &what), 0);
    assert_int_equal(windows.bytes, bytes);
    assert_int_equal(windows.series_count, count);
    assert_true(windows.note_count > 400 && windows.note_count < count - 200);
    assert_true(windows_memory_bytes(&windows) < 3 * MIB);
    windows_cursor_init(&cursor, &windows);
    for (uint32_t k = 0; k < 3 * count; k++) {
        uint32_t i = k < count ? k : k * 797 % count; /* in order, then jumping about */
        struct str expected = note_of(i, note);
        assert_int_equal(windows_find(&cursor, 10 + i * i, &record), 0);
        assert_true(str_equal(record->note, expected));
        assert_int_equal(record->aggregates_id, i % 5 ? 0 : i);
    }
    assert_int_equal(windows_find(&cursor, 9, &record), -EBADMSG);
    assert_int_equal(windows_find(&cursor, 12, &record), -EBADMSG);
    assert_int_equal(windows_find(&cursor, UINT32_MAX, &record), -EBADMSG);
    windows_cursor_done(&cursor);
    windows_close(&windows);
    file_system_free(fs);
}

/* ---- Tombstones ---- */

static void tombstones_are_sorted_and_joined(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(KIB);
    static const struct tombstone items[] = {{7, 10, 20}, {3, -5, 5}, {7, 15, 30}, {7, 40, 50}, {7, 60, 59}, {3, 6, 7}};
    struct tombstones tombstones;
    size_t count;
    tombstones_print_empty(&bytes);
    assert_int_equal(tombstones_parse(buf_view(&bytes), &tombstones), 0);
    assert_int_equal(tombstones.count, 0);
    tombstones_of(&tombstones, 7, &count);
    assert_int_equal(count, 0);
    tombstones_done(&tombstones);
    bytes.len -= 4;
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        buf_append_uvarint(&bytes, items[i].series);
        buf_append_varint(&bytes, items[i].min_time_ms);
        buf_append_varint(&bytes, items[i].max_time_ms);
    }
    buf_append_be32(&bytes, crc32c(0, bytes.data + 5, bytes.len - 5));
    assert_int_equal(tombstones_parse(buf_view(&bytes), &tombstones), 0);
    const struct tombstone *of = tombstones_of(&tombstones, 7, &count);
    assert_int_equal(count, 2);
    assert_true(of[0].min_time_ms == 10 && of[0].max_time_ms == 30 && of[1].min_time_ms == 40);
    of = tombstones_of(&tombstones, 3, &count);
    assert_int_equal(count, 2);
    tombstones_of(&tombstones, 5, &count);
    assert_int_equal(count, 0);
    tombstones_done(&tombstones);
    for (size_t len = 0; len < bytes.len; len++) {
        assert_int_equal(tombstones_parse(str_of(bytes.data, len), &tombstones), -EBADMSG);
    }
}

/* ---- Chunk files ---- */

static void chunks_go_on_in_the_next_file(void **state)
{
    (void)state;
    struct file_system *fs = file_system_memory_new(0);
    struct segments_writer writer;
    struct segments segments;
    struct segments_cursor cursor;
    uint64_t refs[100];
    uint8_t data[300], encoding;
    struct str got;
    const char *what;
    memset(data, 0x5a, sizeof(data));
    assert_int_equal(segments_writer_init(&writer, fs, "block", 1000), 0);
    for (size_t i = 0; i < ARRAY_LEN(refs); i++) {
        data[0] = (uint8_t)i;
        assert_int_equal(segments_writer_add(&writer, (uint8_t)(i % 3 + 1), str_of(data, 1 + 2 * i), &refs[i]), 0);
    }
    assert_int_equal(segments_writer_finish(&writer), 0);
    size_t files = writer.file_count;
    assert_true(files > 10);
    for (size_t i = 0; i < files; i++) {
        assert_true(writer.files[i].bytes <= 1000);
    }
    assert_string_equal(writer.files[9].name, "chunks/000010");
    segments_writer_done(&writer);
    assert_int_equal(segments_open(&segments, fs, "block", &what), 0);
    assert_int_equal(segments.count, files);
    segments_cursor_init(&cursor, &segments);
    for (size_t k = 0; k < 3 * ARRAY_LEN(refs); k++) {
        size_t i = k * (k < 100 ? 1 : 37) % ARRAY_LEN(refs);
        assert_int_equal(segments_read(&cursor, refs[i], &encoding, &got), 0);
        assert_int_equal(encoding, i % 3 + 1);
        assert_int_equal(got.len, 1 + 2 * i);
        assert_int_equal((uint8_t)got.ptr[0], i);
    }
    static const uint64_t bad[] = {0, 7, UINT64_C(1) << 40, UINT64_MAX, 990, (UINT64_C(1) << 32) - 1};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(segments_read(&cursor, bad[i], &encoding, &got), -EBADMSG);
    }
    segments_cursor_done(&cursor);
    segments_close(&segments);
    file_system_free(fs);
}

/* ---- An index of many passes ---- */

static void write_index(struct file_system *fs, const char *path, const struct world *world, size_t pass_bytes)
{
    struct index_writer_options options = {fs, path, world->symbols, world->symbol_count, pass_bytes};
    struct block_chunk chunk = {1, 2, 8};
    struct index_writer writer;
    uint32_t id;
    assert_int_equal(index_writer_init(&writer, &options), 0);
    for (size_t i = 0; i < world->count; i++) {
        assert_int_equal(index_writer_add(&writer, world->series[i].labels, &chunk, 1, &id), 0);
    }
    assert_int_equal(index_writer_finish(&writer), 0);
    index_writer_done(&writer);
}

static void passes_of_any_size_make_the_same_index(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 16 * 3, 16 * 50, 16 * 401, 16 * 1000, INDEX_PASS_BYTES};
    struct file_system *fs = file_system_memory_new(0);
    struct world world;
    world_init(&world, 8, 400, 1);
    CLEANUP(buf_done) struct buf first = BUF_INIT(MIB);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char path[32];
        CLEANUP(buf_done) struct buf bytes = BUF_INIT(MIB);
        snprintf(path, sizeof(path), "index%zu", i);
        write_index(fs, path, &world, sizes[i]);
        assert_int_equal(file_read_whole(fs, path, i == 0 ? &first : &bytes), 0);
        if (i > 0) {
            assert_int_equal(bytes.len, first.len);
            assert_memory_equal(bytes.data, first.data, first.len);
        }
    }
    world_done(&world);
    file_system_free(fs);
}

/* More than 4 MiB of symbols are not held. */
static void a_large_table_of_symbols_is_read_in_pieces(void **state)
{
    (void)state;
    enum { VALUES = 60000 };
    struct file_system *fs = file_system_memory_new(0);
    struct str *symbols = mem_array(VALUES + 1, sizeof(*symbols));
    symbols[0] = STR("a");
    for (size_t i = 0; i < VALUES; i++) {
        symbols[i + 1] = str_from(mem_printf("value-%08zu-%0*zu", i * 3, i % 1000 == 0 ? 2000 : 70, i));
    }
    struct index_writer_options options = {fs, "index", symbols, VALUES + 1, INDEX_PASS_BYTES};
    struct index_writer writer;
    struct block_chunk chunk = {1, 2, 8};
    uint32_t id;
    assert_int_equal(index_writer_init(&writer, &options), 0);
    for (size_t i = 0; i < VALUES; i++) {
        struct label label = {symbols[0], symbols[i + 1]};
        CLEANUP(labels_unrefp) struct labels *labels = labels_new(&label, 1);
        assert_int_equal(index_writer_add(&writer, labels, &chunk, 1, &id), 0);
    }
    assert_int_equal(index_writer_finish(&writer), 0);
    index_writer_done(&writer);

    struct index index;
    struct index_cursor cursor;
    const char *what;
    assert_int_equal(index_open(&index, fs, "index", SYMBOLS_HELD_BYTES, &what), 0);
    assert_true(index_memory_bytes(&index) < MIB);
    index_cursor_init(&cursor, &index);
    uint64_t at = 0;
    size_t i = 0;
    while (index_series_next(&cursor, &at, &id) > 0) {
        CLEANUP(labels_unrefp) struct labels *labels = NULL;
        assert_int_equal(index_series_labels(&cursor, &labels), 0);
        assert_true(str_equal(labels_get(labels, STR("a")), symbols[++i]));
    }
    assert_int_equal(i, VALUES);
    for (i = 1; i <= VALUES; i += 997) {
        uint64_t list;
        CLEANUP(bitmap_freep) roaring_bitmap_t *ids = bitmap_new();
        assert_int_equal(index_list_find(&cursor, STR("a"), symbols[i], &list), 0);
        assert_int_equal(index_list_read(&cursor, list, ids), 0);
        assert_int_equal(roaring_bitmap_get_cardinality(ids), 1);
        assert_int_equal(index_series_read(&cursor, roaring_bitmap_minimum(ids)), 0);
        assert_int_equal(cursor.entry->labels[0].value, i);
    }
    index_cursor_done(&cursor);
    index_close(&index);
    for (i = 0; i < VALUES; i++) {
        mem_free((void *)(uintptr_t)symbols[i + 1].ptr);
    }
    mem_free(symbols);
    file_system_free(fs);
}

/* ---- Histograms of Prometheus' blocks ---- */

static void histograms_are_left_out_and_told(void **state)
{
    (void)state;
    static const char meta[] = "{\"version\":1,\"minTime\":0,\"maxTime\":100}";
    struct file_system *fs = file_system_memory_new(0);
    struct block_dirs dirs = {.fs = fs, .blocks = "blocks", .aggregates = "aggregates"};
    struct ulid ulid = {"01HF84E4003ZKB71ECEZXEKZ1G"};
    const char *dir = "blocks/01HF84E4003ZKB71ECEZXEKZ1G";
    const struct str symbols[] = {STR("a"), STR("b")};
    const struct sample samples[] = {{1, 5}, {2, value_stale()}, {3, 6}};
    struct segments_writer segments;
    struct block_chunk chunks[] = {{1, 3, 0}, {10, 20, 0}, {30, 32, 0}};
    CLEANUP(buf_done) struct buf data = BUF_INIT(KIB);
    assert_int_equal(segments_writer_init(&segments, fs, dir, MIB), 0);
    xor_print(samples, 3, &data);
    assert_int_equal(segments_writer_add(&segments, CHUNK_XOR, buf_view(&data), &chunks[0].ref), 0);
    assert_int_equal(segments_writer_add(&segments, CHUNK_HISTOGRAM, STR("whatever"), &chunks[1].ref), 0);
    assert_int_equal(segments_writer_add(&segments, CHUNK_FLOAT_HISTOGRAM, STR("it is"), &chunks[2].ref), 0);
    assert_int_equal(segments_writer_finish(&segments), 0);
    segments_writer_done(&segments);
    struct index_writer_options options = {fs, "blocks/01HF84E4003ZKB71ECEZXEKZ1G/index", symbols, 2, KIB};
    struct index_writer index;
    struct label label = {symbols[0], symbols[1]};
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(&label, 1);
    uint32_t id;
    assert_int_equal(index_writer_init(&index, &options), 0);
    assert_int_equal(index_writer_add(&index, labels, chunks, 3, &id), 0);
    assert_int_equal(index_writer_finish(&index), 0);
    index_writer_done(&index);
    assert_int_equal(file_write_whole(fs, "blocks/01HF84E4003ZKB71ECEZXEKZ1G/meta.json", meta, strlen(meta)), 0);

    char reason[BLOCK_REASON_BYTES];
    CLEANUP(block_unrefp) struct block *block = NULL;
    assert_int_equal(block_open(&dirs, &ulid, reason, &block), 0);
    assert_false(block_has_histograms(block));
    CLEANUP(block_cursor_freep) struct block_cursor *cursor = block_cursor_new(block);
    struct block_series series;
    struct entries entries = {0};
    assert_int_equal(block_cursor_series(cursor, id, &series), 0);
    assert_int_equal(block_cursor_entries(cursor, &series, 0, 3, true, &entries), 0);
    assert_int_equal(entries.count, 3);
    assert_int_equal(entries.items[0].count, 1);
    assert_int_equal(entries.items[1].count, 0);
    assert_true(block_has_histograms(block));
    assert_int_equal(block_verify(block, NULL, NULL, reason), 0);
    entries_done(&entries);
    block_cursor_free(STEAL(cursor));
    block_unref(STEAL(block));
    file_system_free(fs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ulids_hold_their_time_and_sort_by_it),
        cmocka_unit_test(meta_comes_back),
        cmocka_unit_test(meta_of_others_is_taken_as_they_do),
        cmocka_unit_test(notes_say_what_they_were_told),
        cmocka_unit_test(equal_chunks_take_no_room),
        cmocka_unit_test(windows_come_back),
        cmocka_unit_test(tombstones_are_sorted_and_joined),
        cmocka_unit_test(chunks_go_on_in_the_next_file),
        cmocka_unit_test(passes_of_any_size_make_the_same_index),
        cmocka_unit_test(a_large_table_of_symbols_is_read_in_pieces),
        cmocka_unit_test(histograms_are_left_out_and_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
