#include "base/fail.h"
#include "write/convert_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define RUN_MAX     (BATCH_EXTRAS_OF_RECORD + 1) /* samples of a series in one record */
#define SOURCES_MAX 4096                         /* names that batches were numbered for; configurations change */

/* ---- Batches ---- */

static int by_series(const void *left, const void *right)
{
    const struct taken *a = left, *b = right;
    if (a->target != b->target)
        return a->target < b->target ? -1 : 1;
    int order = memcmp(a->series.slot.bytes, b->series.slot.bytes, sizeof(a->series.slot.bytes));
    return order != 0 ? order : a->order < b->order ? -1 : 1;
}

static bool is_same_series(const struct taken *a, const struct taken *b)
{
    return a->target == b->target && hash128_equal(a->series.slot, b->series.slot);
}

struct group {              /* the messages of one series, next to each other in `taken` */
    uint32_t target, order; /* of the first message */
    uint32_t from, to;
};

static int by_arrival(const void *left, const void *right)
{
    const struct group *a = left, *b = right;
    if (a->target != b->target)
        return a->target < b->target ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

/* Target after target, the series of each in the order in which they came: that of the page that was scraped. Returns
 * how many. */
static size_t group_series(struct convert *convert, struct group *groups)
{
    size_t count = 0;
    if (convert->taken_count == 0)
        return 0;
    qsort(convert->taken, convert->taken_count, sizeof(*convert->taken), by_series);
    for (size_t from = 0, to; from < convert->taken_count; from = to) {
        const struct taken *first = &convert->taken[from];
        for (to = from + 1; to < convert->taken_count && is_same_series(first, &convert->taken[to]);)
            to++;
        groups[count++] = (struct group){first->target, first->order, (uint32_t)from, (uint32_t)to};
    }
    qsort(groups, count, sizeof(*groups), by_arrival);
    return count;
}

uint64_t *convert_last_seq(struct convert *convert)
{
    const struct convert_request *request = convert->request;
    for (size_t i = 0; i < convert->sequence_count; i++) {
        struct sequence *sequence = &convert->sequences[i];
        if (strcmp(sequence->source, request->source) == 0 && strcmp(sequence->datacenter, request->datacenter) == 0)
            return &sequence->last;
    }
    if (convert->sequence_count == SOURCES_MAX)
        return NULL;
    convert->sequences = mem_resize(convert->sequences, convert->sequence_count + 1, sizeof(*convert->sequences));
    struct sequence *sequence = &convert->sequences[convert->sequence_count++];
    *sequence = (struct sequence){0};
    snprintf(sequence->source, sizeof(sequence->source), "%s", request->source);
    snprintf(sequence->datacenter, sizeof(sequence->datacenter), "%s", request->datacenter);
    return &sequence->last;
}

/* The hashes and layouts outlive the writer's. */
static void own_layouts(struct convert *convert, struct convert_batch *batch)
{
    struct envelope *envelope = &batch->envelope;
    struct hash128 *pages = mem_array(envelope->page_count, sizeof(*pages));
    memcpy(pages, envelope->pages, envelope->page_count * sizeof(*pages));
    envelope->pages = pages;
    batch->layouts = mem_array(envelope_layout_count(envelope), sizeof(struct layout *));
    for (uint32_t i = 0; i < envelope_layout_count(envelope); i++)
        batch->layouts[i] = layout_ref(batch_writer_layout(convert->writer, i));
}

static int finish_batch(struct convert *convert)
{
    struct convert_result *result = convert->result;
    if (batch_writer_entries(convert->writer) == 0)
        return 0;
    const struct convert_request *request = convert->request;
    uint64_t *seq = convert_last_seq(convert);
    if (!seq)
        return -EMSGSIZE;
    struct convert_batch batch = {
        .bytes = BUF_INIT(BATCH_BYTES_MAX),
        .envelope = {.source = {str_from(request->datacenter), str_from(request->source), convert->options.incarnation},
                     .epoch = convert->options.epoch,
                     .seq = *seq + 1,
                     .window_start_ms = convert->from_ms,
                     .span_ms = convert->to_ms - convert->from_ms + 1,
                     .sealed_at_ms = request->now_ms,
                     .is_remote_write = true}};
    int error = batch_writer_finish(convert->writer, &batch.envelope, NULL, &batch.bytes);
    if (error < 0) {
        buf_done(&batch.bytes);
        return error;
    }
    (*seq)++;
    own_layouts(convert, &batch);
    batch_writer_reset(convert->writer);
    result->batches = mem_resize(result->batches, result->batch_count + 1, sizeof(*result->batches));
    result->batches[result->batch_count++] = batch;
    return 0;
}

static int add_item(struct convert *convert, const struct batch_item *item, int64_t from_ms, int64_t to_ms)
{
    int error = batch_writer_add(convert->writer, item);
    if (error == -EMSGSIZE && batch_writer_entries(convert->writer) > 0) {
        error = finish_batch(convert);
        if (error == 0)
            error = batch_writer_add(convert->writer, item);
    }
    if (error < 0)
        return error;
    bool first = batch_writer_entries(convert->writer) == 1;
    convert->from_ms = first ? from_ms : MIN(convert->from_ms, from_ms);
    convert->to_ms = first ? to_ms : MAX(convert->to_ms, to_ms);
    return 0;
}

/* ---- Pages ---- */

struct row {                      /* a series of the page that is being written */
    const struct sample *samples; /* in order of time, each time once */
    size_t count, done;
};

struct timed {
    struct sample sample;
    size_t order;
};

static int by_time(const void *left, const void *right)
{
    const struct timed *a = left, *b = right;
    if (a->sample.time_ms != b->sample.time_ms)
        return a->sample.time_ms < b->sample.time_ms ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

/* Of samples of one time the first one stays, as in the store. */
static size_t sort_samples(struct sample *samples, size_t count)
{
    CLEANUP_FREE struct timed *timed = mem_array(count, sizeof(*timed));
    for (size_t i = 0; i < count; i++)
        timed[i] = (struct timed){samples[i], i};
    qsort(timed, count, sizeof(*timed), by_time);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (i == 0 || timed[i].sample.time_ms != timed[i - 1].sample.time_ms)
            samples[kept++] = timed[i].sample;
    return kept;
}

/* The samples of one series. */
static struct row row_of(struct convert *convert, const struct group *group)
{
    size_t from = group->from, to = group->to, count = 0;
    bool sorted = true;
    for (size_t i = from; i < to; i++)
        count += convert->taken[i].sample_count;
    if (count == 1)
        return (struct row){.samples = &convert->samples[convert->taken[from].first_sample], .count = 1};
    struct sample *samples = arena_array(&convert->scratch, count, sizeof(*samples));
    ASSERT(samples); /* no ceiling */
    size_t at = 0;
    for (size_t i = from; i < to; i++) {
        for (uint32_t j = 0; j < convert->taken[i].sample_count; j++, at++) {
            samples[at] = convert->samples[convert->taken[i].first_sample + j];
            sorted &= at == 0 || samples[at - 1].time_ms < samples[at].time_ms;
        }
    }
    return (struct row){.samples = samples, .count = sorted ? count : sort_samples(samples, count)};
}

struct chunk { /* series of one target that become a page */
    const struct group *groups;
    size_t from, to; /* of the groups */
    struct pages_series *series;
    struct row *rows;
    size_t count;
    struct record *records;
    struct record_extra *extras;
    size_t extra_count;
};

/* The next samples of a series: the last of them is the record, those before are its extras. */
static void fill_record(struct chunk *chunk, size_t index, struct batch_item *item)
{
    struct row *row = &chunk->rows[index];
    struct record *record = &chunk->records[index];
    size_t run = MIN(row->count - row->done, (size_t)RUN_MAX);
    uint8_t kind = record->kind;
    *record = (struct record){.time_ms = item->time_ms, .kind = kind}; /* says nothing */
    for (size_t i = 0; i + 1 < run; i++)
        chunk->extras[chunk->extra_count++] =
            (struct record_extra){.index = (uint32_t)index, .sample = row->samples[row->done + i]};
    if (run > 0) {
        struct sample last = row->samples[row->done + run - 1];
        record->time_ms = last.time_ms;
        record->last = last.value;
        record->count = !value_is_stale(last.value);
        row->done += run;
    }
    record_fill_constant(record);
}

static void set_kinds(const struct layout *page, struct record *records)
{
    size_t at = 0;
    for (uint32_t f = 0; f < page->count; f++)
        for (uint32_t slot = 0; slot < page->families[f]->count; slot++)
            records[at++].kind = page->families[f]->slots[slot].kind;
}

/* One item has RUN_MAX samples of each series at most; what is more follows in others. */
static int write_items(struct convert *convert, struct chunk *chunk, struct layout *page)
{
    struct batch_item item = {.target = convert->targets[chunk->groups[chunk->from].target].labels,
                              .page = page,
                              .count = 1,
                              .records = chunk->records,
                              .extras = chunk->extras};
    size_t left = 1;
    while (left > 0) {
        int64_t from_ms = INT64_MAX, to_ms = INT64_MIN;
        left = chunk->extra_count = 0;
        for (size_t i = 0; i < chunk->count; i++) {
            const struct row *row = &chunk->rows[i];
            if (row->done == row->count)
                continue;
            size_t last = MIN(row->count, row->done + RUN_MAX) - 1;
            from_ms = MIN(from_ms, row->samples[row->done].time_ms);
            to_ms = MAX(to_ms, row->samples[last].time_ms);
            left += row->count - 1 - last;
            item.time_ms = row->samples[last].time_ms; /* of any: those of one scrape have the same */
        }
        for (size_t i = 0; i < chunk->count; i++)
            fill_record(chunk, i, &item);
        item.extra_count = chunk->extra_count;
        int error = add_item(convert, &item, from_ms, to_ms);
        if (error < 0)
            return error;
    }
    return 0;
}

static int write_chunk(struct convert *convert, struct chunk *chunk)
{
    uint64_t samples = 0;
    struct pages_wanted wanted = {chunk->series, chunk->count, convert->datacenter};
    struct layout *page = pages_get(convert->pages, convert->metadata, &wanted, convert->request->now_ms);
    for (size_t i = 0; i < chunk->count; i++)
        samples += chunk->rows[i].count;
    if (!page) {
        convert_refuse(convert, REFUSAL_TOO_LONG, samples, "one metric with too many names of labels");
        return 0;
    }
    convert->result->counts.samples += samples;
    set_kinds(page, chunk->records);
    return write_items(convert, chunk, page);
}

/* From group `from` on: the series of the next page. */
static void next_chunk(struct convert *convert, size_t from, size_t group_count, struct chunk *chunk)
{
    size_t text = 0;
    arena_reset(&convert->scratch);
    chunk->count = 0;
    for (chunk->from = chunk->to = from; chunk->to < group_count; chunk->to++) {
        const struct group *group = &chunk->groups[chunk->to];
        const struct pages_series *series = &convert->taken[group->from].series;
        if (chunk->count > 0 && (group->target != chunk->groups[from].target ||
                                 pages_is_cut(chunk->count, text, &chunk->series[chunk->count - 1], series)))
            return;
        text += series->message.len;
        chunk->series[chunk->count] = *series;
        chunk->rows[chunk->count++] = row_of(convert, group);
    }
}

int convert_batches(struct convert *convert)
{
    CLEANUP_FREE struct group *groups = mem_array(convert->taken_count, sizeof(*groups));
    CLEANUP_FREE struct pages_series *series = mem_array(PAGES_SLOTS_MAX, sizeof(*series));
    CLEANUP_FREE struct row *rows = mem_array(PAGES_SLOTS_MAX, sizeof(*rows));
    CLEANUP_FREE struct record *records = mem_array(PAGES_SLOTS_MAX, sizeof(*records));
    CLEANUP_FREE struct record_extra *extras =
        mem_array(MIN(convert->sample_count, (size_t)PAGES_SLOTS_MAX * BATCH_EXTRAS_OF_RECORD), sizeof(*extras));
    struct chunk chunk = {.groups = groups, .series = series, .rows = rows, .records = records, .extras = extras};
    size_t count = group_series(convert, groups);
    int error = 0;
    for (size_t at = 0; at < count && error == 0; at = chunk.to) {
        next_chunk(convert, at, count, &chunk);
        error = write_chunk(convert, &chunk);
    }
    return error < 0 ? error : finish_batch(convert);
}
