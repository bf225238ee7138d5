/* EC2 as a plugin: what it asks for, every label of recorded answers in pieces of any size, pages, zones, and what
 * other answers do. */
#include "base/file.h"
#include "plugin_rig.h"

#include <setjmp.h>

#include <cmocka.h>

extern const struct discovery_plugin discovery_ec2;

#define SECTION                                                                                                        \
    "{region: eu-west-1, endpoint: 'http://127.0.0.1:1', port: 9100, access_key: AKID, secret_key_file: /dev/null, "   \
    "refresh_interval: 40s, filters: [{name: 'tag:env', values: ['a b&c', 'x*']}, {name: vpc-id, values: [v]}]}"

#define PAGE_FORM                                                                                                      \
    "Action=DescribeInstances&Version=2016-11-15&MaxResults=1000&Filter.1.Name=tag%3Aenv&Filter.1.Value.1=a%20b%26c&"  \
    "Filter.1.Value.2=x%2A&Filter.2.Name=vpc-id&Filter.2.Value.1=v"

/* What page1.xml and page2.xml are, with ids of zones a and b known. */
#define TARGET_FIRST                                                                                                   \
    "# i-1234567890abcdef0\n"                                                                                          \
    "192.168.1.88:9100{__meta_ec2_ami=\"ami-bff32ccc\",__meta_ec2_architecture=\"x86_64\","                            \
    "__meta_ec2_availability_zone=\"eu-west-1b\",__meta_ec2_availability_zone_id=\"euw1-az1\","                        \
    "__meta_ec2_default_ipv6_address=\"2001:db8::a1\",__meta_ec2_instance_id=\"i-1234567890abcdef0\","                 \
    "__meta_ec2_instance_state=\"running\",__meta_ec2_instance_type=\"t2.micro\","                                     \
    "__meta_ec2_ipv6_addresses=\",2001:db8::a1,2001:db8::a2,2001:db8::c1,2001:db8::b1,\","                             \
    "__meta_ec2_owner_id=\"123456789012\",__meta_ec2_primary_ipv6_addresses=\",,2001:db8::b1,,2001:db8::c1,\","        \
    "__meta_ec2_primary_subnet_id=\"subnet-56f5f633\","                                                                \
    "__meta_ec2_private_dns_name=\"ip-192-168-1-88.eu-west-1.compute.internal\","                                      \
    "__meta_ec2_private_ip=\"192.168.1.88\","                                                                          \
    "__meta_ec2_public_dns_name=\"ec2-54-194-252-215.eu-west-1.compute.amazonaws.com\","                               \
    "__meta_ec2_public_ip=\"54.194.252.215\",__meta_ec2_region=\"eu-west-1\","                                         \
    "__meta_ec2_subnet_id=\",subnet-56f5f633,subnet-22222222,\",__meta_ec2_tag_Gr__e=\"groß\","                       \
    "__meta_ec2_tag_Name=\"Server & “1”\",__meta_ec2_tag_a_b=\"second\","                                          \
    "__meta_ec2_tag_aws_autoscaling_groupName=\"web\",__meta_ec2_vpc_id=\"vpc-11112222\"}\n"
#define TARGET_WINDOWS                                                                                                 \
    "# i-0000000000000win0\n"                                                                                          \
    "10.0.0.2:9100{__meta_ec2_ami=\"ami-0win\",__meta_ec2_architecture=\"i386\","                                      \
    "__meta_ec2_availability_zone=\"eu-west-1c\",__meta_ec2_instance_id=\"i-0000000000000win0\","                      \
    "__meta_ec2_instance_lifecycle=\"spot\",__meta_ec2_instance_state=\"stopped\","                                    \
    "__meta_ec2_instance_type=\"m5.large\",__meta_ec2_owner_id=\"123456789012\",__meta_ec2_platform=\"windows\","      \
    "__meta_ec2_private_ip=\"10.0.0.2\",__meta_ec2_region=\"eu-west-1\"}\n"
#define TARGET_VPC                                                                                                     \
    "# i-0000000000000vpc0\n"                                                                                          \
    "10.0.0.3:9100{__meta_ec2_ami=\"ami-1\",__meta_ec2_architecture=\"arm64\","                                        \
    "__meta_ec2_availability_zone=\"eu-west-1a\",__meta_ec2_availability_zone_id=\"euw1-az3\","                        \
    "__meta_ec2_instance_id=\"i-0000000000000vpc0\",__meta_ec2_instance_state=\"running\","                            \
    "__meta_ec2_instance_type=\"m6g.large\",__meta_ec2_primary_subnet_id=\"subnet-3\","                                \
    "__meta_ec2_private_dns_name=\"ip-10-0-0-3.eu-west-1.compute.internal\",__meta_ec2_private_ip=\"10.0.0.3\","       \
    "__meta_ec2_region=\"eu-west-1\",__meta_ec2_subnet_id=\",,\",__meta_ec2_vpc_id=\"vpc-3\"}\n"
