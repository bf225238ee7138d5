#pragma once
/* The secondary's configuration: a plain struct that a table fills, with scrape_configs as in prometheus.yml.
 * Times are milliseconds; paths are as the daemon opens them. docs/configuration.md is made from the tables. */
#include "base/conf.h"
#include "metric/relabel.h"
#include "net/http_client.h"
#include "target/access.h"
#include "target/plugin_load.h"
#include "window_rules.h"

enum scrape_scheme { SCRAPE_HTTP, SCRAPE_HTTPS };

struct static_config {
    struct conf_strings targets;   /* host:port; anything where relabel_configs follow */
    struct conf_string_map labels; /* names checked */
};

/* One section of NAME_sd_configs. */
struct sd_section {
    const struct discovery_plugin *plugin;
    const char *text;     /* the section as conf_print_node says it: equal texts are equal sections */
    const char *base_dir; /* where its relative paths start */
    size_t index;         /* among the job's sections of this plugin */
    uint32_t line;        /* in the configuration's file */
};

struct scrape_param {
    const char *name;
    struct conf_strings values;
};
struct scrape_params {
    const struct scrape_param *items;
    size_t count;
};

struct scrape_config {
    const char *job_name;
    int64_t scrape_interval_ms; /* never 0: the global one where not given */
    int64_t scrape_timeout_ms;  /* never above the interval */
    const char *metrics_path;
    int scheme; /* enum scrape_scheme */
    struct scrape_params params;
    bool honor_labels;
    bool honor_timestamps;
    struct conf_list static_configs;         /* struct static_config */
    struct conf_list discovery;              /* struct sd_section */
    struct conf_list relabel_configs;        /* struct relabel_config: valid, relabel_new takes them */
    struct conf_list metric_relabel_configs; /* struct relabel_config */
    uint64_t body_bytes_max;
    int64_t samples_max; /* of one scrape, after metric_relabel_configs */
    int64_t labels_max;
    int64_t label_name_bytes_max;
    int64_t label_value_bytes_max;
    int64_t targets_max;
    int64_t dropped_max; /* listed; 0: all */
    struct access access;
};

struct window_rule_config {
    const char *match;
    int64_t resolution_ms; /* RESOLUTION_UNSAID; 0: every scrape as it is */
    struct conf_strings fields;
    bool keep_said;
    int keep; /* index of full, aggregate, drop */
    struct conf_strings by;
};
struct windows_config {
    int64_t resolution_ms;
    struct conf_list rules; /* struct window_rule_config: valid, windows_config_rules takes them */
};
/* A reference of the caller's. */
struct window_rules *windows_config_rules(const struct windows_config *windows);

struct secondary_config {
    const char *datacenter;
    const char *secondary;
    const char *listen;
    const char *data_dir;
    const char *plugin_dir; /* NULL: where the program's installation has them */
    int64_t workers;        /* 0: one per core */
    struct {
        struct conf_strings urls; /* in order of preference */
        const char *bearer_token_file;
        struct http_tls tls;
    } primary;
    struct {
        uint64_t bytes_max;
        int64_t age_max_ms;
    } spool;
    struct windows_config windows;
    struct {
        int64_t scrape_interval_ms;
        int64_t scrape_timeout_ms;
    } global;
    struct conf_list scrape_configs; /* struct scrape_config */
    struct plugins *plugins;         /* as given to secondary_config_load: for the next reading */
};

extern const struct conf_table secondary_config_table;

/* 0 and a configuration, one reference of it; or a negative errno and *ret_errors (mem_free it): all that is wrong, a
 * line each, FILE:LINE:COLUMN first. plugins must outlive the configuration; NULL: discovery has none. */
MUST_CHECK int secondary_config_load(struct file_system *fs, const char *path, struct plugins *plugins,
                                     struct secondary_config **ret_config, char **ret_errors);
/* Counted references, from any thread. */
struct secondary_config *secondary_config_ref(struct secondary_config *config);
void secondary_config_unref(struct secondary_config *config); /* NULL allowed */
DEFINE_CLEANUP(struct secondary_config *, secondary_config_unref)
