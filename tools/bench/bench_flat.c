/* How even a secondary's load is over the minute: scrapes, parts of windows and their bytes by the second, on a
 * simulated clock and network. Nothing is timed: every run prints the same.
 *
 *   bench_flat [--targets 2000] [--interval 15] [--windows 5] [--page small] [--capture FILE] */
#include "base/fail.h"
#include "flat.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>

#define CAPTURE   SOURCE_DIR "/tools/bench/captured.gz"
#define BAR_WIDTH 40

static void print_seconds(const struct flat *flat)
{
    struct flat_load bytes = flat_load_of(flat, offsetof(struct flat_second, bytes));
    printf("%6s %10s %10s %12s  bytes, a window's mean\n", "second", "scrapes", "parts", "bytes");
    for (int i = 0; i < FLAT_WINDOW_S; i++) {
        const struct flat_second *second = &flat->seconds[i];
        double mean = (double)second->bytes / flat->windows;
        int bar = bytes.max > 0 ? (int)(BAR_WIDTH * mean / bytes.max) : 0;
        printf("%6d %10.1f %10.1f %12.0f  %.*s\n", i, (double)second->scrapes / flat->windows,
               (double)second->parts / flat->windows, mean, bar, "########################################");
    }
}

static void print_load(const char *name, const struct flat_load *load)
{
    printf("%-8s %12.1f %12.1f %12.2f %12d %12.2f\n", name, load->mean, load->max, load->max_over_mean,
           load->busy_seconds, load->busy_max_over_mean);
}

static void print_all(const struct flat *flat)
{
    struct flat_load scrapes = flat_load_of(flat, offsetof(struct flat_second, scrapes));
    struct flat_load parts = flat_load_of(flat, offsetof(struct flat_second, parts));
    struct flat_load bytes = flat_load_of(flat, offsetof(struct flat_second, bytes));
    print_seconds(flat);
    printf("\n%-8s %12s %12s %12s %12s %12s\n", "a second", "mean", "max", "max/mean", "busy seconds",
           "max/mean there");
    print_load("scrapes", &scrapes);
    print_load("parts", &parts);
    print_load("bytes", &bytes);
    printf("%" PRIu64 " records in %d windows; %" PRIu64 " groups split, %" PRIu64 " scrapes late\n", flat->records,
           flat->windows, flat->windows_split, flat->scrapes_late);
}

static int number_of(const char *name, const char *text, long high)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || end == text || value < 1 || value > high) {
        fprintf(stderr, "bench_flat: --%s takes a number from 1 to %ld, not \"%s\"\n", name, high, text);
        exit(2);
    }
    return (int)value;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {{"targets", 1, 0, 't'}, {"interval", 1, 0, 'i'}, {"windows", 1, 0, 'w'},
                                          {"page", 1, 0, 'p'},    {"capture", 1, 0, 'c'},  {0}};
    struct page_options page = {.name = "small", .hosts = 2000, .capture = CAPTURE};
    struct flat_options options = {.interval_s = 15, .windows = 5};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 't')
            page.hosts = (uint32_t)number_of("targets", optarg, FLAT_TARGETS_MAX);
        else if (option == 'i')
            options.interval_s = number_of("interval", optarg, FLAT_WINDOW_S);
        else if (option == 'w')
            options.windows = number_of("windows", optarg, FLAT_WINDOWS_MAX);
        else if (option == 'p')
            page.name = optarg;
        else if (option == 'c')
            page.capture = optarg;
        else
            return 2;
    }
    CLEANUP(page_source_freep) struct page_source *source = NULL;
    char error[PAGE_ERROR_BYTES];
    if (FLAT_WINDOW_S % options.interval_s != 0 || page_source_new(&page, error, &source) < 0) {
        fprintf(stderr, "bench_flat: %s\n",
                FLAT_WINDOW_S % options.interval_s != 0 ? "--interval divides a minute" : error);
        return 2;
    }
    options.source = source;
    struct flat flat;
    flat_run(&options, &flat);
    print_all(&flat);
    return 0;
}
