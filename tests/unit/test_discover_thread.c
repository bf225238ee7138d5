/* Discovery on its own thread: configurations come and go while it works, listings are asked for from the main loop,
 * and it ends in the midst of all that. For the thread sanitizer most of all. */
#include "base/fail.h"
#include "base/log.h"
#include "secondary/discover.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define ROUNDS 20

extern const struct discovery_plugin discovery_file, discovery_dns;

struct scene {
    struct loop *loop;
    struct executor *executor;
    struct random random;
    struct seams seams;
    struct tls_store *tls;
    struct plugins *plugins;
    struct discover *discover;
    struct secondary_config *config;
    struct job *job;
    struct loop_timer tick;
    char dir[64];
    unsigned ticks, told, listings, files;
    size_t most;
};

static void write_file(struct scene *scene, const char *name, const char *text)
{
    CLEANUP_FREE char *path = mem_printf("%s/%s", scene->dir, name);
    assert_int_equal(file_write_whole(file_system_real(), path, text, strlen(text)), 0);
}

static void on_found(void *arg, const struct finding *finding)
{
    struct scene *scene = arg;
    scene->told++;
    scene->most = MAX(scene->most, finding->count);
}

static void on_listing(void *arg, struct listing *listing)
{
    struct scene *scene = arg;
    scene->listings++;
    listing_free(listing);
}

static void configure(struct scene *scene, unsigned number)
{
    char *errors = NULL, error[256] = "";
    CLEANUP_FREE char *path = mem_printf("%s/config.yaml", scene->dir);
    CLEANUP_FREE char *text =
        mem_printf("datacenter: dc1\nsecondary: s1\ndata_dir: /d\nprimary: {urls: ['http://p:1']}\nscrape_configs:\n"
                   "- job_name: a\n  static_configs: [{targets: ['static:%u']}]\n"
                   "  file_sd_configs: [{files: ['%s/t*.json'], refresh_interval: %us}]\n"
                   "  dns_sd_configs: [{names: [localhost], type: A, port: %u}]\n"
                   "  relabel_configs: [{target_label: number, replacement: '%u'}]\n",
                   number, scene->dir, 1 + number % 3, 1 + number % 5, number);
    write_file(scene, "config.yaml", text);
    struct secondary_config *old = scene->config;
    if (secondary_config_load(file_system_real(), path, scene->plugins, &scene->config, &errors) < 0)
        fail_msg("%s", errors);
    job_unref(scene->job);
    if (job_new(file_system_real(), scene->config->scrape_configs.items, scene->tls, error, &scene->job) < 0)
        fail_msg("%s", error);
    discover_set(scene->discover, scene->config, &scene->job);
    secondary_config_unref(old);
}

static void on_tick(void *arg)
{
    struct scene *scene = arg;
    char name[32];
    if (scene->ticks++ == ROUNDS) {
        discover_list(scene->discover, &(struct listing_options){.dropped_max = 10}, on_listing, scene);
        loop_stop(scene->loop);
        return;
    }
    snprintf(name, sizeof(name), "t%u.json", scene->files++);
    write_file(scene, name, "[{\"targets\":[\"h1:1\",\"h2:1\"],\"labels\":{\"a\":\"b\"}}]");
    configure(scene, scene->ticks);
    discover_list(scene->discover, &(struct listing_options){.job = "a", .dropped_max = 10}, on_listing, scene);
    discover_report_free(discover_report(scene->discover));
}

static void remove_files(struct scene *scene)
{
    for (unsigned i = 0; i < scene->files; i++) {
        CLEANUP_FREE char *path = mem_printf("%s/t%u.json", scene->dir, i);
        assert_int_equal(unlink(path), 0);
    }
    CLEANUP_FREE char *path = mem_printf("%s/config.yaml", scene->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(scene->dir), 0);
}

static void test_comes_and_goes(void **state)
{
    struct scene scene = {
        .loop = loop_new(), .executor = executor_pool_new(1, 64), .dir = "/tmp/tributary-test-XXXXXX"};
    (void)state;
    log_set_level(LOG_ERROR);
    assert_non_null(mkdtemp(scene.dir));
    random_seed(&scene.random, 1);
    scene.seams = (struct seams){scene.loop, file_system_real(), scene.executor, NULL, &scene.random};
    scene.tls = tls_store_new();
    scene.plugins = plugins_new(NULL);
    plugins_add(scene.plugins, &discovery_file);
    plugins_add(scene.plugins, &discovery_dns);
    scene.discover = discover_new(&scene.seams, on_found, &scene);
    loop_timer_init(&scene.tick, scene.loop, on_tick, &scene);
    loop_timer_start(&scene.tick, 0, 100);
    loop_run(scene.loop);
    discover_stop(scene.discover);
    discover_list(scene.discover, &(struct listing_options){.dropped_max = 10}, on_listing, &scene);
    loop_settle(scene.loop);
    assert_int_equal(scene.listings, ROUNDS + 2); /* each is answered, also when it is over */
    assert_true(scene.told > 0);
    assert_true(scene.most > 2);
    loop_timer_stop(&scene.tick);
    discover_free(scene.discover);
    job_unref(scene.job);
    secondary_config_unref(scene.config);
    plugins_free(scene.plugins);
    executor_free(scene.executor);
    loop_settle(scene.loop);
    loop_free(scene.loop);
    tls_store_free(scene.tls);
    remove_files(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_comes_and_goes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
