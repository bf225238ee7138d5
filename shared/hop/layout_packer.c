#include "hop/layout_packer.h"
#include "base/fail.h"
#include "hop/layout_table_internal.h"

#include <errno.h>

/* What an edit that is not expanded here may make of its bases: more than most, a page of some 2,000 series. */
#define COPIED_UNKNOWN (1 * MIB)

#define BASE_COST      64 /* bytes that one more base has to spare: its hash does not compress */
#define LITTLE_SHARE   16 /* an edit of so small a share of the whole is good enough */

struct packed {                   /* an item of the pack */
    struct layout_pack_item item; /* operations: a copy */
    struct hash128 bases[LAYOUT_BASES_MAX];
    uint8_t depth;
};

struct layout_packer {
    struct layout_table *table;
    struct layout_group *group; /* NULL: of an upstream */
    layout_has_fn *has;
    void *arg;
    bool alone;
    struct layout_pack_writer writer;
    struct packed *items;
    size_t capacity;
    struct map item_map;  /* by the low half of their hashes: number + 1 */
    struct map named_map; /* the same of named bases */
    uint64_t copied;      /* memory that bases give, as the reader counts it */
};

static struct layout_packer *new_packer(struct layout_table *table)
{
    struct layout_packer *packer = mem_zalloc(sizeof(*packer));
    packer->table = table;
    map_init(&packer->item_map);
    map_init(&packer->named_map);
    return packer;
}

struct layout_packer *layout_packer_new_group(struct layout_table *table, struct layout_group *group)
{
    struct layout_packer *packer = new_packer(table);
    packer->group = group;
    layout_pack_writer_init(&packer->writer, true);
    return packer;
}

struct layout_packer *layout_packer_new(struct layout_table *table, layout_has_fn *has, void *arg)
{
    struct layout_packer *packer = new_packer(table);
    packer->has = has;
    packer->arg = arg;
    layout_pack_writer_init(&packer->writer, false);
    return packer;
}

void layout_packer_drop(struct layout_packer *packer)
{
    for (uint32_t i = 0; i < packer->writer.item_count; i++)
        mem_free((void *)packer->items[i].item.operations.ptr);
    layout_pack_writer_reset(&packer->writer);
    map_clear(&packer->item_map);
    map_clear(&packer->named_map);
    packer->copied = 0;
}

void layout_packer_free(struct layout_packer *packer)
{
    if (!packer)
        return;
    layout_packer_drop(packer);
    layout_pack_writer_done(&packer->writer);
    map_done(&packer->item_map);
    map_done(&packer->named_map);
    mem_free(packer->items);
    mem_free(packer);
}

/* ---- What may be a base ---- */

static struct packed *item_of(const struct layout_packer *packer, struct hash128 hash)
{
    uintptr_t found = (uintptr_t)map_get(&packer->item_map, hash128_low(hash), NULL, NULL);
    struct packed *packed = found ? &packer->items[found - 1] : NULL;
    return packed && hash128_equal(packed->item.hash, hash) ? packed : NULL;
}

/* Bases behind one that the other side has or will have by then; -1: it has not. An upstream does not keep them. */
static int depth_of(const struct layout_packer *packer, struct hash128 hash)
{
    const struct packed *packed = item_of(packer, hash);
    if (packed)
        return packed->depth;
    if (!packer->group)
        return packer->has(packer->arg, hash) ? 0 : -1;
    const struct layout_form *form = layout_group_form(packer->group, hash);
    return form ? form->depth : -1;
}

/* Of several bases in a segment all but the first are said whole: else expanding one could take all of theirs, and so
 * on, each time anew where the cache is small. */
static bool may_be_other_base(const struct layout_packer *packer, struct hash128 hash)
{
    return !packer->group || depth_of(packer, hash) == 0;
}

static bool may_be_base(void *arg, struct hash128 hash)
{
    const struct layout_packer *packer = arg;
    if (packer->alone && !item_of(packer, hash))
        return false;
    int depth = depth_of(packer, hash);
    return depth >= 0 && (!packer->group || depth < LAYOUT_DEPTH_MAX);
}

static bool has(const struct layout_packer *packer, struct hash128 hash)
{
    return depth_of(packer, hash) >= 0;
}

void layout_packer_set_alone(struct layout_packer *packer, bool alone)
{
    packer->alone = alone;
}

/* ---- Adding ---- */

static uint32_t base_number(struct layout_packer *packer, struct hash128 hash)
{
    const struct packed *packed = item_of(packer, hash);
    if (packed)
        return (uint32_t)(packed - packer->items) << 1 | 1;
    uintptr_t found = (uintptr_t)map_get(&packer->named_map, hash128_low(hash), NULL, NULL);
    if (!found) {
        found = layout_pack_writer_name(&packer->writer, hash) + 1;
        map_put(&packer->named_map, hash128_low(hash), (void *)found); // NOLINT
    }
    return (uint32_t)(found - 1) << 1;
}

