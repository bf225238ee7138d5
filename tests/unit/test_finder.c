/* Sections at work on simulated time: what a plugin is promised, and what becomes of its groups. The plugin of this
 * test asks a URL for lines "SOURCE ADDRESS NAME=VALUE ...". */
#include "secondary/finder.h"
#include "secondary_world.h"

#include <errno.h>
#include <stdlib.h>

/* ---- the plugin ---- */

struct lines_config {
    const char *url;
    const char *token_file;
    int64_t refresh_ms;
    int64_t many; /* asks so many times at once */
    bool single;  /* says groups outside of a listing after the first */
    bool remarks; /* says a problem while it reads */
};

struct lines {
    const struct discovery_api *api;
    struct discovery_host *host;
    const struct lines_config *config;
    struct discovery_secret_header secret;
    struct buf text;
    bool listed;
};

static unsigned instances, plugin_states;
static bool refuse_starts;

static void ask(struct lines *lines, int64_t after_ms);

static int lines_data(void *arg, struct str bytes)
{
    struct lines *lines = arg;
    if (lines->config->remarks && !str_starts_with(bytes, STR("fine")))
        lines->api->problem(lines->host, "a remark");
    return buf_append(&lines->text, bytes.ptr, bytes.len);
}

static void put_line(struct lines *lines, struct str line)
{
    struct label labels[8];
    size_t count = 0, blank = str_find(line, ' ');
    struct str source = str_of(line.ptr, blank), rest = str_of(line.ptr + blank + 1, line.len - blank - 1);
    blank = str_find(rest, ' ');
    struct discovery_target target = {.address = str_of(rest.ptr, blank), .labels = labels};
    while (blank < rest.len) {
        rest = str_of(rest.ptr + blank + 1, rest.len - blank - 1);
        blank = str_find(rest, ' ');
        struct str pair = str_of(rest.ptr, blank);
        size_t equals = str_find(pair, '=');
        labels[count++] =
            (struct label){str_of(pair.ptr, equals), str_of(pair.ptr + equals + 1, pair.len - equals - 1)};
    }
    target.label_count = count;
    const struct label shared = {STR("__meta_shared"), STR("yes")};
    const struct discovery_group group = {source, &shared, 1, &target, 1};
    lines->api->put(lines->host, &group);
}

static enum discovery_verdict lines_end(void *arg, const struct discovery_end *end)
{
    struct lines *lines = arg;
    bool listing = !lines->listed || !lines->config->single;
    struct buf text = lines->text;
    lines->text = BUF_INIT(64 * KIB);
    struct str left = buf_view(&text);
    enum discovery_verdict verdict = DISCOVERY_DONE;
    if (end->failure != DISCOVERY_OK || end->status != 200) {
        verdict = DISCOVERY_RETRY;
    } else {
        if (listing)
            lines->api->begin(lines->host);
        while (left.len > 0) {
            size_t line_end = str_find(left, '\n');
            put_line(lines, str_of(left.ptr, line_end));
            left = str_of(left.ptr + line_end + 1, left.len - MIN(line_end + 1, left.len));
        }
        if (listing)
            lines->api->commit(lines->host);
        lines->listed = true;
        if (lines->config->many == 0)
            ask(lines, lines->config->refresh_ms);
    }
    buf_done(&text);
    return verdict;
}

static void ask(struct lines *lines, int64_t after_ms)
{
    static const struct discovery_reader reader = {.data = lines_data, .end = lines_end};
    const struct discovery_request request = {.url = str_from(lines->config->url),
                                              .secret_header = lines->secret.file ? &lines->secret : NULL,
                                              .after_ms = after_ms,
                                              .timeout_ms = 30000};
    lines->api->request(lines->host, &request, &reader, lines);
}

