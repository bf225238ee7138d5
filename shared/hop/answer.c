/* An answer is one msgpack array; a newer version may append fields, which are skipped:
 *   [receiver incarnation, body version max, retry after ms, credit bytes, bin verdicts, bin missing hashes, [mark
 * ...]] mark and question: [datacenter, secondary, incarnation, epoch, (mark:) delivered seq] */
#include "hop/answer.h"
#include "base/fail.h"
#include "hop/pack.h"

#include <errno.h>

#define ANSWER_FIELDS      7
#define MARK_FIELDS        5
#define ASK_FIELDS         4
#define RETRY_AFTER_MS_MAX (3600 * INT64_C(1000)) /* a receiver cannot silence a sender for longer */

const char *batch_verdict_name(enum batch_verdict verdict)
{
    static const char *const names[VERDICT_COUNT] = {"stored",      "duplicate",    "missing", "malformed",
                                                     "unsupported", "unauthorised", "busy",    "conflict"};
    return (unsigned)verdict < VERDICT_COUNT ? names[verdict] : "unknown";
}

static void pack_stream(struct buf *out, const struct source_id *source, uint64_t epoch)
{
    pack_str(out, source->datacenter);
    pack_str(out, source->secondary);
    pack_uint(out, source->incarnation);
    pack_uint(out, epoch);
}

static void unpack_stream(struct unpack *in, struct source_id *ret_source, uint64_t *ret_epoch)
{
    ret_source->datacenter = unpack_str(in, SOURCE_NAME_BYTES_MAX);
    ret_source->secondary = unpack_str(in, SOURCE_NAME_BYTES_MAX);
    ret_source->incarnation = unpack_uint(in, UINT64_MAX);
    *ret_epoch = unpack_uint(in, UINT64_MAX);
    if (!source_name_is_valid(ret_source->datacenter) || !source_name_is_valid(ret_source->secondary))
        in->in.bad = true;
}

int answer_encode(const struct answer *answer, struct buf *out)
{
    ASSERT(answer->verdict_count <= ANSWER_VERDICTS_MAX && answer->missing_count <= ANSWER_MISSING_MAX &&
           answer->mark_count <= ANSWER_MARKS_MAX);
    pack_array(out, ANSWER_FIELDS);
    pack_uint(out, answer->receiver_incarnation);
    pack_uint(out, answer->body_version_max);
    pack_int(out, answer->retry_after_ms);
    pack_uint(out, answer->credit_bytes);
    pack_bin(out, answer->verdicts, answer->verdict_count);
    pack_bin(out, answer->missing, answer->missing_count * sizeof(struct hash128));
    pack_array(out, answer->mark_count);
    for (uint32_t i = 0; i < answer->mark_count; i++) {
        pack_array(out, MARK_FIELDS);
        pack_stream(out, &answer->marks[i].source, answer->marks[i].epoch);
        pack_uint(out, answer->marks[i].delivered_seq);
    }
    return out->full ? -EMSGSIZE : 0;
}

static void unpack_verdicts(struct unpack *in, struct answer *answer)
{
    struct str verdicts = unpack_bin(in, ANSWER_VERDICTS_MAX);
    for (size_t i = 0; i < verdicts.len; i++)
        if ((uint8_t)verdicts.ptr[i] >= VERDICT_COUNT)
            in->in.bad = true;
    answer->verdicts = (const uint8_t *)verdicts.ptr;
    answer->verdict_count = (uint32_t)verdicts.len;
}

static void unpack_missing(struct unpack *in, struct arena *arena, struct answer *answer)
{
    struct str bytes = unpack_bin(in, ANSWER_MISSING_MAX * sizeof(struct hash128));
    size_t count = bytes.len / sizeof(struct hash128);
    struct hash128 *missing = arena_array(arena, count, sizeof(*missing));
    if (!missing || bytes.len % sizeof(struct hash128) != 0) {
        in->in.bad = true;
        return;
    }
    if (bytes.len > 0)
        memcpy(missing, bytes.ptr, bytes.len);
    answer->missing = missing;
    answer->missing_count = (uint32_t)count;
}

static void unpack_marks(struct unpack *in, struct arena *arena, struct answer *answer)
{
    uint32_t count = unpack_array(in, ANSWER_MARKS_MAX);
    struct answer_mark *marks = arena_array(arena, count, sizeof(*marks));
    if (!marks) {
        in->in.bad = true;
        return;
    }
    for (uint32_t i = 0; i < count && !in->in.bad; i++) {
        uint32_t fields = unpack_record(in, MARK_FIELDS);
        unpack_stream(in, &marks[i].source, &marks[i].epoch);
        marks[i].delivered_seq = unpack_uint(in, UINT64_MAX);
        unpack_skip(in, fields > MARK_FIELDS ? fields - MARK_FIELDS : 0);
    }
    answer->marks = marks;
    answer->mark_count = count;
}

int answer_decode(const void *bytes, size_t len, struct arena *arena, struct answer *ret_answer)
{
    if (len > ANSWER_BYTES_MAX)
        return -EBADMSG;
    struct unpack in = unpack_of(bytes, len);
    struct answer answer = {0};
    uint32_t fields = unpack_record(&in, ANSWER_FIELDS);
    answer.receiver_incarnation = unpack_uint(&in, UINT64_MAX);
    answer.body_version_max = (uint32_t)unpack_uint(&in, UINT32_MAX);
    answer.retry_after_ms = (int64_t)unpack_uint(&in, RETRY_AFTER_MS_MAX);
    answer.credit_bytes = unpack_uint(&in, UINT64_MAX);
    unpack_verdicts(&in, &answer);
    unpack_missing(&in, arena, &answer);
    unpack_marks(&in, arena, &answer);
    unpack_skip(&in, fields > ANSWER_FIELDS ? fields - ANSWER_FIELDS : 0);
    if (!unpack_done(&in))
        return -EBADMSG;
    *ret_answer = answer;
    return 0;
}

int answer_ask_encode(const struct source_id *source, uint64_t epoch, struct buf *out)
{
    pack_array(out, ASK_FIELDS);
    pack_stream(out, source, epoch);
    return out->full ? -EMSGSIZE : 0;
}

int answer_ask_decode(struct str bytes, struct source_id *ret_source, uint64_t *ret_epoch)
{
    struct unpack in = unpack_of(bytes.ptr, bytes.len);
    struct source_id source;
    uint64_t epoch;
    uint32_t fields = unpack_record(&in, ASK_FIELDS);
    unpack_stream(&in, &source, &epoch);
    unpack_skip(&in, fields > ASK_FIELDS ? fields - ASK_FIELDS : 0);
    if (!unpack_done(&in))
        return -EBADMSG;
    *ret_source = source;
    *ret_epoch = epoch;
    return 0;
}
