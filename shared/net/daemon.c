#include "net/daemon.h"

#include "base/random.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define ERRORS_BYTES_MAX ((size_t)64 * KIB) /* of one reload */
#define REASON_BYTES_MAX ((size_t)4 * KIB)

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"check-config", no_argument, NULL, 'k'},
    {"log-level", required_argument, NULL, 'l'},
    {"version", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void print_help(const char *name, const char *purpose)
{
    printf("usage: %s --config FILE [--check-config] [--log-level LEVEL]\n"
           "%s\n\n"
           "  --config FILE      read the configuration from FILE (YAML)\n"
           "  --check-config     check it, report all errors, and leave\n"
           "  --log-level LEVEL  debug, info (default), warn or error\n"
           "  --version          print the version and leave\n"
           "  --help             print this and leave\n\n"
           "SIGHUP and POST /-/reload read the configuration again; SIGTERM and SIGINT stop.\n"
           "Exit status: 0 stopped as asked, 1 failed, 2 wrong arguments or configuration.\n",
           name, purpose);
}

static bool leave(int status, int *ret_exit)
{
    *ret_exit = status;
    return false;
}

static bool misused(const char *name, int *ret_exit)
{
    fprintf(stderr, "Try '%s --help'.\n", name);
    return leave(DAEMON_USAGE, ret_exit);
}

void daemon_seed_hashes(void)
{
    uint64_t seed;
    random_secret(&seed, sizeof(seed));
    str_hash_seed(seed);
}

bool daemon_parse(int argc, char **argv, const char *name, const char *purpose, struct daemon_arguments *ret_arguments,
                  int *ret_exit)
{
    struct daemon_arguments arguments = {.log_level = LOG_INFO};
    int option;
    optind = 0; /* from the start, whoever called before */
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            arguments.config = optarg;
            break;
        case 'k':
            arguments.check_config = true;
            break;
        case 'l':
            if (log_level_parse(optarg, &arguments.log_level)) {
                fprintf(stderr, "%s: --log-level: '%s' is none of debug, info, warn, error\n", name, optarg);
                return leave(DAEMON_USAGE, ret_exit);
            }
            break;
        case 'v':
            printf("%s " TRIBUTARY_VERSION "\n", name);
            return leave(DAEMON_OK, ret_exit);
        case 'h':
            print_help(name, purpose);
            return leave(DAEMON_OK, ret_exit);
        default: /* getopt has said what is wrong */
            return misused(name, ret_exit);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "%s: '%s' is not an option\n", name, argv[optind]);
        return misused(name, ret_exit);
    }
    if (!arguments.config) {
        fprintf(stderr, "%s: --config FILE is missing\n", name);
        return misused(name, ret_exit);
    }
    *ret_arguments = arguments;
    return true;
}

/* ---- Signals ---- */

static void on_stop_signal(void *arg)
{
    struct daemon *daemon = arg;
    if (daemon->stopping) {
        log_warn("asked to stop again: leaving at once");
        _exit(DAEMON_FAILED);
    }
    log_info("stopping");
    daemon->stopping = true;
    daemon->stop(daemon);
}

static const char *errors_text(const struct buf *errors)
{
    return errors->full || errors->len == 0 ? "too many errors to list\n" : (const char *)errors->data;
}

static int reload(struct daemon *daemon, struct buf *errors)
{
    int error = daemon->reload(daemon, errors);
    buf_append_byte(errors, '\0');
    if (error)
        log_error("configuration not reloaded, the old one stays in force:\n%s", errors_text(errors));
    else
        log_info("configuration reloaded");
    return error;
}

static void on_reload_signal(void *arg)
{
    CLEANUP(buf_done) struct buf errors = BUF_INIT(ERRORS_BYTES_MAX);
    reload(arg, &errors);
}

void daemon_ignore_sigpipe(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
}

void daemon_handle_signals(struct daemon *daemon)
{
    daemon_ignore_sigpipe();
    loop_on_signal(daemon->loop, SIGTERM, on_stop_signal, daemon);
    loop_on_signal(daemon->loop, SIGINT, on_stop_signal, daemon);
    loop_on_signal(daemon->loop, SIGHUP, on_reload_signal, daemon);
}

/* ---- Descriptors ---- */

uint64_t daemon_raise_descriptors(uint64_t need)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return 0;
    if (limit.rlim_max < need) {
        struct rlimit more = {.rlim_cur = need, .rlim_max = need};
        if (setrlimit(RLIMIT_NOFILE, &more) == 0) /* root, up to fs.nr_open */
            return need;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) && getrlimit(RLIMIT_NOFILE, &limit))
            return 0;
    }
    return limit.rlim_cur;
}

/* ---- Routes ---- */

void daemon_serve_healthy(void *context, struct http_exchange *exchange)
{
    const struct daemon *daemon = context;
    http_exchange_answer_text(exchange, 200, "%s is healthy\n", daemon->name);
}

void daemon_serve_ready(void *context, struct http_exchange *exchange)
{
    struct daemon *daemon = context;
    CLEANUP(buf_done) struct buf reason = BUF_INIT(REASON_BYTES_MAX);
    if (daemon->stopping)
        http_exchange_answer_text(exchange, 503, "%s is stopping\n", daemon->name);
    else if (daemon->ready && !daemon->ready(daemon, &reason))
        http_exchange_answer_text(exchange, 503, "%s is not ready: " STR_FMT "\n", daemon->name,
                                  STR_ARG(buf_view(&reason)));
    else
        http_exchange_answer_text(exchange, 200, "%s is ready\n", daemon->name);
}

void daemon_serve_reload(void *context, struct http_exchange *exchange)
{
    struct daemon *daemon = context;
    CLEANUP(buf_done) struct buf errors = BUF_INIT(ERRORS_BYTES_MAX);
    if (reload(daemon, &errors) == 0)
        http_exchange_answer_text(exchange, 200, "configuration reloaded\n");
    else
        http_exchange_answer_text(exchange, 400, "configuration not reloaded, the old one stays in force:\n%s",
                                  errors_text(&errors));
}
