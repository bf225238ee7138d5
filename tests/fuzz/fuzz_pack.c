/* Any bytes as a pack of layouts over a table of fixed pages. First byte: 0, the rest is a pack before zstd; 1, the
 * rest is a payload as it comes; 2 and more, a real pack of which bytes are replaced, by 3 each: place in 2, value. The
 * low bit of the second byte of the latter says whether it is of a disk, which says hashes. */
#include "base/fail.h"
#include "hop/layout_packer.h"
#include "tests/batch_world.h"

#include <errno.h>
#include <zstd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TABLE_BYTES (64 * MIB)

/* Pages of which some are here and others in packs: real ones, before zstd. */
struct real {
    struct world world;
    struct buf packs[2][WORLD_PAGES]; /* to an upstream, of a segment */
};

static bool has_first(void *arg, struct hash128 hash)
{
    return hash128_equal(hash, ((struct real *)arg)->world.pages[0]->hash);
}

static void unpack_raw(const struct buf *payload, struct buf *out)
{
    buf_append_byte(out, payload->data[0] & 2);
    size_t len = (size_t)ZSTD_getFrameContentSize(payload->data + 1, payload->len - 1);
    if (payload->data[0] & 1) {
        uint8_t *room = buf_reserve(out, len);
        ASSERT(ZSTD_decompress(room, len, payload->data + 1, payload->len - 1) == len);
        buf_added(out, len);
    } else {
        buf_append(out, payload->data + 1, payload->len - 1);
    }
}

static void make_packs(struct real *real, struct layout_packer *packer, struct buf *packs, bool first_too)
{
    for (size_t i = 0; i < WORLD_PAGES; i++) {
        CLEANUP(buf_done) struct buf payload = BUF_INIT(MIB);
        buf_init(&packs[i], MIB);
        if (i > 0 || first_too)
            ASSERT(layout_packer_add(packer, real->world.pages[i]->hash) == 0);
        ASSERT(layout_packer_finish(packer, &payload) == 0);
        unpack_raw(&payload, &packs[i]);
        layout_packer_commit(packer);
    }
}

static void make_real(struct real *real)
{
    world_init(&real->world, 1, 6);
    struct layout_table *table = layout_table_new(TABLE_BYTES, TABLE_BYTES);
    struct layout_group *group = layout_group_new(table);
    struct layout_packer *upstream = layout_packer_new(table, has_first, real);
    struct layout_packer *segment = layout_packer_new_group(table, group);
    for (size_t i = 0; i < WORLD_PAGES; i++)
        ASSERT(layout_table_hold(table, real->world.pages[i]) == 0);
    make_packs(real, segment, real->packs[1], true);
    layout_group_free(group); /* nothing is copied from it */
    make_packs(real, upstream, real->packs[0], false);
    layout_packer_free(upstream);
    layout_packer_free(segment);
    for (size_t i = 0; i < WORLD_PAGES; i++)
        layout_table_release(table, real->world.pages[i]->hash);
    layout_table_free(table);
}

static void change(const struct real *real, const uint8_t *data, size_t size, struct buf *pack)
{
    const struct buf *from = &real->packs[size > 0 ? data[0] & 1 : 0][size > 0 ? (data[0] >> 1) % WORLD_PAGES : 0];
    buf_append(pack, from->data, from->len);
    for (size_t at = 1; at + 3 <= size; at += 3)
        pack->data[((size_t)data[at] << 8 | data[at + 1]) % pack->len] = data[at + 2];
}

static void note_missing(void *arg, struct hash128 hash)
{
    (void)arg;
    (void)hash;
}

/* Whatever was taken says what its hash says. */
static void check_peer(struct real *real, struct str pack)
{
    CLEANUP(layout_table_freep) struct layout_table *table = layout_table_new(TABLE_BYTES, TABLE_BYTES);
    struct layout_take take = {.missing = note_missing};
    ASSERT(layout_table_hold(table, real->world.pages[0]) == 0);
    int error = layout_table_take(table, pack, &take);
    ASSERT(error == 0 || error == -EBADMSG || error == -ENOSPC);
    for (uint32_t i = 0; i < take.held_count; i++) {
        const struct layout *layout = layout_table_get(table, take.held[i]);
        ASSERT(layout && hash128_equal(layout->hash, take.held[i]));
        layout_table_release(table, take.held[i]);
    }
    layout_take_done(&take);
    layout_table_release(table, real->world.pages[0]->hash);
    ASSERT(layout_table_held(table) == 0);
}

/* As of a disk, behind the packs before it. */
static void check_disk(struct real *real, struct str pack)
{
    CLEANUP(layout_table_freep) struct layout_table *table = layout_table_new(TABLE_BYTES, 64 * KIB);
    CLEANUP(layout_group_freep) struct layout_group *group = layout_group_new(table);
    for (size_t i = 0; i < WORLD_PAGES; i++)
        ASSERT(layout_group_take(group, buf_view(&real->packs[1][i])) == 0);
    int error = layout_group_take(group, pack);
    ASSERT(error == 0 || error == -EBADMSG);
    CLEANUP(layout_pack_freep) struct layout_pack *opened = NULL;
    struct layout_pack_item item;
    if (layout_pack_open(pack, &opened) < 0 || !layout_pack_has_hashes(opened))
        return;
    while (layout_pack_next(opened, &item) > 0) {
        const struct layout *layout = layout_table_get(table, item.hash);
        ASSERT(!layout || hash128_equal(layout->hash, item.hash));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct real real; /* made once: the same for all inputs */
    if (!real.packs[0][0].data)
        make_real(&real);
    if (size == 0)
        return 0;
    CLEANUP(buf_done) struct buf pack = BUF_INIT(LAYOUT_PACK_BYTES_MAX + 1);
    if (data[0] == 0)
        buf_append_byte(&pack, 0);
    if (data[0] <= 1)
        buf_append(&pack, data + 1, MIN(size - 1, (size_t)LAYOUT_PACK_BYTES_MAX));
    else
        change(&real, data + 1, size - 1, &pack);
    check_peer(&real, buf_view(&pack));
    check_disk(&real, buf_view(&pack));
    return 0;
}
