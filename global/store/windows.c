#include "store/windows.h"

#include "base/crc.h"
#include "base/fail.h"
#include "base/map.h"
#include "store/be.h"

#include <errno.h>

#define WINDOWS_MAGIC     0x5457494EU /* "TWIN" */
#define WINDOWS_VERSION   1
#define HEADER_BYTES      8
#define FOOTER_BYTES      28
#define CRC_BYTES         4
#define GROUP_BYTES_FULL  (64 * KIB) /* a group is ended before 64 series when notes stand in it */
#define GROUP_BYTES_MAX   (GROUP_BYTES_FULL + WINDOWS_NOTE_BYTES_MAX + 64)
#define SERIES_BYTES_MIN  3 /* in a group: three numbers */
#define SECTION_BYTES_MAX ((size_t)UINT32_MAX)

/* ---- Writing ---- */

struct windows_writer {
    struct file_writer out;
    struct map codes; /* hash of a note -> its code, as a number in a pointer */
    struct buf dictionary;
    struct str_place {
        uint32_t at, len;
    } * places; /* of notes in the dictionary, by code - 1 */
    size_t note_count, note_capacity;
    struct buf group, table;
    size_t group_count, group_series;
    uint32_t group_first, last_id, last_first;
    uint64_t series_count;
};

int windows_writer_new(struct file_system *fs, const char *path, struct windows_writer **ret_writer)
{
    struct windows_writer *writer = mem_zalloc(sizeof(*writer));
    map_init(&writer->codes);
    writer->dictionary = BUF_INIT(WINDOWS_DICTIONARY_BYTES);
    writer->group = BUF_INIT(GROUP_BYTES_MAX);
    writer->table = BUF_INIT(SECTION_BYTES_MAX);
    int error = file_writer_open(&writer->out, fs, path);
    if (error) {
        windows_writer_free(writer);
        return error;
    }
    uint8_t head[HEADER_BYTES] = {0};
    uint32_t magic = htobe32(WINDOWS_MAGIC);
    memcpy(head, &magic, sizeof(magic));
    head[4] = WINDOWS_VERSION;
    file_writer_put(&writer->out, head, sizeof(head));
    *ret_writer = writer;
    return 0;
}

void windows_writer_free(struct windows_writer *writer)
{
    if (!writer) {
        return;
    }
    file_writer_done(&writer->out);
    map_done(&writer->codes);
    buf_done(&writer->dictionary);
    buf_done(&writer->group);
    buf_done(&writer->table);
    mem_free(writer->places);
    mem_free(writer);
}

struct note_key {
    const struct windows_writer *writer;
    struct str note;
};

static bool note_equal(const void *item, const void *key)
{
    const struct note_key *wanted = key;
    const struct str_place *place = &wanted->writer->places[(uintptr_t)item - 1];
    return str_equal(str_of(wanted->writer->dictionary.data + place->at, place->len), wanted->note);
}

/* The code of a note, 0 when it is not in the dictionary and that is full. */
static uint32_t code_of(struct windows_writer *writer, struct str note)
{
    struct note_key key = {writer, note};
    uint64_t hash = str_hash(note);
    void *found = map_get(&writer->codes, hash, note_equal, &key);
    if (found) {
        return (uint32_t)(uintptr_t)found;
    }
    if (note.len > WINDOWS_DICTIONARY_BYTES - writer->dictionary.len) {
        return 0;
    }
    if (writer->note_count == writer->note_capacity) {
        writer->note_capacity = MAX(writer->note_capacity * 2, (size_t)16);
        writer->places = mem_resize(writer->places, writer->note_capacity, sizeof(*writer->places));
    }
    writer->places[writer->note_count++] = (struct str_place){(uint32_t)writer->dictionary.len, (uint32_t)note.len};
    buf_append_str(&writer->dictionary, note);
    map_put(&writer->codes, hash, (void *)(uintptr_t)writer->note_count);
    return (uint32_t)writer->note_count;
}

