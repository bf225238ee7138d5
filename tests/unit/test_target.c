/* Targets from addresses and labels, as Prometheus makes them; and the live set. */
#include "base/fail.h"
#include "secondary/target.h"
#include "secondary/targets.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct secondary_config *config;
static struct file_system *fs;
static struct tls_store *tls;

#define HEAD                                                                                                           \
    "datacenter: dc1\nsecondary: s1\ndata_dir: /d\nprimary: {urls: ['http://p:1']}\n"                                  \
    "windows: {resolution: 60s}\nglobal: {scrape_interval: 15s, scrape_timeout: 10s}\nscrape_configs:\n"

struct made { /* one job of a configuration */
    struct target_source source;
    struct relabel *relabel;
};

static void load(const char *jobs)
{
    char *errors = NULL;
    CLEANUP_FREE char *text = mem_printf("%s%s", HEAD, jobs);
    secondary_config_unref(config);
    config = NULL;
    assert_int_equal(file_write_whole(fs, "/c.yaml", text, strlen(text)), 0);
    if (secondary_config_load(fs, "/c.yaml", NULL, &config, &errors) < 0)
        fail_msg("%s", errors);
}

static void make(size_t index, struct made *ret_made)
{
    const struct scrape_config *job = (const struct scrape_config *)config->scrape_configs.items + index;
    char error[256] = "";
    size_t rule;
    *ret_made = (struct made){.source = {.config = job, .interval_max_ms = config->windows.resolution_ms}};
    if (job_new(fs, job, tls, error, &ret_made->source.job) < 0)
        fail_msg("%s", error);
    if (job->relabel_configs.count > 0)
        assert_int_equal(
            relabel_new(job->relabel_configs.items, job->relabel_configs.count, error, &rule, &ret_made->relabel), 0);
    ret_made->source.relabel = ret_made->relabel;
}

static void unmake(struct made *made)
{
    job_unref(made->source.job);
    relabel_free(made->relabel);
}

static struct target *target_of(const struct made *made, const char *address)
{
    struct target *target = NULL;
    char error[256] = "";
    const struct target_found found = {.address = str_from(address)};
    if (target_make(&made->source, &found, error, &target, NULL) != 1)
        fail_msg("%s: %s", address, error);
    return target;
}

static void is_made(const char *jobs, const char *address, const char *url, const char *labels)
{
    struct made made;
    load(jobs);
    make(0, &made);
    struct target *target = target_of(&made, address);
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    labels_print(target->labels, &text);
    buf_append_byte(&text, 0);
    assert_string_equal(target->url, url);
    assert_string_equal((char *)text.data, labels);
    target_unref(target);
    unmake(&made);
}

static void test_defaults(void **state)
{
    (void)state;
    is_made("- {job_name: node}", "h1:9100", "http://h1:9100/metrics", "{instance=\"h1:9100\",job=\"node\"}");
    is_made("- {job_name: node}", "h1", "http://h1:80/metrics", "{instance=\"h1:80\",job=\"node\"}");
    is_made("- {job_name: node, scheme: https, metrics_path: /m}", "h1", "https://h1:443/m",
            "{instance=\"h1:443\",job=\"node\"}");
    is_made("- {job_name: node}", "[::1]:9100", "http://[::1]:9100/metrics", "{instance=\"[::1]:9100\",job=\"node\"}");
    is_made("- {job_name: node}", "[::1]", "http://[::1]:80/metrics", "{instance=\"[::1]:80\",job=\"node\"}");
    is_made("- {job_name: node}", "::1", "http://[::1]:80/metrics", "{instance=\"[::1]:80\",job=\"node\"}");
}

