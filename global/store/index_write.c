#include "store/index_write.h"

#include "base/crc.h"
#include "base/fail.h"
#include "store/be.h"
#include "store/index_postings.h"

#include <errno.h>

#define LIST_HEAD_BYTES 8 /* of a list of postings: length and count */

static bool symbol_equal(const void *item, const void *key)
{
    return str_equal(*(const struct str *)item, *(const struct str *)key);
}

/* -ENOENT */
static int ordinal_of(const struct index_writer *writer, struct str text, uint32_t *ret_ordinal)
{
    const struct str *symbol = map_get(&writer->ordinals, str_hash(text), symbol_equal, &text);
    if (!symbol) {
        return -ENOENT;
    }
    *ret_ordinal = (uint32_t)(symbol - writer->symbols);
    return 0;
}

/* ---- Sections ---- */

/* u32 length, content, u32 checksum of the content, in pieces. */
struct section {
    struct index_writer *writer;
    uint32_t crc;
};

static struct section section_begin(struct index_writer *writer, uint32_t len)
{
    uint32_t be = htobe32(len);
    file_writer_put(&writer->out, &be, sizeof(be));
    return (struct section){.writer = writer};
}

/* What is in the writer's body becomes a piece. */
static void section_put_body(struct section *section)
{
    struct buf *body = &section->writer->body;
    section->crc = crc32c(section->crc, body->data, body->len);
    file_writer_put(&section->writer->out, body->data, body->len);
    buf_reset(body);
}

static void section_end(struct section *section)
{
    uint32_t be = htobe32(section->crc);
    file_writer_put(&section->writer->out, &be, sizeof(be));
}

static int check_symbols(const struct index_writer *writer, uint64_t *ret_bytes)
{
    uint64_t bytes = sizeof(uint32_t);
    for (size_t i = 0; i < writer->symbol_count; i++) {
        struct str text = writer->symbols[i];
        bool in_order = i == 0 || str_compare(writer->symbols[i - 1], text) < 0;
        if (!in_order || text.len > INDEX_SYMBOL_BYTES_MAX) {
            return -EINVAL;
        }
        uint8_t head[UVARINT_BYTES_MAX];
        bytes += uvarint_put(head, text.len) + text.len;
    }
    if (bytes > UINT32_MAX || writer->symbol_count >= UINT32_MAX) {
        return -EFBIG;
    }
    *ret_bytes = bytes;
    return 0;
}

static int write_symbols(struct index_writer *writer)
{
    uint64_t bytes = 0;
    int error = check_symbols(writer, &bytes);
    if (error) {
        return error;
    }
    writer->toc.symbols = writer->out.offset;
    struct section section = section_begin(writer, (uint32_t)bytes);
    buf_append_be32(&writer->body, (uint32_t)writer->symbol_count);
    for (size_t i = 0; i < writer->symbol_count; i++) {
        const struct str *text = &writer->symbols[i];
        buf_append_uvarint(&writer->body, text->len);
        buf_append_str(&writer->body, *text);
        map_put(&writer->ordinals, str_hash(*text), (void *)(uintptr_t)text);
        section_put_body(&section);
    }
    section_put_body(&section);
    section_end(&section);
    return writer->out.error;
}

int index_writer_init(struct index_writer *writer, const struct index_writer_options *options)
{
    *writer = (struct index_writer){
        .symbols = options->symbols,
        .symbol_count = options->symbol_count,
        .body = BUF_INIT(INDEX_SERIES_BYTES_MAX + INDEX_SYMBOL_BYTES_MAX),
        .pass_pairs = MAX(options->pass_bytes / (2 * sizeof(uint64_t)), (size_t)1), /* pairs, and room to sort them */
    };
    map_init(&writer->ordinals);
    map_reserve(&writer->ordinals, options->symbol_count);
    writer->name_counts = mem_array(options->symbol_count, sizeof(*writer->name_counts));
    writer->last = mem_zalloc(sizeof(*writer->last));
    int error = file_writer_open(&writer->out, options->fs, options->path);
    if (error) {
        return error;
    }
    buf_append_be32(&writer->body, INDEX_MAGIC);
    buf_append_byte(&writer->body, INDEX_VERSION);
    file_writer_put(&writer->out, writer->body.data, writer->body.len);
    buf_reset(&writer->body);
    error = write_symbols(writer);
    writer->toc.series = writer->out.offset;
    return error;
}

void index_writer_done(struct index_writer *writer)
{
    file_writer_done(&writer->out);
    map_done(&writer->ordinals);
    if (writer->last) {
        index_series_done(writer->last);
    }
    mem_free(writer->last);
    mem_free(writer->name_counts);
    mem_free(writer->names);
    mem_free(writer->lists);
    buf_done(&writer->body);
    *writer = (struct index_writer){0};
}

/* ---- Series ---- */

/* Symbols are sorted, so their ordinals are ordered as the texts are. */
static int compare_labels(const struct index_label *a, size_t a_count, const struct index_label *b, size_t b_count)
{
    for (size_t i = 0; i < a_count && i < b_count; i++) {
        if (a[i].name != b[i].name) {
            return a[i].name < b[i].name ? -1 : 1;
        }
        if (a[i].value != b[i].value) {
            return a[i].value < b[i].value ? -1 : 1;
        }
    }
    return (a_count > b_count) - (a_count < b_count);
}

