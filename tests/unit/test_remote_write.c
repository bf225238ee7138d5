/* Remote write requests: what becomes of them, and what is refused. */
#include "write_world.h"

#include "global/ingest.h"
#include "store/select.h"
#include "write/convert.h"
#include "write/expand.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>

#define NOW_MS     INT64_C(1700000000000)
#define AGE_MS     (3600 * INT64_C(1000))
#define AHEAD_MS   (600 * INT64_C(1000))
#define SERIES_MAX 1024 /* of one answer here */

struct world {
    struct clock *clock;
    struct store *store;
    struct families *families;
    struct ingest *ingest;
    struct layout_table *table;
    struct convert *convert;
    struct convert_request request;
    struct convert_result result; /* of the last request */
    uint64_t batches;             /* taken in so far */
    struct buf body;
};

static int setup(void **state)
{
    struct world *world = mem_zalloc(sizeof(*world));
    world->clock = clock_simulated_new(NOW_MS);
    struct store_options options = {.max_age_ms = AGE_MS, .max_ahead_ms = AHEAD_MS, .series_max = 100000};
    struct convert_options convert = {.incarnation = 7, .epoch = 3, .age_max_ms = AGE_MS, .ahead_max_ms = AHEAD_MS};
    world->store = store_new(world->clock, &options);
    world->families = families_new();
    world->ingest = ingest_new(world->store, world->families);
    world->table = layout_table_new(64 * MIB, 64 * MIB);
    world->convert = convert_new(&convert);
    world->request = (struct convert_request){.source = "agent", .datacenter = "dc9", .now_ms = NOW_MS};
    buf_init(&world->body, WRITE_REQUEST_BYTES_MAX);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    convert_result_done(&world->result);
    convert_free(world->convert);
    ingest_free(world->ingest);
    families_free(world->families);
    store_free(world->store);
    layout_table_free(world->table);
    clock_free(world->clock);
    buf_done(&world->body);
    mem_free(world);
    return 0;
}

static int run(struct world *world, const struct buf *request)
{
    convert_result_done(&world->result);
    buf_reset(&world->body);
    wire_pack(request, &world->body);
    world->request.body = buf_view(&world->body);
    return convert_run(world->convert, &world->request, &world->result);
}

/* Into the store, as from the log. */
static void take_in(struct world *world)
{
    for (size_t i = 0; i < world->result.batch_count; i++) {
        const struct convert_batch *batch = &world->result.batches[i];
        uint32_t count = envelope_layout_count(&batch->envelope);
        for (uint32_t j = 0; j < count; j++)
            assert_int_equal(layout_table_hold(world->table, batch->layouts[j]), 0);
        assert_int_equal(ingest_batch(world->ingest, world->table, ++world->batches, buf_view(&batch->bytes), NOW_MS),
                         0);
        for (uint32_t j = 0; j < count; j++)
            layout_table_release(world->table, envelope_layout_at(&batch->envelope, j));
    }
}

static void store_request(struct world *world, const struct buf *request)
{
    assert_int_equal(run(world, request), 0);
    take_in(world);
}

/* All that the store has, a line for each series: labels, then times before now and values. */
static void dump(struct world *world, struct buf *out)
{
    struct matcher matcher;
    char error[256];
    struct select_range range = {.start_ms = NOW_MS - AGE_MS, .end_ms = NOW_MS + AHEAD_MS + 1};
    struct labels *labels;
    struct sample samples[64];
    assert_int_equal(matcher_init(&matcher, MATCH_REGEX, STR(LABEL_NAME), STR(".+"), error), 0);
    CLEANUP(select_freep) struct select *select = NULL;
    assert_int_equal(select_open(world->store, &matcher, 1, &range, &select), 0);
    CLEANUP(sample_reader_freep) struct sample_reader *reader = sample_reader_new(select, SELECT_LAST);
    while (select_next(select, &labels) > 0) {
        sample_reader_current(reader);
        labels_print(labels, out);
        int64_t count;
        while ((count = sample_reader_read(reader, samples, ARRAY_LEN(samples))) > 0)
            for (int64_t i = 0; i < count; i++)
                buf_printf(out, " %lld:%g", (long long)(samples[i].time_ms - NOW_MS), samples[i].value);
        buf_append_byte(out, '\n');
    }
    matcher_done(&matcher);
}

