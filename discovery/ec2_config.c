#include "discovery/ec2_config.h"

static void check_filter(struct conf *conf, const struct conf_node *node, void *object)
{
    const struct ec2_filter *filter = object;
    for (size_t i = 0; i < filter->values.count; i++)
        if (strlen(filter->values.items[i]) > EC2_FILTER_BYTES_MAX)
            conf_error(conf, conf_child_at(conf_child(node, "values"), i), "values: a text of more than %d bytes",
                       EC2_FILTER_BYTES_MAX);
}

static const struct conf_table filter_table = {
    .title = "filter",
    .struct_bytes = sizeof(struct ec2_filter),
    .check = check_filter,
    .options =
        (const struct conf_option[]){
            {.name = "name",
             .type = CONF_STRING,
             .offset = offsetof(struct ec2_filter, name),
             .required = true,
             .min = 1,
             .max = EC2_FILTER_BYTES_MAX,
             .help = "Name of a filter of DescribeInstances, `tag:env` for instance."},
            {.name = "values",
             .type = CONF_STRINGS,
             .offset = offsetof(struct ec2_filter, values),
             .required = true,
             .min = 1,
             .max = EC2_VALUES_MAX,
             .help = "Values of which an instance must have one; * and ? stand for any characters."},
            {0},
        },
};

static void check_config(struct conf *conf, const struct conf_node *node, void *object)
{
    const struct ec2_config *config = object;
    if (!config->access_key != !config->secret_key_file && !conf_failed(conf_child(node, "access_key")) &&
        !conf_failed(conf_child(node, "secret_key_file")))
        conf_error(conf, node, "access_key and secret_key_file belong together");
}

/* Keys of Prometheus' http_config that would say who we are. */
#define SIGNED(key)                                                                                                    \
    {                                                                                                                  \
        .name = key, .type = CONF_REFUSED,                                                                             \
        .help = "requests are signed with the credentials of AWS, which say who we are"                                \
    }

const struct conf_table ec2_config_table = {
    .title = "ec2_sd_config",
    .struct_bytes = sizeof(struct ec2_config),
    .check = check_config,
    .options =
        (const struct conf_option[]){
            {.name = "region",
             .type = CONF_NAME,
             .offset = offsetof(struct ec2_config, region),
             .help = "Region to ask; without it the one of the instance that runs here, by its metadata."},
            {.name = "endpoint",
             .type = CONF_URL,
             .offset = offsetof(struct ec2_config, endpoint),
             .help = "Where the API is, instead of the region's own address."},
            {.name = "access_key",
             .type = CONF_STRING,
             .offset = offsetof(struct ec2_config, access_key),
             .min = 1,
             .max = 128,
             .help = "Access key id; without it credentials are looked for where AWS' own tools do."},
            {.name = "secret_key", .type = CONF_REFUSED, .help = "secrets are read from files: use secret_key_file"},
            {.name = "secret_key_file",
             .type = CONF_FILE,
             .offset = offsetof(struct ec2_config, secret_key_file),
             .help = "File with the secret of access_key."},
            {.name = "profile",
             .type = CONF_STRING,
             .offset = offsetof(struct ec2_config, profile),
             .min = 1,
             .max = 128,
             .help = "Profile of the shared credentials file."},
            {.name = "role_arn",
             .type = CONF_STRING,
             .offset = offsetof(struct ec2_config, role_arn),
             .min = 20, /* as AWS says, both */
             .max = 2048,
             .help = "Role to assume with these credentials before asking."},
            {.name = "refresh_interval",
             .type = CONF_DURATION,
             .offset = offsetof(struct ec2_config, refresh_ms),
             .fallback = "60s",
             .min = 1000,
             .max = INT64_C(86400000),
             .help = "Time from one round of requests to the next."},
            {.name = "port",
             .type = CONF_INT,
             .offset = offsetof(struct ec2_config, port),
             .fallback = "80",
             .min = 1,
             .max = 65535,
             .help = "Port to scrape."},
            {.name = "filters",
             .type = CONF_LIST,
             .offset = offsetof(struct ec2_config, filters),
             .table = &filter_table,
             .max = EC2_FILTERS_MAX,
             .help = "What instances must be like, all of it."},
            SIGNED("basic_auth"),
            SIGNED("authorization"),
            SIGNED("bearer_token"),
            SIGNED("bearer_token_file"),
            SIGNED("oauth2"),
            ACCESS_CONNECTION_OPTIONS(struct ec2_config, access.tls),
            {0},
        },
};
