/* Instances of Amazon EC2, or of a server that speaks its Query API, as targets: ec2_sd_configs.
 *
 * One round: zones where they are not known yet, then page after page of instances, in one listing with a group per
 * instance; then the next round after refresh_interval. */
#include "base/fail.h"
#include "discovery/ec2_answer.h"
#include "discovery/ec2_config.h"
#include "discovery/ec2_target.h"
#include "discovery/ec2_zones.h"
#include "target/discovery_plugin.h"

#include <errno.h>
#include <stdio.h>

#define EC2_PAGE_INSTANCES     1000       /* what AWS gives at most */
#define EC2_PAGES_MAX          2000       /* of one listing; with filters pages may be nearly empty */
#define EC2_FORM_BYTES_MAX     (64 * MIB) /* all filters at these ceilings, each byte as three, and a page's token */
#define EC2_REGION_BYTES_MAX   64
#define EC2_METADATA_BYTES_MAX 4096               /* of the answer that has a region's name */
#define EC2_ZONES_PAUSE_MS     ((int64_t)3600000) /* zones that may not be asked for are not, each minute */

/* ---- An instance ---- */

struct ec2 {
    const struct discovery_api *api;
    struct discovery_host *host;
    const struct ec2_config *config;
    struct discovery_aws aws;
    char region[EC2_REGION_BYTES_MAX + 1];
    char *url; /* of the API */
    struct buf metadata;
    struct ec2_answer *instances, *zones_answer;
    struct arena arena; /* one target's labels */
    struct ec2_zones zones;
    int64_t zones_pause_ms; /* they are not asked for, for so long */
    /* The listing under way. */
    size_t pages;                         /* that came */
    uint64_t token_hashes[EC2_PAGES_MAX]; /* of their tokens */
};

/* ---- Asking ---- */

/* name=value as in a form, and in a query string; & before all but the first. */
static void form_add(struct buf *form, const char *name, struct str value)
{
    buf_printf(form, "%s%s=", form->len > 0 ? "&" : "", name);
    buf_append_escaped(form, value, false);
}

static void form_start(struct buf *form, const char *action)
{
    *form = BUF_INIT(EC2_FORM_BYTES_MAX);
    form_add(form, "Action", str_from(action));
    form_add(form, "Version", STR("2016-11-15"));
}

static void form_add_filters(struct buf *form, const struct conf_list *filters)
{
    char name[64];
    for (size_t i = 0; i < filters->count; i++) {
        const struct ec2_filter *filter = (const struct ec2_filter *)filters->items + i;
        snprintf(name, sizeof(name), "Filter.%zu.Name", i + 1);
        form_add(form, name, str_from(filter->name));
        for (size_t j = 0; j < filter->values.count; j++) {
            snprintf(name, sizeof(name), "Filter.%zu.Value.%zu", i + 1, j + 1);
            form_add(form, name, str_from(filter->values.items[j]));
        }
    }
}

static void ask(struct ec2 *ec2, const struct buf *form, const struct discovery_reader *reader, int64_t after_ms)
{
    static const struct discovery_header headers[] = {
        {"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"}};
    ASSERT(!form->full);
    ec2->api->request(ec2->host,
                      &(struct discovery_request){.method = "POST",
                                                  .url = str_from(ec2->url),
                                                  .headers = headers,
                                                  .header_count = ARRAY_LEN(headers),
                                                  .body = buf_view(form),
                                                  .access = &ec2->config->access,
                                                  .aws = &ec2->aws,
                                                  .after_ms = after_ms,
                                                  .spread_ms = after_ms / 10},
                      reader, ec2);
}

static const struct discovery_reader page_reader, zones_reader, region_reader;

/* token empty: the first page. */
static void ask_page(struct ec2 *ec2, struct str token, int64_t after_ms)
{
    CLEANUP(buf_done) struct buf form;
    char count[16];
    snprintf(count, sizeof(count), "%d", EC2_PAGE_INSTANCES);
    form_start(&form, "DescribeInstances");
    form_add(&form, "MaxResults", str_from(count));
    form_add_filters(&form, &ec2->config->filters);
    if (token.len > 0)
        form_add(&form, "NextToken", token);
    ask(ec2, &form, &page_reader, after_ms);
}

