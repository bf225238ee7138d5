/* Which layouts are like this one, found by content alone: whoever forwards a layout knows no more of it.
 *
 * A family that is here already points to the page that had it last; one that changed is found by the smallest hashes
 * of its slots (a sketch: of n slots with one replaced, either of the two smallest is still there but with 2 in n^2).
 * Each family speaks for its page with less weight the more pages have it: what a whole fleet shows says nothing of
 * which page this one was. The few that are elected are then compared, by which of the families they have. So it costs
 * some looks per family, and hashing the slots of new ones. */
#include "base/fail.h"
#include "hop/layout_table_internal.h"

#define VOTES_MAX 64 /* pages looked at for one */
/* Of a family that one page alone has; of n pages' the cube of n less: hundreds of families that a fleet has in common
 * do not outvote the few that this host had alone. */
#define VOTE_WEIGHT 65536
#define WEIGHED_MAX 16 /* of those elected are compared with the page, family by family */

/* ---- Sketches ---- */

static void add_to_sketch(uint64_t *sketch, uint64_t value)
{
    value = MAX(value, UINT64_C(1)); /* 0: none */
    if (value == sketch[0])
        return;
    if (sketch[0] == 0 || value < sketch[0]) {
        sketch[1] = sketch[0];
        sketch[0] = value;
    } else if (sketch[1] == 0 || value < sketch[1]) {
        sketch[1] = value;
    }
}

static void sketch_family(const struct layout *family, uint64_t *ret_sketch)
{
    uint64_t head = hash64(family->bytes, family->head_len, LAYOUT_FAMILY);
    for (uint32_t i = 0; i < family->count; i++) {
        struct str slot = layout_slot_bytes(family, i, 1);
        add_to_sketch(ret_sketch, hash64(slot.ptr, slot.len, head));
    }
}

static void sketch_targets(const struct layout *list, uint64_t *ret_sketch)
{
    for (uint32_t i = 0; i < list->count; i++)
        add_to_sketch(ret_sketch, hash64(&(uint64_t){labels_hash(list->targets[i])}, sizeof(uint64_t), LAYOUT_TARGETS));
}

/* The last one noted is who is found. */
static void put_sketch(struct map *map, const uint64_t *sketch, void *item)
{
    for (int i = 0; i < NEAR_SKETCH && sketch[i] != 0; i++) {
        map_remove(map, sketch[i], NULL, NULL);
        map_put(map, sketch[i], item);
    }
}

static void drop_sketch(struct map *map, const uint64_t *sketch, const void *item)
{
    for (int i = 0; i < NEAR_SKETCH && sketch[i] != 0; i++)
        if (map_get(map, sketch[i], NULL, NULL) == item)
            map_remove(map, sketch[i], NULL, NULL);
}

void layout_near_note(struct layout_table *table, struct layout_entry *entry)
{
    const struct layout *layout = entry->layout;
    if (layout->type == LAYOUT_TARGETS) {
        if (entry->sketch[0] == 0)
            sketch_targets(layout, entry->sketch);
        put_sketch(&table->list_sketches, entry->sketch, entry);
        return;
    }
    for (uint32_t i = 0; i < layout->count; i++) {
        struct layout_family *family = layout_family_get(table, layout->families[i]->hash);
        ASSERT(family);
        if (family->sketch[0] == 0)
            sketch_family(family->layout, family->sketch);
        put_sketch(&table->family_sketches, family->sketch, family);
        family->last = entry;
    }
}

void layout_near_forget_family(struct layout_table *table, struct layout_family *family)
{
    drop_sketch(&table->family_sketches, family->sketch, family);
}

void layout_near_forget_targets(struct layout_table *table, struct layout_entry *entry)
{
    drop_sketch(&table->list_sketches, entry->sketch, entry);
    memset(entry->sketch, 0, sizeof(entry->sketch));
}

/* ---- Votes ---- */

struct vote {
    struct layout_entry *entry;
    uint64_t weight;
    uint64_t bytes; /* of the layout that it has, as far as is known */
};

struct votes {
    const struct layout *layout;
    layout_may_fn *may;
    void *arg;
    struct vote items[VOTES_MAX];
    size_t count;
};

static uint64_t weight_of(const struct layout_family *family)
{
    uint64_t pages = MAX(family->pages, 1U);
    return pages < 40 ? VOTE_WEIGHT / (pages * pages * pages) : 1;
}

