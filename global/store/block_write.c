#include "store/block_write.h"

#include "base/fail.h"
#include "store/aggr_chunk.h"
#include "store/block_parts.h"
#include "store/index_write.h"

#include <errno.h>
#include <stdio.h>

/* Of one window: more than a store takes (STORE_EXTRAS_MAX). */
#define WINDOW_SAMPLES_MAX ((size_t)1024)

/* One of the two directories. */
struct part {
    char *temporary, *final;
    const char *parent;
    struct index_writer index;
    struct segments_writer segments;
    struct block_meta meta;
    struct block_chunk *chunks; /* of the series being added */
    size_t chunk_count, chunk_capacity;
    bool is_open;
    bool is_placed; /* it has its final name */
};

struct block_writer {
    struct block_writer_options options;
    struct block_dirs dirs;
    struct part raw, aggregates;
    struct windows_writer *windows;
    struct note_writer note;
    struct buf chunk;
    struct sample *samples;    /* room for a chunk */
    struct entries aggregated; /* entries of the series that have aggregates */
    int error;                 /* the first */
    bool finished;
    char reason[BLOCK_REASON_BYTES];
};

/* ---- Begin and end ---- */

static int part_open(struct block_writer *writer, struct part *part)
{
    part->is_open = true;
    CLEANUP_FREE char *index_path = mem_printf("%s/index", part->temporary);
    int error = segments_writer_init(&part->segments, writer->dirs.fs, part->temporary, SEGMENT_BYTES_MAX);
    struct index_writer_options options = {
        .fs = writer->dirs.fs,
        .path = index_path,
        .symbols = writer->options.symbols,
        .symbol_count = writer->options.symbol_count,
        .pass_bytes = INDEX_PASS_BYTES,
    };
    return error ? error : index_writer_init(&part->index, &options);
}

static void part_init(struct part *part, const struct block_meta *meta, const char *parent)
{
    block_meta_copy(meta, &part->meta);
    mem_free(part->meta.files);
    part->meta.files = NULL;
    part->meta.file_count = 0;
    part->meta.sample_count = part->meta.series_count = part->meta.chunk_count = part->meta.aggregate_count = 0;
    part->meta.tombstone_count = 0;
    part->meta.ours = true;
    part->meta.has_aggregates = false;
    part->parent = parent;
    part->temporary = mem_printf("%s/%s" BLOCK_TMP_CREATION, parent, meta->ulid.text);
    part->final = mem_printf("%s/%s", parent, meta->ulid.text);
    if (part->meta.source_count == 0) {
        part->meta.sources = mem_resize(part->meta.sources, 1, sizeof(*part->meta.sources));
        part->meta.sources[0] = meta->ulid;
        part->meta.source_count = 1;
    }
}

static void part_close(struct part *part)
{
    if (part->is_open) {
        index_writer_done(&part->index);
        segments_writer_done(&part->segments);
    }
    part->is_open = false;
}

static void part_done(struct part *part)
{
    part_close(part);
    block_meta_done(&part->meta);
    mem_free(part->temporary);
    mem_free(part->final);
    mem_free(part->chunks);
}

static int check_absent(const struct block_writer *writer)
{
    const char *names[] = {writer->raw.temporary, writer->raw.final, writer->aggregates.temporary,
                           writer->aggregates.final};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        int exists = file_exists(writer->dirs.fs, names[i]);
        if (exists != 0) {
            return exists < 0 ? exists : -EEXIST;
        }
    }
    return 0;
}

