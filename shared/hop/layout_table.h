#pragma once
/* Layouts by their hash, with how many keep them alive: a source's live pages, a spool's segments. One thread. */
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
