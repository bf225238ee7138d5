/* The configurations of the primary and of the global service. */
#include "base/fail.h"
#include "global/config.h"
#include "global/store/retention.h"
#include "primary/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define PRIMARY "datacenter: dc1\ndata_dir: /var/lib/t\n"
#define ONE     "globals: [{name: eu, url: http://127.0.0.1:9412}]\n"
#define GLOBAL  "name: eu\ndata_dir: /var/lib/t\n"

struct reading {
    struct file_system *fs;
    struct primary_config *primary;
    struct global_config *global;
    char *errors;
};

static void reading_done(struct reading *reading)
{
    primary_config_free(reading->primary);
    global_config_free(reading->global);
    mem_free(reading->errors);
    file_system_free(reading->fs);
}

/* Primary's files begin as PRIMARY does. */
static struct reading read_text(const char *text)
{
    struct reading reading = {.fs = file_system_memory_new(0)};
    assert_int_equal(file_make_dirs(reading.fs, "/etc/t"), 0);
    assert_int_equal(file_write_whole(reading.fs, "/etc/t/secret", "x\n", 2), 0);
    assert_int_equal(file_write_whole(reading.fs, "/etc/t/c.yaml", text, strlen(text)), 0);
    int r = str_starts_with(str_from(text), STR("datacenter"))
                ? primary_config_load(reading.fs, "/etc/t/c.yaml", &reading.primary, &reading.errors)
                : global_config_load(reading.fs, "/etc/t/c.yaml", &reading.global, &reading.errors);
    assert_int_equal(r, reading.errors ? -EINVAL : 0);
    return reading;
}

#define READ(variable, text) CLEANUP(reading_done) struct reading variable = read_text(text)

static void expect_error(const char *text, const char *error)
{
    READ(reading, text);
    if (!reading.errors || !strstr(reading.errors, error) ||
        strchr(reading.errors, '\n') != strrchr(reading.errors, '\n'))
        fail_msg("expected one error with \"%s\", got \"%s\"", error, reading.errors ? reading.errors : "none");
}

static void the_examples_load(void **state)
{
    (void)state;
    CLEANUP(primary_config_freep) struct primary_config *primary = NULL;
    CLEANUP(global_config_freep) struct global_config *global = NULL;
    CLEANUP_FREE char *errors = NULL;
    if (primary_config_load(file_system_real(), SOURCE_DIR "/conf/primary.yaml", &primary, &errors) < 0 ||
        global_config_load(file_system_real(), SOURCE_DIR "/conf/global.yaml", &global, &errors) < 0)
        fail_msg("%s", errors);
    assert_int_equal(primary->globals.count, 1);
    assert_string_equal(global->name, "eu");
}

static void the_primary_knows_its_globals_and_sources(void **state)
{
    (void)state;
    READ(reading, PRIMARY "tls: {cert_file: secret, key_file: secret, client_ca_file: secret}\n"
                          "sources: [{secondary: a, bearer_token_file: secret}, {secondary: b}]\n"
                          "globals:\n"
                          "- {name: eu, url: 'https://eu:9412', tls: {ca_file: secret}, bearer_token_file: secret}\n"
                          "- {name: us, url: 'https://us:9412'}\n");
    if (reading.errors)
        fail_msg("%s", reading.errors);
    const struct primary_config *config = reading.primary;
    assert_string_equal(config->listen, "127.0.0.1:9411");
    assert_string_equal(config->tls.client_ca_file, "/etc/t/secret");
    const struct primary_config_source *sources = config->sources.items;
    assert_int_equal(config->sources.count, 2);
    assert_string_equal(sources[0].bearer_token_file, "/etc/t/secret");
    assert_null(sources[1].bearer_token_file);
    const struct primary_config_global *globals = config->globals.items;
    assert_int_equal(config->globals.count, 2);
    assert_string_equal(globals[0].tls.ca_file, "/etc/t/secret");
    assert_string_equal(globals[1].url, "https://us:9412");
    assert_int_equal(config->spool.bytes_max, 64 * GIB);
    assert_int_equal(config->spool.age_max_ms, 72 * 3600000);
}

static void the_primary_refuses_what_cannot_be(void **state)
{
    (void)state;
    expect_error(PRIMARY, "key \"globals\" is missing");
    expect_error(PRIMARY "globals: []\n", "0 items, expected 1 to 16");
    expect_error(PRIMARY "globals: [{name: a, url: 'http://a'}, {name: a, url: 'http://b'}]\n",
                 "c.yaml:3:46: name: \"a\" is the name of another global");
    expect_error(PRIMARY ONE "sources: [{secondary: a}]\n", "nothing proves who this source is");
    expect_error(PRIMARY ONE "sources: [{secondary: a, bearer_token_file: secret}, {secondary: a, "
                             "bearer_token_file: secret}]\n",
                 "\"a\" is named twice");
    expect_error(PRIMARY ONE "tls: {cert_file: secret}\n", "belong together");
    expect_error(PRIMARY ONE "tls: {client_ca_file: secret}\n", "needs cert_file and key_file");
    expect_error(PRIMARY ONE "spool: {max_bytes: 1MiB}\n", "the least is 64MiB");
}

