#include "group_page.h"

#include "base/arena.h"
#include "base/fail.h"

#include <stdlib.h>

static const struct {
    const char *suffix, *help;
} fields[GROUP_FIELDS] = {
    {":count", "Series that had a value in the window"},
    {":max", "Largest value of all series in the window"},
    {":min", "Least value of all series in the window"},
    {":sum", "Over all series: the sum of last values, or what a counter's increases came to so far"}};

static int compare_cells(const void *a, const void *b)
{
    return labels_compare((*(const struct aggregate_cell *const *)a)->labels,
                          (*(const struct aggregate_cell *const *)b)->labels);
}

/* In an order that stays from window to window, so that layouts do. */
static void take_groups(struct group_page *page, const struct aggregate *aggregate)
{
    CLEANUP_FREE struct aggregate_cell **cells = mem_array(aggregate->cells.count, sizeof(struct aggregate_cell *));
    size_t at = 0, count = 0;
    for (struct aggregate_cell *cell; (cell = map_next(&aggregate->cells, &at));)
        cells[count++] = cell;
    if (count > 1)
        qsort(cells, count, sizeof(struct aggregate_cell *), compare_cells);
    page->groups = mem_array(count, sizeof(struct labels *));
    page->kinds = mem_array(count, sizeof(*page->kinds));
    page->group_count = count;
    for (size_t i = 0; i < count; i++) {
        page->groups[i] = labels_ref(cells[i]->labels);
        page->kinds[i] = cells[i]->kind;
    }
}

static void show_field(struct group_page *page, size_t group, enum group_field field, struct arena *arena,
                       struct page_series *series)
{
    const struct labels *labels = page->groups[group];
    struct label *own = arena_array(arena, labels_count(labels), sizeof(*own));
    bool counter = field == GROUP_SUM && page->kinds[group] == KIND_COUNTER;
    *series = (struct page_series){
        .name = str_from(
            arena_printf(arena, STR_FMT "%s", STR_ARG(labels_get(labels, STR(LABEL_NAME))), fields[field].suffix)),
        .help = str_from(fields[field].help),
        .type = counter ? METRIC_COUNTER : METRIC_GAUGE,
        .labels = own};
    for (size_t i = 0; i < labels_count(labels); i++)
        if (!str_equal(labels_at(labels, i).name, STR(LABEL_NAME)))
            own[series->label_count++] = labels_at(labels, i);
    page->series[page->count++] = (struct group_series){.group = (uint32_t)group, .field = field};
}

struct group_page *group_page_new(struct page_cache *cache, const struct page_source *source,
                                  const struct aggregate *aggregate)
{
    struct group_page *page = mem_zalloc(sizeof(*page));
    take_groups(page, aggregate);
    size_t series_max = page->group_count * GROUP_FIELDS;
    CLEANUP(arena_done) struct arena arena;
    CLEANUP_FREE struct page_series *series = mem_array(series_max, sizeof(*series));
    CLEANUP_FREE uint32_t *slots = mem_array(series_max, sizeof(*slots));
    page->series = mem_array(series_max, sizeof(*page->series));
    arena_init(&arena, 0);
    for (size_t i = 0; i < page->group_count; i++)
        for (int field = 0; field < GROUP_FIELDS; field++)
            if (page->kinds[i] != KIND_COUNTER || field == GROUP_COUNT || field == GROUP_SUM)
                show_field(page, i, (enum group_field)field, &arena, &series[page->count]);
    page->page = page_of_series(cache, source, series, page->count, slots);
    for (size_t i = 0; page->page && i < page->count; i++)
        page->series[i].slot = slots[i];
    return page;
}

void group_page_free(struct page_cache *cache, struct group_page *page)
{
    if (!page)
        return;
    for (size_t i = 0; i < page->group_count; i++)
        labels_unref(page->groups[i]);
    page_unref(cache, page->page);
    mem_free(page->groups);
    mem_free(page->kinds);
    mem_free(page->series);
    mem_free(page);
}

bool group_page_fits(const struct group_page *page, const struct aggregate *aggregate,
                     const struct aggregate_cell **ret_cells)
{
    if (page->group_count != aggregate->cells.count)
        return false;
    for (size_t i = 0; i < page->group_count; i++) {
        ret_cells[i] = aggregate_find(aggregate, page->groups[i]);
        if (!ret_cells[i] || ret_cells[i]->kind != page->kinds[i])
            return false;
    }
    return true;
}