#define ALL_TARGETS TARGET_VPC TARGET_WINDOWS TARGET_FIRST

#define EMPTY_PAGE  "<DescribeInstancesResponse><reservationSet/></DescribeInstancesResponse>"

/* ---- Helpers ---- */

static struct buf recorded(const char *name)
{
    char path[256];
    struct buf text = BUF_INIT(MIB);
    snprintf(path, sizeof(path), SOURCE_DIR "/tests/data/ec2/%s.xml", name);
    assert_int_equal(file_read_whole(file_system_real(), path, &text), 0);
    return text;
}

static enum discovery_verdict answer(struct plugin_rig *rig, int status, const char *name)
{
    CLEANUP(buf_done) struct buf text = recorded(name);
    return rig_answer_with(rig, rig->host.calls, status, NULL, buf_view(&text));
}

static void check_targets(struct plugin_rig *rig, const char *expected)
{
    CLEANUP_FREE char *printed = rig_print(rig);
    assert_string_equal(printed, expected);
}

/* The one thing asked for is this form. */
static struct discovery_call *check_asked(struct plugin_rig *rig, const char *form)
{
    assert_int_equal(rig_call_count(rig), 1);
    struct discovery_call *call = rig->host.calls;
    assert_string_equal(call->request.body.ptr, form);
    return call;
}

static void check_problem(struct plugin_rig *rig, const char *part)
{
    if (!strstr(rig->host.problem, part))
        fail_msg("\"%s\" is not in the problem \"%s\"", part, rig->host.problem);
}

static void start(struct plugin_rig *rig, const char *yaml)
{
    if (rig_start(rig, &discovery_ec2, yaml) < 0)
        fail_msg("%s", rig->error);
}

/* Past the zones, at the first page. */
static void start_at_page(struct plugin_rig *rig)
{
    start(rig, SECTION);
    assert_int_equal(answer(rig, 200, "zones"), DISCOVERY_DROP);
    check_asked(rig, PAGE_FORM);
}

/* A listing without targets beside it: the next thing asked for is the next round. */
static void answer_empty(struct plugin_rig *rig)
{
    assert_int_equal(rig_answer(rig, rig->host.calls, 200, EMPTY_PAGE), DISCOVERY_DONE);
}

/* ---- What is asked, and what comes of it ---- */

static void test_whole_round(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 7, 4096, 0};
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct plugin_rig rig;
        start(&rig, SECTION);
        rig.chunk_bytes = pieces[i];
        struct discovery_call *call = check_asked(&rig, "Action=DescribeAvailabilityZones&Version=2016-11-15");
        assert_string_equal(call->request.method, "POST");
        assert_string_equal(call->request.url.ptr, "http://127.0.0.1:1/");
        assert_string_equal(call->request.headers[0].name, "Content-Type");
        assert_string_equal(call->request.headers[0].value, "application/x-www-form-urlencoded; charset=utf-8");
        const struct discovery_aws *aws = call->request.aws;
        assert_string_equal(aws->service, "ec2");
        assert_string_equal(aws->region, "eu-west-1");
        assert_string_equal(aws->access_key, "AKID");
        assert_string_equal(aws->secret_key_file, "/dev/null");
        assert_null(aws->profile);
        assert_null(aws->role_arn);
        assert_int_equal(answer(&rig, 200, "zones"), DISCOVERY_DROP);

        check_asked(&rig, PAGE_FORM);
        assert_int_equal(rig.host.calls->request.after_ms, 0);
        assert_int_equal(answer(&rig, 200, "page1"), DISCOVERY_DROP);
        check_targets(&rig, ""); /* half a listing is none */
        check_asked(&rig, PAGE_FORM "&NextToken=eyJ2Ijoi%3D%2F%2B%20%3C2%3E");
        assert_int_equal(rig.host.calls->request.after_ms, 0);
        assert_int_equal(answer(&rig, 200, "page2"), DISCOVERY_DONE);
        assert_int_equal(rig.host.commits, 1);
        check_targets(&rig, ALL_TARGETS);

        /* eu-west-1c stood in no answer: zones are asked for again, once. */
        call = check_asked(&rig, "Action=DescribeAvailabilityZones&Version=2016-11-15");
        assert_int_equal(call->request.after_ms, 40000);
        assert_int_equal(call->request.spread_ms, 4000);
        answer(&rig, 200, "zones");
        check_asked(&rig, PAGE_FORM);
        answer(&rig, 200, "page1");
        answer(&rig, 200, "page2");
        check_targets(&rig, ALL_TARGETS);
        call = check_asked(&rig, PAGE_FORM);
        assert_int_equal(call->request.after_ms, 40000);

        /* What is there no longer goes. */
        answer_empty(&rig);
        check_targets(&rig, "");
        assert_int_equal(rig.host.problems, 0);
        rig_stop(&rig);
    }
}