static void *lines_start(void *plugin, const struct discovery_api *api, struct discovery_host *host, const void *config,
                         char ret_error[static 256])
{
    struct lines *lines = mem_zalloc(sizeof(*lines));
    assert_non_null(plugin);
    *lines = (struct lines){.api = api, .host = host, .config = config, .text = BUF_INIT(64 * KIB)};
    if (refuse_starts) {
        mem_free(lines);
        error_text(-EINVAL, ret_error, "it never starts");
        return NULL;
    }
    lines->secret = (struct discovery_secret_header){"X-Token", lines->config->token_file};
    for (int64_t i = 0; i < MAX(lines->config->many, 1); i++)
        ask(lines, 0);
    instances++;
    return lines;
}

static void lines_stop(void *instance)
{
    struct lines *lines = instance;
    buf_done(&lines->text);
    mem_free(lines);
    instances--;
}

static void *lines_plugin_new(const struct discovery_api *api)
{
    assert_int_equal(api->abi, DISCOVERY_ABI);
    plugin_states++;
    return &plugin_states;
}

static void lines_plugin_free(void *plugin)
{
    assert_ptr_equal(plugin, &plugin_states);
    plugin_states--;
}

static const struct conf_table lines_table = {
    .title = "lines_sd_config",
    .struct_bytes = sizeof(struct lines_config),
    .options =
        (const struct conf_option[]){
            {.name = "url",
             .type = CONF_URL,
             .offset = offsetof(struct lines_config, url),
             .required = true,
             .help = ""},
            {.name = "token_file", .type = CONF_PATH, .offset = offsetof(struct lines_config, token_file), .help = ""},
            {.name = "refresh_interval",
             .type = CONF_DURATION,
             .offset = offsetof(struct lines_config, refresh_ms),
             .fallback = "10s",
             .min = 1000,
             .max = 3600000,
             .help = ""},
            {.name = "many",
             .type = CONF_INT,
             .offset = offsetof(struct lines_config, many),
             .min = 0,
             .max = 100000,
             .help = ""},
            {.name = "single", .type = CONF_BOOL, .offset = offsetof(struct lines_config, single), .help = ""},
            {.name = "remarks", .type = CONF_BOOL, .offset = offsetof(struct lines_config, remarks), .help = ""},
            {0},
        },
};

static const struct discovery_plugin lines_plugin = {
    .magic = DISCOVERY_MAGIC,
    .abi = DISCOVERY_ABI,
    .name = "lines",
    .version = "1",
    .about = "Lines of targets.",
    .config = &lines_table,
    .plugin_new = lines_plugin_new,
    .plugin_free = lines_plugin_free,
    .start = lines_start,
    .stop = lines_stop,
};

/* ---- the other end ---- */

struct api_server {
    struct http_server *server;
    const char *answer; /* NULL: 503 */
    bool hangs;
    struct http_exchange *held[1000];
    unsigned asked, held_count;
    char token[64];
};

static void serve(void *context, struct http_exchange *exchange)
{
    struct api_server *api = context;
    struct str token = http_exchange_header(exchange, "X-Token");
    snprintf(api->token, sizeof(api->token), STR_FMT, STR_ARG(token));
    api->asked++;
    if (api->hangs)
        api->held[api->held_count++] = exchange;
    else if (api->answer)
        http_exchange_answer_text(exchange, 200, "%s", api->answer);
    else
        http_exchange_answer_text(exchange, 503, "not today\nat all\n");
}

struct scene {
    struct world world;
    struct api_server api;
    struct finder *finder;
    struct secondary_config *config;
    unsigned told;
    size_t count, listed;
    uint64_t dropped, invalid;
    char addresses[2048]; /* sorted, of the job told last */
};

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void on_finding(void *arg, struct finding *finding)
{
    struct scene *scene = arg;
    const char *addresses[64];
    assert_true(finding->count < ARRAY_LEN(addresses));
    scene->told++;
    scene->count = finding->count;
    scene->listed = finding->listed_count;
    scene->dropped = finding->dropped;
    scene->invalid = finding->invalid;
    for (size_t i = 0; i < finding->count; i++)
        addresses[i] = finding->targets[i]->address;
    qsort(addresses, finding->count, sizeof(addresses[0]), compare);
    scene->addresses[0] = 0;
    for (size_t i = 0; i < finding->count; i++) {
        size_t len = strlen(scene->addresses);
        snprintf(scene->addresses + len, sizeof(scene->addresses) - len, "%s ", addresses[i]);
    }
    finding_free(finding);
}

