#include "net/resolver.h"

#include "base/arena.h"
#include "base/fail.h"

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define REASON_BYTES_MAX 512
#define SERVER_BYTES_MAX (INET6_ADDRSTRLEN + sizeof("[]:65535"))
#define SOCKETS_MAX      4    /* of one question: a datagram's and a stream's, and room */
#define TRUNCATED_BIT    0x02 /* of a DNS message's third byte */
#define RCODE_BITS       0x0f /* of its fourth */
#define RECORD_BYTES_MIN 11   /* the root as owner, type, class, ttl, length */

/* What came of one question to one server. */
enum outcome {
    ASKED,   /* nothing yet */
    EXISTS,  /* the name does; records were read, maybe none */
    UNKNOWN, /* the name does not exist */
    FAILED,  /* no answer, or one of no use: another server may have a better one */
    NO_NAME  /* DNS has no such names: no server needs to be asked */
};

struct socket_watch {
    struct resolver_lookup *lookup;
    int fd;
    struct loop_watch *watch; /* NULL: free */
};

struct resolver_lookup {
    struct resolver *resolver;
    struct resolver_lookup *previous, *next;
    bool in_flight; /* else it waits */
    char *name;
    enum resolver_type type;
    resolver_fn *fn;
    void *arg;

    /* What is asked of whom. */
    ares_channel channel;
    struct socket_watch sockets[SOCKETS_MAX];
    char *candidates[RESOLVER_SEARCH_MAX + 1]; /* absolute names */
    struct ares_addr_port_node servers[RESOLVER_SERVERS_MAX];
    size_t candidate_count, server_count;
    size_t candidate, server; /* being asked */
    unsigned round;
    struct loop_timer deadline; /* of the question */
    struct loop_timer turn;     /* c-ares must not be called from its own callbacks: what came is looked at here */

    /* What came. */
    enum outcome outcome;
    char said[128];      /* FAILED, NO_NAME: by the server, or of the name */
    struct arena answer; /* records and their names */
    struct resolver_record *records;
    size_t count;
    bool failed;                   /* of an earlier candidate no server knew whether it exists */
    char reason[REASON_BYTES_MAX]; /* of the first such candidate */
};

struct lookup_list {
    struct resolver_lookup *first, *last;
    size_t count;
};

struct resolver {
    struct loop *loop;
    char *resolv_conf, *servers; /* NULL: as in the options */
    int64_t timeout_ms;
    unsigned tries;
    struct lookup_list in_flight, waiting;
};

static void list_push(struct lookup_list *list, struct resolver_lookup *lookup)
{
    lookup->previous = list->last;
    lookup->next = NULL;
    *(list->last ? &list->last->next : &list->first) = lookup;
    list->last = lookup;
    list->count++;
}

static void list_unlink(struct lookup_list *list, struct resolver_lookup *lookup)
{
    *(lookup->previous ? &lookup->previous->next : &list->first) = lookup->next;
    *(lookup->next ? &lookup->next->previous : &list->last) = lookup->previous;
    list->count--;
}

/* ---- Reading an answer: each returns a status of c-ares ---- */

/* Room for all that a message of so many bytes can hold. */
static void make_room(struct resolver_lookup *lookup, int len)
{
    lookup->records = arena_array(&lookup->answer, (size_t)len / RECORD_BYTES_MIN + 1, sizeof(*lookup->records));
}

static void add_address(struct resolver_lookup *lookup, int family, const void *address)
{
    char text[INET6_ADDRSTRLEN];
    ASSERT(inet_ntop(family, address, text, sizeof(text)));
    lookup->records[lookup->count++].name = arena_str(&lookup->answer, str_from(text)).ptr;
}

static int parse_a(struct resolver_lookup *lookup, const unsigned char *bytes, int len)
{
    int count = len / RECORD_BYTES_MIN + 1;
    struct ares_addrttl *found = arena_array(&lookup->answer, (size_t)count, sizeof(*found));
    int status = ares_parse_a_reply(bytes, len, NULL, found, &count);
    for (int i = 0; status == ARES_SUCCESS && i < count; i++)
        add_address(lookup, AF_INET, &found[i].ipaddr);
    return status;
}

