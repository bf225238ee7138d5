#include "remote_write.h"
#include "base/fail.h"
#include "base/map.h"
#include "snappy_block.h"

#define LABELS_BYTES_MAX (1 * MIB)

struct series { /* its labels as they stand in each request */
    struct labels *target;
    struct hash128 page;
    uint32_t slot; /* of the page */
    size_t bytes;
    uint8_t labels[];
};

struct point {
    const struct series *series; /* NULL: no sample */
    struct sample sample;
};

struct span { /* an entry's points */
    uint32_t target, begin, end;
};

struct remote_write {
    struct map series;
    struct span *spans;
    size_t span_count;
    struct point *points;
    struct buf raw, labels;
};

struct remote_write *remote_write_new(void)
{
    struct remote_write *remote = mem_zalloc(sizeof(*remote));
    map_init(&remote->series);
    buf_init(&remote->raw, SNAPPY_BLOCK_BYTES_MAX);
    buf_init(&remote->labels, LABELS_BYTES_MAX);
    return remote;
}

void remote_write_free(struct remote_write *remote)
{
    if (!remote)
        return;
    size_t at = 0;
    for (struct series *series; (series = map_next(&remote->series, &at));) {
        labels_unref(series->target);
        mem_free(series);
    }
    map_done(&remote->series);
    mem_free(remote->spans);
    mem_free(remote->points);
    buf_done(&remote->raw);
    buf_done(&remote->labels);
    mem_free(remote);
}

/* ---- Series ---- */

static size_t uvarint_bytes(uint64_t value)
{
    size_t bytes = 1;
    for (; value >= 128; value >>= 7)
        bytes++;
    return bytes;
}

static void add_text(struct buf *out, uint8_t tag, struct str text)
{
    buf_append_byte(out, tag);
    buf_append_uvarint(out, text.len);
    buf_append_str(out, text);
}

/* repeated Label labels = 1 { string name = 1; string value = 2; } */
static void encode_labels(const struct labels *labels, struct buf *out)
{
    for (size_t i = 0; i < labels_count(labels); i++) {
        struct label label = labels_at(labels, i);
        size_t name_bytes = 1 + uvarint_bytes(label.name.len) + label.name.len;
        buf_append_byte(out, 0x0a);
        buf_append_uvarint(out, name_bytes + 1 + uvarint_bytes(label.value.len) + label.value.len);
        add_text(out, 0x0a, label.name);
        add_text(out, 0x12, label.value);
    }
}

struct series_key {
    const struct labels *target;
    struct hash128 page;
    uint32_t slot;
};

static bool is_series(const void *item, const void *key)
{
    const struct series *series = item;
    const struct series_key *wanted = key;
    return series->slot == wanted->slot && hash128_equal(series->page, wanted->page) &&
           labels_equal(series->target, wanted->target);
}

/* A batch that is being taken. */
struct intake {
    struct remote_write *remote;
    const struct batch_reader *reader;
    const struct batch_entry *entries;
    const struct batch_block *block;
};

/* Of a slot of the block's family on an entry's target. */
static const struct series *series_of(struct intake *intake, const struct batch_entry *entry, uint32_t slot,
                                      uint32_t page_slot)
{
    struct remote_write *remote = intake->remote;
    struct labels *target = batch_reader_targets(intake->reader)->targets[entry->target];
    struct series_key key = {target, batch_reader_page(intake->reader, entry->page)->hash, page_slot};
    uint64_t parts[] = {labels_hash(target), hash128_low(key.page), page_slot};
    uint64_t hash = str_hash(str_of(parts, sizeof(parts)));
    struct series *series = map_get(&remote->series, hash, is_series, &key);
    if (series)
        return series;
    struct str datacenter = batch_reader_envelope(intake->reader)->source.datacenter;
    CLEANUP(labels_unrefp) struct labels *labels = layout_series(intake->block->family, slot, target, datacenter);
    ASSERT(labels);
    buf_reset(&remote->labels);
    encode_labels(labels, &remote->labels);
    ASSERT(!remote->labels.full);
    series = mem_alloc(sizeof(*series) + remote->labels.len);
    *series = (struct series){labels_ref(target), key.page, page_slot, remote->labels.len};
    memcpy(series->labels, remote->labels.data, remote->labels.len);
    map_put(&remote->series, hash, series);
    return series;
}