static void test_params(void **state)
{
    (void)state;
    is_made("- {job_name: probe, params: {module: [http_2xx, more], 'match[]': ['{a=\"b\"}']}}", "h1:1",
            "http://h1:1/metrics?module=http_2xx&module=more&match%5B%5D=%7Ba%3D%22b%22%7D",
            "{instance=\"h1:1\",job=\"probe\"}");
    /* As blackbox_exporter is used. */
    is_made("- job_name: probe\n  metrics_path: /probe\n  params: {module: [http_2xx]}\n  relabel_configs:\n"
            "  - {source_labels: [__address__], target_label: __param_target}\n"
            "  - {source_labels: [__param_target], target_label: instance}\n"
            "  - {target_label: __address__, replacement: 'bb:9115'}\n",
            "https://example.org/x?y=1",
            "http://bb:9115/probe?module=http_2xx&target=https%3A%2F%2Fexample.org%2Fx%3Fy%3D1",
            "{instance=\"https://example.org/x?y=1\",job=\"probe\"}");
}

/* As in Prometheus 2.42: a parameter of the job wins over a label of the group, and times are written as people do. */
static void test_labels_before_rules(void **state)
{
    (void)state;
    struct labels_builder builder;
    CLEANUP(arena_done) struct arena arena;
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    arena_init(&arena, 0);
    load("- {job_name: probe, scrape_interval: 1m, scrape_timeout: 1500ms, params: {module: [a, b]}, scheme: https}");
    const struct label labels[] = {{STR("__param_module"), STR("c")}, {STR("__metrics_path__"), STR("/x")}};
    const struct target_found found = {STR("h1"), labels, ARRAY_LEN(labels)};
    target_labels_before(config->scrape_configs.items, &found, &arena, &builder);
    CLEANUP(labels_unrefp) struct labels *before = labels_builder_build(&builder);
    labels_print(before, &text);
    buf_append_byte(&text, 0);
    assert_string_equal((char *)text.data,
                        "{__address__=\"h1\",__metrics_path__=\"/x\",__param_module=\"a\",__scheme__=\"https\","
                        "__scrape_interval__=\"1m\",__scrape_timeout__=\"1s500ms\",job=\"probe\"}");
}

/* Objects of Kubernetes have hundreds of labels; what is left by the rules must fit into a set. */
static void test_many_labels(void **state)
{
    (void)state;
    static char names[1024][32];
    static struct label labels[1024];
    struct made made;
    struct target *target = NULL;
    char error[256] = "";
    for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
        snprintf(names[i], sizeof(names[i]), "__meta_label_%04zu", i);
        labels[i] = (struct label){str_from(names[i]), STR("v")};
    }
    const struct target_found found = {STR("h1:1"), labels, ARRAY_LEN(labels)};
    load("- job_name: node\n  relabel_configs:\n  - {action: labelmap, regex: '__meta_(label_01.*)'}\n");
    make(0, &made);
    assert_int_equal(target_make(&made.source, &found, error, &target, NULL), 1);
    assert_int_equal(labels_count(target->labels), 102); /* 100, instance, job */
    target_unref(target);
    unmake(&made);
    load("- job_name: node\n  relabel_configs:\n  - {action: labelmap, regex: '__meta_(label_0.*)'}\n");
    make(0, &made);
    assert_int_equal(target_make(&made.source, &found, error, &target, NULL), -EINVAL);
    assert_string_equal(error, "more than 128 labels are left by relabel_configs");
    unmake(&made);
    load("- job_name: node\n  relabel_configs:\n" /* copies of copies: no room */
         "  - {action: labelmap, regex: '(.+)', replacement: 'a_${1}'}\n"
         "  - {action: labelmap, regex: '(.+)', replacement: 'b_${1}'}\n"
         "  - {action: labelmap, regex: '(.+)', replacement: 'c_${1}'}\n");
    make(0, &made);
    assert_int_equal(target_make(&made.source, &found, error, &target, NULL), -EINVAL);
    assert_non_null(strstr(error, "too many labels"));
    unmake(&made);
}

