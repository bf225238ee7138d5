/* Makes what stores are fed with, ahead of time, so that making it is on nobody's account: the requests of a real
 * sender to a global (frames), and the same samples as remote write. See --help and tools/bench/README.md, store.
 *
 * Files: requests one after the other, each behind seven numbers (u32, little endian): first host, hosts, records,
 * samples, window, 1 where it brings layouts, bytes of the body. A request that brings none says things that those
 * before it have explained. */
#include "base/fail.h"
#include "hop/frame.h"
#include "remote_write.h"
#include "rig.h"
#include "uplink.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPTURE            SOURCE_DIR "/tools/bench/captured.gz"
#define REQUEST_BYTES_MAX  (64 * MIB)
#define WINDOWS_MAX        100000
#define FEED_COUNT         2 /* those that are sent first; more, behind them in time */
#define FILE_BUFFER_BYTES  (1 * MIB)
#define SCRAPES_MAX        60
#define REQUEST_SERIES_MAX 100000
#define WINDOW_SECONDS_MAX 3600
#define END_MS_MIN         INT64_C(1000000000000)
#define END_MS_MAX         INT64_C(10000000000000)

static const char *const feed_names[FEED_COUNT] = {"main", "more"};

struct options {
    struct page_options page;
    const char *dir;
    int windows[FEED_COUNT]; /* of main, of more */
    int window_s, scrapes, group;
    int request_series; /* of a request of remote write; 0: none are made */
    int64_t end_ms;
};

struct feed { /* a file, and what stands in it */
    FILE *file;
    uint64_t requests, records, samples, bytes;
};

struct work {
    struct options options;
    struct page_source *source;
    struct rig *rig;
    struct uplink *uplink;
    struct remote_write *remote;
    struct feed frames[FEED_COUNT], write[FEED_COUNT];
    struct buf request; /* that brought the batch which comes next */
    struct buf body;    /* of remote write */
    bool layouts;       /* the request has some */
    uint32_t first_host, hosts, window, feed;
};

/* ---- Files ---- */

static void feed_open(struct feed *feed, const struct options *options, const char *name, const char *kind)
{
    CLEANUP_FREE char *path = mem_printf("%s/%s.%s", options->dir, name, kind);
    feed->file = fopen(path, "wb");
    if (!feed->file)
        fatal("%s: %s", path, strerror(errno));
    setvbuf(feed->file, NULL, _IOFBF, FILE_BUFFER_BYTES);
}

static void feed_close(struct feed *feed)
{
    if (feed->file && fclose(feed->file) != 0)
        fatal("a feed cannot be written: %s", strerror(errno));
}

struct request_head {
    uint32_t first_host, hosts, records, samples, window, layouts;
};

static void feed_add(struct feed *feed, const struct request_head *head, struct str body)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(KIB);
    const uint32_t numbers[] = {head->first_host, head->hosts,   head->records,     head->samples,
                                head->window,     head->layouts, (uint32_t)body.len};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        buf_append_le32(&bytes, numbers[i]);
    if (fwrite(bytes.data, bytes.len, 1, feed->file) != 1 || fwrite(body.ptr, body.len, 1, feed->file) != 1)
        fatal("a feed cannot be written: %s", strerror(errno));
    feed->requests++;
    feed->records += head->records;
    feed->samples += head->samples;
    feed->bytes += body.len;
}

/* ---- What crosses the link ---- */

static void take_request(void *arg, struct str body)
{
    struct work *work = arg;
    struct frame frame;
    size_t at = 0;
    bool batch = false;
    work->layouts = false;
    while (frame_next(body, &at, &frame) > 0) {
        batch = batch || frame.type == FRAME_BATCH;
        work->layouts = work->layouts || frame.type == FRAME_PACK;
    }
    buf_reset(&work->request);
    ASSERT(buf_append_str(&work->request, body) == 0);
    if (work->layouts && !batch) /* those of a batch that did not fit beside it */
        feed_add(&work->frames[work->feed],
                 &(struct request_head){.first_host = work->first_host, .window = work->window, .layouts = 1}, body);
}

static void count_batch(struct batch_reader *reader, struct request_head *head)
{
    struct batch_block block;
    int more;
    while ((more = batch_reader_next(reader, &block)) > 0) {
        for (uint32_t i = 0; i < block.entry_count * block.family->count; i++) {
            head->samples += block.records[i].count;
            head->records += block.records[i].count > 0 || value_is_stale(block.records[i].last);
        }
    }
    ASSERT(more == 0);
}

