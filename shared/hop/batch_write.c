#include "base/fail.h"
#include "base/map.h"
#include "hop/batch_body.h"
#include "hop/column.h"
#include "hop/pack.h"

#include <errno.h>
#include <zstd.h>

/* What records take at most before zstd, to keep a part near BATCH_PART_BYTES; real ones take a quarter of it. */
#define BYTES_PER_RECORD 4
#define BYTES_PER_RANGE  12
#define BYTES_PER_EXTRA  10
#define BYTES_PER_ENTRY  16

struct item {
    uint32_t target, page;
    uint32_t count;
    int64_t time_ms, stale_ms;
    size_t first_record;
    size_t first_extra;
    uint32_t extra_count;
};

struct family_use {
    struct layout *layout;
    uint32_t member_count;
};

struct page_use {
    struct layout *layout;
    uint32_t *families; /* indices, in the page's order */
};

struct batch_writer {
    struct item *items;
    size_t item_count, item_capacity;
    struct record *records;
    size_t record_count, record_capacity;
    struct record_extra *extras; /* index within the item's records */
    size_t extra_count, extra_capacity;
    struct labels **targets;
    size_t target_count, target_capacity;
    struct page_use *pages;
    size_t page_count, page_capacity;
    struct family_use *families;
    size_t family_count, family_capacity;
    struct map target_map, page_map, family_map; /* to index + 1 */
    size_t estimate_bytes, layout_bytes;
    uint64_t shown_slots;       /* of all entries' pages, of those that only end as well */
    struct layout *target_list; /* of the last finish */
    struct hash128 *hashes;
    bool held;
    struct buf header, payload, raw;
    ZSTD_CCtx *zstd;
};

struct batch_writer *batch_writer_new(void)
{
    struct batch_writer *writer = mem_zalloc(sizeof(*writer));
    map_init(&writer->target_map);
    map_init(&writer->page_map);
    map_init(&writer->family_map);
    buf_init(&writer->header, BATCH_RAW_BYTES_MAX);
    buf_init(&writer->payload, BATCH_RAW_BYTES_MAX);
    buf_init(&writer->raw, BATCH_RAW_BYTES_MAX);
    return writer;
}

void batch_writer_reset(struct batch_writer *writer)
{
    ASSERT(!writer->held);
    for (size_t i = 0; i < writer->target_count; i++)
        labels_unref(writer->targets[i]);
    for (size_t i = 0; i < writer->page_count; i++) {
        layout_unref(writer->pages[i].layout);
        mem_free(writer->pages[i].families);
    }
    for (size_t i = 0; i < writer->family_count; i++)
        layout_unref(writer->families[i].layout);
    layout_unref(STEAL(writer->target_list));
    writer->item_count = writer->record_count = writer->extra_count = 0;
    writer->target_count = writer->page_count = writer->family_count = writer->estimate_bytes = 0;
    writer->layout_bytes = 0;
    writer->shown_slots = 0;
    map_clear(&writer->target_map);
    map_clear(&writer->page_map);
    map_clear(&writer->family_map);
}

void batch_writer_free(struct batch_writer *writer)
{
    if (!writer)
        return;
    batch_writer_reset(writer);
    map_done(&writer->target_map);
    map_done(&writer->page_map);
    map_done(&writer->family_map);
    buf_done(&writer->header);
    buf_done(&writer->payload);
    buf_done(&writer->raw);
    ZSTD_freeCCtx(writer->zstd);
    mem_free(writer->items);
    mem_free(writer->records);
    mem_free(writer->extras);
    mem_free(writer->targets);
    mem_free(writer->pages);
    mem_free(writer->families);
    mem_free(writer->hashes);
    mem_free(writer);
}

size_t batch_writer_entries(const struct batch_writer *writer)
{
    return writer->item_count;
}

size_t batch_writer_records(const struct batch_writer *writer)
{
    return writer->record_count;
}

/* Room for `more` items of `size` bytes behind `count`. */
static void *grown(void *items, size_t count, size_t more, size_t size, size_t *capacity)
{
    if (count + more <= *capacity)
        return items;
    *capacity = MAX(2 * *capacity, count + more + 16);
    return mem_resize(items, *capacity, size);
}

/* ---- Adding ---- */

struct target_key {
    const struct batch_writer *writer;
    const struct labels *labels;
};

static bool is_target(const void *item, const void *key)
{
    const struct target_key *wanted = key;
    return labels_equal(wanted->writer->targets[(uintptr_t)item - 1], wanted->labels);
}