static void expect_store(struct world *world, const char *wanted)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(16 * MIB);
    dump(world, &text);
    buf_append_byte(&text, 0);
    assert_string_equal((const char *)text.data, wanted);
}

#define REQUEST(name) CLEANUP(buf_done) struct buf name = BUF_INIT(WRITE_REQUEST_BYTES_MAX)

static void a_series_comes_with_its_labels_and_the_senders_datacenter(void **state)
{
    struct world *world = *state;
    REQUEST(request);
    wire_series(&request, "z=1,job=a,instance=h:1,__name__=m,empty=,a=2", NOW_MS, 1.5);
    wire_series(&request, "__name__=n", NOW_MS, -3);
    store_request(world, &request);
    assert_int_equal(world->result.counts.series, 2);
    assert_int_equal(world->result.counts.samples, 2);
    assert_int_equal(convert_refused(&world->result.counts), 0);
    expect_store(world, "m{a=\"2\",datacenter=\"dc9\",instance=\"h:1\",job=\"a\",z=\"1\"} 0:1.5\n"
                        "n{datacenter=\"dc9\"} 0:-3\n");
    const struct envelope *envelope = &world->result.batches[0].envelope;
    assert_true(envelope->is_remote_write);
    assert_int_equal(envelope->source.incarnation, 7);
    assert_int_equal(envelope->epoch, 3);
    assert_int_equal(envelope->seq, 1);
    store_request(world, &request);
    assert_int_equal(world->result.batches[0].envelope.seq, 2);
    /* Each source counts for itself. */
    world->request.source = "other";
    store_request(world, &request);
    assert_int_equal(world->result.batches[0].envelope.seq, 1);
}

static void a_datacenter_of_its_own_moves_or_stays(void **state)
{
    struct world *world = *state;
    REQUEST(request);
    wire_series(&request, "__name__=a,datacenter=far,exported_datacenter=old", NOW_MS, 1);
    wire_series(&request, "__name__=b,datacenter=dc9", NOW_MS, 2);
    wire_series(&request, "__name__=c", NOW_MS, 3);
    store_request(world, &request);
    expect_store(world, "a{datacenter=\"dc9\",exported_datacenter=\"far\",exported_exported_datacenter=\"old\"} 0:1\n"
                        "b{datacenter=\"dc9\"} 0:2\nc{datacenter=\"dc9\"} 0:3\n");
    world->request.honor_datacenter = true;
    store_request(world, &request);
    expect_store(world, "a{datacenter=\"dc9\",exported_datacenter=\"far\",exported_exported_datacenter=\"old\"} 0:1\n"
                        "a{datacenter=\"far\",exported_datacenter=\"old\"} 0:1\n"
                        "b{datacenter=\"dc9\"} 0:2\nc 0:3\nc{datacenter=\"dc9\"} 0:3\n");
}

/* A series of these labels is refused for the reason, beside one that is stored. */
static void expect_refusal(struct world *world, const char *labels, enum refusal refusal)
{
    REQUEST(request);
    wire_series(&request, labels, NOW_MS, 1);
    wire_series(&request, "__name__=good", NOW_MS, 1);
    assert_int_equal(run(world, &request), 0);
    if (world->result.counts.refused[refusal] != 1 || convert_refused(&world->result.counts) != 1)
        fail_msg("%s was not refused as %s", labels, refusal_name(refusal));
    assert_int_equal(world->result.counts.samples, 1);
    assert_non_null(strstr(world->result.text, "series 1 of the request"));
}

