#include "fold.h"

#include "base/fail.h"
#include "metric/record.h"

enum { FOLD_SEEN = 1, FOLD_KNOWN = 2 }; /* in this window; `last` is the value before */

struct folded {
    double last;
    double low; /* gauges: the least; counters: the increase */
    double high;
};

struct sheet { /* accumulators of a page */
    struct page *page;
    struct folded *slots;
    uint8_t *flags;
};

struct fold {
    struct page_cache *cache;
    struct sheet shown; /* page NULL: nothing yet */
    struct sheet *left; /* pages shown before in this window: what of them is not on the next one */
    size_t left_count;
    uint32_t count; /* scrapes in this window */
    int64_t first_ms, last_ms;
};

struct fold *fold_new(struct page_cache *cache)
{
    struct fold *fold = mem_zalloc(sizeof(*fold));
    fold->cache = cache;
    return fold;
}

static void sheet_done(struct fold *fold, struct sheet *sheet)
{
    page_unref(fold->cache, sheet->page);
    mem_free(sheet->slots);
    mem_free(sheet->flags);
}

static void drop_left(struct fold *fold)
{
    for (size_t i = 0; i < fold->left_count; i++)
        sheet_done(fold, &fold->left[i]);
    mem_free(STEAL(fold->left));
    fold->left_count = 0;
}

void fold_free(struct fold *fold)
{
    if (!fold)
        return;
    drop_left(fold);
    sheet_done(fold, &fold->shown);
    mem_free(fold);
}

static size_t sheet_bytes(const struct sheet *sheet)
{
    return sheet->page ? sheet->page->slot_count * (sizeof(*sheet->slots) + 1) : 0;
}

size_t fold_bytes(const struct fold *fold)
{
    size_t bytes = sizeof(*fold) + sheet_bytes(&fold->shown);
    for (size_t i = 0; i < fold->left_count; i++)
        bytes += sheet_bytes(&fold->left[i]);
    return bytes;
}

struct page *fold_page(const struct fold *fold)
{
    return fold->shown.page;
}

bool fold_is_open(const struct fold *fold)
{
    return fold->count > 0;
}

/* ---- Values ---- */

/* What the page shown has of a sheet goes over to it; false when nothing of this window is left behind. */
static bool move_from(struct fold *fold, struct sheet *old)
{
    struct sheet *shown = &fold->shown;
    CLEANUP_FREE uint32_t *to = mem_array(old->page->slot_count, sizeof(*to));
    bool left = false;
    page_match(old->page, shown->page, to);
    for (uint32_t i = 0; i < old->page->slot_count; i++) {
        if (to[i] != PAGE_SLOT_NONE && shown->page->kinds[to[i]] == old->page->kinds[i] && !shown->flags[to[i]]) {
            shown->slots[to[i]] = old->slots[i];
            shown->flags[to[i]] = old->flags[i];
            old->flags[i] = 0;
        }
        left |= old->flags[i] & FOLD_SEEN;
    }
    return left;
}

/* Series that were there earlier in this window, and are again, go on where they were. */
static void change_page(struct fold *fold, struct page *page)
{
    struct sheet old = fold->shown;
    fold->shown = (struct sheet){.page = page_ref(page),
                                 .slots = mem_array(page->slot_count, sizeof(*fold->shown.slots)),
                                 .flags = mem_array(page->slot_count, 1)};
    if (!old.page)
        return;
    fold->left = mem_resize(fold->left, fold->left_count + 1, sizeof(*fold->left));
    fold->left[fold->left_count++] = old;
    size_t kept = 0, count = fold->left_count;
    for (size_t i = 0; i < count; i++) {
        if (move_from(fold, &fold->left[i]))
            fold->left[kept++] = fold->left[i];
        else
            sheet_done(fold, &fold->left[i]);
    }
    fold->left_count = kept;
}

/* What a counter rose by: all it shows after it fell, as rate() has it. */
static double risen(double before, double value)
{
    return value < before ? value : sum_add(value, -before);
}

static void add_counter(struct folded *slot, uint8_t *flags, double value)
{
    if (isnan(value))
        return;
    double increase = *flags & FOLD_KNOWN ? risen(slot->last, value) : 0;
    slot->low = *flags & FOLD_SEEN ? sum_add(slot->low, increase) : increase;
    slot->last = value;
    *flags = FOLD_SEEN | FOLD_KNOWN;
}