static void test_group_labels(void **state)
{
    (void)state;
    struct made made;
    struct target *target = NULL;
    char error[256];
    load("- job_name: node\n  relabel_configs:\n"
         "  - {action: labelmap, regex: '__meta_(.+)'}\n"
         "  - {source_labels: [env], regex: test, action: drop}\n"
         "  - {source_labels: [interval], regex: '(.+)', target_label: __scrape_interval__}\n");
    make(0, &made);
    struct label labels[] = {{STR("job"), STR("mine")}, {STR("__meta_zone"), STR("z1")}, {STR("interval"), STR("30s")}};
    const struct target_found found = {STR("h1:1"), labels, ARRAY_LEN(labels)};
    assert_int_equal(target_make(&made.source, &found, error, &target, NULL), 1);
    assert_true(str_equal(labels_get(target->labels, STR("job")), STR("mine")));
    assert_true(str_equal(labels_get(target->labels, STR("zone")), STR("z1")));
    assert_null(labels_get(target->labels, STR("__meta_zone")).ptr);
    assert_int_equal(target->interval_ms, 30000);
    target_unref(target);
    labels[0] = (struct label){STR("env"), STR("test")};
    assert_int_equal(target_make(&made.source, &found, error, &target, NULL), 0);
    labels[0].value = STR("prod");
    labels[2].value = STR("2m"); /* longer than a window */
    assert_int_equal(target_make(&made.source, &found, error, &target, NULL), -EINVAL);
    assert_non_null(strstr(error, "windows.resolution"));
    labels[2].value = STR("5s"); /* shorter than the timeout */
    assert_int_equal(target_make(&made.source, &found, error, &target, NULL), -EINVAL);
    assert_non_null(strstr(error, "__scrape_timeout__"));
    unmake(&made);
}

static void is_refused(const struct made *made, const char *address, const char *part)
{
    struct target *target = NULL;
    char error[256] = "";
    const struct target_found found = {.address = str_from(address)};
    assert_int_equal(target_make(&made->source, &found, error, &target, NULL), -EINVAL);
    assert_null(target);
    if (!strstr(error, part))
        fail_msg("'%s' does not speak of '%s'", error, part);
}

static void test_refused(void **state)
{
    (void)state;
    struct made made;
    load("- {job_name: node}");
    make(0, &made);
    is_refused(&made, "http://h1/", "address");
    is_refused(&made, "a b", "address");
    is_refused(&made, "user@host:1", "address");
    is_refused(&made, "", "__address__");
    unmake(&made);
    load("- job_name: node\n  relabel_configs: [{target_label: __scheme__, replacement: ftp}]\n");
    make(0, &made);
    is_refused(&made, "h1:1", "__scheme__");
    unmake(&made);
}

/* A target is the same while what it is scraped for is the same: secrets and sizes may change. */
static void test_identity(void **state)
{
    (void)state;
    struct made first, second;
    assert_int_equal(file_write_whole(fs, "/secret", "one", 3), 0);
    load("- {job_name: node, authorization: {credentials_file: /secret}}");
    make(0, &first);
    struct target *a = target_of(&first, "h1:1");
    assert_string_equal(first.source.job->authorization, "Bearer one");
    assert_int_equal(file_write_whole(fs, "/secret", "two", 3), 0);
    load("- {job_name: node, authorization: {credentials_file: /secret}, body_size_limit: 1MiB}");
    make(0, &second);
    struct target *b = target_of(&second, "h1:1");
    assert_true(target_equal(a, b));
    assert_true(first.source.job->whole_hash != second.source.job->whole_hash);
    unmake(&second);
    target_unref(b);
    load("- {job_name: node, metric_relabel_configs: [{regex: go_.*, source_labels: [__name__], action: drop}]}");
    make(0, &second);
    b = target_of(&second, "h1:1");
    assert_false(target_equal(a, b));
    unmake(&second);
    target_unref(b);
    load("- {job_name: node, scrape_interval: 20s}");
    make(0, &second);
    b = target_of(&second, "h1:1");
    assert_false(target_equal(a, b));
    unmake(&second);
    target_unref(a);
    target_unref(b);
    unmake(&first);
}

