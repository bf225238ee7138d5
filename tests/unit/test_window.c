/* Windows against a model that keeps every sample: what records and extras say must be what all samples say. */
#include "base/fail.h"
#include "base/random.h"
#include "secondary/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define T0      INT64_C(1700000040000)
#define STEP_MS INT64_C(60000)
#define SERIES  14 /* even ones are counters */
#define EVENTS  16 /* of a series in a window */

static const struct pipeline_job job = {.honor_timestamps = true,
                                        .sample_limit = 1000,
                                        .label_limit = 20,
                                        .label_name_bytes_max = 100,
                                        .label_value_bytes_max = 100};

/* ---- The window and what it needs ---- */

struct rig {
    struct page_cache *cache;
    struct labels *target;
    struct window_rules *rules;
    struct window *window;
    struct window_scratch scratch;
    struct page_values values;
};

static void rig_init(struct rig *rig)
{
    struct label label = {STR("instance"), STR("a")};
    *rig = (struct rig){.cache = page_cache_new(1 * MIB), .target = labels_new(&label, 1)};
    struct window_rules_error error;
    assert_int_equal(window_rules_new(NULL, 0, 60000, &error, &rig->rules), 0);
    rig->window = window_new(rig->cache);
}

static void rig_done(struct rig *rig)
{
    window_free(rig->window);
    window_scratch_done(&rig->scratch);
    page_values_done(&rig->values);
    page_cache_free(rig->cache);
    labels_unref(rig->target);
    window_rules_unref(rig->rules);
}

static void scrape(struct rig *rig, int64_t time_ms, struct str body)
{
    struct page *page = window_page(rig->window);
    struct scrape_report report = {0};
    const struct page_source source = {&job, rig->rules, rig->target};
    if (page && page_read(page, body, true, &rig->values))
        page_ref(page);
    else
        assert_int_equal(page_parse(rig->cache, &source, body, &rig->values, &page, &report), SCRAPE_OK);
    window_add(rig->window, page, &rig->values, time_ms);
    page_unref(rig->cache, page);
}

static void scrape_text(struct rig *rig, int64_t time_ms, const char *body)
{
    scrape(rig, time_ms, str_from(body));
}

/* The record of a series by its name, and its extras. */
struct found {
    bool there;
    struct record record;
    struct sample extras[EVENTS];
    size_t extra_count;
};

static struct found find(const struct window_closed *closed, const char *name)
{
    struct found found = {0};
    uint32_t index = 0;
    size_t extra = 0;
    for (uint32_t f = 0; f < closed->page->count; f++) {
        for (uint32_t i = 0; i < closed->page->families[f]->count; i++, index++) {
            bool wanted = str_equal(closed->page->families[f]->name, str_from(name));
            if (wanted)
                found.record = closed->records[index];
            found.there |= wanted;
            for (; extra < closed->extra_count && closed->extras[extra].index == index; extra++)
                if (wanted)
                    found.extras[found.extra_count++] = closed->extras[extra].sample;
        }
    }
    assert_int_equal(extra, closed->extra_count);
    return found;
}

static struct window_closed close_window(struct rig *rig)
{
    struct window_closed closed;
    assert_true(window_close(rig->window, &rig->scratch, &closed));
    return closed;
}

/* ---- The model ---- */

struct history { /* of one series */
    /* What the exporter shows. */
    double value;
    int64_t own_ms; /* last time of its own */
    bool shown, was_shown;
    /* All samples. */
    struct sample events[EVENTS]; /* of this window; stale markers too */
    size_t event_count;
    bool live;
    double last;
    bool known;
    double increase;
    unsigned resets;
    /* What was kept of them. */
    double kept_last;
    bool kept_known;
    double kept_increase;
    unsigned kept_resets;
    struct sample kept_final;
    bool heard; /* something was kept in this window */
};

