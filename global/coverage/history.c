#include "coverage/history.h"

#include "base/fail.h"

#include <math.h>
#include <string.h>

const char *gap_reason_name(enum gap_reason reason)
{
    static const char *const names[GAP_REASONS] = {"silent", "missing", "dropped", "unreadable", "late"};
    return names[reason];
}

/* ---- Gaps ---- */

void gaps_add(struct gaps *gaps, const struct gap *gap)
{
    if (gaps->count == gaps->capacity) {
        gaps->capacity = MAX(2 * gaps->capacity, (size_t)8);
        gaps->items = mem_resize(gaps->items, gaps->capacity, sizeof(*gaps->items));
    }
    size_t at = gaps->count++;
    for (; at > 0 && gaps->items[at - 1].start_ms > gap->start_ms; at--)
        gaps->items[at] = gaps->items[at - 1];
    gaps->items[at] = *gap;
}

void gaps_done(struct gaps *gaps)
{
    mem_free(gaps->items);
    *gaps = (struct gaps){0};
}

static void remove_gap(struct gaps *gaps, size_t at)
{
    memmove(gaps->items + at, gaps->items + at + 1, (--gaps->count - at) * sizeof(*gaps->items));
}

static void join_gaps(struct gaps *gaps, size_t at)
{
    gaps->items[at].end_ms = MAX(gaps->items[at].end_ms, gaps->items[at + 1].end_ms);
    remove_gap(gaps, at + 1);
}

/* ---- Lifecycle ---- */

void history_init(struct history *history, const struct source_id *source)
{
    *history = (struct history){.first_ms = INT64_MAX,
                                .known_ms = INT64_MIN,
                                .lost_ms = INT64_MIN,
                                .closed_ms = INT64_MIN,
                                .heard_ms = INT64_MIN / 2,
                                .settled_ms = INT64_MIN,
                                .next_teller = SPAN_SETTLED + 1};
    memcpy(history->datacenter, source->datacenter.ptr, source->datacenter.len);
    memcpy(history->secondary, source->secondary.ptr, source->secondary.len);
}

void history_done(struct history *history)
{
    spans_done(&history->spans);
    for (size_t i = 0; i < history->start_count; i++)
        start_done(&history->starts[i]);
    mem_free(history->starts);
    gaps_done(&history->losses);
}

/* ---- Losses ---- */

/* One of the older half goes together with the one that lies nearest behind it. */
static void squeeze_losses(struct gaps *losses)
{
    size_t best = 0;
    for (size_t i = 1; i < losses->count / 2; i++)
        if (losses->items[i + 1].start_ms - losses->items[i].end_ms <
            losses->items[best + 1].start_ms - losses->items[best].end_ms)
            best = i;
    join_gaps(losses, best);
}

void history_lose(struct history *history, const struct gap *gap)
{
    struct gaps *losses = &history->losses;
    if (gap->start_ms >= gap->end_ms)
        return;
    struct gap all = *gap;
    for (size_t i = losses->count; i-- > 0;) {
        const struct gap *loss = &losses->items[i];
        if (loss->reason != all.reason || loss->start_ms > all.end_ms || loss->end_ms < all.start_ms)
            continue;
        all.start_ms = MIN(all.start_ms, loss->start_ms);
        all.end_ms = MAX(all.end_ms, loss->end_ms);
        remove_gap(losses, i);
    }
    gaps_add(losses, &all);
    if (losses->count > HISTORY_LOSSES_MAX)
        squeeze_losses(losses);
}

/* ---- Starts ---- */

/* Windows are closed up to here, as far as this teller and those that went on where it ended say. */
static int64_t closed_to(const struct history *history, uint32_t teller)
{
    int64_t closed_ms = teller == SPAN_SETTLED ? INT64_MAX : INT64_MIN;
    for (size_t i = 0; i < history->start_count; i++)
        if (history->starts[i].teller == teller)
            closed_ms = history->starts[i].closed_ms;
    for (bool went_on = closed_ms != INT64_MAX; went_on;) {
        went_on = false;
        for (size_t i = 0; i < history->start_count; i++) {
            const struct start *start = &history->starts[i];
            if (start->first_ms <= closed_ms && start->closed_ms > closed_ms) {
                closed_ms = start->closed_ms;
                went_on = true;
            }
        }
    }
    return closed_ms;
}

