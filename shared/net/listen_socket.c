#include "net/listen_socket.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG        1024
#define HOST_BYTES_MAX 256

/* Splits at the last colon; brackets around a v6 address go. */
static int split(const char *address, char ret_host[static HOST_BYTES_MAX], char ret_port[static 8])
{
    const char *colon = strrchr(address, ':');
    if (!colon)
        return -EINVAL;
    struct str host = str_of(address, (size_t)(colon - address));
    uint64_t port = 0;
    if (str_to_u64(str_from(colon + 1), &port) || port > UINT16_MAX)
        return -EINVAL;
    if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
        host = str_of(host.ptr + 1, host.len - 2);
    else if (str_find(host, ':') < host.len)
        return -EINVAL;
    if (host.len >= HOST_BYTES_MAX)
        return -EINVAL;
    memcpy(ret_host, host.ptr, host.len);
    ret_host[host.len] = '\0';
    snprintf(ret_port, 8, "%u", (unsigned)port);
    return 0;
}

static int bind_one(const struct addrinfo *info, int *ret_fd)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int on = 1, off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (info->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) {
        *ret_fd = fd;
        return 0;
    }
    int error = -errno;
    close(fd);
    return error;
}

static unsigned bound_port(int fd)
{
    struct sockaddr_in6 bound = {0}; /* the larger of the two; the port is at the same place in both */
    socklen_t len = sizeof(bound);
    _Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port), "port");
    return getsockname(fd, (struct sockaddr *)&bound, &len) ? 0 : ntohs(bound.sin6_port);
}

int listen_socket_open(const char *address, int *ret_fd, unsigned *ret_port)
{
    char host[HOST_BYTES_MAX], port[8];
    int error = split(address, host, port);
    if (error)
        return error;
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host[0] ? host : NULL, port, &hints, &found))
        return -EADDRNOTAVAIL;
    int fd = -1;
    error = bind_one(found, &fd);
    freeaddrinfo(found);
    if (error)
        return error;
    *ret_fd = fd;
    *ret_port = bound_port(fd);
    return 0;
}
