/* Pages: the same text is known again and shared, the slow road makes of a body what Prometheus would make of it. */
#include "base/fail.h"
#include "base/random.h"
#include "secondary/page_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct rig {
    struct page_cache *cache;
    struct pipeline_job job;
    struct labels *target;
    struct window_rules *rules;
    struct page_values values;
    struct scrape_report report;
};

static struct labels *labels_of(const char *const *pairs)
{
    struct label labels[8];
    size_t count = 0;
    for (; pairs[2 * count]; count++)
        labels[count] = (struct label){str_from(pairs[2 * count]), str_from(pairs[2 * count + 1])};
    return labels_new(labels, count);
}
#define LABELS(...) labels_of((const char *const[]){__VA_ARGS__, NULL, NULL})

static void rig_init(struct rig *rig)
{
    *rig = (struct rig){.cache = page_cache_new(1 * MIB),
                        .job = {.honor_timestamps = true,
                                .sample_limit = 1000,
                                .label_limit = 20,
                                .label_name_bytes_max = 100,
                                .label_value_bytes_max = 100},
                        .target = LABELS("instance", "a:1", "job", "j")};
    struct window_rules_error error;
    assert_int_equal(window_rules_new(NULL, 0, 60000, &error, &rig->rules), 0);
}

static void rig_done(struct rig *rig)
{
    assert_int_equal(page_cache_pages(rig->cache), 0);
    assert_int_equal(page_cache_text_bytes(rig->cache), 0);
    page_values_done(&rig->values);
    page_cache_free(rig->cache);
    labels_unref(rig->target);
    window_rules_unref(rig->rules);
}

static struct page_source source_of(const struct rig *rig)
{
    return (struct page_source){&rig->job, rig->rules, rig->target};
}

static void set_target(struct rig *rig, struct labels *target)
{
    labels_unref(rig->target);
    rig->target = target;
}

static struct page *parse_as(struct rig *rig, const struct labels *target, const char *body)
{
    struct page *page = NULL;
    const struct page_source source = {&rig->job, rig->rules, target};
    enum scrape_failure failure = page_parse(rig->cache, &source, str_from(body), &rig->values, &page, &rig->report);
    if (failure != SCRAPE_OK)
        fail_msg("%s: %s", scrape_failure_name(failure), rig->report.reason);
    assert_non_null(page);
    return page;
}

static struct page *parse(struct rig *rig, const char *body)
{
    return parse_as(rig, rig->target, body);
}

static void assert_fails(struct rig *rig, const char *body, enum scrape_failure wanted, const char *reason)
{
    struct page *page = NULL;
    const struct page_source source = source_of(rig);
    assert_int_equal(page_parse(rig->cache, &source, str_from(body), &rig->values, &page, &rig->report), wanted);
    assert_null(page);
    assert_int_equal(rig->report.failure, wanted);
    assert_string_equal(rig->report.reason, reason);
}

/* The series of the page on the target with their values, one a line, in order of slots. */
static void assert_series(const struct rig *rig, const struct page *page, const char *expected)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 * MIB);
    uint32_t slot = 0;
    for (uint32_t f = 0; f < page->family_count; f++) {
        assert_ptr_equal(page->families[f], page->layout->families[f]);
        for (uint32_t i = 0; i < page->families[f]->count; i++, slot++) {
            CLEANUP(labels_unrefp)
            struct labels *labels = layout_series(page->families[f], i, rig->target, STR_NULL);
            assert_int_equal(page->kinds[slot], page->families[f]->slots[i].kind);
            labels_print(labels, &text);
            buf_printf(&text, " %g\n", rig->values.values[slot]);
        }
    }
    assert_int_equal(slot, page->slot_count);
    buf_append_byte(&text, 0);
    assert_string_equal((const char *)text.data, expected);
}

static void check(struct rig *rig, const char *body, const char *expected)
{
    struct page *page = parse(rig, body);
    assert_series(rig, page, expected);
    /* The fast road says the same. */
    CLEANUP_FREE char *copy = mem_strndup(body, strlen(body));
    memset(rig->values.values, 0xff, page->slot_count * sizeof(double));
    assert_true(page_read(page, str_from(copy), rig->job.honor_timestamps, &rig->values));
    assert_series(rig, page, expected);
    page_unref(rig->cache, page);
}

