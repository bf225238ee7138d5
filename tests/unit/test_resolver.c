/* DNS look-ups against a server that answers, is silent, cuts, lies and sends garbage. */
#include "net/resolver.h"

#include "dns_server.h"

#include "base/buf.h"
#include "base/file.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct dns_entry entries[] = {
    {.name = "two.test", .records = "A 10.0.0.2\nA 10.0.0.1"},
    {.name = "six.test", .records = "AAAA 2001:db8::6\nAAAA fe80::1"},
    {.name = "srv.test", .records = "SRV 10 20 9100 one.test.\nSRV 5 0 65535 Two.Test\nSRV 0 0 0 ."},
    {.name = "mx.test", .records = "MX 10 mail.test\nMX 5 ."},
    {.name = "alias.test", .records = "CNAME two.test\nA 10.0.0.3"},
    {.name = "nothing.test"},
    {.name = "only-alias.test", .records = "CNAME nothing.test"},
    {.name = "servfail.test", .rcode = 2},
    {.name = "refused.test", .rcode = 5},
    {.name = "formerr.test", .rcode = 1},
    {.name = "notimp.test", .rcode = 4},
    {.name = "notauth.test", .rcode = 9, .records = "A 10.0.0.1"},
    {.name = "silent.test", .fault = DNS_SILENT},
    {.name = "large.test", .fault = DNS_TRUNCATED, .records = "A 10.0.0.1", .repeat = 1500},
    {.name = "most.test", .fault = DNS_TRUNCATED, .records = "A 10.0.0.1", .repeat = 4090},
    {.name = "half.test", .fault = DNS_TRUNCATED_EVER, .records = "A 10.0.0.1"},
    {.name = "cut.test", .fault = DNS_HALF_TCP, .records = "A 10.0.0.1", .repeat = 10},
    {.name = "spoofed.test", .fault = DNS_SPOOFED, .records = "A 10.0.0.8"},
    {.name = "loop.test", .fault = DNS_LOOP, .records = "A 10.0.0.1\nSRV 1 1 1 x.test\nMX 1 x.test"},
    {.name = "more.test", .fault = DNS_MORE_SAID, .records = "A 10.0.0.1\nSRV 1 1 1 x.test\nMX 1 x.test"},
    {.name = "short.test", .fault = DNS_SHORT_RECORD, .records = "SRV 1 1 1 x.test\nMX 1 x.test"},
    {.name = "host.one.test", .rcode = 3},
    {.name = "host.two.test", .records = "A 10.2.0.1"},
    {.name = "empty.one.test"},
    {.name = "empty.two.test", .records = "A 10.2.0.2"},
    {.name = "broken.one.test", .rcode = 2},
    {.name = "half-broken.one.test", .rcode = 2},
    {.name = "half-broken.two.test", .records = "A 10.2.0.3"},
    {.name = "mutated.test",
     .fault = DNS_MUTATED,
     .records = "A 10.0.0.1\nAAAA ::1\nSRV 10 20 9100 one.two.three.test\nMX 10 mail.test\nCNAME two.test"},
    {.rcode = 3},
};

struct world {
    struct dns_server server;
    struct loop *loop;
    struct resolver *resolver;
    char servers[64];
    char *text; /* of the last answer */
    size_t answers, stop_at;
};

static void on_answer(void *arg, const struct resolver_answer *answer)
{
    struct world *world = arg;
    struct buf text = BUF_INIT(MIB);
    if (answer->reason)
        buf_printf(&text, "! %s", answer->reason);
    for (size_t i = 0; i < answer->count; i++) {
        const struct resolver_record *record = &answer->records[i];
        buf_printf(&text, "%s", record->name);
        if (record->port || record->priority || record->weight)
            buf_printf(&text, " %u %u %u", record->priority, record->weight, record->port);
        buf_append_text(&text, "\n");
    }
    buf_append_byte(&text, 0);
    mem_free(world->text);
    world->text = (char *)buf_steal(&text, &(size_t){0});
    if (++world->answers == world->stop_at)
        loop_stop(world->loop);
}

