#pragma once
/* A gap: batches that were dropped past a bound, told in their place to every tier above. msgpack;
 * docs/spool-format.md. */
#include "hop/spool.h"

#define GAP_BYTES_MAX 256 /* encoded: two names and six numbers */

/* Encodes source, epoch, seq..seq_end and the windows; id and bytes are not read. */
int gap_encode(const struct spool_batch *gap, struct buf *out);
/* Strings are views of the bytes; id is 0. -EBADMSG: malformed. */
MUST_CHECK int gap_decode(struct str bytes, struct spool_batch *ret_gap);
