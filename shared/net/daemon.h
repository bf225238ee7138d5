#pragma once
/* What the three daemons' main.c share: arguments, signals, descriptors, the routes below /-/. */
#include "base/log.h"
#include "net/http_server.h"

enum daemon_exit { DAEMON_OK = 0, DAEMON_FAILED = 1, DAEMON_USAGE = 2 /* or a configuration that is not valid */ };

/* First thing in main: str_hash_seed by chance. */
void daemon_seed_hashes(void);

struct daemon_arguments {
    const char *config;
    bool check_config;
    enum log_level log_level;
};

/* --config FILE, --check-config, --log-level LEVEL, --version, --help. purpose: one line for --help. True: go on.
 * False: everything is said (stdout for help and version, stderr for mistakes), leave with ret_exit. */
MUST_CHECK bool daemon_parse(int argc, char **argv, const char *name, const char *purpose,
                             struct daemon_arguments *ret_arguments, int *ret_exit);

/* The face of a running daemon. A daemon's own struct has it as its first member `daemon`, and is the context of its
 * server, so that DAEMON_ROUTES find it. All callbacks run on the loop. */
struct daemon {
    struct loop *loop;
    const char *name;
    void (*stop)(struct daemon *daemon); /* drain, then loop_stop; called once */
    /* Keeps the old configuration where the new one is not valid: negative errno and the errors, line by line. */
    int (*reload)(struct daemon *daemon, struct buf *errors);
    bool (*ready)(struct daemon *daemon, struct buf *reason); /* false: why not */
    bool stopping;
};

/* SIGTERM and SIGINT stop (a second one ends the process at once), SIGHUP reloads and logs the outcome; SIGPIPE is
 * ignored. One daemon per process. */
void daemon_handle_signals(struct daemon *daemon);
void daemon_ignore_sigpipe(void);

/* Raises the descriptor limit to at least need where that is possible: soft to hard, and as root the hard one too.
 * Returns what the limit is now; less than need is the caller's clear error. */
uint64_t daemon_raise_descriptors(uint64_t need);

/* GET /-/healthy: 200 while the loop turns. GET /-/ready: 200 or 503 with the reason, 503 once stopping.
 * POST /-/reload: 200, or 400 with the errors. */
#define DAEMON_ROUTES                                                                                                  \
    {"GET", "/-/healthy", daemon_serve_healthy, 0, 0}, {"GET", "/-/ready", daemon_serve_ready, 0, 0},                  \
    {                                                                                                                  \
        "POST", "/-/reload", daemon_serve_reload, 0, 1024                                                              \
    }
http_handler_fn daemon_serve_healthy, daemon_serve_ready, daemon_serve_reload;
