#pragma once
/* The shortest decimal of a double: C++17's std::to_chars (Ryu in libstdc++), for which C has nothing. */
#include "base/defs.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SHORTEST_DIGITS_MAX 17 /* always enough to tell a double from all others */

/* value (finite, >= 0) == digits[0].digits[1]digits[2]... * 10^exponent, in the fewest digits that read back as the
 * same double, the nearest of those. How many there are; not terminated. */
size_t shortest_decimal(double value, char ret_digits[SHORTEST_DIGITS_MAX], int *ret_exponent);

#ifdef __cplusplus
}
#endif
