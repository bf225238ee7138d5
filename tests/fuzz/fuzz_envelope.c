/* Any bytes as a batch's envelope: what is taken says the same when it is written again and read back. */
#include "base/fail.h"
#include "hop/envelope.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool reasons_equal(const struct reason_count *a, const struct reason_count *b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!str_equal(a[i].reason, b[i].reason) || a[i].count != b[i].count)
            return false;
    return true;
}

static void check_same(const struct envelope *a, const struct envelope *b)
{
    ASSERT(str_equal(a->source.datacenter, b->source.datacenter) &&
           str_equal(a->source.secondary, b->source.secondary));
    ASSERT(a->source.incarnation == b->source.incarnation && a->epoch == b->epoch && a->seq == b->seq);
    ASSERT(a->window_start_ms == b->window_start_ms && a->resolution_ms == b->resolution_ms && a->part == b->part);
    ASSERT(a->sealed_at_ms == b->sealed_at_ms && a->closed_through_ms == b->closed_through_ms);
    ASSERT(hash128_equal(a->targets, b->targets) && a->page_count == b->page_count);
    ASSERT(a->failed_count == b->failed_count);
    for (uint32_t i = 0; i < a->page_count; i++)
        ASSERT(hash128_equal(a->pages[i], b->pages[i]));
    ASSERT(reasons_equal(a->failed, b->failed, a->failed_count));
    ASSERT(a->dropped_count == b->dropped_count && reasons_equal(a->dropped, b->dropped, a->dropped_count));
    ASSERT(a->body_bytes == b->body_bytes && a->body_raw_bytes == b->body_raw_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_done) struct arena arena;
    struct envelope envelope, again;
    struct str body, body_again;
    CLEANUP(buf_done) struct buf out = BUF_INIT(ENVELOPE_BYTES_MAX + 2 * size + 64);
    arena_init(&arena, 16 * MIB);
    int error = envelope_decode(data, size, &arena, &envelope, &body);
    ASSERT(error == 0 || error == -EBADMSG || error == -EPROTO || error == -EMSGSIZE);
    if (error < 0)
        return 0;
    ASSERT(envelope_encode(&envelope, &out) == 0 && buf_append_str(&out, body) == 0);
    ASSERT(envelope_decode(out.data, out.len, &arena, &again, &body_again) == 0);
    ASSERT(str_equal(body, body_again));
    check_same(&envelope, &again);
    return 0;
}
