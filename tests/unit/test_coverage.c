/* What answers say of their completeness, from batches as sources make them: any order, lost, late, doubled. */
#include "base/fail.h"
#include "base/json_write.h"
#include "base/random.h"
#include "coverage/coverage.h"
#include "coverage/history.h"
#include "coverage/keeper.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define WINDOW_MS INT64_C(60000)
#define T0        INT64_C(1699999980000) /* a window begins */
#define NOW_MS    (T0 + 600 * WINDOW_MS)

struct rig {
    struct clock *clock;
    struct coverage *coverage;
    struct buf json, warnings;
    uint64_t id;
};

static int setup(void **state)
{
    struct rig *rig = mem_zalloc(sizeof(*rig));
    rig->clock = clock_simulated_new(NOW_MS);
    rig->coverage = coverage_new(rig->clock);
    buf_init(&rig->json, 16 * MIB);
    buf_init(&rig->warnings, MIB);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    coverage_free(rig->coverage);
    clock_free(rig->clock);
    buf_done(&rig->json);
    buf_done(&rig->warnings);
    mem_free(rig);
    return 0;
}

/* A batch that says nothing but how complete it is. */
struct said {
    const char *datacenter, *secondary;
    uint64_t epoch, seq;
    int window; /* from T0 */
    int windows;
    uint64_t expected, answered;
    const char *failed, *dropped;
    uint64_t dropped_count;
    int closed; /* windows before this one are; 0: as if it closed its own */
    uint64_t replaces[5];
    int part;
    bool other; /* of another resolution than the one that counts targets */
};

static void encode(const struct said *said, struct buf *out)
{
    static const struct hash128 page = {{1}};
    struct reason_count failed = {str_from(said->failed ? said->failed : "timeout"), said->expected - said->answered};
    struct reason_count dropped = {str_from(said->dropped ? said->dropped : "samples"), said->dropped_count};
    int windows = MAX(said->windows, 1), closed = said->closed ? said->closed : said->window + windows;
    struct envelope envelope = {.source = {str_from(said->datacenter ? said->datacenter : "dc1"),
                                           str_from(said->secondary ? said->secondary : "rack-1"), 7},
                                .epoch = said->epoch ? said->epoch : 1,
                                .seq = said->seq,
                                .window_start_ms = T0 + said->window * WINDOW_MS,
                                .resolution_ms = said->other ? 15000 : WINDOW_MS,
                                .span_ms = said->other ? 15000 : windows * WINDOW_MS,
                                .part = (uint32_t)said->part,
                                .sealed_at_ms = T0 + MAX(said->window + windows, said->closed) * WINDOW_MS + 5000,
                                .closed_through_ms = T0 + closed * WINDOW_MS,
                                .pages = &page,
                                .page_count = said->expected > 0 || said->other,
                                .targets_expected = said->expected,
                                .targets_answered = said->answered,
                                .failed = &failed,
                                .failed_count = failed.count > 0,
                                .dropped = &dropped,
                                .dropped_count = said->dropped_count > 0,
                                .body_version = 1,
                                .body_bytes = 1,
                                .body_raw_bytes = 1,
                                .body_crc32c = crc32c(0, "x", 1),
                                .replaces = said->replaces};
    while (envelope.replaces_count < 5 && said->replaces[envelope.replaces_count] > 0)
        envelope.replaces_count++;
    assert_int_equal(envelope_encode(&envelope, out), 0);
    buf_append_text(out, "x");
}

static void take_as_of(struct rig *rig, const struct said *said, int64_t oldest_ms)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(ENVELOPE_BYTES_MAX);
    encode(said, &bytes);
    struct coverage_batch batch = {
        .id = ++rig->id, .bytes = buf_view(&bytes), .heard_ms = clock_wall_ms(rig->clock), .oldest_ms = oldest_ms};
    coverage_take(rig->coverage, &batch);
}

static void take(struct rig *rig, const struct said *said)
{
    take_as_of(rig, said, INT64_MIN);
}

/* One window a batch, all whole: windows first..last - 1 are seqs from seq on. */
static void take_whole(struct rig *rig, const char *secondary, uint64_t seq, int first, int last)
{
    for (int i = first; i < last; i++)
        take(rig, &(struct said){.secondary = secondary, .seq = seq++, .window = i, .expected = 10, .answered = 10});
}

static const char *look(struct rig *rig, int64_t start_ms, int64_t end_ms)
{
    struct coverage_range range = {start_ms, end_ms, NULL, NULL};
    struct json_writer json;
    buf_reset(&rig->json);
    buf_reset(&rig->warnings);
    json_begin(&json, &rig->json);
    coverage_write(rig->coverage, &range, &json, &rig->warnings);
    buf_append_byte(&rig->json, 0);
    buf_append_byte(&rig->warnings, 0);
    return (const char *)rig->json.data;
}

