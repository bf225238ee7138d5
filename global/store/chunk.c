/* The stream: entry after entry,
 *   0            as the one before: same distance in time, same count and resolution, no extra, no aggregates; value
 *   1 time note value aggregates
 * time:        0 same distance; else 1, 2 bits: width of the change of the distance (8, 16, 24, 33), two's complement
 * note:        0 same count and resolution; 10 an extra of the same resolution; 110 count and resolution as numbers;
 *              111 an extra, its resolution as number
 * aggregates:  0 none; 10 decimals: 4 bits exponent, then last - min, max - last and the zigzag of
 *              sum - count * last, in units of the exponent, as numbers; 11 sum, min, max, 64 bits each
 * value:       0 same bits; 10 changed bits within the zero bits kept; 11 5 bits leading, 6 bits width, the bits
 * number:      6 bits width, the bits
 * The first entry of a chunk is written against an entry of time 0, distance 0, value 0. */
#include "store/chunk.h"

#include "base/fail.h"
#include "store/xor.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define KEPT_NOTHING 0xff
#define LEADING_MAX  31
#define EXPONENT_MAX 9
/* Of one entry: 37 bits of time, 79 of its note, 77 of its value, 216 of its aggregates. */
#define ENTRY_BYTES_MAX 56
#define UNITS_MAX       9007199254740992.0 /* 2^53: whole numbers below are exact */

static const uint8_t time_widths[] = {8, 16, 24, 33};
static const double powers[EXPONENT_MAX + 1] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};

struct chunk *chunk_new(void)
{
    struct chunk *chunk = mem_zalloc(sizeof(*chunk) + CHUNK_DATA_FIRST);
    atomic_init(&chunk->refs, 1);
    chunk->capacity = CHUNK_DATA_FIRST;
    chunk->leading = KEPT_NOTHING;
    return chunk;
}

#define STATE_AT    offsetof(struct chunk, bits)
#define STATE_BYTES (offsetof(struct chunk, data) - STATE_AT)

static void copy_state(struct chunk *to, const struct chunk *from)
{
    memcpy((char *)to + STATE_AT, (const char *)from + STATE_AT, STATE_BYTES);
}

void chunk_header(const struct chunk *chunk, struct chunk *ret_header)
{
    memset(ret_header, 0, sizeof(*ret_header));
    copy_state(ret_header, chunk);
}

struct chunk *chunk_load(const struct chunk *header, struct str data)
{
    size_t capacity = CHUNK_DATA_FIRST;
    while (capacity < data.len) {
        capacity += CHUNK_DATA_STEP;
    }
    struct chunk *chunk = mem_alloc(sizeof(*chunk) + capacity);
    copy_state(chunk, header);
    memcpy(chunk->data, data.ptr, data.len);
    atomic_init(&chunk->refs, 1);
    chunk->capacity = (uint16_t)capacity;
    return chunk;
}

struct chunk *chunk_ref(struct chunk *chunk)
{
    atomic_fetch_add_explicit(&chunk->refs, 1, memory_order_relaxed);
    return chunk;
}

void chunk_unref(struct chunk *chunk)
{
    if (chunk && atomic_fetch_sub_explicit(&chunk->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(chunk);
    }
}

size_t chunk_memory_bytes(const struct chunk *chunk)
{
    return sizeof(*chunk) + chunk->capacity;
}

size_t chunk_data_bytes(const struct chunk *chunk)
{
    return ((size_t)chunk->bits + 7) / 8;
}

/* ---- Writing ---- */

static void write_number(struct bit_writer *writer, uint64_t value)
{
    unsigned width = value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);
    if (width == 64) { /* 6 bits say 63 at most: 63 means 64 */
        width = 63;
    }
    bit_write(writer, width, 6);
    bit_write(writer, value, width == 63 ? 64 : width);
}