static void ask_zones(struct ec2 *ec2, int64_t after_ms)
{
    CLEANUP(buf_done) struct buf form;
    form_start(&form, "DescribeAvailabilityZones");
    ask(ec2, &form, &zones_reader, after_ms);
}

static void ask_round(struct ec2 *ec2, int64_t after_ms)
{
    ec2->pages = 0;
    ec2->zones_pause_ms -= MIN(ec2->zones_pause_ms, after_ms);
    if (ec2->zones.wanted && ec2->zones_pause_ms == 0)
        ask_zones(ec2, after_ms);
    else
        ask_page(ec2, STR_NULL, after_ms);
}

/* ---- What went wrong ---- */

struct ec2_failure {
    bool later;                      /* the same may be answered another time: busy, or not reached */
    char code[EC2_ERROR_CODE_BYTES]; /* AWS' word for it; empty: none */
    char text[256];
};

/* Codes of errors that mean the same here; each list ends with NULL. */
static const char *const codes_busy[] = {"RequestLimitExceeded", "Throttling", "ThrottlingException", NULL};
static const char *const codes_denied[] = {"UnauthorizedOperation", "InvalidAction", NULL};
static const char *const codes_old_token[] = {"InvalidNextToken", "InvalidPaginationToken", NULL};

static bool code_is(const struct ec2_failure *failure, const char *const *codes)
{
    for (; *codes; codes++)
        if (strcmp(failure->code, *codes) == 0)
            return true;
    return false;
}

/* True: there is no good answer. */
static bool answer_failed(struct ec2_answer *answer, const struct discovery_end *end, struct ec2_failure *ret_failure)
{
    *ret_failure = (struct ec2_failure){0};
    if (end->reader_refused) {
        snprintf(ret_failure->text, sizeof(ret_failure->text), "%s", ec2_answer_error(answer));
    } else if (end->failure != DISCOVERY_OK) {
        ret_failure->later = end->failure != DISCOVERY_TOO_LARGE;
        snprintf(ret_failure->text, sizeof(ret_failure->text), "%s", end->reason);
    } else if (end->status / 100 != 2) {
        char text[256];
        ec2_answer_error_text(end->error_body, ret_failure->code, text);
        ret_failure->later = end->status == 429 || end->status == 503 || code_is(ret_failure, codes_busy);
        snprintf(ret_failure->text, sizeof(ret_failure->text), "HTTP %d: %.240s", end->status, text);
    } else if (ec2_answer_end(answer) < 0) {
        snprintf(ret_failure->text, sizeof(ret_failure->text), "%s", ec2_answer_error(answer));
    } else {
        return false;
    }
    return true;
}

/* ---- Answers: zones ---- */

static void on_zone(void *arg, struct str name, struct str id)
{
    struct ec2 *ec2 = arg;
    ec2_zones_set(&ec2->zones, name, id);
}

static void zones_head(void *arg, const struct discovery_answer_head *head)
{
    struct ec2 *ec2 = arg;
    (void)head;
    ec2_answer_reset(ec2->zones_answer);
}

static int zones_data(void *arg, struct str bytes)
{
    struct ec2 *ec2 = arg;
    return ec2_answer_feed(ec2->zones_answer, bytes);
}

/* Without zones targets lack a label, as in Prometheus: no reason to have none. */
static enum discovery_verdict zones_end(void *arg, const struct discovery_end *end)
{
    struct ec2 *ec2 = arg;
    struct ec2_failure failure;
    if (answer_failed(ec2->zones_answer, end, &failure)) {
        ec2->api->problem(ec2->host, "DescribeAvailabilityZones: %s%s", failure.text,
                          failure.later ? "" : ": __meta_ec2_availability_zone_id is not known");
        if (failure.later)
            return DISCOVERY_RETRY;
        if (code_is(&failure, codes_denied))
            ec2->zones_pause_ms = EC2_ZONES_PAUSE_MS;
    } else {
        ec2->zones.wanted = false;
    }
    ask_page(ec2, STR_NULL, 0);
    return DISCOVERY_DROP;
}

