#include "store/chunk.h"

#include "base/fail.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define MALLOC_STEP 16 /* sizes that malloc gives: multiples of it, less its own word */
#define MALLOC_WORD 8

/* So many samples in a row with the same count and flags. */
struct chunk_run {
    uint32_t count;
    uint16_t repeat;
    uint16_t flags;
};

struct chunk_aggregates {
    double sum, min, max;
};

struct chunk_notes {
    uint16_t run_count, run_capacity;
    uint16_t aggregate_count, aggregate_capacity;
    struct chunk_run *runs;
    struct chunk_aggregates *aggregates; /* of the samples with ENTRY_AGGREGATES, in order */
};

/* The next size of a growing block: an eighth more than is needed, and what malloc would round up to. Doubling would
 * leave a third of all chunk memory unused, and blocks grow a few times in hours only. */
static size_t grown(size_t need)
{
    size_t bytes = need + need / 8 + MALLOC_WORD;
    return (bytes + MALLOC_STEP - 1) / MALLOC_STEP * MALLOC_STEP - MALLOC_WORD;
}

struct chunk *chunk_new(void)
{
    size_t bytes = grown(sizeof(struct chunk) + XOR_HEADER_BYTES + XOR_SAMPLE_BYTES_MAX);
    struct chunk *chunk = mem_zalloc(bytes);
    atomic_init(&chunk->refs, 1);
    chunk->bits = XOR_HEADER_BYTES * 8;
    chunk->capacity = (uint32_t)(bytes - sizeof(struct chunk));
    return chunk;
}

struct chunk *chunk_ref(struct chunk *chunk)
{
    atomic_fetch_add_explicit(&chunk->refs, 1, memory_order_relaxed);
    return chunk;
}

static void notes_free(struct chunk_notes *notes)
{
    if (notes) {
        mem_free(notes->runs);
        mem_free(notes->aggregates);
        mem_free(notes);
    }
}

void chunk_unref(struct chunk *chunk)
{
    if (chunk && atomic_fetch_sub_explicit(&chunk->refs, 1, memory_order_acq_rel) == 1) {
        notes_free(chunk->notes);
        mem_free(chunk);
    }
}

uint16_t chunk_count(const struct chunk *chunk)
{
    return (uint16_t)(chunk->data[0] << 8 | chunk->data[1]);
}

size_t chunk_data_bytes(const struct chunk *chunk)
{
    return (chunk->bits + 7) / 8;
}

size_t chunk_memory_bytes(const struct chunk *chunk)
{
    size_t bytes = sizeof(*chunk) + chunk->capacity;
    if (chunk->notes) {
        bytes += sizeof(*chunk->notes) + chunk->notes->run_capacity * sizeof(struct chunk_run) +
                 chunk->notes->aggregate_capacity * sizeof(struct chunk_aggregates);
    }
    return bytes;
}

static struct chunk_notes *notes_copy(const struct chunk_notes *notes)
{
    struct chunk_notes *copy = mem_alloc(sizeof(*copy));
    *copy = *notes;
    copy->runs = mem_resize(NULL, notes->run_capacity, sizeof(*copy->runs));
    memcpy(copy->runs, notes->runs, notes->run_count * sizeof(*copy->runs));
    copy->aggregates = NULL;
    if (notes->aggregate_capacity > 0) {
        copy->aggregates = mem_resize(NULL, notes->aggregate_capacity, sizeof(*copy->aggregates));
        memcpy(copy->aggregates, notes->aggregates, notes->aggregate_count * sizeof(*copy->aggregates));
    }
    return copy;
}

/* References are only taken under the store's lock, which the writer holds: 1 stays 1. */
static bool is_shared(const struct chunk *chunk)
{
    return atomic_load_explicit(&chunk->refs, memory_order_acquire) != 1;
}

static void unshare(struct chunk **chunk)
{
    const struct chunk *old = *chunk;
    if (!is_shared(old)) {
        return;
    }
    struct chunk *copy = mem_alloc(sizeof(*copy) + old->capacity);
    atomic_init(&copy->refs, 1);
    copy->uniform_count = old->uniform_count;
    copy->min_time_ms = old->min_time_ms;
    copy->max_time_ms = old->max_time_ms;
    copy->notes = old->notes ? notes_copy(old->notes) : NULL;
    copy->bits = old->bits;
    copy->capacity = old->capacity;
    memcpy(copy->data, old->data, chunk_data_bytes(old));
    chunk_unref(*chunk);
    *chunk = copy;
}

static void run_add(struct chunk_notes *notes, uint32_t count, uint16_t flags, uint16_t repeat)
{
    struct chunk_run *last = notes->run_count > 0 ? &notes->runs[notes->run_count - 1] : NULL;
    if (last && last->count == count && last->flags == flags) {
        last->repeat = (uint16_t)(last->repeat + repeat);
        return;
    }
    if (notes->run_count == notes->run_capacity) {
        notes->run_capacity = (uint16_t)(grown((notes->run_count + 1) * sizeof(*last)) / sizeof(*last));
        notes->runs = mem_resize(notes->runs, notes->run_capacity, sizeof(*last));
    }
    ASSERT(notes->runs);
    notes->runs[notes->run_count++] = (struct chunk_run){.count = count, .repeat = repeat, .flags = flags};
}

