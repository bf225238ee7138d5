#include "store/index_postings.h"

#include "base/crc.h"
#include "base/fail.h"
#include "store/be.h"
#include "store/index_read.h"

#include <errno.h>

#define LIST_PIECE_BYTES (64 * KIB)
#define DIGIT_BITS       11 /* of the radix sort: 2,048 counters stay in the first cache */
#define FEW_PAIRS        48 /* are sorted by insertion */

/* A posting on its way: symbol of the value << 32 | id of the series. */
typedef uint64_t pair;

/* ---- Passes ---- */

/* The labels of each series in turn, in order of ids. fn returns an error to end the pass. */
typedef int series_fn(void *arg, const struct index_series *series, uint32_t id);

static int each_series(struct index_writer *writer, series_fn *fn, void *arg)
{
    struct read_ahead in;
    uint64_t offset = writer->toc.series;
    int error = 0;
    read_ahead_init(&in, writer->out.file, writer->toc.label_indices);
    for (uint32_t i = 0; i < writer->series_count && !error; i++) {
        struct str body;
        offset = (offset + INDEX_SERIES_ALIGN - 1) / INDEX_SERIES_ALIGN * INDEX_SERIES_ALIGN;
        uint32_t id = (uint32_t)(offset / INDEX_SERIES_ALIGN);
        error = index_read_entry(&in, offset, &body, &offset);
        if (error) {
            break;
        }
        struct reader reader = reader_of(body.ptr, body.len);
        error = index_series_parse_labels(&reader, (uint32_t)writer->symbol_count, writer->last);
        error = error ? error : fn(arg, writer->last, id);
    }
    read_ahead_done(&in);
    return error;
}

/* ---- One list ---- */

struct list {
    struct index_writer *writer;
    uint32_t crc;
};

static void list_flush(struct list *list)
{
    struct buf *piece = &list->writer->body;
    list->crc = crc32c(list->crc, piece->data, piece->len);
    file_writer_put(&list->writer->out, piece->data, piece->len);
    buf_reset(piece);
}

static int list_begin(struct list *list, struct index_writer *writer, uint32_t value, uint32_t count)
{
    if (count > (UINT32_MAX - sizeof(uint32_t)) / sizeof(uint32_t)) {
        return -EFBIG;
    }
    if (writer->list_count == writer->list_capacity) {
        writer->list_capacity = MAX(writer->list_capacity * 2, (size_t)64);
        writer->lists = mem_resize(writer->lists, writer->list_capacity, sizeof(*writer->lists));
    }
    writer->lists[writer->list_count++] = (struct index_list){value, count};
    uint32_t len = htobe32((count + 1) * (uint32_t)sizeof(uint32_t));
    file_writer_put(&writer->out, &len, sizeof(len));
    buf_reset(&writer->body);
    buf_append_be32(&writer->body, count);
    *list = (struct list){.writer = writer};
    return 0;
}

static void list_add(struct list *list, uint32_t id)
{
    buf_append_be32(&list->writer->body, id);
    if (list->writer->body.len >= LIST_PIECE_BYTES) {
        list_flush(list);
    }
}

static int list_end(struct list *list)
{
    list_flush(list);
    uint32_t crc = htobe32(list->crc);
    file_writer_put(&list->writer->out, &crc, sizeof(crc));
    return list->writer->out.error;
}

static int add_id(void *arg, const struct index_series *series, uint32_t id)
{
    (void)series;
    list_add(arg, id);
    return 0;
}

static int write_all(struct index_writer *writer)
{
    struct list list;
    int error = list_begin(&list, writer, 0, writer->series_count);
    error = error ? error : each_series(writer, add_id, &list);
    return error ? error : list_end(&list);
}

/* ---- Sorting ---- */

static void sort_few(pair *pairs, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        pair moved = pairs[i];
        size_t at = i;
        for (; at > 0 && pairs[at - 1] > moved; at--) {
            pairs[at] = pairs[at - 1];
        }
        pairs[at] = moved;
    }
}

