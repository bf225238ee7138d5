/* YAML into structs: places of errors, all of them at once, units, and what a hostile file may not do. */
#include "base/conf.h"
#include "base/conf_object.h"
#include "base/fail.h"
#include "base/regex.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* ---- a table with one of each type --------------------------------------------------------------------------------
 */

struct inner {
    const char *name;
    int64_t wait_ms;
};

struct outer {
    const char *text;
    const char *name;
    bool flag;
    int64_t number;
    double share;
    uint64_t room;
    int64_t wait_ms;
    int colour;
    const char *listen;
    const char *url;
    const char *file;
    const char *path;
    struct regex *pattern;
    struct conf_strings words;
    struct conf_strings urls;
    struct conf_string_map labels;
    struct inner inner;
    struct conf_list list;
    size_t custom_children;
};

static void check_inner(struct conf *conf, const struct conf_node *node, void *object)
{
    const struct inner *inner = object;
    if (inner->name && strcmp(inner->name, "forbidden") == 0)
        conf_error(conf, conf_child(node, "name"), "name: forbidden");
}

static void fill_custom(struct conf *conf, const struct conf_node *node, void *field)
{
    (void)conf;
    *(size_t *)field = conf_child_count(node);
}

static const struct conf_table inner_table = {
    .title = "inner",
    .struct_bytes = sizeof(struct inner),
    .check = check_inner,
    .options =
        (const struct conf_option[]){
            {.name = "name",
             .type = CONF_STRING,
             .offset = offsetof(struct inner, name),
             .required = true,
             .help = "Its name."},
            {.name = "wait",
             .type = CONF_DURATION,
             .offset = offsetof(struct inner, wait_ms),
             .fallback = "5s",
             .help = "How long."},
            {0},
        },
};

#define OPTION(key, kind, member, ...)                                                                                 \
    {                                                                                                                  \
        .name = key, .type = kind, .offset = offsetof(struct outer, member), .help = "Help of " key ".", __VA_ARGS__   \
    }

static const struct conf_table outer_table = {
    .title = "the file",
    .struct_bytes = sizeof(struct outer),
    .options =
        (const struct conf_option[]){
            OPTION("text", CONF_STRING, text, .max = 20),
            OPTION("name", CONF_NAME, name),
            OPTION("flag", CONF_BOOL, flag, .fallback = "true"),
            OPTION("number", CONF_INT, number, .fallback = "7", .min = -5, .max = 10),
            OPTION("share", CONF_DOUBLE, share, .fallback = "0.5"),
            OPTION("room", CONF_BYTES, room, .fallback = "4GiB", .min = 1024, .max = INT64_MAX),
            OPTION("wait", CONF_DURATION, wait_ms, .fallback = "1m", .min = 10, .max = 3600000),
            OPTION("colour", CONF_ENUM, colour, .fallback = "green",
                   .names = (const char *const[]){"red", "green", "blue", NULL}),
            OPTION("listen", CONF_ADDRESS, listen, .fallback = "127.0.0.1:9410"),
            OPTION("url", CONF_URL, url, .min = 0),
            OPTION("file", CONF_FILE, file, .min = 0),
            OPTION("path", CONF_PATH, path, .min = 0),
            OPTION("pattern", CONF_REGEX, pattern, .min = 0),
            OPTION("words", CONF_STRINGS, words, .max = 3),
            OPTION("urls", CONF_URLS, urls, .min = 0),
            OPTION("labels", CONF_STRING_MAP, labels, .min = 0),
            OPTION("inner", CONF_SECTION, inner, .table = &inner_table),
            OPTION("list", CONF_LIST, list, .table = &inner_table, .max = 50000),
            OPTION("custom", CONF_CUSTOM, custom_children, .custom = fill_custom,
                   .names = (const char *const[]){"anything", NULL}),
            {.name = "refused", .type = CONF_REFUSED, .help = "because | it is so"},
            {0},
        },
};

/* ---- one reading --------------------------------------------------------------------------------------------------
 */

struct reading {
    struct file_system *fs;
    struct arena arena;
    struct conf *conf;
    struct outer outer;
    int result;
};

