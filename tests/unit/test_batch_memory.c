/* What a small hostile batch may cost: a batch of 1 KiB never has more than 1 MiB allocated for it, whatever it claims.
 * Counts what malloc gives, so not under sanitizers, which have their own. */
#include "batch_world.h"
#include "hop/batch_body.h"
#include "hop/column.h"
#include "hop/pack.h"

#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <zstd.h>

#include <cmocka.h>

#define BATCH_BYTES  KIB
#define MEMORY_BYTES MIB

static size_t live_bytes, peak_bytes;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
#define COUNTS_MEMORY 1
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t bytes);
extern void __libc_free(void *memory);

static void *counted(void *memory)
{
    live_bytes += memory ? malloc_usable_size(memory) : 0;
    peak_bytes = MAX(peak_bytes, live_bytes);
    return memory;
}

void *malloc(size_t bytes)
{
    return counted(__libc_malloc(bytes));
}

void *calloc(size_t count, size_t size)
{
    return counted(__libc_calloc(count, size));
}

void *realloc(void *memory, size_t bytes)
{
    size_t before = memory ? malloc_usable_size(memory) : 0;
    void *moved = __libc_realloc(memory, bytes);
    if (moved)
        live_bytes -= before;
    return counted(moved);
}

void free(void *memory)
{
    live_bytes -= memory ? malloc_usable_size(memory) : 0;
    __libc_free(memory);
}
#else
#define COUNTS_MEMORY 0
#endif

/* A target that shows a page of one family with many slots, and one with one slot. */
struct scene {
    struct layout_table *table;
    struct layout *families[2], *pages[2], *targets;
    struct labels *target;
    struct envelope envelope;
    struct hash128 hashes[2];
};

static struct layout *family_of(const char *name, uint32_t slots)
{
    struct layout_slot *list = mem_array(slots, sizeof(*list));
    struct label *labels = mem_array(slots, sizeof(*labels));
    char *texts = mem_array(slots, 8);
    for (uint32_t i = 0; i < slots; i++) {
        snprintf(texts + (size_t)i * 8, 8, "%07u", i);
        labels[i] = (struct label){STR("slot"), str_of(texts + (size_t)i * 8, 7)};
        list[i] = (struct layout_slot){.labels = &labels[i], .label_count = 1};
    }
    struct layout_family_spec spec = {
        .name = str_from(name), .metric_type = METRIC_GAUGE, .slots = list, .count = slots};
    struct layout *family = layout_family_new(&spec);
    ASSERT(family);
    mem_free(list);
    mem_free(labels);
    mem_free(texts);
    return family;
}

static void scene_init(struct scene *scene)
{
    struct label label = {STR("instance"), STR("host")};
    *scene = (struct scene){.table = layout_table_new(64 * MIB, 64 * MIB), .envelope = world_envelope()};
    scene->target = labels_new(&label, 1);
    scene->targets = layout_targets_new(&scene->target, 1);
    ASSERT(layout_table_hold(scene->table, scene->targets) == 0);
    for (int i = 0; i < 2; i++) {
        scene->families[i] = family_of(i ? "many" : "one", i ? 4000 : 1);
        scene->pages[i] = layout_page_new(&scene->families[i], 1);
        scene->hashes[i] = scene->pages[i]->hash;
        ASSERT(layout_table_hold(scene->table, scene->pages[i]) == 0);
    }
    scene->envelope.targets = scene->targets->hash;
    scene->envelope.page_count = 1; /* that of the entries: show() */
    scene->envelope.body_version = BATCH_BODY_VERSION;
}

static void show(struct scene *scene, int page)
{
    scene->envelope.pages = &scene->hashes[page];
}

static void scene_done(struct scene *scene)
{
    for (int i = 0; i < 2; i++) {
        layout_unref(scene->families[i]);
        layout_unref(scene->pages[i]);
    }
    layout_unref(scene->targets);
    labels_unref(scene->target);
    layout_table_free(scene->table);
}

/* A batch of BATCH_BYTES with this header, whose payload is zeros as far as there is room. */
static void wrap(const struct scene *scene, const struct buf *header, bool zstd, struct buf *out)
{
    static const uint8_t zeros[64 * KIB];
    CLEANUP(buf_done) struct buf raw = BUF_INIT(MIB), body = BUF_INIT(MIB);
    struct envelope envelope = scene->envelope;
    for (size_t payload = zstd ? 60 * KIB : 600;; payload -= 8) {
        buf_reset(&raw);
        buf_reset(&body);
        buf_reset(out);
        pack_array(&raw, 2);
        pack_bin(&raw, header->data, header->len);
        pack_bin(&raw, zeros, payload);
        if (zstd)
            buf_added(&body, ZSTD_compress(buf_reserve(&body, MIB), MIB, raw.data, raw.len, 1));
        else
            buf_append(&body, raw.data, raw.len);
        envelope.body_bytes = body.len;
        envelope.body_raw_bytes = raw.len;
        envelope.body_crc32c = crc32c(0, body.data, body.len);
        ASSERT(envelope_encode(&envelope, out) == 0 && buf_append(out, body.data, body.len) == 0);
        if (out->len <= BATCH_BYTES)
            return;
        ASSERT(payload >= 8);
    }
}