int block_writer_new(const struct block_writer_options *options, struct block_writer **ret_writer)
{
    ASSERT(options->chunk_samples > 0 && options->chunk_samples <= UINT16_MAX);
    struct block_writer *writer = mem_zalloc(sizeof(*writer));
    writer->options = *options;
    writer->dirs = options->dirs;
    part_init(&writer->raw, options->meta, options->dirs.blocks);
    part_init(&writer->aggregates, options->meta, options->dirs.aggregates);
    writer->aggregates.meta.is_aggregates = true;
    size_t chunk_samples = MAX((size_t)options->chunk_samples, WINDOW_SAMPLES_MAX);
    size_t chunk_bytes = XOR_HEADER_BYTES + chunk_samples * XOR_SAMPLE_BYTES_MAX;
    writer->chunk = BUF_INIT(AGGR_READ * (chunk_bytes + 16) + 16);
    writer->samples = mem_array(chunk_samples, sizeof(*writer->samples));
    note_writer_init(&writer->note);
    writer->options.meta = &writer->raw.meta;
    CLEANUP_FREE char *windows_path = mem_printf("%s/windows", writer->raw.temporary);
    int error = file_make_dirs(options->dirs.fs, options->dirs.blocks);
    error = error ? error : file_make_dirs(options->dirs.fs, options->dirs.aggregates);
    error = error ? error : check_absent(writer);
    writer->finished = error != 0; /* what is there is another's: free must not remove it */
    error = error ? error : part_open(writer, &writer->raw);
    error = error ? error : windows_writer_new(options->dirs.fs, windows_path, &writer->windows);
    if (error) {
        block_writer_free(writer);
        return error;
    }
    *ret_writer = writer;
    return 0;
}

/* What cannot be removed now is a leftover, which the next start takes away. */
static void remove_written(struct block_writer *writer)
{
    (void)!block_remove_dir(writer->dirs.fs, writer->raw.temporary);
    (void)!block_remove_dir(writer->dirs.fs, writer->aggregates.temporary);
    if (writer->raw.is_placed || writer->aggregates.is_placed) {
        (void)!block_delete(&writer->dirs, &writer->raw.meta.ulid);
    }
}

void block_writer_free(struct block_writer *writer)
{
    if (!writer) {
        return;
    }
    part_close(&writer->raw);
    part_close(&writer->aggregates);
    windows_writer_free(writer->windows);
    if (!writer->finished) {
        remove_written(writer);
    }
    part_done(&writer->raw);
    part_done(&writer->aggregates);
    note_writer_done(&writer->note);
    buf_done(&writer->chunk);
    mem_free(writer->samples);
    entries_done(&writer->aggregated);
    mem_free(writer);
}

/* ---- Series ---- */

static int check_entries(const struct block_writer *writer, const struct entry *entries, size_t count)
{
    const struct block_meta *meta = &writer->raw.meta;
    if (count == 0 || entries[0].sample.time_ms < meta->min_time_ms ||
        entries[count - 1].sample.time_ms >= meta->max_time_ms) {
        return -EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t both = ENTRY_EXTRA | ENTRY_AGGREGATES; /* extras have none */
        bool is_late = i > 0 && entries[i].sample.time_ms <= entries[i - 1].sample.time_ms;
        if (is_late || (entries[i].flags & both) == both) {
            return -EINVAL;
        }
    }
    return 0;
}

/* What is in the writer's chunk becomes the next chunk of the series. */
static int part_add_chunk(struct block_writer *writer, struct part *part, uint8_t encoding, const struct entry *entries,
                          size_t count)
{
    struct block_chunk chunk = {.min_time_ms = entries[0].sample.time_ms,
                                .max_time_ms = entries[count - 1].sample.time_ms};
    int error = segments_writer_add(&part->segments, encoding, buf_view(&writer->chunk), &chunk.ref);
    if (part->chunk_count == part->chunk_capacity) {
        part->chunk_capacity = MAX(part->chunk_capacity * 2, (size_t)16);
        part->chunks = mem_resize(part->chunks, part->chunk_capacity, sizeof(*part->chunks));
    }
    part->chunks[part->chunk_count++] = chunk;
    part->meta.sample_count += count;
    part->meta.chunk_count++;
    return error;
}

static int add_raw_chunk(struct block_writer *writer, const struct entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        writer->samples[i] = entries[i].sample;
    }
    buf_reset(&writer->chunk);
    xor_print(writer->samples, count, &writer->chunk);
    note_add_chunk(&writer->note, entries, count);
    return part_add_chunk(writer, &writer->raw, CHUNK_XOR, entries, count);
}

