/* deletions.json: refused with a reason, or read so that it says the same when it is written out again. */
#include "base/fail.h"
#include "store/deletions_document.h"
#include "store/json_seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_deletion(const struct deletion *a, const struct deletion *b)
{
    ASSERT(a->id == b->id && a->start_ms == b->start_ms && a->end_ms == b->end_ms);
    ASSERT(a->requested_ms == b->requested_ms && a->done_ms == b->done_ms);
    ASSERT(strcmp(a->match, b->match) == 0 && strcmp(a->who, b->who) == 0 && strcmp(a->why, b->why) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(deletions_document_done) struct deletions_document first = {0}, again = {0};
    CLEANUP(buf_done) struct buf text = BUF_INIT(DELETIONS_DOCUMENT_BYTES_MAX);
    char reason[256];
    if (deletions_document_parse(str_of(data, size), reason, &first) < 0) {
        ASSERT(strlen(reason) < sizeof(reason) && !first.items);
        return 0;
    }
    deletions_document_print(&first, &text);
    ASSERT(json_seal_holds(buf_view(&text)));
    ASSERT(deletions_document_parse(buf_view(&text), reason, &again) == 0);
    ASSERT(again.count == first.count && again.newest == first.newest);
    for (size_t i = 0; i < first.count; i++) {
        same_deletion(&first.items[i], &again.items[i]);
        ASSERT(first.items[i].id <= first.newest && (i == 0 || first.items[i].id > first.items[i - 1].id));
    }
    return 0;
}
