/* JSON as it streams in: each shape, split at every byte, ceilings, what is passed over, what is no JSON; and the same
 * trees as jansson makes of random documents. */
#include "base/buf.h"
#include "base/fail.h"
#include "base/random.h"

#include <errno.h>
/* Its names of kinds are ours as well. */
#define JSON_NULL   JANSSON_NULL
#define JSON_FALSE  JANSSON_FALSE
#define JSON_TRUE   JANSSON_TRUE
#define JSON_STRING JANSSON_STRING
#define JSON_OBJECT JANSSON_OBJECT
#include <jansson.h>
#undef JSON_NULL
#undef JSON_FALSE
#undef JSON_TRUE
#undef JSON_STRING
#undef JSON_OBJECT
#undef json_is_true
#include "discovery/json_items.h"
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- trees as text ---- */

static void print_text(struct buf *out, struct str text)
{
    buf_printf(out, "\"" STR_FMT "\"", STR_ARG(text));
}

static void print_node(struct buf *out, const struct json_node *node)
{
    size_t count = 0;
    if (node->key.ptr) {
        print_text(out, node->key);
        buf_append_byte(out, ':');
    }
    if (node->kind == JSON_NULL)
        buf_append_text(out, "null");
    if (node->kind == JSON_FALSE || node->kind == JSON_TRUE || node->kind == JSON_NUMBER)
        buf_append_str(out, node->text);
    if (node->kind == JSON_STRING)
        print_text(out, node->text);
    if (node->kind < JSON_LIST)
        return;
    buf_append_byte(out, node->kind == JSON_LIST ? '[' : '{');
    JSON_FOREACH(child, node)
    {
        if (count++ > 0)
            buf_append_byte(out, ',');
        print_node(out, child);
    }
    assert_int_equal(count, node->count);
    buf_append_byte(out, node->kind == JSON_LIST ? ']' : '}');
}

struct seen { /* items as lines, then the rest */
    struct buf text;
    size_t items, stop_after;
    int result; /* what item says at stop_after */
};

static int on_item(void *arg, const struct json_node *item)
{
    struct seen *seen = arg;
    print_node(&seen->text, item);
    buf_append_byte(&seen->text, '\n');
    return ++seen->items == seen->stop_after ? seen->result : 0;
}

static int feed_in_pieces(struct json_items *items, struct str text, size_t piece)
{
    int r = 0;
    for (size_t at = 0; r == 0 && at < text.len; at += piece) {
        size_t len = MIN(piece, text.len - at);
        char *own = mem_alloc(len); /* of its own, so that a read past its end is seen */
        memcpy(own, text.ptr + at, len);
        r = json_items_feed(items, str_of(own, len));
        mem_free(own);
    }
    return r;
}

static int read_all(struct json_items *items, struct seen *seen, struct str text, size_t piece)
{
    const struct json_node *rest = NULL;
    buf_reset(&seen->text);
    seen->items = 0;
    int r = feed_in_pieces(items, text, piece);
    assert_int_equal(json_items_feed(items, STR_NULL), r);
    int end = json_items_end(items, &rest);
    assert_true(r == 0 || end == r);
    if (rest) {
        buf_append_text(&seen->text, "rest ");
        print_node(&seen->text, rest);
    }
    assert_true((end < 0) == (json_items_error(items)[0] != '\0'));
    return end;
}

struct reading {
    enum json_shape shape;
    const char *list_key;
    const char *text, *items;
};

/* In pieces of 1, 2, 3 ... bytes, of one object that is reset. */
static void check_reading(const struct reading *reading, const char *const *skip)
{
    struct seen seen = {.text = BUF_INIT(MIB)};
    CLEANUP(json_items_freep)
    struct json_items *items = json_items_new(&(struct json_items_options){
        .shape = reading->shape, .list_key = reading->list_key, .skip = skip, .item = on_item, .arg = &seen});
    struct str text = str_from(reading->text);
    for (size_t piece = 1; piece <= text.len + 1; piece++) {
        int r = read_all(items, &seen, text, piece);
        if (r < 0)
            fail_msg("%s, in pieces of %zu: %s", reading->text, piece, json_items_error(items));
        if (!str_equal(buf_view(&seen.text), str_from(reading->items)))
            fail_msg("%s, in pieces of %zu: " STR_FMT, reading->text, piece, STR_ARG(buf_view(&seen.text)));
        json_items_reset(items);
    }
    buf_done(&seen.text);
}

