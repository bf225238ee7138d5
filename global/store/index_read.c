#include "store/index_read.h"

#include "base/crc.h"
#include "base/fail.h"
#include "store/be.h"

#include <errno.h>

#define ENTRY_HEAD_BYTES 5          /* of a series: its length takes at most */
#define LIST_HEAD_BYTES  8          /* length and count */
#define LIST_PIECE       4096       /* ids at once */
#define TEXTS_BYTES_MAX  (16 * MIB) /* of one series; the wire form takes some 8 */

/* ---- Opening ---- */

static int read_exact(struct file *file, void *data, size_t len, uint64_t offset)
{
    int64_t got = file_read_at(file, data, len, offset);
    if (got < 0) {
        return (int)got;
    }
    return (size_t)got == len ? 0 : -EBADMSG;
}

static int check_toc(const struct index *index)
{
    const struct index_toc *toc = &index->toc;
    uint64_t end = index->bytes - INDEX_TOC_BYTES;
    bool good = toc->symbols >= INDEX_HEADER_BYTES && toc->symbols < toc->series && toc->series <= toc->label_indices &&
                toc->label_indices <= toc->postings_offset_table && toc->postings_offset_table < end;
    return good ? 0 : -EBADMSG;
}

static int read_head(struct index *index, const char **ret_what)
{
    uint8_t head[INDEX_HEADER_BYTES], toc[INDEX_TOC_BYTES];
    *ret_what = "it is shorter than any index";
    if (index->bytes < sizeof(head) + sizeof(toc)) {
        return -EBADMSG;
    }
    int error = read_exact(index->file, head, sizeof(head), 0);
    error = error ? error : read_exact(index->file, toc, sizeof(toc), index->bytes - sizeof(toc));
    if (error) {
        return error;
    }
    *ret_what = "it does not begin as an index does";
    if (be32_at(head) != INDEX_MAGIC) {
        return -EBADMSG;
    }
    *ret_what = "its version is not 2";
    if (head[4] != INDEX_VERSION) {
        return -EBADMSG;
    }
    *ret_what = "the checksum of its table of contents is wrong";
    error = index_toc_parse(toc, &index->toc);
    if (error) {
        return error;
    }
    *ret_what = "its table of contents is not in order";
    return check_toc(index);
}

static int check_names(const struct index *index, const char **ret_what)
{
    struct symbol_reader reader;
    int found = 1;
    symbol_reader_init(&reader, &index->symbols);
    for (size_t i = 1; i < index->table.name_count && found > 0; i++) {
        found = symbol_exists(&reader, table_name_at(&index->table, i));
    }
    symbol_reader_done(&reader);
    *ret_what = "a name of its postings is no symbol";
    return found > 0 ? 0 : (found < 0 ? found : -EBADMSG);
}

int index_open(struct index *index, struct file_system *fs, const char *path, size_t symbols_held_bytes,
               const char **ret_what)
{
    *index = (struct index){0};
    *ret_what = "it cannot be opened";
    int error = file_open(fs, path, FILE_READ, &index->file);
    if (error) {
        return error;
    }
    index->bytes = file_size(index->file);
    error = read_head(index, ret_what);
    if (error) {
        return error;
    }
    uint64_t end = index->bytes - INDEX_TOC_BYTES;
    index->symbols = (struct symbols){.file = index->file, .held_bytes_max = symbols_held_bytes};
    error = symbols_load(&index->symbols, index->toc.symbols, index->toc.series, ret_what);
    error = error ? error : table_load(&index->table, index->file, index->toc.postings_offset_table, end, ret_what);
    return error ? error : check_names(index, ret_what);
}

void index_close(struct index *index)
{
    symbols_done(&index->symbols);
    table_done(&index->table);
    file_close(index->file);
    *index = (struct index){0};
}

size_t index_memory_bytes(const struct index *index)
{
    return symbols_memory_bytes(&index->symbols) + table_memory_bytes(&index->table);
}

void index_cursor_init(struct index_cursor *cursor, const struct index *index)
{
    *cursor = (struct index_cursor){
        .index = index, .entry = mem_zalloc(sizeof(*cursor->entry)), .texts = BUF_INIT(TEXTS_BYTES_MAX)};
    read_ahead_init(&cursor->series, index->file, index->toc.label_indices);
    read_ahead_init(&cursor->table, index->file, index->bytes);
    read_ahead_init(&cursor->lists, index->file, index->bytes);
    symbol_reader_init(&cursor->symbols, &index->symbols);
}

void index_cursor_done(struct index_cursor *cursor)
{
    read_ahead_done(&cursor->series);
    read_ahead_done(&cursor->table);
    read_ahead_done(&cursor->lists);
    symbol_reader_done(&cursor->symbols);
    if (cursor->entry) {
        index_series_done(cursor->entry);
    }
    mem_free(cursor->entry);
    buf_done(&cursor->texts);
    *cursor = (struct index_cursor){0};
}

/* ---- Series ---- */

int index_read_entry(struct read_ahead *in, uint64_t offset, struct str *ret_body, uint64_t *ret_end)
{
    const uint8_t *bytes;
    size_t head = (size_t)MIN(in->end - MIN(in->end, offset), ENTRY_HEAD_BYTES);
    int error = read_ahead_get(in, offset, head, &bytes);
    if (error) {
        return error;
    }
    struct reader reader = reader_of(bytes, head);
    uint64_t len = reader_uvarint_max(&reader, INDEX_SERIES_BYTES_MAX);
    if (reader.bad) {
        return -EBADMSG;
    }
    head = (size_t)(reader.at - bytes);
    error = read_ahead_get(in, offset, head + (size_t)len + INDEX_CRC_BYTES, &bytes);
    if (error) {
        return error;
    }
    if (crc32c(0, bytes + head, (size_t)len) != be32_at(bytes + head + len)) {
        return -EBADMSG;
    }
    *ret_body = str_of(bytes + head, (size_t)len);
    *ret_end = offset + head + len + INDEX_CRC_BYTES;
    return 0;
}

