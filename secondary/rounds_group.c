/* Groups of targets by phase, and the closing of their windows. */
#include "base/fail.h"
#include "rounds_internal.h"

#include <stdlib.h>

/* Beats change at a time that both divide. */
static int64_t beat_at(const struct rounds *rounds, int64_t time_ms)
{
    return time_ms >= rounds->next_from_ms ? rounds->next_beat_ms : rounds->beat_ms;
}

int64_t rounds_floor_ms(const struct rounds *rounds, int64_t time_ms)
{
    return schedule_floor_ms(time_ms, beat_at(rounds, time_ms));
}

int64_t rounds_end_ms(const struct rounds *rounds, int64_t start_ms)
{
    return start_ms + beat_at(rounds, start_ms);
}

/* ---- Parts ---- */

void rounds_take_sealed(void *arg, struct pipeline_sealed *sealed)
{
    struct rounds *rounds = arg;
    rounds->parts = mem_resize(rounds->parts, rounds->part_count + 1, sizeof(*rounds->parts));
    rounds->parts[rounds->part_count++] = *sealed;
}

/* Of all its parts only the last one closes a window. Without parts, that is told alone: others wait for it. */
void rounds_hand_parts(struct rounds *rounds, int64_t closed_before_ms)
{
    struct pipeline_sealed *parts = STEAL(rounds->parts);
    size_t count = rounds->part_count;
    rounds->part_count = 0;
    for (size_t i = 0; i < count; i++)
        rounds->options.sealed(rounds->options.arg, &parts[i],
                               i + 1 == count ? rounds->closed_through_ms : closed_before_ms);
    mem_free(parts);
    if (count == 0 && rounds->closed_through_ms > closed_before_ms)
        rounds->options.sealed(rounds->options.arg, &(struct pipeline_sealed){0}, rounds->closed_through_ms);
}

static void pass_beat(struct rounds *rounds)
{
    if (rounds->closed_through_ms < rounds->next_from_ms)
        return;
    rounds->beat_ms = rounds->next_beat_ms;
    rounds->next_from_ms = INT64_MAX;
}

static void update_closed_through(struct rounds *rounds)
{
    int64_t oldest_ms = INT64_MAX;
    for (const struct round_set *set = rounds->sets; set; set = set->next)
        for (size_t i = 0; i < set->group_count; i++)
            if (set->groups[i].count > 0)
                oldest_ms = MIN(oldest_ms, set->groups[i].window_start_ms);
    if (oldest_ms != INT64_MAX)
        rounds->closed_through_ms = MAX(rounds->closed_through_ms, oldest_ms);
    pass_beat(rounds);
}

/* ---- Groups ---- */

static void group_recount(struct round_group *group)
{
    group->window_start_ms = INT64_MAX;
    for (size_t i = 0; i < group->count; i++)
        group->window_start_ms = MIN(group->window_start_ms, group->targets[i]->open_start_ms);
    group->waiting = 0;
    for (size_t i = 0; i < group->count; i++)
        group->waiting += group->targets[i]->open_start_ms == group->window_start_ms && !group->targets[i]->done;
}

static void group_push(struct round_group *group, struct round_target *target)
{
    if (group->count == group->capacity) {
        group->capacity = MAX(2 * group->capacity, (size_t)16);
        group->targets = mem_resize(group->targets, group->capacity, sizeof(*group->targets));
    }
    group->targets[group->count++] = target;
    group->sorted = false;
    target->group = group;
}

static void want_close(struct rounds *rounds, const struct round_group *group)
{
    if (group->count > 0 && group->waiting == 0 && !rounds->close_timer.active)
        loop_timer_start(&rounds->close_timer, 0, 0);
}

static struct round_set *find_set(struct rounds *rounds, int64_t interval_ms)
{
    for (struct round_set *set = rounds->sets; set; set = set->next)
        if (set->interval_ms == interval_ms)
            return set;
    struct round_set *set = mem_zalloc(sizeof(*set));
    set->interval_ms = interval_ms;
    set->group_count = 1;
    set->groups = mem_array(1, sizeof(struct round_group));
    set->next = rounds->sets;
    rounds->sets = set;
    return set;
}

static struct round_group *group_of(const struct round_set *set, int64_t phase_ms)
{
    return &set->groups[(size_t)phase_ms * set->group_count / (size_t)set->interval_ms];
}

static void free_groups(struct round_group *groups, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mem_free(groups[i].targets);
    mem_free(groups);
}