static void write_remote(struct work *work, struct batch_reader *reader)
{
    uint32_t targets = remote_write_take(work->remote, reader), step = targets;
    for (uint32_t from = 0; from < targets; from += step) {
        struct request_head head = {.first_host = work->first_host + from, .window = work->window};
        buf_reset(&work->body);
        if (from == 0) { /* whole hosts: of the first one is known how many fill a request */
            head.samples = remote_write_request(work->remote, 0, 1, &work->body);
            step = MAX((uint32_t)work->options.request_series / MAX(head.samples, 1U), 1U);
            buf_reset(&work->body);
        }
        head.hosts = MIN(step, targets - from);
        head.records = head.samples = remote_write_request(work->remote, from, head.hosts, &work->body);
        feed_add(&work->write[work->feed], &head, buf_view(&work->body));
    }
}

static void take_batch(void *arg, struct batch_reader *reader)
{
    struct work *work = arg;
    struct request_head head = {
        .first_host = work->first_host, .hosts = work->hosts, .window = work->window, .layouts = work->layouts};
    if (work->remote) {
        uint64_t before = work->write[work->feed].samples;
        write_remote(work, reader);
        head.records = head.samples = (uint32_t)(work->write[work->feed].samples - before);
    } else {
        count_batch(reader, &head);
    }
    feed_add(&work->frames[work->feed], &head, buf_view(&work->request));
}

/* ---- Windows ---- */

static void send_part(struct work *work, uint32_t part, struct pipeline_sealed *sealed)
{
    struct envelope envelope = {.window_start_ms = sealed->window_start_ms,
                                .resolution_ms = sealed->resolution_ms,
                                .span_ms = sealed->span_ms,
                                .part = part,
                                .sealed_at_ms = sealed->window_start_ms + sealed->span_ms,
                                .closed_through_ms = sealed->window_start_ms,
                                .targets_expected = sealed->targets_expected,
                                .targets_answered = sealed->targets_answered};
    uint32_t hosts = page_source_hosts(work->source), group = (uint32_t)work->options.group;
    work->first_host = part * group;
    work->hosts = MIN(group, hosts - work->first_host);
    uplink_send(work->uplink, sealed->writer, &envelope, NULL, NULL);
    batch_writer_free(STEAL(sealed->writer));
}

static void make_window(struct work *work, int window)
{
    struct rig_cost cost = {0};
    struct pipeline_sealed *parts;
    uint32_t hosts = page_source_hosts(work->source), group = (uint32_t)work->options.group;
    rig_scrape(work->rig, window, &cost);
    size_t count = rig_close(work->rig, window, &cost, &parts);
    if (count != (hosts + group - 1) / group)
        fatal("a group's window does not fit into one batch: take a smaller --group");
    work->window = (uint32_t)window;
    work->feed = window >= work->options.windows[0];
    for (uint32_t i = 0; i < count; i++)
        send_part(work, i, &parts[i]);
}

/* ---- Options ---- */

static void usage(FILE *out)
{
    fprintf(out,
            "usage: bench_feed --dir DIR --end MS [--page NAME] [--hosts N] [--group N] [--window S] [--scrapes N]\n"
            "                  [--windows N] [--more N] [--remote-write N] [--capture FILE]\n"
            "Writes DIR/main.frames and DIR/more.frames, and says on stdout what is in them (JSON).\n"
            "--dir DIR          must be there\n"
            "--end MS           the end of the last window, in milliseconds since 1970; rounded down\n"
            "--window S         seconds of a window (30); --scrapes N: of each host in it (1)\n"
            "--windows N        in main (720); --more N: of those that follow, in more (0)\n"
            "--group N          windows of N hosts make a batch (125)\n"
            "--remote-write N   also DIR/main.write and DIR/more.write, of some N series a request; with --scrapes 1\n"
            "Pages, and how many hosts there are without --hosts:\n");
    page_source_list(out);
}

static int64_t number_of(const char *name, const char *text, int64_t low, int64_t high)
{
    char *end;
    int64_t value = strtoll(text, &end, 10);
    if (*end || end == text || value < low || value > high) {
        fprintf(stderr, "bench_feed: --%s takes a number from %" PRId64 " to %" PRId64 ", not \"%s\"\n", name, low,
                high, text);
        exit(2);
    }
    return value;
}

