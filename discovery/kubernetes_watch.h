#pragma once
/* Private to kubernetes_hub.c, kubernetes_watch.c and kubernetes_say.c: watches, and the sections that share them.
 * kubernetes_watch.c asks and reads, kubernetes_say.c makes groups of what is known and says them. */
#include "discovery/kubernetes_group.h"
#include "discovery/kubernetes_hub.h"
#include "discovery/kubernetes_role.h"
#include "discovery/kubernetes_store.h"
#include "discovery/kubernetes_stream.h"

struct kubernetes_subscription {
    struct kubernetes_section *section;
    struct kubernetes_watch *watch;
    struct kubernetes_subscription *next; /* of the watch */
    bool listed;                          /* a whole list has come since it is there */
    bool refused;                         /* until then: the API server does not give it */
};

struct kubernetes_watch {
    struct kubernetes_watch *next;
    struct kubernetes_hub *hub;
    char *identity; /* server, who we are, path, selectors */
    char *path;
    enum kubernetes_kind kind;
    char *name_space; /* NULL: all */
    struct kubernetes_stream *stream;
    struct kubernetes_store store;
    bool keeps;                                 /* packed objects stay, for those who join others with them */
    bool begun;                                 /* bytes of the list that is under way or over have come */
    bool listed;                                /* a list was whole */
    char problem[KUBERNETES_PROBLEM_BYTES_MAX]; /* "": all is well */
    struct kubernetes_subscription *subscriptions;
    struct kubernetes_subscription *asker; /* through whose host `call` was asked for */
    struct discovery_call *call;
    struct map dependents; /* struct dependents by the hash of a key of this watch */
};

enum kubernetes_section_state {
    KUBERNETES_WAITING, /* for lists, before the first group is made: groups of this role join several */
    KUBERNETES_LISTING, /* groups are said as parts of its first listing */
    KUBERNETES_LIVE
};

struct kubernetes_section {
    struct kubernetes_hub *hub;
    struct discovery_host *host;
    const struct kubernetes_config *config;
    enum kubernetes_section_state state;
    struct kubernetes_subscription *subscriptions;
    size_t count, waiting; /* waiting: those that are neither listed nor refused */
};

struct kubernetes_hub {
    const struct discovery_api *api;
    struct random random;
    struct kubernetes_watch *watches;
    struct kubernetes_record **dirty;
    size_t dirty_count, dirty_capacity;
    /* While one group is made: what was found for it, and all that was looked for. */
    struct kubernetes_group group;
    struct map found;
    struct kubernetes_dependency *looked_for;
    size_t looked_for_count, looked_for_capacity;
};

/* The section's own watch of this kind and namespace joins; it is made where there is none. */
void kubernetes_watch_join(struct kubernetes_subscription *subscription, enum kubernetes_kind kind,
                           const char *name_space);
void kubernetes_watch_leave(struct kubernetes_subscription *subscription);
/* Asks, where nothing is asked for. */
void kubernetes_watch_ask(struct kubernetes_watch *watch);

/* This record's group is to be said; with dependents those that were made with it. */
void kubernetes_dirty(struct kubernetes_record *record);
void kubernetes_dirty_dependents(struct kubernetes_record *record);
/* All of a watch that keeps its objects. */
void kubernetes_dirty_all(struct kubernetes_watch *watch);
/* Says what is dirty; records that are gone go, and so do bytes that are not kept. */
void kubernetes_say_dirty(struct kubernetes_hub *hub);
/* Nothing depends on the watch, and none of its records on another, any more. */
void kubernetes_forget_dependents(struct kubernetes_watch *watch);

/* All is listed that groups of this namespace (NULL: all of them) are made with. */
bool kubernetes_section_sees(const struct kubernetes_section *section, const char *name_space);
/* It waits for no list any more: what it has to say is dirty; and has been said. */
void kubernetes_section_listed(struct kubernetes_section *section);
void kubernetes_section_said(struct kubernetes_section *section);
