#pragma once
/* Inside net: the real transport of http_server: libmicrohttpd in external epoll mode, its epoll descriptor watched by
 * the loop. A connection is suspended while its answer is pending. MHD's own timeout ends idle connections only;
 * reading a request and sending an answer have deadlines of ours, which shut the socket down. */
#include "net/http_exchange.h"

/* -EINVAL for an address or TLS files that make no sense, else the error of resolving, binding or reading. */
MUST_CHECK int http_listener_new(struct http_server *server, const struct http_server_options *options,
                                 struct http_listener **ret_listener);
/* Closes all connections; exchanges that are not answered are detached. */
void http_listener_free(struct http_listener *listener);
unsigned http_listener_port(const struct http_listener *listener);
