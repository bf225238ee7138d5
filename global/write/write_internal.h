#pragma once
/* Private to write*.c: write.c has requests and senders, write_report.c what is told of them. */
#include "write/write.h"

enum outcome { /* of a request */
               OUTCOME_STORED,
               OUTCOME_PARTIAL, /* some samples were refused, the rest is stored */
               OUTCOME_MALFORMED,
               OUTCOME_TOO_LARGE,
               OUTCOME_UNSUPPORTED,
               OUTCOME_UNAUTHORISED,
               OUTCOME_BUSY,   /* to come again */
               OUTCOME_FAILED, /* the log could not be written: to come again */
               OUTCOME_COUNT
};

struct sender {
    char name[SOURCE_NAME_BYTES_MAX + 1], datacenter[SOURCE_NAME_BYTES_MAX + 1];
    bool honor_datacenter, anonymous;
    char peer[64];
    int64_t last_received_ms; /* 0: never since the start */
    uint64_t requests, samples, refused;
};

struct write_request;

struct write {
    struct seams seams;
    struct spool *log;
    struct write_options options;
    char *datacenter;
    struct auth *auth; /* NULL: nobody has a name to show */
    struct sender *senders;
    size_t sender_count;
    struct executor *executor; /* one thread, whose the converter is */
    struct convert *convert;
    struct write_request *requests; /* all that are not answered */
    uint64_t in_flight_bytes;
    bool stopping;
    uint64_t outcomes[OUTCOME_COUNT];
    struct convert_counts counts;
    uint64_t body_bytes, batches;
};
