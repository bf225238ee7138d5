#include "discovery/consul_query.h"

#include "base/fail.h"
#include "base/limits.h"
#include "base/quote.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define WAIT_MS         120000 /* of a blocking query, as Prometheus: what waits longer is cut by many a proxy */
#define WAIT_SLACK_MS   60000  /* Consul adds up to a sixteenth to the wait; then comes the answer */
#define URL_LONGEST     (8 * URL_BYTES_MAX) /* each byte of what configuration and a name may have is three in a URL */
#define EXCERPT_BYTES   200                 /* shown of an error's body */
#define PAUSE_MIN_MS    1000                /* between two questions */
#define SPREAD_OF_DELAY 10                  /* up to a tenth of a delay is added, for not all to ask again at once */

void consul_query_init(struct consul_query *query, struct consul_asker *asker, const struct consul_question *question,
                       void *owner, const char *name)
{
    *query = (struct consul_query){.asker = asker, .question = question, .owner = owner, .name = name};
}

static void set_failing(struct consul_query *query, bool failing)
{
    query->asker->failing += (size_t)failing - (size_t)query->failing;
    query->failing = failing;
}

void consul_query_done(struct consul_query *query)
{
    json_items_free(STEAL(query->items));
}

void consul_query_stop(struct consul_query *query)
{
    consul_query_done(query);
    set_failing(query, false);
    if (query->call)
        query->asker->api->cancel(STEAL(query->call));
}

/* ---- the URL ---- */

/* Each ends with & for the next: Consul, as all of Go, takes one that nothing follows. */
static void append_parameter(struct buf *url, const char *name, const char *value)
{
    if (!value)
        return;
    buf_printf(url, "%s=", name);
    buf_append_escaped(url, str_from(value), false);
    buf_append_byte(url, '&');
}

static void append_selection(struct buf *url, const struct consul_config *config)
{
    append_parameter(url, "dc", config->datacenter);
    append_parameter(url, "ns", config->namespace);
    append_parameter(url, "partition", config->partition);
    for (size_t i = 0; i < config->node_meta.count; i++) {
        buf_append_text(url, "node-meta=");
        buf_append_escaped(url, str_from(config->node_meta.items[i].name), false);
        buf_append_byte(url, ':');
        buf_append_escaped(url, str_from(config->node_meta.items[i].value), false);
        buf_append_byte(url, '&');
    }
    if (config->allow_stale)
        buf_append_text(url, "stale&");
}

static void append_url(const struct consul_query *query, struct buf *url)
{
    const struct consul_config *config = query->asker->config;
    const struct consul_question *question = query->question;
    buf_printf(url, "%s://%s%s%s", consul_schemes[config->scheme], config->server, config->path_prefix, question->path);
    buf_append_escaped(url, str_from(query->name), false);
    buf_append_byte(url, '?');
    if (question->selects)
        append_selection(url, config);
    for (size_t i = 0; question->by_tags && i < config->tags.count; i++)
        append_parameter(url, "tag", config->tags.items[i]);
    if (question->filter)
        append_parameter(url, "filter", *(const char *const *)((const char *)config + question->filter));
    if (query->waits)
        buf_printf(url, "index=%" PRIu64 "&wait=%ds&", query->index, WAIT_MS / 1000);
    url->len--; /* the last & or the ? */
}

/* ---- the answer ---- */

/* Of a header; 0: it has none that could be believed. Whoever asks with 0 is answered at once, so what Consul says is
 * at least 1. */
static uint64_t index_of(const struct discovery_answer_head *head)
{
    uint64_t index;
    if (str_to_u64(str_trim(head->header(head, "X-Consul-Index")), &index) < 0)
        return 0;
    return MAX(index, 1);
}

static int query_item(void *arg, const struct json_node *item)
{
    struct consul_query *query = arg;
    query->empty = false;
    return query->question->item(query->owner, item, query->reason);
}

static void query_head(void *arg, const struct discovery_answer_head *head)
{
    struct consul_query *query = arg;
    query->answer_index = index_of(head);
    query->same = query->waits && query->answer_index == query->index;
    query->distrust =
        query->answer_index < query->index && str_equal(head->header(head, "X-Consul-KnownLeader"), STR("false"));
    query->filtered = str_equal(head->header(head, "X-Consul-Results-Filtered-By-ACLs"), STR("true"));
    query->empty = true;
    query->reason[0] = '\0';
    json_items_free(STEAL(query->items));
    if (query->same || query->distrust)
        return;
    query->items =
        json_items_new(&(struct json_items_options){.shape = query->question->shape, .item = query_item, .arg = query});
    query->question->begin(query->owner);
}

