#pragma once
/* Layouts on their way, for tests: what a source says of its windows, packed for its own segment and for an upstream
 * that keeps what it is sent. Bytes are counted; they are the same at each run. */
#include "base/fail.h"
#include "base/map.h"
#include "base/random.h"
#include "hop/batch.h"
#include "hop/frame.h"
#include "hop/layout_packer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define LINK_PACK_BYTES (16 * MIB)

struct layout_link {
    struct layout_table *lower, *upper;
    struct layout_group *lower_group, *upper_group; /* of their segments */
    struct layout_packer *segment, *sender, *upper_segment;
    struct map known; /* low halves of what the upstream has */
    uint64_t missing;
    /* Counted. */
    uint64_t pack_bytes, segment_bytes, layouts;
};

static inline bool link_knows(void *arg, struct hash128 hash)
{
    const struct layout_link *link = arg;
    return map_get(&link->known, hash128_low(hash), NULL, NULL) != NULL;
}

static inline void link_missing(void *arg, struct hash128 hash)
{
    struct layout_link *link = arg;
    map_remove(&link->known, hash128_low(hash), NULL, NULL);
    link->missing++;
}

static inline void layout_link_init(struct layout_link *link, uint64_t packed_bytes, uint64_t cache_bytes)
{
    *link = (struct layout_link){.lower = layout_table_new(packed_bytes, cache_bytes),
                                 .upper = layout_table_new(packed_bytes, cache_bytes)};
    map_init(&link->known);
    link->lower_group = layout_group_new(link->lower);
    link->upper_group = layout_group_new(link->upper);
    link->segment = layout_packer_new_group(link->lower, link->lower_group);
    link->upper_segment = layout_packer_new_group(link->upper, link->upper_group);
    link->sender = layout_packer_new(link->lower, link_knows, link);
}

static inline void layout_link_done(struct layout_link *link)
{
    layout_packer_free(link->segment);
    layout_packer_free(link->sender);
    layout_packer_free(link->upper_segment);
    layout_group_free(link->lower_group);
    layout_group_free(link->upper_group);
    layout_table_free(link->lower);
    layout_table_free(link->upper);
    map_done(&link->known);
}

/* The upstream takes a pack in and puts its layouts into its segment, as a receiver does. */
static inline void link_receive(struct layout_link *link, const struct buf *pack)
{
    struct layout_take take = {.missing = link_missing, .arg = link};
    CLEANUP(buf_done) struct buf own = BUF_INIT(LINK_PACK_BYTES);
    assert_int_equal(layout_table_take(link->upper, buf_view(pack), &take), 0);
    for (uint32_t i = 0; i < take.held_count; i++) {
        assert_int_equal(layout_packer_add(link->upper_segment, take.held[i]), 0);
        if (!link_knows(link, take.held[i]))
            map_put(&link->known, hash128_low(take.held[i]), link);
    }
    assert_int_equal(layout_packer_finish(link->upper_segment, &own), 0);
    layout_packer_commit(link->upper_segment);
    for (uint32_t i = 0; i < take.held_count; i++)
        layout_table_release(link->upper, take.held[i]);
    layout_take_done(&take);
}

static inline void link_flush(struct layout_link *link, struct layout_packer *packer)
{
    CLEANUP(buf_done) struct buf pack = BUF_INIT(LINK_PACK_BYTES);
    if (layout_packer_count(packer) == 0)
        return;
    assert_int_equal(layout_packer_finish(packer, &pack), 0);
    if (packer == link->segment) {
        link->segment_bytes += FRAME_HEADER_BYTES + pack.len;
    } else {
        link->pack_bytes += FRAME_HEADER_BYTES + pack.len;
        link->layouts += layout_packer_count(packer);
        link_receive(link, &pack);
    }
    layout_packer_commit(packer);
}

/* The layouts go into the segment, then to the upstream, in packs. */
static inline void link_send(struct layout_link *link, const struct hash128 *hashes, size_t count)
{
    struct layout_packer *const packers[] = {link->segment, link->sender};
    for (size_t p = 0; p < ARRAY_LEN(packers); p++) {
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(layout_packer_add(packers[p], hashes[i]), 0);
            if (layout_packer_is_full(packers[p]))
                link_flush(link, packers[p]);
        }
        link_flush(link, packers[p]);
    }
}

/* The same of what a batch names. */
static inline void link_send_batch(struct layout_link *link, const struct envelope *envelope)
{
    CLEANUP_FREE struct hash128 *hashes = mem_array(envelope_layout_count(envelope), sizeof(*hashes));
    for (uint32_t i = 0; i < envelope_layout_count(envelope); i++)
        hashes[i] = envelope_layout_at(envelope, i);
    link_send(link, hashes, envelope_layout_count(envelope));
}
