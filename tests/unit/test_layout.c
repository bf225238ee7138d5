/* Layouts: bytes and parsed form say the same, one meaning has one hash, what is malformed is refused. */
#include "base/random.h"
#include "metric/layout.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define L(name, value)                                                                                                 \
    {                                                                                                                  \
        STR(name), STR(value)                                                                                          \
    }

static void assert_str(struct str text, const char *expected)
{
    if (!str_equal(text, str_from(expected)))
        fail_msg("\"" STR_FMT "\" is not \"%s\"", STR_ARG(text), expected);
}

static void assert_prints(const struct labels *labels, const char *expected)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    assert_non_null(labels);
    assert_int_equal(labels_print(labels, &text), 0);
    assert_str(buf_view(&text), expected);
}

/* A histogram: the slots' names differ from the family's, a slot deletes a label, one has none. */
static struct layout *histogram(void)
{
    const struct label bucket[] = {L("__name__", "d_bucket"), L("le", "0.5")};
    const struct label infinite[] = {L("__name__", "d_bucket"), L("le", "+Inf")};
    const struct label count[] = {L("__name__", "d_count"), L("rack", "")};
    const struct layout_slot slots[] = {{.labels = bucket, .label_count = 2},
                                        {.labels = infinite, .label_count = 2},
                                        {.labels = count, .label_count = 2},
                                        {0}};
    struct layout_family_spec spec = {
        .name = STR("d"),
        .unit = STR("seconds"),
        .help = STR("How long."),
        .metric_type = METRIC_HISTOGRAM,
        .slots = slots,
        .count = 4,
    };
    struct layout *family = layout_family_new(&spec);
    assert_non_null(family);
    return family;
}

static void a_family_keeps_what_it_was_given(void **state)
{
    (void)state;
    CLEANUP(layout_unrefp) struct layout *family = histogram();
    assert_int_equal(family->type, LAYOUT_FAMILY);
    assert_int_equal(family->metric_type, METRIC_HISTOGRAM);
    assert_str(family->name, "d");
    assert_str(family->unit, "seconds");
    assert_str(family->help, "How long.");
    assert_int_equal(family->count, 4);
    assert_int_equal(family->slots[1].label_count, 2);
    assert_str(family->slots[1].labels[0].value, "d_bucket");
    assert_str(family->slots[1].labels[1].name, "le");
    assert_str(family->slots[1].labels[1].value, "+Inf");
    assert_int_equal(family->slots[2].labels[1].value.len, 0);
    assert_int_equal(family->slots[0].kind, KIND_COUNTER);
    assert_int_equal(family->slots[2].kind, KIND_COUNTER);
    assert_int_equal(family->slots[3].kind, KIND_GAUGE);
    assert_int_equal(family->slots[3].label_count, 0);
}

/* docs/batch-format.md describes these very bytes: a change here is a change of the format. */
static void the_bytes_are_as_documented(void **state)
{
    (void)state;
    static const char expected[] = "F\x03\x01"
                                   "d\x07seconds\x09How long.\x03"
                                   "\x08__name__\x02le\x04rack"
                                   "\x04"
                                   "\x02\x00\x08"
                                   "d_bucket\x01\x03"
                                   "0.5"
                                   "\x02\x00\x08"
                                   "d_bucket\x01\x04+Inf"
                                   "\x02\x00\x07"
                                   "d_count\x02\x00"
                                   "\x00";
    CLEANUP(layout_unrefp) struct layout *family = histogram();
    assert_int_equal(family->bytes_len, sizeof(expected) - 1);
    assert_memory_equal(family->bytes, expected, sizeof(expected) - 1);

    CLEANUP(layout_unrefp) struct layout *page = layout_page_new(&family, 1);
    uint8_t bytes[18] = "P\x01";
    memcpy(bytes + 2, family->hash.bytes, 16);
    assert_int_equal(page->bytes_len, sizeof(bytes));
    assert_true(hash128_equal(page->hash, hash128_of(bytes, sizeof(bytes))));
    assert_int_equal(page->whole_bytes, sizeof(bytes) + family->bytes_len);

    CLEANUP(labels_unrefp) struct labels *target = labels_new((struct label[]){L("job", "node")}, 1);
    CLEANUP(layout_unrefp) struct layout *list = layout_targets_new(&target, 1);
    assert_int_equal(list->bytes_len, 12);
    assert_memory_equal(list->bytes, "T\x01\x01\x03job\x04node", 12);
}

