/* Files of targets: what is taken, and that a mistake refuses the whole file with its place. */
#include "base/fail.h"
#include "target/target_group.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct target_groups *decode(const char *text, enum target_format format)
{
    struct target_groups *groups = NULL;
    char error[256] = "";
    int r = target_groups_decode(str_from(text), format, error, &groups);
    if (r < 0)
        fail_msg("%s", error);
    return groups;
}

static void check_two_groups(const char *text, enum target_format format)
{
    CLEANUP(target_groups_freep) struct target_groups *groups = decode(text, format);
    assert_int_equal(groups->count, 2);
    assert_int_equal(groups->address_total, 3);
    assert_int_equal(groups->items[0].address_count, 2);
    assert_true(str_equal(groups->items[0].addresses[1], STR("b:9100")));
    assert_int_equal(groups->items[0].label_count, 2);
    assert_true(str_equal(groups->items[0].labels[0].name, STR("env")));
    assert_true(str_equal(groups->items[0].labels[1].value, STR("Zürich \"1\"")));
    assert_int_equal(groups->items[1].address_count, 1);
    assert_int_equal(groups->items[1].label_count, 0);
}

static void test_json(void **state)
{
    (void)state;
    check_two_groups(
        "[{\"targets\":[\"a:9100\",\"b:9100\"],\"labels\":{\"env\":\"x\",\"city\":\"Z\\u00fcrich \\\"1\\\"\"}},"
        "{\"targets\":[\"c\"]}]",
        TARGET_JSON);
}

static void test_yaml(void **state)
{
    (void)state;
    check_two_groups("# hosts\n- targets: [a:9100, 'b:9100']\n  labels:\n    env: x\n    city: 'Zürich \"1\"'\n"
                     "- targets:\n  - c\n",
                     TARGET_YAML);
    /* JSON is YAML too. */
    check_two_groups("[{\"targets\":[\"a:9100\",\"b:9100\"],\"labels\":{\"env\":\"x\",\"city\":\"Zürich \\\"1\\\"\"}},"
                     "{\"targets\":[\"c\"]}]",
                     TARGET_YAML);
}

static void test_empty(void **state)
{
    (void)state;
    struct target_groups *groups = decode("[]", TARGET_JSON);
    assert_int_equal(groups->count, 0);
    target_groups_free(groups);
    groups = decode("[]", TARGET_YAML);
    assert_int_equal(groups->count, 0);
    target_groups_free(groups);
    groups = decode("[{}]", TARGET_JSON);
    assert_int_equal(groups->count, 1);
    assert_int_equal(groups->address_total, 0);
    target_groups_free(groups);
}

static void refused(const char *text, enum target_format format, const char *part)
{
    struct target_groups *groups = NULL;
    char error[256] = "";
    assert_int_equal(target_groups_decode(str_from(text), format, error, &groups), -EINVAL);
    assert_null(groups);
    if (!strstr(error, part))
        fail_msg("'%s' does not speak of '%s'", error, part);
}

static void test_refused(void **state)
{
    (void)state;
    refused("", TARGET_JSON, "line 1");
    refused("{\"targets\":[]}", TARGET_JSON, "list");
    refused("[{\"targets\":[\"a\"]}\n,{\"targets\":[\"b\"]", TARGET_JSON, "line 2");
    refused("[{\"target\":[\"a\"]}]", TARGET_JSON, "\"target\"");
    refused("[{\"targets\":[1]}]", TARGET_JSON, "texts");
    refused("[{\"targets\":\"a\"}]", TARGET_JSON, "list");
    refused("[{\"targets\":[\"\"]}]", TARGET_JSON, "address");
    refused("[{\"targets\":[\"a\"],\"labels\":{\"x\":1}}]", TARGET_JSON, "\"x\"");
    refused("[{\"targets\":[\"a\"],\"labels\":{\"x-y\":\"1\"}}]", TARGET_JSON, "x-y");
    refused("[{\"targets\":[\"a\"],\"labels\":[]}]", TARGET_JSON, "object");
    refused("[{\"targets\":[\"a\"],\"targets\":[\"b\"]}]", TARGET_JSON, "line 1");
    refused("[{\"targets\":[\"\xff\"]}]", TARGET_JSON, "line 1");
    refused("[1]", TARGET_JSON, "object");
    refused("- targets: [a]\n  lables: {}\n", TARGET_YAML, "line:2:3");
    refused("targets: [a]\n", TARGET_YAML, "list");
    refused("- targets: a\n", TARGET_YAML, "line:1");
    refused("- targets: [a]\n  labels: {'x-y': z}\n", TARGET_YAML, "x-y");
    refused("- targets: [a\n", TARGET_YAML, "line:");
}

/* Brackets cost memory: more than groups can be are refused before they are read. */
static void test_many_brackets(void **state)
{
    (void)state;
    size_t len = 2 * MIB;
    CLEANUP_FREE char *text = mem_alloc(len + 1);
    memset(text, '[', len);
    text[len] = 0;
    refused(text, TARGET_JSON, "groups");
}

static void test_too_large(void **state)
{
    (void)state;
    size_t len = TARGET_FILE_BYTES_MAX + 1;
    CLEANUP_FREE char *text = mem_alloc(len);
    struct target_groups *groups = NULL;
    char error[256];
    memset(text, ' ', len);
    assert_int_equal(target_groups_decode(str_of(text, len), TARGET_JSON, error, &groups), -EFBIG);
}

static void test_format(void **state)
{
    (void)state;
    assert_int_equal(target_format_of("/a/b.json"), TARGET_JSON);
    assert_int_equal(target_format_of("b.JSON"), TARGET_JSON);
    assert_int_equal(target_format_of("json.yml"), TARGET_YAML);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),    cmocka_unit_test(test_yaml),          cmocka_unit_test(test_empty),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_many_brackets), cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