static void write_time(struct bit_writer *writer, int64_t change)
{
    if (change == 0) {
        bit_write(writer, 0, 1);
        return;
    }
    unsigned which = 0;
    while (change < -(INT64_C(1) << (time_widths[which] - 1)) || change >= INT64_C(1) << (time_widths[which] - 1)) {
        which++;
    }
    bit_write(writer, 4 | which, 3);
    bit_write(writer, (uint64_t)change, time_widths[which]);
}

/* The value in units of 10^-exponent, if that is exact both ways. */
static bool in_units(double value, unsigned exponent, int64_t *ret_units)
{
    double units = rint(value * powers[exponent]);
    if (!(fabs(units) < UNITS_MAX)) {
        return false;
    }
    *ret_units = (int64_t)units;
    return double_bits((double)*ret_units / powers[exponent]) == double_bits(value); /* -0 is not */
}

static bool write_decimals(struct bit_writer *writer, const struct entry *entry)
{
    int64_t last, min, max, sum, expected;
    for (unsigned exponent = 0; exponent <= EXPONENT_MAX; exponent++) {
        if (!in_units(entry->sample.value, exponent, &last) || !in_units(entry->min, exponent, &min) ||
            !in_units(entry->max, exponent, &max) || !in_units(entry->sum, exponent, &sum)) {
            continue;
        }
        if (min > last || max < last || __builtin_mul_overflow(last, (int64_t)entry->count, &expected)) {
            return false;
        }
        uint64_t rest = (uint64_t)sum - (uint64_t)expected;
        bit_write(writer, 2, 2);
        bit_write(writer, exponent, 4);
        write_number(writer, (uint64_t)last - (uint64_t)min);
        write_number(writer, (uint64_t)max - (uint64_t)last);
        write_number(writer, (int64_t)rest < 0 ? ~(rest << 1) : rest << 1);
        return true;
    }
    return false;
}

static void write_aggregates(struct bit_writer *writer, const struct entry *entry)
{
    if (!(entry->flags & ENTRY_AGGREGATES)) {
        bit_write(writer, 0, 1);
    } else if (!write_decimals(writer, entry)) {
        bit_write(writer, 3, 2);
        bit_write(writer, double_bits(entry->sum), 64);
        bit_write(writer, double_bits(entry->min), 64);
        bit_write(writer, double_bits(entry->max), 64);
    }
}

static void write_value(struct bit_writer *writer, struct chunk *chunk, uint64_t bits)
{
    uint64_t changed = bits ^ chunk->value_bits;
    chunk->value_bits = bits;
    if (changed == 0) {
        bit_write(writer, 0, 1);
        return;
    }
    unsigned leading = (unsigned)MIN(__builtin_clzll(changed), LEADING_MAX);
    unsigned trailing = (unsigned)__builtin_ctzll(changed);
    if (chunk->leading != KEPT_NOTHING && leading >= chunk->leading && trailing >= chunk->trailing) {
        bit_write(writer, 2, 2);
        bit_write(writer, changed >> chunk->trailing, 64U - chunk->leading - chunk->trailing);
        return;
    }
    unsigned significant = 64 - leading - trailing;
    bit_write(writer, 3 << 11 | leading << 6 | (significant & 63), 13);
    bit_write(writer, changed >> trailing, significant);
    chunk->leading = (uint8_t)leading;
    chunk->trailing = (uint8_t)trailing;
}

static void write_note(struct bit_writer *writer, struct chunk *chunk, const struct entry *entry)
{
    bool extra = entry->flags & ENTRY_EXTRA;
    bool same_resolution = entry->resolution_ms == chunk->resolution_ms;
    chunk->resolution_ms = entry->resolution_ms;
    if (extra) {
        bit_write(writer, same_resolution ? 2 : 7, same_resolution ? 2 : 3);
        if (!same_resolution) {
            write_number(writer, entry->resolution_ms);
        }
        return;
    }
    if (same_resolution && entry->count == chunk->count) {
        bit_write(writer, 0, 1);
        return;
    }
    bit_write(writer, 6, 3);
    write_number(writer, entry->count);
    write_number(writer, entry->resolution_ms);
    chunk->count = entry->count;
}

