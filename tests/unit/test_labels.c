/* Label sets: order, equality, text, the builder, the wire form. */
#include "base/random.h"
#include "metric/labels.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define L(name, value) ((struct label){STR(name), STR(value)})

static void assert_str(struct str text, const char *expected)
{
    if (!str_equal(text, str_from(expected)))
        fail_msg("\"" STR_FMT "\" is not \"%s\"", STR_ARG(text), expected);
}

static void assert_prints(const struct labels *labels, const char *expected)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    assert_int_equal(labels_print(labels, &text), 0);
    assert_str(buf_view(&text), expected);
}

static void sorted_whatever_the_order(void **state)
{
    (void)state;
    const struct label mixed[] = {L("job", "node"), L("__name__", "up"), L("instance", "a:1")};
    const struct label other[] = {L("instance", "a:1"), L("job", "node"), L("__name__", "up")};
    CLEANUP(labels_unrefp) struct labels *a = labels_new(mixed, 3);
    CLEANUP(labels_unrefp) struct labels *b = labels_new(other, 3);
    assert_int_equal(labels_count(a), 3);
    assert_str(labels_at(a, 0).name, "__name__");
    assert_str(labels_at(a, 1).name, "instance");
    assert_str(labels_at(a, 2).value, "node");
    assert_true(labels_equal(a, b));
    assert_int_equal(labels_hash(a), labels_hash(b));
    assert_int_equal(labels_compare(a, b), 0);
}

static void the_later_of_two_wins_and_empty_is_absent(void **state)
{
    (void)state;
    const struct label items[] = {L("a", "1"), L("b", "2"), L("a", "3"), L("c", ""), L("b", "")};
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(items, 5);
    assert_int_equal(labels_count(labels), 1);
    assert_str(labels_get(labels, STR("a")), "3");
    assert_null(labels_get(labels, STR("b")).ptr);
    assert_null(labels_get(labels, STR("c")).ptr);
}

static void the_empty_set_is_a_set(void **state)
{
    (void)state;
    CLEANUP(labels_unrefp) struct labels *empty = labels_new(NULL, 0);
    assert_int_equal(labels_count(empty), 0);
    assert_prints(empty, "{}");
    labels_unref(NULL);
}

static void boundaries_of_text_are_part_of_the_set(void **state)
{
    (void)state;
    CLEANUP(labels_unrefp) struct labels *a = labels_new((struct label[]){L("ab", "c")}, 1);
    CLEANUP(labels_unrefp) struct labels *b = labels_new((struct label[]){L("a", "bc")}, 1);
    assert_false(labels_equal(a, b));
    assert_int_not_equal(labels_hash(a), labels_hash(b));
}

static void order_is_by_name_then_value_then_length(void **state)
{
    (void)state;
    const struct label sets[][2] = {
        {L("a", "1"), L("a", "1")}, {L("a", "1"), L("b", "1")}, {L("a", "1"), L("b", "2")},
        {L("a", "1"), L("c", "0")}, {L("a", "2"), L("b", "1")}, {L("b", "0"), L("b", "0")},
    };
    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        for (size_t j = 0; j < ARRAY_LEN(sets); j++) {
            CLEANUP(labels_unrefp) struct labels *a = labels_new(sets[i], 2);
            CLEANUP(labels_unrefp) struct labels *b = labels_new(sets[j], 2);
            int order = labels_compare(a, b);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
            assert_int_equal(labels_equal(a, b), i == j);
        }
    }
}

static void references_keep_it_alive(void **state)
{
    (void)state;
    struct labels *labels = labels_new((struct label[]){L("a", "1")}, 1);
    struct labels *second = labels_ref(labels);
    assert_ptr_equal(labels, second);
    labels_unref(labels);
    assert_str(labels_get(second, STR("a")), "1");
    labels_unref(second);
}

