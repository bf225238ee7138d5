#include "groups.h"

#include "base/fail.h"
#include "base/map.h"
#include "text_pool.h"

#include <errno.h>
#include <stdlib.h>

/* texts: label_count pairs of the group, then of each target its address, its number of labels, and their pairs. */
struct group {
    struct text_pool *pool;
    uint32_t references;
    uint32_t label_count, target_count;
    uint32_t text_count; /* numbers in `texts` */
    uint32_t source;
    uint64_t listing; /* the one that said it last */
    uint32_t texts[];
};

struct groups {
    struct text_pool *pool;
    struct map current, staged; /* struct group by its source */
    size_t targets;             /* of current */
    size_t staged_targets;      /* said in this listing, the same ones too */
    bool listing;
    uint64_t listings, commits, changes;
};

/* ---- one group ---- */

struct group *group_ref(struct group *group)
{
    group->references++;
    return group;
}

/* Walks all texts: pairs first, then targets; fn gets each number that is a text's. */
static void each_text(const struct group *group, void (*fn)(struct text_pool *, uint32_t))
{
    const uint32_t *at = group->texts;
    for (uint32_t i = 0; i < 2 * group->label_count; i++)
        fn(group->pool, *at++);
    for (uint32_t i = 0; i < group->target_count; i++) {
        fn(group->pool, *at++);
        uint32_t labels = *at++;
        for (uint32_t j = 0; j < 2 * labels; j++)
            fn(group->pool, *at++);
    }
}

void group_unref(struct group *group)
{
    if (!group || --group->references > 0)
        return;
    each_text(group, text_pool_give);
    text_pool_give(group->pool, group->source);
    mem_free(group);
}

size_t group_target_count(const struct group *group)
{
    return group->target_count;
}

struct str group_source(const struct group *group)
{
    return text_pool_at(group->pool, group->source);
}

static struct label label_at(const struct group *group, const uint32_t *pair)
{
    return (struct label){text_pool_at(group->pool, pair[0]), text_pool_at(group->pool, pair[1])};
}

bool group_next_target(const struct group *group, struct group_cursor *at, struct group_target *ret_target)
{
    if (at->index == group->target_count)
        return false;
    if (at->index++ == 0)
        at->place = 2 * (size_t)group->label_count;
    const uint32_t *own = group->texts + at->place, *shared = group->texts;
    const uint32_t *shared_end = shared + 2 * (size_t)group->label_count, *own_end = own + 2 + 2 * (size_t)own[1];
    at->place = (size_t)(own_end - group->texts);
    ret_target->address = text_pool_at(group->pool, own[0]);
    ret_target->label_count = 0;
    own += 2;
    while (shared < shared_end || own < own_end) {
        int order = own == own_end         ? -1
                    : shared == shared_end ? 1
                                           : str_compare(label_at(group, shared).name, label_at(group, own).name);
        ret_target->labels[ret_target->label_count++] = label_at(group, order < 0 ? shared : own);
        shared += order <= 0 ? 2 : 0;
        own += order >= 0 ? 2 : 0;
    }
    return true;
}

/* ---- making one ---- */

struct making {
    struct text_pool *pool;
    uint32_t *texts;
    size_t count, capacity;
    const struct label **sorted;
};

static void add_number(struct making *making, uint32_t number)
{
    if (making->count == making->capacity) {
        making->capacity = MAX(2 * making->capacity, (size_t)64);
        making->texts = mem_resize(making->texts, making->capacity, sizeof(uint32_t));
    }
    making->texts[making->count++] = number;
}

/* By name; of equal names as they came. */
static int compare_labels(const void *a, const void *b)
{
    const struct label *left = *(const struct label *const *)a, *right = *(const struct label *const *)b;
    int order = str_compare(left->name, right->name);
    return order != 0 ? order : (left > right) - (left < right);
}

/* The pairs, sorted, the last of one name, without empty ones. Returns how many. */
static uint32_t add_labels(struct making *making, const struct label *labels, size_t count)
{
    uint32_t added = 0;
    for (size_t i = 0; i < count; i++)
        making->sorted[i] = &labels[i];
    if (count > 1)
        qsort(making->sorted, count, sizeof(making->sorted[0]), compare_labels);
    for (size_t i = 0; i < count; i++) {
        bool again = i + 1 < count && str_equal(making->sorted[i]->name, making->sorted[i + 1]->name);
        if (again || making->sorted[i]->value.len == 0)
            continue;
        add_number(making, text_pool_take(making->pool, making->sorted[i]->name));
        add_number(making, text_pool_take(making->pool, making->sorted[i]->value));
        added++;
    }
    return added;
}