static void write_entry(struct bit_writer *writer, struct chunk *chunk, const struct entry *entry, uint32_t time)
{
    uint32_t delta = time - chunk->time;
    bool again = delta == chunk->delta && entry->flags == 0 && entry->count == chunk->count &&
                 entry->resolution_ms == chunk->resolution_ms;
    bit_write(writer, again ? 0 : 1, 1);
    if (!again) {
        write_time(writer, (int64_t)delta - (int64_t)chunk->delta);
        write_note(writer, chunk, entry);
    }
    write_value(writer, chunk, double_bits(entry->sample.value));
    if (!again) {
        write_aggregates(writer, entry);
    }
    chunk->delta = delta;
    chunk->time = time;
    chunk->entries++;
}

/* References are only taken under the store's lock, which the writer holds: 1 stays 1. */
static void unshare(struct chunk **chunk)
{
    const struct chunk *old = *chunk;
    if (atomic_load_explicit(&old->refs, memory_order_acquire) == 1) {
        return;
    }
    struct chunk *copy = mem_alloc(chunk_memory_bytes(old));
    copy_state(copy, old);
    memcpy(copy->data, old->data, chunk_data_bytes(old));
    atomic_init(&copy->refs, 1);
    chunk_unref(*chunk);
    *chunk = copy;
}

static uint32_t since(int64_t base_ms, int64_t time_ms)
{
    ASSERT(time_ms >= base_ms && time_ms - base_ms <= CHUNK_SPAN_MS_MAX);
    return (uint32_t)(time_ms - base_ms);
}

/* Makes room for so many bytes of data. */
static void grow(struct chunk **chunk, size_t bytes)
{
    size_t capacity = (*chunk)->capacity;
    while (capacity < bytes) {
        capacity += CHUNK_DATA_STEP;
    }
    if (capacity > (*chunk)->capacity) {
        *chunk = mem_resize(*chunk, sizeof(**chunk) + capacity, 1);
        (*chunk)->capacity = (uint16_t)capacity;
    }
}

/* What an append changed beside the data; chunk may have moved. */
static void take_state(struct chunk *chunk, const struct chunk *after)
{
    uint16_t capacity = chunk->capacity;
    copy_state(chunk, after);
    chunk->capacity = capacity;
}

/* Writes the window behind what `after` (a copy of the chunk's header) has, from bit `bits % 8` of scratch on. */
static size_t write_window(struct chunk *after, int64_t base_ms, const struct entry *window, size_t count,
                           struct bit_writer *writer)
{
    for (size_t i = 0; i < count; i++) {
        write_entry(writer, after, &window[i], since(base_ms, window[i].sample.time_ms));
    }
    return (writer->bits + 7) / 8;
}

bool chunk_append(struct chunk **chunk, int64_t base_ms, const struct entry *window, size_t count)
{
    ASSERT(count > 0 && count <= CHUNK_WINDOW_MAX);
    const struct chunk *own = *chunk;
    ASSERT(own->entries == 0 || window[0].sample.time_ms - base_ms > own->time);
    uint8_t few[2 * ENTRY_BYTES_MAX];
    CLEANUP_FREE uint8_t *many = count > 1 ? mem_alloc((count + 1) * ENTRY_BYTES_MAX) : NULL;
    size_t whole = own->bits / 8;
    struct bit_writer writer = {.data = many ? many : few,
                                .bytes_max = many ? (count + 1) * ENTRY_BYTES_MAX : sizeof(few),
                                .bits = own->bits % 8};
    writer.data[0] = writer.bits > 0 ? own->data[whole] : 0;
    struct chunk after;
    copy_state(&after, own);
    size_t len = write_window(&after, base_ms, window, count, &writer);
    if (own->entries > 0 && whole + len > CHUNK_DATA_MAX) {
        return false;
    }
    after.window = since(base_ms, MAX(entry_window_start_ms(&window[0]), base_ms));
    after.start = own->entries == 0 ? after.window : own->start;
    after.end = since(base_ms, MIN(entry_window_end_ms(&window[count - 1]), base_ms + CHUNK_SPAN_MS_MAX));
    after.bits = (uint32_t)(whole * 8 + writer.bits);
    unshare(chunk);
    grow(chunk, whole + len);
    memcpy((*chunk)->data + whole, writer.data, len);
    take_state(*chunk, &after);
    return true;
}