static void use(struct world *world, const struct resolver_options *options)
{
    resolver_free(world->resolver);
    assert_int_equal(resolver_new(world->loop, options, &world->resolver), 0);
}

static int setup(void **state)
{
    struct world *world = mem_zalloc(sizeof(*world));
    dns_server_start(&world->server, entries);
    world->loop = loop_new();
    snprintf(world->servers, sizeof(world->servers), "127.0.0.1:%u", world->server.port);
    use(world, &(struct resolver_options){
                   .resolv_conf = "/dev/null", .servers = world->servers, .timeout_ms = 60000, .tries = 1});
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    resolver_free(world->resolver);
    loop_free(world->loop);
    dns_server_stop(&world->server);
    mem_free(world->text);
    mem_free(world);
    return 0;
}

static const char *look_up(struct world *world, const char *name, enum resolver_type type)
{
    size_t before = world->answers;
    world->stop_at = before + 1;
    assert_non_null(resolver_lookup(world->resolver, name, type, on_answer, world));
    assert_int_equal(world->answers, before); /* never from inside the call */
    loop_run(world->loop);
    return world->text;
}

static void assert_asked(struct world *world, const char *log)
{
    CLEANUP_FREE char *asked = dns_server_log(&world->server);
    assert_string_equal(asked, log);
}

static void test_records_in_their_order(void **state)
{
    struct world *world = *state;
    assert_string_equal(look_up(world, "two.test.", RESOLVER_A), "10.0.0.2\n10.0.0.1\n");
    assert_asked(world, "udp A two.test;");
    assert_string_equal(look_up(world, "six.test.", RESOLVER_AAAA), "2001:db8::6\nfe80::1\n");
    assert_string_equal(look_up(world, "srv.test.", RESOLVER_SRV), "one.test 10 20 9100\nTwo.Test 5 0 65535\n\n");
    assert_string_equal(look_up(world, "mx.test.", RESOLVER_MX), "mail.test 10 0 0\n 5 0 0\n");
}

static void test_no_records_is_an_answer(void **state)
{
    struct world *world = *state;
    assert_string_equal(look_up(world, "absent.test.", RESOLVER_A), "");
    for (int type = RESOLVER_A; type <= RESOLVER_MX; type++) {
        assert_string_equal(look_up(world, "nothing.test.", (enum resolver_type)type), "");
        assert_string_equal(look_up(world, "only-alias.test.", (enum resolver_type)type), "");
    }
    assert_string_equal(look_up(world, "two.test.", RESOLVER_SRV), "");
    assert_string_equal(look_up(world, "x.onion.", RESOLVER_A), "");
}

static void test_records_of_other_types_are_left_out(void **state)
{
    struct world *world = *state;
    const char *text = look_up(world, "alias.test.", RESOLVER_MX);
    assert_string_equal(text, "");
}

static void test_a_reason_names_the_server_and_what_it_said(void **state)
{
    struct world *world = *state;
    static const char *const words[][2] = {{"servfail.test.", "SERVFAIL"},
                                           {"refused.test.", "REFUSED"},
                                           {"formerr.test.", "FORMERR"},
                                           {"notimp.test.", "NOTIMP"},
                                           {"notauth.test.", "NOTAUTH"}};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        CLEANUP_FREE char *wanted = mem_printf("! %s: %s answered %s", words[i][0], world->servers, words[i][1]);
        assert_string_equal(look_up(world, words[i][0], RESOLVER_A), wanted);
    }
}