static void reading_done(struct reading *reading)
{
    conf_free(reading->conf);
    arena_done(&reading->arena);
    file_system_free(reading->fs);
}

static struct reading read_str(struct str text)
{
    struct reading reading = {.fs = file_system_memory_new(0)};
    arena_init(&reading.arena, 0);
    assert_int_equal(file_make_dirs(reading.fs, "/etc/t"), 0);
    assert_int_equal(file_write_whole(reading.fs, "/etc/t/there", "x", 1), 0);
    const struct conf_source source = {.fs = reading.fs, .text = text, .name = "t.yaml", .base_dir = "/etc/t"};
    reading.result = conf_load_text(&source, &outer_table, &reading.outer, &reading.arena, &reading.conf);
    return reading;
}

static struct reading read_text(const char *text)
{
    return read_str(str_from(text));
}

#define READ(variable, text) CLEANUP(reading_done) struct reading variable = read_text(text)

static void expect_errors(const char *text, const char *errors)
{
    READ(reading, text);
    assert_string_equal(conf_errors(reading.conf), errors);
    assert_int_equal(reading.result, errors[0] ? -EINVAL : 0);
}

/* The one error contains what. */
static void expect_error(const char *text, const char *what)
{
    READ(reading, text);
    const char *errors = conf_errors(reading.conf);
    if (!strstr(errors, what) || strchr(errors, '\n') != strrchr(errors, '\n'))
        fail_msg("for \"%s\" expected one error with \"%s\", got \"%s\"", text, what, errors);
    assert_int_equal(reading.result, -EINVAL);
}

/* ---- tests --------------------------------------------------------------------------------------------------------
 */

static void defaults_hold_where_a_key_is_absent_or_empty(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "# nothing\n", "---\n", "{}",
                                        "number:\nroom: ~\ninner:\nlist: null\nwait: \n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        READ(reading, texts[i]);
        assert_string_equal(conf_errors(reading.conf), "");
        assert_int_equal(reading.result, 0);
        const struct outer *outer = &reading.outer;
        assert_null(outer->text);
        assert_true(outer->flag);
        assert_int_equal(outer->number, 7);
        assert_true(outer->share == 0.5);
        assert_int_equal(outer->room, 4 * GIB);
        assert_int_equal(outer->wait_ms, 60000);
        assert_int_equal(outer->colour, 1);
        assert_string_equal(outer->listen, "127.0.0.1:9410");
        assert_int_equal(outer->inner.wait_ms, 5000);
        assert_int_equal(outer->list.count, 0);
    }
}

static void values_of_all_types_are_read(void **state)
{
    (void)state;
    READ(reading, "text: 12 # a number is a text too\n"
                  "name: rack-7.a_B\n"
                  "flag: off\n"
                  "number: -5\n"
                  "share: 2.5e1\n"
                  "room: 1536KiB\n"
                  "wait: 1m30s\n"
                  "colour: blue\n"
                  "listen: '[::1]:9410'\n"
                  "url: https://h.example:9411/a?b=c\n"
                  "file: there\n"
                  "path: sub/dir\n"
                  "pattern: a(.*)\n"
                  "words: [x, '', \"z\\t\"]\n"
                  "urls:\n- http://a\n- https://[::1]:1\n"
                  "labels: {b: 1, a: 'x', c: }\n"
                  "inner: {name: n}\n"
                  "list:\n  - name: one\n    wait: 0\n  - {name: two}\n"
                  "custom: {a: 1, b: 2}\n");
    assert_string_equal(conf_errors(reading.conf), "");
    const struct outer *outer = &reading.outer;
    assert_string_equal(outer->text, "12");
    assert_string_equal(outer->name, "rack-7.a_B");
    assert_false(outer->flag);
    assert_int_equal(outer->number, -5);
    assert_true(outer->share == 25);
    assert_int_equal(outer->room, 1536 * KIB);
    assert_int_equal(outer->wait_ms, 90000);
    assert_int_equal(outer->colour, 2);
    assert_string_equal(outer->listen, "[::1]:9410");
    assert_string_equal(outer->url, "https://h.example:9411/a?b=c");
    assert_string_equal(outer->file, "/etc/t/there");
    assert_string_equal(outer->path, "/etc/t/sub/dir");
    assert_true(regex_matches(outer->pattern, STR("abc")));
    assert_int_equal(outer->words.count, 3);
    assert_string_equal(outer->words.items[1], "");
    assert_string_equal(outer->words.items[2], "z\t");
    assert_int_equal(outer->urls.count, 2);
    assert_string_equal(outer->urls.items[1], "https://[::1]:1");
    assert_int_equal(outer->labels.count, 3);
    assert_string_equal(outer->labels.items[0].name, "b"); /* order kept */
    assert_string_equal(outer->labels.items[0].value, "1");
    assert_string_equal(outer->labels.items[2].value, "");
    assert_string_equal(outer->inner.name, "n");
    const struct inner *list = outer->list.items;
    assert_int_equal(outer->list.count, 2);
    assert_int_equal(list[0].wait_ms, 0);
    assert_string_equal(list[1].name, "two");
    assert_int_equal(list[1].wait_ms, 5000);
    assert_int_equal(outer->custom_children, 2);
}