static void test_shapes(void **state)
{
    (void)state;
    static const struct reading readings[] = {
        {JSON_VALUES, NULL, "", ""},
        {JSON_VALUES, NULL, " \n", ""},
        {JSON_VALUES, NULL, "{\"type\":\"ADDED\"}\n{\"type\":\"GONE\"}", "{\"type\":\"ADDED\"}\n{\"type\":\"GONE\"}\n"},
        {JSON_VALUES, NULL, "{}{}\r\n\n[]\n", "{}\n{}\n[]\n"},
        {JSON_VALUES, NULL, "1 -2.50e+3 true null \"\" 0", "1\n-2.50e+3\ntrue\nnull\n\"\"\n0\n"},
        {JSON_ELEMENTS, NULL, "[]", ""},
        {JSON_ELEMENTS, NULL, "[{\"a\":[1,{\"b\":[]}]},2, \"x\" ,[[]],false]\n",
         "{\"a\":[1,{\"b\":[]}]}\n2\n\"x\"\n[[]]\nfalse\n"},
        {JSON_MEMBERS, NULL, "{}", ""},
        {JSON_MEMBERS, NULL, "{\"web\":[\"a\",\"b\"],\"\":{},\"n\":null}",
         "\"web\":[\"a\",\"b\"]\n\"\":{}\n\"n\":null\n"},
        {JSON_MEMBERS, "items", "{\"items\":[]}", "rest {}"},
        {JSON_MEMBERS, "items", "{\"items\":null,\"kind\":\"PodList\"}", "rest {\"kind\":\"PodList\"}"},
        {JSON_MEMBERS, "items",
         "{\"kind\":\"PodList\",\"metadata\":{\"items\":[0],\"continue\":\"x\"},"
         "\"items\":[{\"items\":[1]},[2],3],\"more\":[{\"items\":null}]}",
         "{\"items\":[1]}\n[2]\n3\n"
         "rest {\"kind\":\"PodList\",\"metadata\":{\"items\":[0],\"continue\":\"x\"},\"more\":[{\"items\":null}]}"},
        {JSON_ELEMENTS, NULL, "[\"\\u00e9\\ud83d\\ude00\\n\\\"\\\\\\/\", \"é\xf0\x9f\x98\x80\"]",
         "\"é\xf0\x9f\x98\x80\n\"\\/\"\n\"é\xf0\x9f\x98\x80\"\n"},
        {JSON_ELEMENTS, NULL, "[{\"a\":1,\"a\":2}]", "{\"a\":1,\"a\":2}\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(readings); i++)
        check_reading(&readings[i], NULL);
}

static void test_skip(void **state)
{
    (void)state;
    static const char *const skip[] = {"managedFields", "status", NULL};
    static const struct reading readings[] = {
        {JSON_ELEMENTS, NULL,
         "[{\"managedFields\":[{\"status\":1},{\"x\":[]}],\"b\":{\"status\":2,\"c\":3,\"managedFields\":{}}},"
         "\"status\"]",
         "{\"b\":{\"c\":3}}\n\"status\"\n"},
        {JSON_MEMBERS, NULL, "{\"status\":{\"a\":[1]},\"b\":1,\"managedFields\":null,\"c\":\"\"}",
         "\"b\":1\n\"c\":\"\"\n"},
        {JSON_MEMBERS, "items",
         "{\"status\":[1,{\"items\":2}],\"items\":[{\"status\":{\"items\":[]},\"b\":1}],\"m\":1}",
         "{\"b\":1}\nrest {\"m\":1}"},
        {JSON_VALUES, NULL, "{\"status\":1}", "{}\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(readings); i++)
        check_reading(&readings[i], skip);
}

/* ---- reading a tree ---- */

static int read_tree(void *arg, const struct json_node *item)
{
    (void)arg;
    assert_true(str_equal(json_get_text(item, "a"), STR("first")));
    assert_true(str_equal(json_get_text(json_get2(item, "o", "p"), "q"), STR("x")));
    assert_null(json_get_text(item, "n").ptr);
    assert_null(json_get_text(item, "absent").ptr);
    assert_null(json_get_text(NULL, "a").ptr);
    assert_null(json_get2(item, "a", "p"));
    assert_null(json_get(json_get(item, "l"), "0"));
    assert_true(str_equal(json_scalar(item, "n"), STR("1.0")));
    assert_true(str_equal(json_scalar(item, "t"), STR("true")));
    assert_true(str_equal(json_scalar(item, "f"), STR("false")));
    assert_true(str_equal(json_scalar(item, "a"), STR("first")));
    assert_null(json_scalar(item, "null").ptr);
    assert_null(json_scalar(item, "o").ptr);
    assert_true(json_is_true(item, "t"));
    assert_false(json_is_true(item, "f"));
    assert_false(json_is_true(item, "a"));
    assert_false(json_is_true(NULL, "t"));
    struct str empty = json_get_text(item, "empty");
    assert_true(empty.ptr && empty.len == 0);
    assert_int_equal(json_get(item, "l")->count, 3);
    JSON_FOREACH(child, json_get(item, "absent"))
    fail_msg("%d", child->kind);
    return 0;
}

static void test_getters(void **state)
{
    (void)state;
    CLEANUP(json_items_freep)
    struct json_items *items = json_items_new(&(struct json_items_options){.shape = JSON_VALUES, .item = read_tree});
    assert_int_equal(json_items_feed(items, STR("{\"a\":\"first\",\"a\":\"second\",\"o\":{\"p\":{\"q\":\"x\"}},"
                                                "\"n\":1.0,\"t\":true,\"f\":false,\"null\":null,\"empty\":\"\","
                                                "\"l\":[1,2,3]}")),
                     0);
    assert_int_equal(json_items_end(items, NULL), 0);
}

/* ---- what is refused ---- */

struct refusal {
    enum json_shape shape;
    const char *list_key, *text;
    int error;
    const char *words; /* in the error, whole answer in one piece */
};

static const struct refusal refusals[] = {
    {JSON_ELEMENTS, NULL, "<!DOCTYPE html><html><body>Sign in</body></html>", -EBADMSG,
     "not JSON at byte 0: found \"<!DOCTYPE html><html><body>Sign in</body\", which begins a page of HTML or XML"},
    {JSON_MEMBERS, "items", "\n  <html>", -EBADMSG,
     "not JSON at byte 3: found \"<html>\", which begins a page of HTML"},
    {JSON_ELEMENTS, NULL, "[1,<", -EBADMSG, "not JSON at byte 3: found \"<\" (lexical error"},
    {JSON_ELEMENTS, NULL, "", -EBADMSG, "the answer is empty"},
    {JSON_MEMBERS, NULL, " \r\n", -EBADMSG, "the answer is empty"},
    {JSON_ELEMENTS, NULL, "[1,{\"a\"", -EBADMSG, "the answer ends in the middle, at byte 7"},
    {JSON_VALUES, NULL, "{} {\"a\":\"", -EBADMSG, "the answer ends in the middle, at byte 9"},
    {JSON_VALUES, NULL, "tr", -EBADMSG, "the answer ends in the middle, at byte 2"},
    {JSON_ELEMENTS, NULL, "[1,2] x", -EBADMSG, "not JSON at byte 6: found \"x\" (parse error: trailing garbage)"},
    {JSON_ELEMENTS, NULL, "[1] [2]", -EBADMSG, "trailing garbage"},
    {JSON_ELEMENTS, NULL, "[1] \"", -EBADMSG, "(trailing garbage)"},
    {JSON_ELEMENTS, NULL, "[\"a\\x\"]", -EBADMSG, "not JSON at byte 4: found \"x\\\"]\""},
    {JSON_ELEMENTS, NULL, "[nul]", -EBADMSG, "not JSON at byte 4: found \"]\""},
    {JSON_ELEMENTS, NULL, "[1,]", -EBADMSG, "not JSON at byte 3: found \"]\""},
    {JSON_ELEMENTS, NULL, "[1 2]", -EBADMSG, "not JSON at byte 3: found \"2]\""},
    {JSON_ELEMENTS, NULL, "[01]", -EBADMSG, "not JSON at byte 2"},
    {JSON_ELEMENTS, NULL, "[NaN]", -EBADMSG, "not JSON at byte 1: found \"NaN]\""},
    {JSON_ELEMENTS, NULL, "['a']", -EBADMSG, "not JSON at byte 1"},
    {JSON_ELEMENTS, NULL, "[\"a\nb\"]", -EBADMSG, "not JSON at byte 3: found \"\\nb\\\"]\""},
    {JSON_ELEMENTS, NULL, "/* c */ []", -EBADMSG, "comment"},
    {JSON_ELEMENTS, NULL, "[ // c\n]", -EBADMSG, "comment"},
    {JSON_ELEMENTS, NULL, "\xef\xbb\xbf[]", -EBADMSG, "not JSON at byte 0: found \"\\ufeff[]\""},
    {JSON_MEMBERS, NULL, "{\"a\" 1}", -EBADMSG, "not JSON at byte 5"},
    {JSON_MEMBERS, NULL, "{1:1}", -EBADMSG, "not JSON at byte 1"},
    {JSON_ELEMENTS, NULL, "[\"\xc0\x80\"]", -EBADMSG, "the text that ends at byte 5 is not UTF-8"},
    {JSON_ELEMENTS, NULL, "[\"\xff\"]", -EBADMSG, "the text that ends at byte 4 is not UTF-8"},
    {JSON_ELEMENTS, NULL, "[\"\\udc00\"]", -EBADMSG, "is not UTF-8"},
    {JSON_ELEMENTS, NULL, "[{\"\xed\xa0\x80\":1}]", -EBADMSG, "the key that ends at byte 7 is not UTF-8"},
    {JSON_ELEMENTS, NULL, "[{\"skipped\":\"\xff\"}]", -EBADMSG, "is not UTF-8"},
    {JSON_ELEMENTS, NULL, "{\"a\":1}", -EBADMSG, "at byte 1: expected a list, found an object"},
    {JSON_ELEMENTS, NULL, "\"a\"", -EBADMSG, "expected a list, found a text"},
    {JSON_ELEMENTS, NULL, "12", -EBADMSG, "expected a list, found a number"},
    {JSON_MEMBERS, NULL, "[]", -EBADMSG, "expected an object, found a list"},
    {JSON_MEMBERS, "items", "null", -EBADMSG, "expected an object, found null"},
    {JSON_MEMBERS, "items", "{\"items\":{}}", -EBADMSG, "\"items\" at byte 10: expected a list, found an object"},
    {JSON_MEMBERS, "items", "{\"items\":true}", -EBADMSG, "expected a list, found a boolean"},
    {JSON_MEMBERS, "items", "{\"kind\":\"Status\"}", -EBADMSG, "no list \"items\" in the answer of 17 bytes"},
    {JSON_MEMBERS, "items", "{\"items\":[],\"items\":[]}", -EBADMSG, "\"items\" is there a second time at byte 19"},
};

static void test_refusals(void **state)
{
    (void)state;
    static const char *const skip[] = {"skipped", NULL};
    struct seen seen = {.text = BUF_INIT(MIB)};
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        const struct refusal *refusal = &refusals[i];
        struct str text = str_from(refusal->text);
        CLEANUP(json_items_freep)
        struct json_items *items = json_items_new(&(struct json_items_options){
            .shape = refusal->shape, .list_key = refusal->list_key, .skip = skip, .item = on_item, .arg = &seen});
        for (size_t piece = MAX(text.len, 1); piece > 0; piece--) {
            int r = read_all(items, &seen, text, piece);
            if (r != refusal->error)
                fail_msg("%s, in pieces of %zu: %d %s", refusal->text, piece, r, json_items_error(items));
            if (piece >= text.len && !strstr(json_items_error(items), refusal->words))
                fail_msg("%s: %s", refusal->text, json_items_error(items));
            json_items_reset(items);
        }
    }
    buf_done(&seen.text);
}

static void test_item_says_stop(void **state)
{
    (void)state;
    struct seen seen = {.text = BUF_INIT(MIB), .stop_after = 2, .result = -ECANCELED};
    CLEANUP(json_items_freep)
    struct json_items *items =
        json_items_new(&(struct json_items_options){.shape = JSON_ELEMENTS, .item = on_item, .arg = &seen});
    assert_int_equal(json_items_feed(items, STR("[1,[2],3,")), -ECANCELED);
    assert_int_equal(json_items_feed(items, STR("4]")), -ECANCELED);
    assert_int_equal(json_items_end(items, NULL), -ECANCELED);
    assert_string_equal(json_items_error(items), "the element that ends at byte 6 was refused");
    assert_int_equal(seen.items, 2);
    buf_done(&seen.text);
}

/* ---- ceilings ---- */

/* before, then `middle` so many times, then after. */
static struct str repeated(struct buf *buf, const char *before, const char *middle, size_t times, const char *after)
{
    buf_reset(buf);
    buf_append_text(buf, before);
    for (size_t i = 0; i < times; i++)
        buf_append_text(buf, middle);
    buf_append_text(buf, after);
    return buf_view(buf);
}

static void check_ceiling(const struct json_items_options *options, struct str text, size_t piece, const char *words)
{
    CLEANUP(json_items_freep) struct json_items *items = json_items_new(options);
    int r = feed_in_pieces(items, text, piece);
    r = words || r < 0 ? r : json_items_end(items, NULL);
    assert_int_equal(r, words ? -EMSGSIZE : 0);
    if (words && !strstr(json_items_error(items), words))
        fail_msg("%s", json_items_error(items));
}

static int count_item(void *arg, const struct json_node *item)
{
    (void)item;
    ++*(size_t *)arg;
    return 0;
}

static void test_depth(void **state)
{
    (void)state;
    static const char *const skip[] = {"skipped", NULL};
    size_t count = 0;
    struct json_items_options options = {.shape = JSON_ELEMENTS, .skip = skip, .item = count_item, .arg = &count};
    struct buf text = BUF_INIT(MIB), open = BUF_INIT(MIB);
    repeated(&open, "", "[", JSON_DEPTH_MAX, "");
    buf_append_byte(&open, 0);
    check_ceiling(&options, repeated(&text, (const char *)open.data, "]", JSON_DEPTH_MAX, ""), 1, NULL);
    assert_int_equal(count, 1);
    check_ceiling(&options, repeated(&text, "", "[", JSON_DEPTH_MAX + 1, ""), 7, "nested deeper than 64 at byte 65");
    check_ceiling(&options, repeated(&text, "", "[", 100000, ""), MIB, "nested deeper than 64 at byte 65");
    check_ceiling(&options, repeated(&text, "[{\"skipped\":", "[", JSON_DEPTH_MAX, ""), 7, "nested deeper than 64");
    options.shape = JSON_VALUES;
    check_ceiling(&options, repeated(&text, "", "{\"a\":", JSON_DEPTH_MAX + 1, ""), MIB, "nested deeper than 64");
    buf_done(&text);
    buf_done(&open);
}

static void test_bytes(void **state)
{
    (void)state;
    static const char *const skip[] = {"skipped", NULL};
    size_t count = 0;
    struct json_items_options options = {.shape = JSON_ELEMENTS, .skip = skip, .item = count_item, .arg = &count};
    struct json_items_options members = options;
    members.shape = JSON_MEMBERS;
    members.list_key = "items";
    struct buf text = BUF_INIT(64 * MIB);
    const size_t many = JSON_ITEM_BYTES_MAX / 64;
    /* A tree that is too large: of many small values, of texts, of keys; beside the list. */
    check_ceiling(&options, repeated(&text, "[[0", ",0", many, "]]"), 4096, "an element that ends past byte");
    check_ceiling(&options, repeated(&text, "[{\"a\":0", ",\"\":[]", many, "}]"), MIB, "more than 8 MiB of memory");
    check_ceiling(&members, repeated(&text, "{\"a\":0", ",\"\":0", many, "}"), MIB, "what stands beside the list");
    /* The same in many elements, or in what is passed over, is none. */
    check_ceiling(&options, repeated(&text, "[[0]", ",[0]", many, "]"), 4096, NULL);
    check_ceiling(&options, repeated(&text, "[{\"skipped\":[0", ",0", many, "]}]"), 4096, NULL);
    assert_int_equal(count, many + 2);
    /* One text or number that does not end, or white space. */
    const size_t long_text = JSON_TOKEN_BYTES_MAX / 16 + 5000;
    check_ceiling(&options, repeated(&text, "[\"", "0123456789abcdef", long_text, "\"]"), 16384,
                  "more than 1 MiB after byte 1 without the end of a text");
    check_ceiling(&options, repeated(&text, "[\"", "0123456789abcdef", long_text, "\"]"), SIZE_MAX / 2,
                  "more than 1 MiB after byte 1");
    check_ceiling(&options, repeated(&text, "[{\"skipped\":\"", "0123456789abcdef", long_text, "\"]"), 65536,
                  "more than 1 MiB after byte 11");
    check_ceiling(&options, repeated(&text, "[", "0123456789123456", long_text, "]"), 16384, "more than 1 MiB");
    check_ceiling(&options, repeated(&text, "", "                ", long_text, "]"), 16384, "more than 1 MiB");
    check_ceiling(&options, repeated(&text, "[\"", "0123456789abcdef", long_text - 6000, "\"]"), 16384, NULL);
    buf_done(&text);
}

/* 20,000 elements in 100 MB: what is held is one of them. */
static void test_memory(void **state)
{
    (void)state;
    size_t count = 0;
    struct buf element = BUF_INIT(MIB), filler = BUF_INIT(MIB);
    repeated(&filler, "", "abcdefgh", 128, "");
    for (size_t i = 0; i < 5; i++)
        buf_printf(&element, "%s\"key%zu\":\"" STR_FMT "\"", i > 0 ? "," : ",{", i, STR_ARG(buf_view(&filler)));
    buf_append_byte(&element, '}');
    CLEANUP(json_items_freep)
    struct json_items *items = json_items_new(
        &(struct json_items_options){.shape = JSON_MEMBERS, .list_key = "items", .item = count_item, .arg = &count});
    assert_int_equal(json_items_feed(items, STR("{\"items\":[0")), 0);
    struct mallinfo2 before = mallinfo2();
    for (size_t i = 0; i < 20000; i++)
        assert_int_equal(json_items_feed(items, buf_view(&element)), 0);
    struct mallinfo2 after = mallinfo2();
    assert_true(after.uordblks + after.hblkhd < before.uordblks + before.hblkhd + 64 * KIB);
    assert_int_equal(json_items_feed(items, STR("]}")), 0);
    assert_int_equal(json_items_end(items, NULL), 0);
    assert_int_equal(count, 20001);
    assert_true(element.len * 20000 > 100 * 1000 * 1000);
    buf_done(&element);
    buf_done(&filler);
}

/* ---- against jansson ---- */

static void random_text(struct random *random, struct buf *out)
{
    static const char *const pieces[] = {"a", "Z", "0", " ",   "é",   "\xf0\x9f\x98\x80", "\\n", "\\\"", "\\u00e9",
                                         "{", "]", ",", "\\/", "\\\\"};
    for (uint64_t i = random_below(random, 8); i > 0; i--)
        buf_append_text(out, pieces[random_below(random, ARRAY_LEN(pieces))]);
    buf_append_byte(out, '"');
}

static void random_white(struct random *random, struct buf *out)
{
    static const char *const white[] = {"", "", "", " ", "\n", "\t\r\n"};
    buf_append_text(out, white[random_below(random, ARRAY_LEN(white))]);
}

static void random_value(struct random *random, size_t depth, struct buf *out)
{
    static const char *const scalars[] = {"null", "true", "false", "0", "-1", "12", "0.5", "1e3"};
    uint64_t kind = random_below(random, depth > 5 ? 2 : 4);
    random_white(random, out);
    if (kind == 0)
        buf_append_text(out, scalars[random_below(random, ARRAY_LEN(scalars))]);
    if (kind == 1) {
        buf_append_byte(out, '"');
        random_text(random, out);
    }
    if (kind >= 2) {
        buf_append_byte(out, kind == 2 ? '[' : '{');
        for (uint64_t i = 0, count = random_below(random, 5); i < count; i++) {
            buf_append_text(out, i > 0 ? "," : "");
            if (kind == 3) {
                buf_printf(out, "\"%llu", (unsigned long long)i); /* jansson keeps the last of equal keys */
                random_text(random, out);
                buf_append_byte(out, ':');
            }
            random_value(random, depth + 1, out);
        }
        buf_append_byte(out, kind == 2 ? ']' : '}');
    }
    random_white(random, out);
}

static bool same_value(const struct json_node *node, json_t *value);

static bool same_object(const struct json_node *node, json_t *value)
{
    JSON_FOREACH(child, node)
    {
        char key[256];
        snprintf(key, sizeof(key), STR_FMT, STR_ARG(child->key));
        json_t *other = json_object_get(value, key);
        if (!other || !same_value(child, other) || json_get(node, key) != child)
            return false;
    }
    return node->kind == JSON_OBJECT && node->count == json_object_size(value);
}

static bool same_list(const struct json_node *node, json_t *value)
{
    size_t at = 0;
    JSON_FOREACH(child, node)
    {
        json_t *other = json_array_get(value, at++);
        if (!other || !same_value(child, other))
            return false;
    }
    return node->kind == JSON_LIST && node->count == json_array_size(value);
}

static bool same_value(const struct json_node *node, json_t *value)
{
    switch (json_typeof(value)) {
    case JANSSON_OBJECT:
        return same_object(node, value);
    case JSON_ARRAY:
        return same_list(node, value);
    case JANSSON_STRING:
        return node->kind == JSON_STRING &&
               str_equal(node->text, str_of(json_string_value(value), json_string_length(value)));
    case JSON_INTEGER:
    case JSON_REAL: {
        char text[64];
        snprintf(text, sizeof(text), STR_FMT, STR_ARG(node->text));
        return node->kind == JSON_NUMBER && strtod(text, NULL) == json_number_value(value);
    }
    case JANSSON_TRUE:
        return node->kind == JSON_TRUE;
    case JANSSON_FALSE:
        return node->kind == JSON_FALSE;
    default:
        return node->kind == JSON_NULL;
    }
}

struct comparison {
    json_t *list; /* NULL: jansson refuses the document */
    size_t items;
};

static int compare_item(void *arg, const struct json_node *item)
{
    struct comparison *comparison = arg;
    json_t *other = json_array_get(comparison->list, comparison->items++);
    assert_true(!comparison->list || (other && same_value(item, other)));
    return 0;
}

static void compare(struct random *random, struct str text)
{
    json_error_t error;
    struct comparison comparison = {.list = json_loadb(text.ptr, text.len, 0, &error)};
    CLEANUP(json_items_freep)
    struct json_items *items =
        json_items_new(&(struct json_items_options){.shape = JSON_ELEMENTS, .item = compare_item, .arg = &comparison});
    int r = feed_in_pieces(items, text, 1 + random_below(random, text.len));
    r = r < 0 ? r : json_items_end(items, NULL);
    if ((r == 0) != (comparison.list && json_typeof(comparison.list) == JSON_ARRAY))
        fail_msg(STR_FMT "\nours: %s\njansson: %s", STR_ARG(text), json_items_error(items), error.text);
    assert_true(r < 0 || comparison.items == json_array_size(comparison.list));
    json_decref(comparison.list);
}

static void test_random_documents(void **state)
{
    (void)state;
    static const char bytes[] = "{}[],:\"\\ntu0-.e1/ \n\x01\xc3\xff";
    struct random random;
    random_seed(&random, 20250301);
    struct buf text = BUF_INIT(MIB);
    for (int i = 0; i < 20000; i++) {
        buf_reset(&text);
        buf_append_byte(&text, '[');
        random_value(&random, 0, &text);
        buf_append_byte(&text, ']');
        compare(&random, buf_view(&text));
        /* And with a byte that is wrong, mostly. */
        text.data[random_below(&random, text.len)] = (uint8_t)bytes[random_below(&random, sizeof(bytes) - 1)];
        compare(&random, buf_view(&text));
    }
    buf_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),   cmocka_unit_test(test_skip),   cmocka_unit_test(test_getters),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_depth),  cmocka_unit_test(test_item_says_stop),
        cmocka_unit_test(test_bytes),    cmocka_unit_test(test_memory), cmocka_unit_test(test_random_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
