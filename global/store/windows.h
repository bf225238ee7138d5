#pragma once
/* The file `windows` beside a block's index: of each series its kind, and of each sample what its window is (scrapes,
 * resolution, whether it is an extra one); and its series in the block of aggregates. Byte by byte in
 * docs/block-format.md.
 *
 * A note says all of one series, chunk by chunk, in runs: series that are scraped alike have the same note, which
 * stands once in a dictionary. */
#include "base/file.h"
#include "store/entry.h"
#include "store/file_writer.h"
#include "store/read_ahead.h"

#define WINDOWS_GROUP_SERIES     64
#define WINDOWS_DICTIONARY_BYTES MIB        /* of notes; what comes when it is full stands with its series */
#define WINDOWS_NOTE_BYTES_MAX   (64 * MIB) /* of one note: at worst 13 bytes a sample */

/* ---- Notes: bytes in, bytes out ---- */

/* What a note is made with: begin, each chunk, end, and it is in `note`. */
struct note_writer {
    struct buf note;
    struct buf chunk, last; /* runs of a chunk, and of those before that say the same */
    uint64_t repeat;        /* chunks that `last` speaks of */
};
void note_writer_init(struct note_writer *writer);
void note_writer_done(struct note_writer *writer);
void note_begin(struct note_writer *writer, enum series_kind kind);
void note_add_chunk(struct note_writer *writer, const struct entry *entries, size_t count);
/* -EMSGSIZE: the note has become too long. */
MUST_CHECK int note_end(struct note_writer *writer);

/* -EBADMSG: no note. The readers below take checked ones. */
MUST_CHECK int note_check(struct str note);
enum series_kind note_kind(struct str note);

struct note_reader {
    struct reader chunks; /* what comes behind the current chunk */
    struct reader again;  /* the runs of the current chunk, for those that say the same */
    uint64_t chunks_left; /* that say the same; UINT64_MAX: all that come */
    struct reader runs;   /* of the current chunk, from the next on */
    uint64_t left;        /* samples of the current run; UINT64_MAX: all that come */
    uint32_t count, resolution_ms;
    uint16_t flags;
};
void note_reader_init(struct note_reader *reader, struct str note);
void note_reader_next_chunk(struct note_reader *reader);
void note_reader_next_run(struct note_reader *reader);
/* Fills count, resolution and flags of the next sample of the chunk. */
static inline void note_reader_sample(struct note_reader *reader, struct entry *entry)
{
    if (reader->left == 0) {
        note_reader_next_run(reader);
    }
    reader->left -= reader->left != UINT64_MAX;
    entry->count = reader->count;
    entry->resolution_ms = reader->resolution_ms;
    entry->flags = reader->flags;
}
/* After the last sample of a chunk: the note spoke of no more than there are. */
static inline bool note_reader_is_done(const struct note_reader *reader)
{
    return reader->left == UINT64_MAX;
}

/* ---- Writing ---- */

struct windows_writer;
MUST_CHECK int windows_writer_new(struct file_system *fs, const char *path, struct windows_writer **ret_writer);
void windows_writer_free(struct windows_writer *writer); /* NULL allowed */
/* Ids ascending. aggregates_id 0: none. */
MUST_CHECK int windows_writer_add(struct windows_writer *writer, uint32_t id, struct str note, uint32_t aggregates_id);
/* Synced and closed. */
MUST_CHECK int windows_writer_finish(struct windows_writer *writer, uint64_t *ret_bytes, uint32_t *ret_crc);

/* ---- Reading ---- */

struct windows_group {
    uint64_t offset;
    uint32_t first_id;
    uint32_t bytes; /* with the checksum */
};

struct windows {
    struct file *file;
    uint64_t bytes, series_count;
    struct buf dictionary; /* all notes */
    struct str *notes;     /* by code - 1 */
    size_t note_count;
    struct windows_group *groups;
    size_t group_count;
};

/* -EBADMSG with what is wrong, -ENOENT. On errors call windows_close too. */
MUST_CHECK int windows_open(struct windows *windows, struct file_system *fs, const char *path, const char **ret_what);
void windows_close(struct windows *windows);
size_t windows_memory_bytes(const struct windows *windows);

struct windows_record {
    uint32_t id, aggregates_id;
    struct str note; /* valid until the group changes */
};

struct windows_cursor { /* of one thread */
    const struct windows *windows;
    struct read_ahead in;
    size_t group; /* which is in items; group_count: none */
    struct windows_record items[WINDOWS_GROUP_SERIES];
    size_t count;
};
void windows_cursor_init(struct windows_cursor *cursor, const struct windows *windows);
void windows_cursor_done(struct windows_cursor *cursor);
/* -EBADMSG: damaged, or the series is not there. */
MUST_CHECK int windows_find(struct windows_cursor *cursor, uint32_t id, const struct windows_record **ret_record);
