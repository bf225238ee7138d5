#pragma once
/* Private to select*.c, label_view.c and sample_reader.c. */
#include "store/label_pairs.h"
#include "store/store_internal.h"

#define SELECT_SLICE 1024 /* series looked at under one hold of a lock, and between two questions whether to go on */

/* A series as the head or one block has it. */
struct select_entry {
    uint32_t key;   /* where its labels stand in select.keys: how many, then the numbers of pairs in order of names */
    uint32_t owner; /* SELECT_HEAD, or of a block its place in select.blocks + 1 */
    uint32_t ref;   /* of the head, or the id in its block */
    uint64_t in;    /* of the head: bit i: it had something in partition i of the select when it was found; 63: in that
                       or later ones. The ref may have been given away since */
};
#define SELECT_HEAD 0

struct select {
    struct store *store;
    struct select_range range;
    struct partition **partitions; /* references: what is cut meanwhile is read here */
    size_t partition_count;
    struct block **blocks; /* references, those that have series */
    size_t block_count;
    struct label_pairs pairs;
    uint32_t *keys;
    size_t key_count, key_capacity;
    struct select_entry *entries; /* in order of labels, then owners */
    size_t entry_count, entry_capacity;
    uint32_t *firsts; /* by series: its first entry; and one behind the last */
    size_t count;
    uint64_t generation; /* of the store, before the search */
    bool series_went;    /* some went while their labels were copied: one may be there twice */
    struct deletion_filter *filter;
    struct select_cursor { /* where select_next is */
        size_t next;
        struct labels *labels;
        struct time_range *deleted;
    } cursor;
    size_t charged_bytes;
    pthread_mutex_t lock; /* guards warnings; leaf */
    struct buf warnings;
};

static inline const struct select_entry *select_entries_of(const struct select *select, size_t index, size_t *ret_count)
{
    *ret_count = select->firsts[index + 1] - select->firsts[index];
    return &select->entries[select->firsts[index]];
}

bool select_is_cancelled(const struct select_range *range);
struct postings_query select_query(const struct matcher *matchers, size_t count, const struct select_range *range);
/* What was read of a block is damaged: set aside, and a warning. Other errors are told. */
void select_damage(struct select *select, struct block *block, int error);
void select_warn(struct select *select, const char *what, int error);

/* select_find.c: fills entries from the head and the blocks. */
MUST_CHECK int select_find(struct select *select, const struct matcher *matchers, size_t count);
