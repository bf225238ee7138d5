/* What a query over records says is what it would say over the samples that were scraped: 100,000 random counters, and
 * gauges, through the secondary's pipeline, batches and ingest into one store, and sample by sample into another.
 *
 * TRIBUTARY_DOWNSAMPLING_HOSTS=10 runs fewer: of 1,000 hosts with 100 counters and 20 gauges each. */
#include "base/random.h"
#include "global/ingest.h"
#include "pipeline_rig.h"
#include "promql/eval.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define T0          INT64_C(1700006220000) /* three minutes before two hours of the store end */
#define R_MS        INT64_C(60000)
#define FOREVER_MS  (INT64_C(1) << 60)
#define WINDOWS     6
#define HOSTS       1000
#define CHUNK_HOSTS 50 /* in two stores at a time */
#define COUNTERS    100
#define GAUGES      20
#define SERIES      (COUNTERS + GAUGES)
#define VALUE_MAX   1000 /* of a gauge */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HOSTS_DEFAULT 30
#else
#define HOSTS_DEFAULT HOSTS
#endif

struct host {
    struct pipeline_target *target;
    char name[16];
    int64_t next_ms, interval_ms;
    double values[SERIES];
    uint8_t hidden[SERIES];      /* scrapes for which the series is not on the page */
    int64_t last_ms[WINDOWS];    /* of the last good scrape in each window; 0: there was none */
    bool shown[WINDOWS][SERIES]; /* by that scrape */
    series_ref refs[SERIES];
};

struct scene {
    struct file_system *disk; /* of records */
    struct random random;
    struct clock *clock;
    struct store *records, *samples; /* downsampled, and as scraped */
    struct ingest *ingest;
    struct families *families;
    uint64_t batches; /* taken in so far */
    struct layout_table *table;
    struct pipeline *pipeline;
    struct host hosts[CHUNK_HOSTS];
    uint64_t compared, queries;
};

static const struct pipeline_job job = {.honor_timestamps = true,
                                        .sample_limit = 1000,
                                        .label_limit = 30,
                                        .label_name_bytes_max = 100,
                                        .label_value_bytes_max = 1000};

static bool chance(struct scene *scene, uint64_t of_10000)
{
    return random_below(&scene->random, 10000) < of_10000;
}

/* ---- The way of a part ---- */

static void on_sealed(void *arg, struct pipeline_sealed *sealed)
{
    struct scene *scene = arg;
    CLEANUP(buf_done) struct buf batch = BUF_INIT(BATCH_BYTES_MAX);
    struct envelope envelope = {.source = {STR("dc1"), STR("rack-7"), 1},
                                .epoch = 1,
                                .seq = 1,
                                .window_start_ms = sealed->window_start_ms,
                                .resolution_ms = sealed->resolution_ms,
                                .span_ms = sealed->span_ms};
    assert_int_equal(sealed->samples_dropped_total, 0);
    assert_int_equal(batch_writer_finish(sealed->writer, &envelope, scene->table, &batch), 0);
    assert_int_equal(ingest_batch(scene->ingest, scene->table, ++scene->batches, buf_view(&batch), T0), 0);
    batch_writer_release(sealed->writer, scene->table);
    pipeline_sealed_done(sealed);
}

static void open_chunk(struct scene *scene)
{
    struct store_options options = {
        .max_age_ms = FOREVER_MS, .max_ahead_ms = FOREVER_MS, .series_max = CHUNK_HOSTS * (SERIES + 10)};
    static const struct retention_class class = {.name = "default", .keep_ms = FOREVER_MS};
    CLEANUP(retention_unrefp) struct retention *retention = NULL;
    char error[256];
    assert_int_equal(retention_new(&class, 1, 0, error, &retention), 0);
    CLEANUP(window_rules_unrefp) struct window_rules *rules = rig_rules(NULL, 0);
    const struct pipeline_options pipeline = {
        .rules = rules, .page_bytes_max = 64 * MIB, .sealed = on_sealed, .sealed_arg = scene};
    scene->samples = store_new(scene->clock, &options);
    options.fs = scene->disk = file_system_memory_new(0);
    options.data_dir = "/data";
    options.retention = retention;
    assert_int_equal(store_open(scene->clock, &options, error, NULL, &scene->records), 0);
    scene->families = families_new();
    scene->ingest = ingest_new(scene->records, scene->families);
    scene->table = layout_table_new(64 * MIB, 64 * MIB);
    scene->pipeline = pipeline_new(&pipeline);
}