static void test_defaults(void **state)
{
    (void)state;
    static const char *const urls[][2] = {
        {"eu-west-1", "https://ec2.eu-west-1.amazonaws.com/"},
        {"cn-north-1", "https://ec2.cn-north-1.amazonaws.com.cn/"},
        {"us-gov-west-1", "https://ec2.us-gov-west-1.amazonaws.com/"},
        {"us-iso-east-1", "https://ec2.us-iso-east-1.c2s.ic.gov/"},
        {"us-isob-east-1", "https://ec2.us-isob-east-1.sc2s.sgov.gov/"},
        {"eusc-de-east-1", "https://ec2.eusc-de-east-1.amazonaws.eu/"},
    };
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct plugin_rig rig;
        char yaml[100];
        snprintf(yaml, sizeof(yaml), "{region: %s}", urls[i][0]);
        start(&rig, yaml);
        assert_string_equal(rig.host.calls->request.url.ptr, urls[i][1]);
        answer(&rig, 200, "zones");
        check_asked(&rig, "Action=DescribeInstances&Version=2016-11-15&MaxResults=1000");
        answer(&rig, 200, "page2");
        CLEANUP_FREE char *printed = rig_print(&rig);
        assert_non_null(strstr(printed, "10.0.0.3:80{"));
        assert_int_equal(rig.host.calls->request.after_ms, 60000);
        rig_stop(&rig);
    }
}

static void test_endpoint_with_path(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start(&rig, "{region: r, endpoint: 'https://cloud.example:8773/services/compute', profile: p, "
                "role_arn: 'arn:aws:iam::123456789012:role/mon'}");
    assert_string_equal(rig.host.calls->request.url.ptr, "https://cloud.example:8773/services/compute/");
    assert_string_equal(rig.host.calls->request.aws->profile, "p");
    assert_string_equal(rig.host.calls->request.aws->role_arn, "arn:aws:iam::123456789012:role/mon");
    rig_stop(&rig);
    start(&rig, "{region: r, endpoint: 'https://cloud.example/'}");
    assert_string_equal(rig.host.calls->request.url.ptr, "https://cloud.example/");
    rig_stop(&rig);
}

static void test_region_of_the_instance(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start(&rig, "{port: 1}");
    struct discovery_call *call = rig.host.calls;
    assert_true(call->request.aws_metadata);
    assert_null(call->request.aws);
    assert_string_equal(call->request.url.ptr, "/latest/meta-data/placement/region");

    assert_int_equal(rig_fail(call, DISCOVERY_UNSENT, "nobody at 169.254.169.254"), DISCOVERY_RETRY);
    check_problem(&rig, "no region is configured, and the instance's metadata does not tell it: nobody at");
    assert_int_equal(rig_answer(&rig, call, 404, "<html>"), DISCOVERY_RETRY);
    check_problem(&rig, "does not tell it: HTTP 404");
    static const char *const no_regions[] = {"", "<html>", "eu west", "EU-WEST-1", "a/b", "eu.west"};
    for (size_t i = 0; i < ARRAY_LEN(no_regions); i++) {
        assert_int_equal(rig_answer(&rig, call, 200, no_regions[i]), DISCOVERY_RETRY);
        check_problem(&rig, "what it says is no region's name");
    }
    CLEANUP_FREE char *endless = mem_zalloc(8192);
    memset(endless, 'a', 8191);
    rig.chunk_bytes = 1000;
    assert_int_equal(rig_answer(&rig, call, 200, endless), DISCOVERY_RETRY);
    check_problem(&rig, "what it says is no region's name");

    rig.chunk_bytes = 3; /* after all these, from the beginning */
    assert_int_equal(rig_answer(&rig, call, 200, "ap-south-1"), DISCOVERY_DROP);
    call = check_asked(&rig, "Action=DescribeAvailabilityZones&Version=2016-11-15");
    assert_string_equal(call->request.url.ptr, "https://ec2.ap-south-1.amazonaws.com/");
    assert_string_equal(call->request.aws->region, "ap-south-1");
    answer(&rig, 200, "zones");
    answer(&rig, 200, "page2");
    CLEANUP_FREE char *printed = rig_print(&rig);
    assert_non_null(strstr(printed, "__meta_ec2_region=\"ap-south-1\""));
    rig_stop(&rig);
}