/* By value; ids come in order already and every step is stable. */
static void sort_pairs(pair *pairs, pair *scratch, size_t count, uint64_t values)
{
    if (count <= FEW_PAIRS) {
        sort_few(pairs, count);
        return;
    }
    pair *from = pairs, *to = scratch;
    for (unsigned shift = 32; shift < 64 && (values >> (shift - 32)) > 0; shift += DIGIT_BITS) {
        size_t places[1 << DIGIT_BITS] = {0};
        for (size_t i = 0; i < count; i++) {
            places[from[i] >> shift & (ARRAY_LEN(places) - 1)]++;
        }
        size_t at = 0;
        for (size_t i = 0; i < ARRAY_LEN(places); i++) {
            size_t here = places[i];
            places[i] = at;
            at += here;
        }
        for (size_t i = 0; i < count; i++) {
            to[places[from[i] >> shift & (ARRAY_LEN(places) - 1)]++] = from[i];
        }
        pair *swap = from;
        from = to;
        to = swap;
    }
    if (from != pairs) {
        memcpy(pairs, from, count * sizeof(*pairs));
    }
}

/* ---- A group of names ---- */

/* What one pass collects: postings of names [first, first + count), of values [value_min, value_end). */
struct group {
    struct index_writer *writer;
    struct index_name *names;
    size_t count;
    uint32_t value_min, value_end;
    pair *pairs;   /* room for pass_pairs, and as much to sort them */
    size_t *ends;  /* by name: where its next pair goes */
    size_t *begin; /* by name */
};

static int collect(void *arg, const struct index_series *series, uint32_t id)
{
    struct group *group = arg;
    size_t at = 0;
    for (size_t i = 0; i < series->label_count; i++) {
        struct index_label label = series->labels[i];
        while (at < group->count && group->names[at].name < label.name) {
            at++;
        }
        if (at == group->count) {
            break;
        }
        if (group->names[at].name != label.name || label.value < group->value_min || label.value >= group->value_end) {
            continue;
        }
        ASSERT(group->ends[at] < group->writer->pass_pairs);
        group->pairs[group->ends[at]++] = (pair)label.value << 32 | id;
    }
    return 0;
}

/* The lists of one name, from its sorted postings. */
static int write_lists(struct group *group, struct index_name *name, const pair *pairs, size_t count)
{
    int error = 0;
    for (size_t at = 0; at < count && !error;) {
        size_t end = at;
        while (end < count && pairs[end] >> 32 == pairs[at] >> 32) {
            end++;
        }
        struct list list;
        error = list_begin(&list, group->writer, (uint32_t)(pairs[at] >> 32), (uint32_t)(end - at));
        for (; at < end && !error; at++) {
            list_add(&list, (uint32_t)pairs[at]);
        }
        error = error ? error : list_end(&list);
        name->lists++;
    }
    return error;
}

/* One pass. All of it must be at most pass_pairs. */
static int write_group(struct group *group)
{
    int error = each_series(group->writer, collect, group);
    for (size_t i = 0; i < group->count && !error; i++) {
        pair *pairs = group->pairs + group->begin[i];
        size_t count = group->ends[i] - group->begin[i];
        sort_pairs(pairs, group->pairs + group->writer->pass_pairs, count, group->writer->symbol_count);
        error = write_lists(group, &group->names[i], pairs, count);
    }
    return error;
}

static int write_names(struct group *group, size_t *ret_taken)
{
    struct index_writer *writer = group->writer;
    size_t left = (size_t)(writer->names + writer->name_count - group->names);
    size_t used = 0;
    group->count = 0;
    while (group->count < left && group->names[group->count].postings <= writer->pass_pairs - used) {
        group->begin[group->count] = group->ends[group->count] = used;
        used += group->names[group->count++].postings;
    }
    group->value_min = 0;
    group->value_end = UINT32_MAX;
    *ret_taken = group->count;
    return write_group(group);
}

