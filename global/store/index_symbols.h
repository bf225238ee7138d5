#pragma once
/* The table of symbols of an index: held whole when it is small; else where every 32nd stands, and each reader has a
 * cache. */
#include "store/index_format.h"
#include "store/read_ahead.h"

#define SYMBOLS_HELD_BYTES (4 * MIB)

struct symbols {
    struct file *file;     /* not owned */
    size_t held_bytes_max; /* SYMBOLS_HELD_BYTES, or 0 where texts are hardly ever asked for */
    uint64_t start;        /* of the first symbol in the file */
    uint32_t bytes;        /* of all */
    uint32_t count;
    uint32_t step;     /* one mark for so many symbols */
    uint32_t *marks;   /* from start; one more at the end */
    uint32_t *crcs;    /* of the bytes from mark to mark, when nothing is held */
    struct buf held;   /* all bytes, or none */
    size_t mark_count; /* without the one at the end */
};

/* What one thread keeps; zeroed and symbol_reader_init. */
struct symbol_slot;
struct symbol_reader {
    const struct symbols *symbols;
    struct read_ahead in;
    struct symbol_slot *slots; /* made at first use */
};

/* The section at offset, which must end before `end`. symbols has file and held_bytes_max, the rest is zero. -EBADMSG
 * with what is wrong. On errors call symbols_done too. */
MUST_CHECK int symbols_load(struct symbols *symbols, uint64_t offset, uint64_t end, const char **ret_what);
void symbols_done(struct symbols *symbols);
size_t symbols_memory_bytes(const struct symbols *symbols);

void symbol_reader_init(struct symbol_reader *reader, const struct symbols *symbols);
void symbol_reader_done(struct symbol_reader *reader);
/* The text is valid until the next call. symbol < count. */
MUST_CHECK int symbol_read(struct symbol_reader *reader, uint32_t symbol, struct str *ret_text);
/* 1: it is one, 0: it is none. */
MUST_CHECK int symbol_exists(struct symbol_reader *reader, struct str text);