/* Opens and reads; what it took at the most goes to peak_bytes. */
static int measure(const struct scene *scene, const struct buf *batch)
{
    size_t before = live_bytes;
    struct batch_reader *reader = NULL;
    struct batch_block block;
    peak_bytes = live_bytes;
    int result = batch_reader_open(batch->data, batch->len, scene->table, &reader);
    while (result >= 0 && (result = batch_reader_next(reader, &block)) > 0) {
    }
    batch_reader_free(reader);
    peak_bytes -= before;
    if (COUNTS_MEMORY)
        assert_int_equal(live_bytes, before);
    assert_true(peak_bytes < MEMORY_BYTES);
    return result;
}

static const int64_t zero, one = 1;

/* Columns in which all numbers are the same: claims that cost nothing. */
static void same_ints(struct buf *header, int64_t number)
{
    column_append_signed(header, number);
    buf_append_byte(header, 0xff);
}

static void entries_of(struct buf *header, uint64_t count)
{
    buf_append_byte(header, 1); /* a round */
    buf_append_uvarint(header, count);
    for (int column = 0; column < BATCH_ENTRY_COLUMNS; column++)
        same_ints(header, column == 3 ? one : zero); /* a scrape each */
}

static void same_doubles(struct buf *header)
{
    buf_append_byte(header, 1);
    same_ints(header, zero);
}

/* Every record odd and changing, with extras: all arrays that there are. */
static void family_of_claims(struct buf *header, uint32_t slots, uint32_t members, uint64_t extras)
{
    uint32_t columns = members < BATCH_SLOT_COLUMN_MEMBERS ? 1 : slots;
    for (uint32_t i = 0; i < columns; i++)
        same_doubles(header);
    buf_append_uvarint(header, (uint64_t)slots * members);
    for (int i = 0; i < 3; i++)
        same_ints(header, i == 0 ? zero : one);
    buf_append_uvarint(header, 0);
    buf_append_uvarint(header, extras);
    same_ints(header, zero);
    same_ints(header, one);
    same_doubles(header);
}

static void claims_of_a_small_batch_are_cheap(void **state)
{
    (void)state;
    struct scene scene;
    scene_init(&scene);
    CLEANUP(buf_done) struct buf header = BUF_INIT(64 * KIB), batch = BUF_INIT(MIB);
    size_t largest = 0;
    static const uint64_t counts[] = {1, 2, 10, 100, 1000, 2000, 2700, 4000, 16384, 131072, 1000000};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        for (int page = 0; page < 2; page++) {
            for (int extras = 0; extras < 3; extras++) {
                buf_reset(&header);
                show(&scene, page);
                entries_of(&header, counts[i]);
                /* Steps of 0 are not allowed for odd ones: they end it behind the places; extras are tried without. */
                if (extras == 0)
                    family_of_claims(&header, page ? 4000 : 1, (uint32_t)counts[i], 0);
                else
                    for (uint32_t c = 0; c < (counts[i] < BATCH_SLOT_COLUMN_MEMBERS || !page ? 1 : 4000); c++)
                        same_doubles(&header);
                if (extras > 0) {
                    buf_append(&header, "\0\0", 2);
                    buf_append_uvarint(&header, extras == 1 ? 1500 : BATCH_EXTRAS_MAX);
                    same_ints(&header, zero);
                    same_ints(&header, one);
                    same_doubles(&header);
                }
                if (header.len > BATCH_BYTES / 2)
                    continue;
                wrap(&scene, &header, false, &batch);
                measure(&scene, &batch);
                largest = MAX(largest, peak_bytes);
                wrap(&scene, &header, true, &batch);
                measure(&scene, &batch);
                largest = MAX(largest, peak_bytes);
            }
        }
    }
    print_message("at most %zu bytes for a batch of %d\n", largest, (int)BATCH_BYTES);
    assert_true(!COUNTS_MEMORY || largest > 100 * KIB); /* or nothing was claimed at all */
    scene_done(&scene);
}

/* Real batches, small ones, with bytes changed by chance. */
static void flipped_batches_are_cheap(void **state)
{
    (void)state;
    struct random random;
    struct scene scene;
    random_seed(&random, 5);
    scene_init(&scene);
    CLEANUP(buf_done) struct buf header = BUF_INIT(64 * KIB), batch = BUF_INIT(MIB);
    for (int i = 0; i < 20000; i++) {
        buf_reset(&header);
        show(&scene, random_below(&random, 2) > 0);
        entries_of(&header, 1 + random_below(&random, 40));
        for (uint64_t bytes = random_below(&random, 200); bytes > 0; bytes--)
            buf_append_byte(&header, random_below(&random, 3) ? 0xff : (uint8_t)random_next(&random));
        for (int flips = 0; flips < 3; flips++)
            header.data[random_below(&random, header.len)] ^= (uint8_t)(1U << random_below(&random, 8));
        wrap(&scene, &header, false, &batch);
        measure(&scene, &batch);
    }
    scene_done(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_of_a_small_batch_are_cheap),
        cmocka_unit_test(flipped_batches_are_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
