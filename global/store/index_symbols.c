#include "store/index_symbols.h"

#include "base/crc.h"
#include "base/fail.h"
#include "store/be.h"

#include <errno.h>

#define STEP_HELD       8  /* in memory passing over some is cheap */
#define STEP            32 /* as Prometheus */
#define LEN_BYTES       5  /* of one symbol's length at most */
#define SLOTS           1024
#define SLOT_TEXT_BYTES 120 /* longer texts are rare, and read each time */

struct symbol_slot {
    uint32_t symbol; /* and one: 0 is empty */
    uint32_t len;
    char text[SLOT_TEXT_BYTES];
};

/* ---- Loading ---- */

struct loading {
    struct symbols *symbols;
    struct read_ahead in;
    struct buf last; /* text of the symbol before, for the order */
    uint32_t at;     /* from the start of the symbols */
    uint32_t crc;    /* of the section so far */
};

static void add_mark(struct loading *loading, uint32_t number)
{
    struct symbols *symbols = loading->symbols;
    if (number % symbols->step == 0) {
        symbols->marks[symbols->mark_count++] = loading->at;
    }
}

/* The next symbol with its length. */
static int load_symbol(struct loading *loading, uint32_t number)
{
    struct symbols *symbols = loading->symbols;
    const uint8_t *bytes;
    uint32_t left = symbols->bytes - loading->at;
    size_t head = MIN(left, LEN_BYTES);
    int error = read_ahead_get(&loading->in, symbols->start + loading->at, head, &bytes);
    if (error) {
        return error;
    }
    struct reader reader = reader_of(bytes, head);
    uint64_t len = reader_uvarint_max(&reader, INDEX_SYMBOL_BYTES_MAX);
    head = (size_t)(reader.at - bytes);
    if (reader.bad || len > left - head) {
        return -EBADMSG;
    }
    error = read_ahead_get(&loading->in, symbols->start + loading->at, head + len, &bytes);
    if (error) {
        return error;
    }
    struct str text = str_of(bytes + head, len);
    if (number > 0 && str_compare(buf_view(&loading->last), text) >= 0) {
        return -EBADMSG;
    }
    buf_reset(&loading->last);
    buf_append_str(&loading->last, text);
    add_mark(loading, number);
    uint32_t *crc = symbols->crcs ? &symbols->crcs[symbols->mark_count - 1] : NULL;
    if (crc) {
        *crc = crc32c(*crc, bytes, head + len);
    } else {
        buf_append(&symbols->held, bytes, head + len);
    }
    loading->crc = crc32c(loading->crc, bytes, head + len);
    loading->at += (uint32_t)(head + len);
    return 0;
}

static int load_all(struct loading *loading, const char **ret_what)
{
    struct symbols *symbols = loading->symbols;
    *ret_what = "symbols are not in order or too long";
    for (uint32_t i = 0; i < symbols->count; i++) {
        int error = load_symbol(loading, i);
        if (error) {
            return error;
        }
    }
    symbols->marks[symbols->mark_count] = loading->at;
    const uint8_t *bytes;
    *ret_what = "symbols: checksum or length is wrong";
    int error = read_ahead_get(&loading->in, symbols->start + symbols->bytes, INDEX_CRC_BYTES, &bytes);
    if (error) {
        return error;
    }
    return loading->at == symbols->bytes && loading->crc == be32_at(bytes) ? 0 : -EBADMSG;
}

int symbols_load(struct symbols *symbols, uint64_t offset, uint64_t end, const char **ret_what)
{
    uint8_t head[8];
    symbols->start = offset + sizeof(head);
    *ret_what = "symbols: the section is not whole";
    if (offset > end || end - offset < sizeof(head) + INDEX_CRC_BYTES) {
        return -EBADMSG;
    }
    int64_t got = file_read_at(symbols->file, head, sizeof(head), offset);
    if (got != sizeof(head)) {
        return got < 0 ? (int)got : -EBADMSG;
    }
    uint32_t len = be32_at(head);
    symbols->count = be32_at(head + 4);
    if (len < 4 || len > end - offset - 4 - INDEX_CRC_BYTES || symbols->count > len - 4) {
        return -EBADMSG;
    }
    symbols->bytes = len - 4;
    bool held = symbols->bytes <= symbols->held_bytes_max;
    symbols->step = held ? STEP_HELD : STEP;
    symbols->held = BUF_INIT(symbols->held_bytes_max);
    size_t marks = symbols->count / symbols->step + 2;
    symbols->marks = mem_array(marks, sizeof(*symbols->marks));
    symbols->crcs = held ? NULL : mem_array(marks, sizeof(*symbols->crcs));
    struct loading loading = {.symbols = symbols, .last = BUF_INIT(INDEX_SYMBOL_BYTES_MAX)};
    loading.crc = crc32c(0, head + 4, 4);
    read_ahead_init(&loading.in, symbols->file, end);
    int error = load_all(&loading, ret_what);
    read_ahead_done(&loading.in);
    buf_done(&loading.last);
    return error;
}

