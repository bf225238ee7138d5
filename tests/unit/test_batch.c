/* Batches: what the writer was given is what the reader gives, bit for bit; what is damaged is an error, never more. */
#include "batch_world.h"
#include "hop/frame.h"
#include "hop/pack.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <zstd.h>

#include <cmocka.h>

/* A batch with the table that holds its layouts. */
struct made {
    struct layout_table *table;
    struct batch_writer *writer;
    struct envelope envelope;
    struct buf batch;
};

static void made_init(struct made *made)
{
    *made = (struct made){
        .table = layout_table_new(64 * MIB, 64 * MIB), .writer = batch_writer_new(), .envelope = world_envelope()};
    buf_init(&made->batch, BATCH_BYTES_MAX);
}

static void made_done(struct made *made)
{
    batch_writer_release(made->writer, made->table);
    assert_int_equal(layout_table_held(made->table), 0);
    batch_writer_free(made->writer);
    layout_table_free(made->table);
    buf_done(&made->batch);
}

static void make(struct made *made, struct world *world)
{
    made_init(made);
    if (world->item_count > 0)
        made->envelope.span_ms = (1 + (int64_t)world->items[world->item_count - 1].item.round) * WORLD_STEP_MS;
    size_t records = 0;
    for (uint32_t i = 0; i < world->item_count; i++) {
        assert_int_equal(batch_writer_add(made->writer, &world->items[i].item), 0);
        records += world->items[i].item.count > 0 ? world->page_slots[world->items[i].page] : 0;
    }
    assert_int_equal(batch_writer_entries(made->writer), world->item_count);
    assert_int_equal(batch_writer_records(made->writer), records);
    assert_int_equal(batch_writer_finish(made->writer, &made->envelope, made->table, &made->batch), 0);
}

static int open_copy(const struct made *made, const void *bytes, size_t len, uint8_t **ret_copy,
                     struct batch_reader **ret_reader)
{
    /* Of the exact size, so that a sanitizer sees a read behind its end. */
    *ret_copy = mem_alloc(len ? len : 1);
    if (len > 0)
        memcpy(*ret_copy, bytes, len);
    return batch_reader_open(*ret_copy, len, made->table, ret_reader);
}

/* ---- Equality ---- */

static void assert_same_record(const struct record *got, const struct record *wanted)
{
    assert_int_equal(got->kind, wanted->kind);
    assert_int_equal(got->count, wanted->count);
    assert_int_equal(got->time_ms, wanted->time_ms);
    assert_int_equal(double_bits(got->last), double_bits(wanted->last));
    assert_int_equal(double_bits(got->min), double_bits(wanted->min));
    assert_int_equal(double_bits(got->max), double_bits(wanted->max));
    /* A NaN's payload in the sum of equal values is not kept: see record_is_constant. */
    if (!(isnan(got->sum) && isnan(wanted->sum) && record_is_constant(wanted)))
        assert_int_equal(double_bits(got->sum), double_bits(wanted->sum));
}

static uint32_t family_start(const struct world *world, uint32_t page, const struct layout *family)
{
    uint32_t slots = 0;
    for (uint32_t f = 0; f < world->pages[page]->count; f++) {
        if (hash128_equal(world->page_families[page][f]->hash, family->hash))
            return slots;
        slots += world->page_families[page][f]->count;
    }
    fail_msg("the page does not have the family");
    return 0;
}

/* Extras of the record, in order; *at is where the block's next ones stand. */
static size_t check_extras(const struct batch_item *item, uint32_t slot, const struct batch_block *block,
                           uint32_t index, uint32_t *at)
{
    size_t count = 0;
    for (size_t e = 0; e < item->extra_count; e++) {
        if (item->extras[e].index != slot)
            continue;
        assert_true(*at < block->extra_count);
        const struct record_extra *got = &block->extras[(*at)++];
        assert_int_equal(got->index, index);
        assert_int_equal(got->sample.time_ms, item->extras[e].sample.time_ms);
        assert_int_equal(double_bits(got->sample.value), double_bits(item->extras[e].sample.value));
        count++;
    }
    return count;
}

static size_t check_block(const struct world *world, const struct batch_block *block, size_t *extras)
{
    uint32_t extra_at = 0, index = 0;
    for (uint32_t slot = 0; slot < block->family->count; slot++) {
        for (uint32_t m = 0; m < block->entry_count; m++, index++) {
            const struct world_item *from = &world->items[block->entries[m]];
            uint32_t first = family_start(world, from->page, block->family);
            assert_int_equal(block->first_slots[m], first);
            assert_same_record(&block->records[index], &from->item.records[first + slot]);
            *extras += check_extras(&from->item, first + slot, block, index, &extra_at);
        }
    }
    assert_int_equal(extra_at, block->extra_count);
    return index;
}

