#include "coverage/spans.h"

#include "base/fail.h"

#include <string.h>

#define COARSE_MIN_MS INT64_C(3600000)
#define COARSE_MAX_MS (64 * INT64_C(86400000))

void spans_done(struct spans *spans)
{
    mem_free(spans->items);
    mem_free(spans->blocks);
    *spans = (struct spans){0};
}

size_t spans_find(const struct spans *spans, int64_t time_ms)
{
    size_t low = 0, high = spans->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (spans->items[middle].end_ms > time_ms)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* ---- Claims ---- */

void span_count(struct span *span, uint8_t word, double count)
{
    size_t at = 0, used = 0;
    while (used < SPAN_COUNTS_MAX && span->counts[used] > 0)
        used++;
    while (at < used && span->words[at] < word)
        at++;
    if (at < used && span->words[at] == word) {
        span->counts[at] += count;
        return;
    }
    if (used >= SPAN_COUNTS_MAX - 2 && word > SPAN_DROPPED_OTHER) { /* two places are kept for the rest */
        span_count(span, word & 1, count);
        return;
    }
    for (size_t i = used; i > at; i--) {
        span->words[i] = span->words[i - 1];
        span->counts[i] = span->counts[i - 1];
    }
    span->words[at] = word;
    span->counts[at] = count;
}

static double windows_of(const struct span *span)
{
    return (double)(span->end_ms - span->start_ms) / span->window_ms;
}

static void add_claim(struct span *span, const struct span *claim)
{
    span->expected += claim->expected;
    span->answered += claim->answered;
    span->least_answered += claim->answered;
    for (size_t i = 0; i < SPAN_COUNTS_MAX && claim->counts[i] > 0; i++)
        span_count(span, claim->words[i], claim->counts[i]);
}

static bool claims_equal(const struct span *a, const struct span *b)
{
    for (size_t i = 0; i < SPAN_COUNTS_MAX; i++)
        if (a->words[i] != b->words[i] || a->counts[i] != b->counts[i])
            return false;
    return a->teller == b->teller && a->window_ms == b->window_ms && a->expected == b->expected &&
           a->answered == b->answered && a->least_answered == b->least_answered;
}

/* ---- The list ---- */

static void insert(struct spans *spans, size_t at, const struct span *span)
{
    if (spans->count == spans->capacity) {
        spans->capacity = MAX(2 * spans->capacity, (size_t)8);
        spans->items = mem_resize(spans->items, spans->capacity, sizeof(*spans->items));
    }
    memmove(spans->items + at + 1, spans->items + at, (spans->count - at) * sizeof(*spans->items));
    spans->items[at] = *span;
    spans->count++;
}

static void insert_piece(struct spans *spans, size_t at, struct span claim, int64_t start_ms, int64_t end_ms)
{
    claim.start_ms = start_ms;
    claim.end_ms = end_ms;
    insert(spans, at, &claim);
}

static void split(struct spans *spans, size_t at, int64_t time_ms)
{
    struct span first = spans->items[at];
    first.end_ms = time_ms;
    spans->items[at].start_ms = time_ms;
    insert(spans, at, &first);
}

static bool is_better(const struct span *a, const struct span *b)
{
    return a->answered > b->answered || (a->answered == b->answered && a->teller > b->teller);
}

/* Another start told of this window, too. */
static void contest(struct spans *spans, struct span *shown, struct span claim)
{
    struct span *rival = NULL;
    for (size_t i = 0; i < SPANS_RIVALS && !rival; i++)
        if (spans->rivals[i].start_ms == shown->start_ms && spans->rivals[i].end_ms == shown->end_ms &&
            spans->rivals[i].teller == claim.teller)
            rival = &spans->rivals[i];
    claim.start_ms = shown->start_ms;
    claim.end_ms = shown->end_ms;
    if (rival) {
        add_claim(rival, &claim);
    } else {
        rival = &spans->rivals[spans->next_rival++ % SPANS_RIVALS];
        *rival = claim;
    }
    if (is_better(rival, shown)) {
        struct span loser = *shown;
        *shown = *rival;
        *rival = loser;
    }
}

/* What stands from this index on has changed, or moved. */
static void unmake_blocks(struct spans *spans, size_t index)
{
    spans->block_count = MIN(spans->block_count, index / SPANS_BLOCK);
}

static void join_around(struct spans *spans, size_t first, size_t last)
{
    unmake_blocks(spans, first);
    size_t kept = first;
    for (size_t i = first + 1; i < spans->count; i++) {
        struct span *before = &spans->items[kept], *span = &spans->items[i];
        if (i <= last && before->end_ms == span->start_ms && claims_equal(before, span))
            before->end_ms = span->end_ms;
        else if (++kept != i)
            spans->items[kept] = *span;
        else if (i > last)
            return; /* nothing was joined, and what follows stays where it is */
    }
    spans->count = spans->count > 0 ? kept + 1 : 0;
}

void spans_add(struct spans *spans, const struct span *claim)
{
    ASSERT(claim->start_ms < claim->end_ms && claim->window_ms > 0);
    size_t at = spans_find(spans, claim->start_ms), first = at > 0 ? at - 1 : 0;
    int64_t time_ms = claim->start_ms;
    while (time_ms < claim->end_ms) {
        int64_t next_ms = at < spans->count ? spans->items[at].start_ms : INT64_MAX;
        if (next_ms > time_ms) {
            insert_piece(spans, at, *claim, time_ms, MIN(next_ms, claim->end_ms));
        } else {
            if (next_ms < time_ms)
                split(spans, at++, time_ms);
            if (spans->items[at].end_ms > claim->end_ms)
                split(spans, at, claim->end_ms);
            if (spans->items[at].teller == claim->teller)
                add_claim(&spans->items[at], claim);
            else
                contest(spans, &spans->items[at], *claim);
        }
        time_ms = spans->items[at++].end_ms;
    }
    join_around(spans, first, MIN(at, spans->count - 1));
}

void spans_settle(struct spans *spans, uint32_t teller)
{
    for (size_t i = 0; i < spans->count; i++)
        if (spans->items[i].teller == teller)
            spans->items[i].teller = SPAN_SETTLED;
    if (spans->count > 0)
        join_around(spans, 0, spans->count - 1);
}

/* ---- Less detail ---- */

static void put_together(struct span *to, const struct span *span)
{
    double a = windows_of(to), b = windows_of(span);
    struct span sum = *to;
    sum.expected = (to->expected * a + span->expected * b) / (a + b);
    sum.answered = (to->answered * a + span->answered * b) / (a + b);
    sum.least_answered = MIN(to->least_answered, span->least_answered);
    memset(sum.words, 0, sizeof(sum.words));
    memset(sum.counts, 0, sizeof(sum.counts));
    for (size_t i = 0; i < SPAN_COUNTS_MAX && to->counts[i] > 0; i++)
        span_count(&sum, to->words[i], to->counts[i] * a / (a + b));
    for (size_t i = 0; i < SPAN_COUNTS_MAX && span->counts[i] > 0; i++)
        span_count(&sum, span->words[i], span->counts[i] * b / (a + b));
    sum.end_ms = span->end_ms;
    *to = sum;
}

static bool may_join(const struct span *a, const struct span *b, int64_t coarse_ms)
{
    return a->end_ms == b->start_ms && a->teller == b->teller && a->window_ms == b->window_ms &&
           a->start_ms / coarse_ms == (b->end_ms - 1) / coarse_ms;
}

/* The newest quarter keeps its detail. */
static void coarsen(struct spans *spans, size_t count_max, int64_t coarse_ms)
{
    size_t kept = 0, older = spans->count - count_max / 4;
    unmake_blocks(spans, 0);
    for (size_t i = 1; i < spans->count; i++) {
        if (i < older && may_join(&spans->items[kept], &spans->items[i], coarse_ms))
            put_together(&spans->items[kept], &spans->items[i]);
        else
            spans->items[++kept] = spans->items[i];
    }
    spans->count = kept + 1;
}

static void drop_first(struct spans *spans, size_t gone)
{
    unmake_blocks(spans, 0);
    memmove(spans->items, spans->items + gone, (spans->count - gone) * sizeof(*spans->items));
    spans->count -= gone;
}

int64_t spans_shrink(struct spans *spans, size_t count_max)
{
    ASSERT(count_max >= SPANS_MIN);
    if (spans->count <= count_max)
        return INT64_MIN;
    /* Down to three quarters, so that it is not to be done again at once. */
    size_t wanted = count_max / 4 * 3;
    for (int64_t coarse_ms = COARSE_MIN_MS; coarse_ms <= COARSE_MAX_MS && spans->count > wanted; coarse_ms *= 4)
        coarsen(spans, count_max, coarse_ms);
    if (spans->count <= count_max)
        return INT64_MIN;
    size_t gone = spans->count - wanted;
    int64_t end_ms = spans->items[gone - 1].end_ms;
    drop_first(spans, gone);
    return end_ms;
}

void spans_forget(struct spans *spans, int64_t before_ms)
{
    size_t gone = spans_find(spans, before_ms);
    if (gone > 0)
        drop_first(spans, gone);
    if (spans->count > 0 && spans->items[0].start_ms < before_ms) {
        spans->items[0].start_ms = before_ms;
        unmake_blocks(spans, 0);
    }
}

/* ---- Blocks ---- */

static struct span make_block(const struct span *items)
{
    struct span block = items[0];
    for (size_t i = 1; i < SPANS_BLOCK; i++) {
        if (!may_join(&block, &items[i], INT64_MAX))
            return (struct span){0};
        put_together(&block, &items[i]);
    }
    return block;
}

const struct span *spans_block(struct spans *spans, size_t index)
{
    size_t number = index / SPANS_BLOCK, whole = spans->count / SPANS_BLOCK;
    if (index % SPANS_BLOCK != 0 || number >= whole)
        return NULL;
    if (spans->block_count < whole)
        spans->blocks = mem_resize(spans->blocks, whole, sizeof(*spans->blocks));
    for (; spans->block_count < whole; spans->block_count++)
        spans->blocks[spans->block_count] = make_block(spans->items + spans->block_count * SPANS_BLOCK);
    return spans->blocks[number].window_ms > 0 ? &spans->blocks[number] : NULL;
}