static int read_at(struct index_cursor *cursor, uint64_t offset, uint64_t *ret_end)
{
    struct str body;
    int error = index_read_entry(&cursor->series, offset, &body, ret_end);
    return error ? error : index_series_parse(body, cursor->index->symbols.count, cursor->entry);
}

int index_series_read(struct index_cursor *cursor, uint32_t id)
{
    uint64_t offset = (uint64_t)id * INDEX_SERIES_ALIGN, end;
    return offset >= cursor->index->toc.series ? read_at(cursor, offset, &end) : -EBADMSG;
}

int index_series_next(struct index_cursor *cursor, uint64_t *at, uint32_t *ret_id)
{
    uint64_t offset = *at > 0 ? *at : cursor->index->toc.series;
    offset = (offset + INDEX_SERIES_ALIGN - 1) / INDEX_SERIES_ALIGN * INDEX_SERIES_ALIGN;
    if (offset >= cursor->index->toc.label_indices) {
        return 0;
    }
    if (offset / INDEX_SERIES_ALIGN > UINT32_MAX) {
        return -EBADMSG;
    }
    int error = read_at(cursor, offset, at);
    if (error) {
        return error;
    }
    *ret_id = (uint32_t)(offset / INDEX_SERIES_ALIGN);
    return 1;
}

/* The texts of the entry's labels, name and value in turn, copied behind each other: reading a symbol may drop the one
 * read before. */
static int copy_texts(struct index_cursor *cursor, size_t ret_lens[static 2 * LABELS_MAX])
{
    const struct index_series *entry = cursor->entry;
    buf_reset(&cursor->texts);
    for (size_t i = 0; i < 2 * entry->label_count; i++) {
        const struct index_label *label = &entry->labels[i / 2];
        struct str text;
        int error = symbol_read(&cursor->symbols, i % 2 == 0 ? label->name : label->value, &text);
        if (error) {
            return error;
        }
        if (buf_append_str(&cursor->texts, text) < 0) {
            return -EBADMSG; /* one large text, referred to by many labels */
        }
        ret_lens[i] = text.len;
    }
    return 0;
}

int index_series_labels(struct index_cursor *cursor, struct labels **ret_labels)
{
    struct label labels[LABELS_MAX];
    size_t lens[2 * LABELS_MAX] = {0};
    size_t count = cursor->entry->label_count;
    int error = copy_texts(cursor, lens);
    if (error) {
        return error;
    }
    const uint8_t *at = cursor->texts.data;
    for (size_t i = 0; i < count; i++) {
        labels[i].name = str_of(at, lens[2 * i]);
        at += lens[2 * i];
        labels[i].value = str_of(at, lens[2 * i + 1]);
        at += lens[2 * i + 1];
    }
    *ret_labels = labels_new(labels, count);
    return 0;
}

/* ---- Lists ---- */

int index_list_find(struct index_cursor *cursor, struct str name, struct str value, uint64_t *ret_list)
{
    return table_find(&cursor->index->table, name, value, &cursor->table, ret_list);
}

struct list {
    uint32_t crc;
    uint64_t least, end; /* ids: what the next must be, and what none may be */
};

static int take_ids(struct list *list, const uint8_t *bytes, size_t count, roaring_bitmap_t *into)
{
    uint32_t ids[LIST_PIECE];
    for (size_t i = 0; i < count; i++) {
        ids[i] = be32_at(bytes + i * sizeof(uint32_t));
        if (ids[i] < list->least || ids[i] >= list->end) {
            return -EBADMSG;
        }
        list->least = (uint64_t)ids[i] + 1;
    }
    list->crc = crc32c(list->crc, bytes, count * sizeof(uint32_t));
    roaring_bitmap_add_many(into, count, ids);
    return 0;
}

int index_list_read(struct index_cursor *cursor, uint64_t offset, roaring_bitmap_t *into)
{
    const struct index_toc *toc = &cursor->index->toc;
    struct list list = {.least = toc->series / INDEX_SERIES_ALIGN,
                        .end = (toc->label_indices + INDEX_SERIES_ALIGN - 1) / INDEX_SERIES_ALIGN};
    const uint8_t *bytes;
    int error = read_ahead_get(&cursor->lists, offset, LIST_HEAD_BYTES, &bytes);
    if (error) {
        return error;
    }
    uint32_t len = be32_at(bytes), count = be32_at(bytes + 4);
    if (len % sizeof(uint32_t) != 0 || len / sizeof(uint32_t) != (uint64_t)count + 1) {
        return -EBADMSG;
    }
    list.crc = crc32c(0, bytes + 4, 4);
    offset += LIST_HEAD_BYTES;
    for (uint32_t done = 0; done < count && !error;) {
        uint32_t piece = MIN(count - done, LIST_PIECE);
        error = read_ahead_get(&cursor->lists, offset, piece * sizeof(uint32_t), &bytes);
        error = error ? error : take_ids(&list, bytes, piece, into);
        offset += piece * sizeof(uint32_t);
        done += piece;
    }
    error = error ? error : read_ahead_get(&cursor->lists, offset, INDEX_CRC_BYTES, &bytes);
    if (error) {
        return error;
    }
    return list.crc == be32_at(bytes) ? 0 : -EBADMSG;
}
