/* Deletions: what is accepted, what is kept, what filters say; each write failing, each byte of the file flipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/fail.h"
#include "base/random.h"
#include "store/deletions.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define NOW_MS INT64_C(1790000000000)
#define DIR    "/data"
#define FILE_  DIR "/deletions.json"

struct rig {
    struct file_system *memory, *fs;
    struct clock *clock;
    struct deletions *deletions;
};

static void rig_open(struct rig *rig)
{
    char reason[256] = "";
    int r = deletions_open(rig->fs, rig->clock, DIR, reason, &rig->deletions);
    if (r < 0) {
        print_error("%s\n", reason);
    }
    assert_int_equal(r, 0);
}

static void rig_reopen(struct rig *rig)
{
    deletions_free(rig->deletions);
    rig->deletions = NULL;
    rig_open(rig);
}

static int rig_setup(void **state)
{
    struct rig *rig = mem_zalloc(sizeof(*rig));
    rig->memory = file_system_memory_new(0);
    rig->fs = file_system_failing_new(rig->memory);
    rig->clock = clock_simulated_new(NOW_MS);
    assert_int_equal(file_make_dirs(rig->memory, DIR), 0);
    rig_open(rig);
    *state = rig;
    return 0;
}

static int rig_teardown(void **state)
{
    struct rig *rig = *state;
    deletions_free(rig->deletions);
    clock_free(rig->clock);
    file_system_free(rig->fs);
    file_system_free(rig->memory);
    mem_free(rig);
    return 0;
}

static int request(struct rig *rig, const char *match, int64_t start_ms, int64_t end_ms, uint64_t *ret_id)
{
    const struct deletion deletion = {
        .match = (char *)match, .who = "ann", .why = "a test", .start_ms = start_ms, .end_ms = end_ms};
    char error[256];
    return deletions_request(rig->deletions, &deletion, error, ret_id);
}

static uint64_t accepted(struct rig *rig, const char *match, int64_t start_ms, int64_t end_ms)
{
    uint64_t id = 0;
    assert_int_equal(request(rig, match, start_ms, end_ms, &id), 0);
    return id;
}

static struct labels *labels_for(const char *name, const char *host)
{
    struct label list[] = {{STR("__name__"), str_from(name)}, {STR("host"), str_from(host)}};
    return labels_new(list, 2);
}

/* The filter's ranges of a series, as "1-2 5-9 ". */
static void ranges_are(struct rig *rig, const char *name, const char *host, const char *expected)
{
    CLEANUP(deletion_filter_unrefp) struct deletion_filter *filter = deletions_filter(rig->deletions);
    CLEANUP(labels_unrefp) struct labels *labels = labels_for(name, host);
    struct time_range ranges[DELETIONS_MAX];
    size_t count = deletion_filter_ranges(filter, labels, ranges);
    char text[512] = "";
    for (size_t i = 0; i < count; i++) {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%lld-%lld ", (long long)ranges[i].start_ms,
                 (long long)ranges[i].end_ms);
    }
    assert_string_equal(text, expected);
}

/* ---- requests ---- */

