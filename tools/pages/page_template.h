#pragma once
/* The lines of a page, and their values at a time: made once, rendered for any host. */
#include "page_source.h"
#include "page_value.h"

struct page_template;

struct page_template *page_template_new(void);
void page_template_free(struct page_template *template);
/* Of the families that follow this share is left out, another choice by each key. */
void page_template_leave_out(struct page_template *template, uint64_t key, double share);
/* HELP and TYPE of the series that follow. */
void page_template_family(struct page_template *template, const char *name, const char *type);
void page_template_series(struct page_template *template, const char *name, const char *labels, enum value_form form,
                          double scale);
size_t page_template_series_count(const struct page_template *template);
/* churn->series of the page's series have one more label, whose value is a new one every churn->interval_s. */
size_t page_template_render(const struct page_template *template, const struct page_churn *churn, char *page,
                            uint32_t host, double now);
