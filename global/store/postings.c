#include "store/postings_internal.h"

#include "base/fail.h"

#define NOBODY UINT32_MAX /* in `only`: made, and nobody has it yet */

roaring_bitmap_t *bitmap_new(void)
{
    roaring_bitmap_t *bitmap = roaring_bitmap_create();
    if (!bitmap) {
        fatal("out of memory for a bitmap");
    }
    return bitmap;
}

roaring_bitmap_t *bitmap_copy(const roaring_bitmap_t *of)
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

struct posting_name *postings_name_find(const struct postings *postings, struct str name)
{
    return map_get(&postings->names, str_hash(name), name_equal, &name);
}

struct posting_value *postings_value_find(const struct posting_name *name, struct str value)
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
    bitmap_free(name->refs);
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
    name->refs = bitmap_new();
    name->odd_values = 0;
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
    name->odd_values += !globs_is_plain(text);
    return value;
}

/* One more series has the value. */
static void value_take(struct posting_value *value, uint32_t ref)
{
    roaring_bitmap_add(value->name->refs, ref);
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
    struct posting_name *name = postings_name_find(postings, label.name);
    if (!name) {
        name = name_add(postings, label.name);
    }
    const struct posting_value *value = postings_value_find(name, label.value);
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
        const struct posting_value *value = postings_value_find(postings_name_find(postings, label.name), label.value);
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
    name->odd_values -= !globs_is_plain(text);
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
        roaring_bitmap_remove(value->name->refs, ref);
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