/* ---- Zones ---- */

static void test_zones_denied(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start(&rig, SECTION);
    assert_int_equal(answer(&rig, 403, "denied"), DISCOVERY_DROP);
    check_problem(&rig, "DescribeAvailabilityZones: HTTP 403: UnauthorizedOperation: You are not authorized");
    check_problem(&rig, "__meta_ec2_availability_zone_id is not known");
    check_asked(&rig, PAGE_FORM);
    answer(&rig, 200, "page2");
    assert_string_equal(rig.host.problem, ""); /* it is a remark: the targets are good */
    CLEANUP_FREE char *printed = rig_print(&rig);
    assert_non_null(strstr(printed, "__meta_ec2_availability_zone=\"eu-west-1a\",__meta_ec2_instance_id"));

    /* For an hour, that is 90 rounds, nobody asks; then the permission has come. */
    for (int i = 1; i < 90; i++) {
        check_asked(&rig, PAGE_FORM);
        answer_empty(&rig);
    }
    check_asked(&rig, "Action=DescribeAvailabilityZones&Version=2016-11-15");
    answer(&rig, 200, "zones");
    answer(&rig, 200, "page2");
    check_targets(&rig, TARGET_VPC);
    check_asked(&rig, PAGE_FORM);
    rig_stop(&rig);
}

static void test_zones_that_fail(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start(&rig, SECTION);
    /* Worth waiting for. */
    assert_int_equal(answer(&rig, 503, "throttled"), DISCOVERY_RETRY);
    check_problem(&rig, "DescribeAvailabilityZones: HTTP 503: RequestLimitExceeded: Request limit exceeded.");
    assert_int_equal(answer(&rig, 400, "throttled"), DISCOVERY_RETRY);
    assert_int_equal(rig_fail(rig.host.calls, DISCOVERY_BROKEN, "reset"), DISCOVERY_RETRY);
    /* Not: the targets come without, and the next round asks again. */
    static const char *const strange[] = {"<html></html>", "", "<DescribeAvailabilityZonesResponse/>",
                                          "<DescribeAvailabilityZonesResponse>"};
    for (size_t i = 0; i < ARRAY_LEN(strange); i++) {
        assert_int_equal(rig_answer(&rig, rig.host.calls, 200, strange[i]), DISCOVERY_DROP);
        check_problem(&rig, "DescribeAvailabilityZones: not");
        check_asked(&rig, PAGE_FORM);
        answer_empty(&rig);
        check_asked(&rig, "Action=DescribeAvailabilityZones&Version=2016-11-15");
    }
    rig_stop(&rig);
}

static void test_zone_names_have_a_ceiling(void **state)
{
    (void)state;
    struct plugin_rig rig;
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 * MIB);
    start(&rig, "{region: r}");
    buf_append_text(&text, "<DescribeAvailabilityZonesResponse><availabilityZoneInfo>");
    for (int i = 0; i < 20000; i++)
        buf_printf(&text, "<item><zoneName>z%d</zoneName><zoneId>id%d</zoneId></item>", i, i);
    buf_printf(&text, "<item><zoneName>%0100d</zoneName><zoneId>a</zoneId></item>", 1);
    buf_append_text(&text, "</availabilityZoneInfo></DescribeAvailabilityZonesResponse>");
    assert_int_equal(rig_answer_with(&rig, rig.host.calls, 200, NULL, buf_view(&text)), DISCOVERY_DROP);
    buf_reset(&text);
    buf_append_text(&text, "<DescribeInstancesResponse><reservationSet><item><instancesSet>");
    static const char *const names[] = {"z0", "z999", "z1000", "new"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        buf_printf(&text,
                   "<item><instanceId>%s</instanceId><privateIpAddress>1.1.1.1</privateIpAddress><placement>"
                   "<availabilityZone>%s</availabilityZone></placement></item>",
                   names[i], names[i]);
    buf_append_text(&text, "</instancesSet></item></reservationSet></DescribeInstancesResponse>");
    assert_int_equal(rig_answer_with(&rig, rig.host.calls, 200, NULL, buf_view(&text)), DISCOVERY_DONE);
    CLEANUP_FREE char *printed = rig_print(&rig);
    assert_non_null(strstr(printed, "=\"z0\",__meta_ec2_availability_zone_id=\"id0\""));
    assert_non_null(strstr(printed, "=\"z999\",__meta_ec2_availability_zone_id=\"id999\""));
    assert_non_null(strstr(printed, "=\"z1000\",__meta_ec2_instance_id"));
    assert_non_null(strstr(printed, "=\"new\",__meta_ec2_instance_id"));
    check_asked(&rig, "Action=DescribeInstances&Version=2016-11-15&MaxResults=1000");
    rig_stop(&rig);
}