static void errors_are_told_all_at_once_in_file_order_with_their_places(void **state)
{
    (void)state;
    expect_errors("wait: soon\n"
                  "list:\n"
                  "  - name: forbidden\n"
                  "  - wait: 3s\n"
                  "numbr: 3\n"
                  "inner: {wait: 1s, name: [a]}\n"
                  "number: 11\n"
                  "refused: {a: b}\n",
                  "t.yaml:1:7: wait: expected a duration such as 15s or 1h30m, found \"soon\"\n"
                  "t.yaml:3:11: name: forbidden\n"
                  "t.yaml:4:5: key \"name\" is missing in inner\n"
                  "t.yaml:5:1: unknown key \"numbr\" in the file, did you mean \"number\"?\n"
                  "t.yaml:6:25: name: expected a text, found a list\n"
                  "t.yaml:7:9: number: \"11\" is too large, the most is 10\n"
                  "t.yaml:8:1: refused: because | it is so\n");
}

static void a_column_counts_characters_not_bytes(void **state)
{
    (void)state;
    expect_errors("{text: \"\u00fc\u00fc\u00fc\", number: x}\n",
                  "t.yaml:1:23: number: expected a whole number, found \"x\"\n");
}

static void a_wrong_value_leaves_the_default(void **state)
{
    (void)state;
    READ(reading, "number: eleven\nroom: 1\n");
    assert_int_equal(reading.result, -EINVAL);
    assert_int_equal(reading.outer.number, 7);
    assert_int_equal(reading.outer.room, 4 * GIB);
}