static int query_data(void *arg, struct str bytes)
{
    struct consul_query *query = arg;
    return query->items ? json_items_feed(query->items, bytes) : 0;
}

static void problem(const struct consul_query *query, const char *format, ...) PRINTF_LIKE(2, 3);
static void problem(const struct consul_query *query, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    query->asker->api->problem(query->asker->host, "Consul at %s, %s%s: %s", query->asker->config->server,
                               query->question->path, query->name, text);
}

static void refuse_status(const struct consul_query *query, const struct discovery_end *end)
{
    CLEANUP(buf_done) struct buf quoted = BUF_INIT(8 * EXCERPT_BYTES);
    struct str body = str_trim(str_of(end->error_body.ptr, MIN(end->error_body.len, (size_t)EXCERPT_BYTES)));
    quote_print(str_of(body.ptr, str_find(body, '\n')), &quoted);
    problem(query, "answered %d " STR_FMT "%s", end->status, STR_ARG(buf_view(&quoted)),
            end->status != 401 && end->status != 403 ? ""
            : query->asker->config->token_file       ? "; is the token in token_file right, and its policy wide enough?"
                                                     : "; without token_file the anonymous token's policy counts");
}

static int query_whole(struct consul_query *query)
{
    if (query->same)
        return 0;
    int r = json_items_end(query->items, NULL);
    if (r < 0 || !query->question->whole)
        return r;
    return query->question->whole(query->owner, query->filtered, query->reason);
}

/* 0: the answer is whole and good. -EMSGSIZE: it passes a ceiling; other negative: another may be good. A problem has
 * been said then. */
static int query_check(struct consul_query *query, const struct discovery_end *end)
{
    int r = -EIO;
    if (end->failure != DISCOVERY_OK && !end->reader_refused)
        problem(query, "%s", end->reason);
    else if (end->status != 200)
        refuse_status(query, end);
    else if (query->distrust)
        problem(query, "a server that knows no leader told an older state (index %" PRIu64 " after %" PRIu64 ")",
                query->answer_index, query->index);
    else if ((r = query_whole(query)) < 0)
        problem(query, "%s", query->reason[0] ? query->reason : json_items_error(query->items));
    return end->failure == DISCOVERY_TOO_LARGE ? -EMSGSIZE : MIN(r, 0);
}

static enum discovery_verdict query_end(void *arg, const struct discovery_end *end)
{
    struct consul_query *query = arg;
    int r = query_check(query, end);
    json_items_free(STEAL(query->items));
    set_failing(query, r < 0);
    bool is_refused = r == -EMSGSIZE && query->question->refused;
    if (r < 0 && !is_refused && !query->waits)
        return DISCOVERY_RETRY;
    query->call = NULL;
    if (r < 0) {
        /* The same question Consul would let wait when it is well again, and longer after a restored snapshot. */
        if (is_refused)
            query->question->refused(query->owner);
        else
            consul_query_ask(query, false, PAUSE_MIN_MS);
        return DISCOVERY_DROP;
    }
    /* Going backwards, as after a restored snapshot, it says nothing any more: the next question does not wait. Nor
     * does one that was answered with nothing for want of rights: getting them moves no index. */
    bool says_nothing = query->answer_index < query->index || (query->filtered && query->empty && !query->same);
    query->index = says_nothing ? 0 : query->answer_index;
    query->pause_ms = MAX(query->asker->config->refresh_interval_ms - end->took_ms, PAUSE_MIN_MS);
    query->question->answered(query->owner, !query->same);
    return query->asker->failing > 0 ? DISCOVERY_DROP : DISCOVERY_DONE;
}

static const struct discovery_reader query_reader = {query_head, query_data, query_end};

void consul_query_ask(struct consul_query *query, bool waits, int64_t after_ms)
{
    ASSERT(!query->call && !query->items && after_ms >= 0);
    struct consul_asker *asker = query->asker;
    CLEANUP(buf_done) struct buf url = BUF_INIT(URL_LONGEST);
    query->waits = waits && query->index > 0;
    append_url(query, &url);
    ASSERT(!url.full);
    const struct discovery_request request = {
        .url = buf_view(&url),
        .access = &asker->config->access,
        .secret_header = asker->token.file ? &asker->token : NULL,
        .after_ms = after_ms,
        .spread_ms = after_ms / SPREAD_OF_DELAY,
        .timeout_ms = query->waits ? WAIT_MS + WAIT_SLACK_MS : 0,
        .bytes_max = query->question->bytes_max,
    };
    query->call = asker->api->request(asker->host, &request, &query_reader, query);
}