static void check_entries(const struct world *world, const struct batch_reader *reader)
{
    size_t count;
    const struct batch_entry *entries = batch_reader_entries(reader, &count);
    assert_int_equal(count, world->item_count);
    for (size_t i = 0; i < count; i++) {
        const struct batch_item *item = &world->items[i].item;
        assert_true(labels_equal(batch_reader_targets(reader)->targets[entries[i].target], item->target));
        assert_true(hash128_equal(batch_reader_page(reader, entries[i].page)->hash, item->page->hash));
        assert_int_equal(batch_reader_page_slots(reader, entries[i].page), world->page_slots[world->items[i].page]);
        assert_int_equal(entries[i].round, item->round);
        assert_int_equal(entries[i].count, item->count);
        assert_int_equal(entries[i].time_ms, item->time_ms);
        assert_int_equal(entries[i].stale_ms, item->stale_ms);
        for (uint32_t f = 0; f < item->page->count; f++)
            assert_true(hash128_equal(batch_reader_page(reader, entries[i].page)->families[f]->hash,
                                      item->page->families[f]->hash));
    }
}

static void check_equal(const struct world *world, struct batch_reader *reader)
{
    check_entries(world, reader);
    size_t records = 0, extras = 0, wanted_records = 0, wanted_extras = 0;
    struct batch_block block;
    int more;
    while ((more = batch_reader_next(reader, &block)) > 0)
        records += check_block(world, &block, &extras);
    assert_int_equal(more, 0);
    for (uint32_t i = 0; i < world->item_count; i++) {
        wanted_records += world->items[i].item.count > 0 ? world->page_slots[world->items[i].page] : 0;
        wanted_extras += world->items[i].item.extra_count;
    }
    assert_int_equal(records, wanted_records);
    assert_int_equal(extras, wanted_extras);
}

/* ---- Round trips ---- */

static void round_trip(uint64_t seed, uint32_t slots_max, uint32_t targets, uint32_t rounds)
{
    struct world world;
    struct made made;
    world_init(&world, seed, slots_max);
    for (uint32_t i = 0; i < targets; i++)
        world_add_target(&world);
    for (uint32_t round = 1; round < rounds; round++)
        world_add_round(&world);
    make(&made, &world);
    uint8_t *copy;
    struct batch_reader *reader = NULL;
    assert_int_equal(open_copy(&made, made.batch.data, made.batch.len, &copy, &reader), 0);
    check_equal(&world, reader);
    const struct envelope *envelope = batch_reader_envelope(reader);
    assert_int_equal(envelope->seq, 42);
    assert_int_equal(envelope->failed_count, 2);
    assert_int_equal(envelope->body_raw_bytes, made.envelope.body_raw_bytes);
    batch_reader_free(reader);
    mem_free(copy);
    made_done(&made);
    world_done(&world);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    /* Few members and many, around where a slot gets a column of its own. */
    static const uint32_t targets[] = {0, 1, 2, 5, 12, 18, 19, 20, 21, 25, 40, 100};
    for (uint32_t i = 0; i < ARRAY_LEN(targets); i++)
        for (uint64_t seed = 1; seed <= 8; seed++)
            round_trip(seed * 1000 + i, seed % 2 ? 50 : 3, targets[i], 1);
}

static void rounds_are_read(void **state)
{
    (void)state;
    static const uint32_t targets[] = {1, 2, 5, 18, 20, 25, 60};
    for (uint32_t i = 0; i < ARRAY_LEN(targets); i++)
        for (uint64_t seed = 1; seed <= 8; seed++)
            round_trip(seed * 1000 + i, seed % 2 ? 50 : 3, targets[i], 2 + (uint32_t)seed % 5);
}

/* What is read and written again is the same batch, byte for byte. */
static void what_is_read_is_written_again(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world world;
        struct made made, again;
        world_init(&world, seed, seed % 2 ? 20 : 4);
        for (uint32_t i = 0; i < 5 * seed; i++)
            world_add_target(&world);
        for (uint32_t round = 1; round < 1 + seed % 3; round++)
            world_add_round(&world);
        make(&made, &world);
        made_init(&again);
        again.envelope.span_ms = made.envelope.span_ms;
        struct batch_reader *reader = NULL;
        assert_int_equal(batch_reader_open(made.batch.data, made.batch.len, made.table, &reader), 0);
        assert_int_equal(batch_writer_add_batch(again.writer, reader, 0), 0);
        batch_reader_free(reader);
        assert_int_equal(batch_writer_finish(again.writer, &again.envelope, again.table, &again.batch), 0);
        assert_int_equal(again.batch.len, made.batch.len);
        assert_memory_equal(again.batch.data, made.batch.data, made.batch.len);
        made_done(&made);
        made_done(&again);
        world_done(&world);
    }
}

