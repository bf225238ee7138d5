/* Groups as a section says them: listings that come into force as a whole, what is the same stays, texts are kept once.
 */
#include "base/fail.h"
#include "secondary/groups.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct text_pool *pool;
static struct groups *groups;

static int set_up(void **state)
{
    (void)state;
    pool = text_pool_new();
    groups = groups_new(pool);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    groups_free(groups);
    assert_true(text_pool_bytes(pool) < 64 * KIB); /* nothing but tables */
    text_pool_free(pool);                          /* asserts that no text is left */
    return 0;
}

static int put(const char *source, const char *address, const char *value)
{
    char error[256];
    const struct label shared[] = {{STR("z"), STR("shared")}, {STR("a"), STR("shared")}, {STR("empty"), STR("")}};
    const struct label own[] = {{STR("m"), str_from(value)}, {STR("a"), str_from(value)}};
    const struct discovery_target targets[] = {{str_from(address), own, ARRAY_LEN(own)}, {STR("second:1"), NULL, 0}};
    const struct discovery_group group = {str_from(source), shared, ARRAY_LEN(shared), targets, ARRAY_LEN(targets)};
    return groups_put(groups, &group, error);
}

static void put_nothing(const char *source)
{
    char error[256];
    assert_int_equal(groups_put(groups, &(struct discovery_group){.source = str_from(source)}, error), 0);
}

static struct group *find(const char *source)
{
    size_t at = 0;
    for (struct group *group; (group = groups_next(groups, &at));)
        if (str_equal(group_source(group), str_from(source)))
            return group;
    return NULL;
}

/* Tables stay as large as they were. */
static int tear_down_many(void **state)
{
    (void)state;
    groups_free(groups);
    text_pool_free(pool);
    return 0;
}

static void test_a_group_that_shrinks(void **state)
{
    char error[256];
    const struct discovery_target target = {STR("h1:1"), NULL, 0};
    const struct discovery_group group = {.source = STR("one"), .targets = &target, .target_count = 1};
    (void)state;
    assert_int_equal(put("one", "h1:1", "own"), 0);
    assert_int_equal(groups_targets(groups), 2);
    assert_int_equal(groups_put(groups, &group, error), 0);
    assert_int_equal(groups_targets(groups), 1);
    put_nothing("one");
    assert_int_equal(groups_targets(groups), 0);
}

static void target_at(const struct group *group, size_t index, struct group_target *ret_target)
{
    struct group_cursor at = {0};
    for (size_t i = 0; i <= index; i++)
        assert_true(group_next_target(group, &at, ret_target));
}

static void test_labels(void **state)
{
    static struct group_target target;
    (void)state;
    assert_int_equal(put("one", "h1:1", "own"), 0);
    assert_int_equal(groups_targets(groups), 2);
    target_at(find("one"), 0, &target);
    assert_true(str_equal(target.address, STR("h1:1")));
    assert_int_equal(target.label_count, 3); /* sorted; its own win; empty ones are left out */
    assert_true(str_equal(target.labels[0].name, STR("a")));
    assert_true(str_equal(target.labels[0].value, STR("own")));
    assert_true(str_equal(target.labels[1].name, STR("m")));
    assert_true(str_equal(target.labels[2].name, STR("z")));
    target_at(find("one"), 1, &target);
    assert_true(str_equal(target.address, STR("second:1")));
    assert_int_equal(target.label_count, 2);
    assert_true(str_equal(target.labels[0].value, STR("shared")));
}

static void test_listing(void **state)
{
    (void)state;
    groups_begin(groups);
    assert_int_equal(put("one", "h1:1", "a"), 0);
    assert_int_equal(put("two", "h2:1", "a"), 0);
    assert_int_equal(groups_count(groups), 0);
    groups_commit(groups);
    assert_int_equal(groups_count(groups), 2);
    assert_int_equal(groups_commits(groups), 1);
    struct group *one = find("one");
    uint64_t changes = groups_changes(groups);
    groups_begin(groups); /* the same again */
    assert_int_equal(put("two", "h2:1", "a"), 0);
    assert_int_equal(put("one", "h1:1", "a"), 0);
    groups_commit(groups);
    assert_ptr_equal(find("one"), one);
    assert_int_equal(groups_changes(groups), changes);
    groups_begin(groups); /* half of one counts for nothing */
    assert_int_equal(put("three", "h3:1", "a"), 0);
    groups_abort(groups);
    assert_int_equal(groups_count(groups), 2);
    groups_begin(groups); /* one is another, two is gone, three is new; what is said last counts */
    assert_int_equal(put("one", "h1:1", "a"), 0);
    assert_int_equal(put("one", "h1:1", "b"), 0);
    assert_int_equal(put("three", "h3:1", "a"), 0);
    groups_commit(groups);
    assert_int_equal(groups_count(groups), 2);
    assert_ptr_not_equal(find("one"), one);
    assert_null(find("two"));
    assert_int_equal(groups_targets(groups), 4);
    groups_begin(groups); /* said as another, then as it is: it stays */
    one = find("one");
    assert_int_equal(put("one", "h9:1", "b"), 0);
    assert_int_equal(put("one", "h1:1", "b"), 0);
    groups_commit(groups);
    assert_ptr_equal(find("one"), one);
    assert_int_equal(groups_count(groups), 1);
}

