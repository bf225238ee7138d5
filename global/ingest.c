#include "ingest.h"
#include "base/fail.h"
#include "base/map.h"

#include <errno.h>

#define REF_UNRESOLVED (SERIES_REF_NONE - 1)
/* Slots of one row: what a scrape may have at most, with room. */
#define ROW_SLOTS_MAX BATCH_RECORDS_MAX

struct row { /* a target that shows a page */
    struct labels *target;
    struct hash128 page;
    char datacenter[SOURCE_NAME_BYTES_MAX + 1];
    int64_t used_ms;
    uint32_t slot_count;
    series_ref refs[];
};

struct ingest {
    struct store *store;
    struct families *families;
    struct map rows;
    uint64_t slots; /* of all rows */
    uint64_t generation;
    struct ingest_stats stats;
};

/* One batch being taken in. */
struct intake {
    struct ingest *ingest;
    struct batch_reader *reader;
    const struct envelope *envelope;
    const struct batch_entry *entries;
    size_t entry_count;
    struct row **rows; /* by entry */
};

struct ingest *ingest_new(struct store *store, struct families *families)
{
    struct ingest *ingest = mem_zalloc(sizeof(*ingest));
    ingest->store = store;
    ingest->families = families;
    ingest->generation = store_generation(store);
    map_init(&ingest->rows);
    return ingest;
}

static void row_free(struct row *row)
{
    labels_unref(row->target);
    mem_free(row);
}

static void drop_rows(struct ingest *ingest)
{
    size_t at = 0;
    for (struct row *row; (row = map_next(&ingest->rows, &at));)
        row_free(row);
    map_clear(&ingest->rows);
    ingest->slots = 0;
}

void ingest_free(struct ingest *ingest)
{
    if (!ingest)
        return;
    drop_rows(ingest);
    map_done(&ingest->rows);
    mem_free(ingest);
}

static void sweep(struct ingest *ingest, int64_t now_ms, int64_t age_max_ms)
{
    struct map kept;
    map_init(&kept);
    size_t at = 0;
    for (struct row *row; (row = map_next(&ingest->rows, &at));) {
        if (now_ms - row->used_ms > age_max_ms) {
            ingest->slots -= row->slot_count;
            row_free(row);
            continue;
        }
        map_put(&kept, labels_hash(row->target) ^ hash128_low(row->page), row);
    }
    map_done(&ingest->rows);
    ingest->rows = kept;
}

void ingest_sweep(struct ingest *ingest, int64_t now_ms)
{
    sweep(ingest, now_ms, INGEST_ROW_AGE_MS);
}

static bool is_full(const struct ingest *ingest)
{
    return ingest->rows.count > INGEST_ROWS_MAX || ingest->slots > INGEST_SLOTS_MAX;
}

/* Pages that were shown once (of remote write, at the borders of requests) go before those that come each minute. */
static void make_room(struct ingest *ingest, int64_t now_ms)
{
    sweep(ingest, now_ms, INGEST_ROW_SPARE_MS);
    if (ingest->rows.count > INGEST_ROWS_MAX / 2 || ingest->slots > INGEST_SLOTS_MAX / 2)
        drop_rows(ingest);
}

void ingest_stats(const struct ingest *ingest, struct ingest_stats *ret_stats)
{
    *ret_stats = ingest->stats;
    ret_stats->rows = ingest->rows.count;
}

/* The families behind their length; then row after row: labels of the target, page, datacenter, refs of its slots. For
 * this machine alone. */
void ingest_save(const struct ingest *ingest, struct buf *out)
{
    size_t at = 0;
    CLEANUP(buf_done) struct buf families = BUF_INIT(SIZE_MAX);
    families_save(ingest->families, &families);
    buf_append_uvarint(out, families.len);
    buf_append_str(out, buf_view(&families));
    if (ingest->generation != store_generation(ingest->store))
        return; /* all of them are about to go */
    for (const struct row *row; (row = map_next(&ingest->rows, &at));) {
        labels_encode(row->target, out);
        buf_append(out, row->page.bytes, sizeof(row->page.bytes));
        buf_append(out, row->datacenter, sizeof(row->datacenter));
        buf_append_uvarint(out, row->slot_count);
        buf_append(out, row->refs, row->slot_count * sizeof(series_ref));
    }
}

