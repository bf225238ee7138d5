#pragma once
/* The primary of a datacenter: takes batches from its secondaries, keeps them on disk, forwards them to every global.
 * It reads envelopes only; a batch leaves as the bytes it came in. No process-wide state: several may run in one
 * process. */
#include "config.h"
#include "net/daemon.h"
#include "net/seams.h"

struct primary;

/* Opens the data directory and the listening socket. Takes config over when it succeeds. config_path (may be NULL) is
 * read again at a reload. On failure ret_error says what and where. */
MUST_CHECK int primary_new(const struct seams *seams, struct primary_config *config, const char *config_path,
                           char ret_error[static 512], struct primary **ret_primary);
void primary_start(struct primary *primary);
void primary_free(struct primary *primary); /* NULL allowed */
DEFINE_CLEANUP(struct primary *, primary_free)
struct daemon *primary_daemon(struct primary *primary);
