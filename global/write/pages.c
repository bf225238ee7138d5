#include "write/pages.h"

#include "base/arena.h"
#include "base/fail.h"
#include "base/map.h"
#include "write/series.h"

/* Where pages are cut: before one metric in 16, some 50 series of an exporter; within a long family, once there are
 * enough, before one series in 256. */
#define CUT_METRICS_MASK 15
#define CUT_SLOTS_MIN    128
#define CUT_SLOTS_BYTE   15 /* of a slot's hash: zero */

#define ARENA_BYTES_MAX  (64 * MIB)
#define SWEEP_EVERY_MS   (60 * INT64_C(1000))

struct page {
    struct hash128 key; /* of the slots' hashes, and what was known of metadata */
    struct layout *layout;
    int64_t used_ms;
};

struct pages {
    struct map pages;
    uint64_t bytes;
    int64_t swept_ms;
    struct arena arena; /* of a page that is being made */
    struct buf key;
};

struct pages *pages_new(void)
{
    struct pages *pages = mem_zalloc(sizeof(*pages));
    map_init(&pages->pages);
    arena_init(&pages->arena, ARENA_BYTES_MAX);
    buf_init(&pages->key, sizeof(uint64_t) + PAGES_SLOTS_MAX * sizeof(struct hash128));
    return pages;
}

static void page_free(struct page *page)
{
    layout_unref(page->layout);
    mem_free(page);
}

/* Those that were not used since then go. */
static void sweep(struct pages *pages, int64_t since_ms)
{
    struct map kept;
    map_init(&kept);
    map_reserve(&kept, pages->pages.count);
    size_t at = 0;
    pages->bytes = 0;
    for (struct page *page; (page = map_next(&pages->pages, &at));) {
        if (page->used_ms < since_ms) {
            page_free(page);
            continue;
        }
        map_put(&kept, hash128_low(page->key), page);
        pages->bytes += page->layout->whole_memory;
    }
    map_done(&pages->pages);
    pages->pages = kept;
}

void pages_free(struct pages *pages)
{
    if (!pages)
        return;
    sweep(pages, INT64_MAX);
    map_done(&pages->pages);
    arena_done(&pages->arena);
    buf_done(&pages->key);
    mem_free(pages);
}

bool pages_is_cut(size_t slots, size_t text, const struct pages_series *last, const struct pages_series *next)
{
    if (slots == PAGES_SLOTS_MAX || text + next->message.len > PAGES_TEXT_MAX)
        return true;
    if (last->metric_hash != next->metric_hash)
        return (next->metric_hash & CUT_METRICS_MASK) == 0;
    return slots >= CUT_SLOTS_MIN && next->slot.bytes[CUT_SLOTS_BYTE] == 0;
}

/* ---- Made ---- */

/* Its labels but the target's, in the arena. */
static bool take_slot(struct pages *pages, const struct pages_wanted *wanted, size_t index, struct layout_slot *slot,
                      struct str *metric)
{
    struct series_labels labels;
    if (series_read_labels(wanted->series[index].message, wanted->datacenter, &labels) != REFUSAL_NONE)
        return false;
    struct label *own = arena_array(&pages->arena, labels.count, sizeof(*own));
    if (!own)
        return false;
    *slot = (struct layout_slot){.labels = own};
    *metric = labels.metric;
    for (size_t i = 0; i < labels.count; i++)
        if (!series_is_of_target(labels.items[i].name))
            own[slot->label_count++] = labels.items[i];
    return true;
}

static struct layout *make_family(const struct wire_metadata *family, const struct layout_slot *slots, size_t count)
{
    struct layout_family_spec spec = {.name = family->name,
                                      .unit = family->unit,
                                      .help = family->help,
                                      .metric_type = family->type,
                                      .slots = slots,
                                      .count = (uint32_t)count};
    return layout_family_new(&spec);
}

/* Neighbours of one family's name are one family. */
static size_t make_families(const struct metadata *metadata, const struct layout_slot *slots, const struct str *metrics,
                            size_t count, struct layout **families)
{
    size_t made = 0;
    for (size_t from = 0, end; from < count; from = end) {
        struct wire_metadata family = metadata_family(metadata, metrics[from]);
        for (end = from + 1; end < count; end++)
            if (!str_equal(metrics[end], metrics[from]) &&
                !str_equal(metadata_family(metadata, metrics[end]).name, family.name))
                break;
        families[made] = make_family(&family, slots + from, end - from);
        if (!families[made])
            return made;
        made++;
    }
    return made;
}

static struct layout *make(struct pages *pages, const struct metadata *metadata, const struct pages_wanted *wanted)
{
    size_t count = wanted->count;
    arena_reset(&pages->arena);
    CLEANUP_FREE struct layout_slot *slots = mem_array(count, sizeof(*slots));
    CLEANUP_FREE struct str *metrics = mem_array(count, sizeof(*metrics));
    CLEANUP_FREE struct layout **families = mem_array(count, sizeof(struct layout *));
    for (size_t i = 0; i < count; i++)
        if (!take_slot(pages, wanted, i, &slots[i], &metrics[i]))
            return NULL;
    size_t made = make_families(metadata, slots, metrics, count, families);
    struct layout *page = layout_page_new(families, (uint32_t)made);
    for (size_t i = 0; i < made; i++)
        layout_unref(families[i]);
    if (page && layout_page_slots(page) != count) { /* a family could not be made */
        layout_unref(page);
        return NULL;
    }
    return page;
}

/* ---- Kept ---- */

static bool is_page(const void *item, const void *key)
{
    return hash128_equal(((const struct page *)item)->key, *(const struct hash128 *)key);
}

static struct hash128 key_of(struct pages *pages, uint64_t version, const struct pages_wanted *wanted)
{
    buf_reset(&pages->key);
    buf_append_le64(&pages->key, version);
    for (size_t i = 0; i < wanted->count; i++)
        buf_append(&pages->key, wanted->series[i].slot.bytes, sizeof(struct hash128));
    return hash128_of(pages->key.data, pages->key.len);
}

struct layout *pages_get(struct pages *pages, const struct metadata *metadata, const struct pages_wanted *wanted,
                         int64_t now_ms)
{
    ASSERT(wanted->count > 0 && wanted->count <= PAGES_SLOTS_MAX);
    struct hash128 key = key_of(pages, metadata_version(metadata), wanted);
    struct page *page = map_get(&pages->pages, hash128_low(key), is_page, &key);
    if (!page) {
        struct layout *layout = make(pages, metadata, wanted);
        if (!layout)
            return NULL;
        if (now_ms - pages->swept_ms > SWEEP_EVERY_MS) {
            sweep(pages, now_ms - PAGES_AGE_MS);
            pages->swept_ms = now_ms;
        }
        if (pages->bytes + layout->whole_memory > PAGES_BYTES_MAX)
            sweep(pages, INT64_MAX);
        page = mem_zalloc(sizeof(*page));
        *page = (struct page){.key = key, .layout = layout};
        pages->bytes += layout->whole_memory;
        map_put(&pages->pages, hash128_low(key), page);
    }
    page->used_ms = now_ms;
    return page->layout;
}
