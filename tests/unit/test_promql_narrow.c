/* One more matcher in all selectors of an expression. */
#include "base/fail.h"
#include "global/promql/narrow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void expect(const char *text, const char *wanted)
{
    struct matcher matcher = {.type = MATCH_EQUAL, .name = STR("datacenter"), .value = STR("d\"1")};
    CLEANUP(promql_expression_freep) struct promql_expression *expression = NULL;
    CLEANUP(promql_expression_freep) struct promql_expression *again = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(MIB);
    struct promql_error error;
    assert_int_equal(promql_parse(str_from(text), &error, &expression), 0);
    assert_int_equal(promql_narrow(expression, &matcher), 0);
    assert_int_equal(ast_print(promql_expression_root(expression), &out), 0);
    assert_int_equal(promql_parse(buf_view(&out), &error, &again), 0);
    buf_append_byte(&out, 0);
    assert_string_equal((const char *)out.data, wanted);
}

static void every_selector_gets_it(void **state)
{
#define DC "datacenter=\"d\\\"1\""
    (void)state;
    expect("1 + 2", "1 + 2");
    expect("up", "up{" DC "}");
    expect("{__name__=~\"a.*\"}", "{__name__=~\"a.*\"," DC "}");
    expect("up{z=\"y\",datacenter!=\"x\"}", "up{datacenter!=\"x\"," DC ",z=\"y\"}");
    expect("sum by (a) (rate(x[5m] offset 1h)) / on (b) group_left () -max_over_time((y{c=\"d\"})[1h:5m] @ end())",
           "sum by (a) (rate(x{" DC "}[5m] offset 1h)) / on (b) group_left () -max_over_time((y{c=\"d\"," DC
           "})[1h:5m] @ end())");
    expect("topk(scalar(n), m)", "topk(scalar(n{" DC "}), m{" DC "})");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_selector_gets_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
