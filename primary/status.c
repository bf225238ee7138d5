#include "status.h"
#include "hop/report.h"
#include "net/metrics.h"

static size_t list_upstreams(const struct primary *primary, struct report_upstream ret_list[static SPOOL_CONSUMERS_MAX])
{
    for (size_t i = 0; i < primary->upstream_count; i++)
        ret_list[i] = (struct report_upstream){primary->upstreams[i].config->name, primary->upstreams[i].config->url,
                                               primary->upstreams[i].sender};
    return primary->upstream_count;
}

void primary_write_metrics(const struct primary *primary, struct buf *out)
{
    struct report_upstream upstreams[SPOOL_CONSUMERS_MAX];
    size_t count = list_upstreams(primary, upstreams);
    metrics_process(out, "primary");
    report_receiver_metrics(primary->receiver, out);
    report_spool_metrics(primary->spool, primary->config->spool.bytes_max, out);
    report_upstream_metrics(primary->spool, upstreams, count, out);
    report_source_metrics(primary->receiver, clock_wall_ms(loop_clock(primary->seams.loop)), out);
}

void primary_write_status(const struct primary *primary, struct buf *out)
{
    struct report_upstream upstreams[SPOOL_CONSUMERS_MAX];
    size_t count = list_upstreams(primary, upstreams);
    int64_t now_ms = clock_wall_ms(loop_clock(primary->seams.loop));
    struct json_writer json;
    json_begin(&json, out);
    json_object(&json);
    json_field_text(&json, "daemon", "primary");
    json_field_text(&json, "version", TRIBUTARY_VERSION);
    json_field_text(&json, "datacenter", primary->config->datacenter);
    json_field_double(&json, "uptime_seconds", (double)(now_ms - primary->started_ms) / 1000);
    json_key(&json, "spool");
    report_spool_json(primary->spool, primary->config->spool.bytes_max, &json);
    json_key(&json, "upstreams");
    report_upstreams_json(primary->spool, upstreams, count, &json);
    json_key(&json, "sources");
    report_sources_json(primary->receiver, now_ms, &json);
    json_object_end(&json);
}
