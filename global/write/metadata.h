#pragma once
/* What senders say of metric families: type, help, unit. Comes in requests of its own, once a minute, after the first
 * samples. Senders of one metric may differ: the first stands as long as it is said again. */
#include "write/wire.h"

#define METADATA_FAMILIES_MAX   16384      /* known; more are not taken in: their types follow from their names */
#define METADATA_BYTES_MAX      (32 * MIB) /* of their texts */
#define METADATA_UNIT_BYTES_MAX 1024

struct metadata;

struct metadata *metadata_new(void);
void metadata_free(struct metadata *metadata);
DEFINE_CLEANUP(struct metadata *, metadata_free)
void metadata_put(struct metadata *metadata, const struct wire_metadata *said, int64_t now_ms);
/* The family that a metric of this name is of: name_bucket of histogram name, ...; where nothing is known, one of the
 * metric's own name and unknown type. Views live until the next put. */
struct wire_metadata metadata_family(const struct metadata *metadata, struct str metric);
/* Another number whenever an answer of metadata_family may have changed. */
uint64_t metadata_version(const struct metadata *metadata);
