#include "hop/backoff.h"
#include "base/fail.h"

void backoff_init(struct backoff *backoff, int64_t first_ms, int64_t max_ms)
{
    ASSERT(first_ms > 0 && max_ms >= first_ms && max_ms <= INT64_MAX / 2);
    *backoff = (struct backoff){.first_ms = first_ms, .max_ms = max_ms, .current_ms = first_ms};
}

int64_t backoff_next_ms(struct backoff *backoff, struct random *random)
{
    int64_t whole_ms = backoff->current_ms;
    backoff->current_ms = MIN(whole_ms * 2, backoff->max_ms);
    int64_t half_ms = whole_ms / 2;
    return half_ms + (int64_t)random_below(random, (uint64_t)(whole_ms - half_ms) + 1);
}

void backoff_reset(struct backoff *backoff)
{
    backoff->current_ms = backoff->first_ms;
}
