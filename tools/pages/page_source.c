#include "page_source.h"
#include "base/fail.h"
#include "page_kinds.h"

#include <errno.h>
#include <string.h>

struct fixture {
    const char *name;
    uint32_t hosts; /* meant for */
    const char *about;
    struct page_template *(*shared)(void);       /* one page for all hosts */
    struct page_template *(*own)(uint32_t host); /* or one for each */
};

static const struct fixture fixtures[] = {
    {"full", 1000, "692 series like node_exporter's, about half of which move", page_node_full, NULL},
    {"small", 1000, "98 series, of which most move", page_node_small, NULL},
    {"service", 1000, "those of small and a histogram of requests: 110 series", page_node_service, NULL},
    {"different", 10, "hosts of which no two are alike, 4 to 64 CPUs", NULL, page_node_different},
    {"captured", 1000, "a real node_exporter's page and values (tools/bench/capture)", NULL, NULL},
    {"containers", 100, "nodes with some 3,000 series like cAdvisor's, each its own pods", NULL, NULL},
    {"stamped", 100, "the same with a timestamp on each sample", NULL, NULL},
};

struct page_source {
    const struct fixture *fixture;
    uint32_t hosts;
    struct page_churn churn;
    struct page_template **templates; /* of each host, or the one of all */
    uint32_t template_count;
    struct page_capture *capture;
};

static const struct fixture *find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(fixtures); i++)
        if (strcmp(fixtures[i].name, name) == 0)
            return &fixtures[i];
    return NULL;
}

static void make_templates(struct page_source *source)
{
    const struct fixture *fixture = source->fixture;
    source->template_count = fixture->own ? source->hosts : fixture->shared ? 1 : 0;
    source->templates = mem_array(source->template_count, sizeof(struct page_template *));
    for (uint32_t i = 0; i < source->template_count; i++)
        source->templates[i] = fixture->own ? fixture->own(i) : fixture->shared();
}

int page_source_new(const struct page_options *options, char ret_error[static PAGE_ERROR_BYTES],
                    struct page_source **ret_source)
{
    ASSERT(options->churn.series == 0 || options->churn.interval_s > 0);
    const struct fixture *fixture = find(options->name);
    if (!fixture || options->hosts > PAGE_HOSTS_MAX) {
        snprintf(ret_error, PAGE_ERROR_BYTES, fixture ? "more than %d hosts" : "no such page (of %d hosts at most)",
                 PAGE_HOSTS_MAX);
        return -EINVAL;
    }
    CLEANUP(page_source_freep) struct page_source *source = mem_zalloc(sizeof(*source));
    source->fixture = fixture;
    source->hosts = options->hosts ? options->hosts : fixture->hosts;
    source->churn = options->churn;
    make_templates(source);
    if (strcmp(fixture->name, "captured") == 0) {
        int error = page_capture_load(options->capture, ret_error, &source->capture);
        if (error < 0)
            return error;
    }
    *ret_source = STEAL(source);
    return 0;
}

void page_source_free(struct page_source *source)
{
    if (!source)
        return;
    for (uint32_t i = 0; i < source->template_count; i++)
        page_template_free(source->templates[i]);
    mem_free(source->templates);
    page_capture_free(source->capture);
    mem_free(source);
}

uint32_t page_source_hosts(const struct page_source *source)
{
    return source->hosts;
}

size_t page_source_render(const struct page_source *source, uint32_t host, double now,
                          char ret_page[static PAGE_BYTES_MAX])
{
    ASSERT(host < source->hosts);
    if (source->template_count > 0)
        return page_template_render(source->templates[host % source->template_count], &source->churn, ret_page, host,
                                    now);
    if (source->capture)
        return page_capture_render(source->capture, ret_page, host, now);
    bool stamped = strcmp(source->fixture->name, "stamped") == 0;
    return page_containers_render(&source->churn, stamped, ret_page, host, now);
}

void page_source_list(FILE *out)
{
    for (size_t i = 0; i < ARRAY_LEN(fixtures); i++)
        fprintf(out, "  %-11s %s (%u hosts)\n", fixtures[i].name, fixtures[i].about, fixtures[i].hosts);
}