/* A hole with both its ends known: at least one window, and not before what the source told ahead of this start. */
static struct gap gap_of(const struct history *history, const struct start *start, const struct hole *hole)
{
    int64_t window_ms = MAX(history->window_ms, 1), from_ms = hole->after_ms, to_ms = hole->through_ms;
    if (from_ms == INT64_MIN)
        for (size_t i = 0; i < history->start_count; i++)
            if (&history->starts[i] != start && history->starts[i].closed_ms <= to_ms)
                from_ms = MAX(from_ms, history->starts[i].closed_ms);
    if (from_ms == INT64_MIN && to_ms != INT64_MAX)
        from_ms = to_ms - window_ms;
    if (from_ms == INT64_MIN)
        return (struct gap){0, 0, GAP_MISSING};
    return (struct gap){from_ms, to_ms == INT64_MAX ? from_ms + window_ms : MAX(to_ms, from_ms + window_ms),
                        GAP_MISSING};
}

/* What it lacks, it lacks for good. */
static void settle_start(struct history *history, size_t index)
{
    struct start *start = &history->starts[index];
    struct hole holes[START_RUNS_MAX];
    size_t count = start_holes(start, holes);
    for (size_t i = 0; i < count; i++) {
        struct gap gap = gap_of(history, start, &holes[i]);
        history_lose(history, &gap);
    }
    int64_t closed_ms = closed_to(history, start->teller);
    for (size_t i = 0; i < history->spans.count; i++) {
        const struct span *span = &history->spans.items[i];
        if (span->teller == start->teller && span->end_ms > closed_ms)
            history_lose(history, &(struct gap){MAX(span->start_ms, closed_ms), span->end_ms, GAP_SILENT});
    }
    spans_settle(&history->spans, start->teller);
    history->settled_ms = MAX(history->settled_ms, start->closed_ms);
    start_done(start);
    *start = history->starts[--history->start_count];
}

static void settle_oldest(struct history *history)
{
    size_t oldest = 0;
    for (size_t i = 1; i < history->start_count; i++)
        if (history->starts[i].closed_ms < history->starts[oldest].closed_ms)
            oldest = i;
    settle_start(history, oldest);
}

static struct start *start_of(struct history *history, uint64_t incarnation, uint64_t epoch)
{
    for (size_t i = history->start_count; i-- > 0;)
        if (history->starts[i].epoch == epoch && history->starts[i].incarnation == incarnation)
            return &history->starts[i];
    if (history->start_count == HISTORY_STARTS_MAX)
        settle_oldest(history);
    history->starts = mem_resize(history->starts, history->start_count + 1, sizeof(*history->starts));
    struct start *start = &history->starts[history->start_count++];
    *start = (struct start){.incarnation = incarnation,
                            .epoch = epoch,
                            .teller = history->next_teller++,
                            .first_ms = INT64_MAX,
                            .closed_ms = INT64_MIN};
    return start;
}

static void add_run(struct history *history, struct start *start, const struct start_run *run)
{
    struct hole given_up;
    if (!start_add(start, run, &given_up))
        return;
    struct gap gap = gap_of(history, start, &given_up);
    history_lose(history, &gap);
}

/* ---- What comes ---- */

/* Windows that say how many targets they expected, or that there was nothing at all: those of the default resolution.
 * Other rules' windows, scrapes as they are and aggregates come beside them. */
static bool is_claim(const struct history *history, const struct envelope *envelope)
{
    return envelope->targets_expected > 0 || envelope->page_count == 0 ||
           (envelope->resolution_ms > 0 && envelope->resolution_ms == history->window_ms);
}

static int64_t length_ms(const struct envelope *envelope)
{
    return envelope->resolution_ms > 0 ? envelope->resolution_ms : envelope->span_ms;
}

static struct span claim_of(const struct history *history, const struct history_batch *batch, double windows)
{
    const struct envelope *envelope = batch->envelope;
    struct span claim = {.window_ms = history->window_ms,
                         .expected = (double)envelope->targets_expected / windows,
                         .answered = (double)envelope->targets_answered / windows};
    claim.least_answered = claim.answered;
    const uint8_t *words = batch->words;
    for (uint32_t i = 0; i < envelope->failed_count; i++, words++)
        if (*words != SPAN_NO_WORD && envelope->failed[i].count > 0)
            span_count(&claim, *words, (double)envelope->failed[i].count / windows);
    for (uint32_t i = 0; i < envelope->dropped_count; i++, words++)
        if (*words != SPAN_NO_WORD && envelope->dropped[i].count > 0)
            span_count(&claim, *words, (double)envelope->dropped[i].count / windows);
    return claim;
}

