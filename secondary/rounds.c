#include "rounds.h"

#include "base/fail.h"
#include "rounds_internal.h"

#include <errno.h>

#define CALLS_MAX       65536 /* scrapes in flight: more descriptors than a process commonly has */
#define CONNECTIONS_MAX 1024  /* kept per shard: 65,536 targets of one worker keep theirs */

struct rounds *rounds_new(const struct rounds_options *options)
{
    struct rounds *rounds = mem_zalloc(sizeof(*rounds));
    const struct http_client_options client = {
        .name = options->name, .shards = ROUNDS_SHARDS, .connections_max = CONNECTIONS_MAX, .calls_max = CALLS_MAX};
    const struct pipeline_options pipeline = {.rules = options->rules,
                                              .page_bytes_max = options->page_bytes_max,
                                              .sealed = rounds_take_sealed,
                                              .sealed_arg = rounds};
    rounds->options = *options;
    rounds->rules = window_rules_ref(options->rules);
    rounds->beat_ms = window_rules_beat_ms(options->rules);
    rounds->next_from_ms = INT64_MAX;
    schedule_clock_init(&rounds->clock, loop_clock(options->loop));
    rounds->client = http_client_new(options->loop, options->network, &client);
    rounds->pipeline = pipeline_new(&pipeline);
    map_init(&rounds->targets);
    loop_timer_init(&rounds->close_timer, options->loop, rounds_close_done, rounds);
    loop_timer_init(&rounds->idle_timer, options->loop, rounds_idle, rounds);
    rounds->closed_through_ms = rounds_floor_ms(rounds, schedule_now_ms(&rounds->clock));
    rounds_start_idle(rounds);
    return rounds;
}

static void drop_parts(struct rounds *rounds)
{
    for (size_t i = 0; i < rounds->part_count; i++)
        pipeline_sealed_done(&rounds->parts[i]);
    mem_free(rounds->parts);
}

/* Targets are told apart by identity: one that ended may have the key of one that begins. */
static uint64_t slot_of(const struct target *target)
{
    return (uint64_t)(uintptr_t)target * 0x9e3779b97f4a7c15u;
}

static void stop_target(struct round_target *target)
{
    loop_timer_stop(&target->timer);
    scrape_cancel(&target->scrape);
    target->rounds->stats.in_flight -= target->in_flight;
    target->in_flight = false;
    target->missed_ms = 0;
}

void rounds_free(struct rounds *rounds)
{
    if (!rounds)
        return;
    size_t at = 0;
    for (struct round_target *target; (target = map_next(&rounds->targets, &at));)
        stop_target(target);
    rounds_free_sets(rounds);
    loop_timer_stop(&rounds->close_timer);
    loop_timer_stop(&rounds->idle_timer);
    map_done(&rounds->targets);
    http_client_free(rounds->client);
    pipeline_free(rounds->pipeline);
    drop_parts(rounds);
    window_rules_unref(rounds->rules);
    mem_free(rounds);
}

/* ---- What came of a scrape ---- */

static void tell_health(struct round_target *target, enum scrape_failure failure, const char *reason)
{
    if (target->told && target->failure == failure)
        return;
    target->told = true;
    target->failure = failure;
    target->rounds->options.health(target->rounds->options.arg, target->target, failure, reason);
}

static void record(struct round_target *target, const struct scrape_outcome *outcome, const char *reason)
{
    struct rounds *rounds = target->rounds;
    struct scrape_report report;
    pipeline_scrape(target->pipeline, outcome, &report);
    if (report.raw_is_full)
        rounds_seal_raw(target, outcome->time_ms);
    if (rounds->part_count > 0)
        rounds_hand_parts(rounds, rounds->closed_through_ms);
    rounds->stats.outcomes_total[report.failure]++;
    atomic_store_explicit(&target->target->last_scrape_ms, outcome->time_ms, memory_order_relaxed);
    atomic_store_explicit(&target->target->last_duration_ns, outcome->duration_ns, memory_order_relaxed);
    atomic_store_explicit(&target->target->last_samples, report.samples_scraped, memory_order_relaxed);
    tell_health(target, report.failure, outcome->failure != SCRAPE_OK ? reason : report.reason);
}

