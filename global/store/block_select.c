/* Finding series of a block: matchers on the postings of its index, by the rules of postings.c. */
#include "base/fail.h"
#include "store/block_parts.h"

#include <errno.h>
#include <stdlib.h>

/* What looking costs, in nanoseconds as measured: at a series' labels; at a value by a regex; at each id of its list.
 */
#define SERIES_COST  1000
#define VALUE_COST   300
#define FIND_COST    2000 /* of a value by its text */
#define POSTING_COST 15
#define MATCHERS_MAX 64 /* that are put in order; those behind follow as they stand */
/* With so few series their labels say sooner which names they have than lists do. */
#define NAMES_SERIES_MAX 1024

struct selection {
    struct index_cursor *cursor;
    uint64_t series_count; /* of the block; a name's lists have at most so many ids */
    const struct postings_query *query;
    roaring_bitmap_t *ids; /* NULL: nothing was said yet, all series */
    uint32_t steps;
};

static bool is_cancelled(struct selection *selection)
{
    const struct postings_query *query = selection->query;
    return ++selection->steps % POSTINGS_STEPS == 0 && query->cancelled && query->cancelled(query->cancelled_arg);
}

/* The series of one value, none when there is none. */
static int read_value(struct index_cursor *cursor, struct str name, struct str value, roaring_bitmap_t *into)
{
    uint64_t list;
    int error = index_list_find(cursor, name, value, &list);
    if (error == -ENOENT) {
        return 0;
    }
    return error ? error : index_list_read(cursor, list, into);
}

static int read_all(struct index_cursor *cursor, roaring_bitmap_t **ret_ids)
{
    CLEANUP(bitmap_freep) roaring_bitmap_t *ids = bitmap_new();
    int error = read_value(cursor, STR(""), STR(""), ids);
    if (!error) {
        *ret_ids = STEAL(ids);
    }
    return error;
}

/* Takes set: keeps what is in it, or (without) what is not. */
static int narrow(struct selection *selection, roaring_bitmap_t *set, bool without)
{
    int error = 0;
    if (without) {
        error = selection->ids ? 0 : read_all(selection->cursor, &selection->ids);
        if (!error) {
            roaring_bitmap_andnot_inplace(selection->ids, set);
        }
    } else if (selection->ids) {
        roaring_bitmap_and_inplace(selection->ids, set);
    } else {
        selection->ids = set;
        return 0;
    }
    bitmap_free(set);
    return error;
}

/* The matcher names the empty value: then what is selected is said by what else has the name. */
static bool names_empty(const struct matcher *matcher)
{
    return matcher_matches_empty(matcher) != matcher_is_negative(matcher);
}

/* The values that the matcher names, one by one. */
static int narrow_by_texts(struct selection *selection, const struct matcher *matcher)
{
    size_t count = 0;
    const struct str *texts = matcher_texts(matcher, &count);
    CLEANUP(bitmap_freep) roaring_bitmap_t *set = bitmap_new();
    for (size_t i = 0; i < count; i++) {
        int error = is_cancelled(selection) ? -ECANCELED : 0;
        error = error ? error : read_value(selection->cursor, matcher->name, texts[i], set);
        if (error) {
            return error;
        }
    }
    return narrow(selection, STEAL(set), matcher_is_negative(matcher));
}

/* The value that a series has of a name, STR_NULL when it has none; *labels holds it. */
static int value_of(struct index_cursor *cursor, uint32_t id, struct str name, struct labels **labels,
                    struct str *ret_value)
{
    labels_unref(STEAL(*labels));
    int error = index_series_read(cursor, id);
    error = error ? error : index_series_labels(cursor, labels);
    if (!error) {
        *ret_value = labels_get(*labels, name);
    }
    return error;
}

