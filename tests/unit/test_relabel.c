/* Relabelling: every action as Prometheus 2.42 does it, and the rules for its configuration. The expected results of
 * the tables agree with `promtool check service-discovery` of that version. */
#include "metric/relabel_trace.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define SOURCES(...)                                                                                                   \
    .source_labels = (const char *[]){__VA_ARGS__},                                                                    \
    .source_label_count = sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *)

static const char dropped[] = "dropped";

/* The labels that come out, as text. */
static void apply(const struct relabel_config *configs, size_t count, struct buf *text, size_t *ret_rule)
{
    const struct label items[] = {
        {STR("a"), STR("foo")},       {STR("b"), STR("bar")},      {STR("c"), STR("foo")},
        {STR("n"), STR("host:9100")}, {STR("meta_x"), STR("one")}, {STR("meta_y"), STR("Two")},
    };
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(items, ARRAY_LEN(items));
    CLEANUP(relabel_freep) struct relabel *relabel = NULL;
    char error[256] = "";
    size_t index = 0;
    if (relabel_new(configs, count, error, &index, &relabel) != 0)
        fail_msg("rule %zu is refused: %s", index, error);
    assert_int_equal(relabel_count(relabel), count);
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 1 << 16);
    struct labels_builder builder;
    labels_builder_init(&builder, labels);
    if (!relabel_apply(relabel, &builder, &arena, ret_rule)) {
        buf_append_text(text, dropped);
        return;
    }
    CLEANUP(labels_unrefp) struct labels *built = labels_builder_build(&builder);
    assert_non_null(built);
    labels_print(built, text);
}

static void check(const struct relabel_config *configs, size_t count, const char *expected)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 16);
    apply(configs, count, &text, NULL);
    buf_append_byte(&text, 0);
    if (strcmp((char *)text.data, expected) != 0)
        fail_msg("gives\n%s\nnot\n%s", (char *)text.data, expected);
}

#define CHECK(expected, ...)                                                                                           \
    check((struct relabel_config[]){__VA_ARGS__},                                                                      \
          sizeof((struct relabel_config[]){__VA_ARGS__}) / sizeof(struct relabel_config), expected)

#define REST "meta_x=\"one\",meta_y=\"Two\",n=\"host:9100\""
#define ALL  "{a=\"foo\",b=\"bar\",c=\"foo\"," REST "}"

static void no_rules_change_nothing(void **state)
{
    (void)state;
    check(NULL, 0, ALL);
}

static void replace(void **state)
{
    (void)state;
    CHECK("{a=\"foo\",b=\"bar\",c=\"foo\",d=\"foo\"," REST "}", {SOURCES("a"), .target_label = "d"});
    CHECK("{a=\"foo\",b=\"bar\",c=\"foo\",d=\"foo;bar\"," REST "}", {SOURCES("a", "b"), .target_label = "d"});
    CHECK("{a=\"foo\",b=\"bar\",c=\"foo\",d=\"host\"," REST "}",
          {SOURCES("n"), .regex = "(.*):\\d+", .target_label = "d"});
    CHECK(ALL, {SOURCES("n"), .regex = "host", .target_label = "d"}); /* anchored */
    CHECK(ALL, {SOURCES("absent"), .regex = "(.+)", .target_label = "a"});
    CHECK("{b=\"bar\",c=\"foo\"," REST "}", {SOURCES("absent"), .target_label = "a"}); /* empty: deletes */
    CHECK("{b=\"bar\",c=\"foo\"," REST "}", {SOURCES("b"), .target_label = "a", .replacement = ""});
    CHECK("{a=\"set\",b=\"bar\",c=\"foo\"," REST "}", {.target_label = "a", .replacement = "set"});
    CHECK("{a=\"foo-bar\",b=\"bar\",c=\"foo\"," REST "}", {SOURCES("a", "b"), .separator = "-", .target_label = "a"});
    CHECK("{a=\"foobar\",b=\"bar\",c=\"foo\"," REST "}", {SOURCES("a", "b"), .separator = "", .target_label = "a"});
    /* The second rule sees what the first did. */
    CHECK("{a=\"x\",b=\"xy\",c=\"foo\"," REST "}", {.target_label = "a", .replacement = "x"},
          {SOURCES("a"), .target_label = "b", .replacement = "${1}y"});
}