static const struct discovery_reader zones_reader = {.head = zones_head, .data = zones_data, .end = zones_end};

/* ---- Answers: instances ---- */

static void on_instance(void *arg, const struct ec2_instance *instance)
{
    struct ec2 *ec2 = arg;
    const struct ec2_target_place place = {.region = str_from(ec2->region),
                                           .zone_id = ec2_zones_id(&ec2->zones, instance->zone),
                                           .port = (uint16_t)ec2->config->port};
    struct discovery_group group;
    if (ec2_target_group(instance, &place, &ec2->arena, &group))
        ec2->api->put(ec2->host, &group);
    arena_reset(&ec2->arena);
}

static void page_head(void *arg, const struct discovery_answer_head *head)
{
    struct ec2 *ec2 = arg;
    (void)head;
    if (ec2->pages == 0)
        ec2->api->begin(ec2->host);
    ec2_answer_reset(ec2->instances);
}

static int page_data(void *arg, struct str bytes)
{
    struct ec2 *ec2 = arg;
    return ec2_answer_feed(ec2->instances, bytes);
}

/* NULL: a next page may be asked for. Else why not. */
static const char *token_check(struct ec2 *ec2, struct str token)
{
    uint64_t hash = str_hash(token);
    for (size_t i = 0; i + 1 < ec2->pages; i++)
        if (ec2->token_hashes[i] == hash)
            return "the pages go in a circle: a NextToken came twice";
    if (ec2->pages == EC2_PAGES_MAX)
        return "the pages do not end";
    ec2->token_hashes[ec2->pages - 1] = hash;
    return NULL;
}

/* What has been read of this listing is worth nothing; the next one begins with the first page. */
static enum discovery_verdict listing_fails(struct ec2 *ec2, const char *reason)
{
    ec2->api->problem(ec2->host, "DescribeInstances, after page %zu: %s", ec2->pages, reason);
    ec2->api->abort(ec2->host);
    ask_round(ec2, ec2->config->refresh_ms);
    return DISCOVERY_DROP;
}

static enum discovery_verdict page_end(void *arg, const struct discovery_end *end)
{
    struct ec2 *ec2 = arg;
    struct ec2_failure failure;
    bool failed = answer_failed(ec2->instances, end, &failure);
    if (failed && ec2->pages > 0 && code_is(&failure, codes_old_token)) /* throttling took long */
        return listing_fails(ec2, failure.text);
    if (failed) {
        ec2->api->problem(ec2->host, "DescribeInstances: %s", failure.text);
        return DISCOVERY_RETRY;
    }
    ec2->pages++;
    struct str token = ec2_answer_next_token(ec2->instances);
    if (token.len == 0) {
        ec2->api->commit(ec2->host);
        ask_round(ec2, ec2->config->refresh_ms);
        return DISCOVERY_DONE;
    }
    const char *wrong = token_check(ec2, token);
    if (wrong)
        return listing_fails(ec2, wrong);
    ask_page(ec2, token, 0);
    return DISCOVERY_DROP;
}

static const struct discovery_reader page_reader = {.head = page_head, .data = page_data, .end = page_end};

/* ---- The region, where it is not configured ---- */

/* Where the API of a region is: the suffix of its partition. */
static const struct {
    const char *region_start, *suffix;
} partitions[] = {
    {"cn-", "amazonaws.com.cn"}, {"eusc-", "amazonaws.eu"},      {"us-isob-", "sc2s.sgov.gov"},
    {"us-iso-", "c2s.ic.gov"},   {"us-isof-", "csp.hci.ic.gov"}, {"eu-isoe-", "cloud.adc-e.uk"},
    {"", "amazonaws.com"},
};

static void start_asking(struct ec2 *ec2, const char *region)
{
    size_t at = 0;
    while (!str_starts_with(str_from(region), str_from(partitions[at].region_start)))
        at++;
    snprintf(ec2->region, sizeof(ec2->region), "%s", region);
    const char *endpoint = ec2->config->endpoint;
    if (endpoint)
        ec2->url = mem_printf("%s%s", endpoint, str_ends_with(str_from(endpoint), STR("/")) ? "" : "/");
    else
        ec2->url = mem_printf("https://ec2.%s.%s/", region, partitions[at].suffix);
    ask_round(ec2, 0);
}

