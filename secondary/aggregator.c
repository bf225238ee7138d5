#include "aggregator.h"

#include "base/fail.h"
#include "group_page.h"
#include "metric/record.h"
#include "totals.h"
#include "window.h"

#include <stdlib.h>

struct open_window {
    int64_t start_ms, resolution_ms;
    struct aggregate *aggregate;
};

struct aggregator {
    struct labels *target;
    struct window_rules *rules; /* none: aggregates are not aggregated again */
    struct page_cache *pages;
    struct window_scratch scratch;
    struct record_extra *extras; /* of the window told last */
    struct open_window *windows;
    size_t window_count;
    struct totals totals;
    uint64_t refused_total;
    /* Of the window told last, whatever its resolution: a change of rules must end no series that lives on. */
    int64_t end_ms, resolution_ms;
    uint64_t folded;
    struct aggregate *shown;       /* its groups, and those that were spared; NULL: none was told yet */
    struct group_page *group_page; /* of its groups; NULL: none was told yet */
    struct window *window;         /* whose series those of the next window are compared with */
    bool spared;                   /* shown is more than that window knows */
    int64_t spared_until_ms;       /* windows that begin before are told without markers */
};

struct aggregator *aggregator_new(const char *secondary)
{
    struct aggregator *aggregator = mem_zalloc(sizeof(*aggregator));
    const struct label label = {STR("secondary"), str_from(secondary)};
    aggregator->target = labels_new(&label, 1);
    aggregator->pages = page_cache_new(0);
    struct window_rules_error error;
    ASSERT(window_rules_new(NULL, 0, 1000, &error, &aggregator->rules) == 0);
    aggregator->spared_until_ms = INT64_MIN;
    aggregator->window = window_new(aggregator->pages);
    totals_init(&aggregator->totals);
    return aggregator;
}

