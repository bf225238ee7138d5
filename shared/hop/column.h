#pragma once
/* Columns: arrays of numbers in few bytes, each in the cheapest of some modes. Stateless, bit-exact.
 * Modes and bytes are in docs/batch-format.md; figures for each choice in hop/README.md. */
#include "base/buf.h"
#include "base/defs.h"

#define COLUMN_VALUES_MAX (4 * 1024 * 1024) /* in one column: a family of 64 slots on 65,536 targets */

/* Writes a header to `header` and packed values to `payload`. Compares bits: -0, NaN payloads and denormals survive. */
int column_encode_doubles(const double *values, size_t count, struct buf *header, struct buf *payload);
int column_encode_ints(const int64_t *values, size_t count, struct buf *header, struct buf *payload);
/* -EBADMSG when malformed, truncated or of an unknown mode. Reads exactly count values. */
MUST_CHECK int column_decode_doubles(struct reader *header, struct reader *payload, double *ret_values, size_t count);
MUST_CHECK int column_decode_ints(struct reader *header, struct reader *payload, int64_t *ret_values, size_t count);

struct column_stats { /* of the last column encoded or decoded, for inspect */
    uint8_t mode;
    uint8_t bits;
    uint32_t exceptions;
};
const char *column_mode_name(uint8_t mode);
