/* What layouts cost where series come and go and hosts differ: pages as real hosts show them, through the pipeline, the
 * segment's packs and the sender's. Bytes do not depend on time: they are asserted. */
#include "layout_world.h"
#include "secondary/pipeline.h"

#define WINDOW_MS 60000
#define T0        INT64_C(1700000040000)

struct churn {
    struct layout_link link;
    struct pipeline *pipeline;
    struct random random;
    struct buf body;
    /* Of the windows since the last reset. */
    uint64_t hash_bytes, batch_bytes, records, parts;
};

static void take(void *arg, struct pipeline_sealed *sealed)
{
    struct churn *churn = arg;
    CLEANUP(buf_done) struct buf batch = BUF_INIT(BATCH_BYTES_MAX);
    struct envelope envelope = {.source = {STR("dc1"), STR("rack-1"), 1},
                                .epoch = 1,
                                .seq = ++churn->parts,
                                .window_start_ms = sealed->window_start_ms,
                                .resolution_ms = sealed->resolution_ms,
                                .span_ms = sealed->span_ms};
    assert_int_equal(batch_writer_finish(sealed->writer, &envelope, churn->link.lower, &batch), 0);
    link_send_batch(&churn->link, &envelope);
    for (uint32_t i = 0; i < envelope_layout_count(&envelope); i++)
        assert_true(layout_group_has(churn->link.upper_group, envelope_layout_at(&envelope, i)));
    uint64_t hashes = sizeof(struct hash128) * envelope_layout_count(&envelope);
    churn->hash_bytes += hashes;
    churn->batch_bytes += batch.len - hashes;
    churn->records += batch_writer_records(sealed->writer);
    batch_writer_release(sealed->writer, churn->link.lower);
    batch_writer_free(sealed->writer);
}

static void churn_init(struct churn *churn, uint64_t cache_bytes)
{
    *churn = (struct churn){.body = BUF_INIT(8 * MIB)};
    layout_link_init(&churn->link, 256 * MIB, cache_bytes);
    random_seed(&churn->random, 1);
    struct window_rules_error error;
    CLEANUP(window_rules_unrefp) struct window_rules *rules = NULL;
    assert_int_equal(window_rules_new(NULL, 0, WINDOW_MS, &error, &rules), 0);
    struct pipeline_options options = {.rules = rules, .page_bytes_max = GIB, .sealed = take, .sealed_arg = churn};
    churn->pipeline = pipeline_new(&options);
}

static void churn_done(struct churn *churn)
{
    pipeline_free(churn->pipeline);
    assert_int_equal(layout_table_held(churn->link.lower), 0);
    assert_int_equal(churn->link.missing, 0);
    layout_link_done(&churn->link);
    buf_done(&churn->body);
}

static void close_all(struct churn *churn, unsigned window, struct pipeline_target *const *targets, unsigned count)
{
    CLEANUP_FREE struct pipeline_closing *closing = mem_array(count, sizeof(*closing));
    for (unsigned i = 0; i < count; i++)
        closing[i] = (struct pipeline_closing){targets[i], T0 + (window + 1) * WINDOW_MS};
    pipeline_close(churn->pipeline, T0 + window * WINDOW_MS, closing, count);
}

static void reset(struct churn *churn)
{
    churn->hash_bytes = churn->batch_bytes = churn->records = churn->parts = 0;
    churn->link.pack_bytes = churn->link.segment_bytes = churn->link.layouts = 0;
}

static void report(const struct churn *churn, const char *what, unsigned pages)
{
    print_message("%s: per page %.0f bytes of packs, %.0f of hashes, %.0f in the segment; %.0f of values and the rest "
                  "(%.2f a record); layouts %.3f a record\n",
                  what, (double)churn->link.pack_bytes / pages, (double)churn->hash_bytes / pages,
                  (double)churn->link.segment_bytes / pages, (double)churn->batch_bytes / pages,
                  (double)churn->batch_bytes / (double)churn->records,
                  (double)(churn->link.pack_bytes + churn->hash_bytes) / (double)churn->records);
}

static const struct pipeline_job job = {
    .sample_limit = 100000, .label_limit = 100, .label_name_bytes_max = 1000, .label_value_bytes_max = 1000};