static const char *look_at_windows(struct rig *rig, int first, int last)
{
    return look(rig, T0 + first * WINDOW_MS, T0 + last * WINDOW_MS);
}

static const char *warnings(const struct rig *rig)
{
    return (const char *)rig->warnings.data;
}

static void expect_part(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("not in it: %s\n%s", part, text);
}

/* A gap of source rack-1, windows from first to before last. */
static void expect_gap(const char *text, int first, int last, const char *reason)
{
    char part[256];
    snprintf(part, sizeof(part), "{\"source\":\"rack-1\",\"start\":%lld,\"end\":%lld,\"reason\":\"%s\"}",
             (long long)(T0 + first * WINDOW_MS), (long long)(T0 + last * WINDOW_MS), reason);
    expect_part(text, part);
}

/* ---- What is whole ---- */

static void whole_windows_cost_one_line_and_no_warning(void **state)
{
    struct rig *rig = *state;
    take_whole(rig, "rack-1", 1, 0, 600);
    assert_string_equal(
        look_at_windows(rig, 0, 600),
        "{\"datacenters\":[{\"datacenter\":\"dc1\",\"complete\":true,\"completeThrough\":1700035980000,\"sources\":1,"
        "\"sourcesMissingCount\":0,\"sourcesMissing\":[],\"targetsExpected\":10,\"targetsAnswered\":10,"
        "\"targetsAnsweredLeast\":10,\"targetsFailed\":{},\"droppedSamples\":{},\"restarts\":0,\"gapCount\":0,\"gaps\":"
        "[]}],\"complete\":true}");
    assert_string_equal(warnings(rig), "");
}

static void parts_of_a_window_add_up(void **state)
{
    struct rig *rig = *state;
    uint64_t seq = 1;
    for (int i = 0; i < 600; i++) {
        take(rig, &(struct said){.seq = seq++, .window = i, .closed = i, .expected = 10, .answered = 10});
        take(rig, &(struct said){
                      .seq = seq++, .window = i, .part = 1, .closed = i, .expected = 5, .answered = i == 300 ? 3 : 5});
        take(rig, &(struct said){.seq = seq++, .window = i, .part = 2, .expected = 1, .answered = 1});
    }
    expect_part(look_at_windows(rig, 200, 400), "\"targetsExpected\":16,\"targetsAnswered\":15.99,"
                                                "\"targetsAnsweredLeast\":14,\"targetsFailed\":{\"timeout\":0.01}");
    /* A target that fails is the target's matter. */
    assert_string_equal(warnings(rig), "");
    expect_part(look_at_windows(rig, 300, 301), "\"targetsAnswered\":14,\"targetsAnsweredLeast\":14");
    expect_part(look_at_windows(rig, 301, 400), "\"targetsAnswered\":16,\"targetsAnsweredLeast\":16");
}

/* Windows of other rules, and aggregates, are beside those that count targets: no gap, no window of their own. */
static void other_resolutions_neither_fill_nor_make_gaps(void **state)
{
    struct rig *rig = *state;
    uint64_t seq = 1;
    for (int i = 0; i < 600; i++) {
        take(rig, &(struct said){.seq = seq++, .window = i, .closed = i, .other = true});
        if (i == 100)
            continue;
        take(rig, &(struct said){.seq = seq++, .window = i, .expected = 3, .answered = 3});
    }
    expect_gap(look_at_windows(rig, 0, 600), 100, 101, "silent");
    expect_part(look_at_windows(rig, 0, 100), "\"complete\":true");
}

/* ---- What is not ---- */

static void a_silent_time_is_a_gap_until_it_is_filled(void **state)
{
    struct rig *rig = *state;
    take_whole(rig, "rack-1", 1, 0, 100);
    take_whole(rig, "rack-1", 121, 120, 600); /* as a live lane does it: the newest first */
    expect_gap(look_at_windows(rig, 50, 600), 100, 120, "missing");
    expect_part(warnings(rig), "incomplete: dc1: parts are missing of rack-1, between 2023-11-14T23:53:00.000Z and "
                               "2023-11-15T00:13:00.000Z (missing)\n");
    expect_part(look_at_windows(rig, 120, 600), "\"complete\":true");
    expect_part(look_at_windows(rig, 0, 100), "\"complete\":true");
    take_whole(rig, "rack-1", 101, 100, 110);
    expect_gap(look_at_windows(rig, 50, 600), 110, 120, "missing");
    take_whole(rig, "rack-1", 111, 110, 120);
    expect_part(look_at_windows(rig, 0, 600), "\"gapCount\":0");
    assert_string_equal(warnings(rig), "");
}

