/* The inverted index against looking at every series. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/fail.h"
#include "base/random.h"
#include "matcher_pool.h"
#include "store/postings.h"

#include <errno.h>
#include <stdio.h>

#define SERIES 400

static struct labels *all_labels[SERIES]; /* NULL: taken out */

static uint32_t all_pairs[SERIES][8];

static struct str value_of(void *arg, uint32_t ref, struct str name)
{
    (void)arg;
    assert_non_null(all_labels[ref]);
    return labels_get(all_labels[ref], name);
}

/* Some labels of few values, one of many, and some absent. */
static struct labels *random_labels(struct random *random, uint32_t ref)
{
    static const char *const names[] = {"__name__", "job", "mode", "cpu"};
    char text[8][32];
    struct label labels[8];
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (i == 0 || random_below(random, 3) > 0) {
            snprintf(text[count], sizeof(text[count]), "%c%d", names[i][0], (int)random_below(random, 5));
            labels[count] = (struct label){str_from(names[i]), str_from(text[count])};
            count++;
        }
    }
    snprintf(text[count], sizeof(text[count]), "host-%u", ref);
    labels[count] = (struct label){STR("instance"), str_from(text[count])};
    count++;
    static const char *const odd[] = {"o", "o\nb", "o\xc3\xbc", "oab", "\xc3\xbc"};
    if (random_below(random, 2) > 0) {
        labels[count++] = (struct label){STR("odd"), str_from(odd[random_below(random, ARRAY_LEN(odd))])};
    }
    return labels_new(labels, count);
}

static void fill(struct postings *postings, uint64_t seed)
{
    struct random random;
    random_seed(&random, seed);
    postings_init(postings, value_of, NULL);
    for (uint32_t i = 0; i < SERIES; i++) {
        all_labels[i] = random_labels(&random, i);
        postings_add(postings, all_labels[i], i, all_pairs[i]);
    }
}

static void empty(struct postings *postings)
{
    postings_done(postings);
    for (uint32_t i = 0; i < SERIES; i++) {
        labels_unref(all_labels[i]);
        all_labels[i] = NULL;
    }
}

static void check_selection(const struct postings *postings, const struct matcher *matchers, size_t count)
{
    CLEANUP(bitmap_freep) roaring_bitmap_t *refs = NULL;
    struct postings_query query = {.matchers = matchers, .count = count};
    assert_int_equal(postings_select(postings, &query, &refs), 0);
    for (uint32_t i = 0; i < SERIES; i++) {
        bool expected = all_labels[i] && matcher_matches_labels(matchers, count, all_labels[i]);
        assert_int_equal(roaring_bitmap_contains(refs, i), expected);
    }
    assert_true(roaring_bitmap_is_empty(refs) || roaring_bitmap_maximum(refs) < SERIES);
}

static void check_random_matchers(const struct postings *postings, uint64_t seed, int rounds)
{
    struct random random;
    random_seed(&random, seed);
    for (int round = 0; round < rounds; round++) {
        struct matcher matchers[4];
        char error[256];
        size_t count = random_below(&random, ARRAY_LEN(matchers) + 1);
        for (size_t i = 0; i < count; i++) {
            size_t which = random_below(&random, ARRAY_LEN(pool));
            assert_int_equal(matcher_init(&matchers[i], pool[which].type, str_from(pool[which].name),
                                          str_from(pool[which].value), error),
                             0);
        }
        check_selection(postings, matchers, count);
        for (size_t i = 0; i < count; i++) {
            matcher_done(&matchers[i]);
        }
    }
}

static void matchers_select_what_looking_selects(void **state)
{
    (void)state;
    struct postings postings;
    fill(&postings, 11);
    check_random_matchers(&postings, 12, 3000);
    empty(&postings);
}

static void each_matcher_alone_selects_what_looking_selects(void **state)
{
    (void)state;
    struct postings postings;
    fill(&postings, 13);
    for (size_t i = 0; i < ARRAY_LEN(pool); i++) {
        struct matcher matcher;
        char error[256];
        assert_int_equal(matcher_init(&matcher, pool[i].type, str_from(pool[i].name), str_from(pool[i].value), error),
                         0);
        check_selection(&postings, &matcher, 1);
        matcher_done(&matcher);
    }
    empty(&postings);
}