static struct pipeline_target *target_new(struct churn *churn, unsigned number)
{
    char name[32];
    snprintf(name, sizeof(name), "host-%03u:9100", number);
    const struct label labels[] = {{STR("instance"), str_from(name)}, {STR("job"), STR("node")}};
    CLEANUP(labels_unrefp) struct labels *set = labels_new(labels, 2);
    return pipeline_target_new(churn->pipeline, set, 15000, &job);
}

static void scrape(struct churn *churn, struct pipeline_target *target, int64_t time_ms)
{
    struct scrape_report scraped;
    struct scrape_outcome outcome = {.time_ms = time_ms, .duration_ns = 12000000, .body = buf_view(&churn->body)};
    assert_false(churn->body.full);
    pipeline_scrape(target, &outcome, &scraped);
    assert_int_equal(scraped.failure, SCRAPE_OK);
}

static void append_hex(struct churn *churn, unsigned digits)
{
    for (unsigned i = 0; i < digits; i++)
        buf_append_byte(&churn->body, (uint8_t) "0123456789abcdef"[random_below(&churn->random, 16)]);
}

/* ---- Containers: 100 hosts, each with pods of its own ---- */

enum { NODES = 100, PODS = 30, CONTAINERS = 2, CONTAINER_FAMILIES = 50, CONTAINER_SERIES = 3000 };

struct container {
    char labels[512]; /* as they stand in a line */
};

struct node {
    struct container containers[PODS][CONTAINERS];
    struct pipeline_target *target;
};

static void new_pod(struct churn *churn, struct node *node, unsigned pod)
{
    struct buf *text = &churn->body;
    for (unsigned c = 0; c < CONTAINERS; c++) {
        struct container *container = &node->containers[pod][c];
        unsigned service = (unsigned)random_below(&churn->random, 40);
        buf_reset(text);
        buf_printf(text, "container=\"app-%u\",id=\"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod",
                   c);
        append_hex(churn, 32);
        buf_append_text(text, ".slice/cri-containerd-");
        append_hex(churn, 64);
        buf_printf(text, ".scope\",image=\"registry.example.com/team-%u/service-%u@sha256:", service % 7, service);
        buf_printf(text, "%064u\",name=\"", service * 7919);
        append_hex(churn, 64);
        buf_printf(text, "\",namespace=\"team-%u\",pod=\"service-%u-", service % 7, service);
        append_hex(churn, 10);
        buf_append_byte(text, '-');
        append_hex(churn, 5);
        buf_append_text(text, "\"");
        assert_true(text->len < sizeof(container->labels));
        memcpy(container->labels, text->data, text->len);
        container->labels[text->len] = 0;
    }
}

static void node_page(struct churn *churn, const struct node *node, unsigned minute)
{
    buf_reset(&churn->body);
    for (unsigned f = 0; f < CONTAINER_FAMILIES; f++) {
        const char *name = f % 2 ? "bytes" : "seconds_total";
        buf_printf(&churn->body, "# HELP container_metric_%u_%s What the kernel counts for the container.\n", f, name);
        buf_printf(&churn->body, "# TYPE container_metric_%u_%s %s\n", f, name, f % 2 ? "gauge" : "counter");
        char start[64];
        int len = snprintf(start, sizeof(start), "container_metric_%u_%s{", f, name);
        for (unsigned i = 0; i < PODS * CONTAINERS; i++) {
            unsigned value = 1000 * i + 17 * minute + (unsigned)random_below(&churn->random, 400);
            buf_append(&churn->body, start, (size_t)len);
            buf_append_text(&churn->body, node->containers[i / CONTAINERS][i % CONTAINERS].labels);
            buf_printf(&churn->body, "} %u.%02u\n", value, (unsigned)random_below(&churn->random, 100));
        }
    }
}

static void container_window(struct churn *churn, struct node *nodes, unsigned count, unsigned minute)
{
    struct pipeline_target *targets[NODES];
    for (unsigned n = 0; n < count; n++) {
        for (unsigned pod = 0; pod < PODS; pod++)
            if (minute == 0 || pod == minute * 7 % PODS)
                new_pod(churn, &nodes[n], pod);
        node_page(churn, &nodes[n], minute);
        targets[n] = nodes[n].target;
        scrape(churn, nodes[n].target, T0 + minute * WINDOW_MS + 15000);
    }
    close_all(churn, minute, targets, count);
}

