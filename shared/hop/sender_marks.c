#include "hop/sender_internal.h"

#include <stdlib.h>

void sender_note_stored(struct sender *sender, uint64_t id)
{
    if (sender->in_flight == 0)
        return;
    if (sender->stored_count == STORED_MAX) {
        size_t half = STORED_MAX / 2;
        sender->stored_lost_turn = sender->stored[half - 1].turn;
        memmove(sender->stored, sender->stored + half, half * sizeof(*sender->stored));
        sender->stored_count = half;
    }
    if (sender->stored_count == sender->stored_capacity) {
        sender->stored_capacity = MAX(2 * sender->stored_capacity, (size_t)64);
        sender->stored = mem_resize(sender->stored, sender->stored_capacity, sizeof(*sender->stored));
    }
    sender->stored[sender->stored_count++] = (struct sender_stored){id, sender->turn};
}

/* What was noted up to the earliest turn at which one was posted that is under way, all know. */
void sender_forget_stored(struct sender *sender)
{
    uint64_t earliest = UINT64_MAX;
    for (unsigned i = 0; i < sender->requests_max; i++)
        if (sender->requests[i].call)
            earliest = MIN(earliest, sender->requests[i].turn);
    size_t gone = 0;
    while (gone < sender->stored_count && sender->stored[gone].turn <= earliest)
        gone++;
    sender->stored_count -= gone;
    if (gone > 0 && sender->stored_count > 0)
        memmove(sender->stored, sender->stored + gone, sender->stored_count * sizeof(*sender->stored));
}

static int by_number(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

uint64_t *sender_stored_since(const struct sender_request *request, size_t *ret_count)
{
    const struct sender *sender = request->sender;
    uint64_t *ids = mem_array(MAX(sender->stored_count, (size_t)1), sizeof(*ids));
    size_t count = 0;
    for (size_t i = 0; i < sender->stored_count; i++)
        if (sender->stored[i].turn > request->turn)
            ids[count++] = sender->stored[i].id;
    qsort(ids, count, sizeof(*ids), by_number);
    *ret_count = count;
    return ids;
}

void sender_take_marks(const struct sender_request *request, const struct answer *answer, const uint64_t *except,
                       size_t except_count)
{
    struct sender *sender = request->sender;
    if (sender->stored_lost_turn > request->turn)
        return;
    for (uint32_t i = 0; i < answer->mark_count; i++) {
        const struct spool_mark mark = {.source = answer->marks[i].source,
                                        .epoch = answer->marks[i].epoch,
                                        .seq = answer->marks[i].delivered_seq,
                                        .except = except,
                                        .except_count = except_count};
        spool_set_delivered(sender->spool, sender->consumer, &mark);
    }
}
