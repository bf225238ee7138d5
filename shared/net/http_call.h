#pragma once
/* Inside net: one call of http_client as its two transports (http_curl, the simulated network) see it. The transport
 * feeds headers and body in, then ends the call once; http_client tells the caller on the loop's next turn. */
#include "net/http_client.h"
#include "net/http_gunzip.h"
#include "net/network_wire.h"

#include <curl/curl.h>

/* Of one response, all header lines and interim responses together; libcurl 7.88 limits single lines only. */
#define HTTP_RESPONSE_HEADER_BYTES_MAX (64 * KIB)
#define HTTP_REASON_BYTES_MAX          256

struct http_curl;

struct http_client {
    struct loop *loop;
    struct network *network;
    char *name;
    struct http_curl *curl; /* NULL: simulated */
    unsigned calls_max, call_count;
    struct http_call *active;             /* a list */
    struct http_call *ended, *ended_last; /* first ended is told first */
    struct loop_timer tell;
    bool closing;
    bool *freed; /* set by http_client_free where telling must stop */
};

struct http_call {
    struct http_client *client;
    struct http_call *previous, *next;
    http_done_fn *done;
    void *arg;
    bool ended, telling;
    int64_t started_ns, ended_ns;

    /* the transport's end */
    CURL *easy;
    unsigned shard;
    struct curl_slist *headers, *connect_to;
    uint8_t *body;
    struct wire *wire;
    struct loop_timer timeout; /* simulated; libcurl has its own */

    struct loop_timer idle;
    int64_t idle_timeout_ms, touched_ms; /* when a byte came last */

    /* the answer */
    enum http_failure failure;
    char reason[HTTP_REASON_BYTES_MAX];
    int status;
    size_t header_bytes;
    struct buf head_lines; /* as struct http_head has them */
    bool headed;           /* the final response's are all there */
    bool gzipped;
    int64_t retry_after_s;
    struct buf response; /* collected, packed as it came */

    const struct http_stream *stream; /* or read as it comes, */
    struct http_gunzip *gunzip;       /* unpacked by this */
    size_t streamed_bytes;

    enum http_failure cut; /* why a piece of the answer was not taken */
    const char *cut_reason;
};

const char *http_failure_text(enum http_failure failure);

/* What comes, in this order; http_call.c. False: take no more, the call is to end as `cut` says. */
void http_call_restart(struct http_call *call); /* a response, maybe an interim one, starts */
void http_call_header(struct http_call *call, struct str name, struct str value);
bool http_call_head_end(struct http_call *call, int status);
bool http_call_body(struct http_call *call, struct str bytes);
/* All of it came: was it a sound answer? */
bool http_call_body_end(struct http_call *call);
/* Undoes a collected body's gzip. False: it is broken or too large. */
bool http_call_unpack(struct http_call *call);

/* The call is over; reason NULL: a fixed text for the failure. Its transport must have let go. http_client.c. */
void http_call_end(struct http_call *call, enum http_failure failure, const char *reason);
