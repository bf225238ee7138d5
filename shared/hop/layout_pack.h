#pragma once
/* A pack: several layouts in one frame, compressed together. What travels and lies in spools before the batches that
 * name them; docs/batch-format.md has the bytes.
 *
 * Each item says a page or a target list by operations over bases (hop/layout_item): layouts that whoever reads has, or
 * earlier items of the pack. What comes out is known by its hash, which need not be said. */
#include "hop/layout_item.h"

#define LAYOUT_PACK_ITEMS_MAX     2048
#define LAYOUT_PACK_NAMED_MAX     (LAYOUT_PACK_ITEMS_MAX * LAYOUT_BASES_MAX) /* bases named by hash */
#define LAYOUT_PACK_BYTES_MAX     (12 * MIB)                                 /* so that it fits into one request */
#define LAYOUT_PACK_RAW_BYTES     (4 * MIB)  /* aimed at, before zstd; one large page goes past it */
#define LAYOUT_PACK_RAW_BYTES_MAX (72 * MIB) /* a page of LAYOUT_PAGE_BYTES_MAX said whole */
#define LAYOUT_PACK_RAW_FREE      (64 * KIB) /* a pack may always be so much before zstd, */
#define LAYOUT_PACK_RAW_RATIO     64         /* or so many bytes for each one sent */
/* Memory that it may claim by what it says itself: so much, and so many bytes for each one before zstd. The smallest
 * labels take 13. */
#define LAYOUT_PACK_CLAIM_FREE  ((uint64_t)LAYOUT_PACK_ITEMS_MAX * LAYOUT_ITEM_MEMORY)
#define LAYOUT_PACK_CLAIM_RATIO 16
#define LAYOUT_PACK_COPIED_MAX  (256 * MIB) /* memory of what it makes by copying from bases */
#define LAYOUT_PACK_COPIED      (64 * MIB)  /* aimed at by who writes */

/* Of all packs of a request: there may be thousands, each of some bytes. */
#define LAYOUT_TAKE_ITEMS_MAX  (64 * LAYOUT_PACK_ITEMS_MAX) /* two batches of 65,536 pages */
#define LAYOUT_TAKE_RAW_FREE   (1 * MIB)                    /* as LAYOUT_PACK_RAW_FREE, of all together */
#define LAYOUT_TAKE_COPIED_MAX (2 * LAYOUT_PACK_COPIED_MAX) /* some two seconds of work */

struct layout_pack_item {
    enum layout_type type;
    uint32_t base_count;
    uint32_t bases[LAYOUT_BASES_MAX]; /* number << 1 of those named, number << 1 | 1 of earlier items */
    struct str operations;            /* a view */
    struct hash128 hash;              /* of the result, where the pack says them */
};

/* ---- Reading ---- */
struct layout_pack;

/* Opens a frame's payload, decompressing it. -EBADMSG malformed, -EMSGSIZE past a limit. */
MUST_CHECK int layout_pack_open(struct str payload, struct layout_pack **ret_pack);
void layout_pack_free(struct layout_pack *pack);
DEFINE_CLEANUP(struct layout_pack *, layout_pack_free)
struct layout_budget layout_pack_budget(const struct layout_pack *pack);
bool layout_pack_has_hashes(const struct layout_pack *pack);
struct hash128 layout_pack_named(const struct layout_pack *pack, uint32_t number);
/* 1 and the next item, whose bases are all named or earlier; 0 at the end; -EBADMSG. Views live as long as the pack. */
MUST_CHECK int layout_pack_next(struct layout_pack *pack, struct layout_pack_item *ret_item);
size_t layout_pack_raw_bytes(const struct layout_pack *pack);

/* ---- Writing ---- */
struct layout_pack_writer {
    struct hash128 *named;
    uint32_t named_count, named_capacity;
    uint32_t item_count;
    struct buf items;
    bool hashes; /* of the results are said: in spools, where they spare the reader to make everything to know it */
};
void layout_pack_writer_init(struct layout_pack_writer *writer, bool hashes);
void layout_pack_writer_done(struct layout_pack_writer *writer);
void layout_pack_writer_reset(struct layout_pack_writer *writer);
/* The number of a named base. */
uint32_t layout_pack_writer_name(struct layout_pack_writer *writer, struct hash128 hash);
void layout_pack_writer_add(struct layout_pack_writer *writer, const struct layout_pack_item *item);
/* Appends the payload. -EMSGSIZE: too large to be sent. */
MUST_CHECK int layout_pack_writer_finish(const struct layout_pack_writer *writer, struct buf *out);

/* zstd 1 of small things, as they lie in memory: out gets a byte that tells and the bytes. */
void layout_bytes_shrink(struct str bytes, struct buf *out);
MUST_CHECK int layout_bytes_expand(struct str shrunk, struct buf *out);
