/* The store alone, without network and log: what an append, a cut, a select and a read cost, and what a series takes.
 *
 *   bench_store [--series 100000] [--windows 120] [--gauges PERCENT] [--dir DIR]
 *
 * Series of 6 labels, half of which move in each window; gauges that move have aggregates. With --dir (made, and to be
 * deleted by who gave it) full chunks go to disk and all is cut into blocks in the end. One thread; CPU time. */
#include "base/arena.h"
#include "base/fail.h"
#include "store/store.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#define WINDOW_MS   60000
#define NOW_MS      INT64_C(1700006400000) /* two hours begin here */
#define BLOCK_HOSTS 1000
#define AHEAD       24

struct options {
    uint64_t series, windows, gauges;
    const char *dir;
};

struct bench {
    struct options options;
    struct clock *clock;
    struct store *store;
    series_ref *refs;
};

static void usage(void)
{
    fprintf(stderr, "usage: bench_store [--series N] [--windows N] [--gauges PERCENT] [--dir DIR]\n");
    exit(2);
}

static struct options read_options(int argc, char **argv)
{
    struct options options = {.series = 100000, .windows = 120, .gauges = 33};
    for (int i = 1; i < argc; i += 2) {
        struct {
            const char *name;
            uint64_t *value;
        } numbers[] = {{"--series", &options.series}, {"--windows", &options.windows}, {"--gauges", &options.gauges}};
        bool known = i + 1 < argc && strcmp(argv[i], "--dir") == 0;
        options.dir = known ? argv[i + 1] : options.dir;
        for (size_t j = 0; i + 1 < argc && j < ARRAY_LEN(numbers); j++)
            if (strcmp(argv[i], numbers[j].name) == 0)
                known = str_to_u64(str_from(argv[i + 1]), numbers[j].value) == 0;
        if (!known)
            usage();
    }
    return options;
}

static uint64_t anonymous_bytes(void)
{
    char line[256];
    uint64_t kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    ASSERT(file);
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, "RssAnon:", 8) == 0)
            kib = strtoull(line + 8, NULL, 10);
    fclose(file);
    return kib * 1024;
}

static void show(const char *what, int64_t from_ns, uint64_t count, const char *of)
{
    int64_t ns = clock_thread_cpu_ns() - from_ns;
    printf("%-28s %10.1f ns per %s (%.2f s for %llu)\n", what, (double)ns / (double)count, of, (double)ns / 1e9,
           (unsigned long long)count);
}

static bool is_gauge(const struct bench *bench, uint64_t series)
{
    return series * 7919 % 100 < bench->options.gauges;
}

static void make_series(struct bench *bench)
{
    int64_t from_ns = clock_thread_cpu_ns();
    uint64_t before = anonymous_bytes();
    for (uint64_t i = 0; i < bench->options.series; i++) {
        char name[32], host[32], device[32];
        snprintf(name, sizeof(name), "node_metric_%llu_total", (unsigned long long)(i % 100));
        snprintf(host, sizeof(host), "host-%06llu:9100", (unsigned long long)(i / 100));
        snprintf(device, sizeof(device), "dev%llu", (unsigned long long)(i % 7));
        struct label labels[] = {{STR("__name__"), str_from(name)}, {STR("datacenter"), STR("dc1")},
                                 {STR("device"), str_from(device)}, {STR("instance"), str_from(host)},
                                 {STR("job"), STR("node")},         {STR("mode"), STR("idle")}};
        CLEANUP(labels_unrefp) struct labels *set = labels_new(labels, ARRAY_LEN(labels));
        bench->refs[i] = store_series(bench->store, set, is_gauge(bench, i) ? KIND_GAUGE : KIND_COUNTER);
    }
    show("new series", from_ns, bench->options.series, "series");
    printf("%-28s %10.1f B per series\n", "labels, table, index",
           (double)(anonymous_bytes() - before) / (double)bench->options.series);
}

static struct record record_of(const struct bench *bench, uint64_t series, uint64_t window)
{
    bool moves = series % 2 == 0;
    struct record record = {.count = 4, .kind = is_gauge(bench, series) ? KIND_GAUGE : KIND_COUNTER};
    record.time_ms = NOW_MS + (int64_t)window * WINDOW_MS + (int64_t)(series / 100 % 15000);
    uint64_t step = (series * 31 + window * (series % 13 + 1) * 17) % 1000;
    record.last = !moves                      ? (double)series
                  : record.kind == KIND_GAUGE ? (double)step / 100
                                              : (double)(series + window * 977 + step);
    record_fill_constant(&record);
    if (moves && record.kind == KIND_GAUGE) {
        record.min = record.last - (double)(step % 7) / 100;
        record.max = record.last + (double)(step % 5) / 100;
        record.sum = sum_add(record.last * 3, record.min);
    }
    return record;
}