/* ---- Reading ---- */

static uint64_t read_number(struct bit_reader *reader)
{
    unsigned width = (unsigned)bit_read(reader, 6);
    return bit_read(reader, width == 63 ? 64 : width);
}

static int64_t read_time(struct bit_reader *reader)
{
    if (bit_read(reader, 1) == 0) {
        return 0;
    }
    unsigned width = time_widths[bit_read(reader, 2)];
    return (int64_t)(bit_read(reader, width) << (64 - width)) >> (64 - width);
}

/* Where decoding is: what the next entry is written against. */
struct decoder {
    struct bit_reader bits;
    int64_t time_ms, delta;
    uint64_t value_bits;
    uint32_t count, resolution_ms;
    uint8_t leading, trailing;
    bool bad;
};

static void read_decimals(struct decoder *decoder, struct entry *entry)
{
    unsigned exponent = (unsigned)bit_read(&decoder->bits, 4);
    uint64_t below = read_number(&decoder->bits), above = read_number(&decoder->bits);
    uint64_t rest = read_number(&decoder->bits);
    double units = exponent <= EXPONENT_MAX ? rint(entry->sample.value * powers[exponent]) : NAN;
    if (!(fabs(units) < UNITS_MAX)) {
        decoder->bad = true;
        return;
    }
    uint64_t last = (uint64_t)(int64_t)units;
    uint64_t sum = last * entry->count + (rest & 1 ? ~(rest >> 1) : rest >> 1);
    entry->min = (double)(int64_t)(last - below) / powers[exponent];
    entry->max = (double)(int64_t)(last + above) / powers[exponent];
    entry->sum = (double)(int64_t)sum / powers[exponent];
}

static void read_aggregates(struct decoder *decoder, struct entry *entry)
{
    if (bit_read(&decoder->bits, 1) == 0) {
        return;
    }
    entry->flags |= ENTRY_AGGREGATES;
    if (bit_read(&decoder->bits, 1) == 0) {
        read_decimals(decoder, entry);
        return;
    }
    entry->sum = double_from_bits(bit_read(&decoder->bits, 64));
    entry->min = double_from_bits(bit_read(&decoder->bits, 64));
    entry->max = double_from_bits(bit_read(&decoder->bits, 64));
}

/* Sets what the entry is, all but its values; false: an extra. */
static void read_note(struct decoder *decoder, struct entry *entry)
{
    if (bit_read(&decoder->bits, 1) == 0) {
        return;
    }
    bool extra = bit_read(&decoder->bits, 1) == 0, plain_extra = extra;
    if (!extra) {
        extra = bit_read(&decoder->bits, 1) != 0;
    }
    if (!extra) {
        uint64_t count = read_number(&decoder->bits);
        decoder->bad |= count > UINT32_MAX;
        decoder->count = (uint32_t)count;
    }
    if (!plain_extra) {
        uint64_t resolution_ms = read_number(&decoder->bits);
        decoder->bad |= resolution_ms > UINT32_MAX;
        decoder->resolution_ms = (uint32_t)resolution_ms;
    }
    entry->resolution_ms = decoder->resolution_ms;
    entry->flags = extra ? ENTRY_EXTRA : 0;
    entry->count = extra ? 0 : decoder->count;
}

static void read_value(struct decoder *decoder)
{
    if (bit_read(&decoder->bits, 1) == 0) {
        return;
    }
    if (bit_read(&decoder->bits, 1) != 0) {
        unsigned packed = (unsigned)bit_read(&decoder->bits, 11), significant = packed & 63;
        significant = significant == 0 ? 64 : significant;
        decoder->leading = (uint8_t)(packed >> 6);
        if (decoder->leading + significant > 64) {
            decoder->bad = true;
            return;
        }
        decoder->trailing = (uint8_t)(64 - decoder->leading - significant);
    }
    if (decoder->leading == KEPT_NOTHING) {
        decoder->bad = true;
        return;
    }
    unsigned width = 64U - decoder->leading - decoder->trailing;
    decoder->value_bits ^= bit_read(&decoder->bits, width) << decoder->trailing;
}

