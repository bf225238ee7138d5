#include "store/label_pairs.h"

#include "base/fail.h"

#include <stdlib.h>

void label_pairs_init(struct label_pairs *pairs)
{
    *pairs = (struct label_pairs){0};
    arena_init(&pairs->arena, 0); /* who fills it asks label_pairs_bytes */
    map_init(&pairs->by_text);
}

void label_pairs_done(struct label_pairs *pairs)
{
    mem_free(pairs->items);
    map_done(&pairs->by_text);
    arena_done(&pairs->arena);
    *pairs = (struct label_pairs){0};
}

struct pair_key {
    const struct label_pairs *pairs;
    const struct label *label;
};

/* The map's items are numbers + 1: pointers into `items` would not survive its growth. */
static bool is_pair(const void *item, const void *key)
{
    const struct pair_key *wanted = key;
    const struct label *label = &wanted->pairs->items[(uintptr_t)item - 1];
    return str_equal(label->value, wanted->label->value) && str_equal(label->name, wanted->label->name);
}

uint32_t label_pairs_number(struct label_pairs *pairs, struct label label)
{
    struct pair_key key = {pairs, &label};
    uint64_t hash = str_hash(label.value) ^ str_hash(label.name) << 1;
    uintptr_t found = (uintptr_t)map_get(&pairs->by_text, hash, is_pair, &key);
    if (found) {
        return (uint32_t)(found - 1);
    }
    if (pairs->count == pairs->capacity) {
        pairs->capacity = 2 * pairs->capacity + 64;
        pairs->items = mem_resize(pairs->items, pairs->capacity, sizeof(*pairs->items));
    }
    pairs->items[pairs->count++] =
        (struct label){arena_str(&pairs->arena, label.name), arena_str(&pairs->arena, label.value)};
    map_put(&pairs->by_text, hash, (void *)(uintptr_t)pairs->count); // NOLINT: a number
    return pairs->count - 1;
}

struct place {
    struct label label;
    uint32_t number;
};

static int compare_places(const void *a, const void *b)
{
    const struct label *x = &((const struct place *)a)->label, *y = &((const struct place *)b)->label;
    int order = str_compare(x->name, y->name);
    return order != 0 ? order : str_compare(x->value, y->value);
}

void label_pairs_sort(struct label_pairs *pairs, uint32_t **ret_new)
{
    CLEANUP_FREE struct place *places = mem_array(pairs->count, sizeof(*places));
    uint32_t *numbers = mem_array(pairs->count, sizeof(*numbers));
    for (uint32_t i = 0; i < pairs->count; i++) {
        places[i] = (struct place){pairs->items[i], i};
    }
    if (pairs->count > 1) {
        qsort(places, pairs->count, sizeof(*places), compare_places);
    }
    for (uint32_t i = 0; i < pairs->count; i++) {
        pairs->items[i] = places[i].label;
        numbers[places[i].number] = i;
    }
    map_clear(&pairs->by_text);
    *ret_new = numbers;
}

size_t label_pairs_bytes(const struct label_pairs *pairs)
{
    return pairs->arena.used_bytes + pairs->capacity * sizeof(*pairs->items) + map_bytes(&pairs->by_text);
}

/* ---- Numbers ---- */

/* The place of a key, or the free one where it would go. Keys are dense numbers or two of them side by side: they are
 * spread by a multiplication. */
static struct pair_number *slot_of(const struct pair_numbers *numbers, uint64_t key)
{
    size_t mask = numbers->capacity - 1;
    size_t at = (size_t)((key + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 32) & mask;
    while (numbers->slots[at].key != 0 && numbers->slots[at].key != key + 1) {
        at = (at + 1) & mask;
    }
    return &numbers->slots[at];
}

uint32_t pair_numbers_get(const struct pair_numbers *numbers, uint64_t key)
{
    if (numbers->capacity == 0) {
        return PAIR_NUMBER_NONE;
    }
    const struct pair_number *slot = slot_of(numbers, key);
    return slot->key != 0 ? slot->number : PAIR_NUMBER_NONE;
}

static void grow(struct pair_numbers *numbers)
{
    struct pair_numbers larger = {.capacity = MAX(2 * numbers->capacity, (size_t)256)};
    larger.slots = mem_array(larger.capacity, sizeof(*larger.slots));
    for (size_t i = 0; i < numbers->capacity; i++) {
        if (numbers->slots[i].key != 0) {
            *slot_of(&larger, numbers->slots[i].key - 1) = numbers->slots[i];
        }
    }
    larger.count = numbers->count;
    mem_free(numbers->slots);
    *numbers = larger;
}

void pair_numbers_put(struct pair_numbers *numbers, uint64_t key, uint32_t number)
{
    ASSERT(key != UINT64_MAX);
    if (2 * (numbers->count + 1) > numbers->capacity) {
        grow(numbers);
    }
    *slot_of(numbers, key) = (struct pair_number){key + 1, number};
    numbers->count++;
}

void pair_numbers_done(struct pair_numbers *numbers)
{
    mem_free(numbers->slots);
    *numbers = (struct pair_numbers){0};
}
