/* Any bytes as an index, checksums made right or not: what opens is in order, every list and series is read or refused,
 * and memory stays in proportion to the file. */
#include "base/crc.h"
#include "base/fail.h"
#include "store/be.h"
#include "store/index_read.h"

#define SERIES_MAX 2000 /* looked at one by one */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- Checksums ---- */

/* Of a section or a list: u32 length, content, u32 checksum. */
static void fix_section(uint8_t *data, size_t size, uint64_t at)
{
    if (at > size || size - at < 8) {
        return;
    }
    uint64_t len = be32_at(data + at);
    if (len <= size - at - 8) {
        uint32_t crc = htobe32(crc32c(0, data + at + 4, (size_t)len));
        memcpy(data + at + 4 + len, &crc, sizeof(crc));
    }
}

static void fix_series(uint8_t *data, const struct index_toc *toc)
{
    uint64_t at = (toc->series + INDEX_SERIES_ALIGN - 1) / INDEX_SERIES_ALIGN * INDEX_SERIES_ALIGN;
    while (at < toc->label_indices) {
        struct reader reader = reader_of(data + at, (size_t)(toc->label_indices - at));
        size_t len = (size_t)reader_uvarint_max(&reader, INDEX_SERIES_BYTES_MAX);
        if (reader.bad || reader_left(&reader) < len + INDEX_CRC_BYTES) {
            return;
        }
        uint8_t *body = data + at + (reader.at - (data + at));
        uint32_t crc = htobe32(crc32c(0, body, len));
        memcpy(body + len, &crc, sizeof(crc));
        at = (uint64_t)(body - data) + len + INDEX_CRC_BYTES;
        at = (at + INDEX_SERIES_ALIGN - 1) / INDEX_SERIES_ALIGN * INDEX_SERIES_ALIGN;
    }
}

static bool fix_head(uint8_t *data, size_t size, struct index_toc *ret_toc)
{
    if (size < INDEX_HEADER_BYTES + INDEX_TOC_BYTES) {
        return false;
    }
    uint8_t *toc = data + size - INDEX_TOC_BYTES;
    uint32_t crc = htobe32(crc32c(0, toc, INDEX_TOC_BYTES - INDEX_CRC_BYTES));
    memcpy(toc + INDEX_TOC_BYTES - INDEX_CRC_BYTES, &crc, sizeof(crc));
    ASSERT(index_toc_parse(toc, ret_toc) == 0);
    fix_section(data, size, ret_toc->symbols);
    fix_section(data, size, ret_toc->postings_offset_table);
    return true;
}

/* ---- Looking ---- */

static void put(struct file_system *fs, const uint8_t *data, size_t size)
{
    struct file *file;
    int gone = file_unlink(fs, "index");
    ASSERT(gone == 0 || gone == -2);
    ASSERT(file_open(fs, "index", FILE_CREATE_NEW, &file) == 0);
    ASSERT(file_append(file, data, size) == 0);
    file_close(file);
}

static void check_symbols(struct index_cursor *cursor)
{
    CLEANUP(buf_done) struct buf last = BUF_INIT(INDEX_SYMBOL_BYTES_MAX);
    for (uint32_t i = 0; i < cursor->index->symbols.count; i++) {
        struct str text;
        ASSERT(symbol_read(&cursor->symbols, i, &text) == 0);
        ASSERT(i == 0 || str_compare(buf_view(&last), text) < 0);
        buf_reset(&last);
        ASSERT(buf_append_str(&last, text) == 0);
        ASSERT(symbol_exists(&cursor->symbols, buf_view(&last)) == 1);
    }
}

static void check_series(struct index_cursor *cursor)
{
    uint64_t at = 0;
    uint32_t id, before = 0;
    for (int i = 0; i < SERIES_MAX && index_series_next(cursor, &at, &id) > 0; i++) {
        CLEANUP(labels_unrefp) struct labels *labels = NULL;
        const struct index_series *entry = cursor->entry;
        ASSERT(i == 0 || id > before);
        before = id;
        ASSERT(index_series_labels(cursor, &labels) == 0 && labels_count(labels) <= entry->label_count);
        for (size_t k = 0; k < entry->chunk_count; k++) {
            ASSERT(entry->chunks[k].min_time_ms <= entry->chunks[k].max_time_ms);
            ASSERT(k == 0 || entry->chunks[k - 1].max_time_ms < entry->chunks[k].min_time_ms);
        }
        size_t chunks = entry->chunk_count;
        ASSERT(index_series_read(cursor, id) == 0 && entry->chunk_count == chunks);
    }
}

/* fix: makes the lists' checksums right instead. */
static void check_lists(struct index_cursor *cursor, uint8_t *fix, size_t size)
{
    const struct offset_table *table = &cursor->index->table;
    for (size_t i = 0; i < table->name_count; i++) {
        struct table_values values;
        struct str value;
        uint64_t list, found, count = 0;
        ASSERT(i == 0 || str_compare(table_name_at(table, i - 1), table_name_at(table, i)) < 0);
        table_values_init(&values, table, i, &cursor->table);
        while (table_values_next(&values, &value, &list) > 0) {
            struct index_cursor other;
            roaring_bitmap_t *ids = roaring_bitmap_create();
            count++;
            index_cursor_init(&other, cursor->index);
            ASSERT(index_list_find(&other, table_name_at(table, i), value, &found) == 0 && found == list);
            if (fix) {
                fix_section(fix, size, list);
            } else if (index_list_read(&other, list, ids) == 0) {
                ASSERT(roaring_bitmap_get_cardinality(ids) <= size / 4);
            }
            roaring_bitmap_free(ids);
            index_cursor_done(&other);
        }
        ASSERT(count == table->names[i].values);
    }
}

static void look(struct file_system *fs, uint8_t *fix, size_t size)
{
    struct index index;
    struct index_cursor cursor;
    const char *what = NULL;
    if (index_open(&index, fs, "index", fix ? SYMBOLS_HELD_BYTES : 0, &what) < 0) {
        ASSERT(what);
        index_close(&index);
        return;
    }
    ASSERT(index_memory_bytes(&index) <= 64 * size + 65536);
    index_cursor_init(&cursor, &index);
    check_symbols(&cursor);
    check_series(&cursor);
    check_lists(&cursor, fix, size);
    index_cursor_done(&cursor);
    index_close(&index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct file_system *fs = file_system_memory_new(0);
    CLEANUP_FREE uint8_t *copy = mem_alloc(size);
    struct index_toc toc;
    put(fs, data, size);
    look(fs, NULL, size);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    if (fix_head(copy, size, &toc)) {
        if (toc.series < toc.label_indices && toc.label_indices <= size) {
            fix_series(copy, &toc);
        }
        fix_head(copy, size, &toc); /* sections may have lain in each other */
        put(fs, copy, size);
        look(fs, copy, size);
        put(fs, copy, size);
        look(fs, NULL, size);
    }
    file_system_free(fs);
    return 0;
}
