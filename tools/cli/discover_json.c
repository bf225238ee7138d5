/* As JSON, for programs. */
#include "base/fail.h"
#include "base/json_write.h"
#include "discover_view.h"

static void write_label(struct json_writer *json, const struct label *label)
{
    json_key_str(json, label->name);
    json_str(json, label->value);
}

static void write_step(void *arg, const struct relabel_step *step)
{
    struct json_writer *json = arg;
    if (step->change_count == 0 && !step->dropped)
        return;
    json_object(json);
    json_field_uint(json, "rule", step->rule);
    if (step->dropped)
        json_field_bool(json, "dropped", true);
    json_key(json, "changes");
    json_array(json);
    for (size_t i = 0; i < step->change_count; i++) {
        json_object(json);
        json_field_str(json, "label", step->changes[i].name);
        json_field_str(json, "before", step->changes[i].before);
        json_field_str(json, "after", step->changes[i].after);
        json_object_end(json);
    }
    json_array_end(json);
    json_object_end(json);
}

static void write_target(struct json_writer *json, const struct target *target)
{
    json_field_text(json, "scrapeUrl", target->url);
    json_key(json, "labels");
    json_object(json);
    for (size_t i = 0; i < labels_count(target->labels); i++) {
        struct label label = labels_at(target->labels, i);
        write_label(json, &label);
    }
    json_object_end(json);
}

static void write_item(struct json_writer *json, const struct discover_job *job, size_t index)
{
    const struct listing_item *item = &job->items[index];
    json_object(json);
    json_field_text(json, "state", item->target ? "target" : item->error ? "invalid" : "dropped");
    if (item->target)
        write_target(json, item->target);
    if (discover_is_repeated(job, index))
        json_field_bool(json, "repeated", true);
    if (item->error)
        json_field_text(json, "error", item->error);
    if (!item->target && !item->error)
        json_field_uint(json, "rule", item->rule);
    json_key(json, "discoveredLabels");
    json_object(json);
    for (size_t i = 0; i < item->before_count; i++)
        write_label(json, &item->before[i]);
    json_object_end(json);
    json_key(json, "steps");
    json_array(json);
    discover_trace(job, item, write_step, json);
    json_array_end(json);
    json_object_end(json);
}

static void write_job(struct json_writer *json, const struct discover_job *job)
{
    const struct relabel_config *rules = job->config->relabel_configs.items;
    json_object(json);
    json_field_text(json, "job", job->config->job_name);
    json_key(json, "relabelConfigs");
    json_array(json);
    for (size_t i = 0; i < job->config->relabel_configs.count; i++) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
        relabel_config_print(&rules[i], &text);
        json_str(json, buf_view(&text));
    }
    json_array_end(json);
    json_key(json, "targets");
    json_array(json);
    for (size_t i = 0; i < job->count; i++)
        write_item(json, job, i);
    json_array_end(json);
    json_object_end(json);
}

static void write_section(struct json_writer *json, const struct section_report *section)
{
    json_object(json);
    json_field_text(json, "job", section->job);
    json_field_text(json, "sd", section->plugin);
    json_field_uint(json, "section", section->index);
    json_field_bool(json, "complete", section->complete);
    json_field_uint(json, "targets", section->targets);
    json_field_text(json, "problem", section->problem);
    json_object_end(json);
}

enum cli_exit discover_print_json(const struct discover_view *view, const struct finder *finder,
                                  const struct output *output)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    struct json_writer json;
    struct section_report report;
    size_t at = 0;
    json_begin(&json, &out);
    json_object(&json);
    json_key(&json, "jobs");
    json_array(&json);
    for (size_t i = 0; i < view->job_count; i++)
        write_job(&json, &view->jobs[i]);
    json_array_end(&json);
    json_key(&json, "sections");
    json_array(&json);
    while (finder_next_report(finder, &at, &report))
        write_section(&json, &report);
    json_array_end(&json);
    json_object_end(&json);
    if (out.full) {
        cli_error("the list is longer than %zu MiB: ask for one --job", OUTPUT_TEXT_BYTES_MAX / MIB);
        return CLI_FAILED;
    }
    output_json(buf_view(&out), output);
    return CLI_OK;
}
