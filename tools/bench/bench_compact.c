/* What compaction costs: pages of simulated hosts as windows, written as blocks of 2 h, merged into one, with chunks of
 * several sizes. CPU times are of one thread on this machine, bytes are the same everywhere. See --help. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/map.h"
#include "metric/exposition.h"
#include "metric/record.h"
#include "store/compact_merge.h"
#include "tools/pages/page_source.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CAPTURE      SOURCE_DIR "/tools/bench/captured.gz"
#define START_MS     INT64_C(1699920000000) /* a multiple of 48 h */
#define PARTITION_MS INT64_C(7200000)
#define STEP_MS      INT64_C(15000) /* of scrapes */

struct options {
    struct page_options page;
    int partitions, window_s;
    const char *dir;
};

struct series {
    struct labels *labels;
    enum series_kind kind;
    struct record record; /* of the window that is open */
    struct entries entries;
};

struct bench {
    struct options options;
    struct page_source *source;
    struct block_dirs dirs;
    struct random random;
    struct map map; /* of series, by hash of host and the line's own text */
    struct series **series;
    size_t count, capacity;
    struct block *blocks[64];
    size_t block_count;
    char *page;
};

static void check(int r, const char *what)
{
    if (r < 0) {
        fprintf(stderr, "bench_compact: %s: %s\n", what, strerror(-r));
        exit(1);
    }
}

/* ---- pages to windows ---- */

static struct series *add_series(struct bench *bench, uint32_t host, const struct exposition *sample,
                                 enum metric_type type, uint64_t hash)
{
    char instance[32], name[LABEL_NAME_BYTES_MAX + 1];
    snprintf(instance, sizeof(instance), "host-%u:9100", host);
    snprintf(name, sizeof(name), STR_FMT, STR_ARG(sample->name));
    struct label labels[LABELS_MAX];
    size_t count = 0;
    labels[count++] = (struct label){STR("__name__"), sample->name};
    labels[count++] = (struct label){STR("instance"), str_from(instance)};
    labels[count++] = (struct label){STR("job"), STR("node")};
    for (size_t i = 0; i < sample->label_count; i++) {
        labels[count++] = sample->labels[i];
    }
    if (bench->count == bench->capacity) {
        bench->capacity = MAX(bench->capacity * 2, (size_t)1024);
        bench->series = mem_resize(bench->series, bench->capacity, sizeof(struct series *));
    }
    struct series *series = mem_zalloc(sizeof(*series));
    series->labels = labels_new(labels, count);
    series->kind = series_kind_of(type, name, strlen(name));
    series->record = record_empty(series->kind);
    bench->series[bench->count++] = series;
    map_put(&bench->map, hash, series);
    return series;
}

static void scrape(struct bench *bench, uint32_t host, int64_t time_ms)
{
    size_t len = page_source_render(bench->source, host, (double)time_ms / 1000, bench->page);
    struct exposition exposition;
    enum metric_type type = METRIC_UNKNOWN;
    const struct exposition_limits limits = {64, 1024, 4096};
    exposition_init(&exposition, str_of(bench->page, len), limits);
    for (enum exposition_event event; (event = exposition_next(&exposition)) != EXPOSITION_END;) {
        ASSERT(event != EXPOSITION_ERROR);
        if (event == EXPOSITION_TYPE) {
            type = exposition.type;
        }
        if (event == EXPOSITION_SAMPLE) {
            uint64_t hash = str_hash(exposition.series) + host * UINT64_C(0x9e3779b97f4a7c15);
            struct series *series = map_get(&bench->map, hash, NULL, NULL);
            series = series ? series : add_series(bench, host, &exposition, type, hash);
            record_add(&series->record, (struct sample){time_ms, exposition.value});
        }
    }
    exposition_done(&exposition);
}

static void close_windows(struct bench *bench)
{
    uint32_t resolution_ms = (uint32_t)bench->options.window_s * 1000;
    for (size_t i = 0; i < bench->count; i++) {
        struct series *series = bench->series[i];
        const struct record *record = &series->record;
        if (record->count > 0) {
            struct entry entry = {.sample = {record->time_ms, record->last},
                                  .count = record->count,
                                  .resolution_ms = resolution_ms > STEP_MS ? resolution_ms : 0};
            if (!record_is_constant(record)) {
                entry.flags = ENTRY_AGGREGATES;
                entry.sum = record->sum;
                entry.min = record->min;
                entry.max = record->max;
            }
            entries_add(&series->entries, &entry);
        }
        series->record = record_empty(series->kind);
    }
}

/* ---- blocks ---- */

static int compare_series(const void *a, const void *b)
{
    return labels_compare((*(struct series *const *)a)->labels, (*(struct series *const *)b)->labels);
}

