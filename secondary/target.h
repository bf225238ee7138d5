#pragma once
/* One target: whom to ask, how often, and the labels of what it answers. The same at every reload that does not change
 * it
 * (`key`). Counted references, from any thread. */
#include "job.h"
#include "metric/labels.h"

#include <stdatomic.h>

enum target_state { TARGET_PENDING, TARGET_UP, TARGET_DOWN, TARGET_ENDED, TARGET_STATE_COUNT };
extern const char *const target_state_names[TARGET_STATE_COUNT];

struct target {
    atomic_uint references;
    /* Never changed. */
    uint64_t key; /* hash of all that makes it this target: labels, URL, times, the job's series_hash */
    struct labels *labels;
    char *url;
    char *address; /* host:port */
    int64_t interval_ms, timeout_ms;
    struct job *job; /* the one it began with; its worker may fetch by a newer one */

    /* Written by its worker, for status pages. */
    _Atomic int64_t last_scrape_ms; /* wall; 0: never */
    _Atomic int64_t last_duration_ns;
    _Atomic uint32_t last_samples;

    /* The main loop's own. */
    enum target_state state;
    char *last_error;     /* of its last scrape; NULL: none */
    uint64_t found_hash;  /* target_found_hash of the address that discovery found, before any rule */
    uint64_t round;       /* of targets_sync, to find who is gone */
    uint64_t limit_round; /* the round that had no room for it */
    enum target_end end;  /* TARGET_ENDED: why */
    unsigned worker;
};

/* A target's state changes here only; transitions are counted per state entered. */
struct target_counts {
    uint64_t now[TARGET_STATE_COUNT]; /* ENDED: how many have ended */
    uint64_t changes_total;
};
void target_set_state(struct target *target, enum target_state state, struct target_counts *counts);

struct target *target_ref(struct target *target);
void target_unref(struct target *target); /* NULL allowed */
DEFINE_CLEANUP(struct target *, target_unref)
bool target_equal(const struct target *a, const struct target *b);

/* ---- From discovery: as Prometheus' PopulateLabels ---- */

struct target_source { /* of one scrape_config */
    const struct scrape_config *config;
    struct job *job;
    const struct relabel *relabel; /* NULL: none */
    int64_t interval_max_ms;       /* a window: longer ones would leave windows empty */
};

struct target_found { /* by discovery */
    struct str address;
    const struct label *labels; /* of its group */
    size_t label_count;
};

/* Of labels, before the rules and while they are at work: each that was found, copied by as many labelmaps as make
 * sense, and what a set takes. */
#define TARGET_LABELS_ROOM(found_count) (4 * (found_count) + LABELS_MAX)
/* What relabel_configs begin with: the group's labels, the address, and the job's defaults. The builder's room and made
 * texts are the arena's, which must have room for some 150 bytes per label that was found, and 8 KiB. */
void target_labels_before(const struct scrape_config *config, const struct target_found *found, struct arena *arena,
                          struct labels_builder *ret_builder);
/* Of an address as discovery lists it. */
uint64_t target_found_hash(struct str address);

/* The target of an address: defaults by the job, relabel_configs, then what is left without the labels that begin with
 * __. 1 and a target; 0: dropped by the rule of index *ret_rule (which may be NULL); -EINVAL and the reason. */
MUST_CHECK int target_make(const struct target_source *source, const struct target_found *found,
                           char ret_error[static 256], struct target **ret_target, size_t *ret_rule);
