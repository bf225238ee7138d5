#include "store/postings.h"

#include "base/fail.h"

#include <errno.h>

/* One label: its text, said once for all series, and who has it. Most values of the many that name one pod or one disk
 * have one series, so that one costs no bitmap. */
struct posting_value {
    roaring_bitmap_t *refs; /* NULL: `only` is the one */
    uint32_t only;
    uint32_t pair;
    struct posting_name *name;
    uint32_t len;
    char text[];
};

#define NOBODY UINT32_MAX /* in `only`: made, and nobody has it yet */

struct posting_name {
    struct map values;
    uint32_t len;
    char text[];
};

roaring_bitmap_t *bitmap_new(void)
{
    roaring_bitmap_t *bitmap = roaring_bitmap_create();
    if (!bitmap) {
        fatal("out of memory for a bitmap");
    }
    return bitmap;
}

static roaring_bitmap_t *bitmap_copy(const roaring_bitmap_t *of)
{
    roaring_bitmap_t *bitmap = roaring_bitmap_copy(of);
    if (!bitmap) {
        fatal("out of memory for a bitmap");
    }
    return bitmap;
}

void bitmap_free(roaring_bitmap_t *bitmap)
{
    if (bitmap) {
        roaring_bitmap_free(bitmap);
    }
}

static bool value_equal(const void *item, const void *key)
{
    const struct posting_value *value = item;
    return str_equal(str_of(value->text, value->len), *(const struct str *)key);
}

static bool name_equal(const void *item, const void *key)
{
    const struct posting_name *name = item;
    return str_equal(str_of(name->text, name->len), *(const struct str *)key);
}

static struct posting_name *find_name(const struct postings *postings, struct str name)
{
    return map_get(&postings->names, str_hash(name), name_equal, &name);
}

static struct posting_value *find_value(const struct posting_name *name, struct str value)
{
    return name ? map_get(&name->values, str_hash(value), value_equal, &value) : NULL;
}

void postings_init(struct postings *postings, postings_value_fn *value_of, void *value_arg)
{
    *postings = (struct postings){.all = bitmap_new(), .value_of = value_of, .value_arg = value_arg};
    map_init(&postings->names);
}

static void value_free(struct posting_value *value)
{
    bitmap_free(value->refs);
    mem_free(value);
}

static void name_free(struct posting_name *name)
{
    struct posting_value *value;
    size_t at = 0;
    while ((value = map_next(&name->values, &at))) {
        value_free(value);
    }
    map_done(&name->values);
    mem_free(name);
}

void postings_done(struct postings *postings)
{
    struct posting_name *name;
    size_t at = 0;
    while ((name = map_next(&postings->names, &at))) {
        name_free(name);
    }
    map_done(&postings->names);
    bitmap_free(postings->all);
    postings->all = NULL;
    mem_free(postings->pairs);
    mem_free(postings->free_pairs);
}

static struct posting_name *name_add(struct postings *postings, struct str text)
{
    struct posting_name *name = mem_alloc(sizeof(*name) + text.len);
    map_init(&name->values);
    name->len = (uint32_t)text.len;
    memcpy(name->text, text.ptr, text.len);
    map_put(&postings->names, str_hash(text), name);
    return name;
}

static uint32_t take_pair(struct postings *postings)
{
    if (postings->free_pair_count > 0) {
        return postings->free_pairs[--postings->free_pair_count];
    }
    if (postings->pair_count == postings->pair_capacity) {
        ASSERT(postings->pair_capacity < UINT32_MAX / 2);
        postings->pair_capacity = postings->pair_capacity + postings->pair_capacity / 2 + 1024;
        postings->pairs = mem_resize(postings->pairs, postings->pair_capacity, sizeof(*postings->pairs));
        postings->free_pairs = mem_resize(postings->free_pairs, postings->pair_capacity, sizeof(uint32_t));
    }
    return postings->pair_count++;
}

static size_t value_bytes(const struct posting_value *value)
{
    return sizeof(*value) + value->len + 2 * sizeof(void *) * 2; /* its slot in the map, half of which is free */
}

static struct posting_value *value_add(struct postings *postings, struct posting_name *name, struct str text)
{
    struct posting_value *value = mem_alloc(sizeof(*value) + text.len);
    *value = (struct posting_value){.only = NOBODY, .pair = take_pair(postings), .name = name};
    value->len = (uint32_t)text.len;
    memcpy(value->text, text.ptr, text.len);
    map_put(&name->values, str_hash(text), value);
    postings->pairs[value->pair] = value;
    postings->text_bytes += value_bytes(value);
    return value;
}

/* One more series has the value. */
static void value_take(struct posting_value *value, uint32_t ref)
{
    if (!value->refs && value->only == NOBODY) {
        value->only = ref;
        return;
    }
    if (!value->refs) {
        value->refs = bitmap_new();
        roaring_bitmap_add(value->refs, value->only);
    }
    roaring_bitmap_add(value->refs, ref);
}

