#pragma once
/* HTTP requests on a loop: the one function by which tributary sends. libcurl's multi interface behind it (reference:
 * connections sharded over several multi handles by `shard`, pooled easy handles, no DNS cache of curl's own), or a
 * simulated network. Every request has a deadline, a ceiling for the answer and can be cancelled. No redirects. */
#include "base/buf.h"
#include "net/network.h"

struct http_client;
struct http_call;

struct http_tls { /* all may be NULL */
    const char *ca_file, *cert_file, *key_file, *server_name;
    bool insecure_skip_verify;
    const char *ca_pem, *cert_pem, *key_pem; /* the same as text; each instead of its file */
};

struct http_client_options {
    const char *name;         /* of this end, for simulated links */
    unsigned shards;          /* multi handles, 1..100; scrapes of one phase share one */
    unsigned connections_max; /* kept open per shard */
    unsigned calls_max;       /* in flight; past it http_client_call answers -EAGAIN; 0: 1024 */
};

struct http_header {
    const char *name, *value;
};

/* Status and headers of an answer; a view. */
struct http_head {
    int status;
    struct str lines; /* "name:value\n" each */
};
/* A header's value by its name, in any case; the first of several; STR_NULL: it has none. */
struct str http_head_get(const struct http_head *head, const char *name);

/* Who reads an answer while it comes. Called with the call's arg, on the loop, from within the transport: neither may
 * call or cancel anything of the client, nor free it; note it and do it on the loop's next turn. */
struct http_stream {
    /* Once, when the headers of the final answer are there, whatever its status. May be NULL. */
    void (*head)(void *arg, const struct http_head *head);
    /* The next bytes of the body, unpacked. Negative: enough, the call ends with HTTP_REFUSED. */
    int (*data)(void *arg, struct str bytes);
};

struct http_request_spec {
    const char *method; /* "GET", "POST" */
    const char *url;
    const struct http_header *headers;
    size_t header_count;
    const void *body; /* copied */
    size_t body_len;
    const char *basic_user; /* with basic_password; or NULL */
    const char *basic_password;
    const struct http_tls *tls; /* NULL: system defaults */
    unsigned shard;             /* modulo shards */
    int64_t timeout_ms;         /* of the whole exchange */
    int64_t idle_timeout_ms;    /* without a byte of an answer, from the call on; 0: none */
    size_t response_bytes_max;  /* after undoing gzip; of a stream in all */
    bool accept_gzip;
    const struct http_stream *stream; /* lives as long as the call. NULL: the body is collected for `done` */
};

enum http_failure {
    HTTP_OK,      /* an answer came, whatever its status */
    HTTP_RESOLVE, /* name not found */
    HTTP_CONNECT, /* refused, unreachable */
    HTTP_TLS,     /* handshake or certificate */
    HTTP_TIMEOUT,
    HTTP_TOO_LARGE, /* past response_bytes_max */
    HTTP_BROKEN,    /* not HTTP, cut in the middle, bad gzip */
    HTTP_REFUSED,   /* its stream said no */
    HTTP_CANCELLED
};
const char *http_failure_name(enum http_failure failure); /* "connect", ... fixed words for metrics */

struct http_result {
    enum http_failure failure;
    const char *reason; /* one line for people */
    int status;
    struct str content_type;
    int64_t retry_after_s; /* -1: none */
    struct http_head head; /* of an answer that came whole */
    struct str body;       /* empty with a stream; all views are valid during the callback only */
    int64_t duration_ns;
};
struct str http_result_header(const struct http_result *result, const char *name); /* as http_head_get */
typedef void http_done_fn(void *arg, const struct http_result *result);

struct http_client *http_client_new(struct loop *loop, struct network *network,
                                    const struct http_client_options *options);
void http_client_free(struct http_client *client); /* calls in flight end with HTTP_CANCELLED */
DEFINE_CLEANUP(struct http_client *, http_client_free)

/* The spec and all it names but the stream are needed during this call only. done is called exactly once, never from
 * inside this call. -EINVAL for a URL that is not http(s) or carries a user, a header with a line break or no timeout;
 * -EAGAIN past calls_max or while the client is being freed. ret_call may be NULL. The call lives until done has
 * returned. */
MUST_CHECK int http_client_call(struct http_client *client, const struct http_request_spec *spec, http_done_fn *done,
                                void *arg, struct http_call **ret_call);
/* Ends a call: neither done nor its stream are called any more. From inside its own done it does nothing. */
void http_call_cancel(struct http_call *call);
