/* Layouts said as edits come back as they were; what is missing is told; what is malformed or too much is refused; what
 * is packed stays readable with a small cache. */
#include "hop/layout_table_internal.h"
#include "layout_world.h"

#include <errno.h>
#include <string.h>
#include <zstd.h>

#define CACHE_BYTES (64 * MIB)

/* ---- Random pages and what becomes of them ---- */

enum { FAMILIES_MAX = 24, SLOTS_MAX = 40, TARGETS_MAX = 60 };

struct draft_family {
    unsigned name, help;
    unsigned slots[SLOTS_MAX]; /* label values, none twice */
    unsigned slot_count;
    bool two_labels;
};

struct draft {
    struct draft_family families[FAMILIES_MAX];
    unsigned family_count;
    unsigned next; /* a value that was never used */
};

static struct layout *family_of(const struct draft_family *family)
{
    char name[32], help[32], values[SLOTS_MAX][24];
    struct label labels[SLOTS_MAX][2];
    struct layout_slot slots[SLOTS_MAX];
    snprintf(name, sizeof(name), "family_%u", family->name);
    snprintf(help, sizeof(help), "Help %u.", family->help);
    for (unsigned i = 0; i < family->slot_count; i++) {
        snprintf(values[i], sizeof(values[i]), "value-%u", family->slots[i]);
        labels[i][0] = (struct label){STR("a"), str_from(values[i])};
        labels[i][1] = (struct label){STR("b"), family->slots[i] % 3 ? STR("") : STR("odd")};
        slots[i] = (struct layout_slot){.labels = labels[i], .label_count = family->two_labels ? 2 : 1};
    }
    struct layout_family_spec spec = {.name = str_from(name),
                                      .help = str_from(help),
                                      .metric_type = family->name % 4,
                                      .slots = slots,
                                      .count = family->slot_count};
    struct layout *layout = layout_family_new(&spec);
    assert_non_null(layout);
    return layout;
}

static struct layout *page_of(const struct draft *draft)
{
    struct layout *families[FAMILIES_MAX];
    for (unsigned i = 0; i < draft->family_count; i++)
        families[i] = family_of(&draft->families[i]);
    struct layout *page = layout_page_new(families, draft->family_count);
    assert_non_null(page);
    for (unsigned i = 0; i < draft->family_count; i++)
        layout_unref(families[i]);
    return page;
}

static void add_slot(struct random *random, struct draft *draft, struct draft_family *family)
{
    if (family->slot_count == SLOTS_MAX)
        return;
    unsigned at = (unsigned)random_below(random, family->slot_count + 1);
    memmove(family->slots + at + 1, family->slots + at, (family->slot_count - at) * sizeof(family->slots[0]));
    family->slots[at] = draft->next++;
    family->slot_count++;
}

static void add_family(struct random *random, struct draft *draft)
{
    if (draft->family_count == FAMILIES_MAX)
        return;
    struct draft_family *family = &draft->families[draft->family_count++];
    *family = (struct draft_family){.name = draft->next++, .two_labels = random_below(random, 2)};
    for (uint64_t i = random_below(random, SLOTS_MAX); i > 0; i--)
        add_slot(random, draft, family);
}

static void edit(struct random *random, struct draft *draft)
{
    if (draft->family_count == 0) {
        add_family(random, draft);
        return;
    }
    unsigned at = (unsigned)random_below(random, draft->family_count), other;
    struct draft_family *family = &draft->families[at];
    switch (random_below(random, 9)) {
    case 0:
        add_family(random, draft);
        break;
    case 1: /* a family goes */
        *family = draft->families[--draft->family_count];
        break;
    case 2: { /* two change places */
        other = (unsigned)random_below(random, draft->family_count);
        struct draft_family kept = *family;
        *family = draft->families[other];
        draft->families[other] = kept;
        break;
    }
    case 3:
        family->help++;
        break;
    case 4: /* the first half goes behind the second */
        for (unsigned i = 0; i < family->slot_count / 2; i++) {
            unsigned first = family->slots[0];
            memmove(family->slots, family->slots + 1, (family->slot_count - 1) * sizeof(first));
            family->slots[family->slot_count - 1] = first;
        }
        break;
    case 5:
        if (family->slot_count > 0) {
            other = (unsigned)random_below(random, family->slot_count--);
            family->slots[other] = family->slots[family->slot_count];
        }
        break;
    case 6:
        if (family->slot_count > 0)
            family->slots[random_below(random, family->slot_count)] = draft->next++;
        break;
    default:
        add_slot(random, draft, family);
    }
}

static struct layout *list_of(struct random *random, unsigned from)
{
    struct labels *targets[TARGETS_MAX];
    char name[32];
    unsigned count = 0;
    for (unsigned i = 0; count < TARGETS_MAX && i < 50; i++) {
        if (random_below(random, 8) == 0)
            continue;
        snprintf(name, sizeof(name), "host-%u", from + (random_below(random, 20) ? i : i * 7 % 50));
        struct label label = {STR("instance"), str_from(name)};
        targets[count++] = labels_new(&label, 1);
    }
    struct layout *list = layout_targets_new(targets, count);
    assert_non_null(list);
    for (unsigned i = 0; i < count; i++)
        labels_unref(targets[i]);
    return list;
}

/* Written against the bases and read again: the same by its hash. */
static size_t check_round(const struct layout *layout, struct layout *const *items, size_t base_count)
{
    bool used[LAYOUT_BASES_MAX];
    struct layout_bases bases = {.count = base_count}, kept = {0};
    struct layout *back = NULL;
    for (size_t i = 0; i < base_count; i++)
        bases.items[i] = items[i];
    CLEANUP(buf_done) struct buf operations = BUF_INIT(MIB);
    assert_int_equal(layout_item_encode(layout, &bases, &operations, used), 0);
    for (size_t i = 0; i < base_count; i++)
        if (used[i])
            kept.items[kept.count++] = items[i];
    struct layout_budget budget = {.claimed = 16 * MIB, .copied = 16 * MIB};
    assert_int_equal(layout_item_decode(layout->type, buf_view(&operations), &kept, &budget, &back), 0);
    assert_true(hash128_equal(back->hash, layout->hash));
    layout_unref(back);
    return operations.len;
}

