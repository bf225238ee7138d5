/* Writing of layout items: first a plan, what is taken from where; then the operations that say it, in runs. */
#include "base/fail.h"
#include "base/map.h"
#include "hop/layout_item.h"

#include <errno.h>

enum { OP_COPY, OP_BASE, OP_NEW, OP_EDIT };

#define NOWHERE UINT32_MAX

/* Where a family or target is taken from. */
struct step {
    uint32_t base; /* NOWHERE: it is said whole */
    uint32_t index;
    bool edited; /* the base's family has the name, not all the slots */
};

static uint64_t zigzag(int64_t number)
{
    return (uint64_t)number << 1 ^ (number < 0 ? UINT64_MAX : 0);
}

static void append_operation(struct buf *out, uint64_t n, unsigned operation)
{
    buf_append_uvarint(out, n << 2 | operation);
}

/* ---- Slots of an edited family ---- */

/* Operations wait until they are known to go on. */
struct slot_writer {
    const struct layout *base, *family;
    struct map map; /* base's slots: number + 1; made when the first one is not where it was */
    bool mapped;
    struct buf *out;
    uint64_t operations;
    uint32_t cursor;           /* in base, behind what waits */
    uint32_t copied, inserted; /* that wait; one of them is 0 */
    uint32_t at;               /* in family */
};

struct slot_key {
    const struct layout *family;
    struct str bytes;
};

static bool is_slot(const void *item, const void *key)
{
    const struct slot_key *wanted = key;
    return str_equal(layout_slot_bytes(wanted->family, (uint32_t)((uintptr_t)item - 1), 1), wanted->bytes);
}

static uint32_t find_slot(struct slot_writer *writer, struct str bytes)
{
    if (writer->cursor < writer->base->count && str_equal(layout_slot_bytes(writer->base, writer->cursor, 1), bytes))
        return writer->cursor;
    for (uint32_t i = 0; i < writer->base->count && !writer->mapped; i++)
        map_put(&writer->map, str_hash(layout_slot_bytes(writer->base, i, 1)), (void *)(uintptr_t)(i + 1)); // NOLINT
    writer->mapped = true;
    struct slot_key key = {writer->base, bytes};
    uintptr_t found = (uintptr_t)map_get(&writer->map, str_hash(bytes), is_slot, &key);
    return found ? (uint32_t)(found - 1) : NOWHERE;
}

static void flush_slots(struct slot_writer *writer)
{
    if (writer->copied > 0)
        append_operation(writer->out, writer->copied, OP_COPY);
    if (writer->inserted > 0) {
        append_operation(writer->out, writer->inserted, OP_NEW);
        buf_append_str(writer->out, layout_slot_bytes(writer->family, writer->at - writer->inserted, writer->inserted));
    }
    writer->operations += writer->copied > 0 || writer->inserted > 0;
    writer->copied = writer->inserted = 0;
}

/* Appends the operations of one edit. Returns how many slots came from the base. */
static uint32_t write_edit(const struct layout *family, const struct layout *base, struct buf *out)
{
    CLEANUP(buf_done) struct buf operations = BUF_INIT(LAYOUT_BLOB_BYTES_MAX + MIB);
    struct slot_writer writer = {.base = base, .family = family, .out = &operations};
    uint32_t copied = 0;
    map_init(&writer.map);
    for (; writer.at < family->count; writer.at++) {
        uint32_t found = find_slot(&writer, layout_slot_bytes(family, writer.at, 1));
        if (found == NOWHERE ? writer.copied > 0 : writer.inserted > 0 || found != writer.cursor)
            flush_slots(&writer);
        if (found == NOWHERE) {
            writer.inserted++;
            continue;
        }
        if (found != writer.cursor) {
            append_operation(&operations, zigzag((int64_t)found - writer.cursor), OP_BASE);
            writer.operations++;
        }
        writer.cursor = found + 1;
        writer.copied++;
        copied++;
    }
    flush_slots(&writer);
    map_done(&writer.map);
    append_operation(out, writer.operations, OP_EDIT);
    buf_append_str(out, buf_view(&operations));
    return copied;
}

/* ---- Plans ---- */

struct place {
    uint32_t base, index;
};

struct place_key {
    const struct layout_bases *bases;
    const struct layout *family;
    uint32_t base; /* by name: of this base only */
};

static bool has_hash(const void *item, const void *key)
{
    const struct place *place = item;
    const struct place_key *wanted = key;
    return hash128_equal(wanted->bases->items[place->base]->families[place->index]->hash, wanted->family->hash);
}