/* NULL: not to be a base. */
static struct vote *vote_for(struct votes *votes, struct layout_entry *entry, uint64_t weight)
{
    if (!entry || hash128_equal(entry->hash, votes->layout->hash))
        return NULL;
    size_t i = 0;
    while (i < votes->count && votes->items[i].entry != entry)
        i++;
    if (i == votes->count) {
        if (i == VOTES_MAX || !votes->may(votes->arg, entry->hash))
            return NULL;
        votes->items[votes->count++] = (struct vote){.entry = entry};
    }
    votes->items[i].weight += weight;
    return &votes->items[i];
}

/* A family like this one is worth half of it: how much it shares is not known yet. */
static void vote_by_sketch(const struct layout_table *table, struct votes *votes, const struct layout *family)
{
    uint64_t sketch[NEAR_SKETCH] = {0};
    sketch_family(family, sketch);
    for (int i = 0; i < NEAR_SKETCH && sketch[i] != 0; i++) {
        const struct layout_family *like = map_get(&table->family_sketches, sketch[i], NULL, NULL);
        struct vote *vote = like ? vote_for(votes, like->last, weight_of(like)) : NULL;
        if (!vote)
            continue;
        vote->bytes += family->bytes_len / 2;
        return;
    }
}

static void vote_for_pages(const struct layout_table *table, struct votes *votes)
{
    for (uint32_t i = 0; i < votes->layout->count; i++) {
        const struct layout *family = votes->layout->families[i];
        const struct layout_family *known = layout_family_get(table, family->hash);
        if (!known || !vote_for(votes, known->last, weight_of(known)))
            vote_by_sketch(table, votes, family);
    }
}

static void vote_for_targets(const struct layout_table *table, struct votes *votes)
{
    uint64_t sketch[NEAR_SKETCH] = {0};
    sketch_targets(votes->layout, sketch);
    for (int i = 0; i < NEAR_SKETCH && sketch[i] != 0; i++)
        vote_for(votes, map_get(&table->list_sketches, sketch[i], NULL, NULL), VOTE_WEIGHT);
}

/* ---- Those elected ---- */

static bool by_weight(const struct vote *a, const struct vote *b)
{
    return a->weight > b->weight;
}

static bool by_bytes(const struct vote *a, const struct vote *b)
{
    return a->bytes != b->bytes ? a->bytes > b->bytes : a->weight > b->weight;
}

/* The best come first, as many as are wanted; few of few. */
static size_t select_best(struct vote *votes, size_t count, size_t wanted,
                          bool (*better)(const struct vote *, const struct vote *))
{
    wanted = MIN(wanted, count);
    for (size_t i = 0; i < wanted; i++) {
        size_t best = i;
        for (size_t j = i + 1; j < count; j++)
            if (better(&votes[j], &votes[best]))
                best = j;
        struct vote chosen = votes[best];
        votes[best] = votes[i];
        votes[i] = chosen;
    }
    return wanted;
}

/* What each has of the page. */
static void weigh(struct votes *votes, size_t count)
{
    struct map own; /* families of the page by the low half of their hash: that two share it does no harm here */
    map_init(&own);
    for (uint32_t i = 0; i < votes->layout->count; i++) {
        struct layout *family = votes->layout->families[i];
        if (!map_get(&own, hash128_low(family->hash), NULL, NULL))
            map_put(&own, hash128_low(family->hash), family);
    }
    for (size_t v = 0; v < count; v++) {
        const struct layout *page = votes->items[v].entry->layout;
        for (uint32_t i = 0; i < page->count; i++)
            if (map_get(&own, hash128_low(page->families[i]->hash), NULL, NULL))
                votes->items[v].bytes += page->families[i]->bytes_len;
    }
    map_done(&own);
}

size_t layout_near_find(const struct layout_table *table, const struct layout *layout, layout_may_fn *may, void *arg,
                        struct layout_entry *ret_entries[static LAYOUT_BASES_MAX])
{
    struct votes votes = {.layout = layout, .may = may, .arg = arg};
    if (layout->type == LAYOUT_PAGE)
        vote_for_pages(table, &votes);
    else
        vote_for_targets(table, &votes);
    size_t count = select_best(votes.items, votes.count, WEIGHED_MAX, by_weight);
    if (layout->type == LAYOUT_PAGE && count > 1)
        weigh(&votes, count);
    count = select_best(votes.items, count, LAYOUT_BASES_MAX, by_bytes);
    for (size_t i = 0; i < count; i++)
        ret_entries[i] = votes.items[i].entry;
    return count;
}
