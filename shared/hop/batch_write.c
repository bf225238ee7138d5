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

struct family_use {
    struct layout *layout;
    uint32_t member_count;
};

struct page_use {
    struct layout *layout;
    uint32_t *families; /* indices, in the page's order */
};

struct batch_writer {
    struct batch_entry *entries;
    struct batch_mark *marks; /* of each entry, where what it has begins in records */
    size_t item_count, entry_capacity, mark_capacity;
    struct batch_records records;
    struct labels **targets;
    size_t target_count, target_capacity;
    struct page_use *pages;
    size_t page_count, page_capacity;
    struct family_use *families;
    size_t family_count, family_capacity;
    size_t named_families;                       /* of each page, one after the other */
    struct map target_map, page_map, family_map; /* to index + 1 */
    size_t estimate_bytes, layout_bytes;
    uint64_t shown_slots;       /* of all entries' pages, of those that only end as well */
    uint64_t claims;            /* BATCH_CLAIMS_PER_BYTE */
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
    batch_records_back(&writer->records, &(struct batch_mark){0});
    writer->item_count = 0;
    writer->target_count = writer->page_count = writer->family_count = writer->estimate_bytes = 0;
    writer->layout_bytes = writer->named_families = 0;
    writer->shown_slots = writer->claims = 0;
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
    mem_free(writer->entries);
    mem_free(writer->marks);
    batch_records_done(&writer->records);
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
    return writer->records.last_count;
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
    writer->named_families += item->page->count;
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
           writer->item_count == BATCH_ENTRIES_MAX || writer->records.extra_count > BATCH_EXTRAS_MAX ||
           writer->target_count == LAYOUT_TARGETS_MAX || writer->page_count == ENVELOPE_PAGES_MAX ||
           writer->named_families + item->page->count > BATCH_RECORDS_MAX;
}

/* Of what came since the mark. */
static size_t estimate_since(const struct batch_records *records, const struct batch_mark *mark)
{
    return (records->last_count - mark->last) * BYTES_PER_RECORD +
           (records->range_count - mark->range) * BYTES_PER_RANGE +
           (records->extra_count - mark->extra) * BYTES_PER_EXTRA + BYTES_PER_ENTRY;
}

int batch_writer_add(struct batch_writer *writer, const struct batch_item *item)
{
    ASSERT(item->round < BATCH_ROUNDS_MAX);
    ASSERT(writer->item_count == 0 || writer->entries[writer->item_count - 1].round <= item->round);
    size_t shown = layout_page_slots(item->page), layout_bytes = new_layout_bytes(writer, item);
    struct batch_mark mark = batch_records_mark(&writer->records);
    batch_records_take(&writer->records, item, item->count > 0 ? shown : 0);
    size_t estimate = estimate_since(&writer->records, &mark);
    if (is_too_much(writer, item, shown, estimate, layout_bytes)) {
        batch_records_back(&writer->records, &mark);
        return -EMSGSIZE;
    }
    writer->layout_bytes += layout_bytes;
    writer->shown_slots += shown;
    writer->estimate_bytes += estimate;
    writer->claims += BATCH_ENTRY_CLAIMS + item->page->count + shown + 2 * (writer->records.extra_count - mark.extra);
    writer->entries = grown(writer->entries, writer->item_count, 1, sizeof(*writer->entries), &writer->entry_capacity);
    writer->marks = grown(writer->marks, writer->item_count, 2, sizeof(*writer->marks), &writer->mark_capacity);
    writer->entries[writer->item_count] = (struct batch_entry){.round = item->round,
                                                               .target = index_of_target(writer, item->target),
                                                               .page = index_of_page(writer, item),
                                                               .time_ms = item->time_ms,
                                                               .count = item->count,
                                                               .stale_ms = item->stale_ms};
    writer->marks[writer->item_count++] = mark;
    writer->marks[writer->item_count] = batch_records_mark(&writer->records);
    return 0;
}

/* ---- Finishing ---- */

/* The families' members, as one array with a start per family (CSR). */
struct member_place {
    uint32_t entry;
    uint32_t base;              /* the family's first slot on the page */
    uint32_t range, odd, extra; /* the first of these that is of the family or behind it, from the entry's first on */
};

