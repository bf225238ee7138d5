/* Pages of simulated hosts: the same at the same time, counters never fall, no two hosts alike, series replaced as
 * told. */
#include "base/fail.h"
#include "base/map.h"
#include "base/str.h"
#include "tools/pages/page_source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NOW        1700000100.0
#define CAPTURE    SOURCE_DIR "/tools/bench/captured.gz"
#define SERIES_MAX 8192

struct series {
    struct str name; /* with labels */
    bool counter;
    double value;
};

struct page {
    char text[PAGE_BYTES_MAX];
    size_t len;
    struct series series[SERIES_MAX];
    size_t count;
};

static struct page before, after;

static struct page_source *make(const char *name, const struct page_churn *churn)
{
    const struct page_options options = {.name = name, .hosts = 10, .capture = CAPTURE, .churn = *churn};
    char error[PAGE_ERROR_BYTES];
    struct page_source *source = NULL;
    if (page_source_new(&options, error, &source) < 0)
        fail_msg("%s: %s", name, error);
    assert_int_equal(page_source_hosts(source), 10);
    return source;
}

static void read_line(struct page *page, struct str line, bool counter)
{
    size_t at = line.len;
    while (at > 0 && line.ptr[at - 1] != ' ')
        at--;
    assert_true(at > 1 && page->count < SERIES_MAX);
    struct series *series = &page->series[page->count++];
    *series = (struct series){.name = str_of(line.ptr, at - 1), .counter = counter};
    assert_int_equal(str_to_double(str_of(line.ptr + at, line.len - at), &series->value), 0);
}

static void render(const struct page_source *source, uint32_t host, double now, struct page *page)
{
    page->len = page_source_render(source, host, now, page->text);
    page->count = 0;
    bool counter = false;
    assert_int_equal(page->text[page->len - 1], '\n');
    for (size_t at = 0; at < page->len;) {
        size_t end = str_find(str_of(page->text + at, page->len - at), '\n');
        struct str line = str_of(page->text + at, end);
        if (str_starts_with(line, STR("# TYPE ")))
            counter = str_ends_with(line, STR(" counter"));
        else if (!str_starts_with(line, STR("#")))
            read_line(page, line, counter);
        at += end + 1;
    }
}

/* Series of the later page that the earlier one has not; others are compared. */
static size_t compare(bool *ret_moved)
{
    CLEANUP(map_done) struct map known;
    size_t added = 0;
    map_init(&known);
    *ret_moved = false;
    for (size_t i = 0; i < before.count; i++) {
        assert_null(map_get(&known, str_hash(before.series[i].name), NULL, NULL)); /* none twice */
        map_put(&known, str_hash(before.series[i].name), &before.series[i]);
    }
    for (size_t i = 0; i < after.count; i++) {
        const struct series *old = map_get(&known, str_hash(after.series[i].name), NULL, NULL);
        added += !old;
        if (old && old->counter && after.series[i].value < old->value)
            fail_msg(STR_FMT " fell from %.17g to %.17g", STR_ARG(old->name), old->value, after.series[i].value);
        *ret_moved |= old && old->value != after.series[i].value;
    }
    return added;
}

static const struct page_churn none;

static void test_over_time(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t low, high; /* series */
    } fixtures[] = {{"full", 692, 692},       {"small", 98, 98},      {"service", 110, 110},
                    {"different", 300, 1500}, {"captured", 507, 507}, {"containers", 2900, 3100}};
    for (size_t i = 0; i < ARRAY_LEN(fixtures); i++) {
        CLEANUP(page_source_freep) struct page_source *source = make(fixtures[i].name, &none);
        for (uint32_t host = 0; host < 10; host += 3) {
            bool moved;
            render(source, host, NOW, &before);
            assert_in_range(before.count, fixtures[i].low, fixtures[i].high);
            render(source, host, NOW, &after);
            assert_memory_equal(before.text, after.text, before.len);
            for (double later = 2; later < 4000; later *= 1.7) { /* past the end of the capture too */
                render(source, host, NOW + later, &after);
                assert_int_equal(compare(&moved), 0);
                if (!moved)
                    fail_msg("%s, host %u, %g s later", fixtures[i].name, host, later);
                render(source, host, NOW + later, &before);
            }
        }
    }
}

static void test_hosts_differ(void **state)
{
    (void)state;
    static const char *const names[] = {"full", "small", "captured"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        CLEANUP(page_source_freep) struct page_source *source = make(names[i], &none);
        render(source, 3, NOW, &before);
        render(source, 4, NOW, &after);
        size_t differing = 0;
        assert_int_equal(before.count, after.count);
        for (size_t j = 0; j < before.count; j++) {
            assert_true(str_equal(before.series[j].name, after.series[j].name)); /* one layout */
            differing += before.series[j].value != after.series[j].value;
        }
        assert_true(differing > before.count / 4);
    }
}

static void test_churn(void **state)
{
    (void)state;
    const struct page_churn churn = {.series = 7, .interval_s = 15};
    CLEANUP(page_source_freep) struct page_source *source = make("full", &churn);
    bool moved;
    render(source, 1, NOW, &before);
    render(source, 1, NOW + 1, &after);
    assert_int_equal(compare(&moved), 0);
    render(source, 1, NOW + 15, &after);
    assert_int_equal(compare(&moved), 7);
    assert_int_equal(before.count, after.count);
}

/* A 25th of the pods each minute, at once with all their series. */
static void test_pods(void **state)
{
    (void)state;
    const struct page_churn churn = {.interval_s = 15, .pods = true};
    CLEANUP(page_source_freep) struct page_source *source = make("containers", &churn);
    bool moved;
    for (int minute = 0; minute < 30; minute++) {
        render(source, 2, 1700000100.0 + minute * 60, &before);
        render(source, 2, 1700000160.0 + minute * 60, &after);
        size_t added = compare(&moved);
        assert_true(added % (before.count / 25) == 0);
        assert_true(added <= 2 * before.count / 25);
        assert_int_equal(before.count, after.count);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    char error[PAGE_ERROR_BYTES];
    struct page_source *source = NULL;
    assert_true(page_source_new(&(struct page_options){.name = "none"}, error, &source) < 0);
    assert_true(page_source_new(&(struct page_options){.name = "captured"}, error, &source) < 0);
    const struct page_options missing = {.name = "captured", .capture = "/nowhere/captured.gz"};
    assert_true(page_source_new(&missing, error, &source) < 0);
    const struct page_options other = {.name = "captured", .capture = SOURCE_DIR "/README.md"};
    assert_true(page_source_new(&other, error, &source) < 0);
    assert_non_null(strstr(error, "not a capture"));
    assert_null(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_over_time), cmocka_unit_test(test_hosts_differ), cmocka_unit_test(test_churn),
        cmocka_unit_test(test_pods),      cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