static int add_aggregates_chunk(struct block_writer *writer, const struct entry *entries, size_t count)
{
    buf_reset(&writer->chunk);
    aggr_chunk_print(entries, count, &writer->chunk);
    return part_add_chunk(writer, &writer->aggregates, CHUNK_AGGREGATES, entries, count);
}

typedef int add_chunk_fn(struct block_writer *writer, const struct entry *entries, size_t count);

/* Where the chunk that begins at `begin` ends, at `end` or near it: not within a window, whose record and extras are
 * merged as one with those of other blocks. A window that is longer than a chunk is a chunk of its own. */
static size_t window_border(const struct entry *entries, size_t count, size_t begin, size_t end)
{
    size_t border = end;
    while (border > begin && border < count && entries[border].resolution_ms > 0 &&
           entries[border - 1].resolution_ms == entries[border].resolution_ms &&
           entry_window_start_ms(&entries[border - 1]) == entry_window_start_ms(&entries[border])) {
        border--;
    }
    return border > begin ? border : MIN(entries_window_end(entries, count, begin), begin + WINDOW_SAMPLES_MAX);
}

/* In parts of nearly the same size, none larger than chunk_samples but for windows that are. */
static int add_chunks(struct block_writer *writer, add_chunk_fn *add, const struct entry *entries, size_t count)
{
    size_t samples = writer->options.chunk_samples;
    int error = 0;
    for (size_t begin = 0, end; begin < count && !error; begin = end) {
        size_t parts = (count - begin + samples - 1) / samples;
        end = window_border(entries, count, begin, begin + (count - begin + parts - 1) / parts);
        error = add(writer, entries + begin, end - begin);
    }
    return error;
}

static int part_add_series(struct part *part, const struct labels *labels, uint32_t *ret_id)
{
    part->meta.series_count++;
    return index_writer_add(&part->index, labels, part->chunks, part->chunk_count, ret_id);
}

/* The entries that have aggregates, as a series of the second block; id 0 when none have. */
static int add_aggregates(struct block_writer *writer, const struct labels *labels, const struct entry *entries,
                          size_t count, uint32_t *ret_id)
{
    struct part *part = &writer->aggregates;
    writer->aggregated.count = 0;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].flags & ENTRY_AGGREGATES) {
            entries_add(&writer->aggregated, &entries[i]);
        }
    }
    if (writer->aggregated.count == 0) {
        *ret_id = 0;
        return 0;
    }
    int error = part->is_open ? 0 : part_open(writer, part);
    part->chunk_count = 0;
    error =
        error ? error : add_chunks(writer, add_aggregates_chunk, writer->aggregated.items, writer->aggregated.count);
    return error ? error : part_add_series(part, labels, ret_id);
}

int block_writer_add(struct block_writer *writer, const struct labels *labels, enum series_kind kind,
                     const struct entry *entries, size_t count)
{
    uint32_t id = 0, aggregates_id = 0;
    ASSERT(!writer->finished);
    int error = writer->error ? writer->error : check_entries(writer, entries, count);
    note_begin(&writer->note, kind);
    writer->raw.chunk_count = 0;
    error = error ? error : add_chunks(writer, add_raw_chunk, entries, count);
    error = error ? error : note_end(&writer->note);
    error = error ? error : add_aggregates(writer, labels, entries, count, &aggregates_id);
    error = error ? error : part_add_series(&writer->raw, labels, &id);
    error = error ? error : windows_writer_add(writer->windows, id, buf_view(&writer->note.note), aggregates_id);
    writer->error = error;
    return error;
}

/* ---- Finishing ---- */

static int write_file(struct block_writer *writer, struct part *part, const char *name, const struct buf *content)
{
    struct file_writer out;
    CLEANUP_FREE char *path = mem_printf("%s/%s", part->temporary, name);
    if (content->full) {
        return -EFBIG;
    }
    int error = file_writer_open(&out, writer->dirs.fs, path);
    if (!error) {
        file_writer_put(&out, content->data, content->len);
        error = file_writer_finish(&out);
    }
    struct block_file file = {.bytes = out.offset, .crc = out.crc};
    snprintf(file.name, sizeof(file.name), "%s", name);
    block_meta_add_file(&part->meta, &file);
    file_writer_done(&out);
    return error;
}

