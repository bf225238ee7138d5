#pragma once
/* The services of a section and when each is asked for. Each is a group of targets.
 *
 * Few: a blocking query each (/v1/health/service/NAME). Many ("wide"): somebody else says which may have changed, these
 * are read a few at a time, and besides all of them one after the other, slowly. */
#include "base/arena.h"
#include "base/map.h"
#include "discovery/consul_query.h"

#define CONSUL_WATCHES_MAX 24 /* services with a query each: with the catalog's below DISCOVERY_CALLS_MAX */

enum consul_place {
    CONSUL_DUE,     /* to be read as soon as there is room */
    CONSUL_ASKED,   /* its query is under way, or waits for its time */
    CONSUL_RESTING, /* wide: read, and nothing says that it changed */
    CONSUL_PLACES
};

struct consul_service {
    struct consul_services *services;
    struct consul_service *prev, *next; /* in the list of its place */
    enum consul_place place;
    char *name;
    struct consul_query query;
    bool read;       /* once at least, be it in vain for a ceiling */
    bool again;      /* something changed while it was being read */
    uint64_t *nodes; /* of each instance, consul_instance_node */
    size_t node_count;
    struct consul_answer {
        struct arena arena;
        struct discovery_target *targets;
        uint64_t *nodes;
        size_t count, capacity;
    } answer; /* under way */
    /* Of who looks through the catalog. */
    uint64_t tags; /* hash of all that it tells for the service */
    bool in_catalog;
    struct consul_service *next_gone;
};

struct consul_services {
    struct consul_asker *asker;
    struct str datacenter; /* for a label; set before the first is added */
    struct map by_name;    /* struct consul_service */
    struct consul_place_list {
        struct consul_service *first, *last;
        size_t count;
    } places[CONSUL_PLACES];
    struct consul_service *sweeping; /* asked for because its turn came; NULL: none */
    size_t unread;                   /* services that were not read once */
    bool wide;
    bool listed; /* all that were there have been read: the listing has been committed */
};

void consul_services_init(struct consul_services *services, struct consul_asker *asker);
void consul_services_done(struct consul_services *services); /* what was asked is over */
struct consul_service *consul_services_get(const struct consul_services *services, struct str name);
struct consul_service *consul_services_add(struct consul_services *services, struct str name); /* it is not there yet */
/* Its targets go, too. */
void consul_service_drop(struct consul_service *service);
/* It has changed, or may have, where services are not watched by themselves. */
void consul_service_is_due(struct consul_service *service);
/* Watches by service end, or begin. What was read stays. */
void consul_services_set_wide(struct consul_services *services, bool wide);
/* After all that is above: asks for what is to be asked for, and commits the listing when all has been read. */
void consul_services_go_on(struct consul_services *services);
int64_t consul_services_sweep_ms(const struct consul_services *services); /* reading all of them takes so long */