static void wrong_values_of_each_type_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"text: 123456789012345678901", "21 bytes, expected 0 to 20"},
        {"text: {a: b}", "expected a text, found a map"},
        {"text: \"a\\0b\"", "zero byte"},
        {"name: a b", "is not a name"},
        {"name: ''", "is not a name"},
        {"name: ..", "no dot in front"},
        {"name: .a", "no dot in front"},
        {"name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "is not a name"},
        {"flag: maybe", "expected true or false"},
        {"flag: 1", "expected true or false"},
        {"number: 1.5", "expected a whole number"},
        {"number: -6", "too small, the least is -5"},
        {"number: 99999999999999999999", "expected a whole number"},
        {"share: .nan", "expected a number"},
        {"share: inf", "expected a number"},
        {"room: 4 apples", "expected a size"},
        {"room: -1", "expected a size"},
        {"room: 1023", "too small, the least is 1KiB"},
        {"wait: 15", "expected a duration"},
        {"wait: -5s", "expected a duration"},
        {"wait: 2h", "too large, the most is 1h"},
        {"wait: 9ms", "too small, the least is 10ms"},
        {"colour: pink", "\"pink\" is not one of red, green, blue"},
        {"listen: :9410", "0.0.0.0 means all"},
        {"listen: localhost", "expected an address"},
        {"listen: localhost:65536", "expected an address"},
        {"listen: a b:1", "expected an address"},
        {"listen: '::1:9410'", "expected an address"},
        {"listen: '[]:1'", "expected an address"},
        {"url: ftp://a", "expected a URL"},
        {"url: https://", "expected a URL"},
        {"url: 'http://a:b/'", "expected a URL"},
        {"url: 'http://a/b c'", "does not belong"},
        {"urls: http://a", "expected a list of URLs"},
        {"urls: [http://a, x]", "t.yaml:1:18: urls: expected a URL"},
        {"file: gone", "cannot read \"/etc/t/gone\": No such file or directory"},
        {"file: /etc/t", "cannot read \"/etc/t\""},
        {"file: ''", "an empty path"},
        {"pattern: 'a('", "t.yaml:1:10: pattern: "},
        {"words: [a, b, c, d]", "4 items, expected 0 to 3"},
        {"words: a", "expected a list of texts"},
        {"words: [a, ]\nnumber: 1\nword: 1", "did you mean \"words\""},
        {"words: [a, ~]", "an empty item"},
        {"labels: [a]", "expected a map of texts, found a list"},
        {"labels: {a: [b]}", "expected a text, found a list"},
        {"inner: x", "expected a map (key: value), found a single value"},
        {"inner: {name: }", "a value is required"},
        {"list: {name: a}", "expected a list, found a map"},
        {"list: [a]", "expected a map (key: value), found a single value"},
        {"[a]", "the file: expected a map (key: value), found a list"},
        {"just words", "expected a map"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_error(cases[i].text, cases[i].error);
}

static void a_password_in_a_url_is_refused_and_not_shown(void **state)
{
    (void)state;
    READ(reading, "url: https://user:geheim@host/\n");
    assert_non_null(strstr(conf_errors(reading.conf), "secrets are read from files"));
    assert_null(strstr(conf_errors(reading.conf), "geheim"));
}

static void a_typo_gets_the_nearest_key(void **state)
{
    (void)state;
    expect_error("colur: red", "did you mean \"colour\"?");
    expect_error("lisetn: 1", "did you mean \"listen\"?");
    expect_errors("zzzzzz: 1", "t.yaml:1:1: unknown key \"zzzzzz\" in the file\n");
    expect_errors("refusedd: 1", "t.yaml:1:1: unknown key \"refusedd\" in the file\n"); /* no advice that is refused */
}

static void doubled_keys_are_refused_at_every_level(void **state)
{
    (void)state;
    expect_errors("number: 1\nwait: 1s\nnumber: 2\nlabels: {a: b, a: c}\ncustom: {x: {y: 1, y: 1}}\n",
                  "t.yaml:3:1: key \"number\" stands twice, first in line 1\n"
                  "t.yaml:4:16: key \"a\" stands twice, first in line 4\n"
                  "t.yaml:5:20: key \"y\" stands twice, first in line 5\n");
}

static void what_yaml_has_beyond_values_is_refused(void **state)
{
    (void)state;
    expect_error("custom: &a [1]", "anchors");
    expect_error("text: *a", "aliases");
    expect_error("text: !!str a", "tags");
    expect_error("custom: !x [a]", "tags");
    expect_error("custom: {[a]: b}", "a key must be a text");
    expect_error("custom: {? : b}", "a key must be a text");
    expect_error("number: 1\n---\nnumber: 2\n", "t.yaml:2:1: a second document");
    expect_error("text: a\n\ttext: b\n", "t.yaml:2:1: ");
    expect_error("text: 'a\n", "quoted scalar");
    expect_error("a: b: c\n", "t.yaml:1:5: ");
    expect_error("text: a\nwait: \xff\n", "t.yaml:2:7: ");
}

/* Ten lines that expand to a billion values must not get as far as being expanded. */
static void a_bomb_of_aliases_is_refused(void **state)
{
    (void)state;
    char text[1024] = "custom:\n  a: &a [x, x, x, x, x, x, x, x, x]\n";
    for (char c = 'b'; c <= 'i'; c++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof(text) - len, "  %c: &%c [*%c, *%c, *%c, *%c, *%c, *%c]\n", c, c, c - 1, c - 1,
                 c - 1, c - 1, c - 1, c - 1);
    }
    READ(reading, text);
    assert_int_equal(reading.result, -EINVAL);
    assert_non_null(strstr(conf_errors(reading.conf), "t.yaml:2:6: anchors"));
    assert_true(reading.arena.used_bytes < 4096);
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    static char text[200000];
    for (int depth = 30; depth < 100000; depth *= 10) {
        memset(text, 0, sizeof(text));
        memcpy(text, "custom: ", 8);
        memset(text + 8, '[', (size_t)depth);
        memset(text + 8 + depth, ']', (size_t)depth);
        READ(reading, text);
        if (depth < CONF_DEPTH_MAX)
            assert_string_equal(conf_errors(reading.conf), "");
        else
            assert_int_equal(reading.result, -EINVAL);
    }
    expect_error("custom: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[a]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
                 "nested more than 32 deep");
}

