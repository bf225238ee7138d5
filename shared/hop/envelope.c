/* The bytes of a batch before its body (docs/batch-format.md):
 *
 *   "TRB", version byte, u32 LE length of the envelope, the envelope, the body
 *
 * The envelope is one msgpack array; a later minor version may append fields, which older readers skip. */
#include "hop/envelope.h"
#include "base/fail.h"
#include "hop/pack.h"

#include <errno.h>

#define BATCH_HEAD_BYTES  8
#define ENVELOPE_FIELDS   23 /* of every batch; one more where it says something */
#define FLAG_REMOTE_WRITE 1
#define REASON_BYTES_MAX  64
#define RESOLUTION_MS_MAX (24 * 3600 * INT64_C(1000))
#define WINDOWS_MAX       64
#define SPAN_MS_MAX       (WINDOWS_MAX * RESOLUTION_MS_MAX)
/* 1970 to the year 2262, where nanoseconds in 64 bits end: any sum of two times fits. */
#define TIME_MS_MAX INT64_C(9223372036854)

bool source_name_is_valid(struct str name)
{
    if (name.len == 0 || name.len > SOURCE_NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                    c == '-' || (c == '.' && i > 0);
        if (!fine)
            return false;
    }
    return true;
}

static void pack_reasons(struct buf *out, const struct reason_count *reasons, uint32_t count)
{
    pack_array(out, count);
    for (uint32_t i = 0; i < count; i++) {
        pack_array(out, 2);
        pack_str(out, reasons[i].reason);
        pack_uint(out, reasons[i].count);
    }
}

static void pack_fields(const struct envelope *envelope, struct buf *out)
{
    pack_array(out, ENVELOPE_FIELDS + envelope->is_remote_write);
    pack_uint(out, ENVELOPE_VERSION);
    pack_str(out, envelope->source.datacenter);
    pack_str(out, envelope->source.secondary);
    pack_uint(out, envelope->source.incarnation);
    pack_uint(out, envelope->epoch);
    pack_uint(out, envelope->seq);
    pack_int(out, envelope->window_start_ms);
    pack_int(out, envelope->resolution_ms);
    pack_int(out, envelope->span_ms);
    pack_uint(out, envelope->part);
    pack_int(out, envelope->sealed_at_ms);
    pack_int(out, envelope->closed_through_ms);
    pack_bin(out, envelope->targets.bytes, sizeof(envelope->targets.bytes));
    pack_bin(out, envelope->pages, envelope->page_count * sizeof(struct hash128));
    pack_uint(out, envelope->targets_expected);
    pack_uint(out, envelope->targets_answered);
    pack_reasons(out, envelope->failed, envelope->failed_count);
    pack_reasons(out, envelope->dropped, envelope->dropped_count);
    pack_uint(out, envelope->body_version);
    pack_uint(out, envelope->body_bytes);
    pack_uint(out, envelope->body_raw_bytes);
    pack_uint(out, envelope->body_crc32c);
    pack_array(out, envelope->replaces_count);
    for (uint32_t i = 0; i < envelope->replaces_count; i++)
        pack_uint(out, envelope->replaces[i]);
    if (envelope->is_remote_write)
        pack_uint(out, FLAG_REMOTE_WRITE);
}

int envelope_encode(const struct envelope *envelope, struct buf *out)
{
    ASSERT(source_name_is_valid(envelope->source.datacenter) && source_name_is_valid(envelope->source.secondary));
    ASSERT(envelope->page_count <= ENVELOPE_PAGES_MAX);
    size_t start = out->len;
    static const uint8_t head[BATCH_HEAD_BYTES] = {'T', 'R', 'B', ENVELOPE_VERSION};
    buf_append(out, head, sizeof(head));
    pack_fields(envelope, out);
    if (out->full)
        return -EMSGSIZE;
    size_t len = out->len - start - BATCH_HEAD_BYTES;
    ASSERT(len <= ENVELOPE_BYTES_MAX);
    for (int i = 0; i < 4; i++)
        out->data[start + 4 + (size_t)i] = (uint8_t)(len >> (8 * i));
    return 0;
}

