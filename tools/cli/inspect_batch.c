#include "inspect.h"

#include "base/clock.h"
#include "base/fail.h"
#include "output.h"

#include <errno.h>
#include <inttypes.h>

#define ARENA_BYTES_MAX (64 * MIB) /* of one envelope's arrays */

/* ---- Envelope ---- */

static const char *time_text(int64_t time_ms, char text[static 32])
{
    clock_format_rfc3339(time_ms, text);
    return text;
}

static void print_summary(const struct envelope *envelope, size_t bytes)
{
    char start[32];
    printf("batch " STR_FMT "/" STR_FMT " epoch %" PRIu64 " seq %" PRIu64 ", window %s + %gs part %u, targets %" PRIu64
           " of %" PRIu64 ", %zu bytes\n",
           STR_ARG(envelope->source.datacenter), STR_ARG(envelope->source.secondary), envelope->epoch, envelope->seq,
           time_text(envelope->window_start_ms, start), (double)envelope->resolution_ms / 1000, envelope->part,
           envelope->targets_answered, envelope->targets_expected, bytes);
}

static void print_reasons(const char *title, const struct reason_count *reasons, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        CLEANUP(buf_done) struct buf safe = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
        output_safe(reasons[i].reason, &safe);
        printf("    %s " STR_FMT ": %" PRIu64 "\n", title, STR_ARG(buf_view(&safe)), reasons[i].count);
    }
}

static void print_envelope(const struct envelope *envelope)
{
    char sealed[32], closed[32];
    printf("    incarnation %016" PRIx64 ", sealed %s, closed through %s\n", envelope->source.incarnation,
           time_text(envelope->sealed_at_ms, sealed), time_text(envelope->closed_through_ms, closed));
    printf("    layouts: 1 target list, %u pages\n", envelope->page_count);
    printf("    body: version %u, %" PRIu64 " bytes, %" PRIu64 " unpacked\n", envelope->body_version,
           envelope->body_bytes, envelope->body_raw_bytes);
    print_reasons("failed", envelope->failed, envelope->failed_count);
    print_reasons("dropped", envelope->dropped, envelope->dropped_count);
}

/* ---- Records ---- */

static const char *value_text(double value, char text[static VALUE_TEXT_BYTES])
{
    if (value_is_stale(value))
        return "stale";
    text[value_print_api(value, text)] = 0;
    return text;
}

static void print_record(const struct labels *labels, const struct record *record)
{
    static const char *const titles[] = {"last", "sum", "min", "max"};
    const double values[] = {record->last, record->sum, record->min, record->max};
    char time[32], text[VALUE_TEXT_BYTES];
    CLEANUP(buf_done) struct buf line = BUF_INIT(INSPECT_LINE_BYTES_MAX);
    labels_print(labels, &line);
    printf("      " STR_FMT " %s count %u", STR_ARG(buf_view(&line)), time_text(record->time_ms, time), record->count);
    for (size_t i = 0; i < (!kind_has_range(record->kind) ? (size_t)1 : ARRAY_LEN(values)); i++)
        printf(" %s %s", titles[i], value_text(values[i], text));
    printf("\n");
}

static void print_extras(const struct batch_block *block, uint32_t index, uint32_t *at)
{
    char time[32], text[VALUE_TEXT_BYTES];
    for (; *at < block->extra_count && block->extras[*at].index <= index; (*at)++) {
        const struct sample *sample = &block->extras[*at].sample;
        printf("        before it %s %s\n", time_text(sample->time_ms, time), value_text(sample->value, text));
    }
}

