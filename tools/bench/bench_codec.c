/* What the heart costs, without any I/O: a fixture's pages through the pipeline, its windows into batches, over a
 * simulated link, and back. Times are of one thread on this machine, bytes are the same everywhere. See --help and
 * tools/bench/README.md. */
#include "base/fail.h"
#include "base/map.h"
#include "join.h"
#include "rig.h"
#include "uplink.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOWS_MAX = 1000, SCRAPES_MAX = 60 };

#define CAPTURE SOURCE_DIR "/tools/bench/captured.gz"

struct options {
    struct page_options page;
    int windows, scrapes, families, group, window_s, backlog;
    bool layout, json, every_scrape;
};

/* What a span of windows cost: the first alone (labels are new, counters begin); then, after one that is not counted
 * (the parts of windows settle), all others. */
struct span {
    struct rig_cost rig;
    struct uplink_cost uplink;
    struct account account;
};

struct bench {
    struct options options;
    struct page_source *source;
    struct rig *rig;
    struct uplink *uplink;
    struct join *join; /* NULL: each window is sent for itself */
    struct span first, steady;
    struct map lasts; /* of each series, to count those that moved */
};

/* ---- Windows into batches ---- */

/* One batch of what has been sealed. */
static void send_part(struct bench *bench, struct pipeline_sealed *part, struct span *span)
{
    struct envelope envelope = {.window_start_ms = part->window_start_ms,
                                .resolution_ms = part->resolution_ms,
                                .span_ms = part->span_ms,
                                .sealed_at_ms = part->window_start_ms + part->span_ms,
                                .closed_through_ms = part->window_start_ms,
                                .targets_expected = part->targets_expected,
                                .targets_answered = part->targets_answered};
    uplink_send(bench->uplink, part->writer, &envelope, &span->account, &span->uplink);
    batch_writer_free(STEAL(part->writer));
}

static void run_window(struct bench *bench, int window)
{
    struct span settling = {.account.lasts = &bench->lasts};
    int batch = window / MAX(bench->options.backlog, 1);
    struct span *span = batch == 0 ? &bench->first : batch == 1 ? &settling : &bench->steady;
    struct pipeline_sealed *parts;
    rig_scrape(bench->rig, window, &span->rig);
    size_t count = rig_close(bench->rig, window, &span->rig, &parts);
    for (size_t i = 0; i < count; i++) {
        if (bench->join)
            join_take(bench->join, i, &parts[i]);
        else
            send_part(bench, &parts[i], span);
    }
    for (struct pipeline_sealed joined; bench->join && join_next(bench->join, &joined);)
        send_part(bench, &joined, span);
}

/* ---- Results ---- */

static void print_times(const struct span *span)
{
    double samples = (double)span->rig.samples, records = (double)span->account.records;
    printf("%-34s %10.1f ns a sample\n", "parse and window", (double)span->rig.scrape_ns / samples);
    printf("%-34s %10.1f ns a record\n", "close into a part", (double)span->rig.close_ns / records);
    printf("%-34s %10.1f ns a record, %.1f M records/s\n", "encode and zstd", (double)span->uplink.encode_ns / records,
           1e3 * records / (double)span->uplink.encode_ns);
    printf("%-34s %10.1f ns a record, %.1f M records/s\n", "decode and checks",
           (double)span->uplink.decode_ns / records, 1e3 * records / (double)span->uplink.decode_ns);
}

static void print_columns(const char *name, const struct account_columns *columns)
{
    double records = (double)columns->records;
    if (records == 0)
        return;
    printf("%-50s %10.0f %10.3f %10.3f %10.3f %10.5f\n", name, records, (double)columns->header_bytes / records,
           (double)columns->payload_bytes / records, (double)columns->changing / records,
           (double)columns->exceptions / records);
}

static void print_bytes(const char *name, double bytes, const struct span *span)
{
    printf("%-34s %10.3f a record %10.3f a sample\n", name, bytes / (double)span->account.records,
           bytes / (double)span->rig.samples);
}

