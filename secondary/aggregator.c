#include "aggregator.h"

#include "base/arena.h"
#include "base/fail.h"
#include "metric/record.h"
#include "window.h"

#include <stdlib.h>

struct open_window {
    int64_t start_ms, resolution_ms;
    struct aggregate *aggregate;
};

struct total { /* of a group of counters, over all its windows */
    struct labels *labels;
    double sum;
    int64_t seen_ms;
};

struct series_set { /* what the groups of one resolution are as series */
    int64_t resolution_ms;
    int64_t open_ms; /* the first window that has not been told; INT64_MIN: none was yet */
    struct window *window;
    uint64_t folded, groups; /* of its last window */
};

struct aggregator {
    struct labels *target;
    struct window_rules *rules; /* none: aggregates are not aggregated again */
    struct page_cache *pages;
    struct window_scratch scratch;
    struct record_extra *extras; /* of the window told last */
    struct open_window *windows;
    size_t window_count;
    struct series_set *sets;
    size_t set_count;
    struct map totals; /* struct total, by the hash of its labels */
    uint64_t refused_total;
};

struct aggregator *aggregator_new(const char *secondary)
{
    struct aggregator *aggregator = mem_zalloc(sizeof(*aggregator));
    const struct label label = {STR("secondary"), str_from(secondary)};
    aggregator->target = labels_new(&label, 1);
    aggregator->pages = page_cache_new(0);
    struct window_rules_error error;
    ASSERT(window_rules_new(NULL, 0, 1000, &error, &aggregator->rules) == 0);
    map_init(&aggregator->totals);
    return aggregator;
}

static void total_free(struct total *total)
{
    labels_unref(total->labels);
    mem_free(total);
}

void aggregator_free(struct aggregator *aggregator)
{
    if (!aggregator)
        return;
    for (size_t i = 0; i < aggregator->window_count; i++)
        aggregate_free(aggregator->windows[i].aggregate);
    window_scratch_done(&aggregator->scratch);
    for (size_t i = 0; i < aggregator->set_count; i++)
        window_free(aggregator->sets[i].window);
    page_cache_free(aggregator->pages);
    window_rules_unref(aggregator->rules);
    size_t at = 0;
    for (struct total *total; (total = map_next(&aggregator->totals, &at));)
        total_free(total);
    map_done(&aggregator->totals);
    labels_unref(aggregator->target);
    mem_free(aggregator->windows);
    mem_free(aggregator->sets);
    mem_free(aggregator->extras);
    mem_free(aggregator);
}

void aggregator_take(struct aggregator *aggregator, int64_t window_start_ms, int64_t resolution_ms,
                     const struct aggregate *part)
{
    struct open_window *window = NULL;
    for (size_t i = 0; i < aggregator->window_count; i++)
        if (aggregator->windows[i].start_ms == window_start_ms && aggregator->windows[i].resolution_ms == resolution_ms)
            window = &aggregator->windows[i];
    if (!window) {
        aggregator->windows =
            mem_resize(aggregator->windows, aggregator->window_count + 1, sizeof(*aggregator->windows));
        window = &aggregator->windows[aggregator->window_count++];
        *window = (struct open_window){window_start_ms, resolution_ms, aggregate_new()};
    }
    aggregate_merge(window->aggregate, part);
}

/* ---- Totals of counters ---- */

static bool is_total(const void *item, const void *key)
{
    return labels_equal(((const struct total *)item)->labels, key);
}

/* ret_new: it begins in this window, at 0. */
static double add_to_total(struct aggregator *aggregator, const struct aggregate_cell *cell, bool *ret_new)
{
    uint64_t hash = labels_hash(cell->labels);
    struct total *total = map_get(&aggregator->totals, hash, is_total, cell->labels);
    *ret_new = !total;
    if (!total) {
        total = mem_zalloc(sizeof(*total));
        total->labels = labels_ref(cell->labels);
        map_put(&aggregator->totals, hash, total);
    }
    double increase = isfinite(cell->sum) ? cell->sum : 0;
    double sum = increase == 0 ? total->sum : sum_add(total->sum, increase);
    /* So large that more than a thousandth of the increase is lost in it, or past all doubles: it begins anew, which
     * readers see as a reset. Else one member's 1e300 would be the end of its group's rates. */
    bool shows = fabs(sum - total->sum - increase) <= fabs(increase) / 1000;
    total->sum = shows ? sum : increase;
    ASSERT(isfinite(total->sum));
    total->seen_ms = cell->last_ms;
    return total->sum;
}

