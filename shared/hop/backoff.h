#pragma once
/* Jittered exponential back-off: first_ms, doubling to max_ms, each time a random part between half and the whole. */
#include "base/random.h"

struct backoff {
    int64_t first_ms, max_ms, current_ms;
};
void backoff_init(struct backoff *backoff, int64_t first_ms, int64_t max_ms);
int64_t backoff_next_ms(struct backoff *backoff, struct random *random);
void backoff_reset(struct backoff *backoff);
