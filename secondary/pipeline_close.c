/* Windows that are over, as parts of batches: one at a time per resolution. */
#include "base/fail.h"
#include "pipeline_internal.h"

/* The length of the windows that hold these records: those of scrapes as they are go out with the default windows. */
static int64_t window_ms(const struct pipeline *pipeline, int64_t resolution_ms)
{
    return resolution_ms > 0 ? resolution_ms : window_rules_default_ms(pipeline->rules);
}

/* ---- Parts ---- */

static struct pipeline_sealed *part_of(struct pipeline *pipeline, int64_t resolution_ms, int64_t beat_start_ms)
{
    for (size_t i = 0; i < pipeline->part_count; i++)
        if (pipeline->parts[i].resolution_ms == resolution_ms)
            return &pipeline->parts[i];
    int64_t span_ms = window_ms(pipeline, resolution_ms);
    pipeline->parts = mem_resize(pipeline->parts, pipeline->part_count + 1, sizeof(*pipeline->parts));
    struct pipeline_sealed *part = &pipeline->parts[pipeline->part_count++];
    *part = (struct pipeline_sealed){
        .window_start_ms = window_start_ms(beat_start_ms, span_ms), .resolution_ms = resolution_ms, .span_ms = span_ms};
    return part;
}

static void seal(struct pipeline *pipeline, struct pipeline_sealed *part)
{
    pipeline->options.sealed(pipeline->options.sealed_arg, part);
    /* The receiver's now; what follows is another part of the same window. */
    *part = (struct pipeline_sealed){
        .window_start_ms = part->window_start_ms, .resolution_ms = part->resolution_ms, .span_ms = part->span_ms};
}

static void seal_all(struct pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->part_count; i++)
        if (pipeline->parts[i].writer || pipeline->parts[i].aggregate)
            seal(pipeline, &pipeline->parts[i]);
    pipeline->part_count = 0;
    /* A page of a job that ends now must not be found by a later one that lies at the same address. */
    window_scratch_release(&pipeline->scratch);
}

static struct batch_writer *writer_of(struct pipeline_sealed *part)
{
    if (!part->writer)
        part->writer = batch_writer_new();
    return part->writer;
}

/* lost: how many samples go when no batch can hold the item. */
static void add_item(struct pipeline *pipeline, const struct batch_item *item, uint64_t lost,
                     struct pipeline_sealed *part)
{
    if (batch_writer_add(writer_of(part), item) == 0)
        return;
    seal(pipeline, part);
    /* One page alone that no batch can hold is past every limit of a scrape: its samples are counted as dropped. */
    if (batch_writer_add(writer_of(part), item) < 0)
        part->samples_dropped_total += lost;
}

/* ---- Windows ---- */

static void close_window(struct pipeline_target *target, struct window *window, struct pipeline_sealed *part)
{
    struct pipeline *pipeline = target->pipeline;
    struct window_closed closed;
    uint32_t series = window_series(window);
    if (!window_close(window, &pipeline->scratch, &closed))
        return;
    struct batch_item item = {.target = target->labels,
                              .page = closed.page,
                              .time_ms = closed.time_ms,
                              .count = closed.count,
                              .stale_ms = closed.stale_ms,
                              .records = closed.records,
                              .extras = closed.extras,
                              .extra_count = closed.extra_count};
    add_item(pipeline, &item, (uint64_t)closed.count * series, part);
    part->samples_dropped_total += closed.dropped;
}

static void close_fold(struct pipeline_target *target, struct class_window *class, struct pipeline_sealed *part)
{
    if (!part->aggregate)
        part->aggregate = aggregate_new();
    fold_close(class->fold, window_rules_at(target->rules, class->class.aggregate), target->labels, part->aggregate);
}

static bool is_over(const struct pipeline *pipeline, int64_t resolution_ms, int64_t beat_start_ms, int64_t next_due_ms)
{
    int64_t length_ms = window_ms(pipeline, resolution_ms);
    return next_due_ms >= window_start_ms(beat_start_ms, length_ms) + length_ms;
}

static void close_classes(struct pipeline_target *target, struct window_set *set, int64_t beat_start_ms,
                          int64_t next_due_ms)
{
    struct pipeline *pipeline = target->pipeline;
    for (size_t i = 0; i < set->class_count; i++) {
        struct class_window *class = &set->classes[i];
        if (class->raw || !is_over(pipeline, class->resolution_ms, beat_start_ms, next_due_ms))
            continue;
        struct pipeline_sealed *part = part_of(pipeline, class->resolution_ms, beat_start_ms);
        if (class->fold)
            close_fold(target, class, part);
        else
            close_window(target, class->window, part);
    }
}

/* Of the targets at the end of the window: one that was taken away is not missing, nor is one that is asked for the
 * last time and has nothing to say since the window before. */
static void count_coverage(const struct pipeline_target *target, bool last, struct pipeline_sealed *part)
{
    if (target->ended || (last && !target->asked))
        return;
    writer_of(part);
    part->targets_expected++;
    part->targets_answered += target->answered;
    part->failed[target->last_failure] += !target->answered;
}