static void groups_expand_as_in_go(void **state)
{
    (void)state;
    static const struct {
        const char *replacement, *value;
    } cases[] = {
        {"$1", "host"},
        {"${1}", "host"},
        {"${1}x$2", "hostx9100"},
        {"$1x", ""},
        {"$$1", "$1"},
        {"a$", "a$"},
        {"a$-", "a$-"},
        {"${1", "${1"},
        {"${}", "${}"},
        {"$0", "host:9100"},
        {"${port}", "9100"},
        {"$port", "9100"},
        {"$port_", ""},
        {"$3", ""},
        {"$9-", "-"},
        {"$01", ""},
        {"$1$2", "host9100"},
        {"$$$$", "$$"},
        {"$1:$$", "host:$"},
        {"${1}$", "host$"},
        {"$1\xe2\x80\x93$2", "host\xe2\x80\x93"
                             "9100"}, /* a dash ends the name, */
        {"$1\xc3\xa9", ""},           /* a letter does not */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct relabel_config config = {
            SOURCES("n"),
            .regex = "([a-z]+):(?P<port>\\d+)",
            .target_label = "a",
            .replacement = cases[i].replacement,
        };
        char expected[256];
        if (cases[i].value[0])
            snprintf(expected, sizeof(expected), "{a=\"%s\",b=\"bar\",c=\"foo\"," REST "}", cases[i].value);
        else
            snprintf(expected, sizeof(expected), "{b=\"bar\",c=\"foo\"," REST "}");
        check(&config, 1, expected);
    }
}

static void target_labels_expand_too(void **state)
{
    (void)state;
    CHECK("{a=\"foo\",b=\"bar\",c=\"foo\",foo_x=\"1\"," REST "}",
          {SOURCES("a"), .target_label = "${1}_x", .replacement = "1"});
    /* What is no label name is not set. */
    CHECK(ALL, {SOURCES("n"), .target_label = "${1}_x", .replacement = "1"});
    CHECK(ALL, {SOURCES("n"), .target_label = "x${1}", .action = RELABEL_UPPERCASE});
    /* An empty text deletes what the target label is as it is written, which groups are not. */
    CHECK(ALL, {SOURCES("meta_x"), .regex = "one", .target_label = "a${1}", .replacement = ""});
}

static void keep_and_drop(void **state)
{
    (void)state;
    CHECK(ALL, {SOURCES("a"), .regex = "fo+", .action = RELABEL_KEEP});
    CHECK(dropped, {SOURCES("a"), .regex = "o+", .action = RELABEL_KEEP});
    CHECK(dropped, {SOURCES("a"), .regex = "foo|x", .action = RELABEL_DROP});
    CHECK(ALL, {SOURCES("absent"), .regex = "x", .action = RELABEL_DROP});
    CHECK(dropped, {SOURCES("absent"), .regex = "", .action = RELABEL_DROP});
    CHECK(ALL, {SOURCES("a", "b"), .regex = "foo;bar", .action = RELABEL_KEEP});
    CHECK(ALL, {SOURCES("a"), .target_label = "c", .action = RELABEL_KEEPEQUAL});
    CHECK(dropped, {SOURCES("a"), .target_label = "b", .action = RELABEL_KEEPEQUAL});
    CHECK(dropped, {SOURCES("a"), .target_label = "c", .action = RELABEL_DROPEQUAL});
    CHECK(ALL, {SOURCES("a"), .target_label = "b", .action = RELABEL_DROPEQUAL});
    CHECK(dropped, {SOURCES("absent"), .target_label = "gone", .action = RELABEL_DROPEQUAL});
}