struct model {
    struct random random;
    struct rig rig;
    struct history series[SERIES];
    uint32_t order[SERIES]; /* of lines */
    bool with_times, with_failures;
    uint32_t good; /* scrapes of this window */
    unsigned events_total, resets_total, markers_total;
};

static bool is_counter(size_t i)
{
    return i % 2 == 0;
}

static void happens(struct model *model, size_t i, int64_t time_ms, double value)
{
    struct history *history = &model->series[i];
    assert_true(history->event_count < EVENTS);
    history->events[history->event_count++] = (struct sample){time_ms, value};
    model->events_total++;
    history->live = !value_is_stale(value);
    if (!history->live) {
        model->markers_total++;
        return;
    }
    if (history->known && value < history->last) {
        history->resets++;
        model->resets_total += is_counter(i);
    }
    if (history->known)
        history->increase += value < history->last ? value : value - history->last;
    history->last = value;
    history->known = true;
}

static void shuffle(struct model *model)
{
    for (size_t i = SERIES - 1; i > 0; i--) {
        size_t other = random_below(&model->random, i + 1);
        uint32_t swapped = model->order[i];
        model->order[i] = model->order[other];
        model->order[other] = swapped;
    }
}

static void change_what_is_shown(struct model *model)
{
    struct random *random = &model->random;
    if (random_below(random, 6) == 0)
        for (uint64_t n = 1 + random_below(random, 4); n > 0; n--)
            model->series[random_below(random, SERIES)].shown ^= true;
    if (random_below(random, 40) == 0)
        for (size_t i = 0; i < SERIES; i++)
            model->series[i].shown = random_below(random, 2);
    if (random_below(random, 30) == 0)
        shuffle(model);
}

static void next_value(struct model *model, size_t i)
{
    struct random *random = &model->random;
    struct history *history = &model->series[i];
    if (!is_counter(i))
        history->value = (double)random_below(random, 4) - 1;
    else if (random_below(random, 15) == 0)
        history->value = (double)random_below(random, 30);
    else if (random_below(random, 2))
        history->value += (double)random_below(random, 20);
}

/* Has the exporter a new sample of a series with times of its own? A page that came back always has. */
static bool next_time(struct model *model, size_t i, int64_t time_ms)
{
    struct history *history = &model->series[i];
    if (history->was_shown && random_below(&model->random, 3) == 0)
        return false;
    int64_t own_ms = time_ms - 100 - (int64_t)random_below(&model->random, 9000);
    history->own_ms = MAX(own_ms, history->own_ms + 1);
    return true;
}

static void good_scrape(struct model *model, int64_t time_ms)
{
    CLEANUP(buf_done) struct buf body = BUF_INIT(64 * KIB);
    change_what_is_shown(model);
    model->good++;
    for (size_t n = 0; n < SERIES; n++) {
        size_t i = model->order[n];
        struct history *history = &model->series[i];
        bool timed = model->with_times && i % 4 < 2;
        if (!history->shown) {
            if (history->live && !timed)
                happens(model, i, time_ms, value_stale());
            history->was_shown = false;
            continue;
        }
        bool fresh = !timed || next_time(model, i, time_ms);
        if (fresh) {
            next_value(model, i);
            happens(model, i, timed ? history->own_ms : time_ms, history->value);
        }
        history->was_shown = true;
        /* Families of two series, so that some change within. */
        buf_printf(&body, "f%zu%s{n=\"%zu\"} %.0f", i % 4, is_counter(i) ? "_total" : "", i, history->value);
        if (timed)
            buf_printf(&body, " %lld", (long long)history->own_ms);
        buf_append_byte(&body, '\n');
    }
    scrape(&model->rig, time_ms, buf_view(&body));
}

static void failed_scrape(struct model *model, int64_t time_ms)
{
    for (size_t i = 0; i < SERIES; i++)
        if (model->series[i].live)
            happens(model, i, time_ms, value_stale());
    window_stale(model->rig.window, time_ms);
}

