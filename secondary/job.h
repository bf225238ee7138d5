#pragma once
/* What a scrape_config says about fetching and reading its targets' pages: a copy that belongs to nobody's
 * configuration, so that it lives as long as somebody scrapes by it. Immutable; counted references, from any thread. */
#include "config.h"
#include "pipeline.h"
#include "tls_store.h"

struct job {
    const char *name;
    struct pipeline_job pipeline;
    uint64_t body_bytes_max;
    const char *basic_user, *basic_password; /* NULL: none */
    const char *authorization;               /* the header's value; NULL: none */
    const struct http_tls *tls;              /* NULL: system defaults; of the tls_store */
    /* Of all that decides which series come of a page: two jobs with the same one may follow each other without a
     * break. */
    uint64_t series_hash;
    uint64_t whole_hash; /* of everything, secrets too */
};

/* -EINVAL and a reason, for a secret that cannot be read. config may go afterwards, tls_store must stay. */
MUST_CHECK int job_new(struct file_system *fs, const struct scrape_config *config, struct tls_store *tls,
                       char ret_error[static 256], struct job **ret_job);
struct job *job_ref(struct job *job);
void job_unref(struct job *job); /* NULL allowed */
DEFINE_CLEANUP(struct job *, job_unref)
