#pragma once
/* Appends to one new file through a buffer, and knows its length and checksum. The first error is kept: put and pad do
 * nothing from then on, flush and finish return it. */
#include "base/file.h"

struct file_writer {
    struct file *file; /* may be read up to what was flushed */
    struct buf pending;
    uint64_t offset; /* where the next byte will stand */
    uint32_t crc;    /* CRC32C of what was flushed */
    int error;
};

/* Makes the file; -EEXIST when there is one. A zeroed writer may be given to file_writer_done. */
MUST_CHECK int file_writer_open(struct file_writer *writer, struct file_system *fs, const char *path);
void file_writer_put(struct file_writer *writer, const void *data, size_t len);
void file_writer_pad(struct file_writer *writer, size_t alignment); /* zeros up to a multiple of it */
MUST_CHECK int file_writer_flush(struct file_writer *writer);
MUST_CHECK int file_writer_finish(struct file_writer *writer); /* flushed, synced, closed; length and crc stay */
void file_writer_done(struct file_writer *writer);
