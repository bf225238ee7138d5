#pragma once
/* Label sets: immutable, sorted by name, hashed, counted references. Safe to share between threads once built.
 * Names and values are UTF-8 bytes without limits of their own here; who takes them from outside checks them against
 * the limits below (or smaller ones) first. A label with an empty value is the same as no label and is never kept. */
#include "base/buf.h"
#include "base/defs.h"
#include "base/str.h"

#define LABEL_NAME "__name__"
#define LABELS_MAX 128 /* in one set; what a builder takes */
/* In the wire form, of one name and one value: what a scrape may take by its own limits, and more makes no sense. */
#define LABEL_NAME_BYTES_MAX  1024
#define LABEL_VALUE_BYTES_MAX (64 * KIB)

struct label {
    struct str name;
    struct str value;
};

struct labels; /* one block of memory */

/* From labels in any order; of two with one name the later wins. count <= LABELS_MAX. Never NULL: the empty set is a
 * set. */
struct labels *labels_new(const struct label *labels, size_t count);
struct labels *labels_ref(struct labels *labels);
void labels_unref(struct labels *labels); /* NULL allowed */
DEFINE_CLEANUP(struct labels *, labels_unref)

size_t labels_count(const struct labels *labels);
struct label labels_at(const struct labels *labels, size_t index); /* sorted by name; views live as long as the set */
/* The value, STR_NULL when absent. */
struct str labels_get(const struct labels *labels, struct str name);
uint64_t labels_hash(const struct labels *labels); /* kept, costs nothing */
bool labels_equal(const struct labels *a, const struct labels *b);
int labels_compare(const struct labels *a,
                   const struct labels *b);       /* Prometheus' order: name, value, ..., shorter first */
size_t labels_bytes(const struct labels *labels); /* memory of the block */
/* name{a="b",c="d"} with Go's quoting, as Prometheus prints a metric; {} for the empty set. */
int labels_print(const struct labels *labels, struct buf *text);

/* Collects changes on a base set, then builds. On the stack, no allocation; views must outlive it. Not to be copied. */
struct labels_builder {
    struct label *items; /* sorted by name: labels that are set in this order cost one comparison each */
    size_t count, capacity;
    bool overflow; /* more were set than there is room for: labels_builder_build gives NULL */
    struct label own[LABELS_MAX];
};
void labels_builder_init(struct labels_builder *builder, const struct labels *base); /* base may be NULL */
/* Empty, with the owner's room for as many labels: what discovery finds may be more than a set takes. */
void labels_builder_init_room(struct labels_builder *builder, struct label *room, size_t capacity);
struct str labels_builder_get(const struct labels_builder *builder, struct str name);
/* An empty value deletes. */
void labels_builder_set(struct labels_builder *builder, struct str name, struct str value);
void labels_builder_delete(struct labels_builder *builder, struct str name);
/* NULL: overflow, or more than LABELS_MAX are left. */
struct labels *labels_builder_build(struct labels_builder *builder);

/* Wire form: uvarint count, then name and value each as uvarint length and bytes, sorted by name. */
int labels_encode(const struct labels *labels, struct buf *out);
/* NULL when malformed, unsorted, doubled, empty or past a limit above (then reader->bad is set). */
struct labels *labels_decode(struct reader *reader);

bool label_name_is_valid(struct str name);  /* [a-zA-Z_][a-zA-Z0-9_]* */
bool metric_name_is_valid(struct str name); /* [a-zA-Z_:][a-zA-Z0-9_:]* */
