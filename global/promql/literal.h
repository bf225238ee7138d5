#pragma once
/* From the text of a number or a duration to its value, as Go and Prometheus read it. */
#include "base/str.h"

/* Decimal, 0x hexadecimal, 0 octal (as Go's ParseInt), exponents, Inf, NaN; no sign. -EINVAL: no number; -ERANGE:
 * larger than a double. The text is a number token: it is followed by a byte that belongs to no number. */
MUST_CHECK int literal_number(struct str text, double *ret_value);
/* y w d h m s ms, each at most once, falling; more than 0. -EINVAL with the reason in Prometheus' words. */
MUST_CHECK int literal_duration_ms(struct str text, char ret_error[static 256], int64_t *ret_ms);
