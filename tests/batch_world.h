#pragma once
/* Random families, pages, targets and records, the same for the same seed: for tests of the batch, its fuzz target and
 * the golden files. */
#include "base/fail.h"
#include "base/random.h"
#include "hop/batch.h"

#include <stdio.h>

#define WORLD_FAMILIES  16
#define WORLD_PAGES     6
#define WORLD_ITEMS_MAX 1200
#define WORLD_WINDOW_MS INT64_C(1700000040000)
#define WORLD_STEP_MS   INT64_C(60000)

struct world_item {
    uint32_t target, page;
    struct batch_item item;
};

struct world {
    struct random random;
    uint32_t slots_max; /* of a family */
    struct layout *families[WORLD_FAMILIES];
    struct layout *pages[WORLD_PAGES];
    struct layout *page_families[WORLD_PAGES][WORLD_FAMILIES];
    uint32_t page_slots[WORLD_PAGES];
    struct labels *targets[WORLD_ITEMS_MAX];
    uint32_t target_count;
    struct world_item items[WORLD_ITEMS_MAX];
    uint32_t item_count;
};

static inline struct layout *world_family(struct world *world, uint32_t number)
{
    static const enum metric_type types[] = {METRIC_GAUGE, METRIC_COUNTER, METRIC_UNKNOWN, METRIC_HISTOGRAM};
    char name[32], values[64][16];
    struct label labels[64];
    struct layout_slot slots[64];
    uint32_t count = 1 + (uint32_t)random_below(&world->random, world->slots_max);
    snprintf(name, sizeof(name), "family_%u%s", number, number % 3 == 2 ? "_total" : "");
    for (uint32_t i = 0; i < count; i++) {
        snprintf(values[i], sizeof(values[i]), "%u", i);
        labels[i] = (struct label){STR("slot"), str_from(values[i])};
        slots[i] = (struct layout_slot){.labels = &labels[i], .label_count = 1};
    }
    struct layout_family_spec spec = {
        .name = str_from(name), .metric_type = types[number % ARRAY_LEN(types)], .slots = slots, .count = count};
    struct layout *family = layout_family_new(&spec);
    ASSERT(family);
    return family;
}

static inline void world_pages(struct world *world)
{
    for (uint32_t p = 0; p < WORLD_PAGES; p++) {
        uint32_t count = 0, start = (uint32_t)random_below(&world->random, WORLD_FAMILIES);
        for (uint32_t i = 0; i < WORLD_FAMILIES; i++) {
            struct layout *family = world->families[(start + i) % WORLD_FAMILIES];
            if (random_below(&world->random, 3) == 0)
                continue;
            world->page_families[p][count++] = family;
            world->page_slots[p] += family->count;
        }
        world->pages[p] = layout_page_new(world->page_families[p], count);
        ASSERT(world->pages[p]);
    }
}

static inline void world_init(struct world *world, uint64_t seed, uint32_t slots_max)
{
    *world = (struct world){.slots_max = slots_max};
    random_seed(&world->random, seed);
    for (uint32_t f = 0; f < WORLD_FAMILIES; f++)
        world->families[f] = world_family(world, f);
    world_pages(world);
}

static inline double world_value(struct random *random)
{
    static const double odd[] = {0.0, -0.0, 1.8446744073709552e+19, 5e-324, INFINITY, -INFINITY, 9007199254740993.0};
    switch (random_below(random, 9)) {
    case 0:
        return (double)random_below(random, 1000);
    case 1:
        return (double)random_below(random, 1000000) / 100;
    case 2:
        return (double)random_below(random, 1000000) * 0.001;
    case 3:
        return (double)random_below(random, 1 << 20) * 4096;
    case 4:
        return random_unit(random);
    case 5:
        return odd[random_below(random, ARRAY_LEN(odd))];
    case 6:
        return random_below(random, 8) ? 17 : value_stale();
    case 7:
        return random_below(random, 8) ? -(double)random_below(random, 100) : double_from_bits(random_next(random));
    default:
        return 0;
    }
}

static inline struct record world_record(struct world *world, const struct batch_item *item, uint8_t kind)
{
    struct random *random = &world->random;
    struct record record = {.time_ms = item->time_ms, .last = world_value(random), .count = item->count, .kind = kind};
    if (random_below(random, 20) == 0) {
        record.count = (uint32_t)random_below(random, 5);
        record.time_ms -= (int64_t)random_below(random, 90000) - 100;
    }
    if (record.count == 0)
        record.last = value_stale();
    record_fill_constant(&record);
    if (kind == KIND_GAUGE && record.count > 0 && random_below(random, 2)) {
        /* Mostly near the last value, as real ones are. */
        double near = random_below(random, 4) && isfinite(record.last) ? record.last : world_value(random);
        record.min = near - (double)random_below(random, 9);
        record.max = near + (double)random_below(random, 400) / 100;
        record.sum = near * record.count + (double)random_below(random, 9);
        if (random_below(random, 10) == 0)
            record.max = record.sum = world_value(random);
        if (record_is_constant(&record)) /* all NaN, or all equal by chance */
            record_fill_constant(&record);
    }
    return record;
}