static void close_chunk(struct scene *scene, int hosts)
{
    for (int i = 0; i < hosts; i++)
        pipeline_target_free(scene->hosts[i].target);
    pipeline_free(scene->pipeline);
    ingest_free(scene->ingest);
    families_free(scene->families);
    store_free(scene->records);
    file_system_free(scene->disk);
    store_free(scene->samples);
    layout_table_free(scene->table);
}

/* ---- Hosts ---- */

static void make_host(struct scene *scene, struct host *host, int number)
{
    *host = (struct host){.interval_ms = 15000, .next_ms = T0 + (int64_t)random_below(&scene->random, 15000)};
    snprintf(host->name, sizeof(host->name), "h%d", number);
    const struct label own[] = {{STR("instance"), str_from(host->name)}};
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(own, 1);
    host->target = pipeline_target_new(scene->pipeline, labels, 15000, &job);
    for (int i = 0; i < SERIES; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        const struct label all[] = {{STR(LABEL_NAME), i < COUNTERS ? STR("c_total") : STR("g")},
                                    {STR("datacenter"), STR("dc1")},
                                    {STR("i"), str_from(text)},
                                    {STR("instance"), str_from(host->name)}};
        CLEANUP(labels_unrefp) struct labels *set = labels_new(all, 4);
        host->refs[i] = store_series(scene->samples, set, i < COUNTERS ? KIND_COUNTER : KIND_GAUGE);
        host->values[i] = (double)random_below(&scene->random, 1000000);
        host->hidden[i] = chance(scene, 500) ? (uint8_t)random_below(&scene->random, 12) : 0; /* comes later */
    }
}

/* Whole numbers, decimals, and doubles of any bits. */
static double step_of(struct scene *scene, int series)
{
    uint64_t whole = random_below(&scene->random, 1000);
    return series % 3 == 0 ? (double)whole : series % 3 == 1 ? (double)whole / 1000 : random_unit(&scene->random) * 1e3;
}

static double next_value(struct scene *scene, double value, int series)
{
    if (series >= COUNTERS)
        return chance(scene, 3000) ? value : step_of(scene, series) - 300;
    if (isnan(value) || chance(scene, 150))
        return chance(scene, 5000) ? 0 : step_of(scene, series);
    return chance(scene, 4000) ? value : value + step_of(scene, series);
}

static void write_body(struct scene *scene, struct host *host, struct buf *body, bool *shown)
{
    bool restarted = chance(scene, 150);
    for (int i = 0; i < SERIES; i++) {
        double value = next_value(scene, host->values[i], i);
        if (restarted && i < COUNTERS)
            value = (double)random_below(&scene->random, 3);
        host->values[i] = value;
        if (host->hidden[i] == 0 && chance(scene, 20))
            host->hidden[i] = (uint8_t)(1 + random_below(&scene->random, 8));
        shown[i] = host->hidden[i] == 0;
        host->hidden[i] -= host->hidden[i] > 0;
        if (!shown[i])
            continue;
        if (chance(scene, 10))
            host->values[i] = double_from_bits(NORMAL_NAN_BITS);
        buf_printf(body, "%s{i=\"%d\"} %.17g\n", i < COUNTERS ? "c_total" : "g", i, host->values[i]);
    }
}

static void keep_sample(struct scene *scene, const struct host *host, int series, int64_t time_ms)
{
    struct record record = {.time_ms = time_ms,
                            .last = host->values[series],
                            .count = 1,
                            .kind = series < COUNTERS ? KIND_COUNTER : KIND_GAUGE};
    record_fill_constant(&record);
    store_append(scene->samples, host->refs[series], time_ms, 0, &record, NULL, 0);
}