static void the_rule_that_drops_is_named(void **state)
{
    (void)state;
    const struct relabel_config configs[] = {
        {SOURCES("a"), .regex = "foo", .action = RELABEL_KEEP},
        {SOURCES("b"), .regex = "bar", .action = RELABEL_DROP},
        {SOURCES("b"), .regex = "bar", .action = RELABEL_DROP},
    };
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 16);
    size_t rule = 99;
    apply(configs, 3, &text, &rule);
    assert_int_equal(rule, 1);
}

static void hashmod(void **state)
{
    (void)state;
    /* md5("foo") ends in edef654f ccc4a4d8: 8 bytes, big endian. */
    CHECK("{a=\"foo\",b=\"bar\",c=\"foo\",d=\"696\"," REST "}",
          {SOURCES("a"), .target_label = "d", .modulus = 1000, .action = RELABEL_HASHMOD});
    CHECK("{a=\"foo\",b=\"bar\",c=\"foo\",d=\"92\"," REST "}",
          {SOURCES("a", "b"), .target_label = "d", .modulus = 97, .action = RELABEL_HASHMOD});
    CHECK("{a=\"foo\",b=\"bar\",c=\"foo\",d=\"0\"," REST "}",
          {SOURCES("a"), .target_label = "d", .modulus = 1, .action = RELABEL_HASHMOD});
}

static void labelmap(void **state)
{
    (void)state;
    CHECK("{a=\"foo\",b=\"bar\",c=\"foo\"," REST ",x=\"one\",y=\"Two\"}",
          {.regex = "meta_(.+)", .action = RELABEL_LABELMAP});
    CHECK("{a=\"foo\",b=\"bar\",c=\"foo\"," REST ",t_x=\"one\",t_y=\"Two\"}",
          {.regex = "meta_(.+)", .replacement = "t_${1}", .action = RELABEL_LABELMAP});
    CHECK("{a=\"foo\",all=\"host:9100\",b=\"bar\",c=\"foo\"," REST "}",
          {.replacement = "all", .action = RELABEL_LABELMAP}); /* of many the last stays */
    /* The last by name, not the one that was set last. */
    CHECK("{a=\"foo\",all=\"host:9100\",b=\"new\",c=\"foo\"," REST "}", {.target_label = "b", .replacement = "new"},
          {.regex = "[abn]", .replacement = "all", .action = RELABEL_LABELMAP});
}

static void labeldrop_and_labelkeep(void **state)
{
    (void)state;
    CHECK("{a=\"foo\",b=\"bar\",c=\"foo\",n=\"host:9100\"}", {.regex = "meta_.*", .action = RELABEL_LABELDROP});
    CHECK("{a=\"foo\",c=\"foo\"}", {.regex = "[ac]", .action = RELABEL_LABELKEEP});
    CHECK("{}", {.regex = ".*", .action = RELABEL_LABELDROP});
}

static void upper_and_lower_case(void **state)
{
    (void)state;
    CHECK("{a=\"FOO;TWO\",b=\"bar\",c=\"foo\"," REST "}",
          {SOURCES("a", "meta_y"), .target_label = "a", .action = RELABEL_UPPERCASE});
    CHECK("{a=\"two\",b=\"bar\",c=\"foo\"," REST "}",
          {SOURCES("meta_y"), .target_label = "a", .action = RELABEL_LOWERCASE});
    CHECK("{a=\"\xc3\x89T\xc3\x89 \xce\xa3 \xc3\x9f\",b=\"bar\",c=\"foo\"," REST "}",
          {.target_label = "a", .replacement = "\xc3\xa9t\xc3\xa9 \xcf\x83 \xc3\x9f"},
          {SOURCES("a"), .target_label = "a", .action = RELABEL_UPPERCASE});
    CHECK("{a=\"\xc3\xa9t\xc3\xa9\",b=\"bar\",c=\"foo\"," REST "}",
          {.target_label = "a", .replacement = "\xc3\x89T\xc3\x89"},
          {SOURCES("a"), .target_label = "a", .action = RELABEL_LOWERCASE});
    CHECK("{b=\"bar\",c=\"foo\"," REST "}", {SOURCES("absent"), .target_label = "a", .action = RELABEL_UPPERCASE});
}