static struct options read_options(int argc, char **argv)
{
    static const struct option known[] = {{"dir", 1, 0, 'd'},
                                          {"end", 1, 0, 'e'},
                                          {"page", 1, 0, 'p'},
                                          {"hosts", 1, 0, 'h'},
                                          {"group", 1, 0, 'g'},
                                          {"window", 1, 0, 'i'},
                                          {"scrapes", 1, 0, 's'},
                                          {"windows", 1, 0, 'w'},
                                          {"more", 1, 0, 'm'},
                                          {"capture", 1, 0, 'c'},
                                          {"remote-write", 1, 0, 'r'},
                                          {"help", 0, 0, 'u'},
                                          {0}};
    struct options options = {
        .page = {.name = "small", .capture = CAPTURE}, .windows = {720, 0}, .window_s = 30, .scrapes = 1, .group = 125};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 'd')
            options.dir = optarg;
        else if (option == 'e')
            options.end_ms = number_of("end", optarg, END_MS_MIN, END_MS_MAX);
        else if (option == 'p')
            options.page.name = optarg;
        else if (option == 'h')
            options.page.hosts = (uint32_t)number_of("hosts", optarg, 1, PAGE_HOSTS_MAX);
        else if (option == 'g')
            options.group = (int)number_of("group", optarg, 1, LAYOUT_TARGETS_MAX);
        else if (option == 'i')
            options.window_s = (int)number_of("window", optarg, 1, WINDOW_SECONDS_MAX);
        else if (option == 's')
            options.scrapes = (int)number_of("scrapes", optarg, 1, SCRAPES_MAX);
        else if (option == 'w')
            options.windows[0] = (int)number_of("windows", optarg, 1, WINDOWS_MAX);
        else if (option == 'm')
            options.windows[1] = (int)number_of("more", optarg, 0, WINDOWS_MAX);
        else if (option == 'c')
            options.page.capture = optarg;
        else if (option == 'r')
            options.request_series = (int)number_of("remote-write", optarg, 1, REQUEST_SERIES_MAX);
        else {
            usage(option == 'u' ? stdout : stderr);
            exit(option == 'u' ? 0 : 2);
        }
    }
    if (!options.dir || !options.end_ms || (options.request_series && options.scrapes > 1)) {
        usage(stderr);
        exit(2);
    }
    return options;
}

/* ---- The whole ---- */

static void print_feed(const char *name, const struct feed *feed)
{
    printf(", \"%s\": {\"requests\": %" PRIu64 ", \"records\": %" PRIu64 ", \"samples\": %" PRIu64
           ", \"bytes\": %" PRIu64 "}",
           name, feed->requests, feed->records, feed->samples, feed->bytes);
}

static void print_all(const struct work *work, int64_t start_ms, int64_t window_ms)
{
    struct pipeline_stats stats;
    rig_stats(work->rig, &stats);
    printf("{\"page\": \"%s\", \"hosts\": %u, \"series\": %" PRIu64 ", \"start_ms\": %" PRId64
           ", \"window_ms\": %" PRId64 ", \"scrapes\": %d, \"windows\": %d, \"more_windows\": %d",
           work->options.page.name, page_source_hosts(work->source), stats.series, start_ms, window_ms,
           work->options.scrapes, work->options.windows[0], work->options.windows[1]);
    for (size_t i = 0; i < FEED_COUNT; i++) {
        CLEANUP_FREE char *frames = mem_printf("%s.frames", feed_names[i]);
        CLEANUP_FREE char *write = mem_printf("%s.write", feed_names[i]);
        print_feed(frames, &work->frames[i]);
        if (work->remote)
            print_feed(write, &work->write[i]);
    }
    printf("}\n");
}

int main(int argc, char **argv)
{
    static struct work work;
    char error[PAGE_ERROR_BYTES];
    work.options = read_options(argc, argv);
    const struct options *options = &work.options;
    if (page_source_new(&options->page, error, &work.source) < 0) {
        fprintf(stderr, "bench_feed: --page %s: %s\n", options->page.name, error);
        return 2;
    }
    int windows = options->windows[0] + options->windows[1];
    int64_t window_ms = options->window_s * INT64_C(1000);
    int64_t start_ms = window_start_ms(options->end_ms, window_ms) - windows * window_ms;
    work.rig = rig_new(&(struct rig_options){.source = work.source,
                                             .window_ms = window_ms,
                                             .start_ms = start_ms,
                                             .scrapes = options->scrapes,
                                             .group = (uint32_t)options->group});
    work.uplink = uplink_new();
    uplink_set_tap(work.uplink, &(struct uplink_tap){take_request, take_batch, &work});
    work.remote = options->request_series ? remote_write_new() : NULL;
    buf_init(&work.request, REQUEST_BYTES_MAX);
    buf_init(&work.body, REQUEST_BYTES_MAX);
    for (size_t i = 0; i < FEED_COUNT; i++) {
        feed_open(&work.frames[i], options, feed_names[i], "frames");
        if (work.remote)
            feed_open(&work.write[i], options, feed_names[i], "write");
    }
    for (int window = 0; window < windows; window++)
        make_window(&work, window);
    print_all(&work, start_ms, window_ms);
    for (size_t i = 0; i < FEED_COUNT; i++) {
        feed_close(&work.frames[i]);
        feed_close(&work.write[i]);
    }
    remote_write_free(work.remote);
    uplink_free(work.uplink);
    rig_free(work.rig);
    page_source_free(work.source);
    buf_done(&work.request);
    buf_done(&work.body);
    return 0;
}