/* tributary.json and, last of all, meta.json: with it the directory is a block. */
static int write_meta(struct block_writer *writer, struct part *part)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(BLOCK_META_BYTES_MAX);
    block_meta_print_ours(&part->meta, &text);
    int error = write_file(writer, part, "tributary.json", &text);
    buf_reset(&text);
    block_meta_print(&part->meta, &text);
    error = error ? error : write_file(writer, part, "meta.json", &text);
    return error ? error : file_sync_dir(writer->dirs.fs, part->temporary);
}

static int part_finish(struct block_writer *writer, struct part *part)
{
    CLEANUP(buf_done) struct buf tombstones = BUF_INIT(KIB);
    int error = segments_writer_finish(&part->segments);
    error = error ? error : index_writer_finish(&part->index);
    if (error) {
        return error;
    }
    struct block_file index = {.name = "index", .bytes = part->index.out.offset, .crc = part->index.out.crc};
    block_meta_add_file(&part->meta, &index);
    for (size_t i = 0; i < part->segments.file_count; i++) {
        block_meta_add_file(&part->meta, &part->segments.files[i]);
    }
    tombstones_print_empty(&tombstones);
    return write_file(writer, part, "tombstones", &tombstones);
}

static int write_all(struct block_writer *writer)
{
    struct part *raw = &writer->raw, *aggregates = &writer->aggregates;
    struct block_file windows = {.name = "windows"};
    int error = part_finish(writer, raw);
    error = error ? error : windows_writer_finish(writer->windows, &windows.bytes, &windows.crc);
    block_meta_add_file(&raw->meta, &windows);
    raw->meta.has_aggregates = aggregates->is_open;
    raw->meta.aggregate_count = aggregates->meta.sample_count;
    if (aggregates->is_open) {
        error = error ? error : part_finish(writer, aggregates);
        error = error ? error : write_meta(writer, aggregates);
    }
    return error ? error : write_meta(writer, raw);
}

/* Everything as a reader will see it. */
static int read_back(struct block_writer *writer)
{
    struct block_place place = {
        .fs = writer->dirs.fs,
        .dir = writer->raw.temporary,
        .aggregates_dir = writer->aggregates.temporary,
        .ulid = writer->raw.meta.ulid,
    };
    CLEANUP(block_unrefp) struct block *block = NULL;
    int error = block_open_at(&place, writer->reason, &block);
    if (error) {
        return error;
    }
    const struct block_writer_options *options = &writer->options;
    return options->check_meaning ? block_verify(block, options->cancelled, options->cancelled_arg, writer->reason)
                                  : block_verify_files(block, writer->reason);
}

const char *block_writer_reason(const struct block_writer *writer)
{
    return writer->reason;
}

static int put_in_place(struct block_writer *writer, struct part *part)
{
    int error = file_rename(writer->dirs.fs, part->temporary, part->final);
    part->is_placed = !error;
    return error ? error : file_sync_dir(writer->dirs.fs, part->parent);
}

int block_writer_finish(struct block_writer *writer)
{
    ASSERT(!writer->finished);
    bool has_aggregates = writer->aggregates.is_open;
    int error = writer->error;
    if (!error && writer->raw.meta.series_count == 0) {
        error = -ENODATA;
    }
    error = error ? error : write_all(writer);
    part_close(&writer->raw);
    part_close(&writer->aggregates);
    error = error ? error : read_back(writer);
    if (!error && has_aggregates) {
        error = put_in_place(writer, &writer->aggregates);
    }
    error = error ? error : put_in_place(writer, &writer->raw);
    if (error) {
        remove_written(writer);
    }
    writer->error = error;
    writer->finished = true;
    return error;
}
