#pragma once
/* Private to coverage*.c. */
#include "base/map.h"
#include "coverage/coverage.h"
#include "coverage/history.h"

#include <pthread.h>

#define COVERAGE_WORDS_MAX                                                                                             \
    254 /* reasons known by name, two for "other" among them: half of targets, half of samples                         \
         */
#define COVERAGE_WORD_BYTES_MAX 63

struct coverage {
    struct clock *clock;
    pthread_mutex_t lock;     /* guards all below; leaf */
    struct history **sources; /* by datacenter, then name */
    size_t count, capacity;
    struct map by_name;
    char words[COVERAGE_WORDS_MAX][COVERAGE_WORD_BYTES_MAX + 1]; /* enum span_word; empty: none yet */
    size_t word_end;                                             /* words from here on are not used */
    uint64_t position;                                           /* of the log: all up to here is in it */
    int64_t forgot_ms;                                           /* what is before is not stored any more */
    int64_t lost_ms;                                             /* what is before is not known: there was no file */
    bool rebuilding;                                             /* from the log alone */
    int64_t rebuilt_ms;
};

/* NULL past SEQLOG_SOURCES_MAX. Held by the lock; so are all below. */
struct history *coverage_source(struct coverage *coverage, const struct source_id *source);
void coverage_clear(struct coverage *coverage);
uint8_t coverage_word(struct coverage *coverage, struct str text, bool is_dropped);
