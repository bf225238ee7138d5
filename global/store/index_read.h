#pragma once
/* An index on disk, open to be read: immutable, any number of threads, each with a cursor of its own.
 *
 * What is read again later is held against a checksum, so that a disk that changed its mind is an error, never another
 * answer. All errors are -EBADMSG, -EIO and the like; the caller knows the file. */
#include "store/index_format.h"
#include "store/index_symbols.h"
#include "store/index_table.h"

#include <roaring/roaring.h>

struct index {
    struct file *file;
    uint64_t bytes;
    struct index_toc toc;
    struct symbols symbols;
    struct offset_table table; /* its first name is "", of all series */
};

/* symbols_held_bytes: SYMBOLS_HELD_BYTES or 0. -EBADMSG with what is wrong, or an error of the disk, or -ENOENT. On
 * errors call index_close too. */
MUST_CHECK int index_open(struct index *index, struct file_system *fs, const char *path, size_t symbols_held_bytes,
                          const char **ret_what);
void index_close(struct index *index);
size_t index_memory_bytes(const struct index *index);

/* ---- What one thread keeps ---- */

struct index_cursor {
    const struct index *index;
    struct read_ahead series, table, lists;
    struct symbol_reader symbols;
    struct index_series *entry; /* the series that was read last */
    struct buf texts;
};
void index_cursor_init(struct index_cursor *cursor, const struct index *index);
void index_cursor_done(struct index_cursor *cursor);

/* Fills cursor->entry. -EBADMSG also for an id that is none. */
MUST_CHECK int index_series_read(struct index_cursor *cursor, uint32_t id);
/* The labels of cursor->entry; the caller's reference. */
MUST_CHECK int index_series_labels(struct index_cursor *cursor, struct labels **ret_labels);
/* Walks all series in order: 1 with cursor->entry filled, 0 at the end. *at is 0 before the first. */
MUST_CHECK int index_series_next(struct index_cursor *cursor, uint64_t *at, uint32_t *ret_id);

/* -ENOENT: no series has it. Of all series: both empty. */
MUST_CHECK int index_list_find(struct index_cursor *cursor, struct str name, struct str value, uint64_t *ret_list);
/* Adds the ids of a list; after an error some may have been added. */
MUST_CHECK int index_list_read(struct index_cursor *cursor, uint64_t list, roaring_bitmap_t *into);

/* The entry of a series at an offset: its body (valid until the next read), checked against its checksum, and where it
 * ends. */
MUST_CHECK int index_read_entry(struct read_ahead *in, uint64_t offset, struct str *ret_body, uint64_t *ret_end);