/* Few series are left: look at their labels, which costs a match per series instead of one per value. */
static int narrow_by_series(struct selection *selection, const struct matcher *matcher)
{
    CLEANUP(bitmap_freep) roaring_bitmap_t *kept = bitmap_new();
    CLEANUP(labels_unrefp) struct labels *labels = NULL;
    roaring_uint32_iterator_t at;
    for (roaring_init_iterator(selection->ids, &at); at.has_value; roaring_advance_uint32_iterator(&at)) {
        struct str value;
        int error = is_cancelled(selection) ? -ECANCELED : 0;
        error = error ? error : value_of(selection->cursor, at.current_value, matcher->name, &labels, &value);
        if (error) {
            return error;
        }
        if (matcher_matches(matcher, value)) {
            roaring_bitmap_add(kept, at.current_value);
        }
    }
    bitmap_free(selection->ids);
    selection->ids = STEAL(kept);
    return 0;
}

/* Those values between which all lies that the matcher names. */
struct bounds {
    struct str min, max;
};

static struct bounds bounds_of(const struct matcher *matcher)
{
    struct bounds bounds = {STR_NULL, STR_NULL};
    if (!names_empty(matcher)) {
        matcher_bounds(matcher, &bounds.min, &bounds.max);
    }
    return bounds;
}

static bool is_behind(const struct bounds *bounds, struct str value)
{
    return str_compare(str_of(value.ptr, MIN(value.len, bounds->max.len)), bounds->max) > 0;
}

/* Over the values of the label. A matcher that takes the empty value takes also the series without the label: so it is
 * said by what it does not take. */
static int narrow_by_values(struct selection *selection, size_t name, const struct matcher *matcher)
{
    bool without = matcher_matches_empty(matcher);
    struct bounds bounds = bounds_of(matcher);
    CLEANUP(bitmap_freep) roaring_bitmap_t *set = bitmap_new();
    struct table_values values;
    struct str value;
    uint64_t list;
    int result;
    table_values_init(&values, &selection->cursor->index->table, name, &selection->cursor->table);
    table_values_seek(&values, bounds.min);
    while ((result = table_values_next(&values, &value, &list)) > 0 && !is_behind(&bounds, value)) {
        if (is_cancelled(selection)) {
            return -ECANCELED;
        }
        if (matcher_matches(matcher, value) != without) {
            result = index_list_read(selection->cursor, list, set);
        }
        if (result < 0) {
            break;
        }
    }
    return result < 0 ? result : narrow(selection, STEAL(set), without);
}

/* It is cheaper to look at each series of ids than at each value of a name. */
static bool are_few(const roaring_bitmap_t *ids, uint64_t values, uint64_t series_count)
{
    return roaring_bitmap_get_cardinality(ids) * SERIES_COST < values * VALUE_COST + series_count * POSTING_COST;
}

static int narrow_by(struct selection *selection, const struct matcher *matcher)
{
    const struct offset_table *table = &selection->cursor->index->table;
    size_t name, count = 0;
    if (matcher->name.len == 0 || table_name_find(table, matcher->name, &name) < 0) {
        return narrow(selection, bitmap_new(), matcher_matches_empty(matcher)); /* nobody has the label */
    }
    uint64_t values = table->names[name].values;
    bool by_texts = !names_empty(matcher) && matcher_texts(matcher, &count) &&
                    (count == 1 || count * FIND_COST < values * VALUE_COST);
    uint64_t looked_at = by_texts ? count : values;
    bool one_value = by_texts && count == 1;
    if (!one_value && selection->ids && are_few(selection->ids, looked_at, selection->series_count)) {
        return narrow_by_series(selection, matcher);
    }
    return by_texts ? narrow_by_texts(selection, matcher) : narrow_by_values(selection, name, matcher);
}

/* The cheap and narrow ones first: what is left decides how the others are done. */
static uint64_t cost_of(const struct selection *selection, const struct matcher *matcher)
{
    const struct offset_table *table = &selection->cursor->index->table;
    size_t name, count;
    if (matcher->name.len == 0 || table_name_find(table, matcher->name, &name) < 0) {
        return 0;
    }
    if (names_empty(matcher) || !matcher_texts(matcher, &count)) {
        return UINT32_MAX + table->names[name].values;
    }
    return matcher_is_negative(matcher) ? UINT32_MAX : count;
}