static void what_is_taken_out_is_found_no_more(void **state)
{
    (void)state;
    struct postings postings;
    struct random random;
    fill(&postings, 14);
    random_seed(&random, 15);
    for (int round = 0; round < 10; round++) {
        for (uint32_t i = 0; i < SERIES; i++) {
            if (all_labels[i] && random_below(&random, 3) == 0) {
                postings_remove(&postings, all_pairs[i], labels_count(all_labels[i]), i);
                labels_unref(STEAL(all_labels[i]));
            } else if (!all_labels[i] && random_below(&random, 3) == 0) {
                all_labels[i] = random_labels(&random, i);
                postings_add(&postings, all_labels[i], i, all_pairs[i]);
            }
        }
        check_random_matchers(&postings, (uint64_t)round, 200);
    }
    for (uint32_t i = 0; i < SERIES; i++) {
        if (all_labels[i]) {
            postings_remove(&postings, all_pairs[i], labels_count(all_labels[i]), i);
            labels_unref(STEAL(all_labels[i]));
        }
    }
    assert_int_equal(postings.names.count, 0);
    assert_true(roaring_bitmap_is_empty(postings.all));
    empty(&postings);
}

struct seen {
    size_t count;
    bool known; /* each text is one that the series have */
};

static int see_job(void *arg, struct str text)
{
    struct seen *seen = arg;
    seen->count++;
    seen->known = seen->known && text.len == 2 && text.ptr[0] == 'j' && text.ptr[1] >= '0' && text.ptr[1] < '5';
    return 0;
}

static int see_any(void *arg, struct str text)
{
    (void)text;
    ((struct seen *)arg)->count++;
    return 0;
}

static void names_and_values_are_those_of_the_series_given(void **state)
{
    (void)state;
    struct postings postings;
    fill(&postings, 16);
    struct seen seen = {.known = true};
    struct postings_visit jobs = {.each = see_job, .each_arg = &seen}, any = {.each = see_any, .each_arg = &seen};
    assert_int_equal(postings_values(&postings, STR("job"), postings.all, &jobs), 0);
    assert_int_equal(seen.count, 5);
    assert_true(seen.known);

    CLEANUP(bitmap_freep) roaring_bitmap_t *one = bitmap_new();
    roaring_bitmap_add(one, 3);
    seen = (struct seen){0};
    assert_int_equal(postings_names(&postings, one, &any), 0);
    assert_int_equal(seen.count, labels_count(all_labels[3]));
    seen = (struct seen){0};
    assert_int_equal(postings_values(&postings, STR("instance"), one, &any), 0);
    assert_int_equal(seen.count, 1);
    seen = (struct seen){0};
    assert_int_equal(postings_values(&postings, STR("absent"), postings.all, &any), 0);
    assert_int_equal(seen.count, 0);
    empty(&postings);
}

static bool always(void *arg)
{
    ++*(int *)arg;
    return true;
}

static void a_search_can_be_given_up(void **state)
{
    (void)state;
    struct postings postings;
    struct matcher matchers[3];
    char error[256];
    fill(&postings, 17);
    for (size_t i = 0; i < ARRAY_LEN(matchers); i++) { /* 3 x 400 values pass 1,024 steps once */
        assert_int_equal(matcher_init(&matchers[i], MATCH_REGEX, STR("instance"), STR("host.*"), error), 0);
    }
    int asked = 0;
    roaring_bitmap_t *refs = NULL;
    struct postings_query query = {.matchers = matchers, .count = 3, .cancelled = always, .cancelled_arg = &asked};
    assert_int_equal(postings_select(&postings, &query, &refs), -ECANCELED);
    assert_int_equal(asked, 1);
    assert_null(refs);
    for (size_t i = 0; i < ARRAY_LEN(matchers); i++) {
        matcher_done(&matchers[i]);
    }
    empty(&postings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matchers_select_what_looking_selects),
        cmocka_unit_test(each_matcher_alone_selects_what_looking_selects),
        cmocka_unit_test(what_is_taken_out_is_found_no_more),
        cmocka_unit_test(names_and_values_are_those_of_the_series_given),
        cmocka_unit_test(a_search_can_be_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
