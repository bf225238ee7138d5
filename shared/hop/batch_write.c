#include "base/fail.h"
#include "base/map.h"
#include "hop/batch_body.h"
#include "hop/column.h"
#include "hop/pack.h"

#include <errno.h>
#include <stdlib.h>
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
    size_t estimate_bytes;
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
        ASSERT(hash128_equal(item->families[i]->hash, item->page->families[i]));
        families[i] = index_of_family(writer, item->families[i]);
    }
    writer->pages = grown(writer->pages, writer->page_count, 1, sizeof(*writer->pages), &writer->page_capacity);
    writer->pages[writer->page_count++] = (struct page_use){.layout = layout_ref(item->page), .families = families};
    map_put(&writer->page_map, hash, (void *)(uintptr_t)writer->page_count); // NOLINT
    return (uint32_t)(writer->page_count - 1);
}

static size_t slots_of(const struct batch_item *item)
{
    size_t slots = 0;
    for (uint32_t i = 0; i < item->page->count && item->count > 0; i++)
        slots += item->families[i]->count;
    return slots;
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
    size_t slots = slots_of(item);
    size_t estimate = estimate_of(item, slots);
    bool over_part = writer->item_count > 0 && writer->estimate_bytes + estimate > BATCH_PART_BYTES;
    if (over_part || writer->record_count + slots > BATCH_RECORDS_MAX || writer->item_count == BATCH_ENTRIES_MAX ||
        writer->extra_count + item->extra_count > BATCH_EXTRAS_MAX || writer->target_count == LAYOUT_TARGETS_MAX ||
        writer->page_count + 1 + writer->family_count + item->page->count > ENVELOPE_HASHES_MAX)
        return -EMSGSIZE;
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

struct member {
    const struct item *item;
    size_t first_record; /* of the family, in the writer's records */
};

/* The families' members, as one array with a start per family (CSR). */
struct members {
    struct member *all;
    size_t *starts; /* family_count + 1 */
};

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
            members->all[next[page->families[f]]++] = (struct member){item, record};
            record += writer->families[page->families[f]].layout->count;
        }
    }
}

/* One family while it is written: its records transposed to slot-major. */
struct block {
    const struct member *members;
    size_t member_count;
    size_t slots;
    struct record *records; /* slots * member_count */
    double *values;         /* scratch of as many */
    double *bases;          /* scratch of as many: what values are near to */
    int64_t *numbers;       /* scratch of as many */
    size_t *per_slot;       /* scratch: values in each slot */
};

/* The values of the block, per_slot of them for each slot; bases may be NULL. */
static void write_values(struct batch_writer *writer, const struct block *block, const double *bases)
{
    size_t total = 0;
    for (size_t slot = 0; slot < block->slots; slot++)
        total += block->per_slot[slot];
    if (block->member_count < BATCH_SLOT_COLUMN_MEMBERS) {
        if (total > 0)
            column_encode_doubles(block->values, bases, total, &writer->header, &writer->payload);
        return;
    }
    size_t at = 0;
    for (size_t slot = 0; slot < block->slots; slot++) {
        if (block->per_slot[slot] > 0)
            column_encode_doubles(block->values + at, bases ? bases + at : NULL, block->per_slot[slot], &writer->header,
                                  &writer->payload);
        at += block->per_slot[slot];
    }
}

static void write_lasts(struct batch_writer *writer, const struct block *block)
{
    for (size_t i = 0; i < block->slots * block->member_count; i++)
        block->values[i] = block->records[i].last;
    for (size_t slot = 0; slot < block->slots; slot++)
        block->per_slot[slot] = block->member_count;
    write_values(writer, block, NULL);
}

/* The difference of two times; exporters may bring any, so it may wrap around, and does so back in the reader. */
static int64_t time_between(int64_t time_ms, int64_t base_ms)
{
    return (int64_t)((uint64_t)time_ms - (uint64_t)base_ms);
}

static bool is_odd(const struct block *block, size_t index)
{
    const struct item *item = block->members[index % block->member_count].item;
    return block->records[index].count != item->count || block->records[index].time_ms != item->time_ms;
}

