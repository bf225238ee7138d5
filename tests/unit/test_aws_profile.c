/* AWS' shared files, as people and tools write them. */
#include "base/fail.h"
#include "net/aws_profile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Reads and prints: "1 access/secret/token/role/source", "-22 line 3". */
static void expect(const char *text, const char *name, bool config, const char *expected)
{
    static const enum aws_profile_key shown[] = {AWS_PROFILE_ACCESS_KEY, AWS_PROFILE_SECRET_KEY,
                                                 AWS_PROFILE_SESSION_TOKEN, AWS_PROFILE_ROLE_ARN,
                                                 AWS_PROFILE_SOURCE_PROFILE};
    struct aws_profile profile = {0};
    char line[512];
    size_t number = 0;
    int found = aws_profile_read(str_from(text), name, config, &profile, &number);
    size_t len = (size_t)snprintf(line, sizeof(line), "%d ", found);
    if (found < 0)
        snprintf(line + len, sizeof(line) - len, "line %zu", number);
    for (size_t i = 0; found >= 0 && i < ARRAY_LEN(shown); i++)
        len += (size_t)snprintf(line + len, sizeof(line) - len, "%s%s", i > 0 ? "/" : "",
                                profile.values[shown[i]] ? profile.values[shown[i]] : "");
    assert_string_equal(line, expected);
    aws_profile_done(&profile);
}

static void a_profile_is_a_section(void **state)
{
    (void)state;
    static const char text[] = "# keys\n"
                               "[default]\n"
                               "aws_access_key_id = AK1\r\n"
                               "aws_secret_access_key=s/1+=\n"
                               "\n"
                               "[ team ] ; ours\n"
                               "AWS_ACCESS_KEY_ID =\tAK2\n"
                               "  aws_secret_access_key = not another key but more of the one before\n"
                               "aws_secret_access_key = s2 # the secret\n"
                               "aws_session_token = a#b;c\n"
                               "unknown = thing\n"
                               "[other]\n"
                               "aws_access_key_id = AK3\n"
                               "[default]\n"
                               "aws_access_key_id = AK4";
    expect(text, "default", false, "1 AK4/s/1+=///");
    expect(text, "team", false, "1 AK2/s2/a#b;c//");
    expect(text, "other", false, "1 AK3////");
    expect(text, "absent", false, "0 ////");
    expect(text, "tea", false, "0 ////");
    expect("", "default", false, "0 ////");
    expect("[default]", "default", false, "1 ////");
    expect("[default]\naws_access_key_id =\n", "default", false, "1 ////");
    expect("[default]\n aws_access_key_id = A\n aws_secret_access_key = s\n", "default", false, "1 A/s///");
}

static void the_config_file_says_profile_before_a_name(void **state)
{
    (void)state;
    static const char text[] = "[default]\nregion = x\ns3 =\n  aws_access_key_id = nested\n"
                               "[profile prod]\nrole_arn = arn:r\nsource_profile = base\n"
                               "[prod]\nrole_arn = wrong\n"
                               "[profile  two words]\nrole_arn = arn:w\n"
                               "[profiles]\nrole_arn = wrong\n[sso-session prod]\nrole_arn = wrong\n";
    expect(text, "prod", true, "1 ///arn:r/base");
    expect(text, "default", true, "1 ////");
    expect(text, "two words", true, "1 ///arn:w/");
    expect(text, "s", true, "0 ////");
    expect(text, "profile prod", false, "1 ///arn:r/base"); /* there it is a name like any */
}

static void lines_that_are_none_count_only_in_the_profile(void **state)
{
    (void)state;
    static const char text[] = "nonsense\n[other]\nnonsense\n[wanted]\nrole_arn = a\nnonsense\n";
    expect(text, "absent", false, "0 ////");
    expect(text, "wanted", false, "-22 line 6");
    expect("[p]\nrole_arn = a\tb\n", "p", false, "-22 line 2");
    expect("[p\nrole_arn = a\n", "p", false, "0 ////");
    expect("\x01\x02[p]\nx", "p", false, "0 ////");
}

static void values_have_a_ceiling(void **state)
{
    (void)state;
    CLEANUP_FREE char *text = mem_zalloc(AWS_PROFILE_VALUE_BYTES_MAX + 100);
    int len = snprintf(text, 100, "[p]\nrole_arn =");
    memset(text + len, 'x', AWS_PROFILE_VALUE_BYTES_MAX + 1);
    expect(text, "p", false, "-22 line 2");
    text[len + AWS_PROFILE_VALUE_BYTES_MAX] = '\0';
    struct aws_profile profile = {0};
    size_t line = 0;
    assert_int_equal(aws_profile_read(str_from(text), "p", false, &profile, &line), 1);
    assert_int_equal(strlen(profile.values[AWS_PROFILE_ROLE_ARN]), AWS_PROFILE_VALUE_BYTES_MAX);
    aws_profile_done(&profile);
}

static void what_one_file_said_stays(void **state)
{
    (void)state;
    struct aws_profile profile = {0};
    size_t line = 0;
    assert_int_equal(aws_profile_read(STR("[p]\nrole_arn=one\nrole_arn=two\n"), "p", false, &profile, &line), 1);
    assert_int_equal(aws_profile_read(STR("[profile p]\nrole_arn=three\nexternal_id=x"), "p", true, &profile, &line),
                     1);
    assert_string_equal(profile.values[AWS_PROFILE_ROLE_ARN], "two");
    assert_string_equal(profile.values[AWS_PROFILE_EXTERNAL_ID], "x");
    aws_profile_done(&profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_profile_is_a_section),
        cmocka_unit_test(the_config_file_says_profile_before_a_name),
        cmocka_unit_test(lines_that_are_none_count_only_in_the_profile),
        cmocka_unit_test(values_have_a_ceiling),
        cmocka_unit_test(what_one_file_said_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
