#pragma once
/* What waits for an upstream that is away: batches of one group of targets and of windows side by side, to be put
 * together as one of several windows, which takes a third less. They are on disk as they are until the one that stands
 * for them is, too. On the main loop. */
#include "hop/batch.h"
#include "hop/spool.h"

#define BACKLOG_WINDOWS 5 /* in a batch: more of them save little more */

struct backlog;

struct backlog_set { /* of batches, oldest first; all wait */
    uint64_t ids[BACKLOG_WINDOWS];
};

struct backlog *backlog_new(struct spool *spool, size_t consumer);
void backlog_free(struct backlog *backlog);
DEFINE_CLEANUP(struct backlog *, backlog_free)
/* A batch of one window was appended. True: it completes a set, which is forgotten here. */
bool backlog_note(struct backlog *backlog, const struct envelope *envelope, uint64_t id, struct backlog_set *ret_set);

/* One batch that says what those of the set say, and replaces them: appended to out, with source, epoch, seq, sealed_at
 * and closed_through of the envelope; the writer is reset before. Counts of targets and of what was dropped are added
 * up over the windows. The layouts named are held until batch_writer_release. -EMSGSIZE: too large for one; or as
 * spool_read and batch_reader_open: then the set stays as it is. */
MUST_CHECK int backlog_pack(struct spool *spool, const struct backlog_set *set, struct batch_writer *writer,
                            const struct envelope *envelope, struct buf *out);