static void unpack_hashes(struct unpack *in, struct arena *arena, const struct hash128 **ret_hashes,
                          uint32_t *ret_count)
{
    struct str bytes = unpack_bin(in, ENVELOPE_PAGES_MAX * sizeof(struct hash128));
    if (in->in.bad || bytes.len % sizeof(struct hash128) != 0) {
        in->in.bad = true;
        return;
    }
    struct hash128 *hashes = arena_array(arena, bytes.len / sizeof(struct hash128), sizeof(struct hash128));
    if (!hashes) {
        in->in.bad = true;
        return;
    }
    if (bytes.len > 0)
        memcpy(hashes, bytes.ptr, bytes.len);
    *ret_hashes = hashes;
    *ret_count = (uint32_t)(bytes.len / sizeof(struct hash128));
}

static void unpack_reasons(struct unpack *in, struct arena *arena, const struct reason_count **ret_reasons,
                           uint32_t *ret_count)
{
    uint32_t count = unpack_array(in, ENVELOPE_REASONS_MAX);
    struct reason_count *reasons = arena_array(arena, count, sizeof(*reasons));
    if (!reasons) {
        in->in.bad = true;
        return;
    }
    for (uint32_t i = 0; i < count && !in->in.bad; i++) {
        uint32_t fields = unpack_record(in, 2);
        reasons[i].reason = unpack_str(in, REASON_BYTES_MAX);
        reasons[i].count = unpack_uint(in, UINT64_MAX);
        unpack_skip(in, fields > 2 ? fields - 2 : 0);
        if (!str_is_utf8(reasons[i].reason))
            in->in.bad = true;
    }
    *ret_reasons = reasons;
    *ret_count = count;
}

static int64_t unpack_time(struct unpack *in)
{
    int64_t time_ms = unpack_int(in);
    if (time_ms < 0 || time_ms > TIME_MS_MAX)
        in->in.bad = true;
    return in->in.bad ? 0 : time_ms;
}

static void unpack_source(struct unpack *in, struct envelope *envelope)
{
    envelope->source.datacenter = unpack_str(in, SOURCE_NAME_BYTES_MAX);
    envelope->source.secondary = unpack_str(in, SOURCE_NAME_BYTES_MAX);
    envelope->source.incarnation = unpack_uint(in, UINT64_MAX);
    envelope->epoch = unpack_uint(in, UINT64_MAX);
    envelope->seq = unpack_uint(in, UINT64_MAX);
    if (!source_name_is_valid(envelope->source.datacenter) || !source_name_is_valid(envelope->source.secondary) ||
        envelope->epoch == 0 || envelope->seq == 0)
        in->in.bad = true;
}

static void unpack_window(struct unpack *in, struct envelope *envelope)
{
    envelope->window_start_ms = unpack_time(in);
    envelope->resolution_ms = unpack_int(in);
    envelope->span_ms = unpack_int(in);
    envelope->part = (uint32_t)unpack_uint(in, ENVELOPE_PART_MAX);
    envelope->sealed_at_ms = unpack_time(in);
    envelope->closed_through_ms = unpack_time(in);
    if (envelope->resolution_ms < 0 || envelope->resolution_ms > RESOLUTION_MS_MAX || envelope->span_ms < 0 ||
        envelope->span_ms > SPAN_MS_MAX)
        in->in.bad = true;
    else if (envelope->resolution_ms > 0 &&
             (envelope->window_start_ms % envelope->resolution_ms != 0 || envelope->span_ms == 0 ||
              envelope->span_ms % envelope->resolution_ms != 0 ||
              envelope->span_ms / envelope->resolution_ms > WINDOWS_MAX))
        in->in.bad = true;
}