static int compare_texts(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

static struct str *symbols_of(const struct bench *bench, size_t *ret_count)
{
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < bench->count; i++) {
        count += 2 * labels_count(bench->series[i]->labels);
    }
    struct str *texts = mem_array(count, sizeof(*texts));
    count = 0;
    for (size_t i = 0; i < bench->count; i++) {
        for (size_t j = 0; j < labels_count(bench->series[i]->labels); j++) {
            texts[count++] = labels_at(bench->series[i]->labels, j).name;
            texts[count++] = labels_at(bench->series[i]->labels, j).value;
        }
    }
    qsort(texts, count, sizeof(*texts), compare_texts);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || !str_equal(texts[kept - 1], texts[i])) {
            texts[kept++] = texts[i];
        }
    }
    *ret_count = kept;
    return texts;
}

static void write_block(struct bench *bench, int64_t start_ms, int64_t *ret_cpu_ns)
{
    struct block_meta meta = {.min_time_ms = start_ms, .max_time_ms = start_ms + PARTITION_MS, .level = 1};
    meta.ulid = ulid_new(start_ms, &bench->random);
    snprintf(meta.class, sizeof(meta.class), "default");
    qsort(bench->series, bench->count, sizeof(struct series *), compare_series);
    size_t symbol_count;
    struct str *symbols = symbols_of(bench, &symbol_count);
    const struct block_writer_options options = {
        .dirs = bench->dirs, .meta = &meta, .symbols = symbols, .symbol_count = symbol_count, .chunk_samples = 120};
    struct block_writer *writer;
    int64_t before_ns = clock_thread_cpu_ns();
    check(block_writer_new(&options, &writer), "writer");
    for (size_t i = 0; i < bench->count; i++) {
        struct series *series = bench->series[i];
        if (series->entries.count > 0) {
            check(block_writer_add(writer, series->labels, series->kind, series->entries.items, series->entries.count),
                  "add");
        }
        series->entries.count = 0;
    }
    check(block_writer_finish(writer), "finish");
    *ret_cpu_ns += clock_thread_cpu_ns() - before_ns;
    block_writer_free(writer);
    mem_free(symbols);
    char reason[BLOCK_REASON_BYTES];
    check(block_open(&bench->dirs, &meta.ulid, reason, &bench->blocks[bench->block_count++]), "open");
}

struct sums {
    uint64_t samples, bytes, chunks, index, windows, aggregates;
};

static void add_sums(const struct block *block, struct sums *sums)
{
    const struct block_meta *meta = block_meta_of(block);
    uint64_t files = 0;
    sums->samples += meta->sample_count;
    sums->bytes += block_disk_bytes(block);
    for (size_t i = 0; i < meta->file_count; i++) {
        uint64_t bytes = meta->files[i].bytes;
        files += bytes;
        sums->chunks += str_starts_with(str_from(meta->files[i].name), STR("chunks/")) ? bytes : 0;
        sums->index += strcmp(meta->files[i].name, "index") == 0 ? bytes : 0;
        sums->windows += strcmp(meta->files[i].name, "windows") == 0 ? bytes : 0;
    }
    sums->aggregates += block_disk_bytes(block) - files; /* and the two small documents */
}

static void print_sums(const char *name, const struct sums *sums, int64_t cpu_ns)
{
    double samples = (double)sums->samples;
    printf("| %s | %" PRIu64 " | %.0f | %.3f | %.3f | %.3f | %.3f | %.3f |\n", name, sums->samples,
           (double)cpu_ns / samples, (double)sums->bytes / samples, (double)sums->chunks / samples,
           (double)sums->index / samples, (double)sums->windows / samples, (double)sums->aggregates / samples);
    fflush(stdout);
}

/* Reads one sample of each series, as an instant query does, and all. */
static void read_block(struct block *block)
{
    CLEANUP(bitmap_freep) roaring_bitmap_t *ids = NULL;
    const struct postings_query all = {0};
    check(block_select(block, &all, &ids), "select");
    for (int whole = 0; whole < 2; whole++) {
        CLEANUP(block_cursor_freep) struct block_cursor *cursor = block_cursor_new(block);
        struct entries entries = {0};
        uint64_t series_total = 0, entries_total = 0;
        int64_t before_ns = clock_thread_cpu_ns();
        roaring_uint32_iterator_t at;
        for (roaring_init_iterator(ids, &at); at.has_value; roaring_advance_uint32_iterator(&at)) {
            struct block_series series;
            entries.count = 0;
            check(block_cursor_series(cursor, at.current_value, &series), "series");
            check(block_cursor_entries(cursor, &series, whole ? 0 : series.chunk_count / 2,
                                       whole ? series.chunk_count : 1, whole, &entries),
                  "entries");
            series_total++;
            entries_total += entries.count;
        }
        int64_t cpu_ns = clock_thread_cpu_ns() - before_ns;
        printf(whole ? ", reading all with aggregates %.0f ns an entry\n" : "  reading one chunk %.0f ns a series",
               (double)cpu_ns / (double)(whole ? entries_total : series_total));
        entries_done(&entries);
    }
}

