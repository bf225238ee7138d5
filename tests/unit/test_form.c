/* Queries and forms: what is decoded, what is refused. */
#include "net/http_form.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct pairs {
    struct arena arena;
    struct http_params params;
};

static int setup(void **state)
{
    static struct pairs pairs;
    pairs = (struct pairs){0};
    arena_init(&pairs.arena, MIB);
    *state = &pairs;
    return 0;
}

static int teardown(void **state)
{
    arena_done(&((struct pairs *)*state)->arena);
    return 0;
}

static void expect(const struct pairs *pairs, size_t at, const char *name, const char *value)
{
    assert_true(at < pairs->params.count);
    assert_string_equal(pairs->params.items[at].name.ptr, name);
    assert_string_equal(pairs->params.items[at].value.ptr, value);
}

static void pairs_come_in_order_and_are_appended(void **state)
{
    struct pairs *pairs = *state;
    assert_int_equal(http_form_decode(&pairs->arena, STR("query=up%7Bjob%3D%22a+b%22%7d&&x&=y&x==1"), &pairs->params),
                     0);
    assert_int_equal(http_form_decode(&pairs->arena, STR("x=2"), &pairs->params), 0);
    assert_int_equal(pairs->params.count, 5);
    expect(pairs, 0, "query", "up{job=\"a b\"}");
    expect(pairs, 1, "x", "");
    expect(pairs, 2, "", "y");
    expect(pairs, 3, "x", "=1");
    expect(pairs, 4, "x", "2");
    assert_string_equal(http_params_get(&pairs->params, "x", 0).ptr, "");
    assert_string_equal(http_params_get(&pairs->params, "x", 2).ptr, "2");
    assert_null(http_params_get(&pairs->params, "x", 3).ptr);
    assert_null(http_params_get(&pairs->params, "y", 0).ptr);
}

static void nothing_gives_nothing(void **state)
{
    struct pairs *pairs = *state;
    assert_int_equal(http_form_decode(&pairs->arena, STR_NULL, &pairs->params), 0);
    assert_int_equal(http_form_decode(&pairs->arena, STR("&&&"), &pairs->params), 0);
    assert_int_equal(pairs->params.count, 0);
}

static void broken_escapes_and_nul_are_refused(void **state)
{
    struct pairs *pairs = *state;
    static const struct str bad[] = {{"a=%", 3}, {"a=%4", 4}, {"a=%4g", 5}, {"%zz=1", 5}, {"a=%00", 5}, {"a=\0b", 4}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(http_form_decode(&pairs->arena, bad[i], &pairs->params), -EINVAL);
    assert_int_equal(pairs->params.count, 0);
    struct str path;
    assert_int_equal(http_percent_decode(&pairs->arena, STR("/a+b%20c"), false, &path), 0);
    assert_string_equal(path.ptr, "/a+b c");
}

static void there_are_only_so_many_parameters(void **state)
{
    struct pairs *pairs = *state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(MIB);
    for (size_t i = 0; i < HTTP_PARAMS_MAX; i++)
        buf_append_text(&text, i ? "&a" : "a");
    assert_int_equal(http_form_decode(&pairs->arena, buf_view(&text), &pairs->params), 0);
    assert_int_equal(pairs->params.count, HTTP_PARAMS_MAX);
    assert_int_equal(http_form_decode(&pairs->arena, STR("b"), &pairs->params), -E2BIG);
    assert_int_equal(pairs->params.count, HTTP_PARAMS_MAX);
}

static void what_is_encoded_decodes_to_itself(void **state)
{
    struct pairs *pairs = *state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(KIB);
    char bytes[255];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i + 1);
    struct str decoded;
    assert_int_equal(http_percent_encode(&text, str_of(bytes, sizeof(bytes))), 0);
    assert_int_equal(http_percent_decode(&pairs->arena, buf_view(&text), true, &decoded), 0);
    assert_true(str_equal(decoded, str_of(bytes, sizeof(bytes))));
}

int main(void)
{
#define WITH_PAIRS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_PAIRS(pairs_come_in_order_and_are_appended), WITH_PAIRS(nothing_gives_nothing),
        WITH_PAIRS(broken_escapes_and_nul_are_refused),   WITH_PAIRS(there_are_only_so_many_parameters),
        WITH_PAIRS(what_is_encoded_decodes_to_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