static struct row *load_row(struct reader *reader)
{
    CLEANUP(labels_unrefp) struct labels *target = labels_decode(reader);
    struct str page = reader_bytes(reader, sizeof(struct hash128));
    struct str datacenter = reader_bytes(reader, SOURCE_NAME_BYTES_MAX + 1);
    size_t count = reader_count(reader, sizeof(series_ref), ROW_SLOTS_MAX);
    struct str refs = reader_bytes(reader, count * sizeof(series_ref));
    if (reader->bad || !target || datacenter.ptr[SOURCE_NAME_BYTES_MAX] != 0)
        return NULL;
    struct row *row = mem_alloc(sizeof(*row) + count * sizeof(series_ref));
    *row = (struct row){.target = STEAL(target), .slot_count = (uint32_t)count};
    memcpy(row->page.bytes, page.ptr, page.len);
    memcpy(row->datacenter, datacenter.ptr, datacenter.len);
    memcpy(row->refs, refs.ptr, refs.len);
    return row;
}

void ingest_load(struct ingest *ingest, struct str saved, int64_t now_ms)
{
    struct reader reader = reader_of(saved.ptr, saved.len);
    families_load(ingest->families, reader_string(&reader, saved.len));
    ingest->generation = store_generation(ingest->store);
    map_reserve(&ingest->rows, MIN(saved.len / sizeof(struct row), (size_t)INGEST_ROWS_MAX));
    while (reader_left(&reader) > 0 && ingest->rows.count < INGEST_ROWS_MAX) {
        struct row *row = load_row(&reader);
        if (!row)
            return;
        for (uint32_t i = 0; i < row->slot_count; i++)
            if (!store_has(ingest->store, row->refs[i]))
                row->refs[i] = REF_UNRESOLVED;
        row->used_ms = now_ms;
        ingest->slots += row->slot_count;
        map_put(&ingest->rows, labels_hash(row->target) ^ hash128_low(row->page), row);
    }
}

/* ---- Rows ---- */

struct row_key {
    const struct labels *target;
    struct hash128 page;
    struct str datacenter;
};

static bool is_row(const void *item, const void *key)
{
    const struct row *row = item;
    const struct row_key *wanted = key;
    return hash128_equal(row->page, wanted->page) && str_equal(str_from(row->datacenter), wanted->datacenter) &&
           labels_equal(row->target, wanted->target);
}

/* Once for each target that shows a page: what a page says does not change. */
static void note_families(struct families *families, const struct layout *page)
{
    for (uint32_t i = 0; i < page->count; i++) {
        const struct layout *layout = page->families[i];
        families_note(families, &(struct family){.name = layout->name,
                                                 .help = layout->help,
                                                 .unit = layout->unit,
                                                 .type = layout->metric_type});
    }
}

static struct row *row_of(struct intake *intake, const struct batch_entry *entry, int64_t now_ms)
{
    struct ingest *ingest = intake->ingest;
    struct labels *target = batch_reader_targets(intake->reader)->targets[entry->target];
    struct row_key key = {target, batch_reader_page(intake->reader, entry->page)->hash,
                          envelope_series_datacenter(intake->envelope)};
    uint64_t hash = labels_hash(target) ^ hash128_low(key.page);
    struct row *row = map_get(&ingest->rows, hash, is_row, &key);
    if (!row) {
        uint64_t slots = batch_reader_page_slots(intake->reader, entry->page);
        if (slots > ROW_SLOTS_MAX)
            return NULL;
        row = mem_alloc(sizeof(*row) + slots * sizeof(series_ref));
        *row = (struct row){.target = labels_ref(target), .page = key.page, .slot_count = (uint32_t)slots};
        memcpy(row->datacenter, key.datacenter.ptr, key.datacenter.len);
        for (uint32_t i = 0; i < row->slot_count; i++)
            row->refs[i] = REF_UNRESOLVED;
        map_put(&ingest->rows, hash, row);
        ingest->slots += slots;
        note_families(ingest->families, batch_reader_page(intake->reader, entry->page));
    }
    row->used_ms = now_ms;
    return row;
}

