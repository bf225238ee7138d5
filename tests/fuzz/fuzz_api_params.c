/* Any text as a time, a duration and a limit of the query API: refused, or a value within its bounds. */
#include "api/params.h"
#include "base/clock.h"
#include "base/fail.h"

#include <errno.h>
#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_time(struct str text)
{
    int64_t ms = 7, again = 7;
    int result = params_time(text, &ms);
    ASSERT(result == 0 || result == -EINVAL);
    if (result < 0) {
        ASSERT(ms == 7); /* untouched */
        return;
    }
    ASSERT(ms >= -PARAMS_TIME_MS_MAX && ms <= PARAMS_TIME_MS_MAX);
    /* In the years that RFC 3339 can write, what was read reads back from there as the same. */
    if (ms < -62135596800000 || ms > 253402300799999)
        return;
    char written[32];
    clock_format_rfc3339(ms, written);
    ASSERT(params_time(str_from(written), &again) == 0 && again == ms);
}

static void check_duration(struct str text)
{
    int64_t ms = 7;
    double seconds;
    int result = params_duration(text, &ms);
    ASSERT(result == 0 || ms == 7);
    if (result == 0 && str_to_double(text, &seconds) == 0)
        ASSERT(fabs((double)ms - seconds * 1000) <= 1 + fabs(seconds) * 1e-9);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_of(data, size);
    check_time(text);
    check_duration(text);
    return 0;
}