static void assert_refused(struct relabel_config config, const char *reason)
{
    const struct relabel_config configs[] = {{SOURCES("a"), .action = RELABEL_KEEP}, config};
    char error[256] = "";
    size_t index = 99;
    struct relabel *relabel = NULL;
    int result = relabel_new(configs, 2, error, &index, &relabel);
    if (result != -EINVAL || index != 1 || !strstr(error, reason))
        fail_msg("%d at %zu, \"%s\", not \"%s\"", result, index, error, reason);
    assert_null(relabel);
}

#define REFUSED(reason, ...) assert_refused((struct relabel_config){__VA_ARGS__}, reason)

static void impossible_rules_are_refused(void **state)
{
    (void)state;
    REFUSED("target_label", SOURCES("a"));
    REFUSED("target_label", SOURCES("a"), .target_label = "1x");
    REFUSED("target_label", SOURCES("a"), .target_label = "a-b");
    REFUSED("target_label", SOURCES("a"), .target_label = "${1");
    REFUSED("target_label", SOURCES("a"), .target_label = "$");
    REFUSED("target_label", SOURCES("a"), .modulus = 2, .action = RELABEL_HASHMOD);
    REFUSED("target_label", SOURCES("a"), .modulus = 2, .target_label = "${1}", .action = RELABEL_HASHMOD);
    REFUSED("modulus", SOURCES("a"), .target_label = "d", .action = RELABEL_HASHMOD);
    REFUSED("modulus", SOURCES("a"), .target_label = "d", .modulus = -1, .action = RELABEL_HASHMOD);
    REFUSED("target_label", SOURCES("a"), .action = RELABEL_KEEPEQUAL);
    REFUSED("target_label", SOURCES("a"), .action = RELABEL_LOWERCASE);
    REFUSED("keepequal", SOURCES("a"), .target_label = "b", .regex = "x", .action = RELABEL_KEEPEQUAL);
    REFUSED("dropequal", SOURCES("a"), .target_label = "b", .separator = ",", .action = RELABEL_DROPEQUAL);
    REFUSED("dropequal", SOURCES("a"), .target_label = "b", .replacement = "x", .action = RELABEL_DROPEQUAL);
    REFUSED("keepequal", SOURCES("a"), .target_label = "b", .modulus = 3, .action = RELABEL_KEEPEQUAL);
    REFUSED("replacement", SOURCES("a"), .target_label = "b", .replacement = "x", .action = RELABEL_UPPERCASE);
    REFUSED("labeldrop", SOURCES("a"), .regex = "x", .action = RELABEL_LABELDROP);
    REFUSED("labelkeep", .regex = "x", .target_label = "b", .action = RELABEL_LABELKEEP);
    REFUSED("labeldrop", .regex = "x", .replacement = "b", .action = RELABEL_LABELDROP);
    REFUSED("labeldrop", .regex = "x", .separator = ",", .action = RELABEL_LABELDROP);
    REFUSED("replacement", .regex = "x", .replacement = "a-b", .action = RELABEL_LABELMAP);
    REFUSED("regex", SOURCES("a"), .regex = "(", .action = RELABEL_KEEP);
    REFUSED("source_labels", SOURCES("1a"), .target_label = "b");
    REFUSED("action", SOURCES("a"), .target_label = "b", .action = 99);
    REFUSED("action", SOURCES("a"), .target_label = "b", .action = -1);
    REFUSED("groups", SOURCES("a"), .target_label = "b", .replacement = "$16");
    /* Fine: a target label with groups in it, and defaults written out. */
    CHECK(ALL, {SOURCES("n"), .target_label = "x$1"});
    CHECK("{a=\"foo\",c=\"foo\"}",
          {.regex = "[ac]", .separator = ";", .replacement = "$1", .target_label = "", .action = RELABEL_LABELKEEP});
}