static series_ref resolve(struct intake *intake, struct row *row, const struct layout *family, uint32_t slot,
                          uint32_t page_slot)
{
    if (row->refs[page_slot] != REF_UNRESOLVED)
        return row->refs[page_slot];
    struct labels *labels = layout_series(family, slot, row->target, str_from(row->datacenter));
    series_ref ref = SERIES_REF_NONE;
    if (labels)
        ref = store_series(intake->ingest->store, labels, family->slots[slot].kind);
    labels_unref(labels);
    row->refs[page_slot] = ref;
    intake->ingest->stats.rows_resolved_total++;
    return ref;
}

/* ---- Records ---- */

/* Extras of one record, and behind them room for its last value, should the target be gone. */
struct extras {
    struct sample items[BATCH_EXTRAS_OF_RECORD + 1];
    size_t count;
};

static void take_extras(const struct batch_block *block, uint32_t index, uint32_t *at, struct extras *extras)
{
    extras->count = 0;
    while (*at < block->extra_count && block->extras[*at].index < index)
        (*at)++;
    for (; *at < block->extra_count && block->extras[*at].index == index; (*at)++)
        if (extras->count < BATCH_EXTRAS_OF_RECORD)
            extras->items[extras->count++] = block->extras[*at].sample;
}

static bool is_of_window(const struct envelope *envelope, int64_t start_ms, const struct record *record,
                         const struct extras *extras)
{
    int64_t end_ms = start_ms + envelope->resolution_ms;
    int64_t first_ms = extras->count > 0 ? extras->items[0].time_ms : record->time_ms;
    return envelope->resolution_ms == 0 || (first_ms >= start_ms && record->time_ms < end_ms);
}

/* Samples that brought times of their own along, outside the window in which they were scraped: each by its time. */
static void append_plain(struct intake *intake, series_ref series, const struct record *record,
                         const struct extras *extras)
{
    for (size_t i = 0; i <= extras->count; i++) {
        struct sample sample = i < extras->count ? extras->items[i] : (struct sample){record->time_ms, record->last};
        struct record plain = {.time_ms = sample.time_ms, .last = sample.value, .kind = record->kind};
        plain.count = !value_is_stale(sample.value);
        record_fill_constant(&plain);
        store_append(intake->ingest->store, series, sample.time_ms, 0, &plain, NULL, 0);
    }
}

static void append_record(struct intake *intake, series_ref series, const struct batch_entry *entry,
                          const struct record *given, struct extras *extras)
{
    struct record record = *given;
    /* The target is gone: the value keeps its time, the marker ends the window. */
    if (entry->stale_ms > record.time_ms && !value_is_stale(record.last)) {
        extras->items[extras->count++] = (struct sample){.time_ms = record.time_ms, .value = record.last};
        record.time_ms = entry->stale_ms;
        record.last = value_stale();
    }
    int64_t start_ms = batch_round_start_ms(intake->envelope, entry->round);
    intake->ingest->stats.records_total++;
    if (is_of_window(intake->envelope, start_ms, &record, extras))
        store_append(intake->ingest->store, series, start_ms, intake->envelope->resolution_ms, &record, extras->items,
                     extras->count);
    else
        append_plain(intake, series, &record, extras);
}

/* Of the record `by` places behind the one at (slot, member). */
static void prefetch(const struct intake *intake, const struct batch_block *block, uint32_t slot, uint32_t member,
                     enum store_prefetch how)
{
    static const uint32_t distance[] = {
        [STORE_PREFETCH_FAR] = 48, [STORE_PREFETCH_NEAR] = 32, [STORE_PREFETCH_NEXT] = 16};
    member += distance[how];
    while (member >= block->entry_count) {
        member -= block->entry_count;
        slot++;
    }
    const struct row *row = slot < block->family->count ? intake->rows[block->entries[member]] : NULL;
    if (row)
        store_prefetch(intake->ingest->store, row->refs[block->first_slots[member] + slot], how);
}