static void print_records(const struct batch_reader *reader, const struct batch_block *block)
{
    const struct envelope *envelope = batch_reader_envelope(reader);
    const struct layout *targets = batch_reader_targets(reader);
    size_t entry_count;
    const struct batch_entry *entries = batch_reader_entries(reader, &entry_count);
    uint32_t extra_at = 0;
    for (uint32_t slot = 0; slot < block->family->count; slot++) {
        for (uint32_t member = 0; member < block->entry_count; member++) {
            uint32_t index = slot * block->entry_count + member;
            const struct batch_entry *entry = &entries[block->entries[member]];
            CLEANUP(labels_unrefp)
            struct labels *labels =
                layout_series(block->family, slot, targets->targets[entry->target], envelope->source.datacenter);
            if (!labels)
                printf("      (more than %d labels)\n", LABELS_MAX);
            else
                print_record(labels, &block->records[index]);
            print_extras(block, index, &extra_at);
        }
    }
}

/* ---- Blocks ---- */

static void print_entries(const struct batch_reader *reader)
{
    size_t count, ended = 0, silent = 0;
    const struct batch_entry *entries = batch_reader_entries(reader, &count);
    for (size_t i = 0; i < count; i++) {
        ended += entries[i].stale_ms != 0;
        silent += entries[i].count == 0;
    }
    printf("    %zu entries; %zu ended in this window, %zu without values\n", count, ended, silent);
}

static void print_block(const struct batch_block *block)
{
    uint64_t records = (uint64_t)block->family->count * block->entry_count;
    CLEANUP(buf_done) struct buf name = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    output_safe(block->family->name, &name);
    printf("    %-44.*s %7u x %-6u %9u %9u %6.2f %8u %8u %7u\n", STR_ARG(buf_view(&name)), block->entry_count,
           block->family->count, block->header_bytes, block->payload_bytes,
           records > 0 ? (double)(block->header_bytes + block->payload_bytes) / (double)records : 0, block->changing,
           block->exceptions, block->extra_count);
}

static int read_blocks(struct inspect *inspect, struct batch_reader *reader)
{
    struct batch_block block;
    int more;
    if (inspect->blocks) {
        print_entries(reader);
        printf("    %-44s %7s   %-6s %9s %9s %6s %8s %8s %7s\n", "family", "members", "slots", "header B", "payload B",
               "B/rec", "changing", "except.", "extras");
    }
    while ((more = batch_reader_next(reader, &block)) > 0) {
        inspect->totals.records += (uint64_t)block.family->count * block.entry_count;
        if (inspect->blocks)
            print_block(&block);
        if (inspect->records)
            print_records(reader, &block);
    }
    return more;
}

static const char *reason_of(int error)
{
    switch (error) {
    case -ENOENT:
        return "layouts it names are not here";
    case -EBADMSG:
        return "malformed";
    case -EPROTO:
        return "of a version this program does not know";
    case -EMSGSIZE:
        return "past a limit";
    default:
        return strerror(-error);
    }
}

void inspect_batch(struct inspect *inspect, struct str bytes, uint64_t offset)
{
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, ARENA_BYTES_MAX);
    struct envelope envelope;
    struct str body;
    int result = envelope_decode(bytes.ptr, bytes.len, &arena, &envelope, &body);
    inspect->totals.batches++;
    inspect->totals.batch_bytes += bytes.len;
    if (result < 0) {
        inspect_problem(inspect, "batch at %" PRIu64 ": envelope %s", offset, reason_of(result));
        return;
    }
    if (inspect->frames)
        print_summary(&envelope, bytes.len);
    if (inspect->blocks)
        print_envelope(&envelope);
    CLEANUP(batch_reader_freep) struct batch_reader *reader = NULL;
    result = batch_reader_open(bytes.ptr, bytes.len, inspect->layouts, &reader);
    if (result == 0)
        result = read_blocks(inspect, reader);
    if (result < 0)
        inspect_problem(inspect, "batch at %" PRIu64 " (" STR_FMT "/" STR_FMT " seq %" PRIu64 "): %s", offset,
                        STR_ARG(envelope.source.datacenter), STR_ARG(envelope.source.secondary), envelope.seq,
                        reason_of(result));
}