static void a_full_arena_builds_nothing(void **state)
{
    (void)state;
    const struct relabel_config config = {SOURCES("a", "b"), .target_label = "d"};
    CLEANUP(relabel_freep) struct relabel *relabel = NULL;
    char error[256];
    size_t index;
    assert_int_equal(relabel_new(&config, 1, error, &index, &relabel), 0);
    char value[4096];
    memset(value, 'v', sizeof(value));
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 1024);
    struct labels_builder builder;
    labels_builder_init(&builder, NULL);
    labels_builder_set(&builder, STR("a"), str_of(value, sizeof(value)));
    assert_true(relabel_apply(relabel, &builder, &arena, NULL));
    assert_null(labels_builder_build(&builder));
}

static void names_of_actions_are_in_order(void **state)
{
    (void)state;
    assert_string_equal(relabel_action_names[RELABEL_REPLACE], "replace");
    assert_string_equal(relabel_action_names[RELABEL_HASHMOD], "hashmod");
    assert_string_equal(relabel_action_names[RELABEL_LABELKEEP], "labelkeep");
    assert_string_equal(relabel_action_names[RELABEL_UPPERCASE], "uppercase");
    assert_null(relabel_action_names[RELABEL_UPPERCASE + 1]);
}

/* ---- Each rule by itself ---- */

static void print_step(void *arg, const struct relabel_step *step)
{
    struct buf *text = arg;
    buf_printf(text, "%zu%s", step->rule, step->dropped ? " drops" : "");
    for (size_t i = 0; i < step->change_count; i++)
        buf_printf(text, " " STR_FMT ":" STR_FMT ">" STR_FMT, STR_ARG(step->changes[i].name),
                   STR_ARG(step->changes[i].before), STR_ARG(step->changes[i].after));
    buf_append_byte(text, '\n');
}

static void a_trace_tells_what_each_rule_does(void **state)
{
    (void)state;
    const struct relabel_config configs[] = {
        {.target_label = "b", .replacement = "new"},
        {.target_label = "b", .replacement = "new"},
        {.regex = "m(.*)", .replacement = "z$1", .action = RELABEL_LABELMAP},
        {.regex = "[bm].*", .action = RELABEL_LABELDROP},
        {SOURCES("z"), .regex = "2", .action = RELABEL_DROP},
        {.target_label = "b", .replacement = "late"},
    };
    CLEANUP(relabel_freep) struct relabel *relabel = NULL;
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 16);
    CLEANUP(arena_done) struct arena arena;
    char error[256];
    size_t index;
    assert_int_equal(relabel_new(configs, ARRAY_LEN(configs), error, &index, &relabel), 0);
    const struct label items[] = {{STR("b"), STR("1")}, {STR("m"), STR("2")}, {STR("z"), STR("3")}};
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(items, ARRAY_LEN(items));
    struct labels_builder builder;
    arena_init(&arena, 0);
    labels_builder_init(&builder, labels);
    assert_false(relabel_trace(relabel, &builder, &arena, print_step, &text));
    buf_append_byte(&text, 0);
    assert_string_equal((char *)text.data, "0 b:1>new\n1\n2 z:3>2\n3 b:new> m:2>\n4 drops\n");
    buf_reset(&text);
    for (size_t i = 0; i < ARRAY_LEN(configs); i++)
        relabel_config_print(&configs[i], &text);
    relabel_config_print(&(struct relabel_config){SOURCES("a", "b"), .separator = "\n", .target_label = "c",
                                                  .modulus = 7, .action = RELABEL_HASHMOD},
                         &text);
    buf_append_byte(&text, 0);
    assert_string_equal(
        (char *)text.data,
        "{target_label: \"b\", replacement: \"new\"}{target_label: \"b\", replacement: \"new\"}"
        "{regex: \"m(.*)\", replacement: \"z$1\", action: labelmap}"
        "{regex: \"[bm].*\", action: labeldrop}{source_labels: [z], regex: \"2\", action: drop}"
        "{target_label: \"b\", replacement: \"late\"}"
        "{source_labels: [a, b], separator: \"\\n\", modulus: 7, target_label: \"c\", action: hashmod}");
}