static void a_writer_begins_again_after_reset(void **state)
{
    (void)state;
    struct world world;
    struct made made;
    world_init(&world, 5, 10);
    for (uint32_t i = 0; i < 30; i++)
        world_add_target(&world);
    make(&made, &world);
    CLEANUP(buf_done) struct buf first = BUF_INIT(BATCH_BYTES_MAX);
    buf_append(&first, made.batch.data, made.batch.len);
    batch_writer_release(made.writer, made.table);
    batch_writer_reset(made.writer);
    assert_int_equal(batch_writer_entries(made.writer), 0);
    buf_reset(&made.batch);
    made.envelope = world_envelope();
    for (uint32_t i = 0; i < world.item_count; i++)
        assert_int_equal(batch_writer_add(made.writer, &world.items[i].item), 0);
    assert_int_equal(batch_writer_finish(made.writer, &made.envelope, made.table, &made.batch), 0);
    assert_int_equal(made.batch.len, first.len);
    assert_memory_equal(made.batch.data, first.data, first.len);
    made_done(&made);
    world_done(&world);
}

/* ---- Damage ---- */

/* Reads all there is; what is claimed must lie within what is there. */
static int read_all(struct batch_reader *reader)
{
    size_t entries;
    batch_reader_entries(reader, &entries);
    struct batch_block block;
    int more;
    while ((more = batch_reader_next(reader, &block)) > 0) {
        uint32_t records = block.entry_count * block.family->count;
        assert_true(block.entry_count > 0 && block.family->count > 0);
        for (uint32_t i = 0; i < block.entry_count; i++)
            assert_true(block.entries[i] < entries);
        for (uint32_t i = 0; i < block.extra_count; i++)
            assert_true(block.extras[i].index < records &&
                        (i == 0 || block.extras[i - 1].index <= block.extras[i].index));
    }
    return more;
}

static int open_and_read(const struct made *made, const void *bytes, size_t len)
{
    uint8_t *copy;
    struct batch_reader *reader = NULL;
    int error = open_copy(made, bytes, len, &copy, &reader);
    if (error == 0) {
        error = read_all(reader);
        batch_reader_free(reader);
    }
    mem_free(copy);
    assert_true(error <= 0);
    return error;
}

static void every_truncation_is_an_error(void **state)
{
    (void)state;
    struct world world;
    struct made made;
    world_init(&world, 7, 12);
    for (uint32_t i = 0; i < 24; i++)
        world_add_target(&world);
    make(&made, &world);
    for (size_t len = 0; len < made.batch.len; len++)
        assert_true(open_and_read(&made, made.batch.data, len) < 0);
    assert_int_equal(open_and_read(&made, made.batch.data, made.batch.len), 0);
    made_done(&made);
    world_done(&world);
}

/* The body's two bins, out of zstd. */
struct bins {
    uint8_t *raw;
    struct str header, payload;
};

static void take_bins(const struct made *made, struct bins *bins)
{
    CLEANUP(arena_done) struct arena arena = {0};
    struct envelope envelope;
    struct str body;
    assert_int_equal(envelope_decode(made->batch.data, made->batch.len, &arena, &envelope, &body), 0);
    bins->raw = mem_alloc(envelope.body_raw_bytes);
    assert_int_equal(ZSTD_decompress(bins->raw, envelope.body_raw_bytes, body.ptr, body.len), envelope.body_raw_bytes);
    struct unpack in = unpack_of(bins->raw, envelope.body_raw_bytes);
    assert_int_equal(unpack_array(&in, 2), 2);
    bins->header = unpack_bin(&in, SIZE_MAX);
    bins->payload = unpack_bin(&in, SIZE_MAX);
    assert_true(unpack_done(&in));
}

/* The same envelope around another body, whose checksum is right. */
static void wrap(const struct made *made, struct str header, struct str payload, struct buf *out)
{
    CLEANUP(buf_done) struct buf raw = BUF_INIT(BATCH_RAW_BYTES_MAX);
    pack_array(&raw, 2);
    pack_bin(&raw, header.ptr, header.len);
    pack_bin(&raw, payload.ptr, payload.len);
    struct envelope envelope = made->envelope;
    envelope.body_bytes = envelope.body_raw_bytes = raw.len;
    envelope.body_crc32c = crc32c(0, raw.data, raw.len);
    buf_reset(out);
    assert_int_equal(envelope_encode(&envelope, out), 0);
    assert_int_equal(buf_append(out, raw.data, raw.len), 0);
}

static void every_truncation_inside_the_body_is_an_error(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world world;
        struct made made;
        struct bins bins;
        CLEANUP(buf_done) struct buf batch = BUF_INIT(BATCH_BYTES_MAX);
        world_init(&world, seed, seed % 2 ? 2 : 6);
        for (uint32_t i = 0; i < (seed > 2 ? 30 : 3); i++)
            world_add_target(&world);
        make(&made, &world);
        take_bins(&made, &bins);
        wrap(&made, bins.header, bins.payload, &batch);
        assert_int_equal(open_and_read(&made, batch.data, batch.len), 0);
        for (size_t len = 0; len < bins.header.len; len++) {
            wrap(&made, str_of(bins.header.ptr, len), bins.payload, &batch);
            assert_true(open_and_read(&made, batch.data, batch.len) < 0);
        }
        for (size_t len = 0; len < bins.payload.len; len++) {
            wrap(&made, bins.header, str_of(bins.payload.ptr, len), &batch);
            assert_true(open_and_read(&made, batch.data, batch.len) < 0);
        }
        mem_free(bins.raw);
        made_done(&made);
        world_done(&world);
    }
}