/* Of several parts one has not come: its number tells, though the window has others. */
static void a_part_that_has_not_come_makes_a_gap(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 600; i++) {
        take(rig, &(struct said){.seq = 2 * (uint64_t)i + 1, .window = i, .closed = i, .expected = 5, .answered = 5});
        if (i != 300)
            take(rig, &(struct said){.seq = 2 * (uint64_t)i + 2, .window = i, .part = 1, .expected = 5, .answered = 5});
    }
    expect_gap(look_at_windows(rig, 0, 600), 300, 301, "missing");
    expect_part(look_at_windows(rig, 0, 300), "\"complete\":true");
    expect_part(look_at_windows(rig, 301, 600), "\"complete\":true");
    take(rig, &(struct said){.seq = 602, .window = 300, .part = 1, .expected = 5, .answered = 5});
    expect_part(look_at_windows(rig, 0, 600), "\"complete\":true");
}

/* A number that is on its way now is no gap yet. */
static void what_is_on_its_way_is_no_gap(void **state)
{
    struct rig *rig = *state;
    take_whole(rig, "rack-1", 1, 0, 597);
    take_whole(rig, "rack-1", 599, 598, 600);
    expect_part(look_at_windows(rig, 0, 600), "\"gapCount\":1"); /* no batch told of window 597 */
    take(rig, &(struct said){.seq = 603, .window = 600, .closed = 600, .expected = 5, .answered = 5});
    expect_part(look_at_windows(rig, 598, 600), "\"gapCount\":0");
}

static void gap_records_are_gaps_of_what_had_not_come(void **state)
{
    struct rig *rig = *state;
    take_whole(rig, "rack-1", 1, 0, 110);
    take_whole(rig, "rack-1", 121, 120, 600);
    struct spool_batch gap = {.is_gap = true,
                              .source = {STR("dc1"), STR("rack-1"), 7},
                              .epoch = 1,
                              .seq = 101,
                              .seq_end = 120,
                              .window_start_ms = T0 + 100 * WINDOW_MS,
                              .window_end_ms = T0 + 120 * WINDOW_MS};
    coverage_take_gap(rig->coverage, &gap);
    expect_gap(look_at_windows(rig, 0, 600), 110, 120, "dropped");
    expect_part((const char *)rig->json.data, "\"gapCount\":1");
    /* All of it came before: nothing is lost. */
    gap.seq = 1, gap.seq_end = 100, gap.window_start_ms = T0;
    coverage_take_gap(rig->coverage, &gap);
    expect_part(look_at_windows(rig, 0, 600), "\"gapCount\":1");
}

static void a_source_that_is_behind_is_missed_for_a_day(void **state)
{
    struct rig *rig = *state;
    take_whole(rig, "rack-1", 1, 0, 580);
    take_whole(rig, "rack-2", 1, 0, 600);
    const char *text = look_at_windows(rig, 595, 600);
    expect_part(text, "\"complete\":false,\"completeThrough\":1700034780000,\"sources\":2,\"sourcesMissingCount\":1,"
                      "\"sourcesMissing\":[\"rack-1\"],\"targetsExpected\":20,\"targetsAnswered\":10,"
                      "\"targetsAnsweredLeast\":10");
    expect_gap(text, 595, 600, "silent");
    assert_string_equal(warnings(rig), "incomplete: dc1: 1 of 2 sources told nothing in this range (rack-1)\n");
    /* A range of which it told a part; and one that ended while it still told. */
    expect_part(look_at_windows(rig, 570, 600), "\"sourcesMissingCount\":0");
    expect_part(warnings(rig), "parts are missing of rack-1");
    expect_part(look_at_windows(rig, 0, 580), "\"complete\":true");
    /* A day later it is gone, and the time before is as it was. */
    clock_simulated_advance(rig->clock, HISTORY_FORGET_MS);
    expect_part(look(rig, NOW_MS + HISTORY_FORGET_MS - 1000, NOW_MS + HISTORY_FORGET_MS), "\"sources\":1,");
    expect_gap(look_at_windows(rig, 595, 600), 595, 600, "silent");
}

static void a_lag_of_some_windows_is_no_gap(void **state)
{
    struct rig *rig = *state;
    take_whole(rig, "rack-1", 1, 0, 596);
    expect_part(look_at_windows(rig, 590, 600), "\"complete\":true");
    /* Nothing of it is due: what was told last stands for it. */
    expect_part(look_at_windows(rig, 598, 600), "\"complete\":true");
    expect_part((const char *)rig->json.data, "\"targetsExpected\":10,\"targetsAnswered\":10,");
    clock_simulated_advance(rig->clock, 2 * WINDOW_MS);
    expect_part(look_at_windows(rig, 590, 602), "\"complete\":false");
}