/* A due time that passed while the scrape before was still under way. */
static void record_missed(struct round_target *target)
{
    const struct scrape_outcome outcome = {.time_ms = target->missed_ms, .failure = SCRAPE_OVERLOAD};
    int64_t next_due_ms = target->next_due_ms;
    target->missed_ms = 0;
    if (outcome.time_ms <= target->time_ms)
        return;
    target->next_due_ms = outcome.time_ms;
    round_target_settle(target);
    round_target_advance(target);
    target->next_due_ms = next_due_ms;
    target->time_ms = outcome.time_ms;
    record(target, &outcome, "the scrape before was still under way");
}

static void end_scrape(struct round_target *target, const struct scrape_outcome *outcome, const char *reason)
{
    target->rounds->stats.in_flight--;
    target->in_flight = false;
    record(target, outcome, reason);
    if (target->missed_ms > 0)
        record_missed(target);
    round_target_settle(target);
}

static void on_scraped(void *arg, enum scrape_failure failure, const char *reason, struct str body, int64_t duration_ns)
{
    struct round_target *target = arg;
    const struct scrape_outcome outcome = {
        .time_ms = target->time_ms, .duration_ns = duration_ns, .failure = failure, .body = body};
    end_scrape(target, &outcome, reason);
}

/* ---- Starting one ---- */

static void arm(struct round_target *target, int64_t now_ms)
{
    loop_timer_start(&target->timer, target->next_due_ms - now_ms, 0);
}

/* The samples' time: inside the open window, and behind the time before. */
static int64_t sample_time(struct round_target *target, int64_t due_ms, int64_t now_ms)
{
    int64_t window_end_ms = rounds_end_ms(target->rounds, target->open_start_ms);
    int64_t time_ms = schedule_sample_ms(due_ms, now_ms, target->target->interval_ms);
    target->rounds->stats.late_total += time_ms != due_ms;
    return MAX(MIN(time_ms, window_end_ms - 1), due_ms);
}

static void begin_scrape(struct round_target *target, int64_t now_ms)
{
    struct rounds *rounds = target->rounds;
    round_target_settle(target);
    round_target_advance(target);
    target->time_ms = sample_time(target, target->next_due_ms, now_ms);
    target->next_due_ms += target->target->interval_ms;
    arm(target, now_ms);
    target->began_mono_ms = clock_mono_ms(loop_clock(rounds->options.loop));
    target->in_flight = true;
    rounds->stats.in_flight++;
    unsigned shard = (unsigned)(target->phase_ms * ROUNDS_SHARDS / target->target->interval_ms);
    round_target_settle(target);
    int r = scrape_begin(&target->scrape, rounds->client, target->target, target->job, shard);
    if (r == 0)
        return;
    const struct scrape_outcome outcome = {.time_ms = target->time_ms,
                                           .failure = r == -EAGAIN ? SCRAPE_OVERLOAD : SCRAPE_BROKEN};
    end_scrape(target, &outcome, r == -EAGAIN ? "too many scrapes are under way" : "the URL is not one to fetch from");
}

/* True when the scrape in flight is over by its own timeout, whose news is just not here yet. */
static bool end_overdue(struct round_target *target)
{
    int64_t passed_ms = clock_mono_ms(loop_clock(target->rounds->options.loop)) - target->began_mono_ms;
    if (passed_ms < target->target->timeout_ms)
        return false;
    const struct scrape_outcome outcome = {
        .time_ms = target->time_ms, .duration_ns = passed_ms * 1000000, .failure = SCRAPE_TIMEOUT};
    scrape_cancel(&target->scrape);
    end_scrape(target, &outcome, "no answer in time");
    return true;
}

static void on_due(void *arg)
{
    struct round_target *target = arg;
    struct rounds *rounds = target->rounds;
    int64_t interval_ms = target->target->interval_ms, now_ms = schedule_now_ms(&rounds->clock);
    if (now_ms < target->next_due_ms) {
        arm(target, now_ms);
        return;
    }
    int64_t due_ms = target->next_due_ms + (now_ms - target->next_due_ms) / interval_ms * interval_ms;
    rounds->stats.skipped_total += (uint64_t)((due_ms - target->next_due_ms) / interval_ms);
    target->next_due_ms = due_ms;
    if (target->in_flight && !end_overdue(target)) {
        target->missed_ms = due_ms;
        target->next_due_ms = due_ms + interval_ms;
        arm(target, now_ms);
        return;
    }
    begin_scrape(target, now_ms);
}

/* ---- Targets ---- */