static int parse_aaaa(struct resolver_lookup *lookup, const unsigned char *bytes, int len)
{
    int count = len / RECORD_BYTES_MIN + 1;
    struct ares_addr6ttl *found = arena_array(&lookup->answer, (size_t)count, sizeof(*found));
    int status = ares_parse_aaaa_reply(bytes, len, NULL, found, &count);
    for (int i = 0; status == ARES_SUCCESS && i < count; i++)
        add_address(lookup, AF_INET6, &found[i].ip6addr);
    return status;
}

static int parse_srv(struct resolver_lookup *lookup, const unsigned char *bytes, int len)
{
    struct ares_srv_reply *found = NULL;
    int status = ares_parse_srv_reply(bytes, len, &found);
    for (struct ares_srv_reply *at = found; at; at = at->next)
        lookup->records[lookup->count++] = (struct resolver_record){
            .name = arena_str(&lookup->answer, str_from(at->host)).ptr,
            .port = at->port,
            .priority = at->priority,
            .weight = at->weight,
        };
    ares_free_data(found);
    return status;
}

static int parse_mx(struct resolver_lookup *lookup, const unsigned char *bytes, int len)
{
    struct ares_mx_reply *found = NULL;
    int status = ares_parse_mx_reply(bytes, len, &found);
    for (struct ares_mx_reply *at = found; at; at = at->next)
        lookup->records[lookup->count++] = (struct resolver_record){
            .name = arena_str(&lookup->answer, str_from(at->host)).ptr,
            .priority = at->priority,
        };
    ares_free_data(found);
    return status;
}

static const struct {
    int dns_type;
    int (*parse)(struct resolver_lookup *lookup, const unsigned char *bytes, int len);
} types[] = {
    [RESOLVER_A] = {ns_t_a, parse_a},
    [RESOLVER_AAAA] = {ns_t_aaaa, parse_aaaa},
    [RESOLVER_SRV] = {ns_t_srv, parse_srv},
    [RESOLVER_MX] = {ns_t_mx, parse_mx},
};

static const char *const rcode_names[RCODE_BITS + 1] = {
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP",   "REFUSED",  "YXDOMAIN", "YXRRSET",
    "NXRRSET", "NOTAUTH", "NOTZONE",  "error 11", "error 12", "error 13", "error 14", "error 15"};

static enum outcome no_use(struct resolver_lookup *lookup, enum outcome outcome, const char *said)
{
    snprintf(lookup->said, sizeof(lookup->said), "%s", said);
    return outcome;
}

static enum outcome read_answer(struct resolver_lookup *lookup, const unsigned char *bytes, int len)
{
    int rcode = bytes[3] & RCODE_BITS;
    if (rcode == ns_r_nxdomain)
        return UNKNOWN;
    if (rcode != ns_r_noerror) {
        snprintf(lookup->said, sizeof(lookup->said), "answered %s", rcode_names[rcode]);
        return FAILED;
    }
    if (bytes[2] & TRUNCATED_BIT) /* c-ares has asked over TCP by now: part of a list must not pass for all of it */
        return no_use(lookup, FAILED, "answered half, over TCP too");
    make_room(lookup, len);
    int status = types[lookup->type].parse(lookup, bytes, len);
    if (status == ARES_ENOMEM)
        fatal("out of memory");
    if (status != ARES_SUCCESS && status != ARES_ENODATA)
        return no_use(lookup, FAILED, "answered what is no DNS message");
    if (lookup->count > RESOLVER_RECORDS_MAX)
        return no_use(lookup, FAILED, "answered too many records");
    return EXISTS;
}

static enum outcome no_answer(struct resolver_lookup *lookup, int status)
{
    switch (status) {
    case ARES_ENOMEM:
        fatal("out of memory");
    case ARES_ENOTFOUND: /* c-ares asks nobody for names of .onion */
        return UNKNOWN;
    case ARES_EBADNAME:
    case ARES_EBADQUERY:
        return no_use(lookup, NO_NAME, "is no name that DNS can have");
    case ARES_ECONNREFUSED: /* its word for all errors of sockets */
        return no_use(lookup, FAILED, "cannot be reached, or broke off");
    default:
        return no_use(lookup, FAILED, ares_strerror(status));
    }
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
    struct resolver_lookup *lookup = arg;
    (void)timeouts;
    if (lookup->outcome != ASKED) /* its time was over, and it was cancelled */
        return;
    lookup->outcome = bytes && len >= NS_HFIXEDSZ ? read_answer(lookup, bytes, len) : no_answer(lookup, status);
    ASSERT(lookup->outcome != ASKED);
    loop_timer_stop(&lookup->deadline); /* it may be due by now too */
    loop_timer_start(&lookup->turn, 0, 0);
}

