#pragma once
/* The global service's configuration: a plain struct that a table fills. Times are milliseconds; paths are as the
 * daemon opens them. docs/configuration.md is made from the tables. */
#include "base/conf.h"

#define GLOBAL_LEVELS_MAX 8 /* lengths of blocks */

struct retention;

struct global_config_tls { /* of its own server; NULL where not given */
    const char *cert_file, *key_file, *client_ca_file;
};

struct global_config_source {
    const char *datacenter;
    const char *bearer_token_file; /* NULL: by certificate, whose common name is `datacenter` */
};

struct global_config_sender { /* of remote write */
    const char *name;
    const char *datacenter; /* NULL: the global's name */
    bool honor_datacenter;
    const char *bearer_token_file; /* NULL: by certificate, whose common name is `name`, or anonymous */
    bool anonymous;
};

struct global_config_class {
    const char *name;
    const char *match; /* "all", or a selector */
    int64_t samples_ms;
    uint64_t bytes_max; /* 0: none */
};

struct global_config_query { /* limits */
    int64_t samples_max;
    int64_t timeout_ms;
    int64_t concurrency;
    int64_t threads;
    int64_t waiting_max;
    uint64_t memory_bytes_max;
    uint64_t total_memory_bytes_max;
    int64_t lookback_delta_ms;
    bool widen_ranges;
};

struct global_config {
    const char *name;
    const char *listen;
    const char *data_dir;
    struct global_config_tls tls;
    struct conf_list sources; /* struct global_config_source; none: any may write */
    struct {
        struct conf_list senders; /* struct global_config_sender; none: remote write is off */
    } remote_write;
    struct {
        int64_t age_max_ms;     /* of a record to be accepted */
        int64_t close_after_ms; /* when two hours are cut at the latest, after their end */
    } head;
    struct conf_list retention; /* struct global_config_class, the most important first; none: one of 30 days */
    struct {
        uint64_t bytes_max; /* of all classes; 0: none */
        int64_t levels_ms[GLOBAL_LEVELS_MAX];
        size_t level_count;
    } blocks;
    struct global_config_query query;
};

extern const struct conf_table global_config_table;

/* 0 and a configuration to be freed with global_config_free; or a negative errno and *ret_errors (mem_free it): all
 * that is wrong, a line each, FILE:LINE:COLUMN first. */
MUST_CHECK int global_config_load(struct file_system *fs, const char *path, struct global_config **ret_config,
                                  char **ret_errors);
/* The rules that the configuration says; a reference. They were checked when it was loaded. */
struct retention *global_config_retention(const struct global_config *config);
void global_config_free(struct global_config *config); /* NULL allowed */
DEFINE_CLEANUP(struct global_config *, global_config_free)