static void labels_that_are_none_are_refused(void **state)
{
    struct world *world = *state;
    static const char *const invalid[] = {
        "job=a",                    /* no metric */
        "__name__=",                /* an empty one */
        "__name__=a-b",             /* not its letters */
        "__name__=m,9=x",           /* a name that is none */
        "__name__=m,=x",            /* an empty one */
        "__name__=m,a:b=x",         /* a colon is for metrics */
        "__name__=m,a=1,a=2",       /* twice */
        "__name__=m,__name__=n",    /* the metric twice */
        "__name__=m,a=\xff\xfe",    /* no UTF-8 */
        "__name__=m,caf\xc3\xa9=x", /* names are ASCII in 2.42 */
    };
    for (size_t i = 0; i < ARRAY_LEN(invalid); i++)
        expect_refusal(world, invalid[i], REFUSAL_LABELS);
}

static void labels_past_a_limit_are_refused(void **state)
{
    struct world *world = *state;
    static const struct {
        size_t labels, name_bytes, value_bytes;
        bool fits;
    } cases[] = {
        {SERIES_LABELS_MAX - 1, 3, 1, true},        {SERIES_LABELS_MAX, 3, 1, false},
        {1, SERIES_LABEL_NAME_BYTES_MAX, 1, true},  {1, SERIES_LABEL_NAME_BYTES_MAX + 1, 1, false},
        {1, 3, SERIES_LABEL_VALUE_BYTES_MAX, true}, {1, 3, SERIES_LABEL_VALUE_BYTES_MAX + 1, false},
    };
    char name[SERIES_LABEL_NAME_BYTES_MAX + 2], value[SERIES_LABEL_VALUE_BYTES_MAX + 2];
    memset(value, 'v', sizeof(value));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        REQUEST(request);
        CLEANUP(buf_done) struct buf series = BUF_INIT(MIB);
        wire_put_label(&series, LABEL_NAME, STR("m"));
        for (size_t j = 0; j < cases[i].labels; j++) {
            memset(name, 'n', sizeof(name));
            name[0] = (char)('a' + j / 26);
            name[1] = (char)('a' + j % 26);
            name[cases[i].name_bytes] = 0;
            wire_put_label(&series, name, str_of(value, cases[i].value_bytes));
        }
        wire_put_sample(&series, NOW_MS, 1);
        wire_put(&request, 1, buf_view(&series));
        assert_int_equal(run(world, &request), 0);
        assert_int_equal(world->result.counts.refused[REFUSAL_TOO_LONG], !cases[i].fits);
        assert_int_equal(world->result.counts.samples, cases[i].fits);
    }
}

static void times_out_of_reach_are_refused(void **state)
{
    struct world *world = *state;
    REQUEST(request);
    CLEANUP(buf_done) struct buf series = BUF_INIT(MIB);
    const int64_t times[] = {
        NOW_MS - AGE_MS, NOW_MS - AGE_MS - 1, NOW_MS + AHEAD_MS, NOW_MS + AHEAD_MS + 1, -1, INT64_MAX, INT64_MIN, 0};
    wire_labels(&series, "__name__=m");
    for (size_t i = 0; i < ARRAY_LEN(times); i++)
        wire_put_sample(&series, times[i], (double)i);
    wire_put(&request, 1, buf_view(&series));
    store_request(world, &request);
    assert_int_equal(world->result.counts.refused[REFUSAL_TOO_OLD], 4);
    assert_int_equal(world->result.counts.refused[REFUSAL_TOO_NEW], 2);
    assert_int_equal(world->result.counts.samples, 2);
    assert_string_equal(world->result.text, "older than head.max_age: m{datacenter=\"dc9\"} at 1699996399999 ms");
    expect_store(world, "m{datacenter=\"dc9\"} -3600000:0 600000:2\n");
}