/* ---- Asking ---- */

static void on_socket(void *arg, int events)
{
    const struct socket_watch *watch = arg;
    int fd = watch->fd;
    ares_process_fd(watch->lookup->channel, events & LOOP_READ ? fd : ARES_SOCKET_BAD,
                    events & LOOP_WRITE ? fd : ARES_SOCKET_BAD);
}

/* c-ares tells what it waits for on a socket; before it closes one: nothing. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct resolver_lookup *lookup = arg;
    struct socket_watch *own = NULL;
    int events = (readable ? LOOP_READ : 0) | (writable ? LOOP_WRITE : 0);
    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        struct socket_watch *at = &lookup->sockets[i];
        if (at->watch && at->fd == fd) {
            own = at;
            break;
        }
        if (!at->watch && !own)
            own = at;
    }
    ASSERT(own);
    if (events == 0) {
        loop_watch_free(STEAL(own->watch));
    } else if (own->watch) {
        loop_watch_set(own->watch, events);
    } else {
        *own = (struct socket_watch){.lookup = lookup, .fd = fd};
        own->watch = loop_watch_new(lookup->resolver->loop, fd, events, on_socket, own);
    }
}

static void ask(struct resolver_lookup *lookup)
{
    struct ares_addr_port_node *server = &lookup->servers[lookup->server];
    if (lookup->server == 0 && !lookup->failed)
        lookup->reason[0] = '\0'; /* what is said is of the last round */
    arena_reset(&lookup->answer);
    lookup->records = NULL;
    lookup->count = 0;
    lookup->outcome = ASKED;
    int status = ares_set_servers_ports(lookup->channel, server);
    if (status != ARES_SUCCESS)
        fatal("c-ares: %s", ares_strerror(status)); /* of memory alone */
    loop_timer_start(&lookup->deadline, lookup->resolver->timeout_ms, 0);
    ares_query(lookup->channel, lookup->candidates[lookup->candidate], ns_c_in, types[lookup->type].dns_type, on_answer,
               lookup);
}

static void lookup_free(struct resolver_lookup *lookup)
{
    lookup->outcome = FAILED; /* what c-ares may say at its end is not heard */
    loop_timer_stop(&lookup->deadline);
    loop_timer_stop(&lookup->turn);
    if (lookup->channel)
        ares_destroy(lookup->channel);
    for (size_t i = 0; i < SOCKETS_MAX; i++)
        ASSERT(!lookup->sockets[i].watch);
    for (size_t i = 0; i < lookup->candidate_count; i++)
        mem_free(lookup->candidates[i]);
    arena_done(&lookup->answer);
    mem_free(lookup->name);
    mem_free(lookup);
}

static void start_waiting(struct resolver *resolver);

static void finish(struct resolver_lookup *lookup, bool answered)
{
    struct resolver *resolver = lookup->resolver;
    list_unlink(&resolver->in_flight, lookup);
    start_waiting(resolver);
    struct resolver_answer answer = {.reason = answered ? NULL : lookup->reason};
    if (answered && lookup->outcome == EXISTS)
        answer = (struct resolver_answer){.records = lookup->records, .count = lookup->count};
    lookup->fn(lookup->arg, &answer);
    lookup_free(lookup);
}

static void next_candidate(struct resolver_lookup *lookup)
{
    lookup->server = 0;
    lookup->round = 0;
    if (++lookup->candidate < lookup->candidate_count)
        ask(lookup);
    else
        finish(lookup, !lookup->failed);
}

