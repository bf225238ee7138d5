#include "config_report.h"
#include "base/fail.h"
#include "base/log.h"
#include "store/retention.h"

#include <inttypes.h>
#include <stdio.h>

/* The longest of all classes. */
static int64_t keep_ms(const struct global_config *config)
{
    CLEANUP(retention_unrefp) struct retention *retention = global_config_retention(config);
    int64_t longest_ms = 0;
    for (size_t i = 0; i < retention_class_count(retention); i++)
        longest_ms = MAX(longest_ms, retention_class_at(retention, i)->keep_ms);
    return longest_ms;
}

void config_report(struct api *api, const struct global_config *config, const char *config_path)
{
    char keep[64], lookback[64], timeout[64], samples[32], concurrency[32], size[32], room[34] = "0B", retention[128];
    conf_format_duration(keep_ms(config), keep);
    conf_format_duration(config->query.lookback_delta_ms, lookback);
    conf_format_duration(config->query.timeout_ms, timeout);
    conf_format_bytes(config->blocks.bytes_max, size);
    snprintf(samples, sizeof(samples), "%" PRId64, config->query.samples_max);
    snprintf(concurrency, sizeof(concurrency), "%" PRId64, config->query.concurrency);
    snprintf(retention, sizeof(retention), "%s", keep);
    if (config->blocks.bytes_max > 0) {
        snprintf(room, sizeof(room), "%s", size);
        snprintf(retention, sizeof(retention), "%s or %s", keep, size);
    }
    const struct api_flag flags[] = {
        {"config.file", config_path ? config_path : ""},
        {"enable-feature", ""},
        {"log.level", log_level()},
        {"query.lookback-delta", lookback},
        {"query.max-concurrency", concurrency},
        {"query.max-samples", samples},
        {"query.timeout", timeout},
        {"storage.tsdb.path", config->data_dir},
        {"storage.tsdb.retention.size", room},
        {"storage.tsdb.retention.time", keep},
        {"web.enable-admin-api", "true"},
        {"web.enable-lifecycle", "true"},
        {"web.listen-address", config->listen},
    };
    CLEANUP(buf_done) struct buf yaml = BUF_INIT(SIZE_MAX);
    conf_print(&global_config_table, config, &yaml);
    api_set_settings(
        api, &(struct api_settings){
                 .yaml = buf_view(&yaml), .flags = flags, .flag_count = ARRAY_LEN(flags), .retention = retention});
}