/* One pod of each host replaced in each minute. */
static void a_replaced_pod_costs_less_than_values(void **state)
{
    (void)state;
    static struct churn churn;
    static struct node nodes[NODES];
    churn_init(&churn, GIB);
    for (unsigned n = 0; n < NODES; n++)
        nodes[n].target = target_new(&churn, n);
    container_window(&churn, nodes, NODES, 0);
    report(&churn, "containers, first window", NODES);
    uint64_t packed = layout_table_packed_bytes(churn.link.lower);
    for (unsigned minute = 1; minute <= 2; minute++) {
        reset(&churn);
        container_window(&churn, nodes, NODES, minute);
        report(&churn, "containers, a pod replaced", NODES);
        uint64_t layout_bytes = churn.link.pack_bytes + churn.hash_bytes;
        assert_true(layout_bytes < churn.batch_bytes);
        assert_true(layout_bytes < NODES * 1000);
        assert_true(churn.records >= (uint64_t)NODES * CONTAINER_SERIES);
    }
    /* What a version of a page keeps in memory is what it says new: a day of this fits into a secondary's bound. */
    uint64_t version = (layout_table_packed_bytes(churn.link.lower) - packed) / (2 * NODES);
    print_message("a version of a page takes %llu bytes packed in memory\n", (unsigned long long)version);
    assert_true(version < 2000);
    for (unsigned n = 0; n < NODES; n++)
        pipeline_target_free(nodes[n].target);
    churn_done(&churn);
}

/* What is expanded does not pile up, version by version; what is packed is what was new in each. */
static void memory_is_bounded_under_churn(void **state)
{
    (void)state;
    enum { FEW = 6, MINUTES = 12 };
    static struct churn churn;
    static struct node nodes[FEW];
    churn_init(&churn, 24 * MIB);
    for (unsigned n = 0; n < FEW; n++)
        nodes[n].target = target_new(&churn, n);
    for (unsigned minute = 0; minute < MINUTES; minute++) {
        if (minute == 1)
            reset(&churn);
        container_window(&churn, nodes, FEW, minute);
        assert_true(layout_table_cache_bytes(churn.link.lower) <= 24 * MIB);
        assert_true(layout_table_cache_bytes(churn.link.upper) <= 24 * MIB);
    }
    /* Small as the cache is, the version before was always at hand. */
    assert_true(churn.link.pack_bytes < FEW * (MINUTES - 1) * 2000);
    assert_true(layout_table_packed_bytes(churn.link.upper) < FEW * (30000 + MINUTES * 2000));
    for (unsigned n = 0; n < FEW; n++)
        pipeline_target_free(nodes[n].target);
    churn_done(&churn);
}

/* ---- 700 series, of which one is another at each scrape ---- */

enum { SERIES = 700, FAMILY_SERIES = 5, CHURN_WINDOWS = 4, SCRAPES = 4, HOSTS_MAX = 100 };

struct churning_host {
    uint64_t sessions[SERIES]; /* 0: as on all hosts */
    struct pipeline_target *target;
};

static void short_lived_page(struct churn *churn, struct churning_host *host, unsigned scrape_number)
{
    host->sessions[random_below(&churn->random, SERIES)] = random_next(&churn->random);
    buf_reset(&churn->body);
    for (unsigned i = 0; i < SERIES; i++) {
        unsigned family = i / FAMILY_SERIES;
        if (i % FAMILY_SERIES == 0)
            buf_printf(&churn->body, "# TYPE node_metric_%u_total counter\n", family);
        buf_printf(&churn->body, "node_metric_%u_total{device=\"eth%u\",session=\"%016llx-%08llx\"} %llu\n", family,
                   i % FAMILY_SERIES, (unsigned long long)host->sessions[i],
                   (unsigned long long)(host->sessions[i] * 2654435761U) >> 32,
                   (unsigned long long)(scrape_number * 1000 * (i + 1) + random_below(&churn->random, 1000)));
    }
}

