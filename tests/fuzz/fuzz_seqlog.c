/* Snapshots of what was seen, from any bytes. What was taken in is written and read again the same. */
#include "base/fail.h"
#include "hop/seqlog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(seqlog_freep) struct seqlog *seqlog = seqlog_new();
    CLEANUP(seqlog_freep) struct seqlog *again = seqlog_new();
    CLEANUP(buf_done) struct buf out = BUF_INIT(SEQLOG_PIECE_BYTES_MAX);
    /* What stood before a fault was merged: it is sound all the same. */
    bool whole = seqlog_decode(seqlog, data, size) == 0;
    int more = 1;
    for (size_t at = 0; more == 1;) {
        buf_reset(&out);
        more = seqlog_encode(seqlog, &at, &out);
        ASSERT(more >= 0 && seqlog_decode(again, out.data, out.len) == 0);
    }
    ASSERT(seqlog_source_count(again) == seqlog_source_count(seqlog) && (whole || size > 0));
    return 0;
}