/* ---- Pages ---- */

static char *page_with_token(const char *token)
{
    return mem_printf("<DescribeInstancesResponse><reservationSet/><nextToken>%s</nextToken>"
                      "</DescribeInstancesResponse>",
                      token);
}

static enum discovery_verdict answer_token(struct plugin_rig *rig, const char *token)
{
    CLEANUP_FREE char *page = page_with_token(token);
    return rig_answer(rig, rig->host.calls, 200, page);
}

static void test_pages_in_a_circle(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start_at_page(&rig);
    answer(&rig, 200, "page2");
    assert_int_equal(answer_token(&rig, "a"), DISCOVERY_DROP);
    assert_int_equal(answer_token(&rig, "b"), DISCOVERY_DROP);
    assert_int_equal(answer_token(&rig, "a"), DISCOVERY_DROP);
    check_problem(&rig, "DescribeInstances, after page 3: the pages go in a circle: a NextToken came twice");
    check_targets(&rig, TARGET_VPC); /* the last whole listing */
    assert_int_equal(check_asked(&rig, PAGE_FORM)->request.after_ms, 40000);
    /* The same tokens in the next listing are no circle. */
    answer_token(&rig, "a");
    answer_token(&rig, "b");
    answer(&rig, 200, "page2");
    assert_string_equal(rig.host.problem, "");
    check_targets(&rig, TARGET_VPC);
    rig_stop(&rig);
}

static void test_pages_without_end(void **state)
{
    (void)state;
    struct plugin_rig rig;
    size_t pages = 0;
    start_at_page(&rig);
    answer(&rig, 200, "page2");
    while (rig.host.problems == 0 && pages < 100000) {
        char token[16];
        snprintf(token, sizeof(token), "t%zu", pages++);
        assert_int_equal(answer_token(&rig, token), DISCOVERY_DROP);
    }
    assert_int_equal(pages, 2000);
    check_problem(&rig, "DescribeInstances, after page 2000: the pages do not end");
    check_targets(&rig, TARGET_VPC);
    assert_int_equal(check_asked(&rig, PAGE_FORM)->request.after_ms, 40000);
    rig_stop(&rig);
}

static void test_old_token(void **state)
{
    (void)state;
    struct plugin_rig rig;
    start_at_page(&rig);
    answer(&rig, 200, "page1");
    assert_int_equal(rig_answer(&rig, rig.host.calls, 400,
                                "<Response><Errors><Error><Code>InvalidNextToken</Code><Message>m</Message></Error>"
                                "</Errors></Response>"),
                     DISCOVERY_DROP);
    check_problem(&rig, "DescribeInstances, after page 1: HTTP 400: InvalidNextToken: m");
    /* From the beginning, without what the first page said. */
    check_asked(&rig, "Action=DescribeAvailabilityZones&Version=2016-11-15");
    answer(&rig, 200, "zones");
    check_asked(&rig, PAGE_FORM);
    answer(&rig, 200, "page2");
    check_targets(&rig, TARGET_VPC);
    rig_stop(&rig);
}