static void edits_come_back(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 11);
    for (unsigned round = 0; round < 3000; round++) {
        struct draft draft = {0};
        struct layout *bases[LAYOUT_BASES_MAX];
        size_t base_count = (size_t)random_below(&random, LAYOUT_BASES_MAX + 1);
        for (unsigned i = (unsigned)random_below(&random, FAMILIES_MAX); i > 0; i--)
            add_family(&random, &draft);
        for (size_t b = 0; b < base_count; b++) {
            bases[b] = page_of(&draft);
            for (uint64_t i = random_below(&random, 12); i > 0; i--)
                edit(&random, &draft);
        }
        CLEANUP(layout_unrefp) struct layout *page = page_of(&draft);
        check_round(page, bases, base_count);
        for (size_t b = 0; b < base_count; b++)
            layout_unref(bases[b]);
    }
}

static void target_lists_come_back(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 12);
    for (unsigned round = 0; round < 1000; round++) {
        struct layout *lists[LAYOUT_BASES_MAX + 1];
        for (size_t i = 0; i < ARRAY_LEN(lists); i++)
            lists[i] = list_of(&random, round % 9 == 0 ? (unsigned)i * 30 : 0);
        check_round(lists[0], lists + 1, (size_t)random_below(&random, LAYOUT_BASES_MAX + 1));
        for (size_t i = 0; i < ARRAY_LEN(lists); i++)
            layout_unref(lists[i]);
    }
}

static void what_is_copied_takes_some_bytes(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 13);
    struct draft draft = {0};
    for (unsigned i = 0; i < FAMILIES_MAX; i++)
        add_family(&random, &draft);
    CLEANUP(layout_unrefp) struct layout *base = page_of(&draft);
    assert_int_equal(check_round(base, &base, 1), 1);
    draft.families[7].slots[0] = draft.next++;
    CLEANUP(layout_unrefp) struct layout *page = page_of(&draft);
    assert_true(check_round(page, &base, 1) < 40);
    assert_true(check_round(page, NULL, 0) > 5000);
}

/* ---- Over a link ---- */

static void all_but_the_first_base_are_whole(const struct layout_group *group)
{
    const struct layout_form *form;
    for (size_t at = 0; (form = map_next(&group->forms, &at));)
        for (unsigned i = 1; i < form->base_count; i++)
            assert_int_equal(layout_group_form(group, form->bases[i])->depth, 0);
}

static void many_versions_arrive(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 21);
    struct layout_link link;
    layout_link_init(&link, CACHE_BYTES, CACHE_BYTES);
    struct draft drafts[5] = {0};
    uint64_t whole = 0;
    for (unsigned round = 0; round < 200; round++) {
        struct hash128 hashes[6];
        for (unsigned d = 0; d < 5; d++) {
            drafts[d].next += d * 1000000 * (round == 0);
            for (unsigned i = 0; i < (round == 0 ? 20U : 2U); i++)
                round == 0 ? add_family(&random, &drafts[d]) : edit(&random, &drafts[d]);
            CLEANUP(layout_unrefp) struct layout *page = page_of(&drafts[d]);
            whole += page->whole_bytes;
            hashes[d] = page->hash;
            assert_int_equal(layout_table_hold(link.lower, page), 0);
        }
        CLEANUP(layout_unrefp) struct layout *list = list_of(&random, 0);
        hashes[5] = list->hash;
        assert_int_equal(layout_table_hold(link.lower, list), 0);
        link_send(&link, hashes, 6);
        for (unsigned i = 0; i < 6; i++) {
            assert_true(layout_group_has(link.upper_group, hashes[i]));
            layout_table_release(link.lower, hashes[i]);
        }
    }
    assert_int_equal(link.missing, 0);
    assert_true(link.pack_bytes < whole / 20);
    assert_true(link.segment_bytes < whole / 15);
    all_but_the_first_base_are_whole(link.lower_group);
    all_but_the_first_base_are_whole(link.upper_group);
    layout_link_done(&link);
}

static void a_missing_base_is_told_and_then_not_needed(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 22);
    struct layout_link link;
    layout_link_init(&link, CACHE_BYTES, CACHE_BYTES);
    struct draft draft = {0};
    for (unsigned i = 0; i < 20; i++)
        add_family(&random, &draft);
    CLEANUP(layout_unrefp) struct layout *first = page_of(&draft);
    edit(&random, &draft);
    CLEANUP(layout_unrefp) struct layout *second = page_of(&draft);
    assert_int_equal(layout_table_hold(link.lower, first), 0);
    assert_int_equal(layout_table_hold(link.lower, second), 0);
    link_send(&link, &first->hash, 1);
    /* The upstream lost its disk. */
    layout_packer_free(link.upper_segment);
    layout_group_free(link.upper_group);
    layout_table_free(link.upper);
    link.upper = layout_table_new(CACHE_BYTES, CACHE_BYTES);
    link.upper_group = layout_group_new(link.upper);
    link.upper_segment = layout_packer_new_group(link.upper, link.upper_group);
    link_send(&link, &second->hash, 1);
    assert_int_equal(link.missing, 1);
    assert_false(link_knows(&link, first->hash));
    assert_false(layout_table_has(link.upper, second->hash, LAYOUT_PAGE));
    layout_packer_set_alone(link.sender, true);
    link_send(&link, &second->hash, 1);
    assert_int_equal(link.missing, 1);
    assert_true(layout_group_has(link.upper_group, second->hash));
    layout_table_release(link.lower, first->hash);
    layout_table_release(link.lower, second->hash);
    layout_link_done(&link);
}