static void compact(struct bench *bench, uint32_t chunk_samples)
{
    struct block_meta meta = {.min_time_ms = START_MS, .level = 2};
    meta.max_time_ms = START_MS + bench->options.partitions * PARTITION_MS;
    meta.ulid = ulid_new(START_MS, &bench->random);
    snprintf(meta.class, sizeof(meta.class), "default");
    const struct compact_merge_options options = {.dirs = bench->dirs,
                                                  .sources = bench->blocks,
                                                  .count = bench->block_count,
                                                  .meta = &meta,
                                                  .chunk_samples = chunk_samples};
    struct compact_merge_report report;
    int64_t before_ns = clock_thread_cpu_ns();
    check(compact_merge(&options, &report), "merge");
    int64_t cpu_ns = clock_thread_cpu_ns() - before_ns;
    char reason[BLOCK_REASON_BYTES], name[64];
    struct block *block;
    check(block_open(&bench->dirs, &meta.ulid, reason, &block), "open");
    struct sums sums = {0};
    add_sums(block, &sums);
    snprintf(name, sizeof(name), "merged, chunks of %u", chunk_samples);
    print_sums(name, &sums, cpu_ns);
    read_block(block);
    block_unref(block);
    check(block_delete(&bench->dirs, &meta.ulid), "delete");
}

/* ---- all ---- */

static void usage(FILE *out)
{
    fprintf(out, "usage: bench_compact [--page NAME] [--hosts N] [--partitions N] [--window SECONDS] DIRECTORY\n"
                 "Writes N blocks of 2 h (default 24) of the pages of N hosts (default 5), scraped every 15 s, as\n"
                 "windows (default 60 s), to DIRECTORY, which is made, and merges them.\npages:\n");
    page_source_list(out);
}

static struct options read_options(int argc, char **argv)
{
    static const struct option longs[] = {{"page", 1, NULL, 'p'},       {"hosts", 1, NULL, 'h'},
                                          {"partitions", 1, NULL, 'n'}, {"window", 1, NULL, 'w'},
                                          {"help", 0, NULL, 'u'},       {0}};
    struct options options = {
        .page = {.name = "captured", .hosts = 5, .capture = CAPTURE}, .partitions = 24, .window_s = 60};
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) >= 0) {
        uint64_t number = 0;
        bool good = option == 'p' || (optarg && str_to_u64(str_from(optarg), &number) == 0 && number > 0);
        options.page.name = option == 'p' ? optarg : options.page.name;
        options.page.hosts = option == 'h' ? (uint32_t)MIN(number, (uint64_t)PAGE_HOSTS_MAX) : options.page.hosts;
        options.partitions = option == 'n' ? (int)MIN(number, (uint64_t)48) : options.partitions;
        options.window_s = option == 'w' ? (int)MIN(number, (uint64_t)3600) : options.window_s;
        if (!good) {
            usage(option == 'u' ? stdout : stderr);
            exit(option == 'u' ? 0 : 2);
        }
    }
    if (optind + 1 != argc) {
        usage(stderr);
        exit(2);
    }
    options.dir = argv[optind];
    return options;
}

static void write_blocks(struct bench *bench)
{
    struct sums sums = {0};
    int64_t cpu_ns = 0;
    for (int i = 0; i < bench->options.partitions; i++) {
        int64_t start_ms = START_MS + i * PARTITION_MS;
        for (int64_t at_ms = start_ms; at_ms < start_ms + PARTITION_MS; at_ms += STEP_MS) {
            for (uint32_t host = 0; host < bench->options.page.hosts; host++) {
                scrape(bench, host, at_ms);
            }
            if ((at_ms + STEP_MS) % (bench->options.window_s * INT64_C(1000)) == 0) {
                close_windows(bench);
            }
        }
        write_block(bench, start_ms, &cpu_ns);
        add_sums(bench->blocks[i], &sums);
    }
    print_sums("blocks of 2 h, chunks of 120", &sums, cpu_ns);
}

int main(int argc, char **argv)
{
    static struct bench bench;
    static const uint32_t sizes[] = {120, 240, 480, 960};
    char error[PAGE_ERROR_BYTES];
    bench.options = read_options(argc, argv);
    check(page_source_new(&bench.options.page, error, &bench.source), "page");
    CLEANUP_FREE char *blocks = mem_printf("%s/blocks", bench.options.dir);
    CLEANUP_FREE char *aggregates = mem_printf("%s/aggregates", bench.options.dir);
    bench.dirs = (struct block_dirs){file_system_real(), blocks, aggregates};
    check(file_make_dirs(bench.dirs.fs, blocks), "directory");
    check(file_make_dirs(bench.dirs.fs, aggregates), "directory");
    map_init(&bench.map);
    random_seed(&bench.random, 1);
    bench.page = mem_alloc(PAGE_BYTES_MAX);
    printf("| blocks | samples | CPU ns/sample | bytes/sample | chunks | index | windows | aggregates |\n");
    printf("|---|---|---|---|---|---|---|---|\n");
    write_blocks(&bench);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        compact(&bench, sizes[i]);
    }
    for (size_t i = 0; i < bench.block_count; i++) {
        block_unref(bench.blocks[i]);
    }
    for (size_t i = 0; i < bench.count; i++) {
        labels_unref(bench.series[i]->labels);
        entries_done(&bench.series[i]->entries);
        mem_free(bench.series[i]);
    }
    mem_free(bench.series);
    mem_free(bench.page);
    map_done(&bench.map);
    page_source_free(bench.source);
    return 0;
}