static void take_block(struct intake *intake, const struct batch_block *block)
{
    struct store *store = intake->ingest->store;
    uint32_t extra_at = 0, held = 0, index = 0;
    struct extras extras;
    store_write_begin(store);
    for (uint32_t slot = 0; slot < block->family->count; slot++) {
        for (uint32_t m = 0; m < block->entry_count; m++, index++) {
            const struct record *record = &block->records[index];
            struct row *row = intake->rows[block->entries[m]];
            take_extras(block, index, &extra_at, &extras);
            prefetch(intake, block, slot, m, STORE_PREFETCH_FAR);
            prefetch(intake, block, slot, m, STORE_PREFETCH_NEAR);
            prefetch(intake, block, slot, m, STORE_PREFETCH_NEXT);
            if (!row || (record->count == 0 && !value_is_stale(record->last)))
                continue;
            series_ref series = resolve(intake, row, block->family, slot, block->first_slots[m] + slot);
            append_record(intake, series, &intake->entries[block->entries[m]], record, &extras);
            if (++held % STORE_BLOCK_RECORDS_MAX == 0) {
                store_write_end(store);
                store_write_begin(store);
            }
        }
    }
    store_write_end(store);
}

/* A target that gave nothing in this window and ended: a marker for all series of the page it showed last. */
static void end_target(struct intake *intake, const struct batch_entry *entry, struct row *row)
{
    const struct layout *page = batch_reader_page(intake->reader, entry->page);
    struct store *store = intake->ingest->store;
    int64_t start_ms = batch_round_start_ms(intake->envelope, entry->round);
    uint32_t page_slot = 0;
    store_write_begin(store);
    for (uint32_t f = 0; f < page->count; f++) {
        const struct layout *family = page->families[f];
        for (uint32_t slot = 0; slot < family->count; slot++, page_slot++) {
            struct record record = record_empty(family->slots[slot].kind);
            record.time_ms = entry->stale_ms;
            series_ref series = resolve(intake, row, family, slot, page_slot);
            store_append(store, series, start_ms, intake->envelope->resolution_ms, &record, NULL, 0);
            intake->ingest->stats.stale_markers_total++;
        }
    }
    store_write_end(store);
}

static int take_all(struct intake *intake)
{
    struct batch_block block;
    int more;
    while ((more = batch_reader_next(intake->reader, &block)) > 0)
        take_block(intake, &block);
    for (size_t i = 0; i < intake->entry_count; i++)
        if (intake->entries[i].count == 0 && intake->entries[i].stale_ms > 0 && intake->rows[i])
            end_target(intake, &intake->entries[i], intake->rows[i]);
    return more;
}

int ingest_batch(struct ingest *ingest, struct layout_table *table, uint64_t id, struct str batch, int64_t now_ms)
{
    store_set_position(ingest->store, id);
    CLEANUP(batch_reader_freep) struct batch_reader *reader = NULL;
    int error = batch_reader_open(batch.ptr, batch.len, table, &reader);
    if (error < 0) {
        ingest->stats.malformed_total++;
        return error;
    }
    if (ingest->generation != store_generation(ingest->store)) {
        drop_rows(ingest);
        ingest->generation = store_generation(ingest->store);
    }
    if (is_full(ingest))
        make_room(ingest, now_ms);
    struct intake intake = {.ingest = ingest, .reader = reader, .envelope = batch_reader_envelope(reader)};
    intake.entries = batch_reader_entries(reader, &intake.entry_count);
    CLEANUP_FREE struct row **rows = mem_array(intake.entry_count, sizeof(*rows));
    for (size_t i = 0; i < intake.entry_count; i++)
        if (intake.entries[i].count > 0 || intake.entries[i].stale_ms > 0)
            rows[i] = row_of(&intake, &intake.entries[i], now_ms);
    intake.rows = rows;
    ingest->stats.batches_total++;
    error = take_all(&intake);
    ingest->stats.malformed_total += error < 0;
    return error;
}
