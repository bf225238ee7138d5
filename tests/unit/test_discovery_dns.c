/* dns_sd_configs: records as targets, names that fail beside names that do not. */
#include "plugin_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

extern const struct discovery_plugin discovery_dns;

#define SRV_LABELS(name, host, port)                                                                                   \
    "{__meta_dns_name=\"" name "\",__meta_dns_srv_record_port=\"" port "\",__meta_dns_srv_record_target=\"" host "\"}" \
    "\n"

static void start(struct plugin_rig *rig, const char *yaml)
{
    if (rig_start(rig, &discovery_dns, yaml) < 0)
        fail_msg("%s", rig->error);
}

/* The oldest look-up of the name ends; unless it is to be tried again it is over. */
static enum discovery_verdict end_lookup(struct plugin_rig *rig, const char *name, const struct discovery_end *end,
                                         const struct discovery_dns_record *records, size_t count)
{
    struct discovery_call *call = rig_find(rig, name);
    assert_non_null(call);
    enum discovery_verdict verdict = call->lookup_fn(call->arg, end, records, count);
    if (verdict != DISCOVERY_RETRY)
        rig_cancel(call);
    return verdict;
}

static enum discovery_verdict answer(struct plugin_rig *rig, const char *name,
                                     const struct discovery_dns_record *records, size_t count)
{
    return end_lookup(rig, name, &(struct discovery_end){0}, records, count);
}

static enum discovery_verdict answer_host(struct plugin_rig *rig, const char *name, const char *host)
{
    return answer(rig, name, &(struct discovery_dns_record){.name = host, .port = 80}, 1);
}

static void fail_lookup(struct plugin_rig *rig, const char *name, const char *reason)
{
    const struct discovery_end end = {.failure = DISCOVERY_BROKEN, .reason = reason};
    assert_int_equal(end_lookup(rig, name, &end, NULL, 0), DISCOVERY_RETRY);
}

static void assert_says(struct plugin_rig *rig, const char *text)
{
    CLEANUP_FREE char *said = rig_print(rig);
    assert_string_equal(said, text);
}

static void test_srv(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start(&rig, "names: [_http._tcp.example.com]\n");
    struct discovery_call *call = rig_find(&rig, "_http._tcp.example.com");
    assert_int_equal(call->lookup.type, DISCOVERY_DNS_SRV);
    assert_int_equal(call->lookup.after_ms + call->lookup.spread_ms, 0);
    const struct discovery_dns_record records[] = {
        {"b.example.com", 9100, 1, 2}, {"", 0, 0, 0}, {"A.test", 65535, 0, 0}};
    assert_int_equal(answer(&rig, "_http", records, 3), DISCOVERY_DONE);
    assert_int_equal(rig.host.commits, 1);
    assert_says(&rig, "# _http._tcp.example.com\n"
                      "b.example.com:9100" SRV_LABELS("_http._tcp.example.com", "b.example.com.",
                                                      "9100") "A.test:65535" SRV_LABELS("_http._tcp.example.com",
                                                                                        "A.test.", "65535"));
    rig_stop(&rig);
}

static void test_addresses(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start(&rig, "{names: [four.test], type: A, port: 9100}");
    assert_int_equal(rig_find(&rig, "four")->lookup.type, DISCOVERY_DNS_A);
    const struct discovery_dns_record four[] = {{.name = "10.0.0.2"}, {.name = "10.0.0.1"}};
    answer(&rig, "four", four, 2);
    assert_says(&rig, "# four.test\n10.0.0.2:9100{__meta_dns_name=\"four.test\"}\n"
                      "10.0.0.1:9100{__meta_dns_name=\"four.test\"}\n");
    rig_stop(&rig);
    start(&rig, "{names: [six.test], type: aaaa, port: 1}");
    assert_int_equal(rig_find(&rig, "six")->lookup.type, DISCOVERY_DNS_AAAA);
    answer_host(&rig, "six", "2001:db8::1");
    assert_says(&rig, "# six.test\n[2001:db8::1]:1{__meta_dns_name=\"six.test\"}\n");
    rig_stop(&rig);
}

static void test_mx(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start(&rig, "{names: [x.test], type: MX, port: 25}");
    const struct discovery_dns_record records[] = {{.name = "mail.x.test", .priority = 10}, {.name = ""}};
    answer(&rig, "x.test", records, 2);
    assert_says(&rig,
                "# x.test\nmail.x.test:25{__meta_dns_mx_record_target=\"mail.x.test.\",__meta_dns_name=\"x.test\"}\n");
    rig_stop(&rig);
}