static int take_labels(struct index_writer *writer, const struct labels *labels)
{
    struct index_label items[LABELS_MAX];
    struct index_series *last = writer->last;
    size_t count = labels_count(labels);
    for (size_t i = 0; i < count; i++) {
        struct label label = labels_at(labels, i);
        if (ordinal_of(writer, label.name, &items[i].name) < 0 ||
            ordinal_of(writer, label.value, &items[i].value) < 0) {
            return -EINVAL;
        }
    }
    if (writer->series_count > 0 && compare_labels(last->labels, last->label_count, items, count) >= 0) {
        return -EINVAL;
    }
    memcpy(last->labels, items, count * sizeof(items[0]));
    last->label_count = count;
    for (size_t i = 0; i < count; i++) {
        writer->name_counts[items[i].name]++;
    }
    return 0;
}

int index_writer_add(struct index_writer *writer, const struct labels *labels, const struct block_chunk *chunks,
                     size_t count, uint32_t *ret_id)
{
    ASSERT(count > 0);
    int error = take_labels(writer, labels);
    if (error) {
        return error;
    }
    struct index_series *last = writer->last;
    last->chunk_count = 0;
    for (size_t i = 0; i < count; i++) {
        index_series_add_chunk(last, &chunks[i]);
    }
    file_writer_pad(&writer->out, INDEX_SERIES_ALIGN);
    uint64_t id = writer->out.offset / INDEX_SERIES_ALIGN;
    buf_reset(&writer->body);
    index_series_print(last, &writer->body);
    if (id > UINT32_MAX || writer->body.len > INDEX_SERIES_BYTES_MAX) {
        return -EFBIG;
    }
    uint32_t crc = htobe32(crc32c(0, writer->body.data, writer->body.len));
    uint8_t head[UVARINT_BYTES_MAX];
    file_writer_put(&writer->out, head, uvarint_put(head, writer->body.len));
    file_writer_put(&writer->out, writer->body.data, writer->body.len);
    file_writer_put(&writer->out, &crc, sizeof(crc));
    writer->series_count++;
    *ret_id = (uint32_t)id;
    return writer->out.error;
}

/* ---- The end ---- */

static void print_table_entry(struct buf *out, struct str name, struct str value, uint64_t offset)
{
    buf_append_uvarint(out, 2);
    buf_append_uvarint(out, name.len);
    buf_append_str(out, name);
    buf_append_uvarint(out, value.len);
    buf_append_str(out, value);
    buf_append_uvarint(out, offset);
}

/* Walks all lists as they lie in the file; each entry of the table is in the writer's body when fn is called. */
static void each_table_entry(struct index_writer *writer, void (*fn)(void *arg), void *arg)
{
    uint64_t offset = writer->toc.postings;
    const struct index_list *list = writer->lists;
    for (size_t i = 0; i <= writer->name_count; i++) {
        const struct index_name *name = i > 0 ? &writer->names[i - 1] : NULL; /* before the first: all series */
        size_t lists = name ? name->lists : 1;
        for (size_t k = 0; k < lists; k++, list++) {
            struct str name_text = name ? writer->symbols[name->name] : STR("");
            struct str value_text = name ? writer->symbols[list->value] : STR("");
            print_table_entry(&writer->body, name_text, value_text, offset);
            fn(arg);
            offset += LIST_HEAD_BYTES + sizeof(uint32_t) * (uint64_t)list->count + INDEX_CRC_BYTES;
        }
    }
}

struct table_size {
    struct buf *body;
    uint64_t bytes;
};

static void add_size(void *arg)
{
    struct table_size *size = arg;
    size->bytes += size->body->len;
    buf_reset(size->body);
}

static void put_entry(void *arg)
{
    section_put_body(arg);
}

static int write_table(struct index_writer *writer)
{
    struct table_size size = {.body = &writer->body, .bytes = sizeof(uint32_t)};
    buf_reset(&writer->body);
    each_table_entry(writer, add_size, &size);
    if (size.bytes > UINT32_MAX || writer->list_count > UINT32_MAX) {
        return -EFBIG;
    }
    writer->toc.postings_offset_table = writer->out.offset;
    struct section section = section_begin(writer, (uint32_t)size.bytes);
    buf_append_be32(&writer->body, (uint32_t)writer->list_count);
    section_put_body(&section);
    each_table_entry(writer, put_entry, &section);
    section_end(&section);
    return writer->out.error;
}

int index_writer_finish(struct index_writer *writer)
{
    /* No label indices, as nothing reads them: they begin, and the series end, here. */
    writer->toc.label_indices = writer->out.offset;
    int error = file_writer_flush(&writer->out);
    file_writer_pad(&writer->out, INDEX_POSTINGS_ALIGN);
    writer->toc.postings = writer->out.offset;
    error = error ? error : index_write_postings(writer);
    error = error ? error : write_table(writer);
    if (error) {
        return error;
    }
    buf_reset(&writer->body);
    index_toc_print(&writer->toc, &writer->body);
    file_writer_put(&writer->out, writer->body.data, writer->body.len);
    return file_writer_finish(&writer->out);
}
