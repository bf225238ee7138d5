#pragma once
/* Private to batch_read.c, which opens a batch and finds what belongs together, and batch_blocks.c, which reads family
 * after family. */
#include "base/arena.h"
#include "hop/batch_body.h"

struct batch_reader {
    struct arena arena; /* envelope, members */
    struct envelope envelope;
    struct layout *targets; /* references of our own, to pages too */
    struct layout **pages;
    const struct layout **families; /* of the pages, each once, in the order in which they name them first */
    uint32_t family_count;
    struct buf raw; /* the body after zstd */
    struct column_input in;
    struct batch_entries entries;
    uint64_t claims_left;    /* BATCH_CLAIMS_PER_BYTE */
    uint64_t extras_left;    /* BATCH_EXTRAS_MAX */
    uint32_t *page_families; /* of each page: indices into families, CSR */
    size_t *page_starts;
    uint32_t *members;     /* entries by family, CSR */
    uint32_t *first_slots; /* of each member, on its page */
    size_t *member_starts;
    uint32_t next_family;
    size_t next_member; /* of it */
    /* Of the block last given. */
    struct record *records;
    size_t record_capacity;
    double *values, *bases;
    int64_t *numbers;
    size_t *per_slot;
    uint32_t *changing; /* indices of the records that are not constant */
    struct record_extra *extras;
    /* Of a batch of several rounds: last values of the family so far, member after member, and which member of it an
     * entry is. */
    double *kept;
    size_t kept_capacity;
    uint32_t *member_of;
};