static void one_of_700_replaced(unsigned hosts)
{
    static struct churn churn;
    static struct churning_host all[HOSTS_MAX];
    struct pipeline_target *targets[HOSTS_MAX];
    churn_init(&churn, GIB);
    for (unsigned h = 0; h < hosts; h++) {
        memset(all[h].sessions, 0, sizeof(all[h].sessions));
        targets[h] = all[h].target = target_new(&churn, h);
    }
    for (unsigned window = 0; window < CHURN_WINDOWS; window++) {
        reset(&churn);
        for (unsigned h = 0; h < hosts; h++) {
            for (unsigned s = 0; s < SCRAPES; s++) {
                short_lived_page(&churn, &all[h], window * SCRAPES + s + 1);
                scrape(&churn, targets[h], T0 + window * WINDOW_MS + s * 15000 + 1000);
            }
        }
        close_all(&churn, window, targets, hosts);
        report(&churn, "one of 700 replaced at each scrape", hosts);
        uint64_t layout_bytes = churn.link.pack_bytes + churn.hash_bytes;
        if (window > 0)
            assert_true(layout_bytes <= hosts * 210);
        if (window > 0)
            assert_true((double)layout_bytes <= 0.3 * (double)churn.records);
    }
    for (unsigned h = 0; h < hosts; h++)
        pipeline_target_free(targets[h]);
    churn_done(&churn);
}

static void a_replaced_series_costs_little(void **state)
{
    (void)state;
    one_of_700_replaced(10);
    one_of_700_replaced(100);
}

/* ---- 10 hosts that all differ ---- */

enum { DIFFERENT = 10 };

static void different_page(struct churn *churn, unsigned host, unsigned window)
{
    buf_reset(&churn->body);
    for (unsigned f = 0; f < 282; f++) {
        /* 8 % of the families missing, a quarter by processor or by interface: these are each host's own. */
        if ((f * 31 + host * 17) % 100 < 8)
            continue;
        unsigned slots = f % 4 == 0 ? 4 + 3 * host : f % 9 == 1 ? 2 + host : 1;
        buf_printf(&churn->body, "# TYPE node_metric_%u gauge\n", f);
        for (unsigned i = 0; i < slots; i++) {
            buf_printf(&churn->body, "node_metric_%u", f);
            if (slots > 1)
                buf_printf(&churn->body, "{%s=\"%s%u\"}", f % 4 ? "device" : "cpu", f % 4 ? "veth" : "", i);
            buf_printf(&churn->body, " %u\n", i * 7 + window);
        }
    }
}

static void different_window(struct churn *churn, struct pipeline_target **targets, unsigned window)
{
    for (unsigned h = 0; h < DIFFERENT; h++) {
        different_page(churn, h, window);
        scrape(churn, targets[h], T0 + window * WINDOW_MS + 15000);
    }
    close_all(churn, window, targets, DIFFERENT);
}

static void hosts_that_differ_cost_nothing_once_known(void **state)
{
    (void)state;
    static struct churn churn;
    struct pipeline_target *targets[DIFFERENT];
    churn_init(&churn, GIB);
    for (unsigned h = 0; h < DIFFERENT; h++)
        targets[h] = target_new(&churn, h);
    different_window(&churn, targets, 0);
    report(&churn, "10 hosts that differ, first window", DIFFERENT);
    assert_true((double)churn.link.pack_bytes < 3.0 * (double)churn.records);
    for (unsigned window = 1; window < 3; window++) {
        reset(&churn);
        different_window(&churn, targets, window);
        report(&churn, "10 hosts that differ, known", DIFFERENT);
        assert_int_equal(churn.link.pack_bytes, 0);
        assert_true((double)churn.hash_bytes <= 0.03 * (double)churn.records);
    }
    for (unsigned h = 0; h < DIFFERENT; h++)
        pipeline_target_free(targets[h]);
    churn_done(&churn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replaced_pod_costs_less_than_values),
        cmocka_unit_test(memory_is_bounded_under_churn),
        cmocka_unit_test(a_replaced_series_costs_little),
        cmocka_unit_test(hosts_that_differ_cost_nothing_once_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