/* ---- What was kept, against it ---- */

static void keep(struct history *history, struct sample sample)
{
    if (history->heard)
        assert_true(sample.time_ms > history->kept_final.time_ms);
    history->kept_final = sample;
    history->heard = true;
    if (value_is_stale(sample.value))
        return;
    if (history->kept_known) {
        bool reset = sample.value < history->kept_last;
        history->kept_resets += reset;
        history->kept_increase += reset ? sample.value : sample.value - history->kept_last;
    }
    history->kept_last = sample.value;
    history->kept_known = true;
}

static void check_aggregates(const struct history *history, bool counter, const struct record *record)
{
    uint32_t count = 0;
    double sum = 0, low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < history->event_count; i++) {
        double value = history->events[i].value;
        if (value_is_stale(value))
            continue;
        count++;
        sum += value;
        low = MIN(low, value);
        high = MAX(high, value);
    }
    assert_int_equal(record->count, count);
    assert_int_equal(record->kind, counter ? KIND_COUNTER : KIND_GAUGE);
    if (counter || count == 0)
        return;
    assert_true(record->sum == sum && record->min == low && record->max == high);
}

static size_t number_of(const struct layout *family, uint32_t slot)
{
    struct str text = family->slots[slot].labels[0].value;
    uint64_t number = SERIES;
    assert_int_equal(str_to_u64(text, &number), 0);
    assert_true(number < SERIES);
    return (size_t)number;
}

static void take_record(struct model *model, const struct window_closed *closed, size_t i, uint32_t index)
{
    struct history *history = &model->series[i];
    const struct record *record = &closed->records[index];
    assert_false(history->heard);
    check_aggregates(history, is_counter(i), record);
    for (size_t e = 0; e < closed->extra_count; e++) {
        if (closed->extras[e].index != index)
            continue;
        assert_true(closed->extras[e].sample.time_ms < record->time_ms);
        keep(history, closed->extras[e].sample);
    }
    if (record->count > 0 || value_is_stale(record->last))
        keep(history, (struct sample){record->time_ms, record->last});
    if (closed->stale_ms > 0 && closed->stale_ms > record->time_ms && !value_is_stale(record->last))
        keep(history, (struct sample){closed->stale_ms, value_stale()});
}

static void take_closed(struct model *model, const struct window_closed *closed)
{
    uint32_t index = 0;
    for (uint32_t f = 0; f < closed->page->count; f++) {
        for (uint32_t slot = 0; slot < closed->page->families[f]->count; slot++, index++) {
            size_t i = number_of(closed->page->families[f], slot);
            if (closed->count > 0)
                take_record(model, closed, i, index);
            else
                keep(&model->series[i], (struct sample){closed->stale_ms, value_stale()});
        }
    }
}

static void check_series(struct model *model, size_t i)
{
    struct history *history = &model->series[i];
    if (history->event_count > 0) {
        /* The window ends as it did: with this value or this marker, at its time. */
        struct sample final = history->events[history->event_count - 1];
        assert_true(history->heard);
        assert_int_equal(history->kept_final.time_ms, final.time_ms);
        assert_int_equal(double_bits(history->kept_final.value), double_bits(final.value));
    } else if (history->heard) {
        /* A marker of the whole target for what was gone before says nothing new. */
        assert_true(value_is_stale(history->kept_final.value) && !history->live);
    }
    assert_int_equal(history->kept_known, history->known);
    if (is_counter(i)) {
        assert_true(history->kept_increase == history->increase);
        assert_int_equal(history->kept_resets, history->resets);
    }
    history->event_count = 0;
    history->heard = false;
}