static int set_up(void **state)
{
    static const struct http_route routes[] = {{"GET", "/lines", serve, 0, 0}, {0}};
    struct scene *scene = mem_zalloc(sizeof(*scene));
    world_init(&scene->world);
    plugins_add(scene->world.plugins, &lines_plugin);
    const struct http_server_options options = {.listen = "api:80", .answer_deadline_ms = 3600000};
    assert_int_equal(http_server_new(scene->world.loop, scene->world.network, NULL, &options, routes, &scene->api,
                                     &scene->api.server),
                     0);
    scene->finder = finder_new(&scene->world.seams, on_finding, scene);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    finder_free(scene->finder);
    assert_int_equal(instances, 0);
    assert_int_equal(plugin_states, 0);
    http_server_free(scene->api.server);
    for (unsigned i = 0; i < scene->api.held_count; i++)
        http_exchange_answer_text(scene->api.held[i], 503, "too late\n");
    secondary_config_unref(scene->config);
    world_done(&scene->world);
    mem_free(scene);
    return 0;
}

static void configure(struct scene *scene, const char *jobs)
{
    struct secondary_config *old = scene->config;
    struct job *made[4];
    CLEANUP_FREE char *text = mem_printf(
        "datacenter: dc1\nsecondary: s1\ndata_dir: /d\nprimary: {urls: ['http://p:1']}\nscrape_configs:\n%s", jobs);
    scene->config = world_config(&scene->world, text);
    size_t count = scene->config->scrape_configs.count;
    const struct scrape_config *configs = scene->config->scrape_configs.items;
    for (size_t i = 0; i < count; i++) {
        char error[256] = "";
        if (job_new(scene->world.fs, &configs[i], scene->world.tls, error, &made[i]) < 0)
            fail_msg("%s", error);
    }
    finder_set(scene->finder, scene->config, made);
    for (size_t i = 0; i < count; i++)
        job_unref(made[i]);
    secondary_config_unref(old);
}

static void run(struct scene *scene, int64_t ms)
{
    loop_advance(scene->world.loop, ms);
}

static struct section_report report_of(struct scene *scene, size_t index)
{
    struct section_report report = {0};
    assert_true(finder_next_report(scene->finder, &index, &report));
    return report;
}

#define LINES "- job_name: a\n  lines_sd_configs: [{url: 'http://api/lines'}]\n"

/* ---- tests ---- */

static void test_finds(void **state)
{
    struct scene *scene = *state;
    scene->api.answer = "one h1:1 x=y\ntwo h2:1 x=z\nthree drop:1\nfour bad/address\n";
    configure(scene, LINES "  relabel_configs: [{source_labels: [__address__], regex: 'drop.*', action: drop}]\n");
    assert_int_equal(scene->told, 0); /* never from inside */
    assert_false(finder_is_ready(scene->finder));
    run(scene, 2000);
    assert_true(finder_is_ready(scene->finder));
    assert_int_equal(scene->told, 1);
    assert_string_equal(scene->addresses, "h1:1 h2:1 ");
    assert_int_equal(scene->dropped, 1);
    assert_int_equal(scene->invalid, 1);
    assert_int_equal(scene->listed, 4);
    run(scene, 60000);
    assert_int_equal(scene->told, 1); /* nothing new, nothing told */
    assert_in_range(scene->api.asked, 5, 8);
    scene->api.answer = "one h1:1 x=y\nfive h5:1\n";
    run(scene, 11000);
    assert_string_equal(scene->addresses, "h1:1 h5:1 ");
    struct section_report report = report_of(scene, 0);
    assert_string_equal(report.plugin, "lines");
    assert_int_equal(report.targets, 2);
    assert_true(report.complete);
    assert_null(report.problem);
    assert_int_equal(report.last_good_ms / 20000, world_now_ms(&scene->world) / 20000);
}