static void append(struct bench *bench)
{
    uint64_t before = anonymous_bytes(), count = 0;
    int64_t ns = 0;
    struct record *records = mem_array(BLOCK_HOSTS, sizeof(*records));
    for (uint64_t window = 0; window < bench->options.windows; window++) {
        clock_simulated_advance(bench->clock, WINDOW_MS);
        for (uint64_t from = 0; from < bench->options.series; from += BLOCK_HOSTS) {
            uint64_t end = MIN(from + BLOCK_HOSTS, bench->options.series);
            for (uint64_t i = from; i < end; i++)
                records[i - from] = record_of(bench, i, window);
            int64_t from_ns = clock_thread_cpu_ns();
            store_write_begin(bench->store);
            for (uint64_t i = from; i < end; i++) {
                store_prefetch(bench->store, bench->refs[MIN(i + AHEAD, end - 1)], STORE_PREFETCH_FAR);
                store_prefetch(bench->store, bench->refs[MIN(i + AHEAD / 2, end - 1)], STORE_PREFETCH_NEAR);
                store_prefetch(bench->store, bench->refs[MIN(i + AHEAD / 4, end - 1)], STORE_PREFETCH_NEXT);
                store_append(bench->store, bench->refs[i], NOW_MS + (int64_t)window * WINDOW_MS, WINDOW_MS,
                             &records[i - from], NULL, 0);
            }
            store_write_end(bench->store);
            ns += clock_thread_cpu_ns() - from_ns;
            count += end - from;
        }
        if ((window + 1) % 20 == 0)
            printf("%-28s %10.1f B per series after %llu windows\n", "samples in memory",
                   (double)(anonymous_bytes() - before) / (double)bench->options.series,
                   (unsigned long long)window + 1);
    }
    mem_free(records);
    printf("%-28s %10.1f ns per record (%.2f s for %llu)\n", "append", (double)ns / (double)count, (double)ns / 1e9,
           (unsigned long long)count);
    struct store_stats stats;
    store_stats(bench->store, &stats);
    printf("%-28s %10.1f B per series, %.2f pieces, %.1f B spilled\n", "chunks",
           (double)stats.chunk_bytes / (double)stats.series, (double)stats.pieces / (double)stats.series,
           (double)stats.spill_bytes / (double)stats.series);
}

static void read_all(struct bench *bench, const char *what, struct select_range range)
{
    struct matcher matcher;
    char error[256];
    struct select *select = NULL;
    struct labels *series = NULL;
    uint64_t samples = 0, count = 0;
    ASSERT(matcher_init(&matcher, MATCH_REGEX, STR("__name__"), STR("node_.*"), error) == 0);
    int64_t from_ns = clock_thread_cpu_ns();
    ASSERT(select_open(bench->store, &matcher, 1, &range, &select) == 0);
    show(what, from_ns, bench->options.series, "series opened");
    from_ns = clock_thread_cpu_ns();
    struct sample_reader *reader = sample_reader_new(select, SELECT_LAST);
    while (select_next(select, &series) > 0) {
        struct sample some[1024];
        sample_reader_current(reader);
        for (int64_t got; (got = sample_reader_read(reader, some, ARRAY_LEN(some))) > 0;)
            samples += (uint64_t)got;
        count++;
    }
    sample_reader_free(reader);
    show("  read", from_ns, MAX(count, (uint64_t)1), "series");
    show("  read", from_ns, MAX(samples, (uint64_t)1), "sample");
    select_free(select);
    matcher_done(&matcher);
}

static void read_both(struct bench *bench)
{
    int64_t end_ms = clock_wall_ms(bench->clock);
    read_all(bench, "select of five minutes", (struct select_range){.start_ms = end_ms - 300000, .end_ms = end_ms});
    read_all(bench, "select of all", (struct select_range){.start_ms = 0, .end_ms = INT64_MAX});
}

static void snapshot(struct bench *bench)
{
    int64_t from_ns = clock_thread_cpu_ns();
    ASSERT(store_snapshot_begin(bench->store) && store_snapshot(bench->store, STR_NULL) == 0);
    show("snapshot written", from_ns, bench->options.series, "series");
}

static void cut(struct bench *bench)
{
    struct blocks_stats stats;
    int64_t from_ns = clock_thread_cpu_ns();
    store_cut_all(bench->store);
    show("cut and read back", from_ns, bench->options.series * bench->options.windows, "sample");
    blocks_stats(store_blocks(bench->store), &stats);
    printf("%-28s %10.2f B per sample in %llu blocks\n", "blocks", (double)stats.disk_bytes / (double)stats.samples,
           (unsigned long long)stats.served);
}

static struct store *open_store(const struct bench *bench, struct retention *retention)
{
    struct store_options options = {.max_age_ms = 30 * INT64_C(86400000),
                                    .max_ahead_ms = 600000,
                                    .series_max = bench->options.series + 1000,
                                    .fs = bench->options.dir ? file_system_real() : NULL,
                                    .data_dir = bench->options.dir,
                                    .retention = retention};
    char error[256];
    struct store *store = NULL;
    if (!bench->options.dir)
        return store_new(bench->clock, &options);
    int64_t from_ns = clock_thread_cpu_ns();
    if (store_open(bench->clock, &options, error, NULL, &store) < 0)
        fatal("%s", error);
    show("store opened", from_ns, bench->options.series, "series");
    return store;
}

int main(int argc, char **argv)
{
    struct bench bench = {.options = read_options(argc, argv)};
    struct retention *retention = NULL;
    char error[256];
    static const struct retention_class class = {.name = "default", .keep_ms = 365 * INT64_C(86400000)};
    ASSERT(retention_new(&class, 1, 0, error, &retention) == 0);
    bench.clock = clock_simulated_new(NOW_MS);
    bench.refs = mem_array(bench.options.series, sizeof(*bench.refs));
    bench.store = open_store(&bench, retention);
    make_series(&bench);
    append(&bench);
    read_both(&bench);
    if (bench.options.dir) {
        store_set_position(bench.store, 1);
        snapshot(&bench);
        store_free(bench.store);
        malloc_trim(0);
        bench.store = open_store(&bench, retention);
        cut(&bench);
        read_both(&bench);
    }
    store_free(bench.store);
    retention_unref(retention);
    mem_free(bench.refs);
    clock_free(bench.clock);
    return 0;
}