static void read_entry(struct decoder *decoder, struct entry *entry)
{
    bool again = bit_read(&decoder->bits, 1) == 0;
    entry->count = decoder->count;
    entry->resolution_ms = decoder->resolution_ms;
    entry->flags = 0;
    if (!again) {
        decoder->delta += read_time(&decoder->bits);
        read_note(decoder, entry);
    }
    decoder->time_ms += decoder->delta;
    read_value(decoder);
    entry->sample = (struct sample){decoder->time_ms, double_from_bits(decoder->value_bits)};
    if (!again) {
        read_aggregates(decoder, entry);
    }
}

int chunk_decode(const void *data, size_t len, size_t count, int64_t base_ms, struct entries *entries)
{
    struct decoder decoder = {.bits = bit_reader_of(data, len), .leading = KEPT_NOTHING, .time_ms = base_ms};
    entries_reserve(entries, entries->count + count);
    for (size_t i = 0; i < count; i++) {
        read_entry(&decoder, &entries->items[entries->count]);
        bool late = i > 0 && decoder.delta <= 0;
        if (decoder.bad || decoder.bits.bad || late || decoder.delta < 0 || decoder.delta > CHUNK_SPAN_MS_MAX) {
            return -EBADMSG;
        }
        entries->count++;
    }
    return 0;
}

/* ---- Samples alone ---- */

static inline size_t skip_number(struct bit_span span, size_t at)
{
    unsigned width = (unsigned)(bit_peek(span, at) >> 58);
    return at + 6 + (width == 63 ? 64 : width);
}

static inline size_t decode_time(struct bit_span span, size_t at, int64_t *delta)
{
    uint64_t word = bit_peek(span, at);
    if (!(word >> 63)) {
        return at + 1;
    }
    unsigned width = time_widths[word >> 61 & 3];
    *delta += (int64_t)(word << 3) >> (64 - width);
    return at + 3 + width;
}

static inline size_t skip_note(struct bit_span span, size_t at)
{
    unsigned form = (unsigned)(bit_peek(span, at) >> 61);
    if (form < 4) { /* 0: nothing new */
        return at + 1;
    }
    if (form < 6) { /* 10: an extra */
        return at + 2;
    }
    at = skip_number(span, at + 3); /* 111: its resolution; 110: count and resolution */
    return form == 6 ? skip_number(span, at) : at;
}

static inline size_t skip_aggregates(struct bit_span span, size_t at)
{
    unsigned form = (unsigned)(bit_peek(span, at) >> 62);
    if (form < 2) {
        return at + 1;
    }
    if (form == 3) {
        return at + 2 + 3 * 64;
    }
    return skip_number(span, skip_number(span, skip_number(span, at + 2 + 4)));
}

int chunk_decode_samples(struct str data, size_t count, int64_t base_ms, struct sample *ret_samples)
{
    struct bit_span span = {(const uint8_t *)data.ptr, data.len};
    struct xor_value value = XOR_VALUE_INIT;
    size_t at = 0, end = data.len * 8;
    int64_t time_ms = base_ms, delta = 0;
    for (size_t i = 0; i < count; i++) {
        bool again = !(bit_peek(span, at++) >> 63);
        if (!again) {
            at = skip_note(span, decode_time(span, at, &delta));
        }
        at = xor_value_read(span, at, &value);
        if (!again) {
            at = skip_aggregates(span, at);
        }
        bool late = i > 0 && delta <= 0;
        if (at > end || late || delta < 0 || delta > CHUNK_SPAN_MS_MAX) {
            return -EBADMSG;
        }
        time_ms += delta;
        ret_samples[i] = (struct sample){time_ms, double_from_bits(value.bits)};
    }
    return 0;
}