static struct group *make_group(struct text_pool *pool, const struct discovery_group *from)
{
    struct making making = {.pool = pool, .sorted = mem_array(DISCOVERY_LABELS_MAX, sizeof(struct label *))};
    uint32_t label_count = add_labels(&making, from->labels, from->label_count);
    for (size_t i = 0; i < from->target_count; i++) {
        add_number(&making, text_pool_take(pool, from->targets[i].address));
        size_t at = making.count;
        add_number(&making, 0);
        uint32_t own = add_labels(&making, from->targets[i].labels, from->targets[i].label_count);
        making.texts[at] = own;
    }
    struct group *group = mem_alloc(sizeof(*group) + making.count * sizeof(uint32_t));
    *group = (struct group){.pool = pool,
                            .references = 1,
                            .label_count = label_count,
                            .target_count = (uint32_t)from->target_count,
                            .text_count = (uint32_t)making.count,
                            .source = text_pool_take(pool, from->source)};
    if (making.count > 0)
        memcpy(group->texts, making.texts, making.count * sizeof(uint32_t));
    mem_free(making.texts);
    mem_free(making.sorted);
    return group;
}

static bool same_content(const struct group *a, const struct group *b)
{
    return a->label_count == b->label_count && a->target_count == b->target_count && a->text_count == b->text_count &&
           memcmp(a->texts, b->texts, a->text_count * sizeof(uint32_t)) == 0;
}

/* ---- what is taken ---- */

static int check_labels(const struct label *labels, size_t count, size_t *bytes, char ret_error[static 256])
{
    for (size_t i = 0; i < count; i++) {
        struct str name = labels[i].name, value = labels[i].value;
        *bytes += name.len + value.len;
        if (!label_name_is_valid(name) || name.len > LABEL_NAME_BYTES_MAX)
            return error_text(-EINVAL, ret_error, "\"%.*s\" is no label name", (int)MIN(name.len, (size_t)64),
                              name.ptr ? name.ptr : "");
        if (value.len > LABEL_VALUE_BYTES_MAX || !str_is_utf8(value))
            return error_text(-EINVAL, ret_error, "the value of %.*s is not UTF-8, or of more than %zu KiB",
                              (int)MIN(name.len, (size_t)64), name.ptr, LABEL_VALUE_BYTES_MAX / KIB);
    }
    return 0;
}

static int check_group(const struct discovery_group *group, char ret_error[static 256])
{
    size_t bytes = group->source.len;
    if (group->target_count > DISCOVERY_GROUP_TARGETS_MAX)
        return error_text(-EINVAL, ret_error, "more than %d targets in one group", DISCOVERY_GROUP_TARGETS_MAX);
    if (group->label_count > DISCOVERY_LABELS_MAX)
        return error_text(-EINVAL, ret_error, "more than %d labels", DISCOVERY_LABELS_MAX);
    int r = check_labels(group->labels, group->label_count, &bytes, ret_error);
    for (size_t i = 0; r == 0 && i < group->target_count; i++) {
        const struct discovery_target *target = &group->targets[i];
        bytes += target->address.len;
        if (target->label_count > DISCOVERY_LABELS_MAX - group->label_count)
            return error_text(-EINVAL, ret_error, "more than %d labels", DISCOVERY_LABELS_MAX);
        if (!str_is_utf8(target->address) || target->address.len > LABEL_VALUE_BYTES_MAX)
            return error_text(-EINVAL, ret_error, "an address is not UTF-8, or too long");
        r = check_labels(target->labels, target->label_count, &bytes, ret_error);
        if (r == 0 && bytes > DISCOVERY_GROUP_BYTES_MAX)
            return error_text(-EINVAL, ret_error, "a group of more than %zu MiB", DISCOVERY_GROUP_BYTES_MAX / MIB);
    }
    return r;
}

/* ---- all of a section ---- */

struct groups *groups_new(struct text_pool *pool)
{
    struct groups *groups = mem_zalloc(sizeof(*groups));
    groups->pool = pool;
    map_init(&groups->current);
    map_init(&groups->staged);
    return groups;
}

static void drop_all(struct map *map)
{
    size_t at = 0;
    for (struct group *group; (group = map_next(map, &at));)
        group_unref(group);
    map_clear(map);
}