static void scrape(struct scene *scene, struct host *host, int window)
{
    CLEANUP(buf_done) struct buf body = BUF_INIT(MIB);
    struct scrape_outcome outcome = {.time_ms = host->next_ms, .duration_ns = 1000000};
    struct scrape_report report;
    bool shown[SERIES];
    if (chance(scene, 300)) {
        outcome.failure = SCRAPE_TIMEOUT;
        pipeline_scrape(host->target, &outcome, &report);
        return;
    }
    write_body(scene, host, &body, shown);
    outcome.body = buf_view(&body);
    pipeline_scrape(host->target, &outcome, &report);
    if (report.failure != SCRAPE_OK)
        fail_msg("%s", report.reason);
    store_write_begin(scene->samples);
    for (int i = 0; i < SERIES; i++)
        if (shown[i])
            keep_sample(scene, host, i, host->next_ms);
    store_write_end(scene->samples);
    host->last_ms[window] = host->next_ms;
    memcpy(host->shown[window], shown, sizeof(shown));
}

static void run_window(struct scene *scene, int hosts, int window)
{
    int64_t start_ms = T0 + window * R_MS;
    struct pipeline_closing closing[CHUNK_HOSTS];
    for (int i = 0; i < hosts; i++) {
        struct host *host = &scene->hosts[i];
        for (; host->next_ms < start_ms + R_MS; host->next_ms += host->interval_ms)
            scrape(scene, host, window);
        if (chance(scene, 500))
            host->interval_ms = chance(scene, 5000) ? 30000 : 5000;
        closing[i] = (struct pipeline_closing){host->target, host->next_ms};
    }
    pipeline_close(scene->pipeline, start_ms, closing, (size_t)hosts);
}

/* ---- Queries ---- */

struct values {
    double values[SERIES];
    bool present[SERIES];
};

static void ask(struct scene *scene, struct store *store, const char *text, int64_t time_ms, struct values *ret_values)
{
    CLEANUP(promql_expression_freep) struct promql_expression *expression = NULL;
    CLEANUP(promql_result_freep) struct promql_result *result = NULL;
    struct promql_error error;
    if (promql_parse(str_from(text), &error, &expression) < 0)
        fail_msg("%s: %s", text, error.text);
    const struct promql_query query = {
        .store = store,
        .expression = expression,
        .start_ms = time_ms,
        .end_ms = time_ms,
        .limits = {.samples_max = 1000000, .bytes_max = 64 * MIB, .timeout_ms = 600000, .lookback_ms = 5 * R_MS},
        .clock = scene->clock};
    if (promql_eval(&query, &error, &result) != PROMQL_OK)
        fail_msg("%s: %s", text, error.text);
    const struct promql_value *value = promql_result_value(result);
    memset(ret_values, 0, sizeof(*ret_values));
    for (size_t i = 0; i < value->series_count; i++) {
        uint64_t number = SERIES;
        if (!promql_present(&value->series[i], 0))
            continue;
        assert_int_equal(str_to_u64(labels_get(value->series[i].labels, STR("i")), &number), 0);
        assert_true(number < SERIES && !ret_values->present[number]);
        ret_values->present[number] = true;
        ret_values->values[number] = value->series[i].values[0];
    }
    scene->queries++;
}

static bool same(double a, double b, double tolerance)
{
    if (double_bits(a) == double_bits(b) || (isnan(a) && isnan(b)))
        return true;
    /* Relative to the values that were added: their sum may be near 0. */
    return fabs(a - b) <= tolerance * MAX(fabs(b), VALUE_MAX);
}

static void compare(struct scene *scene, const char *text, int64_t time_ms, const bool *which, double tolerance)
{
    struct values records, samples;
    ask(scene, scene->records, text, time_ms, &records);
    ask(scene, scene->samples, text, time_ms, &samples);
    for (int i = 0; i < SERIES; i++) {
        if (which && !which[i])
            continue;
        if (records.present[i] != samples.present[i])
            fail_msg("%s at %lld, i=%d: %s", text, (long long)(time_ms - T0), i,
                     records.present[i] ? "only of records" : "only of samples");
        if (!records.present[i])
            continue;
        scene->compared++;
        if (!same(records.values[i], samples.values[i], tolerance))
            fail_msg("%s at %lld, i=%d: %.17g of records, %.17g of samples", text, (long long)(time_ms - T0), i,
                     records.values[i], samples.values[i]);
    }
}

