/* The secondary's configuration: what prometheus.yml allows is understood, what means nothing here is named. */
#include "base/conf_object.h"
#include "base/fail.h"
#include "secondary/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define HEAD "datacenter: dc1\nsecondary: rack-7\ndata_dir: /var/lib/t\nprimary: {urls: [http://127.0.0.1:9411]}\n"
#define JOB  HEAD "scrape_configs:\n- job_name: a\n"

extern const struct discovery_plugin discovery_file, discovery_http, discovery_dns, discovery_ec2, discovery_kubernetes,
    discovery_consul;

struct reading {
    struct file_system *fs;
    struct plugins *plugins;
    struct secondary_config *config;
    char *errors;
};

static void reading_done(struct reading *reading)
{
    secondary_config_unref(reading->config);
    mem_free(reading->errors);
    plugins_free(reading->plugins);
    file_system_free(reading->fs);
}

static struct reading read_text(const char *text)
{
    struct reading reading = {.fs = file_system_memory_new(0), .plugins = plugins_new(NULL)};
    const struct discovery_plugin *const plugins[] = {&discovery_file, &discovery_http,       &discovery_dns,
                                                      &discovery_ec2,  &discovery_kubernetes, &discovery_consul};
    for (size_t i = 0; i < ARRAY_LEN(plugins); i++)
        plugins_add(reading.plugins, plugins[i]);
    assert_int_equal(file_make_dirs(reading.fs, "/etc/t"), 0);
    assert_int_equal(file_write_whole(reading.fs, "/etc/t/secret", "x\n", 2), 0);
    assert_int_equal(file_write_whole(reading.fs, "/etc/t/c.yaml", text, strlen(text)), 0);
    int r = secondary_config_load(reading.fs, "/etc/t/c.yaml", reading.plugins, &reading.config, &reading.errors);
    assert_int_equal(r, reading.errors ? -EINVAL : 0);
    return reading;
}

#define READ(variable, text) CLEANUP(reading_done) struct reading variable = read_text(text)

static void expect_good(const char *text)
{
    READ(reading, text);
    if (reading.errors)
        fail_msg("%s", reading.errors);
}

/* Exactly this one error. */
static void expect_error(const char *text, const char *error)
{
    READ(reading, text);
    if (!reading.errors || !strstr(reading.errors, error) ||
        strchr(reading.errors, '\n') != strrchr(reading.errors, '\n'))
        fail_msg("expected one error with \"%s\", got \"%s\"", error, reading.errors ? reading.errors : "none");
}

static void the_example_loads(void **state)
{
    (void)state;
    struct secondary_config *config = NULL;
    char *errors = NULL;
    if (secondary_config_load(file_system_real(), SOURCE_DIR "/conf/secondary.yaml", NULL, &config, &errors) < 0)
        fail_msg("%s", errors);
    assert_string_equal(config->datacenter, "dc1");
    assert_int_equal(config->scrape_configs.count, 2);
    secondary_config_unref(config);
}

static void defaults_are_those_of_the_design(void **state)
{
    (void)state;
    READ(reading, JOB);
    const struct secondary_config *config = reading.config;
    assert_non_null(config);
    assert_string_equal(config->listen, "127.0.0.1:9410");
    assert_int_equal(config->workers, 0);
    assert_int_equal(config->spool.bytes_max, 4 * GIB);
    assert_int_equal(config->spool.age_max_ms, 24 * 3600000);
    assert_int_equal(config->windows.resolution_ms, 60000);
    const struct scrape_config *job = config->scrape_configs.items;
    assert_int_equal(job->scrape_interval_ms, 15000);
    assert_int_equal(job->scrape_timeout_ms, 10000);
    assert_string_equal(job->metrics_path, "/metrics");
    assert_int_equal(job->scheme, SCRAPE_HTTP);
    assert_false(job->honor_labels);
    assert_true(job->honor_timestamps);
    assert_int_equal(job->body_bytes_max, 64 * MIB);
    assert_int_equal(job->samples_max, 100000);
    assert_int_equal(job->labels_max, 64);
    assert_int_equal(job->label_name_bytes_max, 1024);
    assert_int_equal(job->label_value_bytes_max, 4096);
    assert_null(job->access.basic_auth.username);
    assert_null(job->access.authorization.credentials_file);
    assert_null(job->access.tls.ca_file);
}

