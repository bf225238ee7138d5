#pragma once
/* Private to convert*.c.
 *
 *   convert.c         what is kept between requests; the steps of one
 *   convert_take.c    a request's series and samples, or why they are refused
 *   convert_batches.c what was taken becomes pages, items, batches */
#include "base/arena.h"
#include "base/map.h"
#include "write/convert.h"

/* Of one series: its labels as they are hashed. */
#define CONVERT_KEY_BYTES_MAX                                                                                          \
    ((SERIES_LABELS_MAX + 4) * (SERIES_LABEL_NAME_BYTES_MAX + SERIES_LABEL_VALUE_BYTES_MAX + (size_t)8))

struct taken { /* a TimeSeries message of the request */
    struct pages_series series;
    uint32_t target;
    uint32_t order; /* in the request: of two samples of one time the first counts */
    uint32_t first_sample, sample_count;
};

struct target {
    struct hash128 hash;
    struct labels *labels;
};

struct sequence { /* numbers of one source's batches */
    char datacenter[SOURCE_NAME_BYTES_MAX + 1], source[SOURCE_NAME_BYTES_MAX + 1];
    uint64_t last;
};

struct convert {
    struct convert_options options;
    struct metadata *metadata;
    struct pages *pages;
    struct batch_writer *writer;
    struct sequence *sequences;
    size_t sequence_count;
    struct buf key;       /* scratch: labels as they are hashed */
    struct arena scratch; /* of a page; no more than the request's samples */
    /* Of the request at hand. */
    const struct convert_request *request;
    struct convert_result *result;
    struct str datacenter; /* that all series get, or empty */
    struct taken *taken;
    size_t taken_count, taken_capacity;
    struct sample *samples;
    size_t sample_count, sample_capacity;
    struct target *targets;
    size_t target_count, target_capacity;
    struct map target_map;  /* index + 1 */
    int64_t from_ms, to_ms; /* of the batch being written */
};

/* All series and samples of the request. -EBADMSG, -EMSGSIZE: nothing may be kept of it. */
MUST_CHECK int convert_take(struct convert *convert, struct str raw);
void convert_refuse(struct convert *convert, enum refusal refusal, uint64_t samples, const char *what);
/* What was taken, as batches of the result. -EMSGSIZE. */
MUST_CHECK int convert_batches(struct convert *convert);
/* Where the last number of the request's source is kept. NULL: there are too many sources. */
uint64_t *convert_last_seq(struct convert *convert);
