#pragma once
/* Requests to a daemon: one at a time, on a loop of their own. */
#include "base/buf.h"
#include "cli.h"
#include "net/http_client.h"

#include <jansson.h>

/* What a person or a script can use; a query's answer takes some three times as much when it is taken apart. */
#define REMOTE_ANSWER_BYTES_MAX (256 * MIB)

/* At the end of the table of a command that talks to a daemon. */
#define REMOTE_OPTIONS                                                                                                 \
    {"url", 'u', "URL", "the daemon; default $TRIBUTARY_URL, else http://127.0.0.1:9412"},                             \
        {"timeout", 0, "DURATION", "longest wait for an answer; default 60s"},                                         \
        {"ca-file", 0, "FILE", "authorities that may vouch for the daemon"},                                           \
        {"cert-file", 0, "FILE", "our certificate"},                                                                   \
    {                                                                                                                  \
        "key-file", 0, "FILE", "and its key"                                                                           \
    }

struct remote {
    char *url; /* without a / at its end */
    int64_t timeout_ms;
    struct http_tls tls;
};

/* CLI_OK, or CLI_USAGE and said why. */
MUST_CHECK enum cli_exit remote_init(struct remote *remote, const struct cli_arguments *arguments);
void remote_done(struct remote *remote);

struct remote_answer {
    int status;
    struct buf body;
};
/* GETs path, or POSTs the form to it. CLI_OK: an answer came, whatever its status. Else CLI_UNREACHABLE, and said why.
 */
MUST_CHECK enum cli_exit remote_call(const struct remote *remote, const char *path, const struct buf *form,
                                     struct remote_answer *ret_answer);
void remote_answer_done(struct remote_answer *answer);
/* The body as JSON; NULL, and said so, where it is none. Freed by json_decref. */
json_t *remote_json(const struct remote *remote, const struct remote_answer *answer);
/* Says that it is none, or where place is its length that it is cut off. */
void remote_complain_json(const struct remote *remote, const struct remote_answer *answer, size_t place);
/* How far a text of that length could be read as JSON; its length where it only lacks its end. */
size_t remote_json_place(const json_error_t *error, size_t len);
/* Says what an answer that is no success holds, in one line. */
void remote_complain(const struct remote *remote, const struct remote_answer *answer);

/* Appends name=value to a form. */
void form_add(struct buf *form, const char *name, struct str value);
void form_add_time(struct buf *form, const char *name, int64_t ms); /* as unix seconds */
/* The time that an option of that name gives, where it is given. False: it is none, and that is said. */
MUST_CHECK bool form_add_time_option(struct buf *form, const struct cli_arguments *arguments, const char *name);
static inline void json_freep(json_t **json)
{
    json_decref(*json);
}
