#pragma once
/* The list and the watch of one path of an API server, as Kubernetes' API concepts tell: pages of a list by limit and
 * continue, then a watch from the list's resourceVersion on, watched again when it ends, listed again when its version
 * has gone (410). It does no I/O: it says the next request, reads the answer's bytes and says what comes next. */
#include "base/random.h"
#include "discovery/json_items.h"
#include "target/discovery_plugin.h"

#define KUBERNETES_PAGE_OBJECTS 500  /* asked for at a time: what kubectl asks for */
#define KUBERNETES_PAGES_MAX    2000 /* of one list: servers may answer with fewer than asked for */
#define KUBERNETES_PAGE_BYTES_MAX                                                                                      \
    (512 * MIB) /* of one page, read object by object: 500 of the largest that etcd keeps */
#define KUBERNETES_WATCH_BYTES_MAX   (4096 * MIB) /* of one watch, read event by event: 10 minutes of 7 MiB a second */
#define KUBERNETES_VERSION_BYTES_MAX 64           /* of a resourceVersion: a decimal of 64 bits in all servers known */
#define KUBERNETES_TOKEN_BYTES_MAX   2048         /* of a continue token: some 300 in all servers known */
#define KUBERNETES_SELECTOR_MAX      1024   /* bytes of a selector: both and a token make a URL of 8 KiB at most */
#define KUBERNETES_RELIST_MS         10000  /* a list after a 410 begins within so long, by chance */
#define KUBERNETES_RELIST_MS_MAX     120000 /* or from so long on, where one 410 follows the other */
#define KUBERNETES_PROBLEM_BYTES_MAX 512

struct kubernetes_stream_options {
    const char *path;          /* "/api/v1/pods" */
    const char *label, *field; /* selectors; NULL: none */
    struct random *random;
    /* An object of the list, or one that a watch says is new, changed or gone. Negative: that is too much, the answer
     * is given up. */
    int (*object)(void *arg, const struct json_node *object, bool removed);
    void *arg;
};

enum kubernetes_outcome {
    KUBERNETES_NEXT,   /* a good answer */
    KUBERNETES_LISTED, /* a good answer that was the last page of a list */
    KUBERNETES_BROKEN, /* it ended early; the next request goes on from what came, or lists again */
    KUBERNETES_RETRY,  /* nothing came of it: the same request again, after a back-off */
    KUBERNETES_REFUSED /* the same, of a list: we may not see it, or there is no such thing (403, 404) */
};

struct kubernetes_stream;
struct kubernetes_stream *kubernetes_stream_new(const struct kubernetes_stream_options *options);
void kubernetes_stream_free(struct kubernetes_stream *stream);

void kubernetes_stream_restart(struct kubernetes_stream *stream); /* the next request lists from the beginning */
bool kubernetes_stream_at_beginning(const struct kubernetes_stream *stream); /* of a list: no page of it is over */
bool kubernetes_stream_is_listing(const struct kubernetes_stream *stream);
/* What to ask now: url, times and ceilings; the url lives until the next call. Asked again for what is under way it
 * says that again, or goes on from what has come of it. */
void kubernetes_stream_request(struct kubernetes_stream *stream, struct discovery_request *ret_request);

/* An answer of status 2xx begins, and its bytes. Negative: enough. */
void kubernetes_stream_begin(struct kubernetes_stream *stream);
int kubernetes_stream_data(struct kubernetes_stream *stream, struct str bytes);
/* The answer is over. ret_problem is "" or what was wrong. */
enum kubernetes_outcome kubernetes_stream_end(struct kubernetes_stream *stream, const struct discovery_end *end,
                                              char ret_problem[static KUBERNETES_PROBLEM_BYTES_MAX]);
