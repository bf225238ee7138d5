/* file_sd_configs: files as target groups; broken ones, ones that shrink, ones that go. */
#include "plugin_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

extern const struct discovery_plugin discovery_file;

#define TWO_GROUPS                                                                                                     \
    "[{\"targets\":[\"a:1\",\"b:1\"],\"labels\":{\"env\":\"x\",\"__meta_filepath\":\"mine\"}},{\"targets\":[\"c:1\"]}" \
    "]"
#define TWO_GROUPS_SAID                                                                                                \
    "# /sd/a.json:0\na:1{__meta_filepath=\"/sd/a.json\",env=\"x\"}\nb:1{__meta_filepath=\"/sd/a.json\",env=\"x\"}\n"   \
    "# /sd/a.json:1\nc:1{__meta_filepath=\"/sd/a.json\"}\n"

static void start(struct plugin_rig *rig, const char *yaml)
{
    if (rig_start(rig, &discovery_file, yaml) < 0)
        fail_msg("%s", rig->error);
}

static int tell(struct plugin_rig *rig, const char *path, const char *text)
{
    struct discovery_call *call = rig->host.calls;
    struct str said = str_from(text);
    char *bytes = mem_alloc(said.len); /* of its own, so that reading past its end is seen */
    memcpy(bytes, said.ptr, said.len);
    int r = call->files_reader->file(call->arg, str_from(path), str_of(bytes, said.len));
    mem_free(bytes);
    return r;
}

static void tell_gone(struct plugin_rig *rig, const char *path)
{
    rig->host.calls->files_reader->gone(rig->host.calls->arg, str_from(path));
}

static void settle(struct plugin_rig *rig)
{
    rig->host.calls->files_reader->settled(rig->host.calls->arg);
}

static void assert_says(struct plugin_rig *rig, const char *text)
{
    CLEANUP_FREE char *said = rig_print(rig);
    assert_string_equal(said, text);
}

static void test_asks_for_its_patterns(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start(&rig, "{files: ['/sd/*.json', rel/b.yml], refresh_interval: 1m}");
    const struct discovery_files *files = &rig.host.calls->files;
    assert_int_equal(files->pattern_count, 2);
    assert_string_equal(files->patterns[0], "/sd/*.json");
    assert_string_equal(files->patterns[1], "rel/b.yml");
    assert_int_equal(files->refresh_ms, 60000);
    rig_stop(&rig);
    start(&rig, "{files: [/a.yaml]}");
    assert_int_equal(rig.host.calls->files.refresh_ms, 300000);
    rig_stop(&rig);
}

static void test_groups(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start(&rig, "files: ['/sd/*.json', '/sd/*.yml']");
    assert_int_equal(tell(&rig, "/sd/a.json", TWO_GROUPS), 0);
    assert_int_equal(tell(&rig, "/sd/b.yml", "- targets: [y]\n  labels: {one: '1', empty: ''}\n"), 0);
    assert_int_equal(rig.host.commits, 0);
    settle(&rig);
    assert_int_equal(rig.host.commits, 1);
    assert_says(&rig, TWO_GROUPS_SAID "# /sd/b.yml:0\ny{__meta_filepath=\"/sd/b.yml\",one=\"1\"}\n");
    settle(&rig);
    assert_int_equal(rig.host.commits, 1);
    rig_stop(&rig);
}

static void test_no_files_are_an_answer(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start(&rig, "files: [/sd/a.json]");
    settle(&rig);
    assert_int_equal(rig.host.commits, 1);
    assert_says(&rig, "");
    tell(&rig, "/sd/a.json", TWO_GROUPS);
    assert_says(&rig, TWO_GROUPS_SAID);
    rig_stop(&rig);
}

static void test_a_file_with_fewer_groups(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start(&rig, "files: [/sd/a.json]");
    tell(&rig, "/sd/a.json", TWO_GROUPS);
    settle(&rig);
    tell(&rig, "/sd/a.json", "[{\"targets\":[\"z:1\"]}]");
    assert_says(&rig, "# /sd/a.json:0\nz:1{__meta_filepath=\"/sd/a.json\"}\n");
    tell(&rig, "/sd/a.json", "[]");
    assert_says(&rig, "");
    tell(&rig, "/sd/a.json", TWO_GROUPS);
    assert_says(&rig, TWO_GROUPS_SAID);
    tell_gone(&rig, "/sd/a.json");
    assert_says(&rig, "");
    assert_int_equal(rig.host.problems, 0);
    tell_gone(&rig, "/sd/never.json");
    rig_stop(&rig);
}

static void test_a_broken_file_keeps_what_it_said(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start(&rig, "files: ['/sd/*.json', '/sd/*.yml']");
    tell(&rig, "/sd/a.json", TWO_GROUPS);
    assert_int_equal(tell(&rig, "/sd/b.yml", "- targets: [x:1\n"), -EINVAL);
    settle(&rig); /* one that was never understood does not keep the others away */
    assert_says(&rig, TWO_GROUPS_SAID);
    assert_non_null(strstr(rig.host.problem, "/sd/b.yml: line:"));
    assert_true(tell(&rig, "/sd/a.json", "[{\"targets\":[\"a:1\"]},\n{\"target\":[]}]") < 0);
    assert_non_null(strstr(rig.host.problem, "/sd/a.json: group 1: unknown key \"target\""));
    assert_says(&rig, TWO_GROUPS_SAID);
    /* One is mended: the other's problem is said again. */
    assert_int_equal(tell(&rig, "/sd/a.json", TWO_GROUPS), 0);
    assert_non_null(strstr(rig.host.problem, "/sd/b.yml: line:"));
    unsigned problems = rig.host.problems;
    tell_gone(&rig, "/sd/b.yml"); /* now none is wrong, and nothing is said to be */
    assert_int_equal(rig.host.problems, problems);
    assert_says(&rig, TWO_GROUPS_SAID);
    assert_true(tell(&rig, "/sd/a.json", "[\n  {\"targets\": [\"a:1\"}\n]") < 0);
    assert_non_null(strstr(rig.host.problem, "/sd/a.json: line 2:"));
    problems = rig.host.problems;
    assert_int_equal(tell(&rig, "/sd/a.json", "[]"), 0);
    assert_int_equal(rig.host.problems, problems);
    rig_stop(&rig);
}

static void test_configuration(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *error;
    } wrong[] = {
        {"{}", "key \"files\" is missing"},
        {"files: []", "files"},
        {"files: [a.txt]", "section:1:9: files: \"a.txt\" is not a pattern"},
        {"files: ['*/a.json']", "is not a pattern"},
        {"files: ['/sd/*']", "is not a pattern"},
        {"{files: [a.json], refresh_interval: 0s}", "refresh_interval"},
        {"{files: [a.json], directory: x}", "directory"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char error[256];
        if (!rig_refuses(&discovery_file, wrong[i].yaml, wrong[i].error, error))
            fail_msg("%s: %s", wrong[i].yaml, error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asks_for_its_patterns),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_no_files_are_an_answer),
        cmocka_unit_test(test_a_file_with_fewer_groups),
        cmocka_unit_test(test_a_broken_file_keeps_what_it_said),
        cmocka_unit_test(test_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