struct members {
    struct member_place *places;
    size_t *starts;              /* family_count + 1 */
    struct batch_member *chosen; /* scratch: of the family at hand */
};

static void count_members(const struct batch_writer *writer, size_t *starts)
{
    for (size_t i = 0; i < writer->item_count; i++) {
        const struct page_use *page = &writer->pages[writer->entries[i].page];
        for (uint32_t f = 0; f < page->layout->count && writer->entries[i].count > 0; f++)
            starts[page->families[f] + 1]++;
    }
    for (size_t f = 0; f < writer->family_count; f++)
        starts[f + 1] += starts[f];
}

/* What is rare of entry i lies in the order of its page's slots, as its families do. */
static void place_entry(const struct batch_writer *writer, size_t i, size_t *next, struct member_place *places)
{
    const struct page_use *page = &writer->pages[writer->entries[i].page];
    const struct batch_records *records = &writer->records;
    const struct batch_mark *mark = &writer->marks[i], *end = mark + 1;
    struct batch_mark at = *mark;
    uint32_t base = 0;
    for (uint32_t f = 0; f < page->layout->count; f++) {
        places[next[page->families[f]]++] = (struct member_place){.entry = (uint32_t)i,
                                                                  .base = base,
                                                                  .range = (uint32_t)(at.range - mark->range),
                                                                  .odd = (uint32_t)(at.odd - mark->odd),
                                                                  .extra = (uint32_t)(at.extra - mark->extra)};
        base += writer->families[page->families[f]].layout->count;
        while (at.range < end->range && records->ranges[at.range].index < base)
            at.range++;
        while (at.odd < end->odd && records->odds[at.odd].index < base)
            at.odd++;
        while (at.extra < end->extra && records->extras[at.extra].index < base)
            at.extra++;
    }
}

static void find_members(const struct batch_writer *writer, struct members *members)
{
    members->starts = mem_array(writer->family_count + 1, sizeof(*members->starts));
    count_members(writer, members->starts);
    members->places = mem_resize(NULL, members->starts[writer->family_count] + 1, sizeof(*members->places));
    CLEANUP_FREE size_t *next = mem_array(writer->family_count + 1, sizeof(*next));
    memcpy(next, members->starts, writer->family_count * sizeof(*next));
    for (size_t i = 0; i < writer->item_count; i++)
        if (writer->entries[i].count > 0)
            place_entry(writer, i, next, members->places);
}

static struct batch_member member_at(const struct batch_writer *writer, const struct batch_entries *entries,
                                     const struct member_place *place, size_t slots)
{
    const struct batch_records *records = &writer->records;
    const struct batch_mark *mark = &writer->marks[place->entry], *end = mark + 1;
    const struct batch_entry *entry = &entries->items[place->entry];
    size_t range = mark->range + place->range, odd = mark->odd + place->odd, extra = mark->extra + place->extra;
    uint32_t before = entries->before[place->entry], behind = place->base + (uint32_t)slots;
    struct batch_member member = {
        .time_ms = entry->time_ms, .count = entry->count, .round = entry->round, .base = place->base};
    if (records->last_count == 0)
        return member; /* pages without series: nothing was kept of them, not even room */
    ASSERT(records->lasts && records->ranges && records->odds);
    member.lasts = records->lasts + mark->last + place->base;
    member.ranges = records->ranges + range;
    member.odds = records->odds + odd;
    member.extras = records->extras ? records->extras + extra : NULL;
    if (before != BATCH_NONE)
        member.before = records->lasts + writer->marks[before].last + place->base;
    for (; range < end->range && records->ranges[range].index < behind; range++)
        member.range_count++;
    for (; odd < end->odd && records->odds[odd].index < behind; odd++)
        member.odd_count++;
    for (; member.extras && extra < end->extra && records->extras[extra].index < behind; extra++)
        member.extra_count++;
    return member;
}

