#pragma once
/* The frame: what spools hold and requests carry. One format on disk and on the wire, so that a batch's bytes are
 * written once, by its source.
 *
 *   0  4  sync marker F7 54 52 31
 *   4  1  type
 *   5  3  zero
 *   8  4  payload bytes, little endian
 *  12  4  CRC32C of the payload
 *  16  4  CRC32C of bytes 0..15
 *  20  .. payload
 *
 * A damaged frame costs itself alone: a reader goes on at the next sync marker whose header checks. */
#include "base/buf.h"
#include "base/defs.h"

#define FRAME_HEADER_BYTES      20
#define FRAME_PAYLOAD_BYTES_MAX (16 * MIB)

enum frame_type {
    FRAME_SEGMENT = 1,  /* first of a segment: format version, spool identity, epoch (hop/spool) */
    FRAME_PACK = 2,     /* layouts (hop/layout_pack) */
    FRAME_BATCH = 3,    /* hop/batch */
    FRAME_GAP = 4,      /* batches that were dropped past a bound (hop/gap) */
    FRAME_POSITION = 5, /* how far a consumer has come (hop/spool) */
    FRAME_SEEN = 6,     /* snapshot of the memory of what was received (hop/seqlog) */
    FRAME_ASK = 7       /* on the wire: how far is this source's epoch delivered? (hop/answer) */
};

struct frame {
    enum frame_type type;
    struct str payload;   /* view */
    uint32_t checksum;    /* CRC32C of the payload, found right */
    size_t offset;        /* of the frame in the bytes searched */
    size_t damaged_bytes; /* skipped before it */
    size_t wanted_bytes;  /* no more: whole length of the frame that begins at offset, where its header is here; or 0 */
};

/* -EMSGSIZE past FRAME_PAYLOAD_BYTES_MAX or the buffer's ceiling. */
int frame_append(struct buf *out, enum frame_type type, const void *payload, size_t len);
/* The next whole and undamaged frame at or after *at: 1, and *at behind it. A frame of an unknown type is given to the
 * caller. 0: no more; *at stays, ret_frame->offset is where a frame begins whose end is not here (the end of the bytes:
 * none), and what lies before it is in damaged_bytes. What follows such a beginning is not searched: a torn tail has
 * nothing behind it, and a batch's inside must not be taken for frames. */
int frame_next(struct str bytes, size_t *at, struct frame *ret_frame);
