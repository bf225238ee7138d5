/* Every scrape as it is: what each item says. */
#include "base/fail.h"
#include "secondary/raw_window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define T0 INT64_C(1700000040000)

static const struct pipeline_job job = {.honor_timestamps = true,
                                        .sample_limit = 1000,
                                        .label_limit = 30,
                                        .label_name_bytes_max = 100,
                                        .label_value_bytes_max = 1000};

struct rig {
    struct page_cache *cache;
    struct window_rules *rules;
    struct labels *target;
    struct raw_window *raw;
    struct page_values values;
    struct window_scratch scratch;
};

static int set_up(void **state)
{
    struct rig *rig = mem_zalloc(sizeof(*rig));
    struct window_rules_error error;
    rig->cache = page_cache_new(MIB);
    assert_int_equal(window_rules_new(NULL, 0, 60000, &error, &rig->rules), 0);
    rig->target = labels_new(NULL, 0);
    rig->raw = raw_window_new(rig->cache);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    raw_window_free(rig->raw);
    window_scratch_done(&rig->scratch);
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
    assert_int_equal(page_parse(rig->cache, &source, str_from(body), &rig->values, &page, &report), SCRAPE_OK);
    raw_window_add(rig->raw, page, &rig->values, time_ms);
    page_unref(rig->cache, page);
}

/* "name=value@time" of all records that say something, times counted from T0. */
static void expect(struct rig *rig, uint32_t nth, const char *wanted)
{
    struct batch_item item;
    CLEANUP(buf_done) struct buf text = BUF_INIT(MIB);
    raw_window_item(rig->raw, nth, &rig->scratch, &item);
    if (item.count == 0)
        buf_printf(&text, "end@%lld ", (long long)(item.stale_ms - T0));
    uint32_t at = 0;
    for (uint32_t f = 0; f < item.page->count; f++) {
        for (uint32_t i = 0; i < item.page->families[f]->count && item.count > 0; i++, at++) {
            const struct record *record = &item.records[at];
            bool stale = value_is_stale(record->last);
            if (record->count == 0 && !stale)
                continue;
            assert_int_equal(record->count, !stale);
            buf_printf(&text, STR_FMT "=", STR_ARG(item.page->families[f]->name));
            buf_printf(&text, stale ? "stale" : "%g", record->last);
            buf_printf(&text, "@%lld ", (long long)(record->time_ms - T0));
        }
    }
    buf_append_byte(&text, 0);
    assert_string_equal((const char *)text.data, wanted);
}

static void scrapes_are_kept_one_by_one(void **state)
{
    struct rig *rig = *state;
    add(rig, T0, "x 1\ny_total 2\n");
    add(rig, T0 + 1000, "x 1\ny_total 1\n");
    assert_int_equal(raw_window_count(rig->raw), 2);
    expect(rig, 0, "x=1@0 y_total=2@0 ");
    expect(rig, 1, "x=1@1000 y_total=1@1000 ");
    raw_window_clear(rig->raw);
    assert_int_equal(raw_window_count(rig->raw), 0);
    /* What went is known over the border of two windows. */
    add(rig, T0 + 60000, "x 3\n");
    expect(rig, 0, "x=3@60000 y_total=stale@60000 ");
}

static void series_end_and_come_back(void **state)
{
    struct rig *rig = *state;
    raw_window_stale(rig->raw, T0); /* there is nothing yet */
    add(rig, T0 + 1000, "x 1\n");
    raw_window_stale(rig->raw, T0 + 2000);
    raw_window_stale(rig->raw, T0 + 3000); /* once is enough */
    add(rig, T0 + 4000, "y 1\n");          /* x has ended already */
    assert_int_equal(raw_window_count(rig->raw), 3);
    expect(rig, 0, "x=1@1000 ");
    expect(rig, 1, "end@2000 ");
    expect(rig, 2, "y=1@4000 ");
}

static void times_of_their_own_are_told_once(void **state)
{
    struct rig *rig = *state;
    char body[200];
    snprintf(body, sizeof(body), "x 1 %lld\ny 2\n", (long long)T0 - 500);
    add(rig, T0, body);
    add(rig, T0 + 1000, body); /* the exporter has nothing newer */
    snprintf(body, sizeof(body), "x 3 %lld\ny 2 %lld\n", (long long)T0 + 1500, (long long)T0 + 99999999);
    add(rig, T0 + 2000, body);
    add(rig, T0 + 3000, "y 5\n"); /* no marker for a series with times of its own */
    expect(rig, 0, "x=1@-500 y=2@0 ");
    expect(rig, 1, "y=2@1000 ");
    expect(rig, 2, "x=3@1500 ");
    expect(rig, 3, "y=5@3000 ");
    assert_int_equal(raw_window_dropped(rig->raw), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(scrapes_are_kept_one_by_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(series_end_and_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(times_of_their_own_are_told_once, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