/* Round by round. */
static void write_family(const struct batch_writer *writer, const struct batch_entries *entries,
                         const struct members *members, size_t f, struct batch_family *family)
{
    const struct member_place *places = members->places + members->starts[f];
    size_t count = members->starts[f + 1] - members->starts[f];
    for (size_t i = 0; i < count; i++)
        members->chosen[i] = member_at(writer, entries, &places[i], family->slots);
    for (size_t from = 0, end; from < count; from = end) {
        for (end = from + 1; end < count && members->chosen[end].round == members->chosen[from].round;)
            end++;
        family->members = members->chosen + from;
        family->member_count = end - from;
        batch_family_write(family);
    }
}

static void write_families(struct batch_writer *writer, const struct batch_entries *entries, struct members *members)
{
    size_t largest = 0, slots_max = 0, members_max = 0;
    for (size_t f = 0; f < writer->family_count; f++) {
        size_t slots = writer->families[f].layout->count, count = members->starts[f + 1] - members->starts[f];
        largest = MAX(largest, slots * count);
        slots_max = MAX(slots_max, slots);
        members_max = MAX(members_max, count);
    }
    struct batch_family family;
    batch_family_init(&family, largest, slots_max, &writer->header, &writer->payload);
    members->chosen = mem_resize(NULL, members_max, sizeof(*members->chosen));
    for (size_t f = 0; f < writer->family_count; f++) {
        family.slots = writer->families[f].layout->count;
        if (family.slots > 0)
            write_family(writer, entries, members, f, &family);
    }
    batch_family_done(&family);
}

static void members_done(struct members *members)
{
    mem_free(members->places);
    mem_free(members->starts);
    mem_free(members->chosen);
}

/* Compresses raw into out, or stores it as it is where that is smaller, or where the reader would not believe that so
 * few bytes hold so much. */
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
    bool believed = (raw->len <= BATCH_RAW_FREE_BYTES || raw->len / BATCH_RAW_RATIO_MAX < bytes) &&
                    writer->claims / BATCH_CLAIMS_PER_BYTE < bytes;
    if (!ZSTD_isError(bytes) && bytes < raw->len && believed) {
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
    for (size_t i = 0; i < writer->page_count; i++)
        writer->hashes[i] = writer->pages[i].layout->hash;
    envelope->targets = writer->target_list->hash;
    envelope->pages = writer->hashes;
    envelope->page_count = (uint32_t)writer->page_count;
    if (!table)
        return 0;
    int error = 0;
    uint32_t held = 0;
    while (error == 0 && held < envelope_layout_count(envelope)) {
        error = layout_table_hold(table, batch_writer_layout(writer, held));
        held += error == 0;
    }
    while (error < 0 && held > 0)
        layout_table_release(table, envelope_layout_at(envelope, --held));
    writer->held = error == 0;
    return error;
}

struct layout *batch_writer_layout(const struct batch_writer *writer, uint32_t index)
{
    ASSERT(index <= writer->page_count);
    return index == 0 ? writer->target_list : writer->pages[index - 1].layout;
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

/* A batch that claims more than it is long is made longer: a reader would not believe it. */
static void pad(struct batch_writer *writer)
{
    size_t len = writer->header.len + writer->payload.len, wanted = writer->claims / BATCH_CLAIMS_PER_BYTE + 1;
    uint8_t *room = len < wanted ? buf_reserve(&writer->payload, wanted - len) : NULL;
    if (!room)
        return;
    memset(room, 0, wanted - len);
    buf_added(&writer->payload, wanted - len);
}

static int write_body(struct batch_writer *writer, const struct envelope *envelope)
{
    buf_reset(&writer->header);
    buf_reset(&writer->payload);
    buf_reset(&writer->raw);
    CLEANUP_FREE uint32_t *before = mem_array(writer->item_count, sizeof(*before));
    struct batch_entries entries = {.items = writer->entries,
                                    .before = before,
                                    .count = writer->item_count,
                                    .window_start_ms = envelope->window_start_ms,
                                    .resolution_ms = envelope->resolution_ms};
    batch_entries_write(&entries, &writer->header, &writer->payload);
    CLEANUP(members_done) struct members members = {0};
    find_members(writer, &members);
    write_families(writer, &entries, &members);
    pad(writer);
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
    int error = write_body(writer, envelope);
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
