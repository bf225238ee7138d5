#pragma once
/* Puts layouts into packs: each as an edit of what the other side has, where that is known to be near, else whole.
 *
 * For a segment: the other side is the segment's group, and what is packed goes there once it is written. For an
 * upstream: what it is known to have. */
#include "hop/layout_table.h"

struct layout_packer;

/* True: the other side has the layout. */
typedef bool layout_has_fn(void *arg, struct hash128 hash);

/* Of a segment; the group must outlive it. */
struct layout_packer *layout_packer_new_group(struct layout_table *table, struct layout_group *group);
/* Of an upstream. */
struct layout_packer *layout_packer_new(struct layout_table *table, layout_has_fn *has, void *arg);
void layout_packer_free(struct layout_packer *packer);
DEFINE_CLEANUP(struct layout_packer *, layout_packer_free)

/* Adds a layout of the table unless it is in the pack or the other side has it. -ENOENT: it is not in the table, or
 * cannot be expanded. -EMSGSIZE: the pack would be too large. */
MUST_CHECK int layout_packer_add(struct layout_packer *packer, struct hash128 hash);
/* With alone set no base is taken but from the same pack: who says that it lacks bases gets what needs none. */
void layout_packer_set_alone(struct layout_packer *packer, bool alone);
uint32_t layout_packer_count(const struct layout_packer *packer);
struct hash128 layout_packer_at(const struct layout_packer *packer, uint32_t index);
/* It is time to finish this pack and go on with another. */
bool layout_packer_is_full(const struct layout_packer *packer);
/* Appends the frame's payload. */
MUST_CHECK int layout_packer_finish(struct layout_packer *packer, struct buf *out);
/* After finish: the pack is with the other side (in the group, from now on), and another begins. */
void layout_packer_commit(struct layout_packer *packer);
/* The pack was not written: as if it had not been begun. */
void layout_packer_drop(struct layout_packer *packer);