static bool same_head(const struct layout *a, const struct layout *b)
{
    return a->head_len == b->head_len && memcmp(a->bytes, b->bytes, a->head_len) == 0;
}

static bool has_head(const void *item, const void *key)
{
    const struct place *place = item;
    const struct place_key *wanted = key;
    return place->base == wanted->base &&
           same_head(wanted->bases->items[place->base]->families[place->index], wanted->family);
}

static uint64_t head_hash(const struct layout *family)
{
    return hash64(family->bytes, family->head_len, 1);
}

/* An edit has to share something, or the family is better said whole. */
static bool shares_slots(const struct layout *family, const struct layout *base)
{
    if (base->count == 0 || family->count == 0)
        return false;
    for (uint32_t i = 0; i < MIN(family->count, base->count); i++)
        if (str_equal(layout_slot_bytes(family, i, 1), layout_slot_bytes(base, i, 1)))
            return true;
    CLEANUP(buf_done) struct buf scratch = BUF_INIT(2 * LAYOUT_BLOB_BYTES_MAX);
    return write_edit(family, base, &scratch) > 0;
}

/* Slots of bases that may be looked at to plan a page's edits: so many, and so many for each slot of its own. A family
 * is like its base nearly always; a page of many small ones over a large base could take hours. */
#define EDIT_SLOTS_FREE  4096
#define EDIT_SLOTS_RATIO 4

struct plan {
    struct map hashes; /* places by what the family there says */
    struct map heads;  /* by its head; each serves one edit */
    uint64_t slots_left;
};

static struct step plan_family(struct plan *plan, struct place_key *key)
{
    const struct place *place = map_get(&plan->hashes, hash128_low(key->family->hash), has_hash, key);
    if (place)
        return (struct step){place->base, place->index, false};
    for (key->base = 0; key->base < key->bases->count; key->base++) {
        place = map_get(&plan->heads, head_hash(key->family), has_head, key);
        if (!place)
            continue;
        const struct layout *base = key->bases->items[place->base]->families[place->index];
        if (base->count > plan->slots_left)
            continue;
        plan->slots_left -= base->count;
        map_remove(&plan->heads, head_hash(key->family), has_head, key);
        if (shares_slots(key->family, base))
            return (struct step){place->base, place->index, true};
    }
    return (struct step){.base = NOWHERE};
}

static void plan_page(const struct layout *page, const struct layout_bases *bases, struct step *steps)
{
    struct plan plan = {.slots_left = EDIT_SLOTS_FREE + EDIT_SLOTS_RATIO * layout_page_slots(page)};
    size_t total = 0;
    for (size_t b = 0; b < bases->count; b++)
        total += bases->items[b]->count;
    CLEANUP_FREE struct place *places = mem_array(total, sizeof(*places));
    struct place *place = places;
    map_init(&plan.hashes);
    map_init(&plan.heads);
    for (uint32_t b = 0; b < bases->count; b++) {
        for (uint32_t i = 0; i < bases->items[b]->count; i++, place++) {
            const struct layout *family = bases->items[b]->families[i];
            struct place_key key = {bases, family, b};
            *place = (struct place){b, i};
            if (!map_get(&plan.hashes, hash128_low(family->hash), has_hash, &key))
                map_put(&plan.hashes, hash128_low(family->hash), place);
            if (!map_get(&plan.heads, head_hash(family), has_head, &key))
                map_put(&plan.heads, head_hash(family), place);
        }
    }
    for (uint32_t i = 0; i < page->count; i++) {
        struct place_key key = {.bases = bases, .family = page->families[i]};
        steps[i] = plan_family(&plan, &key);
    }
    map_done(&plan.hashes);
    map_done(&plan.heads);
}

struct target_key {
    const struct layout_bases *bases;
    const struct labels *labels;
};

static bool is_target(const void *item, const void *key)
{
    const struct place *place = item;
    const struct target_key *wanted = key;
    return labels_equal(wanted->bases->items[place->base]->targets[place->index], wanted->labels);
}

