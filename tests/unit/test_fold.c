/* What a target's members come to in a window: on a page that changes, with values that are not finite, with ceilings.
 */
#include "base/fail.h"
#include "base/random.h"
#include "secondary/fold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define T0 INT64_C(1700000040000)

static const struct pipeline_job job = {.honor_timestamps = true,
                                        .sample_limit = 200000,
                                        .label_limit = 30,
                                        .label_name_bytes_max = 100,
                                        .label_value_bytes_max = 1000};
static const char *const by_ns[] = {"ns"};
static const struct window_rule by_namespace = {.keep = KEEP_AGGREGATE, .by = by_ns, .by_count = 1};

struct rig {
    struct page_cache *cache;
    struct window_rules *rules;
    struct labels *target;
    struct fold *fold;
    struct page_values values;
    struct aggregate *closed; /* the window closed last */
};

static int set_up(void **state)
{
    struct rig *rig = mem_zalloc(sizeof(*rig));
    struct window_rules_error error;
    rig->cache = page_cache_new(MIB);
    assert_int_equal(window_rules_new(NULL, 0, 60000, &error, &rig->rules), 0);
    rig->target = labels_new(NULL, 0);
    rig->fold = fold_new(rig->cache);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    fold_free(rig->fold);
    aggregate_free(rig->closed);
    page_values_done(&rig->values);
    assert_int_equal(page_cache_pages(rig->cache), 0);
    page_cache_free(rig->cache);
    window_rules_unref(rig->rules);
    labels_unref(rig->target);
    mem_free(rig);
    return 0;
}

static void add(struct rig *rig, int64_t time_ms, const char *body)
{
    const struct page_source source = {&job, rig->rules, rig->target};
    struct scrape_report report = {0};
    struct page *page = NULL;
    if (page_parse(rig->cache, &source, str_from(body), &rig->values, &page, &report) != SCRAPE_OK)
        fail_msg("%s", report.reason);
    fold_add(rig->fold, page, &rig->values, T0 + time_ms);
    page_unref(rig->cache, page);
}

static void close_window(struct rig *rig)
{
    aggregate_free(rig->closed);
    rig->closed = aggregate_new();
    fold_close(rig->fold, &by_namespace, rig->target, rig->closed);
}

/* The group of this metric whose ns is `ns`, or NULL. */
static const struct aggregate_cell *find(const struct rig *rig, const char *name, const char *ns)
{
    size_t at = 0;
    for (const struct aggregate_cell *cell; (cell = map_next(&rig->closed->cells, &at));)
        if (str_equal(labels_get(cell->labels, STR(LABEL_NAME)), str_from(name)) &&
            str_equal(labels_get(cell->labels, STR("ns")), str_from(ns)))
            return cell;
    return NULL;
}

static void expect(const struct rig *rig, const char *name, double sum, uint64_t members)
{
    const struct aggregate_cell *cell = find(rig, name, "");
    if (!cell)
        fail_msg("no %s", name);
    if (cell->sum != sum || cell->members != members)
        fail_msg("%s is %.17g of %llu", name, cell->sum, (unsigned long long)cell->members);
}

/* ---- Members that come and go ---- */

static void nothing_is_lost_while_a_counter_is_away(void **state)
{
    struct rig *rig = *state;
    double total = 0;
    int first = -1, last = 0;
    char body[100];
    for (int s = 0; s < 8 * 28; s++) { /* 1 s scrapes, 8 s windows: away over borders, and at both ends of windows */
        bool away = s % 7 >= 4;
        int value = s * s % 1000 + 1000 * s;
        snprintf(body, sizeof(body), away ? "there 1\n" : "there 1\nx_total{pod=\"p\"} %d\n", value);
        add(rig, s * 1000, body);
        if (!away) {
            first = first < 0 ? value : first;
            last = value;
        }
        if (s % 8 != 7)
            continue;
        close_window(rig);
        const struct aggregate_cell *cell = find(rig, "x_total", "");
        total += cell ? cell->sum : 0;
        assert_true(total == last - first);
        assert_true(fold_bytes(rig->fold) < 2000);
    }
}

