/* Keys of tags as parts of label names: what Prometheus' SanitizeLabelName gives. */
#include "base/fail.h"
#include "discovery/meta_name.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void check(struct str key, const char *expected)
{
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 0);
    struct str name = meta_name(&arena, STR("__meta_x_"), key);
    assert_string_equal(name.ptr, expected);
    assert_int_equal(name.len, strlen(expected));
}

static void test_names(void **state)
{
    (void)state;
    check(STR("Name"), "__meta_x_Name");
    check(STR(""), "__meta_x_");
    check(STR("9_az_AZ_09"), "__meta_x_9_az_AZ_09");
    check(STR("aws:autoscaling:groupName"), "__meta_x_aws_autoscaling_groupName");
    check(STR("kubernetes.io/role-x y"), "__meta_x_kubernetes_io_role_x_y");
    check(STR("Größe"), "__meta_x_Gr__e");      /* ö, ß: a _ each */
    check(STR("a\U0001F600b"), "__meta_x_a_b"); /* four bytes, one character */
    check(str_of("a\xff\xc3z", 4), "__meta_x_a__z");
    check(str_of("@[`{\0", 5), "__meta_x______");
}

static void test_full_arena(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 64);
    static const char key[1000] = "x";
    assert_null(meta_name(&arena, STR("p_"), str_of(key, sizeof(key))).ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_full_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
