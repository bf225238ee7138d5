#pragma once
/* For tests: a server of one connection that says what it was told to, whether it is HTTP or not. */
#include "http_world.h"

#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <unistd.h>

struct liar {
    int listener;
    unsigned port;
    pthread_t thread;
    const char *answer; /* said when a request's header has come */
    size_t answer_len;
    const struct str *pieces; /* and then these, each after a post of `go` */
    size_t piece_count;
    sem_t go;
    const char *again;  /* said without end until the client leaves */
    bool silent;        /* keeps the connection open and says no more */
    char request[4096]; /* the header that came */
};

static void *lie(void *arg)
{
    struct liar *liar = arg;
    char *request = liar->request;
    size_t len = 0;
    char rest[1024];
    int fd = accept(liar->listener, NULL, NULL);
    if (fd < 0)
        return NULL;
    while (len < sizeof(liar->request) - 1) {
        ssize_t got = recv(fd, request + len, sizeof(liar->request) - 1 - len, 0);
        if (got <= 0)
            break;
        len += (size_t)got;
        request[len] = '\0';
        if (strstr(request, "\r\n\r\n"))
            break;
    }
    if (liar->answer_len > 0)
        send(fd, liar->answer, liar->answer_len, MSG_NOSIGNAL);
    for (size_t i = 0; i < liar->piece_count; i++) {
        sem_wait(&liar->go);
        send(fd, liar->pieces[i].ptr, liar->pieces[i].len, MSG_NOSIGNAL);
    }
    while (liar->again && send(fd, liar->again, strlen(liar->again), MSG_NOSIGNAL) > 0)
        continue;
    while (liar->silent && recv(fd, rest, sizeof(rest), 0) > 0)
        continue;
    close(fd);
    return NULL;
}

static inline void liar_start(struct liar *liar)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof(address);
    assert_int_equal(sem_init(&liar->go, 0, 0), 0);
    liar->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(liar->listener >= 0);
    assert_int_equal(bind(liar->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(liar->listener, 8), 0);
    assert_int_equal(getsockname(liar->listener, (struct sockaddr *)&address, &len), 0);
    liar->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&liar->thread, NULL, lie, liar), 0);
}

static inline void liar_stop(struct liar *liar)
{
    shutdown(liar->listener, SHUT_RDWR);
    for (size_t i = 0; i < liar->piece_count; i++) /* it may wait for some still */
        sem_post(&liar->go);
    pthread_join(liar->thread, NULL);
    close(liar->listener);
    sem_destroy(&liar->go);
}