static void test_nothing_counts_as_not_said(void **state)
{
    (void)state;
    groups_begin(groups);
    assert_int_equal(put("one", "h1:1", "a"), 0);
    put_nothing("one");
    assert_int_equal(put("two", "h2:1", "a"), 0);
    groups_commit(groups);
    assert_int_equal(groups_count(groups), 1);
    groups_begin(groups);
    assert_int_equal(put("two", "h2:1", "a"), 0);
    put_nothing("two");
    groups_commit(groups);
    assert_int_equal(groups_count(groups), 0);
    assert_int_equal(put("three", "h3:1", "a"), 0);
    put_nothing("three");
    put_nothing("never said");
    assert_int_equal(groups_count(groups), 0);
    assert_int_equal(groups_targets(groups), 0);
}

static void test_single(void **state)
{
    (void)state;
    assert_int_equal(put("one", "h1:1", "a"), 0);
    assert_int_equal(put("two", "h2:1", "a"), 0);
    CLEANUP(group_unrefp) struct group *kept = group_ref(find("one"));
    assert_int_equal(put("one", "h1:1", "b"), 0);
    groups_remove(groups, STR("two"));
    groups_remove(groups, STR("two"));
    assert_int_equal(groups_count(groups), 1);
    static struct group_target target; /* who holds a group still has it */
    target_at(kept, 0, &target);
    assert_true(str_equal(target.labels[0].value, STR("a")));
}

static void is_refused(const struct discovery_group *group, const char *part)
{
    char error[256] = "";
    assert_int_equal(groups_put(groups, group, error), -EINVAL);
    if (!strstr(error, part))
        fail_msg("'%s' does not speak of '%s'", error, part);
}

/* What is refused leaves what was said before. */
static void test_refused(void **state)
{
    static struct label many[DISCOVERY_LABELS_MAX + 1];
    static char long_value[LABEL_VALUE_BYTES_MAX + 1];
    const struct discovery_target target = {STR("h:1"), NULL, 0};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = (struct label){STR("a"), STR("b")};
    assert_int_equal(put("one", "h1:1", "a"), 0);
    groups_begin(groups);
    is_refused(&(struct discovery_group){STR("one"), many, ARRAY_LEN(many), &target, 1}, "labels");
    struct label label = {STR("no-name"), STR("x")};
    is_refused(&(struct discovery_group){STR("one"), &label, 1, &target, 1}, "\"no-name\" is no label name");
    label = (struct label){STR("a"), STR("\xff")};
    is_refused(&(struct discovery_group){STR("one"), &label, 1, &target, 1}, "UTF-8");
    label.value = str_of(long_value, sizeof(long_value));
    is_refused(&(struct discovery_group){STR("one"), &label, 1, &target, 1}, "64 KiB");
    const struct discovery_target bad = {STR("h\xff:1"), NULL, 0};
    is_refused(&(struct discovery_group){STR("one"), NULL, 0, &bad, 1}, "address");
    is_refused(&(struct discovery_group){STR("one"), NULL, 0, &target, DISCOVERY_GROUP_TARGETS_MAX + 1}, "targets");
    groups_commit(groups);
    assert_int_equal(groups_count(groups), 1);
}

/* 20,000 pods of 60 labels, of which ten are their own. */
static void test_memory(void **state)
{
    struct label labels[60];
    char names[60][48], values[60][64], error[256], source[32], address[32];
    (void)state;
    for (int i = 0; i < 20000; i++) {
        for (int j = 0; j < 60; j++) {
            snprintf(names[j], sizeof(names[j]), "__meta_kubernetes_pod_label_number_%d", j);
            snprintf(values[j], sizeof(values[j]), "a-value-of-some-length-%d-%d", j, j < 10 ? i : i % 20);
            labels[j] = (struct label){str_from(names[j]), str_from(values[j])};
        }
        snprintf(source, sizeof(source), "pod/default/pod-%d", i);
        snprintf(address, sizeof(address), "10.%d.%d.%d:8080", i >> 16, i >> 8 & 255, i & 255);
        const struct discovery_target target = {str_from(address), NULL, 0};
        const struct discovery_group group = {str_from(source), labels, ARRAY_LEN(labels), &target, 1};
        assert_int_equal(groups_put(groups, &group, error), 0);
    }
    assert_true(text_pool_bytes(pool) < 26 * MIB); /* and 20,000 x 500 bytes of numbers */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_labels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_group_that_shrinks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_listing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_counts_as_not_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_single, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory, set_up, tear_down_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
