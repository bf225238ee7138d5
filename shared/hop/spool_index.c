#include "base/crc.h"
#include "base/fail.h"
#include "hop/spool_internal.h"

#include <stdlib.h>

/* ---- Streams: the epochs of sources ---- */

struct stream_key {
    const struct source_id *source;
    uint64_t epoch;
};

static uint64_t stream_hash(const struct source_id *source, uint64_t epoch)
{
    uint64_t hash = hash64(source->datacenter.ptr, source->datacenter.len, source->incarnation ^ epoch);
    return hash64(source->secondary.ptr, source->secondary.len, hash);
}

static bool stream_is(const void *item, const void *key)
{
    const struct stream *stream = item;
    const struct stream_key *wanted = key;
    return stream->epoch == wanted->epoch && stream->source.incarnation == wanted->source->incarnation &&
           str_equal(stream->source.datacenter, wanted->source->datacenter) &&
           str_equal(stream->source.secondary, wanted->source->secondary);
}

static struct stream *stream_get(const struct spool *spool, const struct source_id *source, uint64_t epoch)
{
    struct stream_key key = {source, epoch};
    return map_get(&spool->streams, stream_hash(source, epoch), stream_is, &key);
}

static struct str own_text(struct str text)
{
    return str_of(mem_strndup(text.ptr, text.len), text.len);
}

static struct stream *stream_make(struct spool *spool, const struct source_id *source, uint64_t epoch)
{
    struct stream *stream = stream_get(spool, source, epoch);
    if (stream)
        return stream;
    stream = mem_zalloc(sizeof(*stream));
    stream->source = (struct source_id){own_text(source->datacenter), own_text(source->secondary), source->incarnation};
    stream->epoch = epoch;
    map_put(&spool->streams, stream_hash(source, epoch), stream);
    return stream;
}

static void stream_free(struct stream *stream)
{
    mem_free((char *)stream->source.datacenter.ptr);
    mem_free((char *)stream->source.secondary.ptr);
    mem_free(stream->items);
    mem_free(stream);
}

static void stream_unref(struct spool *spool, struct stream *stream)
{
    if (--stream->entries > 0)
        return;
    struct stream_key key = {&stream->source, stream->epoch};
    map_remove(&spool->streams, stream_hash(&stream->source, stream->epoch), stream_is, &key);
    stream_free(stream);
}

static bool item_is_over(const struct spool *spool, struct stream_item item)
{
    const struct spool_entry *entry = index_find(spool, item.id, NULL);
    return !entry || entry_is_delivered(spool, entry);
}

/* Leaves out what is over. Behind an item that is not (of a consumer that has been gone for long) they pile up. */
static void stream_compact(const struct spool *spool, struct stream *stream)
{
    size_t kept = 0;
    for (size_t i = 0; i < stream->count; i++) {
        struct stream_item item = stream->items[stream->head + i];
        if (!item_is_over(spool, item))
            stream->items[kept++] = item;
    }
    stream->head = 0;
    stream->count = kept;
}

/* Nearly always at the end: only a backlog and gaps come out of order. */
static void stream_insert(const struct spool *spool, struct stream *stream, uint64_t seq, uint64_t id)
{
    if (stream->head + stream->count == stream->capacity) {
        stream_compact(spool, stream);
        if (stream->count > stream->capacity / 2 || stream->capacity == 0) {
            stream->capacity = MAX(stream->capacity * 2, (size_t)8);
            stream->items = mem_resize(stream->items, stream->capacity, sizeof(*stream->items));
        }
    }
    struct stream_item *items = stream->items + stream->head;
    size_t place = stream->count;
    while (place > 0 && items[place - 1].seq > seq) {
        items[place] = items[place - 1];
        place--;
    }
    items[place] = (struct stream_item){seq, id};
    stream->count++;
}

static void stream_trim(const struct spool *spool, struct stream *stream)
{
    while (stream->count > 0 && item_is_over(spool, stream->items[stream->head])) {
        stream->head++;
        stream->count--;
    }
    if (stream->count == 0)
        stream->head = 0;
}

