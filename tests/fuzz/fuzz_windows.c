/* Any bytes as the file `windows`, checksums made right or not: what opens can be read whole or is refused, its notes
 * can be followed, and written anew it says the same. */
#include "base/crc.h"
#include "base/fail.h"
#include "store/be.h"
#include "store/windows.h"

#define FOOTER_BYTES 28
#define CRC_BYTES    4
#define FOLLOWED     100 /* samples of a chunk, chunks of a note */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fix(uint8_t *data, uint64_t start, uint64_t end)
{
    uint32_t crc = htobe32(crc32c(0, data + start, (size_t)(end - start) - CRC_BYTES));
    memcpy(data + end - CRC_BYTES, &crc, CRC_BYTES);
}

static void fix_end(uint8_t *data, size_t size)
{
    if (size < FOOTER_BYTES) {
        return;
    }
    uint64_t end = size - FOOTER_BYTES, dictionary = be64_at(data + end), table = be64_at(data + end + 8);
    fix(data, end, size);
    if (dictionary < table && table <= end && table - dictionary >= CRC_BYTES) {
        fix(data, dictionary, table);
    }
    if (table < end && end - table >= CRC_BYTES) {
        fix(data, table, end);
    }
}

static void put(struct file_system *fs, const uint8_t *data, size_t size)
{
    struct file *file;
    int gone = file_unlink(fs, "windows");
    ASSERT(gone == 0 || gone == -2);
    ASSERT(file_open(fs, "windows", FILE_CREATE_NEW, &file) == 0);
    ASSERT(file_append(file, data, size) == 0);
    file_close(file);
}

static void follow(struct str note)
{
    struct note_reader reader;
    struct entry entry;
    ASSERT(note_check(note) == 0 && note_kind(note) <= KIND_LAST);
    note_reader_init(&reader, note);
    for (int chunk = 0; chunk < FOLLOWED; chunk++) {
        note_reader_next_chunk(&reader);
        for (int i = 0; i < FOLLOWED; i++) {
            note_reader_sample(&reader, &entry);
            ASSERT((entry.flags & ~ENTRY_EXTRA) == 0);
        }
        ASSERT(!reader.runs.bad && !reader.chunks.bad);
    }
}

/* All records, by the first ids of groups and on; into `copy` as far as they can be read. */
static void read_all(const struct windows *windows, struct windows_writer *copy)
{
    struct windows_cursor cursor;
    const struct windows_record *record;
    uint64_t next = 0;
    windows_cursor_init(&cursor, windows);
    for (size_t i = 0; i < windows->group_count; i++) {
        if (windows_find(&cursor, windows->groups[i].first_id, &record) < 0) {
            continue;
        }
        for (size_t k = 0; k < cursor.count; k++) {
            const struct windows_record *item = &cursor.items[k];
            follow(item->note);
            if (item->id >= next) { /* groups may overlap in a file that lies */
                ASSERT(windows_writer_add(copy, item->id, item->note, item->aggregates_id) == 0);
                next = (uint64_t)item->id + 1;
            }
        }
    }
    windows_cursor_done(&cursor);
}

static void compare(struct file_system *fs)
{
    struct windows windows, again;
    struct windows_cursor first, second;
    const struct windows_record *a, *b;
    const char *what;
    ASSERT(windows_open(&again, fs, "copy", &what) == 0 && windows_open(&windows, fs, "windows", &what) == 0);
    windows_cursor_init(&first, &windows);
    windows_cursor_init(&second, &again);
    for (size_t i = 0; i < again.group_count; i++) {
        ASSERT(windows_find(&second, again.groups[i].first_id, &b) == 0);
        for (size_t k = 0; k < second.count; k++) {
            b = &second.items[k];
            if (windows_find(&first, b->id, &a) == 0 && a->aggregates_id == b->aggregates_id) {
                ASSERT(a->id == b->id);
            }
        }
    }
    windows_cursor_done(&first);
    windows_cursor_done(&second);
    windows_close(&windows);
    windows_close(&again);
}

static void look(struct file_system *fs)
{
    struct windows windows;
    const char *what = NULL;
    if (windows_open(&windows, fs, "windows", &what) < 0) {
        ASSERT(what);
        windows_close(&windows);
        return;
    }
    struct windows_writer *writer;
    uint64_t bytes;
    uint32_t crc;
    ASSERT(windows_memory_bytes(&windows) <= 64 * windows.bytes + 4096);
    ASSERT(windows_writer_new(fs, "copy", &writer) == 0);
    read_all(&windows, writer);
    ASSERT(windows_writer_finish(writer, &bytes, &crc) == 0);
    windows_writer_free(writer);
    windows_close(&windows);
    compare(fs);
    ASSERT(file_unlink(fs, "copy") == 0);
}

/* Groups lie where a table says that can be read. */
static void fix_groups(struct file_system *fs, uint8_t *data, size_t size)
{
    struct windows windows;
    const char *what;
    put(fs, data, size);
    if (windows_open(&windows, fs, "windows", &what) == 0) {
        for (size_t i = 0; i < windows.group_count; i++) {
            fix(data, windows.groups[i].offset, windows.groups[i].offset + windows.groups[i].bytes);
        }
    }
    windows_close(&windows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct file_system *fs = file_system_memory_new(0);
    CLEANUP_FREE uint8_t *copy = mem_alloc(size);
    put(fs, data, size);
    look(fs);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    fix_end(copy, size);
    fix_groups(fs, copy, size);
    put(fs, copy, size);
    look(fs);
    file_system_free(fs);
    return 0;
}
