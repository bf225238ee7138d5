#pragma once
/* Private to seqlog: the sequence numbers seen of one epoch, as ranges, and the checksums of the newest. Plain struct,
 * zero is empty. */
#include "hop/pack.h"
#include "hop/seqlog.h"

struct seqlog_range {
    uint64_t first, last; /* from 1; ranges are ascending and never touch */
};

struct seqlog_checksum {
    uint32_t tag; /* of the seq, see seqlog_epoch.c; 0: empty */
    uint32_t checksum;
};

struct seqlog_epoch {
    uint64_t number;
    struct seqlog_range *ranges;
    size_t range_count, range_capacity;
    struct seqlog_checksum *ring; /* by the seq's low bits */
    size_t ring_size;             /* 0 or a power of two up to SEQLOG_CHECKSUMS_MAX */
};

void seqlog_epoch_done(struct seqlog_epoch *epoch);
MUST_CHECK int seqlog_epoch_add(struct seqlog_epoch *epoch, uint64_t first,
                                uint64_t last); /* -ENOSPC: too many holes */
void seqlog_epoch_remove(struct seqlog_epoch *epoch, uint64_t first, uint64_t last);
bool seqlog_epoch_covers(const struct seqlog_epoch *epoch, uint64_t first, uint64_t last);
uint64_t seqlog_epoch_highest(const struct seqlog_epoch *epoch);
void seqlog_epoch_put_checksum(struct seqlog_epoch *epoch, uint64_t seq, uint32_t checksum);
bool seqlog_epoch_checksum(const struct seqlog_epoch *epoch, uint64_t seq, uint32_t *ret_checksum);
void seqlog_epoch_forget_checksums(struct seqlog_epoch *epoch);

void seqlog_epoch_encode(const struct seqlog_epoch *epoch, struct buf *out);
/* The head of an encoded epoch: its number, and its count of fields for seqlog_epoch_decode. */
uint32_t seqlog_epoch_decode_number(struct unpack *in, uint64_t *ret_number);
void seqlog_epoch_decode(struct seqlog_epoch *epoch, uint32_t fields,
                         struct unpack *in); /* merges; in->in.bad: malformed */
