/* What answers say of their completeness, from batches as sources make them: any order, lost, late, doubled. */
#include "coverage_rig.h"

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