/* Windows of a backlog's batch whose own batch came before are not told twice. */
static bool was_told(const struct start *start, const struct envelope *envelope, size_t windows, size_t index)
{
    return envelope->replaces_count == windows && start_has(start, envelope->replaces[index]);
}

static void tell(struct history *history, struct start *start, const struct history_batch *batch)
{
    const struct envelope *envelope = batch->envelope;
    int64_t window_ms = length_ms(envelope);
    if (is_claim(history, envelope)) {
        history->window_ms = (uint32_t)window_ms;
        size_t windows = (size_t)(envelope->span_ms / window_ms);
        struct span claim = claim_of(history, batch, (double)windows);
        claim.teller = start->teller;
        for (size_t i = 0; i < windows; i++) {
            claim.start_ms = envelope->window_start_ms + (int64_t)i * window_ms;
            claim.end_ms = claim.start_ms + window_ms;
            if (!was_told(start, envelope, windows, i))
                spans_add(&history->spans, &claim);
        }
        start->first_ms = MIN(start->first_ms, envelope->window_start_ms);
        history->first_ms = MIN(history->first_ms, envelope->window_start_ms);
    } else if (history->window_ms > 0 && envelope->dropped_count > 0) {
        /* What was dropped counts with the window that ended with this one. */
        struct span claim = claim_of(history, batch, 1);
        claim.teller = start->teller;
        claim.end_ms = envelope->window_start_ms + envelope->span_ms;
        claim.start_ms = claim.end_ms - history->window_ms;
        spans_add(&history->spans, &claim);
    }
}

/* Numbers below this one were sealed before it was; none is of its window or a later one where it is the first part. */
static int64_t ended_before_ms(const struct history *history, const struct history_batch *batch)
{
    const struct envelope *envelope = batch->envelope;
    int64_t window_ms = MAX(history->window_ms, 1), end_ms = envelope->window_start_ms + envelope->span_ms;
    int64_t sealed_ms = MIN(envelope->sealed_at_ms, batch->newest_ms);
    sealed_ms -= sealed_ms % window_ms;
    if (!is_claim(history, envelope) || envelope->replaces_count > 0)
        return sealed_ms;
    return envelope->part == 0 ? envelope->window_start_ms : MAX(sealed_ms, end_ms);
}

static void close_windows(struct history *history, struct start *start, int64_t closed_ms)
{
    start->closed_ms = MAX(start->closed_ms, closed_ms);
    history->closed_ms = MAX(history->closed_ms, closed_ms);
}

void history_take(struct history *history, const struct history_batch *batch)
{
    const struct envelope *envelope = batch->envelope;
    struct start *start = start_of(history, envelope->source.incarnation, envelope->epoch);
    history->heard_ms = MAX(history->heard_ms, batch->heard_ms);
    if (start_has(start, envelope->seq))
        return;
    if (start->run_count == 0 && (batch->is_rebuilt || envelope->window_start_ms < history->settled_ms))
        start->began_unseen = true;
    int64_t start_ms = envelope->window_start_ms, end_ms = start_ms + envelope->span_ms;
    struct start_run run = {envelope->seq, envelope->seq, INT64_MIN, INT64_MAX};
    if (end_ms <= batch->newest_ms) {
        if (end_ms > batch->oldest_ms)
            tell(history, start, batch);
        else
            history_lose(history, &(struct gap){start_ms, end_ms, GAP_LATE});
        run.before_ms = ended_before_ms(history, batch);
        if (envelope->closed_through_ms > 0)
            run.through_ms = MIN(envelope->closed_through_ms, batch->newest_ms);
        close_windows(history, start, run.through_ms);
    } /* else the store has nothing of it, as if it had not come; it is not missed */
    for (uint32_t i = 0; i < envelope->replaces_count; i++)
        if (envelope->replaces[i] > 0)
            add_run(history, start,
                    &(struct start_run){envelope->replaces[i], envelope->replaces[i], INT64_MIN, INT64_MAX});
    add_run(history, start, &run);
}