static void a_thousand_errors_are_cut_and_counted(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(MIB);
    for (int i = 0; i < 1000; i++)
        buf_printf(&text, "key%d: 1\n", i);
    CLEANUP(reading_done) struct reading reading = read_str(buf_view(&text));
    const char *errors = conf_errors(reading.conf);
    size_t lines = 0;
    for (const char *at = errors; (at = strchr(at, '\n')); at++)
        lines++;
    assert_int_equal(lines, CONF_ERRORS_MAX + 1);
    assert_non_null(strstr(errors, "t.yaml:100:1: unknown key \"key99\""));
    assert_non_null(strstr(errors, "t.yaml: and 900 more\n"));
}

static void too_many_values_or_items_are_refused(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(CONF_FILE_BYTES_MAX);
    buf_append_text(&text, "custom:\n");
    for (int i = 0; i < CONF_NODES_MAX; i++)
        buf_append_text(&text, "- a\n");
    CLEANUP(reading_done) struct reading values = read_str(buf_view(&text));
    assert_non_null(strstr(conf_errors(values.conf), "more than 1000000 values"));

    buf_reset(&text);
    buf_append_text(&text, "list:\n");
    for (int i = 0; i < 50001; i++)
        buf_append_text(&text, "- {name: a}\n");
    CLEANUP(reading_done) struct reading items = read_str(buf_view(&text));
    assert_string_equal(conf_errors(items.conf), "t.yaml:2:1: list: 50001 items, expected 0 to 50000\n");
}

static void long_and_unprintable_text_is_cut_in_messages(void **state)
{
    (void)state;
    char text[2000] = "wait: \"\\e[31m";
    memset(text + strlen(text), 'x', 1500 - strlen(text));
    text[1500] = '"';
    READ(reading, text);
    const char *errors = conf_errors(reading.conf);
    assert_non_null(strstr(errors, "found \"?[31mxxx"));
    assert_true(strlen(errors) < 200);
}

static void an_arena_with_a_ceiling_ends_in_an_error(void **state)
{
    (void)state;
    struct reading reading = {.fs = file_system_memory_new(0)};
    arena_init(&reading.arena, 4096);
    CLEANUP(buf_done) struct buf text = BUF_INIT(MIB);
    buf_append_text(&text, "list:\n");
    for (int i = 0; i < 1000; i++)
        buf_append_text(&text, "- {name: a}\n");
    const struct conf_source source = {.fs = reading.fs, .text = buf_view(&text), .name = "t.yaml"};
    reading.result = conf_load_text(&source, &outer_table, &reading.outer, &reading.arena, &reading.conf);
    assert_int_equal(reading.result, -EINVAL);
    assert_non_null(strstr(conf_errors(reading.conf), "more than 4096 bytes of memory"));
    reading_done(&reading);
}

/* ---- files --------------------------------------------------------------------------------------------------------
 */

