#include "base/random.h"

#include "base/fail.h"

#include <errno.h>
#include <sys/random.h>

/* splitmix64: spreads one number over the four words of state, as the authors of xoshiro advise. */
static uint64_t seed_step(uint64_t *seed)
{
    uint64_t value = *seed += UINT64_C(0x9E3779B97F4A7C15);
    value = (value ^ (value >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94D049BB133111EB);
    return value ^ (value >> 31);
}

void random_seed(struct random *random, uint64_t seed)
{
    for (size_t i = 0; i < ARRAY_LEN(random->state); i++) {
        random->state[i] = seed_step(&seed);
    }
}

void random_seed_from_system(struct random *random)
{
    uint64_t seed;
    random_secret(&seed, sizeof(seed));
    random_seed(random, seed);
}

static uint64_t rotate_left(uint64_t value, int by)
{
    return (value << by) | (value >> (64 - by));
}

uint64_t random_next(struct random *random)
{
    uint64_t *state = random->state;
    uint64_t result = rotate_left(state[1] * 5, 7) * 9;
    uint64_t shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotate_left(state[3], 45);
    return result;
}

uint64_t random_below(struct random *random, uint64_t bound)
{
    ASSERT(bound > 0);
    /* Values under 2^64 mod bound would make the low results likelier by one chance: drawn again. */
    uint64_t unfair = -bound % bound;
    uint64_t value = random_next(random);
    while (value < unfair) {
        value = random_next(random);
    }
    return value % bound;
}

double random_unit(struct random *random)
{
    return (double)(random_next(random) >> 11) * 0x1p-53;
}

void random_secret(void *ret_bytes, size_t len)
{
    uint8_t *at = ret_bytes;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            fatal("the system gives no randomness: errno %d", errno);
        }
        at += got;
        len -= (size_t)got;
    }
}
