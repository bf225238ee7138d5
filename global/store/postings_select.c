/* What matchers select of the index. */
#include "store/postings_internal.h"

#include "base/fail.h"

#include <errno.h>
#include <stdlib.h>

#define MATCHERS_MAX 64 /* that are put in order; those behind follow as they stand */

/* In which order matchers are answered: what is cheap and narrow first, as what is left decides how the others are
 * done. */
enum rank {
    RANK_TEXTS,  /* has one of these values: looked up */
    RANK_NAME,   /* has the name, or has it not */
    RANK_REFUSE, /* has none of these values */
    RANK_VALUES, /* all values must be tried */
};

struct step {
    const struct matcher *matcher;
    const struct posting_name *name; /* NULL: nobody has it */
    const struct str *texts;         /* that the matcher names, or NULL */
    size_t text_count;
    bool without; /* series without the label match */
    enum rank rank;
    uint64_t cost; /* the smaller of equal rank first */
};

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

/* ---- The order ---- */

static uint64_t value_series(const struct posting_value *value)
{
    return value->refs ? roaring_bitmap_get_cardinality(value->refs) : 1;
}

/* How many series have one of the values. */
static uint64_t texts_series(const struct step *step)
{
    uint64_t series = 0;
    for (size_t i = 0; i < step->text_count; i++) {
        const struct posting_value *value = postings_value_find(step->name, step->texts[i]);
        series += value ? value_series(value) : 0;
    }
    return series;
}

/* The matcher names the empty value: then what is selected is said by what else has the name. */
static bool names_empty(const struct step *step)
{
    return step->without != matcher_is_negative(step->matcher);
}

static bool names_all(const struct step *step)
{
    return step->name && step->name->odd_values == 0 && matcher_names_all(step->matcher);
}

static bool only_empty(const struct step *step)
{
    return step->texts && step->text_count == 1 && step->texts[0].len == 0;
}

static struct step step_of(const struct postings *postings, const struct matcher *matcher)
{
    struct step step = {.matcher = matcher,
                        .name = postings_name_find(postings, matcher->name),
                        .without = matcher_matches_empty(matcher)};
    step.texts = matcher_texts(matcher, &step.text_count);
    if (!step.name || only_empty(&step) || names_all(&step)) {
        step.rank = step.name ? RANK_NAME : RANK_TEXTS; /* without a name nothing is left, or nothing is to be done */
    } else if (!step.texts) {
        step.rank = RANK_VALUES;
        step.cost = step.name->values.count;
    } else if (step.without || names_empty(&step)) {
        step.rank = RANK_REFUSE;
    } else {
        step.rank = RANK_TEXTS;
        step.cost = texts_series(&step);
    }
    return step;
}

static int step_order(const void *a, const void *b)
{
    const struct step *left = a, *right = b;
    if (left->rank != right->rank) {
        return left->rank < right->rank ? -1 : 1;
    }
    return (left->cost > right->cost) - (left->cost < right->cost);
}

/* ---- One matcher ---- */

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

/* The series with one of the values; the empty one is nobody's. */
static int add_texts(struct selection *selection, const struct step *step, roaring_bitmap_t *into)
{
    for (size_t i = 0; i < step->text_count; i++) {
        const struct posting_value *value = postings_value_find(step->name, step->texts[i]);
        if (is_cancelled(selection)) {
            return -ECANCELED;
        }
        if (value) {
            value_or(value, into);
        }
    }
    return 0;
}

/* The series with a value that the matcher decides against the empty one about. */
static int add_values(struct selection *selection, const struct step *step, roaring_bitmap_t *into)
{
    const struct posting_value *value;
    size_t at = 0;
    while ((value = map_next(&step->name->values, &at))) {
        if (is_cancelled(selection)) {
            return -ECANCELED;
        }
        if (matcher_matches(step->matcher, str_of(value->text, value->len)) != step->without) {
            value_or(value, into);
        }
    }
    return 0;
}

/* The series with the name about which the matcher decides otherwise than about those without: so a matcher that takes
 * the empty value is said by what it does not take. */
static int read_set(struct selection *selection, const struct step *step, roaring_bitmap_t **ret_set)
{
    bool all = names_all(step);
    if (step->name && !step->texts && !all) {
        *ret_set = bitmap_new();
        return add_values(selection, step, *ret_set);
    }
    CLEANUP(bitmap_freep) roaring_bitmap_t *named = all && step->name ? bitmap_copy(step->name->refs) : bitmap_new();
    int result = step->name && step->texts ? add_texts(selection, step, named) : 0;
    if (result == 0 && step->name && names_empty(step)) {
        roaring_bitmap_t *others = bitmap_copy(step->name->refs);
        roaring_bitmap_andnot_inplace(others, named);
        bitmap_free(named);
        named = others;
    }
    *ret_set = STEAL(named);
    return result;
}

/* How many values are looked at, at most. */
static uint64_t values_of(const struct step *step)
{
    if (!step->name || step->rank == RANK_NAME) {
        return 0;
    }
    return step->texts ? step->text_count : step->name->values.count;
}

