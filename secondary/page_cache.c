#include "page_cache.h"
#include "base/fail.h"
#include "base/map.h"
#include "page_make.h"

/* After so many pages given up, or series of these, layouts that no page uses any more are looked for: 256 pages of all
 * groups of aggregates, where these change from window to window, would be gigabytes. */
#define SWEEP_AFTER_PAGES 256
#define SWEEP_AFTER_SLOTS 1000000

struct page_cache {
    struct map pages;   /* by hash; no references */
    struct map layouts; /* family layouts by content hash; a reference each, so that equal families are held once */
    uint64_t text_bytes, text_bytes_max;
    size_t page_count;
    unsigned given_up; /* pages since the last sweep */
    uint64_t given_up_slots;
};

struct page_cache *page_cache_new(uint64_t text_bytes_max)
{
    struct page_cache *cache = mem_zalloc(sizeof(*cache));
    map_init(&cache->pages);
    map_init(&cache->layouts);
    cache->text_bytes_max = text_bytes_max;
    return cache;
}

static void sweep_layouts(struct page_cache *cache, bool all)
{
    struct map kept;
    map_init(&kept);
    map_reserve(&kept, cache->layouts.count);
    size_t at = 0;
    for (struct layout *layout; (layout = map_next(&cache->layouts, &at));) {
        if (all || layout_is_single(layout))
            layout_unref(layout);
        else
            map_put(&kept, hash128_low(layout->hash), layout);
    }
    map_done(&cache->layouts);
    cache->layouts = kept;
    cache->given_up = 0;
    cache->given_up_slots = 0;
}

void page_cache_free(struct page_cache *cache)
{
    if (!cache)
        return;
    ASSERT(cache->page_count == 0);
    sweep_layouts(cache, true);
    map_done(&cache->pages);
    map_done(&cache->layouts);
    mem_free(cache);
}

size_t page_cache_pages(const struct page_cache *cache)
{
    return cache->page_count;
}

size_t page_cache_layouts(const struct page_cache *cache)
{
    return cache->layouts.count;
}

uint64_t page_cache_text_bytes(const struct page_cache *cache)
{
    return cache->text_bytes;
}

struct page *page_ref(struct page *page)
{
    page->references++;
    return page;
}

void page_unref(struct page_cache *cache, struct page *page)
{
    if (!page || --page->references > 0)
        return;
    if (page->lines) {
        /* Another page of the same hash may have taken the place. */
        if (map_get(&cache->pages, page->hash, NULL, NULL) == page)
            map_remove(&cache->pages, page->hash, NULL, NULL);
        cache->text_bytes -= page->text_bytes;
    }
    for (uint32_t i = 0; i < page->family_count; i++)
        layout_unref(page->families[i]);
    for (uint32_t i = 0; i < page->part_count; i++)
        page_unref(cache, page->parts[i].page);
    layout_unref(page->layout);
    mem_free(page->parts);
    mem_free(page->decided);
    mem_free(page->families);
    mem_free(page->kinds);
    mem_free(page->gauges);
    mem_free(page->lines);
    mem_free(page->text);
    cache->page_count--;
    cache->given_up_slots += page->slot_count;
    mem_free(page);
    if (++cache->given_up >= SWEEP_AFTER_PAGES || cache->given_up_slots >= SWEEP_AFTER_SLOTS)
        sweep_layouts(cache, false);
}

struct page *page_cache_find(struct page_cache *cache, uint64_t key, struct str text)
{
    struct page *page = map_get(&cache->pages, hash64(text.ptr, text.len, key), NULL, NULL);
    bool same = page && page->key == key && str_equal(str_of(page->text, page->text_bytes), text);
    return same ? page_ref(page) : NULL;
}

struct layout *page_cache_layout(struct page_cache *cache, struct layout *made)
{
    struct layout *known = map_get(&cache->layouts, hash128_low(made->hash), NULL, NULL);
    if (known && hash128_equal(known->hash, made->hash)) {
        layout_unref(made);
        return layout_ref(known);
    }
    if (!known)
        map_put(&cache->layouts, hash128_low(made->hash), layout_ref(made));
    return made;
}