/* ---- A segment ---- */

/* Many versions of one page in one segment, and its packs one after the other. */
struct segment_world {
    struct layout_table *table;
    struct layout_group *group;
    struct buf packs[150];
    struct hash128 hashes[150];
};

static void segment_init(struct segment_world *world, uint64_t cache_bytes)
{
    struct random random;
    random_seed(&random, 31);
    world->table = layout_table_new(CACHE_BYTES, cache_bytes);
    world->group = layout_group_new(world->table);
    struct layout_packer *packer = layout_packer_new_group(world->table, world->group);
    struct draft draft = {0};
    for (unsigned i = 0; i < 20; i++)
        add_family(&random, &draft);
    for (size_t i = 0; i < ARRAY_LEN(world->packs); i++) {
        edit(&random, &draft);
        CLEANUP(layout_unrefp) struct layout *page = page_of(&draft);
        world->hashes[i] = page->hash;
        buf_init(&world->packs[i], LINK_PACK_BYTES);
        assert_int_equal(layout_table_hold(world->table, page), 0);
        assert_int_equal(layout_packer_add(packer, page->hash), 0);
        assert_int_equal(layout_packer_finish(packer, &world->packs[i]), 0);
        layout_packer_commit(packer);
        layout_table_release(world->table, page->hash);
    }
    layout_packer_free(packer);
}

static void segment_done(struct segment_world *world)
{
    for (size_t i = 0; i < ARRAY_LEN(world->packs); i++)
        buf_done(&world->packs[i]);
    layout_group_free(world->group);
    layout_table_free(world->table);
}

static unsigned deepest(const struct layout_group *group, const struct hash128 *hashes, size_t count)
{
    unsigned depth = 0;
    for (size_t i = 0; i < count; i++)
        depth = MAX(depth, layout_group_form(group, hashes[i])->depth);
    return depth;
}

/* However small the cache, each version comes back, over no more bases than there may be. */
static void versions_expand_again(void **state)
{
    (void)state;
    static struct segment_world world;
    struct random random;
    random_seed(&random, 32);
    segment_init(&world, 200 * KIB);
    assert_int_equal(deepest(world.group, world.hashes, ARRAY_LEN(world.hashes)), LAYOUT_DEPTH_MAX);
    for (unsigned i = 0; i < 500; i++) {
        struct hash128 hash = world.hashes[random_below(&random, ARRAY_LEN(world.hashes))];
        const struct layout *page = layout_table_get(world.table, hash);
        assert_non_null(page);
        assert_true(hash128_equal(page->hash, hash));
        assert_true(layout_table_cache_bytes(world.table) <= 200 * KIB);
    }
    segment_done(&world);
}

static void a_segment_is_read_again(void **state)
{
    (void)state;
    static struct segment_world world;
    segment_init(&world, CACHE_BYTES);
    struct layout_table *table = layout_table_new(CACHE_BYTES, CACHE_BYTES);
    struct layout_group *group = layout_group_new(table), *behind = layout_group_new(table);
    /* A base that is not in this segment is none, wherever else it is. */
    assert_int_equal(layout_group_take(group, buf_view(&world.packs[0])), 0);
    assert_int_equal(layout_group_take(behind, buf_view(&world.packs[1])), -EBADMSG);
    for (size_t i = 0; i < ARRAY_LEN(world.packs); i++)
        assert_int_equal(layout_group_take(group, buf_view(&world.packs[i])), 0);
    assert_int_equal(layout_table_cache_bytes(table), 0); /* nothing is made before it is asked for */
    assert_true(layout_table_packed_bytes(table) > 0);
    for (size_t i = 0; i < ARRAY_LEN(world.packs); i++) {
        const struct layout *page = layout_table_get(table, world.hashes[i]);
        assert_non_null(page);
        assert_true(hash128_equal(page->hash, world.hashes[i]));
    }
    layout_group_free(group);
    layout_group_free(behind);
    assert_int_equal(layout_table_packed_bytes(table), 0);
    layout_table_free(table);
    segment_done(&world);
}

/* Segments that go take what they packed with them; what is expanded stays while there is room. */
static void what_leaves_the_segments_leaves_memory(void **state)
{
    (void)state;
    static struct segment_world world;
    segment_init(&world, CACHE_BYTES);
    layout_group_free(STEAL(world.group));
    assert_int_equal(layout_table_packed_bytes(world.table), 0);
    assert_true(layout_table_has(world.table, world.hashes[149], LAYOUT_PAGE));
    assert_true(layout_table_cache_bytes(world.table) > 0);
    segment_done(&world);
}

static void a_full_table_says_so(void **state)
{
    (void)state;
    static struct segment_world world;
    segment_init(&world, CACHE_BYTES);
    struct layout_table *table = layout_table_new(8 * KIB, CACHE_BYTES);
    struct layout_group *group = layout_group_new(table);
    int error = 0;
    for (size_t i = 0; i < ARRAY_LEN(world.packs) && error == 0; i++)
        error = layout_group_take(group, buf_view(&world.packs[i]));
    assert_int_equal(error, -ENOSPC);
    assert_true(layout_table_is_full(table));
    layout_group_free(group);
    layout_table_free(table);
    segment_done(&world);
}

/* ---- What peers may send ---- */

static void ignore_missing(void *arg, struct hash128 hash)
{
    (void)hash;
    ++*(unsigned *)arg;
}