static void end_group(struct windows_writer *writer)
{
    if (writer->group_series == 0) {
        return;
    }
    buf_append_be32(&writer->group, crc32c(0, writer->group.data, writer->group.len));
    file_writer_put(&writer->out, writer->group.data, writer->group.len);
    buf_append_uvarint(&writer->table, writer->group_first - writer->last_first);
    buf_append_uvarint(&writer->table, writer->group.len);
    writer->last_first = writer->group_first;
    writer->group_count++;
    writer->group_series = 0;
    buf_reset(&writer->group);
}

int windows_writer_add(struct windows_writer *writer, uint32_t id, struct str note, uint32_t aggregates_id)
{
    ASSERT(note.len > 1 && note.len <= WINDOWS_NOTE_BYTES_MAX);
    ASSERT(writer->series_count == 0 || id > writer->last_id);
    if (writer->group_series == WINDOWS_GROUP_SERIES || writer->group.len >= GROUP_BYTES_FULL) {
        end_group(writer);
    }
    if (writer->group_series++ == 0) {
        writer->group_first = writer->last_id = id;
    }
    uint32_t code = code_of(writer, note);
    buf_append_uvarint(&writer->group, id - writer->last_id);
    buf_append_uvarint(&writer->group, code);
    if (code == 0) {
        buf_append_uvarint(&writer->group, note.len);
        buf_append_str(&writer->group, note);
    }
    buf_append_uvarint(&writer->group, aggregates_id);
    writer->last_id = id;
    writer->series_count++;
    return writer->out.error;
}

/* A section that begins with a count and ends with a checksum of all before. */
static void put_section(struct windows_writer *writer, uint64_t count, struct str content)
{
    uint8_t head[UVARINT_BYTES_MAX];
    size_t head_bytes = uvarint_put(head, count);
    uint32_t crc = htobe32(crc32c(crc32c(0, head, head_bytes), content.ptr, content.len));
    file_writer_put(&writer->out, head, head_bytes);
    file_writer_put(&writer->out, content.ptr, content.len);
    file_writer_put(&writer->out, &crc, sizeof(crc));
}

int windows_writer_finish(struct windows_writer *writer, uint64_t *ret_bytes, uint32_t *ret_crc)
{
    end_group(writer);
    uint64_t dictionary_at = writer->out.offset;
    CLEANUP(buf_done) struct buf notes = BUF_INIT(SECTION_BYTES_MAX);
    for (size_t i = 0; i < writer->note_count; i++) {
        buf_append_uvarint(&notes, writer->places[i].len);
        buf_append(&notes, writer->dictionary.data + writer->places[i].at, writer->places[i].len);
    }
    put_section(writer, writer->note_count, buf_view(&notes));
    uint64_t table_at = writer->out.offset;
    put_section(writer, writer->group_count, buf_view(&writer->table));
    buf_reset(&notes);
    buf_append_be64(&notes, dictionary_at);
    buf_append_be64(&notes, table_at);
    buf_append_be64(&notes, writer->series_count);
    buf_append_be32(&notes, crc32c(0, notes.data, notes.len));
    file_writer_put(&writer->out, notes.data, notes.len);
    int error = writer->table.full ? -EFBIG : file_writer_finish(&writer->out);
    *ret_bytes = writer->out.offset;
    *ret_crc = writer->out.crc;
    return error;
}

/* ---- Opening ---- */

static int read_part(struct windows *windows, uint64_t offset, uint64_t end, struct buf *into)
{
    buf_reset(into);
    if (offset > end || end > windows->bytes || end - offset > into->bytes_max) {
        return -EBADMSG;
    }
    size_t len = (size_t)(end - offset);
    uint8_t *at = buf_reserve(into, len);
    int64_t got = at ? file_read_at(windows->file, at, len, offset) : -EBADMSG;
    if (got < 0) {
        return (int)got;
    }
    buf_added(into, (size_t)got);
    return into->len == len ? 0 : -EBADMSG;
}