/* More targets make more groups, fewer make fewer; not at once, or each host that comes and goes would change them. */
static void resize_set(struct rounds *rounds, struct round_set *set)
{
    size_t wanted = set->group_count;
    while (wanted < ROUNDS_GROUPS_MAX && set->count >= 2 * wanted * ROUNDS_GROUP_TARGETS)
        wanted *= 2;
    while (wanted > 1 && set->count < wanted * ROUNDS_GROUP_TARGETS / 2)
        wanted /= 2;
    if (wanted == set->group_count)
        return;
    struct round_group *old = set->groups;
    size_t old_count = set->group_count;
    set->group_count = wanted;
    set->groups = mem_array(wanted, sizeof(struct round_group));
    for (size_t i = 0; i < old_count; i++)
        for (size_t j = 0; j < old[i].count; j++)
            group_push(group_of(set, old[i].targets[j]->phase_ms), old[i].targets[j]);
    free_groups(old, old_count);
    for (size_t i = 0; i < wanted; i++) {
        group_recount(&set->groups[i]);
        want_close(rounds, &set->groups[i]);
    }
}

/* Each target stands in one group, those too that have ended and wait for its close. */
static void free_targets(struct round_group *group)
{
    for (size_t i = 0; i < group->count; i++)
        round_target_free(group->targets[i]);
}

void rounds_free_sets(struct rounds *rounds)
{
    while (rounds->sets) {
        struct round_set *set = rounds->sets;
        rounds->sets = set->next;
        for (size_t i = 0; i < set->group_count; i++)
            free_targets(&set->groups[i]);
        free_groups(set->groups, set->group_count);
        mem_free(set);
    }
}

/* ---- Targets in them ---- */

void round_target_free(struct round_target *target)
{
    pipeline_target_free(target->pipeline);
    job_unref(target->job);
    target_unref(target->target);
    mem_free(target);
}

void round_target_enter(struct round_target *target)
{
    struct round_set *set = find_set(target->rounds, target->target->interval_ms);
    struct round_group *group = group_of(set, target->phase_ms);
    group_push(group, target);
    group_recount(group);
    set->count++;
    resize_set(target->rounds, set);
}

void round_target_leave(struct round_target *target)
{
    struct rounds *rounds = target->rounds;
    struct round_set *set = find_set(rounds, target->target->interval_ms);
    struct round_group *group = target->group;
    size_t left = 0;
    for (size_t i = 0; i < group->count; i++)
        if (group->targets[i] != target)
            group->targets[left++] = group->targets[i];
    ASSERT(left + 1 == group->count);
    group->count = left;
    group_recount(group);
    want_close(rounds, group);
    set->count--;
    resize_set(rounds, set);
}

void round_target_settle(struct round_target *target)
{
    struct round_group *group = target->group;
    bool done = !target->in_flight && target->missed_ms == 0 &&
                target->next_due_ms >= rounds_end_ms(target->rounds, target->open_start_ms);
    if (done == target->done)
        return;
    target->done = done;
    if (target->open_start_ms != group->window_start_ms)
        return;
    group->waiting += done ? (size_t)-1 : 1;
    want_close(target->rounds, group);
}

/* ---- Closing ---- */

static int by_key(const void *a, const void *b)
{
    const struct target *left = (*(struct round_target *const *)a)->target;
    const struct target *right = (*(struct round_target *const *)b)->target;
    return left->key < right->key ? -1 : left->key > right->key;
}

static void sort_group(struct round_group *group)
{
    if (!group->sorted && group->count > 1)
        qsort(group->targets, group->count, sizeof(struct round_target *), by_key);
    group->sorted = true;
}

/* Behind a close: the next window is the one its next scrape falls into. */
static void next_window(struct round_target *target)
{
    struct rounds *rounds = target->rounds;
    target->open_start_ms = rounds_floor_ms(rounds, target->next_due_ms);
    target->done = false;
}

/* Closes a window of the group for all that have it open and are done with it, in the order of their keys. Returns
 * those, to be freed, and how many. last: nobody is scraped any more. */
static struct round_target **close_window(struct rounds *rounds, struct round_group *group, int64_t start_ms, bool last,
                                          size_t *ret_count)
{
    struct round_target **closing = mem_array(group->count, sizeof(struct round_target *));
    CLEANUP_FREE struct pipeline_closing *windows = mem_array(group->count, sizeof(*windows));
    size_t count = 0, open = 0;
    sort_group(group);
    for (size_t i = 0; i < group->count; i++) {
        struct round_target *target = group->targets[i];
        open += target->open_start_ms == start_ms;
        if (target->open_start_ms != start_ms || !target->done)
            continue;
        windows[count] = (struct pipeline_closing){target->pipeline, last ? INT64_MAX : target->next_due_ms};
        closing[count++] = target;
    }
    pipeline_close(rounds->pipeline, start_ms, windows, count);
    rounds->stats.windows_total++;
    rounds->stats.split_total += count < open;
    *ret_count = count;
    return closing;
}

