/* A simulated fleet: one process that answers as many hosts, each on a loopback address of its own, with a page like
 * node_exporter's. Every host has its own values; they are functions of wall time, so counters are monotone even over a
 * restart of this program; about half of them move from scrape to scrape.
 *
 *   fleet --hosts 200 --port 19100 --page full --targets fleet.json --seconds 600
 *
 * Addresses are 127.1.0.1, 127.1.0.2, ... It stays on loopback and ends by itself after --seconds. */
#include "base/clock.h"
#include "base/fail.h"
#include "tools/pages/page_source.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HOSTS_MAX = 20000, REQUEST_BYTES_MAX = 8192, EVENTS_MAX = 256, SECONDS_MAX = 7 * 86400, TARGET_FILES_MAX = 64 };

struct connection {
    int fd;
    uint32_t host;
    bool listening;
    size_t request_len;
    char request[REQUEST_BYTES_MAX];
    char *out; /* not yet written */
    size_t out_len, out_at;
};

static volatile sig_atomic_t stopping;
static struct page_source *pages;

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static void close_connection(struct connection *connection)
{
    close(connection->fd);
    mem_free(connection->out);
    mem_free(connection);
}

/* Writes what is left; false when the connection is gone. */
static bool flush(int epoll, struct connection *connection)
{
    while (connection->out_at < connection->out_len) {
        ssize_t n =
            write(connection->fd, connection->out + connection->out_at, connection->out_len - connection->out_at);
        if (n < 0 && errno == EAGAIN) {
            struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = connection};
            epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event);
            return true;
        }
        if (n <= 0)
            return false;
        connection->out_at += (size_t)n;
    }
    mem_free(connection->out);
    connection->out = NULL;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event);
    return true;
}

static bool answer(int epoll, struct connection *connection)
{
    static char page[PAGE_BYTES_MAX];
    bool found = strncmp(connection->request, "GET /metrics", 12) == 0;
    double now = (double)clock_wall_ms(clock_real()) / 1000;
    size_t len = found ? page_source_render(pages, connection->host, now, page) : 0;
    connection->out = mem_alloc(len + 256);
    int head = snprintf(connection->out, 256,
                        "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                        "Content-Length: %zu\r\n\r\n",
                        found ? "200 OK" : "404 Not Found", len);
    memcpy(connection->out + head, page, len);
    connection->out_len = (size_t)head + len;
    connection->out_at = 0;
    return flush(epoll, connection);
}

/* Reads a request and answers it; one at a time per connection. False when the connection is gone. */
static bool serve(int epoll, struct connection *connection)
{
    if (connection->out)
        return flush(epoll, connection);
    ssize_t n = read(connection->fd, connection->request + connection->request_len,
                     REQUEST_BYTES_MAX - 1 - connection->request_len);
    if (n < 0)
        return errno == EAGAIN;
    if (n == 0)
        return false;
    connection->request_len += (size_t)n;
    connection->request[connection->request_len] = 0;
    if (!strstr(connection->request, "\r\n\r\n"))
        return connection->request_len < REQUEST_BYTES_MAX - 1;
    connection->request_len = 0;
    return answer(epoll, connection);
}

static void accept_all(int epoll, const struct connection *listener)
{
    for (int i = 0; i < EVENTS_MAX; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct connection *connection = mem_zalloc(sizeof(*connection));
        connection->fd = fd;
        connection->host = listener->host;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static void host_address(uint32_t host, char text[static 32])
{
    uint32_t number = host + 1;
    snprintf(text, 32, "127.%u.%u.%u", 1 + (number >> 16), (number >> 8) & 255, number & 255);
}

static int listen_as(int epoll, uint32_t host, int port)
{
    char text[32];
    host_address(host, text);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, text, &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 64) != 0) {
        int error = -errno;
        fprintf(stderr, "fleet: %s:%d: %s\n", text, port, strerror(-error));
        close(fd);
        return error;
    }
    struct connection *listener = mem_zalloc(sizeof(*listener));
    *listener = (struct connection){.fd = fd, .host = host, .listening = true};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = listener};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

/* The file_sd file; hosts first..first+count. */
static int write_targets(const char *path, int first, int count, int port)
{
    FILE *file = fopen(path, "w");
    if (!file) {
        fprintf(stderr, "fleet: %s: %s\n", path, strerror(errno));
        return -errno;
    }
    fprintf(file, "[{\"targets\": [");
    for (int i = 0; i < count; i++) {
        char text[32];
        host_address((uint32_t)(first + i), text);
        fprintf(file, "%s\"%s:%d\"", i ? ", " : "", text, port);
    }
    fprintf(file, "], \"labels\": {\"fleet\": \"simulated\"}}]\n");
    return fclose(file) == 0 ? 0 : -EIO;
}

