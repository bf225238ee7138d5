#pragma once
/* Private to tools/pages: the fixtures. */
#include "page_template.h"

/* Pages like node_exporter's. */
struct page_template *page_node_full(void);
struct page_template *page_node_small(void);
struct page_template *page_node_service(void);            /* small, and a histogram of requests */
struct page_template *page_node_different(uint32_t host); /* like no other host's */

/* Pages like cAdvisor's; stamped: each sample says its time, as cAdvisor's do. */
size_t page_containers_render(const struct page_churn *churn, bool stamped, char *page, uint32_t node, double now);

/* A capture of tools/bench/capture. */
struct page_capture;
MUST_CHECK int page_capture_load(const char *path, char ret_error[static PAGE_ERROR_BYTES],
                                 struct page_capture **ret_capture);
void page_capture_free(struct page_capture *capture);
DEFINE_CLEANUP(struct page_capture *, page_capture_free)
size_t page_capture_render(const struct page_capture *capture, char *page, uint32_t host, double now);
