#include "fold.h"

#include "base/fail.h"
#include "metric/record.h"

enum { FOLD_SEEN = 1, FOLD_KNOWN = 2 }; /* in this window; `last` is the value before */

struct folded {
    double last;
    double low; /* gauges: the least; counters: the increase */
    double high;
};

struct side {        /* of a slot, in a window in which the page changed */
    uint32_t missed; /* scrapes of the window without it */
    int64_t first_ms;
};

struct sheet { /* accumulators of a page */
    struct page *page;
    struct folded *slots;
    uint8_t *flags;
    struct side *sides; /* NULL in most windows: all slots were there from the first scrape on */
};

struct span { /* a member's scrapes in this window */
    uint32_t count;
    int64_t first_ms, last_ms;
};

struct away { /* a member that is not on the page shown; one block with its labels */
    struct folded folded;
    struct span span;
    uint64_t hash;
    size_t bytes;
    struct str name;
    struct layout_slot slot; /* __name__ is not among its labels */
    uint8_t flags;
    uint8_t windows; /* whole ones without it */
};

struct fold {
    struct page_cache *cache;
    struct sheet shown; /* page NULL: nothing yet */
    struct map away;    /* struct away */
    size_t away_bytes;
    bool full;        /* it was once in this window: only what was seen in it stands aside then */
    uint64_t refused; /* members of this window that are given up */
    uint32_t count;   /* scrapes in this window */
    int64_t first_ms, last_ms;
};

struct fold *fold_new(struct page_cache *cache)
{
    struct fold *fold = mem_zalloc(sizeof(*fold));
    fold->cache = cache;
    map_init(&fold->away);
    return fold;
}

static void sheet_done(struct fold *fold, struct sheet *sheet)
{
    page_unref(fold->cache, sheet->page);
    mem_free(sheet->slots);
    mem_free(sheet->flags);
    mem_free(sheet->sides);
}

void fold_free(struct fold *fold)
{
    if (!fold)
        return;
    size_t at = 0;
    for (struct away *away; (away = map_next(&fold->away, &at));)
        mem_free(away);
    map_done(&fold->away);
    sheet_done(fold, &fold->shown);
    mem_free(fold);
}

size_t fold_bytes(const struct fold *fold)
{
    const struct sheet *shown = &fold->shown;
    size_t slot_bytes = sizeof(*shown->slots) + 1 + (shown->sides ? sizeof(*shown->sides) : 0);
    size_t slots = shown->page ? shown->page->slot_count : 0;
    return sizeof(*fold) + slots * slot_bytes + map_bytes(&fold->away) + fold->away_bytes;
}

struct page *fold_page(const struct fold *fold)
{
    return fold->shown.page;
}

bool fold_is_open(const struct fold *fold)
{
    return fold->count > 0 || fold->away.count > 0;
}

static struct span span_of(const struct fold *fold, const struct sheet *sheet, uint32_t slot)
{
    if (!sheet->sides)
        return (struct span){fold->count, fold->first_ms, fold->last_ms};
    const struct side *side = &sheet->sides[slot];
    return (struct span){fold->count - side->missed, side->first_ms, fold->last_ms};
}

/* ---- Members that are not on the page shown ---- */

struct member { /* which one: the same in whichever family of a page it stands */
    struct str name;
    const struct layout_slot *slot;
};

static bool is_name(const struct label *label)
{
    return str_equal(label->name, STR(LABEL_NAME));
}

static struct member member_of(const struct layout *family, const struct layout_slot *slot)
{
    for (uint32_t i = 0; i < slot->label_count; i++)
        if (is_name(&slot->labels[i]))
            return (struct member){slot->labels[i].value, slot};
    return (struct member){family->name, slot};
}

static uint64_t member_hash(const struct member *member)
{
    uint64_t hash = str_hash(member->name) + member->slot->kind;
    for (uint32_t i = 0; i < member->slot->label_count; i++) {
        const struct label *label = &member->slot->labels[i];
        if (!is_name(label))
            hash = hash64(label->value.ptr, label->value.len, hash64(label->name.ptr, label->name.len, hash));
    }
    return hash;
}

