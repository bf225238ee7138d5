#include "store/block.h"

#include "base/fail.h"
#include "store/block_parts.h"

#include <errno.h>
#include <stdio.h>

#define CLASS_OF_OTHERS "default"

/* What is being opened: where, and what is wrong with it. */
struct opening {
    struct file_system *fs;
    const char *dir;
    struct block_part *part;
    char *reason; /* BLOCK_REASON_BYTES */
};

/* The reason names the file by the end of its path, as reasons are short and paths are not. */
static int refuse(const struct opening *opening, int error, const char *file, const char *what)
{
    const char *name = strrchr(opening->dir, '/');
    snprintf(opening->reason, BLOCK_REASON_BYTES, "%s/%s: %s%s%s", name ? name + 1 : opening->dir, file, what,
             error != -EBADMSG ? ": " : "", error != -EBADMSG ? strerror(-error) : "");
    return error;
}

/* ---- Meta ---- */

static int read_file(const struct opening *opening, const char *name, struct buf *into)
{
    CLEANUP_FREE char *path = mem_printf("%s/%s", opening->dir, name);
    int error = file_read_whole(opening->fs, path, into);
    return error == -EFBIG ? -EBADMSG : error;
}

static int parse_meta(const struct opening *opening)
{
    struct block_meta *meta = &opening->part->meta;
    CLEANUP(buf_done) struct buf text = BUF_INIT(BLOCK_META_BYTES_MAX);
    char what[BLOCK_REASON_BYTES] = "it cannot be read";
    int error = read_file(opening, "meta.json", &text);
    error = error ? error : block_meta_parse(buf_view(&text), meta, what);
    if (error) {
        return refuse(opening, error, "meta.json", what);
    }
    buf_reset(&text);
    snprintf(what, sizeof(what), "it cannot be read");
    error = read_file(opening, "tributary.json", &text);
    if (error == -ENOENT && !meta->should_be_ours) {
        return 0;
    }
    error = error ? error : block_meta_parse_ours(buf_view(&text), meta, what);
    return error ? refuse(opening, error, "tributary.json", what) : 0;
}

static int check_meta(const struct opening *opening, const struct ulid *ulid)
{
    struct block_meta *meta = &opening->part->meta;
    if (!meta->ours) {
        meta->ulid = *ulid; /* the directory's name counts, as for Prometheus */
        snprintf(meta->class, sizeof(meta->class), "%s", CLASS_OF_OTHERS);
        return meta->is_downsampled ? refuse(opening, -EBADMSG, "meta.json", "it is a downsampled block") : 0;
    }
    if (memcmp(meta->ulid.text, ulid->text, sizeof(ulid->text)) != 0) {
        return refuse(opening, -EBADMSG, "meta.json", "its ulid is not the directory's name");
    }
    if (block_meta_check(meta) != meta->check) {
        return refuse(opening, -EBADMSG, "meta.json", "it is not what was written with tributary.json");
    }
    return 0;
}

/* ---- Files ---- */

static int file_bytes(struct file_system *fs, const char *path, uint64_t *ret_bytes)
{
    CLEANUP(file_closep) struct file *file = NULL;
    int error = file_open(fs, path, FILE_READ, &file);
    if (!error) {
        *ret_bytes = file_size(file);
    }
    return error;
}

/* Sizes of the files that tributary.json names. */
static int check_files(const struct opening *opening)
{
    const struct block_meta *meta = &opening->part->meta;
    size_t segments = 0;
    for (size_t i = 0; i < meta->file_count; i++) {
        const struct block_file *file = &meta->files[i];
        CLEANUP_FREE char *path = mem_printf("%s/%s", opening->dir, file->name);
        uint64_t bytes = 0;
        bool is_plain = strstr(file->name, "..") == NULL && file->name[0] != '/';
        int error = is_plain ? file_bytes(opening->fs, path, &bytes) : -EBADMSG;
        if (error || bytes != file->bytes) {
            return refuse(opening, error ? error : -EBADMSG, file->name, "its size is not what was written");
        }
        segments += str_starts_with(str_from(file->name), STR("chunks/"));
    }
    if (meta->ours && segments != opening->part->segments.count) {
        return refuse(opening, -EBADMSG, "chunks", "there are more files than were written");
    }
    return 0;
}

/* Bytes on disk of files that no list names. */
static void add_other_bytes(const struct opening *opening)
{
    static const char *const names[] = {"meta.json", "tributary.json"};
    struct block_part *part = opening->part;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        CLEANUP_FREE char *path = mem_printf("%s/%s", opening->dir, names[i]);
        uint64_t bytes = 0;
        if (file_bytes(opening->fs, path, &bytes) == 0) {
            part->disk_bytes += bytes;
        }
    }
    part->disk_bytes += part->index.bytes;
    for (size_t i = 0; i < part->segments.count; i++) {
        part->disk_bytes += part->segments.bytes[i];
    }
}

/* Meta, index and chunk files: what both blocks have. */
static int open_part(const struct opening *opening, const struct ulid *ulid)
{
    const char *what;
    int error = parse_meta(opening);
    error = error ? error : check_meta(opening, ulid);
    if (error) {
        return error;
    }
    CLEANUP_FREE char *index_path = mem_printf("%s/index", opening->dir);
    /* Labels of aggregates are those of the block, whose index has their texts. */
    size_t held_bytes = opening->part->meta.is_aggregates ? 0 : SYMBOLS_HELD_BYTES;
    error = index_open(&opening->part->index, opening->fs, index_path, held_bytes, &what);
    if (error) {
        return refuse(opening, error, "index", what);
    }
    error = segments_open(&opening->part->segments, opening->fs, opening->dir, &what);
    if (error) {
        return refuse(opening, error, "chunks", what);
    }
    add_other_bytes(opening);
    return check_files(opening);
}