static void test_silence_ends(void **state)
{
    struct world *world = *state;
    use(world, &(struct resolver_options){
                   .resolv_conf = "/dev/null", .servers = world->servers, .timeout_ms = 50, .tries = 3});
    CLEANUP_FREE char *wanted = mem_printf("! silent.test.: %s did not answer within 0.05 s", world->servers);
    assert_string_equal(look_up(world, "silent.test.", RESOLVER_SRV), wanted);
    assert_asked(world, "udp SRV silent.test;udp SRV silent.test;udp SRV silent.test;");
}

static void test_an_answer_counts_though_the_loop_comes_late(void **state)
{
    struct world *world = *state;
    use(world, &(struct resolver_options){
                   .resolv_conf = "/dev/null", .servers = world->servers, .timeout_ms = 20, .tries = 1});
    world->stop_at = 1;
    assert_non_null(resolver_lookup(world->resolver, "two.test.", RESOLVER_A, on_answer, world));
    for (bool asked = false; !asked;) {
        CLEANUP_FREE char *log = dns_server_log(&world->server);
        asked = log[0] != '\0';
    }
    usleep(50000); /* the answer lies there, and its time is over */
    loop_run(world->loop);
    assert_string_equal(world->text, "10.0.0.2\n10.0.0.1\n");
}

static void test_the_next_server_is_asked(void **state)
{
    struct world *world = *state;
    struct dns_server second;
    static const struct dns_entry more[] = {{.name = "servfail.test", .records = "A 10.9.9.9"}, {.rcode = 5}};
    dns_server_start(&second, more);
    CLEANUP_FREE char *servers = mem_printf("127.0.0.1:1,%s,127.0.0.1:%u", world->servers, second.port);
    use(world,
        &(struct resolver_options){.resolv_conf = "/dev/null", .servers = servers, .timeout_ms = 60000, .tries = 2});
    assert_string_equal(look_up(world, "servfail.test.", RESOLVER_A), "10.9.9.9\n");
    assert_asked(world, "udp A servfail.test;");
    CLEANUP_FREE char *wanted = mem_printf("! refused.test.: 127.0.0.1:1 cannot be reached, or broke off; %s answered "
                                           "REFUSED; 127.0.0.1:%u answered REFUSED",
                                           world->servers, second.port);
    assert_string_equal(look_up(world, "refused.test.", RESOLVER_A), wanted);
    assert_asked(world, "udp A refused.test;udp A refused.test;");
    dns_server_stop(&second);
}

static void write_text(const char *path, const char *text)
{
    assert_int_equal(file_write_whole(file_system_real(), path, text, strlen(text)), 0);
}

static void test_search_domains(void **state)
{
    struct world *world = *state;
    char path[] = "/tmp/test_resolver_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    write_text(path, "nameserver 192.0.2.1\nsearch one.test two.test.\noptions ndots:2\n");
    use(world,
        &(struct resolver_options){.resolv_conf = path, .servers = world->servers, .timeout_ms = 60000, .tries = 1});
    /* The first that exists; a name of fewer dots than ndots comes last itself. */
    assert_string_equal(look_up(world, "host", RESOLVER_A), "10.2.0.1\n");
    assert_asked(world, "udp A host.one.test;udp A host.two.test;");
    assert_string_equal(look_up(world, "two.test", RESOLVER_A), "10.0.0.2\n10.0.0.1\n");
    assert_asked(world, "udp A two.test.one.test;udp A two.test.two.test;udp A two.test;");
    assert_string_equal(look_up(world, "host.two.test", RESOLVER_A), "10.2.0.1\n");
    assert_asked(world, "udp A host.two.test;");
    assert_string_equal(look_up(world, "a.b.c", RESOLVER_A), "");
    assert_asked(world, "udp A a.b.c;udp A a.b.c.one.test;udp A a.b.c.two.test;");
    /* A dot at the end: as it stands. */
    assert_string_equal(look_up(world, "host.", RESOLVER_A), "");
    assert_asked(world, "udp A host;");
    /* A name that exists without such records ends the search. */
    assert_string_equal(look_up(world, "empty", RESOLVER_A), "");
    assert_asked(world, "udp A empty.one.test;");
    /* Of one candidate nobody knows: a later one may still answer, else it cannot be said that there is none. */
    assert_string_equal(look_up(world, "half-broken", RESOLVER_A), "10.2.0.3\n");
    CLEANUP_FREE char *wanted = mem_printf("! broken.one.test.: %s answered SERVFAIL", world->servers);
    assert_string_equal(look_up(world, "broken", RESOLVER_A), wanted);
    /* The file is read anew. */
    mem_free(dns_server_log(&world->server));
    write_text(path, "search two.test\n");
    assert_string_equal(look_up(world, "host", RESOLVER_A), "10.2.0.1\n");
    assert_asked(world, "udp A host.two.test;");
    unlink(path);
}