static int take(struct layout_table *table, struct str pack, unsigned *ret_count, unsigned *ret_missing)
{
    *ret_missing = 0;
    struct layout_take taken = {.missing = ignore_missing, .arg = ret_missing};
    int error = layout_table_take(table, pack, &taken);
    for (uint32_t i = 0; i < taken.held_count; i++)
        layout_table_release(table, taken.held[i]);
    *ret_count = taken.held_count;
    layout_take_done(&taken);
    return error;
}

static void every_cut_and_flip_is_met(void **state)
{
    (void)state;
    static struct segment_world world;
    struct random random;
    random_seed(&random, 41);
    segment_init(&world, CACHE_BYTES);
    unsigned count, missing;
    for (unsigned p = 0; p < 3; p++) {
        struct buf *pack = &world.packs[p];
        for (size_t len = 0; len < pack->len; len += 1 + len / 50)
            assert_int_equal(take(world.table, str_of(pack->data, len), &count, &missing), -EBADMSG);
        /* Under no compression every bit can be reached. */
        CLEANUP(buf_done) struct buf raw = BUF_INIT(MIB);
        buf_append_byte(&raw, pack->data[0] & ~1);
        size_t bytes = (size_t)ZSTD_getFrameContentSize(pack->data + 1, pack->len - 1);
        if (pack->data[0] & 1) {
            uint8_t *room = buf_reserve(&raw, bytes);
            assert_int_equal(ZSTD_decompress(room, bytes, pack->data + 1, pack->len - 1), bytes);
            buf_added(&raw, bytes);
        } else {
            buf_append(&raw, pack->data + 1, pack->len - 1);
        }
        assert_int_equal(take(world.table, buf_view(&raw), &count, &missing), 0);
        for (unsigned i = 0; i < 3000; i++) {
            size_t at = (size_t)random_below(&random, raw.len);
            uint8_t kept = raw.data[at];
            raw.data[at] = (uint8_t)random_next(&random);
            int error = take(world.table, buf_view(&raw), &count, &missing);
            assert_true(error == 0 || error == -EBADMSG);
            raw.data[at] = kept;
        }
    }
    segment_done(&world);
}

/* A pack of one item over the base. */
static void one_item(struct hash128 base, const struct buf *operations, struct buf *out)
{
    struct layout_pack_writer writer;
    layout_pack_writer_init(&writer, false);
    struct layout_pack_item item = {.type = LAYOUT_PAGE, .base_count = 1, .operations = buf_view(operations)};
    item.bases[0] = layout_pack_writer_name(&writer, base) << 1;
    layout_pack_writer_add(&writer, &item);
    assert_int_equal(layout_pack_writer_finish(&writer, out), 0);
    layout_pack_writer_done(&writer);
}

/* A base of one family of 5 MB, to copy from. */
static struct layout *large_base(struct layout_table *table)
{
    enum { SLOTS = 5000, BYTES = 1000 };
    CLEANUP_FREE char *texts = mem_alloc(SLOTS * BYTES);
    struct label *labels = mem_array(SLOTS, sizeof(*labels));
    struct layout_slot *slots = mem_array(SLOTS, sizeof(*slots));
    memset(texts, 'x', SLOTS * BYTES);
    for (unsigned i = 0; i < SLOTS; i++) {
        char digits[16];
        snprintf(digits, sizeof(digits), "%06u", i);
        memcpy(texts + (size_t)i * BYTES, digits, 6);
        labels[i] = (struct label){STR("a"), str_of(texts + (size_t)i * BYTES, BYTES)};
        slots[i] = (struct layout_slot){.labels = &labels[i], .label_count = 1};
    }
    struct layout_family_spec spec = {.name = STR("large"), .slots = slots, .count = SLOTS};
    CLEANUP(layout_unrefp) struct layout *family = layout_family_new(&spec);
    struct layout *page = layout_page_new(&family, 1);
    assert_int_equal(layout_table_hold(table, page), 0);
    mem_free(labels);
    mem_free(slots);
    return page;
}

static void copies_are_bounded(void **state)
{
    (void)state;
    struct layout_table *table = layout_table_new(CACHE_BYTES, GIB);
    CLEANUP(layout_unrefp) struct layout *base = large_base(table);
    unsigned count, missing;
    /* The family again and again within one page: the same twice, or past what a page may have. */
    for (unsigned kind = 0; kind < 3; kind++) {
        CLEANUP(buf_done) struct buf operations = BUF_INIT(MIB), pack = BUF_INIT(MIB);
        for (unsigned i = 0; i < 20; i++) {
            if (i > 0)
                buf_append(&operations, "\x01\x01", 2); /* base 0, one back */
            if (kind == 0) {
                buf_append_byte(&operations, 1 << 2); /* copied */
                continue;
            }
            if (kind == 1) { /* edited: all slots but i */
                buf_append_uvarint(&operations, (i == 0 ? 2 : 3) << 2 | 3);
                if (i > 0)
                    buf_append_uvarint(&operations, i << 2);
                buf_append_uvarint(&operations, 2 << 2 | 1);
                buf_append_uvarint(&operations, (5000 - i - 1) << 2);
                continue;
            }
            /* The same slots copied again and again. */
            buf_append_uvarint(&operations, 40 << 2 | 3);
            for (unsigned j = 0; j < 20; j++) {
                buf_append_uvarint(&operations, 5000 << 2);
                buf_append_uvarint(&operations, (2 * 5000 - 1) << 2 | 1);
            }
        }
        one_item(base->hash, &operations, &pack);
        uint64_t before = layout_table_cache_bytes(table);
        assert_int_equal(take(table, buf_view(&pack), &count, &missing), -EBADMSG);
        assert_int_equal(count, 0);
        assert_int_equal(layout_table_cache_bytes(table), before);
    }
    layout_table_release(table, base->hash);
    layout_table_free(table);
}