static void print_parts(const char *title, const struct span *span)
{
    const struct account *account = &span->account;
    printf("\n%s: %" PRIu64 " records in %" PRIu64 " batches and %" PRIu64 " requests, %.0f %% moved\n", title,
           account->records, account->batches, account->requests,
           100 * (double)account->moved / (double)account->records);
    print_bytes("labels", (double)account_labels(account), span);
    print_bytes("  frames with layouts", (double)account->label_frame_bytes, span);
    print_bytes("  hashes in envelopes", (double)account->hash_bytes, span);
    print_bytes("values", (double)account->value_bytes, span);
    print_bytes("headers", (double)account_headers(account), span);
    print_bytes("  of columns, and entries", (double)account->column_header_bytes, span);
    print_bytes("  envelopes and frames", (double)(account->envelope_bytes + account->frame_bytes), span);
    print_bytes("all", (double)account_total(account), span);
}

static void print_table(struct bench *bench)
{
    const struct span *steady = &bench->steady;
    struct pipeline_stats stats;
    rig_stats(bench->rig, &stats);
    printf("%s: %u hosts, %.0f series each (%" PRIu64 " pages), %d scrapes a window of %d s, %d windows counted\n",
           bench->options.page.name, page_source_hosts(bench->source),
           (double)stats.series / page_source_hosts(bench->source), stats.pages, bench->options.scrapes,
           bench->options.window_s, bench->options.windows);
    print_times(steady);
    print_bytes("bytes on the link", (double)account_total(&steady->account), steady);
    print_bytes("bodies before zstd", (double)steady->account.raw_bytes, steady);
    print_bytes("the first window, labels included", (double)account_total(&bench->first.account), &bench->first);
    printf("%-34s %10.1f bytes a series\n", "state of windows", (double)stats.window_bytes / (double)stats.series);
    if (bench->options.layout) {
        print_parts("first window", &bench->first);
        print_parts("later windows", steady);
    }
    printf("\n%-50s %10s %10s %10s %10s %10s\n", "columns before zstd, bytes a record", "records", "headers", "values",
           "changing", "exceptions");
    print_columns("gauges", &steady->account.gauges);
    print_columns("counters", &steady->account.counters);
    account_sort_families(&bench->steady.account);
    for (int i = 0; i < bench->options.families && (size_t)i < steady->account.family_count; i++)
        print_columns(steady->account.families[i].name, &steady->account.families[i].columns);
}

static void print_json_span(const char *name, const struct span *span)
{
    const struct account *account = &span->account;
    printf("\"%s\": {\"samples\": %" PRIu64 ", \"records\": %" PRIu64 ", \"moved\": %" PRIu64 ", \"batches\": %" PRIu64
           ", \"labels_bytes\": %" PRIu64 ", \"values_bytes\": %" PRIu64 ", \"headers_bytes\": %" PRIu64
           ", \"bytes\": %" PRIu64 "}",
           name, span->rig.samples, account->records, account->moved, account->batches, account_labels(account),
           account->value_bytes, account_headers(account), account_total(account));
}

static void print_json(const struct bench *bench)
{
    struct pipeline_stats stats;
    rig_stats(bench->rig, &stats);
    printf("{\"page\": \"%s\", \"hosts\": %u, \"series\": %" PRIu64 ", \"windows\": %d, ", bench->options.page.name,
           page_source_hosts(bench->source), stats.series, bench->options.windows);
    print_json_span("first", &bench->first);
    printf(", ");
    print_json_span("steady", &bench->steady);
    printf("}\n");
}

/* ---- Options ---- */

static void usage(FILE *out)
{
    fprintf(out, "usage: bench_codec [--page NAME] [--hosts N] [--group N] [--window S] [--windows N] [--scrapes N]\n"
                 "                   [--layout] [--families N] [--churn-series K] [--churn-pods] [--capture FILE]\n"
                 "                   [-o table|json]\n"
                 "--window S       seconds of a window (60); --scrapes N: of each host in it (4)\n"
                 "--windows N      counted after the first (3)\n"
                 "--group N        windows of N hosts are closed together, a batch or more each (0: of all)\n"
                 "--backlog N      N windows of a group in one batch\n"
                 "--every-scrape   at resolution 0: all samples as they are, those of a window in one batch\n"
                 "--layout         bytes apart by labels, values and headers\n"
                 "--families N     the N largest families\n"
                 "--churn-series K K series of each page are replaced at each scrape\n"
                 "--churn-pods     a pod of each node is replaced each minute\n"
                 "Pages, and how many hosts there are without --hosts:\n");
    page_source_list(out);
}