static void a_scrape_config_of_prometheus_is_understood(void **state)
{
    (void)state;
    READ(reading, HEAD "global: {scrape_interval: 30s, scrape_timeout: 20s}\n"
                       "scrape_configs:\n"
                       "- job_name: probe\n"
                       "  scrape_interval: 1m\n"
                       "  metrics_path: /probe\n"
                       "  scheme: https\n"
                       "  params: {module: [http_2xx, tcp], debug: ['']}\n"
                       "  honor_labels: true\n"
                       "  honor_timestamps: false\n"
                       "  static_configs:\n"
                       "  - targets: ['https://example.com/', b]\n"
                       "    labels: {team: x}\n"
                       "  - targets: []\n"
                       "  file_sd_configs:\n"
                       "  - files: [targets/*.json, /abs/one.yml]\n"
                       "    refresh_interval: 30s\n"
                       "  relabel_configs:\n"
                       "  - source_labels: [__address__]\n"
                       "    target_label: __param_target\n"
                       "  - {target_label: __address__, replacement: '127.0.0.1:9115'}\n"
                       "  metric_relabel_configs:\n"
                       "  - {regex: 'a_(.*)', action: drop, replacement: ''}\n"
                       "  body_size_limit: 1MB\n"
                       "  sample_limit: 5\n"
                       "  basic_auth: {username: u, password_file: secret}\n"
                       "  tls_config: {ca_file: secret, server_name: s, insecure_skip_verify: true}\n"
                       "- job_name: other\n"
                       "  authorization: {credentials_file: secret}\n");
    if (reading.errors)
        fail_msg("%s", reading.errors);
    const struct scrape_config *job = reading.config->scrape_configs.items;
    assert_int_equal(job[0].scrape_interval_ms, 60000);
    assert_int_equal(job[0].scrape_timeout_ms, 20000);
    assert_int_equal(job[1].scrape_interval_ms, 30000);
    assert_int_equal(job[0].scheme, SCRAPE_HTTPS);
    assert_int_equal(job[0].params.count, 2);
    assert_string_equal(job[0].params.items[0].name, "module");
    assert_string_equal(job[0].params.items[0].values.items[1], "tcp");
    assert_string_equal(job[0].params.items[1].values.items[0], "");
    assert_true(job[0].honor_labels);
    assert_false(job[0].honor_timestamps);
    const struct static_config *group = job[0].static_configs.items;
    assert_string_equal(group[0].targets.items[0], "https://example.com/");
    assert_string_equal(group[0].labels.items[0].value, "x");
    assert_int_equal(group[1].targets.count, 0);
    const struct sd_section *files = job[0].discovery.items;
    assert_int_equal(job[0].discovery.count, 1);
    assert_ptr_equal(files->plugin, &discovery_file);
    assert_string_equal(files->text,
                        "{\"files\": [\"targets/*.json\", \"/abs/one.yml\"], \"refresh_interval\": \"30s\"}");
    assert_int_equal(files->line, 19);
    const struct relabel_config *rules = job[0].relabel_configs.items;
    assert_int_equal(job[0].relabel_configs.count, 2);
    assert_int_equal(rules[0].source_label_count, 1);
    assert_string_equal(rules[0].source_labels[0], "__address__");
    assert_string_equal(rules[0].separator, ";");
    assert_string_equal(rules[0].regex, "(.*)");
    assert_string_equal(rules[0].replacement, "$1");
    assert_int_equal(rules[0].action, RELABEL_REPLACE);
    const struct relabel_config *metric_rules = job[0].metric_relabel_configs.items;
    assert_string_equal(metric_rules->replacement, "");
    assert_int_equal(metric_rules->action, RELABEL_DROP);
    assert_int_equal(job[0].body_bytes_max, 1000000);
    assert_string_equal(job[0].access.basic_auth.password_file, "/etc/t/secret");
    assert_string_equal(job[0].access.tls.server_name, "s");
    assert_true(job[0].access.tls.insecure_skip_verify);
    assert_string_equal(job[1].access.authorization.type, "Bearer");
}

