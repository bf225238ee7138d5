/*   byte     1: the rest is under zstd; 2: hashes of the results are said
 *   uvarint  bases named; 16 bytes each: their hashes
 *   uvarint  items; each:
 *     byte     'P' page, 'T' target list
 *     uvarint  bases, at most 4; uvarint each: number << 1 of those named, number << 1 | 1 of earlier items
 *     uvarint  bytes of the operations, and these
 *     16 bytes the hash of the result, where hashes are said */
#include "hop/layout_pack.h"
#include "base/fail.h"

#include <errno.h>
#include <zstd.h>

#define FLAG_ZSTD           1
#define FLAG_HASHES         2
#define ZSTD_LEVEL          1
#define ZSTD_WINDOW_LOG_MAX 23 /* the writer's are smaller by far; a frame that asks for more memory is not ours */
#define SKIPPED_MAGIC       UINT32_C(0x184d2a50) /* of zstd's skippable frames: magic, bytes, anything */
#define SKIPPED_HEAD_BYTES  8
#define SHRINK_FROM_BYTES   256 /* below, zstd gains less than it costs */

struct layout_pack {
    uint8_t *raw; /* owned; NULL: stored */
    size_t raw_bytes;
    struct reader in;
    const uint8_t *named;
    uint32_t named_count, item_count, items_read;
    bool hashes;
};

/* ---- Reading ---- */

void layout_pack_free(struct layout_pack *pack)
{
    if (!pack)
        return;
    mem_free(pack->raw);
    mem_free(pack);
}

