#include "base/fail.h"
#include "write/convert_internal.h"

#include <errno.h>
#include <stdio.h>

#define TARGET_LABELS 3
#define DESCRIBED_MAX 200 /* bytes of a series named in an answer */

/* Room for one thing more behind `count`. */
static void *grown(void *things, size_t count, size_t size, size_t *capacity)
{
    if (count < *capacity)
        return things;
    *capacity = MAX(2 * *capacity, (size_t)64);
    return mem_resize(things, *capacity, size);
}

/* ---- What is refused ---- */

void convert_refuse(struct convert *convert, enum refusal refusal, uint64_t samples, const char *what)
{
    struct convert_result *result = convert->result;
    if (convert_refused(&result->counts) == 0)
        snprintf(result->text, sizeof(result->text), "%s: %s", refusal_text(refusal), what);
    result->counts.refused[refusal] += samples;
}

static void refuse_labels(struct convert *convert, enum refusal refusal, uint64_t samples)
{
    char what[64];
    snprintf(what, sizeof(what), "series %llu of the request", (unsigned long long)convert->result->counts.series);
    convert_refuse(convert, refusal, samples, what);
}

static void refuse_time(struct convert *convert, enum refusal refusal, const struct series_labels *labels,
                        int64_t time_ms)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(CONVERT_KEY_BYTES_MAX);
    char what[DESCRIBED_MAX + 64] = "";
    if (convert_refused(&convert->result->counts) == 0) {
        CLEANUP(labels_unrefp) struct labels *printed = labels_new(labels->items, labels->count);
        labels_print(printed, &text);
        snprintf(what, sizeof(what), "%.*s%s at %lld ms", (int)MIN(text.len, (size_t)DESCRIBED_MAX),
                 text.data ? (const char *)text.data : "", text.len > DESCRIBED_MAX ? "..." : "", (long long)time_ms);
    }
    convert_refuse(convert, refusal, 1, what);
}

/* ---- Taking the request in ---- */

/* Length and bytes of name and value: no two sets are the same bytes. Lengths fit into 16 bits. */
static void add_to_key(struct convert *convert, const struct label *label)
{
    size_t name_len = label->name.len, value_len = label->value.len;
    uint8_t *at = buf_reserve(&convert->key, name_len + value_len + 4);
    ASSERT(at); /* within the limits of one series */
    const uint8_t lengths[] = {(uint8_t)name_len, (uint8_t)(name_len >> 8), (uint8_t)value_len,
                               (uint8_t)(value_len >> 8)};
    memcpy(at, lengths, sizeof(lengths));
    memcpy(at + sizeof(lengths), label->name.ptr, name_len);
    memcpy(at + sizeof(lengths) + name_len, label->value.ptr, value_len);
    buf_added(&convert->key, name_len + value_len + sizeof(lengths));
}

static bool is_target(const void *item, const void *key)
{
    const struct {
        const struct convert *convert;
        struct hash128 hash;
    } *wanted = key;
    return hash128_equal(wanted->convert->targets[(uintptr_t)item - 1].hash, wanted->hash);
}

/* Series of one target stand together nearly always: the last one is looked at first. */
static uint32_t target_of(struct convert *convert, const struct series_labels *labels)
{
    struct label own[TARGET_LABELS];
    size_t count = 0;
    buf_reset(&convert->key);
    for (size_t i = 0; i < labels->count; i++) {
        if (series_is_of_target(labels->items[i].name)) {
            own[count++] = labels->items[i];
            add_to_key(convert, &labels->items[i]);
        }
    }
    const struct {
        const struct convert *convert;
        struct hash128 hash;
    } key = {convert, hash128_of(convert->key.data, convert->key.len)};
    if (convert->taken_count > 0) {
        uint32_t last = convert->taken[convert->taken_count - 1].target;
        if (hash128_equal(convert->targets[last].hash, key.hash))
            return last;
    }
    uintptr_t found = (uintptr_t)map_get(&convert->target_map, hash128_low(key.hash), is_target, &key);
    if (found)
        return (uint32_t)(found - 1);
    convert->targets =
        grown(convert->targets, convert->target_count, sizeof(*convert->targets), &convert->target_capacity);
    convert->targets[convert->target_count++] = (struct target){key.hash, labels_new(own, count)};
    map_put(&convert->target_map, hash128_low(key.hash), (void *)(uintptr_t)convert->target_count); // NOLINT: a number
    return (uint32_t)(convert->target_count - 1);
}