/* As put_section wrote it: a reader behind its checksum's check. */
static int read_section(struct windows *windows, uint64_t offset, uint64_t end, struct buf *into,
                        struct reader *ret_reader)
{
    int error = read_part(windows, offset, end, into);
    if (error) {
        return error;
    }
    if (into->len < CRC_BYTES) {
        return -EBADMSG;
    }
    size_t content = into->len - CRC_BYTES;
    *ret_reader = reader_of(into->data, content);
    return crc32c(0, into->data, content) == be32_at(into->data + content) ? 0 : -EBADMSG;
}

static int open_dictionary(struct windows *windows, uint64_t offset, uint64_t end)
{
    struct reader reader;
    windows->dictionary = BUF_INIT(2 * WINDOWS_DICTIONARY_BYTES + 64);
    int error = read_section(windows, offset, end, &windows->dictionary, &reader);
    if (error) {
        return error;
    }
    size_t count = reader_count(&reader, 1, WINDOWS_DICTIONARY_BYTES);
    windows->notes = mem_array(count, sizeof(*windows->notes));
    for (; windows->note_count < count && !reader.bad; windows->note_count++) {
        struct str note = reader_string(&reader, WINDOWS_DICTIONARY_BYTES);
        if (note_check(note) < 0) {
            return -EBADMSG;
        }
        windows->notes[windows->note_count] = note;
    }
    return reader.bad || reader_left(&reader) > 0 ? -EBADMSG : 0;
}

static int open_table(struct windows *windows, uint64_t offset, uint64_t end, uint64_t groups_end)
{
    struct reader reader;
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(SECTION_BYTES_MAX);
    int error = read_section(windows, offset, end, &bytes, &reader);
    if (error) {
        return error;
    }
    uint64_t id = 0, at = HEADER_BYTES;
    size_t count = reader_count(&reader, 2, SIZE_MAX);
    windows->groups = mem_array(count, sizeof(*windows->groups));
    for (; windows->group_count < count; windows->group_count++) {
        uint64_t step = reader_uvarint_max(&reader, UINT32_MAX);
        uint64_t len = reader_uvarint_max(&reader, GROUP_BYTES_MAX);
        bool good = !reader.bad && len >= SERIES_BYTES_MIN + CRC_BYTES && len <= groups_end - at &&
                    step <= UINT32_MAX - id && (step > 0 || windows->group_count == 0);
        if (!good) {
            return -EBADMSG;
        }
        id += step;
        windows->groups[windows->group_count] = (struct windows_group){at, (uint32_t)id, (uint32_t)len};
        at += len;
    }
    return reader_left(&reader) == 0 && !reader.bad && at == groups_end ? 0 : -EBADMSG;
}

static int open_parts(struct windows *windows, const char **ret_what)
{
    CLEANUP(buf_done) struct buf part = BUF_INIT(HEADER_BYTES + FOOTER_BYTES);
    static const uint8_t head[HEADER_BYTES] = {'T', 'W', 'I', 'N', WINDOWS_VERSION};
    *ret_what = "it does not begin or end as such a file does";
    uint64_t end = windows->bytes - FOOTER_BYTES;
    int error = windows->bytes < HEADER_BYTES + FOOTER_BYTES ? -EBADMSG : read_part(windows, 0, HEADER_BYTES, &part);
    if (!error && memcmp(part.data, head, sizeof(head)) != 0) {
        error = -EBADMSG;
    }
    error = error ? error : read_part(windows, end, windows->bytes, &part);
    if (error) {
        return error;
    }
    *ret_what = "the checksum of its end is wrong";
    size_t content = FOOTER_BYTES - CRC_BYTES;
    uint64_t dictionary_at = be64_at(part.data), table_at = be64_at(part.data + 8);
    windows->series_count = be64_at(part.data + 16);
    if (crc32c(0, part.data, content) != be32_at(part.data + content) || dictionary_at < HEADER_BYTES) {
        return -EBADMSG;
    }
    *ret_what = "its dictionary is damaged";
    error = open_dictionary(windows, dictionary_at, table_at);
    if (error) {
        return error;
    }
    *ret_what = "its table is damaged";
    return open_table(windows, table_at, end, dictionary_at);
}

