#pragma once
/* Layouts by their hash, in two forms: packed, as they lie in a spool's segments (operations over a base), and
 * expanded, ready to be read. What is packed may be many versions of many pages, a day of them; what is expanded is a
 * cache of bounded size, filled again on demand along the bases.
 *
 * Equal families are held once. One thread. */
#include "base/map.h"
#include "hop/envelope.h"
#include "hop/layout_pack.h"
#include "metric/layout.h"

/* Bases behind each other, of what lies packed: expanding makes so many layouts at most. */
#define LAYOUT_DEPTH_MAX 32

struct layout_table;

/* packed_bytes_max: of all groups; cache_bytes_max: of what is expanded. What is held may not go past the latter
 * either. */
struct layout_table *layout_table_new(uint64_t packed_bytes_max, uint64_t cache_bytes_max);
void layout_table_free(struct layout_table *table); /* groups are gone by then */
DEFINE_CLEANUP(struct layout_table *, layout_table_free)

/* The layout, expanded where it is not; borrowed until the next call for the table (layout_ref keeps it). NULL: it is
 * not here, or cannot be expanded. */
struct layout *layout_table_get(struct layout_table *table, struct hash128 hash);
bool layout_table_has(const struct layout_table *table, struct hash128 hash, enum layout_type type);
/* Puts a page or target list in (taking a reference of its own) or finds the equal one; adds one hold: it stays
 * expanded. -ENOSPC: more would be held than cache_bytes_max. */
MUST_CHECK int layout_table_hold(struct layout_table *table, struct layout *layout);
/* Takes one hold away. What nobody holds stays as long as the cache has room. */
void layout_table_release(struct layout_table *table, struct hash128 hash);
uint64_t layout_table_packed_bytes(const struct layout_table *table);
uint64_t layout_table_cache_bytes(const struct layout_table *table);
uint64_t layout_table_cache_bytes_max(const struct layout_table *table);
size_t layout_table_held(const struct layout_table *table);  /* layouts that somebody holds */
bool layout_table_is_full(const struct layout_table *table); /* of what is packed */

/* The layouts that a batch names: its target list, its pages. */
static inline uint32_t envelope_layout_count(const struct envelope *envelope)
{
    return 1 + envelope->page_count;
}
static inline struct hash128 envelope_layout_at(const struct envelope *envelope, uint32_t index)
{
    return index == 0 ? envelope->targets : envelope->pages[index - 1];
}
bool layout_table_has_all(const struct layout_table *table, const struct envelope *envelope);

/* ---- Groups: what one segment has, complete in itself ---- */
struct layout_group;

struct layout_group *layout_group_new(struct layout_table *table);
void layout_group_free(struct layout_group *group);
DEFINE_CLEANUP(struct layout_group *, layout_group_free)
bool layout_group_has(const struct layout_group *group, struct hash128 hash);
/* Takes a pack in that stands in the segment behind those taken before. -EBADMSG malformed, or of bases that the group
 * lacks; -ENOSPC past packed_bytes_max. Items before the one that fails stay. Hashes that the pack says are believed:
 * it is of our own disk; else each item is made, to know it. */
MUST_CHECK int layout_group_take(struct layout_group *group, struct str payload);

/* ---- From outside ---- */
typedef void layout_missing_fn(void *arg, struct hash128 hash);
/* The packs of one request, which share what they may make. Zero but for the first two. */
struct layout_take {
    layout_missing_fn *missing; /* called for each base that is not here */
    void *arg;
    struct hash128 *held; /* what was made, each held once for the caller, however often it came */
    uint32_t held_count, held_capacity;
    struct map places;     /* of held: number + 1 */
    struct hash128 *items; /* of the last pack, as far as it was gone through: what each made; zero: nothing */
    uint32_t item_count;
    uint32_t items_total;       /* of all packs */
    uint64_t sent_bytes;        /* of the packs, */
    uint64_t raw_bytes;         /* and before zstd */
    struct layout_budget spent; /* as packs count it */
    uint64_t expanded_bytes;    /* text of what lay packed here and was expanded */
    bool is_over;               /* all that follows is passed over unread: it is asked for, and comes again */
};
/* Frees the arrays; the holds are the caller's. */
void layout_take_done(struct layout_take *take);
/* Makes the layouts of a pack that a peer sent, from bases that are here or in it. Items whose bases are missing are
 * passed over, and all once the packs are past what they may make together. -EBADMSG: the pack is malformed; what came
 * before is held and told all the same. -ENOSPC: there is no room. */
MUST_CHECK int layout_table_take(struct layout_table *table, struct str payload, struct layout_take *take);
