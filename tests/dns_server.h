#pragma once
/* A DNS server of one thread, UDP and TCP on one loopback port, that answers by a table and misbehaves where the table
 * says so. */
#include "base/fail.h"
#include "base/random.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum dns_fault {
    DNS_NO_FAULT,
    DNS_SILENT,
    DNS_TRUNCATED,      /* over UDP: half, with the flag that says so */
    DNS_TRUNCATED_EVER, /* over TCP too */
    DNS_HALF_TCP,       /* truncated over UDP; over TCP the connection ends in the middle */
    DNS_SPOOFED,        /* first a wrong id, a wrong question, an empty datagram, and the answer from another port */
    DNS_LOOP,           /* a name whose compression points at itself */
    DNS_MORE_SAID,      /* as many records as the header can say, few there */
    DNS_SHORT_RECORD,   /* records of one byte */
    DNS_MUTATED         /* some bytes behind the question are others, by chance */
};

struct dns_entry {
    const char *name; /* without the last dot */
    int rcode;
    enum dns_fault fault;
    const char *records; /* "A 10.0.0.1", "SRV 1 2 9100 host", ... ; a line each */
    unsigned repeat;     /* the records so many times; 0: once */
};

struct dns_server {
    int udp, tcp, stop[2];
    unsigned port;
    pthread_t thread;
    const struct dns_entry *entries; /* ends with name NULL: what it does with all other names */
    struct random random;
    pthread_mutex_t lock; /* guards what follows */
    char log[4096];       /* "udp A name;" of each question */
};

struct dns_message {
    uint8_t bytes[65535];
    size_t len;
};

static void dns_put(struct dns_message *message, const void *bytes, size_t len)
{
    ASSERT(message->len + len <= sizeof(message->bytes));
    memcpy(message->bytes + message->len, bytes, len);
    message->len += len;
}

