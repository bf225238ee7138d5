#pragma once
/* One scrape over HTTP: request, deadline, body. What the body says is the pipeline's matter. */
#include "net/http_client.h"
#include "target.h"

/* Valid during the call: reason (for people, "" when fine) and body. */
typedef void scrape_done_fn(void *arg, enum scrape_failure failure, const char *reason, struct str body,
                            int64_t duration_ns);

struct scrape {             /* lives inside its owner */
    struct http_call *call; /* NULL: none under way */
    scrape_done_fn *done;
    void *arg;
};

/* 0: done is called later, once. -EAGAIN: too many are under way. -EINVAL: the URL is none. job: whose headers and
 * limits hold; its tls must outlive the client. */
MUST_CHECK int scrape_begin(struct scrape *scrape, struct http_client *client, const struct target *target,
                            const struct job *job, unsigned shard);
/* done is not called any more. */
void scrape_cancel(struct scrape *scrape);
