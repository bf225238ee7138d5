#pragma once
/* Private to page_*.c: a page in the making. Series come one by one, rules decide to which class of windows each
 * belongs, and the page is made with a part per class. */
#include "base/arena.h"
#include "base/map.h"
#include "page_make.h"

struct plan_group;

struct plan_family { /* name, help and type may be set until the page is made */
    struct str name, help;
    enum metric_type type;
    struct plan_group *groups;
};

struct plan_place { /* where a series will stand */
    uint32_t group;
    uint32_t index; /* PAGE_SLOT_NONE: nowhere */
};

struct page_plan {
    const struct window_rules *rules;
    const struct labels *target;
    struct arena *arena;
    struct map family_map;      /* struct plan_family, by name */
    struct map slot_map;        /* to notice repeated series */
    struct plan_group **groups; /* in the order of their first series */
    uint32_t group_count, group_capacity;
    struct window_class *classes; /* the first is the default one */
    uint32_t class_count;
    uint32_t kept, repeated, dropped; /* series; dropped by a rule */
    uint32_t *decided;                /* by rule */
};

void page_plan_init(struct page_plan *plan, const struct window_rules *rules, const struct labels *target,
                    struct arena *arena);
void page_plan_done(struct page_plan *plan);
struct plan_family *page_plan_find(const struct page_plan *plan, struct str name); /* NULL: there is none */
struct plan_family *page_plan_family(struct page_plan *plan, struct str name);     /* NULL: the arena is full */
/* labels: all that differ from the target's, __name__ among them, in any order. False: the arena is full. */
bool page_plan_add(struct page_plan *plan, struct plan_family *family, const struct label *labels, uint32_t count,
                   struct plan_place *ret_place);
/* NULL past a limit of layouts. */
struct page *page_plan_make(struct page_plan *plan, struct page_cache *cache);
/* Once the page is made: the place of the series' value, or PAGE_SLOT_NONE. */
uint32_t page_plan_slot(const struct page_plan *plan, struct plan_place place);