int windows_open(struct windows *windows, struct file_system *fs, const char *path, const char **ret_what)
{
    *windows = (struct windows){0};
    *ret_what = "it cannot be opened";
    int error = file_open(fs, path, FILE_READ, &windows->file);
    if (error) {
        return error;
    }
    windows->bytes = file_size(windows->file);
    return open_parts(windows, ret_what);
}

void windows_close(struct windows *windows)
{
    file_close(windows->file);
    buf_done(&windows->dictionary);
    mem_free(windows->notes);
    mem_free(windows->groups);
    *windows = (struct windows){0};
}

size_t windows_memory_bytes(const struct windows *windows)
{
    return windows->dictionary.capacity + windows->note_count * sizeof(*windows->notes) +
           windows->group_count * sizeof(*windows->groups);
}

/* ---- Reading ---- */

void windows_cursor_init(struct windows_cursor *cursor, const struct windows *windows)
{
    cursor->windows = windows;
    cursor->group = windows->group_count;
    cursor->count = 0;
    read_ahead_init(&cursor->in, windows->file, windows->bytes);
}

void windows_cursor_done(struct windows_cursor *cursor)
{
    read_ahead_done(&cursor->in);
}

static int parse_series(const struct windows *windows, struct reader *reader, struct windows_record *ret_record)
{
    uint64_t code = reader_uvarint_max(reader, windows->note_count);
    if (code > 0) {
        ret_record->note = windows->notes[code - 1];
    } else {
        ret_record->note = reader_string(reader, WINDOWS_NOTE_BYTES_MAX);
        if (note_check(ret_record->note) < 0) {
            return -EBADMSG;
        }
    }
    ret_record->aggregates_id = (uint32_t)reader_uvarint_max(reader, UINT32_MAX);
    return reader->bad ? -EBADMSG : 0;
}

static int read_group(struct windows_cursor *cursor, size_t number)
{
    const struct windows *windows = cursor->windows;
    const struct windows_group *group = &windows->groups[number];
    size_t content = group->bytes - CRC_BYTES;
    const uint8_t *bytes;
    cursor->group = windows->group_count;
    int error = read_ahead_get(&cursor->in, group->offset, group->bytes, &bytes);
    if (error) {
        return error;
    }
    if (crc32c(0, bytes, content) != be32_at(bytes + content)) {
        return -EBADMSG;
    }
    struct reader reader = reader_of(bytes, content);
    uint64_t id = group->first_id;
    cursor->count = 0;
    while (reader_left(&reader) > 0 && cursor->count < WINDOWS_GROUP_SERIES) {
        struct windows_record *record = &cursor->items[cursor->count];
        uint64_t step = reader_uvarint_max(&reader, UINT32_MAX - id);
        id += step;
        record->id = (uint32_t)id;
        if (parse_series(windows, &reader, record) < 0 || (step == 0) != (cursor->count == 0)) {
            return -EBADMSG;
        }
        cursor->count++;
    }
    if (reader_left(&reader) > 0 || reader.bad) {
        return -EBADMSG;
    }
    cursor->group = number;
    return 0;
}

/* The last group that begins at or before id; group_count when there is none. */
static size_t group_for(const struct windows *windows, uint32_t id)
{
    size_t low = 0, high = windows->group_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        bool is_behind = windows->groups[middle].first_id > id;
        low = is_behind ? low : middle + 1;
        high = is_behind ? middle : high;
    }
    return low > 0 ? low - 1 : windows->group_count;
}

int windows_find(struct windows_cursor *cursor, uint32_t id, const struct windows_record **ret_record)
{
    size_t group = group_for(cursor->windows, id);
    if (group == cursor->windows->group_count) {
        return -EBADMSG;
    }
    int error = group != cursor->group ? read_group(cursor, group) : 0;
    if (error) {
        return error;
    }
    for (size_t i = 0; i < cursor->count; i++) {
        if (cursor->items[i].id == id) {
            *ret_record = &cursor->items[i];
            return 0;
        }
    }
    return -EBADMSG;
}
