#pragma once
/* Private to secondary/: what a secondary is made of. */
#include "batcher.h"
#include "discover.h"
#include "secondary.h"
#include "targets.h"
#include "upstream.h"
#include "worker.h"

struct secondary_job { /* of the configuration in force, in its order */
    struct job *job;
    size_t targets_max;
    uint64_t found, dropped, invalid, repeated, over_limit; /* as discovery said last */
};

struct secondary {
    struct daemon daemon; /* first: the routes below /-/ find themselves here */
    struct seams seams;
    struct secondary_config *config;
    char *config_path;
    struct tls_store *tls;
    struct secondary_job *jobs;
    size_t job_count;
    struct discover *discover;
    struct targets *targets;
    struct window_rules *rules; /* set last */
    uint64_t rules_changes;     /* since the start */
    struct worker **workers;
    unsigned worker_count;
    struct spool *spool;
    struct batcher *batcher;
    struct upstream *upstream;
    struct http_server *server;
    bool is_listing; /* targets, for somebody who asks */
    int64_t started_ms;

    /* Stopping. */
    unsigned workers_left;
    struct loop_timer drain_timer;
    int64_t drain_until_ms; /* monotonic */
    loop_fn *stopped;
    void *stopped_arg;
};
