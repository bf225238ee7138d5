#pragma once
/* The head on disk, so that a start need not replay hours of the log: head/snapshot, replaced atomically. It is for
 * speed alone: the log has all that is in it, and where it is missing, damaged, of another version or does not fit to
 * the spill files, the log is replayed from its beginning.
 *
 * Written while records come in: what came after its position may be in it or not, and is replayed; the identity of
 * windows sorts it out. */
#include "base/buf.h"
#include "store/store.h"

/* In the background thread. extra: bytes of the owner's that the next start gets back. -ECANCELED, or an error of the
 * disk: then the one before stays. */
MUST_CHECK int snapshot_write(struct store *store, struct str extra);
/* Fills an empty head. 0: there was none; 1: done, ret_extra is filled; negative: it cannot be used, and the head is
 * empty again. */
MUST_CHECK int snapshot_read(struct store *store, struct buf *ret_extra);
