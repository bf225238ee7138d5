/* blocks.json: refused with a reason, or read so that it says the same when it is written out again. */
#include "base/fail.h"
#include "store/blocks_catalog.h"
#include "store/json_seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_record(const struct blocks_record *a, const struct blocks_record *b)
{
    ASSERT(strcmp(a->ulid.text, b->ulid.text) == 0);
    ASSERT(a->min_time_ms == b->min_time_ms && a->max_time_ms == b->max_time_ms);
    ASSERT(a->min_time_ms <= a->max_time_ms);
    ASSERT(strcmp(a->class, b->class) == 0);
    ASSERT(a->samples == b->samples && a->series == b->series && a->disk_bytes == b->disk_bytes);
    ASSERT(a->checked_ms == b->checked_ms && a->damaged == b->damaged && a->damaged_at_ms == b->damaged_at_ms);
    ASSERT(a->unexplained == b->unexplained && (a->damaged || !a->unexplained));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(blocks_catalog_done) struct blocks_catalog first = {0}, again = {0};
    CLEANUP(buf_done) struct buf text = BUF_INIT(BLOCKS_CATALOG_BYTES_MAX);
    char reason[BLOCK_REASON_BYTES];
    if (blocks_catalog_parse(str_of(data, size), &first, reason) < 0) {
        ASSERT(strlen(reason) < sizeof(reason) && first.count == 0 && !first.records && !first.leaving);
        return 0;
    }
    blocks_catalog_print(&first, &text);
    ASSERT(json_seal_holds(buf_view(&text)));
    ASSERT(blocks_catalog_parse(buf_view(&text), &again, reason) == 0);
    ASSERT(again.count == first.count && again.leaving_count == first.leaving_count);
    for (size_t i = 0; i < first.count; i++) {
        same_record(&first.records[i], &again.records[i]);
        ASSERT(blocks_catalog_find(&first, &first.records[i].ulid) == &first.records[i]);
    }
    for (size_t i = 0; i < first.leaving_count; i++) {
        ASSERT(strcmp(first.leaving[i].text, again.leaving[i].text) == 0);
        ASSERT(blocks_catalog_is_leaving(&first, &again.leaving[i]));
    }
    return 0;
}
