#pragma once
/* Inside net: the real transport of http_client: libcurl's multi interface on the loop. */
#include "net/http_call.h"

struct http_curl *http_curl_new(struct http_client *client, const struct http_client_options *options);
void http_curl_free(struct http_curl *curl); /* no call may be left */
/* Starts a call whose spec was found sound. -EINVAL when libcurl refuses an option. */
MUST_CHECK int http_curl_start(struct http_curl *curl, struct http_call *call, const struct http_request_spec *spec,
                               CURLU *url);
/* Lets go of a call at once: nothing of it is called any more. */
void http_curl_drop(struct http_curl *curl, struct http_call *call);
