/* What the heart costs, without any I/O: a simulated fleet's pages through the pipeline, its windows into batches, and
 * back. Prints a small table; times are of one thread on this machine, bytes are the same everywhere.
 *
 *   bench_codec [--hosts 1000] [--page full|small] [--windows 3] [--scrapes 4] */
#include "base/clock.h"
#include "base/fail.h"
#include "secondary/pipeline.h"
#include "tools/fleet_page.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOSTS_MAX = 20000, WINDOWS_MAX = 1000, SCRAPES_MAX = 60, PARTS_MAX = 256 };

#define WINDOW_MS INT64_C(60000)
#define START_MS  INT64_C(1700000040000)

struct options {
    int hosts, windows, scrapes;
    bool full;
};

struct bytes { /* of the columns, before zstd */
    uint64_t records, header, payload, changing, exceptions;
};

struct bench {
    struct options options;
    struct pipeline *pipeline;
    struct pipeline_target **targets;
    struct layout_table *table;
    struct pipeline_sealed parts[PARTS_MAX];
    size_t part_count;
    /* Of all windows but the first, whose counters begin. */
    uint64_t samples, records, batches, wire_bytes, raw_bytes;
    int64_t scrape_ns, close_ns, encode_ns, decode_ns;
    uint64_t first_bytes;
    struct bytes gauges, counters;
};

static int64_t now_ns(void)
{
    return clock_thread_cpu_ns();
}

static void take_part(void *arg, struct pipeline_sealed *sealed)
{
    struct bench *bench = arg;
    ASSERT(bench->part_count < PARTS_MAX);
    bench->parts[bench->part_count++] = *sealed;
}

static void start(struct bench *bench)
{
    static struct pipeline_job job = {.honor_timestamps = true,
                                      .sample_limit = 100000,
                                      .label_limit = 64,
                                      .label_name_bytes_max = 1024,
                                      .label_value_bytes_max = 4096};
    struct window_rules_error error;
    struct window_rules *rules = NULL;
    ASSERT(window_rules_new(NULL, 0, WINDOW_MS, &error, &rules) == 0);
    struct pipeline_options options = {
        .rules = rules, .page_bytes_max = 64 * MIB, .sealed = take_part, .sealed_arg = bench};
    bench->pipeline = pipeline_new(&options);
    window_rules_unref(rules);
    bench->table = layout_table_new(256 * MIB);
    bench->targets = mem_array((size_t)bench->options.hosts, sizeof(struct pipeline_target *));
    for (int i = 0; i < bench->options.hosts; i++) {
        char name[32];
        snprintf(name, sizeof(name), "host-%d:9100", i);
        struct label labels[] = {{STR("instance"), str_from(name)}, {STR("job"), STR("node")}};
        struct labels *set = labels_new(labels, 2);
        bench->targets[i] = pipeline_target_new(bench->pipeline, set, WINDOW_MS / bench->options.scrapes, &job);
        labels_unref(set);
    }
}

static void scrape_all(struct bench *bench, int64_t window_ms, bool counted)
{
    static char page[FLEET_PAGE_BYTES_MAX];
    int64_t interval_ms = WINDOW_MS / bench->options.scrapes;
    for (int s = 0; s < bench->options.scrapes; s++) {
        for (int i = 0; i < bench->options.hosts; i++) {
            int64_t time_ms = window_ms + s * interval_ms + i * interval_ms / bench->options.hosts;
            size_t len = fleet_page_render(page, (uint32_t)i, (double)time_ms / 1000);
            struct scrape_outcome outcome = {
                .time_ms = time_ms, .duration_ns = 20000000 + i * 1000 + s * 77777, .body = str_of(page, len)};
            struct scrape_report report;
            int64_t start_ns = now_ns();
            pipeline_scrape(bench->targets[i], &outcome, &report);
            ASSERT(report.failure == SCRAPE_OK);
            if (!counted)
                continue;
            bench->scrape_ns += now_ns() - start_ns;
            bench->samples += report.samples_kept;
        }
    }
}

static void read_back(struct bench *bench, const struct buf *batch, bool counted)
{
    struct batch_reader *reader = NULL;
    struct batch_block block;
    int64_t start_ns = now_ns();
    ASSERT(batch_reader_open(batch->data, batch->len, bench->table, &reader) == 0);
    int more;
    while ((more = batch_reader_next(reader, &block)) > 0) {
        if (!counted)
            continue;
        bool gauge = block.family->slots[0].kind == KIND_GAUGE;
        struct bytes *bytes = gauge ? &bench->gauges : &bench->counters;
        bytes->records += (uint64_t)block.entry_count * block.family->count;
        bytes->header += block.header_bytes;
        bytes->payload += block.payload_bytes;
        bytes->changing += block.changing;
        bytes->exceptions += block.exceptions;
    }
    ASSERT(more == 0);
    batch_reader_free(reader);
    if (counted)
        bench->decode_ns += now_ns() - start_ns;
}