static uint32_t index_of_target(struct batch_writer *writer, struct labels *labels)
{
    struct target_key key = {writer, labels};
    uintptr_t found = (uintptr_t)map_get(&writer->target_map, labels_hash(labels), is_target, &key);
    if (found)
        return (uint32_t)(found - 1);
    writer->targets =
        grown(writer->targets, writer->target_count, 1, sizeof(struct labels *), &writer->target_capacity);
    writer->targets[writer->target_count++] = labels_ref(labels);
    map_put(&writer->target_map, labels_hash(labels), (void *)(uintptr_t)writer->target_count); // NOLINT
    return (uint32_t)(writer->target_count - 1);
}

/* Content hashes are found by their low half alone: that two layouts share it would be an accident of 2^-64. */
static uint32_t index_of_family(struct batch_writer *writer, struct layout *family)
{
    uint64_t hash = hash128_low(family->hash);
    uintptr_t found = (uintptr_t)map_get(&writer->family_map, hash, NULL, NULL);
    if (found) {
        ASSERT(hash128_equal(writer->families[found - 1].layout->hash, family->hash));
        return (uint32_t)(found - 1);
    }
    writer->families =
        grown(writer->families, writer->family_count, 1, sizeof(*writer->families), &writer->family_capacity);
    writer->families[writer->family_count++] = (struct family_use){.layout = layout_ref(family)};
    map_put(&writer->family_map, hash, (void *)(uintptr_t)writer->family_count); // NOLINT
    return (uint32_t)(writer->family_count - 1);
}

static uint32_t index_of_page(struct batch_writer *writer, const struct batch_item *item)
{
    uint64_t hash = hash128_low(item->page->hash);
    uintptr_t found = (uintptr_t)map_get(&writer->page_map, hash, NULL, NULL);
    if (found) {
        ASSERT(hash128_equal(writer->pages[found - 1].layout->hash, item->page->hash));
        return (uint32_t)(found - 1);
    }
    uint32_t *families = mem_array(item->page->count, sizeof(*families));
    for (uint32_t i = 0; i < item->page->count; i++) {
        families[i] = index_of_family(writer, item->page->families[i]);
    }
    writer->pages = grown(writer->pages, writer->page_count, 1, sizeof(*writer->pages), &writer->page_capacity);
    writer->pages[writer->page_count++] = (struct page_use){.layout = layout_ref(item->page), .families = families};
    map_put(&writer->page_map, hash, (void *)(uintptr_t)writer->page_count); // NOLINT
    return (uint32_t)(writer->page_count - 1);
}

/* Bytes of the layouts that the item adds. */
static size_t new_layout_bytes(const struct batch_writer *writer, const struct batch_item *item)
{
    struct target_key key = {writer, item->target};
    bool has_target = map_get(&writer->target_map, labels_hash(item->target), is_target, &key);
    size_t bytes = has_target ? 0 : labels_bytes(item->target);
    if (map_get(&writer->page_map, hash128_low(item->page->hash), NULL, NULL))
        return bytes;
    bytes += item->page->bytes_len;
    for (uint32_t i = 0; i < item->page->count; i++)
        if (!map_get(&writer->family_map, hash128_low(item->page->families[i]->hash), NULL, NULL))
            bytes += item->page->families[i]->bytes_len;
    return bytes;
}

/* The item would take the batch past a limit. */
static bool is_too_much(const struct batch_writer *writer, const struct batch_item *item, size_t shown, size_t estimate,
                        size_t layout_bytes)
{
    bool others = writer->item_count > 0;
    return (others && writer->estimate_bytes + estimate > BATCH_PART_BYTES) ||
           (others && writer->layout_bytes + layout_bytes > BATCH_LAYOUT_BYTES) ||
           layout_bytes > BATCH_LAYOUT_BYTES_MAX || writer->shown_slots + shown > BATCH_RECORDS_MAX ||
           writer->item_count == BATCH_ENTRIES_MAX || writer->extra_count + item->extra_count > BATCH_EXTRAS_MAX ||
           writer->target_count == LAYOUT_TARGETS_MAX || writer->page_count == ENVELOPE_PAGES_MAX ||
           writer->family_count + item->page->count > BATCH_RECORDS_MAX;
}

static size_t estimate_of(const struct batch_item *item, size_t slots)
{
    size_t ranges = 0;
    for (size_t i = 0; i < slots; i++)
        ranges += !record_is_constant(&item->records[i]);
    return slots * BYTES_PER_RECORD + ranges * BYTES_PER_RANGE + item->extra_count * BYTES_PER_EXTRA + BYTES_PER_ENTRY;
}

