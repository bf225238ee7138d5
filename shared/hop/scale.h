#pragma once
/* Scales: how an integer k stands for a double. What exporters show are decimals, which their bits do not show. */
#include "base/defs.h"

enum {
    SCALE_BITS = 0,           /* k is the bits */
    SCALE_DECIMAL = 1,        /* k / 10^e, e = scale - SCALE_DECIMAL, 0..9 */
    SCALE_HUGE = 11,          /* k * 10^e, e = 3, 6, 9 */
    SCALE_MILLI_MILLI = 14,   /* k / 1000 / 1000: PSI's microseconds, divided twice */
    SCALE_MILLI_PRODUCT = 15, /* k * 0.001: disk seconds */
    SCALE_COUNT = 16
};

const char *scale_name(uint8_t scale); /* "1/100", of unknown ones "unknown" */
/* The scale that takes the fewest bits, as far as up to 95 values of the column show. count > 0. */
unsigned scale_choose(const double *values, size_t count);
/* Fills ret_k with the integer of each value; true when every value comes back from it bit for bit. */
bool scale_all(const double *values, size_t count, unsigned scale, int64_t *ret_k);
/* The same, marking which values do not come back (1, else 0); how many. */
size_t scale_mark(const double *values, size_t count, unsigned scale, int64_t *ret_k, uint8_t *ret_missed);
/* In place: the integers of the scale, any, become the values they stand for. */
void unscale_all(double *values, size_t count, unsigned scale);
/* Less, plus, the integer at which a value near its base is expected. */
void scale_less_expected(const int64_t *k, const double *bases, size_t count, unsigned scale, int64_t *ret_k);
void scale_plus_expected(int64_t *k, const double *bases, size_t count, unsigned scale);

/* How residuals are packed: so many bits of each, and those that are wider patched. */
struct scale_packing {
    unsigned bits;
    size_t patches;
    size_t cost_bits; /* of both */
};
/* The width at which packed bits and patches together are smallest. widths[w]: residuals whose width is w. */
struct scale_packing scale_pack(const uint32_t widths[static 65], size_t count);

/* Bits that a number needs: 0 for 0. */
static inline unsigned scale_bit_width(uint64_t value)
{
    return value ? 64 - (unsigned)__builtin_clzll(value) : 0;
}