static void assert_decodes(const struct layout *layout)
{
    struct layout *back = NULL;
    assert_int_equal(layout_decode(layout->bytes, layout->bytes_len, &back), 0);
    assert_int_equal(back->type, layout->type);
    assert_int_equal(back->count, layout->count);
    assert_true(hash128_equal(back->hash, layout->hash));
    assert_int_equal(back->bytes_len, layout->bytes_len);
    assert_memory_equal(back->bytes, layout->bytes, layout->bytes_len);
    for (size_t i = 0; layout->type == LAYOUT_FAMILY && i < layout->count; i++) {
        assert_int_equal(back->slots[i].label_count, layout->slots[i].label_count);
        assert_int_equal(back->slots[i].kind, layout->slots[i].kind);
        for (size_t j = 0; j < layout->slots[i].label_count; j++) {
            assert_true(str_equal(back->slots[i].labels[j].name, layout->slots[i].labels[j].name));
            assert_true(str_equal(back->slots[i].labels[j].value, layout->slots[i].labels[j].value));
        }
    }
    for (size_t i = 0; layout->type == LAYOUT_TARGETS && i < layout->count; i++)
        assert_true(labels_equal(back->targets[i], layout->targets[i]));
    layout_unref(back);
    for (size_t cut = 0; cut < layout->bytes_len; cut++) {
        struct layout *none = NULL;
        assert_int_equal(layout_decode(layout->bytes, cut, &none), -EBADMSG);
        assert_null(none);
    }
}

static void both_come_back_from_their_bytes(void **state)
{
    (void)state;
    CLEANUP(layout_unrefp) struct layout *family = histogram();
    assert_decodes(family);
    CLEANUP(labels_unrefp) struct labels *a = labels_new((struct label[]){L("instance", "a:1"), L("job", "n")}, 2);
    CLEANUP(labels_unrefp) struct labels *b = labels_new(NULL, 0);
    struct labels *targets[] = {a, b, a};
    CLEANUP(layout_unrefp) struct layout *list = layout_targets_new(targets, 3);
    assert_decodes(list);
    assert_int_equal(list->count, 3);
}

static void random_families_come_back(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 9);
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    for (int round = 0; round < 500; round++) {
        struct label labels[40][6];
        struct layout_slot slots[40];
        char values[40][16];
        uint32_t count = (uint32_t)random_below(&random, 40);
        for (uint32_t i = 0; i < count; i++) {
            snprintf(values[i], sizeof(values[i]), "%u", i); /* tells each slot from the others */
            uint32_t used = 0;
            for (size_t j = 0; j < 6; j++)
                if (random_below(&random, 2) || j == 5)
                    labels[i][used++] = (struct label){str_from(names[j]), j == 5 ? str_from(values[i]) : STR("v")};
            slots[i] = (struct layout_slot){.labels = labels[i], .label_count = (uint16_t)used};
        }
        struct layout_family_spec spec = {.name = STR("m"), .slots = slots, .count = count};
        CLEANUP(layout_unrefp) struct layout *family = layout_family_new(&spec);
        assert_non_null(family);
        struct layout *back = NULL;
        assert_int_equal(layout_decode(family->bytes, family->bytes_len, &back), 0);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(back->slots[i].label_count, slots[i].label_count);
            for (uint32_t j = 0; j < slots[i].label_count; j++) {
                assert_true(str_equal(back->slots[i].labels[j].name, slots[i].labels[j].name));
                assert_true(str_equal(back->slots[i].labels[j].value, slots[i].labels[j].value));
            }
        }
        layout_unref(back);
    }
}

static void the_hash_is_of_the_meaning(void **state)
{
    (void)state;
    CLEANUP(layout_unrefp) struct layout *a = histogram();
    CLEANUP(layout_unrefp) struct layout *b = histogram();
    assert_true(hash128_equal(a->hash, b->hash));
    assert_true(hash128_equal(a->hash, hash128_of(a->bytes, a->bytes_len)));
    /* The family's own name said again in a slot says nothing new. */
    const struct label plain[] = {L("x", "1")};
    const struct label again[] = {L("__name__", "m"), L("x", "1")};
    struct layout_slot slot = {.labels = plain, .label_count = 1};
    struct layout_family_spec spec = {.name = STR("m"), .slots = &slot, .count = 1};
    CLEANUP(layout_unrefp) struct layout *c = layout_family_new(&spec);
    slot = (struct layout_slot){.labels = again, .label_count = 2};
    CLEANUP(layout_unrefp) struct layout *d = layout_family_new(&spec);
    assert_true(hash128_equal(c->hash, d->hash));
    spec.metric_type = METRIC_COUNTER;
    CLEANUP(layout_unrefp) struct layout *e = layout_family_new(&spec);
    assert_false(hash128_equal(c->hash, e->hash));
}

