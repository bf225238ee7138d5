/* The coverage as a file; byte by byte in docs/coverage-format.md. */
#include "base/crc.h"
#include "base/fail.h"
#include "coverage/coverage_internal.h"
#include "hop/seqlog.h"

#include <errno.h>
#include <math.h>

#define MAGIC     UINT64_C(0x31455645524f4354) /* "TCOREVE1" */
#define TAIL      4                            /* the checksum */
#define SPAN_MIN  (5 + 3 * 8 + 1)              /* bytes of the shortest one */
#define RUN_BYTES (2 + 2 * 8)
#define GAP_BYTES (2 * 8 + 1)

/* ---- Writing ---- */

static void put_time(struct buf *out, int64_t time_ms)
{
    buf_append_le64(out, (uint64_t)time_ms);
}

static void put_double(struct buf *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    buf_append_le64(out, bits);
}

static void put_text(struct buf *out, const char *text)
{
    buf_append_uvarint(out, strlen(text));
    buf_append_text(out, text);
}

static void put_span(struct buf *out, const struct span *span, int64_t before_ms)
{
    buf_append_uvarint(out, (uint64_t)(span->start_ms - before_ms));
    buf_append_uvarint(out, (uint64_t)(span->end_ms - span->start_ms));
    buf_append_uvarint(out, span->teller);
    buf_append_uvarint(out, span->window_ms);
    put_double(out, span->expected);
    put_double(out, span->answered);
    put_double(out, span->least_answered);
    size_t counts = 0;
    while (counts < SPAN_COUNTS_MAX && span->counts[counts] > 0)
        counts++;
    buf_append_byte(out, (uint8_t)counts);
    for (size_t i = 0; i < counts; i++) {
        buf_append_byte(out, span->words[i]);
        put_double(out, span->counts[i]);
    }
}

static void put_start(struct buf *out, const struct start *start)
{
    buf_append_le64(out, start->incarnation);
    buf_append_uvarint(out, start->epoch);
    buf_append_uvarint(out, start->teller);
    buf_append_byte(out, start->began_unseen);
    put_time(out, start->first_ms);
    put_time(out, start->closed_ms);
    buf_append_uvarint(out, start->run_count);
    for (size_t i = 0; i < start->run_count; i++) {
        buf_append_uvarint(out, start->runs[i].first);
        buf_append_uvarint(out, start->runs[i].last - start->runs[i].first);
        put_time(out, start->runs[i].through_ms);
        put_time(out, start->runs[i].before_ms);
    }
}

static void put_spans(struct buf *out, const struct spans *spans)
{
    int64_t before_ms = 0;
    buf_append_uvarint(out, spans->count);
    for (size_t i = 0; i < spans->count; i++) {
        put_span(out, &spans->items[i], before_ms);
        before_ms = spans->items[i].end_ms;
    }
    for (size_t i = 0; i < SPANS_RIVALS; i++)
        if (spans->rivals[i].start_ms > 0)
            put_span(out, &spans->rivals[i], 0);
    buf_append_uvarint(out, 0); /* the end: none of them begins at 1970 */
}

static void put_history(struct buf *out, const struct history *history)
{
    put_text(out, history->datacenter);
    put_text(out, history->secondary);
    put_time(out, history->first_ms);
    put_time(out, history->known_ms);
    put_time(out, history->lost_ms);
    put_time(out, history->closed_ms);
    put_time(out, history->heard_ms);
    put_time(out, history->settled_ms);
    buf_append_uvarint(out, history->window_ms);
    buf_append_uvarint(out, history->next_teller);
    put_spans(out, &history->spans);
    buf_append_uvarint(out, history->start_count);
    for (size_t i = 0; i < history->start_count; i++)
        put_start(out, &history->starts[i]);
    buf_append_uvarint(out, history->losses.count);
    for (size_t i = 0; i < history->losses.count; i++) {
        put_time(out, history->losses.items[i].start_ms);
        put_time(out, history->losses.items[i].end_ms);
        buf_append_byte(out, (uint8_t)history->losses.items[i].reason);
    }
}

void coverage_save(struct coverage *coverage, struct buf *out, uint64_t *ret_position)
{
    pthread_mutex_lock(&coverage->lock);
    buf_append_le64(out, MAGIC);
    buf_append_le64(out, coverage->position);
    put_time(out, coverage->forgot_ms);
    put_time(out, coverage->lost_ms);
    buf_append_uvarint(out, coverage->word_end);
    for (size_t i = 0; i < coverage->word_end; i++)
        put_text(out, coverage->words[i]);
    buf_append_uvarint(out, coverage->count);
    for (size_t i = 0; i < coverage->count; i++)
        put_history(out, coverage->sources[i]);
    *ret_position = coverage->position;
    pthread_mutex_unlock(&coverage->lock);
    if (!out->full)
        buf_append_le32(out, crc32c(0, out->data, out->len));
}

