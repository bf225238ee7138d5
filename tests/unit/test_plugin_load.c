/* Plugins as shared objects: those of the build are taken, strange ones are refused with what is wrong with them. */
#include "base/fail.h"
#include "target/plugin_load.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct discovery_plugin *find(struct plugins *plugins, const char *name)
{
    const struct discovery_plugin *plugin = NULL;
    char error[256] = "";
    if (plugins_find(plugins, str_from(name), error, &plugin) < 0)
        fail_msg("%s", error);
    return plugin;
}

static void is_refused(struct plugins *plugins, const char *name, int expected, const char *part)
{
    const struct discovery_plugin *plugin = NULL;
    char error[256] = "";
    assert_int_equal(plugins_find(plugins, str_from(name), error, &plugin), expected);
    assert_null(plugin);
    if (!strstr(error, part))
        fail_msg("'%s' does not speak of '%s'", error, part);
}

static void test_loaded(void **state)
{
    (void)state;
    CLEANUP(plugins_freep) struct plugins *plugins = plugins_new(PLUGIN_DIR);
    static const char *const names[] = {PLUGIN_NAMES};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct discovery_plugin *plugin = find(plugins, names[i]);
        assert_string_equal(plugin->name, names[i]);
        assert_ptr_equal(find(plugins, names[i]), plugin); /* once */
        assert_true(strlen(plugin->about) > 10);
    }
}

static void test_refused(void **state)
{
    (void)state;
    CLEANUP(plugins_freep) struct plugins *plugins = plugins_new(STRANGE_DIR);
    is_refused(plugins, "absent", -ENOENT, STRANGE_DIR "/absent.so");
    is_refused(plugins, "strange_1", -EINVAL, "strange_1.so is of plugin ABI 2, and this tributary of 1");
    is_refused(plugins, "strange_2", -EINVAL, "strange_2.so is the plugin \"other\"");
    is_refused(plugins, "strange_3", -EINVAL, "tributary_discovery_plugin");
    is_refused(plugins, "../discovery/dns", -ENOENT, "no plugin has such a name");
    is_refused(plugins, "", -ENOENT, "no plugin has such a name");
    is_refused(plugins, "9a", -ENOENT, "no plugin has such a name");
    plugins_set_dir(plugins, PLUGIN_DIR);
    assert_string_equal(find(plugins, "dns")->name, "dns");
}

static void test_no_directory(void **state)
{
    (void)state;
    CLEANUP(plugins_freep) struct plugins *plugins = plugins_new(NULL);
    is_refused(plugins, "ec2", -ENOENT, "there is no plugin of this name");
    CLEANUP_FREE char *dir = plugins_default_dir();
    assert_non_null(strstr(dir, "/../lib/tributary/discovery"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loaded),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
