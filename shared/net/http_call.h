#pragma once
/* Inside net: one call of http_client as its two transports (http_curl, the simulated network) see it. The transport
 * feeds headers and body in, then ends the call once; http_client tells the caller on the loop's next turn. */
#include "net/http_client.h"
#include "net/network_wire.h"

#include <curl/curl.h>

/* Of one response, all header lines and interim responses together; libcurl 7.88 limits single lines only. */
#define HTTP_RESPONSE_HEADER_BYTES_MAX (64 * KIB)
#define HTTP_CONTENT_TYPE_BYTES_MAX    256
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

    /* the answer */
    enum http_failure failure;
    char reason[HTTP_REASON_BYTES_MAX];
    int status;
    struct buf response;
    size_t header_bytes;
    char content_type[HTTP_CONTENT_TYPE_BYTES_MAX];
    bool gzipped, strange_encoding;
    int64_t retry_after_s;
};

/* A new response (or interim one) starts: forgets the headers of the one before. */
void http_call_restart(struct http_call *call);
void http_call_header(struct http_call *call, struct str name, struct str value);
/* The call is over; reason NULL: a fixed text for the failure. Its transport must have let go. */
void http_call_end(struct http_call *call, enum http_failure failure, const char *reason);