static void flips_inside_the_body_harm_nothing(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 99);
    size_t taken = 0, refused = 0;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world world;
        struct made made;
        struct bins bins;
        CLEANUP(buf_done) struct buf batch = BUF_INIT(BATCH_BYTES_MAX);
        world_init(&world, seed, seed % 2 ? 2 : 6);
        for (uint32_t i = 0; i < (seed > 2 ? 30 : 3); i++)
            world_add_target(&world);
        make(&made, &world);
        take_bins(&made, &bins);
        size_t header_at = (size_t)((const uint8_t *)bins.header.ptr - bins.raw);
        size_t payload_at = (size_t)((const uint8_t *)bins.payload.ptr - bins.raw);
        for (int i = 0; i < 2500; i++) {
            /* The header is where the claims are. */
            bool header = random_below(&random, 4) > 0;
            size_t at = header ? header_at + random_below(&random, bins.header.len)
                               : payload_at + random_below(&random, bins.payload.len);
            uint8_t before = bins.raw[at];
            bins.raw[at] = random_below(&random, 2) ? (uint8_t)(before ^ (1U << random_below(&random, 8)))
                                                    : (uint8_t)random_next(&random);
            wrap(&made, bins.header, bins.payload, &batch);
            int error = open_and_read(&made, batch.data, batch.len);
            assert_true(error == 0 || error == -EBADMSG || error == -EMSGSIZE);
            taken += error == 0;
            refused += error < 0;
            bins.raw[at] = before;
        }
        mem_free(bins.raw);
        made_done(&made);
        world_done(&world);
    }
    assert_true(taken > 500 && refused > 500);
}

/* Whole batches travel in frames: there no flip gets through, and a bare one harms nothing. */
static void flips_of_a_batch_are_errors(void **state)
{
    (void)state;
    struct world world;
    struct made made;
    struct random random;
    random_seed(&random, 100);
    world_init(&world, 11, 8);
    for (uint32_t i = 0; i < 25; i++)
        world_add_target(&world);
    make(&made, &world);
    CLEANUP(buf_done) struct buf framed = BUF_INIT(16 * MIB);
    assert_int_equal(frame_append(&framed, FRAME_BATCH, made.batch.data, made.batch.len), 0);
    size_t body_at = made.batch.len - made.envelope.body_bytes;
    for (int i = 0; i < 10000; i++) {
        size_t at = random_below(&random, framed.len);
        uint8_t bit = (uint8_t)(1U << random_below(&random, 8));
        framed.data[at] ^= bit;
        struct frame frame;
        size_t frame_at = 0;
        assert_int_equal(frame_next(buf_view(&framed), &frame_at, &frame), 0);
        framed.data[at] ^= bit;
        at = random_below(&random, made.batch.len);
        made.batch.data[at] ^= bit;
        int error = open_and_read(&made, made.batch.data, made.batch.len);
        if (at >= body_at)
            assert_int_equal(error, -EBADMSG);
        made.batch.data[at] ^= bit;
    }
    made_done(&made);
    world_done(&world);
}

/* ---- Limits ---- */

static void a_missing_layout_is_said(void **state)
{
    (void)state;
    struct world world;
    struct made made;
    world_init(&world, 3, 4);
    world_add_target(&world);
    make(&made, &world);
    struct batch_reader *reader = NULL;
    CLEANUP(layout_table_freep) struct layout_table *other = layout_table_new(64 * MIB, 64 * MIB);
    assert_int_equal(batch_reader_open(made.batch.data, made.batch.len, other, &reader), -ENOENT);
    assert_null(reader);
    /* One that is there, but is something else. */
    assert_int_equal(layout_table_hold(made.table, world.pages[0]), 0);
    made.envelope.targets = world.pages[0]->hash;
    made.envelope.page_count = 0;
    CLEANUP(buf_done) struct buf batch = BUF_INIT(BATCH_BYTES_MAX);
    wrap(&made, STR("\0"), STR(""), &batch);
    assert_int_equal(open_and_read(&made, batch.data, batch.len), -EBADMSG);
    layout_table_release(made.table, world.pages[0]->hash);
    made_done(&made);
    world_done(&world);
}

static void another_body_version_is_told_apart(void **state)
{
    (void)state;
    struct world world;
    struct made made;
    world_init(&world, 3, 4);
    make(&made, &world);
    CLEANUP(buf_done) struct buf batch = BUF_INIT(BATCH_BYTES_MAX);
    wrap(&made, STR("\0"), STR(""), &batch);
    assert_int_equal(open_and_read(&made, batch.data, batch.len), 0);
    made.envelope.body_version = BATCH_BODY_VERSION + 1;
    wrap(&made, STR("\0"), STR(""), &batch);
    assert_int_equal(open_and_read(&made, batch.data, batch.len), -EPROTO);
    made_done(&made);
    world_done(&world);
}

