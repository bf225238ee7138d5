#pragma once
/* From a remote write request to batches of plain samples (resolution 0), as a secondary makes them. Belongs to one
 * thread: what it keeps between requests are metadata, pages and the numbers of batches. */
#include "hop/batch.h"
#include "write/pages.h"
#include "write/series.h"

#define CONVERT_BODY_BYTES_MAX (16 * MIB) /* of a request as it comes; vmagent and Prometheus stay below 8 MiB */
#define CONVERT_RAW_BYTES_MAX  (32 * MIB) /* after snappy, as VictoriaMetrics and Prometheus take it */
#define CONVERT_SERIES_MAX     262144     /* of one request; vmagent sends 10,000, Prometheus 500 to 2,000 */
#define CONVERT_SAMPLES_MAX    1000000
#define CONVERT_TEXT_BYTES     512

struct convert_options {
    uint64_t incarnation, epoch; /* of the sources that the batches name */
    int64_t age_max_ms, ahead_max_ms;
};

struct convert_request {
    struct str body;    /* a snappy block */
    const char *source; /* name of the pseudo-source, and its */
    const char *datacenter;
    bool honor_datacenter; /* the series' own stays, and none is set where there is none */
    int64_t now_ms;
};

struct convert_batch {
    struct buf bytes;
    struct envelope envelope; /* names are views of the request, hashes are owned */
    struct layout **layouts;  /* what envelope_layout_at names, references */
};

struct convert_counts {
    uint64_t raw_bytes, series, samples, refused[REFUSAL_COUNT], exemplars, histograms, metadata;
};

struct convert_result {
    struct convert_batch *batches;
    size_t batch_count;
    struct convert_counts counts;  /* samples: those in the batches */
    char text[CONVERT_TEXT_BYTES]; /* of the first refusal */
};

struct convert;
struct convert *convert_new(const struct convert_options *options);
void convert_free(struct convert *convert);
DEFINE_CLEANUP(struct convert *, convert_free)
/* -EBADMSG: no remote write request, nothing of it is taken. -EMSGSIZE: past a limit, the same. Samples that may not be
 * taken are counted, the rest is in the batches. */
MUST_CHECK int convert_run(struct convert *convert, const struct convert_request *request,
                           struct convert_result *ret_result);
void convert_result_done(struct convert_result *result);
uint64_t convert_refused(const struct convert_counts *counts); /* samples, for all reasons */
