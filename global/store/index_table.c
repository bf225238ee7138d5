#include "store/index_table.h"

#include "base/crc.h"
#include "base/fail.h"
#include "store/be.h"

#include <errno.h>

#define MARK_VALUES     32   /* as Prometheus */
#define ENTRY_BYTES_TRY 1024 /* an entry is shorter, mostly */
#define ENTRY_BYTES_MAX (2 * INDEX_SYMBOL_BYTES_MAX + 64)
#define TEXTS_BYTES_MAX ((size_t)UINT32_MAX)

struct table_entry {
    struct str name, value;
    uint64_t list;
};

static void parse_entry(struct reader *reader, struct table_entry *entry)
{
    uint64_t keys = reader_uvarint(reader);
    entry->name = reader_string(reader, INDEX_SYMBOL_BYTES_MAX);
    entry->value = reader_string(reader, INDEX_SYMBOL_BYTES_MAX);
    entry->list = reader_uvarint(reader);
    if (keys != 2) {
        reader->bad = true;
    }
}

/* ---- Loading ---- */

struct loading {
    struct offset_table *table;
    struct read_ahead in;
    uint32_t bytes, at; /* of the entries; read so far */
    uint32_t crc;
    struct buf last; /* the value before */
};

/* An entry whose length is not known before. */
static int read_entry(struct loading *loading, struct table_entry *entry, size_t *ret_bytes, const uint8_t **ret_at)
{
    size_t left = loading->bytes - loading->at;
    size_t tries[] = {MIN(left, ENTRY_BYTES_TRY), MIN(left, ENTRY_BYTES_MAX)};
    for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
        int error = read_ahead_get(&loading->in, loading->table->start + loading->at, tries[i], ret_at);
        if (error) {
            return error;
        }
        struct reader reader = reader_of(*ret_at, tries[i]);
        parse_entry(&reader, entry);
        if (!reader.bad) {
            *ret_bytes = (size_t)(reader.at - *ret_at);
            return 0;
        }
    }
    return -EBADMSG;
}

static uint32_t add_text(struct offset_table *table, struct str text)
{
    uint32_t at = (uint32_t)table->texts.len;
    buf_append_str(&table->texts, text);
    return at;
}

static void add_mark(struct loading *loading, struct str value)
{
    struct offset_table *table = loading->table;
    if (table->mark_count + 1 >= table->mark_capacity) {
        table->mark_capacity = MAX(table->mark_capacity * 2, (size_t)16);
        table->marks = mem_resize(table->marks, table->mark_capacity, sizeof(*table->marks));
    }
    table->marks[table->mark_count++] =
        (struct table_mark){.at = loading->at, .text_at = add_text(table, value), .text_len = (uint32_t)value.len};
}

static void add_name(struct offset_table *table, struct str name)
{
    if (table->name_count + 1 >= table->name_capacity) {
        table->name_capacity = MAX(table->name_capacity * 2, (size_t)16);
        table->names = mem_resize(table->names, table->name_capacity, sizeof(*table->names));
    }
    table->names[table->name_count++] = (struct table_name){
        .text_at = add_text(table, name), .text_len = (uint32_t)name.len, .mark = table->mark_count};
}

struct str table_name_at(const struct offset_table *table, size_t at)
{
    return str_of(table->texts.data + table->names[at].text_at, table->names[at].text_len);
}

/* 1: a new name, 0: another value of the same, -EBADMSG: neither is behind what came before. */
static int place_of(const struct loading *loading, const struct table_entry *entry)
{
    const struct offset_table *table = loading->table;
    if (table->name_count == 0) {
        return entry->name.len == 0 && entry->value.len == 0 ? 1 : -EBADMSG;
    }
    int order = str_compare(table_name_at(table, table->name_count - 1), entry->name);
    if (order < 0) {
        return 1;
    }
    return order == 0 && str_compare(buf_view(&loading->last), entry->value) < 0 ? 0 : -EBADMSG;
}

static int load_entry(struct loading *loading)
{
    struct offset_table *table = loading->table;
    struct table_entry entry = {0};
    size_t bytes = 0;
    const uint8_t *at = NULL;
    int result = read_entry(loading, &entry, &bytes, &at);
    result = result ? result : place_of(loading, &entry);
    if (result < 0) {
        return result;
    }
    if (result > 0) {
        add_name(table, entry.name);
    }
    struct table_name *name = &table->names[table->name_count - 1];
    if (name->values++ % MARK_VALUES == 0) {
        add_mark(loading, entry.value);
    }
    struct table_mark *mark = &table->marks[table->mark_count - 1];
    mark->crc = crc32c(mark->crc, at, bytes);
    loading->crc = crc32c(loading->crc, at, bytes);
    loading->at += (uint32_t)bytes;
    buf_reset(&loading->last);
    buf_append_str(&loading->last, entry.value);
    return table->texts.full ? -EBADMSG : 0;
}

