#include "window_set.h"

#include "base/fail.h"

void window_set_init(struct window_set *set, const struct window_set_options *options)
{
    *set = (struct window_set){.cache = options->cache,
                               .rules = options->rules,
                               .interval_ms = options->interval_ms,
                               .empty = options->empty,
                               .window = window_new(options->cache)};
}

static void class_done(struct class_window *class)
{
    window_free(class->window);
    raw_window_free(class->raw);
    fold_free(class->fold);
}

void window_set_done(struct window_set *set)
{
    for (size_t i = 0; i < set->class_count; i++)
        class_done(&set->classes[i]);
    mem_free(set->classes);
    page_unref(set->cache, set->before);
    window_free(set->window);
}

static size_t class_bytes(const struct class_window *class)
{
    return class->fold  ? fold_bytes(class->fold)
           : class->raw ? raw_window_bytes(class->raw)
                        : window_bytes(class->window);
}

size_t window_set_bytes(const struct window_set *set)
{
    size_t bytes = window_bytes(set->window) + set->class_count * sizeof(*set->classes);
    for (size_t i = 0; i < set->class_count; i++)
        bytes += class_bytes(&set->classes[i]);
    return bytes;
}

struct page *window_set_page(const struct window_set *set)
{
    return window_page(set->window);
}

/* ---- Values ---- */

static struct class_window *class_of(struct window_set *set, const struct window_class *class, int64_t resolution_ms)
{
    for (size_t i = 0; i < set->class_count; i++)
        if (window_class_equal(&set->classes[i].class, class))
            return &set->classes[i];
    set->classes = mem_resize(set->classes, set->class_count + 1, sizeof(*set->classes));
    struct class_window *made = &set->classes[set->class_count++];
    *made = (struct class_window){.class = *class, .resolution_ms = resolution_ms};
    if (class->aggregate >= 0)
        made->fold = fold_new(set->cache);
    else if (resolution_ms == 0)
        made->raw = raw_window_new(set->cache);
    else
        made->window = window_new(set->cache);
    return made;
}

static void add_to(struct class_window *class, struct page *page, const struct page_values *values, int64_t time_ms)
{
    if (class->fold)
        fold_add(class->fold, page, values, time_ms);
    else if (class->raw)
        raw_window_add(class->raw, page, values, time_ms);
    else
        window_add(class->window, page, values, time_ms);
}

static const struct page_part *part_of(const struct page *page, const struct class_window *class)
{
    for (uint32_t i = 0; i < page->part_count; i++)
        if (window_class_equal(&class->class, &page->parts[i].class))
            return &page->parts[i];
    return NULL;
}

static void add_parts(struct window_set *set, const struct page *page, const struct page_values *values,
                      int64_t time_ms)
{
    for (uint32_t i = 0; i < page->part_count; i++) {
        const struct window_class *class = &page->parts[i].class;
        int64_t resolution_ms = class->resolution_ms;
        if (class->aggregate < 0)
            resolution_ms = window_rules_resolution_ms(set->rules, resolution_ms, set->interval_ms);
        class_of(set, class, resolution_ms);
    }
    for (size_t i = 0; i < set->class_count; i++) {
        const struct page_part *part = part_of(page, &set->classes[i]);
        struct page_values none = {0};
        struct page_values own = part ? page_values_of(values, part) : none;
        add_to(&set->classes[i], part ? part->page : set->empty, &own, time_ms);
    }
}

/* ---- The first scrape under other rules ---- */

/* Clears keep[] where a slot of old is one of page's, if that is sent as a series. */
static void forget_shown(const struct page *old, const struct page *page, bool *keep)
{
    CLEANUP_FREE uint32_t *to = mem_array(old->slot_count, sizeof(*to));
    page_match(old, page, to);
    for (uint32_t i = 0; i < old->slot_count; i++)
        keep[i] = keep[i] && to[i] == PAGE_SLOT_NONE;
}

