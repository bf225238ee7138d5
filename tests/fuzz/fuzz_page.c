/* Two bodies of an exporter, one after the other, through the heart of a secondary: what it makes of them must be
 * readable. First byte: the job's options. The bodies are divided by a zero byte. */
#include "base/fail.h"
#include "secondary/aggregator.h"
#include "tests/pipeline_rig.h"

#define T0 INT64_C(1700000040000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct relabel *make_rules(void)
{
    static const char *name[] = {"__name__"}, *le[] = {"le", "instance"};
    const struct relabel_config configs[] = {
        {.source_labels = name, .source_label_count = 1, .regex = "drop.*", .action = RELABEL_DROP},
        {.source_labels = le,
         .source_label_count = 2,
         .regex = "(.+);(.*)",
         .target_label = "both",
         .action = RELABEL_REPLACE},
        {.regex = "job", .action = RELABEL_LABELDROP},
        {.source_labels = name,
         .source_label_count = 1,
         .regex = "old_(.*)",
         .target_label = "__name__",
         .action = RELABEL_REPLACE}};
    struct relabel *rules = NULL;
    char error[256];
    size_t index;
    ASSERT(relabel_new(configs, ARRAY_LEN(configs), error, &index, &rules) == 0);
    return rules;
}

/* A class of each kind but scrapes as they are. */
static const char *const by[] = {"device"};
static const struct window_rule window_rules[] = {
    {.match = "{__name__=~\"node_(disk|load).*|x.*\"}", .resolution_ms = RESOLUTION_UNSAID, .fields = FIELDS_LAST},
    {.match = "{__name__=~\"node_f.*|b.*\"}", .resolution_ms = 300000},
    {.match = "{__name__=~\"go_.*|drop.*\"}", .resolution_ms = RESOLUTION_UNSAID, .keep = KEEP_DROP},
    {.match = "{__name__=~\".*_(cpu|network)_.*|a.*\"}",
     .resolution_ms = RESOLUTION_UNSAID,
     .keep = KEEP_AGGREGATE,
     .by = by,
     .by_count = 1},
    {.match = "{le!=\"\"}", .resolution_ms = 30000}};

/* What came of aggregates is readable too. */
static void tell_aggregates(struct rig *rig, struct aggregator *aggregator)
{
    struct aggregate *aggregate = STEAL(rig->aggregate);
    struct pipeline_sealed sealed;
    aggregator_take(aggregator, T0 + 60000, 60000, aggregate);
    aggregate_free(aggregate);
    while (aggregator_next(aggregator, INT64_MAX, &sealed))
        rig_take(rig, &sealed);
}

static void scrape(struct pipeline_target *target, int64_t time_ms, const uint8_t *body, size_t len)
{
    /* Of the exact size, so that a sanitizer sees a read behind its end. */
    CLEANUP_FREE uint8_t *copy = mem_alloc(len ? len : 1);
    if (len > 0)
        memcpy(copy, body, len);
    struct scrape_outcome outcome = {.time_ms = time_ms, .body = str_of(copy, len)};
    struct scrape_report first, again;
    pipeline_scrape(target, &outcome, &first);
    /* The same once more takes the fast road. */
    outcome.time_ms++;
    pipeline_scrape(target, &outcome, &again);
    ASSERT(again.failure == first.failure && again.samples_kept == first.samples_kept);
    ASSERT(again.samples_scraped == first.samples_scraped && !again.page_changed && again.series_added == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct relabel *rules; /* made once: the same for all inputs */
    if (!rules)
        rules = make_rules();
    if (size == 0)
        return 0;
    const struct pipeline_job job = {.honor_labels = data[0] & 1,
                                     .honor_timestamps = data[0] & 2,
                                     .metric_relabel = data[0] & 4 ? rules : NULL,
                                     .sample_limit = 1000,
                                     .label_limit = 20,
                                     .label_name_bytes_max = 100,
                                     .label_value_bytes_max = 1000};
    const uint8_t *second = memchr(data + 1, 0, size - 1);
    size_t first_len = second ? (size_t)(second - data - 1) : size - 1;
    struct rig rig;
    rig_init_rules(&rig, data[0] & 8 ? 0 : 1 * MIB, window_rules, data[0] & 64 ? ARRAY_LEN(window_rules) : 0);
    rig.aggregate = aggregate_new();
    struct aggregator *aggregator = aggregator_new("s1");
    struct label labels[] = {{STR("instance"), STR("a:1")}, {STR("job"), STR("j")}};
    struct labels *set = labels_new(labels, 2);
    struct pipeline_target *target = pipeline_target_new(rig.pipeline, set, 15000, &job);
    labels_unref(set);
    scrape(target, T0, data + 1, first_len);
    if (data[0] & 16)
        rig_close(rig.pipeline, T0, &target, 1);
    if (second)
        scrape(target, T0 + 61000, second + 1, size - first_len - 2);
    if (data[0] & 32)
        pipeline_target_end(target, T0 + 62000, TARGET_END_REMOVED);
    const struct pipeline_closing last = {target, INT64_MAX};
    pipeline_close(rig.pipeline, T0 + 60000, &last, 1);
    tell_aggregates(&rig, aggregator);
    aggregator_free(aggregator);
    pipeline_target_free(target);
    rig_done(&rig);
    return 0;
}
