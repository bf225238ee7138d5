#include "job.h"

#include "base/crc.h"
#include "base/fail.h"
#include "net/auth.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#define FINGERPRINT_BYTES_MAX (16 * MIB) /* of a job's text: less than a configuration file may have */

struct owned_job {
    struct job job; /* first: a job is its owner */
    atomic_uint references;
    struct arena arena;
    struct relabel *metric_relabel;
};

static struct owned_job *owner_of(struct job *job)
{
    return CONTAINER_OF(job, struct owned_job, job);
}

/* ---- copies ---- */

static const char *copy_text(struct arena *arena, const char *text)
{
    return text ? arena_str(arena, str_from(text)).ptr : NULL;
}

/* relabel keeps views of what it was compiled from. */
static struct relabel_config *copy_rules(struct arena *arena, const struct conf_list *list)
{
    const struct relabel_config *from = list->items;
    struct relabel_config *rules = arena_array(arena, list->count, sizeof(*rules));
    for (size_t i = 0; i < list->count; i++) {
        rules[i] = from[i];
        rules[i].separator = copy_text(arena, from[i].separator);
        rules[i].regex = copy_text(arena, from[i].regex);
        rules[i].target_label = copy_text(arena, from[i].target_label);
        rules[i].replacement = copy_text(arena, from[i].replacement);
        rules[i].source_labels = arena_array(arena, from[i].source_label_count, sizeof(char *));
        for (size_t j = 0; j < from[i].source_label_count; j++)
            rules[i].source_labels[j] = copy_text(arena, from[i].source_labels[j]);
    }
    return rules;
}

/* ---- fingerprints ---- */

/* Length first: two texts side by side can't be taken for two others. */
static void mark_text(struct buf *marks, const char *text)
{
    struct str view = str_from(text);
    buf_append_uvarint(marks, text ? view.len + 1 : 0);
    buf_append_str(marks, view);
}

static void mark_rule(struct buf *marks, const struct relabel_config *rule)
{
    buf_append_uvarint(marks, rule->source_label_count);
    for (size_t i = 0; i < rule->source_label_count; i++)
        mark_text(marks, rule->source_labels[i]);
    mark_text(marks, rule->separator);
    mark_text(marks, rule->regex);
    mark_text(marks, rule->target_label);
    mark_text(marks, rule->replacement);
    buf_append_uvarint(marks, (uint64_t)rule->modulus);
    buf_append_uvarint(marks, (uint64_t)rule->action);
}

static void mark_job(struct job *job, const struct relabel_config *rules, size_t rule_count)
{
    CLEANUP(buf_done) struct buf marks = BUF_INIT(FINGERPRINT_BYTES_MAX);
    const struct pipeline_job *pipeline = &job->pipeline;
    mark_text(&marks, job->name);
    buf_append_byte(&marks, pipeline->honor_labels);
    buf_append_byte(&marks, pipeline->honor_timestamps);
    buf_append_uvarint(&marks, pipeline->sample_limit);
    buf_append_uvarint(&marks, pipeline->label_limit);
    buf_append_uvarint(&marks, pipeline->label_name_bytes_max);
    buf_append_uvarint(&marks, pipeline->label_value_bytes_max);
    for (size_t i = 0; i < rule_count; i++)
        mark_rule(&marks, &rules[i]);
    job->series_hash = hash64(marks.data, marks.len, 0); /* as that of target.c, of which it is a part */
    buf_append_uvarint(&marks, job->body_bytes_max);
    mark_text(&marks, job->basic_user);
    mark_text(&marks, job->basic_password);
    mark_text(&marks, job->authorization);
    buf_append(&marks, &job->tls, sizeof(job->tls)); /* the store keeps equal ones once */
    job->whole_hash = str_hash(buf_view(&marks));
}

/* ---- life ---- */

static int read_secrets(struct owned_job *owner, struct file_system *fs, const struct scrape_config *config,
                        char ret_error[static 256])
{
    CLEANUP_FREE char *secret = NULL;
    int r = 0;
    if (config->access.basic_auth.username) {
        r = auth_read_secret(fs, config->access.basic_auth.password_file, ret_error, &secret);
        owner->job.basic_user = copy_text(&owner->arena, config->access.basic_auth.username);
        owner->job.basic_password = copy_text(&owner->arena, secret);
    } else if (config->access.authorization.credentials_file) {
        r = auth_read_secret(fs, config->access.authorization.credentials_file, ret_error, &secret);
        if (r == 0)
            owner->job.authorization = arena_printf(&owner->arena, "%s %s", config->access.authorization.type, secret);
    }
    return r;
}

int job_new(struct file_system *fs, const struct scrape_config *config, struct tls_store *tls,
            char ret_error[static 256], struct job **ret_job)
{
    struct owned_job *owner = mem_zalloc(sizeof(*owner));
    CLEANUP(job_unrefp) struct job *job = &owner->job;
    size_t rule_count = config->metric_relabel_configs.count, rule = 0;
    atomic_init(&owner->references, 1);
    arena_init(&owner->arena, 0);
    job->name = copy_text(&owner->arena, config->job_name);
    job->body_bytes_max = config->body_bytes_max;
    job->tls = tls_store_keep(tls, &config->access.tls);
    job->pipeline = (struct pipeline_job){
        .honor_labels = config->honor_labels,
        .honor_timestamps = config->honor_timestamps,
        .sample_limit = (uint32_t)config->samples_max,
        .label_limit = (uint32_t)config->labels_max,
        .label_name_bytes_max = (uint32_t)config->label_name_bytes_max,
        .label_value_bytes_max = (uint32_t)config->label_value_bytes_max,
    };
    struct relabel_config *rules = copy_rules(&owner->arena, &config->metric_relabel_configs);
    int r = read_secrets(owner, fs, config, ret_error);
    if (r == 0 && rule_count > 0)
        r = relabel_new(rules, rule_count, ret_error, &rule, &owner->metric_relabel);
    if (r < 0)
        return r;
    job->pipeline.metric_relabel = owner->metric_relabel;
    mark_job(job, rules, rule_count);
    *ret_job = STEAL(job);
    return 0;
}

struct job *job_ref(struct job *job)
{
    atomic_fetch_add_explicit(&owner_of(job)->references, 1, memory_order_relaxed);
    return job;
}

void job_unref(struct job *job)
{
    if (!job || atomic_fetch_sub_explicit(&owner_of(job)->references, 1, memory_order_acq_rel) != 1)
        return;
    struct owned_job *owner = owner_of(job);
    relabel_free(owner->metric_relabel);
    arena_done(&owner->arena);
    mem_free(owner);
}