static void test_last_known_stay(void **state)
{
    struct scene *scene = *state;
    scene->api.answer = "one h1:1\n";
    configure(scene, LINES);
    run(scene, 2000);
    scene->api.answer = NULL;
    unsigned asked = scene->api.asked;
    run(scene, 600000);
    assert_string_equal(scene->addresses, "h1:1 ");
    assert_int_equal(scene->told, 1);
    assert_in_range(scene->api.asked - asked, 5, 20); /* backed off, to two minutes at most */
    struct section_report report = report_of(scene, 0);
    assert_string_equal(report.problem, "http://api/lines: HTTP 503: not today");
    assert_true(report.complete);
    assert_int_equal(report.failures_total, scene->api.asked - asked);
    scene->api.answer = "one h1:1\ntwo h2:1\n";
    run(scene, 130000);
    assert_string_equal(scene->addresses, "h1:1 h2:1 ");
    assert_null(report_of(scene, 0).problem);
}

static void test_shared_by_jobs(void **state)
{
    struct scene *scene = *state;
    scene->api.answer = "one h1:1\n";
    configure(scene, LINES "- job_name: b\n  lines_sd_configs: [{url: \"http://api/lines\"}]\n");
    run(scene, 2000);
    assert_int_equal(scene->told, 2);
    assert_int_equal(scene->api.asked, 1);
    assert_int_equal(instances, 1);
}

/* A reload ends no targets but those that the new section does not list. */
static void test_reload(void **state)
{
    struct scene *scene = *state;
    scene->api.answer = "one h1:1\ntwo h2:1\n";
    configure(scene, LINES);
    run(scene, 2000);
    configure(scene, LINES); /* the same */
    run(scene, 2000);
    assert_int_equal(scene->api.asked, 1);
    assert_string_equal(scene->addresses, "h1:1 h2:1 ");
    scene->api.answer = NULL;
    configure(scene, "- job_name: a\n  lines_sd_configs: [{url: 'http://api/lines', refresh_interval: 20s}]\n"
                     "  static_configs: [{targets: [s:1]}]\n");
    run(scene, 200000);
    assert_string_equal(scene->addresses, "h1:1 h2:1 s:1 ");
    assert_int_equal(instances, 2); /* the old one goes on until the new one knows */
    scene->api.answer = "two h2:1\n";
    run(scene, 130000);
    assert_string_equal(scene->addresses, "h2:1 s:1 ");
    assert_int_equal(instances, 1);
    configure(scene, "- {job_name: a, static_configs: [{targets: [s:1]}]}\n");
    run(scene, 2000);
    assert_int_equal(instances, 0);
    assert_string_equal(scene->addresses, "s:1 ");
}

/* A section that never answers does not hold up the job's others for ever. */
static void test_patience(void **state)
{
    struct scene *scene = *state;
    configure(scene, LINES "  static_configs: [{targets: [s:1]}]\n");
    run(scene, FINDER_PATIENCE_MS - 1000);
    assert_int_equal(scene->told, 0);
    run(scene, 2000);
    assert_true(finder_is_ready(scene->finder));
    assert_string_equal(scene->addresses, "s:1 ");
    assert_false(report_of(scene, 0).complete);
    scene->api.answer = "one h1:1\n";
    run(scene, 130000);
    assert_string_equal(scene->addresses, "h1:1 s:1 ");
}

static void test_single_groups(void **state)
{
    struct scene *scene = *state;
    scene->api.answer = "one h1:1\ntwo h2:1\n";
    configure(scene, "- job_name: a\n  lines_sd_configs: [{url: 'http://api/lines', single: true}]\n");
    run(scene, 2000);
    scene->api.answer = "two h3:1\n"; /* one group is another, all else stays */
    run(scene, 11000);
    assert_string_equal(scene->addresses, "h1:1 h3:1 ");
    assert_int_equal(scene->told, 2);
}

