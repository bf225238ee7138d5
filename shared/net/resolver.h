#pragma once
/* DNS look-ups on a real loop, by c-ares. Names are completed as resolv.conf says (search, ndots; a dot at the end: as
 * it stands), tried one after the other: the first that exists is the answer, whether it has such records or not. Each
 * is asked of the servers in their order until one says that it exists or does not. resolv.conf is read anew for each
 * look-up. An answer that does not fit into a datagram is fetched over TCP: the process must ignore SIGPIPE, which
 * c-ares does not keep away. */
#include "net/loop.h"

#define RESOLVER_RECORDS_MAX   4096  /* of one answer: what 64 KiB of A records hold, about */
#define RESOLVER_IN_FLIGHT_MAX 64    /* look-ups at a time, each with up to two sockets and 100 KiB; more wait */
#define RESOLVER_WAITING_MAX   65536 /* look-ups */
#define RESOLVER_SERVERS_MAX   8     /* of resolv.conf; further ones are left out */
#define RESOLVER_SEARCH_MAX    16    /* domains of resolv.conf; further ones are left out */

struct resolver;
struct resolver_lookup;

struct resolver_options {
    const char *resolv_conf; /* NULL: /etc/resolv.conf; of it nameserver, search, domain and options ndots are used */
    const char *servers;     /* instead of its name servers: "127.0.0.1:5353,[::1]"; or NULL */
    int64_t timeout_ms;      /* of one question to one server, TCP included */
    unsigned tries;          /* rounds over all servers, at least 1 */
};

enum resolver_type { RESOLVER_A, RESOLVER_AAAA, RESOLVER_SRV, RESOLVER_MX };

struct resolver_record {
    const char *name;  /* A, AAAA: the address as text; SRV, MX: the host without the last dot ("": the root) */
    uint16_t port;     /* SRV */
    uint16_t priority; /* SRV, MX */
    uint16_t weight;   /* SRV */
};

struct resolver_answer { /* views during the call only */
    /* Why there is no answer, one line that names the servers and what each did; NULL: there is one. That a name does
     * not exist, or has no records of the type, is an answer. */
    const char *reason;
    const struct resolver_record *records; /* in the order they came */
    size_t count;
};
typedef void resolver_fn(void *arg, const struct resolver_answer *answer);

/* -EINVAL: `servers` are none. */
MUST_CHECK int resolver_new(struct loop *loop, const struct resolver_options *options, struct resolver **ret_resolver);
void resolver_free(struct resolver *resolver); /* look-ups under way are cancelled */
DEFINE_CLEANUP(struct resolver *, resolver_free)

/* fn is called exactly once, on the loop, never from inside this call; the look-up is over before it. The name is
 * copied. NULL: RESOLVER_WAITING_MAX wait already. */
MUST_CHECK struct resolver_lookup *resolver_lookup(struct resolver *resolver, const char *name, enum resolver_type type,
                                                   resolver_fn *fn, void *arg);
/* fn is not called any more. Not from inside its own fn. */
void resolver_cancel(struct resolver_lookup *lookup);
