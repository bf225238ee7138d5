#pragma once
/* What was seen: for each source and epoch which sequence numbers have been received, with the checksum of the newer ones.
 * Kept in memory, snapshot into every new segment of the receiver's spool, so that it is as durable as the data. */
#include "base/buf.h"
#include "hop/envelope.h"

#define SEQLOG_SOURCES_MAX   16384
#define SEQLOG_EPOCHS_MAX    64   /* newest kept per source; a batch of an older one is taken as seen */
#define SEQLOG_RANGES_MAX    4096 /* holes per epoch */
#define SEQLOG_CHECKSUMS_MAX 1024 /* newest per epoch whose checksum is remembered */

struct seqlog;
enum seqlog_verdict { SEQLOG_NEW, SEQLOG_DUPLICATE, SEQLOG_CONFLICT /* known seq, other checksum */ };

struct seqlog *seqlog_new(void);
void seqlog_free(struct seqlog *seqlog);
DEFINE_CLEANUP(struct seqlog *, seqlog_free)
enum seqlog_verdict seqlog_check(const struct seqlog *seqlog, const struct source_id *source, uint64_t epoch,
                                 uint64_t seq, uint32_t checksum);
/* -ENOSPC past SEQLOG_SOURCES_MAX. */
MUST_CHECK int seqlog_add(struct seqlog *seqlog, const struct source_id *source, uint64_t epoch, uint64_t seq,
                          uint32_t checksum);
int seqlog_encode(const struct seqlog *seqlog, struct buf *out);
MUST_CHECK int seqlog_decode(struct seqlog *seqlog, const void *bytes, size_t len); /* merges what it reads */
