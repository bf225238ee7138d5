#pragma once
/* Values that an encoding of samples may meet. */
#include "base/random.h"
#include "metric/sample.h"

static inline double any_value(struct random *random, double before)
{
    switch (random_below(random, 6)) {
    case 0:
        return before;
    case 1:
        return before + 1;
    case 2:
        return value_stale();
    case 3:
        return double_from_bits(random_next(random));
    case 4:
        return double_from_bits(UINT64_C(1) << random_below(random, 64));
    default:
        return (double)random_below(random, 1000) / 10;
    }
}