/* what: type and hash. Takes over the operations. */
static int add_item(struct layout_packer *packer, const struct layout_pack_item *what, const struct hash128 *bases,
                    size_t base_count, struct buf *operations)
{
    struct packed packed = {.item = *what};
    packed.item.base_count = (uint32_t)base_count;
    for (size_t i = 0; i < base_count; i++) {
        packed.bases[i] = bases[i];
        packed.item.bases[i] = base_number(packer, bases[i]);
        packed.depth = MAX(packed.depth, (uint8_t)(packer->group ? depth_of(packer, bases[i]) + 1 : 0));
    }
    size_t len;
    packed.item.operations.ptr = (const char *)buf_steal(operations, &len);
    packed.item.operations.len = len;
    if (packer->writer.item_count == packer->capacity) {
        packer->capacity = MAX(2 * packer->capacity, (size_t)16);
        packer->items = mem_resize(packer->items, packer->capacity, sizeof(*packer->items));
    }
    uint32_t number = packer->writer.item_count;
    packer->items[number] = packed;
    layout_pack_writer_add(&packer->writer, &packed.item);
    map_put(&packer->item_map, hash128_low(what->hash), (void *)(uintptr_t)(number + 1)); // NOLINT
    return packer->writer.items.full ? -EMSGSIZE : 0;
}

/* As it is packed already, where the other side has its bases: nothing is expanded or compared. Not where it is
 * expanded and the other side has what is nearer: depth, or what the segment had, made do with less. */
static const struct layout_form *form_to_copy(struct layout_packer *packer, const struct layout_entry *entry)
{
    bool like = !packer->group && entry->layout && may_be_base(packer, entry->like);
    for (const struct layout_form *form = entry->forms; form; form = form->next) {
        bool fits = form->base_count > 0 ? !like || hash128_equal(form->bases[0], entry->like) : !entry->layout;
        for (uint32_t i = 0; i < form->base_count && fits; i++)
            fits = may_be_base(packer, form->bases[i]) && (i == 0 || may_be_other_base(packer, form->bases[i]));
        if (fits)
            return form;
    }
    return NULL;
}

static int copy_form(struct layout_packer *packer, const struct layout_form *form)
{
    const struct layout_pack_item what = {.type = form->entry->type, .hash = form->entry->hash};
    CLEANUP(buf_done) struct buf operations = BUF_INIT(LAYOUT_PACK_RAW_BYTES_MAX);
    int error = layout_form_operations(form, &operations);
    packer->copied += form->base_count > 0 ? COPIED_UNKNOWN : 0;
    return error < 0 ? error : add_item(packer, &what, form->bases, form->base_count, &operations);
}

struct encoded {
    struct buf operations;
    bool used[LAYOUT_BASES_MAX];
    size_t used_count;
};

static int encode_with(const struct layout *layout, const struct layout_bases *bases, struct encoded *encoded)
{
    *encoded = (struct encoded){.operations = BUF_INIT(LAYOUT_PACK_RAW_BYTES_MAX)};
    int error = layout_item_encode(layout, bases, &encoded->operations, encoded->used);
    for (size_t i = 0; i < bases->count; i++)
        encoded->used_count += encoded->used[i];
    return error;
}

static bool is_smaller(const struct encoded *a, const struct encoded *b)
{
    return a->operations.len + a->used_count * BASE_COST < b->operations.len + b->used_count * BASE_COST;
}

/* One base does nearly always; where much is left to be said, others are taken too if that makes it less. */
static int encode_best(const struct layout *layout, const struct layout_bases *bases, struct encoded *best)
{
    struct layout_bases nearest = *bases;
    nearest.count = MIN(bases->count, (size_t)1);
    int error = encode_with(layout, &nearest, best);
    if (error < 0 || bases->count <= 1 || best->operations.len * LITTLE_SHARE < layout->whole_bytes)
        return error;
    struct encoded other;
    error = encode_with(layout, bases, &other);
    if (error == 0 && is_smaller(&other, best)) {
        struct encoded first = *best;
        *best = other;
        other = first;
    }
    buf_done(&other.operations);
    return error;
}

static bool may_be_anything(void *arg, struct hash128 hash)
{
    (void)arg;
    (void)hash;
    return true;
}

/* Of what was found, what the other side has. */
static size_t keep_bases(struct layout_packer *packer, struct layout_entry **near, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (may_be_base(packer, near[i]->hash) && (kept == 0 || may_be_other_base(packer, near[i]->hash)))
            near[kept++] = near[i];
    return kept;
}