static void test_looked_up_again(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start(&rig, "{names: [x.test], type: A, port: 1, refresh_interval: 1m}");
    answer_host(&rig, "x.test", "10.0.0.1");
    struct discovery_call *call = rig_find(&rig, "x.test");
    assert_int_equal(call->lookup.after_ms, 54000);
    assert_int_equal(call->lookup.spread_ms, 6000);
    answer_host(&rig, "x.test", "10.0.0.2");
    assert_says(&rig, "# x.test\n10.0.0.2:1{__meta_dns_name=\"x.test\"}\n");
    /* No records, and no such name, mean no targets. */
    assert_int_equal(answer(&rig, "x.test", NULL, 0), DISCOVERY_DONE);
    assert_says(&rig, "");
    assert_int_equal(rig_call_count(&rig), 1);
    rig_stop(&rig);
    start(&rig, "{names: [x.test], type: A, port: 1}");
    answer_host(&rig, "x.test", "10.0.0.1");
    assert_int_equal(rig_find(&rig, "x.test")->lookup.after_ms, 27000);
    rig_stop(&rig);
}

static void test_all_names_come_into_force_together(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start(&rig, "{names: [a.test, b.test], type: A, port: 1}");
    assert_int_equal(rig_call_count(&rig), 2);
    answer_host(&rig, "a.test", "10.0.0.1");
    answer_host(&rig, "a.test", "10.0.0.2"); /* again, before the other's first */
    assert_int_equal(rig.host.commits, 0);
    answer(&rig, "b.test", NULL, 0);
    assert_int_equal(rig.host.commits, 1);
    assert_says(&rig, "# a.test\n10.0.0.2:1{__meta_dns_name=\"a.test\"}\n");
    rig_stop(&rig);
}

static void test_a_name_that_fails_first_holds_nobody_back(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start(&rig, "{names: [a.test, b.test], type: A, port: 1}");
    fail_lookup(&rig, "b.test", "b.test.: 1.2.3.4:53 answered SERVFAIL");
    assert_string_equal(rig.host.problem, "b.test.: 1.2.3.4:53 answered SERVFAIL");
    assert_int_equal(rig.host.commits, 0);
    answer_host(&rig, "a.test", "10.0.0.1");
    assert_int_equal(rig.host.commits, 1);
    answer_host(&rig, "b.test", "10.0.0.9");
    assert_int_equal(rig.host.commits, 1);
    assert_says(&rig, "# a.test\n10.0.0.1:1{__meta_dns_name=\"a.test\"}\n"
                      "# b.test\n10.0.0.9:1{__meta_dns_name=\"b.test\"}\n");
    rig_stop(&rig);
}

static void test_nothing_is_known_while_all_fail(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start(&rig, "{names: [a.test, b.test], type: A, port: 1}");
    fail_lookup(&rig, "a.test", "silent");
    fail_lookup(&rig, "b.test", "silent");
    fail_lookup(&rig, "a.test", "silent");
    assert_int_equal(rig.host.commits, 0);
    answer(&rig, "a.test", NULL, 0);
    assert_int_equal(rig.host.commits, 1);
    rig_stop(&rig);
}

static void test_a_name_that_fails_keeps_its_targets(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start(&rig, "{names: [a.test, b.test], type: A, port: 1}");
    answer_host(&rig, "a.test", "10.0.0.1");
    answer_host(&rig, "b.test", "10.0.0.2");
    assert_int_equal(rig.host.problems, 0);
    fail_lookup(&rig, "a.test", "silence");
    fail_lookup(&rig, "a.test", "silence");
    assert_int_equal(rig.host.problems, 2);
    answer_host(&rig, "b.test", "10.0.0.22");
    assert_says(&rig, "# a.test\n10.0.0.1:1{__meta_dns_name=\"a.test\"}\n"
                      "# b.test\n10.0.0.22:1{__meta_dns_name=\"b.test\"}\n");
    answer_host(&rig, "a.test", "10.0.0.11");
    assert_says(&rig, "# a.test\n10.0.0.11:1{__meta_dns_name=\"a.test\"}\n"
                      "# b.test\n10.0.0.22:1{__meta_dns_name=\"b.test\"}\n");
    assert_int_equal(rig.host.problems, 2);
    rig_stop(&rig);
}

static void test_configuration(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *error;
    } wrong[] = {
        {"{}", "key \"names\" is missing"},
        {"names: []", "names"},
        {"names: ['']", "section:1:9: names: 1 to 254 bytes are a name"},
        {"{names: [a], type: A}", "section:1:20: type: only SRV records have a port"},
        {"{names: [a], type: MX, port: 0}", "only SRV records have a port"},
        {"{names: [a], type: TXT, port: 1}", "type: \"TXT\" is none of SRV, A, AAAA and MX"},
        {"{names: [a], port: 65536}", "port"},
        {"{names: [a], refresh_interval: 0s}", "refresh_interval"},
        {"{names: [a], nameserver: x}", "nameserver"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char error[256];
        if (!rig_refuses(&discovery_dns, wrong[i].yaml, wrong[i].error, error))
            fail_msg("%s: %s", wrong[i].yaml, error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_srv),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_mx),
        cmocka_unit_test(test_looked_up_again),
        cmocka_unit_test(test_all_names_come_into_force_together),
        cmocka_unit_test(test_a_name_that_fails_first_holds_nobody_back),
        cmocka_unit_test(test_nothing_is_known_while_all_fail),
        cmocka_unit_test(test_a_name_that_fails_keeps_its_targets),
        cmocka_unit_test(test_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