static void plan_targets(const struct layout *list, const struct layout_bases *bases, struct step *steps)
{
    struct map map;
    size_t total = 0;
    for (size_t b = 0; b < bases->count; b++)
        total += bases->items[b]->count;
    CLEANUP_FREE struct place *places = mem_array(total, sizeof(*places));
    struct place *place = places;
    map_init(&map);
    for (uint32_t b = 0; b < bases->count; b++) {
        for (uint32_t i = 0; i < bases->items[b]->count; i++, place++) {
            struct target_key key = {bases, bases->items[b]->targets[i]};
            *place = (struct place){b, i};
            if (!map_get(&map, labels_hash(key.labels), is_target, &key))
                map_put(&map, labels_hash(key.labels), place);
        }
    }
    for (uint32_t i = 0; i < list->count; i++) {
        struct target_key key = {bases, list->targets[i]};
        place = map_get(&map, labels_hash(key.labels), is_target, &key);
        steps[i] = place ? (struct step){place->base, place->index, false} : (struct step){.base = NOWHERE};
    }
    map_done(&map);
}

/* ---- Plans said ---- */

struct item_writer {
    const struct layout *layout;
    const struct layout_bases *bases;
    const struct step *steps;
    struct buf *out;
    uint32_t numbers[LAYOUT_BASES_MAX]; /* of the bases that are used */
    uint32_t cursors[LAYOUT_BASES_MAX];
    uint32_t current;
};

static void number_bases(struct item_writer *writer, bool *ret_used)
{
    uint32_t number = 0;
    memset(ret_used, 0, writer->bases->count * sizeof(*ret_used));
    for (uint32_t i = 0; i < writer->layout->count; i++)
        if (writer->steps[i].base != NOWHERE)
            ret_used[writer->steps[i].base] = true;
    for (size_t b = 0; b < writer->bases->count; b++)
        writer->numbers[b] = ret_used[b] ? number++ : NOWHERE;
}

/* Brings the cursor to where the next thing stands. */
static void go_to(struct item_writer *writer, const struct step *step)
{
    uint32_t number = writer->numbers[step->base];
    uint32_t *cursor = &writer->cursors[number];
    if (writer->current == number && *cursor == step->index)
        return;
    append_operation(writer->out, number, OP_BASE);
    buf_append_uvarint(writer->out, zigzag((int64_t)step->index - *cursor));
    writer->current = number;
    *cursor = step->index;
}

/* How many things from i on are taken unchanged one after the other. */
static uint32_t run_of(const struct item_writer *writer, uint32_t i)
{
    const struct step *first = &writer->steps[i];
    uint32_t n = 1;
    for (; i + n < writer->layout->count; n++) {
        const struct step *step = &writer->steps[i + n];
        if (step->base != first->base || step->edited || step->index != first->index + n)
            break;
    }
    return n;
}

static uint32_t write_new_targets(struct item_writer *writer, uint32_t i)
{
    const struct layout *list = writer->layout;
    uint32_t n = 0;
    while (i + n < list->count && writer->steps[i + n].base == NOWHERE)
        n++;
    append_operation(writer->out, n, OP_NEW);
    for (uint32_t j = 0; j < n; j++)
        labels_encode(list->targets[i + j], writer->out);
    return n;
}

static uint32_t write_new(struct item_writer *writer, uint32_t i)
{
    if (writer->layout->type == LAYOUT_TARGETS)
        return write_new_targets(writer, i);
    const struct layout *family = writer->layout->families[i];
    append_operation(writer->out, family->bytes_len, OP_NEW);
    buf_append(writer->out, family->bytes, family->bytes_len);
    return 1;
}

int layout_item_encode(const struct layout *layout, const struct layout_bases *bases, struct buf *out, bool *ret_used)
{
    ASSERT(bases->count <= LAYOUT_BASES_MAX && layout->type != LAYOUT_FAMILY);
    CLEANUP_FREE struct step *steps = mem_array(layout->count, sizeof(*steps));
    if (layout->type == LAYOUT_PAGE)
        plan_page(layout, bases, steps);
    else
        plan_targets(layout, bases, steps);
    struct item_writer writer = {.layout = layout, .bases = bases, .steps = steps, .out = out};
    number_bases(&writer, ret_used);
    for (uint32_t i = 0, n; i < layout->count; i += n) {
        const struct step *step = &steps[i];
        n = 1;
        if (step->base == NOWHERE) {
            n = write_new(&writer, i);
            continue;
        }
        go_to(&writer, step);
        if (step->edited) {
            write_edit(layout->families[i], bases->items[step->base]->families[step->index], out);
        } else {
            n = run_of(&writer, i);
            append_operation(out, n, OP_COPY);
        }
        writer.cursors[writer.numbers[step->base]] += n;
    }
    return out->full ? -EMSGSIZE : 0;
}
