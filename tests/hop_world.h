#pragma once
/* For tests of hop: batches with layouts, of any source, without what is inside. */
#include "base/fail.h"
#include "hop/frame.h"
#include "hop/layout_packer.h"
#include "hop/spool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HOP_LAYOUT_BYTES (64 * MIB)
#define HOP_SLOTS        12

/* Loop, clock, files and executor of one simulated machine. */
struct hop_world {
    struct clock *clock;
    struct random random;
    struct seams seams;
};

static inline void hop_world_init(struct hop_world *world, uint64_t seed)
{
    world->clock = clock_simulated_new(INT64_C(1800000000000));
    random_seed(&world->random, seed);
    world->seams = (struct seams){.loop = loop_simulated_new(world->clock),
                                  .fs = file_system_memory_new(0),
                                  .executor = executor_inline_new(),
                                  .random = &world->random};
}

static inline void hop_world_done(struct hop_world *world)
{
    executor_free(world->seams.executor);
    loop_free(world->seams.loop);
    file_system_free(world->seams.fs);
    clock_free(world->clock);
}

/* A batch of a source: epoch and seq; `fleet` chooses its layouts. Its body's bytes follow from all of these. */
struct hop_batch {
    struct source_id source;
    uint64_t epoch, seq;
    unsigned fleet;
    size_t body_bytes;
};

struct hop_layouts {
    struct layout *targets, *page, *family;
};

static inline struct hop_layouts hop_layouts_new(unsigned fleet)
{
    char text[32];
    snprintf(text, sizeof(text), "fleet_%u_total", fleet);
    struct label label = {STR("instance"), str_from(text)};
    CLEANUP(labels_unrefp) struct labels *target = labels_new(&label, 1);
    /* Fleets have most slots in common, so that their pages are edits of each other. */
    char values[HOP_SLOTS][12];
    struct label labels[HOP_SLOTS];
    struct layout_slot slots[HOP_SLOTS];
    for (unsigned i = 0; i < HOP_SLOTS; i++) {
        snprintf(values[i], sizeof(values[i]), "common-%u", i);
        labels[i] = (struct label){STR("slot"), i == fleet % HOP_SLOTS ? str_from(text) : str_from(values[i])};
        slots[i] = (struct layout_slot){.labels = &labels[i], .label_count = 1};
    }
    struct layout_family_spec spec = {
        .name = STR("hop_total"), .metric_type = METRIC_COUNTER, .slots = slots, .count = HOP_SLOTS};
    struct hop_layouts made = {.family = layout_family_new(&spec)};
    assert_non_null(made.family);
    made.page = layout_page_new(&made.family, 1);
    made.targets = layout_targets_new(&target, 1);
    assert_non_null(made.page);
    assert_non_null(made.targets);
    return made;
}

static inline void hop_layouts_done(struct hop_layouts *layouts)
{
    layout_unref(layouts->targets);
    layout_unref(layouts->page);
    layout_unref(layouts->family);
}

static inline void hop_layouts_hold(struct layout_table *table, const struct hop_layouts *layouts)
{
    assert_int_equal(layout_table_hold(table, layouts->targets), 0);
    assert_int_equal(layout_table_hold(table, layouts->page), 0);
}

static inline void hop_layouts_release(struct layout_table *table, const struct hop_layouts *layouts)
{
    layout_table_release(table, layouts->targets->hash);
    layout_table_release(table, layouts->page->hash);
}

static inline bool hop_has_nothing(void *arg, struct hash128 hash)
{
    (void)arg;
    (void)hash;
    return false;
}

/* Appends a frame with the layouts, as to an upstream that has none. */
static inline void hop_pack(const struct hop_layouts *layouts, struct buf *out)
{
    CLEANUP(layout_table_freep) struct layout_table *table = layout_table_new(HOP_LAYOUT_BYTES, HOP_LAYOUT_BYTES);
    CLEANUP(layout_packer_freep) struct layout_packer *packer = layout_packer_new(table, hop_has_nothing, NULL);
    CLEANUP(buf_done) struct buf pack = BUF_INIT(1 * MIB);
    hop_layouts_hold(table, layouts);
    assert_int_equal(layout_packer_add(packer, layouts->targets->hash), 0);
    assert_int_equal(layout_packer_add(packer, layouts->page->hash), 0);
    assert_int_equal(layout_packer_finish(packer, &pack), 0);
    assert_int_equal(frame_append(out, FRAME_PACK, pack.data, pack.len), 0);
    hop_layouts_release(table, layouts);
}

/* The envelope refers to layouts and to batch->source; the bytes go to out. */
static inline void hop_batch_make(const struct hop_batch *batch, const struct hop_layouts *layouts,
                                  struct envelope *ret_envelope, struct buf *out)
{
    CLEANUP(buf_done) struct buf body = BUF_INIT(1 * MIB);
    struct random random;
    random_seed(&random, batch->seq * 1000003 + batch->epoch);
    for (size_t i = 0; i < batch->body_bytes; i += 8)
        buf_append_le64(&body, random_next(&random));
    body.len = batch->body_bytes;
    *ret_envelope = (struct envelope){
        .source = batch->source,
        .epoch = batch->epoch,
        .seq = batch->seq,
        .window_start_ms = INT64_C(1800000000000) / 60000 * 60000 + (int64_t)batch->seq * 60000,
        .resolution_ms = 60000,
        .span_ms = 60000,
        .sealed_at_ms = INT64_C(1800000000000),
        .targets = layouts->targets->hash,
        .pages = &layouts->page->hash,
        .page_count = 1,
        .targets_expected = 1,
        .targets_answered = 1,
        .body_version = 1,
        .body_bytes = body.len,
        .body_raw_bytes = body.len,
        .body_crc32c = crc32c(0, body.data, body.len),
    };
    assert_int_equal(envelope_encode(ret_envelope, out), 0);
    assert_int_equal(buf_append(out, body.data, body.len), 0);
}

static inline struct source_id hop_source(const char *secondary)
{
    return (struct source_id){STR("dc1"), str_from(secondary), 77};
}

/* Appends one batch with its layouts; the result of spool_append. */
static inline int hop_append(struct spool *spool, const struct hop_batch *batch, uint64_t *ret_id)
{
    CLEANUP(hop_layouts_done) struct hop_layouts layouts = hop_layouts_new(batch->fleet);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(4 * MIB);
    struct envelope envelope;
    hop_batch_make(batch, &layouts, &envelope, &bytes);
    hop_layouts_hold(spool_layouts(spool), &layouts);
    int error = spool_append(spool, &envelope, buf_view(&bytes), ret_id);
    hop_layouts_release(spool_layouts(spool), &layouts);
    return error;
}
