#pragma once
/* A consul_sd_config. */
#include "base/conf.h"
#include "target/access.h"

#define CONSUL_NAME_BYTES_MAX 1024 /* of a service; Consul's own are DNS labels, mostly */

struct consul_config {
    const char *server;
    const char *path_prefix; /* "" or "/..." without / at its end */
    const char *token_file;  /* NULL: none */
    const char *datacenter;  /* NULL: the agent's */
    const char *namespace, *partition;
    int scheme; /* of consul_schemes */
    struct conf_strings services, tags;
    const char *tag_separator;
    struct conf_string_map node_meta;
    const char *filter, *health_filter; /* NULL: none */
    bool allow_stale;
    int64_t refresh_interval_ms;
    struct access access;
};

extern const char *const consul_schemes[]; /* "http", "https", NULL */
extern const struct conf_table consul_config_table;