struct step {
    const struct matcher *matcher;
    uint64_t cost;
};

static int step_order(const void *a, const void *b)
{
    const struct step *left = a, *right = b;
    return (left->cost > right->cost) - (left->cost < right->cost);
}

static int select_ids(struct selection *selection)
{
    const struct postings_query *query = selection->query;
    struct step steps[MATCHERS_MAX];
    int error = 0;
    for (size_t from = 0; from < query->count && !error; from += MATCHERS_MAX) {
        size_t count = MIN(query->count - from, MATCHERS_MAX);
        for (size_t i = 0; i < count; i++) {
            const struct matcher *matcher = &query->matchers[from + i];
            steps[i] = (struct step){matcher, cost_of(selection, matcher)};
        }
        qsort(steps, count, sizeof(*steps), step_order);
        for (size_t i = 0; i < count && !error; i++) {
            bool nothing = selection->ids && roaring_bitmap_is_empty(selection->ids);
            error = nothing ? 0 : narrow_by(selection, steps[i].matcher);
        }
    }
    return error || selection->ids ? error : read_all(selection->cursor, &selection->ids);
}

int block_select(struct block *block, const struct postings_query *query, roaring_bitmap_t **ret_ids)
{
    struct index_cursor cursor;
    index_cursor_init(&cursor, &block->raw.index);
    struct selection selection = {.cursor = &cursor, .query = query, .series_count = block->raw.meta.series_count};
    int error = select_ids(&selection);
    index_cursor_done(&cursor);
    if (error) {
        bitmap_free(selection.ids);
        return error;
    }
    *ret_ids = selection.ids;
    return 0;
}

/* ---- Names and values ---- */

/* Texts from labels, to be sorted and told once each. */
struct texts { /* views of copies of its own */
    struct str *views;
    size_t count, capacity;
};

static void texts_add(struct texts *texts, struct str text)
{
    if (texts->count == texts->capacity) {
        texts->capacity = MAX(texts->capacity * 2, (size_t)64);
        texts->views = mem_resize(texts->views, texts->capacity, sizeof(*texts->views));
    }
    texts->views[texts->count++] = str_of(mem_strndup(text.ptr, text.len), text.len);
}

static int text_order(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

static int texts_tell(struct texts *texts, const struct postings_visit *visit)
{
    int result = 0;
    if (texts->count > 0) {
        qsort(texts->views, texts->count, sizeof(*texts->views), text_order);
    }
    for (size_t i = 0; i < texts->count && result == 0; i++) {
        if (i == 0 || !str_equal(texts->views[i - 1], texts->views[i])) {
            result = visit->each(visit->each_arg, texts->views[i]);
        }
    }
    return result;
}

/* Asked at each series or value: now and then whether to go on. */
struct walk {
    const struct postings_visit *visit;
    uint32_t steps;
};

static int walk_on(struct walk *walk)
{
    const struct postings_visit *visit = walk->visit;
    bool ends = ++walk->steps % POSTINGS_STEPS == 0 && visit->cancelled && visit->cancelled(visit->cancelled_arg);
    return ends ? -ECANCELED : 0;
}

static void texts_done(struct texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        mem_free((void *)(uintptr_t)texts->views[i].ptr);
    }
    mem_free(texts->views);
}

/* Name, or value of one name (name.len > 0), of each series. */
static int collect_texts(struct index_cursor *cursor, const roaring_bitmap_t *ids, struct str name, struct walk *walk,
                         struct texts *texts)
{
    CLEANUP(labels_unrefp) struct labels *labels = NULL;
    roaring_uint32_iterator_t at;
    for (roaring_init_iterator(ids, &at); at.has_value; roaring_advance_uint32_iterator(&at)) {
        struct str value;
        int error = walk_on(walk);
        error = error ? error : value_of(cursor, at.current_value, name, &labels, &value);
        if (error) {
            return error;
        }
        for (size_t i = 0; i < labels_count(labels) && name.len == 0; i++) {
            texts_add(texts, labels_at(labels, i).name);
        }
        if (value.len > 0) {
            texts_add(texts, value);
        }
    }
    return 0;
}