/* A few bytes that claim millions of extras, family after family: a bound for all of them together. */
static void claims_of_extras_are_bounded(void **state)
{
    (void)state;
    struct world world;
    struct made made;
    CLEANUP(buf_done) struct buf header = BUF_INIT(10000), batch = BUF_INIT(BATCH_BYTES_MAX);
    world_init(&world, 41, 1);
    world_add_target(&world);
    made_init(&made);
    struct batch_item item = world.items[0].item;
    struct record *records = mem_array(world.page_slots[world.items[0].page], sizeof(*records));
    item.count = 4;
    item.records = records;
    item.extra_count = 0;
    assert_int_equal(batch_writer_add(made.writer, &item), 0);
    assert_int_equal(batch_writer_finish(made.writer, &made.envelope, made.table, &made.batch), 0);
    assert_true(item.page->count > 2);
    static const char zeros[8 * KIB]; /* what pays for the claims of the first */
    for (int c = 0; c < 2; c++) {
        uint64_t claimed = c == 0 ? 1000 : BATCH_EXTRAS_MAX / 2 + 1;
        buf_reset(&header);
        buf_append(&header,
                   "\x01\x01"
                   "\x00\xff"
                   "\x00\xff"
                   "\x00\xff"
                   "\x08\xff"
                   "\x00\xff",
                   12); /* a round of an entry, 4 scrapes */
        for (uint32_t f = 0; f < item.page->count; f++) {
            buf_append(&header,
                       "\x01\x00\xff"
                       "\x00"
                       "\x00",
                       5); /* last values 0, nothing odd, nothing changes */
            buf_append_uvarint(&header, claimed);
            buf_append(&header,
                       "\x00\xff"
                       "\x02\xff"
                       "\x01\x00\xff",
                       7); /* all at one place, 1 ms before it, 0 */
        }
        wrap(&made, buf_view(&header), str_of(zeros, sizeof(zeros)), &batch);
        assert_int_equal(open_and_read(&made, batch.data, batch.len), c == 0 ? 0 : -EBADMSG);
    }
    mem_free(records);
    made_done(&made);
    world_done(&world);
}

/* A body that claims more than it may: refused before memory is taken for it. */
static void a_body_too_large_is_refused(void **state)
{
    (void)state;
    struct world world;
    struct made made;
    world_init(&world, 3, 4);
    make(&made, &world);
    size_t raw_len = 32 * MIB;
    uint8_t *raw = mem_zalloc(raw_len);
    CLEANUP(buf_done) struct buf body = BUF_INIT(1 * MIB), batch = BUF_INIT(BATCH_BYTES_MAX);
    uint8_t *room = buf_reserve(&body, 1 * MIB);
    size_t len = ZSTD_compress(room, 1 * MIB, raw, raw_len, 1);
    assert_false(ZSTD_isError(len));
    mem_free(raw);
    struct envelope envelope = made.envelope;
    envelope.body_bytes = len;
    envelope.body_crc32c = crc32c(0, room, len);
    const uint64_t claims[] = {raw_len, BATCH_RAW_BYTES_MAX + 1, UINT32_MAX, 1000};
    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        envelope.body_raw_bytes = claims[i];
        buf_reset(&batch);
        assert_int_equal(envelope_encode(&envelope, &batch), 0);
        assert_int_equal(buf_append(&batch, room, len), 0);
        assert_int_equal(open_and_read(&made, batch.data, batch.len), claims[i] == 1000 ? -EBADMSG : -EMSGSIZE);
    }
    made_done(&made);
    world_done(&world);
}

/* Values that compress better than a reader allows: the body is stored as it is. */
static void a_very_even_batch_is_read(void **state)
{
    (void)state;
    struct world world;
    struct made made;
    world_init(&world, 21, 50);
    made_init(&made);
    struct batch_item item = {.page = world.pages[0], .time_ms = WORLD_WINDOW_MS, .count = 4};
    uint32_t slots = world.page_slots[0], targets = 300000 / slots;
    struct record *records = mem_array(slots, sizeof(*records));
    for (uint32_t t = 0; t < targets; t++) {
        /* Every other target has numbers of 51 bits. */
        for (uint32_t slot = 0; slot < slots; slot++)
            records[slot] = (struct record){
                .time_ms = item.time_ms, .count = 4, .kind = KIND_COUNTER, .last = t % 2 ? 1125899906842625.0 : 0};
        char name[16];
        snprintf(name, sizeof(name), "h%u", t);
        struct label label = {STR("instance"), str_from(name)};
        CLEANUP(labels_unrefp) struct labels *labels = labels_new(&label, 1);
        item.target = labels;
        item.records = records;
        assert_int_equal(batch_writer_add(made.writer, &item), 0);
    }
    assert_int_equal(batch_writer_finish(made.writer, &made.envelope, made.table, &made.batch), 0);
    assert_true(made.envelope.body_raw_bytes > BATCH_RAW_FREE_BYTES);
    assert_int_equal(made.envelope.body_raw_bytes, made.envelope.body_bytes);
    assert_int_equal(open_and_read(&made, made.batch.data, made.batch.len), 0);
    mem_free(records);
    made_done(&made);
    world_done(&world);
}

