#pragma once
/* Columns: arrays of numbers in few bytes, each in the cheapest of some modes. Stateless, bit-exact.
 *
 * A column of doubles is turned into integers by a scale (k/10^e, k*10^e, k/1000/1000 or the bits themselves); values
 * that do not come back bit for bit are exceptions. Integers: all equal, or frame of reference without common trailing
 * zero bits, bit-packed at the width that is cheapest with the outliers patched. Bytes are in docs/batch-format.md,
 * figures for each choice too. */
#include "base/buf.h"
#include "base/defs.h"

#define COLUMN_VALUES_MAX (4 * 1024 * 1024) /* in one column: a family of 64 slots on 65,536 targets */

struct column_stats { /* of one column, for inspect */
    size_t count;
    uint8_t scale; /* see scale_name; of integers 1, they are themselves */
    bool relative; /* differences from what was expected */
    uint8_t bits;  /* width packed, 0: all equal */
    uint8_t zeros; /* bits left out at the end of all */
    uint32_t exceptions;
    uint32_t patches;
    size_t header_bytes, payload_bytes;
};

/* Writes the column's header to `header` and what is packed to `payload`. count 1..COLUMN_VALUES_MAX. bases: what each
 * value is expected to be near to, known to the reader too (a minimum is near the last value); or NULL. */
int column_encode_doubles(const double *values, const double *bases, size_t count, struct buf *header,
                          struct buf *payload);
int column_encode_ints(const int64_t *values, size_t count, struct buf *header, struct buf *payload);
/* Where columns are read from, one after the other; and who wants to know of each (may be NULL), with what the caller
 * said the column is of. */
typedef void column_trace_fn(void *arg, int part, const struct column_stats *stats);
struct column_input {
    struct reader header, payload;
    column_trace_fn *trace;
    void *trace_arg;
    int part;
};
/* Reads exactly count values (the caller bounds count). -EBADMSG when malformed, truncated or of an unknown mode.
 * ret_exceptions (may be NULL): values that no scale fitted. */
MUST_CHECK int column_decode_doubles(struct column_input *in, const double *bases, size_t count, double *ret_values,
                                     uint32_t *ret_exceptions);
MUST_CHECK int column_decode_ints(struct column_input *in, size_t count, int64_t *ret_values);

/* Zigzag: small numbers of either sign in few bytes. */
int column_append_signed(struct buf *out, int64_t value);
int64_t column_read_signed(struct reader *reader);
