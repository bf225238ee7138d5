#include "base/fail.h"
#include "hop/layout_table_internal.h"

#include <errno.h>

/* Beside its bytes: its entry, and places in two maps. */
#define FORM_COST (sizeof(struct layout_form) + sizeof(struct layout_entry) + 4 * sizeof(void *))
/* Text that the packs of one request may make us expand of what lies packed here; what is past it is as if missing. */
#define EXPANDED_BYTES_MAX (1 * GIB)

struct layout_group *layout_group_new(struct layout_table *table)
{
    struct layout_group *group = mem_zalloc(sizeof(*group));
    group->table = table;
    map_init(&group->forms);
    return group;
}

static bool form_is(const void *item, const void *key)
{
    const struct layout_form *form = item;
    return hash128_equal(form->entry->hash, *(const struct hash128 *)key);
}

struct layout_form *layout_group_form(const struct layout_group *group, struct hash128 hash)
{
    return map_get(&group->forms, hash128_low(hash), form_is, &hash);
}

bool layout_group_has(const struct layout_group *group, struct hash128 hash)
{
    return layout_group_form(group, hash) != NULL;
}

static uint64_t form_cost(const struct layout_form *form)
{
    return FORM_COST + form->base_count * sizeof(form->bases[0]) + form->bytes;
}

static void free_form(struct layout_form *form)
{
    struct layout_entry *entry = form->entry;
    struct layout_form **at = &entry->forms;
    while (*at != form)
        at = &(*at)->next;
    *at = form->next;
    form->group->table->packed_bytes -= form_cost(form);
    layout_entry_settle(form->group->table, entry);
    mem_free(form);
}

void layout_group_free(struct layout_group *group)
{
    if (!group)
        return;
    struct layout_form *form;
    for (size_t at = 0; (form = map_next(&group->forms, &at));)
        free_form(form);
    map_done(&group->forms);
    mem_free(group);
}

void layout_group_add(struct layout_group *group, const struct layout_pack_item *item, const struct hash128 *bases,
                      uint8_t depth)
{
    ASSERT(depth <= LAYOUT_DEPTH_MAX && !layout_group_has(group, item->hash));
    CLEANUP(buf_done) struct buf shrunk = BUF_INIT(LAYOUT_PACK_RAW_BYTES_MAX + 1);
    layout_bytes_shrink(item->operations, &shrunk);
    ASSERT(!shrunk.full);
    size_t base_bytes = item->base_count * sizeof(bases[0]);
    struct layout_form *form = mem_alloc(sizeof(*form) + base_bytes + shrunk.len);
    struct layout_entry *entry = layout_entry_make(group->table, item->hash, item->type);
    *form = (struct layout_form){.next = entry->forms,
                                 .group = group,
                                 .entry = entry,
                                 .bytes = (uint32_t)shrunk.len,
                                 .base_count = (uint8_t)item->base_count,
                                 .depth = depth};
    if (base_bytes > 0)
        memcpy(form->bases, bases, base_bytes);
    memcpy((uint8_t *)form->bases + base_bytes, shrunk.data, shrunk.len);
    entry->forms = form;
    map_put(&group->forms, hash128_low(item->hash), form);
    group->table->packed_bytes += form_cost(form);
}

int layout_form_operations(const struct layout_form *form, struct buf *out)
{
    const uint8_t *bytes = (const uint8_t *)form->bases + form->base_count * sizeof(form->bases[0]);
    return layout_bytes_expand(str_of(bytes, form->bytes), out);
}

/* ---- Expanding ---- */

/* Gives their references back. */
static void bases_done(struct layout_bases *bases)
{
    for (size_t i = 0; i < bases->count; i++)
        layout_unref(bases->items[i]);
}

static struct layout *expand_form(struct layout_table *table, const struct layout_form *form);

/* The layout of a base in the same group. Its form there is what depth was counted by. */
static struct layout *expand_base(struct layout_table *table, const struct layout_group *group, struct hash128 hash)
{
    const struct layout_form *form = layout_group_form(group, hash);
    if (!form)
        return NULL;
    return form->entry->layout ? layout_table_get(table, hash) : expand_form(table, form);
}

/* As deep as LAYOUT_DEPTH_MAX at most: each form's depth is one more than its first base's, the others are whole. So at
 * most LAYOUT_BASES_MAX layouts are made per step. */
