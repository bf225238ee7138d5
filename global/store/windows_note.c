#include "store/windows.h"

#include "base/fail.h"

#include <errno.h>

#define FLAGS_KEPT ENTRY_EXTRA

/* ---- Writing ---- */

void note_writer_init(struct note_writer *writer)
{
    *writer = (struct note_writer){.note = BUF_INIT(WINDOWS_NOTE_BYTES_MAX),
                                   .chunk = BUF_INIT(WINDOWS_NOTE_BYTES_MAX),
                                   .last = BUF_INIT(WINDOWS_NOTE_BYTES_MAX)};
}

void note_writer_done(struct note_writer *writer)
{
    buf_done(&writer->note);
    buf_done(&writer->chunk);
    buf_done(&writer->last);
}

void note_begin(struct note_writer *writer, enum series_kind kind)
{
    buf_reset(&writer->note);
    buf_reset(&writer->last);
    writer->repeat = 0;
    buf_append_byte(&writer->note, (uint8_t)kind);
}

static bool same_window(const struct entry *a, const struct entry *b)
{
    return a->count == b->count && a->resolution_ms == b->resolution_ms &&
           (a->flags & FLAGS_KEPT) == (b->flags & FLAGS_KEPT);
}

static void put_last(struct note_writer *writer, uint64_t repeat)
{
    buf_append_uvarint(&writer->note, repeat);
    buf_append_str(&writer->note, buf_view(&writer->last));
}

void note_add_chunk(struct note_writer *writer, const struct entry *entries, size_t count)
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
    ASSERT(!chunk->full); /* 65,535 samples take less than a MiB */
    if (writer->repeat > 0 && !str_equal(buf_view(&writer->last), buf_view(chunk))) {
        put_last(writer, writer->repeat);
        writer->repeat = 0;
    }
    if (writer->repeat++ == 0) {
        struct buf swap = writer->last;
        writer->last = *chunk;
        *chunk = swap;
    }
}

int note_end(struct note_writer *writer)
{
    ASSERT(writer->repeat > 0);
    put_last(writer, 0);
    return writer->note.full ? -EMSGSIZE : 0;
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

static void pass_runs(struct reader *reader)
{
    struct note_reader run;
    while (read_run(reader, &run)) {
    }
}

int note_check(struct str note)
{
    struct reader reader = reader_of(note.ptr, note.len);
    uint8_t kind = reader_byte(&reader);
    if (kind > KIND_LAST || reader_left(&reader) == 0) {
        return -EBADMSG;
    }
    bool is_last = false;
    while (reader_left(&reader) > 0 && !is_last) {
        is_last = reader_uvarint(&reader) == 0;
        pass_runs(&reader);
    }
    return reader.bad || !is_last || reader_left(&reader) > 0 ? -EBADMSG : 0;
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
    if (reader->chunks_left == 0) {
        uint64_t repeat = reader_uvarint(&reader->chunks);
        reader->chunks_left = repeat > 0 ? repeat : UINT64_MAX;
        reader->again = reader->chunks;
        pass_runs(&reader->chunks);
    }
    reader->chunks_left -= reader->chunks_left != UINT64_MAX;
    reader->runs = reader->again;
    note_reader_next_run(reader);
}
