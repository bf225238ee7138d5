#include "inspect.h"

#include "base/clock.h"
#include "base/fail.h"
#include "hop/answer.h"
#include "hop/gap.h"
#include "hop/pack.h"
#include "hop/seqlog.h"
#include "output.h"

#include <inttypes.h>

static void print_head(struct inspect *inspect, const struct frame *frame)
{
    struct unpack in = unpack_of(frame->payload.ptr, frame->payload.len);
    uint32_t fields = unpack_record(&in, 3);
    uint64_t version = unpack_uint(&in, UINT64_MAX);
    uint64_t incarnation = unpack_uint(&in, UINT64_MAX);
    uint64_t epoch = unpack_uint(&in, UINT64_MAX);
    unpack_skip(&in, fields > 3 ? fields - 3 : 0);
    if (!unpack_done(&in))
        inspect_problem(inspect, "segment's head at %zu: malformed", frame->offset);
    else if (inspect->frames)
        printf("segment, format %" PRIu64 ", spool %016" PRIx64 " epoch %" PRIu64 "\n", version, incarnation, epoch);
}

static void print_gap(struct inspect *inspect, const struct frame *frame)
{
    struct spool_batch gap;
    inspect->totals.gaps++;
    if (gap_decode(frame->payload, &gap) < 0) {
        inspect_problem(inspect, "gap at %zu: malformed", frame->offset);
        return;
    }
    char start[32], end[32];
    clock_format_rfc3339(gap.window_start_ms, start);
    clock_format_rfc3339(gap.window_end_ms, end);
    if (inspect->frames)
        printf("gap " STR_FMT "/" STR_FMT " epoch %" PRIu64 " seq %" PRIu64 " to %" PRIu64 ", windows %s to %s\n",
               STR_ARG(gap.source.datacenter), STR_ARG(gap.source.secondary), gap.epoch, gap.seq, gap.seq_end, start,
               end);
}

static void print_position(struct inspect *inspect, const struct frame *frame)
{
    struct unpack in = unpack_of(frame->payload.ptr, frame->payload.len);
    unpack_record(&in, 3);
    struct str name = unpack_str(&in, KIB);
    uint64_t upstream = unpack_uint(&in, UINT64_MAX);
    uint32_t numbers = unpack_array(&in, UINT32_MAX);
    if (in.in.bad) {
        inspect_problem(inspect, "position at %zu: malformed", frame->offset);
        return;
    }
    CLEANUP(buf_done) struct buf safe = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    output_safe(name, &safe);
    if (inspect->frames)
        printf("position of consumer " STR_FMT ", upstream %016" PRIx64 ", %u runs\n", STR_ARG(buf_view(&safe)),
               upstream, numbers / 3);
}

static void print_seen(struct inspect *inspect, const struct frame *frame)
{
    CLEANUP(seqlog_freep) struct seqlog *seen = seqlog_new();
    if (seqlog_decode(seen, frame->payload.ptr, frame->payload.len) < 0)
        inspect_problem(inspect, "memory of what was seen at %zu: malformed", frame->offset);
    else if (inspect->frames)
        printf("seen, of %zu sources\n", seqlog_source_count(seen));
}

static void print_ask(struct inspect *inspect, const struct frame *frame)
{
    struct source_id source;
    uint64_t epoch;
    if (answer_ask_decode(frame->payload, &source, &epoch) < 0)
        inspect_problem(inspect, "question at %zu: malformed", frame->offset);
    else if (inspect->frames)
        printf("question how far " STR_FMT "/" STR_FMT " epoch %" PRIu64 " is delivered\n", STR_ARG(source.datacenter),
               STR_ARG(source.secondary), epoch);
}

static void print_frame(struct inspect *inspect, const struct frame *frame)
{
    inspect->totals.frames++;
    if (inspect->frames)
        printf("%12zu  ", frame->offset);
    switch (frame->type) {
    case FRAME_SEGMENT:
        print_head(inspect, frame);
        return;
    case FRAME_PACK:
        inspect_pack(inspect, frame->payload, frame->offset);
        return;
    case FRAME_BATCH:
        inspect_batch(inspect, frame->payload, frame->offset);
        return;
    case FRAME_GAP:
        print_gap(inspect, frame);
        return;
    case FRAME_POSITION:
        print_position(inspect, frame);
        return;
    case FRAME_SEEN:
        print_seen(inspect, frame);
        return;
    case FRAME_ASK:
        print_ask(inspect, frame);
        return;
    }
    if (inspect->frames)
        printf("frame of type %d, which this program does not know, %zu bytes\n", (int)frame->type, frame->payload.len);
}

static void note_damage(struct inspect *inspect, const struct frame *frame)
{
    if (frame->damaged_bytes == 0)
        return;
    inspect->totals.damaged_bytes += frame->damaged_bytes;
    inspect_problem(inspect, "%zu bytes at %zu are damaged", frame->damaged_bytes,
                    frame->offset - frame->damaged_bytes);
}

void inspect_frames(struct inspect *inspect, struct str bytes)
{
    struct frame frame;
    size_t at = 0;
    while (frame_next(bytes, &at, &frame) > 0)
        if (frame.type == FRAME_PACK && layout_group_take(inspect->group, frame.payload) < 0 && !inspect->load_only)
            inspect_problem(inspect, "layouts at %zu: malformed, or of bases that are not here", frame.offset);
    if (inspect->load_only)
        return;
    for (at = 0; frame_next(bytes, &at, &frame) > 0;) {
        note_damage(inspect, &frame);
        print_frame(inspect, &frame);
    }
    note_damage(inspect, &frame);
    if (frame.offset < bytes.len)
        inspect_problem(inspect, "the frame at %zu has no end: %zu bytes (torn by a crash, or still being written)",
                        frame.offset, bytes.len - frame.offset);
}