static void what_repeats_or_is_unsorted_is_not_made(void **state)
{
    (void)state;
    const struct label x[] = {L("a", "1"), L("b", "2")};
    const struct label unsorted[] = {L("b", "2"), L("a", "1")};
    const struct label doubled[] = {L("a", "1"), L("a", "2")};
    const struct layout_slot same[] = {
        {.labels = x, .label_count = 2}, {.labels = x, .label_count = 1}, {.labels = x, .label_count = 2}};
    struct layout_family_spec spec = {.name = STR("m"), .slots = same, .count = 3};
    assert_null(layout_family_new(&spec));
    spec.count = 2;
    CLEANUP(layout_unrefp) struct layout *fine = layout_family_new(&spec);
    assert_non_null(fine);
    const struct layout_slot bad[] = {{.labels = unsorted, .label_count = 2}, {.labels = doubled, .label_count = 2}};
    spec = (struct layout_family_spec){.name = STR("m"), .slots = &bad[0], .count = 1};
    assert_null(layout_family_new(&spec));
    spec.slots = &bad[1];
    assert_null(layout_family_new(&spec));
    spec = (struct layout_family_spec){.name = STR(""), .slots = same, .count = 1};
    assert_null(layout_family_new(&spec));
    struct layout *const twice[2] = {fine, fine};
    assert_null(layout_page_new(twice, 2));
    CLEANUP(layout_unrefp) struct layout *page = layout_page_new(twice, 1);
    assert_int_equal(layout_page_slots(page), 2);
    CLEANUP(layout_unrefp) struct layout *empty = layout_page_new(NULL, 0);
    assert_int_equal(empty->count, 0);
}

static void limits_are_limits(void **state)
{
    (void)state;
    static char help[LAYOUT_HELP_BYTES_MAX + 1];
    memset(help, 'h', sizeof(help));
    struct layout_family_spec spec = {.name = STR("m"), .help = str_of(help, LAYOUT_HELP_BYTES_MAX)};
    CLEANUP(layout_unrefp) struct layout *fits = layout_family_new(&spec);
    assert_non_null(fits);
    spec.help.len++;
    assert_null(layout_family_new(&spec));

    struct labels *empty = labels_new(NULL, 0);
    static struct labels *targets[LAYOUT_TARGETS_MAX + 1];
    for (size_t i = 0; i <= LAYOUT_TARGETS_MAX; i++)
        targets[i] = empty;
    CLEANUP(layout_unrefp) struct layout *list = layout_targets_new(targets, LAYOUT_TARGETS_MAX);
    assert_non_null(list);
    assert_null(layout_targets_new(targets, LAYOUT_TARGETS_MAX + 1));
    labels_unref(empty);
}