static void many_sources_make_one_line(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 500; i++) {
        char name[32];
        snprintf(name, sizeof(name), "rack-%03d", i);
        take_whole(rig, name, 1, 0, 3);
    }
    expect_part(look_at_windows(rig, 0, 10), "\"sources\":500,\"sourcesMissingCount\":0,");
    expect_part((const char *)rig->json.data, "\"gapCount\":500,");
    look_at_windows(rig, 5, 10);
    assert_string_equal(warnings(rig), "incomplete: dc1: 500 of 500 sources told nothing in this range (rack-000, "
                                       "rack-001, rack-002 and 497 more)\n");
    assert_true(rig->json.len < 4096);
}

static void dropped_samples_are_told_folded_ones_are_not(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 600; i++)
        take(rig, &(struct said){.seq = (uint64_t)i + 1,
                                 .window = i,
                                 .expected = 10,
                                 .answered = 10,
                                 .dropped = i < 300 ? "folded" : "spool",
                                 .dropped_count = i < 300 || i == 400 ? 7 : 0});
    expect_part(look_at_windows(rig, 0, 400), "\"complete\":true");
    expect_part(look_at_windows(rig, 399, 402), "\"droppedSamples\":{\"spool\":7}");
    assert_string_equal(warnings(rig), "incomplete: dc1: 7 samples were dropped\n");
}

static void what_comes_too_late_is_a_gap(void **state)
{
    struct rig *rig = *state;
    take_whole(rig, "rack-1", 1, 0, 100);
    take_whole(rig, "rack-1", 111, 110, 600);
    for (int i = 100; i < 110; i++)
        take_as_of(rig, &(struct said){.seq = (uint64_t)i + 1, .window = i, .expected = 10, .answered = 10},
                   T0 + 105 * WINDOW_MS);
    const char *text = look_at_windows(rig, 0, 600);
    expect_gap(text, 100, 105, "late");
    expect_part(text, "\"gapCount\":1");
}

static void what_cannot_be_read_is_a_gap(void **state)
{
    struct rig *rig = *state;
    take_whole(rig, "rack-1", 1, 0, 600);
    struct spool_batch batch = {.source = {STR("dc1"), STR("rack-1"), 7},
                                .window_start_ms = T0 + 30 * WINDOW_MS,
                                .window_end_ms = T0 + 31 * WINDOW_MS};
    coverage_lose(rig->coverage, &batch);
    expect_gap(look_at_windows(rig, 0, 600), 30, 31, "unreadable");
}

/* The store has nothing of it: neither has the coverage. */
static void windows_of_the_future_are_not_told(void **state)
{
    struct rig *rig = *state;
    take_whole(rig, "rack-1", 1, 0, 590);
    take(rig, &(struct said){.seq = 591, .window = 5000, .expected = 10, .answered = 10});
    expect_part(look_at_windows(rig, 580, 600), "\"complete\":false");
    assert_int_equal(coverage_solid_ms(rig->coverage), T0 + 590 * WINDOW_MS);
}

/* ---- Starts ---- */

static void a_crash_leaves_a_gap_with_its_open_window(void **state)
{
    struct rig *rig = *state;
    take_whole(rig, "rack-1", 1, 0, 100);
    take(rig, &(struct said){.seq = 101, .window = 100, .closed = 100, .expected = 4, .answered = 4}); /* a part */
    for (int i = 105; i < 600; i++)
        take(rig, &(struct said){.epoch = 2, .seq = (uint64_t)i - 104, .window = i, .expected = 10, .answered = 10});
    const char *text = look_at_windows(rig, 0, 600);
    expect_gap(text, 100, 105, "silent");
    expect_part(text, "\"restarts\":1,\"gapCount\":1");
    expect_part(look_at_windows(rig, 105, 600), "\"complete\":true");
    expect_part(look_at_windows(rig, 0, 100), "\"complete\":true");
}

/* Both tell of the window in which it was restarted; neither order nor the number of parts changes what stands. */
static void of_two_starts_in_a_window_the_better_stands(void **state)
{
    struct rig *rig = *state;
    const struct said first[] = {{.seq = 101, .window = 100, .closed = 100, .expected = 6, .answered = 6},
                                 {.seq = 102, .window = 100, .closed = 100, .expected = 4, .answered = 3}};
    const struct said second = {.epoch = 2, .seq = 1, .window = 100, .expected = 10, .answered = 7};
    take_whole(rig, "rack-1", 1, 0, 100);
    take(rig, &first[0]);
    take(rig, &second);
    take(rig, &first[1]);
    take(rig, &second);
    expect_part(look_at_windows(rig, 90, 101), "\"targetsAnsweredLeast\":9,");
    expect_part((const char *)rig->json.data, "\"gapCount\":0");
    expect_part(look_at_windows(rig, 100, 101), "\"targetsExpected\":10,\"targetsAnswered\":9,");
}

