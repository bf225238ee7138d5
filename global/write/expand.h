#pragma once
/* The body of a remote write request before snappy: one block, never framed. */
#include "base/buf.h"

/* A block says its size in front: 10 bytes may claim 4 GiB. What snappy can make of a block is bounded by its form: the
 * longest copy gives 64 bytes for 3. What claims more is refused before memory is taken. */
#define EXPAND_RATIO_MAX 22

/* Appends what the block holds. -EBADMSG: it is no snappy block, or claims more than it can hold; -EMSGSIZE: it holds
 * more than out takes. */
MUST_CHECK int expand_block(struct str block, struct buf *out);
