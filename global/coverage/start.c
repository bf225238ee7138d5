#include "coverage/start.h"

#include "base/fail.h"

#include <string.h>

void start_done(struct start *start)
{
    mem_free(start->runs);
    *start = (struct start){0};
}

/* Index of the first run that ends at or behind seq. */
static size_t find(const struct start *start, uint64_t seq)
{
    size_t at = start->run_count;
    while (at > 0 && start->runs[at - 1].last >= seq)
        at--;
    return at;
}

bool start_has(const struct start *start, uint64_t seq)
{
    size_t at = find(start, seq);
    return at < start->run_count && start->runs[at].first <= seq;
}

static void remove_runs(struct start *start, size_t at, size_t count)
{
    memmove(start->runs + at, start->runs + at + count, (start->run_count - at - count) * sizeof(*start->runs));
    start->run_count -= count;
}

static void merge(struct start_run *to, const struct start_run *run)
{
    to->first = MIN(to->first, run->first);
    to->last = MAX(to->last, run->last);
    to->through_ms = MAX(to->through_ms, run->through_ms);
    to->before_ms = MIN(to->before_ms, run->before_ms);
}

/* Numbers below the first run count as a hole, unless they are not to be missed. */
static bool begins_with_hole(const struct start *start)
{
    return !start->began_unseen && start->run_count > 0 && start->runs[0].first > 1;
}

/* The hole before run `index`: what a run says holds for all numbers above, or below. */
static struct hole hole_before(const struct start *start, size_t index)
{
    struct hole hole = {INT64_MIN, INT64_MAX};
    for (size_t i = 0; i < index; i++)
        hole.after_ms = MAX(hole.after_ms, start->runs[i].through_ms);
    for (size_t i = index; i < start->run_count; i++)
        hole.through_ms = MIN(hole.through_ms, start->runs[i].before_ms);
    return hole;
}

static void insert_run(struct start *start, size_t at, const struct start_run *run)
{
    if (start->run_count == start->run_capacity) {
        start->run_capacity = start->run_capacity * 2 + 1;
        start->runs = mem_resize(start->runs, start->run_capacity, sizeof(*start->runs));
    }
    memmove(start->runs + at + 1, start->runs + at, (start->run_count - at) * sizeof(*start->runs));
    start->runs[at] = *run;
    start->run_count++;
}

bool start_add(struct start *start, const struct start_run *run, struct hole *ret_given_up)
{
    ASSERT(run->first >= 1 && run->first <= run->last);
    size_t at = find(start, run->first - 1); /* one that only touches is joined, too */
    size_t end = at;
    struct start_run all = *run;
    while (end < start->run_count && start->runs[end].first - 1 <= run->last)
        merge(&all, &start->runs[end++]);
    if (end > at) {
        remove_runs(start, at, end - at - 1);
        start->runs[at] = all;
    } else {
        insert_run(start, at, run);
    }
    if (start->run_count <= START_RUNS_MAX)
        return false;
    *ret_given_up = hole_before(start, 1);
    merge(&start->runs[0], &start->runs[1]);
    remove_runs(start, 1, 1);
    return true;
}

size_t start_holes(const struct start *start, struct hole *holes)
{
    size_t first = begins_with_hole(start) ? 0 : 1, count = 0;
    int64_t after_ms = INT64_MIN, through_ms = INT64_MAX;
    for (size_t i = 0; i < start->run_count; i++) {
        if (i >= first)
            holes[count++].after_ms = after_ms;
        after_ms = MAX(after_ms, start->runs[i].through_ms);
    }
    for (size_t i = count; i-- > 0;) {
        through_ms = MIN(through_ms, start->runs[first + i].before_ms);
        holes[i].through_ms = through_ms;
    }
    return count;
}

size_t start_holes_in(const struct start *start, uint64_t first, uint64_t last, struct hole *holes)
{
    size_t count = 0;
    uint64_t seq = first;
    for (size_t i = find(start, first); seq <= last; i++) {
        bool past = i == start->run_count || start->runs[i].first > last;
        if (past || start->runs[i].first > seq)
            holes[count++] = hole_before(start, i);
        if (past || start->runs[i].last >= last)
            break;
        seq = start->runs[i].last + 1;
    }
    return count;
}
