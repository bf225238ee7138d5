#pragma once
/* Layouts by their hash, with how many keep them alive: a source's live pages, a spool's segments. One thread. */
#include "hop/envelope.h"
#include "metric/layout.h"

struct layout_table;

struct layout_table *layout_table_new(uint64_t bytes_max);
void layout_table_free(struct layout_table *table);
DEFINE_CLEANUP(struct layout_table *, layout_table_free)

/* The layout, borrowed (valid while it stays in the table), or NULL. */
struct layout *layout_table_get(const struct layout_table *table, struct hash128 hash);
/* Puts a layout in (taking a reference of its own) or finds the equal one; adds one hold. -ENOSPC past bytes_max. */
MUST_CHECK int layout_table_hold(struct layout_table *table, struct layout *layout);
/* Takes one hold away; at none the layout leaves the table. */
void layout_table_release(struct layout_table *table, struct hash128 hash);
uint64_t layout_table_bytes(const struct layout_table *table);
size_t layout_table_count(const struct layout_table *table);

/* The layouts that a batch names: its target list, its pages, its families. */
static inline uint32_t envelope_layout_count(const struct envelope *envelope)
{
    return 1 + envelope->page_count + envelope->family_count;
}
static inline struct hash128 envelope_layout_at(const struct envelope *envelope, uint32_t index)
{
    if (index == 0)
        return envelope->targets;
    index--;
    return index < envelope->page_count ? envelope->pages[index] : envelope->families[index - envelope->page_count];
}
bool layout_table_has_all(const struct layout_table *table, const struct envelope *envelope);