static void files_are_read_and_their_paths_stand_in_errors(void **state)
{
    (void)state;
    struct file_system *fs = file_system_memory_new(0);
    assert_int_equal(file_make_dirs(fs, "/etc/t"), 0);
    assert_int_equal(file_write_whole(fs, "/etc/t/good.yaml", "path: here\n", 11), 0);
    assert_int_equal(file_write_whole(fs, "/etc/t/bad.yaml", "pth: here\n", 10), 0);
    void *object = NULL;
    char *errors = NULL;
    assert_int_equal(
        conf_object_load(&(struct conf_object_source){fs, "/etc/t/good.yaml", NULL}, &outer_table, &object, &errors),
        0);
    assert_string_equal(((struct outer *)object)->path, "/etc/t/here");
    conf_object_unref(object);
    object = NULL;
    assert_int_equal(
        conf_object_load(&(struct conf_object_source){fs, "/etc/t/bad.yaml", NULL}, &outer_table, &object, &errors),
        -EINVAL);
    assert_string_equal(errors, "/etc/t/bad.yaml:1:1: unknown key \"pth\" in the file, did you mean \"path\"?\n");
    mem_free(errors);
    assert_int_equal(
        conf_object_load(&(struct conf_object_source){fs, "/etc/t/gone.yaml", NULL}, &outer_table, &object, &errors),
        -ENOENT);
    assert_string_equal(errors, "/etc/t/gone.yaml: cannot read: No such file or directory\n");
    mem_free(errors);
    assert_null(object);
    conf_object_unref(NULL);
    file_system_free(fs);
}

static void a_huge_file_is_refused_unread(void **state)
{
    (void)state;
    struct file_system *fs = file_system_memory_new(0);
    size_t len = CONF_FILE_BYTES_MAX + 1;
    CLEANUP_FREE char *text = mem_alloc(len);
    memset(text, '#', len);
    assert_int_equal(file_write_whole(fs, "/huge.yaml", text, len), 0);
    void *object = NULL;
    char *errors = NULL;
    assert_int_equal(
        conf_object_load(&(struct conf_object_source){fs, "/huge.yaml", NULL}, &outer_table, &object, &errors), -EFBIG);
    assert_string_equal(errors, "/huge.yaml: larger than 16 MiB\n");
    mem_free(errors);
    file_system_free(fs);
}

static void a_table_describes_itself(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(MIB);
    conf_describe(&outer_table, &text);
    buf_append_byte(&text, 0);
    const char *page = (const char *)text.data;
    assert_non_null(strstr(page, "| `room` | size | `4GiB` | 1KiB to "));
    assert_non_null(strstr(page, "| `colour` | `red`, `green`, `blue` | `green` |  | Help of colour. |\n"));
    assert_non_null(strstr(page, "| `custom` | anything |  |  | Help of custom. |\n"));
    assert_non_null(strstr(page, "| `refused` | because \\| it is so |\n"));
    const char *inner = strstr(page, "\n#### inner\n");
    assert_non_null(inner);
    assert_non_null(strstr(inner, "| `name` | text | **required** |"));
    assert_null(strstr(inner + 1, "\n#### inner\n")); /* used twice, described once */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold_where_a_key_is_absent_or_empty),
        cmocka_unit_test(values_of_all_types_are_read),
        cmocka_unit_test(errors_are_told_all_at_once_in_file_order_with_their_places),
        cmocka_unit_test(a_column_counts_characters_not_bytes),
        cmocka_unit_test(a_wrong_value_leaves_the_default),
        cmocka_unit_test(wrong_values_of_each_type_are_refused),
        cmocka_unit_test(a_password_in_a_url_is_refused_and_not_shown),
        cmocka_unit_test(a_typo_gets_the_nearest_key),
        cmocka_unit_test(doubled_keys_are_refused_at_every_level),
        cmocka_unit_test(what_yaml_has_beyond_values_is_refused),
        cmocka_unit_test(a_bomb_of_aliases_is_refused),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(a_thousand_errors_are_cut_and_counted),
        cmocka_unit_test(too_many_values_or_items_are_refused),
        cmocka_unit_test(long_and_unprintable_text_is_cut_in_messages),
        cmocka_unit_test(an_arena_with_a_ceiling_ends_in_an_error),
        cmocka_unit_test(files_are_read_and_their_paths_stand_in_errors),
        cmocka_unit_test(a_huge_file_is_refused_unread),
        cmocka_unit_test(a_table_describes_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