/* Many pages, each a fine edit of a large base: what a pack makes is bounded, the rest comes with another. */
static void what_a_pack_makes_is_bounded(void **state)
{
    (void)state;
    struct layout_table *table = layout_table_new(CACHE_BYTES, GIB);
    CLEANUP(layout_unrefp) struct layout *base = large_base(table);
    struct layout_pack_writer writer;
    CLEANUP(buf_done) struct buf pack = BUF_INIT(MIB);
    layout_pack_writer_init(&writer, false);
    uint32_t named = layout_pack_writer_name(&writer, base->hash);
    for (unsigned i = 1; i <= 200; i++) {
        CLEANUP(buf_done) struct buf operations = BUF_INIT(KIB);
        buf_append_uvarint(&operations, 3 << 2 | 3);
        buf_append_uvarint(&operations, i << 2);
        buf_append_uvarint(&operations, 2 << 2 | 1);
        buf_append_uvarint(&operations, (5000 - i - 1) << 2);
        struct layout_pack_item item = {
            .type = LAYOUT_PAGE, .base_count = 1, .bases = {named << 1}, .operations = buf_view(&operations)};
        layout_pack_writer_add(&writer, &item);
    }
    assert_int_equal(layout_pack_writer_finish(&writer, &pack), 0);
    layout_pack_writer_done(&writer);
    unsigned count, missing;
    assert_int_equal(take(table, buf_view(&pack), &count, &missing), 0);
    assert_true(count > 10 && count < 60);
    assert_true(layout_table_cache_bytes(table) < LAYOUT_PACK_COPIED_MAX + 16 * MIB);
    layout_table_release(table, base->hash);
    layout_table_free(table);
}

static void take_over(struct layout_table *table, struct layout_take *taken)
{
    for (uint32_t i = 0; i < taken->held_count; i++)
        layout_table_release(table, taken->held[i]);
    assert_int_equal(layout_table_held(table), 0);
    layout_take_done(taken);
    layout_table_free(table);
}

static void pack_of(const struct buf *raw, struct buf *out)
{
    buf_append_byte(out, 1);
    uint8_t *room = buf_reserve(out, ZSTD_compressBound(raw->len));
    buf_added(out, ZSTD_compress(room, ZSTD_compressBound(raw->len), raw->data, raw->len, 3));
}

/* Packs of some bytes that make 2,048 empty pages each: 65,536 of them fit into one request. */
static void packs_share_what_they_may_make(void **state)
{
    (void)state;
    enum { PACKS = 65536 };
    struct layout_table *table = layout_table_new(CACHE_BYTES, CACHE_BYTES);
    CLEANUP(buf_done) struct buf raw = BUF_INIT(MIB), pack = BUF_INIT(MIB);
    buf_append_uvarint(&raw, 0);
    buf_append_uvarint(&raw, LAYOUT_PACK_ITEMS_MAX);
    for (unsigned i = 0; i < LAYOUT_PACK_ITEMS_MAX; i++)
        buf_append(&raw, "P\0\0", 3);
    pack_of(&raw, &pack);
    assert_true(pack.len < 64);
    unsigned missing = 0;
    struct layout_take taken = {.missing = ignore_missing, .arg = &missing};
    for (unsigned i = 0; i < PACKS; i++)
        assert_int_equal(layout_table_take(table, buf_view(&pack), &taken), 0);
    assert_true(taken.is_over);
    assert_int_equal(taken.held_count, 1);
    assert_int_equal(layout_table_held(table), 1);
    assert_true(taken.items_total >= LAYOUT_PACK_ITEMS_MAX && taken.items_total < 2 * LAYOUT_PACK_ITEMS_MAX);
    assert_true(taken.raw_bytes <= 2 * raw.len);
    take_over(table, &taken);
    /* Nothing in them: what is free before zstd is shared, too. */
    table = layout_table_new(CACHE_BYTES, CACHE_BYTES);
    taken = (struct layout_take){.missing = ignore_missing, .arg = &missing};
    buf_reset(&raw);
    buf_reset(&pack);
    buf_append(&raw, "\0\1P\0", 4);
    buf_append_uvarint(&raw, 60000);
    uint8_t *room = buf_reserve(&raw, 60000);
    memset(room, 0, 60000);
    buf_added(&raw, 60000);
    pack_of(&raw, &pack);
    assert_true(pack.len < 64);
    for (unsigned i = 0; i < PACKS; i++) {
        int error = layout_table_take(table, buf_view(&pack), &taken);
        assert_true(error == (taken.item_count > 0 ? -EBADMSG : 0));
    }
    assert_true(taken.is_over && taken.items_total < 20);
    take_over(table, &taken);
    /* By bytes that are sent everything is paid for: the ceiling of items. */
    table = layout_table_new(CACHE_BYTES, CACHE_BYTES);
    taken = (struct layout_take){.missing = ignore_missing, .arg = &missing};
    for (unsigned i = 0, next = 0; i < 2 * LAYOUT_TAKE_ITEMS_MAX / LAYOUT_PACK_ITEMS_MAX; i++) {
        buf_reset(&raw);
        buf_append(&raw, "\0\0", 2); /* under no compression, no bases */
        buf_append_uvarint(&raw, LAYOUT_PACK_ITEMS_MAX);
        for (unsigned j = 0; j < LAYOUT_PACK_ITEMS_MAX; j++, next++) {
            char name[16];
            snprintf(name, sizeof(name), "%07u", next);
            buf_append(&raw,
                       "P\0\x0f\x3a"
                       "F\0\7",
                       7);
            buf_append(&raw, name, 7);
            buf_append(&raw, "\0\0\0\0", 4);
        }
        assert_int_equal(layout_table_take(table, buf_view(&raw), &taken), 0);
        if (i == 0)
            assert_int_equal(taken.held_count, LAYOUT_PACK_ITEMS_MAX);
    }
    assert_true(taken.is_over);
    assert_true(taken.items_total <= LAYOUT_TAKE_ITEMS_MAX && taken.held_count <= taken.items_total);
    take_over(table, &taken);
}

