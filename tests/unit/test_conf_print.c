/* A configuration as text again: what is in force, readable as what it was, and nothing that is secret. */
#include "base/conf.h"
#include "base/fail.h"
#include "base/regex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct item {
    const char *name;
    int64_t wait_ms;
};

struct whole {
    const char *text, *listen, *path, *url, *password, *token_file;
    bool flag;
    int64_t number;
    double share;
    uint64_t room;
    int colour;
    struct regex *pattern;
    struct conf_strings words, urls;
    struct conf_string_map labels;
    struct item section;
    struct conf_list list, empty;
    size_t shown, hidden;
};

static void fill_count(struct conf *conf, const struct conf_node *node, void *field)
{
    (void)conf;
    *(size_t *)field = conf_child_count(node);
}

static void print_count(const void *field, struct buf *text)
{
    buf_append_byte(text, '[');
    for (size_t i = 0; i < *(const size_t *)field; i++)
        buf_append_text(text, i > 0 ? ", x" : "x");
    buf_append_byte(text, ']');
}

static const struct conf_table item_table = {
    .title = "item",
    .struct_bytes = sizeof(struct item),
    .options =
        (const struct conf_option[]){
            {.name = "name", .type = CONF_NAME, .offset = offsetof(struct item, name)},
            {.name = "wait", .type = CONF_DURATION, .offset = offsetof(struct item, wait_ms), .fallback = "1h30m"},
            {0}},
};

#define OPTION(key, kind, ...)                                                                                         \
    {                                                                                                                  \
        .name = #key, .type = kind, .offset = offsetof(struct whole, key), __VA_ARGS__                                 \
    }

static const struct conf_table table = {
    .title = "the file",
    .struct_bytes = sizeof(struct whole),
    .options =
        (const struct conf_option[]){
            OPTION(text, CONF_STRING, 0),
            OPTION(listen, CONF_ADDRESS, .fallback = "127.0.0.1:1"),
            OPTION(path, CONF_PATH, 0),
            OPTION(url, CONF_URL, 0),
            OPTION(password, CONF_STRING, 0),
            OPTION(token_file, CONF_PATH, 0),
            OPTION(flag, CONF_BOOL, 0),
            OPTION(number, CONF_INT, .fallback = "-7"),
            OPTION(share, CONF_DOUBLE, .fallback = "0.1"),
            OPTION(room, CONF_BYTES, .fallback = "4GiB"),
            OPTION(colour, CONF_ENUM, .fallback = "green", .names = (const char *const[]){"red", "green", NULL}),
            OPTION(pattern, CONF_REGEX, 0),
            OPTION(words, CONF_STRINGS, 0),
            OPTION(urls, CONF_URLS, 0),
            OPTION(labels, CONF_STRING_MAP, 0),
            OPTION(section, CONF_SECTION, .table = &item_table),
            OPTION(list, CONF_LIST, .table = &item_table),
            OPTION(empty, CONF_LIST, .table = &item_table),
            OPTION(shown, CONF_CUSTOM, .custom = fill_count, .print = print_count),
            OPTION(hidden, CONF_CUSTOM, .custom = fill_count),
            {.name = "refused", .type = CONF_REFUSED, .help = "no"},
            {0},
        },
};

/* Reads a text and prints what was read. */
static void print_again(const char *yaml, struct buf *ret_text)
{
    CLEANUP(conf_freep) struct conf *conf = NULL;
    CLEANUP(arena_done) struct arena arena;
    struct whole whole;
    const struct conf_source source = {.fs = file_system_real(), .text = str_from(yaml), .name = "f", .base_dir = "/d"};
    arena_init(&arena, 0);
    int result = conf_load_text(&source, &table, &whole, &arena, &conf);
    if (result < 0)
        fail_msg("%s in\n%s", conf_errors(conf), yaml);
    conf_print(&table, &whole, ret_text);
    buf_append_byte(ret_text, 0);
}

/* And that is read as the same. */
static void expect(const char *yaml, const char *printed)
{
    CLEANUP(buf_done) struct buf first = BUF_INIT(MIB), second = BUF_INIT(MIB);
    print_again(yaml, &first);
    assert_string_equal((const char *)first.data, printed);
    print_again(printed, &second);
    assert_string_equal((const char *)second.data, printed);
}

static void defaults_are_told(void **state)
{
    (void)state;
    expect("", "listen: \"127.0.0.1:1\"\nflag: false\nnumber: -7\nshare: 0.10000000000000001\nroom: 4GiB\n"
               "colour: \"green\"\nwords: []\nurls: []\nlabels: {}\nsection:\n  wait: 1h30m\nlist: []\nempty: []\n"
               "shown: []\n");
}

static void what_is_given_is_told_as_it_is_in_force(void **state)
{
    (void)state;
    expect(
        "text: 'a: \"b\" # \\ \u00e4'\nlisten: '[::1]:9'\npath: x/y\nflag: true\nnumber: 3\nshare: 1e300\nroom: 1500\n"
        "colour: red\npattern: 'a\\.(b|c)'\nwords: [a, '- b']\nlabels: {k: v, 'x y': '{'}\nsection: {name: n, wait: "
        "5s}\n"
        "list: [{name: a}, {wait: 250ms}]\nshown: [1, 2]\ntoken_file: t\n",
        "text: \"a: \\\"b\\\" # \\\\ \u00e4\"\nlisten: \"[::1]:9\"\npath: \"/d/x/y\"\ntoken_file: \"/d/t\"\nflag: "
        "true\n"
        "number: 3\nshare: 1.0000000000000001e+300\nroom: 1500\ncolour: \"red\"\npattern: \"a\\\\.(b|c)\"\n"
        "words: [\"a\", \"- b\"]\nurls: []\nlabels: {\"k\": \"v\", \"x y\": \"{\"}\nsection:\n  name: \"n\"\n  wait: "
        "5s\n"
        "list:\n  -\n    name: \"a\"\n    wait: 1h30m\n  -\n    wait: 250ms\nempty: []\nshown: [x, x]\n");
}

static void what_is_secret_is_not_told(void **state)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(MIB);
    (void)state;
    print_again("url: 'http://h:1/a'\nurls: ['http://plain/']\npassword: hunter2\nhidden: [hunter2]\n", &text);
    assert_null(strstr((const char *)text.data, "hunter2"));
    assert_non_null(strstr((const char *)text.data, "password: \"<secret>\"\n"));
    assert_null(strstr((const char *)text.data, "hidden"));
    assert_non_null(strstr((const char *)text.data, "url: \"http://h:1/a\"\n"));
    assert_non_null(strstr((const char *)text.data, "urls: [\"http://plain/\"]\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_told),
        cmocka_unit_test(what_is_given_is_told_as_it_is_in_force),
        cmocka_unit_test(what_is_secret_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
