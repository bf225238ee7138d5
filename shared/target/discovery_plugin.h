#pragma once
/* The contract between a discovery plugin and its host: how the targets behind an *_sd_configs section are found.
 *
 * A plugin does no I/O. It asks the host (struct discovery_api) for HTTP exchanges, DNS answers and files, reads what
 * comes as it streams in, and says target groups. Timers, connections, TLS, credentials, signing, retries with
 * back-off, limits and caches are the host's: a plugin is a function of the bytes it was given, and is tested so. All
 * calls, both ways, are made on one thread that does nothing but discovery; none of the host's functions calls back
 * before it returns.
 *
 * docs/discovery-plugins.md tells how to write one; discovery/example.c is one. */
#include "base/conf.h"
#include "base/str.h"
#include "metric/labels.h"
#include "target/access.h"

#define DISCOVERY_MAGIC 0x73644254u /* "TBds" */
#define DISCOVERY_ABI   1           /* rises with every change of this header or of what it includes */

/* Ceilings. What passes one is refused with a problem that names it; the targets known before stay. */
#define DISCOVERY_NAME_BYTES_MAX    32         /* of a plugin's name */
#define DISCOVERY_LABELS_MAX        1024       /* of a group and one of its targets together */
#define DISCOVERY_GROUP_BYTES_MAX   (64 * MIB) /* names and values of one group: a service of 50,000 instances */
#define DISCOVERY_GROUP_TARGETS_MAX 100000     /* of one group */
#define DISCOVERY_TARGETS_MAX       1000000    /* of one section */
#define DISCOVERY_ANSWER_BYTES_MAX  (64 * MIB) /* of one answer that says no other ceiling */
#define DISCOVERY_ERROR_BYTES_MAX   4096       /* kept of the body of an answer that is not 2xx */
#define DISCOVERY_CALLS_MAX         256        /* of one section at a time, waiting ones not counted; more wait */
#define DISCOVERY_TIMEOUT_MS        60000      /* of an exchange that says no other */

/* ---- What a plugin says ---- */

struct discovery_target {
    struct str address;         /* __address__; host:port or what relabel_configs will make one of */
    const struct label *labels; /* its own, in any order; they win over the group's */
    size_t label_count;
};

/* Targets that share labels. `source` is the group's name within its section: the same again replaces the group. All
 * views are needed during the call only. Labels with an empty value are left out; a name that is no label name
 * ([a-zA-Z_][a-zA-Z0-9_]*), text that is not UTF-8, or a group past a ceiling refuses the group, with a problem. */
struct discovery_group {
    struct str source;
    const struct label *labels;
    size_t label_count;
    const struct discovery_target *targets;
    size_t target_count;
};

/* ---- What a plugin asks for ---- */

struct discovery_header {
    const char *name, *value;
};

enum discovery_failure {
    DISCOVERY_OK,       /* HTTP: the whole answer came, whatever its status. DNS: an answer, maybe an empty one */
    DISCOVERY_UNSENT,   /* a file of credentials cannot be read, a URL is none; `reason` says which */
    DISCOVERY_BROKEN,   /* no answer, or half of one */
    DISCOVERY_TOO_LARGE /* past bytes_max */
};

struct discovery_answer_head { /* of an HTTP answer; views during the call */
    int status;
    struct str content_type;
    /* A header's value by its name, any case; STR_NULL: it has none. */
    struct str (*header)(const struct discovery_answer_head *head, const char *name);
};

struct discovery_end { /* how an exchange ended; views during the call */
    enum discovery_failure failure;
    const char *reason;    /* one line for people, where failure is not DISCOVERY_OK */
    int status;            /* 0: none came */
    struct str error_body; /* the beginning of the body of an answer that was not 2xx */
    bool not_modified;     /* `conditional`: all is as the last time that verdict DISCOVERY_DONE was given */
    bool reader_refused;   /* `data` said no */
    int64_t took_ms;       /* from its sending on */
};

