#include "inspect.h"

#include "base/clock.h"
#include "base/fail.h"
#include "hop/scale.h"
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
    printf("batch " STR_FMT "/" STR_FMT " epoch %" PRIu64 " seq %" PRIu64 ", window %s + %gs part %u, ",
           STR_ARG(envelope->source.datacenter), STR_ARG(envelope->source.secondary), envelope->epoch, envelope->seq,
           time_text(envelope->window_start_ms, start), (double)envelope->span_ms / 1000, envelope->part);
    if (envelope->resolution_ms == 0)
        printf("every scrape, ");
    else if (envelope->span_ms > envelope->resolution_ms)
        printf("%" PRId64 " windows of %gs, ", envelope->span_ms / envelope->resolution_ms,
               (double)envelope->resolution_ms / 1000);
    printf("targets %" PRIu64 " of %" PRIu64 ", %zu bytes\n", envelope->targets_answered, envelope->targets_expected,
           bytes);
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
    if (envelope->is_remote_write)
        printf("    remote write: series have the labels that they came with\n");
    if (envelope->replaces_count > 0)
        printf("    replaces: seq");
    for (uint32_t i = 0; i < envelope->replaces_count; i++)
        printf(" %" PRIu64, envelope->replaces[i]);
    if (envelope->replaces_count > 0)
        printf("\n");
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
            struct labels *labels = layout_series(block->family, slot, targets->targets[entry->target],
                                                  envelope_series_datacenter(envelope));
            if (!labels)
                printf("      (more than %d labels)\n", LABELS_MAX);
            else
                print_record(labels, &block->records[index]);
            print_extras(block, index, &extra_at);
        }
    }
}

/* ---- Blocks ---- */

#define COLUMNS_MAX 4096 /* of one family and round that are listed; a family of more slots ends with dots */

struct part_bytes {
    uint64_t columns, header, payload;
};

/* What the columns of a batch say, as they are read. */
struct tracing {
    struct inspect *inspect;
    struct part_bytes parts[BATCH_PART_COUNT];
    struct column_stats columns[COLUMNS_MAX]; /* of the family at hand */
    uint8_t column_parts[COLUMNS_MAX];
    size_t column_count;
};

static const char *const part_names[BATCH_PART_COUNT] = {"entries", "last", "odd", "min", "max", "sum", "extras"};

static void on_column(void *arg, int part, const struct column_stats *stats)
{
    struct tracing *tracing = arg;
    tracing->parts[part].columns++;
    tracing->parts[part].header += stats->header_bytes;
    tracing->parts[part].payload += stats->payload_bytes;
    if (tracing->column_count < COLUMNS_MAX) {
        tracing->column_parts[tracing->column_count] = (uint8_t)part;
        tracing->columns[tracing->column_count] = *stats;
    }
    tracing->column_count++;
}

static void print_columns(const struct tracing *tracing)
{
    for (size_t i = 0; i < MIN(tracing->column_count, (size_t)COLUMNS_MAX); i++) {
        const struct column_stats *stats = &tracing->columns[i];
        printf("      %-8s %7zu x %-12s", part_names[tracing->column_parts[i]], stats->count, scale_name(stats->scale));
        if (stats->bits == 0 && stats->patches == 0)
            printf(" all equal");
        else
            printf(" %2u bits", stats->bits);
        if (stats->zeros > 0)
            printf(" << %u", stats->zeros);
        if (stats->relative)
            printf(", relative");
        if (stats->patches > 0)
            printf(", %u patches", stats->patches);
        if (stats->exceptions > 0)
            printf(", %u exceptions", stats->exceptions);
        printf(", %zu + %zu bytes\n", stats->header_bytes, stats->payload_bytes);
    }
    if (tracing->column_count > COLUMNS_MAX)
        printf("      ... %zu columns more\n", tracing->column_count - COLUMNS_MAX);
}

static void print_entries(const struct batch_reader *reader)
{
    size_t count, ended = 0, silent = 0;
    const struct batch_entry *entries = batch_reader_entries(reader, &count);
    for (size_t i = 0; i < count; i++) {
        ended += entries[i].stale_ms != 0;
        silent += entries[i].count == 0;
    }
    uint32_t rounds = count > 0 ? entries[count - 1].round + 1 : 0;
    printf("    %zu entries in %u round%s; %zu ended in this window, %zu without values\n", count, rounds,
           rounds == 1 ? "" : "s", ended, silent);
}

static void print_block(const struct batch_block *block)
{
    uint64_t records = (uint64_t)block->family->count * block->entry_count;
    CLEANUP(buf_done) struct buf name = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    output_safe(block->family->name, &name);
    printf("    %-44.*s %5u %7u x %-6u %9u %9u %6.2f %8u %8u %7u\n", STR_ARG(buf_view(&name)), block->round,
           block->entry_count, block->family->count, block->header_bytes, block->payload_bytes,
           records > 0 ? (double)(block->header_bytes + block->payload_bytes) / (double)records : 0, block->changing,
           block->exceptions, block->extra_count);
}

static void print_share(const char *name, uint64_t columns, uint64_t header, uint64_t payload, uint64_t total)
{
    char count[32] = "";
    if (columns > 0)
        snprintf(count, sizeof(count), "%" PRIu64, columns);
    printf("    %-24s %8s %10" PRIu64 " %10" PRIu64 " %6.1f %%\n", name, count, header, payload,
           total > 0 ? 100.0 * (double)(header + payload) / (double)total : 0);
}

