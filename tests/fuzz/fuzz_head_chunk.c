/* Any bytes as a chunk of the head: decoding ends, within what there is, with times that rise; and what was decoded can
 * be written and comes back the same, window by window. */
#include "base/fail.h"
#include "store/chunk.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(const struct entry *a, const struct entry *b)
{
    return a->sample.time_ms == b->sample.time_ms && double_bits(a->sample.value) == double_bits(b->sample.value) &&
           a->count == b->count && a->resolution_ms == b->resolution_ms && a->flags == b->flags &&
           (!(a->flags & ENTRY_AGGREGATES) || memcmp(&a->sum, &b->sum, 3 * sizeof(double)) == 0);
}

static void rewrite(const struct entries *entries)
{
    struct chunk *chunk = chunk_new();
    size_t kept = 0;
    for (size_t end; kept < entries->count; kept = end) {
        end = entries_window_end(entries->items, entries->count, kept);
        /* A partition's windows: they fit, and each is behind the one before. */
        bool fits = end - kept <= CHUNK_WINDOW_MAX && entry_window_end_ms(&entries->items[end - 1]) <= INT64_C(7200000);
        if (!fits || (kept > 0 && entry_window_start_ms(&entries->items[kept]) < chunk->end) ||
            !chunk_append(&chunk, 0, entries->items + kept, end - kept))
            break;
    }
    struct entries again = {0};
    ASSERT(chunk_decode(chunk->data, chunk_data_bytes(chunk), chunk->entries, 0, &again) == 0);
    ASSERT(again.count == kept);
    for (size_t i = 0; i < kept; i++)
        ASSERT(same(&again.items[i], &entries->items[i]));
    entries_done(&again);
    chunk_unref(chunk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct entries entries = {0};
    if (size == 0)
        return 0;
    int result = chunk_decode(data + 1, size - 1, data[0], 0, &entries);
    ASSERT(result < 0 || entries.count == data[0]);
    struct sample *samples = mem_array(data[0], sizeof(*samples));
    int bulk = chunk_decode_samples(str_of((const char *)data + 1, size - 1), data[0], 0, samples);
    ASSERT(result < 0 || bulk == 0);
    for (size_t i = 0; i < entries.count && result == 0; i++)
        ASSERT(samples[i].time_ms == entries.items[i].sample.time_ms &&
               double_bits(samples[i].value) == double_bits(entries.items[i].sample.value));
    mem_free(samples);
    for (size_t i = 1; i < entries.count; i++)
        ASSERT(entries.items[i].sample.time_ms > entries.items[i - 1].sample.time_ms);
    rewrite(&entries);
    entries_done(&entries);
    return 0;
}