static void test_servers_of_resolv_conf(void **state)
{
    struct world *world = *state;
    char path[] = "/tmp/test_resolver_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    /* Nobody listens there; that it is asked is told by the reason. */
    write_text(path, "nameserver 127.77.53.1\nnameserver ::1\n");
    use(world, &(struct resolver_options){.resolv_conf = path, .timeout_ms = 100, .tries = 1});
    const char *text = look_up(world, "host.test.", RESOLVER_A);
    assert_non_null(strstr(text, "! host.test.: 127.77.53.1:53 "));
    assert_non_null(strstr(text, "; [::1]:53 "));
    unlink(path);
}

static void test_truncated_answers_come_over_tcp(void **state)
{
    struct world *world = *state;
    const char *text = look_up(world, "large.test.", RESOLVER_A);
    assert_int_equal(strlen(text), 1500 * strlen("10.0.0.1\n"));
    assert_asked(world, "udp A large.test;tcp A large.test;");
    text = look_up(world, "most.test.", RESOLVER_A);
    assert_int_equal(strlen(text), 4090 * strlen("10.0.0.1\n"));
    assert_non_null(strstr(look_up(world, "half.test.", RESOLVER_A), "answered half, over TCP too"));
    assert_non_null(strstr(look_up(world, "cut.test.", RESOLVER_A), "cannot be reached, or broke off"));
}

static void test_lies_are_not_heard(void **state)
{
    struct world *world = *state;
    for (int i = 0; i < 20; i++)
        assert_string_equal(look_up(world, "spoofed.test.", RESOLVER_A), "10.0.0.8\n");
}

static void test_garbage_is_no_answer(void **state)
{
    struct world *world = *state;
    static const char *const names[] = {"loop.test.", "more.test.", "short.test."};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        for (int type = RESOLVER_SRV; type <= RESOLVER_MX; type++)
            assert_non_null(
                strstr(look_up(world, names[i], (enum resolver_type)type), "answered what is no DNS message"));
    assert_non_null(strstr(look_up(world, "loop.test.", RESOLVER_A), "answered what is no DNS message"));
    assert_non_null(strstr(look_up(world, "more.test.", RESOLVER_A), "answered what is no DNS message"));
}

static void test_random_garbage(void **state)
{
    struct world *world = *state;
    size_t understood = 0;
    for (int i = 0; i < 2000; i++) {
        const char *text = look_up(world, "mutated.test.", (enum resolver_type)(i % 4));
        understood += text[0] != '!';
    }
    assert_in_range(understood, 1, 1999); /* both ways were gone */
    assert_string_equal(look_up(world, "two.test.", RESOLVER_A), "10.0.0.2\n10.0.0.1\n");
}

static void test_names_that_cannot_be(void **state)
{
    struct world *world = *state;
    char name[300];
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    assert_non_null(strstr(look_up(world, name, RESOLVER_A), ".: it is no name that DNS can have"));
    assert_non_null(strstr(look_up(world, "a..b", RESOLVER_A), "it is no name that DNS can have"));
    assert_asked(world, "");
}

