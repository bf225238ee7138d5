#pragma once
/* Target groups as discovery gives them: addresses, and the labels they share. Read from files in the form of
 * Prometheus' file_sd_configs: a list of {targets: [...], labels: {...}}, as JSON or YAML. Strict: one unknown key,
 * wrong type, bad label name or text that is not UTF-8 refuses the whole file, so that half a file is never taken for
 * all of it. */
#include "base/arena.h"
#include "base/str.h"
#include "metric/labels.h"

#define TARGET_FILE_BYTES_MAX    (8 * MIB) /* 40,000 targets with ten labels each */
#define TARGET_GROUPS_MAX        100000    /* in one file */
#define TARGET_GROUP_TARGETS_MAX 100000    /* in one group */
#define TARGET_ADDRESS_BYTES_MAX 1024

struct target_group {
    const struct str *addresses;
    size_t address_count;
    const struct label *labels;
    size_t label_count;
};

struct target_groups { /* owns all its text */
    struct arena arena;
    const struct target_group *items;
    size_t count;
    size_t address_total; /* of all groups */
};

enum target_format { TARGET_JSON, TARGET_YAML };
/* By the ending of the name. */
enum target_format target_format_of(const char *path);

/* -EINVAL, with the first mistake and its line in ret_error; -EFBIG past TARGET_FILE_BYTES_MAX. */
MUST_CHECK int target_groups_decode(struct str text, enum target_format format, char ret_error[static 256],
                                    struct target_groups **ret_groups);
void target_groups_free(struct target_groups *groups);
DEFINE_CLEANUP(struct target_groups *, target_groups_free)
