#pragma once
/* One page or target list, said as operations over others (its bases): the inside of a pack's item. Pure functions of
 * bytes; docs/batch-format.md has them to the byte.
 *
 * What is copied from a base is not said again, so a page of which one series changed takes its text and some bytes. */
#include "base/buf.h"
#include "metric/layout.h"

#define LAYOUT_BASES_MAX   4   /* of one layout */
#define LAYOUT_ITEM_MEMORY 256 /* what any layout takes, empty or copied as a whole */

/* What a pack may still make. Counted in memory, as that is what a peer could take from us. */
struct layout_budget {
    uint64_t claimed; /* by what the pack says itself */
    uint64_t copied;  /* by copying from bases */
};

struct layout_bases { /* all of one type */
    struct layout *items[LAYOUT_BASES_MAX];
    size_t count;
};

/* Appends the operations that make `layout`; bases are of its type, the better ones first. ret_used tells which bases
 * they need, and in the operations these are numbered from 0 in their order. Without bases all is said. */
MUST_CHECK int layout_item_encode(const struct layout *layout, const struct layout_bases *bases, struct buf *out,
                                  bool *ret_used);
/* The other way round. A reference belongs to the caller. -EBADMSG: malformed; -EMSGSIZE: more than a limit or
 * than may be claimed; -ENOBUFS: more than may be copied. */
MUST_CHECK int layout_item_decode(enum layout_type type, struct str operations, const struct layout_bases *bases,
                                  struct layout_budget *budget, struct layout **ret_layout);