static void write_odd(struct batch_writer *writer, const struct block *block)
{
    size_t odd = 0, records = block->slots * block->member_count;
    const struct record *record = block->records;
    for (size_t slot = 0; slot < block->slots; slot++)
        for (size_t m = 0; m < block->member_count; m++, record++) /* as is_odd(), without its division */
            odd += record->count != block->members[m].item->count || record->time_ms != block->members[m].item->time_ms;
    buf_append_uvarint(&writer->header, odd);
    for (int column = 0; column < 3 && odd > 0; column++) {
        size_t n = 0, last = 0;
        for (size_t i = 0; i < records; i++) {
            if (!is_odd(block, i))
                continue;
            int64_t base_ms = block->members[i % block->member_count].item->time_ms;
            block->numbers[n++] = column == 0   ? (int64_t)(i - last)
                                  : column == 1 ? time_between(block->records[i].time_ms, base_ms)
                                                : block->records[i].count;
            last = i;
        }
        column_encode_ints(block->numbers, odd, &writer->header, &writer->payload);
    }
}

typedef double record_field(const struct record *record);

static double field_min(const struct record *record)
{
    return record->min;
}

static double field_max(const struct record *record)
{
    return record->max;
}

static double field_sum(const struct record *record)
{
    return record->sum;
}

static void write_ranges(struct batch_writer *writer, const struct block *block)
{
    size_t records = block->slots * block->member_count, changing = 0;
    CLEANUP_FREE uint8_t *bits = mem_zalloc(records / 8 + 1);
    memset(block->per_slot, 0, block->slots * sizeof(*block->per_slot));
    for (size_t slot = 0, i = 0; slot < block->slots; slot++) {
        for (size_t m = 0; m < block->member_count; m++, i++) {
            if (block->records[i].kind == KIND_COUNTER || record_is_constant(&block->records[i]))
                continue;
            bits[i / 8] |= (uint8_t)(1 << (i % 8));
            block->per_slot[slot]++;
        }
        changing += block->per_slot[slot];
    }
    buf_append_uvarint(&writer->header, changing);
    if (changing == 0)
        return;
    buf_append(&writer->payload, bits, (records + 7) / 8);
    static record_field *const fields[] = {field_min, field_max, field_sum};
    for (size_t f = 0; f < ARRAY_LEN(fields); f++) {
        size_t n = 0;
        for (size_t i = 0; i < records; i++) {
            if (!(bits[i / 8] >> (i % 8) & 1))
                continue;
            const struct record *record = &block->records[i];
            block->values[n] = fields[f](record);
            block->bases[n++] = fields[f] == field_sum ? batch_expected_sum(record) : record->last;
        }
        write_values(writer, block, block->bases);
    }
}

struct found_extra {
    size_t index; /* of its record in the block */
    size_t order; /* as it was found */
    struct sample sample;
};

