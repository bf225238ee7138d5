#pragma once
/* What was seen: for each source and epoch which sequence numbers have been received, with the checksum of the newer
 * ones. Kept in memory, snapshot into every new segment of the receiver's spool, so that it is as durable as the data.
 * A checksum is the CRC32C of the whole batch. Sequence numbers and epochs are from 1. */
#include "base/buf.h"
#include "hop/envelope.h"

#define SEQLOG_SOURCES_MAX         16384
#define SEQLOG_INCARNATIONS_MAX    8 /* per datacenter and secondary; past it the one unused for longest is forgotten */
#define SEQLOG_EPOCHS_MAX          64        /* newest kept per source; a batch of an older one is taken as seen */
#define SEQLOG_RANGES_MAX          4096      /* holes per epoch */
#define SEQLOG_CHECKSUMS_MAX       1024      /* newest per epoch whose checksum is remembered in memory */
#define SEQLOG_CHECKSUM_EPOCHS_MAX 4         /* newest epochs per source that have checksums: 8 KiB each at most */
#define SEQLOG_SAVED_CHECKSUMS_MAX 64        /* newest per epoch in a snapshot: it is written once per segment */
#define SEQLOG_PIECE_BYTES         MIB       /* about, of one piece of a snapshot */
#define SEQLOG_PIECE_BYTES_MAX     (8 * MIB) /* a piece ends with a whole source, of at most 5 MiB */

struct seqlog;
enum seqlog_verdict { SEQLOG_NEW, SEQLOG_DUPLICATE, SEQLOG_CONFLICT /* known seq, other checksum */ };

struct seqlog *seqlog_new(void);
void seqlog_free(struct seqlog *seqlog);
DEFINE_CLEANUP(struct seqlog *, seqlog_free)
enum seqlog_verdict seqlog_check(const struct seqlog *seqlog, const struct source_id *source, uint64_t epoch,
                                 uint64_t seq, uint32_t checksum);
/* -ENOSPC past SEQLOG_SOURCES_MAX or SEQLOG_RANGES_MAX: try again when holes were filled. */
MUST_CHECK int seqlog_add(struct seqlog *seqlog, const struct source_id *source, uint64_t epoch, uint64_t seq,
                          uint32_t checksum);
/* first..last without checksums: a gap. */
MUST_CHECK int seqlog_add_range(struct seqlog *seqlog, const struct source_id *source, uint64_t epoch, uint64_t first,
                                uint64_t last);
/* All of first..last was seen. */
bool seqlog_covers(const struct seqlog *seqlog, const struct source_id *source, uint64_t epoch, uint64_t first,
                   uint64_t last);
/* Forgets what was added but did not come to disk. */
void seqlog_remove(struct seqlog *seqlog, const struct source_id *source, uint64_t epoch, uint64_t first,
                   uint64_t last);
/* Highest seq seen, 0: none. */
uint64_t seqlog_highest(const struct seqlog *seqlog, const struct source_id *source, uint64_t epoch);
size_t seqlog_source_count(const struct seqlog *seqlog);

/* Appends a piece of the snapshot; begin with *at 0 and go on while it returns 1. No change between pieces.
 * -EMSGSIZE: the buffer's ceiling is below SEQLOG_PIECE_BYTES_MAX and was reached. */
MUST_CHECK int seqlog_encode(const struct seqlog *seqlog, size_t *at, struct buf *out);
/* Merges a piece; what is past a limit is left out. -EBADMSG malformed: what stood before the fault was merged. */
MUST_CHECK int seqlog_decode(struct seqlog *seqlog, const void *bytes, size_t len);
