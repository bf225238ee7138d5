#pragma once
/* Randomness from one seeded source (xoshiro256**), so that a simulated run can be repeated. Not for secrets:
 * those come from random_secret(). Owned by one thread. */
#include "base/defs.h"

struct random {
    uint64_t state[4];
};

void random_seed(struct random *random, uint64_t seed);
void random_seed_from_system(struct random *random);
uint64_t random_next(struct random *random);
uint64_t random_below(struct random *random, uint64_t bound); /* [0, bound), bound > 0, unbiased */
double random_unit(struct random *random);                    /* [0, 1) */
void random_secret(void *ret_bytes, size_t len);              /* getrandom(2) */
