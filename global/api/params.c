#include "api/params.h"

#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <strings.h>

#define TIME_TEXT_BYTES 64
#define DURATION_S_MAX  (9223372036854775807.0 / 1e9) /* of nanoseconds in 64 bits */

/* Times that Go's clients send for "from the beginning" and "to the end". */
static const char earliest[] = "-292273086-05-16T16:47:06Z";
static const char latest[] = "292277025-08-18T07:12:54.999999999Z";

int params_time(struct str text, int64_t *ret_ms)
{
    double seconds;
    if (text.len == 0)
        return -EINVAL;
    if (str_to_double(text, &seconds) == 0) {
        double ms = round(seconds * 1000);
        if (!(fabs(ms) < (double)PARAMS_TIME_MS_MAX)) /* NaN, too */
            return -EINVAL;
        *ret_ms = (int64_t)ms;
        return 0;
    }
    if (str_equal(text, str_from(earliest)) || str_equal(text, str_from(latest))) {
        *ret_ms = text.ptr[0] == '-' ? -PARAMS_TIME_MS_MAX : PARAMS_TIME_MS_MAX;
        return 0;
    }
    char copy[TIME_TEXT_BYTES];
    if (text.len >= sizeof(copy))
        return -EINVAL;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    return clock_parse_rfc3339(copy, ret_ms);
}

int params_duration(struct str text, int64_t *ret_ms)
{
    double seconds;
    if (text.len == 0)
        return -EINVAL;
    if (str_to_double(text, &seconds) == 0) {
        if (!(fabs(seconds) < DURATION_S_MAX))
            return -ERANGE;
        *ret_ms = (int64_t)(seconds * 1000);
        return 0;
    }
    return str_to_duration_ms(text, ret_ms);
}

bool params_is_word(struct str text, const char *word)
{
    return text.len == strlen(word) && (text.len == 0 || strncasecmp(text.ptr, word, text.len) == 0);
}
