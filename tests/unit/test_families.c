/* What is known of metrics: each thing said is kept once, bounded, in order, and comes back from its saved form. */
#include "base/fail.h"
#include "global/store/families.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void note(struct families *families, const char *name, enum metric_type type, const char *help)
{
    families_note(families, &(struct family){.name = str_from(name), .type = type, .help = str_from(help)});
}

/* As lines of "name type help unit". */
static void expect(struct families *families, const char *name, const char *lines)
{
    const struct family **items = NULL;
    size_t count = families_list(families, str_from(name), &items);
    CLEANUP(buf_done) struct buf text = BUF_INIT(MIB);
    for (size_t i = 0; i < count; i++)
        buf_printf(&text, STR_FMT " %s " STR_FMT " " STR_FMT "\n", STR_ARG(items[i]->name),
                   metric_type_name(items[i]->type), STR_ARG(items[i]->help), STR_ARG(items[i]->unit));
    buf_append_byte(&text, 0);
    assert_string_equal((const char *)text.data, lines);
    mem_free(items);
}

static void each_thing_said_is_there_once_in_order(void **state)
{
    CLEANUP(families_freep) struct families *families = families_new();
    (void)state;
    expect(families, NULL, "");
    for (int i = 0; i < 2; i++) {
        note(families, "b", METRIC_GAUGE, "two");
        note(families, "b", METRIC_GAUGE, "one");
        note(families, "b", METRIC_COUNTER, "two");
        note(families, "a", METRIC_UNKNOWN, "x");
        note(families, "nothing_said", METRIC_UNKNOWN, "");
        families_note(families, &(struct family){.name = STR("b"), .unit = STR("bytes"), .type = METRIC_GAUGE});
    }
    expect(families, "b", "b counter two \nb gauge  bytes\nb gauge one \nb gauge two \n");
    expect(families, "a", "a unknown x \n");
    expect(families, "c", "");
    expect(families, NULL, "a unknown x \nb counter two \nb gauge  bytes\nb gauge one \nb gauge two \n");
    struct families_stats stats;
    families_stats(families, &stats);
    assert_int_equal(stats.names, 2);
    assert_int_equal(stats.families, 5);
    assert_int_equal(stats.refused_total, 0);
}

static void a_name_has_so_many_and_no_more(void **state)
{
    CLEANUP(families_freep) struct families *families = families_new();
    struct families_stats stats;
    (void)state;
    for (int i = 0; i < FAMILIES_OF_NAME_MAX + 3; i++) {
        char help[16];
        snprintf(help, sizeof(help), "%d", i);
        note(families, "m", METRIC_GAUGE, help);
    }
    families_stats(families, &stats);
    assert_int_equal(stats.families, FAMILIES_OF_NAME_MAX);
    assert_int_equal(stats.refused_total, 3);
    note(families, "m", METRIC_GAUGE, "0"); /* what is known is not refused */
    note(families, "n", METRIC_GAUGE, "0");
    families_stats(families, &stats);
    assert_int_equal(stats.refused_total, 3);
    assert_int_equal(stats.names, 2);
}

static void all_together_are_so_many_and_no_more(void **state)
{
    CLEANUP(families_freep) struct families *families = families_new();
    struct families_stats stats;
    (void)state;
    for (int i = 0; i < FAMILIES_MAX + 7; i++) {
        char name[16];
        snprintf(name, sizeof(name), "m%d", i);
        note(families, name, METRIC_GAUGE, "");
    }
    families_stats(families, &stats);
    assert_int_equal(stats.names, FAMILIES_MAX);
    assert_int_equal(stats.refused_total, 7);
}

static void texts_have_a_ceiling(void **state)
{
    CLEANUP(families_freep) struct families *families = families_new();
    CLEANUP(buf_done) struct buf help = BUF_INIT(MIB);
    struct families_stats stats = {0};
    (void)state;
    while (help.len < MIB)
        buf_append_byte(&help, 'x');
    for (int i = 0; i < 70; i++) {
        char name[16];
        snprintf(name, sizeof(name), "m%d", i);
        families_note(families, &(struct family){.name = str_from(name), .help = buf_view(&help)});
    }
    families_stats(families, &stats);
    assert_int_equal(stats.families, 63);
    assert_int_equal(stats.refused_total, 7);
    assert_true(stats.bytes <= FAMILIES_BYTES_MAX);
}

static void what_is_saved_is_loaded_up_to_the_damage(void **state)
{
    CLEANUP(families_freep) struct families *families = families_new();
    CLEANUP(buf_done) struct buf saved = BUF_INIT(MIB);
    (void)state;
    note(families, "a", METRIC_SUMMARY, "h\xc3\xa4\n");
    families_note(families, &(struct family){.name = STR("b"), .unit = STR("bytes"), .type = METRIC_HISTOGRAM});
    families_save(families, &saved);
    for (size_t len = 0; len <= saved.len; len++) {
        CLEANUP(families_freep) struct families *loaded = families_new();
        families_load(loaded, str_of(saved.data, len));
        struct families_stats stats;
        families_stats(loaded, &stats);
        assert_int_equal(stats.families, len == saved.len ? 2 : len >= 9 ? 1 : 0);
        if (len == saved.len)
            expect(loaded, NULL, "a summary h\xc3\xa4\n \nb histogram  bytes\n");
    }
    CLEANUP(families_freep) struct families *strange = families_new();
    families_load(strange, STR("\1a\11\1h\0"));
    expect(strange, NULL, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_thing_said_is_there_once_in_order),   cmocka_unit_test(a_name_has_so_many_and_no_more),
        cmocka_unit_test(all_together_are_so_many_and_no_more),     cmocka_unit_test(texts_have_a_ceiling),
        cmocka_unit_test(what_is_saved_is_loaded_up_to_the_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
