#pragma once
/* Private to primary/: what a primary is made of. */
#include "hop/receiver.h"
#include "hop/sender.h"
#include "primary.h"

struct upstream { /* one global */
    const struct primary_config_global *config;
    char *token; /* NULL: none */
    struct http_client *client;
    struct sender *sender;
    struct sender_options options;
    const char *url;
};

struct primary {
    struct daemon daemon; /* first: the routes below /-/ find it here */
    struct seams seams;
    struct primary_config *config;
    char *config_path;
    struct auth *auth;
    struct spool *spool;
    struct receiver *receiver;
    struct http_server *server;
    struct upstream *upstreams;
    size_t upstream_count;
    size_t draining; /* upstreams that have not said they are done */
    struct log_limit refusals;
    int64_t started_ms;
};