static void a_counter_is_remembered_for_some_windows(void **state)
{
    struct rig *rig = *state;
    int64_t at = 0;
    for (int whole = 0; whole <= FOLD_AWAY_WINDOWS + 1; whole++) {
        add(rig, at += 1000, "x_total 10\n");
        close_window(rig);
        for (int i = 0; i < whole; i++) {
            add(rig, at += 1000, "");
            close_window(rig);
            assert_null(find(rig, "x_total", ""));
            close_window(rig); /* without a scrape: not a window that it was missing in */
        }
        assert_true(fold_is_open(rig->fold) == (whole > 0 && whole <= FOLD_AWAY_WINDOWS));
        add(rig, at += 1000, "x_total 17\n");
        close_window(rig);
        expect(rig, "x_total", whole <= FOLD_AWAY_WINDOWS ? 7 : 0, 1);
    }
}

/* In whichever family of the page a series stands, it is the same; of another kind it is not. */
static void a_member_is_known_by_its_labels_and_kind(void **state)
{
    struct rig *rig = *state;
    add(rig, 0, "# TYPE h histogram\nh_bucket{le=\"1\"} 5\nh_count 5\n# TYPE g gauge\ng 5\n");
    add(rig, 1000, "h_bucket{le=\"1\"} 7\nh_count 8\n# TYPE g counter\ng 9\n");
    add(rig, 2000, "# TYPE h histogram\nh_bucket{le=\"1\"} 17\nh_count 18\n# TYPE g counter\ng 10\n");
    close_window(rig);
    expect(rig, "h_bucket", 12, 1);
    expect(rig, "h_count", 13, 1);
    assert_int_equal(rig->closed->refused, 1); /* a gauge and a counter of one name */
}

struct model { /* of one member */
    bool counter, known, seen;
    double last, increase, low, high;
    int64_t first_ms, last_ms;
    uint32_t count;
};

enum { MEMBERS = 24, SPACES = 3 };

static double next_value(struct random *random, const struct model *member)
{
    uint64_t dice = random_below(random, 40);
    if (dice == 0)
        return NAN;
    if (dice < 3)
        return dice == 1 ? INFINITY : -INFINITY;
    if (!member->counter || dice == 3)
        return (double)random_below(random, 1000);
    return (member->known ? member->last : 0) + (double)random_below(random, 1000);
}

static void model_add(struct model *member, double value, int64_t time_ms)
{
    if (member->counter && !isfinite(value)) {
        member->count++;
        return;
    }
    if (member->counter && member->known)
        member->increase += value < member->last ? value : value - member->last;
    member->low = !member->seen || value < member->low || isnan(member->low) ? value : member->low;
    member->high = !member->seen || value > member->high || isnan(member->high) ? value : member->high;
    member->last = value;
    member->last_ms = time_ms;
    member->known = member->seen = true;
    member->count++;
}

static bool is_same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static void expect_group(const struct rig *rig, const struct model *models, int first)
{
    struct aggregate_cell wanted = {.first_ms = INT64_MAX, .last_ms = 0, .min = NAN, .max = NAN};
    bool counter = models[first].counter;
    for (int i = first; i < MEMBERS; i += 2 * SPACES) {
        const struct model *member = &models[i];
        if (!member->seen)
            continue;
        wanted.members++;
        wanted.sum += counter ? member->increase : member->last;
        wanted.min = isnan(wanted.min) || member->low < wanted.min ? member->low : wanted.min;
        wanted.max = isnan(wanted.max) || member->high > wanted.max ? member->high : wanted.max;
        wanted.count = MAX(wanted.count, member->count);
        wanted.first_ms = MIN(wanted.first_ms, member->first_ms);
        wanted.last_ms = MAX(wanted.last_ms, member->last_ms);
    }
    char ns[12];
    snprintf(ns, sizeof(ns), "%d", first / 2);
    const struct aggregate_cell *cell = find(rig, counter ? "m_total" : "m", ns);
    assert_true(!cell == (wanted.members == 0));
    if (!cell)
        return;
    assert_int_equal(cell->members, wanted.members);
    assert_true(is_same(cell->sum, wanted.sum));
    assert_true(counter || (is_same(cell->min, wanted.min) && is_same(cell->max, wanted.max)));
    assert_int_equal(cell->count, wanted.count);
    assert_int_equal(cell->first_ms, wanted.first_ms);
    assert_int_equal(cell->last_ms, wanted.last_ms);
}

