#include "schedule.h"

#include "base/fail.h"

#define LATE_MS_MIN 2  /* as Prometheus' scrape.timestamp-tolerance */
#define LATE_MS_MAX 50 /* rate over a minute is then wrong by less than a thousandth */

static int64_t wall_ns(const struct clock *clock)
{
    return clock_wall_ms(clock) * 1000000;
}

void schedule_clock_init(struct schedule_clock *schedule, struct clock *clock)
{
    *schedule = (struct schedule_clock){clock, clock_mono_ns(clock), wall_ns(clock)};
}

int64_t schedule_now_ms(struct schedule_clock *schedule)
{
    int64_t mono_ns = clock_mono_ns(schedule->clock), wall = wall_ns(schedule->clock);
    int64_t passed_ns = mono_ns - schedule->last_mono_ns;
    schedule->last_mono_ns = mono_ns;
    int64_t ahead_ns = schedule->now_ns + passed_ns - wall;
    schedule->now_ns += passed_ns - (ahead_ns > 0 ? MIN(ahead_ns, passed_ns / 10) : ahead_ns);
    return schedule->now_ns / 1000000;
}

int64_t schedule_floor_ms(int64_t time_ms, int64_t step_ms)
{
    int64_t rest = time_ms % step_ms;
    return time_ms - (rest < 0 ? rest + step_ms : rest);
}

int64_t schedule_phase_ms(uint64_t key, int64_t interval_ms)
{
    return (int64_t)(key % (uint64_t)interval_ms);
}

int64_t schedule_due_ms(int64_t phase_ms, int64_t interval_ms, int64_t not_before_ms)
{
    ASSERT(phase_ms >= 0 && phase_ms < interval_ms);
    int64_t due_ms = schedule_floor_ms(not_before_ms, interval_ms) + phase_ms;
    return due_ms < not_before_ms ? due_ms + interval_ms : due_ms;
}

int64_t schedule_sample_ms(int64_t due_ms, int64_t began_ms, int64_t interval_ms)
{
    int64_t late_max_ms = MIN(MAX(interval_ms / 100, LATE_MS_MIN), LATE_MS_MAX);
    return began_ms - due_ms <= late_max_ms ? due_ms : began_ms;
}
