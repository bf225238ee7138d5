#pragma once
/* The heart of a secondary, free of I/O: what a target answered goes in, closed windows come out.
 *
 *   body -> page_cache (what stood where last time) or exposition + relabel (a changed page)
 *        -> window (records of each series) -> batch_writer, group by group
 *
 * A pipeline belongs to one worker thread and shares nothing with others. Targets come in phase groups: a group is
 * closed when the last scrape of the window of all its targets has ended. */
#include "aggregate.h"
#include "base/buf.h"
#include "hop/batch.h"
#include "metric/relabel.h"
#include "window_rules.h"

struct pipeline;
struct pipeline_target;

/* What a job says about the samples of its targets. Shared by its targets; must outlive them. */
struct pipeline_job {
    bool honor_labels;
    bool honor_timestamps;
    const struct relabel *metric_relabel; /* NULL: none */
    uint32_t sample_limit;                /* after relabelling; all limits are finite */
    uint32_t label_limit;
    uint32_t label_name_bytes_max;
    uint32_t label_value_bytes_max;
};

/* Why a scrape gave no samples: fixed words, in `up`'s companion scrape_failure{reason="..."}, which is there while
 * scrapes fail, and in the envelope. */
enum scrape_failure {
    SCRAPE_OK,
    SCRAPE_RESOLVE,
    SCRAPE_CONNECT,
    SCRAPE_TLS,
    SCRAPE_TIMEOUT,
    SCRAPE_BROKEN, /* no whole answer */
    SCRAPE_STATUS, /* answered, but not 200 */
    SCRAPE_BODY_LIMIT,
    SCRAPE_SAMPLE_LIMIT,
    SCRAPE_LABEL_LIMIT,
    SCRAPE_PARSE,    /* not the text format */
    SCRAPE_OVERLOAD, /* this secondary could not start it in time */
    SCRAPE_FAILURE_COUNT
};
const char *scrape_failure_name(enum scrape_failure failure);

/* Why a target is no more: fixed words, in scrape_target_ended{reason="..."}, one sample at its end. */
enum target_end {
    TARGET_END_REMOVED,   /* discovery does not list it any more */
    TARGET_END_RELABELED, /* it does, but the labels, URL, times or job make another target of it, or a rule drops it */
    TARGET_END_JOB,       /* its job has left the configuration */
    TARGET_END_LIMIT,     /* past the job's target_limit */
    TARGET_END_COUNT
};
const char *target_end_name(enum target_end end);

struct scrape_outcome {
    int64_t time_ms; /* when the scrape was due: the samples' time */
    int64_t duration_ns;
    enum scrape_failure failure;
    struct str body; /* when SCRAPE_OK so far */
};

struct scrape_report {                                    /* what became of it */
    enum scrape_failure failure;                          /* parsing and limits included */
    char reason[160];                                     /* for people: "line 12: ...", empty when fine */
    uint32_t samples_scraped, samples_kept, series_added; /* kept: after metric_relabel_configs */
    bool page_changed;
    bool raw_is_full; /* pipeline_seal_raw, before the next scrape */
};

struct pipeline_sealed {                             /* a part of a closed window, ready to be numbered and spooled */
    struct batch_writer *writer;                     /* owned by who gets it; NULL: there is only the next */
    struct aggregate *aggregate;                     /* part of this window's aggregates, owned likewise; NULL: none */
    int64_t window_start_ms, resolution_ms, span_ms; /* as in the envelope */
    uint64_t targets_expected, targets_answered;     /* 0 but in parts of the default resolution */
    uint64_t failed[SCRAPE_FAILURE_COUNT];  /* targets by how their last scrape failed; SCRAPE_OK: none was yet */
    uint64_t samples_dropped_total;         /* repeated series, impossible times, resets past the bound */
    uint64_t series_folded, series_refused; /* of aggregates: taken in, and what no group took */
};
void pipeline_sealed_done(struct pipeline_sealed *sealed); /* frees what it owns */
typedef void pipeline_sealed_fn(void *arg, struct pipeline_sealed *sealed);

struct pipeline_options {
    struct window_rules *rules; /* a reference is taken */
    uint64_t page_bytes_max;    /* text of pages kept, all together; past it pages are parsed each time */
    pipeline_sealed_fn *sealed;
    void *sealed_arg;
};

struct pipeline *pipeline_new(const struct pipeline_options *options);
void pipeline_free(struct pipeline *pipeline);
DEFINE_CLEANUP(struct pipeline *, pipeline_free)
/* Scrapes of from_ms or later go by these rules. from_ms: a multiple of all resolutions, old and new, later than any
 * scrape so far: so all windows end there, and none of the old rules overlaps one of the new. All targets go by the
 * rules set before. May seal parts without groups, which say that windows of aggregates change their length there. */
void pipeline_set_rules(struct pipeline *pipeline, struct window_rules *rules, int64_t from_ms);

/* interval_ms: how often it is scraped. */
struct pipeline_target *pipeline_target_new(struct pipeline *pipeline, struct labels *labels, int64_t interval_ms,
                                            const struct pipeline_job *job);
/* Without a trace: after pipeline_target_end and the close that followed, or when everything stops. */
void pipeline_target_free(struct pipeline_target *target);
/* Takes in what a scrape gave; up and the scrape_* series are made here. Times of one target rise. May seal a part of
 * its own, when the target holds too many scrapes that are to be kept as they are. */
void pipeline_scrape(struct pipeline_target *target, const struct scrape_outcome *outcome,
                     struct scrape_report *ret_report);
/* The target is no more: all its series get stale markers at time_ms, and one that has none says why. Once. */
void pipeline_target_end(struct pipeline_target *target, int64_t time_ms, enum target_end end);

/* A target whose open beat is over. Of its windows those end that hold the beat and end before its next scrape. */
struct pipeline_closing {
    struct pipeline_target *target;
    int64_t next_due_ms; /* INT64_MAX: never again, all end as they are */
};
/* Closes beat [beat_start, beat_start + B) for these targets, B being the finest resolution in use: the records of
 * windows that end with it go out by `sealed`, in one or more parts per resolution, below BATCH_BYTES_MAX. Only of the
 * default resolution a part is sealed that is empty, so that silence means something. */
void pipeline_close(struct pipeline *pipeline, int64_t beat_start_ms, const struct pipeline_closing *closing,
                    size_t count);
/* Scrapes kept as they are of these targets, all of the default window that holds time_ms, go out before it is over: a
 * batch takes at most BATCH_ROUNDS_MAX of a target. */
void pipeline_seal_raw(struct pipeline *pipeline, const struct pipeline_closing *closing, size_t count,
                       int64_t time_ms);
/* As pipeline_close, of a beat that ends at end_ms and had no targets at all. */
void pipeline_close_idle(struct pipeline *pipeline, int64_t end_ms);

struct pipeline_class { /* series by the resolution they are kept at */
    int64_t resolution_ms;
    bool aggregate;
    uint64_t series;
};
#define PIPELINE_CLASSES_MAX 64 /* that stats tell apart */
struct pipeline_stats {
    uint64_t samples_total, scrapes_total, failures_total, page_changes_total, pages, page_bytes, window_bytes, series;
    uint64_t series_dropped;                /* by rules, now */
    uint64_t decided[WINDOW_RULES_MAX + 8]; /* by rule: series now of which it decides something */
    struct pipeline_class classes[PIPELINE_CLASSES_MAX];
    uint32_t class_count;
    uint64_t rules_waiting; /* targets that still go by the rules before */
};
void pipeline_stats(const struct pipeline *pipeline, struct pipeline_stats *ret_stats);
