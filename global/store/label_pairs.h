#pragma once
/* The labels of many series as numbers: each pair of name and value stands once. What is equal has equal numbers, so
 * series are compared, ordered and grouped without looking at texts. One thread while it is filled. */
#include "base/arena.h"
#include "base/map.h"
#include "metric/labels.h"

struct label_pairs {
    struct arena arena;
    struct label *items;
    uint32_t count, capacity;
    struct map by_text;
};

void label_pairs_init(struct label_pairs *pairs);
void label_pairs_done(struct label_pairs *pairs);
/* The number of a pair; its texts are copied when it is new. */
uint32_t label_pairs_number(struct label_pairs *pairs, struct label label);
/* Numbers all pairs anew, so that numbers are in the order of names, then values; ret_new: by old number, to be freed
 * by mem_free. No pair is added later. */
void label_pairs_sort(struct label_pairs *pairs, uint32_t **ret_new);
size_t label_pairs_bytes(const struct label_pairs *pairs);

/* From other numbers of pairs (of the head's index, of a block's symbols) to these. Zeroed is empty. */
struct pair_numbers {
    struct pair_number {
        uint64_t key; /* + 1; 0: a free place */
        uint32_t number;
    } * slots;
    size_t count, capacity; /* a power of two */
};
#define PAIR_NUMBER_NONE UINT32_MAX
uint32_t pair_numbers_get(const struct pair_numbers *numbers, uint64_t key);        /* PAIR_NUMBER_NONE: not there */
void pair_numbers_put(struct pair_numbers *numbers, uint64_t key, uint32_t number); /* of a key that is not there */
void pair_numbers_done(struct pair_numbers *numbers);
