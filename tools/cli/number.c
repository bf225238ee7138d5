#include "number.h"

#include <math.h>
#include <stdio.h>

#define PLAIN_BELOW  999999.5 /* would be written as 1e+06 */
#define DECIMALS_MAX 9
#define SCALED_MAX   3    /* decimals of a scaled number: 1.234G; with more it hides what differs */
#define WIDEST       1e12 /* in the largest unit, or as it is: from here on an exponent is shorter */

static const char *const units[] = {"", "k", "M", "G", "T", "P", "E"};

void number_print(double value, char ret_text[static NUMBER_BYTES])
{
    double size = fabs(value);
    if (isnan(value))
        snprintf(ret_text, NUMBER_BYTES, "NaN");
    else if (isinf(value))
        snprintf(ret_text, NUMBER_BYTES, value > 0 ? "+Inf" : "-Inf");
    else if (value == 0)
        snprintf(ret_text, NUMBER_BYTES, "0"); /* no -0 */
    else if (size < PLAIN_BELOW)
        snprintf(ret_text, NUMBER_BYTES, size >= 1000 || value == rint(value) ? "%.0f" : "%.4g", value);
    else {
        size_t unit = 0;
        double scaled = value;
        for (; fabs(scaled) >= 999.95 && unit + 1 < ARRAY_LEN(units); unit++)
            scaled /= 1000;
        if (fabs(scaled) >= 999.95)
            snprintf(ret_text, NUMBER_BYTES, "%.4g", value);
        else
            snprintf(ret_text, NUMBER_BYTES, "%.4g%s", scaled, units[unit]);
    }
}

/* Decimals so that numbers that are step apart differ. */
static int decimals_of(double step)
{
    return step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
}

struct number_scale number_scale_of(double size, double step)
{
    struct number_scale scale = {.divisor = 1, .unit = ""};
    size_t unit = 0;
    while (size / scale.divisor >= (unit == 0 ? 10000 : 1000) && unit + 1 < ARRAY_LEN(units)) {
        scale.divisor *= 1000;
        scale.unit = units[++unit];
    }
    scale.decimals = decimals_of(step / scale.divisor);
    if (unit > 0 && scale.decimals > SCALED_MAX)
        scale = (struct number_scale){.divisor = 1, .unit = "", .decimals = decimals_of(step)};
    bool past_units = unit + 1 == ARRAY_LEN(units) && size / scale.divisor >= 1000;
    if (scale.decimals > DECIMALS_MAX || size / scale.divisor >= WIDEST || past_units)
        scale = (struct number_scale){.divisor = 1, .unit = "", .decimals = -1};
    return scale;
}

void number_print_scaled(double value, const struct number_scale *scale, char ret_text[static NUMBER_BYTES])
{
    double scaled = value / scale->divisor;
    if (scale->decimals < 0)
        snprintf(ret_text, NUMBER_BYTES, "%.4g", value);
    else if (value == 0)
        snprintf(ret_text, NUMBER_BYTES, "0");
    else
        snprintf(ret_text, NUMBER_BYTES, "%.*f%s", scale->decimals, scaled, scale->unit);
}