static void the_global_has_its_limits(void **state)
{
    (void)state;
    READ(reading, GLOBAL "sources: [{datacenter: dc1, bearer_token_file: secret}]\nquery: {timeout: 5s}\n");
    if (reading.errors)
        fail_msg("%s", reading.errors);
    const struct global_config *config = reading.global;
    assert_string_equal(config->listen, "127.0.0.1:9412");
    assert_int_equal(config->sources.count, 1);
    assert_int_equal(config->head.age_max_ms, 168 * 3600000);
    assert_int_equal(config->head.close_after_ms, 3600000);
    assert_int_equal(config->blocks.level_count, 3);
    assert_int_equal(config->blocks.levels_ms[2], 48 * 3600000);
    CLEANUP(retention_unrefp) struct retention *retention = global_config_retention(config);
    assert_int_equal(retention_class_count(retention), 1);
    assert_string_equal(retention_class_at(retention, 0)->name, "default");
    assert_true(retention_class_at(retention, 0)->keep_ms == 30 * INT64_C(86400000));
    assert_int_equal(config->query.samples_max, 50000000);
    assert_int_equal(config->query.timeout_ms, 5000);
    assert_int_equal(config->query.concurrency, 8);
    assert_int_equal(config->query.memory_bytes_max, GIB);
    assert_int_equal(config->query.total_memory_bytes_max, 2 * GIB);
    assert_int_equal(config->query.waiting_max, 1024);
    assert_int_equal(config->query.lookback_delta_ms, 300000);
}

static void the_global_refuses_what_is_not_here(void **state)
{
    (void)state;
    expect_error(GLOBAL "acting: true\n", "not in this version");
    expect_error(GLOBAL "rules_database: rules.db\n", "not in this version");
    expect_error(GLOBAL "retention: [{class: a, 5m: 1d}]\n", "not in this version");
    expect_error(GLOBAL "retention: [{class: a, match: '{job=\"x\"}'}]\n", "must match all");
    expect_error(GLOBAL "retention: [{class: a, match: '{job='}, {class: b}]\n", "class a, at byte");
    expect_error(GLOBAL "retention: [{class: a, match: '{job=\"x\"}'}, {class: a}]\n", "two classes a");
    expect_error(GLOBAL "retention: [{class: a, samples: 1s}]\n", "the least is 1h");
    expect_error(GLOBAL "blocks: {levels: [1h]}\n", "the first is 2h");
    expect_error(GLOBAL "blocks: {levels: [2h, 5h]}\n", "a multiple of the one before");
    expect_error(GLOBAL "archive: {}\n", "not in this version");
    expect_error(GLOBAL "head: {max_age: 59m}\n", "the least is 1h");
    expect_error(GLOBAL "head: {max_age: 31d}\n", "the most is 30d");
    expect_error(GLOBAL "query: {concurrency: 0}\n", "the least is 1");
    expect_error(GLOBAL "query: {max_memory: 4GiB}\n", "max_total_memory: is less than max_memory, that of one query");
    expect_error(GLOBAL "sources: [{datacenter: dc1}]\n", "nothing proves who this source is");
}

static void senders_of_remote_write_are_known_by_something(void **state)
{
    (void)state;
    READ(reading, GLOBAL "remote_write: {senders: [{name: a, bearer_token_file: secret, datacenter: dc9}, "
                         "{name: b, anonymous: true, honor_datacenter: true}]}\n");
    if (reading.errors)
        fail_msg("%s", reading.errors);
    const struct global_config_sender *senders = reading.global->remote_write.senders.items;
    assert_int_equal(reading.global->remote_write.senders.count, 2);
    assert_string_equal(senders[0].datacenter, "dc9");
    assert_false(senders[0].honor_datacenter || senders[0].anonymous);
    assert_true(senders[1].honor_datacenter && senders[1].anonymous);
    assert_null(senders[1].datacenter);

    expect_error(GLOBAL "remote_write: {senders: [{name: a}]}\n", "nothing proves who this sender is");
    expect_error(GLOBAL "remote_write: {senders: [{name: a, anonymous: true}, {name: b, anonymous: true}]}\n",
                 "of one sender at most");
    expect_error(GLOBAL "remote_write: {senders: [{name: a, anonymous: true, bearer_token_file: secret}]}\n",
                 "of one sender at most");
    expect_error(GLOBAL "remote_write: {senders: [{name: a, anonymous: true}, {name: a, bearer_token_file: secret}]}\n",
                 "is named twice");
    expect_error(GLOBAL
                 "remote_write: {senders: [{name: a, anonymous: true, datacenter: d, honor_datacenter: true}]}\n",
                 "the series keep their own datacenter");
    expect_error(GLOBAL "remote_write: {senders: [{name: ../a, anonymous: true}]}\n", "name");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_load),
        cmocka_unit_test(the_primary_knows_its_globals_and_sources),
        cmocka_unit_test(the_primary_refuses_what_cannot_be),
        cmocka_unit_test(the_global_has_its_limits),
        cmocka_unit_test(the_global_refuses_what_is_not_here),
        cmocka_unit_test(senders_of_remote_write_are_known_by_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