void aggregator_free(struct aggregator *aggregator)
{
    if (!aggregator)
        return;
    for (size_t i = 0; i < aggregator->window_count; i++)
        aggregate_free(aggregator->windows[i].aggregate);
    window_scratch_done(&aggregator->scratch);
    window_free(aggregator->window);
    group_page_free(aggregator->pages, aggregator->group_page);
    page_cache_free(aggregator->pages);
    window_rules_unref(aggregator->rules);
    aggregate_free(aggregator->shown);
    totals_done(&aggregator->totals);
    labels_unref(aggregator->target);
    mem_free(aggregator->windows);
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

/* ---- A window as a part ---- */

struct telling {
    const struct open_window *window;
    const struct group_page *groups;
    const struct aggregate_cell **cells; /* by group */
    bool *begins;                        /* by group: a counter, which was 0 before */
    int64_t time_ms;                     /* of the last scrape */
    uint32_t count;                      /* of the group with most scrapes */
};

static struct page_source source_of(const struct aggregator *aggregator)
{
    return (struct page_source){.rules = aggregator->rules, .target = aggregator->target};
}

/* The page of the window before where that will do. */
static void find_groups(struct aggregator *aggregator, const struct aggregate *aggregate, struct telling *telling)
{
    const struct page_source source = source_of(aggregator);
    bool fits = aggregator->group_page && group_page_fits(aggregator->group_page, aggregate, telling->cells);
    if (!fits) {
        group_page_free(aggregator->pages, aggregator->group_page);
        aggregator->group_page = group_page_new(aggregator->pages, &source, aggregate);
        ASSERT(group_page_fits(aggregator->group_page, aggregate, telling->cells));
    }
    telling->groups = aggregator->group_page;
}

static double value_of(struct aggregator *aggregator, struct telling *telling, const struct group_series *series)
{
    const struct aggregate_cell *cell = telling->cells[series->group];
    int64_t end_ms = telling->window->start_ms + telling->window->resolution_ms;
    switch (series->field) {
    case GROUP_COUNT:
        return (double)cell->members;
    case GROUP_MAX:
        return cell->max;
    case GROUP_MIN:
        return cell->min;
    default:
        if (cell->kind != KIND_COUNTER)
            return cell->sum;
        return totals_add(&aggregator->totals, cell->labels, cell->sum, end_ms, &telling->begins[series->group]);
    }
}

static double *fill_values(struct aggregator *aggregator, struct telling *telling)
{
    double *values = mem_array(telling->groups->page->value_count, sizeof(*values));
    for (size_t i = 0; i < telling->groups->count; i++) {
        const struct group_series *series = &telling->groups->series[i];
        values[series->slot] = value_of(aggregator, telling, series);
    }
    telling->time_ms = telling->window->start_ms;
    for (size_t i = 0; i < telling->groups->group_count; i++) {
        telling->time_ms = MAX(telling->time_ms, telling->cells[i]->last_ms);
        telling->count = MAX(telling->count, telling->cells[i]->count);
    }
    if (telling->groups->group_count == 0)
        telling->time_ms += telling->window->resolution_ms - 1;
    return values;
}

static int compare_extras(const void *a, const void *b)
{
    const struct record_extra *x = a, *y = b;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Each record has the time and the scrapes of its own group's members. */
static size_t settle_records(struct aggregator *aggregator, const struct telling *telling)
{
    const struct page *page = telling->groups->page;
    bool same = page == aggregator->scratch.page;
    CLEANUP_FREE uint32_t *to = mem_array(same ? 0 : page->slot_count, sizeof(*to));
    size_t extra_count = 0;
    if (!same)
        page_match(page, aggregator->scratch.page, to);
    aggregator->extras = mem_resize(aggregator->extras, telling->groups->group_count + 1, sizeof(*aggregator->extras));
    for (size_t i = 0; i < telling->groups->count; i++) {
        const struct group_series *series = &telling->groups->series[i];
        const struct aggregate_cell *cell = telling->cells[series->group];
        uint32_t slot = same ? series->slot : to[series->slot];
        struct record *record = &aggregator->scratch.records[slot];
        record->time_ms = cell->last_ms;
        record->count = cell->count;
        record_fill_constant(record);
        if (series->field == GROUP_SUM && telling->begins[series->group] && cell->first_ms < cell->last_ms)
            aggregator->extras[extra_count++] = (struct record_extra){slot, {cell->first_ms, 0}};
    }
    if (extra_count > 1)
        qsort(aggregator->extras, extra_count, sizeof(*aggregator->extras), compare_extras);
    return extra_count;
}

static void add_item(struct aggregator *aggregator, const struct telling *telling, const struct window_closed *closed,
                     struct pipeline_sealed *sealed)
{
    size_t extra_count = settle_records(aggregator, telling);
    struct batch_item item = {.target = aggregator->target,
                              .page = closed->page,
                              .time_ms = closed->time_ms,
                              .count = MAX(closed->count, telling->count),
                              .records = closed->records,
                              .extras = aggregator->extras,
                              .extra_count = extra_count};
    if (batch_writer_add(sealed->writer, &item) < 0)
        sealed->series_refused += sealed->series_folded;
}

/* ---- Series that are spared, as a window of another resolution may still show them ---- */

/* True when another resolution has a window at the same time, open or told: a series that is not in this one may be in
 * that. What has ended is told by the first window behind both. */
static bool is_shared(struct aggregator *aggregator, const struct open_window *window)
{
    int64_t end_ms = window->start_ms + window->resolution_ms;
    bool shared = window->start_ms < aggregator->spared_until_ms;
    for (size_t i = 0; i < aggregator->window_count; i++) {
        const struct open_window *other = &aggregator->windows[i];
        int64_t other_end_ms = other->start_ms + other->resolution_ms;
        if (other->resolution_ms == window->resolution_ms || other->start_ms >= end_ms ||
            other_end_ms <= window->start_ms)
            continue;
        shared = true;
        aggregator->spared_until_ms = MAX(aggregator->spared_until_ms, MAX(end_ms, other_end_ms));
    }
    return shared;
}

/* The next window is compared with all that was shown, not with the last window alone. */
static void recall_spared(struct aggregator *aggregator)
{
    const struct page_source source = source_of(aggregator);
    struct group_page *groups = group_page_new(aggregator->pages, &source, aggregator->shown);
    struct window_closed closed;
    aggregator->spared = false;
    if (groups->page) {
        CLEANUP_FREE double *values = mem_array(groups->page->value_count, sizeof(*values));
        window_add(aggregator->window, groups->page, &(struct page_values){.values = values}, aggregator->end_ms);
        window_close(aggregator->window, &aggregator->scratch, &closed);
        window_scratch_release(&aggregator->scratch);
    }
    group_page_free(aggregator->pages, groups);
}

static void note_shown(struct aggregator *aggregator, struct open_window *window, bool shared)
{
    if (shared && aggregator->shown) {
        aggregate_merge(aggregator->shown, window->aggregate);
        aggregate_free(window->aggregate);
    } else {
        aggregate_free(aggregator->shown);
        aggregator->shown = window->aggregate;
    }
    aggregator->spared |= shared;
}

/* ---- Window by window ---- */

/* Tells a window: its series, and stale markers for those shown before that are gone. */
static void tell(struct aggregator *aggregator, const struct open_window *open, bool shared,
                 struct pipeline_sealed *sealed)
{
    CLEANUP_FREE const struct aggregate_cell **cells =
        mem_array(open->aggregate->cells.count, sizeof(struct aggregate_cell *));
    CLEANUP_FREE bool *begins = mem_array(open->aggregate->cells.count, sizeof(*begins));
    struct telling telling = {.window = open, .cells = cells, .begins = begins};
    sealed->series_folded = open->aggregate->folded;
    sealed->series_refused = open->aggregate->refused;
    aggregator->folded = open->aggregate->folded;
    if (!shared && aggregator->spared)
        recall_spared(aggregator);
    find_groups(aggregator, open->aggregate, &telling);
    if (!telling.groups->page) { /* labels that no layout holds */
        sealed->series_refused += open->aggregate->folded;
        return;
    }
    CLEANUP_FREE double *values = fill_values(aggregator, &telling);
    struct window *window = shared ? window_new(aggregator->pages) : aggregator->window;
    struct window_closed closed;
    window_add(window, telling.groups->page, &(struct page_values){.values = values}, telling.time_ms);
    if (window_close(window, &aggregator->scratch, &closed))
        add_item(aggregator, &telling, &closed, sealed);
    window_scratch_release(&aggregator->scratch);
    if (shared)
        window_free(window);
}

/* cut: the end of all scraping, not of the window; what was not scraped in it yet may live on. */
static void tell_window(struct aggregator *aggregator, struct open_window window, bool cut,
                        struct pipeline_sealed *ret_sealed)
{
    bool shared = cut || is_shared(aggregator, &window);
    *ret_sealed = (struct pipeline_sealed){.writer = batch_writer_new(),
                                           .window_start_ms = window.start_ms,
                                           .resolution_ms = window.resolution_ms,
                                           .span_ms = window.resolution_ms};
    tell(aggregator, &window, shared, ret_sealed);
    note_shown(aggregator, &window, shared);
    aggregator->end_ms = window.start_ms + window.resolution_ms;
    aggregator->resolution_ms = window.resolution_ms;
    aggregator->refused_total += ret_sealed->series_refused;
    totals_forget(&aggregator->totals, window.start_ms);
}

static bool has_groups(const struct aggregator *aggregator)
{
    return aggregator->shown && aggregator->shown->cells.count > 0;
}

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

/* Groups were shown, and nothing came of the window behind, which is over. One of another resolution that is open there
 * will say what became of them. */
static bool is_silent(const struct aggregator *aggregator, int64_t through_ms)
{
    if (!has_groups(aggregator) || through_ms == INT64_MAX ||
        aggregator->end_ms + aggregator->resolution_ms > through_ms)
        return false;
    for (size_t i = 0; i < aggregator->window_count; i++)
        if (aggregator->windows[i].start_ms < aggregator->end_ms + aggregator->resolution_ms)
            return false;
    return true;
}

/* A window that was to come and has neither groups nor any to end, or has not begun when all stops. */
static bool says_nothing(const struct aggregator *aggregator, const struct open_window *window, int64_t through_ms)
{
    const struct aggregate *aggregate = window->aggregate;
    return aggregate->cells.count == 0 && aggregate->refused == 0 &&
           (!has_groups(aggregator) || through_ms == INT64_MAX);
}

bool aggregator_next(struct aggregator *aggregator, int64_t through_ms, struct pipeline_sealed *ret_sealed)
{
    for (size_t at; (at = oldest_window(aggregator, through_ms)) != SIZE_MAX && !is_silent(aggregator, through_ms);) {
        struct open_window window = aggregator->windows[at];
        aggregator->windows[at] = aggregator->windows[--aggregator->window_count];
        if (!says_nothing(aggregator, &window, through_ms)) {
            tell_window(aggregator, window, through_ms == INT64_MAX, ret_sealed);
            return true;
        }
        aggregate_free(window.aggregate);
    }
    if (!is_silent(aggregator, through_ms))
        return false;
    struct open_window nothing = {aggregator->end_ms, aggregator->resolution_ms, aggregate_new()};
    tell_window(aggregator, nothing, false, ret_sealed);
    return true;
}

void aggregator_stats(const struct aggregator *aggregator, struct aggregator_stats *ret_stats)
{
    *ret_stats = (struct aggregator_stats){.groups = has_groups(aggregator) ? aggregator->shown->cells.count : 0,
                                           .folded = aggregator->folded,
                                           .refused_total = aggregator->refused_total,
                                           .totals = aggregator->totals.map.count,
                                           .totals_evicted_total = aggregator->totals.evicted_total};
}
