/* The example of docs/discovery-plugins.md: lines in pieces, and what is refused. It shows a plugin's test, too. */
#include "plugin_rig.h"

#include <setjmp.h>

#include <cmocka.h>

extern const struct discovery_plugin discovery_example;

static const char two_lines[] = "10.0.0.1:9100 rack=a7 team=web\n\nh:1\n";
static const char two_printed[] = "# line 1\n10.0.0.1:9100{__meta_example_rack=\"a7\",__meta_example_team=\"web\"}\n"
                                  "# line 3\nh:1{}\n";

static void expect_targets(struct plugin_rig *rig, const char *expected)
{
    CLEANUP_FREE char *printed = rig_print(rig);
    assert_string_equal(printed, expected);
}

static void test_lines(void **state)
{
    (void)state;
    for (size_t piece = 0; piece < 8; piece++) {
        struct plugin_rig rig;
        assert_int_equal(rig_start(&rig, &discovery_example, "url: http://h/list\nrefresh_interval: 5s\n"), 0);
        rig.chunk_bytes = piece;
        assert_int_equal(rig_answer(&rig, rig_find(&rig, "http://h/list"), 200, two_lines), DISCOVERY_DONE);
        expect_targets(&rig, two_printed);
        assert_int_equal(rig_find(&rig, "http://h/list")->request.after_ms, 5000);
        assert_int_equal(rig_answer(&rig, rig_find(&rig, "http://h/list"), 200, ""), DISCOVERY_DONE);
        expect_targets(&rig, "");
        rig_stop(&rig);
    }
}

static void test_refused(void **state)
{
    CLEANUP_FREE char *name = mem_printf("h:1 %0200d=x\n", 1), *large = mem_printf("%05000d\n", 1);
    CLEANUP(buf_done) struct buf many = BUF_INIT(KIB);
    struct plugin_rig rig;
    (void)state;
    buf_append_text(&many, "h:1");
    for (size_t i = 0; i < 33; i++)
        buf_append_text(&many, " a=b");
    buf_append(&many, "\n", 2);
    const struct {
        int status;
        const char *body, *problem;
    } cases[] = {
        {500, "", "http://h/list: answered 500"},
        {204, "", "http://h/list: answered 204"},
        {200, "h:1\nh:2 a\n", "line 2: expected host:port name=value"},
        {200, "h:1\nh:2", "line 2: it has no end"},
        {200, name, "line 1: expected"},
        {200, (const char *)many.data, "line 1: expected"},
        {200, large, "line 1: too long"},
    };
    assert_int_equal(rig_start(&rig, &discovery_example, "url: http://h/list\n"), 0);
    rig_answer(&rig, rig_find(&rig, "list"), 200, two_lines);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(rig_answer(&rig, rig_find(&rig, "list"), cases[i].status, cases[i].body), DISCOVERY_RETRY);
        if (!strstr(rig.host.problem, cases[i].problem))
            fail_msg("'%s' does not speak of '%s'", rig.host.problem, cases[i].problem);
        expect_targets(&rig, two_printed);
    }
    assert_int_equal(rig_fail(rig_find(&rig, "list"), DISCOVERY_BROKEN, "cut"), DISCOVERY_RETRY);
    assert_non_null(strstr(rig.host.problem, "cut"));
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
