#pragma once
/* When a target is due: at phase + k * interval of absolute time, its phase by its hash, so that load is flat and every
 * restart finds the same times. Pure but for the clock it reads. */
#include "base/clock.h"

/* Wall time that never runs backwards: scrapes and windows go by it. Steps forward are followed at once; when the wall
 * clock was set back, this one runs at nine tenths of the speed until both agree again. */
struct schedule_clock {
    struct clock *clock;
    int64_t last_mono_ns;
    int64_t now_ns;
};
void schedule_clock_init(struct schedule_clock *schedule, struct clock *clock);
int64_t schedule_now_ms(struct schedule_clock *schedule);

/* The multiple of step at or below time. */
int64_t schedule_floor_ms(int64_t time_ms, int64_t step_ms);
int64_t schedule_phase_ms(uint64_t key, int64_t interval_ms);
/* The first due time at or after not_before. */
int64_t schedule_due_ms(int64_t phase_ms, int64_t interval_ms, int64_t not_before_ms);
/* The samples' time: the due time when the scrape began in time for it (1 % of the interval, 2 to 50 ms: then deltas
 * repeat and cost nothing), else the time it began. */
int64_t schedule_sample_ms(int64_t due_ms, int64_t began_ms, int64_t interval_ms);
