#pragma once
/* A secondary: discovers and scrapes targets, keeps windows of their samples, spools them and pushes them to its
 * primary. No process-wide state: several may run in one process. On a simulated loop it has one worker, on that loop.
 */
#include "config.h"
#include "net/daemon.h"
#include "net/seams.h"

struct secondary;

/* Opens the data directory and the listening socket. Takes config over when it succeeds. config_path (may be NULL) is
 * read again at a reload. On failure ret_error says what and where. */
MUST_CHECK int secondary_new(const struct seams *seams, struct secondary_config *config, const char *config_path,
                             char ret_error[static 512], struct secondary **ret_secondary);
void secondary_start(struct secondary *secondary);
/* Takes the new configuration over when it can be had without a restart; else -EINVAL and the reasons, line by line. */
MUST_CHECK int secondary_reload(struct secondary *secondary, struct secondary_config *config, struct buf *errors);
/* No more scrapes; open windows are sealed as they are and go to disk; what can be sent within some seconds is sent.
 * Then fn. The daemon's stop is this, and loop_stop. */
void secondary_stop(struct secondary *secondary, loop_fn *fn, void *arg);
/* At any time: without secondary_stop it is a crash, and open windows are lost. NULL allowed. */
void secondary_free(struct secondary *secondary);
DEFINE_CLEANUP(struct secondary *, secondary_free)
struct daemon *secondary_daemon(struct secondary *secondary);
