#pragma once
/* msgpack, written through msgpack-c and read by a cursor of our own: msgpack-c's unpacker allocates what a message
 * claims (6 bytes can claim 8 million items), this one allocates nothing and checks every claim against what is left
 * and against the caller's limit.
 *
 * Writing: each call appends one object. The buffer remembers the first failure (buf.full), so a writer may check once
 * at its end. Reading: after the first failure all reads give 0 or empty and `in.bad` stays set; check once per step,
 * and before memory is taken for a count. */
#include "base/buf.h"
#include "base/defs.h"

#define PACK_DEPTH_MAX 16 /* of a skipped value: ours nest 3 deep; the rest is room for newer versions */

int pack_nil(struct buf *out);
int pack_bool(struct buf *out, bool value);
int pack_uint(struct buf *out, uint64_t value); /* in the fewest bytes */
int pack_int(struct buf *out, int64_t value);
int pack_double(struct buf *out, double value);
int pack_str(struct buf *out, struct str text);
int pack_bin(struct buf *out, const void *bytes, size_t len);
int pack_array(struct buf *out, uint32_t count); /* followed by count objects */
int pack_map(struct buf *out, uint32_t pairs);   /* followed by pairs of key and value */

enum pack_type {
    PACK_END, /* nothing is left, or the reader is bad, or an unknown byte */
    PACK_NIL,
    PACK_BOOL,
    PACK_INT, /* of either sign */
    PACK_DOUBLE,
    PACK_STR,
    PACK_BIN,
    PACK_ARRAY,
    PACK_MAP,
    PACK_EXT
};

struct unpack {
    struct reader in;
};

struct unpack unpack_of(const void *bytes, size_t len);
enum pack_type unpack_peek(const struct unpack *unpack);
void unpack_nil(struct unpack *unpack);
bool unpack_bool(struct unpack *unpack);
uint64_t unpack_uint(struct unpack *unpack, uint64_t max);      /* bad when negative or above max */
int64_t unpack_int(struct unpack *unpack);                      /* bad when it does not fit */
double unpack_double(struct unpack *unpack);                    /* 64 or 32 bits; integers are not taken */
struct str unpack_str(struct unpack *unpack, size_t bytes_max); /* a view; not checked for UTF-8 */
struct str unpack_bin(struct unpack *unpack, size_t bytes_max); /* a view */
/* Items that follow: at most count_max, and not more than bytes are left. */
uint32_t unpack_array(struct unpack *unpack, uint32_t count_max);
uint32_t unpack_map(struct unpack *unpack, uint32_t pairs_max);
/* An array of a record with at least fields_min fields, of which a newer version may have more: its true count. After
 * the known ones call unpack_skip for each of the rest. */
uint32_t unpack_record(struct unpack *unpack, uint32_t fields_min);
/* Passes over `count` objects of any type. */
void unpack_skip(struct unpack *unpack, uint64_t count);
/* True when nothing failed and nothing is left. */
bool unpack_done(const struct unpack *unpack);