/* From the last scrape of one window to the last one of a later window: whole windows of counters. */
static void compare_counters(struct scene *scene, const struct host *host, int from, int to)
{
    static const char *const functions[] = {"increase", "rate", "resets"};
    bool which[SERIES] = {false};
    if (!host->last_ms[from] || !host->last_ms[to])
        return;
    for (int i = 0; i < COUNTERS; i++)
        which[i] = host->shown[from][i] && host->shown[to][i];
    for (size_t f = 0; f < ARRAY_LEN(functions); f++) {
        char text[200];
        snprintf(text, sizeof(text), "%s(c_total{instance=\"%s\"}[%lldms])", functions[f], host->name,
                 (long long)(host->last_ms[to] - host->last_ms[from]));
        compare(scene, text, host->last_ms[to], which, 0);
    }
}

/* Windows by the clock, without the border: both its ends belong to a range. */
static void compare_gauges(struct scene *scene, const struct host *host, int from, int to)
{
    static const struct {
        const char *name;
        double tolerance;
    } functions[] = {{"count_over_time", 0}, {"min_over_time", 0},     {"max_over_time", 0},
                     {"last_over_time", 0},  {"sum_over_time", 1e-12}, {"avg_over_time", 1e-12}};
    for (size_t f = 0; f < ARRAY_LEN(functions); f++) {
        char text[200];
        snprintf(text, sizeof(text), "%s(g{instance=\"%s\"}[%lldms])", functions[f].name, host->name,
                 (long long)((to - from + 1) * R_MS - 1));
        compare(scene, text, T0 + (to + 1) * R_MS - 1, NULL, functions[f].tolerance);
    }
}

static void compare_host(struct scene *scene, const struct host *host)
{
    for (int to = 1; to < WINDOWS; to++)
        compare_counters(scene, host, to - 1, to);
    compare_counters(scene, host, 0, WINDOWS - 1);
    compare_counters(scene, host, 1, WINDOWS - 2);
    for (int window = 0; window < WINDOWS; window++)
        compare_gauges(scene, host, window, window);
    compare_gauges(scene, host, 0, WINDOWS - 1);
    compare_gauges(scene, host, 2, WINDOWS - 2);
}

static void records_answer_as_samples_do(void **state)
{
    (void)state;
    const char *wanted = getenv("TRIBUTARY_DOWNSAMPLING_HOSTS");
    struct blocks_stats blocks;
    int hosts = wanted ? (int)strtol(wanted, NULL, 10) : HOSTS_DEFAULT;
    struct scene *scene = mem_zalloc(sizeof(*scene));
    scene->clock = clock_simulated_new(T0);
    random_seed(&scene->random, 42);
    for (int done = 0; done < hosts; done += CHUNK_HOSTS) {
        int count = MIN(CHUNK_HOSTS, hosts - done);
        open_chunk(scene);
        for (int i = 0; i < count; i++)
            make_host(scene, &scene->hosts[i], done + i);
        for (int window = 0; window < WINDOWS; window++)
            run_window(scene, count, window);
        /* Of every second lot the records are in blocks, with their aggregates. */
        if (done / CHUNK_HOSTS % 2) {
            store_cut_all(scene->records);
            blocks_stats(store_blocks(scene->records), &blocks);
            assert_int_equal(blocks.served, 2); /* the windows lie on both sides of a border */
        }
        for (int i = 0; i < count; i++)
            compare_host(scene, &scene->hosts[i]);
        close_chunk(scene, count);
    }
    /* Nearly all series are there at both ends of nearly all ranges. */
    uint64_t of_host = 7 * 3 * COUNTERS + 8 * 6 * GAUGES;
    assert_true(scene->compared > (uint64_t)hosts * of_host * 8 / 10);
    print_message("%llu values of %d hosts are equal\n", (unsigned long long)scene->compared, hosts);
    clock_free(scene->clock);
    mem_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_answer_as_samples_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