void history_drop(struct history *history, const struct history_dropped *dropped)
{
    struct start *start = start_of(history, dropped->incarnation, dropped->epoch);
    struct hole holes[START_RUNS_MAX + 2];
    size_t count = start_holes_in(start, dropped->first, dropped->last, holes);
    for (size_t i = 0; i < count; i++)
        history_lose(history, &(struct gap){MAX(dropped->start_ms, holes[i].after_ms),
                                            MIN(dropped->end_ms, holes[i].through_ms), GAP_DROPPED});
    if (start->first_ms == INT64_MAX || dropped->start_ms < start->first_ms)
        start->first_ms = dropped->start_ms;
    history->first_ms = MIN(history->first_ms, dropped->start_ms);
    add_run(history, start, &(struct start_run){dropped->first, dropped->last, INT64_MIN, INT64_MAX});
}

void history_shrink(struct history *history, size_t spans_max)
{
    if (history->spans.count <= spans_max)
        return;
    int64_t gone_ms = spans_shrink(&history->spans, spans_max);
    history->lost_ms = MAX(history->lost_ms, gone_ms);
    history_forget(history, gone_ms);
}

void history_forget(struct history *history, int64_t before_ms)
{
    if (before_ms <= history->known_ms)
        return;
    if (history->first_ms < before_ms)
        history->known_ms = before_ms;
    spans_forget(&history->spans, before_ms);
    while (history->losses.count > 0 && history->losses.items[0].end_ms <= before_ms)
        remove_gap(&history->losses, 0);
    for (size_t i = history->start_count; i-- > 0;)
        if (history->starts[i].closed_ms < before_ms && history->closed_ms > before_ms)
            settle_start(history, i);
}

static int64_t last_ms_of(const struct history *history)
{
    return history->closed_ms == INT64_MIN ? history->first_ms : history->closed_ms;
}

int64_t history_ended_ms(const struct history *history)
{
    int64_t last_ms = last_ms_of(history);
    return last_ms == INT64_MAX ? INT64_MAX : last_ms + HISTORY_FORGET_MS;
}

/* ---- A look ---- */

struct walk {
    struct history_look *look;
    double total_ms;
    size_t known; /* gaps for which a reason is known */
    double last_expected;
};

static void add_clipped(struct walk *walk, struct gap gap)
{
    gap.start_ms = MAX(gap.start_ms, walk->look->start_ms);
    gap.end_ms = MIN(gap.end_ms, walk->look->end_ms);
    if (gap.start_ms < gap.end_ms)
        gaps_add(&walk->look->gaps, &gap);
}

/* Untold time: what is not known better is silence. The first `known` gaps are sorted, and silence is put behind. */
static void be_silent(struct walk *walk, struct gaps *silent, int64_t start_ms, int64_t end_ms)
{
    struct history_look *look = walk->look;
    if (start_ms >= end_ms)
        return;
    walk->total_ms += (double)(end_ms - start_ms);
    look->expected += walk->last_expected * (double)(end_ms - start_ms);
    look->least_answered = 0;
    for (size_t i = 0; i < look->gaps.count && start_ms < end_ms; i++) {
        const struct gap *gap = &look->gaps.items[i];
        if (gap->end_ms <= start_ms || gap->start_ms >= end_ms)
            continue;
        if (gap->start_ms > start_ms)
            gaps_add(silent, &(struct gap){start_ms, gap->start_ms, GAP_SILENT});
        start_ms = MAX(start_ms, gap->end_ms);
    }
    if (start_ms < end_ms)
        gaps_add(silent, &(struct gap){start_ms, end_ms, GAP_SILENT});
}

static void be_told(struct walk *walk, const struct span *span, int64_t start_ms, int64_t end_ms)
{
    struct history_look *look = walk->look;
    if (start_ms >= end_ms)
        return;
    double length_ms = (double)(end_ms - start_ms);
    walk->total_ms += length_ms;
    look->told = true;
    look->expected += span->expected * length_ms;
    look->answered += span->answered * length_ms;
    look->least_answered = MIN(look->least_answered, span->least_answered);
    for (size_t i = 0; i < SPAN_COUNTS_MAX && span->counts[i] > 0; i++)
        look->counts[span->words[i]] +=
            span->counts[i] * (span_word_is_dropped(span->words[i]) ? length_ms / span->window_ms : length_ms);
}

