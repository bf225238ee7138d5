#pragma once
/* Numbers for people: 12.35G instead of 12345678901. */
#include "base/defs.h"

#define NUMBER_BYTES 64

/* Four digits; whole numbers and all digits before the point below a million, from there with M, G, T, P, E for powers
 * of a thousand. NaN, +Inf, -Inf. */
void number_print(double value, char ret_text[static NUMBER_BYTES]);

/* The way all numbers of one axis are written, so that their points stand below each other. */
struct number_scale {
    double divisor;
    const char *unit;
    int decimals; /* < 0: not to be written without an exponent */
};
/* For values up to `size` that are `step` apart. Both > 0 and finite. */
struct number_scale number_scale_of(double size, double step);
void number_print_scaled(double value, const struct number_scale *scale, char ret_text[static NUMBER_BYTES]);