/* The writer says when a part is full, whatever the limit; what it took so far can be finished and read. */
static void a_full_part_can_be_finished(void **state)
{
    (void)state;
    struct world world;
    struct made made;
    world_init(&world, 31, 50);
    world_add_target(&world);
    made_init(&made);
    struct batch_item item = world.items[0].item;
    size_t added = 0;
    int error = 0;
    for (; error == 0 && added <= BATCH_ENTRIES_MAX; added += error == 0) {
        char name[32];
        snprintf(name, sizeof(name), "host-%zu", added);
        struct label label = {STR("instance"), str_from(name)};
        CLEANUP(labels_unrefp) struct labels *labels = labels_new(&label, 1);
        item.target = labels;
        error = batch_writer_add(made.writer, &item);
    }
    assert_int_equal(error, -EMSGSIZE);
    assert_int_equal(batch_writer_entries(made.writer), added);
    assert_int_equal(batch_writer_finish(made.writer, &made.envelope, made.table, &made.batch), 0);
    assert_true(made.batch.len <= BATCH_PART_BYTES + 1 * MIB);
    assert_int_equal(open_and_read(&made, made.batch.data, made.batch.len), 0);
    made_done(&made);
    world_done(&world);
}

static void too_many_targets_are_refused_by_the_writer(void **state)
{
    (void)state;
    struct world world;
    struct made made;
    world_init(&world, 31, 1);
    made_init(&made);
    struct batch_item item = {.page = world.pages[0], .time_ms = WORLD_WINDOW_MS, .stale_ms = WORLD_WINDOW_MS};
    size_t added = 0;
    int error = 0;
    for (; error == 0; added += error == 0) {
        char name[32];
        snprintf(name, sizeof(name), "host-%zu", added);
        struct label label = {STR("instance"), str_from(name)};
        CLEANUP(labels_unrefp) struct labels *labels = labels_new(&label, 1);
        item.target = labels;
        error = batch_writer_add(made.writer, &item);
    }
    assert_int_equal(error, -EMSGSIZE);
    assert_int_equal(added, LAYOUT_TARGETS_MAX);
    assert_int_equal(batch_writer_finish(made.writer, &made.envelope, made.table, &made.batch), 0);
    assert_int_equal(open_and_read(&made, made.batch.data, made.batch.len), 0);
    made_done(&made);
    world_done(&world);
}

/* A page of one family of `slots` series, whose label values are of `value_bytes`. */
static struct layout *family_of(unsigned number, uint32_t slots, size_t value_bytes)
{
    char name[32];
    struct label *labels = mem_array(slots, sizeof(*labels));
    struct layout_slot *list = mem_array(slots, sizeof(*list));
    CLEANUP_FREE char *texts = mem_alloc(slots * value_bytes);
    memset(texts, 'x', slots * value_bytes);
    for (uint32_t i = 0; i < slots; i++) {
        char digits[16];
        int len = snprintf(digits, sizeof(digits), "%07u", i);
        memcpy(texts + i * value_bytes, digits, (size_t)len);
        labels[i] = (struct label){STR("slot"), str_of(texts + i * value_bytes, value_bytes)};
        list[i] = (struct layout_slot){.labels = &labels[i], .label_count = 1};
    }
    snprintf(name, sizeof(name), "family_%u", number);
    struct layout_family_spec spec = {
        .name = str_from(name), .metric_type = METRIC_GAUGE, .slots = list, .count = slots};
    struct layout *family = layout_family_new(&spec);
    assert_non_null(family);
    mem_free(labels);
    mem_free(list);
    return family;
}

/* Adds targets that ended and showed a page of this family last, until one is refused. */
static size_t add_ended(struct made *made, struct layout *family, bool own_page)
{
    size_t added = 0;
    for (int error = 0; error == 0; added += error == 0) {
        char name[32];
        snprintf(name, sizeof(name), "host-%zu", added);
        struct label label = {STR("instance"), str_from(name)};
        CLEANUP(labels_unrefp) struct labels *labels = labels_new(&label, 1);
        CLEANUP(layout_unrefp)
        struct layout *own = own_page ? family_of((unsigned)added, 1000, 3000) : layout_ref(family);
        CLEANUP(layout_unrefp) struct layout *page = layout_page_new(&own, 1);
        struct batch_item item = {
            .target = labels, .page = page, .time_ms = WORLD_WINDOW_MS, .stale_ms = WORLD_WINDOW_MS + 1};
        error = batch_writer_add(made->writer, &item);
        assert_true(error == 0 || error == -EMSGSIZE);
    }
    return added;
}