enum discovery_verdict {
    DISCOVERY_DONE,  /* this was a good answer: the section's problem, if it had one, is over */
    DISCOVERY_RETRY, /* it was not: the host notes the problem and sends the same again after a back-off with jitter
                        (1 s to 2 min, Retry-After kept); everything is read anew from the beginning */
    DISCOVERY_DROP   /* neither: the plugin has asked for something else, or needs nothing more */
};

/* Who reads an answer. Each of head and data may be NULL. They are called for answers of status 2xx only. */
struct discovery_reader {
    void (*head)(void *arg, const struct discovery_answer_head *head);
    /* The next bytes of the body, any number of them. Negative: enough, the exchange ends (reader_refused). */
    int (*data)(void *arg, struct str bytes);
    /* The exchange is over and the call with it, unless the verdict is DISCOVERY_RETRY. */
    enum discovery_verdict (*end)(void *arg, const struct discovery_end *end);
};

/* How AWS signs: SigV4 with credentials of, in this order, the files named here, the profile named here, the
 * environment, the shared credentials file, the container's endpoint and the instance's metadata (IMDSv2). With
 * role_arn these assume the role (STS) first. The host finds, caches and renews them. */
struct discovery_aws {
    const char *service; /* "ec2" */
    const char *region;
    const char *access_key; /* with secret_key_file; or NULL */
    const char *secret_key_file;
    const char *profile;  /* of the shared credentials file; or NULL */
    const char *role_arn; /* or NULL */
};

/* A header whose value is a file's first line; the plugin never sees it. */
struct discovery_secret_header {
    const char *name, *file;
};

struct discovery_request {
    const char *method; /* NULL: GET */
    struct str url;     /* http(s)://..., or from / on where `kubernetes` says which server */
    const struct discovery_header *headers;
    size_t header_count;
    struct str body;
    /* Who we are to the other end; each NULL: not this way. They must live as long as the instance, as its
     * configuration does. */
    const struct access *access; /* basic_auth, authorization, tls_config */
    const struct discovery_aws *aws;
    const struct discovery_secret_header *secret_header;
    const struct access_kubernetes *kubernetes; /* API server, token, certificates: kubeconfig or in the cluster */
    bool aws_metadata;                          /* of an instance's metadata service: url is from / on (IMDSv2) */
    /* When and how much. */
    int64_t after_ms;   /* not before so long from now; 0: at once */
    int64_t spread_ms;  /* and up to so long later, by chance */
    int64_t timeout_ms; /* of the whole exchange from its sending on; 0: DISCOVERY_TIMEOUT_MS */
    uint64_t bytes_max; /* of the answer, unpacked; 0: DISCOVERY_ANSWER_BYTES_MAX */
    bool conditional;   /* If-None-Match and If-Modified-Since of the last answer to this URL that was DISCOVERY_DONE */
};

enum discovery_dns_type { DISCOVERY_DNS_A, DISCOVERY_DNS_AAAA, DISCOVERY_DNS_SRV, DISCOVERY_DNS_MX };
extern const char *const discovery_dns_type_names[]; /* "A", ..., ends with NULL */

struct discovery_dns_record {
    const char *name;                /* A, AAAA: the address as text; SRV, MX: the host, without the last dot */
    uint16_t port, priority, weight; /* SRV; MX has priority */
};
struct discovery_lookup {
    const char *name;
    enum discovery_dns_type type;
    int64_t after_ms, spread_ms;
};
/* A name that does not exist, or has no such records, is an answer of 0 records. */
typedef enum discovery_verdict discovery_lookup_fn(void *arg, const struct discovery_end *end,
                                                   const struct discovery_dns_record *records, size_t count);

/* Files found by patterns (* in the last part only), told when they are there or have other bytes: at most some seconds
 * after they changed, at once where the system tells of changes. */