static void test_in_flight_ceiling(void **state)
{
    struct scene *scene = *state;
    scene->api.hangs = true;
    configure(scene, "- job_name: a\n  lines_sd_configs: [{url: 'http://api/lines', many: 700}]\n");
    run(scene, 1000);
    assert_int_equal(scene->api.asked, DISCOVERY_CALLS_MAX);
    struct section_report report = report_of(scene, 0);
    assert_int_equal(report.calls, 700);
    assert_int_equal(report.in_flight, DISCOVERY_CALLS_MAX);
    for (unsigned i = 0; i < 100; i++)
        http_exchange_answer_text(scene->api.held[i], 200, "one h1:1\n");
    memmove(scene->api.held, scene->api.held + 100, (scene->api.held_count - 100) * sizeof(scene->api.held[0]));
    scene->api.held_count -= 100;
    run(scene, 1000);
    assert_int_equal(scene->api.asked, DISCOVERY_CALLS_MAX + 100);
    assert_int_equal(report_of(scene, 0).calls, 600);
}

static void test_secrets(void **state)
{
    struct scene *scene = *state;
    scene->api.answer = "one h1:1\n";
    configure(scene, "- job_name: a\n  lines_sd_configs: [{url: 'http://api/lines', token_file: /secret}]\n");
    run(scene, 1000);
    assert_int_equal(scene->api.asked, 0);
    assert_non_null(strstr(report_of(scene, 0).problem, "/secret"));
    world_write(&scene->world, "/secret", "tok-1\n");
    run(scene, 10000);
    assert_string_equal(scene->api.token, "tok-1");
    world_write(&scene->world, "/secret", "tok-2\n"); /* read anew for each request */
    run(scene, 10000);
    assert_string_equal(scene->api.token, "tok-2");
    assert_null(report_of(scene, 0).problem);
}

static void test_refused_group(void **state)
{
    struct scene *scene = *state;
    scene->api.answer = "one h1:1\ntwo h2:1\n";
    configure(scene, LINES);
    run(scene, 2000);
    scene->api.answer = "one h1:1\ntwo h7:1 not-a-name=x\n";
    run(scene, 11000);
    assert_string_equal(scene->addresses, "h1:1 h2:1 "); /* what it said before */
    assert_non_null(strstr(report_of(scene, 0).problem, "not-a-name"));
    scene->api.answer = "one h1:1\ntwo h7:1\n";
    run(scene, 11000);
    assert_string_equal(scene->addresses, "h1:1 h7:1 ");
    assert_null(report_of(scene, 0).problem);
}

/* It is tried again by the next reload, though nothing of it changed. */
static void test_does_not_start(void **state)
{
    struct scene *scene = *state;
    scene->api.answer = "one h1:1\n";
    refuse_starts = true;
    configure(scene, LINES);
    run(scene, 1000);
    assert_string_equal(report_of(scene, 0).problem, "it never starts");
    refuse_starts = false;
    configure(scene, LINES);
    run(scene, 1000);
    assert_null(report_of(scene, 0).problem);
    assert_string_equal(scene->addresses, "h1:1 ");
}

/* What was said while reading is not over with the same answer. */
static void test_remarks(void **state)
{
    struct scene *scene = *state;
    scene->api.answer = "one h1:1\n";
    configure(scene, "- job_name: a\n  lines_sd_configs: [{url: 'http://api/lines', remarks: true}]\n");
    run(scene, 1000);
    assert_string_equal(report_of(scene, 0).problem, "a remark");
    assert_string_equal(scene->addresses, "h1:1 ");
    scene->api.answer = "fine h2:1\n";
    run(scene, 11000);
    assert_null(report_of(scene, 0).problem);
}

#define SECTION(refresh) "{url: 'http://api/lines', refresh_interval: " refresh "}"