/* What is made for nothing is one item of a request: those behind it are not even begun. */
static void what_is_past_the_copies_is_not_made(void **state)
{
    (void)state;
    enum { TARGETS = 16000, NAMES = 60000 };
    for (unsigned kind = 0; kind < 3; kind++) {
        struct layout_table *table = layout_table_new(CACHE_BYTES, 4 * GIB);
        CLEANUP(buf_done) struct buf pack = BUF_INIT(MIB), operations = BUF_INIT(KIB);
        CLEANUP(layout_unrefp) struct layout *base = NULL;
        if (kind == 0) {
            base = large_base(table); /* all slots but one */
            buf_append_uvarint(&operations, 1 << 2 | 3);
            buf_append_uvarint(&operations, 4999 << 2);
        } else if (kind == 1) { /* all targets but one */
            struct labels **targets = mem_array(TARGETS, sizeof(struct labels *));
            for (unsigned i = 0; i < TARGETS; i++) {
                char text[64];
                snprintf(text, sizeof(text), "a-target-with-a-long-name-%u", i);
                struct label label = {STR("instance"), str_from(text)};
                targets[i] = labels_new(&label, 1);
            }
            base = layout_targets_new(targets, TARGETS);
            for (unsigned i = 0; i < TARGETS; i++)
                labels_unref(targets[i]);
            mem_free(targets);
            assert_int_equal(layout_table_hold(table, base), 0);
            buf_append_uvarint(&operations, (TARGETS - 1) << 2);
        } else { /* all families but one */
            struct layout **families = mem_array(NAMES, sizeof(struct layout *));
            for (unsigned i = 0; i < NAMES; i++) {
                char name[16];
                snprintf(name, sizeof(name), "f%u", i);
                struct layout_family_spec spec = {.name = str_from(name)};
                families[i] = layout_family_new(&spec);
            }
            base = layout_page_new(families, NAMES);
            for (unsigned i = 0; i < NAMES; i++)
                layout_unref(families[i]);
            mem_free(families);
            assert_int_equal(layout_table_hold(table, base), 0);
            buf_append_uvarint(&operations, (NAMES - 1) << 2);
        }
        struct layout_pack_writer writer;
        layout_pack_writer_init(&writer, false);
        uint32_t named = layout_pack_writer_name(&writer, base->hash);
        for (unsigned i = 0; i < LAYOUT_PACK_ITEMS_MAX; i++) {
            struct layout_pack_item item = {
                .type = base->type, .base_count = 1, .bases = {named << 1}, .operations = buf_view(&operations)};
            layout_pack_writer_add(&writer, &item);
        }
        assert_int_equal(layout_pack_writer_finish(&writer, &pack), 0);
        layout_pack_writer_done(&writer);
        unsigned missing = 0;
        struct layout_take taken = {.missing = ignore_missing, .arg = &missing};
        uint32_t begun = 0, made = 0;
        for (unsigned i = 0; i < 10; i++) {
            assert_int_equal(layout_table_take(table, buf_view(&pack), &taken), 0);
            begun += taken.item_count;
            for (uint32_t j = 0; j < taken.item_count; j++)
                made += layout_table_has(table, taken.items[j], base->type);
            assert_true(i > 0 || taken.is_over);
        }
        assert_int_equal(begun, taken.items_total);
        assert_int_equal(begun, made + 1);
        assert_true(made > 10 && taken.spent.copied <= LAYOUT_PACK_COPIED_MAX);
        assert_int_equal(taken.held_count, 1);
        layout_table_release(table, base->hash);
        take_over(table, &taken);
    }
}

/* Whoever prints a pack tells its items apart, those that were passed over too. */
static void what_each_item_made_is_told(void **state)
{
    (void)state;
    struct layout_table *table = layout_table_new(CACHE_BYTES, CACHE_BYTES);
    CLEANUP(buf_done) struct buf pack = BUF_INIT(KIB);
    unsigned missing = 0;
    struct layout_take taken = {.missing = ignore_missing, .arg = &missing};
    buf_append(&pack,
               "\0\1"
               "0123456789abcdef"
               "\4P\1\0\0"
               "T\0\0"
               "P\1\1\0"
               "P\0\0",
               33);
    assert_int_equal(layout_table_take(table, buf_view(&pack), &taken), 0);
    assert_int_equal(missing, 1);
    assert_int_equal(taken.item_count, 4);
    static const struct hash128 nothing;
    assert_true(hash128_equal(taken.items[0], nothing) && hash128_equal(taken.items[2], nothing));
    assert_true(layout_table_has(table, taken.items[1], LAYOUT_TARGETS));
    assert_true(layout_table_has(table, taken.items[3], LAYOUT_PAGE));
    assert_int_equal(taken.held_count, 2);
    take_over(table, &taken);
}

/* ---- What writing may cost ---- */

static struct layout *numbered_family(unsigned from, unsigned count)
{
    char(*values)[12] = mem_array(count, sizeof(*values));
    struct label *labels = mem_array(count, sizeof(*labels));
    struct layout_slot *slots = mem_array(count, sizeof(*slots));
    for (unsigned i = 0; i < count; i++) {
        snprintf(values[i], sizeof(values[i]), "%u", from + i);
        labels[i] = (struct label){STR("s"), str_from(values[i])};
        slots[i] = (struct layout_slot){.labels = &labels[i], .label_count = 1};
    }
    struct layout_family_spec spec = {.name = STR("m"), .slots = slots, .count = count};
    struct layout *family = layout_family_new(&spec);
    assert_non_null(family);
    mem_free(slots);
    mem_free(labels);
    mem_free(values);
    return family;
}