static int load_all(struct loading *loading, uint32_t count, const char **ret_what)
{
    struct offset_table *table = loading->table;
    *ret_what = "postings offset table: entries are not in order";
    for (uint32_t i = 0; i < count; i++) {
        int error = load_entry(loading);
        if (error) {
            return error;
        }
    }
    *ret_what = "postings offset table: it has no list of all series";
    if (table->name_count == 0 || table->names[0].values != 1) {
        return -EBADMSG;
    }
    table->marks[table->mark_count] = (struct table_mark){.at = loading->at};
    table->names[table->name_count] = (struct table_name){.mark = table->mark_count};
    const uint8_t *bytes;
    *ret_what = "postings offset table: checksum or length is wrong";
    int error = read_ahead_get(&loading->in, table->start + loading->bytes, INDEX_CRC_BYTES, &bytes);
    if (error) {
        return error;
    }
    return loading->at == loading->bytes && loading->crc == be32_at(bytes) ? 0 : -EBADMSG;
}

int table_load(struct offset_table *table, struct file *file, uint64_t offset, uint64_t end, const char **ret_what)
{
    uint8_t head[8];
    *table = (struct offset_table){.file = file, .start = offset + sizeof(head), .texts = BUF_INIT(TEXTS_BYTES_MAX)};
    *ret_what = "postings offset table: the section is not whole";
    if (offset > end || end - offset < sizeof(head) + INDEX_CRC_BYTES) {
        return -EBADMSG;
    }
    int64_t got = file_read_at(file, head, sizeof(head), offset);
    if (got != sizeof(head)) {
        return got < 0 ? (int)got : -EBADMSG;
    }
    uint32_t len = be32_at(head);
    if (len < 4 || len > end - offset - 4 - INDEX_CRC_BYTES) {
        return -EBADMSG;
    }
    struct loading loading = {.table = table, .bytes = len - 4, .last = BUF_INIT(INDEX_SYMBOL_BYTES_MAX)};
    loading.crc = crc32c(0, head + 4, 4);
    read_ahead_init(&loading.in, file, end);
    int error = load_all(&loading, be32_at(head + 4), ret_what);
    read_ahead_done(&loading.in);
    buf_done(&loading.last);
    return error;
}

void table_done(struct offset_table *table)
{
    mem_free(table->marks);
    mem_free(table->names);
    buf_done(&table->texts);
    *table = (struct offset_table){0};
}

size_t table_memory_bytes(const struct offset_table *table)
{
    return table->mark_capacity * sizeof(*table->marks) + table->name_capacity * sizeof(*table->names) +
           table->texts.capacity;
}

/* ---- Reading ---- */

int table_name_find(const struct offset_table *table, struct str name, size_t *ret_at)
{
    size_t low = 0, high = table->name_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_compare(table_name_at(table, middle), name);
        if (order == 0) {
            *ret_at = middle;
            return 0;
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return -ENOENT;
}

void table_values_init(struct table_values *values, const struct offset_table *table, size_t name,
                       struct read_ahead *in)
{
    *values = (struct table_values){
        .table = table,
        .in = in,
        .name = name,
        .mark = table->names[name].mark,
        .mark_end = table->names[name + 1].mark,
        .group = reader_of(NULL, 0),
    };
}

static int next_group(struct table_values *values)
{
    const struct table_mark *mark = &values->table->marks[values->mark++];
    uint32_t len = mark[1].at - mark->at;
    const uint8_t *bytes;
    int error = read_ahead_get(values->in, values->table->start + mark->at, len, &bytes);
    if (error) {
        return error;
    }
    values->group = reader_of(bytes, len);
    return crc32c(0, bytes, len) == mark->crc ? 0 : -EBADMSG;
}

int table_values_next(struct table_values *values, struct str *ret_value, uint64_t *ret_list)
{
    struct table_entry entry;
    if (reader_left(&values->group) == 0) {
        if (values->mark == values->mark_end) {
            return 0;
        }
        int error = next_group(values);
        if (error) {
            return error;
        }
    }
    parse_entry(&values->group, &entry);
    if (values->group.bad) {
        return -EBADMSG;
    }
    *ret_value = entry.value;
    *ret_list = entry.list;
    return 1;
}

/* The last mark of the name whose first value is not behind value; mark_end when there is none. */
static size_t mark_for(const struct offset_table *table, size_t name, struct str value)
{
    size_t first = table->names[name].mark, end = table->names[name + 1].mark;
    size_t low = first, high = end;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct table_mark *mark = &table->marks[middle];
        bool is_behind = str_compare(str_of(table->texts.data + mark->text_at, mark->text_len), value) > 0;
        low = is_behind ? low : middle + 1;
        high = is_behind ? middle : high;
    }
    return low > first ? low - 1 : end;
}

void table_values_seek(struct table_values *values, struct str value)
{
    size_t mark = mark_for(values->table, values->name, value);
    values->mark = mark < values->mark_end ? mark : values->mark; /* none before it: all are behind */
}

int table_find(const struct offset_table *table, struct str name, struct str value, struct read_ahead *in,
               uint64_t *ret_list)
{
    size_t at;
    int result = table_name_find(table, name, &at);
    if (result < 0) {
        return result;
    }
    struct table_values values;
    table_values_init(&values, table, at, in);
    values.mark = mark_for(table, at, value);
    values.mark_end = MIN(values.mark + 1, values.mark_end);
    struct str found = STR_NULL;
    uint64_t list = 0;
    while ((result = table_values_next(&values, &found, &list)) > 0) {
        if (str_equal(found, value)) {
            *ret_list = list;
            return 0;
        }
    }
    return result < 0 ? result : -ENOENT;
}