static void region_head(void *arg, const struct discovery_answer_head *head)
{
    struct ec2 *ec2 = arg;
    (void)head;
    buf_reset(&ec2->metadata);
}

static int region_data(void *arg, struct str bytes)
{
    struct ec2 *ec2 = arg;
    return buf_append_str(&ec2->metadata, bytes);
}

static bool region_is_valid(struct str region)
{
    for (size_t i = 0; i < region.len; i++) {
        char byte = region.ptr[i];
        if (!((byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-'))
            return false;
    }
    return region.len > 0 && region.len <= EC2_REGION_BYTES_MAX;
}

static enum discovery_verdict region_end(void *arg, const struct discovery_end *end)
{
    struct ec2 *ec2 = arg;
    char reason[64] = "what it says is no region's name";
    struct str said = str_trim(buf_view(&ec2->metadata));
    bool good = end->failure == DISCOVERY_OK && end->status / 100 == 2;
    if (good && !end->reader_refused && region_is_valid(said)) {
        char region[EC2_REGION_BYTES_MAX + 1];
        snprintf(region, sizeof(region), STR_FMT, STR_ARG(said));
        start_asking(ec2, region);
        return DISCOVERY_DROP;
    }
    if (end->failure == DISCOVERY_OK && !good)
        snprintf(reason, sizeof(reason), "HTTP %d", end->status);
    ec2->api->problem(ec2->host, "no region is configured, and the instance's metadata does not tell it: %s",
                      end->failure != DISCOVERY_OK && end->reason ? end->reason : reason);
    return DISCOVERY_RETRY;
}

static const struct discovery_reader region_reader = {.head = region_head, .data = region_data, .end = region_end};

/* ---- The plugin ---- */

static void *ec2_start(void *plugin, const struct discovery_api *api, struct discovery_host *host, const void *config,
                       char ret_error[static 256])
{
    (void)plugin, (void)ret_error;
    struct ec2 *ec2 = mem_zalloc(sizeof(*ec2));
    ec2->api = api;
    ec2->host = host;
    ec2->config = config;
    ec2->aws = (struct discovery_aws){.service = "ec2",
                                      .region = ec2->region,
                                      .access_key = ec2->config->access_key,
                                      .secret_key_file = ec2->config->secret_key_file,
                                      .profile = ec2->config->profile,
                                      .role_arn = ec2->config->role_arn};
    ec2_zones_init(&ec2->zones);
    arena_init(&ec2->arena, 0);
    buf_init(&ec2->metadata, EC2_METADATA_BYTES_MAX);
    ec2->instances =
        ec2_answer_new(&(struct ec2_answer_options){.kind = EC2_INSTANCES, .instance = on_instance, .arg = ec2});
    ec2->zones_answer = ec2_answer_new(&(struct ec2_answer_options){.kind = EC2_ZONES, .zone = on_zone, .arg = ec2});
    if (ec2->config->region)
        start_asking(ec2, ec2->config->region);
    else
        api->request(host,
                     &(struct discovery_request){.url = STR("/latest/meta-data/placement/region"),
                                                 .aws_metadata = true,
                                                 .bytes_max = EC2_METADATA_BYTES_MAX},
                     &region_reader, ec2);
    return ec2;
}

static void ec2_stop(void *instance)
{
    struct ec2 *ec2 = instance;
    ec2_answer_free(ec2->instances);
    ec2_answer_free(ec2->zones_answer);
    buf_done(&ec2->metadata);
    arena_done(&ec2->arena);
    ec2_zones_done(&ec2->zones);
    mem_free(ec2->url);
    mem_free(ec2);
}

extern const struct discovery_plugin discovery_ec2;
const struct discovery_plugin discovery_ec2 = {
    .magic = DISCOVERY_MAGIC,
    .abi = DISCOVERY_ABI,
    .name = "ec2",
    .version = TRIBUTARY_VERSION,
    .about = "Instances of Amazon EC2, by DescribeInstances.",
    .config = &ec2_config_table,
    .start = ec2_start,
    .stop = ec2_stop,
};
