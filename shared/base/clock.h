#pragma once
/* Time, real or simulated. All of the project reads it here. Real: CLOCK_REALTIME and CLOCK_MONOTONIC. Simulated:
 * stands still until it is moved; wall time may be stepped apart from monotonic time, as a real clock may be. */
#include "base/defs.h"

struct clock;

struct clock *clock_real(void); /* one, never freed, safe from any thread */
struct clock *clock_simulated_new(int64_t wall_ms);
void clock_free(struct clock *clock); /* NULL and the real one are allowed */
DEFINE_CLEANUP(struct clock *, clock_free)

bool clock_is_simulated(const struct clock *clock);
int64_t clock_wall_ms(const struct clock *clock); /* milliseconds since 1970 */
int64_t clock_mono_ns(const struct clock *clock); /* nanoseconds since some time; never runs backwards */
static inline int64_t clock_mono_ms(const struct clock *clock)
{
    return clock_mono_ns(clock) / 1000000;
}
int64_t clock_thread_cpu_ns(void); /* CPU time of this thread */

void clock_simulated_advance(struct clock *clock, int64_t ms);   /* both times */
void clock_simulated_step_wall(struct clock *clock, int64_t ms); /* wall time alone, may be negative */

/* "2026-01-02T03:04:05.678Z"; needs 32 bytes. */
void clock_format_rfc3339(int64_t wall_ms, char ret_text[static 32]);
/* RFC 3339 with offset or Z, fraction optional. -EINVAL otherwise. */
MUST_CHECK int clock_parse_rfc3339(const char *text, int64_t *ret_ms);