static void many_starts_are_settled(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 200; i++) /* each lives for two windows, and one is silent behind it */
        for (int j = 0; j < 2; j++)
            take(rig, &(struct said){.epoch = (uint64_t)i + 1,
                                     .seq = (uint64_t)j + 1,
                                     .window = 3 * i + j,
                                     .expected = 10,
                                     .answered = 10});
    const char *text = look_at_windows(rig, 0, 600);
    expect_part(text, "\"gapCount\":199,");
    expect_gap(text, 2, 3, "silent");
    expect_part(text, "\"targetsExpected\":10,");
    expect_part(look_at_windows(rig, 300, 302), "\"complete\":true");
    expect_part(look_at_windows(rig, 302, 303), "\"complete\":false");
}

/* Five windows in one batch, one of which came before by itself. */
static void a_backlogs_batch_counts_each_window_once(void **state)
{
    struct rig *rig = *state;
    take_whole(rig, "rack-1", 1, 0, 100);
    take_whole(rig, "rack-1", 101, 100, 101);
    take_whole(rig, "rack-1", 107, 105, 600);
    take(rig, &(struct said){.seq = 106,
                             .window = 100,
                             .windows = 5,
                             .expected = 50,
                             .answered = 50,
                             .replaces = {101, 102, 103, 104, 105}});
    expect_part(look_at_windows(rig, 99, 106), "\"targetsExpected\":10,\"targetsAnswered\":10,");
    expect_part((const char *)rig->json.data, "\"complete\":true");
}

/* ---- The same, at random, against a table of windows ---- */

#define MODEL_WINDOWS 560

struct model {
    struct said said[4 * MODEL_WINDOWS];
    size_t count;
    bool lost[MODEL_WINDOWS]; /* a batch of it never comes, or there was none */
    double expected[MODEL_WINDOWS], answered[MODEL_WINDOWS];
};

static void make_model(struct model *model, struct random *random)
{
    *model = (struct model){0};
    uint64_t epoch = 1, seq = 0;
    for (int w = 0; w < MODEL_WINDOWS; w++) {
        if (w > 0 && random_below(random, 50) == 0) { /* killed, and back some windows later */
            int away = (int)random_below(random, 4);
            for (int i = 0; i < away && w + i < MODEL_WINDOWS; i++)
                model->lost[w + i] = true;
            w += away;
            epoch++;
            seq = 0;
        }
        int parts = 1 + (int)random_below(random, 3);
        for (int p = 0; p < parts && w < MODEL_WINDOWS; p++) {
            uint64_t expected = 5, answered = random_below(random, 10) == 0 ? 3 : 5;
            model->said[model->count++] = (struct said){.epoch = epoch,
                                                        .seq = ++seq,
                                                        .window = w,
                                                        .part = p,
                                                        .closed = p + 1 < parts ? w : w + 1,
                                                        .expected = expected,
                                                        .answered = answered};
            model->expected[w] += (double)expected;
            model->answered[w] += (double)answered;
        }
    }
}

static void shuffle(struct model *model, struct random *random)
{
    for (size_t i = model->count; i > 1; i--) {
        size_t j = random_below(random, i);
        struct said swap = model->said[i - 1];
        model->said[i - 1] = model->said[j];
        model->said[j] = swap;
    }
}

/* Every window by itself, as the model has it. */
static void compare_windows(struct rig *rig, const struct model *model)
{
    for (int w = 0; w < MODEL_WINDOWS; w++) {
        const char *text = look_at_windows(rig, w, w + 1);
        char part[128];
        snprintf(part, sizeof(part), "\"complete\":%s,\"completeThrough\"", model->lost[w] ? "false" : "true");
        if (!strstr(text, part))
            fail_msg("window %d: %s: %s", w, part, text);
        snprintf(part, sizeof(part), "\"targetsExpected\":%g,\"targetsAnswered\":%g,", model->expected[w],
                 model->answered[w]);
        if (!model->lost[w])
            expect_part(text, part);
    }
}