/* For a segment: what is nearest of all is noted, as the upstream may have what the segment has not. */
static size_t find_for_group(struct layout_packer *packer, struct layout_entry *entry, const struct layout *layout,
                             struct layout_entry **ret_near)
{
    size_t count = layout_near_find(packer->table, layout, may_be_anything, NULL, ret_near);
    entry->like = count > 0 ? ret_near[0]->hash : (struct hash128){0};
    size_t kept = keep_bases(packer, ret_near, count);
    if (kept > 0 || count == 0)
        return kept;
    count = layout_near_find(packer->table, layout, may_be_base, packer, ret_near);
    return keep_bases(packer, ret_near, count);
}

/* For an upstream: what was nearest when it was packed; else, as with a backlog, what that was packed over, and so on,
 * until one that the upstream has. Only then is it looked for anew: what was packed last speaks for its families, and
 * that is the layout itself. */
static size_t find_for_upstream(struct layout_packer *packer, const struct layout_entry *entry,
                                const struct layout *layout, struct layout_entry **ret_near)
{
    struct hash128 hash = entry->like;
    const struct layout_form *form = entry->forms;
    bool found = may_be_base(packer, hash);
    for (; form && form->base_count > 0 && !found; form = layout_group_form(form->group, hash)) {
        hash = form->bases[0];
        found = may_be_base(packer, hash);
    }
    if (!found || !layout_table_get(packer->table, hash))
        return layout_near_find(packer->table, layout, may_be_base, packer, ret_near);
    ret_near[0] = layout_entry_get(packer->table, hash);
    return ret_near[0]->type == layout->type ? 1 : 0;
}

/* The entry may be gone once others were expanded: the layout is the caller's. */
static int encode(struct layout_packer *packer, struct layout_entry *entry, const struct layout *layout)
{
    const struct layout_pack_item what = {.type = layout->type, .hash = layout->hash};
    struct layout_entry *near[LAYOUT_BASES_MAX];
    struct layout_bases bases;
    struct hash128 hashes[LAYOUT_BASES_MAX];
    struct encoded best;
    size_t used_count = 0;
    bases.count =
        packer->group ? find_for_group(packer, entry, layout, near) : find_for_upstream(packer, entry, layout, near);
    for (size_t i = 0; i < bases.count; i++)
        bases.items[i] = near[i]->layout;
    int error = encode_best(layout, &bases, &best);
    for (size_t i = 0; i < bases.count; i++)
        if (best.used[i])
            hashes[used_count++] = near[i]->hash;
    packer->copied += used_count > 0 ? 2 * layout->whole_bytes : 0;
    if (error == 0)
        error = add_item(packer, &what, hashes, used_count, &best.operations);
    buf_done(&best.operations);
    return error;
}

int layout_packer_add(struct layout_packer *packer, struct hash128 hash)
{
    if (has(packer, hash))
        return 0;
    ASSERT(packer->writer.item_count < LAYOUT_PACK_ITEMS_MAX);
    struct layout_entry *entry = layout_entry_get(packer->table, hash);
    if (!entry)
        return -ENOENT;
    const struct layout_form *form = form_to_copy(packer, entry);
    if (form)
        return copy_form(packer, form);
    CLEANUP(layout_unrefp) struct layout *layout = layout_table_get(packer->table, hash);
    if (!layout)
        return -ENOENT;
    layout_ref(layout);
    int error = encode(packer, entry, layout);
    /* Others will be looked for that are like it: in the segment that is written to. */
    if (error == 0 && packer->group)
        layout_near_note(packer->table, entry);
    return error;
}

uint32_t layout_packer_count(const struct layout_packer *packer)
{
    return packer->writer.item_count;
}

struct hash128 layout_packer_at(const struct layout_packer *packer, uint32_t index)
{
    ASSERT(index < packer->writer.item_count);
    return packer->items[index].item.hash;
}

bool layout_packer_is_full(const struct layout_packer *packer)
{
    return packer->writer.items.len >= LAYOUT_PACK_RAW_BYTES || packer->copied >= LAYOUT_PACK_COPIED ||
           packer->writer.item_count == LAYOUT_PACK_ITEMS_MAX;
}

int layout_packer_finish(struct layout_packer *packer, struct buf *out)
{
    return layout_pack_writer_finish(&packer->writer, out);
}

void layout_packer_commit(struct layout_packer *packer)
{
    for (uint32_t i = 0; packer->group && i < packer->writer.item_count; i++) {
        const struct packed *packed = &packer->items[i];
        if (!layout_group_has(packer->group, packed->item.hash))
            layout_group_add(packer->group, &packed->item, packed->bases, packed->depth);
    }
    layout_packer_drop(packer);
}