static void test_half_a_page_again(void **state)
{
    (void)state;
    struct plugin_rig rig;
    CLEANUP(buf_done) struct buf page = recorded("page1");
    start_at_page(&rig);
    for (size_t len = 0; len < page.len - 1; len += 97) {
        struct discovery_call *call = rig.host.calls;
        rig_head(call, 200, NULL);
        assert_int_equal(rig_feed(&rig, call, str_of(page.data, len)), 0);
        assert_int_equal(rig_fail(call, DISCOVERY_BROKEN, "half of the answer came"), DISCOVERY_RETRY);
        check_problem(&rig, "DescribeInstances: half of the answer came");
        /* The connection's end may look like a whole answer's. */
        rig_head(call, 200, NULL);
        assert_int_equal(rig_feed(&rig, call, str_of(page.data, len)), 0);
        assert_int_equal(rig_end(call, &(struct discovery_end){.status = 200}), DISCOVERY_RETRY);
        check_problem(&rig, "DescribeInstances: not XML, or half of it: ");
    }
    check_targets(&rig, "");
    answer(&rig, 200, "page1");
    answer(&rig, 200, "page2");
    check_targets(&rig, ALL_TARGETS);
    rig_stop(&rig);
}

/* ---- Answers that are none ---- */

static void test_error_answers(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body, *problem;
    } cases[] = {
        {400,
         "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error>"
         "</ErrorResponse>",
         "HTTP 400: Throttling: Rate exceeded"},
        {500, "<Response><Errors><Error><Code>InternalError</Code></Error></Errors></Response>",
         "HTTP 500: InternalError"},
        {403, "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You are not\n  authorized: \x01",
         "HTTP 403: UnauthorizedOperation: You are not authorized: "},
        {403, "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Messa", "HTTP 403: UnauthorizedOperation"},
        {502, "<html>\r\n<head><title>502 Bad Gateway</title></head>",
         "HTTP 502: not an answer of EC2: it begins with <html> <head><title>502 Bad Gateway</title></head>"},
        {404, "", "HTTP 404: an answer without text"},
        {404, "\x01\xff", "HTTP 404: an answer without text"},
        {418, "\x1b[2Jteapot\xc3\xa4", "HTTP 418: not an answer of EC2: it begins with [2Jteapot"},
    };
    struct plugin_rig rig;
    start_at_page(&rig);
    answer(&rig, 200, "page2");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(rig_answer(&rig, rig.host.calls, cases[i].status, cases[i].body), DISCOVERY_RETRY);
        check_problem(&rig, cases[i].problem);
        check_targets(&rig, TARGET_VPC);
    }
    assert_int_equal(answer(&rig, 503, "throttled"), DISCOVERY_RETRY);
    check_problem(&rig, "DescribeInstances: HTTP 503: RequestLimitExceeded: Request limit exceeded.");
    assert_int_equal(answer(&rig, 401, "auth_failure"), DISCOVERY_RETRY);
    check_problem(&rig, "DescribeInstances: HTTP 401: AuthFailure: AWS was not able to validate the provided access");
    assert_int_equal(rig_fail(rig.host.calls, DISCOVERY_UNSENT, "no credentials found"), DISCOVERY_RETRY);
    check_problem(&rig, "DescribeInstances: no credentials found");
    assert_int_equal(rig_fail(rig.host.calls, DISCOVERY_TOO_LARGE, "more than 64 MiB"), DISCOVERY_RETRY);
    check_problem(&rig, "DescribeInstances: more than 64 MiB");
    assert_int_equal(rig_call_count(&rig), 1);
    answer(&rig, 200, "page1");
    answer(&rig, 200, "page2");
    check_targets(&rig, ALL_TARGETS);
    assert_string_equal(rig.host.problem, "");
    rig_stop(&rig);
}

#define INSTANCE_START "<DescribeInstancesResponse><reservationSet><item><instancesSet><item>"

static void test_answers_of_other_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *body, *problem;
    } cases[] = {
        {"<!DOCTYPE html><html></html>", "not an answer of EC2: it begins with <!DOCTYPE html>"},
        {"<html><body></html>", "not an answer of EC2: it begins with <html>"},
        {"<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol2 \"&lol;&lol;&lol;\">]>"
         "<DescribeInstancesResponse>&lol2;</DescribeInstancesResponse>",
         "not an answer of EC2: it begins with <!DOCTYPE lolz>"},
        {"<DescribeInstances/>", "not an answer of EC2: it begins with <DescribeInstances>"},
        {"<DescribeAvailabilityZonesResponse/>", "it begins with <DescribeAvailabilityZonesResponse>"},
        {"<Response><Errors/></Response>", "it begins with <Response>"},
        {"<DescribeInstancesResponse/>", "no list stands in it"},
        {"<DescribeInstancesResponse><nextToken>a</nextToken></DescribeInstancesResponse>", "no list stands in it"},
        {"{\"reservations\": []}", "not XML, or half of it: not well-formed (invalid token) in line 1"},
        {"", "not XML, or half of it: no element found in line 1"},
        {"\n<DescribeInstancesResponse>\n&lol;", "not XML, or half of it: undefined entity in line 3"},
        {"<DescribeInstancesResponse>\xff</DescribeInstancesResponse>", "not well-formed (invalid token) in line 1"},
        {EMPTY_PAGE EMPTY_PAGE, "junk after document element"},
        {INSTANCE_START "</item>", "an instance has no instanceId"},
    };
    struct plugin_rig rig;
    start_at_page(&rig);
    answer(&rig, 200, "page2");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        rig.chunk_bytes = i % 3;
        assert_int_equal(rig_answer(&rig, rig.host.calls, 200, cases[i].body), DISCOVERY_RETRY);
        check_problem(&rig, cases[i].problem);
        check_targets(&rig, TARGET_VPC);
    }
    rig_stop(&rig);
}

