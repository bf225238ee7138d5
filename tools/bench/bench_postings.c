/* What matchers cost in the head's index: bench_postings [SERIES]. Prints ns and matches for each selector. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/fail.h"
#include "metric/selector.h"
#include "store/postings.h"

#include <stdio.h>
#include <stdlib.h>

#define SERIES_DEFAULT  1000000
#define SERIES_PER_HOST 100
#define ROUNDS          5
#define LABELS          5
#define TEXT_BYTES_MAX  (64 * KIB)

struct world {
    struct postings postings;
    struct labels **series;
    size_t count;
};

static struct str value_of(void *arg, uint32_t ref, struct str name)
{
    return labels_get(((const struct world *)arg)->series[ref], name);
}

/* 10,000 hosts of 100 series, 25 metrics; each series with an id of its own. */
static struct labels *labels_of(size_t i)
{
    static const char *const modes[] = {"idle", "user", "system", "iowait"};
    char texts[3][32];
    size_t within = i % SERIES_PER_HOST;
    snprintf(texts[0], sizeof(texts[0]), "node_%s%zu", within % 5 == 0 ? "cpu" : "disk", within / 4);
    snprintf(texts[1], sizeof(texts[1]), "host-%zu:9100", i / SERIES_PER_HOST);
    snprintf(texts[2], sizeof(texts[2]), "id-%zu", i);
    struct label pairs[LABELS] = {{STR("__name__"), str_from(texts[0])},
                                  {STR("id"), str_from(texts[2])},
                                  {STR("instance"), str_from(texts[1])},
                                  {STR("job"), STR("node")},
                                  {STR("mode"), str_from(modes[within % 4])}};
    return labels_new(pairs, LABELS);
}

static void run(const struct world *world, const char *name, struct str selector)
{
    CLEANUP(selector_freep) struct selector *parsed = NULL;
    char error[256];
    size_t offset;
    if (selector_new(selector, error, &offset, &parsed) < 0)
        fatal("%s: %s", name, error);
    struct postings_query query = {.matchers = parsed->matchers, .count = parsed->count};
    int64_t best_ns = INT64_MAX;
    uint64_t found = 0;
    for (int i = 0; i < ROUNDS; i++) {
        CLEANUP(bitmap_freep) roaring_bitmap_t *refs = NULL;
        int64_t start_ns = clock_mono_ns(clock_real());
        if (postings_select(&world->postings, &query, &refs) < 0)
            fatal("%s", name);
        best_ns = MIN(best_ns, clock_mono_ns(clock_real()) - start_ns);
        found = roaring_bitmap_get_cardinality(refs);
    }
    printf("%-44s %12.1f us %10llu series\n", name, (double)best_ns / 1000, (unsigned long long)found);
}

int main(int argc, char **argv)
{
    static const char *const selectors[] = {
        "{instance=\"host-1:9100\"}",
        "{instance=~\"host-(1|2|3):9100\"}",
        "{instance=~\"host-1.*\"}",
        "{instance=~\"host-1[0-9]*:9100\"}",
        "{__name__=~\"node_cpu.*\",mode!=\"idle\"}",
        "{job=\"node\",instance=~\"host-77.:9100\",mode=~\"user|system\"}",
        "{id!=\"\"}",
        "{id=~\".+\"}",
        "{id=~\".*7\"}",
        "{__name__=~\".+\"}",
        "{job!~\"x|y\",instance=\"host-5:9100\"}",
    };
    struct world world = {.count = argc > 1 ? strtoul(argv[1], NULL, 10) : SERIES_DEFAULT};
    world.series = mem_array(world.count, sizeof(*world.series));
    postings_init(&world.postings, value_of, &world);
    int64_t start_ns = clock_mono_ns(clock_real());
    for (size_t i = 0; i < world.count; i++) {
        uint32_t pairs[LABELS];
        world.series[i] = labels_of(i);
        postings_add(&world.postings, world.series[i], (uint32_t)i, pairs);
    }
    printf("adding: %.1f ns a series\n", (double)(clock_mono_ns(clock_real()) - start_ns) / (double)world.count);
    for (size_t i = 0; i < ARRAY_LEN(selectors); i++)
        run(&world, selectors[i], str_from(selectors[i]));
    CLEANUP(buf_done) struct buf ids = BUF_INIT(TEXT_BYTES_MAX);
    buf_append_text(&ids, "{id=~\"");
    for (size_t i = 0; i < 1000; i++)
        buf_printf(&ids, "%sid-%zu", i > 0 ? "|" : "", i * 997 % world.count);
    buf_append_text(&ids, "\"}");
    run(&world, "{id=~\"1,000 alternatives\"}", buf_view(&ids));
    for (size_t i = 0; i < world.count; i++)
        labels_unref(world.series[i]);
    postings_done(&world.postings);
    mem_free(world.series);
    return 0;
}