int batch_writer_add(struct batch_writer *writer, const struct batch_item *item)
{
    ASSERT(item->round == 0); /* of one window so far */
    size_t shown = layout_page_slots(item->page);
    size_t slots = item->count > 0 ? shown : 0;
    size_t estimate = estimate_of(item, slots);
    size_t layout_bytes = new_layout_bytes(writer, item);
    if (is_too_much(writer, item, shown, estimate, layout_bytes))
        return -EMSGSIZE;
    writer->layout_bytes += layout_bytes;
    writer->shown_slots += shown;
    writer->estimate_bytes += estimate;
    writer->items = grown(writer->items, writer->item_count, 1, sizeof(*writer->items), &writer->item_capacity);
    writer->records =
        grown(writer->records, writer->record_count, slots, sizeof(*writer->records), &writer->record_capacity);
    writer->extras =
        grown(writer->extras, writer->extra_count, item->extra_count, sizeof(*writer->extras), &writer->extra_capacity);
    writer->items[writer->item_count++] = (struct item){.target = index_of_target(writer, item->target),
                                                        .page = index_of_page(writer, item),
                                                        .count = item->count,
                                                        .time_ms = item->time_ms,
                                                        .stale_ms = item->stale_ms,
                                                        .first_record = writer->record_count,
                                                        .first_extra = writer->extra_count,
                                                        .extra_count = (uint32_t)item->extra_count};
    if (slots > 0)
        memcpy(writer->records + writer->record_count, item->records, slots * sizeof(*item->records));
    if (item->extra_count > 0)
        memcpy(writer->extras + writer->extra_count, item->extras, item->extra_count * sizeof(*item->extras));
    writer->record_count += slots;
    writer->extra_count += item->extra_count;
    return 0;
}

/* ---- Finishing ---- */

/* The families' members, as one array with a start per family (CSR). */
struct members {
    struct batch_member *all;
    size_t *starts; /* family_count + 1 */
};

