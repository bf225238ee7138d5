/* Golden batches: what was written once is read for ever as it was read then. tests/e2e/test_golden.py holds a second
 * implementation against the same files.
 *
 *   test_golden --write DIR   makes them anew, after a change of the format (docs/batch-format.md, "Versions") */
#include "batch_world.h"
#include "hop/frame.h"
#include "hop/layout_packer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define FILE_BYTES_MAX (4 * MIB)

static const struct golden {
    const char *name;
    uint64_t seed;
    uint32_t slots_max, targets, rounds;
    bool scrapes; /* rounds are scrapes, at resolution 0 */
} goldens[] = {{"empty", 1, 2, 0, 1, false},       {"one_target", 2, 4, 1, 1, false},
               {"few_targets", 3, 5, 6, 1, false}, {"many_targets", 4, 2, 24, 1, false},
               {"few_windows", 5, 5, 3, 5, false}, {"many_windows", 6, 2, 22, 3, false},
               {"every_scrape", 7, 3, 21, 4, true}};

/* ---- Text ---- */

static void print_labels(const struct labels *labels, struct buf *out)
{
    buf_append_byte(out, '{');
    for (size_t i = 0; i < labels_count(labels); i++) {
        struct label label = labels_at(labels, i);
        buf_printf(out, "%s" STR_FMT "=\"" STR_FMT "\"", i ? "," : "", STR_ARG(label.name), STR_ARG(label.value));
    }
    buf_append_byte(out, '}');
}

static void print_reasons(const char *name, const struct reason_count *reasons, uint32_t count, struct buf *out)
{
    for (uint32_t i = 0; i < count; i++)
        buf_printf(out, " %s " STR_FMT " %llu", name, STR_ARG(reasons[i].reason), (unsigned long long)reasons[i].count);
}

static void print_head(const struct envelope *envelope, struct buf *out)
{
    buf_printf(out,
               "batch " STR_FMT " " STR_FMT " %llu epoch %llu seq %llu window %lld resolution %lld "
               "span %lld part %u",
               STR_ARG(envelope->source.datacenter), STR_ARG(envelope->source.secondary),
               (unsigned long long)envelope->source.incarnation, (unsigned long long)envelope->epoch,
               (unsigned long long)envelope->seq, (long long)envelope->window_start_ms,
               (long long)envelope->resolution_ms, (long long)envelope->span_ms, envelope->part);
    buf_printf(out, " sealed %lld closed %lld\ntargets %llu %llu", (long long)envelope->sealed_at_ms,
               (long long)envelope->closed_through_ms, (unsigned long long)envelope->targets_expected,
               (unsigned long long)envelope->targets_answered);
    print_reasons("failed", envelope->failed, envelope->failed_count, out);
    print_reasons("dropped", envelope->dropped, envelope->dropped_count, out);
    buf_append_byte(out, '\n');
}

static void print_record(const struct record *record, struct buf *out)
{
    static const char *const kinds[] = {"gauge", "counter", "last"};
    buf_printf(out, " %s %lld %u %016llx %016llx %016llx", kinds[record->kind], (long long)record->time_ms,
               record->count, (unsigned long long)double_bits(record->last),
               (unsigned long long)double_bits(record->min), (unsigned long long)double_bits(record->max));
    /* The payload of a NaN that was computed is the processor's affair. */
    if (isnan(record->sum))
        buf_append_text(out, " nan");
    else
        buf_printf(out, " %016llx", (unsigned long long)double_bits(record->sum));
}

static void print_block(const struct batch_reader *reader, const struct batch_block *block, struct buf *out)
{
    size_t count;
    const struct batch_entry *entries = batch_reader_entries(reader, &count);
    uint32_t extra = 0, records = block->entry_count * block->family->count;
    buf_printf(out, "family " STR_FMT " members %u\n", STR_ARG(block->family->name), block->entry_count);
    for (uint32_t i = 0; i < records; i++) {
        const struct batch_entry *entry = &entries[block->entries[i % block->entry_count]];
        CLEANUP(labels_unrefp)
        struct labels *series = layout_series(block->family, i / block->entry_count,
                                              batch_reader_targets(reader)->targets[entry->target], STR_NULL);
        print_labels(series, out);
        print_record(&block->records[i], out);
        for (; extra < block->extra_count && block->extras[extra].index == i; extra++)
            buf_printf(out, " extra %lld %016llx", (long long)block->extras[extra].sample.time_ms,
                       (unsigned long long)double_bits(block->extras[extra].sample.value));
        buf_append_byte(out, '\n');
    }
}

static void print_batch(struct str batch, struct layout_table *table, struct buf *out)
{
    CLEANUP(batch_reader_freep) struct batch_reader *reader = NULL;
    assert_int_equal(batch_reader_open(batch.ptr, batch.len, table, &reader), 0);
    print_head(batch_reader_envelope(reader), out);
    size_t count;
    const struct batch_entry *entries = batch_reader_entries(reader, &count);
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "entry %u ", entries[i].round);
        print_labels(batch_reader_targets(reader)->targets[entries[i].target], out);
        buf_printf(out, " page %u time %lld count %u stale %lld\n", entries[i].page, (long long)entries[i].time_ms,
                   entries[i].count, (long long)entries[i].stale_ms);
    }
    struct batch_block block;
    int more;
    while ((more = batch_reader_next(reader, &block)) > 0)
        print_block(reader, &block, out);
    assert_int_equal(more, 0);
}