static void note(struct chunk *chunk, const struct chunk_entry *entry)
{
    uint16_t present = chunk_count(chunk);
    if (!chunk->notes) {
        if (entry->flags == 0 && (present == 0 || entry->count == chunk->uniform_count)) {
            chunk->uniform_count = entry->count;
            return;
        }
        chunk->notes = mem_zalloc(sizeof(*chunk->notes));
        if (present > 0) {
            run_add(chunk->notes, chunk->uniform_count, 0, present);
        }
    }
    struct chunk_notes *notes = chunk->notes;
    run_add(notes, entry->count, entry->flags, 1);
    if (!(entry->flags & ENTRY_AGGREGATES)) {
        return;
    }
    if (notes->aggregate_count == notes->aggregate_capacity) {
        size_t bytes = grown((notes->aggregate_count + 1) * sizeof(struct chunk_aggregates));
        notes->aggregate_capacity = (uint16_t)(bytes / sizeof(struct chunk_aggregates));
        notes->aggregates = mem_resize(notes->aggregates, notes->aggregate_capacity, sizeof(struct chunk_aggregates));
    }
    ASSERT(notes->aggregates);
    notes->aggregates[notes->aggregate_count++] = (struct chunk_aggregates){entry->sum, entry->min, entry->max};
}

void chunk_append(struct chunk **chunk, struct xor_state *state, const struct chunk_entry *entry)
{
    unshare(chunk);
    struct chunk *own = *chunk;
    uint16_t count = chunk_count(own);
    ASSERT(count < CHUNK_SAMPLES_MAX && state->count == count);
    ASSERT(count == 0 || entry->sample.time_ms > own->max_time_ms);

    /* Beside the chunk first, so that it grows by what is used, not by the longest sample there is. */
    uint8_t bytes[XOR_SAMPLE_BYTES_MAX];
    size_t whole = own->bits / 8;
    struct bit_writer writer = {.data = bytes, .bytes_max = sizeof(bytes), .bits = own->bits % 8};
    bytes[0] = writer.bits > 0 ? own->data[whole] : 0;
    xor_write(&writer, state, entry->sample);
    size_t len = (writer.bits + 7) / 8;
    if (whole + len > own->capacity) {
        size_t memory = grown(sizeof(*own) + whole + len);
        *chunk = own = mem_resize(own, memory, 1);
        own->capacity = (uint32_t)(memory - sizeof(*own));
    }
    memcpy(own->data + whole, bytes, len);
    own->bits = (uint32_t)(whole * 8 + writer.bits);
    note(own, entry);
    own->data[0] = (uint8_t)(state->count >> 8);
    own->data[1] = (uint8_t)state->count;
    own->min_time_ms = count == 0 ? entry->sample.time_ms : own->min_time_ms;
    own->max_time_ms = entry->sample.time_ms;
}

struct xor_state chunk_state(const struct chunk *chunk)
{
    struct xor_reader reader;
    struct sample sample;
    xor_reader_init(&reader, chunk->data, chunk_data_bytes(chunk));
    while (xor_read(&reader, &sample) > 0) {
    }
    ASSERT(reader.state.count == chunk_count(chunk)); /* bytes of our own, never from outside */
    return reader.state;
}

void chunk_trim(struct chunk **chunk)
{
    struct chunk *own = *chunk;
    size_t bytes = chunk_data_bytes(own);
    if (is_shared(own) || own->capacity - bytes < MALLOC_STEP) {
        return;
    }
    own->capacity = (uint32_t)bytes;
    *chunk = mem_resize(own, sizeof(*own) + bytes, 1);
}

void chunk_reader_init(struct chunk_reader *reader, const struct chunk *chunk)
{
    *reader = (struct chunk_reader){.chunk = chunk};
    xor_reader_init(&reader->samples, chunk->data, chunk_data_bytes(chunk));
}

int chunk_read(struct chunk_reader *reader, struct chunk_entry *ret_entry)
{
    const struct chunk_notes *notes = reader->chunk->notes;
    struct sample sample;
    int result = xor_read(&reader->samples, &sample);
    if (result <= 0) {
        return result;
    }
    *ret_entry = (struct chunk_entry){.sample = sample, .count = reader->chunk->uniform_count};
    if (!notes) {
        return 1;
    }
    if (reader->run_used == notes->runs[reader->run].repeat) {
        reader->run++;
        reader->run_used = 0;
    }
    ASSERT(reader->run < notes->run_count);
    reader->run_used++;
    ret_entry->count = notes->runs[reader->run].count;
    ret_entry->flags = notes->runs[reader->run].flags;
    if (ret_entry->flags & ENTRY_AGGREGATES) {
        const struct chunk_aggregates *kept = &notes->aggregates[reader->aggregate++];
        ret_entry->sum = kept->sum;
        ret_entry->min = kept->min;
        ret_entry->max = kept->max;
    }
    return 1;
}