/* More than one record holds, in any order, times twice, markers and NaN among them. */
static void many_samples_of_a_series_all_come(void **state)
{
    struct world *world = *state;
    enum { SAMPLES = 700 };
    REQUEST(request);
    for (int i = SAMPLES - 1; i >= 0; i -= 2) { /* the later half of each pair first */
        CLEANUP(buf_done) struct buf series = BUF_INIT(MIB);
        wire_labels(&series, "__name__=m,i=0");
        wire_put_sample(&series, NOW_MS - i * 1000, i == 21 ? double_from_bits(NORMAL_NAN_BITS) : i);
        wire_put_sample(&series, NOW_MS - (i - 1) * 1000, i == 11 ? value_stale() : i - 1);
        wire_put_sample(&series, NOW_MS - i * 1000, -1);
        wire_put(&request, 1, buf_view(&series));
    }
    wire_series(&request, "__name__=m,i=1", NOW_MS, 5);
    store_request(world, &request);
    assert_int_equal(convert_refused(&world->result.counts), 0);
    CLEANUP(buf_done) struct buf wanted = BUF_INIT(MIB);
    buf_append_text(&wanted, "m{datacenter=\"dc9\",i=\"0\"}");
    for (int i = SAMPLES - 1; i >= 0; i--) {
        double value = i == 10 ? value_stale() : i == 21 ? double_from_bits(NORMAL_NAN_BITS) : i;
        buf_printf(&wanted, " %d:%g", -i * 1000, value);
    }
    buf_append_text(&wanted, "\nm{datacenter=\"dc9\",i=\"1\"} 0:5\n");
    buf_append_byte(&wanted, 0);
    expect_store(world, (const char *)wanted.data);
    take_in(world); /* the same once more */
    expect_store(world, (const char *)wanted.data);
}

/* Of two values for one time the first stays: in a request, in the next one, and late. */
static void what_is_there_stays(void **state)
{
    struct world *world = *state;
    static const int offsets[] = {0, 0, -20000, -20000, 0, -20000, -40000, -20000, -40000};
    for (size_t i = 0; i < ARRAY_LEN(offsets); i++) {
        REQUEST(request);
        wire_series(&request, "__name__=m", NOW_MS + offsets[i], (double)i);
        wire_series(&request, "__name__=m", NOW_MS + offsets[i], -1);
        store_request(world, &request);
    }
    expect_store(world, "m{datacenter=\"dc9\"} -40000:6 -20000:2 0:0\n");
}

/* ---- Pages ---- */

enum { HOSTS = 3, METRICS = 120, SLOTS = 4, CUT_PAGES_MAX = 1 };

/* The series [from, to) of all hosts' pages. */
static void fleet_request(struct buf *request, int from, int to)
{
    for (int number = from; number < to; number++) {
        int host = number / (METRICS * SLOTS), metric = number / SLOTS % METRICS, slot = number % SLOTS;
        char labels[128];
        snprintf(labels, sizeof(labels), "__name__=metric_%d,job=node,instance=h%d,slot=%d", metric, host, slot);
        wire_series(request, labels, NOW_MS, number);
    }
}

/* Pages named by the result's batches: how many, and how many of them are in `known`, which they are added to. */
static size_t note_pages(struct world *world, struct map *known, size_t *ret_known)
{
    size_t count = 0;
    *ret_known = 0;
    for (size_t i = 0; i < world->result.batch_count; i++) {
        const struct envelope *envelope = &world->result.batches[i].envelope;
        for (uint32_t j = 0; j < envelope->page_count; j++, count++) {
            uint64_t hash = hash128_low(envelope->pages[j]);
            if (map_get(known, hash, NULL, NULL))
                ++*ret_known;
            else
                map_put(known, hash, world);
        }
    }
    return count;
}

