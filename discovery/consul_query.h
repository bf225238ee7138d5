#pragma once
/* One question to Consul's HTTP API that is asked again and again: its URL, its answer as items, and the rules of
 * X-Consul-Index (developer.hashicorp.com/consul/api-docs/features/blocking). */
#include "discovery/consul_config.h"
#include "discovery/json_items.h"
#include "target/discovery_plugin.h"

struct consul_asker { /* what the questions of a section have in common */
    const struct discovery_api *api;
    struct discovery_host *host;
    const struct consul_config *config;
    struct discovery_secret_header token;
    size_t
        failing; /* queries whose last answer was none or not good: the section's problem stands until there is none */
};

struct consul_question {
    const char *path; /* "/v1/..."; the query's name follows */
    bool selects;     /* dc, ns, partition, stale and node-meta belong to it */
    bool by_tags;     /* and the tags */
    size_t filter;    /* offset of its filter in the configuration; 0: none */
    enum json_shape shape;
    uint64_t bytes_max; /* of an answer; 0: DISCOVERY_ANSWER_BYTES_MAX */
    /* An answer begins: what items of one before have left is to be forgotten. */
    void (*begin)(void *owner);
    /* Negative: the answer is refused; ret_reason may be filled then. */
    int (*item)(void *owner, const struct json_node *item, char ret_reason[static 256]);
    /* All items have come. `filtered`: there would be more for another token. Negative refuses. May be NULL. */
    int (*whole)(void *owner, bool filtered, char ret_reason[static 256]);
    /* The answer is over: good and new, or as the one before. Whoever wants another asks, here or later. */
    void (*answered)(void *owner, bool changed);
    /* It is over for a ceiling that it passes, which the next will pass too: not asked again unless the owner does.
     * NULL: it is asked again like after any other failure, until it is good. */
    void (*refused)(void *owner);
};

struct consul_query {
    struct consul_asker *asker;
    const struct consul_question *question;
    void *owner;
    const char *name;            /* or "" */
    struct discovery_call *call; /* NULL: nothing is asked */
    uint64_t index;              /* that the last good answer stands for; 0: not known */
    int64_t
        pause_ms; /* after the last good answer: then refresh_interval is over since the question, but one second at
                     least, so that one who was answered after a long wait asks again soon, and none asks in a row */
    bool failing;
    /* The answer under way. */
    bool waits;    /* Consul was asked to answer when index has moved */
    bool same;     /* it has not */
    bool distrust; /* an older state, told by a server that knows no leader */
    bool filtered; /* by the token's policy */
    bool empty;    /* no item has come */
    uint64_t answer_index;
    struct json_items *items;
    char reason[256]; /* why item or whole refused */
};

/* The strings must live as long as the query. */
void consul_query_init(struct consul_query *query, struct consul_asker *asker, const struct consul_question *question,
                       void *owner, const char *name);
/* Asks in after_ms; with `waits` for a state other than that of the last answer, when it comes. Nothing may be asked
 * yet. */
void consul_query_ask(struct consul_query *query, bool waits, int64_t after_ms);
/* No answer is wanted any more. Not while `answered` runs. */
void consul_query_stop(struct consul_query *query);
void consul_query_done(struct consul_query *query); /* what was asked is over: the memory alone */