static void close_group(struct rounds *rounds, struct round_group *group, int64_t start_ms)
{
    int64_t closed_before_ms = rounds->closed_through_ms;
    size_t count;
    struct round_target **closed = close_window(rounds, group, start_ms, false, &count);
    for (size_t i = 0; i < count; i++)
        if (!closed[i]->ended)
            next_window(closed[i]);
    group_recount(group);
    for (size_t i = 0; i < count; i++) {
        if (!closed[i]->ended)
            continue;
        round_target_leave(closed[i]); /* may make other groups: this one is not touched any more */
        round_target_free(closed[i]);
    }
    mem_free(closed);
    update_closed_through(rounds);
    rounds_hand_parts(rounds, closed_before_ms);
}

void rounds_seal_raw(struct round_target *target, int64_t time_ms)
{
    struct round_group *group = target->group;
    CLEANUP_FREE struct pipeline_closing *sealing = mem_array(group->count, sizeof(*sealing));
    size_t count = 0;
    sort_group(group);
    for (size_t i = 0; i < group->count; i++)
        if (group->targets[i]->open_start_ms == target->open_start_ms)
            sealing[count++].target = group->targets[i]->pipeline;
    pipeline_seal_raw(target->rounds->pipeline, sealing, count, time_ms);
}

/* Targets whose next scrape lies behind from_ms have nothing open before it. */
static void reopen_group(struct rounds *rounds, struct round_group *group, int64_t from_ms)
{
    for (size_t i = 0; i < group->count; i++)
        if (!group->targets[i]->ended && group->targets[i]->open_start_ms >= from_ms)
            next_window(group->targets[i]);
    group_recount(group);
    want_close(rounds, group);
}

void rounds_change_beat(struct rounds *rounds, int64_t from_ms, int64_t beat_ms)
{
    rounds->next_from_ms = from_ms;
    rounds->next_beat_ms = beat_ms;
    for (struct round_set *set = rounds->sets; set; set = set->next)
        for (size_t i = 0; i < set->group_count; i++)
            reopen_group(rounds, &set->groups[i], from_ms);
    update_closed_through(rounds);
}

static struct round_group *find_done(struct rounds *rounds)
{
    for (struct round_set *set = rounds->sets; set; set = set->next)
        for (size_t i = 0; i < set->group_count; i++)
            if (set->groups[i].count > 0 && set->groups[i].waiting == 0)
                return &set->groups[i];
    return NULL;
}

void rounds_close_done(void *arg)
{
    struct rounds *rounds = arg;
    /* Each close moves a window on to one that is not over yet: this comes to an end. */
    for (struct round_group *group; (group = find_done(rounds));)
        close_group(rounds, group, group->window_start_ms);
}

void round_target_advance(struct round_target *target)
{
    if (target->next_due_ms < rounds_end_ms(target->rounds, target->open_start_ms))
        return;
    ASSERT(target->done);
    close_group(target->rounds, target->group, target->open_start_ms);
}

/* ---- Windows without targets, and the last ones ---- */

void rounds_start_idle(struct rounds *rounds)
{
    int64_t now_ms = schedule_now_ms(&rounds->clock);
    int64_t end_ms = rounds_end_ms(rounds, rounds_floor_ms(rounds, now_ms));
    loop_timer_start(&rounds->idle_timer, end_ms - now_ms, 0);
}

void rounds_idle(void *arg)
{
    struct rounds *rounds = arg;
    int64_t end_ms = rounds_floor_ms(rounds, schedule_now_ms(&rounds->clock));
    int64_t closed_before_ms = rounds->closed_through_ms;
    if (rounds->stats.targets == 0 && !find_done(rounds) && end_ms > closed_before_ms) {
        int64_t default_end_ms = schedule_floor_ms(end_ms, window_rules_default_ms(rounds->rules));
        if (default_end_ms > closed_before_ms)
            pipeline_close_idle(rounds->pipeline, default_end_ms);
        rounds->closed_through_ms = end_ms;
        pass_beat(rounds);
        rounds_hand_parts(rounds, closed_before_ms);
    }
    rounds_start_idle(rounds);
}

/* What the group's targets have open, oldest window first; what was never scraped has nothing to say. */
static void close_all(struct rounds *rounds, struct round_group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        struct round_target *target = group->targets[i];
        target->done = true;
        if (target->time_ms == 0)
            target->open_start_ms = INT64_MAX;
    }
    for (group_recount(group); group->window_start_ms != INT64_MAX; group_recount(group)) {
        size_t count;
        struct round_target **closed = close_window(rounds, group, group->window_start_ms, true, &count);
        for (size_t i = 0; i < count; i++)
            closed[i]->open_start_ms = INT64_MAX;
        mem_free(closed);
    }
}

void rounds_close_open(struct rounds *rounds)
{
    for (struct round_set *set = rounds->sets; set; set = set->next)
        for (size_t i = 0; i < set->group_count; i++)
            close_all(rounds, &set->groups[i]);
    rounds_hand_parts(rounds, rounds->closed_through_ms);
}
