#pragma once
/* What the sources of all datacenters have told, and what they have not: which part of the data an answer can be built
 * on. Filled on the loop from every batch and gap that comes, asked from any thread. What it keeps follows from the
 * log; a file of its own (docs/coverage-format.md) has what is older. */
#include "base/clock.h"
#include "hop/spool.h"

/* A source that was not heard of for so long is not waited for; one that fills in a backlog is. */
#define COVERAGE_ALIVE_MS (15 * 60 * INT64_C(1000))
/* Windows further ahead of our clock are kept in the log, not in the store. */
#define COVERAGE_AHEAD_MS (10 * 60 * INT64_C(1000))
/* Runs of equal windows, 150 bytes each: of all sources, and of each while there are few. */
#define COVERAGE_SPANS_MAX           500000
#define COVERAGE_SPANS_OF_SOURCE_MAX 1024
#define COVERAGE_FILE_BYTES_MAX      (256 * MIB)

struct coverage;
struct json_writer; /* base/json_write.h */

struct coverage *coverage_new(struct clock *clock);
void coverage_free(struct coverage *coverage);
DEFINE_CLEANUP(struct coverage *, coverage_free)

/* ---- What comes; on the loop ---- */

struct coverage_batch {
    uint64_t id;       /* where it stands in the log */
    struct str bytes;  /* the whole batch */
    int64_t heard_ms;  /* when it came, by our clock */
    int64_t oldest_ms; /* the store took windows that end behind this, and at most COVERAGE_AHEAD_MS ahead */
};
/* What came before changes nothing. */
void coverage_take(struct coverage *coverage, const struct coverage_batch *batch);
void coverage_take_gap(struct coverage *coverage, const struct spool_batch *gap);
/* It came, but could not be read to its end. */
void coverage_lose(struct coverage *coverage, const struct spool_batch *batch);
/* Up to here all sources that are alive have told what they had; INT64_MIN: none is. */
int64_t coverage_solid_ms(struct coverage *coverage);
/* Nothing older than this is stored any more. */
void coverage_forget(struct coverage *coverage, int64_t before_ms);

/* ---- Over restarts; see keeper.h ---- */

/* Appends all of it, as bytes. ret_position: up to here it has what the log has. */
void coverage_save(struct coverage *coverage, struct buf *out, uint64_t *ret_position);
/* -EBADMSG: then it is as new. */
MUST_CHECK int coverage_decode(struct coverage *coverage, struct str bytes);
/* There is nothing to decode, and the log that is replayed may not have all: what was before is not known. */
void coverage_rebuild(struct coverage *coverage);
/* The log has been replayed. */
void coverage_loaded(struct coverage *coverage);
/* No position of the log is at or past this one: if what was decoded is, the log was replaced. */
void coverage_log_ends(struct coverage *coverage, uint64_t end);
/* What the log has up to here it knows already. */
uint64_t coverage_position(const struct coverage *coverage);

/* ---- What an answer says; from any thread ---- */

struct coverage_range {
    int64_t start_ms, end_ms;                                /* start > end: nothing */
    bool (*touches)(const void *arg, struct str datacenter); /* NULL: all */
    const void *arg;
};
/* One value: the object `coverage` of an answer; and a line (with \n) into warnings for each datacenter that lacks
 * something. */
void coverage_write(void *coverage, const struct coverage_range *range, struct json_writer *json, struct buf *warnings);
/* One value: an array with all that is known of each source. */
void coverage_write_sources(void *coverage, const struct coverage_range *range, struct json_writer *json);
