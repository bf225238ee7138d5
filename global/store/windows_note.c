#include "store/windows.h"

#include "base/fail.h"

#include <errno.h>

#define FLAGS_KEPT ENTRY_EXTRA

/* ---- Writing ---- */

void note_writer_init(struct note_writer *writer)
{
    *writer = (struct note_writer){.note = BUF_INIT(WINDOWS_NOTE_BYTES_MAX), .chunk = BUF_INIT(WINDOWS_NOTE_BYTES_MAX)};
}

void note_writer_done(struct note_writer *writer)
{
    buf_done(&writer->note);
    buf_done(&writer->chunk);
}

void note_begin(struct note_writer *writer, enum series_kind kind)
{
    buf_reset(&writer->note);
    buf_append_byte(&writer->note, (uint8_t)kind);
    writer->last = writer->note.len;
}

static bool same_window(const struct entry *a, const struct entry *b)
{
    return a->count == b->count && a->resolution_ms == b->resolution_ms &&
           (a->flags & FLAGS_KEPT) == (b->flags & FLAGS_KEPT);
}

int note_add_chunk(struct note_writer *writer, const struct entry *entries, size_t count)
{
    struct buf *chunk = &writer->chunk;
    buf_reset(chunk);
    for (size_t at = 0; at < count;) {
        size_t end = at + 1;
        while (end < count && same_window(&entries[at], &entries[end])) {
            end++;
        }
        buf_append_uvarint(chunk, end < count ? end - at : 0);
        buf_append_uvarint(chunk, entries[at].count);
        buf_append_uvarint(chunk, entries[at].resolution_ms);
        buf_append_uvarint(chunk, entries[at].flags & FLAGS_KEPT);
        at = end;
    }
    /* What the chunk before says holds for all behind it. */
    struct str last = str_of(writer->note.data + writer->last, writer->note.len - writer->last);
    if (!str_equal(last, buf_view(chunk))) {
        writer->last = writer->note.len;
        buf_append_str(&writer->note, buf_view(chunk));
    }
    return chunk->full || writer->note.full ? -EMSGSIZE : 0;
}

/* ---- Reading ---- */

/* One run; false: it is the last of its chunk. */
static bool read_run(struct reader *reader, struct note_reader *run)
{
    uint64_t repeat = reader_uvarint(reader);
    uint64_t count = reader_uvarint(reader);
    uint64_t resolution_ms = reader_uvarint(reader);
    uint64_t flags = reader_uvarint(reader);
    if (count > UINT32_MAX || resolution_ms > UINT32_MAX || (flags & ~(uint64_t)FLAGS_KEPT) != 0) {
        reader->bad = true;
    }
    run->left = repeat > 0 ? repeat : UINT64_MAX;
    run->count = (uint32_t)count;
    run->resolution_ms = (uint32_t)resolution_ms;
    run->flags = (uint16_t)flags;
    return repeat > 0 && !reader->bad;
}

int note_check(struct str note)
{
    struct reader reader = reader_of(note.ptr, note.len);
    uint8_t kind = reader_byte(&reader);
    if (kind > KIND_LAST || reader_left(&reader) == 0) {
        return -EBADMSG;
    }
    while (reader_left(&reader) > 0) {
        struct note_reader run;
        while (read_run(&reader, &run)) {
        }
    }
    return reader.bad ? -EBADMSG : 0;
}

enum series_kind note_kind(struct str note)
{
    return (enum series_kind)note.ptr[0];
}

void note_reader_init(struct note_reader *reader, struct str note)
{
    ASSERT(note.len > 1);
    *reader = (struct note_reader){.chunks = reader_of(note.ptr + 1, note.len - 1)};
}

void note_reader_next_run(struct note_reader *reader)
{
    read_run(&reader->runs, reader);
}

void note_reader_next_chunk(struct note_reader *reader)
{
    if (reader_left(&reader->chunks) > 0) {
        struct note_reader run;
        reader->again = reader->chunks;
        while (read_run(&reader->chunks, &run)) {
        }
    }
    reader->runs = reader->again;
    note_reader_next_run(reader);
}