static inline void world_add_records(struct world *world, uint32_t page, struct batch_item *item)
{
    struct record *records = mem_array(world->page_slots[page], sizeof(*records));
    struct record_extra *extras = mem_array(3 * (size_t)world->page_slots[page], sizeof(*extras));
    uint32_t slot = 0;
    for (uint32_t f = 0; f < world->pages[page]->count; f++) {
        const struct layout *family = world->page_families[page][f];
        for (uint32_t i = 0; i < family->count; i++, slot++) {
            records[slot] = world_record(world, item, family->slots[i].kind);
            uint64_t count = random_below(&world->random, 15) == 0 ? random_below(&world->random, 4) : 0;
            for (uint64_t e = 0; e < count; e++)
                extras[item->extra_count++] = (struct record_extra){
                    slot, {records[slot].time_ms - 3000 + 1000 * (int64_t)e, world_value(&world->random)}};
        }
    }
    item->records = records;
    item->extras = extras;
}

/* A target with one or two pages, as a secondary's have. */
static inline void world_add_target(struct world *world)
{
    char name[32];
    uint32_t target = world->target_count++;
    snprintf(name, sizeof(name), "host-%u:9100", target);
    struct label labels[] = {{STR("instance"), str_from(name)}, {STR("job"), STR("node")}};
    world->targets[target] = labels_new(labels, 2);
    uint32_t pages = 1 + (uint32_t)random_below(&world->random, 2);
    uint32_t page = (uint32_t)random_below(&world->random, WORLD_PAGES);
    int64_t phase_ms = (int64_t)random_below(&world->random, 15000);
    for (uint32_t i = 0; i < pages; i++, page = (page + 1) % WORLD_PAGES) {
        struct batch_item item = {.target = world->targets[target],
                                  .page = world->pages[page],
                                  .time_ms = WORLD_WINDOW_MS + 45000 + phase_ms,
                                  .count =
                                      random_below(&world->random, 10) ? 4 : (uint32_t)random_below(&world->random, 4)};
        if (item.count == 0 || random_below(&world->random, 10) == 0)
            item.stale_ms = item.time_ms + 1;
        if (item.count > 0)
            world_add_records(world, page, &item);
        world->items[world->item_count++] = (struct world_item){target, page, item};
    }
}

/* The targets once more, in the round after: most records a little further than before, some anything; some targets
 * miss it, or show another page. */
static inline void world_add_round(struct world *world)
{
    struct random *random = &world->random;
    uint32_t count = world->item_count, round = world->items[count - 1].item.round, from = count;
    while (from > 0 && world->items[from - 1].item.round == round)
        from--;
    for (uint32_t i = from; i < count; i++) {
        struct world_item next = world->items[i];
        const struct record *before = next.item.records;
        if (random_below(random, 12) == 0)
            continue;
        bool same = random_below(random, 12) > 0;
        if (!same)
            next.page = (uint32_t)random_below(random, WORLD_PAGES);
        next.item.round = round + 1;
        next.item.page = world->pages[next.page];
        next.item.time_ms += WORLD_STEP_MS;
        next.item.count = random_below(random, 12) ? 4 : 0;
        next.item.stale_ms = next.item.count == 0 ? next.item.time_ms : 0;
        next.item.records = NULL;
        next.item.extras = NULL;
        next.item.extra_count = 0;
        if (next.item.count > 0)
            world_add_records(world, next.page, &next.item);
        struct record *records = (struct record *)next.item.records;
        for (uint32_t slot = 0; records && before && same && slot < world->page_slots[next.page]; slot++) {
            if (random_below(random, 8) == 0 || records[slot].count == 0)
                continue;
            records[slot].last = before[slot].last + (double)random_below(random, 200) / 100;
            record_fill_constant(&records[slot]);
        }
        world->items[world->item_count++] = next;
    }
}

static inline void world_done(struct world *world)
{
    for (uint32_t i = 0; i < world->item_count; i++) {
        mem_free((void *)world->items[i].item.records);
        mem_free((void *)world->items[i].item.extras);
    }
    for (uint32_t i = 0; i < world->target_count; i++)
        labels_unref(world->targets[i]);
    for (uint32_t p = 0; p < WORLD_PAGES; p++)
        layout_unref(world->pages[p]);
    for (uint32_t f = 0; f < WORLD_FAMILIES; f++)
        layout_unref(world->families[f]);
}

static inline struct envelope world_envelope(void)
{
    static const struct reason_count failed[] = {{STR("timeout"), 2}, {STR("connect"), 1}};
    static const struct reason_count dropped[] = {{STR("repeated"), 7}};
    return (struct envelope){.source = {STR("dc1"), STR("rack-7"), 0x1234567890abcdef},
                             .epoch = 3,
                             .seq = 42,
                             .window_start_ms = WORLD_WINDOW_MS,
                             .resolution_ms = WORLD_STEP_MS,
                             .span_ms = WORLD_STEP_MS,
                             .part = 1,
                             .sealed_at_ms = WORLD_WINDOW_MS + 61000,
                             .closed_through_ms = WORLD_WINDOW_MS + WORLD_STEP_MS,
                             .targets_expected = 10,
                             .targets_answered = 7,
                             .failed = failed,
                             .failed_count = 2,
                             .dropped = dropped,
                             .dropped_count = 1};
}