static void unpack_layouts(struct unpack *in, struct arena *arena, struct envelope *envelope)
{
    struct str targets = unpack_bin(in, sizeof(envelope->targets.bytes));
    if (targets.len == sizeof(envelope->targets.bytes))
        memcpy(envelope->targets.bytes, targets.ptr, targets.len);
    else
        in->in.bad = true;
    unpack_hashes(in, arena, &envelope->pages, &envelope->page_count);
}

static void unpack_replaces(struct unpack *in, struct arena *arena, struct envelope *envelope)
{
    uint32_t count = unpack_array(in, ENVELOPE_REPLACES_MAX);
    uint64_t *replaces = arena_array(arena, count, sizeof(*replaces));
    if (!replaces) {
        in->in.bad = true;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        replaces[i] = unpack_uint(in, UINT64_MAX);
        if (replaces[i] == 0 || replaces[i] == envelope->seq)
            in->in.bad = true;
    }
    envelope->replaces = replaces;
    envelope->replaces_count = count;
}

static int unpack_fields(struct unpack *in, struct arena *arena, struct envelope *envelope)
{
    uint32_t fields = unpack_record(in, ENVELOPE_FIELDS);
    uint64_t version = unpack_uint(in, UINT64_MAX);
    if (!in->in.bad && version != ENVELOPE_VERSION)
        return -EPROTO;
    unpack_source(in, envelope);
    unpack_window(in, envelope);
    unpack_layouts(in, arena, envelope);
    envelope->targets_expected = unpack_uint(in, UINT32_MAX);
    envelope->targets_answered = unpack_uint(in, UINT32_MAX);
    unpack_reasons(in, arena, &envelope->failed, &envelope->failed_count);
    unpack_reasons(in, arena, &envelope->dropped, &envelope->dropped_count);
    envelope->body_version = (uint32_t)unpack_uint(in, UINT32_MAX);
    envelope->body_bytes = unpack_uint(in, UINT32_MAX);
    envelope->body_raw_bytes = unpack_uint(in, UINT32_MAX);
    envelope->body_crc32c = (uint32_t)unpack_uint(in, UINT32_MAX);
    unpack_replaces(in, arena, envelope);
    if (fields > ENVELOPE_FIELDS)
        envelope->is_remote_write = unpack_uint(in, UINT64_MAX) & FLAG_REMOTE_WRITE;
    unpack_skip(in, fields > ENVELOPE_FIELDS + 1 ? fields - ENVELOPE_FIELDS - 1 : 0);
    return unpack_done(in) ? 0 : -EBADMSG;
}

int envelope_decode(const void *batch, size_t len, struct arena *arena, struct envelope *ret_envelope,
                    struct str *ret_body)
{
    struct reader reader = reader_of(batch, len);
    struct str magic = reader_bytes(&reader, 3);
    uint8_t version = reader_byte(&reader);
    uint32_t envelope_bytes = reader_le32(&reader);
    if (reader.bad || memcmp(magic.ptr, "TRB", 3) != 0)
        return -EBADMSG;
    if (version != ENVELOPE_VERSION)
        return -EPROTO;
    if (envelope_bytes > ENVELOPE_BYTES_MAX)
        return -EMSGSIZE;
    struct str bytes = reader_bytes(&reader, envelope_bytes);
    if (reader.bad)
        return -EBADMSG;
    struct unpack in = unpack_of(bytes.ptr, bytes.len);
    struct envelope envelope = {0};
    int error = unpack_fields(&in, arena, &envelope);
    if (error < 0)
        return error;
    struct str body = reader_bytes(&reader, reader_left(&reader));
    if (body.len != envelope.body_bytes || crc32c(0, body.ptr, body.len) != envelope.body_crc32c)
        return -EBADMSG;
    *ret_envelope = envelope;
    *ret_body = body;
    return 0;
}
