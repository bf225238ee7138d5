#pragma once
/* What parameters of the API say: times, durations, steps, as Prometheus' API reads them. */
#include "base/str.h"

/* Times are kept so far from the ends of int64 that sums and differences of two fit. */
#define PARAMS_TIME_MS_MAX (INT64_C(1) << 61)

/* Unix seconds ("1435781451.781") or RFC 3339, to milliseconds. The earliest and latest time that Prometheus' clients
 * write for "all" are the bounds. -EINVAL: neither, or outside of the bounds. */
MUST_CHECK int params_time(struct str text, int64_t *ret_ms);
/* Seconds ("15", "0.5") or a duration ("1m30s"), to milliseconds. -EINVAL; -ERANGE past 292 years, as Prometheus. */
MUST_CHECK int params_duration(struct str text, int64_t *ret_ms);
/* One of the words that a parameter may be, in upper or lower case. */
bool params_is_word(struct str text, const char *word);