static void run_window(struct model *model, int64_t start_ms)
{
    bool dead = model->with_failures && random_below(&model->random, 12) == 0;
    int64_t phase_ms = (int64_t)random_below(&model->random, 15000);
    model->good = 0;
    for (int64_t i = 0; i < 4; i++) {
        int64_t time_ms = start_ms + phase_ms + i * 15000;
        if (dead || (model->with_failures && random_below(&model->random, 8) == 0))
            failed_scrape(model, time_ms);
        else
            good_scrape(model, time_ms);
    }
    struct window_closed closed;
    if (window_close(model->rig.window, &model->rig.scratch, &closed)) {
        assert_int_equal(closed.count, model->good);
        assert_int_equal(closed.dropped, 0);
        take_closed(model, &closed);
    }
    for (size_t i = 0; i < SERIES; i++)
        check_series(model, i);
}

static void restart(struct model *model)
{
    window_free(model->rig.window);
    model->rig.window = window_new(model->rig.cache);
    for (size_t i = 0; i < SERIES; i++) {
        model->series[i].live = false;
        model->series[i].was_shown = false;
    }
}

static void run_model(uint64_t seed, struct model *model)
{
    *model = (struct model){.with_times = seed % 4 == 3, .with_failures = seed % 4 != 3};
    random_seed(&model->random, seed);
    rig_init(&model->rig);
    for (size_t i = 0; i < SERIES; i++) {
        model->order[i] = (uint32_t)i;
        model->series[i].shown = random_below(&model->random, 3) > 0;
    }
    for (int64_t w = 0; w < 25; w++) {
        run_window(model, T0 + w * STEP_MS);
        if (random_below(&model->random, 15) == 0)
            restart(model);
    }
    rig_done(&model->rig);
}

static void records_say_what_all_samples_say(void **state)
{
    (void)state;
    unsigned events = 0, resets = 0, markers = 0;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct model model;
        run_model(seed, &model);
        events += model.events_total;
        resets += model.resets_total;
        markers += model.markers_total;
    }
    assert_true(events > 200000 && resets > 4000 && markers > 20000);
}

/* ---- Single cases ---- */

static void a_series_gone_while_the_target_was_stale_ends_then(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    scrape_text(&rig, T0, "a 1\nb 2\n");
    window_stale(rig.window, T0 + 15000);
    scrape_text(&rig, T0 + 30000, "a 3\n");
    struct window_closed closed = close_window(&rig);
    assert_int_equal(closed.stale_ms, 0);
    struct found b = find(&closed, "b");
    assert_true(value_is_stale(b.record.last) && b.record.time_ms == T0 + 15000 && b.record.count == 1);
    assert_true(b.extra_count == 1 && b.extras[0].value == 2 && b.extras[0].time_ms == T0);
    rig_done(&rig);
}

static void a_target_that_stays_away_is_said_once(void **state)
{
    (void)state;
    struct rig rig;
    struct window_closed closed;
    rig_init(&rig);
    assert_false(window_close(rig.window, &rig.scratch, &closed));
    window_stale(rig.window, T0); /* nothing was there yet */
    assert_false(window_close(rig.window, &rig.scratch, &closed));
    scrape_text(&rig, T0, "a 1\n");
    window_stale(rig.window, T0 + 1000);
    window_stale(rig.window, T0 + 2000);
    assert_true(window_close(rig.window, &rig.scratch, &closed));
    assert_int_equal(closed.stale_ms, T0 + 1000);
    window_stale(rig.window, T0 + 61000);
    assert_false(window_close(rig.window, &rig.scratch, &closed));
    /* Back without the series: its end was told long ago. */
    scrape_text(&rig, T0 + 121000, "b 1\n");
    closed = close_window(&rig);
    assert_false(find(&closed, "a").there);
    assert_true(find(&closed, "b").there);
    rig_done(&rig);
}

