#include "store/segments.h"

#include "base/crc.h"
#include "base/fail.h"
#include "store/be.h"

#include <errno.h>
#include <stdio.h>

#define SEGMENT_MAGIC        0x85BD40DDU
#define SEGMENT_VERSION      1
#define SEGMENT_HEADER_BYTES 8
#define CHUNK_CRC_BYTES      4
#define CHUNK_LEN_BYTES      5 /* of a chunk's length at most; so many can be read at any chunk */

/* ---- Writing ---- */

int segments_writer_init(struct segments_writer *writer, struct file_system *fs, const char *dir,
                         uint64_t segment_bytes_max)
{
    *writer = (struct segments_writer){.fs = fs, .dir = mem_strdup(dir), .segment_bytes_max = segment_bytes_max};
    CLEANUP_FREE char *chunks = mem_printf("%s/chunks", dir);
    return file_make_dirs(fs, chunks);
}

static int end_file(struct segments_writer *writer)
{
    if (writer->file_count == 0) {
        return 0;
    }
    int error = file_writer_finish(&writer->out);
    struct block_file *file = &writer->files[writer->file_count - 1];
    file->bytes = writer->out.offset;
    file->crc = writer->out.crc;
    return error;
}

static int begin_file(struct segments_writer *writer)
{
    int error = end_file(writer);
    if (error) {
        return error;
    }
    file_writer_done(&writer->out);
    writer->files = mem_resize(writer->files, writer->file_count + 1, sizeof(*writer->files));
    struct block_file *file = &writer->files[writer->file_count++];
    *file = (struct block_file){0};
    snprintf(file->name, sizeof(file->name), "chunks/%06zu", writer->file_count);
    CLEANUP_FREE char *path = mem_printf("%s/%s", writer->dir, file->name);
    error = file_writer_open(&writer->out, writer->fs, path);
    if (error) {
        return error;
    }
    uint8_t head[SEGMENT_HEADER_BYTES] = {0};
    uint32_t magic = htobe32(SEGMENT_MAGIC);
    memcpy(head, &magic, sizeof(magic));
    head[4] = SEGMENT_VERSION;
    file_writer_put(&writer->out, head, sizeof(head));
    return writer->out.error;
}

int segments_writer_add(struct segments_writer *writer, uint8_t encoding, struct str data, uint64_t *ret_ref)
{
    ASSERT(data.len <= SEGMENT_CHUNK_BYTES_MAX);
    uint8_t head[UVARINT_BYTES_MAX + 1];
    size_t len_bytes = uvarint_put(head, data.len);
    head[len_bytes] = encoding;
    uint64_t bytes = len_bytes + 1 + data.len + CHUNK_CRC_BYTES;
    if (writer->file_count == 0 || writer->out.offset + bytes > writer->segment_bytes_max) {
        int error = begin_file(writer);
        if (error) {
            return error;
        }
    }
    uint64_t offset = writer->out.offset;
    uint32_t crc = htobe32(crc32c(crc32c(0, &encoding, 1), data.ptr, data.len));
    file_writer_put(&writer->out, head, len_bytes + 1);
    file_writer_put(&writer->out, data.ptr, data.len);
    file_writer_put(&writer->out, &crc, sizeof(crc));
    *ret_ref = (uint64_t)(writer->file_count - 1) << 32 | offset;
    return writer->out.error;
}

int segments_writer_finish(struct segments_writer *writer)
{
    CLEANUP_FREE char *chunks = mem_printf("%s/chunks", writer->dir);
    int error = end_file(writer);
    return error ? error : file_sync_dir(writer->fs, chunks);
}

void segments_writer_done(struct segments_writer *writer)
{
    file_writer_done(&writer->out);
    mem_free(writer->dir);
    mem_free(writer->files);
    *writer = (struct segments_writer){0};
}

/* ---- Reading ---- */

static int open_file(struct segments *segments, struct file_system *fs, const char *path)
{
    size_t at = segments->count;
    segments->files = mem_resize(segments->files, at + 1, sizeof(*segments->files));
    segments->bytes = mem_resize(segments->bytes, at + 1, sizeof(*segments->bytes));
    int error = file_open(fs, path, FILE_READ, &segments->files[at]);
    if (error) {
        return error;
    }
    segments->bytes[at] = file_size(segments->files[at]);
    segments->count++;
    uint8_t head[SEGMENT_HEADER_BYTES];
    int64_t got = file_read_at(segments->files[at], head, sizeof(head), 0);
    if (got < 0) {
        return (int)got;
    }
    bool good = got == sizeof(head) && be32_at(head) == SEGMENT_MAGIC && head[4] == SEGMENT_VERSION;
    return good ? 0 : -EBADMSG;
}

int segments_open(struct segments *segments, struct file_system *fs, const char *dir, const char **ret_what)
{
    *segments = (struct segments){0};
    CLEANUP_FREE char *chunks = mem_printf("%s/chunks", dir);
    char **names;
    size_t count;
    *ret_what = "chunks: the directory cannot be read";
    int error = file_list(fs, chunks, &names, &count);
    if (error) {
        return error;
    }
    *ret_what = "chunks: a file cannot be read, or does not begin as one of chunks does";
    for (size_t i = 0; i < count && !error; i++) {
        uint64_t number;
        if (str_to_u64(str_from(names[i]), &number) == 0) { /* others are nobody's, as for Prometheus */
            CLEANUP_FREE char *path = mem_printf("%s/%s", chunks, names[i]);
            error = open_file(segments, fs, path);
        }
    }
    file_names_free(names, count);
    return error;
}

void segments_close(struct segments *segments)
{
    for (size_t i = 0; i < segments->count; i++) {
        file_close(segments->files[i]);
    }
    mem_free(segments->files);
    mem_free(segments->bytes);
    *segments = (struct segments){0};
}

void segments_cursor_init(struct segments_cursor *cursor, const struct segments *segments)
{
    *cursor = (struct segments_cursor){.segments = segments, .current = SIZE_MAX};
}

void segments_cursor_done(struct segments_cursor *cursor)
{
    read_ahead_done(&cursor->in);
}

int segments_read(struct segments_cursor *cursor, uint64_t ref, uint8_t *ret_encoding, struct str *ret_data)
{
    size_t segment = (size_t)(ref >> 32);
    uint64_t offset = ref & UINT32_MAX;
    if (segment >= cursor->segments->count || offset < SEGMENT_HEADER_BYTES) {
        return -EBADMSG;
    }
    if (segment != cursor->current) {
        cursor->current = segment;
        read_ahead_switch(&cursor->in, cursor->segments->files[segment], cursor->segments->bytes[segment]);
    }
    const uint8_t *bytes;
    int error = read_ahead_get(&cursor->in, offset, CHUNK_LEN_BYTES, &bytes);
    if (error) {
        return error;
    }
    struct reader reader = reader_of(bytes, CHUNK_LEN_BYTES);
    size_t len = (size_t)reader_uvarint_max(&reader, SEGMENT_CHUNK_BYTES_MAX);
    if (reader.bad) {
        return -EBADMSG;
    }
    size_t head = (size_t)(reader.at - bytes);
    error = read_ahead_get(&cursor->in, offset, head + 1 + len + CHUNK_CRC_BYTES, &bytes);
    if (error) {
        return error;
    }
    bytes += head;
    if (crc32c(0, bytes, 1 + len) != be32_at(bytes + 1 + len)) {
        return -EBADMSG;
    }
    *ret_encoding = bytes[0];
    *ret_data = str_of(bytes + 1, len);
    return 0;
}