/* start, then many times the same, then enough to fill. */
static void check_hostile(const char *start_text, const char *repeated, size_t times, const char *problem)
{
    struct plugin_rig rig;
    CLEANUP(buf_done) struct buf body = BUF_INIT(256 * MIB);
    start_at_page(&rig);
    buf_append_text(&body, start_text);
    for (size_t i = 0; i < times; i++)
        buf_append_text(&body, repeated);
    static const size_t pieces[] = {1000, 0};
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        rig.chunk_bytes = pieces[i];
        assert_int_equal(rig_answer_with(&rig, rig.host.calls, 200, NULL, buf_view(&body)), DISCOVERY_RETRY);
        check_problem(&rig, problem);
    }
    rig_stop(&rig);
}

static void test_ceilings(void **state)
{
    (void)state;
    check_hostile("<DescribeInstancesResponse>", "<a>", 100000, "more than 32 elements in one another");
    check_hostile("<DescribeInstancesResponse><", "abcdefghij", 110, "half of it: unclosed token"); /* no element yet */
    check_hostile("<DescribeInstancesResponse><", "abcdefghij", 100000, "an element's beginning of more than 262144");
    check_hostile("<DescribeInstancesResponse><a b='", "abcdefghij", 10 * MIB,
                  "an element's beginning of more than 262144 bytes");
    check_hostile("<!--", "abcdefghij", MIB, "an element's beginning of more than 262144 bytes");
    check_hostile("<DescribeInstancesResponse><nextToken>", "abcdefghij", 2000,
                  "a text of more than 16384 bytes in /DescribeInstancesResponse/nextToken");
    check_hostile(INSTANCE_START "<tagSet>", "<item><key>k</key><value>v</value></item>", 257,
                  "has more than 256 tags");
    check_hostile(INSTANCE_START "<instanceId>i-1\n</instanceId><networkInterfaceSet>", "<item/>", 257,
                  "instance i-1  has more than 256 network interfaces");
    check_hostile(INSTANCE_START "<networkInterfaceSet><item><ipv6AddressesSet>", "<item/>", 1025,
                  "has more than 1024 IPv6 addresses");
    check_hostile(INSTANCE_START, "<imageId>0123456789012345678901234567890123456789</imageId>", 200000,
                  "more than 4194304 bytes of one instance");
    check_hostile("<DescribeInstancesResponse><reservationSet>",
                  "<item><ownerId>0123456789012345678901234567890123456789</ownerId></item>", 200000,
                  "more than 4194304 bytes of one instance, or of a page");
    CLEANUP(buf_done) struct buf name = BUF_INIT(MIB);
    buf_append_text(&name, "<DescribeInstancesResponse><");
    for (int i = 0; i < 200; i++)
        buf_append_text(&name, "abcdefghij");
    buf_append_text(&name, "/>");
    buf_append_byte(&name, 0);
    check_hostile((const char *)name.data, "", 0, "names of more than 1024 bytes together");
}