static void forget_totals(struct aggregator *aggregator, int64_t now_ms)
{
    struct map kept;
    map_init(&kept);
    size_t at = 0;
    for (struct total *total; (total = map_next(&aggregator->totals, &at));) {
        if (now_ms - total->seen_ms > AGGREGATE_IDLE_MS)
            total_free(total);
        else
            map_put(&kept, labels_hash(total->labels), total);
    }
    map_done(&aggregator->totals);
    aggregator->totals = kept;
}

/* ---- From groups to series ---- */

enum field { FIELD_COUNT, FIELD_MAX, FIELD_MIN, FIELD_SUM, FIELDS };

static const struct {
    const char *suffix, *help;
} fields[FIELDS] = {{":count", "Series that had a value in the window"},
                    {":max", "Largest value of all series in the window"},
                    {":min", "Least value of all series in the window"},
                    {":sum", "Over all series: the sum of last values, or what a counter's increases came to so far"}};

static int compare_cells(const void *a, const void *b)
{
    return labels_compare((*(const struct aggregate_cell *const *)a)->labels,
                          (*(const struct aggregate_cell *const *)b)->labels);
}

/* In an order that stays from window to window, so that layouts do. */
static struct aggregate_cell **sort_cells(const struct aggregate *aggregate)
{
    struct aggregate_cell **cells = mem_array(aggregate->cells.count, sizeof(struct aggregate_cell *));
    size_t at = 0, count = 0;
    for (struct aggregate_cell *cell; (cell = map_next(&aggregate->cells, &at));)
        cells[count++] = cell;
    if (count > 1)
        qsort(cells, count, sizeof(struct aggregate_cell *), compare_cells);
    return cells;
}

struct shown { /* one series of a window */
    const struct aggregate_cell *cell;
    bool begins; /* a counter, which was 0 before */
};

/* The series of a window, their values, and where they came from. */
struct showing {
    struct arena arena;
    struct page_series *series;
    struct shown *shown;
    double *values;
    uint32_t *slots; /* of the page */
    size_t count;
};

static void showing_done(struct showing *showing)
{
    arena_done(&showing->arena);
}

static void show_field(struct aggregator *aggregator, struct showing *showing, const struct aggregate_cell *cell,
                       enum field field)
{
    size_t at = showing->count++, label_count = labels_count(cell->labels);
    struct shown *shown = &showing->shown[at];
    struct page_series *series = &showing->series[at];
    struct label *labels = arena_array(&showing->arena, label_count, sizeof(*labels));
    bool counter = field == FIELD_SUM && cell->kind == KIND_COUNTER;
    shown->cell = cell;
    series->name = str_from(arena_printf(&showing->arena, STR_FMT "%s",
                                         STR_ARG(labels_get(cell->labels, STR(LABEL_NAME))), fields[field].suffix));
    series->help = str_from(fields[field].help);
    series->type = counter ? METRIC_COUNTER : METRIC_GAUGE;
    series->labels = labels;
    for (size_t i = 0; i < label_count; i++)
        if (!str_equal(labels_at(cell->labels, i).name, STR(LABEL_NAME)))
            labels[series->label_count++] = labels_at(cell->labels, i);
    showing->values[at] = field == FIELD_COUNT ? (double)cell->members
                          : field == FIELD_MAX ? cell->max
                          : field == FIELD_MIN ? cell->min
                          : counter            ? add_to_total(aggregator, cell, &shown->begins)
                                               : cell->sum;
}