/* How many items have this seq or a smaller one. */
static size_t items_through(const struct stream *stream, uint64_t seq)
{
    size_t low = 0;
    size_t high = stream->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (stream->items[stream->head + middle].seq <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- Finding ---- */

struct segment *segment_of_id(const struct spool *spool, uint64_t id)
{
    uint64_t number = id >> 32;
    size_t low = 0;
    size_t high = spool->segment_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (spool->segments[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < spool->segment_count && spool->segments[low]->number == number ? spool->segments[low] : NULL;
}

struct spool_entry *index_find(const struct spool *spool, uint64_t id, struct segment **ret_segment)
{
    struct segment *segment = segment_of_id(spool, id);
    if (!segment)
        return NULL;
    uint32_t offset = (uint32_t)id;
    size_t low = 0;
    size_t high = segment->entry_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (segment->entries[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == segment->entry_count || segment->entries[low].offset != offset)
        return NULL;
    if (ret_segment)
        *ret_segment = segment;
    return &segment->entries[low];
}

struct spool_batch entry_batch(const struct segment *segment, const struct spool_entry *entry)
{
    return (struct spool_batch){
        .id = entry_id(segment, entry),
        .is_gap = entry->is_gap,
        .source = entry->stream->source,
        .epoch = entry->stream->epoch,
        .seq = entry->seq,
        .seq_end = entry->seq_end,
        .replaces = entry->replaces,
        .window_start_ms = entry->window_start_ms,
        .window_end_ms = entry->window_start_ms + entry->window_ms,
        .bytes = entry->bytes,
    };
}

/* ---- States: changed by index_set_state alone, counted by count_entry ---- */

bool entry_is_delivered(const struct spool *spool, const struct spool_entry *entry)
{
    uint32_t all =
        spool->consumer_count == SPOOL_CONSUMERS_MAX ? UINT32_MAX : ((uint32_t)1 << (2 * spool->consumer_count)) - 1;
    return spool->consumer_count > 0 && (entry->states & all) == all;
}

/* Adds (+1) or takes away (-1) what the entry counts for in the consumer's sums. */
static void count_entry(struct spool *spool, struct segment *segment, const struct spool_entry *entry, size_t consumer,
                        int sign)
{
    enum batch_state state = entry_state(entry, consumer);
    segment->views[consumer].states[state] += (uint32_t)sign;
    if (state == BATCH_STORED)
        entry->stream->stored[consumer] += (uint32_t)sign;
    if (state == BATCH_PENDING || state == BATCH_IN_FLIGHT) {
        spool->consumers[consumer].pending += (uint64_t)sign;
        spool->consumers[consumer].pending_bytes += (uint64_t)((int64_t)entry->bytes * sign);
    }
}

static void note_pending(struct segment *segment, const struct spool_entry *entry, size_t consumer)
{
    struct segment_view *view = &segment->views[consumer];
    size_t place = (size_t)(entry - segment->entries);
    bool was_none = view->first >= view->end;
    view->first = was_none ? place : MIN(view->first, place);
    view->end = was_none ? place + 1 : MAX(view->end, place + 1);
}

void index_set_state(struct spool *spool, struct segment *segment, struct spool_entry *entry, size_t consumer,
                     enum batch_state state)
{
    ASSERT(consumer < spool->consumer_count);
    bool was_delivered = entry_is_delivered(spool, entry);
    count_entry(spool, segment, entry, consumer, -1);
    entry->states = (entry->states & ~((uint32_t)3 << (2 * consumer))) | (uint32_t)state << (2 * consumer);
    count_entry(spool, segment, entry, consumer, 1);
    if (state == BATCH_PENDING)
        note_pending(segment, entry, consumer);
    if (was_delivered == entry_is_delivered(spool, entry))
        return;
    if (was_delivered)
        segment->undelivered++;
    else if (--segment->undelivered == 0)
        spool->segment_done = true;
}

static uint32_t length_ms(const struct spool_batch *batch)
{
    int64_t length = batch->window_end_ms - batch->window_start_ms;
    return (uint32_t)MAX((int64_t)0, MIN(length, (int64_t)UINT32_MAX));
}

void index_add(struct spool *spool, struct segment *segment, const struct spool_batch *batch, uint32_t offset,
               uint32_t states)
{
    if (segment->entry_count == segment->entry_capacity) {
        segment->entry_capacity = MAX(segment->entry_capacity * 2, (size_t)16);
        segment->entries = mem_resize(segment->entries, segment->entry_capacity, sizeof(*segment->entries));
    }
    struct spool_entry *entry = &segment->entries[segment->entry_count++];
    *entry = (struct spool_entry){
        .stream = stream_make(spool, &batch->source, batch->epoch),
        .seq = batch->seq,
        .seq_end = batch->seq_end,
        .replaces = batch->replaces,
        .window_start_ms = batch->window_start_ms,
        .window_ms = length_ms(batch),
        .offset = offset,
        .bytes = (uint32_t)batch->bytes & (INT32_MAX >> 1),
        .is_gap = batch->is_gap,
        .states = states,
    };
    entry->stream->entries++;
    for (size_t i = 0; i < spool->consumer_count; i++) {
        count_entry(spool, segment, entry, i, 1);
        if (entry_state(entry, i) == BATCH_PENDING)
            note_pending(segment, entry, i);
    }
    if (!entry_is_delivered(spool, entry)) {
        segment->undelivered++;
        if (spool->consumer_count > 0)
            stream_insert(spool, entry->stream, batch->from_seq ? batch->from_seq : batch->seq,
                          entry_id(segment, entry));
    }
    bool is_first = segment->entry_count == 1;
    int64_t end_ms = entry->window_start_ms + entry->window_ms;
    segment->oldest_window_ms =
        is_first ? entry->window_start_ms : MIN(segment->oldest_window_ms, entry->window_start_ms);
    segment->newest_window_ms = is_first ? end_ms : MAX(segment->newest_window_ms, end_ms);
    spool->batches++;
}

void index_cut(struct spool *spool, struct segment *segment, size_t entry_count)
{
    while (segment->entry_count > entry_count) {
        struct spool_entry *entry = &segment->entries[segment->entry_count - 1];
        for (size_t i = 0; i < spool->consumer_count; i++)
            count_entry(spool, segment, entry, i, -1);
        if (!entry_is_delivered(spool, entry))
            segment->undelivered--;
        stream_unref(spool, entry->stream);
        segment->entry_count--;
        spool->batches--;
    }
    for (size_t i = 0; i < spool->consumer_count; i++)
        segment->views[i].end = MIN(segment->views[i].end, entry_count);
}

void index_done(struct spool *spool)
{
    struct stream *stream;
    for (size_t at = 0; (stream = map_next(&spool->streams, &at));)
        stream_free(stream);
    map_done(&spool->streams);
}

/* ---- For gaps ---- */

uint64_t index_gap_beside(const struct spool *spool, const struct stream *stream, const struct spool_batch *gap,
                          bool behind)
{
    if (behind ? gap->seq_end == UINT64_MAX : gap->seq == 1)
        return 0;
    for (size_t i = items_through(stream, behind ? gap->seq_end + 1 : gap->seq - 1); i > 0; i--) {
        struct stream_item item = stream->items[stream->head + i - 1];
        if (item_is_over(spool, item))
            continue;
        const struct spool_entry *entry = index_find(spool, item.id, NULL);
        bool touches = behind ? entry->seq == gap->seq_end + 1 : entry->seq_end == gap->seq - 1;
        return entry->is_gap && touches ? item.id : 0;
    }
    return 0;
}

void index_give_up(struct spool *spool, uint64_t id)
{
    struct segment *segment;
    struct spool_entry *entry = id != 0 ? index_find(spool, id, &segment) : NULL;
    for (size_t i = 0; entry && i < spool->consumer_count; i++) {
        if (entry_state(entry, i) == BATCH_DELIVERED)
            continue;
        index_set_state(spool, segment, entry, i, BATCH_DELIVERED);
        position_moved(spool, i);
    }
}

/* ---- For senders ---- */

static uint64_t pending_in(struct segment *segment, size_t consumer, bool newest)
{
    struct segment_view *view = &segment->views[consumer];
    if (view->states[BATCH_PENDING] == 0)
        return 0;
    while (view->first < view->end) {
        size_t place = newest ? view->end - 1 : view->first;
        if (entry_state(&segment->entries[place], consumer) == BATCH_PENDING)
            return entry_id(segment, &segment->entries[place]);
        if (newest)
            view->end--;
        else
            view->first++;
    }
    return 0;
}

bool spool_has(const struct spool *spool, uint64_t id)
{
    return index_find(spool, id, NULL) != NULL;
}

uint64_t spool_pending(const struct spool *spool, size_t consumer)
{
    ASSERT(consumer < spool->consumer_count);
    return spool->consumers[consumer].pending;
}

uint64_t spool_next_pending(const struct spool *spool, size_t consumer, bool newest)
{
    ASSERT(consumer < spool->consumer_count);
    for (size_t i = 0; i < spool->segment_count; i++) {
        size_t place = newest ? spool->segment_count - 1 - i : i;
        uint64_t id = pending_in(spool->segments[place], consumer, newest);
        if (id != 0)
            return id;
    }
    return 0;
}

void spool_set_in_flight(struct spool *spool, size_t consumer, uint64_t id, bool in_flight)
{
    struct segment *segment;
    struct spool_entry *entry = index_find(spool, id, &segment);
    enum batch_state from = in_flight ? BATCH_PENDING : BATCH_IN_FLIGHT;
    if (entry && entry_state(entry, consumer) == from)
        index_set_state(spool, segment, entry, consumer, in_flight ? BATCH_IN_FLIGHT : BATCH_PENDING);
}

bool spool_is_waiting(const struct spool *spool, size_t consumer, uint64_t id)
{
    const struct spool_entry *entry = index_find(spool, id, NULL);
    return entry && entry_state(entry, consumer) == BATCH_PENDING;
}

void spool_give_up(struct spool *spool, uint64_t id)
{
    index_give_up(spool, id);
    segments_free_delivered(spool);
}

void spool_set_stored(struct spool *spool, size_t consumer, uint64_t id)
{
    struct segment *segment;
    struct spool_entry *entry = index_find(spool, id, &segment);
    if (!entry || entry_state(entry, consumer) >= BATCH_STORED)
        return;
    index_set_state(spool, segment, entry, consumer, BATCH_STORED);
    position_moved(spool, consumer);
}

void spool_set_refused(struct spool *spool, size_t consumer, uint64_t id)
{
    struct segment *segment;
    struct spool_entry *entry = index_find(spool, id, &segment);
    if (!entry || entry_state(entry, consumer) == BATCH_DELIVERED)
        return;
    index_set_state(spool, segment, entry, consumer, BATCH_DELIVERED);
    position_moved(spool, consumer);
    stream_trim(spool, entry->stream);
    segments_free_delivered(spool);
}

static int by_id(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

void spool_set_delivered(struct spool *spool, size_t consumer, const struct spool_mark *mark)
{
    ASSERT(consumer < spool->consumer_count);
    struct stream *stream = stream_get(spool, &mark->source, mark->epoch);
    if (!stream || stream->stored[consumer] == 0)
        return;
    /* From the newest down until all that is stored was met: what is before them may be long, where another consumer
     * takes nothing. */
    for (size_t i = items_through(stream, mark->seq); i > 0 && stream->stored[consumer] > 0; i--) {
        struct segment *segment;
        uint64_t id = stream->items[stream->head + i - 1].id;
        struct spool_entry *entry = index_find(spool, id, &segment);
        if (mark->except_count > 0 && bsearch(&id, mark->except, mark->except_count, sizeof(id), by_id))
            continue;
        if (entry && entry->seq_end <= mark->seq && entry_state(entry, consumer) == BATCH_STORED)
            index_set_state(spool, segment, entry, consumer, BATCH_DELIVERED);
    }
    position_moved(spool, consumer);
    stream_trim(spool, stream);
    segments_free_delivered(spool);
}

bool spool_set_upstream(struct spool *spool, size_t consumer, uint64_t incarnation)
{
    ASSERT(consumer < spool->consumer_count);
    uint64_t before = spool->consumers[consumer].upstream;
    if (before == incarnation)
        return false;
    spool->consumers[consumer].upstream = incarnation;
    position_moved(spool, consumer);
    for (size_t i = 0; before != 0 && i < spool->segment_count; i++) {
        struct segment *segment = spool->segments[i];
        for (size_t j = 0; segment->views[consumer].states[BATCH_STORED] > 0 && j < segment->entry_count; j++)
            if (entry_state(&segment->entries[j], consumer) == BATCH_STORED)
                index_set_state(spool, segment, &segment->entries[j], consumer, BATCH_PENDING);
    }
    return before != 0;
}

bool spool_next_stored(const struct spool *spool, size_t consumer, size_t *at, struct source_id *ret_source,
                       uint64_t *ret_epoch)
{
    const struct stream *stream;
    while ((stream = map_next(&spool->streams, at))) {
        if (stream->stored[consumer] == 0)
            continue;
        *ret_source = stream->source;
        *ret_epoch = stream->epoch;
        return true;
    }
    return false;
}

uint64_t spool_delivered_through(const struct spool *spool, const struct source_id *source, uint64_t epoch)
{
    const struct stream *stream = stream_get(spool, source, epoch);
    for (size_t i = 0; stream && i < stream->count; i++) {
        struct stream_item item = stream->items[stream->head + i];
        if (!item_is_over(spool, item))
            return item.seq - 1;
    }
    return seqlog_highest(spool->seen, source, epoch);
}
