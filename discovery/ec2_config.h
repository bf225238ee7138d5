#pragma once
/* A section of ec2_sd_configs, with Prometheus' keys. */
#include "base/conf.h"
#include "target/access.h"

#define EC2_FILTERS_MAX      50   /* of one section; AWS takes no more */
#define EC2_VALUES_MAX       200  /* of one filter; AWS takes no more */
#define EC2_FILTER_BYTES_MAX 1024 /* of a filter's name and each of its values; AWS takes 255 characters */

struct ec2_filter {
    const char *name;
    struct conf_strings values;
};
struct ec2_config {
    const char *region, *endpoint, *access_key, *secret_key_file, *profile, *role_arn;
    int64_t refresh_ms, port;
    struct conf_list filters;
    struct access access;
};

extern const struct conf_table ec2_config_table; /* of a struct ec2_config */