static void prints_as_go_quotes(void **state)
{
    (void)state;
    const struct {
        struct str value;
        const char *quoted;
    } cases[] = {
        {STR("plain"), "x{v=\"plain\"}"},
        {STR("a\"b\\c"), "x{v=\"a\\\"b\\\\c\"}"},
        {STR("\a\b\t\n\v\f\r"), "x{v=\"\\a\\b\\t\\n\\v\\f\\r\"}"},
        {STR("\x01\x7f"), "x{v=\"\\x01\\x7f\"}"},
        {STR("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"), "x{v=\"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"}"},
        {STR("\xc2\xa0\xe2\x80\x8b\xef\xbb\xbf"), "x{v=\"\\u00a0\\u200b\\ufeff\"}"}, /* spaces that hide */
        {STR("\xf3\xa0\x81\x81"), "x{v=\"\\U000e0041\"}"},
        {STR("\xff\xc3"), "x{v=\"\\xff\\xc3\"}"},          /* no UTF-8 */
        {STR("\xed\xa0\x80"), "x{v=\"\\xed\\xa0\\x80\"}"}, /* half a surrogate pair */
        {STR("\xc0\x80"), "x{v=\"\\xc0\\x80\"}"},          /* longer than it need be */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(labels_unrefp)
        struct labels *labels = labels_new((struct label[]){L("__name__", "x"), {STR("v"), cases[i].value}}, 2);
        assert_prints(labels, cases[i].quoted);
    }
    CLEANUP(labels_unrefp) struct labels *name = labels_new((struct label[]){L("__name__", "up")}, 1);
    assert_prints(name, "up");
    CLEANUP(labels_unrefp) struct labels *nameless = labels_new((struct label[]){L("a", "1"), L("b", "2")}, 2);
    assert_prints(nameless, "{a=\"1\",b=\"2\"}");
    CLEANUP(buf_done) struct buf narrow = BUF_INIT(5);
    assert_int_equal(labels_print(nameless, &narrow), -EMSGSIZE);
}

static void builder_changes_a_base(void **state)
{
    (void)state;
    CLEANUP(labels_unrefp) struct labels *base = labels_new((struct label[]){L("a", "1"), L("b", "2"), L("c", "3")}, 3);
    struct labels_builder builder;
    labels_builder_init(&builder, base);
    labels_builder_set(&builder, STR("b"), STR("x"));
    labels_builder_set(&builder, STR("c"), STR(""));
    labels_builder_delete(&builder, STR("absent"));
    labels_builder_set(&builder, STR("d"), STR("4"));
    assert_str(labels_builder_get(&builder, STR("b")), "x");
    assert_null(labels_builder_get(&builder, STR("c")).ptr);
    CLEANUP(labels_unrefp) struct labels *built = labels_builder_build(&builder);
    assert_prints(built, "{a=\"1\",b=\"x\",d=\"4\"}");
    assert_prints(base, "{a=\"1\",b=\"2\",c=\"3\"}");
}

static void builder_takes_so_many_and_no_more(void **state)
{
    (void)state;
    char names[LABELS_MAX + 1][8];
    struct labels_builder builder;
    labels_builder_init(&builder, NULL);
    for (size_t i = 0; i < LABELS_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "l%zu", i);
        labels_builder_set(&builder, str_from(names[i]), STR("v"));
    }
    labels_builder_set(&builder, STR("l0"), STR("changed")); /* a change needs no room */
    assert_false(builder.overflow);
    CLEANUP(labels_unrefp) struct labels *full = labels_builder_build(&builder);
    assert_int_equal(labels_count(full), LABELS_MAX);
    labels_builder_set(&builder, STR("one_more"), STR("v"));
    assert_true(builder.overflow);
    assert_null(labels_builder_build(&builder));
}

/* Against a plain array: what was set last of each name, sorted. */
static void builder_is_a_sorted_map(void **state)
{
    (void)state;
    static const char *const names[] = {"", "a", "aa", "ab", "b", "ba", "c", "__name__", "\xc3\xa9", "zz", "z"};
    static const char *const values[] = {"", "1", "2"};
    struct random random;
    random_seed(&random, 2);
    for (int round = 0; round < 2000; round++) {
        struct label room[6];
        const char *model[ARRAY_LEN(names)] = {NULL};
        struct labels_builder builder;
        size_t set = 0;
        labels_builder_init_room(&builder, room, ARRAY_LEN(room));
        for (uint64_t i = random_below(&random, 30); i > 0; i--) {
            size_t name = random_below(&random, ARRAY_LEN(names));
            const char *value = values[random_below(&random, ARRAY_LEN(values))];
            set += (value[0] != 0) - (model[name] != NULL);
            if (set > ARRAY_LEN(room))
                break;
            model[name] = value[0] ? value : NULL;
            labels_builder_set(&builder, str_from(names[name]), str_from(value));
        }
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            assert_true(str_equal(labels_builder_get(&builder, str_from(names[i])), str_from(model[i])));
        for (size_t i = 1; i < builder.count; i++)
            assert_true(str_compare(builder.items[i - 1].name, builder.items[i].name) < 0);
        assert_false(builder.overflow);
    }
}