static void close_default(struct pipeline_target *target, int64_t beat_start_ms, int64_t next_due_ms)
{
    int64_t resolution_ms = window_rules_default_ms(target->rules);
    struct pipeline_sealed *part = part_of(target->pipeline, resolution_ms, beat_start_ms);
    for (size_t i = 0; i < target->set_count; i++)
        close_window(target, target->sets[i].window, part);
    count_coverage(target, next_due_ms == INT64_MAX, part);
    part->samples_dropped_total += target->repeated;
    target->repeated = 0;
    target->asked = false;
}

/* ---- Scrapes as they are ---- */

static struct raw_window *raw_of(const struct window_set *set, size_t *at)
{
    while (*at < set->class_count)
        if (set->classes[(*at)++].raw)
            return set->classes[*at - 1].raw;
    return NULL;
}

/* The scrapes of this number of a target's series; true when there are later ones. */
static bool add_round(struct pipeline_target *target, uint32_t round, struct pipeline_sealed *part)
{
    struct pipeline *pipeline = target->pipeline;
    bool more = false;
    for (size_t i = 0; i < target->set_count; i++) {
        size_t at = 0;
        for (const struct raw_window *raw; (raw = raw_of(&target->sets[i], &at));) {
            if (raw_window_count(raw) <= round)
                continue;
            struct batch_item item;
            raw_window_item(raw, round, &pipeline->scratch, &item);
            item.target = target->labels;
            item.round = round;
            add_item(pipeline, &item, raw_window_page(raw)->slot_count, part);
            more |= raw_window_count(raw) > round + 1;
        }
    }
    return more;
}

static void clear_raw(struct pipeline_target *target, struct pipeline_sealed *part)
{
    for (size_t i = 0; i < target->set_count; i++) {
        size_t at = 0;
        for (struct raw_window *raw; (raw = raw_of(&target->sets[i], &at));) {
            part->samples_dropped_total += raw_window_dropped(raw);
            raw_window_clear(raw);
        }
    }
}

/* In the order of scrapes, as a batch wants it: the first of all targets, then the second. */
static void close_raw(const struct pipeline_closing *closing, size_t count, struct pipeline_sealed *part)
{
    bool more = true;
    for (uint32_t round = 0; more; round++) {
        more = false;
        for (size_t i = 0; i < count; i++)
            more |= add_round(closing[i].target, round, part);
    }
    for (size_t i = 0; i < count; i++)
        clear_raw(closing[i].target, part);
}

static bool has_raw(const struct pipeline_target *target)
{
    for (size_t i = 0; i < target->set_count; i++)
        if (raw_of(&target->sets[i], &(size_t){0}))
            return true;
    return false;
}

void pipeline_seal_raw(struct pipeline *pipeline, const struct pipeline_closing *closing, size_t count, int64_t time_ms)
{
    close_raw(closing, count, part_of(pipeline, 0, time_ms));
    seal_all(pipeline);
}

bool pipeline_raw_is_full(const struct pipeline_target *target)
{
    for (size_t i = 0; i < target->set_count; i++) {
        size_t at = 0;
        for (const struct raw_window *raw; (raw = raw_of(&target->sets[i], &at));)
            if (raw_window_count(raw) == RAW_SCRAPES_MAX)
                return true;
    }
    return false;
}

/* Those whose default window is over; kept apart, as their scrapes go out together. */
static void close_all_raw(struct pipeline *pipeline, int64_t beat_start_ms, const struct pipeline_closing *closing,
                          size_t count)
{
    struct pipeline_closing *raw = NULL;
    size_t raw_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (!has_raw(closing[i].target) || !is_over(pipeline, 0, beat_start_ms, closing[i].next_due_ms))
            continue;
        if (!raw)
            raw = mem_array(count, sizeof(*raw));
        raw[raw_count++] = closing[i];
    }
    if (raw_count > 0)
        close_raw(raw, raw_count, part_of(pipeline, 0, beat_start_ms));
    mem_free(raw);
}

/* ---- All of it ---- */

void pipeline_close(struct pipeline *pipeline, int64_t beat_start_ms, const struct pipeline_closing *closing,
                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct pipeline_target *target = closing[i].target;
        if (is_over(pipeline, window_rules_default_ms(target->rules), beat_start_ms, closing[i].next_due_ms))
            close_default(target, beat_start_ms, closing[i].next_due_ms);
        for (size_t j = 0; j < target->set_count; j++)
            close_classes(target, &target->sets[j], beat_start_ms, closing[i].next_due_ms);
    }
    close_all_raw(pipeline, beat_start_ms, closing, count);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < closing[i].target->set_count; j++)
            window_set_sweep(&closing[i].target->sets[j]);
    seal_all(pipeline);
}

void pipeline_close_idle(struct pipeline *pipeline, int64_t end_ms)
{
    int64_t default_ms = window_rules_default_ms(pipeline->rules);
    if (end_ms % default_ms != 0)
        return;
    writer_of(part_of(pipeline, default_ms, end_ms - default_ms));
    seal_all(pipeline);
}
