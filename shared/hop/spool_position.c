/* How far a consumer has come: [name, upstream's incarnation, [first id, last id, state, ...]], runs of stored and
 * delivered batches by rising ids; what is in no run is pending. Each is whole: the last one read counts. */
#include "base/fail.h"
#include "base/log.h"
#include "hop/pack.h"
#include "hop/spool_internal.h"

#include <errno.h>

#define POSITION_FIELDS 3
#define NAME_BYTES_MAX  256
#define FIELDS_OF_RUN   3

struct run_list {
    struct position_run *items;
    size_t count, capacity;
    bool full; /* from here on nothing is said: a run that went on over what was left out would tell of it wrongly */
};

/* Joins the run before where the states are equal: entries follow each other. */
static void add_run(struct run_list *runs, uint64_t first, uint64_t last, enum batch_state state, bool joins)
{
    struct position_run *before = runs->count > 0 ? &runs->items[runs->count - 1] : NULL;
    if (runs->full)
        return;
    if (joins && before && before->state == state) {
        before->last = last;
        return;
    }
    if (runs->count == SPOOL_RUNS_MAX) {
        runs->full = true;
        return;
    }
    if (runs->count == runs->capacity) {
        runs->capacity = MAX(runs->capacity * 2, (size_t)16);
        runs->items = mem_resize(runs->items, runs->capacity, sizeof(*runs->items));
    }
    runs->items[runs->count++] = (struct position_run){first, last, state};
}

/* A run never goes over to the next segment: behind what is known of one there may be batches that were given up and
 * could not be cut off, which the next replay finds again. Nobody has stored them. */
static void collect(const struct spool *spool, size_t consumer, struct run_list *runs)
{
    for (size_t i = 0; i < spool->segment_count; i++) {
        bool joins = false; /* the entry before is in the last run */
        const struct segment *segment = spool->segments[i];
        const uint32_t *states = segment->views[consumer].states;
        if (segment->entry_count == 0)
            continue;
        const struct spool_entry *last = &segment->entries[segment->entry_count - 1];
        if (states[BATCH_STORED] == segment->entry_count || states[BATCH_DELIVERED] == segment->entry_count) {
            add_run(runs, entry_id(segment, segment->entries), entry_id(segment, last), entry_state(last, consumer),
                    joins);
            continue;
        }
        if (states[BATCH_STORED] + states[BATCH_DELIVERED] == 0)
            continue;
        for (const struct spool_entry *entry = segment->entries; entry <= last; entry++) {
            bool counts = entry_state(entry, consumer) >= BATCH_STORED;
            uint64_t id = entry_id(segment, entry);
            if (counts)
                add_run(runs, id, id, entry_state(entry, consumer), joins);
            joins = counts;
        }
    }
}

int position_append(struct spool *spool, size_t consumer, struct buf *frames)
{
    struct run_list runs = {0};
    collect(spool, consumer, &runs);
    CLEANUP(buf_done) struct buf payload = BUF_INIT(SPOOL_POSITION_BYTES_MAX);
    pack_array(&payload, POSITION_FIELDS);
    pack_str(&payload, str_from(spool->consumers[consumer].name));
    pack_uint(&payload, spool->consumers[consumer].upstream);
    pack_array(&payload, (uint32_t)(runs.count * FIELDS_OF_RUN));
    for (size_t i = 0; i < runs.count; i++) {
        pack_uint(&payload, runs.items[i].first);
        pack_uint(&payload, runs.items[i].last);
        pack_uint(&payload, runs.items[i].state);
    }
    mem_free(runs.items);
    ASSERT(!payload.full);
    return frame_append(frames, FRAME_POSITION, payload.data, payload.len);
}

void position_done(struct position *position)
{
    mem_free(position->runs);
    *position = (struct position){0};
}

int position_read(struct spool *spool, struct str payload, struct position *positions)
{
    struct unpack in = unpack_of(payload.ptr, payload.len);
    uint32_t fields = unpack_record(&in, POSITION_FIELDS);
    struct str name = unpack_str(&in, NAME_BYTES_MAX);
    struct position read = {.upstream = unpack_uint(&in, UINT64_MAX)};
    size_t numbers = unpack_array(&in, SPOOL_RUNS_MAX * FIELDS_OF_RUN);
    if (in.in.bad || numbers % FIELDS_OF_RUN != 0)
        return -EBADMSG;
    read.runs = mem_array(numbers / FIELDS_OF_RUN, sizeof(*read.runs));
    for (; read.run_count < numbers / FIELDS_OF_RUN; read.run_count++) {
        struct position_run *run = &read.runs[read.run_count];
        run->first = unpack_uint(&in, UINT64_MAX);
        run->last = unpack_uint(&in, UINT64_MAX);
        run->state = (enum batch_state)unpack_uint(&in, BATCH_STATES - 1);
    }
    unpack_skip(&in, fields - POSITION_FIELDS);
    size_t consumer = 0;
    while (consumer < spool->consumer_count && !str_equal(name, str_from(spool->consumers[consumer].name)))
        consumer++;
    if (!unpack_done(&in) || consumer == spool->consumer_count) {
        position_done(&read);
        return unpack_done(&in) ? 0 : -EBADMSG;
    }
    position_done(&positions[consumer]);
    positions[consumer] = read;
    return 0;
}

/* Entries and runs both rise: one pass over them. */
void position_apply(struct spool *spool, size_t consumer, const struct position *position)
{
    spool->consumers[consumer].upstream = position->upstream;
    size_t run = 0;
    for (size_t i = 0; i < spool->segment_count; i++) {
        struct segment *segment = spool->segments[i];
        for (size_t j = 0; j < segment->entry_count; j++) {
            struct spool_entry *entry = &segment->entries[j];
            uint64_t id = entry_id(segment, entry);
            while (run < position->run_count && position->runs[run].last < id)
                run++;
            if (run == position->run_count)
                return;
            if (id >= position->runs[run].first && position->runs[run].state >= BATCH_STORED)
                index_set_state(spool, segment, entry, consumer, position->runs[run].state);
        }
    }
}

/* Without a sync of its own: the next group's takes it along, and what a crash loses of it is sent again. */
static void on_position_timer(void *arg)
{
    struct spool *spool = arg;
    if (!spool->file) {
        if (segment_open(spool) < 0) /* its head has the positions */
            log_debug("spool %s: positions wait for room", spool->dir);
        segments_free_delivered(spool);
        return;
    }
    for (size_t i = 0; i < spool->consumer_count; i++) {
        if (!spool->consumers[i].moved)
            continue;
        buf_reset(&spool->frames);
        int error = position_append(spool, i, &spool->frames);
        if (!error)
            error = segment_write_or_fail(spool);
        if (error < 0) {
            log_debug("spool %s: position not written: %d", spool->dir, error);
            return;
        }
        spool->consumers[i].moved = false;
    }
}

void position_moved(struct spool *spool, size_t consumer)
{
    spool->consumers[consumer].moved = true;
    if (!spool->position_timer.active)
        loop_timer_start(&spool->position_timer, SPOOL_POSITION_MS, 0);
}

void position_write_now(struct spool *spool)
{
    loop_timer_stop(&spool->position_timer);
    on_position_timer(spool);
}

void position_init(struct spool *spool)
{
    loop_timer_init(&spool->position_timer, spool->seams.loop, on_position_timer, spool);
}