static void malformed_bytes_are_refused(void **state)
{
    (void)state;
    const struct str cases[] = {
        STR(""),
        STR("X\x00"),
        STR("F\x05\x01m\x00\x00\x00\x00"),     /* no such type */
        STR("F\x80\x00\x01m\x00\x00\x00\x00"), /* a number longer than it need be */
        STR("F\x00\x00\x00\x00\x00\x00"),      /* no name */
        STR("F\x00\x01\xff\x00\x00\x00\x00"),  /* no UTF-8 */
        STR("F\x00\x01m\x00\x00\x00\x00 "),    /* something behind it */
        STR("F\x00\x01m\x00\x00\x01\x01"
            "a\x00"), /* a name that no slot uses */
        STR("F\x00\x01m\x00\x00\x02\x01"
            "b\x01"
            "a\x01\x02\x00\x01"
            "1\x01\x01"
            "2"), /* names unsorted */
        STR("F\x00\x01m\x00\x00\x01\x01"
            "a\x01\x01\x01\x01"
            "1"), /* index past the names */
        STR("F\x00\x01m\x00\x00\x01\x01"
            "a\x01\x02\x00\x01"
            "1\x00\x01"
            "2"),                                                   /* index twice */
        STR("F\x00\x01m\x00\x00\x00\x02\x00\x00"),                  /* a slot twice */
        STR("F\x00\x01m\x00\x00\x01\x08__name__\x01\x01\x00\x01m"), /* the name again */
        STR("F\x00\x01m\x00\x00\x01\x08__name__\x01\x01\x00\x00"),  /* no name at all */
        STR("F\x00\x01m\x00\x00\x00\xff\xff\xff\xff\x0f"),          /* slots that cannot be */
        STR("P\x01"
            "0123456789abcdef"), /* a page is made of its families alone */
        STR("T\x01"),
        STR("T\x01\x00\x00"),
        STR("T\x01\x01\x01"
            "a\x00"),
        STR("T\x01\x81\x00\x01"
            "a\x01"
            "1"),
        STR("T\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct layout *layout = NULL;
        if (layout_decode(cases[i].ptr, cases[i].len, &layout) != -EBADMSG)
            fail_msg("case %zu is taken", i);
        assert_null(layout);
    }
}

static void a_series_is_the_target_and_its_slot(void **state)
{
    (void)state;
    CLEANUP(layout_unrefp) struct layout *family = histogram();
    CLEANUP(labels_unrefp)
    struct labels *target =
        labels_new((struct label[]){L("instance", "a:1"), L("job", "n"), L("le", "mine"), L("rack", "7")}, 4);
    CLEANUP(labels_unrefp) struct labels *bucket = layout_series(family, 0, target, STR("dc1"));
    assert_prints(bucket, "d_bucket{datacenter=\"dc1\",instance=\"a:1\",job=\"n\",le=\"0.5\",rack=\"7\"}");
    CLEANUP(labels_unrefp) struct labels *count = layout_series(family, 2, target, STR_NULL);
    assert_prints(count, "d_count{instance=\"a:1\",job=\"n\",le=\"mine\"}");
    CLEANUP(labels_unrefp) struct labels *plain = layout_series(family, 3, target, STR_NULL);
    assert_prints(plain, "d{instance=\"a:1\",job=\"n\",le=\"mine\",rack=\"7\"}");
}

static void the_datacenter_of_the_envelope_wins(void **state)
{
    (void)state;
    const struct label own[] = {L("datacenter", "slot")};
    const struct layout_slot slots[] = {{.labels = own, .label_count = 1}, {0}};
    struct layout_family_spec spec = {.name = STR("m"), .slots = slots, .count = 2};
    CLEANUP(layout_unrefp) struct layout *family = layout_family_new(&spec);
    CLEANUP(labels_unrefp)
    struct labels *target =
        labels_new((struct label[]){L("datacenter", "target"), L("exported_datacenter", "older")}, 2);
    CLEANUP(labels_unrefp) struct labels *a = layout_series(family, 0, target, STR("dc1"));
    assert_prints(a, "m{datacenter=\"dc1\",exported_datacenter=\"slot\",exported_exported_datacenter=\"older\"}");
    CLEANUP(labels_unrefp) struct labels *b = layout_series(family, 1, target, STR_NULL);
    assert_prints(b, "m{datacenter=\"target\",exported_datacenter=\"older\"}");
}

static void too_many_labels_make_no_series(void **state)
{
    (void)state;
    const struct label own[] = {L("x", "1")};
    const struct layout_slot slot = {.labels = own, .label_count = 1};
    struct layout_family_spec spec = {.name = STR("m"), .slots = &slot, .count = 1};
    CLEANUP(layout_unrefp) struct layout *family = layout_family_new(&spec);
    char names[LABELS_MAX][8];
    struct label items[LABELS_MAX];
    for (size_t i = 0; i < LABELS_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "l%zu", i);
        items[i] = (struct label){str_from(names[i]), STR("v")};
    }
    CLEANUP(labels_unrefp) struct labels *full = labels_new(items, LABELS_MAX - 2);
    CLEANUP(labels_unrefp) struct labels *fits = layout_series(family, 0, full, STR_NULL);
    assert_int_equal(labels_count(fits), LABELS_MAX);
    assert_null(layout_series(family, 0, full, STR("dc1")));
}

static void references_are_counted(void **state)
{
    (void)state;
    struct layout *family = histogram();
    struct layout *second = layout_ref(family);
    layout_unref(family);
    assert_str(second->name, "d");
    layout_unref(second);
    layout_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_family_keeps_what_it_was_given),
        cmocka_unit_test(the_bytes_are_as_documented),
        cmocka_unit_test(both_come_back_from_their_bytes),
        cmocka_unit_test(random_families_come_back),
        cmocka_unit_test(the_hash_is_of_the_meaning),
        cmocka_unit_test(what_repeats_or_is_unsorted_is_not_made),
        cmocka_unit_test(limits_are_limits),
        cmocka_unit_test(malformed_bytes_are_refused),
        cmocka_unit_test(a_series_is_the_target_and_its_slot),
        cmocka_unit_test(the_datacenter_of_the_envelope_wins),
        cmocka_unit_test(too_many_labels_make_no_series),
        cmocka_unit_test(references_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