/* `gone` and those series of old that page does not send. Takes the reference to gone over, gives one. */
static struct page *add_gone(struct window_set *set, struct page *gone, const struct page *old, const struct page *page)
{
    CLEANUP_FREE bool *keep = mem_array(old->slot_count, sizeof(*keep));
    for (uint32_t i = 0; i < old->slot_count; i++)
        keep[i] = true;
    forget_shown(old, page, keep);
    for (uint32_t i = 0; i < page->part_count; i++)
        if (page->parts[i].class.aggregate < 0)
            forget_shown(old, page->parts[i].page, keep);
    /* Past a limit of layouts series that are gone are given up: queries find them for five minutes more. */
    struct page *joined = page_union(set->cache, gone, old, keep);
    if (!joined)
        return gone;
    page_unref(set->cache, gone);
    return joined;
}

/* The window begins with what was sent until now and is not on the page any more: that ends with its first scrape. */
static void end_unsent(struct window_set *set, const struct page *page)
{
    struct page *before = STEAL(set->before);
    struct page *gone = add_gone(set, page_ref(set->empty), before, page);
    for (uint32_t i = 0; i < before->part_count; i++)
        if (before->parts[i].class.aggregate < 0)
            gone = add_gone(set, gone, before->parts[i].page, page);
    window_expect(set->window, gone);
    page_unref(set->cache, gone);
    page_unref(set->cache, before);
}

void window_set_add(struct window_set *set, struct page *page, const struct page_values *values, int64_t time_ms)
{
    if (set->before)
        end_unsent(set, page);
    window_add(set->window, page, values, time_ms);
    if (page->part_count + set->class_count > 0)
        add_parts(set, page, values, time_ms);
}

void window_set_stale(struct window_set *set, int64_t time_ms)
{
    if (set->before)
        end_unsent(set, set->empty);
    window_stale(set->window, time_ms);
    for (size_t i = 0; i < set->class_count; i++) {
        if (set->classes[i].raw)
            raw_window_stale(set->classes[i].raw, time_ms);
        else if (set->classes[i].window)
            window_stale(set->classes[i].window, time_ms);
    }
}

/* ---- Between windows ---- */

static bool is_done(const struct class_window *class)
{
    const struct page *page = class->fold  ? fold_page(class->fold)
                              : class->raw ? raw_window_page(class->raw)
                                           : window_page(class->window);
    bool open = class->raw ? raw_window_count(class->raw) > 0 : class->window ? window_is_open(class->window) : false;
    bool counts = class->fold && fold_is_open(class->fold);
    return page && page->slot_count == 0 && !open && !counts;
}

void window_set_sweep(struct window_set *set)
{
    size_t kept = 0;
    for (size_t i = 0; i < set->class_count; i++) {
        if (is_done(&set->classes[i]))
            class_done(&set->classes[i]);
        else
            set->classes[kept++] = set->classes[i];
    }
    set->class_count = kept;
}

/* The rule of the same words in the set, or -1. */
static int32_t find_rule(const struct window_rules *rules, const struct window_rule *wanted)
{
    for (size_t i = 0; i < window_rules_count(rules); i++)
        if (window_rule_equal(window_rules_at(rules, i), wanted))
            return (int32_t)i;
    return -1;
}

/* What a fold knows of its counters goes on under the same rule: else an increase would be lost at every reload. */
void window_set_release(struct window_set *set, const struct window_rules *rules)
{
    size_t kept = 0;
    if (window_page(set->window) && !set->before && !window_is_ended(set->window))
        set->before = page_ref(window_page(set->window));
    window_free(set->window);
    set->window = window_new(set->cache);
    for (size_t i = 0; i < set->class_count; i++) {
        struct class_window class = set->classes[i];
        int32_t aggregate = -1;
        if (class.fold)
            aggregate = find_rule(rules, window_rules_at(set->rules, class.class.aggregate));
        if (aggregate >= 0) {
            class.class.aggregate = aggregate;
            set->classes[kept++] = class;
        } else {
            class_done(&class);
        }
    }
    set->class_count = kept;
    set->rules = rules;
}
