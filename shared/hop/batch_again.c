/* What a batch says, put into a writer once more: several batches become one of several rounds, and one that is read
 * and written again shows whether both sides mean the same. */
#include "base/fail.h"
#include "hop/batch.h"

#include <errno.h>
#include <stdlib.h>

struct again_entry { /* what the blocks say of an entry */
    size_t first_record;
    size_t first_extra, extra_count;
};

struct again {
    struct batch_reader *reader;
    const struct batch_entry *entries;
    size_t entry_count;
    struct again_entry *places;
    struct record *records; /* entry by entry, in the order of its page's slots */
    struct record_extra *extras;
    uint32_t *extra_entries; /* of each extra, as they are read */
    size_t extra_count, extra_capacity;
};

static void again_done(struct again *again)
{
    mem_free(again->places);
    mem_free(again->records);
    mem_free(again->extras);
    mem_free(again->extra_entries);
}

static void place_records(struct again *again)
{
    size_t records = 0;
    again->places = mem_array(again->entry_count, sizeof(*again->places));
    for (size_t i = 0; i < again->entry_count; i++) {
        again->places[i].first_record = records;
        if (again->entries[i].count > 0)
            records += batch_reader_page_slots(again->reader, again->entries[i].page);
    }
    again->records = mem_array(records, sizeof(*again->records));
}

static void take_extra(struct again *again, const struct batch_block *block, const struct record_extra *extra)
{
    if (again->extra_count == again->extra_capacity) {
        again->extra_capacity = MAX(2 * again->extra_capacity, (size_t)64);
        again->extras = mem_resize(again->extras, again->extra_capacity, sizeof(*again->extras));
        again->extra_entries = mem_resize(again->extra_entries, again->extra_capacity, sizeof(uint32_t));
    }
    ASSERT(block->entry_count > 0);
    uint32_t member = extra->index % block->entry_count, slot = extra->index / block->entry_count;
    again->extra_entries[again->extra_count] = block->entries[member];
    again->extras[again->extra_count++] =
        (struct record_extra){.index = block->first_slots[member] + slot, .sample = extra->sample};
    again->places[block->entries[member]].extra_count++;
}

static void take_block(struct again *again, const struct batch_block *block)
{
    for (uint32_t m = 0; m < block->entry_count; m++) {
        struct record *records = again->records + again->places[block->entries[m]].first_record + block->first_slots[m];
        for (uint32_t slot = 0; slot < block->family->count; slot++)
            records[slot] = block->records[slot * block->entry_count + m];
    }
    for (uint32_t i = 0; i < block->extra_count; i++)
        take_extra(again, block, &block->extras[i]);
}

static int compare_extras(const void *a, const void *b)
{
    const struct record_extra *x = a, *y = b;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    return x->sample.time_ms < y->sample.time_ms ? -1 : x->sample.time_ms > y->sample.time_ms;
}

/* From the order of blocks to that of entries; a record's own stay in the order in which they were. */
static void sort_extras(struct again *again)
{
    size_t total = 0;
    for (size_t i = 0; i < again->entry_count; i++) {
        again->places[i].first_extra = total;
        total += again->places[i].extra_count;
    }
    struct record_extra *sorted = mem_array(total, sizeof(*sorted));
    CLEANUP_FREE size_t *next = mem_array(again->entry_count, sizeof(*next));
    for (size_t i = 0; i < total; i++) {
        size_t entry = again->extra_entries[i];
        sorted[again->places[entry].first_extra + next[entry]++] = again->extras[i];
    }
    for (size_t i = 0; i < again->entry_count; i++)
        if (again->places[i].extra_count > 1)
            qsort(sorted + again->places[i].first_extra, again->places[i].extra_count, sizeof(*sorted), compare_extras);
    mem_free(again->extras);
    again->extras = sorted;
}

static int read_blocks(struct again *again)
{
    struct batch_block block;
    int more;
    place_records(again);
    while ((more = batch_reader_next(again->reader, &block)) > 0)
        take_block(again, &block);
    if (more == 0)
        sort_extras(again);
    return more;
}

static int add_entry(struct again *again, size_t i, uint32_t round, struct batch_writer *writer)
{
    const struct batch_entry *entry = &again->entries[i];
    const struct layout *page = batch_reader_page(again->reader, entry->page);
    struct batch_item item = {.round = round + entry->round,
                              .target = batch_reader_targets(again->reader)->targets[entry->target],
                              .page = (struct layout *)page,
                              .time_ms = entry->time_ms,
                              .count = entry->count,
                              .stale_ms = entry->stale_ms,
                              .records = again->records + again->places[i].first_record,
                              .extras = again->extras + again->places[i].first_extra,
                              .extra_count = again->places[i].extra_count};
    return batch_writer_add(writer, &item);
}

int batch_writer_add_batch(struct batch_writer *writer, struct batch_reader *reader, uint32_t round)
{
    CLEANUP(again_done) struct again again = {.reader = reader};
    again.entries = batch_reader_entries(reader, &again.entry_count);
    int error = read_blocks(&again);
    for (size_t i = 0; i < again.entry_count && error == 0; i++)
        error = add_entry(&again, i, round, writer);
    return error;
}
