#include "account.h"
#include "base/fail.h"
#include "hop/frame.h"
#include "hop/pack.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

void account_request(struct account *account, struct str body)
{
    struct frame frame;
    size_t at = 0;
    account->requests++;
    while (frame_next(body, &at, &frame) > 0) {
        switch (frame.type) {
        case FRAME_BATCH:
            account->frame_bytes += FRAME_HEADER_BYTES;
            account->batches++;
            break;
        case FRAME_GAP:
        case FRAME_ASK:
            account->frame_bytes += FRAME_HEADER_BYTES + frame.payload.len;
            break;
        default: /* whatever brings layouts */
            account->label_frames++;
            account->label_frame_bytes += FRAME_HEADER_BYTES + frame.payload.len;
        }
    }
    ASSERT(at == body.len);
}

/* What the envelope's list of pages takes, and its target list. */
static size_t hash_bytes(const struct envelope *envelope, size_t envelope_bytes)
{
    CLEANUP(buf_done) struct buf bare = BUF_INIT(ENVELOPE_BYTES_MAX);
    struct envelope without = *envelope;
    without.page_count = 0;
    ASSERT(envelope_encode(&without, &bare) == 0);
    return envelope_bytes - bare.len + sizeof(struct hash128);
}

/* Of a packed body: what its headers take packed alone. */
static size_t column_header_bytes(const struct envelope *envelope, struct str body)
{
    CLEANUP(buf_done) struct buf raw = BUF_INIT(BATCH_RAW_BYTES_MAX + 1), packed = BUF_INIT(BATCH_RAW_BYTES_MAX + MIB);
    struct str unpacked = body;
    if (envelope->body_bytes != envelope->body_raw_bytes) {
        uint8_t *room = buf_reserve(&raw, envelope->body_raw_bytes);
        ASSERT(room && ZSTD_decompress(room, envelope->body_raw_bytes, body.ptr, body.len) == envelope->body_raw_bytes);
        buf_added(&raw, envelope->body_raw_bytes);
        unpacked = buf_view(&raw);
    }
    struct unpack in = unpack_of(unpacked.ptr, unpacked.len);
    ASSERT(unpack_array(&in, 2) == 2);
    struct str header = unpack_bin(&in, unpacked.len);
    ASSERT(!in.in.bad);
    if (unpacked.ptr == body.ptr)
        return header.len;
    uint8_t *room = buf_reserve(&packed, ZSTD_compressBound(header.len));
    size_t len = room ? ZSTD_compress(room, ZSTD_compressBound(header.len), header.ptr, header.len, 1) : 0;
    ASSERT(!ZSTD_isError(len));
    return MIN(MIN(len, header.len), body.len);
}

static void add_columns(struct account_columns *columns, const struct batch_block *block)
{
    columns->records += (uint64_t)block->entry_count * block->family->count;
    columns->header_bytes += block->header_bytes;
    columns->payload_bytes += block->payload_bytes;
    columns->changing += block->changing;
    columns->exceptions += block->exceptions;
}

static void add_family(struct account *account, const struct batch_block *block)
{
    struct str name = block->family->name;
    size_t at = 0, len = MIN(name.len, sizeof(account->families->name) - 1);
    while (at < account->family_count &&
           (strlen(account->families[at].name) != len || memcmp(account->families[at].name, name.ptr, len) != 0))
        at++;
    if (at == ACCOUNT_FAMILIES_MAX)
        return;
    struct account_family *family = &account->families[at];
    if (at == account->family_count) {
        account->family_count++;
        memcpy(family->name, name.ptr, len);
    }
    add_columns(&family->columns, block);
}

static uint64_t join_hashes(uint64_t a, uint64_t b)
{
    uint64_t both[] = {a, b};
    return str_hash(str_of(both, sizeof(both)));
}

static uint64_t slot_key(const struct layout *family, uint32_t slot)
{
    uint64_t key = str_hash(family->name);
    for (uint32_t i = 0; i < family->slots[slot].label_count; i++) {
        const struct label *label = &family->slots[slot].labels[i];
        key = join_hashes(key, join_hashes(str_hash(label->name), str_hash(label->value)));
    }
    return key;
}

static void count_record(struct account *account, uint64_t key, double last)
{
    uint64_t bits;
    memcpy(&bits, &last, sizeof(bits));
    void *item = (void *)(uintptr_t)(bits + 1); /* not NULL, for all that an exporter shows */
    void *before = map_get(account->lasts, key, NULL, NULL);
    if (before == item)
        return;
    account->moved++;
    if (before)
        map_remove(account->lasts, key, NULL, NULL);
    map_put(account->lasts, key, item);
}

/* Records whose last value is new; a series' first counts. */
static void count_moved(struct account *account, const struct batch_reader *reader, const struct batch_block *block)
{
    size_t count;
    const struct batch_entry *entries = batch_reader_entries(reader, &count);
    struct labels *const *targets = batch_reader_targets(reader)->targets;
    for (uint32_t slot = 0; slot < block->family->count; slot++) {
        uint64_t key = slot_key(block->family, slot);
        for (uint32_t member = 0; member < block->entry_count; member++) {
            uint64_t target = labels_hash(targets[entries[block->entries[member]].target]);
            count_record(account, join_hashes(key, target), block->records[slot * block->entry_count + member].last);
        }
    }
}

void account_batch(struct account *account, struct str batch, struct batch_reader *reader)
{
    const struct envelope *envelope = batch_reader_envelope(reader);
    struct str body = str_of(batch.ptr + batch.len - envelope->body_bytes, envelope->body_bytes);
    size_t envelope_bytes = batch.len - body.len, hashes = hash_bytes(envelope, envelope_bytes);
    size_t headers = column_header_bytes(envelope, body);
    account->hash_bytes += hashes;
    account->envelope_bytes += envelope_bytes - hashes;
    account->column_header_bytes += headers;
    account->value_bytes += body.len - headers;
    account->raw_bytes += envelope->body_raw_bytes;
    struct batch_block block;
    int more;
    while ((more = batch_reader_next(reader, &block)) > 0) {
        add_columns(block.family->slots[0].kind == KIND_COUNTER ? &account->counters : &account->gauges, &block);
        if (account->lasts)
            count_moved(account, reader, &block);
        if (account->families)
            add_family(account, &block);
        account->records += (uint64_t)block.entry_count * block.family->count;
    }
    ASSERT(more == 0);
}

uint64_t account_labels(const struct account *account)
{
    return account->label_frame_bytes + account->hash_bytes;
}

uint64_t account_headers(const struct account *account)
{
    return account->column_header_bytes + account->envelope_bytes + account->frame_bytes;
}

uint64_t account_total(const struct account *account)
{
    return account_labels(account) + account->value_bytes + account_headers(account);
}

static int by_bytes(const void *a, const void *b)
{
    const struct account_columns *left = &((const struct account_family *)a)->columns;
    const struct account_columns *right = &((const struct account_family *)b)->columns;
    uint64_t l = left->header_bytes + left->payload_bytes, r = right->header_bytes + right->payload_bytes;
    return (l < r) - (l > r);
}

void account_sort_families(struct account *account)
{
    qsort(account->families, account->family_count, sizeof(struct account_family), by_bytes);
}
