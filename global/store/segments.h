#pragma once
/* The files of a block's chunks, chunks/000001 and on (Prometheus 2.42, tsdb/docs/format/chunks.md). A chunk's
 * reference is the place of its file in the sorted listing << 32 | its offset. */
#include "base/file.h"
#include "store/block_meta.h"
#include "store/file_writer.h"
#include "store/read_ahead.h"

#define SEGMENT_BYTES_MAX       (512 * MIB) /* Prometheus' limit of a file */
#define SEGMENT_CHUNK_BYTES_MAX (64 * MIB)  /* of one chunk that is read; ours have at most 6 MiB */

enum chunk_encoding {
    CHUNK_XOR = 1,
    CHUNK_HISTOGRAM = 2,
    CHUNK_FLOAT_HISTOGRAM = 3,
    CHUNK_AGGREGATES = 0xff, /* Thanos' AggrChunk */
};

/* ---- Writing ---- */

struct segments_writer {
    struct file_system *fs;
    char *dir; /* of the block; the files lie in chunks/ in it */
    uint64_t segment_bytes_max;
    struct file_writer out;
    struct block_file *files; /* those that are done, and the one being written */
    size_t file_count;
};

/* Makes the directory. On errors call segments_writer_done too. */
MUST_CHECK int segments_writer_init(struct segments_writer *writer, struct file_system *fs, const char *dir,
                                    uint64_t segment_bytes_max);
MUST_CHECK int segments_writer_add(struct segments_writer *writer, uint8_t encoding, struct str data,
                                   uint64_t *ret_ref);
/* Syncs files and their directory; `files` then says their lengths and checksums. */
MUST_CHECK int segments_writer_finish(struct segments_writer *writer);
void segments_writer_done(struct segments_writer *writer);

/* ---- Reading ---- */

struct segments {
    struct file **files;
    uint64_t *bytes;
    size_t count;
};

/* -EBADMSG with what is wrong, -ENOENT without the directory. On errors call segments_close too. */
MUST_CHECK int segments_open(struct segments *segments, struct file_system *fs, const char *dir, const char **ret_what);
void segments_close(struct segments *segments);

struct segments_cursor { /* of one thread */
    const struct segments *segments;
    size_t current;
    struct read_ahead in;
};
void segments_cursor_init(struct segments_cursor *cursor, const struct segments *segments);
void segments_cursor_done(struct segments_cursor *cursor);
/* Data is valid until the next call, its checksum is right. -EBADMSG, -EIO ... */
MUST_CHECK int segments_read(struct segments_cursor *cursor, uint64_t ref, uint8_t *ret_encoding, struct str *ret_data);