/* Each series of a target that ended gets a marker: these are bounded like records, at both ends. */
static void markers_are_bounded(void **state)
{
    (void)state;
    struct made made;
    CLEANUP(buf_done) struct buf batch = BUF_INIT(BATCH_BYTES_MAX);
    CLEANUP(layout_unrefp) struct layout *family = family_of(0, LAYOUT_SLOTS_MAX, 7);
    made_init(&made);
    assert_int_equal(add_ended(&made, family, false), BATCH_RECORDS_MAX / LAYOUT_SLOTS_MAX);
    assert_int_equal(batch_writer_finish(made.writer, &made.envelope, made.table, &made.batch), 0);
    assert_int_equal(open_and_read(&made, made.batch.data, made.batch.len), 0);
    /* Entries: all of one target and page, no scrapes, ended. */
    static const char columns[] = "\x00\xff\x00\xff\x00\xff\x00\xff\x02\xff";
    CLEANUP(buf_done) struct buf header = BUF_INIT(KIB);
    CLEANUP_FREE char *zeros = mem_zalloc(MIB);
    buf_append_byte(&header, 1); /* round */
    buf_append_uvarint(&header, BATCH_RECORDS_MAX / LAYOUT_SLOTS_MAX + 1);
    buf_append(&header, columns, sizeof(columns) - 1);
    wrap(&made, buf_view(&header), str_of(zeros, MIB), &batch);
    assert_int_equal(open_and_read(&made, batch.data, batch.len), -EBADMSG);
    made_done(&made);
}

/* What a receiver may have to hold for one batch is bounded by the writer. */
static void layouts_of_a_part_are_bounded(void **state)
{
    (void)state;
    struct made made;
    made_init(&made);
    assert_int_equal(add_ended(&made, NULL, true), BATCH_LAYOUT_BYTES / 3000000);
    assert_int_equal(batch_writer_finish(made.writer, &made.envelope, made.table, &made.batch), 0);
    made_done(&made);
}

/* A small batch that names one large page again and again must not become gigabytes. */
static void a_page_named_often_is_refused(void **state)
{
    (void)state;
    enum { FAMILIES = 1000, PAGES = 40000 };
    struct made made;
    CLEANUP(buf_done) struct buf batch = BUF_INIT(BATCH_BYTES_MAX);
    struct layout *families[FAMILIES];
    for (unsigned i = 0; i < FAMILIES; i++)
        families[i] = family_of(i, 1, 7);
    CLEANUP(layout_unrefp) struct layout *page = layout_page_new(families, FAMILIES);
    struct label label = {STR("instance"), STR("host")};
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(&label, 1);
    struct batch_item item = {.target = labels, .page = page, .time_ms = WORLD_WINDOW_MS, .stale_ms = WORLD_WINDOW_MS};
    made_init(&made);
    assert_int_equal(batch_writer_add(made.writer, &item), 0);
    assert_int_equal(batch_writer_finish(made.writer, &made.envelope, made.table, &made.batch), 0);
    struct hash128 *pages = mem_array(PAGES, sizeof(*pages));
    for (unsigned i = 0; i < PAGES; i++)
        pages[i] = page->hash;
    made.envelope.pages = pages;
    made.envelope.page_count = PAGES;
    wrap(&made, STR("\x01\x01\x00\xff\x00\xff\x00\xff\x00\xff\x02\xff"), STR(""), &batch);
    assert_int_equal(open_and_read(&made, batch.data, batch.len), -EBADMSG);
    mem_free(pages);
    for (unsigned i = 0; i < FAMILIES; i++)
        layout_unref(families[i]);
    made_done(&made);
}

/* A page that no entry shows would be families that nobody claims. */
static void a_page_without_an_entry_is_refused(void **state)
{
    (void)state;
    struct world world;
    struct made made;
    CLEANUP(buf_done) struct buf batch = BUF_INIT(BATCH_BYTES_MAX);
    static const char zeros[KIB];
    world_init(&world, 3, 4);
    make(&made, &world);
    struct hash128 pages[2];
    for (uint32_t p = 0; p < 2; p++) {
        pages[p] = world.pages[p]->hash;
        assert_int_equal(layout_table_hold(made.table, world.pages[p]), 0);
    }
    world_add_target(&world);
    CLEANUP(layout_unrefp) struct layout *targets = layout_targets_new(world.targets, 1);
    assert_int_equal(layout_table_hold(made.table, targets), 0);
    made.envelope.targets = targets->hash;
    made.envelope.pages = pages;
    for (uint32_t named = 0; named <= 2; named++) {
        made.envelope.page_count = named;
        /* Two entries that end: both of page 0; of page 0 and of page 1, the first in two bits a number. */
        wrap(&made, STR("\x01\x02\x00\xff\x00\xff\x00\xff\x00\xff\x02\xff"), str_of(zeros, sizeof(zeros)), &batch);
        assert_int_equal(open_and_read(&made, batch.data, batch.len), named == 1 ? 0 : -EBADMSG);
        wrap(&made, STR("\x01\x02\x00\xff\x00\x01\x00\x00\x00\xff\x00\xff\x02\xff"), STR("\x02"), &batch);
        assert_int_equal(open_and_read(&made, batch.data, batch.len), named == 2 ? 0 : -EBADMSG);
    }
    for (uint32_t p = 0; p < 2; p++)
        layout_table_release(made.table, pages[p]);
    layout_table_release(made.table, targets->hash);
    made_done(&made);
    world_done(&world);
}