static int tell_from_series(struct index_cursor *cursor, const roaring_bitmap_t *ids, struct str name,
                            const struct postings_visit *visit)
{
    CLEANUP(texts_done) struct texts texts = {0};
    struct walk walk = {visit, 0};
    int error = collect_texts(cursor, ids, name, &walk, &texts);
    return error ? error : texts_tell(&texts, visit);
}

/* 1: a series of ids has the value of this list. */
static int list_meets(struct index_cursor *cursor, uint64_t list, const roaring_bitmap_t *ids)
{
    CLEANUP(bitmap_freep) roaring_bitmap_t *set = bitmap_new();
    int error = index_list_read(cursor, list, set);
    return error ? error : roaring_bitmap_intersect(set, ids);
}

/* 1: a series of ids has the name. */
static int name_meets(struct index_cursor *cursor, size_t name, const roaring_bitmap_t *ids, struct walk *walk)
{
    struct table_values values;
    struct str value;
    uint64_t list;
    int result;
    table_values_init(&values, &cursor->index->table, name, &cursor->table);
    while ((result = table_values_next(&values, &value, &list)) > 0) {
        int meets = walk_on(walk);
        meets = meets ? meets : list_meets(cursor, list, ids);
        if (meets != 0) {
            return meets;
        }
    }
    return result;
}

static int tell_names(struct index_cursor *cursor, const roaring_bitmap_t *ids, const struct postings_visit *visit)
{
    const struct offset_table *table = &cursor->index->table;
    struct walk walk = {visit, 0};
    if (ids && roaring_bitmap_get_cardinality(ids) <= NAMES_SERIES_MAX) {
        return tell_from_series(cursor, ids, STR(""), visit);
    }
    int result = 0;
    for (size_t i = 1; i < table->name_count && result == 0; i++) {
        int meets = walk_on(&walk);
        meets = meets ? meets : ids ? name_meets(cursor, i, ids, &walk) : 1;
        result = meets > 0 ? visit->each(visit->each_arg, table_name_at(table, i)) : meets;
    }
    return result;
}

int block_names(struct block *block, const roaring_bitmap_t *ids, const struct postings_visit *visit)
{
    struct index_cursor cursor;
    index_cursor_init(&cursor, &block->raw.index);
    int error = tell_names(&cursor, ids, visit);
    index_cursor_done(&cursor);
    return error;
}

static int tell_values(struct index_cursor *cursor, size_t name, const roaring_bitmap_t *ids,
                       const struct postings_visit *visit)
{
    const struct offset_table *table = &cursor->index->table;
    struct walk walk = {visit, 0};
    struct table_values values;
    struct str value;
    uint64_t list;
    int result;
    table_values_init(&values, table, name, &cursor->table);
    while ((result = table_values_next(&values, &value, &list)) > 0) {
        int meets = walk_on(&walk);
        meets = meets ? meets : ids ? list_meets(cursor, list, ids) : 1;
        result = meets > 0 ? visit->each(visit->each_arg, value) : meets;
        if (result < 0) {
            return result;
        }
    }
    return result;
}

int block_values(struct block *block, struct str name, const roaring_bitmap_t *ids, const struct postings_visit *visit)
{
    size_t at;
    if (name.len == 0 || table_name_find(&block->raw.index.table, name, &at) < 0) {
        return 0;
    }
    struct index_cursor cursor;
    index_cursor_init(&cursor, &block->raw.index);
    bool few = ids && are_few(ids, block->raw.index.table.names[at].values, block->raw.meta.series_count);
    int error = few ? tell_from_series(&cursor, ids, name, visit) : tell_values(&cursor, at, ids, visit);
    index_cursor_done(&cursor);
    return error;
}
