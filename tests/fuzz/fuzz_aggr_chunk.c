/* Any bytes as a chunk of aggregates: reading ends, within what there is; what was read can be written and read again,
 * to the bit. */
#include "base/fail.h"
#include "store/aggr_chunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void rewrite(const struct entry *entries, size_t count)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(4 * MIB + 256 * count);
    struct aggr_reader reader;
    struct entry entry;
    aggr_chunk_print(entries, count, &bytes);
    ASSERT(!bytes.full && aggr_reader_init(&reader, buf_view(&bytes)) == 0 && reader.count == count);
    for (size_t i = 0; i < count; i++) {
        ASSERT(aggr_read(&reader, &entry) == 1);
        ASSERT(entry.sample.time_ms == entries[i].sample.time_ms && entry.count == entries[i].count);
        ASSERT(double_bits(entry.sum) == double_bits(entries[i].sum));
        ASSERT(double_bits(entry.min) == double_bits(entries[i].min));
        ASSERT(double_bits(entry.max) == double_bits(entries[i].max));
        ASSERT(entry.flags == ENTRY_AGGREGATES);
    }
    ASSERT(aggr_read(&reader, &entry) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct aggr_reader reader;
    struct entry entry;
    struct entries entries = {0};
    if (aggr_reader_init(&reader, str_of(data, size)) < 0) {
        return 0;
    }
    ASSERT(size > AGGR_READ * XOR_HEADER_BYTES);
    while (aggr_read(&reader, &entry) > 0) {
        entries_add(&entries, &entry);
        ASSERT(entries.count <= reader.count);
    }
    if (entries.count > 0) {
        rewrite(entries.items, entries.count);
    }
    entries_done(&entries);
    return 0;
}
