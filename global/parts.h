#pragma once
/* Private to global/: what a global is made of. */
#include "api/api.h"
#include "coverage/keeper.h"
#include "global.h"
#include "hop/receiver.h"
#include "ingest.h"
#include "write/write.h"

struct global {
    struct api_context context; /* first: the routes below /-/ and of the API find themselves here */
    struct seams seams;
    struct global_config *config;
    char *config_path;
    struct auth *auth;
    struct spool *log;
    struct receiver *receiver;
    struct write *write;
    struct store *store;
    struct families *families;
    struct ingest *ingest;
    struct coverage *coverage;
    struct keeper keeper;        /* of the coverage: writes its file with each snapshot */
    struct executor *workers;    /* the server's */
    struct crew *crew;           /* helps queries; NULL: simulated */
    struct executor *background; /* one thread: the store's work */
    bool working, work_more, work_snapshot;
    struct buf rows;           /* of ingest, for the snapshot that is being written */
    int64_t snapshot_ms;       /* when the last one was begun, */
    uint64_t snapshot_records; /* and how many had been taken in by then */
    uint64_t replay_from;      /* what the log has up to here is not replayed */
    struct http_server *server;
    struct loop_timer upkeep;
    struct log_limit refusals;
    int64_t started_ms;
    uint64_t replayed_batches, upkeeps;
};

static inline int64_t global_now_ms(const struct global *global)
{
    return clock_wall_ms(loop_clock(global->seams.loop));
}