struct discovery_files_reader {
    /* A file's bytes. Negative: they are wrong, with discovery_api.problem said; the file is told again when it has
     * others. */
    int (*file)(void *arg, struct str path, struct str text);
    void (*gone)(void *arg, struct str path);
    void (*settled)(void *arg); /* all that was found at one look has been told; may be NULL */
};
struct discovery_files {
    const char *const *patterns;
    size_t pattern_count;
    int64_t refresh_ms;
    size_t files_max;
    uint64_t bytes_max; /* of one file */
};

struct discovery_host; /* what one section's instance is to its host */
struct discovery_call; /* something asked for: ends after its `end`, by cancel, or with the instance */

struct discovery_api {
    uint32_t abi;

    /* reader must be static, arg live until the call is over. Never NULL; what cannot be sent ends in `end`. */
    struct discovery_call *(*request)(struct discovery_host *host, const struct discovery_request *request,
                                      const struct discovery_reader *reader, void *arg);
    struct discovery_call *(*lookup)(struct discovery_host *host, const struct discovery_lookup *lookup,
                                     discovery_lookup_fn *fn, void *arg);
    struct discovery_call *(*files)(struct discovery_host *host, const struct discovery_files *files,
                                    const struct discovery_files_reader *reader, void *arg);
    /* Nothing of it is called any more; not for a call whose end is running. */
    void (*cancel)(struct discovery_call *call);

    /* Says one group. Between begin and commit: as part of a whole listing, which comes into force at the commit, when
     * groups not said since begin are removed; abort takes it back. Outside: at once. A group of no targets counts as
     * not said. A section is complete, and its jobs' targets are used, from its first commit on. `start` may say groups
     * before it returns. */
    void (*begin)(struct discovery_host *host); /* again before commit: from the beginning */
    void (*put)(struct discovery_host *host, const struct discovery_group *group);
    void (*remove)(struct discovery_host *host, struct str source); /* outside of a listing */
    void (*commit)(struct discovery_host *host);
    void (*abort)(struct discovery_host *host);

    /* What is wrong, one line for people: why the verdict will be DISCOVERY_RETRY, or what of the configuration or the
     * answer could not be used. It stands in status, log and metrics until the next DISCOVERY_DONE. */
    void (*problem)(struct discovery_host *host, const char *format, ...) PRINTF_LIKE(2, 3);
    /* The section's problem, if it had one, is over: as DISCOVERY_DONE says, for exchanges that are long (a watch) or
     * another section's. */
    void (*well)(struct discovery_host *host);
};

/* ---- The plugin ---- */

struct discovery_plugin {
    /* These three stand here in every ABI. */
    uint32_t magic;   /* DISCOVERY_MAGIC */
    uint32_t abi;     /* DISCOVERY_ABI */
    const char *name; /* "ec2": it reads ec2_sd_configs; [a-z][a-z0-9_]* */

    const char *version;
    const char *about;               /* one sentence for `tributary discover --plugins` */
    const struct conf_table *config; /* of one section. No secrets in it: paths of files that hold them */

    /* What all instances of the plugin share, watches for instance. Both may be NULL. */
    void *(*plugin_new)(const struct discovery_api *api); /* NULL: it cannot start */
    void (*plugin_free)(void *plugin);                    /* after its last instance */

    /* An instance for one section (several jobs with equal sections share one). config was filled by the table and
     * lives as long as the instance. Asks for the first thing; NULL and a reason: it cannot start. */
    void *(*start)(void *plugin, const struct discovery_api *api, struct discovery_host *host, const void *config,
                   char ret_error[static 256]);
    /* What it has asked for through its own host is over already. */
    void (*stop)(void *instance);
};

/* A shared object has this symbol. Built with -DDISCOVERY_EXPORT=NAME by discovery/export.c. */
#define DISCOVERY_SYMBOL "tributary_discovery_plugin"
typedef const struct discovery_plugin *discovery_plugin_fn(void);
