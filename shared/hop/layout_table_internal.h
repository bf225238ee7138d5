#pragma once
/* Private to layout_table.c, layout_group.c, layout_near.c and layout_packer.c.
 *
 *   layout_table.c    entries, what is expanded and how long
 *   layout_group.c    what is packed; expanding; packs of segments and of peers
 *   layout_near.c     which layouts are like this one
 *   layout_packer.c   layouts into packs
 */
#include "hop/layout_table.h"

#define NEAR_SKETCH 2 /* values that stand for a family's slots or a list's targets */

struct layout_form {          /* a layout as it lies in one group */
    struct layout_form *next; /* of the same layout in another group */
    struct layout_group *group;
    struct layout_entry *entry;
    uint32_t bytes; /* of its operations, shrunk */
    uint8_t base_count;
    uint8_t depth;          /* bases behind it */
    struct hash128 bases[]; /* all in the group; behind them the operations */
};

struct layout_entry { /* by hash, while it is packed, expanded or held */
    struct hash128 hash;
    enum layout_type type;
    uint64_t holds;
    struct layout *layout;              /* expanded; a reference of our own */
    struct layout_form *forms;          /* the newest first */
    struct layout_entry *newer, *older; /* among those expanded that nobody holds, by use */
    uint64_t sketch[NEAR_SKETCH];       /* of a target list */
    struct hash128 like;                /* what was nearest when it was packed for a segment; zero: nothing */
};

struct layout_family {         /* of the expanded pages */
    struct layout *layout;     /* a reference of our own */
    uint32_t pages;            /* expanded ones that have it */
    struct layout_entry *last; /* the one of these that was packed last, or NULL */
    uint64_t sketch[NEAR_SKETCH];
};

struct layout_table {
    struct map entries;                   /* by the low half of the hash */
    struct map families;                  /* the same */
    struct map family_sketches;           /* to layout_family */
    struct map list_sketches;             /* to layout_entry of a target list */
    struct layout_entry *newest, *oldest; /* by use */
    uint64_t packed_bytes, packed_bytes_max;
    uint64_t cache_bytes, cache_bytes_max;
    size_t held; /* entries with holds */
};

struct layout_group {
    struct layout_table *table;
    struct map forms; /* by the low half of the hash */
};

/* ---- layout_table.c ---- */
struct layout_entry *layout_entry_get(const struct layout_table *table, struct hash128 hash);
struct layout_entry *layout_entry_make(struct layout_table *table, struct hash128 hash, enum layout_type type);
/* Frees it where nothing keeps it. */
void layout_entry_settle(struct layout_table *table, struct layout_entry *entry);
/* Takes over the reference of an expanded layout for an entry without one; others leave the cache for it. */
void layout_entry_expanded(struct layout_table *table, struct layout_entry *entry, struct layout *layout);
struct layout_family *layout_family_get(const struct layout_table *table, struct hash128 hash);

/* ---- layout_group.c ---- */
struct layout_form *layout_group_form(const struct layout_group *group, struct hash128 hash);
/* operations: not shrunk. */
void layout_group_add(struct layout_group *group, const struct layout_pack_item *item, const struct hash128 *bases,
                      uint8_t depth);
int layout_form_operations(const struct layout_form *form, struct buf *out);
/* The layout of an entry that is packed, or NULL; in the cache from now on. */
struct layout *layout_entry_expand(struct layout_table *table, struct layout_entry *entry);

/* ---- layout_near.c ---- */
typedef bool layout_may_fn(void *arg, struct hash128 hash);
/* The layout is where others will be looked for that are like it. */
void layout_near_note(struct layout_table *table, struct layout_entry *entry);
void layout_near_forget_family(struct layout_table *table, struct layout_family *family);
void layout_near_forget_targets(struct layout_table *table, struct layout_entry *entry);
/* Expanded layouts that are like this one and that `may` be bases, the nearest first. Returns how many. */
size_t layout_near_find(const struct layout_table *table, const struct layout *layout, layout_may_fn *may, void *arg,
                        struct layout_entry *ret_entries[static LAYOUT_BASES_MAX]);