/* ---- One name that is too much for a pass: by ranges of values ---- */

struct counting {
    uint32_t name, *counts; /* by symbol of the value */
};

static int count_values(void *arg, const struct index_series *series, uint32_t id)
{
    struct counting *counting = arg;
    (void)id;
    for (size_t i = 0; i < series->label_count; i++) {
        if (series->labels[i].name == counting->name) {
            counting->counts[series->labels[i].value]++;
        }
    }
    return 0;
}

struct streaming {
    struct list list;
    struct index_label label;
};

static int stream_id(void *arg, const struct index_series *series, uint32_t id)
{
    struct streaming *streaming = arg;
    for (size_t i = 0; i < series->label_count; i++) {
        if (series->labels[i].name == streaming->label.name && series->labels[i].value == streaming->label.value) {
            list_add(&streaming->list, id);
        }
    }
    return 0;
}

/* A value whose list alone is too much for a pass: its length is known, so it is written while it is read. */
static int write_large_value(struct group *group, uint32_t value, uint32_t count)
{
    struct streaming streaming = {.label = {group->names->name, value}};
    int error = list_begin(&streaming.list, group->writer, value, count);
    error = error ? error : each_series(group->writer, stream_id, &streaming);
    group->names->lists++;
    return error ? error : list_end(&streaming.list);
}

static int write_large_name(struct group *group)
{
    struct index_writer *writer = group->writer;
    CLEANUP_FREE uint32_t *counts = mem_array(writer->symbol_count, sizeof(*counts));
    struct counting counting = {group->names->name, counts};
    int error = each_series(writer, count_values, &counting);
    group->count = 1;
    for (uint32_t value = 0; value < writer->symbol_count && !error;) {
        if (counts[value] > writer->pass_pairs) {
            error = write_large_value(group, value, counts[value]);
            value++;
            continue;
        }
        group->value_min = value;
        size_t used = 0;
        while (value < writer->symbol_count && counts[value] <= writer->pass_pairs - used) {
            used += counts[value++];
        }
        group->value_end = value;
        group->begin[0] = group->ends[0] = 0;
        error = used > 0 ? write_group(group) : 0;
    }
    return error;
}

static void list_names(struct index_writer *writer)
{
    for (int fill = 0; fill < 2; fill++) {
        writer->name_count = 0;
        for (size_t i = 0; i < writer->symbol_count; i++) {
            if (writer->name_counts[i] == 0) {
                continue;
            }
            if (fill) {
                writer->names[writer->name_count] = (struct index_name){(uint32_t)i, writer->name_counts[i], 0};
            }
            writer->name_count++;
        }
        if (!fill) {
            writer->names = mem_array(writer->name_count, sizeof(*writer->names));
        }
    }
}

int index_write_postings(struct index_writer *writer)
{
    list_names(writer);
    int error = write_all(writer);
    uint64_t postings = 0;
    for (size_t i = 0; i < writer->name_count; i++) {
        postings += writer->names[i].postings;
    }
    writer->pass_pairs = (size_t)MIN(writer->pass_pairs, MAX(postings, 1));
    CLEANUP_FREE pair *pairs = mem_array(2 * writer->pass_pairs, sizeof(*pairs));
    CLEANUP_FREE size_t *begin = mem_array(writer->name_count, sizeof(*begin));
    CLEANUP_FREE size_t *ends = mem_array(writer->name_count, sizeof(*ends));
    struct group group = {.writer = writer, .pairs = pairs, .begin = begin, .ends = ends, .names = writer->names};
    while (group.names < writer->names + writer->name_count && !error) {
        size_t taken = 1;
        bool is_large = group.names->postings > writer->pass_pairs;
        error = is_large ? write_large_name(&group) : write_names(&group, &taken);
        group.names += taken;
    }
    return error;
}