/* An instance at all ceilings at once is a target still. */
static void test_large_instance(void **state)
{
    (void)state;
    struct plugin_rig rig;
    CLEANUP(buf_done) struct buf body = BUF_INIT(MIB);
    start_at_page(&rig);
    buf_append_text(&body, INSTANCE_START "<instanceId>i</instanceId><vpcId>v</vpcId><privateIpAddress>::1"
                                          "</privateIpAddress><networkInterfaceSet>");
    for (int i = 0; i < 256; i++)
        buf_printf(&body,
                   "<item><subnetId>s%d</subnetId><attachment><deviceIndex>%d</deviceIndex></attachment>"
                   "<ipv6AddressesSet><item><ipv6Address>%d</ipv6Address><isPrimaryIpv6>true</isPrimaryIpv6></item>"
                   "<item/><item/><item/></ipv6AddressesSet></item>",
                   i % 100, i == 255 ? 256 : i, i);
    buf_append_text(&body, "</networkInterfaceSet><tagSet>");
    for (int i = 0; i < 256; i++)
        buf_printf(&body, "<item><key>k%d</key><value>%d</value></item>", i, i);
    buf_append_text(&body, "</tagSet></item></instancesSet></item></reservationSet></DescribeInstancesResponse>");
    assert_int_equal(rig_answer_with(&rig, rig.host.calls, 200, NULL, buf_view(&body)), DISCOVERY_DONE);
    CLEANUP_FREE char *printed = rig_print(&rig);
    assert_non_null(strstr(printed, "[::1]:9100{"));
    assert_non_null(strstr(printed, "__meta_ec2_tag_k255=\"255\""));
    assert_non_null(strstr(printed, ",s98,s99,\"")); /* each once */
    assert_non_null(strstr(printed, "__meta_ec2_primary_ipv6_addresses=\",0,1,2,3,"));
    assert_non_null(strstr(printed, ",253,254,\"")); /* the last one's device index is past belief */
    rig_stop(&rig);
}

/* ---- Configuration ---- */

static void test_refused_sections(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{region: r, secret_key: x}", "secret_key: secrets are read from files: use secret_key_file"},
        {"{region: r, access_key: x}", "access_key and secret_key_file belong together"},
        {"{region: r, secret_key_file: /dev/null}", "access_key and secret_key_file belong together"},
        {"{region: r, access_key: x, secret_key_file: /nonexistent}", "/nonexistent"},
        {"{region: 'eu west'}", "region"},
        {"{region: r, endpoint: ec2.example}", "endpoint"},
        {"{region: r, port: 0}", "port"},
        {"{region: r, port: 65536}", "port"},
        {"{region: r, refresh_interval: 0s}", "refresh_interval"},
        {"{region: r, filters: [{name: a, values: []}]}", "values"},
        {"{region: r, filters: [{name: a}]}", "key \"values\" is missing in filter"},
        {"{region: r, filters: [{values: [a]}]}", "key \"name\" is missing in filter"},
        {"{region: r, role_arn: short}", "role_arn"},
        {"{region: r, basic_auth: {username: a, password_file: /dev/null}}", "basic_auth: requests are signed"},
        {"{region: r, bearer_token_file: /dev/null}", "bearer_token_file: requests are signed"},
        {"{region: r, tls_config: {ca_file: /nonexistent}}", "/nonexistent"},
        {"{region: r, authorization: {credentials_file: /dev/null}}", "authorization: requests are signed"},
        {"{region: r, follow_redirects: true}", "follow_redirects: redirects are not followed"},
        {"{region: r, regions: [r]}", "unknown key \"regions\" in ec2_sd_config, did you mean \"region\"?"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char error[256];
        if (!rig_refuses(&discovery_ec2, cases[i][0], cases[i][1], error))
            fail_msg("%s: %s", cases[i][0], error);
    }
    CLEANUP_FREE char *value = mem_zalloc(1026);
    memset(value, 'v', 1025);
    CLEANUP_FREE char *yaml = mem_printf("{region: r, filters: [{name: a, values: [b, %s]}]}", value);
    struct plugin_rig rig;
    assert_int_equal(rig_start(&rig, &discovery_ec2, yaml), -1);
    assert_non_null(strstr(rig.error, "values: a text of more than 1024 bytes"));
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_round),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_endpoint_with_path),
        cmocka_unit_test(test_region_of_the_instance),
        cmocka_unit_test(test_zones_denied),
        cmocka_unit_test(test_zones_that_fail),
        cmocka_unit_test(test_zone_names_have_a_ceiling),
        cmocka_unit_test(test_pages_in_a_circle),
        cmocka_unit_test(test_pages_without_end),
        cmocka_unit_test(test_old_token),
        cmocka_unit_test(test_half_a_page_again),
        cmocka_unit_test(test_error_answers),
        cmocka_unit_test(test_answers_of_other_shapes),
        cmocka_unit_test(test_ceilings),
        cmocka_unit_test(test_large_instance),
        cmocka_unit_test(test_refused_sections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