/* ---- A batch ---- */

static uint32_t make_spans(struct remote_write *remote, const struct batch_reader *reader,
                           const struct batch_entry *entries, size_t count)
{
    uint32_t points = 0;
    remote->spans = mem_resize(remote->spans, count, sizeof(*remote->spans));
    remote->span_count = count;
    for (size_t i = 0; i < count; i++) {
        uint32_t slots = entries[i].count > 0 ? (uint32_t)batch_reader_page_slots(reader, entries[i].page) : 0;
        remote->spans[i] = (struct span){entries[i].target, points, points + slots};
        points += slots;
    }
    return points;
}

static void take_block(struct intake *intake)
{
    const struct batch_block *block = intake->block;
    uint32_t index = 0;
    ASSERT(block->round == 0 && block->extra_count == 0);
    for (uint32_t slot = 0; slot < block->family->count; slot++) {
        for (uint32_t member = 0; member < block->entry_count; member++, index++) {
            const struct record *record = &block->records[index];
            uint32_t entry = block->entries[member], page_slot = block->first_slots[member] + slot;
            if (record->count == 0 && !value_is_stale(record->last))
                continue;
            ASSERT(record->count <= 1);
            intake->remote->points[intake->remote->spans[entry].begin + page_slot] = (struct point){
                series_of(intake, &intake->entries[entry], slot, page_slot), {record->time_ms, record->last}};
        }
    }
}

uint32_t remote_write_take(struct remote_write *remote, struct batch_reader *reader)
{
    size_t count;
    struct batch_block block;
    struct intake intake = {remote, reader, batch_reader_entries(reader, &count), &block};
    uint32_t points = make_spans(remote, reader, intake.entries, count);
    mem_free(remote->points);
    remote->points = mem_array(points, sizeof(*remote->points));
    int more;
    while ((more = batch_reader_next(reader, &block)) > 0)
        take_block(&intake);
    ASSERT(more == 0);
    return batch_reader_targets(reader)->count;
}

/* repeated TimeSeries timeseries = 1 { labels = 1; repeated Sample samples = 2 { double value = 1; int64 timestamp = 2;
 * } } */
static void add_point(struct buf *out, const struct point *point)
{
    size_t sample_bytes = 1 + sizeof(double) + 1 + uvarint_bytes((uint64_t)point->sample.time_ms);
    buf_append_byte(out, 0x0a);
    buf_append_uvarint(out, point->series->bytes + 2 + sample_bytes);
    buf_append(out, point->series->labels, point->series->bytes);
    buf_append_byte(out, 0x12);
    buf_append_byte(out, (uint8_t)sample_bytes);
    buf_append_byte(out, 0x09);
    buf_append_le64(out, double_bits(point->sample.value));
    buf_append_byte(out, 0x10);
    buf_append_uvarint(out, (uint64_t)point->sample.time_ms);
}

uint32_t remote_write_request(struct remote_write *remote, uint32_t from, uint32_t count, struct buf *out)
{
    uint32_t samples = 0;
    buf_reset(&remote->raw);
    for (size_t i = 0; i < remote->span_count; i++) {
        const struct span *span = &remote->spans[i];
        for (uint32_t at = span->begin; span->target - from < count && at < span->end; at++) {
            if (!remote->points[at].series)
                continue;
            add_point(&remote->raw, &remote->points[at]);
            samples++;
        }
    }
    ASSERT(!remote->raw.full && snappy_block_append(out, buf_view(&remote->raw)) == 0);
    return samples;
}
