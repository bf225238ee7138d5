#include "store/file_writer.h"

#include "base/crc.h"
#include "base/fail.h"

#define PENDING_BYTES (256 * KIB) /* one append at a time; more buys nothing */

int file_writer_open(struct file_writer *writer, struct file_system *fs, const char *path)
{
    *writer = (struct file_writer){.pending = BUF_INIT(PENDING_BYTES)};
    return file_open(fs, path, FILE_CREATE_NEW, &writer->file);
}

int file_writer_flush(struct file_writer *writer)
{
    if (!writer->error && writer->pending.len > 0) {
        writer->error = file_append(writer->file, writer->pending.data, writer->pending.len);
        writer->crc = crc32c(writer->crc, writer->pending.data, writer->pending.len);
        buf_reset(&writer->pending);
    }
    return writer->error;
}

void file_writer_put(struct file_writer *writer, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0 && !writer->error) {
        size_t part = MIN(len, PENDING_BYTES - writer->pending.len);
        buf_append(&writer->pending, at, part);
        writer->offset += part;
        at += part;
        len -= part;
        if (writer->pending.len == PENDING_BYTES) {
            (void)!file_writer_flush(writer); /* kept in the writer */
        }
    }
}

void file_writer_pad(struct file_writer *writer, size_t alignment)
{
    static const uint8_t zeros[16];
    ASSERT(alignment <= sizeof(zeros));
    file_writer_put(writer, zeros, (size_t)((alignment - writer->offset % alignment) % alignment));
}

int file_writer_finish(struct file_writer *writer)
{
    int error = file_writer_flush(writer);
    writer->error = error ? error : file_sync(writer->file);
    file_close(STEAL(writer->file));
    buf_done(&writer->pending);
    return writer->error;
}

void file_writer_done(struct file_writer *writer)
{
    file_close(STEAL(writer->file));
    buf_done(&writer->pending);
}