static void print_frames(struct str bytes, struct buf *out)
{
    CLEANUP(layout_table_freep) struct layout_table *table = layout_table_new(16 * MIB, 16 * MIB);
    CLEANUP(layout_group_freep) struct layout_group *group = layout_group_new(table);
    struct frame frame;
    size_t at = 0, batches = 0;
    while (frame_next(bytes, &at, &frame) == 1) {
        assert_int_equal(frame.damaged_bytes, 0);
        if (frame.type == FRAME_PACK) {
            assert_int_equal(layout_group_take(group, frame.payload), 0);
        } else if (frame.type == FRAME_BATCH) {
            print_batch(frame.payload, table, out);
            batches++;
        }
    }
    assert_int_equal(at, bytes.len);
    assert_int_equal(batches, 1);
}

/* ---- Files ---- */

static void read_file(const char *dir, const char *name, const char *ending, struct buf *ret_bytes)
{
    CLEANUP_FREE char *path = mem_printf("%s/%s.%s", dir, name, ending);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s: not there", path);
    uint8_t *room = buf_reserve(ret_bytes, FILE_BYTES_MAX);
    assert_non_null(room);
    buf_added(ret_bytes, fread(room, 1, FILE_BYTES_MAX, file));
    fclose(file);
}

static void write_file(const char *dir, const char *name, const char *ending, const struct buf *bytes)
{
    CLEANUP_FREE char *path = mem_printf("%s/%s.%s", dir, name, ending);
    FILE *file = fopen(path, "wb");
    ASSERT(file && fwrite(bytes->data, 1, bytes->len, file) == bytes->len);
    ASSERT(fclose(file) == 0);
}

static void append_layouts(const struct envelope *envelope, struct layout_table *table, struct buf *frames)
{
    CLEANUP(layout_group_freep) struct layout_group *group = layout_group_new(table);
    CLEANUP(layout_packer_freep) struct layout_packer *packer = layout_packer_new_group(table, group);
    CLEANUP(buf_done) struct buf pack = BUF_INIT(FILE_BYTES_MAX);
    for (uint32_t i = 0; i < envelope_layout_count(envelope); i++)
        ASSERT(layout_packer_add(packer, envelope_layout_at(envelope, i)) == 0);
    ASSERT(layout_packer_finish(packer, &pack) == 0);
    ASSERT(frame_append(frames, FRAME_PACK, pack.data, pack.len) == 0);
}

/* All layouts of the world's batch, each once, then the batch. */
static void make_frames(const struct golden *golden, struct buf *frames)
{
    struct world world;
    world_init(&world, golden->seed, golden->slots_max);
    for (uint32_t i = 0; i < golden->targets; i++)
        world_add_target(&world);
    for (uint32_t round = 1; round < golden->rounds; round++)
        world_add_round(&world);
    struct layout_table *table = layout_table_new(16 * MIB, 16 * MIB);
    struct batch_writer *writer = batch_writer_new();
    struct envelope envelope = world_envelope();
    envelope.span_ms = golden->rounds * WORLD_STEP_MS;
    envelope.resolution_ms = golden->scrapes ? 0 : WORLD_STEP_MS;
    CLEANUP(buf_done) struct buf batch = BUF_INIT(BATCH_BYTES_MAX);
    for (uint32_t i = 0; i < world.item_count; i++)
        ASSERT(batch_writer_add(writer, &world.items[i].item) == 0);
    ASSERT(batch_writer_finish(writer, &envelope, table, &batch) == 0);
    append_layouts(&envelope, table, frames);
    ASSERT(frame_append(frames, FRAME_BATCH, batch.data, batch.len) == 0);
    batch_writer_release(writer, table);
    batch_writer_free(writer);
    layout_table_free(table);
    world_done(&world);
}

static int write_all(const char *dir)
{
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        CLEANUP(buf_done) struct buf frames = BUF_INIT(FILE_BYTES_MAX), text = BUF_INIT(FILE_BYTES_MAX);
        make_frames(&goldens[i], &frames);
        print_frames(buf_view(&frames), &text);
        write_file(dir, goldens[i].name, "frames", &frames);
        write_file(dir, goldens[i].name, "txt", &text);
        printf("%s: %zu bytes of frames, %zu of text\n", goldens[i].name, frames.len, text.len);
    }
    return 0;
}

static void golden_batches_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        CLEANUP(buf_done) struct buf frames = BUF_INIT(2 * FILE_BYTES_MAX), text = BUF_INIT(FILE_BYTES_MAX);
        CLEANUP(buf_done) struct buf wanted = BUF_INIT(2 * FILE_BYTES_MAX);
        read_file(SOURCE_DIR "/tests/data/batches", goldens[i].name, "frames", &frames);
        read_file(SOURCE_DIR "/tests/data/batches", goldens[i].name, "txt", &wanted);
        print_frames(buf_view(&frames), &text);
        assert_int_equal(text.len, wanted.len);
        assert_memory_equal(text.data, wanted.data, wanted.len);
    }
}

/* What would be written today says the same (its bytes may differ: zstd's do, from version to version). */
static void batches_of_today_say_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(goldens); i++) {
        CLEANUP(buf_done) struct buf frames = BUF_INIT(FILE_BYTES_MAX), text = BUF_INIT(FILE_BYTES_MAX);
        CLEANUP(buf_done) struct buf wanted = BUF_INIT(2 * FILE_BYTES_MAX);
        make_frames(&goldens[i], &frames);
        print_frames(buf_view(&frames), &text);
        read_file(SOURCE_DIR "/tests/data/batches", goldens[i].name, "txt", &wanted);
        assert_int_equal(text.len, wanted.len);
        assert_memory_equal(text.data, wanted.data, wanted.len);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0)
        return write_all(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_batches_are_read),
        cmocka_unit_test(batches_of_today_say_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