void groups_free(struct groups *groups)
{
    if (!groups)
        return;
    drop_all(&groups->current);
    drop_all(&groups->staged);
    map_done(&groups->current);
    map_done(&groups->staged);
    mem_free(groups);
}

static bool source_equal(const void *item, const void *key)
{
    return str_equal(group_source(item), *(const struct str *)key);
}

static struct group *take_out(struct map *map, struct str source)
{
    return map_remove(map, str_hash(source), source_equal, &source);
}

/* Into what is in force; the group's reference is taken over. */
static void set_current(struct groups *groups, struct group *group)
{
    struct str source = group_source(group);
    struct group *old = take_out(&groups->current, source);
    groups->targets += group->target_count;
    groups->targets -= old ? old->target_count : 0;
    map_put(&groups->current, str_hash(source), group);
    group_unref(old);
    groups->changes++;
}

void groups_remove(struct groups *groups, struct str source)
{
    struct group *group = take_out(&groups->current, source);
    if (!group)
        return;
    groups->targets -= group->target_count;
    groups->changes++;
    group_unref(group);
}

/* A group of no targets. */
static void unsay(struct groups *groups, struct str source, struct group *known)
{
    if (!groups->listing) {
        groups_remove(groups, source);
        return;
    }
    group_unref(take_out(&groups->staged, source));
    if (known)
        known->listing = 0;
}

int groups_put(struct groups *groups, const struct discovery_group *from, char ret_error[static 256])
{
    size_t targets = groups->listing ? groups->staged_targets : groups->targets;
    struct group *known = map_get(&groups->current, str_hash(from->source), source_equal, &from->source);
    if (known) /* said, be it well or badly: it stays, or is replaced */
        known->listing = groups->listings;
    int r = check_group(from, ret_error);
    if (r == 0 && (targets + from->target_count > DISCOVERY_TARGETS_MAX ||
                   groups->staged.count + groups->current.count > 2 * (size_t)DISCOVERY_TARGETS_MAX))
        r = error_text(-EINVAL, ret_error, "more than %d targets", DISCOVERY_TARGETS_MAX);
    if (r < 0)
        return r;
    if (from->target_count == 0) {
        unsay(groups, from->source, known);
        return 0;
    }
    struct group *group = make_group(groups->pool, from);
    group->listing = groups->listings;
    if (groups->listing) {
        struct group *before = take_out(&groups->staged, from->source);
        groups->staged_targets += group->target_count;
        groups->staged_targets -= before ? before->target_count : 0;
        group_unref(before);
    }
    if (known && same_content(known, group))
        group_unref(group);
    else if (groups->listing)
        map_put(&groups->staged, str_hash(from->source), group);
    else
        set_current(groups, group);
    return 0;
}

void groups_begin(struct groups *groups)
{
    groups_abort(groups);
    groups->listing = true;
    groups->listings++;
}

void groups_abort(struct groups *groups)
{
    drop_all(&groups->staged);
    groups->staged_targets = 0;
    groups->listing = false;
}

bool groups_is_listing(const struct groups *groups)
{
    return groups->listing;
}

/* Groups that the listing did not say. */
static void remove_unsaid(struct groups *groups)
{
    struct group **gone = mem_array(groups->current.count, sizeof(struct group *));
    size_t count = 0, at = 0;
    for (struct group *group; (group = map_next(&groups->current, &at));)
        if (group->listing != groups->listings)
            gone[count++] = group;
    for (size_t i = 0; i < count; i++)
        groups_remove(groups, group_source(gone[i]));
    mem_free(gone);
}

void groups_commit(struct groups *groups)
{
    size_t at = 0;
    if (!groups->listing)
        return;
    remove_unsaid(groups);
    groups->staged_targets = 0;
    map_reserve(&groups->current, groups->current.count + groups->staged.count);
    for (struct group *group; (group = map_next(&groups->staged, &at));)
        set_current(groups, group);
    map_clear(&groups->staged);
    groups->listing = false;
    groups->commits++;
}

uint64_t groups_commits(const struct groups *groups)
{
    return groups->commits;
}

uint64_t groups_changes(const struct groups *groups)
{
    return groups->changes;
}

size_t groups_count(const struct groups *groups)
{
    return groups->current.count;
}

size_t groups_targets(const struct groups *groups)
{
    return groups->targets;
}

struct group *groups_next(const struct groups *groups, size_t *at)
{
    return map_next(&groups->current, at);
}
