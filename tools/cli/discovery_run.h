#pragma once
/* Discovery as a secondary does it, but once: all sections of a configuration are asked until each has said what there
 * is, or does not come to it. Nothing is scraped. */
#include "cli.h"
#include "secondary/finder.h"

struct discovery_run;

/* CLI_FAILED, and said why: a job's secrets cannot be read. Takes at most timeout_ms. config must outlive it. */
enum cli_exit discovery_run_new(struct secondary_config *config, int64_t timeout_ms, struct discovery_run **ret_run);
void discovery_run_free(struct discovery_run *run); /* NULL allowed */
DEFINE_CLEANUP(struct discovery_run *, discovery_run_free)
/* What came of it; lives as long. */
const struct finder *discovery_run_finder(const struct discovery_run *run);