static void show_all(struct aggregator *aggregator, const struct aggregate *aggregate, struct showing *showing)
{
    CLEANUP_FREE struct aggregate_cell **cells = sort_cells(aggregate);
    size_t count = aggregate->cells.count, series_max = count * FIELDS;
    arena_init(&showing->arena, 0);
    showing->series = arena_array(&showing->arena, series_max, sizeof(*showing->series));
    showing->shown = arena_array(&showing->arena, series_max, sizeof(*showing->shown));
    showing->values = arena_array(&showing->arena, series_max, sizeof(*showing->values));
    showing->slots = arena_array(&showing->arena, series_max, sizeof(*showing->slots));
    for (size_t i = 0; i < count; i++)
        for (int field = 0; field < FIELDS; field++)
            if (cells[i]->kind != KIND_COUNTER || field == FIELD_COUNT || field == FIELD_SUM)
                show_field(aggregator, showing, cells[i], (enum field)field);
}

/* ---- From series to a part ---- */

static int compare_extras(const void *a, const void *b)
{
    const struct record_extra *x = a, *y = b;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Each record has the time and the scrapes of its own group's members. */
static size_t settle_records(struct aggregator *aggregator, const struct showing *showing, const struct page *page)
{
    CLEANUP_FREE uint32_t *to = mem_array(page->slot_count, sizeof(*to));
    size_t extra_count = 0;
    page_match(page, aggregator->scratch.page, to);
    aggregator->extras = mem_resize(aggregator->extras, showing->count + 1, sizeof(*aggregator->extras));
    for (size_t i = 0; i < showing->count; i++) {
        const struct shown *shown = &showing->shown[i];
        uint32_t slot = to[showing->slots[i]];
        struct record *record = &aggregator->scratch.records[slot];
        record->time_ms = shown->cell->last_ms;
        record->count = shown->cell->count;
        record_fill_constant(record);
        if (shown->begins && shown->cell->first_ms < shown->cell->last_ms)
            aggregator->extras[extra_count++] = (struct record_extra){slot, {shown->cell->first_ms, 0}};
    }
    if (extra_count > 1)
        qsort(aggregator->extras, extra_count, sizeof(*aggregator->extras), compare_extras);
    return extra_count;
}

static struct series_set *set_of(struct aggregator *aggregator, int64_t resolution_ms)
{
    for (size_t i = 0; i < aggregator->set_count; i++)
        if (aggregator->sets[i].resolution_ms == resolution_ms)
            return &aggregator->sets[i];
    aggregator->sets = mem_resize(aggregator->sets, aggregator->set_count + 1, sizeof(*aggregator->sets));
    struct series_set *set = &aggregator->sets[aggregator->set_count++];
    *set = (struct series_set){
        .resolution_ms = resolution_ms, .open_ms = INT64_MIN, .window = window_new(aggregator->pages)};
    return set;
}

static void add_item(struct aggregator *aggregator, const struct showing *showing, const struct page *page,
                     const struct window_closed *closed, struct pipeline_sealed *sealed)
{
    size_t extra_count = settle_records(aggregator, showing, page);
    struct batch_item item = {.target = aggregator->target,
                              .page = closed->page,
                              .time_ms = closed->time_ms,
                              .count = closed->count,
                              .records = closed->records,
                              .extras = aggregator->extras,
                              .extra_count = extra_count};
    for (size_t i = 0; i < showing->count; i++)
        item.count = MAX(item.count, showing->shown[i].cell->count);
    if (batch_writer_add(sealed->writer, &item) < 0)
        sealed->series_refused += sealed->series_folded;
}

/* Tells a window: its series, and stale markers for those of the window before that are gone. */
static void tell(struct aggregator *aggregator, struct series_set *set, const struct aggregate *aggregate,
                 struct pipeline_sealed *sealed)
{
    CLEANUP(showing_done) struct showing showing = {0};
    show_all(aggregator, aggregate, &showing);
    const struct page_source source = {.rules = aggregator->rules, .target = aggregator->target};
    struct page *page = page_of_series(aggregator->pages, &source, showing.series, showing.count, showing.slots);
    sealed->series_folded = aggregate->folded;
    sealed->series_refused = aggregate->refused;
    set->folded = aggregate->folded;
    set->groups = aggregate->cells.count;
    if (!page) { /* labels that no layout holds */
        sealed->series_refused += aggregate->folded;
        return;
    }
    CLEANUP_FREE double *values = mem_array(page->value_count, sizeof(*values));
    int64_t time_ms = sealed->window_start_ms;
    for (size_t i = 0; i < showing.count; i++) {
        values[showing.slots[i]] = showing.values[i];
        time_ms = MAX(time_ms, showing.shown[i].cell->last_ms);
    }
    if (showing.count == 0)
        time_ms += set->resolution_ms - 1;
    struct window_closed closed;
    window_add(set->window, page, &(struct page_values){.values = values}, time_ms);
    if (window_close(set->window, &aggregator->scratch, &closed))
        add_item(aggregator, &showing, page, &closed, sealed);
    window_scratch_release(&aggregator->scratch);
    page_unref(aggregator->pages, page);
}

/* ---- Window by window ---- */

static size_t oldest_window(const struct aggregator *aggregator, int64_t through_ms)
{
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < aggregator->window_count; i++) {
        const struct open_window *window = &aggregator->windows[i];
        bool over = through_ms == INT64_MAX || window->start_ms + window->resolution_ms <= through_ms;
        if (over && (found == SIZE_MAX || window->start_ms < aggregator->windows[found].start_ms))
            found = i;
    }
    return found;
}