static void pages_are_the_same_wherever_requests_are_cut(void **state)
{
    struct world *world = *state;
    struct map known;
    map_init(&known);
    size_t again, all = HOSTS * METRICS * SLOTS;
    REQUEST(whole);
    fleet_request(&whole, 0, (int)all);
    store_request(world, &whole);
    size_t pages = note_pages(world, &known, &again);
    assert_in_range(pages, 3, METRICS / 4); /* some 8; once for all hosts */
    assert_int_equal(again, 0);

    store_request(world, &whole);
    assert_int_equal(note_pages(world, &known, &again), pages);
    assert_int_equal(again, pages);

    /* Of a request that begins or ends anywhere one page is new, at its end. */
    for (int cut = 100; cut < (int)all; cut += 377) {
        for (int side = 0; side < 2; side++) {
            REQUEST(part);
            fleet_request(&part, side ? cut : 0, side ? (int)all : cut);
            store_request(world, &part);
            pages = note_pages(world, &known, &again);
            assert_in_range(again, pages - MIN(pages, (size_t)CUT_PAGES_MAX), pages);
        }
    }
    struct store_stats stats;
    store_stats(world->store, &stats);
    assert_int_equal(stats.samples, all);
    map_done(&known);
}

static void metadata_makes_families(void **state)
{
    struct world *world = *state;
    REQUEST(request);
    wire_metadata(&request, 3, "rpc_seconds", "Time of calls.");
    wire_metadata(&request, 1, "jobs", "OpenMetrics tells counters without _total.");
    wire_metadata(&request, 2, "temperature", "");
    wire_series(&request, "__name__=rpc_seconds_bucket,le=1", NOW_MS, 1);
    wire_series(&request, "__name__=rpc_seconds_sum", NOW_MS, 1);
    wire_series(&request, "__name__=jobs_total", NOW_MS, 1);
    wire_series(&request, "__name__=temperature", NOW_MS, 1);
    wire_series(&request, "__name__=nothing_said_sum", NOW_MS, 1);
    store_request(world, &request);
    assert_int_equal(world->result.counts.metadata, 3);
    unsigned found = 0;
    const struct convert_batch *batch = &world->result.batches[0];
    for (uint32_t i = 1; i < envelope_layout_count(&batch->envelope); i++) {
        const struct layout *page = batch->layouts[i];
        for (uint32_t f = 0; f < page->count; f++) {
            const struct layout *family = page->families[f];
            if (str_equal(family->name, STR("rpc_seconds"))) {
                assert_int_equal(family->metric_type, METRIC_HISTOGRAM);
                assert_true(str_equal(family->help, STR("Time of calls.")));
                assert_int_equal(family->slots[0].kind, KIND_COUNTER);
                found |= 1;
            } else if (str_equal(family->name, STR("jobs"))) {
                assert_int_equal(family->metric_type, METRIC_COUNTER);
                found |= 2;
            } else if (str_equal(family->name, STR("temperature"))) {
                assert_int_equal(family->slots[0].kind, KIND_GAUGE);
                found |= 4;
            } else if (str_equal(family->name, STR("nothing_said_sum"))) {
                assert_int_equal(family->metric_type, METRIC_UNKNOWN);
                assert_int_equal(family->slots[0].kind, KIND_COUNTER);
                found |= 8;
            }
        }
    }
    assert_int_equal(found, 15);
    expect_store(world, "jobs_total{datacenter=\"dc9\"} 0:1\nnothing_said_sum{datacenter=\"dc9\"} 0:1\n"
                        "rpc_seconds_bucket{datacenter=\"dc9\",le=\"1\"} 0:1\nrpc_seconds_sum{datacenter=\"dc9\"} 0:1\n"
                        "temperature{datacenter=\"dc9\"} 0:1\n");
}

