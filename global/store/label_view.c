/* Labels of a select's series as one reader wants them: few names make few sets, each of which is made once. */
#include "store/select_internal.h"

#include "base/fail.h"

struct label_view {
    const struct select *select;
    bool *wanted; /* by pair */
    bool few;     /* names that are wanted alone: sets are kept */
    struct map sets;
};

struct kept_set {
    struct labels *labels;
    uint32_t count;
    uint32_t pairs[];
};

static bool is_wanted(const struct labels_wanted *wanted, struct str name)
{
    if (wanted->without_name && str_equal(name, STR(LABEL_NAME))) {
        return false;
    }
    ASSERT(wanted->names || wanted->name_count == 0);
    for (size_t i = 0; i < wanted->name_count; i++) {
        if (str_equal(wanted->names[i], name)) {
            return true;
        }
    }
    return !wanted->names;
}

struct label_view *label_view_new(const struct select *select, const struct labels_wanted *wanted)
{
    struct label_view *view = mem_zalloc(sizeof(*view));
    *view = (struct label_view){.select = select, .few = wanted->names != NULL};
    view->wanted = mem_array(select->pairs.count, sizeof(bool));
    map_init(&view->sets);
    for (uint32_t i = 0; i < select->pairs.count; i++) {
        view->wanted[i] = is_wanted(wanted, select->pairs.items[i].name);
    }
    return view;
}

void label_view_free(struct label_view *view)
{
    if (!view) {
        return;
    }
    size_t at = 0;
    struct kept_set *set;
    while ((set = map_next(&view->sets, &at))) {
        labels_unref(set->labels);
        mem_free(set);
    }
    map_done(&view->sets);
    mem_free(view->wanted);
    mem_free(view);
}

struct wanted_pairs {
    uint32_t pairs[LABELS_MAX];
    uint32_t count;
};

static bool is_set(const void *item, const void *key)
{
    const struct kept_set *set = item;
    const struct wanted_pairs *wanted = key;
    return set->count == wanted->count && memcmp(set->pairs, wanted->pairs, set->count * sizeof(set->pairs[0])) == 0;
}

static struct labels *make(const struct label_view *view, const struct wanted_pairs *wanted)
{
    struct label labels[LABELS_MAX];
    for (uint32_t i = 0; i < wanted->count; i++) {
        labels[i] = view->select->pairs.items[wanted->pairs[i]];
    }
    return labels_new(labels, wanted->count);
}

static struct labels *find_or_make(struct label_view *view, const struct wanted_pairs *wanted)
{
    uint64_t hash = str_hash(str_of((const char *)wanted->pairs, wanted->count * sizeof(wanted->pairs[0])));
    struct kept_set *set = map_get(&view->sets, hash, is_set, wanted);
    if (!set) {
        set = mem_alloc(sizeof(*set) + wanted->count * sizeof(set->pairs[0]));
        *set = (struct kept_set){make(view, wanted), wanted->count};
        memcpy(set->pairs, wanted->pairs, wanted->count * sizeof(set->pairs[0]));
        map_put(&view->sets, hash, set);
    }
    return labels_ref(set->labels);
}

struct labels *label_view_labels(struct label_view *view, size_t index)
{
    size_t count;
    const uint32_t *key = &view->select->keys[select_entries_of(view->select, index, &count)->key];
    struct wanted_pairs wanted;
    wanted.count = 0;
    for (uint32_t i = 1; i <= key[0]; i++) {
        if (view->wanted[key[i]]) {
            wanted.pairs[wanted.count++] = key[i];
        }
    }
    return view->few ? find_or_make(view, &wanted) : make(view, &wanted);
}