/* Losses, and holes but for what may just be on its way. */
static void know_gaps(const struct history *history, struct walk *walk)
{
    for (size_t i = 0; i < history->losses.count; i++)
        add_clipped(walk, history->losses.items[i]);
    struct hole holes[START_RUNS_MAX];
    for (size_t i = 0; i < history->start_count; i++) {
        size_t count = start_holes(&history->starts[i], holes);
        for (size_t j = 0; j < count; j++) {
            struct gap gap = gap_of(history, &history->starts[i], &holes[j]);
            if (gap.start_ms <= walk->look->now_ms - HISTORY_LAG_MS)
                add_clipped(walk, gap);
        }
    }
}

/* From start to end, span by span, or many at once where they lie within; what is behind closed_ms is still to come. */
static void walk_spans(struct history *history, struct walk *walk, struct gaps *silent)
{
    const struct history_look *look = walk->look;
    struct spans *spans = &history->spans;
    int64_t time_ms = look->start_ms, end_ms = MIN(look->end_ms, history->closed_ms), closed_ms = INT64_MAX;
    size_t at = spans_find(spans, look->start_ms);
    walk->last_expected = at > 0 ? spans->items[at - 1].expected : spans->count > 0 ? spans->items[0].expected : 0;
    uint32_t teller = SPAN_SETTLED;
    for (size_t next; at < spans->count && spans->items[at].start_ms < end_ms; at = next) {
        const struct span *span = &spans->items[at], *block = spans_block(spans, at);
        if (span->teller != teller)
            closed_ms = closed_to(history, teller = span->teller);
        bool at_once = block && time_ms <= block->start_ms && block->end_ms <= MIN(end_ms, closed_ms);
        next = at + (at_once ? SPANS_BLOCK : 1);
        span = at_once ? block : span;
        be_silent(walk, silent, time_ms, span->start_ms);
        int64_t to_ms = MIN(MIN(span->end_ms, end_ms), closed_ms);
        be_told(walk, span, MAX(time_ms, span->start_ms), to_ms);
        walk->last_expected = spans->items[next - 1].expected;
        time_ms = MAX(time_ms, to_ms);
    }
    be_silent(walk, silent, time_ms, end_ms);
}

static void finish_means(const struct history *history, struct walk *walk)
{
    struct history_look *look = walk->look;
    if (walk->total_ms > 0) {
        look->expected /= walk->total_ms;
        look->answered /= walk->total_ms;
        for (size_t i = 0; i < look->word_count; i++)
            look->counts[i] /= span_word_is_dropped((uint8_t)i) ? 1 : walk->total_ms;
        return;
    }
    /* Nothing of the range is due yet: the newest that is known stands for it. */
    size_t at = spans_find(&history->spans, history->closed_ms - 1);
    if (at < history->spans.count) {
        look->expected = history->spans.items[at].expected;
        look->answered = look->least_answered = history->spans.items[at].answered;
    } else {
        look->least_answered = 0;
    }
}

void history_look(struct history *history, struct history_look *look)
{
    int64_t last_ms = last_ms_of(history), ended_ms = history_ended_ms(history);
    look->start_ms = MAX(look->start_ms, MAX(history->first_ms, history->known_ms));
    look->end_ms = MIN(look->end_ms, look->now_ms);
    look->there = history->first_ms != INT64_MAX && look->start_ms <= look->end_ms && look->start_ms < ended_ms;
    if (!look->there)
        return;
    struct walk walk = {.look = look};
    struct gaps silent = {0};
    look->least_answered = INFINITY;
    know_gaps(history, &walk);
    walk_spans(history, &walk, &silent);
    int64_t lag_ms = MAX(HISTORY_LAG_MS, HISTORY_LAG_WINDOWS * (int64_t)history->window_ms);
    look->is_behind = last_ms < MIN(look->end_ms, look->now_ms - lag_ms);
    if (look->is_behind)
        be_silent(&walk, &silent, MAX(look->start_ms, last_ms), MIN(look->end_ms, ended_ms));
    for (size_t i = 0; i < silent.count; i++)
        gaps_add(&look->gaps, &silent.items[i]);
    gaps_done(&silent);
    finish_means(history, &walk);
    for (size_t i = 0; i < history->start_count; i++)
        look->restarts += history->starts[i].first_ms > MAX(history->first_ms, look->start_ms) &&
                          history->starts[i].first_ms < look->end_ms;
}