void symbols_done(struct symbols *symbols)
{
    mem_free(symbols->marks);
    mem_free(symbols->crcs);
    buf_done(&symbols->held);
    *symbols = (struct symbols){0};
}

size_t symbols_memory_bytes(const struct symbols *symbols)
{
    size_t marks = symbols->mark_count * sizeof(*symbols->marks) * (symbols->crcs ? 2 : 1);
    return marks + symbols->held.capacity;
}

/* ---- Reading ---- */

void symbol_reader_init(struct symbol_reader *reader, const struct symbols *symbols)
{
    *reader = (struct symbol_reader){.symbols = symbols};
    read_ahead_init(&reader->in, symbols->file, symbols->start + symbols->bytes);
}

void symbol_reader_done(struct symbol_reader *reader)
{
    read_ahead_done(&reader->in);
    mem_free(reader->slots);
    *reader = (struct symbol_reader){0};
}

/* The bytes from one mark to the next. */
static int read_group(struct symbol_reader *reader, size_t mark, struct reader *ret_group)
{
    const struct symbols *symbols = reader->symbols;
    uint32_t at = symbols->marks[mark];
    uint32_t len = symbols->marks[mark + 1] - at;
    if (!symbols->crcs) {
        *ret_group = reader_of(symbols->held.data + at, len);
        return 0;
    }
    const uint8_t *bytes;
    int error = read_ahead_get(&reader->in, symbols->start + at, len, &bytes);
    if (error) {
        return error;
    }
    *ret_group = reader_of(bytes, len);
    return crc32c(0, bytes, len) == symbols->crcs[mark] ? 0 : -EBADMSG;
}

static int read_uncached(struct symbol_reader *reader, uint32_t symbol, struct str *ret_text)
{
    struct reader group;
    int error = read_group(reader, symbol / reader->symbols->step, &group);
    if (error) {
        return error;
    }
    struct str text = STR_NULL;
    for (uint32_t i = 0; i <= symbol % reader->symbols->step; i++) {
        text = reader_string(&group, INDEX_SYMBOL_BYTES_MAX);
    }
    if (group.bad) {
        return -EBADMSG;
    }
    *ret_text = text;
    return 0;
}

int symbol_read(struct symbol_reader *reader, uint32_t symbol, struct str *ret_text)
{
    ASSERT(symbol < reader->symbols->count);
    if (!reader->symbols->crcs) {
        return read_uncached(reader, symbol, ret_text);
    }
    if (!reader->slots) {
        reader->slots = mem_array(SLOTS, sizeof(*reader->slots));
    }
    struct symbol_slot *slot = &reader->slots[symbol % SLOTS];
    if (slot->symbol == symbol + 1) {
        *ret_text = str_of(slot->text, slot->len);
        return 0;
    }
    struct str text;
    int error = read_uncached(reader, symbol, &text);
    if (error) {
        return error;
    }
    if (text.len <= SLOT_TEXT_BYTES) {
        slot->symbol = symbol + 1;
        slot->len = (uint32_t)text.len;
        memcpy(slot->text, text.ptr, text.len);
    }
    *ret_text = text;
    return 0;
}

int symbol_exists(struct symbol_reader *reader, struct str text)
{
    uint32_t low = 0, high = reader->symbols->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct str at;
        int error = symbol_read(reader, middle, &at);
        if (error) {
            return error;
        }
        int order = str_compare(at, text);
        if (order == 0) {
            return 1;
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return 0;
}