struct page *page_cache_page(struct page_cache *cache, struct layout **families, uint32_t count)
{
    struct page *page = mem_zalloc(sizeof(*page));
    for (uint32_t f = 0; f < count; f++)
        page->slot_count += families[f]->count;
    page->layout = layout_page_new(families, count);
    if (!page->layout) {
        mem_free(page);
        return NULL;
    }
    page->references = 1;
    page->value_count = page->slot_count;
    page->families = families;
    page->family_count = count;
    page->kinds = mem_array(page->slot_count, 1);
    page->gauges = mem_array(page->slot_count, sizeof(*page->gauges));
    uint32_t slot = 0;
    for (uint32_t f = 0; f < count; f++) {
        for (uint32_t i = 0; i < families[f]->count; i++, slot++) {
            page->kinds[slot] = families[f]->slots[i].kind;
            page->gauges[slot] = page->gauge_count;
            page->gauge_count += page->kinds[slot] == KIND_GAUGE;
        }
    }
    cache->page_count++;
    return page;
}

void page_cache_keep_text(struct page_cache *cache, struct page *page, uint64_t key, struct page_text *text)
{
    for (uint32_t i = 0; i < text->line_count; i++)
        page->kept_count += text->lines[i].slot != PAGE_SLOT_NONE;
    page->line_count = text->line_count;
    page->key = key;
    if (cache->text_bytes + text->text.len > cache->text_bytes_max)
        return;
    page->hash = hash64(text->text.data, text->text.len, key);
    page->text = (char *)buf_steal(&text->text, &page->text_bytes);
    /* An empty page is kept too: that lines are there says that the text is. */
    page->lines = text->lines ? STEAL(text->lines) : mem_array(0, sizeof(*text->lines));
    cache->text_bytes += page->text_bytes;
    if (!map_get(&cache->pages, page->hash, NULL, NULL))
        map_put(&cache->pages, page->hash, page);
}

void page_values_done(struct page_values *values)
{
    mem_free(values->values);
    mem_free(values->times);
    *values = (struct page_values){0};
}

void page_values_reserve(struct page_values *values, size_t slots)
{
    if (slots <= values->capacity)
        return;
    values->capacity = slots;
    values->values = mem_resize(values->values, slots, sizeof(*values->values));
    values->times = mem_resize(values->times, slots, sizeof(*values->times));
}

void page_values_set_time(struct page_values *values, uint32_t slots, uint32_t slot, int64_t time_ms)
{
    for (uint32_t i = 0; i < slots && !values->any_time; i++)
        values->times[i] = INT64_MIN;
    values->any_time = true;
    values->times[slot] = time_ms;
}

struct page_values page_values_of(const struct page_values *values, const struct page_part *part)
{
    return (struct page_values){.values = values->values + part->first_value,
                                .times = values->any_time ? values->times + part->first_value : NULL,
                                .any_time = values->any_time};
}

bool page_read(const struct page *page, struct str body, bool honor_timestamps, struct page_values *values)
{
    if (!page->lines)
        return false;
    page_values_reserve(values, page->value_count);
    values->any_time = false;
    const char *at = body.ptr, *end = body.ptr + body.len;
    const struct page_line *line = page->lines, *lines_end = page->lines + page->line_count;
    while (at < end) {
        if (*at == '#' || *at == '\n') {
            const char *newline = memchr(at, '\n', (size_t)(end - at));
            at = newline ? newline + 1 : end;
            continue;
        }
        if (line == lines_end || (size_t)(end - at) <= line->text_len)
            return false;
        const char *text = page->text + line->text_offset;
        if (memcmp(at, text, line->text_len) != 0)
            return false;
        double value;
        bool has_time;
        int64_t time_ms;
        /* Wants a blank first: "up" is no beginning of "up2 1". */
        at = exposition_value(at + line->text_len, end, &value, &has_time, &time_ms);
        if (!at)
            return false;
        uint32_t slot = line->slot;
        line++;
        if (slot == PAGE_SLOT_NONE)
            continue;
        values->values[slot] = value;
        if (has_time && honor_timestamps)
            page_values_set_time(values, page->value_count, slot, time_ms);
    }
    return line == lines_end;
}
