#include "hop/receiver_internal.h"

static uint64_t hash_of(const struct source_id *source)
{
    uint64_t hash = hash64(source->datacenter.ptr, source->datacenter.len, 0);
    return hash64(source->secondary.ptr, source->secondary.len, hash);
}

static bool is_source(const void *item, const void *key)
{
    const struct source_entry *entry = item;
    const struct source_id *wanted = key;
    return str_equal(entry->public.source.datacenter, wanted->datacenter) &&
           str_equal(entry->public.source.secondary, wanted->secondary);
}

struct source_entry *receiver_source_get(const struct receiver *receiver, const struct source_id *source)
{
    return map_get(&receiver->source_map, hash_of(source), is_source, source);
}

struct source_entry *receiver_source_make(struct receiver *receiver, const struct source_id *source)
{
    struct source_entry *entry = receiver_source_get(receiver, source);
    if (entry || receiver->source_count == SEQLOG_SOURCES_MAX)
        return entry;
    if (receiver->source_count == receiver->source_capacity) {
        receiver->source_capacity = MAX(2 * receiver->source_capacity, (size_t)16);
        receiver->sources = mem_resize(receiver->sources, receiver->source_capacity, sizeof(*receiver->sources));
    }
    entry = mem_zalloc(sizeof(*entry));
    memcpy(entry->datacenter, source->datacenter.ptr, source->datacenter.len);
    memcpy(entry->secondary, source->secondary.ptr, source->secondary.len);
    entry->public.source = (struct source_id){.datacenter = str_from(entry->datacenter),
                                              .secondary = str_from(entry->secondary),
                                              .incarnation = source->incarnation};
    entry->public.newest_window_ms = INT64_MIN;
    receiver->sources[receiver->source_count++] = entry;
    map_put(&receiver->source_map, hash_of(source), entry);
    return entry;
}

void receiver_sources_free(struct receiver *receiver)
{
    for (size_t i = 0; i < receiver->source_count; i++)
        mem_free(receiver->sources[i]);
    mem_free(receiver->sources);
    map_done(&receiver->source_map);
}

/* Parts of one window come apart: their targets are summed, and shown when a newer window begins. */
static void count_targets(struct receiver_source *source, const struct envelope *envelope)
{
    if (envelope->window_start_ms < source->newest_window_ms)
        return;
    if (envelope->window_start_ms > source->newest_window_ms) {
        if (source->newest_window_ms != INT64_MIN) {
            source->targets_expected = source->parts_expected;
            source->targets_answered = source->parts_answered;
        }
        source->newest_window_ms = envelope->window_start_ms;
        source->parts_expected = source->parts_answered = 0;
    }
    source->parts_expected += envelope->targets_expected;
    source->parts_answered += envelope->targets_answered;
}

void receiver_source_stored(struct source_entry *entry, const struct envelope *envelope, struct str peer,
                            int64_t sent_at_ms, int64_t now_ms)
{
    struct receiver_source *source = &entry->public;
    /* A new data directory begins to count anew. */
    source->epoch = source->source.incarnation == envelope->source.incarnation ? MAX(source->epoch, envelope->epoch)
                                                                               : envelope->epoch;
    source->source.incarnation = envelope->source.incarnation;
    source->last_received_ms = now_ms;
    source->closed_through_ms = MAX(source->closed_through_ms, envelope->closed_through_ms);
    source->batches_total++;
    if (sent_at_ms > 0)
        source->skew_ms = sent_at_ms - now_ms;
    size_t len = MIN(peer.len, sizeof(source->peer) - 1);
    memset(source->peer, 0, sizeof(source->peer));
    if (len > 0)
        memcpy(source->peer, peer.ptr, len);
    count_targets(source, envelope);
}

size_t receiver_source_count(const struct receiver *receiver)
{
    return receiver->source_count;
}

const struct receiver_source *receiver_source_at(const struct receiver *receiver, size_t index)
{
    ASSERT(index < receiver->source_count);
    return &receiver->sources[index]->public;
}