void rounds_add(struct rounds *rounds, struct target *source)
{
    ASSERT(!map_get(&rounds->targets, slot_of(source), NULL, NULL));
    struct round_target *target = mem_zalloc(sizeof(*target));
    int64_t now_ms = schedule_now_ms(&rounds->clock);
    target->rounds = rounds;
    target->target = target_ref(source);
    target->job = job_ref(source->job);
    target->pipeline =
        pipeline_target_new(rounds->pipeline, source->labels, source->interval_ms, &source->job->pipeline);
    target->scrape = (struct scrape){.done = on_scraped, .arg = target};
    target->phase_ms = schedule_phase_ms(source->key, source->interval_ms);
    /* A window that was said to be whole gets no more. */
    target->next_due_ms =
        schedule_due_ms(target->phase_ms, source->interval_ms, MAX(now_ms, rounds->closed_through_ms));
    target->open_start_ms = rounds_floor_ms(rounds, target->next_due_ms);
    loop_timer_init(&target->timer, rounds->options.loop, on_due, target);
    map_put(&rounds->targets, slot_of(source), target);
    rounds->stats.targets++;
    round_target_enter(target);
    arm(target, now_ms);
}

void rounds_remove(struct rounds *rounds, struct target *source, enum target_end end)
{
    struct round_target *target = map_remove(&rounds->targets, slot_of(source), NULL, NULL);
    if (!target)
        return;
    stop_target(target);
    rounds->stats.targets--;
    target->next_due_ms = INT64_MAX;
    if (target->time_ms == 0) { /* it has said nothing that could become stale */
        round_target_leave(target);
        round_target_free(target);
        return;
    }
    int64_t now_ms = MAX(schedule_now_ms(&rounds->clock), MAX(target->time_ms + 1, target->open_start_ms));
    target->ended = true;
    pipeline_target_end(target->pipeline, MIN(now_ms, rounds_end_ms(rounds, target->open_start_ms) - 1), end);
    round_target_settle(target);
}

void rounds_set_job(struct rounds *rounds, struct target *source, struct job *job)
{
    struct round_target *target = map_get(&rounds->targets, slot_of(source), NULL, NULL);
    if (!target || target->job == job)
        return;
    job_unref(target->job);
    target->job = job_ref(job);
}

/* True while the rules set last are not in force everywhere. */
static bool settle_rules(struct rounds *rounds)
{
    if (!rounds->rules_settling)
        return false;
    struct pipeline_stats stats;
    pipeline_stats(rounds->pipeline, &stats);
    rounds->rules_settling = rounds->next_from_ms != INT64_MAX || stats.rules_waiting > 0;
    rounds->stats.rules_total += !rounds->rules_settling;
    return rounds->rules_settling;
}

bool rounds_set_rules(struct rounds *rounds, struct window_rules *rules, int64_t not_before_ms)
{
    if (settle_rules(rounds))
        return false;
    int64_t earliest_ms = MAX(schedule_now_ms(&rounds->clock), not_before_ms);
    int64_t period_ms = window_rules_period_ms(rounds->rules, rules);
    int64_t from_ms = schedule_floor_ms(earliest_ms, period_ms) + period_ms;
    window_rules_unref(rounds->rules);
    rounds->rules = window_rules_ref(rules);
    rounds->rules_settling = true;
    rounds->rules_from_ms = from_ms;
    pipeline_set_rules(rounds->pipeline, rules, from_ms);
    rounds_change_beat(rounds, from_ms, window_rules_beat_ms(rules));
    return true;
}

void rounds_seal_all(struct rounds *rounds)
{
    size_t at = 0;
    for (struct round_target *target; (target = map_next(&rounds->targets, &at));)
        stop_target(target);
    loop_timer_stop(&rounds->close_timer);
    loop_timer_stop(&rounds->idle_timer);
    rounds_close_open(rounds);
}

void rounds_stats(struct rounds *rounds, struct rounds_stats *ret_stats)
{
    settle_rules(rounds);
    *ret_stats = rounds->stats;
    pipeline_stats(rounds->pipeline, &ret_stats->pipeline);
    ret_stats->closed_through_ms = rounds->closed_through_ms;
    ret_stats->beat_ms = rounds->beat_ms;
    ret_stats->rules_from_ms = rounds->rules_settling ? rounds->rules_from_ms : 0;
    for (const struct round_set *set = rounds->sets; set; set = set->next)
        ret_stats->groups += set->group_count;
}
