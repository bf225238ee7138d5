#pragma once
/* Layouts: which series a page has, said once for all hosts of a fleet that expose the same ones, and named by the hash
 * of what they say (docs/batch-format.md has the bytes).
 *
 *   family layout: one metric family: name, type, unit, help, and the label sets of its series (slots), without the
 *                  target's labels. A slot's label wins over the target's of the same name; an empty one deletes it.
 *   page layout:   the family layouts of one scraped page, which it owns with it.
 *   target list:   the ordered label sets of a group of targets.
 *
 * All three are immutable: canonical bytes, and their parsed form. The hash is of the bytes; a page's are the hashes of
 * its families. */
#include "base/buf.h"
#include "base/crc.h"
#include "metric/labels.h"
#include "metric/sample.h"

#define LAYOUT_BLOB_BYTES_MAX                                                                                          \
    (8 * MIB) /* of one blob: a page of 100,000 series is some 10 MB of text as families of < 8 */
#define LAYOUT_SLOTS_MAX      131072 /* series of one family */
#define LAYOUT_FAMILIES_MAX   65536  /* of one page */
#define LAYOUT_TARGETS_MAX    16384  /* of one list */
#define LAYOUT_HELP_BYTES_MAX 4096
#define LAYOUT_PAGE_BYTES_MAX (64 * MIB) /* of a page's families together */

enum layout_type { LAYOUT_FAMILY = 1, LAYOUT_PAGE = 2, LAYOUT_TARGETS = 3 };

/* One label of a slot: an empty value is kept here (it deletes the target's). */
struct layout_slot {
    const struct label *labels; /* sorted by name; __name__ is among them when it differs from the family's name
                                   (x_bucket, x_sum, x_count) */
    uint16_t label_count;
    uint8_t kind;    /* enum series_kind, from the type and the name */
    uint32_t offset; /* of its bytes in the family's; they end where the next slot's begin */
};

struct layout {
    enum layout_type type;
    struct hash128 hash;
    uint32_t references; /* counted atomically: layouts go from worker to main */
    size_t bytes_len;
    const uint8_t *bytes;  /* canonical form; NULL of a page, whose families say it */
    uint64_t whole_bytes;  /* bytes_len, of a page with that of its families */
    uint64_t whole_memory; /* what it takes in memory, of a page with that of its families */

    /* LAYOUT_FAMILY */
    struct str name, unit, help;
    enum metric_type metric_type;
    bool last_only;    /* a rule keeps only the last value of a window: gauges among the slots are KIND_LAST */
    uint32_t head_len; /* bytes before the number of slots: all that is said of the family itself */
    const struct layout_slot *slots;
    /* LAYOUT_PAGE */
    struct layout *const *families; /* references of its own */
    /* LAYOUT_TARGETS */
    struct labels *const *targets;

    uint32_t count; /* slots, families or targets */
};

struct layout_family_spec {
    struct str name, unit, help;
    enum metric_type metric_type;
    bool last_only;
    const struct layout_slot *slots; /* kinds are not read */
    uint32_t count;
};

/* Make a layout; one reference belongs to the caller. NULL for what layout_decode would refuse: past a limit, not
 * UTF-8, an empty family or label name, labels of a slot not sorted, a slot or a family of a page twice. */
struct layout *layout_family_new(const struct layout_family_spec *spec);
struct layout *layout_page_new(struct layout *const *families, uint32_t count); /* takes references of its own */
struct layout *layout_targets_new(struct labels *const *targets, uint32_t count);
/* A family or a target list from bytes from outside: everything checked (limits, order of labels, UTF-8); -EBADMSG when
 * malformed. A page has no such form: it is made of its families. */
MUST_CHECK int layout_decode(const void *bytes, size_t len, struct layout **ret_layout);
struct layout *layout_ref(struct layout *layout);
void layout_unref(struct layout *layout); /* NULL allowed */
DEFINE_CLEANUP(struct layout *, layout_unref)
/* Only the caller's reference is left. */
bool layout_is_single(const struct layout *layout);
/* What it takes in memory, of a page without its families. */
uint64_t layout_memory_bytes(const struct layout *layout);
/* Slots of all families of a page. */
uint64_t layout_page_slots(const struct layout *page);
/* The bytes of slots [from, from + count) of a family: they say the same in any family with the same head. */
struct str layout_slot_bytes(const struct layout *family, uint32_t from, uint32_t count);
/* Goes over one slot or one target as the blobs have them, without more checks than that it ends: its bytes. */
struct str layout_skip_slot(struct reader *reader);
struct str layout_skip_target(struct reader *reader);

/* Labels of the series of slot `slot` on a target: the target's, overridden by the slot's, with __name__. `datacenter`
 * (the envelope's) overrides a label of that name, which moves to exported_datacenter; empty: not set.
 * NULL when there would be more than LABELS_MAX. */
struct labels *layout_series(const struct layout *family, uint32_t slot, const struct labels *target,
                             struct str datacenter);
/* The envelope's datacenter is the truth; what the series says itself is kept under exported_datacenter, and what
 * stands there under exported_exported_datacenter, as Prometheus does with labels in conflict. */
void layout_set_datacenter(struct labels_builder *builder, struct str datacenter);