static void of_two_that_differ_the_first_stands_while_it_is_said(void **state)
{
    (void)state;
    CLEANUP(metadata_freep) struct metadata *metadata = metadata_new();
    const struct wire_metadata one = {STR("m"), STR("one"), STR(""), METRIC_GAUGE};
    const struct wire_metadata two = {STR("m"), STR("two"), STR(""), METRIC_COUNTER};
    metadata_put(metadata, &one, 0);
    uint64_t version = metadata_version(metadata);
    for (int64_t now_ms = 0; now_ms < 3600000; now_ms += 60000) {
        metadata_put(metadata, &two, now_ms);
        metadata_put(metadata, &one, now_ms);
    }
    assert_int_equal(metadata_version(metadata), version);
    assert_int_equal(metadata_family(metadata, STR("m")).type, METRIC_GAUGE);
    metadata_put(metadata, &two, 3600000 + 600000);
    assert_true(metadata_version(metadata) != version);
    assert_int_equal(metadata_family(metadata, STR("m")).type, METRIC_COUNTER);
    assert_true(str_equal(metadata_family(metadata, STR("m")).help, STR("two")));
    /* Texts that a layout would refuse are left out. */
    const struct wire_metadata bad = {STR("b"), STR("\xff"), STR("\xff"), METRIC_GAUGE};
    metadata_put(metadata, &bad, 0);
    assert_int_equal(metadata_family(metadata, STR("b")).help.len, 0);
    assert_int_equal(metadata_family(metadata, STR("b")).type, METRIC_GAUGE);
}

/* ---- What is dropped, and what is malformed ---- */

static void exemplars_and_histograms_are_counted(void **state)
{
    struct world *world = *state;
    REQUEST(request);
    CLEANUP(buf_done) struct buf series = BUF_INIT(MIB);
    wire_labels(&series, "__name__=m");
    wire_put(&series, 3,
             STR("\x09"
                 "12345678"));
    wire_put_sample(&series, NOW_MS, 1);
    wire_put(&series, 4, STR("\x08\x01"));
    wire_put(&series, 4, STR(""));
    wire_put(&series, 15, STR("of a later version"));
    wire_put(&request, 1, buf_view(&series));
    wire_put(&request, 2, STR("reserved"));
    wire_put(&request, 9, STR("of a later version"));
    store_request(world, &request);
    assert_int_equal(world->result.counts.exemplars, 1);
    assert_int_equal(world->result.counts.histograms, 2);
    expect_store(world, "m{datacenter=\"dc9\"} 0:1\n");
}

/* Nothing is kept of a request that is cut anywhere, or of which a field has another type. */
static void malformed_requests_are_refused_whole(void **state)
{
    struct world *world = *state;
    REQUEST(request);
    wire_series(&request, "__name__=m,a=1", NOW_MS, 1);
    size_t whole = request.len;
    for (size_t len = 1; len < whole; len++) {
        request.len = len;
        assert_int_equal(run(world, &request), -EBADMSG);
        assert_int_equal(world->result.batch_count, 0);
    }
    request.len = whole;
    wire_put(&request, 1, STR("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")); /* a label of 2^64 - 1 bytes */
    assert_int_equal(run(world, &request), -EBADMSG);
    static const struct str others[] = {
        {"\x08\x01", 2},                 /* series as a number */
        {"\x0a\x02\x0a\x02", 4},         /* a label past its series */
        {"\x0a\x02\x10\x01", 4},         /* samples as a number */
        {"\x0a\x04\x0a\x02\x08\x01", 6}, /* a label's name as a number */
        {"\x0a\x04\x12\x02\x08\x01", 6}, /* a value as a number */
        {"\x0b\x0c", 2},                 /* a group */
        {"\x02\x00", 2},                 /* field 0 */
        {"\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12},
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        buf_reset(&request);
        wire_series(&request, "__name__=m", NOW_MS, 1);
        buf_append_str(&request, others[i]);
        assert_int_equal(run(world, &request), -EBADMSG);
    }
    expect_store(world, "");
}

/* 10 bytes that claim 4 GiB: refused before memory is taken for them. */
static void bombs_are_refused(void **state)
{
    struct world *world = *state;
    static const struct str claims[] = {
        {"\xff\xff\xff\xff\x0f", 5}, {"\xff\xff\xff\xff\x0f\x00\x61\x61", 8}, {"\x80\x80\x80\x10", 4}, {"", 0}};
    CLEANUP(buf_done) struct buf out = BUF_INIT(CONVERT_RAW_BYTES_MAX);
    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        assert_int_equal(expand_block(claims[i], &out), -EBADMSG);
        assert_int_equal(out.capacity, 0);
    }
    /* The densest block there is, a byte past what is taken. */
    REQUEST(request);
    uint8_t *room = buf_reserve(&request, CONVERT_RAW_BYTES_MAX + 1);
    memset(room, 0, CONVERT_RAW_BYTES_MAX + 1);
    buf_added(&request, CONVERT_RAW_BYTES_MAX + 1);
    assert_int_equal(run(world, &request), -EMSGSIZE);
    request.len--;
    assert_int_equal(run(world, &request), -EBADMSG); /* it may be so long; zero is no field */
}