static bool is_member(const void *item, const void *key)
{
    const struct away *away = item;
    const struct member *member = key;
    uint32_t count = 0;
    if (away->slot.kind != member->slot->kind || !str_equal(away->name, member->name))
        return false;
    for (uint32_t i = 0; i < member->slot->label_count; i++) {
        const struct label *label = &member->slot->labels[i];
        if (is_name(label))
            continue;
        if (count == away->slot.label_count || !str_equal(away->slot.labels[count].name, label->name) ||
            !str_equal(away->slot.labels[count].value, label->value))
            return false;
        count++;
    }
    return count == away->slot.label_count;
}

static size_t bytes_away(const struct member *member)
{
    size_t bytes = sizeof(struct away) + member->name.len;
    for (uint32_t i = 0; i < member->slot->label_count; i++) {
        const struct label *label = &member->slot->labels[i];
        bytes += is_name(label) ? 0 : sizeof(*label) + label->name.len + label->value.len;
    }
    return bytes;
}

static struct str copy_text(char **at, struct str text)
{
    char *copy = *at;
    if (text.len > 0)
        memcpy(copy, text.ptr, text.len);
    *at += text.len;
    return str_of(copy, text.len);
}

/* A copy, as the layout that holds the labels now may be a large one and used by nothing else. */
static struct away *away_new(const struct member *member)
{
    size_t bytes = bytes_away(member);
    struct away *away = mem_zalloc(bytes);
    struct label *labels = (struct label *)(away + 1);
    uint32_t count = 0, from = 0;
    for (uint32_t i = 0; i < member->slot->label_count; i++)
        count += !is_name(&member->slot->labels[i]);
    char *text = (char *)(labels + count);
    away->bytes = bytes;
    away->hash = member_hash(member);
    away->name = copy_text(&text, member->name);
    for (uint32_t i = 0; i < count; i++, from++) {
        from += is_name(&member->slot->labels[from]);
        labels[i].name = copy_text(&text, member->slot->labels[from].name);
        labels[i].value = copy_text(&text, member->slot->labels[from].value);
    }
    away->slot = (struct layout_slot){.labels = labels, .label_count = (uint16_t)count, .kind = member->slot->kind};
    return away;
}

static bool is_seen(const struct away *away)
{
    return away->flags & FOLD_SEEN;
}

static bool is_recent(const struct away *away)
{
    return away->slot.kind == KIND_COUNTER && away->flags & FOLD_KNOWN && away->windows <= FOLD_AWAY_WINDOWS;
}

static void keep_away(struct fold *fold, bool (*is_kept)(const struct away *away))
{
    struct map kept;
    map_init(&kept);
    size_t at = 0;
    for (struct away *away; (away = map_next(&fold->away, &at));) {
        if (is_kept(away)) {
            map_put(&kept, away->hash, away);
        } else {
            fold->away_bytes -= away->bytes;
            mem_free(away);
        }
    }
    map_done(&fold->away);
    fold->away = kept;
}

/* The member in this slot is not on the next page. */
static void go_away(struct fold *fold, const struct sheet *sheet, uint32_t slot, const struct member *member)
{
    uint8_t flags = sheet->flags[slot];
    bool seen = flags & FOLD_SEEN;
    if (!seen && (fold->full || !(flags & FOLD_KNOWN) || member->slot->kind != KIND_COUNTER))
        return;
    size_t bytes = bytes_away(member);
    if (fold->away_bytes + bytes > FOLD_AWAY_BYTES_MAX && seen && !fold->full) {
        keep_away(fold, is_seen);
        fold->full = true;
    }
    if (fold->away_bytes + bytes > FOLD_AWAY_BYTES_MAX) {
        fold->refused += seen;
        return;
    }
    struct away *away = away_new(member);
    away->folded = sheet->slots[slot];
    away->flags = flags;
    if (seen)
        away->span = span_of(fold, sheet, slot);
    map_put(&fold->away, away->hash, away);
    fold->away_bytes += away->bytes;
}

/* Goes on where it was, if it was there. */
static void come_back(struct fold *fold, uint32_t slot, const struct member *member)
{
    struct sheet *shown = &fold->shown;
    struct away *away = map_remove(&fold->away, member_hash(member), is_member, member);
    if (!away)
        return;
    shown->slots[slot] = away->folded;
    shown->flags[slot] = away->flags;
    if (is_seen(away))
        shown->sides[slot] = (struct side){fold->count - away->span.count, away->span.first_ms};
    fold->away_bytes -= away->bytes;
    mem_free(away);
}