static void a_sample_shown_again_is_not_a_sample(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    for (int i = 0; i < 3; i++)
        scrape_text(&rig, T0 + i * 15000, "g 5 1700000030000\nc_total 7 1700000030000\nplain 1\n");
    struct window_closed closed = close_window(&rig);
    struct found g = find(&closed, "g");
    assert_true(g.record.count == 1 && g.record.time_ms == 1700000030000 && g.record.sum == 5);
    assert_int_equal(find(&closed, "plain").record.count, 3);
    /* In the next window neither; then a new one. */
    scrape_text(&rig, T0 + 60000, "g 5 1700000030000\nc_total 7 1700000030000\nplain 1\n");
    closed = close_window(&rig);
    assert_int_equal(find(&closed, "g").record.count, 0);
    assert_false(value_is_stale(find(&closed, "g").record.last));
    scrape_text(&rig, T0 + 120000, "g 6 1700000150000\nc_total 3 1700000150000\nplain 1\n");
    closed = close_window(&rig);
    assert_true(find(&closed, "g").record.count == 1 && find(&closed, "g").record.last == 6);
    /* The sample before went out with an earlier window. */
    assert_int_equal(find(&closed, "c_total").extra_count, 0);
    /* Gone: no marker, its samples have times of their own. */
    scrape_text(&rig, T0 + 180000, "plain 1\n");
    closed = close_window(&rig);
    assert_false(find(&closed, "g").there && value_is_stale(find(&closed, "g").record.last));
    rig_done(&rig);
}

static void resets_are_kept_up_to_a_bound(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    unsigned resets = 0;
    for (int i = 0; i < 1000; i++) {
        char body[32];
        snprintf(body, sizeof(body), "c_total %d\n", i % 2);
        resets += i % 2 == 0 && i > 0;
        scrape_text(&rig, T0 + i * 50, body);
    }
    struct window_closed closed = close_window(&rig);
    assert_int_equal(closed.count, 1000);
    assert_int_equal(closed.extra_count, WINDOW_EXTRAS_MIN + WINDOW_EXTRAS_PER_SLOT);
    assert_true(closed.dropped > 0 && closed.dropped < 2 * resets);
    /* Of the next window nothing is missing. */
    scrape_text(&rig, T0 + 60000, "c_total 5\n");
    closed = close_window(&rig);
    assert_int_equal(closed.dropped, 0);
    rig_done(&rig);
}

static void a_counter_that_rests_needs_no_extras(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    scrape_text(&rig, T0, "c_total 5\n");
    scrape_text(&rig, T0 + 15000, "c_total 5\n");
    struct window_closed closed = close_window(&rig);
    assert_int_equal(closed.extra_count, 0);
    scrape_text(&rig, T0 + 60000, "c_total 5\n");
    scrape_text(&rig, T0 + 75000, "c_total 9\n");
    closed = close_window(&rig);
    assert_int_equal(closed.extra_count, 0);
    rig_done(&rig);
}

/* A NaN hides a fall from PromQL, so it is kept; but one tells as much as many. */
static void a_counter_that_is_no_number(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    scrape_text(&rig, T0, "c_total 5\n");
    close_window(&rig);
    static const char *const bodies[] = {"c_total 9\n",   "c_total NaN\n", "c_total NaN\n",
                                         "c_total NaN\n", "c_total 2\n",   "c_total 3\n"};
    for (int i = 0; i < (int)ARRAY_LEN(bodies); i++)
        scrape_text(&rig, T0 + 60000 + i * 1000, bodies[i]);
    struct window_closed closed = close_window(&rig);
    assert_int_equal(closed.extra_count, 4);
    assert_true(closed.extras[0].sample.value == 9 && isnan(closed.extras[1].sample.value));
    assert_true(isnan(closed.extras[2].sample.value) && closed.extras[3].sample.value == 2);
    for (int i = 0; i < 1000; i++)
        scrape_text(&rig, T0 + 120000 + i, "c_total NaN\n");
    closed = close_window(&rig);
    assert_int_equal(closed.extra_count, 1); /* the first of them; the last is the record's own */
    assert_int_equal(closed.dropped, 0);
    rig_done(&rig);
}