static void all_eleven_relabel_actions_are_known(void **state)
{
    (void)state;
    static const char *const rules[] = {
        "{action: replace, source_labels: [a], target_label: b}",
        "{action: keep, source_labels: [a], regex: x}",
        "{action: drop, source_labels: [a], regex: x}",
        "{action: keepequal, source_labels: [a], target_label: b}",
        "{action: dropequal, source_labels: [a], target_label: b}",
        "{action: hashmod, source_labels: [a], target_label: b, modulus: 3}",
        "{action: labelmap, regex: 'a(.*)'}",
        "{action: labeldrop, regex: 'a.*'}",
        "{action: labelkeep, regex: 'a.*'}",
        "{action: lowercase, source_labels: [a], target_label: b}",
        "{action: uppercase, source_labels: [a], target_label: b}",
    };
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        CLEANUP_FREE char *text = mem_printf(JOB "  relabel_configs: [%s]\n", rules[i]);
        READ(reading, text);
        if (reading.errors)
            fail_msg("%s", reading.errors);
        const struct scrape_config *job = reading.config->scrape_configs.items;
        const struct relabel_config *rule = job->relabel_configs.items;
        assert_int_equal(rule->action, i);
    }
}

static void intervals_timeouts_and_windows_must_fit(void **state)
{
    (void)state;
    /* What nobody wrote is made to fit; what was written must. */
    READ(fitted, JOB "  scrape_interval: 5s\n");
    assert_non_null(fitted.config);
    assert_int_equal(((struct scrape_config *)fitted.config->scrape_configs.items)->scrape_timeout_ms, 5000);
    expect_good(HEAD "windows: {resolution: 5s}\nglobal: {scrape_interval: 5s}\nscrape_configs: [{job_name: a}]\n");
    expect_good(HEAD "windows: {resolution: 5s}\nscrape_configs: [{job_name: a, scrape_interval: 5s}]\n");
    expect_error(JOB "  scrape_interval: 5s\n  scrape_timeout: 6s\n", "c.yaml:8:19: scrape_timeout: \"6s\" is longer");
    expect_error(JOB "  scrape_timeout: 16s\n", "c.yaml:7:19: scrape_timeout: \"16s\" is longer");
    expect_error(HEAD "global: {scrape_interval: 5s, scrape_timeout: 6s}\n", "c.yaml:5:47: scrape_timeout:");
    expect_error(JOB "  scrape_interval: 61s\n", "c.yaml:7:20: scrape_interval: \"61s\" is longer than a window");
    expect_error(HEAD "global: {scrape_interval: 2m}\n", "c.yaml:5:27: scrape_interval: \"2m\"");
    expect_error(HEAD "windows: {resolution: 5s}\nscrape_configs: [{job_name: a}]\n",
                 "c.yaml:5:23: resolution: \"5s\" is shorter");
    expect_error(HEAD "windows: {resolution: 500ms}\n", "the least is 1s");
    expect_error(HEAD "windows: {resolution: 61m}\n", "the most is 1h");
    /* A value that is wrong in itself causes no second error. */
    expect_error(JOB "  scrape_interval: fast\n  scrape_timeout: 20s\n", "c.yaml:7:20: scrape_interval: expected");
    expect_error(HEAD "windows: {resolution: 5 s}\nscrape_configs: [{job_name: a}]\n", "c.yaml:5:23: resolution: ");
}

#define RULES HEAD "windows:\n  rules:\n"