/* ---- The live set ---- */

struct events {
    unsigned added, removed, job, ends[TARGET_END_COUNT];
    struct job *last_job;
};

static void on_event(void *arg, enum targets_event event, struct target *target, struct job *job)
{
    struct events *events = arg;
    assert_non_null(target);
    events->added += event == TARGETS_ADDED;
    events->removed += event == TARGETS_REMOVED;
    if (event == TARGETS_REMOVED)
        events->ends[target->end]++;
    events->job += event == TARGETS_JOB;
    events->last_job = job;
}

static struct targets_outcome sync(struct targets *targets, struct made *made, size_t max, const char *const *addresses)
{
    struct target *items[8];
    size_t count = 0;
    struct targets_outcome outcome;
    for (; addresses[count]; count++)
        items[count] = target_of(made, addresses[count]);
    const struct targets_list list = {.job = made->source.job, .items = items, .count = count, .count_max = max};
    targets_sync(targets, &list, &outcome);
    for (size_t i = 0; i < count; i++)
        target_unref(items[i]);
    return outcome;
}
#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_sync(void **state)
{
    (void)state;
    struct made made, other, again;
    struct events events = {0};
    load("- {job_name: node}\n- {job_name: other}");
    make(0, &made);
    make(1, &other);
    make(0, &again); /* the same job, as a reload makes it */
    CLEANUP(targets_freep) struct targets *targets = targets_new(on_event, &events);
    struct targets_outcome outcome = sync(targets, &made, 10, LIST("a:1", "b:1", "a:1"));
    assert_int_equal(outcome.added, 2);
    assert_int_equal(outcome.repeated, 1);
    sync(targets, &other, 10, LIST("a:1"));
    assert_int_equal(events.added, 3);
    /* The same again: nobody comes or goes. */
    outcome = sync(targets, &made, 10, LIST("b:1", "a:1", "b:1"));
    assert_int_equal(outcome.added + outcome.removed, 0);
    assert_int_equal(outcome.repeated, 1);
    assert_int_equal(events.added, 3);
    assert_int_equal(events.job, 0);
    sync(targets, &again, 10, LIST("b:1", "a:1"));
    assert_int_equal(events.job, 2);
    sync(targets, &again, 10, LIST("b:1", "a:1"));
    assert_int_equal(events.job, 2);
    outcome = sync(targets, &made, 10, LIST("b:1", "c:1"));
    assert_int_equal(outcome.added, 1);
    assert_int_equal(outcome.removed, 1);
    assert_int_equal(targets_count(targets), 3);
    targets_keep_jobs(targets, &other.source.job, 1);
    assert_int_equal(targets_count(targets), 1);
    assert_int_equal(targets_counts(targets)->now[TARGET_PENDING], 1);
    assert_int_equal(targets_counts(targets)->now[TARGET_ENDED], 3);
    assert_int_equal(events.ends[TARGET_END_REMOVED], 1);
    assert_int_equal(events.ends[TARGET_END_JOB], 2);
    unmake(&made);
    unmake(&other);
    unmake(&again);
}