/* Where the bytes go: of the body as it was before zstd, and around it. */
static void print_shares(const struct tracing *tracing, const struct envelope *envelope, size_t batch_bytes,
                         uint64_t records)
{
    uint64_t known = 0, total = envelope->body_raw_bytes, around = batch_bytes - envelope->body_bytes;
    uint64_t hashes = (1 + (uint64_t)envelope->page_count) * sizeof(struct hash128);
    printf("    %-24s %8s %10s %10s %8s\n", "where the bytes go", "columns", "header B", "payload B", "of body");
    for (int i = BATCH_PART_LAST; i < BATCH_PART_COUNT; i++) {
        const struct part_bytes *part = &tracing->parts[i];
        print_share(part_names[i], part->columns, part->header, part->payload, total);
        known += part->header + part->payload;
    }
    print_share("entries, counts, bitmaps", 0, 0, total - known, total);
    printf("    body %" PRIu64 " bytes, %" PRIu64 " after zstd; envelope %" PRIu64 ", of it hashes of layouts %" PRIu64
           "; %.3f bytes a record\n",
           total, envelope->body_bytes, around, hashes,
           records > 0 ? (double)batch_bytes / (double)records : (double)batch_bytes);
}

static int read_blocks(struct inspect *inspect, struct batch_reader *reader, size_t batch_bytes)
{
    CLEANUP_FREE struct tracing *tracing = mem_zalloc(sizeof(*tracing));
    struct batch_block block;
    uint64_t records = 0;
    int more;
    batch_reader_trace(reader, on_column, tracing);
    if (inspect->blocks) {
        print_entries(reader);
        printf("    %-44s %5s %7s   %-6s %9s %9s %6s %8s %8s %7s\n", "family", "round", "members", "slots", "header B",
               "payload B", "B/rec", "changing", "except.", "extras");
    }
    while ((more = batch_reader_next(reader, &block)) > 0) {
        records += (uint64_t)block.family->count * block.entry_count;
        if (inspect->blocks)
            print_block(&block);
        if (inspect->columns)
            print_columns(tracing);
        if (inspect->records)
            print_records(reader, &block);
        tracing->column_count = 0;
    }
    inspect->totals.records += records;
    if (more == 0 && inspect->blocks)
        print_shares(tracing, batch_reader_envelope(reader), batch_bytes, records);
    return more;
}

/* ---- Written again ---- */

/* The body before zstd, whose bytes differ from version to version. */
static int raw_body(struct str batch, struct buf *out)
{
    CLEANUP(arena_done) struct arena arena;
    struct envelope envelope;
    struct str body;
    arena_init(&arena, ARENA_BYTES_MAX);
    int result = envelope_decode(batch.ptr, batch.len, &arena, &envelope, &body);
    return result < 0 ? result : batch_body_expand(&envelope, body, out);
}

/* Empty: the batch is what the writer makes of what the reader says; else what is wrong. */
static const char *compare_again(struct inspect *inspect, struct str bytes, const struct envelope *envelope)
{
    CLEANUP(batch_reader_freep) struct batch_reader *reader = NULL;
    CLEANUP(batch_writer_freep) struct batch_writer *writer = batch_writer_new();
    CLEANUP(buf_done) struct buf again = BUF_INIT(BATCH_BYTES_MAX + ENVELOPE_BYTES_MAX);
    CLEANUP(buf_done) struct buf before = BUF_INIT(BATCH_RAW_BYTES_MAX), after = BUF_INIT(BATCH_RAW_BYTES_MAX);
    struct envelope next = *envelope;
    if (batch_reader_open(bytes.ptr, bytes.len, inspect->layouts, &reader) < 0 ||
        batch_writer_add_batch(writer, reader, 0) < 0)
        return "cannot be taken in by the writer";
    int result = batch_writer_finish(writer, &next, inspect->layouts, &again);
    bool same = result == 0 && hash128_equal(next.targets, envelope->targets) &&
                next.page_count == envelope->page_count && raw_body(bytes, &before) == 0 &&
                raw_body(buf_view(&again), &after) == 0 && str_equal(buf_view(&before), buf_view(&after));
    for (uint32_t i = 0; same && i < next.page_count; i++)
        same = hash128_equal(next.pages[i], envelope->pages[i]);
    batch_writer_release(writer, inspect->layouts);
    return same ? "" : result < 0 ? "cannot be written again" : "is written again as something else";
}

static void verify(struct inspect *inspect, struct str bytes, uint64_t offset, const struct envelope *envelope)
{
    const char *problem = compare_again(inspect, bytes, envelope);
    if (problem[0])
        inspect_problem(inspect, "batch at %" PRIu64 " (" STR_FMT "/" STR_FMT " seq %" PRIu64 "): %s", offset,
                        STR_ARG(envelope->source.datacenter), STR_ARG(envelope->source.secondary), envelope->seq,
                        problem);
    else
        inspect->totals.verified++;
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
        result = read_blocks(inspect, reader, bytes.len);
    if (result == 0 && inspect->verify)
        verify(inspect, bytes, offset, &envelope);
    if (result < 0)
        inspect_problem(inspect, "batch at %" PRIu64 " (" STR_FMT "/" STR_FMT " seq %" PRIu64 "): %s", offset,
                        STR_ARG(envelope.source.datacenter), STR_ARG(envelope.source.secondary), envelope.seq,
                        reason_of(result));
}
