#pragma once
/* What metrics are: type, help and unit of metric families, by name, as the pages of targets say them. Targets may say
 * different things of one name; each is kept once. What was said stays: blocks hold the series for as long. */
#include "base/buf.h"
#include "metric/sample.h"

/* Ceilings; what is new past them is not kept, and counted. A large fleet has some 10,000 names. */
#define FAMILIES_MAX         200000 /* of all names together */
#define FAMILIES_BYTES_MAX   (64 * MIB)
#define FAMILIES_OF_NAME_MAX 16 /* versions of an exporter differ in their help */

struct families;

struct family {
    struct str name, help, unit;
    enum metric_type type;
};

struct families *families_new(void);
void families_free(struct families *families); /* NULL allowed */
DEFINE_CLEANUP(struct families *, families_free)

/* All from any thread. */

/* Takes a copy of what is new. A family of which only the name is known says nothing, and is left out. */
void families_note(struct families *families, const struct family *family);
/* What is known of a name, or with STR_NULL of all; sorted by name, then by the rest. Returns how many; the array is
 * the caller's (mem_free), what it points to lives as long as families. */
size_t families_list(struct families *families, struct str name, const struct family ***ret_items);

struct families_stats {
    uint64_t names, families, bytes; /* kept */
    uint64_t refused_total;
};
void families_stats(struct families *families, struct families_stats *ret_stats);

/* For the snapshot of the store, and back. Of bytes that are damaged what stands before the damage is taken. */
void families_save(struct families *families, struct buf *out);
void families_load(struct families *families, struct str saved);