static void wire_form_gives_the_set_back(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 1);
    for (int round = 0; round < 2000; round++) {
        char text[LABELS_MAX][2][4];
        struct label items[LABELS_MAX];
        size_t count = random_below(&random, 20);
        for (size_t i = 0; i < count; i++) {
            for (size_t j = 0; j < 2; j++) {
                size_t len = 1 + random_below(&random, 3);
                for (size_t k = 0; k < len; k++)
                    text[i][j][k] = (char)('a' + random_below(&random, 5));
                (j ? &items[i].value : &items[i].name)[0] = str_of(text[i][j], len);
            }
        }
        CLEANUP(labels_unrefp) struct labels *labels = labels_new(items, count);
        CLEANUP(buf_done) struct buf wire = BUF_INIT(4096);
        assert_int_equal(labels_encode(labels, &wire), 0);
        struct reader reader = reader_of(wire.data, wire.len);
        CLEANUP(labels_unrefp) struct labels *back = labels_decode(&reader);
        assert_non_null(back);
        assert_int_equal(reader_left(&reader), 0);
        assert_true(labels_equal(labels, back));
        for (size_t cut = 0; cut < wire.len; cut++) {
            reader = reader_of(wire.data, cut);
            assert_null(labels_decode(&reader));
            assert_true(reader.bad);
        }
    }
}

static void malformed_wire_forms_are_refused(void **state)
{
    (void)state;
    const struct str cases[] = {
        STR("\x02\x01"
            "b\x01"
            "1\x01"
            "a\x01"
            "2"), /* unsorted */
        STR("\x02\x01"
            "a\x01"
            "1\x01"
            "a\x01"
            "2"), /* twice */
        STR("\x01\x01"
            "a\x00"), /* empty value */
        STR("\x01\x00\x02"
            "ab"), /* empty name */
        STR("\x01\x01"
            "a\x01\xff"), /* no UTF-8 */
        STR("\xff\xff\xff\xff\x0f\x01"
            "a\x01"
            "1"), /* a count that cannot be */
        STR("\x01\xff\xff\xff\xff\x0f"
            "a\x01"
            "1"),        /* a length that cannot be */
        STR("\x81\x01"), /* 129 labels */
        STR(""),
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reader reader = reader_of(cases[i].ptr, cases[i].len);
        assert_null(labels_decode(&reader));
        assert_true(reader.bad);
    }
}

static void names_are_checked(void **state)
{
    (void)state;
    assert_true(label_name_is_valid(STR("_a1")));
    assert_false(label_name_is_valid(STR("a:b")));
    assert_false(label_name_is_valid(STR("1a")));
    assert_false(label_name_is_valid(STR("")));
    assert_false(label_name_is_valid(STR("caf\xc3\xa9")));
    assert_true(metric_name_is_valid(STR("a:b1")));
    assert_true(metric_name_is_valid(STR(":")));
    assert_false(metric_name_is_valid(STR("a-b")));
    assert_false(metric_name_is_valid(STR("0")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorted_whatever_the_order),
        cmocka_unit_test(the_later_of_two_wins_and_empty_is_absent),
        cmocka_unit_test(the_empty_set_is_a_set),
        cmocka_unit_test(boundaries_of_text_are_part_of_the_set),
        cmocka_unit_test(order_is_by_name_then_value_then_length),
        cmocka_unit_test(references_keep_it_alive),
        cmocka_unit_test(prints_as_go_quotes),
        cmocka_unit_test(builder_changes_a_base),
        cmocka_unit_test(builder_takes_so_many_and_no_more),
        cmocka_unit_test(builder_is_a_sorted_map),
        cmocka_unit_test(wire_form_gives_the_set_back),
        cmocka_unit_test(malformed_wire_forms_are_refused),
        cmocka_unit_test(names_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