static bool reads(struct rig *rig, const struct page *page, const char *body)
{
    /* Of the exact size, so that a sanitizer sees a read behind its end. */
    size_t len = strlen(body);
    CLEANUP_FREE char *copy = mem_alloc(len ? len : 1);
    memcpy(copy, body, len);
    return page_read(page, str_of(copy, len), true, &rig->values);
}

/* ---- Known again ---- */

static void only_the_very_lines_are_known(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct page *page = parse(&rig, "# HELP up Is it?\nup 1\nhits{code=\"200\"} 5\nload 0.5\n");
    assert_true(reads(&rig, page, "up 0\nhits{code=\"200\"} 6\nload 1.5\n"));
    assert_true(rig.values.values[1] == 6);
    assert_true(reads(&rig, page, "# a comment\nup\t0\n\n# more\nhits{code=\"200\"}   6  \nload 1.5"));
    assert_false(rig.values.any_time);
    assert_true(reads(&rig, page, "up 0 77\nhits{code=\"200\"} 6\nload 1.5\n"));
    assert_true(rig.values.any_time && rig.values.times[0] == 77 && rig.values.times[1] == INT64_MIN);
    static const char *const others[] = {
        "up2 1\nhits{code=\"200\"} 5\nload 0.5\n",         /* a name that begins with a known one */
        "up{a=\"b\"} 1\nhits{code=\"200\"} 5\nload 0.5\n", /* so does this */
        "up 1\nhits{code=\"201\"} 5\nload 0.5\n",
        "up 1\nhits{code=\"200\"} 5\n",                      /* a line less */
        "up 1\nhits{code=\"200\"} 5\nload 0.5\nload2 0.5\n", /* a line more */
        "up 1\nload 0.5\nhits{code=\"200\"} 5\n",            /* another order */
        "up 1\nhits{code=\"200\"} x\nload 0.5\n",            /* no number */
        "up 1\nhits{code=\"200\"}",                          /* torn */
        "up 1\nhits{code=\"200\"} \nload 0.5\n",
        "up\nhits{code=\"200\"} 5\nload 0.5\n",
        "up 1 2 3\nhits{code=\"200\"} 5\nload 0.5\n",
        " up 1\nhits{code=\"200\"} 5\nload 0.5\n",
        "u",
        "",
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (reads(&rig, page, others[i]))
            fail_msg("known: %s", others[i]);
    page_unref(rig.cache, page);
    rig_done(&rig);
}

static void pages_are_shared_where_they_are_the_same(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    CLEANUP(labels_unrefp) struct labels *other = LABELS("instance", "b:1", "job", "j");
    CLEANUP(labels_unrefp) struct labels *more = LABELS("instance", "c:1", "job", "j", "rack", "r1");
    static const char body[] = "# TYPE a gauge\na{x=\"1\"} 1\nb 2\n";
    struct page *first = parse(&rig, body), *again = parse_as(&rig, other, body);
    assert_ptr_equal(first, again);
    assert_int_equal(page_cache_pages(rig.cache), 1);
    /* Other names of labels may mean other conflicts. */
    struct page *wider = parse_as(&rig, more, body);
    assert_ptr_not_equal(first, wider);
    /* Equal families are held once even so. */
    assert_ptr_equal(first->families[0], wider->families[0]);
    /* The same lines under another type are another page. */
    struct page *typed = parse(&rig, "# TYPE a counter\na{x=\"1\"} 1\nb 2\n");
    assert_ptr_not_equal(first, typed);
    assert_int_equal(first->kinds[0], KIND_GAUGE);
    assert_int_equal(typed->kinds[0], KIND_COUNTER);
    /* So they are under another job. */
    struct pipeline_job job = rig.job;
    struct page *foreign = NULL;
    const struct page_source elsewhere = {&job, rig.rules, rig.target};
    assert_int_equal(page_parse(rig.cache, &elsewhere, str_from(body), &rig.values, &foreign, &rig.report), SCRAPE_OK);
    assert_ptr_not_equal(first, foreign);
    page_unref(rig.cache, first);
    page_unref(rig.cache, again);
    page_unref(rig.cache, wider);
    page_unref(rig.cache, typed);
    page_unref(rig.cache, foreign);
    rig_done(&rig);
}

static void pages_that_nobody_shows_go(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    for (int i = 0; i < 2000; i++) {
        char body[64];
        snprintf(body, sizeof(body), "a_%d{x=\"%d\"} 1\n", i, i);
        struct page *page = parse(&rig, body);
        assert_int_equal(page_cache_pages(rig.cache), 1);
        assert_true(page_cache_text_bytes(rig.cache) < 64);
        page_unref(rig.cache, page);
    }
    struct page *empty = parse(&rig, "");
    assert_int_equal(empty->slot_count, 0);
    assert_true(reads(&rig, empty, "# nothing\n"));
    assert_false(reads(&rig, empty, "a 1\n"));
    page_unref(rig.cache, empty);
    empty = parse(&rig, "");
    page_unref(rig.cache, empty);
    rig_done(&rig);
}

/* Layouts of pages that are gone are let go by how large these were, not only by how many. */
static void layouts_of_large_pages_go_soon(void **state)
{
    (void)state;
    enum { SERIES = 50000, PAGES = 60 };
    struct rig rig;
    rig_init(&rig);
    const struct page_source source = {.rules = rig.rules, .target = rig.target};
    CLEANUP_FREE struct page_series *series = mem_array(SERIES, sizeof(*series));
    CLEANUP_FREE struct label *labels = mem_array(SERIES, sizeof(*labels));
    CLEANUP_FREE char *texts = mem_array(SERIES, 16);
    CLEANUP_FREE uint32_t *slots = mem_array(SERIES, sizeof(*slots));
    for (int i = 0; i < PAGES; i++) {
        for (int j = 0; j < SERIES; j++) {
            snprintf(&texts[j * 16], 16, "%d", i * SERIES + j);
            labels[j] = (struct label){STR("id"), str_from(&texts[j * 16])};
            series[j] = (struct page_series){STR("x"), STR("x"), METRIC_GAUGE, &labels[j], 1};
        }
        struct page *page = page_of_series(rig.cache, &source, series, SERIES, slots);
        assert_non_null(page);
        page_unref(rig.cache, page);
        assert_true(page_cache_layouts(rig.cache) <= 20);
    }
    rig_done(&rig);
}

static void a_newline_in_a_value_is_no_line(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    /* Both say a{x="1\nb"} in their texts; the second has two lines. */
    struct page *one = parse(&rig, "a{x=\"1\nb\"} 1\nc 2\n");
    assert_int_equal(one->slot_count, 2);
    assert_true(reads(&rig, one, "a{x=\"1\nb\"} 5\nc 6\n"));
    page_unref(rig.cache, one);
    rig_done(&rig);
}

/* ---- What a body means ---- */

static void samples_become_series(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    check(&rig, "a 1\nb{x=\"1\",y=\"\"} 2\nb{x=\"q\\\"\\\\\\n\"} 3",
          "a{instance=\"a:1\",job=\"j\"} 1\n"
          "b{instance=\"a:1\",job=\"j\",x=\"1\"} 2\nb{instance=\"a:1\",job=\"j\",x=\"q\\\"\\\\\\n\"} 3\n");
    /* Slots stand family by family, wherever the lines stood. */
    check(&rig, "a{n=\"1\"} 1\nb 2\na{n=\"2\"} 3\n",
          "a{instance=\"a:1\",job=\"j\",n=\"1\"} 1\na{instance=\"a:1\",job=\"j\",n=\"2\"} "
          "3\nb{instance=\"a:1\",job=\"j\"} 2\n");
    check(&rig, "", "");
    rig_done(&rig);
}

static void histograms_are_one_family(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    static const char body[] =
        "# HELP h Time.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n"
        "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 4\ns_count 5\ns_bucket 6\n"
        "# TYPE g gauge\ng 1\ng_count 2\nlone_bucket{le=\"1\"} 7\n";
    struct page *page = parse(&rig, body);
    assert_int_equal(page->family_count, 6);
    assert_true(str_equal(page->families[0]->name, STR("h")) && page->families[0]->count == 4);
    assert_true(str_equal(page->families[0]->help, STR("Time.")));
    assert_true(str_equal(page->families[1]->name, STR("s")) && page->families[1]->count == 3);
    assert_true(str_equal(page->families[2]->name, STR("s_bucket"))); /* summaries have none */
    assert_true(str_equal(page->families[4]->name, STR("g_count")) && page->families[4]->count == 1);
    static const uint8_t kinds[] = {KIND_COUNTER, KIND_COUNTER, KIND_COUNTER, KIND_COUNTER, KIND_GAUGE,  KIND_COUNTER,
                                    KIND_COUNTER, KIND_COUNTER, KIND_GAUGE,   KIND_COUNTER, KIND_COUNTER};
    assert_memory_equal(page->kinds, kinds, sizeof(kinds));
    assert_int_equal(page->gauge_count, 2);
    page_unref(rig.cache, page);
    rig_done(&rig);
}

static void a_series_twice_keeps_its_first_value(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    check(&rig, "a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\na 3\na{x=\"\"} 4\n",
          "a{instance=\"a:1\",job=\"j\",x=\"1\",y=\"2\"} 1\na{instance=\"a:1\",job=\"j\"} 3\n");
    struct page *page = parse(&rig, "a 1\na 2\na 3\n");
    assert_int_equal(page->repeated_count, 2);
    assert_int_equal(page->line_count, 3);
    assert_int_equal(page->kept_count, 1);
    page_unref(rig.cache, page);
    rig_done(&rig);
}

static void conflicts_are_exported(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    check(&rig, "a{job=\"x\",zone=\"1\"} 1\n", "a{exported_job=\"x\",instance=\"a:1\",job=\"j\",zone=\"1\"} 1\n");
    check(&rig, "a{job=\"\"} 1\n", "a{instance=\"a:1\",job=\"j\"} 1\n");
    check(&rig, "a{job=\"x\",exported_job=\"y\"} 1\n",
          "a{exported_exported_job=\"x\",exported_job=\"y\",instance=\"a:1\",job=\"j\"} 1\n");
    /* Both conflict: each finds a name of its own, shorter ones first. */
    set_target(&rig, LABELS("job", "j", "exported_job", "e"));
    check(&rig, "a{exported_job=\"y\",job=\"x\"} 1\n",
          "a{exported_exported_exported_job=\"y\",exported_exported_job=\"x\",exported_job=\"e\",job=\"j\"} 1\n");
    rig_done(&rig);
}

static void scraped_labels_may_win(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.job.honor_labels = true;
    check(&rig, "a{job=\"x\",zone=\"1\"} 1\n", "a{instance=\"a:1\",job=\"x\",zone=\"1\"} 1\n");
    /* An empty one takes the target's away. */
    check(&rig, "a{job=\"\"} 1\n", "a{instance=\"a:1\"} 1\n");
    check(&rig, "a{zone=\"\"} 1\n", "a{instance=\"a:1\",job=\"j\"} 1\n");
    rig_done(&rig);
}

static void times_are_honored_or_not(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct page *page = parse(&rig, "a 1 1000\nb 2\n");
    assert_true(rig.values.any_time && rig.values.times[0] == 1000 && rig.values.times[1] == INT64_MIN);
    assert_true(page_read(page, STR("a 1\nb 2 2000\n"), true, &rig.values));
    assert_true(rig.values.any_time && rig.values.times[0] == INT64_MIN && rig.values.times[1] == 2000);
    assert_true(page_read(page, STR("a 1\nb 2 2000\n"), false, &rig.values));
    assert_false(rig.values.any_time);
    rig.job.honor_timestamps = false;
    struct page *again = parse(&rig, "a 1 1000\nb 2\n");
    assert_false(rig.values.any_time);
    page_unref(rig.cache, again);
    page_unref(rig.cache, page);
    rig_done(&rig);
}

/* ---- Rules ---- */

static struct relabel *rules_of(const struct relabel_config *configs, size_t count)
{
    struct relabel *rules = NULL;
    char error[256];
    size_t index;
    if (relabel_new(configs, count, error, &index, &rules) < 0)
        fail_msg("rule %zu: %s", index, error);
    return rules;
}

static void rules_keep_drop_and_rewrite(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    const char *name[] = {"__name__"}, *path[] = {"path"}, *instance[] = {"instance"}, *both[] = {"zone", "instance"};
    const struct relabel_config configs[] = {
        {.source_labels = name, .source_label_count = 1, .regex = "secret.*", .action = RELABEL_DROP},
        {.source_labels = path,
         .source_label_count = 1,
         .regex = "/dev/(.*)",
         .target_label = "device",
         .replacement = "$1",
         .action = RELABEL_REPLACE},
        {.regex = "path", .action = RELABEL_LABELDROP},
        {.source_labels = both,
         .source_label_count = 2,
         .separator = "@",
         .regex = "(.+)@(.*):.*",
         .target_label = "place",
         .replacement = "$2/$1",
         .action = RELABEL_REPLACE},
        {.source_labels = name,
         .source_label_count = 1,
         .regex = "old_(.*)",
         .target_label = "__name__",
         .replacement = "new_$1",
         .action = RELABEL_REPLACE},
        {.source_labels = instance, .source_label_count = 1, .regex = "drop_me.*", .action = RELABEL_DROP},
    };
    struct relabel *rules = rules_of(configs, ARRAY_LEN(configs));
    rig.job.metric_relabel = rules;
    check(&rig, "secret_a 1\nd{path=\"/dev/sda\"} 2\nold_x 3\nz{zone=\"eu\"} 4\nsecrets 5\n",
          "d{device=\"sda\",instance=\"a:1\",job=\"j\"} 2\nnew_x{instance=\"a:1\",job=\"j\"} 3\n"
          "z{instance=\"a:1\",job=\"j\",place=\"a/eu\",zone=\"eu\"} 4\n");
    struct page *page = parse(&rig, "secret_a 1\nb 2\nsecret_b 3\n");
    assert_int_equal(page->line_count, 3);
    assert_int_equal(page->kept_count, 1);
    assert_int_equal(page->repeated_count, 0);
    /* Rules that read the target's labels: another target, another page. */
    CLEANUP(labels_unrefp) struct labels *other = LABELS("instance", "drop_me:1", "job", "j");
    struct page *dropped = parse_as(&rig, other, "secret_a 1\nb 2\nsecret_b 3\n");
    assert_ptr_not_equal(page, dropped);
    assert_int_equal(dropped->slot_count, 0);
    page_unref(rig.cache, page);
    page_unref(rig.cache, dropped);
    relabel_free(rules);
    rig_done(&rig);
}

static void rules_may_change_what_is_the_targets(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    const char *name[] = {"__name__"}, *node[] = {"node"};
    const struct relabel_config configs[] = {
        {.source_labels = name, .source_label_count = 1, .regex = "a.*", .action = RELABEL_KEEP},
        {.source_labels = node,
         .source_label_count = 1,
         .regex = "(.+)",
         .target_label = "instance",
         .replacement = "$1",
         .action = RELABEL_REPLACE},
        {.regex = "job", .action = RELABEL_LABELDROP},
    };
    struct relabel *rules = rules_of(configs, ARRAY_LEN(configs));
    rig.job.metric_relabel = rules;
    check(&rig, "a{node=\"n1\"} 1\na 2\nb 3\n", "a{instance=\"n1\",node=\"n1\"} 1\na{instance=\"a:1\"} 2\n");
    /* Two that rules make one. */
    struct page *page = parse(&rig, "a{job=\"x\"} 1\na 2\n");
    assert_int_equal(page->slot_count, 2); /* exported_job stays */
    page_unref(rig.cache, page);
    relabel_free(rules);
    rig_done(&rig);
}

/* ---- Limits ---- */

static void past_a_limit_the_reason_is_said(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.job.sample_limit = 2;
    assert_fails(&rig, "a 1\nb 1\n\nc 1\n", SCRAPE_SAMPLE_LIMIT, "line 4: more samples than sample_limit");
    rig.job.sample_limit = 100;
    rig.job.label_value_bytes_max = 3;
    assert_fails(&rig, "a 1\nb{x=\"1234\"} 1\n", SCRAPE_LABEL_LIMIT,
                 "line 2: a label value is longer than label_value_length_limit");
    rig.job.label_value_bytes_max = 10;
    rig.job.label_name_bytes_max = 11;
    assert_fails(&rig, "a{job=\"1\"} 1\n", SCRAPE_LABEL_LIMIT,
                 "line 1: a label name is longer than label_name_length_limit");
    rig.job.label_name_bytes_max = 12;
    rig.job.label_limit = 3; /* instance, job and the name */
    check(&rig, "a 1\n", "a{instance=\"a:1\",job=\"j\"} 1\n");
    assert_fails(&rig, "a{x=\"1\"} 1\n", SCRAPE_LABEL_LIMIT, "line 1: a series has more labels than label_limit");
    rig.job.honor_labels = true;
    check(&rig, "a{x=\"1\",job=\"\"} 1\n", "a{instance=\"a:1\",x=\"1\"} 1\n");
    assert_fails(&rig, "fine 1\n<html>\n", SCRAPE_PARSE, rig.report.reason);
    assert_true(str_starts_with(str_from(rig.report.reason), STR("line 2: ")));
    rig_done(&rig);
}

static void dropped_samples_do_not_count(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    const char *name[] = {"__name__"};
    const struct relabel_config config = {
        .source_labels = name, .source_label_count = 1, .regex = "b", .action = RELABEL_DROP};
    struct relabel *rules = rules_of(&config, 1);
    rig.job.metric_relabel = rules;
    rig.job.sample_limit = 2;
    check(&rig, "a 1\nb 2\nc 3\n", "a{instance=\"a:1\",job=\"j\"} 1\nc{instance=\"a:1\",job=\"j\"} 3\n");
    assert_fails(&rig, "a 1\nb 2\nc 3\nd 4\n", SCRAPE_SAMPLE_LIMIT, "line 4: more samples than sample_limit");
    relabel_free(rules);
    rig_done(&rig);
}

/* ---- Two pages ---- */

static void pages_are_matched_by_series(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct page *old = parse(&rig, "a{n=\"1\"} 1\na{n=\"2\"} 1\nb 1\nc 1\n");
    struct page *next = parse(&rig, "c 1\na{n=\"2\"} 1\na{n=\"3\"} 1\nd 1\n");
    uint32_t slots[4];
    assert_int_equal(page_match(old, next, slots), 2);
    static const uint32_t expected[] = {PAGE_SLOT_NONE, 1, PAGE_SLOT_NONE, 0};
    assert_memory_equal(slots, expected, sizeof(expected));
    assert_int_equal(page_match(old, old, slots), 0);
    static const uint32_t same[] = {0, 1, 2, 3};
    assert_memory_equal(slots, same, sizeof(same));
    page_unref(rig.cache, old);
    page_unref(rig.cache, next);
    rig_done(&rig);
}

static void a_union_has_all_that_is_said(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct page *old = parse(&rig, "a{n=\"1\"} 1\na{n=\"2\"} 1\nb 1\nc 1\ne 1\n");
    struct page *next = parse(&rig, "c 1\na{n=\"2\"} 2\na{n=\"3\"} 3\nd 4\n");
    static const bool keep[] = {true, false, true, false, false};
    struct page *joined = page_union(rig.cache, next, old, keep);
    page_values_done(&rig.values);
    rig.values.values = mem_array(joined->slot_count, sizeof(double));
    for (uint32_t i = 0; i < joined->slot_count; i++)
        rig.values.values[i] = i;
    assert_series(&rig, joined,
                  "c{instance=\"a:1\",job=\"j\"} 0\na{instance=\"a:1\",job=\"j\",n=\"2\"} 1\n"
                  "a{instance=\"a:1\",job=\"j\",n=\"3\"} 2\na{instance=\"a:1\",job=\"j\",n=\"1\"} 3\n"
                  "d{instance=\"a:1\",job=\"j\"} 4\nb{instance=\"a:1\",job=\"j\"} 5\n");
    assert_false(page_read(joined, STR("c 1\n"), true, &rig.values));
    page_unref(rig.cache, joined);
    page_unref(rig.cache, old);
    page_unref(rig.cache, next);
    rig_done(&rig);
}

static void a_full_cache_keeps_no_text(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    page_cache_free(rig.cache);
    rig.cache = page_cache_new(10);
    struct page *small = parse(&rig, "a 1\n"), *large = parse(&rig, "bbbbbbbbbbbb 1\nc 2\n");
    assert_true(page_cache_text_bytes(rig.cache) <= 10);
    assert_true(reads(&rig, small, "a 2\n"));
    assert_false(reads(&rig, large, "bbbbbbbbbbbb 1\nc 2\n"));
    assert_int_equal(large->line_count, 2);
    assert_int_equal(large->kept_count, 2);
    struct page *again = parse(&rig, "bbbbbbbbbbbb 1\nc 2\n");
    assert_true(hash128_equal(again->layout->hash, large->layout->hash));
    page_unref(rig.cache, again);
    page_unref(rig.cache, large);
    page_unref(rig.cache, small);
    rig_done(&rig);
}

/* Any cut of a body is read or refused alike by both roads, and no byte behind it is read. */
static void both_roads_agree_on_torn_bodies(void **state)
{
    (void)state;
    static const char body[] = "# TYPE a gauge\na 1.5e3\nb{x=\"1\"} -7 123\nb{x=\"2\"} NaN\n# end\nc 4e0\nd 12";
    struct rig rig;
    rig_init(&rig);
    struct page *page = parse(&rig, "a 1\nb{x=\"1\"} 2\nb{x=\"2\"} 3\nc 4\nd 5\n");
    int read = 0;
    for (size_t len = 0; len <= strlen(body); len++) {
        CLEANUP_FREE char *copy = mem_alloc(len ? len : 1);
        memcpy(copy, body, len);
        struct page *slow = NULL;
        bool known = page_read(page, str_of(copy, len), true, &rig.values);
        CLEANUP_FREE double *values = mem_array(page->slot_count, sizeof(double));
        if (known)
            memcpy(values, rig.values.values, page->slot_count * sizeof(double));
        const struct page_source source = source_of(&rig);
        enum scrape_failure failure =
            page_parse(rig.cache, &source, str_of(copy, len), &rig.values, &slow, &rig.report);
        read += known;
        if (known) {
            assert_int_equal(failure, SCRAPE_OK);
            assert_int_equal(slow->slot_count, page->slot_count);
            assert_memory_equal(values, rig.values.values, page->slot_count * sizeof(double));
        }
        page_unref(rig.cache, slow);
    }
    assert_int_equal(read, 2); /* "d 1" and "d 12" */
    page_unref(rig.cache, page);
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_very_lines_are_known),
        cmocka_unit_test(pages_are_shared_where_they_are_the_same),
        cmocka_unit_test(pages_that_nobody_shows_go),
        cmocka_unit_test(layouts_of_large_pages_go_soon),
        cmocka_unit_test(a_newline_in_a_value_is_no_line),
        cmocka_unit_test(samples_become_series),
        cmocka_unit_test(histograms_are_one_family),
        cmocka_unit_test(a_series_twice_keeps_its_first_value),
        cmocka_unit_test(conflicts_are_exported),
        cmocka_unit_test(scraped_labels_may_win),
        cmocka_unit_test(times_are_honored_or_not),
        cmocka_unit_test(rules_keep_drop_and_rewrite),
        cmocka_unit_test(rules_may_change_what_is_the_targets),
        cmocka_unit_test(past_a_limit_the_reason_is_said),
        cmocka_unit_test(dropped_samples_do_not_count),
        cmocka_unit_test(pages_are_matched_by_series),
        cmocka_unit_test(a_union_has_all_that_is_said),
        cmocka_unit_test(a_full_cache_keeps_no_text),
        cmocka_unit_test(both_roads_agree_on_torn_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