/* ---- Reading. It is our own file, but a disk's word for it: what does not fit is damage. ---- */

#define TIME_MS_MAX (INT64_C(1) << 61)

/* So that sums and differences of times fit. none: what stands for no time there. */
static int64_t get_time(struct reader *reader, int64_t none)
{
    int64_t time_ms = (int64_t)reader_le64(reader);
    if (time_ms != none && (time_ms <= -TIME_MS_MAX || time_ms >= TIME_MS_MAX))
        reader->bad = true;
    return reader->bad ? none : time_ms;
}

static uint64_t get_number(struct reader *reader, uint64_t max)
{
    uint64_t number = reader_uvarint(reader);
    if (number > max)
        reader->bad = true;
    return reader->bad ? 0 : number;
}

static double get_count(struct reader *reader)
{
    uint64_t bits = reader_le64(reader);
    double value;
    memcpy(&value, &bits, sizeof(value));
    if (!isfinite(value) || value < 0)
        reader->bad = true;
    return reader->bad ? 0 : value;
}

static void get_span_from(struct reader *reader, int64_t start_ms, struct span *ret_span)
{
    *ret_span = (struct span){.start_ms = start_ms};
    ret_span->end_ms = start_ms + (int64_t)get_number(reader, TIME_MS_MAX / 4);
    ret_span->teller = (uint32_t)get_number(reader, UINT32_MAX - 1);
    ret_span->window_ms = (uint32_t)get_number(reader, UINT32_MAX);
    ret_span->expected = get_count(reader);
    ret_span->answered = get_count(reader);
    ret_span->least_answered = get_count(reader);
    size_t counts = reader_byte(reader);
    for (size_t i = 0; i < counts && !reader->bad; i++) {
        uint8_t word = reader_byte(reader);
        double count = get_count(reader);
        if (i == SPAN_COUNTS_MAX || count == 0 || word >= COVERAGE_WORDS_MAX ||
            (i > 0 && word <= ret_span->words[i - 1]))
            reader->bad = true;
        else
            ret_span->words[i] = word, ret_span->counts[i] = count;
    }
    if (ret_span->window_ms == 0 || ret_span->end_ms <= start_ms || start_ms >= TIME_MS_MAX / 2)
        reader->bad = true;
}

static void get_spans(struct reader *reader, struct spans *spans)
{
    size_t count = reader_count(reader, SPAN_MIN, COVERAGE_SPANS_MAX);
    spans->items = mem_array(count, sizeof(*spans->items));
    spans->capacity = count;
    int64_t before_ms = 0;
    for (size_t i = 0; i < count && !reader->bad; i++) {
        get_span_from(reader, before_ms + (int64_t)get_number(reader, TIME_MS_MAX / 4), &spans->items[i]);
        before_ms = spans->items[i].end_ms;
        spans->count++;
    }
}

static void get_rivals(struct reader *reader, struct spans *spans)
{
    for (int64_t start_ms; !reader->bad && (start_ms = (int64_t)get_number(reader, TIME_MS_MAX / 4)) != 0;) {
        if (spans->next_rival == SPANS_RIVALS)
            reader->bad = true;
        else
            get_span_from(reader, start_ms, &spans->rivals[spans->next_rival++]);
    }
}

static void get_start(struct reader *reader, struct start *start)
{
    *start = (struct start){.incarnation = reader_le64(reader)};
    start->epoch = get_number(reader, UINT64_MAX);
    start->teller = (uint32_t)get_number(reader, UINT32_MAX - 1);
    start->began_unseen = reader_byte(reader) != 0;
    start->first_ms = get_time(reader, INT64_MAX);
    start->closed_ms = get_time(reader, INT64_MIN);
    size_t count = reader_count(reader, RUN_BYTES, START_RUNS_MAX);
    start->runs = mem_array(count, sizeof(*start->runs));
    start->run_capacity = count;
    for (size_t i = 0; i < count && !reader->bad; i++) {
        struct start_run *run = &start->runs[start->run_count++];
        run->first = get_number(reader, UINT64_MAX);
        uint64_t more = get_number(reader, UINT64_MAX - MAX(run->first, 1));
        run->last = run->first + more;
        run->through_ms = get_time(reader, INT64_MIN);
        run->before_ms = get_time(reader, INT64_MAX);
        if (run->first == 0 || (i > 0 && run->first - 1 <= start->runs[i - 1].last))
            reader->bad = true;
    }
}

