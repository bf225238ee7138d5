/* STS as text: what is asked, what is answered, and answers that are attacks. */
#include "base/fail.h"
#include "net/aws_sts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define HEAD "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>"
#define TAIL "</AssumeRoleResult></AssumeRoleResponse>"
#define KEYS                                                                                                           \
    "<Credentials><AccessKeyId>AK</AccessKeyId><SecretAccessKey>s+/1</SecretAccessKey>"                                \
    "<SessionToken>to&#43;ken</SessionToken><Expiration>2030-01-01T00:00:00.5Z</Expiration></Credentials>"

static void questions_are_forms(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf body = BUF_INIT(KIB), small = BUF_INIT(100), token = BUF_INIT(KIB);
    const struct aws_role role = {"arn:aws:iam::1:role/a b", "me", "x&y=z"};
    assert_int_equal(aws_sts_assume_role(&role, &body), 0);
    assert_true(str_equal(buf_view(&body), STR("Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3A"
                                               "role%2Fa%20b&RoleSessionName=me&ExternalId=x%26y%3Dz")));
    assert_int_equal(aws_sts_assume_role_with_web_identity(&role, STR("a.b=&c"), &token), 0);
    assert_true(str_ends_with(buf_view(&token), STR("&RoleSessionName=me&WebIdentityToken=a.b%3D%26c")));
    assert_int_equal(aws_sts_assume_role(&role, &small), -E2BIG);
}

static void keys_are_read_wherever_they_stand_right(void **state)
{
    (void)state;
    struct aws_keys keys = {0};
    char reason[256];
    assert_int_equal(
        aws_sts_read_keys(STR("<?xml version=\"1.0\"?>\n" HEAD
                              "<Other><Credentials><AccessKeyId>no</AccessKeyId></Credentials></Other>" KEYS TAIL),
                          &keys, reason),
        0);
    assert_string_equal(keys.access_key, "AK");
    assert_string_equal(keys.secret_key, "s+/1");
    assert_string_equal(keys.session_token, "to+ken");
    assert_int_equal(keys.expires_ms, 1893456000500);
    aws_keys_done(&keys);
}

static void expect_refused(struct str xml)
{
    struct aws_keys keys = {.expires_ms = 7};
    char reason[256] = "";
    assert_int_equal(aws_sts_read_keys(xml, &keys, reason), -EBADMSG);
    assert_true(reason[0] && keys.expires_ms == 7 && !keys.access_key);
}

static void attacks_are_refused(void **state)
{
    (void)state;
    expect_refused(STR_NULL);
    expect_refused(STR(HEAD KEYS));                     /* half of it */
    expect_refused(STR(HEAD KEYS TAIL "<more/>"));      /* more than it */
    expect_refused(STR("<x>" HEAD KEYS TAIL "</x>"));   /* another place */
    expect_refused(STR("<!DOCTYPE x>" HEAD KEYS TAIL)); /* declarations have no place here: */
    expect_refused(STR("<!DOCTYPE x [<!ENTITY a \"&b;&b;\">]>" HEAD KEYS TAIL));
    expect_refused(STR("<!DOCTYPE x SYSTEM \"http://elsewhere/\">" HEAD KEYS TAIL));
    expect_refused(
        STR(HEAD "<Credentials><AccessKeyId>A K</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
                 "<SessionToken>t</SessionToken><Expiration>2030-01-01T00:00:00Z</Expiration></Credentials>" TAIL));
    expect_refused(STR("<?xml version=\"1.0\" encoding=\"EBCDIC\"?>\x01" HEAD KEYS TAIL));
    CLEANUP(buf_done) struct buf deep = BUF_INIT(MIB), wide = BUF_INIT(MIB);
    for (int i = 0; i < 10000; i++)
        buf_append_text(&deep, "<a>");
    expect_refused(buf_view(&deep));
    buf_append_text(&wide, HEAD "<Credentials><SessionToken>");
    for (int i = 0; i < 20000; i++)
        buf_append_byte(&wide, 'x');
    buf_append_text(&wide, "</SessionToken></Credentials>" KEYS TAIL);
    expect_refused(buf_view(&wide));
}

static void expect_error(const char *xml, const char *expected)
{
    char text[512];
    memset(text, 'x', sizeof(text));
    aws_sts_read_error(str_from(xml), text);
    assert_string_equal(text, expected);
}

#define ERROR(code, message)                                                                                           \
    "<ErrorResponse><Error><Code>" code "</Code><Message>" message "</Message></Error></ErrorResponse>"

static void errors_are_told_in_one_clean_line(void **state)
{
    (void)state;
    expect_error(ERROR("AccessDenied", "no"), "AccessDenied: no");
    expect_error(ERROR("AccessDenied", ""), "AccessDenied");
    expect_error(ERROR("", "no"), "no");
    expect_error(ERROR("Signature", "wrong\n\nThe canonical string is SECRET"), "Signature: wrong");
    expect_error(ERROR("A&#9;b", "c\xc3\xa4&#x1b;"), "A?b: c??");
    expect_error("<ErrorResponse><Error><Code>Cut</Code><Mess", "Cut");
    expect_error("<html>", "");
    expect_error("", "");
    CLEANUP(buf_done) struct buf long_word = BUF_INIT(4 * KIB);
    buf_append_text(&long_word, "<ErrorResponse><Error><Code>C</Code><Message>token ");
    for (int i = 0; i < 300; i++)
        buf_append_byte(&long_word, 't');
    buf_append_text(&long_word, " is bad</Message></Error></ErrorResponse>");
    buf_append_byte(&long_word, '\0');
    expect_error((const char *)long_word.data, "C: token ... is bad");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_are_forms),
        cmocka_unit_test(keys_are_read_wherever_they_stand_right),
        cmocka_unit_test(attacks_are_refused),
        cmocka_unit_test(errors_are_told_in_one_clean_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