static int number_of(const char *name, const char *text, long low, long high)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || end == text || value < low || value > high) {
        fprintf(stderr, "bench_codec: --%s takes a number from %ld to %ld, not \"%s\"\n", name, low, high, text);
        exit(2);
    }
    return (int)value;
}

static struct options read_options(int argc, char **argv)
{
    static const struct option known[] = {{"hosts", 1, 0, 'h'},        {"page", 1, 0, 'p'},    {"windows", 1, 0, 'w'},
                                          {"scrapes", 1, 0, 's'},      {"layout", 0, 0, 'l'},  {"families", 1, 0, 'f'},
                                          {"churn-series", 1, 0, 'k'}, {"capture", 1, 0, 'c'}, {"help", 0, 0, 'u'},
                                          {"churn-pods", 0, 0, 'd'},   {"group", 1, 0, 'g'},   {"backlog", 1, 0, 'b'},
                                          {"every-scrape", 0, 0, 'e'}, {"window", 1, 0, 'i'},  {0}};
    struct options options = {.page = {.name = "full", .capture = CAPTURE}, .windows = 3, .window_s = 60, .scrapes = 4};
    for (int option; (option = getopt_long(argc, argv, "o:", known, NULL)) != -1;) {
        if (option == 'h')
            options.page.hosts = (uint32_t)number_of("hosts", optarg, 1, PAGE_HOSTS_MAX);
        else if (option == 'p')
            options.page.name = optarg;
        else if (option == 'w')
            options.windows = number_of("windows", optarg, 1, WINDOWS_MAX);
        else if (option == 'i')
            options.window_s = number_of("window", optarg, 1, 3600);
        else if (option == 's')
            options.scrapes = number_of("scrapes", optarg, 1, SCRAPES_MAX);
        else if (option == 'g')
            options.group = number_of("group", optarg, 0, PAGE_HOSTS_MAX);
        else if (option == 'b')
            options.backlog = number_of("backlog", optarg, 2, BATCH_ROUNDS_MAX);
        else if (option == 'e')
            options.every_scrape = true;
        else if (option == 'l')
            options.layout = true;
        else if (option == 'f')
            options.families = number_of("families", optarg, 0, ACCOUNT_FAMILIES_MAX);
        else if (option == 'k')
            options.page.churn.series = (uint32_t)number_of("churn-series", optarg, 0, 1000);
        else if (option == 'c')
            options.page.capture = optarg;
        else if (option == 'd')
            options.page.churn.pods = true;
        else if (option == 'o')
            options.json = strcmp(optarg, "json") == 0;
        else {
            usage(option == 'u' ? stdout : stderr);
            exit(option == 'u' ? 0 : 2);
        }
    }
    options.page.churn.interval_s = (uint32_t)MAX(options.window_s / options.scrapes, 1);
    return options;
}

int main(int argc, char **argv)
{
    static struct bench bench;
    char error[PAGE_ERROR_BYTES];
    bench.options = read_options(argc, argv);
    if (page_source_new(&bench.options.page, error, &bench.source) < 0) {
        fprintf(stderr, "bench_codec: --page %s: %s\n", bench.options.page.name, error);
        return 2;
    }
    map_init(&bench.lasts);
    bench.first.account.lasts = bench.steady.account.lasts = &bench.lasts;
    bench.steady.account.families = mem_array(ACCOUNT_FAMILIES_MAX, sizeof(struct account_family));
    bench.rig = rig_new(&(struct rig_options){.source = bench.source,
                                              .window_ms = bench.options.window_s * INT64_C(1000),
                                              .scrapes = bench.options.scrapes,
                                              .every_scrape = bench.options.every_scrape,
                                              .group = (uint32_t)bench.options.group});
    bench.uplink = uplink_new();
    if (bench.options.backlog)
        bench.join = join_new(bench.options.backlog);
    for (int window = 0; window < (bench.options.windows + 2) * MAX(bench.options.backlog, 1); window++)
        run_window(&bench, window);
    if (bench.options.json)
        print_json(&bench);
    else
        print_table(&bench);
    join_free(bench.join);
    uplink_free(bench.uplink);
    rig_free(bench.rig);
    page_source_free(bench.source);
    mem_free(bench.steady.account.families);
    map_done(&bench.lasts);
    return 0;
}