/* Ranges without a lost window: what stands together is what its windows come to. */
static int compare_ranges(struct rig *rig, const struct model *model, struct random *random)
{
    int compared = 0;
    for (int i = 0; i < 300; i++) {
        int first = (int)random_below(random, MODEL_WINDOWS), last = first;
        double expected = 0, answered = 0, least = INFINITY;
        for (; last < MODEL_WINDOWS && !model->lost[last] && random_below(random, 100) > 0; last++) {
            expected += model->expected[last];
            answered += model->answered[last];
            least = MIN(least, model->answered[last]);
        }
        int windows = last - first;
        if (windows == 0)
            continue;
        double got[3];
        const char *at = strstr(look_at_windows(rig, first, last), "\"targetsExpected\":");
        assert_int_equal(sscanf(at, "\"targetsExpected\":%lf,\"targetsAnswered\":%lf,\"targetsAnsweredLeast\":%lf",
                                &got[0], &got[1], &got[2]),
                         3);
        if (fabs(got[0] - expected / windows) > 0.0006 || fabs(got[1] - answered / windows) > 0.0006 || got[2] != least)
            fail_msg("windows %d to %d: %s", first, last, at);
        compared += windows > 3 * SPANS_BLOCK;
    }
    return compared;
}

static void any_order_tells_the_same(void **state)
{
    (void)state;
    static struct model model;
    int compared = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct random random;
        struct rig *rig;
        random_seed(&random, seed);
        make_model(&model, &random);
        setup((void **)&rig);
        /* Some way out of order, as two lanes and many connections make it; the rest of the order is time's. */
        if (seed % 3 == 0)
            shuffle(&model, &random);
        for (size_t i = 0; i < model.count; i++)
            take(rig, &model.said[i]);
        if (seed % 3 != 0)
            compare_windows(rig, &model);
        /* Again, and through the file. */
        CLEANUP(buf_done) struct buf bytes = BUF_INIT(COVERAGE_FILE_BYTES_MAX);
        CLEANUP(buf_done) struct buf again = BUF_INIT(COVERAGE_FILE_BYTES_MAX);
        uint64_t position;
        for (size_t i = 0; i < model.count; i++)
            take(rig, &model.said[i]);
        coverage_save(rig->coverage, &bytes, &position);
        assert_int_equal(position, rig->id);
        assert_int_equal(coverage_decode(rig->coverage, buf_view(&bytes)), 0);
        compare_windows(rig, &model);
        coverage_save(rig->coverage, &again, &position);
        assert_int_equal(again.len, bytes.len);
        assert_memory_equal(again.data, bytes.data, bytes.len);
        compared += compare_ranges(rig, &model, &random);
        teardown((void **)&rig);
    }
    assert_true(compared > 100);
}

/* What never comes is a gap of the windows it may be of, no whole window is called whole, no other is called lost. */
static void lost_batches_are_gaps_of_their_windows(void **state)
{
    (void)state;
    static struct model model;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct random random;
        struct rig *rig;
        random_seed(&random, 100 + seed);
        make_model(&model, &random);
        setup((void **)&rig);
        for (size_t i = 0; i < model.count; i++) {
            /* Not the last number of an epoch: nobody can know that there was one. */
            bool last = i + 1 == model.count || model.said[i + 1].epoch != model.said[i].epoch;
            if (!last && random_below(&random, 25) == 0)
                model.lost[model.said[i].window] = true;
            else
                take(rig, &model.said[i]);
        }
        compare_windows(rig, &model);
        teardown((void **)&rig);
    }
}

/* ---- Ceilings, files ---- */

static void old_detail_goes_before_old_facts(void **state)
{
    struct rig *rig = *state;
    const int windows = 20000;
    clock_simulated_advance(rig->clock, windows * WINDOW_MS);
    for (int i = 0; i < windows; i++)
        take(rig, &(struct said){.seq = (uint64_t)i + 1, .window = i, .expected = 10, .answered = i % 2 ? 10 : 8});
    expect_part(look_at_windows(rig, 0, windows), "\"targetsExpected\":10,\"targetsAnswered\":9,"
                                                  "\"targetsAnsweredLeast\":8,\"targetsFailed\":{\"timeout\":1}");
    expect_part(look_at_windows(rig, 19999, 20000), "\"targetsAnswered\":10,");
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(COVERAGE_FILE_BYTES_MAX);
    uint64_t position;
    coverage_save(rig->coverage, &bytes, &position);
    assert_true(bytes.len < 80 * KIB);
    assert_null(strstr(look_at_windows(rig, 0, windows), "knownFrom"));
}

static void past_all_ceilings_it_says_from_when_it_knows(void **state)
{
    struct rig *rig = *state;
    const int windows = 8000;
    clock_simulated_advance(rig->clock, windows * WINDOW_MS);
    uint64_t seq = 1;
    for (int i = 0; i < windows; i += 2) /* every second window is not there: spans cannot be put together */
        take(rig, &(struct said){.seq = seq++, .window = i, .expected = 10, .answered = 10});
    expect_part(look_at_windows(rig, 0, windows), "\"knownFrom\":");
    expect_part(warnings(rig), "what is missing is not known before 20");
    expect_part(look_at_windows(rig, windows - 100, windows), "\"gapCount\":50,");
    assert_null(strstr(look_at_windows(rig, windows - 100, windows), "knownFrom"));
}