static void test_cancelled_ones_are_silent(void **state)
{
    struct world *world = *state;
    struct resolver_lookup *lookups[3];
    static const char *const names[] = {"silent.test.", "two.test.", "a..b"};
    for (size_t i = 0; i < 3; i++)
        lookups[i] = resolver_lookup(world->resolver, names[i], RESOLVER_A, on_answer, world);
    for (size_t i = 0; i < 3; i++)
        resolver_cancel(lookups[i]);
    assert_string_equal(look_up(world, "six.test.", RESOLVER_AAAA), "2001:db8::6\nfe80::1\n");
    assert_int_equal(world->answers, 1);
}

static void cancel_the_other(void *arg, const struct resolver_answer *answer)
{
    struct resolver_lookup **other = arg;
    assert_int_equal(answer->count, 2);
    resolver_cancel(STEAL(*other));
}

static void test_one_ends_another(void **state)
{
    struct world *world = *state;
    struct resolver_lookup *other = resolver_lookup(world->resolver, "silent.test.", RESOLVER_A, on_answer, world);
    assert_non_null(resolver_lookup(world->resolver, "two.test.", RESOLVER_A, cancel_the_other, &other));
    while (other)
        look_up(world, "two.test.", RESOLVER_A);
}

static void test_more_than_fly_at_a_time(void **state)
{
    struct world *world = *state;
    enum { COUNT = 5 * RESOLVER_IN_FLIGHT_MAX };
    world->stop_at = COUNT;
    for (size_t i = 0; i < COUNT; i++)
        assert_non_null(resolver_lookup(world->resolver, "two.test.", RESOLVER_A, on_answer, world));
    loop_run(world->loop);
    assert_int_equal(world->answers, COUNT);
    /* Some wait, some fly, and all go with the resolver. */
    for (size_t i = 0; i < RESOLVER_IN_FLIGHT_MAX + 3; i++)
        assert_non_null(resolver_lookup(world->resolver, "silent.test.", RESOLVER_A, on_answer, world));
    resolver_free(STEAL(world->resolver));
    assert_int_equal(world->answers, COUNT);
}

static void test_waiting_has_a_ceiling(void **state)
{
    struct world *world = *state;
    for (size_t i = 0; i < RESOLVER_IN_FLIGHT_MAX + RESOLVER_WAITING_MAX; i++)
        assert_non_null(resolver_lookup(world->resolver, "silent.test.", RESOLVER_A, on_answer, world));
    assert_null(resolver_lookup(world->resolver, "silent.test.", RESOLVER_A, on_answer, world));
}

static void test_servers_that_are_none(void **state)
{
    struct world *world = *state;
    static const char *const wrong[] = {"", "nobody.test", "127.0.0.1:x", "127.0.0.1,nobody"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct resolver *resolver = NULL;
        const struct resolver_options options = {.servers = wrong[i], .timeout_ms = 1, .tries = 1};
        assert_int_equal(resolver_new(world->loop, &options, &resolver), -EINVAL);
        assert_null(resolver);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_records_in_their_order),
        TEST(test_no_records_is_an_answer),
        TEST(test_records_of_other_types_are_left_out),
        TEST(test_a_reason_names_the_server_and_what_it_said),
        TEST(test_silence_ends),
        TEST(test_an_answer_counts_though_the_loop_comes_late),
        TEST(test_the_next_server_is_asked),
        TEST(test_search_domains),
        TEST(test_servers_of_resolv_conf),
        TEST(test_truncated_answers_come_over_tcp),
        TEST(test_lies_are_not_heard),
        TEST(test_garbage_is_no_answer),
        TEST(test_random_garbage),
        TEST(test_names_that_cannot_be),
        TEST(test_cancelled_ones_are_silent),
        TEST(test_one_ends_another),
        TEST(test_more_than_fly_at_a_time),
        TEST(test_waiting_has_a_ceiling),
        TEST(test_servers_that_are_none),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