/* Members with whims of their own against what each alone comes to: increases, counts, times. */
static void each_member_counts_by_itself(void **state)
{
    struct rig *rig = *state;
    struct model models[MEMBERS];
    struct random random;
    random_seed(&random, 5);
    for (int i = 0; i < MEMBERS; i++)
        models[i] = (struct model){.counter = i % 2 == 1};
    int64_t now_ms = 0;
    bool hidden[MEMBERS] = {false};
    for (int window = 0; window < 400; window++) {
        int scrapes = 1 + (int)random_below(&random, 9);
        for (int s = 0; s < scrapes; s++) {
            now_ms += 1000;
            char body[MEMBERS * 60];
            size_t len = 0;
            body[0] = 0;
            for (int i = 0; i < MEMBERS; i++) {
                struct model *member = &models[i];
                /* Never for longer than they are remembered: in every fourth window all are there. */
                hidden[i] ^= random_below(&random, 8) == 0;
                if (hidden[i] && !(window % 4 == 0 && s == 0)) {
                    member->count = member->seen ? member->count : 0; /* no number yet, and gone */
                    continue;
                }
                double value = next_value(&random, member);
                /* A scrape without a number is one of the member's too. */
                if (member->count == 0)
                    member->first_ms = T0 + now_ms;
                model_add(member, value, T0 + now_ms);
                member->last_ms = T0 + now_ms;
                len += (size_t)snprintf(body + len, sizeof(body) - len, "m%s{ns=\"%d\",i=\"%d\"} %g\n",
                                        member->counter ? "_total" : "", i % (2 * SPACES) / 2, i, value);
            }
            add(rig, now_ms, body);
        }
        close_window(rig);
        for (int first = 0; first < 2 * SPACES; first++)
            expect_group(rig, models, first);
        for (int i = 0; i < MEMBERS; i++) {
            models[i].seen = false;
            models[i].increase = 0;
            models[i].count = 0;
        }
    }
}

/* A member's scrapes are its own: the times of a group are those at which members were there. */
static void counts_and_times_are_those_of_members(void **state)
{
    struct rig *rig = *state;
    for (int s = 0; s < 10; s++) {
        char body[200];
        snprintf(body, sizeof(body), "there{ns=\"a\"} 1\n%s%s", s >= 3 && s < 6 ? "short{ns=\"b\"} 1\n" : "",
                 s == 2 || s == 7 ? "twice{ns=\"c\"} 1\n" : "");
        add(rig, s * 1000, body);
    }
    close_window(rig);
    static const struct {
        const char *name, *ns;
        uint32_t count;
        int64_t first_ms, last_ms;
    } groups[] = {{"there", "a", 10, 0, 9000}, {"short", "b", 3, 3000, 5000}, {"twice", "c", 2, 2000, 7000}};
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        const struct aggregate_cell *cell = find(rig, groups[i].name, groups[i].ns);
        assert_non_null(cell);
        assert_int_equal(cell->count, groups[i].count);
        assert_int_equal(cell->first_ms - T0, groups[i].first_ms);
        assert_int_equal(cell->last_ms - T0, groups[i].last_ms);
    }
}

/* ---- Values that are not finite ---- */

static void only_finite_values_of_counters_count(void **state)
{
    struct rig *rig = *state;
    static const char *const values[] = {"10", "+Inf", "12", "-Inf", "NaN", "15"};
    char body[100];
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        snprintf(body, sizeof(body), "x_total{i=\"1\"} %s\nx_total{i=\"2\"} %zu\n", values[i], i);
        add(rig, (int64_t)i * 1000, body);
    }
    close_window(rig);
    expect(rig, "x_total", 5 + 5, 2);
    add(rig, 10000, "x_total{i=\"1\"} +Inf\nx_total{i=\"2\"} 7\n");
    close_window(rig);
    expect(rig, "x_total", 2, 1); /* nothing finite, no value */
    /* Increases that no double holds. */
    add(rig, 11000, "x_total{i=\"1\"} -1.7e308\nx_total{i=\"2\"} 8\n");
    close_window(rig);
    add(rig, 12000, "x_total{i=\"1\"} 1.7e308\nx_total{i=\"2\"} 9\n");
    close_window(rig);
    expect(rig, "x_total", 1, 2);
}

/* ---- Ceilings ---- */