static void what_is_older_than_all_data_is_forgotten(void **state)
{
    struct rig *rig = *state;
    take_whole(rig, "rack-1", 1, 0, 100);
    take_whole(rig, "rack-1", 121, 120, 600);
    take_whole(rig, "gone", 1, 0, 10);
    coverage_forget(rig->coverage, T0 + 200 * WINDOW_MS);
    const char *text = look_at_windows(rig, 0, 600);
    expect_part(text, "\"gapCount\":1,"); /* of gone, which is missed for a day */
    expect_part(text, "\"sources\":2,");
    coverage_forget(rig->coverage, T0 + 11 * WINDOW_MS + HISTORY_FORGET_MS);
    assert_null(strstr(look(rig, 0, INT64_MAX / 4), "\"sources\":2"));
}

static void a_damaged_or_absent_file_is_told(void **state)
{
    struct rig *rig = *state;
    struct file_system *fs = file_system_memory_new(0);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(COVERAGE_FILE_BYTES_MAX);
    uint64_t position;
    take_whole(rig, "rack-1", 1, 0, 600);
    coverage_save(rig->coverage, &bytes, &position);
    bytes.data[bytes.len / 2] ^= 1;
    assert_int_equal(file_write_whole(fs, "/coverage", bytes.data, bytes.len), 0);
    struct keeper keeper;
    struct keeper_found found = {.log_end = 5000, .has_data = true};
    assert_int_equal(keeper_open(&keeper, rig->coverage, fs, "", &found), -EBADMSG);
    assert_int_equal(keeper_saved(&keeper), 0);
    /* The log has what came since window 500. */
    take_whole(rig, "rack-1", 501, 500, 600);
    coverage_loaded(rig->coverage);
    expect_part(look_at_windows(rig, 510, 600), "\"complete\":true");
    const char *text = look_at_windows(rig, 0, 600);
    expect_part(text, "\"complete\":false");
    expect_part(text, "\"knownFrom\":1700030040000");
    /* What is written is read again, and stays so where it is not written anew. */
    keeper_begin(&keeper);
    take_whole(rig, "rack-1", 601, 600, 610);
    assert_int_equal(keeper_write(&keeper), 0);
    assert_int_equal(keeper_saved(&keeper), rig->id - 10);
    keeper_close(&keeper);
    assert_int_equal(keeper_open(&keeper, rig->coverage, fs, "", &found), 0);
    assert_int_equal(coverage_position(rig->coverage), rig->id - 10);
    coverage_loaded(rig->coverage);
    expect_part(look_at_windows(rig, 0, 600), "\"knownFrom\":1700030040000");
    keeper_close(&keeper);
    /* A log that was replaced is replayed whole. */
    found.log_end = 1;
    assert_int_equal(keeper_open(&keeper, rig->coverage, fs, "", &found), 0);
    assert_int_equal(coverage_position(rig->coverage), 0);
    keeper_close(&keeper);
    /* A disk that refuses: the log is kept. */
    struct file_system *failing = file_system_failing_new(fs);
    assert_int_equal(keeper_open(&keeper, rig->coverage, failing, "", &found), 0);
    file_system_failing_at(failing, 1, -EIO, true);
    keeper_begin(&keeper);
    assert_int_equal(keeper_write(&keeper), -EIO);
    assert_int_equal(keeper_saved(&keeper), 0);
    keeper_close(&keeper);
    file_system_free(failing);
    file_system_free(fs);
}

/* It makes a file, so that one that is gone later was lost. */
static void a_new_data_directory_has_nothing_to_know_of(void **state)
{
    struct rig *rig = *state;
    struct file_system *fs = file_system_memory_new(0);
    struct keeper keeper;
    struct keeper_found found = {.log_end = 1};
    assert_int_equal(keeper_open(&keeper, rig->coverage, fs, "", &found), 0);
    coverage_loaded(rig->coverage);
    keeper_close(&keeper);
    assert_int_equal(file_exists(fs, "/coverage"), 1);
    take_whole(rig, "rack-1", 1, 0, 600);
    expect_part(look_at_windows(rig, -10, 600), "\"complete\":true");
    assert_int_equal(file_unlink(fs, "/coverage"), 0);
    found.has_data = true;
    assert_int_equal(keeper_open(&keeper, rig->coverage, fs, "", &found), -ENOENT);
    coverage_loaded(rig->coverage);
    take_whole(rig, "rack-1", 601, 590, 600);
    expect_part(look_at_windows(rig, 0, 600), "\"knownFrom\":");
    keeper_close(&keeper);
    file_system_free(fs);
}