/* Length and ratio are known before memory is taken. */
static int expand(struct str packed, uint64_t bytes_max, uint8_t **ret_raw, size_t *ret_bytes)
{
    unsigned long long raw_bytes = ZSTD_getFrameContentSize(packed.ptr, packed.len);
    if (raw_bytes == ZSTD_CONTENTSIZE_ERROR || raw_bytes == ZSTD_CONTENTSIZE_UNKNOWN)
        return -EBADMSG;
    if (raw_bytes > bytes_max)
        return -EMSGSIZE;
    CLEANUP_FREE uint8_t *raw = mem_try_alloc((size_t)raw_bytes + 1);
    ZSTD_DCtx *zstd = raw ? ZSTD_createDCtx() : NULL;
    if (!zstd)
        return -ENOMEM;
    ZSTD_DCtx_setParameter(zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    size_t got = ZSTD_decompressDCtx(zstd, raw, (size_t)raw_bytes, packed.ptr, packed.len);
    ZSTD_freeDCtx(zstd);
    if (ZSTD_isError(got) || got != raw_bytes)
        return -EBADMSG;
    *ret_raw = STEAL(raw);
    *ret_bytes = (size_t)raw_bytes;
    return 0;
}

static int read_head(struct layout_pack *pack)
{
    uint64_t named = reader_uvarint(&pack->in);
    if (pack->in.bad || named > LAYOUT_PACK_NAMED_MAX || named > reader_left(&pack->in) / sizeof(struct hash128))
        return -EBADMSG;
    pack->named_count = (uint32_t)named;
    pack->named = (const uint8_t *)reader_bytes(&pack->in, (size_t)named * sizeof(struct hash128)).ptr;
    uint64_t items = reader_uvarint(&pack->in);
    if (pack->in.bad || items > LAYOUT_PACK_ITEMS_MAX || items > reader_left(&pack->in))
        return -EBADMSG;
    pack->item_count = (uint32_t)items;
    return 0;
}

int layout_pack_open(struct str payload, struct layout_pack **ret_pack)
{
    if (payload.len == 0 || (uint8_t)payload.ptr[0] > (FLAG_ZSTD | FLAG_HASHES))
        return -EBADMSG;
    if (payload.len > LAYOUT_PACK_BYTES_MAX)
        return -EMSGSIZE;
    CLEANUP(layout_pack_freep) struct layout_pack *pack = mem_zalloc(sizeof(*pack));
    struct str rest = str_of(payload.ptr + 1, payload.len - 1);
    pack->hashes = payload.ptr[0] & FLAG_HASHES;
    pack->raw_bytes = rest.len;
    int error = 0;
    if (payload.ptr[0] & FLAG_ZSTD) {
        uint64_t bytes_max = MAX((uint64_t)LAYOUT_PACK_RAW_FREE, payload.len * LAYOUT_PACK_RAW_RATIO);
        error = expand(rest, MIN(bytes_max, (uint64_t)LAYOUT_PACK_RAW_BYTES_MAX), &pack->raw, &pack->raw_bytes);
    }
    if (error == 0) {
        pack->in = reader_of(pack->raw ? (const void *)pack->raw : rest.ptr, pack->raw_bytes);
        error = read_head(pack);
    }
    if (error < 0)
        return error;
    *ret_pack = STEAL(pack);
    return 0;
}

struct layout_budget layout_pack_budget(const struct layout_pack *pack)
{
    return (struct layout_budget){.claimed = LAYOUT_PACK_CLAIM_FREE + pack->raw_bytes * LAYOUT_PACK_CLAIM_RATIO,
                                  .copied = LAYOUT_PACK_COPIED_MAX};
}

bool layout_pack_has_hashes(const struct layout_pack *pack)
{
    return pack->hashes;
}

size_t layout_pack_raw_bytes(const struct layout_pack *pack)
{
    return pack->raw_bytes;
}

struct hash128 layout_pack_named(const struct layout_pack *pack, uint32_t number)
{
    ASSERT(number < pack->named_count);
    struct hash128 hash;
    memcpy(hash.bytes, pack->named + (size_t)number * sizeof(hash.bytes), sizeof(hash.bytes));
    return hash;
}

static bool read_item(struct layout_pack *pack, struct layout_pack_item *item)
{
    uint8_t type = reader_byte(&pack->in);
    uint64_t bases = reader_uvarint(&pack->in);
    if (pack->in.bad || (type != 'P' && type != 'T') || bases > LAYOUT_BASES_MAX)
        return false;
    item->type = type == 'P' ? LAYOUT_PAGE : LAYOUT_TARGETS;
    item->base_count = (uint32_t)bases;
    for (uint32_t i = 0; i < item->base_count; i++) {
        uint64_t base = reader_uvarint(&pack->in);
        if (base >> 1 >= (base & 1 ? pack->items_read : pack->named_count))
            return false;
        item->bases[i] = (uint32_t)base;
    }
    item->operations = reader_string(&pack->in, LAYOUT_PACK_RAW_BYTES_MAX);
    struct str hash = pack->hashes ? reader_bytes(&pack->in, sizeof(item->hash.bytes)) : STR_NULL;
    if (pack->in.bad)
        return false;
    if (hash.len > 0)
        memcpy(item->hash.bytes, hash.ptr, sizeof(item->hash.bytes));
    return true;
}

int layout_pack_next(struct layout_pack *pack, struct layout_pack_item *ret_item)
{
    if (pack->items_read == pack->item_count)
        return reader_left(&pack->in) == 0 ? 0 : -EBADMSG;
    *ret_item = (struct layout_pack_item){0};
    if (!read_item(pack, ret_item))
        return -EBADMSG;
    pack->items_read++;
    return 1;
}

/* ---- Writing ---- */

void layout_pack_writer_init(struct layout_pack_writer *writer, bool hashes)
{
    *writer = (struct layout_pack_writer){.items = BUF_INIT(LAYOUT_PACK_RAW_BYTES_MAX), .hashes = hashes};
}

void layout_pack_writer_done(struct layout_pack_writer *writer)
{
    buf_done(&writer->items);
    mem_free(writer->named);
}

void layout_pack_writer_reset(struct layout_pack_writer *writer)
{
    buf_reset(&writer->items);
    writer->named_count = writer->item_count = 0;
}

uint32_t layout_pack_writer_name(struct layout_pack_writer *writer, struct hash128 hash)
{
    if (writer->named_count == writer->named_capacity) {
        writer->named_capacity = MAX(2 * writer->named_capacity, 16U);
        writer->named = mem_resize(writer->named, writer->named_capacity, sizeof(*writer->named));
    }
    writer->named[writer->named_count] = hash;
    return writer->named_count++;
}

void layout_pack_writer_add(struct layout_pack_writer *writer, const struct layout_pack_item *item)
{
    ASSERT(item->base_count <= LAYOUT_BASES_MAX && writer->item_count < LAYOUT_PACK_ITEMS_MAX);
    buf_append_byte(&writer->items, item->type == LAYOUT_PAGE ? 'P' : 'T');
    buf_append_uvarint(&writer->items, item->base_count);
    for (uint32_t i = 0; i < item->base_count; i++) {
        ASSERT(item->bases[i] >> 1 < (item->bases[i] & 1 ? writer->item_count : writer->named_count));
        buf_append_uvarint(&writer->items, item->bases[i]);
    }
    buf_append_uvarint(&writer->items, item->operations.len);
    buf_append_str(&writer->items, item->operations);
    if (writer->hashes)
        buf_append(&writer->items, item->hash.bytes, sizeof(item->hash.bytes));
    writer->item_count++;
}

/* zstd 1 into out; false: it would not be smaller, and nothing is appended. */
static bool compress(struct str bytes, struct buf *out)
{
    size_t bound = ZSTD_compressBound(bytes.len);
    CLEANUP_FREE uint8_t *room = mem_try_alloc(bound);
    size_t len = room ? ZSTD_compress(room, bound, bytes.ptr, bytes.len, ZSTD_LEVEL) : bytes.len;
    return !ZSTD_isError(len) && len < bytes.len && buf_append(out, room, len) == 0;
}

/* What shrinks as only an attack should is filled up, by a frame that zstd skips: highly regular pages are rare, and
 * this costs them less than going as they are. */
static void fill_up(struct buf *out, size_t start, size_t raw_bytes)
{
    size_t wanted =
        raw_bytes > LAYOUT_PACK_RAW_FREE ? (raw_bytes + LAYOUT_PACK_RAW_RATIO - 1) / LAYOUT_PACK_RAW_RATIO : 0;
    size_t bytes = out->len - start;
    if (bytes >= wanted)
        return;
    size_t filler = MAX(wanted - bytes, (size_t)SKIPPED_HEAD_BYTES) - SKIPPED_HEAD_BYTES;
    buf_append_le32(out, SKIPPED_MAGIC);
    buf_append_le32(out, (uint32_t)filler);
    uint8_t *room = buf_reserve(out, filler);
    if (!room)
        return;
    memset(room, 0, filler);
    buf_added(out, filler);
}

int layout_pack_writer_finish(const struct layout_pack_writer *writer, struct buf *out)
{
    CLEANUP(buf_done) struct buf raw = BUF_INIT(LAYOUT_PACK_RAW_BYTES_MAX);
    size_t start = out->len;
    uint8_t flags = writer->hashes ? FLAG_HASHES : 0;
    buf_append_uvarint(&raw, writer->named_count);
    buf_append(&raw, writer->named, writer->named_count * sizeof(*writer->named));
    buf_append_uvarint(&raw, writer->item_count);
    buf_append_str(&raw, buf_view(&writer->items));
    if (raw.full || writer->items.full)
        return -EMSGSIZE;
    buf_append_byte(out, flags | FLAG_ZSTD);
    if (compress(buf_view(&raw), out)) {
        fill_up(out, start, raw.len);
    } else {
        out->len = start;
        buf_append_byte(out, flags);
        buf_append_str(out, buf_view(&raw));
    }
    return out->full || out->len - start > LAYOUT_PACK_BYTES_MAX ? -EMSGSIZE : 0;
}

/* ---- In memory ---- */

void layout_bytes_shrink(struct str bytes, struct buf *out)
{
    buf_append_byte(out, 1);
    if (bytes.len >= SHRINK_FROM_BYTES && compress(bytes, out))
        return;
    out->data[out->len - 1] = 0;
    buf_append_str(out, bytes);
}

int layout_bytes_expand(struct str shrunk, struct buf *out)
{
    ASSERT(shrunk.len > 0);
    struct str rest = str_of(shrunk.ptr + 1, shrunk.len - 1);
    if (shrunk.ptr[0] == 0)
        return buf_append_str(out, rest);
    CLEANUP_FREE uint8_t *raw = NULL;
    size_t raw_bytes;
    int error = expand(rest, LAYOUT_PACK_RAW_BYTES_MAX, &raw, &raw_bytes);
    return error < 0 ? error : buf_append(out, raw, raw_bytes);
}