static struct layout *expand_form(struct layout_table *table, const struct layout_form *form)
{
    CLEANUP(bases_done) struct layout_bases bases = {0};
    CLEANUP(buf_done) struct buf operations = BUF_INIT(LAYOUT_PACK_RAW_BYTES_MAX);
    for (uint32_t i = 0; i < form->base_count; i++) {
        struct layout *base = expand_base(table, form->group, form->bases[i]);
        if (!base)
            return NULL;
        bases.items[bases.count++] = layout_ref(base);
    }
    struct layout_budget budget = {.claimed = UINT64_MAX, .copied = UINT64_MAX};
    CLEANUP(layout_unrefp) struct layout *layout = NULL;
    if (layout_form_operations(form, &operations) < 0 ||
        layout_item_decode(form->entry->type, buf_view(&operations), &bases, &budget, &layout) < 0 ||
        !hash128_equal(layout->hash, form->entry->hash))
        return NULL;
    /* One of the bases may have been this very layout, on a disk that lies. */
    if (!form->entry->layout)
        layout_entry_expanded(table, form->entry, STEAL(layout));
    return form->entry->layout;
}

struct layout *layout_entry_expand(struct layout_table *table, struct layout_entry *entry)
{
    ASSERT(!entry->layout);
    return entry->forms ? expand_form(table, entry->forms) : NULL;
}

/* ---- A pack of our own disk ---- */

struct group_take {
    struct layout_group *group;
    struct layout_pack *pack;
    struct hash128 *made; /* by item */
    uint32_t made_count;
    struct layout_budget budget;
};

static struct hash128 base_hash(const struct group_take *take, uint32_t base)
{
    return base & 1 ? take->made[base >> 1] : layout_pack_named(take->pack, base >> 1);
}

/* What the item makes is known by making it: the layout, put into the cache once it is packed. */
static int make_item(struct group_take *take, struct layout_pack_item *item, const struct hash128 *hashes,
                     struct layout **ret_layout)
{
    struct layout_table *table = take->group->table;
    CLEANUP(bases_done) struct layout_bases bases = {0};
    for (uint32_t i = 0; i < item->base_count; i++) {
        struct layout *base = expand_base(table, take->group, hashes[i]);
        if (!base)
            return -EBADMSG;
        bases.items[bases.count++] = layout_ref(base);
    }
    int error = layout_item_decode(item->type, item->operations, &bases, &take->budget, ret_layout);
    if (error == 0)
        item->hash = (*ret_layout)->hash;
    return error == -EMSGSIZE ? -EBADMSG : error;
}

static int take_item(struct group_take *take, struct layout_pack_item *item)
{
    struct layout_group *group = take->group;
    struct layout_table *table = group->table;
    struct hash128 bases[LAYOUT_BASES_MAX];
    CLEANUP(layout_unrefp) struct layout *layout = NULL;
    uint8_t depth = 0;
    for (uint32_t i = 0; i < item->base_count; i++) {
        bases[i] = base_hash(take, item->bases[i]);
        const struct layout_form *form = layout_group_form(group, bases[i]);
        if (!form || form->depth >= LAYOUT_DEPTH_MAX || (i > 0 && form->depth > 0) || form->entry->type != item->type)
            return -EBADMSG;
        depth = MAX(depth, (uint8_t)(form->depth + 1));
    }
    if (layout_table_is_full(table))
        return -ENOSPC;
    int error = layout_pack_has_hashes(take->pack) ? 0 : make_item(take, item, bases, &layout);
    if (error < 0)
        return error;
    take->made[take->made_count++] = item->hash;
    const struct layout_entry *known = layout_entry_get(table, item->hash);
    if (known && known->type != item->type)
        return -EBADMSG;
    if (!layout_group_has(group, item->hash))
        layout_group_add(group, item, bases, depth);
    struct layout_entry *entry = layout_entry_get(table, item->hash);
    if (layout && !entry->layout)
        layout_entry_expanded(table, entry, STEAL(layout));
    return 0;
}

int layout_group_take(struct layout_group *group, struct str payload)
{
    CLEANUP(layout_pack_freep) struct layout_pack *pack = NULL;
    int error = layout_pack_open(payload, &pack);
    if (error < 0)
        return error == -ENOMEM ? error : -EBADMSG;
    CLEANUP_FREE struct hash128 *made = mem_array(LAYOUT_PACK_ITEMS_MAX, sizeof(*made));
    struct group_take take = {.group = group, .pack = pack, .made = made, .budget = layout_pack_budget(pack)};
    struct layout_pack_item item;
    int more;
    while ((more = layout_pack_next(pack, &item)) > 0) {
        error = take_item(&take, &item);
        if (error < 0)
            return error;
    }
    return more;
}

/* ---- Packs of a peer ---- */

struct peer_take {
    struct layout_table *table;
    struct layout_pack *pack;
    struct layout **made; /* by item, references of its own; NULL: a base was missing */
    struct layout_budget budget;
    struct layout_take *face;
};

void layout_take_done(struct layout_take *take)
{
    mem_free(take->held);
    mem_free(take->items);
    map_done(&take->places);
}

struct held_key {
    const struct layout_take *take;
    struct hash128 hash;
};

