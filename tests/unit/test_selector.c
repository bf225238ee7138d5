/* Selectors as configuration has them: what they match, and where they are wrong. */
#include "base/fail.h"
#include "metric/selector.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Every matcher as name|operator|value, joined by spaces. */
static void expect(const char *text, const char *wanted)
{
    CLEANUP(selector_freep) struct selector *selector = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(MIB);
    char error[256] = "";
    size_t at = 0;
    if (selector_new(str_from(text), error, &at, &selector) < 0)
        fail_msg("%s: at %zu: %s", text, at, error);
    for (size_t i = 0; i < selector->count; i++)
        buf_printf(&out, "%s" STR_FMT "|%s|" STR_FMT, i ? " " : "", STR_ARG(selector->matchers[i].name),
                   matcher_operator(selector->matchers[i].type), STR_ARG(selector->matchers[i].value));
    buf_append_byte(&out, 0);
    assert_string_equal((const char *)out.data, wanted);
}

static void selectors_are_understood(void **state)
{
    (void)state;
    expect("up", "__name__|=|up");
    expect(" node:cpu_total ", "__name__|=|node:cpu_total");
    expect("up{}", "__name__|=|up");
    expect("{job=\"a\"}", "job|=|a");
    expect("up{job=\"a\",}", "__name__|=|up job|=|a");
    expect("{ a = 'x' , b!=\"y\",c=~`z.*`,d !~ \"w\" }", "a|=|x b|!=|y c|=~|z.* d|!~|w");
    expect("{__name__=~\"probe_.*|up\"}", "__name__|=~|probe_.*|up");
    expect("{a=\"\"}", "a|=|");
    expect("{a=\"}\\\"\\\\,{\"}", "a|=|}\"\\,{");
    expect("{a=\"\\x41\\101\\u00e9\\U0001F600\\t\"}", "a|=|AA\xc3\xa9\xf0\x9f\x98\x80\t");
    expect("{a=`\\x41\n`}", "a|=|\\x41\n");
}

static void refuse(const char *text, size_t wanted_at, const char *wanted)
{
    struct selector *selector = NULL;
    char error[256] = "";
    size_t at = SIZE_MAX;
    assert_int_equal(selector_new(str_from(text), error, &at, &selector), -EINVAL);
    if (at != wanted_at || !strstr(error, wanted))
        fail_msg("%s: at %zu: %s", text, at, error);
}

static void errors_have_a_place(void **state)
{
    (void)state;
    refuse("", 0, "names no label");
    refuse("{}", 0, "names no label");
    refuse("9up", 0, "no name of a metric");
    refuse("up down", 3, "and nothing more");
    refuse("up{job=\"a\"}[5m]", 11, "and nothing more");
    refuse("{job\"a\"}", 4, "expected one of");
    refuse("{job!\"a\"}", 4, "expected one of");
    refuse("{=\"a\"}", 1, "name of a label");
    refuse("{a:b=\"a\"}", 2, "expected one of");
    refuse("{job=a}", 5, "in quotes");
    refuse("{job=\"a}", 5, "has no end");
    refuse("{job=\"a\\\"}", 5, "has no end");
    refuse("{job=\"a\nb\"}", 5, "has no end");
    refuse("{job=\"a\\q\"}", 5, "backslash");
    refuse("{job=\"\\xff\"}", 5, "not UTF-8");
    refuse("{job=\"\\ud800\"}", 5, "backslash");
    refuse("{job=\"a\" b=\"c\"}", 9, "comma");
    refuse("{job=\"a\"", 8, "comma");
    refuse("{job=~\"(\"}", 6, "");
    CLEANUP(buf_done) struct buf many = BUF_INIT(MIB);
    buf_append_text(&many, "{");
    for (int i = 0; i <= SELECTOR_MATCHERS_MAX; i++)
        buf_append_text(&many, "a=\"b\",");
    buf_append_text(&many, "}");
    buf_append_byte(&many, 0);
    refuse((const char *)many.data, 1 + 6 * SELECTOR_MATCHERS_MAX + 2, "more matchers");
}

/* Any beginning of a text is refused or read, never read beyond. */
static void every_prefix_is_safe(void **state)
{
    (void)state;
    static const char text[] = "up{a=\"\\x41\\u00e9\",b=~'x+',c!=`y`,d!~\"\\101\"}";
    for (size_t len = 0; len <= strlen(text); len++) {
        CLEANUP(selector_freep) struct selector *selector = NULL;
        CLEANUP_FREE char *copy = mem_alloc(len ? len : 1);
        char error[256] = "";
        size_t at = 0;
        memcpy(copy, text, len);
        int r = selector_new(str_of(copy, len), error, &at, &selector);
        assert_true(at <= len);
        assert_int_equal(r, len == strlen(text) || len == 1 || len == 2 ? 0 : -EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selectors_are_understood),
        cmocka_unit_test(errors_have_a_place),
        cmocka_unit_test(every_prefix_is_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