static int compare_found(const void *a, const void *b)
{
    const struct found_extra *x = a, *y = b;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* The first of an item's extras that belongs to this record or a later one. */
static uint32_t extras_from(const struct batch_writer *writer, const struct item *item, size_t record)
{
    uint32_t low = 0, high = item->extra_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (writer->extras[item->first_extra + middle].index < record)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void write_found(struct batch_writer *writer, const struct block *block, const struct found_extra *found,
                        size_t count)
{
    buf_append_uvarint(&writer->header, count);
    if (count == 0)
        return;
    CLEANUP_FREE int64_t *numbers = mem_resize(NULL, count, sizeof(*numbers));
    for (size_t i = 0; i < count; i++)
        numbers[i] = (int64_t)(found[i].index - (i ? found[i - 1].index : 0));
    column_encode_ints(numbers, count, &writer->header, &writer->payload);
    for (size_t i = 0; i < count; i++)
        numbers[i] = time_between(block->records[found[i].index].time_ms, found[i].sample.time_ms);
    column_encode_ints(numbers, count, &writer->header, &writer->payload);
    CLEANUP_FREE double *values = mem_resize(NULL, count, 2 * sizeof(*values));
    double *bases = values + count;
    for (size_t i = 0; i < count; i++) {
        values[i] = found[i].sample.value;
        bases[i] = block->records[found[i].index].last;
    }
    column_encode_doubles(values, bases, count, &writer->header, &writer->payload);
}

/* Extras of the members that lie in the family; they come member by member and are written slot-major. */
static void write_extras(struct batch_writer *writer, const struct block *block)
{
    size_t total = 0, capacity = 0;
    CLEANUP_FREE struct found_extra *found = NULL;
    for (size_t m = 0; m < block->member_count; m++) {
        const struct item *item = block->members[m].item;
        size_t base = block->members[m].first_record - item->first_record;
        uint32_t end = extras_from(writer, item, base + block->slots);
        for (uint32_t e = extras_from(writer, item, base); e < end; e++) {
            const struct record_extra *extra = &writer->extras[item->first_extra + e];
            found = grown(found, total, 1, sizeof(*found), &capacity);
            found[total] = (struct found_extra){(extra->index - base) * block->member_count + m, total, extra->sample};
            total++;
        }
    }
    if (total > 0)
        qsort(found, total, sizeof(*found), compare_found);
    write_found(writer, block, found, total);
}

static void write_family(struct batch_writer *writer, struct block *block)
{
    for (size_t m = 0; m < block->member_count; m++) {
        const struct record *from = writer->records + block->members[m].first_record;
        for (size_t slot = 0; slot < block->slots; slot++)
            block->records[slot * block->member_count + m] = from[slot];
    }
    write_lasts(writer, block);
    write_odd(writer, block);
    write_ranges(writer, block);
    write_extras(writer, block);
}

static void write_families(struct batch_writer *writer, const struct members *members)
{
    size_t largest = 0, slots_max = 0;
    for (size_t f = 0; f < writer->family_count; f++) {
        size_t slots = writer->families[f].layout->count;
        largest = MAX(largest, slots * (members->starts[f + 1] - members->starts[f]));
        slots_max = MAX(slots_max, slots);
    }
    CLEANUP_FREE struct record *records = mem_resize(NULL, largest, sizeof(*records));
    CLEANUP_FREE double *values = mem_resize(NULL, largest, 2 * sizeof(*values) + sizeof(int64_t));
    CLEANUP_FREE size_t *per_slot = mem_array(slots_max, sizeof(*per_slot));
    for (size_t f = 0; f < writer->family_count; f++) {
        struct block block = {.members = members->all + members->starts[f],
                              .member_count = members->starts[f + 1] - members->starts[f],
                              .slots = writer->families[f].layout->count,
                              .records = records,
                              .values = values,
                              .bases = values + largest,
                              .numbers = (int64_t *)(void *)(values + 2 * largest),
                              .per_slot = per_slot};
        if (block.member_count > 0 && block.slots > 0)
            write_family(writer, &block);
    }
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
            const int64_t fields[] = {item->target, item->page, time_between(item->time_ms, window_start_ms),
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
    size_t total = writer->page_count + writer->family_count;
    writer->hashes = mem_resize(writer->hashes, total + 1, sizeof(*writer->hashes));
    layout_unref(STEAL(writer->target_list));
    writer->target_list = layout_targets_new(writer->targets, (uint32_t)writer->target_count);
    if (!writer->target_list)
        return -EMSGSIZE;
    int error = layout_table_hold(table, writer->target_list);
    size_t held = 0;
    for (; held < total && error == 0; held++) {
        struct layout *layout =
            held < writer->page_count ? writer->pages[held].layout : writer->families[held - writer->page_count].layout;
        writer->hashes[held] = layout->hash;
        error = layout_table_hold(table, layout);
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
    envelope->families = writer->hashes + writer->page_count;
    envelope->family_count = (uint32_t)writer->family_count;
    return 0;
}

void batch_writer_release(struct batch_writer *writer, struct layout_table *table)
{
    if (!writer->held)
        return;
    writer->held = false;
    layout_table_release(table, writer->target_list->hash);
    for (size_t i = 0; i < writer->page_count + writer->family_count; i++)
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
