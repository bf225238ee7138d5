#pragma once
/* The postings offset table of an index: where the list of each name and value lies. In memory are the names and every
 * 32nd value. */
#include "store/index_format.h"
#include "store/read_ahead.h"

struct table_mark {             /* up to 32 values of one name */
    uint32_t at;                /* from the start of the entries */
    uint32_t crc;               /* of its bytes, taken when the table was loaded */
    uint32_t text_at, text_len; /* the first value, in texts */
};

struct table_name {
    uint32_t text_at, text_len;
    size_t mark; /* the first of its marks */
    uint64_t values;
};

struct offset_table {
    struct file *file;        /* not owned */
    uint64_t start;           /* of the first entry in the file */
    struct table_mark *marks; /* and one more at the end */
    size_t mark_count, mark_capacity;
    struct table_name *names; /* the first is "", of all series; and one more at the end */
    size_t name_count, name_capacity;
    struct buf texts;
};

/* The section at offset, which must end before `end`. -EBADMSG with what is wrong. On errors call table_done too. */
MUST_CHECK int table_load(struct offset_table *table, struct file *file, uint64_t offset, uint64_t end,
                          const char **ret_what);
void table_done(struct offset_table *table);
size_t table_memory_bytes(const struct offset_table *table);

struct str table_name_at(const struct offset_table *table, size_t at);
/* -ENOENT */
MUST_CHECK int table_name_find(const struct offset_table *table, struct str name, size_t *ret_at);

/* Walks the values of one name in order. */
struct table_values {
    const struct offset_table *table;
    struct read_ahead *in; /* the caller's */
    size_t name, mark, mark_end;
    struct reader group;
};
void table_values_init(struct table_values *values, const struct offset_table *table, size_t name,
                       struct read_ahead *in);
/* Passes over those before value, but for some; to be called before the first of them is read. */
void table_values_seek(struct table_values *values, struct str value);
/* 1, 0 at the end. The text is valid until the next call, or other use of `in`. */
MUST_CHECK int table_values_next(struct table_values *values, struct str *ret_value, uint64_t *ret_list);
/* -ENOENT: no series has it. */
MUST_CHECK int table_find(const struct offset_table *table, struct str name, struct str value, struct read_ahead *in,
                          uint64_t *ret_list);