uint32_t postings_pair_make(struct postings *postings, struct label label)
{
    struct posting_name *name = find_name(postings, label.name);
    if (!name) {
        name = name_add(postings, label.name);
    }
    const struct posting_value *value = find_value(name, label.value);
    return value ? value->pair : value_add(postings, name, label.value)->pair;
}

void postings_add_pairs(struct postings *postings, const uint32_t *pairs, size_t count, uint32_t ref)
{
    roaring_bitmap_add(postings->all, ref);
    for (size_t i = 0; i < count; i++) {
        value_take(postings->pairs[pairs[i]], ref);
    }
}

void postings_add(struct postings *postings, const struct labels *labels, uint32_t ref, uint32_t *ret_pairs)
{
    size_t count = labels_count(labels);
    for (size_t i = 0; i < count; i++) {
        ret_pairs[i] = postings_pair_make(postings, labels_at(labels, i));
    }
    postings_add_pairs(postings, ret_pairs, count, ref);
}

bool postings_find(const struct postings *postings, const struct labels *labels, uint32_t *ret_pairs)
{
    for (size_t i = 0; i < labels_count(labels); i++) {
        struct label label = labels_at(labels, i);
        const struct posting_value *value = find_value(find_name(postings, label.name), label.value);
        if (!value) {
            return false;
        }
        ret_pairs[i] = value->pair;
    }
    return true;
}

static void pair_drop(struct postings *postings, struct posting_value *value)
{
    struct posting_name *name = value->name;
    struct str text = str_of(value->text, value->len);
    postings->pairs[value->pair] = NULL;
    postings->free_pairs[postings->free_pair_count++] = value->pair;
    postings->text_bytes -= value_bytes(value);
    map_remove(&name->values, str_hash(text), value_equal, &text);
    value_free(value);
    if (name->values.count == 0) {
        text = str_of(name->text, name->len);
        map_remove(&postings->names, str_hash(text), name_equal, &text);
        name_free(name);
    }
}

void postings_remove(struct postings *postings, const uint32_t *pairs, size_t count, uint32_t ref)
{
    roaring_bitmap_remove(postings->all, ref);
    for (size_t i = 0; i < count; i++) {
        struct posting_value *value = postings->pairs[pairs[i]];
        ASSERT(value);
        if (value->refs) {
            roaring_bitmap_remove(value->refs, ref);
            if (!roaring_bitmap_is_empty(value->refs)) {
                continue;
            }
        }
        pair_drop(postings, value);
    }
}

void postings_drop_unused(struct postings *postings)
{
    for (uint32_t pair = 0; pair < postings->pair_count; pair++) {
        struct posting_value *value = postings->pairs[pair];
        if (value && !value->refs && value->only == NOBODY) {
            pair_drop(postings, value);
        }
    }
}

struct label postings_pair(const struct postings *postings, uint32_t pair)
{
    const struct posting_value *value = postings->pairs[pair];
    ASSERT(value);
    return (struct label){.name = str_of(value->name->text, value->name->len),
                          .value = str_of(value->text, value->len)};
}

void postings_count(const struct postings *postings, postings_count_fn *each, void *arg)
{
    const struct posting_name *name;
    size_t at = 0;
    while ((name = map_next(&postings->names, &at))) {
        struct postings_counts of_name = {.name = str_of(name->text, name->len), .values = name->values.count};
        const struct posting_value *value;
        size_t value_at = 0;
        while ((value = map_next(&name->values, &value_at))) {
            struct postings_counts of_pair = {.name = of_name.name, .value = str_of(value->text, value->len)};
            of_pair.series = value->refs ? roaring_bitmap_get_cardinality(value->refs) : 1;
            of_name.bytes += value->len;
            each(arg, &of_pair);
        }
        each(arg, &of_name);
    }
}

/* One selection on its way. refs NULL: nothing was said yet, all series. */
struct selection {
    const struct postings *postings;
    const struct postings_query *query;
    roaring_bitmap_t *refs;
    uint32_t steps;
};

static bool is_cancelled(struct selection *selection)
{
    const struct postings_query *query = selection->query;
    return ++selection->steps % POSTINGS_STEPS == 0 && query->cancelled && query->cancelled(query->cancelled_arg);
}

static void value_or(const struct posting_value *value, roaring_bitmap_t *into)
{
    if (value->refs) {
        roaring_bitmap_or_inplace(into, value->refs);
    } else {
        roaring_bitmap_add(into, value->only);
    }
}