static void test_refused(void **state)
{
    struct rig *rig = *state;
    char long_text[DELETION_WHY_BYTES_MAX + 2];
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    const struct {
        struct deletion deletion;
        const char *error;
    } rows[] = {
        {{.match = "{x=", .who = "a", .why = "b"}, "match, at byte"},
        {{.match = "", .who = "a", .why = "b"}, "match is empty"},
        {{.match = NULL, .who = "a", .why = "b"}, "match is empty"},
        {{.match = "{}", .who = "a", .why = "b"}, "match"},
        {{.match = "up{x=~\"(\"}", .who = "a", .why = "b"}, "match"},
        {{.match = "up", .who = "", .why = "b"}, "who is empty"},
        {{.match = "up", .who = "a", .why = ""}, "why is empty"},
        {{.match = "up", .who = long_text, .why = "b"}, "who is longer"},
        {{.match = "up", .who = "a", .why = long_text}, "why is longer"},
        {{.match = "up", .who = "\xff", .why = "b"}, "not UTF-8"},
        {{.match = "up", .who = "a", .why = "b", .start_ms = 2, .end_ms = 1}, "range is empty"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char error[256] = "";
        uint64_t id = 77;
        assert_int_equal(deletions_request(rig->deletions, &rows[i].deletion, error, &id), -EINVAL);
        if (!strstr(error, rows[i].error)) {
            print_error("row %zu: %s\n", i, error);
        }
        assert_non_null(strstr(error, rows[i].error));
        assert_int_equal(id, 77);
    }
    assert_null(deletions_filter(rig->deletions));
    assert_int_equal(deletions_newest(rig->deletions), 0);
    assert_int_equal(file_exists(rig->memory, FILE_), 0);
}

static void test_life(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(accepted(rig, "up{host=\"a\"}", 10, 20), 1);
    assert_int_equal(accepted(rig, "{host=~\"a|b\"}", 15, 30), 2);
    assert_int_equal(accepted(rig, "{host!=\"a\"}", INT64_MIN, INT64_MAX), 3);
    rig_reopen(rig);
    ranges_are(rig, "up", "a", "10-30 ");
    ranges_are(rig, "down", "a", "15-30 ");
    ranges_are(rig, "down", "c", "-9223372036854775808-9223372036854775807 ");
    struct deletion_filter *before = deletions_filter(rig->deletions);
    assert_int_equal(deletion_filter_newest(before), 3);
    assert_true(deletion_filter_meets(before, 0, 20, 20) && deletion_filter_meets(before, 2, 20, 20));
    assert_false(deletion_filter_meets(before, 3, INT64_MIN, INT64_MAX));
    assert_false(deletion_filter_meets(NULL, 0, INT64_MIN, INT64_MAX));
    assert_int_equal(deletion_filter_oldest(before, 0, 25, 26), 2);
    assert_int_equal(deletion_filter_oldest(before, 0, 20, 26), 1);
    assert_int_equal(deletion_filter_oldest(before, 0, 31, 31), 3);

    clock_simulated_advance(rig->clock, 5000);
    assert_int_equal(deletions_done(rig->deletions, 3), 0);
    assert_int_equal(deletions_done(rig->deletions, 3), -ENOENT);
    assert_int_equal(deletions_done(rig->deletions, 9), -ENOENT);
    assert_int_equal(deletion_filter_newest(before), 3); /* as it was taken */
    deletion_filter_unref(before);
    for (int round = 0; round < 2; round++, rig_reopen(rig)) {
        ranges_are(rig, "down", "c", "");
        ranges_are(rig, "up", "a", "10-30 ");
        assert_int_equal(deletions_newest(rig->deletions), 3);
        struct deletion *items;
        size_t count;
        deletions_list(rig->deletions, &items, &count);
        assert_int_equal(count, 3);
        assert_string_equal(items[2].match, "{host!=\"a\"}");
        assert_true(items[2].done_ms == NOW_MS + 5000 && items[2].requested_ms == NOW_MS && items[1].done_ms == 0);
        assert_string_equal(items[1].who, "ann");
        assert_string_equal(items[1].why, "a test");
        deletions_list_free(items, count);
    }
    assert_int_equal(deletions_done(rig->deletions, 1), 0);
    assert_int_equal(deletions_done(rig->deletions, 2), 0);
    assert_null(deletions_filter(rig->deletions));
    assert_int_equal(accepted(rig, "up", 1, 1), 4);
}

static void test_ceilings(void **state)
{
    struct rig *rig = *state;
    uint64_t id;
    for (size_t i = 0; i < DELETIONS_MAX; i++) {
        accepted(rig, "up", (int64_t)i * 10, (int64_t)i * 10 + 5);
    }
    assert_int_equal(request(rig, "up", 1, 2, &id), -EMFILE);
    struct time_range ranges[DELETIONS_MAX];
    CLEANUP(labels_unrefp) struct labels *labels = labels_for("up", "x");
    CLEANUP(deletion_filter_unrefp) struct deletion_filter *filter = deletions_filter(rig->deletions);
    assert_int_equal(deletion_filter_ranges(filter, labels, ranges), DELETIONS_MAX);
    assert_int_equal(deletions_done(rig->deletions, 500), 0);
    assert_int_equal(accepted(rig, "up", 1, 2), DELETIONS_MAX + 1);
    rig_reopen(rig);
    assert_int_equal(deletions_newest(rig->deletions), DELETIONS_MAX + 1);
}

/* ---- the file ---- */

static void test_damaged(void **state)
{
    struct rig *rig = *state;
    accepted(rig, "up{host=\"a\"}", 10, 20);
    accepted(rig, "down", 15, 30);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(MIB);
    assert_int_equal(file_read_whole(rig->memory, FILE_, &bytes), 0);
    unsigned refused = 0;
    for (size_t i = 0; i < 2 * bytes.len; i++) {
        bool cut = i >= bytes.len;
        size_t at = i % bytes.len, len = cut ? at : bytes.len;
        bytes.data[at] ^= 4;
        assert_int_equal(file_write_whole(rig->memory, FILE_, bytes.data, len), 0);
        bytes.data[at] ^= 4;
        struct deletions *opened = NULL;
        char reason[256] = "";
        int r = deletions_open(rig->fs, rig->clock, DIR, reason, &opened);
        if (r == 0) { /* never with less or other than what was asked */
            struct deletion_filter *filter = deletions_filter(opened);
            assert_int_equal(deletions_newest(opened), 2);
            assert_true(deletion_filter_meets(filter, 0, 10, 10) && deletion_filter_meets(filter, 1, 30, 30));
            assert_false(deletion_filter_meets(filter, 0, 9, 9) || deletion_filter_meets(filter, 0, 31, 31));
            deletion_filter_unref(filter);
            deletions_free(opened);
            continue;
        }
        refused++;
        assert_int_equal(r, -EBADMSG);
        assert_true(strncmp(reason, FILE_ " is damaged: ", strlen(FILE_ " is damaged: ")) == 0);
    }
    assert_true(refused > 2 * bytes.len - 40);
    assert_int_equal(file_write_whole(rig->memory, FILE_, bytes.data, bytes.len), 0);
    rig_reopen(rig);
}

/* What people write by hand has no checksum; the rest is checked. */
static void test_by_hand(void **state)
{
    struct rig *rig = *state;
    static const struct {
        const char *text, *reason; /* NULL: fine */
    } rows[] = {
        {"{\"version\":1,\"newest\":4,\"deletions\":[]}", NULL},
        {"{\"version\":1,\"newest\":1,\"deletions\":[{\"id\":1,\"match\":\"up\",\"who\":\"a\",\"why\":\"b\","
         "\"start_ms\":1,\"end_ms\":2,\"requested_ms\":0,\"done_ms\":0}]}",
         NULL},
        {"{\"version\":1,\"newest\":0,\"deletions\":[{\"id\":1,\"match\":\"up\",\"who\":\"a\",\"why\":\"b\","
         "\"start_ms\":1,\"end_ms\":2,\"requested_ms\":0,\"done_ms\":0}]}",
         "newer than the newest"},
        {"{\"version\":1,\"newest\":1,\"deletions\":[{\"id\":1,\"match\":\"up{\",\"who\":\"a\",\"why\":\"b\","
         "\"start_ms\":1,\"end_ms\":2,\"requested_ms\":0,\"done_ms\":0}]}",
         "match, at byte"},
        {"{\"version\":1,\"newest\":1,\"deletions\":[{\"id\":1,\"match\":\"up\"}]}", "not all fields"},
        {"{\"version\":1,\"newest\":1,\"deletions\":{}}", "no list"},
        {"{\"version\":2,\"newest\":1,\"deletions\":[]}", "another one"},
        {"{\"version\":1,\"deletions\":[]}", "newest"},
        {"[]", "version"},
        {"", "line"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(file_write_whole(rig->memory, FILE_, rows[i].text, strlen(rows[i].text)), 0);
        struct deletions *opened = NULL;
        char reason[256] = "";
        int r = deletions_open(rig->fs, rig->clock, DIR, reason, &opened);
        assert_int_equal(r, rows[i].reason ? -EBADMSG : 0);
        assert_true(!rows[i].reason || strstr(reason, rows[i].reason));
        deletions_free(opened);
    }
}

/* Accepted means on disk; refused by the disk means not active now, and never with the number of another one later. */
static void test_failing(void **state)
{
    struct rig *rig = *state;
    for (uint64_t nth = 1; nth <= 5; nth++) {
        uint64_t id = 0, newest = deletions_newest(rig->deletions);
        file_system_failing_at(rig->fs, nth, -ENOSPC, true);
        int r = request(rig, "up", (int64_t)nth, (int64_t)nth, &id);
        file_system_failing_at(rig->fs, 0, -ENOSPC, true);
        assert_true(r == -ENOSPC || nth == 5);
        assert_int_equal(deletions_newest(rig->deletions), r == 0 ? id : newest);
        CLEANUP(deletion_filter_unrefp) struct deletion_filter *filter = deletions_filter(rig->deletions);
        assert_true(deletion_filter_meets(filter, 0, (int64_t)nth, (int64_t)nth) == (r == 0));
        uint64_t next = accepted(rig, "down", 100, 100);
        assert_true(next > newest + (r < 0));
        rig_reopen(rig);
        assert_int_equal(deletions_newest(rig->deletions), next);
        CLEANUP(deletion_filter_unrefp) struct deletion_filter *again = deletions_filter(rig->deletions);
        assert_true(deletion_filter_meets(again, 0, (int64_t)nth, (int64_t)nth) == (r == 0));
        file_system_failing_at(rig->fs, nth, -EIO, false);
        r = deletions_done(rig->deletions, next);
        file_system_failing_at(rig->fs, 0, -EIO, true);
        assert_true((r == 0) == (nth == 5));
        struct deletion *items;
        size_t count;
        deletions_list(rig->deletions, &items, &count);
        assert_true((items[count - 1].done_ms > 0) == (r == 0));
        deletions_list_free(items, count);
        CLEANUP(deletion_filter_unrefp) struct deletion_filter *after = deletions_filter(rig->deletions);
        assert_true(deletion_filter_meets(after, newest + 1, 100, 100) == (r < 0));
        assert_int_equal(deletions_done(rig->deletions, next), r < 0 ? 0 : -ENOENT);
    }
}

/* ---- ranges ---- */

/* Against a look at each request and time. */
static void test_ranges_model(void **state)
{
    struct rig *rig = *state;
    struct random random;
    random_seed(&random, 3);
    struct time_range all[40];
    bool of_a[40];
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        all[i].start_ms = (int64_t)random_below(&random, 200) - 100;
        all[i].end_ms = all[i].start_ms + (int64_t)random_below(&random, 12);
        of_a[i] = random_below(&random, 2);
        accepted(rig, of_a[i] ? "up{host=\"a\"}" : "down", all[i].start_ms, all[i].end_ms);
    }
    CLEANUP(deletion_filter_unrefp) struct deletion_filter *filter = deletions_filter(rig->deletions);
    CLEANUP(labels_unrefp) struct labels *labels = labels_for("up", "a");
    struct time_range ranges[DELETIONS_MAX];
    size_t count = deletion_filter_ranges(filter, labels, ranges);
    struct entries entries = {0};
    for (int64_t time_ms = -220; time_ms < 230; time_ms++) {
        struct entry entry = {.sample = {time_ms, 1}};
        entries_add(&entries, &entry);
    }
    time_ranges_cut(ranges, count, &entries);
    size_t at = 0;
    for (int64_t time_ms = -220; time_ms < 230; time_ms++) {
        bool deleted = false;
        for (size_t i = 0; i < ARRAY_LEN(all); i++) {
            deleted |= of_a[i] && all[i].start_ms <= time_ms && time_ms <= all[i].end_ms;
        }
        assert_true(time_ranges_have(ranges, count, time_ms) == deleted);
        bool kept = at < entries.count && entries.items[at].sample.time_ms == time_ms;
        assert_true(kept == !deleted);
        at += kept;
    }
    for (size_t i = 1; i < count; i++) {
        assert_true(ranges[i].start_ms > ranges[i - 1].end_ms + 1);
    }
    entries_done(&entries);
}

/* ---- many threads ---- */

/* A number that is seen as the newest is in the filter that is taken after it. */
static void *look_on(void *arg)
{
    struct rig *rig = arg;
    for (int i = 0; i < 3000; i++) {
        uint64_t newest = deletions_newest(rig->deletions);
        struct deletion_filter *filter = deletions_filter(rig->deletions);
        ASSERT(newest < 5 || (filter && deletion_filter_newest(filter) >= newest));
        deletion_filter_unref(filter);
        struct deletion *items;
        size_t count;
        deletions_list(rig->deletions, &items, &count);
        deletions_list_free(items, count);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct rig *rig = *state;
    pthread_t threads[2];
    for (int i = 0; i < 4; i++) {
        accepted(rig, "up", 1, 2);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, look_on, rig), 0);
    }
    for (uint64_t i = 5; i < 60; i++) { /* the newest is never done */
        assert_int_equal(accepted(rig, "up{host=~\"a.*\"}", 1, 2), i);
        assert_int_equal(deletions_done(rig->deletions, i - 4), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], NULL);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_refused), TEST(test_life),    TEST(test_ceilings),     TEST(test_damaged),
        TEST(test_by_hand), TEST(test_failing), TEST(test_ranges_model), TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