/* Hours are closed when all that are alive have told them: one that fills in a backlog is alive, one that is silent is
 * not. */
static void solid_is_what_all_that_are_alive_have_told(void **state)
{
    struct rig *rig = *state;
    assert_true(coverage_solid_ms(rig->coverage) == INT64_MIN);
    take_whole(rig, "rack-1", 1, 0, 590);
    assert_int_equal(coverage_solid_ms(rig->coverage), T0 + 590 * WINDOW_MS);
    take_whole(rig, "rack-2", 1, 0, 400);
    assert_int_equal(coverage_solid_ms(rig->coverage), T0 + 400 * WINDOW_MS);
    clock_simulated_advance(rig->clock, COVERAGE_ALIVE_MS + 1);
    take_whole(rig, "rack-1", 591, 590, 610);
    assert_int_equal(coverage_solid_ms(rig->coverage), T0 + 610 * WINDOW_MS);
}

static bool is_dc2(const void *arg, struct str datacenter)
{
    (void)arg;
    return str_equal(datacenter, STR("dc2"));
}

static void only_datacenters_that_are_touched_are_told(void **state)
{
    struct rig *rig = *state;
    take_whole(rig, "rack-1", 1, 0, 10);
    take(rig, &(struct said){.datacenter = "dc2", .seq = 1, .window = 599, .expected = 1, .answered = 1});
    struct coverage_range range = {NOW_MS - 60000, NOW_MS, is_dc2, NULL};
    struct json_writer json;
    json_begin(&json, &rig->json);
    coverage_write(rig->coverage, &range, &json, &rig->warnings);
    buf_append_byte(&rig->json, 0);
    expect_part((const char *)rig->json.data, "\"complete\":true}");
    assert_null(strstr((const char *)rig->json.data, "dc1"));
    assert_int_equal(rig->warnings.len, 0);
}

static void *look_again_and_again(void *arg)
{
    struct coverage *coverage = arg;
    for (int i = 0; i < 300; i++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(MIB);
        CLEANUP(buf_done) struct buf warnings = BUF_INIT(MIB);
        struct coverage_range range = {T0, NOW_MS, NULL, NULL};
        struct json_writer json;
        json_begin(&json, &out);
        if (i % 2 == 0)
            coverage_write(coverage, &range, &json, &warnings);
        else
            coverage_write_sources(coverage, &range, &json);
        assert_true(out.len > 0);
    }
    return NULL;
}

static void looks_do_not_disturb_what_comes(void **state)
{
    struct rig *rig = *state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, look_again_and_again, rig->coverage), 0);
    take_whole(rig, "rack-1", 1, 0, 600);
    coverage_forget(rig->coverage, T0 + 10 * WINDOW_MS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    expect_part(look_at_windows(rig, 10, 600), "\"complete\":true");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(whole_windows_cost_one_line_and_no_warning),
        TEST(parts_of_a_window_add_up),
        TEST(other_resolutions_neither_fill_nor_make_gaps),
        TEST(a_silent_time_is_a_gap_until_it_is_filled),
        TEST(a_part_that_has_not_come_makes_a_gap),
        TEST(what_is_on_its_way_is_no_gap),
        TEST(gap_records_are_gaps_of_what_had_not_come),
        TEST(a_source_that_is_behind_is_missed_for_a_day),
        TEST(a_lag_of_some_windows_is_no_gap),
        TEST(many_sources_make_one_line),
        TEST(dropped_samples_are_told_folded_ones_are_not),
        TEST(what_comes_too_late_is_a_gap),
        TEST(what_cannot_be_read_is_a_gap),
        TEST(windows_of_the_future_are_not_told),
        TEST(a_crash_leaves_a_gap_with_its_open_window),
        TEST(of_two_starts_in_a_window_the_better_stands),
        TEST(many_starts_are_settled),
        TEST(a_backlogs_batch_counts_each_window_once),
        cmocka_unit_test(any_order_tells_the_same),
        cmocka_unit_test(lost_batches_are_gaps_of_their_windows),
        TEST(old_detail_goes_before_old_facts),
        TEST(past_all_ceilings_it_says_from_when_it_knows),
        TEST(what_is_older_than_all_data_is_forgotten),
        TEST(a_damaged_or_absent_file_is_told),
        TEST(a_new_data_directory_has_nothing_to_know_of),
        TEST(solid_is_what_all_that_are_alive_have_told),
        TEST(only_datacenters_that_are_touched_are_told),
        TEST(looks_do_not_disturb_what_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