static void close_window(struct bench *bench, int64_t window_ms, bool counted)
{
    size_t hosts = (size_t)bench->options.hosts;
    CLEANUP_FREE struct pipeline_closing *closing = mem_array(hosts, sizeof(*closing));
    for (size_t i = 0; i < hosts; i++)
        closing[i] = (struct pipeline_closing){bench->targets[i], window_ms + WINDOW_MS};
    bench->part_count = 0;
    int64_t start_ns = now_ns();
    pipeline_close(bench->pipeline, window_ms, closing, hosts);
    int64_t closed_ns = now_ns();
    bench->close_ns += counted ? closed_ns - start_ns : 0;
    for (size_t i = 0; i < bench->part_count; i++) {
        CLEANUP(buf_done) struct buf batch = BUF_INIT(BATCH_BYTES_MAX);
        struct batch_writer *writer = bench->parts[i].writer;
        struct envelope envelope = {.source = {STR("dc1"), STR("rack-7"), 1},
                                    .epoch = 1,
                                    .seq = i + 1,
                                    .window_start_ms = window_ms,
                                    .resolution_ms = WINDOW_MS,
                                    .span_ms = WINDOW_MS};
        start_ns = now_ns();
        ASSERT(batch_writer_finish(writer, &envelope, bench->table, &batch) == 0);
        int64_t encoded_ns = now_ns();
        read_back(bench, &batch, counted);
        if (counted) {
            bench->encode_ns += encoded_ns - start_ns;
            bench->records += batch_writer_records(writer);
            bench->batches++;
            bench->wire_bytes += batch.len;
            bench->raw_bytes += envelope.body_raw_bytes;
        } else {
            bench->first_bytes += batch.len;
        }
        batch_writer_release(writer, bench->table);
        batch_writer_free(writer);
    }
}

static void print_columns(const char *name, const struct bytes *bytes)
{
    double records = (double)bytes->records;
    if (records == 0)
        return;
    printf("%-10s %12.0f %12.3f %12.3f %12.3f %12.5f\n", name, records, (double)bytes->header / records,
           (double)bytes->payload / records, (double)bytes->changing / records, (double)bytes->exceptions / records);
}

static void print_result(const struct bench *bench)
{
    struct pipeline_stats stats;
    pipeline_stats(bench->pipeline, &stats);
    double samples = (double)bench->samples, records = (double)bench->records;
    printf("%d hosts, %.0f series each (%llu pages), %d scrapes a window of 60 s, %d windows counted\n",
           bench->options.hosts, (double)stats.series / bench->options.hosts, (unsigned long long)stats.pages,
           bench->options.scrapes, bench->options.windows);
    printf("%-34s %10.1f ns a sample\n", "parse and window", (double)bench->scrape_ns / samples);
    printf("%-34s %10.1f ns a record\n", "close into a part", (double)bench->close_ns / records);
    printf("%-34s %10.1f ns a record, %.1f M records/s\n", "encode and zstd", (double)bench->encode_ns / records,
           1e3 * records / (double)bench->encode_ns);
    printf("%-34s %10.1f ns a record, %.1f M records/s\n", "decode and checks", (double)bench->decode_ns / records,
           1e3 * records / (double)bench->decode_ns);
    printf("%-34s %10.3f a record, %.3f a sample\n", "bytes of batches", (double)bench->wire_bytes / records,
           (double)bench->wire_bytes / samples);
    printf("%-34s %10.3f a record\n", "before zstd", (double)bench->raw_bytes / records);
    printf("%-34s %10.3f a record\n", "the first window",
           (double)bench->first_bytes * bench->options.windows / records);
    printf("%-34s %10.1f MiB in %llu batches\n", "all together", (double)bench->wire_bytes / (double)MIB,
           (unsigned long long)bench->batches);
    printf("%-34s %10.1f bytes a series\n", "state of windows", (double)stats.window_bytes / (double)stats.series);
    printf("\n%-10s %12s %12s %12s %12s %12s\n", "columns", "records", "header/rec", "payload/rec", "changing",
           "exceptions");
    print_columns("gauges", &bench->gauges);
    print_columns("counters", &bench->counters);
}

static int number_of(const char *name, const char *text, long high)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || end == text || value < 1 || value > high) {
        fprintf(stderr, "bench_codec: --%s takes a number from 1 to %ld, not \"%s\"\n", name, high, text);
        exit(2);
    }
    return (int)value;
}

static struct options read_options(int argc, char **argv)
{
    static const struct option known[] = {{"hosts", required_argument, NULL, 'h'},
                                          {"page", required_argument, NULL, 'p'},
                                          {"windows", required_argument, NULL, 'w'},
                                          {"scrapes", required_argument, NULL, 's'},
                                          {NULL, 0, NULL, 0}};
    struct options options = {.hosts = 1000, .windows = 3, .scrapes = 4, .full = true};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 'h')
            options.hosts = number_of("hosts", optarg, HOSTS_MAX);
        else if (option == 'w')
            options.windows = number_of("windows", optarg, WINDOWS_MAX);
        else if (option == 's')
            options.scrapes = number_of("scrapes", optarg, SCRAPES_MAX);
        else if (option == 'p')
            options.full = strcmp(optarg, "full") == 0;
        else
            exit(2);
    }
    return options;
}

int main(int argc, char **argv)
{
    struct bench bench = {.options = read_options(argc, argv)};
    fleet_page_make(bench.options.full);
    start(&bench);
    for (int w = 0; w <= bench.options.windows; w++) {
        scrape_all(&bench, START_MS + w * WINDOW_MS, w > 0);
        close_window(&bench, START_MS + w * WINDOW_MS, w > 0);
    }
    print_result(&bench);
    for (int i = 0; i < bench.options.hosts; i++)
        pipeline_target_free(bench.targets[i]);
    mem_free(bench.targets);
    pipeline_free(bench.pipeline);
    layout_table_free(bench.table);
    return 0;
}
