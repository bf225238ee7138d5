#pragma once
/* AWS Signature Version 4: the headers that say who asks. Pure: no clock, no network, no files. For any service, S3
 * included, and whoever streams an upload gives the payload's hash instead of the payload.
 * Source: AWS General Reference, "Create a signed AWS API request"; S3: "Authenticating Requests (AWS Signature V4)".
 */
#include "base/buf.h"
#include "net/http_client.h"

#define SIGV4_REQUEST_HEADERS_MAX 64   /* of the caller's */
#define SIGV4_PARAMETERS_MAX      1024 /* of a query */
#define SIGV4_UNSIGNED_PAYLOAD    "UNSIGNED-PAYLOAD"
#define SIGV4_HASH_BYTES          65 /* hexadecimal SHA-256 with its end */

struct sigv4_credentials {
    const char *access_key, *secret_key;
    const char *session_token; /* NULL: long-lived keys */
};

struct sigv4_request {
    const char *method;
    const char *url; /* http(s)://..., as it will be sent: bytes that need it are percent-encoded */
    /* Sent with it and signed too, but for those that proxies may change (Connection, User-Agent, Expect, ...). One
     * named Host is signed instead of the URL's. */
    const struct http_header *headers;
    size_t header_count;
    struct str payload;
    const char *payload_hash; /* its SHA-256 in hexadecimal, or SIGV4_UNSIGNED_PAYLOAD; NULL: of `payload` */
    const char *region, *service;
    int64_t time_ms; /* now, since 1970; the other end allows some minutes of difference */
    bool s3;         /* S3's own rules: "." and "//" in a path are part of a key, and the hash is sent as a header */
};

/* What to send besides the caller's headers: Authorization, X-Amz-Date, with a session token X-Amz-Security-Token, with
 * s3 X-Amz-Content-Sha256. Host is sent by the client, as the URL says. They point into this struct: it stays where it
 * is until sigv4_headers_done. */
struct sigv4_headers {
    struct http_header headers[4];
    size_t count;
    char date[32], hash[SIGV4_HASH_BYTES];
    struct buf authorization, token;
};

/* -EINVAL: no http(s) URL, no region, service or keys, a text with control characters; -E2BIG: past a ceiling, of
 * which URL_BYTES_MAX is one. */
MUST_CHECK int sigv4_sign(const struct sigv4_request *request, const struct sigv4_credentials *credentials,
                          struct sigv4_headers *ret_headers);
void sigv4_headers_done(struct sigv4_headers *headers); /* wipes; zeroed ones allowed */

void sigv4_hash(struct str payload, char ret_hash[static SIGV4_HASH_BYTES]);