static void a_changing_label_costs_what_changed(void **state)
{
    enum { GAUGES = 2000, SCRAPES = 600 };
    struct rig *rig = *state;
    CLEANUP(buf_done) struct buf body = BUF_INIT(MIB);
    size_t first_bytes = 0;
    for (int s = 0; s < SCRAPES; s++) {
        body.len = 0;
        for (int i = 0; i < GAUGES; i++)
            buf_printf(&body, "g{i=\"%d\"} %d\n", i, i + s);
        buf_printf(&body, "g{i=\"x%d\"} 1\n", s);
        buf_append_byte(&body, 0);
        add(rig, s * 200, (const char *)body.data);
        if (s == 1)
            first_bytes = fold_bytes(rig->fold);
        assert_int_equal(page_cache_pages(rig->cache), 1);
    }
    assert_true(fold_bytes(rig->fold) < first_bytes + (size_t)SCRAPES * 400);
    close_window(rig);
    const struct aggregate_cell *cell = find(rig, "g", "");
    assert_int_equal(cell->members, GAUGES + SCRAPES);
    assert_int_equal(cell->count, SCRAPES);
    assert_true(fold_bytes(rig->fold) < first_bytes); /* of gauges nothing is remembered */
}

/* `count` counters, of four metrics as a family has a ceiling, whose label of 300 bytes begins with `first`. */
static void add_long(struct rig *rig, int64_t time_ms, char first, int count)
{
    CLEANUP(buf_done) struct buf body = BUF_INIT(64 * MIB);
    for (int i = 0; i < count; i++)
        buf_printf(&body, "x%d_total{i=\"%c%0300d\"} %d\n", i % 4, first, i, i);
    buf_append_byte(&body, 0);
    add(rig, time_ms, (const char *)body.data);
}

static void members_away_have_a_ceiling(void **state)
{
    enum { MANY = 45000 };
    struct rig *rig = *state;
    add_long(rig, 0, 'a', MANY);
    close_window(rig);
    add_long(rig, 1000, 'b', MANY); /* those of the window before are remembered, as far as there is room */
    size_t bytes = fold_bytes(rig->fold);
    assert_true(bytes > FOLD_AWAY_BYTES_MAX && bytes < FOLD_AWAY_BYTES_MAX + 4 * MIB);
    add_long(rig, 2000, 'c', 1); /* and go first */
    close_window(rig);
    uint64_t members = rig->closed->folded;
    assert_true(members > 30000 && members < MANY);
    assert_int_equal(members + rig->closed->refused, MANY + 1);
    assert_true(fold_bytes(rig->fold) < FOLD_AWAY_BYTES_MAX + 2 * MIB);
    for (int i = 0; i <= FOLD_AWAY_WINDOWS; i++) {
        add_long(rig, 3000 + i, 'c', 1);
        close_window(rig);
        assert_int_equal(rig->closed->refused, 0);
    }
    assert_true(fold_bytes(rig->fold) < 1000);
}

/* Small ones that only are remembered find room where the next one seen does not: room is made once a window. */
static void room_is_made_once_a_window(void **state)
{
    enum { PAIRS = 20000 };
    struct rig *rig = *state;
    CLEANUP(buf_done) struct buf body = BUF_INIT(64 * MIB);
    for (int s = 0; s < 2; s++) {
        body.len = 0;
        for (int i = 0; i < PAIRS; i++)
            buf_printf(&body, "a%d_total %s\nb%d_total{i=\"%0900d\"} %d\n", i, s == 0 ? "1" : "NaN", i, i, i);
        buf_append_byte(&body, 0);
        add(rig, s * 1000, (const char *)body.data);
        if (s == 0)
            close_window(rig);
    }
    add(rig, 2000, "");
    assert_true(fold_bytes(rig->fold) < FOLD_AWAY_BYTES_MAX + 2 * MIB);
    close_window(rig);
    assert_int_equal(rig->closed->folded + rig->closed->refused, PAIRS);
    assert_true(rig->closed->folded > 10000 && rig->closed->refused > 1000);
    /* In the next window there is room again. */
    for (int i = 0; i <= FOLD_AWAY_WINDOWS; i++) {
        add(rig, 3000 + i, "x_total 5\n");
        close_window(rig);
    }
    add(rig, 4000, "");
    add(rig, 5000, "x_total 7\n");
    close_window(rig);
    expect(rig, "x_total", 2, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_lost_while_a_counter_is_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_counter_is_remembered_for_some_windows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_member_is_known_by_its_labels_and_kind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_member_counts_by_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(counts_and_times_are_those_of_members, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_finite_values_of_counters_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changing_label_costs_what_changed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(members_away_have_a_ceiling, set_up, tear_down),
        cmocka_unit_test_setup_teardown(room_is_made_once_a_window, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
