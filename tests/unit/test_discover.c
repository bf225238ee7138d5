/* Where targets come from: static lists and files that change, break and go. */
#include "secondary/discover.h"
#include "secondary/file_watch.h"
#include "secondary_world.h"

#include <stdlib.h>

struct found {
    unsigned calls;
    size_t count;
    uint64_t dropped, invalid;
    char addresses[1024]; /* sorted, with blanks between */
};

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void on_found(void *arg, const struct finding *discovered)
{
    struct found *found = arg;
    const char *addresses[32];
    assert_true(discovered->count < ARRAY_LEN(addresses));
    found->calls++;
    found->count = discovered->count;
    found->dropped = discovered->dropped;
    found->invalid = discovered->invalid;
    found->addresses[0] = 0;
    for (size_t i = 0; i < discovered->count; i++)
        addresses[i] = discovered->targets[i]->address;
    qsort(addresses, discovered->count, sizeof(addresses[0]), compare);
    for (size_t i = 0; i < discovered->count; i++) {
        size_t len = strlen(found->addresses);
        snprintf(found->addresses + len, sizeof(found->addresses) - len, "%s ", addresses[i]);
    }
}

struct scene {
    struct world world;
    struct discover *discover;
    struct secondary_config *config;
    struct found found;
};

static void configure(struct scene *scene, const char *job)
{
    struct secondary_config *old = scene->config;
    char error[256] = "";
    struct job *made;
    CLEANUP_FREE char *text = mem_printf(
        "datacenter: dc1\nsecondary: s1\ndata_dir: /d\nprimary: {urls: ['http://p:1']}\nscrape_configs:\n%s", job);
    scene->config = world_config(&scene->world, text);
    if (job_new(scene->world.fs, scene->config->scrape_configs.items, scene->world.tls, error, &made) < 0)
        fail_msg("%s", error);
    discover_set(scene->discover, scene->config, &made);
    job_unref(made);
    secondary_config_unref(old);
}

static int set_up(void **state)
{
    struct scene *scene = mem_zalloc(sizeof(*scene));
    world_init(&scene->world);
    assert_int_equal(file_make_dirs(scene->world.fs, "/sd"), 0);
    scene->discover = discover_new(&scene->world.seams, on_found, &scene->found);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    discover_free(scene->discover);
    secondary_config_unref(scene->config);
    world_done(&scene->world);
    mem_free(scene);
    return 0;
}

static void run(struct scene *scene, int64_t ms)
{
    loop_advance(scene->world.loop, ms);
}

static void test_static(void **state)
{
    struct scene *scene = *state;
    configure(scene,
              "- job_name: a\n  static_configs: [{targets: [h1:1, h2:1, drop:1, 'b:x'], labels: {x: y}}]\n"
              "  relabel_configs:\n  - {source_labels: [__address__], regex: 'drop.*', action: drop}\n"
              "  - {source_labels: [__address__], regex: 'b:x', target_label: __address__, replacement: 'a b'}\n");
    assert_false(discover_is_ready(scene->discover));
    assert_int_equal(scene->found.calls, 0); /* never from inside */
    run(scene, 60000);
    assert_true(discover_is_ready(scene->discover));
    assert_int_equal(scene->found.calls, 1);
    assert_string_equal(scene->found.addresses, "h1:1 h2:1 ");
    assert_int_equal(scene->found.dropped, 1);
    assert_int_equal(scene->found.invalid, 1);
}

static void test_files(void **state)
{
    struct scene *scene = *state;
    world_write(&scene->world, "/sd/a.json", "[{\"targets\":[\"h1:1\"]}]");
    world_write(&scene->world, "/sd/b.yaml", "- targets: [h2:1]\n");
    world_write(&scene->world, "/sd/other.json", "[{\"targets\":[\"h3:1\"]}]");
    configure(scene, "- job_name: a\n  static_configs: [{targets: [s:1]}]\n"
                     "  file_sd_configs: [{files: ['/sd/a*.json', '/sd/b.yaml', '/sd/absent.yml']}]\n");
    run(scene, 1000);
    assert_string_equal(scene->found.addresses, "h1:1 h2:1 s:1 ");
    assert_int_equal(scene->found.calls, 1);
    run(scene, 60000);
    assert_int_equal(scene->found.calls, 1); /* nothing new, nothing told */

    world_write(&scene->world, "/sd/a.json", "[{\"targets\":[\"h1:1\",\"h4:1\"]}]");
    world_write(&scene->world, "/sd/a2.json", "[{\"targets\":[\"h5:1\"]}]");
    run(scene, FILE_WATCH_POLL_MS);
    assert_string_equal(scene->found.addresses, "h1:1 h2:1 h4:1 h5:1 s:1 ");
    assert_int_equal(file_unlink(scene->world.fs, "/sd/a2.json"), 0);
    run(scene, FILE_WATCH_POLL_MS);
    assert_string_equal(scene->found.addresses, "h1:1 h2:1 h4:1 s:1 ");
}

