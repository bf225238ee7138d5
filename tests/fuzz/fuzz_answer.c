/* What an upstream may say: an answer, a question, a gap. What is taken is written and read again the same. */
#include "base/fail.h"
#include "hop/answer.h"
#include "hop/gap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_answer(const uint8_t *data, size_t size)
{
    CLEANUP(arena_done) struct arena arena;
    CLEANUP(buf_done) struct buf out = BUF_INIT(ANSWER_BYTES_MAX);
    arena_init(&arena, 4 * ANSWER_BYTES_MAX);
    struct answer answer, again;
    if (answer_decode(data, size, &arena, &answer) < 0)
        return;
    ASSERT(answer_encode(&answer, &out) == 0);
    ASSERT(answer_decode(out.data, out.len, &arena, &again) == 0);
    ASSERT(again.verdict_count == answer.verdict_count && again.mark_count == answer.mark_count);
    for (uint32_t i = 0; i < answer.mark_count; i++)
        ASSERT(again.marks[i].delivered_seq == answer.marks[i].delivered_seq);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_answer(data, size);
    struct spool_batch gap;
    if (gap_decode(str_of(data, size), &gap) == 0)
        ASSERT(gap.seq > 0 && gap.seq <= gap.seq_end && source_name_is_valid(gap.source.secondary));
    struct source_id source;
    uint64_t epoch;
    if (answer_ask_decode(str_of(data, size), &source, &epoch) == 0)
        ASSERT(source_name_is_valid(source.datacenter));
    return 0;
}
