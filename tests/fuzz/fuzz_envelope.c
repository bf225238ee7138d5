/* Any bytes as a batch's envelope: what is taken says the same when it is written again and read back. */
#include "base/fail.h"
#include "hop/envelope.h"
#include "hop/pack.h"
#include "mutate.h"

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
    ASSERT(a->span_ms == b->span_ms && a->replaces_count == b->replaces_count);
    for (uint32_t i = 0; i < a->replaces_count; i++)
        ASSERT(a->replaces[i] == b->replaces[i]);
    ASSERT(a->body_bytes == b->body_bytes && a->body_raw_bytes == b->body_raw_bytes);
    ASSERT(a->is_remote_write == b->is_remote_write);
}

/* Length of the msgpack token at `at`: of an array or map its head. 0: none. */
static size_t token_len(const uint8_t *at, size_t left)
{
    struct unpack in = unpack_of(at, left);
    enum pack_type type = unpack_peek(&in);
    if (type == PACK_ARRAY)
        unpack_array(&in, UINT32_MAX);
    else if (type == PACK_MAP)
        unpack_map(&in, UINT32_MAX);
    else if (type != PACK_END)
        unpack_skip(&in, 1);
    return in.in.bad || type == PACK_END ? 0 : (size_t)(in.in.at - at);
}

static void other_token(struct random *random, const uint8_t *token, size_t len, struct buf *out)
{
    struct unpack in = unpack_of(token, len);
    enum pack_type type = unpack_peek(&in);
    if (type == PACK_INT)
        pack_uint(out, mutate_number(random, unpack_uint(&in, UINT64_MAX)));
    else if (type == PACK_ARRAY)
        pack_array(out, (uint32_t)mutate_number(random, unpack_array(&in, UINT32_MAX)) & 0xffff);
    else if (type == PACK_BIN || type == PACK_STR) {
        CLEANUP(buf_done) struct buf bytes = BUF_INIT(MIB);
        mutate_bytes(random, type == PACK_BIN ? unpack_bin(&in, len) : unpack_str(&in, len), &bytes);
        if (type == PACK_BIN)
            pack_bin(out, bytes.data, bytes.len);
        else
            pack_str(out, buf_view(&bytes));
    } else
        buf_append(out, token, len);
}

/* One of the envelope's tokens changed, doubled or dropped; its length is made right again. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    struct random random;
    random_seed(&random, seed);
    if (size < 9 || random_below(&random, 8) == 0)
        return LLVMFuzzerMutate(data, size, size_max);
    struct reader head = reader_of(data + 4, 4);
    size_t end = 8 + MIN((size_t)reader_le32(&head), size - 8), tokens = 0, n = 0;
    for (size_t at = 8, len; at < end && (len = token_len(data + at, end - at)) > 0; at += len)
        tokens++;
    size_t chosen = tokens > 0 ? random_below(&random, tokens) : 0;
    uint64_t what = random_below(&random, 6);
    CLEANUP(buf_done) struct buf out = BUF_INIT(16 * MIB);
    buf_append(&out, data, 8);
    size_t at = 8;
    for (size_t len; at < end && (len = token_len(data + at, end - at)) > 0; at += len) {
        bool here = n++ == chosen;
        if (here && what > 1)
            other_token(&random, data + at, len, &out);
        if (!here || what == 1)
            buf_append(&out, data + at, len);
        if (here && what == 1)
            buf_append(&out, data + at, len);
    }
    size_t envelope = out.len - 8 + (end - at);
    buf_append(&out, data + at, size - at);
    for (int i = 0; i < 4; i++)
        out.data[4 + i] = (uint8_t)(envelope >> (8 * i));
    return mutate_done(&out, data, size_max);
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