static bool is_held(const void *item, const void *key)
{
    const struct held_key *wanted = key;
    return hash128_equal(wanted->take->held[(uintptr_t)item - 1], wanted->hash);
}

/* Once for all its items that make it: a pack of some bytes makes thousands, all equal. */
static int hold_once(struct peer_take *take, struct layout *layout)
{
    struct layout_take *face = take->face;
    struct held_key key = {face, layout->hash};
    if (map_get(&face->places, hash128_low(layout->hash), is_held, &key))
        return 0;
    if (face->held_count == face->held_capacity) {
        face->held_capacity = MAX(2 * face->held_capacity, 64U);
        face->held = mem_resize(face->held, face->held_capacity, sizeof(*face->held));
    }
    int error = layout_table_hold(take->table, layout);
    if (error < 0)
        return error;
    face->held[face->held_count++] = layout->hash;
    map_put(&face->places, hash128_low(layout->hash), (void *)(uintptr_t)face->held_count); // NOLINT
    return 0;
}

static struct layout *named_base(struct peer_take *take, struct hash128 hash)
{
    const struct layout_entry *entry = layout_entry_get(take->table, hash);
    bool packed = entry && !entry->layout && entry->forms;
    struct layout *base =
        packed && take->face->expanded_bytes > EXPANDED_BYTES_MAX ? NULL : layout_table_get(take->table, hash);
    if (packed && base)
        take->face->expanded_bytes += base->whole_bytes * (entry->forms->depth + UINT64_C(1));
    if (!base)
        take->face->missing(take->face->arg, hash);
    return base;
}

/* What a pack says itself is paid for by the bytes sent; the packs of a request share what is free. */
static bool is_over(const struct layout_take *face)
{
    return face->items_total >= LAYOUT_TAKE_ITEMS_MAX || face->spent.copied > LAYOUT_TAKE_COPIED_MAX ||
           face->raw_bytes > LAYOUT_TAKE_RAW_FREE + face->sent_bytes * LAYOUT_PACK_RAW_RATIO ||
           face->spent.claimed > LAYOUT_PACK_CLAIM_FREE + face->raw_bytes * LAYOUT_PACK_CLAIM_RATIO;
}

static int take_peer_item(struct peer_take *take, const struct layout_pack_item *item)
{
    CLEANUP(bases_done) struct layout_bases bases = {0};
    struct layout_take *face = take->face;
    uint32_t at = face->item_count++;
    bool all = true;
    face->items_total++;
    face->items[at] = (struct hash128){0};
    for (uint32_t i = 0; i < item->base_count; i++) {
        uint32_t number = item->bases[i] >> 1;
        struct layout *base =
            item->bases[i] & 1 ? take->made[number] : named_base(take, layout_pack_named(take->pack, number));
        if (base)
            bases.items[bases.count++] = layout_ref(base);
        all = all && base;
    }
    if (!all)
        return 0;
    struct layout_budget left = take->budget;
    int error = layout_item_decode(item->type, item->operations, &bases, &take->budget, &take->made[at]);
    face->spent.claimed += left.claimed - take->budget.claimed;
    face->spent.copied += left.copied - take->budget.copied;
    if (error == 0)
        error = hold_once(take, take->made[at]);
    if (error == 0)
        face->items[at] = take->made[at]->hash;
    /* Each further one would be made as far as this one, for nothing. */
    face->is_over = error == -ENOBUFS || error == -ENOSPC || is_over(face);
    if (error == -ENOBUFS)
        return 0;
    return error == -EMSGSIZE ? -EBADMSG : error;
}

int layout_table_take(struct layout_table *table, struct str payload, struct layout_take *face)
{
    CLEANUP(layout_pack_freep) struct layout_pack *pack = NULL;
    face->item_count = 0;
    if (face->is_over)
        return 0;
    int error = layout_pack_open(payload, &pack);
    if (error < 0)
        return error == -ENOMEM ? error : -EBADMSG;
    face->sent_bytes += payload.len;
    face->raw_bytes += layout_pack_raw_bytes(pack);
    face->is_over = is_over(face);
    if (!face->items)
        face->items = mem_array(LAYOUT_PACK_ITEMS_MAX, sizeof(*face->items));
    CLEANUP_FREE struct layout **made = mem_array(LAYOUT_PACK_ITEMS_MAX, sizeof(struct layout *));
    struct peer_take take = {
        .table = table, .pack = pack, .made = made, .budget = layout_pack_budget(pack), .face = face};
    struct layout_pack_item item;
    int more = 0;
    while (error == 0 && !face->is_over && (more = layout_pack_next(pack, &item)) > 0)
        error = take_peer_item(&take, &item);
    for (uint32_t i = 0; i < face->item_count; i++)
        layout_unref(made[i]);
    return error < 0 ? error : MIN(more, 0);
}