/* At most so many extras in a batch, not in each family or round of it, even where all of them are paid for. */
static void extras_of_a_batch_are_bounded(void **state)
{
    (void)state;
    enum { ROUNDS = 2 };
    struct made made;
    CLEANUP(buf_done) struct buf header = BUF_INIT(KIB), batch = BUF_INIT(BATCH_BYTES_MAX);
    CLEANUP(layout_unrefp) struct layout *family = family_of(0, 1, 7);
    CLEANUP(layout_unrefp) struct layout *page = layout_page_new(&family, 1);
    struct label label = {STR("instance"), STR("host")};
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(&label, 1);
    struct batch_item item = {.target = labels, .page = page, .time_ms = WORLD_WINDOW_MS, .stale_ms = WORLD_WINDOW_MS};
    made_init(&made);
    assert_int_equal(batch_writer_add(made.writer, &item), 0);
    assert_int_equal(batch_writer_finish(made.writer, &made.envelope, made.table, &made.batch), 0);
    made.envelope.span_ms = ROUNDS * made.envelope.resolution_ms;
    size_t paid = 2 * MIB;
    CLEANUP_FREE char *zeros = mem_zalloc(paid);
    for (uint64_t more = 0; more < 2; more++) {
        buf_reset(&header);
        buf_append_byte(&header, ROUNDS);
        for (int round = 0; round < ROUNDS; round++) /* an entry, a scrape */
            buf_append(&header, "\x01\x00\xff\x00\xff\x00\xff\x02\xff\x00\xff", 11);
        for (int round = 0; round < ROUNDS; round++) {
            /* Last value 0, nothing odd, nothing changes; extras at one place, 1 ms before it, 0. */
            buf_append(&header, "\x01\x00\xff\x00\x00", 5);
            buf_append_uvarint(&header, BATCH_EXTRAS_MAX / ROUNDS + (round > 0 ? more : 0));
            buf_append(&header, "\x00\xff\x02\xff\x01\x00\xff", 7);
        }
        wrap(&made, buf_view(&header), str_of(zeros, paid), &batch);
        assert_int_equal(open_and_read(&made, batch.data, batch.len), more == 0 ? 0 : -EBADMSG);
    }
    made_done(&made);
}

static void no_room_for_layouts_leaves_nothing_held(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, 31, 20);
    world_add_target(&world);
    for (uint64_t bytes = 0; bytes < 20000; bytes += 97) {
        struct made made;
        made_init(&made);
        layout_table_free(made.table);
        made.table = layout_table_new(bytes, bytes);
        assert_int_equal(batch_writer_add(made.writer, &world.items[0].item), 0);
        int error = batch_writer_finish(made.writer, &made.envelope, made.table, &made.batch);
        assert_true(error == 0 || error == -ENOSPC);
        batch_writer_release(made.writer, made.table);
        assert_true(layout_table_cache_bytes(made.table) <= bytes);
        made_done(&made);
    }
    world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(rounds_are_read),
        cmocka_unit_test(what_is_read_is_written_again),
        cmocka_unit_test(a_writer_begins_again_after_reset),
        cmocka_unit_test(every_truncation_is_an_error),
        cmocka_unit_test(every_truncation_inside_the_body_is_an_error),
        cmocka_unit_test(flips_inside_the_body_harm_nothing),
        cmocka_unit_test(flips_of_a_batch_are_errors),
        cmocka_unit_test(a_missing_layout_is_said),
        cmocka_unit_test(another_body_version_is_told_apart),
        cmocka_unit_test(claims_of_extras_are_bounded),
        cmocka_unit_test(a_body_too_large_is_refused),
        cmocka_unit_test(a_very_even_batch_is_read),
        cmocka_unit_test(a_full_part_can_be_finished),
        cmocka_unit_test(too_many_targets_are_refused_by_the_writer),
        cmocka_unit_test(markers_are_bounded),
        cmocka_unit_test(layouts_of_a_part_are_bounded),
        cmocka_unit_test(a_page_named_often_is_refused),
        cmocka_unit_test(a_page_without_an_entry_is_refused),
        cmocka_unit_test(extras_of_a_batch_are_bounded),
        cmocka_unit_test(no_room_for_layouts_leaves_nothing_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