static void rules_for_windows_are_understood(void **state)
{
    (void)state;
    READ(reading, RULES "  - {match: '{__name__=~\"probe_.*|up\"}', resolution: 15s}\n"
                        "  - {match: '{job=\"trading\"}', resolution: 0s}\n"
                        "  - {match: '{__name__=~\"node_scrape_collector_.*\"}', fields: [last]}\n"
                        "  - {match: '{__name__=~\"go_.*\"}', keep: drop}\n"
                        "  - {match: '{__name__=~\"container_.*\"}', keep: aggregate, by: [namespace, le]}\n"
                        "  - {match: x, resolution: 5m, fields: [all], keep: full}\n");
    if (reading.errors)
        fail_msg("%s", reading.errors);
    CLEANUP(window_rules_unrefp) struct window_rules *rules = windows_config_rules(&reading.config->windows);
    assert_int_equal(window_rules_count(rules), 7); /* one is the project's own */
    assert_int_equal(window_rules_beat_ms(rules), 15000);
    assert_int_equal(window_rules_at(rules, 0)->resolution_ms, 15000);
    assert_int_equal(window_rules_at(rules, 0)->keep, KEEP_UNSAID);
    assert_int_equal(window_rules_at(rules, 1)->resolution_ms, 0);
    assert_int_equal(window_rules_at(rules, 2)->resolution_ms, RESOLUTION_UNSAID);
    assert_int_equal(window_rules_at(rules, 2)->fields, FIELDS_LAST);
    assert_int_equal(window_rules_at(rules, 3)->keep, KEEP_DROP);
    assert_int_equal(window_rules_at(rules, 4)->keep, KEEP_AGGREGATE);
    assert_int_equal(window_rules_at(rules, 4)->by_count, 2);
    assert_string_equal(window_rules_at(rules, 4)->by[0], "namespace");
    assert_int_equal(window_rules_at(rules, 5)->keep, KEEP_FULL);
    assert_int_equal(window_rules_at(rules, 5)->fields, FIELDS_ALL);
    READ(none, HEAD);
    assert_int_equal(none.config->windows.rules.count, 0);
    READ(empty, HEAD "windows: {rules: []}\n");
    assert_null(empty.errors);
}

static void bad_rules_are_told_at_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *error;
    } cases[] = {
        {"{match: 'up{', resolution: 15s}", "c.yaml:7:13: match: at character 4: expected the name of a label"},
        {"{match: '{a=~\"(\"}', keep: drop}", "c.yaml:7:13: match: at character 5: "},
        {"{resolution: 15s}", "c.yaml:7:5: key \"match\" is missing"},
        {"{match: up}", "c.yaml:7:5: a rule needs one of resolution, fields, keep"},
        {"{match: up, resolution: 100ms}", "c.yaml:7:29: resolution: \"100ms\": the least is 1s"},
        {"{match: up, resolution: 2h}", "c.yaml:7:29: resolution: \"2h\" is too large, the most is 1h"},
        {"{match: up, resolution: 25s}",
         "c.yaml:7:29: resolution: the finest resolution in use must divide windows.resolution, 1m"},
        {"{match: up, fields: [median]}", "c.yaml:7:26: fields: \"median\" is not one of all, last"},
        {"{match: up, fields: [all, last]}", "c.yaml:7:25: fields: either [all] or [last]"},
        {"{match: up, keep: all}", "c.yaml:7:23: keep: \"all\" is not one of full, aggregate, drop"},
        {"{match: up, keep: full, by: [a]}", "c.yaml:7:33: by: belongs to keep: aggregate"},
        {"{match: up, resolution: 15s, by: [a]}", "by: belongs to keep: aggregate"},
        {"{match: up, keep: aggregate, by: [a-b]}", "c.yaml:7:39: by: \"a-b\" is not a label name"},
        {"{match: up, keep: aggregate, by: [secondary]}", "by: \"secondary\" is a label that aggregates have anyway"},
        {"{match: up, keep: aggregate, by: [a, a]}", "c.yaml:7:42: by: \"a\" is there twice"},
        {"{match: up, keep: aggregate, resolution: 0s}", "aggregates are of windows"},
        {"{match: up, keep: aggregate, resolution: 30s}", "aggregates need windows of windows.resolution"},
        {"{match: up, keep: aggregate, fields: [last]}", "fields: says nothing beside keep: aggregate"},
        {"{match: up, keep: drop, resolution: 15s}", "resolution: says nothing beside keep: drop"},
        {"{match: up, keep: drop, retain: 5}", "unknown key \"retain\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_FREE char *text = mem_printf(RULES "  - %s\n", cases[i].rule);
        expect_error(text, cases[i].error);
    }
    /* All of them at once, those that go together only by pairs too. */
    READ(many, RULES "  - {match: 'up{', resolution: 15s}\n  - {match: a, resolution: 20s}\n"
                     "  - {match: b, resolution: 50s}\n  - {match: c, resolution: 70s}\n  - {match: d, fields: [x]}\n");
    assert_non_null(many.errors);
    static const char *const places[] = {"c.yaml:7:13", "c.yaml:9:28", "c.yaml:10:28", "c.yaml:11:25"};
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (!strstr(many.errors, places[i]))
            fail_msg("%s is not in %s", places[i], many.errors);
}

