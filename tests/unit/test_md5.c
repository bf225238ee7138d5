/* RFC 1321, A.5, and lengths around the edges of a block. */
#include "base/md5.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void assert_digest(struct str text, const char *expected)
{
    uint8_t digest[16];
    char hex[33];
    md5_of(text, digest);
    for (size_t i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(hex, expected);
}

static void vectors_of_the_rfc(void **state)
{
    (void)state;
    assert_digest(STR(""), "d41d8cd98f00b204e9800998ecf8427e");
    assert_digest(STR("a"), "0cc175b9c0f1b6a831c399e269772661");
    assert_digest(STR("abc"), "900150983cd24fb0d6963f7d28e17f72");
    assert_digest(STR("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
    assert_digest(STR("abcdefghijklmnopqrstuvwxyz"), "c3fcd3d76192e4007dfb496cca67e13b");
    assert_digest(STR("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"),
                  "d174ab98d277d9f5a5611c2c9f419d9f");
    assert_digest(STR("12345678901234567890123456789012345678901234567890123456789012345678901234567890"),
                  "57edf4a22be3c955ac49da2e2107b67a");
}

static void lengths_at_the_edge_of_a_block(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        const char *digest;
    } cases[] = {
        {55, "ef1772b6dff9a122358552954ad0df65"},  {56, "3b0c8ac703f828b04c6c197006d17218"},
        {63, "b06521f39153d618550606be297466d5"},  {64, "014842d480b571495a4a0363793f7367"},
        {65, "c743a45e0d2e6a95cb859adae0248435"},  {119, "8a7bd0732ed6a28ce75f6dabc90e1613"},
        {120, "5f61c0ccad4cac44c75ff505e1f1e537"}, {128, "e510683b3f5ffe4093d021808bc6ff70"},
    };
    char text[128];
    memset(text, 'a', sizeof(text));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_digest(str_of(text, cases[i].len), cases[i].digest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_the_rfc),
        cmocka_unit_test(lengths_at_the_edge_of_a_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
