#include "coverage/coverage_internal.h"

#include "base/fail.h"
#include "hop/seqlog.h"

#define REASONS_MAX (2 * ENVELOPE_REASONS_MAX)

struct coverage *coverage_new(struct clock *clock)
{
    struct coverage *coverage = mem_zalloc(sizeof(*coverage));
    coverage->clock = clock;
    map_init(&coverage->by_name);
    pthread_mutex_init(&coverage->lock, NULL);
    coverage_clear(coverage);
    return coverage;
}

void coverage_clear(struct coverage *coverage)
{
    for (size_t i = 0; i < coverage->count; i++) {
        history_done(coverage->sources[i]);
        mem_free(coverage->sources[i]);
    }
    map_clear(&coverage->by_name);
    coverage->count = 0;
    coverage->word_end = SPAN_DROPPED_OTHER + 1;
    memset(coverage->words, 0, sizeof(coverage->words));
    memcpy(coverage->words[SPAN_FAILED_OTHER], "other", sizeof("other"));
    memcpy(coverage->words[SPAN_DROPPED_OTHER], "other", sizeof("other"));
    coverage->position = 0;
    coverage->forgot_ms = coverage->lost_ms = coverage->rebuilt_ms = INT64_MIN;
}

void coverage_free(struct coverage *coverage)
{
    if (!coverage)
        return;
    coverage_clear(coverage);
    pthread_mutex_destroy(&coverage->lock);
    map_done(&coverage->by_name);
    mem_free(coverage->sources);
    mem_free(coverage);
}

/* ---- Sources and words ---- */

static uint64_t hash_of(const struct source_id *source)
{
    return str_hash(source->datacenter) * 31 + str_hash(source->secondary);
}

static bool is_source(const void *item, const void *key)
{
    const struct history *history = item;
    const struct source_id *wanted = key;
    return str_equal(str_from(history->datacenter), wanted->datacenter) &&
           str_equal(str_from(history->secondary), wanted->secondary);
}

static int compare(const struct history *a, const struct history *b)
{
    int order = strcmp(a->datacenter, b->datacenter);
    return order != 0 ? order : strcmp(a->secondary, b->secondary);
}

struct history *coverage_source(struct coverage *coverage, const struct source_id *source)
{
    struct history *history = map_get(&coverage->by_name, hash_of(source), is_source, source);
    if (history || coverage->count == SEQLOG_SOURCES_MAX)
        return history;
    if (coverage->count == coverage->capacity) {
        coverage->capacity = MAX(2 * coverage->capacity, (size_t)16);
        coverage->sources = mem_resize(coverage->sources, coverage->capacity, sizeof(*coverage->sources));
    }
    history = mem_alloc(sizeof(*history));
    history_init(history, source);
    map_put(&coverage->by_name, hash_of(source), history);
    size_t at = coverage->count++;
    for (; at > 0 && compare(coverage->sources[at - 1], history) > 0; at--)
        coverage->sources[at] = coverage->sources[at - 1];
    coverage->sources[at] = history;
    return history;
}

uint8_t coverage_word(struct coverage *coverage, struct str text, bool is_dropped)
{
    text.len = MIN(text.len, (size_t)COVERAGE_WORD_BYTES_MAX);
    for (size_t i = is_dropped; i < COVERAGE_WORDS_MAX; i += 2) {
        if (coverage->words[i][0] == 0) {
            memcpy(coverage->words[i], text.ptr, text.len);
            coverage->word_end = MAX(coverage->word_end, i + 1);
        }
        if (str_equal(str_from(coverage->words[i]), text))
            return (uint8_t)i;
    }
    return is_dropped ? SPAN_DROPPED_OTHER : SPAN_FAILED_OTHER;
}

/* What was folded into aggregates is no loss: it is here as these. */
static uint8_t dropped_word(struct coverage *coverage, struct str reason)
{
    return str_equal(reason, STR("folded")) ? SPAN_NO_WORD : coverage_word(coverage, reason, true);
}

static void find_words(struct coverage *coverage, const struct envelope *envelope, uint8_t *words)
{
    for (uint32_t i = 0; i < envelope->failed_count; i++)
        *words++ = coverage_word(coverage, envelope->failed[i].reason, false);
    for (uint32_t i = 0; i < envelope->dropped_count; i++)
        *words++ = dropped_word(coverage, envelope->dropped[i].reason);
}

/* ---- What comes ---- */

/* The more sources there are, the less is kept of each. */
static void shrink(const struct coverage *coverage, struct history *history)
{
    size_t share = COVERAGE_SPANS_MAX / MAX(coverage->count, (size_t)1);
    history_shrink(history, MIN(MAX(share, (size_t)SPANS_MIN), (size_t)COVERAGE_SPANS_OF_SOURCE_MAX));
}