static int open_tombstones(const struct opening *opening, struct block *block)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(TOMBSTONES_BYTES_MAX);
    int error = read_file(opening, "tombstones", &bytes);
    if (error == -ENOENT && !opening->part->meta.ours) {
        return 0;
    }
    error = error ? error : tombstones_parse(buf_view(&bytes), &block->tombstones);
    block->raw.disk_bytes += bytes.len;
    return error ? refuse(opening, error, "tombstones", "it is damaged") : 0;
}

static int open_windows(const struct opening *opening, struct block *block)
{
    const char *what;
    CLEANUP_FREE char *path = mem_printf("%s/windows", opening->dir);
    if (!opening->part->meta.ours) {
        bool is_there = file_exists(opening->fs, path) != 0;
        return is_there ? refuse(opening, -EBADMSG, "tributary.json", "it is missing, as `windows` is there") : 0;
    }
    int error = windows_open(&block->windows, opening->fs, path, &what);
    if (!error && block->windows.series_count != block->raw.meta.series_count) {
        error = -EBADMSG;
        what = "it has not as many series as the index";
    }
    block->raw.disk_bytes += block->windows.bytes;
    return error ? refuse(opening, error, "windows", what) : 0;
}

static int open_aggregates(const struct opening *raw, struct block *block, const struct ulid *ulid)
{
    struct opening opening = {raw->fs, block->aggregates_dir, &block->aggregates, raw->reason};
    if (!block->raw.meta.has_aggregates) {
        return 0;
    }
    int error = open_part(&opening, ulid);
    const struct block_meta *meta = &block->aggregates.meta;
    if (!error && (!meta->is_aggregates || !meta->ours || meta->sample_count != block->raw.meta.aggregate_count)) {
        error = refuse(&opening, -EBADMSG, "meta.json", "it is not the one of this block's aggregates");
    }
    return error;
}

int block_open_at(const struct block_place *place, char ret_reason[static BLOCK_REASON_BYTES], struct block **ret_block)
{
    struct block *block = mem_zalloc(sizeof(*block));
    struct opening opening = {place->fs, place->dir, &block->raw, ret_reason};
    atomic_init(&block->references, 1);
    block->fs = place->fs;
    block->raw_dir = mem_strdup(place->dir);
    block->aggregates_dir = mem_strdup(place->aggregates_dir);
    int error = open_part(&opening, &place->ulid);
    if (!error && block->raw.meta.is_aggregates) {
        error = refuse(&opening, -EBADMSG, "meta.json", "it is a block of aggregates");
    }
    error = error ? error : open_tombstones(&opening, block);
    error = error ? error : open_windows(&opening, block);
    error = error ? error : open_aggregates(&opening, block, &place->ulid);
    if (error) {
        block_unref(block);
        return error;
    }
    *ret_block = block;
    return 0;
}

int block_open(const struct block_dirs *dirs, const struct ulid *ulid, char ret_reason[static BLOCK_REASON_BYTES],
               struct block **ret_block)
{
    CLEANUP_FREE char *dir = mem_printf("%s/%s", dirs->blocks, ulid->text);
    CLEANUP_FREE char *aggregates_dir = mem_printf("%s/%s", dirs->aggregates, ulid->text);
    struct block_place place = {.fs = dirs->fs, .dir = dir, .aggregates_dir = aggregates_dir, .ulid = *ulid};
    return block_open_at(&place, ret_reason, ret_block);
}

static void close_part(struct block_part *part)
{
    index_close(&part->index);
    segments_close(&part->segments);
    block_meta_done(&part->meta);
}

struct block *block_ref(struct block *block)
{
    unsigned before = atomic_fetch_add_explicit(&block->references, 1, memory_order_relaxed);
    ASSERT(before > 0);
    return block;
}

void block_unref(struct block *block)
{
    if (!block || atomic_fetch_sub_explicit(&block->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    close_part(&block->raw);
    close_part(&block->aggregates);
    windows_close(&block->windows);
    tombstones_done(&block->tombstones);
    mem_free(block->raw_dir);
    mem_free(block->aggregates_dir);
    mem_free(block);
}

bool block_is_shared(const struct block *block)
{
    return atomic_load_explicit(&block->references, memory_order_acquire) > 1;
}

const struct block_meta *block_meta_of(const struct block *block)
{
    return &block->raw.meta;
}

bool block_has_histograms(const struct block *block)
{
    return atomic_load(&block->has_histograms);
}

uint64_t block_disk_bytes(const struct block *block)
{
    return block->raw.disk_bytes + block->aggregates.disk_bytes;
}

static size_t meta_bytes(const struct block_meta *meta)
{
    return (meta->source_count + meta->parent_count) * sizeof(struct ulid) +
           meta->missing_count * sizeof(*meta->missing) + meta->file_count * sizeof(*meta->files);
}

size_t block_memory_bytes(const struct block *block)
{
    return sizeof(*block) + meta_bytes(&block->raw.meta) + meta_bytes(&block->aggregates.meta) +
           index_memory_bytes(&block->raw.index) + index_memory_bytes(&block->aggregates.index) +
           windows_memory_bytes(&block->windows) + block->tombstones.count * sizeof(*block->tombstones.items);
}