static void add_gauge(struct folded *slot, uint8_t *flags, double value)
{
    bool first = !(*flags & FOLD_SEEN);
    if (first || value < slot->low || isnan(slot->low))
        slot->low = value;
    if (first || value > slot->high || isnan(slot->high))
        slot->high = value;
    slot->last = value;
    *flags = FOLD_SEEN | FOLD_KNOWN;
}

void fold_add(struct fold *fold, struct page *page, const struct page_values *values, int64_t time_ms)
{
    if (fold->shown.page != page)
        change_page(fold, page);
    for (uint32_t i = 0; i < page->slot_count; i++) {
        if (page->kinds[i] == KIND_COUNTER)
            add_counter(&fold->shown.slots[i], &fold->shown.flags[i], values->values[i]);
        else
            add_gauge(&fold->shown.slots[i], &fold->shown.flags[i], values->values[i]);
    }
    if (fold->count++ == 0)
        fold->first_ms = time_ms;
    fold->last_ms = time_ms;
}

/* ---- Closing ---- */

struct closing {
    const struct fold *fold;
    const struct labels *target;
    struct aggregate *aggregate;
    struct str names[WINDOW_RULE_BY_MAX + 3];
    struct str values[WINDOW_RULE_BY_MAX + 3];
    size_t count;
};

static void read_names(struct closing *closing, const struct window_rule *rule)
{
    static const struct str always[] = {{LABEL_NAME, sizeof(LABEL_NAME) - 1}, {"le", 2}, {"quantile", 8}};
    for (size_t i = 0; i < ARRAY_LEN(always); i++)
        closing->names[closing->count++] = always[i];
    for (size_t i = 0; i < rule->by_count; i++)
        if (strcmp(rule->by[i], "le") != 0 && strcmp(rule->by[i], "quantile") != 0)
            closing->names[closing->count++] = str_from(rule->by[i]);
}

static struct str value_of(const struct closing *closing, const struct layout *family, const struct layout_slot *slot,
                           struct str name)
{
    for (uint32_t i = 0; i < slot->label_count; i++)
        if (str_equal(slot->labels[i].name, name))
            return slot->labels[i].value;
    return str_equal(name, STR(LABEL_NAME)) ? family->name : labels_get(closing->target, name);
}

static void close_slot(struct closing *closing, const struct layout *family, const struct layout_slot *slot,
                       const struct folded *folded)
{
    for (size_t i = 0; i < closing->count; i++)
        closing->values[i] = value_of(closing, family, slot, closing->names[i]);
    bool counter = slot->kind == KIND_COUNTER;
    const struct aggregate_key key = {closing->names, closing->values, closing->count};
    const struct aggregate_cell cell = {.kind = counter ? KIND_COUNTER : KIND_GAUGE,
                                        .sum = counter ? folded->low : folded->last,
                                        .min = counter ? 0 : folded->low,
                                        .max = counter ? 0 : folded->high,
                                        .members = 1,
                                        .count = closing->fold->count,
                                        .first_ms = closing->fold->first_ms,
                                        .last_ms = closing->fold->last_ms};
    aggregate_add(closing->aggregate, &key, &cell);
}

static void close_sheet(struct closing *closing, const struct sheet *sheet)
{
    uint32_t at = 0;
    for (uint32_t f = 0; f < sheet->page->family_count; f++) {
        const struct layout *family = sheet->page->families[f];
        for (uint32_t i = 0; i < family->count; i++, at++)
            if (sheet->flags[at] & FOLD_SEEN)
                close_slot(closing, family, &family->slots[i], &sheet->slots[at]);
    }
}

void fold_close(struct fold *fold, const struct window_rule *rule, const struct labels *target,
                struct aggregate *aggregate)
{
    struct closing closing = {.fold = fold, .target = target, .aggregate = aggregate};
    read_names(&closing, rule);
    for (size_t i = 0; i < fold->left_count; i++)
        close_sheet(&closing, &fold->left[i]);
    if (fold->shown.page)
        close_sheet(&closing, &fold->shown);
    for (uint32_t i = 0; fold->shown.page && i < fold->shown.page->slot_count; i++)
        fold->shown.flags[i] &= (uint8_t)~FOLD_SEEN;
    drop_left(fold);
    fold->count = 0;
}