static void special_values_of_gauges(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    scrape_text(&rig, T0, "a NaN\nb 1\nc NaN\nd +Inf\ne -0\n");
    scrape_text(&rig, T0 + 15000, "a NaN\nb NaN\nc 2\nd -Inf\ne 0\n");
    struct window_closed closed = close_window(&rig);
    struct found a = find(&closed, "a"), b = find(&closed, "b"), c = find(&closed, "c"), d = find(&closed, "d");
    assert_true(isnan(a.record.last) && isnan(a.record.min) && isnan(a.record.max) && isnan(a.record.sum));
    assert_true(record_is_constant(&a.record));
    assert_true(isnan(b.record.last) && b.record.min == 1 && b.record.max == 1 && isnan(b.record.sum));
    assert_true(c.record.last == 2 && c.record.min == 2 && c.record.max == 2 && isnan(c.record.sum));
    assert_false(record_is_constant(&c.record));
    assert_true(d.record.min == -INFINITY && d.record.max == INFINITY && isnan(d.record.sum));
    rig_done(&rig);
}

static void another_text_of_the_same_series_changes_nothing(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    scrape_text(&rig, T0, "a{x=\"1\"} 1\nb 2\n");
    size_t bytes = window_bytes(rig.window);
    scrape_text(&rig, T0 + 15000, "a{x=\"1\",} 3\nb{} 4\n");
    assert_int_equal(window_bytes(rig.window), bytes);
    assert_int_equal(window_series(rig.window), 2);
    struct window_closed closed = close_window(&rig);
    assert_true(find(&closed, "a").record.sum == 4 && find(&closed, "b").record.count == 2);
    rig_done(&rig);
}

static void a_kind_that_changes_begins_anew(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    scrape_text(&rig, T0, "# TYPE a gauge\na 5\nb 1\n");
    scrape_text(&rig, T0 + 15000, "# TYPE a counter\na 3\n");
    struct window_closed closed = close_window(&rig);
    assert_int_equal(find(&closed, "a").record.kind, KIND_COUNTER);
    assert_true(find(&closed, "a").record.last == 3);
    scrape_text(&rig, T0 + 60000, "# TYPE a counter\na 4\n");
    scrape_text(&rig, T0 + 75000, "# TYPE a gauge\na 2\nb 7\n");
    closed = close_window(&rig);
    struct found a = find(&closed, "a");
    assert_true(a.record.kind == KIND_GAUGE && a.record.count == 2 && a.record.last == 2);
    assert_true(a.record.min == 2 && a.record.max == 4 && a.record.sum == 6);
    rig_done(&rig);
}

static void memory_is_small(void **state)
{
    (void)state;
    struct rig rig;
    CLEANUP(buf_done) struct buf body = BUF_INIT(1 * MIB);
    rig_init(&rig);
    for (int round = 0; round < 8; round++) {
        buf_reset(&body);
        for (int i = 0; i < 500; i++)
            buf_printf(&body, "c_total{n=\"%d\"} %d\n", i, i + round);
        scrape(&rig, T0 + round * 15000, buf_view(&body));
        if (round % 4 == 3)
            close_window(&rig);
    }
    /* 9 bytes a counter, and the window itself. */
    assert_true(window_bytes(rig.window) <= 500 * 9 + 256);
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_say_what_all_samples_say),
        cmocka_unit_test(a_series_gone_while_the_target_was_stale_ends_then),
        cmocka_unit_test(a_target_that_stays_away_is_said_once),
        cmocka_unit_test(a_sample_shown_again_is_not_a_sample),
        cmocka_unit_test(resets_are_kept_up_to_a_bound),
        cmocka_unit_test(a_counter_that_rests_needs_no_extras),
        cmocka_unit_test(a_counter_that_is_no_number),
        cmocka_unit_test(special_values_of_gauges),
        cmocka_unit_test(another_text_of_the_same_series_changes_nothing),
        cmocka_unit_test(a_kind_that_changes_begins_anew),
        cmocka_unit_test(memory_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