static void bad_values_are_told_at_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {JOB "- job_name: a\n", "c.yaml:7:13: job_name: \"a\" is the name of another"},
        {HEAD "scrape_configs: [{scheme: https}]\n", "c.yaml:5:18: key \"job_name\" is missing"},
        {JOB "  scheme: ftp\n", "c.yaml:7:11: scheme: \"ftp\" is not one of http, https"},
        {JOB "  metrics_path: metrics\n", "does not begin with /"},
        {JOB "  params: {module: x}\n", "c.yaml:7:20: params: expected a list"},
        {JOB "  params: [module]\n", "c.yaml:7:11: params: expected a map"},
        {JOB "  params: x\n", "c.yaml:7:11: params: expected a map"},
        {JOB "  static_configs: [{targets: ['http://a:1/metrics']}]\n", "c.yaml:7:31: targets: "},
        {JOB "  static_configs: [{targets: ['']}]\n", "are an address"},
        {JOB "  static_configs: [{targets: [a], labels: {a-b: c}}]\n", "c.yaml:7:49: labels: \"a-b\" is not"},
        {JOB "  file_sd_configs: [{files: [a.txt]}]\n", "c.yaml:7:30: files: \"a.txt\""},
        {JOB "  file_sd_configs: [{files: ['*/a.json']}]\n", "is not a pattern"},
        {JOB "  file_sd_configs: [{}]\n", "key \"files\" is missing"},
        {JOB "  relabel_configs: [{regex: '(', target_label: a}]\n", "c.yaml:7:29: regex"},
        {JOB "  relabel_configs: [{action: hashmod, target_label: a}]\n", "modulus"},
        {JOB "  relabel_configs: [{action: explode}]\n", "c.yaml:7:30: action: \"explode\" is not one of replace"},
        {JOB "  relabel_configs: [{action: replace}]\n", "target_label"},
        {JOB "  sample_limit: 0\n", "the least is 1"},
        {JOB "  basic_auth: {username: u, password: geheim}\n", "password"},
        {JOB "  basic_auth: {username: u, password_file: gone}\n", "cannot read \"/etc/t/gone\""},
        {JOB "  authorization: {credentials_file: secret}\n  basic_auth: {username: u, password_file: secret}\n",
         "exclude each other"},
        {JOB "  tls_config: {cert_file: secret}\n", "c.yaml:7:15: cert_file and key_file belong together"},
        {JOB "  scrape_intervall: 5s\n", "did you mean \"scrape_interval\"?"},
        {HEAD "workers: 65\n", "the most is 64"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (strstr(cases[i].text, "geheim")) { /* the key is refused, and the one it stands for is missing */
            READ(reading, cases[i].text);
            assert_non_null(strstr(reading.errors, "use password_file"));
            assert_null(strstr(reading.errors, "geheim"));
            continue;
        }
        expect_error(cases[i].text, cases[i].error);
    }
}