static void server_text(const struct ares_addr_port_node *server, char ret_text[static SERVER_BYTES_MAX])
{
    char address[INET6_ADDRSTRLEN];
    bool v6 = server->family == AF_INET6;
    ASSERT(inet_ntop(server->family, &server->addr, address, sizeof(address)));
    snprintf(ret_text, SERVER_BYTES_MAX, "%s%s%s:%d", v6 ? "[" : "", address, v6 ? "]" : "",
             server->udp_port ? server->udp_port : NS_DEFAULTPORT);
}

static void note_failure(struct resolver_lookup *lookup, const char *who)
{
    if (lookup->failed)
        return; /* an earlier candidate's reason stands */
    size_t len = strlen(lookup->reason);
    snprintf(lookup->reason + len, sizeof(lookup->reason) - len, "%s%s %s %s",
             len == 0 ? lookup->candidates[lookup->candidate] : "", len == 0 ? ":" : ";", who, lookup->said);
}

/* The server at hand did not help: the next one, the next round, else the name remains unknown. */
static void next_server(struct resolver_lookup *lookup)
{
    char server[SERVER_BYTES_MAX];
    server_text(&lookup->servers[lookup->server], server);
    note_failure(lookup, server);
    if (++lookup->server == lookup->server_count) {
        lookup->server = 0;
        lookup->round++;
    }
    if (lookup->round < lookup->resolver->tries) {
        ask(lookup);
        return;
    }
    lookup->failed = true;
    next_candidate(lookup);
}

static void take_outcome(struct resolver_lookup *lookup)
{
    switch (lookup->outcome) {
    case EXISTS:
        finish(lookup, true);
        break;
    case UNKNOWN:
        next_candidate(lookup);
        break;
    case NO_NAME:
        note_failure(lookup, "it");
        lookup->failed = true;
        next_candidate(lookup);
        break;
    default:
        ASSERT(lookup->outcome == FAILED);
        next_server(lookup);
    }
}

static void on_turn(void *arg)
{
    take_outcome(arg);
}

static void on_deadline(void *arg)
{
    struct resolver_lookup *lookup = arg;
    lookup->outcome = FAILED;
    snprintf(lookup->said, sizeof(lookup->said), "did not answer within %g s",
             (double)lookup->resolver->timeout_ms / 1e3);
    ares_cancel(lookup->channel);
    take_outcome(lookup);
}

/* ---- What is asked of whom ---- */

static void add_candidate(struct resolver_lookup *lookup, const char *domain)
{
    struct str name = str_from(lookup->name), end = str_from(domain);
    while (str_ends_with(name, STR(".")))
        name.len--;
    while (str_ends_with(end, STR(".")))
        end.len--;
    lookup->candidates[lookup->candidate_count++] =
        mem_printf(STR_FMT "%s" STR_FMT ".", STR_ARG(name), end.len > 0 ? "." : "", STR_ARG(end));
}

static void list_candidates(struct resolver_lookup *lookup, const struct ares_options *conf)
{
    int dots = 0;
    for (const char *at = lookup->name; *at; at++)
        dots += *at == '.';
    bool absolute = str_ends_with(str_from(lookup->name), STR("."));
    bool first = absolute || dots >= conf->ndots;
    if (first)
        add_candidate(lookup, "");
    for (int i = 0; !absolute && i < MIN(conf->ndomains, RESOLVER_SEARCH_MAX); i++)
        add_candidate(lookup, conf->domains[i]);
    if (!first)
        add_candidate(lookup, "");
}

static int list_servers(struct resolver_lookup *lookup)
{
    struct ares_addr_port_node *found = NULL;
    int status = lookup->resolver->servers ? ares_set_servers_ports_csv(lookup->channel, lookup->resolver->servers)
                                           : ARES_SUCCESS;
    if (status == ARES_SUCCESS)
        status = ares_get_servers_ports(lookup->channel, &found);
    for (struct ares_addr_port_node *at = found; at && lookup->server_count < RESOLVER_SERVERS_MAX; at = at->next) {
        lookup->servers[lookup->server_count] = *at;
        lookup->servers[lookup->server_count++].next = NULL;
    }
    ares_free_data(found);
    return status;
}

