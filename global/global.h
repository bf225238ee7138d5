#pragma once
/* The global service: takes batches from the primaries into its log, keeps their records in the store, answers queries.
 * No process-wide state: several may run in one process. */
#include "config.h"
#include "net/daemon.h"
#include "net/seams.h"

struct global;
struct store;

/* Opens the data directory, fills the store again from the log, opens the listening socket. Takes config over when it
 * succeeds. config_path (may be NULL) is read again at a reload. On failure ret_error says what and where. */
MUST_CHECK int global_new(const struct seams *seams, struct global_config *config, const char *config_path,
                          char ret_error[static 512], struct global **ret_global);
void global_start(struct global *global);
void global_free(struct global *global); /* NULL allowed */
DEFINE_CLEANUP(struct global *, global_free)
struct daemon *global_daemon(struct global *global);
struct store *global_store(struct global *global); /* for tests: what it holds */
struct coverage *global_coverage(struct global *global);
