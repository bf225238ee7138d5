#pragma once
/* Inside net: a bound, listening, non-blocking socket from "host:port", "[v6]:port" or ":port" (all addresses). */
#include "base/defs.h"

/* -EINVAL for text that is no address, -EADDRNOTAVAIL for a name that does not resolve, else the error of bind. The
 * descriptor is the caller's. */
MUST_CHECK int listen_socket_open(const char *address, int *ret_fd, unsigned *ret_port);