static void dns_put16(struct dns_message *message, unsigned value)
{
    dns_put(message, (uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2);
}

static void dns_put_name(struct dns_message *message, const char *name)
{
    while (*name && *name != '.') {
        size_t len = strcspn(name, ".");
        dns_put(message, (uint8_t[]){(uint8_t)len}, 1);
        dns_put(message, name, len);
        name += len + (name[len] == '.');
    }
    dns_put(message, "", 1);
}

static const struct {
    const char *name;
    unsigned number;
} dns_types[] = {{"A", 1}, {"CNAME", 5}, {"MX", 15}, {"AAAA", 28}, {"SRV", 33}};

/* One line of `records`, owned by what was asked. */
static void dns_put_record(struct dns_message *message, const char *line, size_t len, enum dns_fault fault)
{
    char text[256], type[16] = "", host[200] = "";
    unsigned numbers[3] = {0}, number = 0;
    uint8_t address[16];
    snprintf(text, sizeof(text), "%.*s", (int)len, line);
    ASSERT(sscanf(text, "%15s", type) == 1);
    if (strcmp(type, "SRV") == 0)
        ASSERT(sscanf(text, "%*s %u %u %u %199s", &numbers[0], &numbers[1], &numbers[2], host) == 4);
    else if (strcmp(type, "MX") == 0)
        ASSERT(sscanf(text, "%*s %u %199s", &numbers[0], host) == 2);
    else
        ASSERT(sscanf(text, "%*s %199s", host) == 1);
    for (size_t i = 0; i < sizeof(dns_types) / sizeof(dns_types[0]); i++)
        if (strcmp(type, dns_types[i].name) == 0)
            number = dns_types[i].number;
    dns_put16(message, fault == DNS_LOOP ? 0xc000 + (unsigned)message->len : 0xc00c);
    dns_put16(message, number);
    dns_put16(message, 1);
    dns_put(message, "\0\0\0\x3c", 4);
    size_t length_at = message->len;
    dns_put16(message, 0);
    if (fault == DNS_SHORT_RECORD)
        dns_put(message, "x", 1);
    else if (number == 1 || number == 28) {
        ASSERT(inet_pton(number == 1 ? AF_INET : AF_INET6, host, address) == 1);
        dns_put(message, address, number == 1 ? 4 : 16);
    } else {
        for (unsigned i = 0; i < (number == 33 ? 3U : number == 15 ? 1U : 0U); i++)
            dns_put16(message, numbers[i]);
        dns_put_name(message, host);
    }
    size_t bytes = message->len - length_at - 2;
    message->bytes[length_at] = (uint8_t)(bytes >> 8);
    message->bytes[length_at + 1] = (uint8_t)bytes;
}

static void dns_put_records(struct dns_message *message, const struct dns_entry *entry, unsigned *count)
{
    for (unsigned i = 0; i < MAX(entry->repeat, 1U); i++)
        for (const char *line = entry->records ? entry->records : ""; *line;) {
            size_t len = strcspn(line, "\n");
            dns_put_record(message, line, len, entry->fault);
            (*count)++;
            line += len + (line[len] == '\n');
        }
}

/* The question's name as text, its type as a word. */
static size_t dns_read_question(const uint8_t *bytes, size_t len, char ret_name[static 512], const char **ret_type)
{
    size_t at = 12, out = 0;
    while (at < len && bytes[at] && at + 1 + bytes[at] < len) {
        out += (size_t)snprintf(ret_name + out, 512 - out, "%s%.*s", out ? "." : "", bytes[at],
                                (const char *)bytes + at + 1);
        at += 1U + bytes[at];
    }
    ret_name[out] = '\0';
    *ret_type = "?";
    for (size_t i = 0; i < sizeof(dns_types) / sizeof(dns_types[0]); i++)
        if (at + 4 < len && bytes[at + 1] * 256U + bytes[at + 2] == dns_types[i].number)
            *ret_type = dns_types[i].name;
    return at + 5;
}

/* The answer; its entry is returned. */
static const struct dns_entry *dns_make_answer(struct dns_server *server, const uint8_t *bytes, size_t len, bool tcp,
                                               struct dns_message *answer)
{
    char name[512];
    const char *type;
    const struct dns_entry *entry = server->entries;
    size_t question_end = dns_read_question(bytes, len, name, &type);
    unsigned count = 0;
    ASSERT(question_end <= len);
    while (entry->name && strcasecmp(entry->name, name) != 0)
        entry++;
    pthread_mutex_lock(&server->lock);
    size_t used = strlen(server->log);
    snprintf(server->log + used, sizeof(server->log) - used, "%s %s %s;", tcp ? "tcp" : "udp", type, name);
    pthread_mutex_unlock(&server->lock);
    answer->len = 0;
    dns_put(answer, bytes, question_end);
    dns_put_records(answer, entry, &count);
    bool half =
        entry->fault == DNS_TRUNCATED_EVER || (!tcp && (entry->fault == DNS_TRUNCATED || entry->fault == DNS_HALF_TCP));
    if (half && !tcp) {
        answer->len = question_end;
        count = 0;
    }
    if (entry->fault == DNS_MORE_SAID)
        count = 65535;
    memcpy(answer->bytes + 2, (uint8_t[]){(uint8_t)(0x81 | (half ? 2 : 0)), (uint8_t)(0x80 | entry->rcode)}, 2);
    memcpy(answer->bytes + 6, (uint8_t[]){(uint8_t)(count >> 8), (uint8_t)count, 0, 0, 0, 0}, 6);
    if (entry->fault == DNS_MUTATED && answer->len > question_end)
        for (unsigned i = 0; i < 1 + random_below(&server->random, 6); i++)
            answer->bytes[question_end + random_below(&server->random, answer->len - question_end)] =
                (uint8_t)random_next(&server->random);
    return entry;
}

static void dns_spoof(struct dns_server *server, struct dns_message *answer, const struct sockaddr_in *to)
{
    struct dns_message *wrong = mem_alloc(sizeof(*wrong));
    int other = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    *wrong = *answer;
    wrong->bytes[wrong->len - 1] ^= 1; /* the last byte of an address: a lie, wherever it comes from */
    sendto(other, wrong->bytes, wrong->len, 0, (const struct sockaddr *)to, sizeof(*to));
    wrong->bytes[0] ^= 0x55;
    sendto(server->udp, wrong->bytes, wrong->len, 0, (const struct sockaddr *)to, sizeof(*to));
    wrong->bytes[0] ^= 0x55;
    wrong->bytes[13] ^= 1; /* the first letter of the name */
    sendto(server->udp, wrong->bytes, wrong->len, 0, (const struct sockaddr *)to, sizeof(*to));
    sendto(server->udp, "", 0, 0, (const struct sockaddr *)to, sizeof(*to));
    close(other);
    mem_free(wrong);
}

static void dns_serve_udp(struct dns_server *server, struct dns_message *answer)
{
    uint8_t bytes[1024];
    struct sockaddr_in from;
    socklen_t from_len = sizeof(from);
    ssize_t len = recvfrom(server->udp, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &from_len);
    if (len < 12)
        return;
    const struct dns_entry *entry = dns_make_answer(server, bytes, (size_t)len, false, answer);
    if (entry->fault == DNS_SILENT)
        return;
    if (entry->fault == DNS_SPOOFED)
        dns_spoof(server, answer, &from);
    sendto(server->udp, answer->bytes, answer->len, 0, (struct sockaddr *)&from, from_len);
}

static void dns_serve_tcp(struct dns_server *server, struct dns_message *answer)
{
    uint8_t bytes[1024], prefix[2];
    int fd = accept(server->tcp, NULL, NULL);
    if (fd < 0)
        return;
    if (recv(fd, prefix, 2, MSG_WAITALL) == 2) {
        size_t len = MIN(sizeof(bytes), prefix[0] * 256U + prefix[1]);
        if (recv(fd, bytes, len, MSG_WAITALL) == (ssize_t)len && len >= 12) {
            const struct dns_entry *entry = dns_make_answer(server, bytes, len, true, answer);
            memcpy(prefix, (uint8_t[]){(uint8_t)(answer->len >> 8), (uint8_t)answer->len}, 2);
            send(fd, prefix, 2, MSG_NOSIGNAL);
            send(fd, answer->bytes, entry->fault == DNS_HALF_TCP ? answer->len / 2 : answer->len, MSG_NOSIGNAL);
        }
    }
    close(fd);
}

static void *dns_serve(void *arg)
{
    struct dns_server *server = arg;
    struct dns_message *answer = mem_alloc(sizeof(*answer));
    struct pollfd fds[] = {{server->udp, POLLIN, 0}, {server->tcp, POLLIN, 0}, {server->stop[0], POLLIN, 0}};
    while (poll(fds, 3, -1) > 0 && !fds[2].revents) {
        if (fds[0].revents)
            dns_serve_udp(server, answer);
        if (fds[1].revents)
            dns_serve_tcp(server, answer);
    }
    mem_free(answer);
    return NULL;
}

static UNUSED void dns_server_start(struct dns_server *server, const struct dns_entry *entries)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof(address);
    *server = (struct dns_server){.entries = entries};
    random_seed(&server->random, 11);
    ASSERT(pthread_mutex_init(&server->lock, NULL) == 0);
    ASSERT(pipe(server->stop) == 0);
    /* Some port that is free for both. */
    for (unsigned i = 0; i < 100 && server->port == 0; i++) {
        address.sin_port = 0;
        server->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        server->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        ASSERT(bind(server->tcp, (struct sockaddr *)&address, sizeof(address)) == 0);
        ASSERT(listen(server->tcp, 128) == 0);
        ASSERT(getsockname(server->tcp, (struct sockaddr *)&address, &len) == 0);
        if (bind(server->udp, (struct sockaddr *)&address, sizeof(address)) == 0) {
            server->port = ntohs(address.sin_port);
        } else {
            close(server->tcp);
            close(server->udp);
        }
    }
    ASSERT(server->port > 0);
    ASSERT(pthread_create(&server->thread, NULL, dns_serve, server) == 0);
}

static UNUSED void dns_server_stop(struct dns_server *server)
{
    ASSERT(write(server->stop[1], "x", 1) == 1);
    pthread_join(server->thread, NULL);
    close(server->udp);
    close(server->tcp);
    close(server->stop[0]);
    close(server->stop[1]);
    pthread_mutex_destroy(&server->lock);
}

/* What was asked since the last call; the caller frees it. */
static UNUSED char *dns_server_log(struct dns_server *server)
{
    pthread_mutex_lock(&server->lock);
    char *log = mem_strdup(server->log);
    server->log[0] = '\0';
    pthread_mutex_unlock(&server->lock);
    return log;
}
