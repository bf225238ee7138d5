#include "page_value.h"

#include <math.h>

#define SERIES_DEVIATION 0.4 /* of rates of one host's series; those of hosts are in `rate` */

/* splitmix64 */
static uint64_t mix(uint64_t z)
{
    z += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t own_key(uint64_t a, uint64_t b)
{
    return mix(mix(a) ^ b);
}

double own_number(uint64_t key)
{
    return (double)(mix(key) >> 11) / 9007199254740992.0;
}

/* Four uniform numbers make a normal one that is good enough here: deviation sqrt(4/12). */
static double normal(uint64_t key)
{
    double sum = 0;
    for (uint64_t i = 0; i < 4; i++)
        sum += own_number(own_key(key, i));
    return (sum - 2) * 1.7320508;
}

double own_factor(uint64_t key, double deviation)
{
    return exp(deviation * normal(key));
}

/* Seconds counted, not evenly: a busy stretch of some seconds makes up for a quiet one. Its slope is from 0.2 to 1.8,
 * so it is monotone; the seconds between two scrapes differ from those of the next two. */
static double counted_seconds(const struct value_of *of, double now)
{
    double step = floor(now / 10), part = now / 10 - step;
    uint64_t key = (uint64_t)(of->own * 1e15);
    double from = own_number(own_key(key, (uint64_t)step)), to = own_number(own_key(key, (uint64_t)step + 1));
    return now - of->since + 8 * (from + part * (to - from));
}

double page_value(const struct value_of *of, double now)
{
    double wave = sin(now / (20 + 100 * of->own) + 6.28 * of->own);
    double level = of->scale * (1.1 + of->own + wave);
    double rate = of->scale * of->rate * exp(SERIES_DEVIATION * 3.4 * (of->own - 0.5));
    double units = floor(rate * counted_seconds(of, now));
    switch (of->form) {
    case FORM_CONSTANT:
        return of->scale;
    case FORM_OWN:
        return floor(of->scale * (1 + of->own));
    case FORM_OWN_BYTES:
        return floor(of->scale * (1 + of->own) / 4096) * 4096;
    case FORM_COUNT:
        return units;
    case FORM_SECTORS:
        return floor(units / 512) * 512;
    case FORM_CENTI:
        return units / 100;
    case FORM_MILLI:
        return units * 0.001;
    case FORM_PRESSURE:
        return units / 1000 / 1000;
    case FORM_MICRO:
        return units / 1e6;
    case FORM_IDLE:
        return of->own < 0.03 ? floor(of->own * 30000) : 0;
    case FORM_BYTES:
        return floor(of->scale * (2 + of->own + 0.3 * wave) / 4096) * 4096;
    case FORM_LEVEL:
        return floor(level);
    case FORM_SMALL:
        return floor(level * 100) / 100;
    case FORM_NANO:
        return floor(level * 1e9) / 1e9;
    case FORM_TIME:
        return now + 0.01 * own_number(own_key((uint64_t)(of->own * 1e15), (uint64_t)(now * 1000)));
    case FORM_SECOND:
        return floor(now - 5 * of->own);
    case FORM_START:
        return floor(of->since);
    }
    return 0;
}

size_t page_value_print(const struct value_of *of, double now, char ret_text[static VALUE_TEXT_BYTES])
{
    return value_print(page_value(of, now), ret_text);
}