static struct hash128 slot_of(struct convert *convert, const struct series_labels *labels)
{
    buf_reset(&convert->key);
    for (size_t i = 0; i < labels->count; i++)
        if (!series_is_of_target(labels->items[i].name))
            add_to_key(convert, &labels->items[i]);
    return hash128_of(convert->key.data, convert->key.len);
}

static int add_sample(struct convert *convert, struct sample sample)
{
    if (convert->sample_count == CONVERT_SAMPLES_MAX)
        return -EMSGSIZE;
    convert->samples =
        grown(convert->samples, convert->sample_count, sizeof(*convert->samples), &convert->sample_capacity);
    convert->samples[convert->sample_count++] = sample;
    return 0;
}

/* Goes over all fields, also of what is refused: what is malformed is found before anything is kept. Samples go behind
 * those taken. */
static int read_series(struct convert *convert, struct str message, struct series_labels *labels,
                       enum refusal *ret_refusal)
{
    struct convert_counts *counts = &convert->result->counts;
    struct reader reader = reader_of(message.ptr, message.len);
    struct wire_item item;
    enum refusal refusal = REFUSAL_NONE;
    int error;
    while ((error = wire_series_next(&reader, &item)) == 0 && item.part != WIRE_END) {
        counts->exemplars += item.part == WIRE_EXEMPLAR;
        counts->histograms += item.part == WIRE_HISTOGRAM;
        if (item.part == WIRE_LABEL && refusal == REFUSAL_NONE)
            refusal = series_add(labels, &item.label);
        if (item.part == WIRE_SAMPLE)
            error = add_sample(convert, item.sample);
        if (error < 0)
            return error;
    }
    *ret_refusal = refusal == REFUSAL_NONE ? series_finish(labels, convert->datacenter) : refusal;
    return error;
}

/* Those that the store would not take are left out. */
static void check_times(struct convert *convert, const struct series_labels *labels, size_t first)
{
    int64_t now_ms = convert->request->now_ms;
    int64_t oldest_ms = MAX(now_ms - convert->options.age_max_ms, 0);
    size_t kept = first;
    for (size_t i = first; i < convert->sample_count; i++) {
        struct sample sample = convert->samples[i];
        if (sample.time_ms < oldest_ms)
            refuse_time(convert, REFUSAL_TOO_OLD, labels, sample.time_ms);
        else if (sample.time_ms > now_ms + convert->options.ahead_max_ms)
            refuse_time(convert, REFUSAL_TOO_NEW, labels, sample.time_ms);
        else
            convert->samples[kept++] = sample;
    }
    convert->sample_count = kept;
}

static int take_series(struct convert *convert, struct str message)
{
    struct series_labels labels;
    enum refusal refusal = REFUSAL_NONE;
    size_t first = convert->sample_count;
    if (++convert->result->counts.series > CONVERT_SERIES_MAX)
        return -EMSGSIZE;
    labels.count = 0;
    labels.metric = STR_NULL;
    int error = read_series(convert, message, &labels, &refusal);
    if (error < 0 || convert->sample_count == first)
        return error;
    if (refusal != REFUSAL_NONE) {
        refuse_labels(convert, refusal, convert->sample_count - first);
        convert->sample_count = first;
        return 0;
    }
    check_times(convert, &labels, first);
    if (convert->sample_count == first)
        return 0;
    struct taken taken = {.series = {.metric_hash = str_hash(labels.metric), .message = message},
                          .target = target_of(convert, &labels),
                          .order = (uint32_t)convert->taken_count,
                          .first_sample = (uint32_t)first,
                          .sample_count = (uint32_t)(convert->sample_count - first)};
    taken.series.slot = slot_of(convert, &labels);
    convert->taken = grown(convert->taken, convert->taken_count, sizeof(taken), &convert->taken_capacity);
    convert->taken[convert->taken_count++] = taken;
    return 0;
}

int convert_take(struct convert *convert, struct str raw)
{
    struct reader reader = reader_of(raw.ptr, raw.len);
    struct wire_item item;
    int error;
    while ((error = wire_request_next(&reader, &item)) == 0 && item.part != WIRE_END) {
        if (item.part == WIRE_SERIES)
            error = take_series(convert, item.series);
        else
            convert->result->counts.metadata++;
        if (error < 0)
            return error;
    }
    return error;
}