/* ---- Another page ---- */

static struct sheet sheet_of(const struct fold *fold, struct page *page, int64_t time_ms)
{
    struct sheet sheet = {.page = page_ref(page),
                          .slots = mem_array(page->slot_count, sizeof(*sheet.slots)),
                          .flags = mem_array(page->slot_count, 1)};
    if (fold->count == 0)
        return sheet;
    sheet.sides = mem_array(page->slot_count, sizeof(*sheet.sides));
    for (uint32_t i = 0; i < page->slot_count; i++)
        sheet.sides[i] = (struct side){fold->count, time_ms};
    return sheet;
}

static void move_slot(const struct fold *fold, const struct sheet *old, uint32_t from, struct sheet *next, uint32_t to)
{
    next->slots[to] = old->slots[from];
    next->flags[to] = old->flags[from];
    if (next->sides)
        next->sides[to] = old->sides ? old->sides[from] : (struct side){0, fold->first_ms};
}

static void leave_sheet(struct fold *fold, const struct sheet *old)
{
    struct sheet *shown = &fold->shown;
    CLEANUP_FREE uint32_t *to = mem_array(old->page->slot_count, sizeof(*to));
    page_match(old->page, shown->page, to);
    uint32_t at = 0;
    for (uint32_t f = 0; f < old->page->family_count; f++) {
        const struct layout *family = old->page->families[f];
        for (uint32_t i = 0; i < family->count; i++, at++) {
            if (to[at] != PAGE_SLOT_NONE && shown->page->kinds[to[at]] == old->page->kinds[at]) {
                move_slot(fold, old, at, shown, to[at]);
                continue;
            }
            const struct member member = member_of(family, &family->slots[i]);
            go_away(fold, old, at, &member);
        }
    }
}

static void enter_sheet(struct fold *fold)
{
    const struct sheet *shown = &fold->shown;
    uint32_t at = 0;
    for (uint32_t f = 0; f < shown->page->family_count && fold->away.count > 0; f++) {
        const struct layout *family = shown->page->families[f];
        for (uint32_t i = 0; i < family->count; i++, at++) {
            if (shown->flags[at])
                continue;
            const struct member member = member_of(family, &family->slots[i]);
            come_back(fold, at, &member);
        }
    }
}

static void change_page(struct fold *fold, struct page *page, int64_t time_ms)
{
    struct sheet old = fold->shown;
    /* The same series in the same places: what changed is among those that are not folded here. */
    if (old.page && hash128_equal(old.page->layout->hash, page->layout->hash)) {
        fold->shown.page = page_ref(page);
        page_unref(fold->cache, old.page);
        return;
    }
    fold->shown = sheet_of(fold, page, time_ms);
    if (old.page)
        leave_sheet(fold, &old);
    enter_sheet(fold);
    sheet_done(fold, &old);
}

/* ---- Values ---- */

/* What a counter rose by: all it shows after it fell, as rate() has it. */
static double risen(double before, double value)
{
    return value < before ? value : sum_add(value, -before);
}

static void add_counter(struct folded *slot, uint8_t *flags, double value)
{
    if (!isfinite(value))
        return;
    double so_far = *flags & FOLD_SEEN ? slot->low : 0;
    double sum = *flags & FOLD_KNOWN ? sum_add(so_far, risen(slot->last, value)) : so_far;
    slot->low = isfinite(sum) ? sum : so_far; /* what no double holds is no increase */
    slot->last = value;
    *flags = FOLD_SEEN | FOLD_KNOWN;
}

static void add_gauge(struct folded *slot, uint8_t *flags, double value)
{
    bool first = !(*flags & FOLD_SEEN);
    if (first || value < slot->low || isnan(slot->low))
        slot->low = value;
    if (first || value > slot->high || isnan(slot->high))
        slot->high = value;
    slot->last = value;
    *flags = FOLD_SEEN | FOLD_KNOWN;
}

void fold_add(struct fold *fold, struct page *page, const struct page_values *values, int64_t time_ms)
{
    if (fold->shown.page != page)
        change_page(fold, page, time_ms);
    for (uint32_t i = 0; i < page->slot_count; i++) {
        if (page->kinds[i] == KIND_COUNTER)
            add_counter(&fold->shown.slots[i], &fold->shown.flags[i], values->values[i]);
        else
            add_gauge(&fold->shown.slots[i], &fold->shown.flags[i], values->values[i]);
    }
    if (fold->count++ == 0)
        fold->first_ms = time_ms;
    fold->last_ms = time_ms;
}

