#pragma once
/* Private to select*.c and sample_reader.c. */
#include "store/store_internal.h"

#define SELECT_SLICE 1024 /* series looked at under one hold of a lock, and between two questions whether to go on */

/* A series of the head that matched. The ref may have been given away since; then other labels live there. */
struct select_item {
    struct labels *labels;
    uint64_t in; /* bit i: it had something in partition i of the select when it was found; 63: in that or later ones */
    series_ref ref;
    uint8_t kind;
};

/* What one block has: ids that matched, read one after the other. */
struct select_part {
    struct block *block;
    struct block_cursor *cursor;
    uint32_t *ids;
    size_t count, next;
    bool has; /* series is the one that comes next */
    bool is_current;
    struct block_series series;
};

struct select {
    struct store *store;
    struct select_range range;
    struct partition **partitions; /* references: what is cut meanwhile is read here */
    size_t partition_count;
    struct select_item *items;
    size_t count, next;
    struct select_part *parts;
    size_t part_count;
    struct deletion_filter *filter;
    struct time_range *deleted; /* of the current series; room for DELETIONS_MAX, where there is a filter */
    size_t deleted_count;
    struct select_item *current; /* of the head, or NULL */
    struct labels *labels;       /* of the current series: a reference */
    struct buf warnings;
};

bool select_is_cancelled(const struct select_range *range);
struct postings_query select_query(const struct matcher *matchers, size_t count, const struct select_range *range);
/* What was read of a block is damaged: set aside, and a warning. Other errors are told. */
void select_damage(struct select *select, struct block *block, int error);
