#pragma once
/* Fixtures: pages of simulated hosts, by name. A page is a function of the host and of the time, so that a benchmark in
 * simulated time and a fleet that answers over HTTP show the same. */
#include "base/defs.h"

#include <stdio.h>

#define PAGE_BYTES_MAX   (4 * MIB)
#define PAGE_HOSTS_MAX   20000
#define PAGE_ERROR_BYTES 256

struct page_churn {
    uint32_t series;     /* of each page, replaced by others every interval_s: full, small, different */
    uint32_t interval_s; /* of scrapes; above 0 */
    bool pods;           /* one pod of each node is replaced within each minute: containers */
};

struct page_options {
    const char *name;    /* of the fixture */
    uint32_t hosts;      /* 0: as many as the fixture is meant for */
    const char *capture; /* file of tools/bench/capture, for `captured` */
    struct page_churn churn;
};

struct page_source;

/* -EINVAL and the like, and why. options->capture is not needed afterwards. */
MUST_CHECK int page_source_new(const struct page_options *options, char ret_error[static PAGE_ERROR_BYTES],
                               struct page_source **ret_source);
void page_source_free(struct page_source *source);
DEFINE_CLEANUP(struct page_source *, page_source_free)
uint32_t page_source_hosts(const struct page_source *source);
/* Writes the page of a host (below page_source_hosts) at a time in seconds since 1970; returns its length. Times of one
 * host need not rise. */
size_t page_source_render(const struct page_source *source, uint32_t host, double now,
                          char ret_page[static PAGE_BYTES_MAX]);
/* A line per fixture: its name and what it is. */
void page_source_list(FILE *out);