/* The first of an item's extras that belongs to this record of the item or to a later one. */
static size_t extras_from(const struct batch_writer *writer, const struct item *item, size_t record)
{
    size_t low = item->first_extra, high = low + item->extra_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (writer->extras[middle].index < record)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* record: of the family's first slot. */
static struct batch_member member_of(const struct batch_writer *writer, const struct item *item, size_t record,
                                     uint32_t slots)
{
    size_t base = record - item->first_record, first = extras_from(writer, item, base);
    return (struct batch_member){.time_ms = item->time_ms,
                                 .count = item->count,
                                 .records = slots > 0 ? writer->records + record : NULL,
                                 .extras = item->extra_count > 0 ? writer->extras + first : NULL,
                                 .extra_count = extras_from(writer, item, base + slots) - first,
                                 .extra_base = (uint32_t)base};
}

static void find_members(const struct batch_writer *writer, struct members *members)
{
    members->starts = mem_array(writer->family_count + 1, sizeof(*members->starts));
    for (size_t i = 0; i < writer->item_count; i++) {
        const struct page_use *page = &writer->pages[writer->items[i].page];
        for (uint32_t f = 0; f < page->layout->count && writer->items[i].count > 0; f++)
            members->starts[page->families[f] + 1]++;
    }
    for (size_t f = 0; f < writer->family_count; f++)
        members->starts[f + 1] += members->starts[f];
    members->all = mem_array(members->starts[writer->family_count], sizeof(*members->all));
    CLEANUP_FREE size_t *next = mem_array(writer->family_count + 1, sizeof(*next));
    memcpy(next, members->starts, writer->family_count * sizeof(*next));
    for (size_t i = 0; i < writer->item_count; i++) {
        const struct item *item = &writer->items[i];
        const struct page_use *page = &writer->pages[item->page];
        size_t record = item->first_record;
        for (uint32_t f = 0; f < page->layout->count && item->count > 0; f++) {
            uint32_t slots = writer->families[page->families[f]].layout->count;
            members->all[next[page->families[f]]++] = member_of(writer, item, record, slots);
            record += slots;
        }
    }
}

static void write_families(struct batch_writer *writer, const struct members *members)
{
    size_t largest = 0, slots_max = 0;
    for (size_t f = 0; f < writer->family_count; f++) {
        size_t slots = writer->families[f].layout->count;
        largest = MAX(largest, slots * (members->starts[f + 1] - members->starts[f]));
        slots_max = MAX(slots_max, slots);
    }
    struct batch_family family;
    batch_family_init(&family, largest, slots_max, &writer->header, &writer->payload);
    for (size_t f = 0; f < writer->family_count; f++) {
        family.members = members->all + members->starts[f];
        family.member_count = members->starts[f + 1] - members->starts[f];
        family.slots = writer->families[f].layout->count;
        if (family.member_count > 0 && family.slots > 0)
            batch_family_write(&family);
    }
    batch_family_done(&family);
}

static void write_entries(struct batch_writer *writer, int64_t window_start_ms)
{
    size_t count = writer->item_count;
    buf_append_uvarint(&writer->header, count);
    if (count == 0)
        return;
    CLEANUP_FREE int64_t *numbers = mem_resize(NULL, count, sizeof(*numbers));
    for (int column = 0; column < 5; column++) {
        for (size_t i = 0; i < count; i++) {
            const struct item *item = &writer->items[i];
            const int64_t fields[] = {item->target, item->page, batch_time_between(item->time_ms, window_start_ms),
                                      item->count, item->stale_ms};
            numbers[i] = fields[column];
        }
        column_encode_ints(numbers, count, &writer->header, &writer->payload);
    }
}

/* Compresses raw into out, or stores it as it is where that is smaller or the ratio would look like an attack. */
static int compress_body(struct batch_writer *writer, struct buf *body)
{
    struct buf *raw = &writer->raw;
    if (!writer->zstd && !(writer->zstd = ZSTD_createCCtx()))
        return -ENOMEM;
    buf_init(body, ZSTD_compressBound(raw->len) + 1);
    uint8_t *room = buf_reserve(body, ZSTD_compressBound(raw->len));
    if (!room)
        return -ENOMEM;
    size_t bytes = ZSTD_compressCCtx(writer->zstd, room, ZSTD_compressBound(raw->len), raw->data, raw->len, 1);
    bool ratio_fine = raw->len <= BATCH_RAW_FREE_BYTES || raw->len / BATCH_RAW_RATIO_MAX < bytes;
    if (!ZSTD_isError(bytes) && bytes < raw->len && ratio_fine) {
        buf_added(body, bytes);
        return 0;
    }
    buf_reset(body);
    return buf_append(body, raw->data, raw->len);
}

static int hold_layouts(struct batch_writer *writer, struct envelope *envelope, struct layout_table *table)
{
    writer->hashes = mem_resize(writer->hashes, writer->page_count + 1, sizeof(*writer->hashes));
    layout_unref(STEAL(writer->target_list));
    writer->target_list = layout_targets_new(writer->targets, (uint32_t)writer->target_count);
    if (!writer->target_list)
        return -EMSGSIZE;
    int error = layout_table_hold(table, writer->target_list);
    size_t held = 0;
    for (; held < writer->page_count && error == 0; held++) {
        writer->hashes[held] = writer->pages[held].layout->hash;
        error = layout_table_hold(table, writer->pages[held].layout);
    }
    if (error < 0) {
        for (size_t i = 0; held > 0 && i < held - 1; i++)
            layout_table_release(table, writer->hashes[i]);
        if (held > 0)
            layout_table_release(table, writer->target_list->hash);
        return error;
    }
    writer->held = true;
    envelope->targets = writer->target_list->hash;
    envelope->pages = writer->hashes;
    envelope->page_count = (uint32_t)writer->page_count;
    return 0;
}

void batch_writer_release(struct batch_writer *writer, struct layout_table *table)
{
    if (!writer->held)
        return;
    writer->held = false;
    layout_table_release(table, writer->target_list->hash);
    for (size_t i = 0; i < writer->page_count; i++)
        layout_table_release(table, writer->hashes[i]);
}

static int write_body(struct batch_writer *writer, int64_t window_start_ms)
{
    buf_reset(&writer->header);
    buf_reset(&writer->payload);
    buf_reset(&writer->raw);
    write_entries(writer, window_start_ms);
    struct members members;
    find_members(writer, &members);
    write_families(writer, &members);
    mem_free(members.all);
    mem_free(members.starts);
    pack_array(&writer->raw, 2);
    pack_bin(&writer->raw, writer->header.data, writer->header.len);
    pack_bin(&writer->raw, writer->payload.data, writer->payload.len);
    return writer->header.full || writer->payload.full || writer->raw.full ? -EMSGSIZE : 0;
}

int batch_writer_finish(struct batch_writer *writer, struct envelope *envelope, struct layout_table *table,
                        struct buf *out)
{
    ASSERT(!writer->held);
    size_t start = out->len;
    CLEANUP(buf_done) struct buf body = BUF_INIT(0);
    int error = write_body(writer, envelope->window_start_ms);
    if (error == 0)
        error = compress_body(writer, &body);
    if (error == 0)
        error = hold_layouts(writer, envelope, table);
    if (error < 0)
        return error;
    envelope->body_version = BATCH_BODY_VERSION;
    envelope->body_bytes = body.len;
    envelope->body_raw_bytes = writer->raw.len;
    envelope->body_crc32c = crc32c(0, body.data, body.len);
    error = envelope_encode(envelope, out);
    if (error == 0)
        error = buf_append(out, body.data, body.len);
    if (error == 0 && out->len - start > BATCH_BYTES_MAX)
        error = -EMSGSIZE;
    if (error < 0)
        batch_writer_release(writer, table);
    return error;
}
