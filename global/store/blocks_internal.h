#pragma once
/* The struct behind blocks.h, for blocks*.c. */
#include "store/blocks.h"
#include "store/blocks_catalog.h"

#include <pthread.h>

#define BLOCKS_EVENTS_MAX 1000 /* waiting to be told; past it they are counted only */

struct blocks_item { /* one that is served */
    struct block *block;
    int64_t checked_ms;
};

struct blocks_items {
    struct blocks_item *items; /* by (min time, ulid) */
    size_t count;
};

struct blocks_leaving { /* on its way out */
    struct ulid ulid;
    struct block *block; /* a reference until nobody else has one; NULL: nobody can */
    bool damaged;        /* lies in damaged/ */
};

struct blocks_event {
    struct blocks_event *next;
    char text[];
};

struct blocks {
    struct file_system *fs;
    struct clock *clock;
    char *blocks_dir, *aggregates_dir, *damaged_dir, *damaged_aggregates_dir, *catalog_path;
    struct block_dirs dirs;
    struct block_dirs damaged_dirs; /* damaged/ has the same shape */

    /* One change at a time: held during its I/O, taken before `lock`. Guards `leaving` and `unwritten`; who holds it
     * may read the other lists without `lock`. */
    pthread_mutex_t change;
    struct blocks_leaving *leaving;
    _Atomic size_t leaving_count; /* for figures read without the lock */
    size_t leaving_capacity;
    bool unwritten; /* blocks.json on disk may not be what is in memory: nothing is deleted until it is written */

    pthread_mutex_t lock; /* guards all below; no I/O under it */
    struct blocks_items served;
    struct blocks_record *damaged; /* in no order */
    size_t damaged_count, damaged_capacity;
    struct blocks_event *events, **events_end;
    size_t event_count, events_lost;
    void (*event_fn)(void *arg, const char *text);
    void *event_arg;
    uint64_t published_total, replaced_total, set_aside_total, scrubbed_total;
};

int blocks_item_compare(const void *a, const void *b);
struct blocks_record blocks_record_of(const struct blocks_item *item);
void blocks_add_damaged(struct blocks *blocks, const struct blocks_record *record); /* takes `lock` */
void blocks_add_leaving(struct blocks *blocks, const struct ulid *ulid, struct block *block, bool damaged);
/* Of `served` and the other lists as they are. Sets `unwritten` on failure. */
MUST_CHECK int blocks_write_catalog(struct blocks *blocks, const struct blocks_items *served);
void blocks_print_catalog(const struct blocks *blocks, const struct blocks_items *served, struct buf *out);
/* To damaged/, and back. */
MUST_CHECK int blocks_move_aside(struct blocks *blocks, const struct ulid *ulid);
MUST_CHECK int blocks_move_back(struct blocks *blocks, const struct ulid *ulid);
/* With `change` held: what was examined is damaged, for this reason; or it is whole, and served again. */
void blocks_explain_locked(struct blocks *blocks, const struct ulid *ulid, const char *reason);
void blocks_put_back_locked(struct blocks *blocks, const struct ulid *ulid);
void blocks_sweep_locked(struct blocks *blocks);
void blocks_tell(struct blocks *blocks, const char *format, ...) PRINTF_LIKE(2, 3); /* an event, to be told later */
void blocks_tell_all(struct blocks *blocks);                                        /* no lock held */

/* "block ULID of A to B" */
#define BLOCKS_NAME_BYTES 128
void blocks_name(const struct ulid *ulid, int64_t min_time_ms, int64_t max_time_ms,
                 char ret_text[static BLOCKS_NAME_BYTES]);
void blocks_format_time(int64_t time_ms, char ret_text[static 32]);
