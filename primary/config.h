#pragma once
/* The primary's configuration: a plain struct that a table fills. Times are milliseconds; paths are as the daemon opens
 * them. docs/configuration.md is made from the tables. */
#include "base/conf.h"
#include "net/http_client.h"

struct primary_config_tls { /* of its own server; NULL where not given */
    const char *cert_file, *key_file, *client_ca_file;
};

struct primary_config_source {
    const char *secondary;
    const char *bearer_token_file; /* NULL: by certificate, whose common name is `secondary` */
};

struct primary_config_global {
    const char *name;
    const char *url;
    struct http_tls tls;
    const char *bearer_token_file;
};

struct primary_config {
    const char *datacenter;
    const char *listen;
    const char *data_dir;
    struct primary_config_tls tls;
    struct conf_list sources; /* struct primary_config_source; none: any may write */
    struct conf_list globals; /* struct primary_config_global; at least one, names unique */
    struct {
        uint64_t bytes_max;
        int64_t age_max_ms;
    } spool;
};

extern const struct conf_table primary_config_table;

/* 0 and a configuration to be freed with primary_config_free; or a negative errno and *ret_errors (mem_free it): all
 * that is wrong, a line each, FILE:LINE:COLUMN first. */
MUST_CHECK int primary_config_load(struct file_system *fs, const char *path, struct primary_config **ret_config,
                                   char **ret_errors);
void primary_config_free(struct primary_config *config); /* NULL allowed */
DEFINE_CLEANUP(struct primary_config *, primary_config_free)