static bool is_open(const struct aggregator *aggregator, const struct series_set *set)
{
    for (size_t i = 0; i < aggregator->window_count; i++)
        if (aggregator->windows[i].resolution_ms == set->resolution_ms &&
            aggregator->windows[i].start_ms <= set->open_ms)
            return true;
    return false;
}

/* A resolution that had groups in the window before and none in the one that is over. */
static struct series_set *find_silent(struct aggregator *aggregator, int64_t through_ms)
{
    for (size_t i = 0; i < aggregator->set_count; i++) {
        struct series_set *set = &aggregator->sets[i];
        bool over = through_ms != INT64_MAX && set->open_ms + set->resolution_ms <= through_ms;
        if (set->groups > 0 && over && !is_open(aggregator, set))
            return set;
    }
    return NULL;
}

static struct pipeline_sealed begin_part(int64_t start_ms, int64_t resolution_ms)
{
    return (struct pipeline_sealed){.writer = batch_writer_new(),
                                    .window_start_ms = start_ms,
                                    .resolution_ms = resolution_ms,
                                    .span_ms = resolution_ms};
}

static void tell_window(struct aggregator *aggregator, struct open_window window, struct pipeline_sealed *ret_sealed)
{
    struct series_set *set = set_of(aggregator, window.resolution_ms);
    *ret_sealed = begin_part(window.start_ms, window.resolution_ms);
    tell(aggregator, set, window.aggregate, ret_sealed);
    set->open_ms = window.start_ms + window.resolution_ms;
    aggregator->refused_total += ret_sealed->series_refused;
    aggregate_free(window.aggregate);
    forget_totals(aggregator, window.start_ms);
}

bool aggregator_next(struct aggregator *aggregator, int64_t through_ms, struct pipeline_sealed *ret_sealed)
{
    size_t at = oldest_window(aggregator, through_ms);
    struct series_set *silent = find_silent(aggregator, through_ms);
    if (silent) {
        struct open_window nothing = {silent->open_ms, silent->resolution_ms, aggregate_new()};
        tell_window(aggregator, nothing, ret_sealed);
        return true;
    }
    if (at == SIZE_MAX)
        return false;
    struct open_window window = aggregator->windows[at];
    aggregator->windows[at] = aggregator->windows[--aggregator->window_count];
    tell_window(aggregator, window, ret_sealed);
    return true;
}

void aggregator_stats(const struct aggregator *aggregator, struct aggregator_stats *ret_stats)
{
    *ret_stats = (struct aggregator_stats){.refused_total = aggregator->refused_total};
    for (size_t i = 0; i < aggregator->set_count; i++) {
        ret_stats->groups += aggregator->sets[i].groups;
        ret_stats->folded += aggregator->sets[i].folded;
    }
}
