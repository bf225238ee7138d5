#include "base/json_write.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void nesting_and_commas(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
    struct json_writer json;
    json_begin(&json, &out);
    json_object(&json);
    json_field_int(&json, "a", -1);
    json_key(&json, "list");
    json_array(&json);
    json_uint(&json, UINT64_MAX);
    json_null(&json);
    json_object(&json);
    json_object_end(&json);
    json_bool(&json, true);
    json_array_end(&json);
    json_field_text(&json, "none", NULL);
    json_object_end(&json);
    struct str text = buf_view(&out);
    assert_true(str_equal(text, STR("{\"a\":-1,\"list\":[18446744073709551615,null,{},true],\"none\":null}")));
}

static void strings_are_escaped_and_always_utf8(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
    struct json_writer json;
    json_begin(&json, &out);
    json_array(&json);
    json_str(&json, STR("q\" b\\ n\n t\t z\x01 d\x7f"));
    json_str(&json, STR("\xc3\xa4 \xf0\x9f\x98\x80"));
    json_str(&json, STR("\xff \xc3 \xed\xa0\x80"));
    json_array_end(&json);
    assert_true(
        str_equal(buf_view(&out), STR("[\"q\\\" b\\\\ n\\n t\\t z\\u0001 d\\u007f\",\"\xc3\xa4 \xf0\x9f\x98\x80\","
                                      "\"\xef\xbf\xbd \xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"]")));
}

static void doubles_read_back(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
    struct json_writer json;
    json_begin(&json, &out);
    json_array(&json);
    json_double(&json, 0.1);
    json_double(&json, 1.0 / 3);
    json_double(&json, NAN);
    json_array_end(&json);
    assert_true(str_equal(buf_view(&out), STR("[0.1,0.3333333333333333,null]")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nesting_and_commas),
        cmocka_unit_test(strings_are_escaped_and_always_utf8),
        cmocka_unit_test(doubles_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