static void get_losses(struct reader *reader, struct gaps *losses)
{
    size_t count = reader_count(reader, GAP_BYTES, HISTORY_LOSSES_MAX);
    for (size_t i = 0; i < count && !reader->bad; i++) {
        struct gap gap = {.start_ms = get_time(reader, 0)};
        gap.end_ms = get_time(reader, 0);
        gap.reason = (enum gap_reason)reader_byte(reader);
        if (gap.start_ms >= gap.end_ms || gap.reason >= GAP_REASONS)
            reader->bad = true;
        else
            gaps_add(losses, &gap);
    }
}

static void get_history(struct coverage *coverage, struct reader *reader)
{
    struct source_id source = {.datacenter = reader_string(reader, SOURCE_NAME_BYTES_MAX)};
    source.secondary = reader_string(reader, SOURCE_NAME_BYTES_MAX);
    size_t before = coverage->count;
    if (reader->bad || !source_name_is_valid(source.datacenter) || !source_name_is_valid(source.secondary)) {
        reader->bad = true;
        return;
    }
    struct history *history = coverage_source(coverage, &source);
    if (!history || coverage->count == before) {
        reader->bad = true;
        return;
    }
    history->first_ms = get_time(reader, INT64_MAX);
    history->known_ms = get_time(reader, INT64_MIN);
    history->lost_ms = get_time(reader, INT64_MIN);
    history->closed_ms = get_time(reader, INT64_MIN);
    history->heard_ms = get_time(reader, INT64_MIN / 2);
    history->settled_ms = get_time(reader, INT64_MIN);
    history->window_ms = (uint32_t)get_number(reader, UINT32_MAX);
    history->next_teller = (uint32_t)get_number(reader, UINT32_MAX);
    get_spans(reader, &history->spans);
    get_rivals(reader, &history->spans);
    size_t starts = (size_t)get_number(reader, HISTORY_STARTS_MAX);
    history->starts = mem_array(starts, sizeof(*history->starts));
    while (history->start_count < starts && !reader->bad)
        get_start(reader, &history->starts[history->start_count++]);
    get_losses(reader, &history->losses);
}

static int decode(struct coverage *coverage, struct str bytes)
{
    if (bytes.len < 8 + TAIL)
        return -EBADMSG;
    struct reader tail = reader_of(bytes.ptr + bytes.len - TAIL, TAIL);
    if (crc32c(0, bytes.ptr, bytes.len - TAIL) != reader_le32(&tail))
        return -EBADMSG;
    struct reader reader = reader_of(bytes.ptr, bytes.len - TAIL);
    if (reader_le64(&reader) != MAGIC)
        return -EBADMSG;
    coverage->position = reader_le64(&reader);
    coverage->forgot_ms = get_time(&reader, INT64_MIN);
    coverage->lost_ms = get_time(&reader, INT64_MIN);
    coverage->word_end = get_number(&reader, COVERAGE_WORDS_MAX);
    for (size_t i = 0; i < coverage->word_end && !reader.bad; i++) {
        struct str word = reader_string(&reader, COVERAGE_WORD_BYTES_MAX);
        memset(coverage->words[i], 0, sizeof(coverage->words[i]));
        if (!reader.bad && word.len > 0)
            memcpy(coverage->words[i], word.ptr, word.len);
    }
    size_t count = (size_t)get_number(&reader, SEQLOG_SOURCES_MAX);
    for (size_t i = 0; i < count && !reader.bad; i++)
        get_history(coverage, &reader);
    return reader.bad || reader_left(&reader) > 0 || coverage->word_end <= SPAN_DROPPED_OTHER ? -EBADMSG : 0;
}

int coverage_decode(struct coverage *coverage, struct str bytes)
{
    coverage_clear(coverage);
    int error = decode(coverage, bytes);
    if (error < 0)
        coverage_clear(coverage);
    return error;
}

void coverage_rebuild(struct coverage *coverage)
{
    coverage->rebuilding = true;
}

void coverage_loaded(struct coverage *coverage)
{
    if (coverage->rebuilding)
        coverage->lost_ms = coverage->rebuilt_ms == INT64_MIN ? clock_wall_ms(coverage->clock) : coverage->rebuilt_ms;
    coverage->rebuilding = false;
}

void coverage_log_ends(struct coverage *coverage, uint64_t end)
{
    if (coverage->position >= end)
        coverage->position = 0;
}

uint64_t coverage_position(const struct coverage *coverage)
{
    return coverage->position;
}
