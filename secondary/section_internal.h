#pragma once
/* Private to section*.c: a section, and what its plugin has asked for. section_call.c: when things are sent, and what
 * becomes of their ends. section_http.c, section_wire.c: how. */
#include "hop/backoff.h"
#include "net/aws_credentials.h"
#include "net/kubeconfig.h"
#include "section.h"

struct file_watch;
struct resolver_lookup;

enum call_kind { CALL_HTTP, CALL_DNS, CALL_FILES };
enum call_state {
    CALL_WAITING, /* for its time, by the timer */
    CALL_QUEUED,  /* for one of DISCOVERY_CALLS_MAX */
    CALL_SENT,
    CALL_TELLING, /* its end is being told */
    CALL_DOOMED   /* nothing of it is told any more */
};

struct discovery_call {
    struct section *section;
    struct discovery_call *previous, *next; /* of the section's calls, or the doomed */
    struct discovery_call *queue_next;
    enum call_kind kind;
    enum call_state state;
    bool failing; /* its last end was no good */
    bool said;    /* its reader has said a problem since it was sent */
    bool refused; /* a group of its reader was refused; of files: of the one being told */
    struct loop_timer timer;
    struct backoff backoff;
    struct arena arena; /* of what was asked for */
    void *arg;

    struct discovery_request request;
    const struct discovery_reader *reader;
    struct discovery_lookup lookup;
    discovery_lookup_fn *lookup_fn;
    struct discovery_files files;
    const struct discovery_files_reader *files_reader;
    uint64_t *broken; /* hashes of the paths of files that the reader refused as they are now */
    size_t broken_count;
    bool watch_problem;

    /* Of the exchange under way. */
    struct http_call *http;
    struct aws_credentials_request *aws_wait;
    struct aws_metadata_request *metadata;
    struct resolver_lookup *resolving;
    struct file_watch *watch;
    struct kubeconfig kubeconfig; /* zeros: none */
    int64_t sent_ms;              /* monotonic */
    int status;
    bool reader_refused, is_conditional;
    struct buf error_body;
    char *etag, *last_modified;
};

struct validator { /* of the last good answer of a URL */
    char *url, *etag, *last_modified;
};
#define VALIDATORS_MAX 64 /* of one section: URLs that are asked conditionally */

struct section { /* to its plugin a struct discovery_host */
    const struct section_env *env;
    const struct discovery_plugin *plugin;
    void *config, *instance;
    char *job, *text;
    size_t index;
    char name[160]; /* for the log: job a: ec2_sd_configs[0] */
    loop_fn *changed;
    void *arg;
    struct groups *groups;
    uint64_t changes_told, commits_told;

    struct discovery_call *calls, *doomed;
    struct discovery_call *queue, **queue_end;
    unsigned in_flight;
    size_t call_count, failing;
    struct loop_timer sweep; /* frees the doomed, tells changes */
    struct validator validators[VALIDATORS_MAX];
    size_t validator_count;
    struct aws_credentials *aws; /* made for the first request that needs them */
    const struct discovery_aws *aws_of;

    struct discovery_call *telling; /* whose reader is at work; NULL: none */
    char problem[512];              /* "": none */
    int64_t problem_since_ms, last_good_ms, logged_ms;
    uint64_t requests_total, failures_total, problems_total, bytes_total;
};

static inline struct section *section_of(struct discovery_host *host)
{
    return (struct section *)(void *)host;
}

/* ---- section.c ---- */
void section_set_problem(struct section *section, const char *text); /* NULL or "": it is over */
/* A good answer came: the problem is over, unless another call has one. */
void section_is_well(struct section *section);
void section_after(struct section *section); /* the plugin has been called: changes will be told soon */

/* ---- section_call.c ---- */
struct discovery_call *call_new(struct section *section, enum call_kind kind, void *arg);
void call_start(struct discovery_call *call, int64_t after_ms, int64_t spread_ms);
void call_doom(struct discovery_call *call); /* as discovery_api.cancel */
void call_set_failing(struct discovery_call *call, bool failing);
void call_free_doomed(struct section *section);
/* An exchange is over: tells the end, and goes by the verdict. records are of a look-up. */
struct call_end {
    enum discovery_failure failure;
    const char *reason;
    int64_t retry_after_s; /* -1: none */
    const struct discovery_dns_record *records;
    size_t record_count;
};
void call_end(struct discovery_call *call, const struct call_end *end);

/* ---- section_http.c, section_wire.c: each ends with call_end, never from inside ---- */
void call_send_http(struct discovery_call *call);
void call_send_dns(struct discovery_call *call);
void call_watch_files(struct discovery_call *call);
/* The end is told on the next turn: it could not be sent. */
void call_unsent(struct discovery_call *call, const char *reason);
/* Lets go of all that is under way; nothing of it comes back. Not from within the transport. */
void call_let_go(struct discovery_call *call);
/* A good answer: what it said of itself counts for the next conditional one. */
void call_keep_validators(struct discovery_call *call);
/* Parts of an exchange: as they come, from whatever brings them. */
void call_read_head(struct discovery_call *call, const struct http_head *head);
int call_read_data(struct discovery_call *call, struct str bytes);
void call_send_signed(struct discovery_call *call, const struct sigv4_credentials *credentials); /* NULL: unsigned */
/* section_aws.c: first the credentials, then call_send_signed; or the answer of the instance's metadata. */
void call_ask_credentials(struct discovery_call *call);
void call_ask_metadata(struct discovery_call *call);
void section_let_go(struct section *section); /* of credentials and validators */