static int narrow_by(struct selection *selection, const struct step *step)
{
    if (selection->refs && roaring_bitmap_get_cardinality(selection->refs) < values_of(step)) {
        return narrow_by_series(selection, step->matcher);
    }
    CLEANUP(bitmap_freep) roaring_bitmap_t *set = NULL;
    int result = read_set(selection, step, &set);
    if (result == 0) {
        narrow(selection, STEAL(set), step->without);
    }
    return result;
}

int postings_select(const struct postings *postings, const struct postings_query *query, roaring_bitmap_t **ret_refs)
{
    struct selection selection = {.postings = postings, .query = query};
    struct step steps[MATCHERS_MAX];
    int result = 0;
    for (size_t from = 0; from < query->count && result == 0; from += MATCHERS_MAX) {
        size_t count = MIN(query->count - from, MATCHERS_MAX);
        for (size_t i = 0; i < count; i++) {
            steps[i] = step_of(postings, &query->matchers[from + i]);
        }
        qsort(steps, count, sizeof(*steps), step_order);
        for (size_t i = 0; i < count && result == 0; i++) {
            bool nothing = selection.refs && roaring_bitmap_is_empty(selection.refs);
            result = nothing ? 0 : narrow_by(&selection, &steps[i]);
        }
    }
    if (result < 0) {
        bitmap_free(selection.refs);
        return result;
    }
    *ret_refs = selection.refs ? selection.refs : bitmap_copy(postings->all);
    return 0;
}

/* ---- Names and values of what was selected ---- */

static bool value_meets(const struct posting_value *value, const roaring_bitmap_t *refs)
{
    return value->refs ? roaring_bitmap_intersect(value->refs, refs) : roaring_bitmap_contains(refs, value->only);
}

static bool visit_is_cancelled(const struct postings_visit *visit, size_t step)
{
    return step % POSTINGS_STEPS == 0 && visit->cancelled && visit->cancelled(visit->cancelled_arg);
}

int postings_names(const struct postings *postings, const roaring_bitmap_t *refs, const struct postings_visit *visit)
{
    const struct posting_name *name;
    size_t at = 0;
    int result = 0;
    for (size_t step = 1; result == 0 && (name = map_next(&postings->names, &at)); step++) {
        if (visit_is_cancelled(visit, step)) {
            return -ECANCELED;
        }
        if (roaring_bitmap_intersect(name->refs, refs)) {
            result = visit->each(visit->each_arg, str_of(name->text, name->len));
        }
    }
    return result;
}

int postings_values(const struct postings *postings, struct str name, const roaring_bitmap_t *refs,
                    const struct postings_visit *visit)
{
    const struct posting_name *found = postings_name_find(postings, name);
    const struct posting_value *value;
    size_t at = 0;
    int result = 0;
    for (size_t step = 1; found && result == 0 && (value = map_next(&found->values, &at)); step++) {
        if (visit_is_cancelled(visit, step)) {
            return -ECANCELED;
        }
        if (value_meets(value, refs)) {
            result = visit->each(visit->each_arg, str_of(value->text, value->len));
        }
    }
    return result;
}

/* has: the series of one name or value. */
static void pick_of(const struct postings_pick *pick, const roaring_bitmap_t *has, roaring_bitmap_t *into)
{
    if (pick->except && roaring_bitmap_intersect(has, pick->except)) {
        return;
    }
    CLEANUP(bitmap_freep) roaring_bitmap_t *both = roaring_bitmap_and(has, pick->refs);
    if (pick->all) {
        roaring_bitmap_or_inplace(into, both);
    } else if (!roaring_bitmap_is_empty(both)) {
        roaring_bitmap_add(into, roaring_bitmap_minimum(both));
    }
}

static void pick_value(const struct postings_pick *pick, const struct posting_value *value, roaring_bitmap_t *into)
{
    if (value->refs) {
        pick_of(pick, value->refs, into);
    } else if (roaring_bitmap_contains(pick->refs, value->only) &&
               !(pick->except && roaring_bitmap_contains(pick->except, value->only))) {
        roaring_bitmap_add(into, value->only);
    }
}

int postings_pick(const struct postings *postings, const struct postings_pick *pick, const struct postings_query *query,
                  roaring_bitmap_t *into)
{
    const struct posting_name *found = pick->name.ptr ? postings_name_find(postings, pick->name) : NULL;
    const struct map *map = found ? &found->values : &postings->names;
    size_t at = 0;
    void *item;
    if (pick->name.ptr && !found) {
        return 0;
    }
    for (size_t step = 1; (item = map_next(map, &at)); step++) {
        if (step % POSTINGS_STEPS == 0 && query->cancelled && query->cancelled(query->cancelled_arg)) {
            return -ECANCELED;
        }
        if (found) {
            pick_value(pick, item, into);
        } else {
            pick_of(pick, ((const struct posting_name *)item)->refs, into);
        }
    }
    return 0;
}
