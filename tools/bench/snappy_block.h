#pragma once
/* Packs a snappy block, as remote write wants its bodies: greedy, with copies of up to 64 KiB back, as the usual
 * encoders do it. */
#include "base/buf.h"

#define SNAPPY_BLOCK_BYTES_MAX (64 * MIB)

/* Appends the block of raw (at most SNAPPY_BLOCK_BYTES_MAX). -EMSGSIZE past the buffer's ceiling. */
MUST_CHECK int snappy_block_append(struct buf *out, struct str raw);