static void too_much_at_once_is_refused(void **state)
{
    struct world *world = *state;
    REQUEST(request);
    for (int i = 0; i < CONVERT_SERIES_MAX; i++)
        wire_put(&request, 1, STR(""));
    assert_int_equal(run(world, &request), 0);
    assert_int_equal(world->result.batch_count, 0);
    wire_put(&request, 1, STR(""));
    assert_int_equal(run(world, &request), -EMSGSIZE);

    REQUEST(other);
    CLEANUP(buf_done) struct buf series = BUF_INIT(32 * MIB);
    for (int i = 0; i < CONVERT_SAMPLES_MAX; i++)
        wire_put(&series, 2, STR(""));
    wire_labels(&series, "__name__=m");
    wire_put(&other, 1, buf_view(&series));
    assert_int_equal(run(world, &other), 0);
    assert_int_equal(world->result.counts.refused[REFUSAL_TOO_OLD], CONVERT_SAMPLES_MAX); /* of 1970 */
    wire_put(&series, 2, STR(""));
    buf_reset(&other);
    wire_put(&other, 1, buf_view(&series));
    assert_int_equal(run(world, &other), -EMSGSIZE);
}

/* Past what a batch holds there are several, and all is there. */
static void large_requests_become_several_batches(void **state)
{
    struct world *world = *state;
    enum { SERIES = 60000 };
    REQUEST(request);
    char value[200], labels[300];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = 0;
    for (int i = 0; i < SERIES; i++) {
        snprintf(labels, sizeof(labels), "__name__=m%d,i=%d,text=%s", i % 50, i, value);
        wire_series(&request, labels, NOW_MS - i, i);
    }
    store_request(world, &request);
    assert_true(world->result.batch_count > 1);
    for (size_t i = 0; i < world->result.batch_count; i++)
        assert_int_equal(world->result.batches[i].envelope.seq, i + 1);
    struct store_stats stats;
    store_stats(world->store, &stats);
    assert_int_equal(stats.samples, SERIES);
    assert_int_equal(stats.series, SERIES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_series_comes_with_its_labels_and_the_senders_datacenter, setup, teardown),
        cmocka_unit_test_setup_teardown(a_datacenter_of_its_own_moves_or_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(labels_that_are_none_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(labels_past_a_limit_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(times_out_of_reach_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(many_samples_of_a_series_all_come, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_there_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_are_the_same_wherever_requests_are_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(metadata_makes_families, setup, teardown),
        cmocka_unit_test(of_two_that_differ_the_first_stands_while_it_is_said),
        cmocka_unit_test_setup_teardown(exemplars_and_histograms_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed_requests_are_refused_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(bombs_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(too_much_at_once_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(large_requests_become_several_batches, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