/* One of two sections goes, the other changes: what both knew stays until the new one says what there is. */
static void test_reload_of_several(void **state)
{
    struct scene *scene = *state;
    scene->api.answer = "one h1:1\n";
    configure(scene, "- job_name: a\n  lines_sd_configs: [" SECTION("10s") "]\n");
    run(scene, 2000);
    scene->api.answer = "two h2:1\n";
    configure(scene, "- job_name: a\n  lines_sd_configs: [" SECTION("1h") ", " SECTION("20s") "]\n");
    run(scene, 2000);
    assert_string_equal(scene->addresses, "h2:1 h2:1 ");
    scene->api.answer = NULL;
    configure(scene, "- job_name: a\n  lines_sd_configs: [" SECTION("30s") "]\n");
    run(scene, 60000);
    assert_string_equal(scene->addresses, "h2:1 h2:1 ");
    assert_int_equal(report_of(scene, 0).index, 0);
    size_t at = 1;
    assert_false(
        finder_next_report(scene->finder, &at, &(struct section_report){0})); /* those of before are not told */
    assert_true(finder_is_ready(scene->finder));
    scene->api.answer = "three h3:1\n";
    run(scene, 130000);
    assert_string_equal(scene->addresses, "h3:1 ");
    assert_int_equal(instances, 1);
    configure(scene, "- job_name: b\n  lines_sd_configs: [" SECTION("1h") ", " SECTION("30s") "]\n");
    run(scene, 2000);
    assert_string_equal(report_of(scene, 0).job, "b"); /* sections are called as they stand now */
    assert_string_equal(report_of(scene, 1).job, "b");
    assert_int_equal(report_of(scene, 1).index, 1);
}

/* Reloads that come more often than patience lasts do not keep a job from being told. */
static void test_many_reloads(void **state)
{
    struct scene *scene = *state;
    for (int i = 0; i < 8; i++) {
        configure(scene, LINES "  static_configs: [{targets: [s:1]}]\n");
        run(scene, FINDER_PATIENCE_MS / 4);
    }
    assert_string_equal(scene->addresses, "s:1 ");
    assert_true(finder_is_ready(scene->finder));
    configure(scene, LINES "  static_configs: [{targets: [s:2]}]\n"); /* who was ready stays so */
    run(scene, 1000);
    assert_true(finder_is_ready(scene->finder));
}

static void test_listing(void **state)
{
    struct scene *scene = *state;
    scene->api.answer = "one h1:1 __meta_x=y\ntwo drop:1\nthree bad/address\n";
    configure(scene, LINES "  relabel_configs:\n  - {source_labels: [__meta_x], target_label: x}\n"
                           "  - {source_labels: [__address__], regex: 'drop.*', action: drop}\n");
    run(scene, 2000);
    CLEANUP(listing_freep)
    struct listing *listing = finder_list(scene->finder, &(struct listing_options){.dropped_max = 10});
    assert_int_equal(listing->count, 3);
    assert_int_equal(listing->dropped_total, 1);
    for (size_t i = 0; i < 3; i++) {
        const struct listing_item *item = &listing->items[i];
        assert_string_equal(item->job, "a");
        assert_true(str_equal(item->before[0].name, STR("__address__")));
        if (str_equal(item->before[0].value, STR("h1:1"))) {
            assert_true(str_equal(labels_get(item->target->labels, STR("x")), STR("y")));
            assert_int_equal(item->before_count, 8); /* with the job's defaults, __meta_shared and __meta_x */
        } else if (str_equal(item->before[0].value, STR("drop:1"))) {
            assert_null(item->target);
            assert_null(item->error);
            assert_int_equal(item->rule, 1);
        } else {
            assert_non_null(strstr(item->error, "bad/address"));
        }
    }
    CLEANUP(listing_freep)
    struct listing *none =
        finder_list(scene->finder, &(struct listing_options){.without_targets = true, .dropped_max = 0});
    assert_int_equal(none->count, 1); /* the one that cannot be scraped */
    assert_int_equal(none->dropped_total, 1);
}

#define SCENE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(test_finds),
        SCENE_TEST(test_last_known_stay),
        SCENE_TEST(test_shared_by_jobs),
        SCENE_TEST(test_reload),
        SCENE_TEST(test_patience),
        SCENE_TEST(test_single_groups),
        SCENE_TEST(test_in_flight_ceiling),
        SCENE_TEST(test_secrets),
        SCENE_TEST(test_refused_group),
        SCENE_TEST(test_does_not_start),
        SCENE_TEST(test_listing),
        SCENE_TEST(test_remarks),
        SCENE_TEST(test_reload_of_several),
        SCENE_TEST(test_many_reloads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