static void run(int epoll, int seconds)
{
    int64_t end_ms = clock_mono_ms(clock_real()) + seconds * INT64_C(1000);
    do {
        struct epoll_event events[EVENTS_MAX];
        int n = epoll_wait(epoll, events, EVENTS_MAX, 500);
        for (int i = 0; i < n; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection->listening)
                accept_all(epoll, connection);
            else if (!serve(epoll, connection))
                close_connection(connection);
        }
    } while (!stopping && clock_mono_ms(clock_real()) < end_ms);
}

static int number_of(const char *name, const char *text, long low, long high)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || end == text || value < low || value > high) {
        fprintf(stderr, "fleet: --%s takes a number from %ld to %ld, not \"%s\"\n", name, low, high, text);
        exit(2);
    }
    return (int)value;
}

static void usage(FILE *out)
{
    fprintf(
        out,
        "usage: fleet [--hosts N] [--first N] [--port P] [--page NAME] [--targets FILE] [--seconds S]\n"
        "             [--capture FILE] [--churn-series K] [--churn-interval S] [--churn-pods]\n"
        "Answers as N hosts on 127.1.0.1 and up, ends by itself after S seconds (3600). --targets writes the hosts\n"
        "as a file_sd file; given several times, the hosts are split evenly among the files.\n"
        "--first N begins with the Nth host (0), so that several fleets share one port.\n"
        "--churn-series K: K series of each page are replaced by others every --churn-interval seconds (15);\n"
        "--churn-pods: one pod of each node is replaced each minute. Pages:\n");
    page_source_list(out);
}

struct options {
    struct page_options page;
    int first, port, seconds;
    const char *targets[TARGET_FILES_MAX];
    int target_files;
};

static void read_options(int argc, char **argv, struct options *ret_options)
{
    static const struct option known[] = {
        {"hosts", 1, 0, 'n'},   {"first", 1, 0, 'f'},      {"port", 1, 0, 'p'},           {"page", 1, 0, 'g'},
        {"targets", 1, 0, 't'}, {"seconds", 1, 0, 's'},    {"capture", 1, 0, 'c'},        {"churn-series", 1, 0, 'k'},
        {"help", 0, 0, 'h'},    {"churn-pods", 0, 0, 'o'}, {"churn-interval", 1, 0, 'i'}, {0}};
    struct options options = {
        .page = {.name = "full", .hosts = 200, .churn.interval_s = 15}, .port = 19100, .seconds = 3600};
    for (int c; (c = getopt_long(argc, argv, "h", known, NULL)) != -1;) {
        if (c == 'n')
            options.page.hosts = (uint32_t)number_of("hosts", optarg, 1, HOSTS_MAX);
        else if (c == 'f')
            options.first = number_of("first", optarg, 0, HOSTS_MAX);
        else if (c == 'p')
            options.port = number_of("port", optarg, 1, 65535);
        else if (c == 'g')
            options.page.name = optarg;
        else if (c == 't' && options.target_files < TARGET_FILES_MAX)
            options.targets[options.target_files++] = optarg;
        else if (c == 's')
            options.seconds = number_of("seconds", optarg, 1, SECONDS_MAX);
        else if (c == 'c')
            options.page.capture = optarg;
        else if (c == 'k')
            options.page.churn.series = (uint32_t)number_of("churn-series", optarg, 0, 1000);
        else if (c == 'i')
            options.page.churn.interval_s = (uint32_t)number_of("churn-interval", optarg, 1, 3600);
        else if (c == 'o')
            options.page.churn.pods = true;
        else {
            usage(c == 'h' ? stdout : stderr);
            exit(c == 'h' ? 0 : 2);
        }
    }
    *ret_options = options;
}

/* Signals, open files, and the pages of all hosts up to the last. */
static int prepare(const struct options *options)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    struct page_options page = options->page;
    char error[PAGE_ERROR_BYTES];
    page.hosts += (uint32_t)options->first;
    int result = page_source_new(&page, error, &pages);
    if (result < 0)
        fprintf(stderr, "fleet: --page %s: %s\n", page.name, error);
    return result;
}

static size_t count_series(uint32_t host)
{
    static char page[PAGE_BYTES_MAX];
    size_t len = page_source_render(pages, host, (double)clock_wall_ms(clock_real()) / 1000, page), count = 0;
    for (size_t i = 0; i < len; i++)
        count += page[i] != '#' && (i == 0 || page[i - 1] == '\n');
    return count;
}

int main(int argc, char **argv)
{
    struct options options;
    read_options(argc, argv, &options);
    int hosts = (int)options.page.hosts;
    if (prepare(&options) < 0)
        return 2;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < hosts; i++)
        if (epoll < 0 || listen_as(epoll, (uint32_t)(options.first + i), options.port) != 0)
            return 1;
    for (int i = 0; i < options.target_files; i++) {
        int from = hosts * i / options.target_files, to = hosts * (i + 1) / options.target_files;
        if (write_targets(options.targets[i], options.first + from, to - from, options.port) != 0)
            return 1;
    }
    size_t series = count_series((uint32_t)options.first);
    printf("fleet: %d hosts with %zu series each on port %d\n", hosts, series, options.port);
    fflush(stdout);
    run(epoll, options.seconds);
    page_source_free(pages);
    return 0;
}