/* The bytes of the edit of a page of families of one name, `count` slots each, rising by one, over a page of one. */
static size_t edit_bytes(unsigned base_slots, unsigned families, unsigned count, bool *ret_used, size_t *ret_text)
{
    CLEANUP(layout_unrefp) struct layout *large = numbered_family(0, base_slots);
    CLEANUP(layout_unrefp) struct layout *base = layout_page_new(&large, 1);
    CLEANUP(buf_done) struct buf operations = BUF_INIT(16 * MIB);
    struct layout **own = mem_array(families, sizeof(struct layout *));
    for (unsigned i = 0; i < families; i++)
        own[i] = numbered_family(base_slots - count - i - 1, count);
    CLEANUP(layout_unrefp) struct layout *page = layout_page_new(own, families);
    *ret_text = 0;
    for (unsigned i = 0; i < families; i++) {
        *ret_text += own[i]->bytes_len;
        layout_unref(own[i]);
    }
    mem_free(own);
    struct layout_bases bases = {.items = {base}, .count = 1};
    assert_int_equal(layout_item_encode(page, &bases, &operations, ret_used), 0);
    return operations.len;
}

/* To say an edit the base's slots are gone through: a base's family serves one, and none that is far smaller. */
static void a_base_is_gone_through_once(void **state)
{
    (void)state;
    bool used;
    size_t text;
    /* Each of 300 families has its only slot in the base, far behind: said whole, at once. */
    assert_true(edit_bytes(20000, 300, 1, &used, &text) > text);
    assert_false(used);
    /* Of three that are like it one is an edit, in some bytes. */
    size_t bytes = edit_bytes(1000, 3, 990, &used, &text);
    assert_true(used);
    assert_in_range(bytes, text * 2 / 3, text * 2 / 3 + 32);
    assert_true(edit_bytes(1000, 1, 990, &used, &text) < 16);
    /* One that has lost most of its slots is still one. */
    assert_true(edit_bytes(4000, 1, 100, &used, &text) < 16);
}

/* A kibibyte that claims as much as it can by itself. */
static void what_a_small_pack_claims_is_bounded(void **state)
{
    (void)state;
    struct layout_table *table = layout_table_new(CACHE_BYTES, GIB);
    CLEANUP(buf_done) struct buf raw = BUF_INIT(16 * MIB), family = BUF_INIT(16 * MIB), pack = BUF_INIT(MIB);
    unsigned count, missing;
    for (unsigned families = 1000; families <= 1000000; families *= 10) {
        buf_reset(&raw);
        buf_reset(&family);
        buf_reset(&pack);
        for (unsigned i = 0; i < families; i++) {
            char name[16];
            snprintf(name, sizeof(name), "%07u", i);
            buf_append_uvarint(&family, 14 << 2 | 2);
            buf_append(&family, "F\0\7", 3);
            buf_append(&family, name, 7);
            buf_append(&family, "\0\0\0\0", 4);
        }
        buf_append(&raw, "\0\1P\0", 4);
        buf_append_uvarint(&raw, family.len);
        buf_append_str(&raw, buf_view(&family));
        buf_append_byte(&pack, 1);
        uint8_t *room = buf_reserve(&pack, ZSTD_compressBound(raw.len));
        if (!room)
            break;
        buf_added(&pack, ZSTD_compress(room, ZSTD_compressBound(raw.len), raw.data, raw.len, 19));
        int error = take(table, buf_view(&pack), &count, &missing);
        assert_true(error == 0 || error == -EBADMSG);
        assert_true(layout_table_cache_bytes(table) <= MIB + LAYOUT_PACK_CLAIM_RATIO * raw.len);
        assert_true(error == -EBADMSG ||
                    raw.len <= MAX((size_t)LAYOUT_PACK_RAW_FREE, pack.len * LAYOUT_PACK_RAW_RATIO));
    }
    /* A frame of zeros: refused by its length, before it is unpacked. */
    CLEANUP_FREE uint8_t *zeros = mem_zalloc(16 * MIB);
    buf_reset(&pack);
    buf_append_byte(&pack, 1);
    uint8_t *room = buf_reserve(&pack, 64 * KIB);
    buf_added(&pack, ZSTD_compress(room, 64 * KIB, zeros, 16 * MIB, 1));
    assert_int_equal(take(table, buf_view(&pack), &count, &missing), -EBADMSG);
    layout_table_free(table);
}

/* Regular pages shrink more than a reader allows: they are filled up, and taken. */
static void a_very_regular_page_is_taken(void **state)
{
    (void)state;
    enum { REGULAR_FAMILIES = 400, REGULAR_SLOTS = 500 };
    struct layout_link link;
    layout_link_init(&link, CACHE_BYTES, GIB);
    struct layout *families[REGULAR_FAMILIES];
    char values[REGULAR_SLOTS][16];
    struct label labels[REGULAR_SLOTS];
    struct layout_slot slots[REGULAR_SLOTS];
    for (unsigned i = 0; i < REGULAR_SLOTS; i++) {
        snprintf(values[i], sizeof(values[i]), "veth%u", i);
        labels[i] = (struct label){STR("device"), str_from(values[i])};
        slots[i] = (struct layout_slot){.labels = &labels[i], .label_count = 1};
    }
    for (unsigned f = 0; f < REGULAR_FAMILIES; f++) {
        char name[32];
        snprintf(name, sizeof(name), "network_%u", f);
        struct layout_family_spec spec = {.name = str_from(name), .slots = slots, .count = REGULAR_SLOTS};
        families[f] = layout_family_new(&spec);
    }
    CLEANUP(layout_unrefp) struct layout *page = layout_page_new(families, REGULAR_FAMILIES);
    for (unsigned f = 0; f < REGULAR_FAMILIES; f++)
        layout_unref(families[f]);
    assert_int_equal(layout_table_hold(link.lower, page), 0);
    link_send(&link, &page->hash, 1);
    assert_true(layout_group_has(link.upper_group, page->hash));
    assert_true(link.pack_bytes >= (page->whole_bytes - page->bytes_len) / LAYOUT_PACK_RAW_RATIO);
    assert_true(link.pack_bytes < page->whole_bytes / LAYOUT_PACK_RAW_RATIO + 4096);
    layout_table_release(link.lower, page->hash);
    layout_link_done(&link);
}

