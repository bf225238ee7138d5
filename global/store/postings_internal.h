#pragma once
/* Private to postings*.c: what the index is made of. */
#include "store/postings.h"

struct posting_name {
    struct map values;
    roaring_bitmap_t *refs; /* the series that have it, whatever the value */
    size_t odd_values;      /* that are not globs_is_plain: wildcards may refuse them */
    uint32_t len;
    char text[];
};

/* One label: its text, said once for all series, and who has it. Most values of the many that name one pod or one disk
 * have one series, so that one costs no bitmap. */
struct posting_value {
    roaring_bitmap_t *refs; /* NULL: `only` is the one */
    uint32_t only;
    uint32_t pair;
    struct posting_name *name;
    uint32_t len;
    char text[];
};

roaring_bitmap_t *bitmap_copy(const roaring_bitmap_t *of);
/* NULL: there is none. */
struct posting_name *postings_name_find(const struct postings *postings, struct str name);
struct posting_value *postings_value_find(const struct posting_name *name, struct str value); /* name NULL allowed */