static int compare_hashes(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* Who is listed and not among the targets any more has other labels, or is dropped by a rule. */
static void test_why_it_ended(void **state)
{
    (void)state;
    struct made made, relabeled;
    struct events events = {0};
    load("- {job_name: node}");
    make(0, &made);
    struct target *unchanged = target_of(&made, "d:1");
    CLEANUP(targets_freep) struct targets *targets = targets_new(on_event, &events);
    sync(targets, &made, 9, LIST("a:1", "b:1", "c:1", "d:1"));
    /* a is gone, b is dropped now, c is scraped at other times, d is past the limit. */
    uint64_t found[] = {str_hash(STR("b:1")), str_hash(STR("c:1")), str_hash(STR("d:1"))};
    qsort(found, ARRAY_LEN(found), sizeof(found[0]), compare_hashes);
    load("- {job_name: node, scrape_interval: 30s}");
    make(0, &relabeled);
    struct target *items[] = {target_of(&relabeled, "c:1"), unchanged};
    struct targets_outcome outcome;
    const struct targets_list list = {
        .job = relabeled.source.job, .items = items, .count = 2, .count_max = 0, .found = found, .found_count = 3};
    targets_sync(targets, &list, &outcome);
    assert_int_equal(outcome.removed, 4);
    assert_int_equal(outcome.over_limit, 2);
    assert_int_equal(events.ends[TARGET_END_REMOVED], 1);
    assert_int_equal(events.ends[TARGET_END_RELABELED], 2);
    assert_int_equal(events.ends[TARGET_END_LIMIT], 1);
    target_unref(items[0]);
    target_unref(items[1]);
    unmake(&made);
    unmake(&relabeled);
}

/* Past the limit those that are scraped already stay. */
static void test_limit(void **state)
{
    (void)state;
    struct made made;
    struct events events = {0};
    load("- {job_name: node}");
    make(0, &made);
    CLEANUP(targets_freep) struct targets *targets = targets_new(on_event, &events);
    sync(targets, &made, 2, LIST("c:1", "d:1"));
    struct targets_outcome outcome = sync(targets, &made, 2, LIST("a:1", "b:1", "c:1", "d:1"));
    assert_int_equal(outcome.over_limit, 2);
    assert_int_equal(outcome.added + outcome.removed, 0);
    outcome = sync(targets, &made, 2, LIST("a:1", "b:1", "d:1"));
    assert_int_equal(outcome.over_limit, 1);
    assert_int_equal(outcome.added, 1);
    assert_int_equal(outcome.removed, 1);
    outcome = sync(targets, &made, 1, LIST("a:1", "d:1"));
    assert_int_equal(outcome.removed, 1);
    assert_int_equal(events.ends[TARGET_END_LIMIT], 1);
    assert_int_equal(outcome.over_limit, 1);
    assert_int_equal(targets_count(targets), 1);
    unmake(&made);
}

static void test_states(void **state)
{
    (void)state;
    struct made made;
    struct events events = {0};
    size_t at = 0;
    load("- {job_name: node}");
    make(0, &made);
    CLEANUP(targets_freep) struct targets *targets = targets_new(on_event, &events);
    sync(targets, &made, 9, LIST("a:1"));
    struct target *target = target_ref(targets_next(targets, &at));
    const struct target_counts *counts = targets_counts(targets);
    targets_report(targets, target, true, "");
    assert_int_equal(counts->now[TARGET_UP], 1);
    targets_report(targets, target, false, "timeout: no answer");
    assert_string_equal(target->last_error, "timeout: no answer");
    targets_report(targets, target, false, "connect: refused");
    assert_int_equal(counts->now[TARGET_DOWN], 1);
    assert_int_equal(counts->now[TARGET_UP], 0);
    assert_int_equal(counts->changes_total, 2);
    targets_keep_jobs(targets, NULL, 0);
    targets_report(targets, target, true, ""); /* late news of one that has ended */
    assert_int_equal(target->state, TARGET_ENDED);
    assert_int_equal(counts->now[TARGET_UP] + counts->now[TARGET_DOWN], 0);
    target_unref(target);
    unmake(&made);
}

static int set_up(void **state)
{
    (void)state;
    fs = file_system_memory_new(0);
    tls = tls_store_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    secondary_config_unref(config);
    tls_store_free(tls);
    file_system_free(fs);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),     cmocka_unit_test(test_params),
        cmocka_unit_test(test_group_labels), cmocka_unit_test(test_labels_before_rules),
        cmocka_unit_test(test_many_labels),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_identity),     cmocka_unit_test(test_sync),
        cmocka_unit_test(test_why_it_ended), cmocka_unit_test(test_limit),
        cmocka_unit_test(test_states),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