/* Takes set: keeps what is in it, or (without) what is not. */
static void narrow(struct selection *selection, roaring_bitmap_t *set, bool without)
{
    if (without) {
        if (!selection->refs) {
            selection->refs = bitmap_copy(selection->postings->all);
        }
        roaring_bitmap_andnot_inplace(selection->refs, set);
    } else if (selection->refs) {
        roaring_bitmap_and_inplace(selection->refs, set);
    } else {
        selection->refs = set;
        return;
    }
    bitmap_free(set);
}

/* = and != name one value. */
static void narrow_by_value(struct selection *selection, const struct posting_name *name, const struct matcher *matcher)
{
    roaring_bitmap_t *set = bitmap_new();
    const struct posting_value *value = find_value(name, matcher->value);
    if (value) {
        value_or(value, set);
    }
    narrow(selection, set, matcher->type == MATCH_NOT_EQUAL);
}

/* Few series are left: look at their labels, which costs a match per series instead of one per value. */
static int narrow_by_series(struct selection *selection, const struct matcher *matcher)
{
    const struct postings *postings = selection->postings;
    CLEANUP(bitmap_freep) roaring_bitmap_t *kept = bitmap_new();
    roaring_uint32_iterator_t at;
    for (roaring_init_iterator(selection->refs, &at); at.has_value; roaring_advance_uint32_iterator(&at)) {
        if (is_cancelled(selection)) {
            return -ECANCELED;
        }
        struct str value = postings->value_of(postings->value_arg, at.current_value, matcher->name);
        if (matcher_matches(matcher, value)) {
            roaring_bitmap_add(kept, at.current_value);
        }
    }
    bitmap_free(selection->refs);
    selection->refs = STEAL(kept);
    return 0;
}

/* Over all values of the label. A matcher that takes the empty value takes also the series without the label: so it is
 * said by what it does not take. */
static int narrow_by_values(struct selection *selection, const struct posting_name *name, const struct matcher *matcher)
{
    bool without = matcher_matches_empty(matcher);
    CLEANUP(bitmap_freep) roaring_bitmap_t *set = bitmap_new();
    const struct posting_value *value;
    size_t at = 0;
    while (name && (value = map_next(&name->values, &at))) {
        if (is_cancelled(selection)) {
            return -ECANCELED;
        }
        if (matcher_matches(matcher, str_of(value->text, value->len)) != without) {
            value_or(value, set);
        }
    }
    narrow(selection, STEAL(set), without);
    return 0;
}

static int narrow_by(struct selection *selection, const struct matcher *matcher)
{
    const struct posting_name *name = find_name(selection->postings, matcher->name);
    bool one_value = matcher->type == MATCH_EQUAL || matcher->type == MATCH_NOT_EQUAL;
    if (one_value && matcher->value.len > 0) {
        narrow_by_value(selection, name, matcher);
        return 0;
    }
    if (name && selection->refs && roaring_bitmap_get_cardinality(selection->refs) < name->values.count) {
        return narrow_by_series(selection, matcher);
    }
    return narrow_by_values(selection, name, matcher);
}

int postings_select(const struct postings *postings, const struct postings_query *query, roaring_bitmap_t **ret_refs)
{
    struct selection selection = {.postings = postings, .query = query};
    int result = 0;
    /* The cheap and narrow ones first: what is left decides how the others are done. */
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < query->count && result == 0; i++) {
            const struct matcher *matcher = &query->matchers[i];
            bool is_first = matcher->type == MATCH_EQUAL && matcher->value.len > 0;
            result = is_first == (pass == 0) ? narrow_by(&selection, matcher) : 0;
        }
    }
    if (result < 0) {
        bitmap_free(selection.refs);
        return result;
    }
    *ret_refs = selection.refs ? selection.refs : bitmap_copy(postings->all);
    return 0;
}

static bool value_meets(const struct posting_value *value, const roaring_bitmap_t *refs)
{
    return value->refs ? roaring_bitmap_intersect(value->refs, refs) : roaring_bitmap_contains(refs, value->only);
}

static bool name_meets(const struct posting_name *name, const roaring_bitmap_t *refs)
{
    const struct posting_value *value;
    size_t at = 0;
    while ((value = map_next(&name->values, &at))) {
        if (value_meets(value, refs)) {
            return true;
        }
    }
    return false;
}

void postings_names(const struct postings *postings, const roaring_bitmap_t *refs, postings_each_fn *each, void *arg)
{
    const struct posting_name *name;
    size_t at = 0;
    while ((name = map_next(&postings->names, &at))) {
        if (name_meets(name, refs)) {
            each(arg, str_of(name->text, name->len));
        }
    }
}

void postings_values(const struct postings *postings, struct str name, const roaring_bitmap_t *refs,
                     postings_each_fn *each, void *arg)
{
    const struct posting_name *found = find_name(postings, name);
    const struct posting_value *value;
    size_t at = 0;
    while (found && (value = map_next(&found->values, &at))) {
        if (value_meets(value, refs)) {
            each(arg, str_of(value->text, value->len));
        }
    }
}