static int open_channel(struct resolver_lookup *lookup)
{
    char *resolv_conf = lookup->resolver->resolv_conf;
    struct ares_options options = {
        .flags = ARES_FLAG_NOCHECKRESP | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
        .timeout = INT32_MAX / 2, /* the deadline is ours */
        .tries = 1,
        .lookups = (char[]){"b"},
        .resolvconf_path = resolv_conf,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = lookup,
    };
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB |
               (resolv_conf ? ARES_OPT_RESOLVCONF : 0);
    return ares_init_options(&lookup->channel, &options, mask);
}

static void start(struct resolver_lookup *lookup)
{
    struct ares_options conf;
    int mask;
    lookup->in_flight = true;
    list_push(&lookup->resolver->in_flight, lookup);
    int status = open_channel(lookup);
    if (status == ARES_SUCCESS)
        status = list_servers(lookup);
    if (status == ARES_SUCCESS)
        status = ares_save_options(lookup->channel, &conf, &mask);
    if (status == ARES_SUCCESS) {
        list_candidates(lookup, &conf);
        ares_destroy_options(&conf);
        ask(lookup);
        return;
    }
    snprintf(lookup->reason, sizeof(lookup->reason), "resolv.conf: %s", ares_strerror(status));
    lookup->failed = true;
    lookup->outcome = UNKNOWN;
    loop_timer_start(&lookup->turn, 0, 0);
}

static void start_waiting(struct resolver *resolver)
{
    while (resolver->waiting.first && resolver->in_flight.count < RESOLVER_IN_FLIGHT_MAX) {
        struct resolver_lookup *lookup = resolver->waiting.first;
        list_unlink(&resolver->waiting, lookup);
        start(lookup);
    }
}

/* ---- The resolver ---- */

static int check_servers(const char *servers)
{
    ares_channel channel;
    int status = ares_init(&channel);
    if (status != ARES_SUCCESS)
        return -EINVAL;
    status = ares_set_servers_ports_csv(channel, servers);
    ares_destroy(channel);
    return status == ARES_SUCCESS && servers[0] ? 0 : -EINVAL;
}

int resolver_new(struct loop *loop, const struct resolver_options *options, struct resolver **ret_resolver)
{
    ASSERT(options->timeout_ms > 0 && options->tries > 0);
    int r = options->servers ? check_servers(options->servers) : 0;
    if (r < 0)
        return r;
    struct resolver *resolver = mem_zalloc(sizeof(*resolver));
    *resolver = (struct resolver){.loop = loop, .timeout_ms = options->timeout_ms, .tries = options->tries};
    resolver->resolv_conf = options->resolv_conf ? mem_strdup(options->resolv_conf) : NULL;
    resolver->servers = options->servers ? mem_strdup(options->servers) : NULL;
    *ret_resolver = resolver;
    return 0;
}

void resolver_free(struct resolver *resolver)
{
    if (!resolver)
        return;
    while (resolver->waiting.first)
        resolver_cancel(resolver->waiting.first);
    while (resolver->in_flight.first)
        resolver_cancel(resolver->in_flight.first);
    mem_free(resolver->resolv_conf);
    mem_free(resolver->servers);
    mem_free(resolver);
}

struct resolver_lookup *resolver_lookup(struct resolver *resolver, const char *name, enum resolver_type type,
                                        resolver_fn *fn, void *arg)
{
    if (resolver->waiting.count >= RESOLVER_WAITING_MAX)
        return NULL;
    struct resolver_lookup *lookup = mem_zalloc(sizeof(*lookup));
    *lookup =
        (struct resolver_lookup){.resolver = resolver, .name = mem_strdup(name), .type = type, .fn = fn, .arg = arg};
    loop_timer_init(&lookup->deadline, resolver->loop, on_deadline, lookup);
    loop_timer_init(&lookup->turn, resolver->loop, on_turn, lookup);
    arena_init(&lookup->answer, 0);
    list_push(&resolver->waiting, lookup);
    start_waiting(resolver);
    return lookup;
}

void resolver_cancel(struct resolver_lookup *lookup)
{
    struct resolver *resolver = lookup->resolver;
    list_unlink(lookup->in_flight ? &resolver->in_flight : &resolver->waiting, lookup);
    lookup_free(lookup);
    start_waiting(resolver);
}