static void a_trace_in_a_full_arena_builds_nothing(void **state)
{
    (void)state;
    const struct relabel_config config = {.target_label = "b", .replacement = "new"};
    CLEANUP(relabel_freep) struct relabel *relabel = NULL;
    CLEANUP(buf_done) struct buf text = BUF_INIT(1 << 16);
    char error[256];
    size_t index;
    assert_int_equal(relabel_new(&config, 1, error, &index, &relabel), 0);
    for (size_t bytes = 1; bytes < 400; bytes += 16) {
        CLEANUP(arena_done) struct arena arena;
        struct labels_builder builder;
        arena_init(&arena, bytes);
        labels_builder_init(&builder, NULL);
        labels_builder_set(&builder, STR("a"), STR("1"));
        assert_true(relabel_trace(relabel, &builder, &arena, print_step, &text));
        CLEANUP(labels_unrefp) struct labels *built = labels_builder_build(&builder);
        assert_true(!built == builder.overflow);
    }
}

/* Labels of Kubernetes' objects: many hundred before the rules, few behind them. */
static void more_labels_than_a_set_takes(void **state)
{
    (void)state;
    const struct relabel_config configs[] = {{.regex = "__meta_(l1..)", .action = RELABEL_LABELMAP},
                                             {.regex = "__.*", .action = RELABEL_LABELDROP}};
    CLEANUP(relabel_freep) struct relabel *relabel = NULL;
    CLEANUP(arena_done) struct arena arena;
    char error[256];
    size_t index;
    arena_init(&arena, 0);
    assert_int_equal(relabel_new(configs, 2, error, &index, &relabel), 0);
    struct label *room = arena_array(&arena, 1100, sizeof(*room));
    struct labels_builder builder;
    labels_builder_init_room(&builder, room, 1100);
    for (int i = 999; i >= 0; i--)
        labels_builder_set(&builder, str_from(arena_printf(&arena, "__meta_l%03d", i)), STR("v"));
    assert_int_equal(builder.count, 1000);
    assert_null(labels_builder_build(&builder));
    assert_true(relabel_apply(relabel, &builder, &arena, NULL));
    CLEANUP(labels_unrefp) struct labels *built = labels_builder_build(&builder);
    assert_int_equal(labels_count(built), 100);
    assert_true(str_equal(labels_at(built, 99).name, STR("l199")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_rules_change_nothing),
        cmocka_unit_test(replace),
        cmocka_unit_test(groups_expand_as_in_go),
        cmocka_unit_test(target_labels_expand_too),
        cmocka_unit_test(keep_and_drop),
        cmocka_unit_test(the_rule_that_drops_is_named),
        cmocka_unit_test(hashmod),
        cmocka_unit_test(labelmap),
        cmocka_unit_test(labeldrop_and_labelkeep),
        cmocka_unit_test(upper_and_lower_case),
        cmocka_unit_test(impossible_rules_are_refused),
        cmocka_unit_test(a_full_arena_builds_nothing),
        cmocka_unit_test(names_of_actions_are_in_order),
        cmocka_unit_test(a_trace_tells_what_each_rule_does),
        cmocka_unit_test(a_trace_in_a_full_arena_builds_nothing),
        cmocka_unit_test(more_labels_than_a_set_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