/* ---- Closing ---- */

struct closing {
    const struct labels *target;
    struct aggregate *aggregate;
    struct str names[WINDOW_RULE_BY_MAX + 3];
    struct str values[WINDOW_RULE_BY_MAX + 3];
    size_t count;
};

static void read_names(struct closing *closing, const struct window_rule *rule)
{
    static const struct str always[] = {{LABEL_NAME, sizeof(LABEL_NAME) - 1}, {"le", 2}, {"quantile", 8}};
    for (size_t i = 0; i < ARRAY_LEN(always); i++)
        closing->names[closing->count++] = always[i];
    for (size_t i = 0; i < rule->by_count; i++)
        if (strcmp(rule->by[i], "le") != 0 && strcmp(rule->by[i], "quantile") != 0)
            closing->names[closing->count++] = str_from(rule->by[i]);
}

static struct str value_of(const struct closing *closing, const struct member *member, struct str name)
{
    if (str_equal(name, STR(LABEL_NAME)))
        return member->name;
    for (uint32_t i = 0; i < member->slot->label_count; i++)
        if (str_equal(member->slot->labels[i].name, name))
            return member->slot->labels[i].value;
    return labels_get(closing->target, name);
}

static void close_member(struct closing *closing, const struct member *member, const struct folded *folded,
                         const struct span *span)
{
    for (size_t i = 0; i < closing->count; i++)
        closing->values[i] = value_of(closing, member, closing->names[i]);
    bool counter = member->slot->kind == KIND_COUNTER;
    const struct aggregate_key key = {closing->names, closing->values, closing->count};
    const struct aggregate_cell cell = {.kind = counter ? KIND_COUNTER : KIND_GAUGE,
                                        .sum = counter ? folded->low : folded->last,
                                        .min = counter ? 0 : folded->low,
                                        .max = counter ? 0 : folded->high,
                                        .members = 1,
                                        .count = span->count,
                                        .first_ms = span->first_ms,
                                        .last_ms = span->last_ms};
    aggregate_add(closing->aggregate, &key, &cell);
}

static void close_shown(struct closing *closing, const struct fold *fold)
{
    const struct sheet *shown = &fold->shown;
    uint32_t at = 0;
    for (uint32_t f = 0; f < shown->page->family_count; f++) {
        const struct layout *family = shown->page->families[f];
        for (uint32_t i = 0; i < family->count; i++, at++) {
            if (!(shown->flags[at] & FOLD_SEEN))
                continue;
            const struct member member = member_of(family, &family->slots[i]);
            const struct span span = span_of(fold, shown, at);
            close_member(closing, &member, &shown->slots[at], &span);
        }
    }
}

static void close_away(struct closing *closing, const struct fold *fold)
{
    size_t at = 0;
    for (const struct away *away; (away = map_next(&fold->away, &at));) {
        const struct member member = {away->name, &away->slot};
        if (is_seen(away))
            close_member(closing, &member, &away->folded, &away->span);
    }
}

/* A window without a scrape is none that a member was missing in. */
static void begin_next(struct fold *fold)
{
    size_t at = 0;
    for (struct away *away; (away = map_next(&fold->away, &at));) {
        away->windows += !is_seen(away) && fold->count > 0;
        away->flags &= (uint8_t)~FOLD_SEEN;
    }
    if (fold->away.count > 0)
        keep_away(fold, is_recent);
    for (uint32_t i = 0; fold->shown.page && i < fold->shown.page->slot_count; i++)
        fold->shown.flags[i] &= (uint8_t)~FOLD_SEEN;
    mem_free(STEAL(fold->shown.sides));
    fold->full = false;
    fold->refused = 0;
    fold->count = 0;
}

void fold_close(struct fold *fold, const struct window_rule *rule, const struct labels *target,
                struct aggregate *aggregate)
{
    struct closing closing = {.target = target, .aggregate = aggregate};
    read_names(&closing, rule);
    close_away(&closing, fold);
    if (fold->shown.page)
        close_shown(&closing, fold);
    aggregate->refused += fold->refused;
    begin_next(fold);
}