static void what_is_not_here_is_refused_with_its_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {HEAD "rule_files: [a.yml]\n", "rules database"},
        {HEAD "alerting: {alertmanagers: []}\n", "global service"},
        {HEAD "remote_write: [{url: http://a}]\n", "primary.urls"},
        {HEAD "remote_read: []\n", "answers no queries"},
        {HEAD "storage: {tsdb: {}}\n", "spool"},
        {HEAD "tracing: {}\n", "no traces"},
        {HEAD "global: {external_labels: {a: b}}\n", "`datacenter`"},
        {HEAD "global: {evaluation_interval: 15s}\n", "rules database"},
        {JOB "  gce_sd_configs: []\n",
         "c.yaml:7:19: gce_sd_configs: there is no plugin of this name; targets can also"},
        {HEAD "plugin_dir: /x/y\nscrape_configs:\n- job_name: a\n  gce_sd_configs: [{}]\n",
         "there is no plugin /x/y/gce.so"},
        {JOB "  a.b_sd_configs: []\n", "no plugin has such a name"},
        {JOB "  file_sd_configs: x\n", "expected a list of at most 100 sections"},
        {JOB "  file_sd_configs: {a: b}\n", "expected a list of at most 100 sections"},
        {JOB "  file_sd_configs: [x]\n", "expected a map"},
        {JOB "  bearer_token: geheim\n", "authorization.credentials_file"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_error(cases[i].text, cases[i].reason);
}

/* An instance reads its section's text again, for itself. */
static void sections_are_read_again(void **state)
{
    (void)state;
    READ(reading, JOB
         "  file_sd_configs: [{files: [a.json]}, {files: [b.yml, c.json], refresh_interval: 10s}]\n"
         "  http_sd_configs:\n  - url: http://a/b\n  - {url: http://a/b, authorization: {credentials_file: secret}}\n"
         "  - {url: 'https://a/?b=c', basic_auth: {username: 'u: \"x', password_file: secret}, tls_config: "
         "{server_name: n}}\n"
         "  dns_sd_configs: [{names: [a, b.c.]}, {names: [a], type: A, port: 80}]\n"
         "  ec2_sd_configs: [{region: r}, {region: r, filters: [{name: 'tag:a', values: [b, 'c d']}, {name: x, values: "
         "[y]}], role_arn: 'arn:aws:iam::123456789012:role/x'}, {}]\n"
         "  kubernetes_sd_configs: [{role: pod}, {role: node, api_server: 'https://k:6443', authorization: "
         "{credentials_file: secret}}, {role: endpoints, namespaces: {names: [a, b], own_namespace: true}, selectors: "
         "[{role: pod, label: 'a=b,c', field: 'd=e'}, {role: endpoints, label: x}], attach_metadata: {node: true}}]\n"
         "  consul_sd_configs: [{}, {server: 'c:8500', services: [a, b], tags: [x], node_meta: {rack: '7'}, "
         "token_file: secret, allow_stale: false}]\n");
    if (reading.errors)
        fail_msg("%s", reading.errors);
    const struct scrape_config *job = reading.config->scrape_configs.items;
    const struct sd_section *sections = job->discovery.items;
    assert_int_equal(job->discovery.count, 15);
    for (size_t i = 0; i < job->discovery.count; i++) {
        const struct conf_table *table = sections[i].plugin->config;
        CLEANUP_FREE char *errors = NULL;
        void *object = NULL;
        const struct conf_source source = {
            .fs = reading.fs, .text = str_from(sections[i].text), .name = "again", .base_dir = sections[i].base_dir};
        if (conf_object_load_text(&source, table, &object, &errors) < 0)
            fail_msg("%s_sd_configs[%zu]: %s%s", sections[i].plugin->name, sections[i].index, errors, sections[i].text);
        conf_object_unref(object);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_loads),
        cmocka_unit_test(defaults_are_those_of_the_design),
        cmocka_unit_test(a_scrape_config_of_prometheus_is_understood),
        cmocka_unit_test(all_eleven_relabel_actions_are_known),
        cmocka_unit_test(intervals_timeouts_and_windows_must_fit),
        cmocka_unit_test(rules_for_windows_are_understood),
        cmocka_unit_test(bad_rules_are_told_at_their_place),
        cmocka_unit_test(bad_values_are_told_at_their_place),
        cmocka_unit_test(what_is_not_here_is_refused_with_its_reason),
        cmocka_unit_test(sections_are_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