static void malformed_packs_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        {"", 0},
        {"\x04\0\0", 3},                                               /* an unknown flag */
        {"\0", 1},                                                     /* no number of bases */
        {"\0\1", 2},                                                   /* a base cut short */
        {"\0\0\1", 3},                                                 /* an item that is not there */
        {"\0\0\0x", 4},                                                /* something behind it */
        {"\0\0\1X\0\0", 6},                                            /* neither page nor list */
        {"\0\0\1P\1\0\0", 7},                                          /* of a base that is not named */
        {"\0\0\1P\1\1\0", 7},                                          /* of itself */
        {"\0\0\1P\5\1\1\1\1\1\0", 11},                                 /* more bases than may be */
        {"\0\0\1P\0\1\4", 7},                                          /* a copy of no base */
        {"\0\0\1P\0\1\3", 7},                                          /* an edit of none */
        {"\0\0\2P\0\0P\1\1\1\4", 11},                                  /* a copy past the end of an empty page */
        {"\0\0\2P\0\0T\1\1\0", 10},                                    /* a page as base of a list */
        {"\0\0\2P\0\0P\1\1\2\1\2", 12},                                /* a cursor past the end */
        {"\0\0\2P\0\0P\1\1\2\1\1", 12},                                /* before the beginning */
        {"\0\0\1P\0\1\xfe", 7},                                        /* a number cut short */
        {"\0\0\1P\0\x0b\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", 16}, /* a family longer than what is left */
        {"\0\0\1T\0\1\3", 7},                                          /* no such operation of a list */
        {"\0\0\1T\0\1\6", 7},                                          /* a target that is not there */
        {"\1zzzz", 5},                                                 /* no zstd */
    };
    struct layout_table *table = layout_table_new(CACHE_BYTES, CACHE_BYTES);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        unsigned count, missing;
        if (take(table, str_of(cases[i].bytes, cases[i].len), &count, &missing) != -EBADMSG)
            fail_msg("case %zu is taken", i);
        struct layout_group *group = layout_group_new(table);
        if (layout_group_take(group, str_of(cases[i].bytes, cases[i].len)) != -EBADMSG)
            fail_msg("case %zu is taken of a disk", i);
        layout_group_free(group);
    }
    layout_table_free(table);
}

/* docs/batch-format.md shows these very bytes. */
static void the_bytes_are_as_documented(void **state)
{
    (void)state;
    unsigned values[] = {1, 2, 3};
    struct layout *pages[2];
    for (unsigned p = 0; p < 2; p++) {
        char text[3][2];
        struct label labels[3];
        struct layout_slot slots[3];
        unsigned count = 0;
        for (unsigned i = 0; i < 3; i++) {
            if (p == 0 && i == 2)
                continue;
            snprintf(text[i], sizeof(text[i]), "%u", values[i]);
            labels[i] = (struct label){STR("a"), str_from(text[i])};
            slots[count++] = (struct layout_slot){.labels = &labels[i], .label_count = 1};
        }
        struct layout_family_spec spec = {
            .name = STR("m"), .metric_type = METRIC_COUNTER, .slots = slots, .count = count};
        CLEANUP(layout_unrefp) struct layout *family = layout_family_new(&spec);
        pages[p] = layout_page_new(&family, 1);
    }
    CLEANUP(buf_done) struct buf operations = BUF_INIT(KIB);
    bool used[1];
    struct layout_bases bases = {.items = {pages[0]}, .count = 1};
    assert_int_equal(layout_item_encode(pages[1], &bases, &operations, used), 0);
    static const char edit_bytes[] = "\x0b\x08\x06\x01\x00\x01"
                                     "3";
    assert_int_equal(operations.len, sizeof(edit_bytes) - 1);
    assert_memory_equal(operations.data, edit_bytes, operations.len);
    layout_unref(pages[0]);
    layout_unref(pages[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edits_come_back),
        cmocka_unit_test(target_lists_come_back),
        cmocka_unit_test(what_is_copied_takes_some_bytes),
        cmocka_unit_test(many_versions_arrive),
        cmocka_unit_test(a_missing_base_is_told_and_then_not_needed),
        cmocka_unit_test(versions_expand_again),
        cmocka_unit_test(a_segment_is_read_again),
        cmocka_unit_test(what_leaves_the_segments_leaves_memory),
        cmocka_unit_test(a_full_table_says_so),
        cmocka_unit_test(every_cut_and_flip_is_met),
        cmocka_unit_test(copies_are_bounded),
        cmocka_unit_test(what_a_pack_makes_is_bounded),
        cmocka_unit_test(what_a_small_pack_claims_is_bounded),
        cmocka_unit_test(packs_share_what_they_may_make),
        cmocka_unit_test(what_is_past_the_copies_is_not_made),
        cmocka_unit_test(what_each_item_made_is_told),
        cmocka_unit_test(a_base_is_gone_through_once),
        cmocka_unit_test(a_very_regular_page_is_taken),
        cmocka_unit_test(malformed_packs_are_refused),
        cmocka_unit_test(the_bytes_are_as_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
