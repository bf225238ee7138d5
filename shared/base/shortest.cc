// C++ for std::to_chars alone.
#include "base/shortest.h"

#include <charconv>

extern "C" size_t shortest_decimal(double value, char ret_digits[SHORTEST_DIGITS_MAX], int *ret_exponent)
{
    char text[SHORTEST_DIGITS_MAX + 16]; // d.ddde+xxx
    const char *end = std::to_chars(text, text + sizeof(text), value, std::chars_format::scientific).ptr;
    size_t count = 0;
    const char *at = text;
    for (; at < end && *at != 'e'; at++)
        if (*at != '.')
            ret_digits[count++] = *at;
    bool below = at + 1 < end && at[1] == '-';
    int exponent = 0;
    for (at += 2; at < end; at++) // behind e and sign
        exponent = exponent * 10 + (*at - '0');
    *ret_exponent = below ? -exponent : exponent;
    return count;
}
