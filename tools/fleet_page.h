#pragma once
/* The page of a simulated host: which lines it has, and what their values are at a time. */
#include <stddef.h>
#include <stdint.h>

#define FLEET_PAGE_BYTES_MAX (512 * 1024)

/* Full: some 700 series; else some 100. Once, before fleet_page_render. Returns the number of series. */
size_t fleet_page_make(int full);
/* Writes the page of a host at a time in seconds since 1970; returns its length, at most FLEET_PAGE_BYTES_MAX. */
size_t fleet_page_render(char *page, uint32_t host, double now);
