#pragma once
/* The files of one file_sd_config: found by their patterns, read on the executor, decoded when their bytes have
 * changed. */
#include "config.h"
#include "net/seams.h"
#include "target/target_group.h"

struct file_source;

/* fn: something changed, or the first reading is over. patterns are copied. */
struct file_source *file_source_new(const struct seams *seams, const struct file_sd_config *config, loop_fn *fn,
                                    void *arg);
void file_source_free(struct file_source *source);
DEFINE_CLEANUP(struct file_source *, file_source_free)
bool file_source_was_read(const struct file_source *source);
/* The same patterns: what is known can go on to the next configuration. */
bool file_source_is_of(const struct file_source *source, const struct file_sd_config *config);
void file_source_give_to(struct file_source *source, loop_fn *fn, void *arg, int64_t refresh_interval_ms);

size_t file_source_count(const struct file_source *source);
/* What file `index` says, or last said; NULL: nothing yet. */
const struct target_groups *file_source_groups(const struct file_source *source, size_t index);
const char *file_source_path(const struct file_source *source, size_t index);

struct file_source_stats {
    uint64_t files, broken, reads_total, failures_total;
};
void file_source_stats(const struct file_source *source, struct file_source_stats *ret_stats);