/* What the only section says is wrong, text inside; NULL: nothing. */
static void is_problem(struct scene *scene, const char *part)
{
    run(scene, 1000); /* figures are of a second ago */
    CLEANUP(discover_report_freep) struct discover_report *report = discover_report(scene->discover);
    assert_int_equal(report->count, 1);
    if (!part)
        assert_null(report->sections[0].problem);
    else if (!report->sections[0].problem || !strstr(report->sections[0].problem, part))
        fail_msg("'%s' does not speak of '%s'", report->sections[0].problem, part);
}

static void test_broken_file(void **state)
{
    struct scene *scene = *state;
    world_write(&scene->world, "/sd/a.json", "[{\"targets\":[\"h1:1\"]}]");
    world_write(&scene->world, "/sd/b.json", "[");
    configure(scene, "- job_name: a\n  file_sd_configs: [{files: ['/sd/*.json']}]\n");
    run(scene, 1000);
    assert_string_equal(scene->found.addresses, "h1:1 ");
    world_write(&scene->world, "/sd/a.json", "[{\"targets\":[\"h1:1\"");
    run(scene, 3 * FILE_WATCH_POLL_MS);
    assert_string_equal(scene->found.addresses, "h1:1 "); /* the last known */
    is_problem(scene, "/sd/a.json");
    world_write(&scene->world, "/sd/a.json", "[{\"targets\":[\"h1:1\"]}]"); /* as it was */
    world_write(&scene->world, "/sd/b.json", "[{\"targets\":[\"h2:1\"]}]");
    run(scene, FILE_WATCH_POLL_MS);
    assert_string_equal(scene->found.addresses, "h1:1 h2:1 ");
    is_problem(scene, NULL);
}

/* A reload must not end targets of files only because they are read again. */
static void test_reload(void **state)
{
    struct scene *scene = *state;
    world_write(&scene->world, "/sd/a.json", "[{\"targets\":[\"h1:1\"]}]");
    configure(scene, "- job_name: a\n  file_sd_configs: [{files: ['/sd/a.json']}]\n");
    run(scene, 1000);
    unsigned calls = scene->found.calls;
    world_write(&scene->world, "/sd/a.json", "[{");
    configure(scene, "- job_name: a\n  static_configs: [{targets: [s:1]}]\n"
                     "  file_sd_configs: [{files: ['/sd/a.json']}, {files: ['/sd/new.json']}]\n");
    run(scene, 1000);
    assert_int_equal(scene->found.calls, calls + 1); /* once, with all of it */
    assert_string_equal(scene->found.addresses, "h1:1 s:1 ");
    world_write(&scene->world, "/sd/a.json", "[{\"targets\":[\"h2:1\"]}]");
    run(scene, FILE_WATCH_POLL_MS);
    assert_string_equal(scene->found.addresses, "h2:1 s:1 ");
    calls = scene->found.calls;
    discover_stop(scene->discover);
    world_write(&scene->world, "/sd/a.json", "[]");
    run(scene, 20000);
    assert_int_equal(scene->found.calls, calls);
}

/* A disk that cannot be read takes no targets away. */
static void test_no_directory(void **state)
{
    struct scene *scene = *state;
    configure(scene, "- job_name: a\n  file_sd_configs: [{files: ['/nowhere/*.json']}]\n");
    run(scene, 1000);
    assert_int_equal(scene->found.calls, 1);
    assert_int_equal(scene->found.count, 0);
    assert_true(discover_is_ready(scene->discover));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_static, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_broken_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reload, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_directory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