static void take(struct coverage *coverage, const struct envelope *envelope, const struct coverage_batch *batch)
{
    struct history *history = coverage_source(coverage, &envelope->source);
    if (!history)
        return;
    uint8_t words[REASONS_MAX];
    find_words(coverage, envelope, words);
    struct history_batch taken = {.envelope = envelope,
                                  .words = words,
                                  .heard_ms = batch->heard_ms,
                                  .oldest_ms = batch->oldest_ms,
                                  .newest_ms = clock_wall_ms(coverage->clock) + COVERAGE_AHEAD_MS,
                                  .is_rebuilt = coverage->rebuilding};
    if (coverage->rebuilding && history->first_ms == INT64_MAX && envelope->seq > 1)
        coverage->rebuilt_ms = MAX(coverage->rebuilt_ms, envelope->closed_through_ms);
    history_take(history, &taken);
    shrink(coverage, history);
}

void coverage_take(struct coverage *coverage, const struct coverage_batch *batch)
{
    struct arena arena;
    struct envelope envelope;
    struct str body;
    arena_init(&arena, 4 * ENVELOPE_BYTES_MAX);
    if (envelope_decode(batch->bytes.ptr, batch->bytes.len, &arena, &envelope, &body) == 0) {
        pthread_mutex_lock(&coverage->lock);
        if (!envelope.is_remote_write) /* of its senders nothing is expected */
            take(coverage, &envelope, batch);
        coverage->position = MAX(coverage->position, batch->id);
        pthread_mutex_unlock(&coverage->lock);
    }
    arena_done(&arena);
}

/* Times of a peer's, no further ahead than a batch of such times would be taken. */
static int64_t no_further_ahead(const struct coverage *coverage, int64_t time_ms)
{
    return MIN(time_ms, clock_wall_ms(coverage->clock) + COVERAGE_AHEAD_MS);
}

void coverage_take_gap(struct coverage *coverage, const struct spool_batch *gap)
{
    pthread_mutex_lock(&coverage->lock);
    struct history *history = coverage_source(coverage, &gap->source);
    struct history_dropped dropped = {.incarnation = gap->source.incarnation,
                                      .epoch = gap->epoch,
                                      .first = gap->seq,
                                      .last = gap->seq_end,
                                      .start_ms = no_further_ahead(coverage, gap->window_start_ms),
                                      .end_ms = no_further_ahead(coverage, gap->window_end_ms)};
    if (history)
        history_drop(history, &dropped);
    coverage->position = MAX(coverage->position, gap->id);
    pthread_mutex_unlock(&coverage->lock);
}

void coverage_lose(struct coverage *coverage, const struct spool_batch *batch)
{
    pthread_mutex_lock(&coverage->lock);
    struct history *history = coverage_source(coverage, &batch->source);
    if (history)
        history_lose(history, &(struct gap){no_further_ahead(coverage, batch->window_start_ms),
                                            no_further_ahead(coverage, batch->window_end_ms), GAP_UNREADABLE});
    pthread_mutex_unlock(&coverage->lock);
}

int64_t coverage_solid_ms(struct coverage *coverage)
{
    int64_t now_ms = clock_wall_ms(coverage->clock), solid_ms = INT64_MAX;
    pthread_mutex_lock(&coverage->lock);
    for (size_t i = 0; i < coverage->count; i++) {
        const struct history *history = coverage->sources[i];
        if (now_ms - history->heard_ms <= COVERAGE_ALIVE_MS)
            solid_ms = MIN(solid_ms, history->closed_ms);
    }
    pthread_mutex_unlock(&coverage->lock);
    return solid_ms == INT64_MAX ? INT64_MIN : solid_ms;
}

/* A source that was silent since before then is gone. */
void coverage_forget(struct coverage *coverage, int64_t before_ms)
{
    pthread_mutex_lock(&coverage->lock);
    coverage->forgot_ms = MAX(coverage->forgot_ms, before_ms);
    size_t kept = 0;
    for (size_t i = 0; i < coverage->count; i++) {
        struct history *history = coverage->sources[i];
        history_forget(history, before_ms);
        if (history_ended_ms(history) >= before_ms) {
            coverage->sources[kept++] = history;
            continue;
        }
        struct source_id source = {.datacenter = str_from(history->datacenter),
                                   .secondary = str_from(history->secondary)};
        (void)map_remove(&coverage->by_name, hash_of(&source), is_source, &source);
        history_done(history);
        mem_free(history);
    }
    coverage->count = kept;
    pthread_mutex_unlock(&coverage->lock);
}
