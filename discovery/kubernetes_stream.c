#include "discovery/kubernetes_stream.h"

#include "base/fail.h"

#include <errno.h>
#include <stdio.h>

#define WATCH_MS_MIN     (5 * 60000)
#define WATCH_MS_MAX     (10 * 60000)
#define WATCH_GRACE_MS   30000      /* a server ends a watch by itself; it is given up so long after */
#define BREATH_MS        1000       /* before a watch that ended with nothing, or broke, is asked again */
#define SHOWN_BYTES_MAX  300        /* of a server's message */
#define ASKED_BYTES_MAX  (16 * KIB) /* of a URL: texts with ceilings of their own, all of them escaped */
#define RELIST_DOUBLINGS 8

enum state { LISTING, WATCHING };

struct kubernetes_stream {
    struct kubernetes_stream_options options;
    struct json_items *list_items, *watch_items;
    enum state state;
    struct buf token;   /* LISTING: continue; empty: from the beginning */
    unsigned pages;     /* of this list that are over */
    struct buf version; /* WATCHING: the last one that came */
    struct buf url;
    int64_t pause_ms, spread_ms; /* before the next request */
    unsigned relists;            /* one after the other, without an event between them */
    /* Of the answer that is being read. */
    bool moved;        /* version is another one than it was at the beginning */
    bool gone;         /* the server no longer has what was asked for */
    int failed;        /* negative errno */
    char problem[400]; /* an error that came as an event */
};

static const char *const skipped_keys[] = {"managedFields", NULL};

static bool is_gone(const struct json_node *status)
{
    return str_equal(json_scalar(status, "code"), STR("410"));
}

static void keep_version(struct kubernetes_stream *stream, const struct json_node *object)
{
    struct str version = json_get_text(json_get(object, "metadata"), "resourceVersion");
    if (version.len == 0 || version.len > KUBERNETES_VERSION_BYTES_MAX ||
        str_equal(version, buf_view(&stream->version)))
        return;
    buf_reset(&stream->version);
    (void)buf_append_str(&stream->version, version);
    stream->moved = true;
    stream->relists = 0;
}

static int list_item(void *arg, const struct json_node *object)
{
    struct kubernetes_stream *stream = arg;
    return stream->options.object(stream->options.arg, object, false);
}

static int watch_item(void *arg, const struct json_node *event)
{
    struct kubernetes_stream *stream = arg;
    const struct json_node *object = json_get(event, "object");
    struct str type = json_get_text(event, "type");
    bool removed = str_equal(type, STR("DELETED"));
    if (str_equal(type, STR("ERROR"))) {
        struct str message = json_get_text(object, "message");
        stream->gone = is_gone(object);
        snprintf(stream->problem, sizeof(stream->problem), "the watch ended with an error: %.*s",
                 (int)MIN(message.len, (size_t)SHOWN_BYTES_MAX), message.ptr ? message.ptr : "");
        return -ECANCELED;
    }
    if (removed || str_equal(type, STR("ADDED")) || str_equal(type, STR("MODIFIED"))) {
        int r = stream->options.object(stream->options.arg, object, removed);
        if (r < 0)
            return r;
    } else if (!str_equal(type, STR("BOOKMARK"))) {
        return 0; /* of a server newer than this */
    }
    keep_version(stream, object);
    return 0;
}

struct kubernetes_stream *kubernetes_stream_new(const struct kubernetes_stream_options *options)
{
    struct kubernetes_stream *stream = mem_zalloc(sizeof(*stream));
    const struct json_items_options list = {
        .shape = JSON_MEMBERS, .list_key = "items", .skip = skipped_keys, .item = list_item, .arg = stream};
    const struct json_items_options watch = {
        .shape = JSON_VALUES, .skip = skipped_keys, .item = watch_item, .arg = stream};
    stream->options = *options;
    stream->list_items = json_items_new(&list);
    stream->watch_items = json_items_new(&watch);
    stream->token = BUF_INIT(KUBERNETES_TOKEN_BYTES_MAX);
    stream->version = BUF_INIT(KUBERNETES_VERSION_BYTES_MAX);
    stream->url = BUF_INIT(ASKED_BYTES_MAX);
    return stream;
}

void kubernetes_stream_free(struct kubernetes_stream *stream)
{
    if (!stream)
        return;
    json_items_free(stream->list_items);
    json_items_free(stream->watch_items);
    buf_done(&stream->token);
    buf_done(&stream->version);
    buf_done(&stream->url);
    mem_free(stream);
}

void kubernetes_stream_restart(struct kubernetes_stream *stream)
{
    stream->state = LISTING;
    stream->pages = 0;
    stream->pause_ms = stream->spread_ms = 0;
    buf_reset(&stream->token);
}

bool kubernetes_stream_at_beginning(const struct kubernetes_stream *stream)
{
    return stream->state == LISTING && stream->pages == 0;
}

bool kubernetes_stream_is_listing(const struct kubernetes_stream *stream)
{
    return stream->state == LISTING;
}

static void clear_answer(struct kubernetes_stream *stream)
{
    stream->moved = stream->gone = false;
    stream->failed = 0;
    stream->problem[0] = '\0';
}

/* ---- asking ---- */

static void append_query(struct buf *url, const char *key, struct str value)
{
    if (value.len == 0)
        return;
    (void)buf_printf(url, "&%s=", key);
    (void)buf_append_escaped(url, value, false);
}

void kubernetes_stream_request(struct kubernetes_stream *stream, struct discovery_request *ret_request)
{
    static const struct discovery_header accept[] = {{"Accept", "application/json"}};
    struct buf *url = &stream->url;
    bool is_watch = stream->state == WATCHING;
    int64_t watch_ms = WATCH_MS_MIN + (int64_t)random_below(stream->options.random, WATCH_MS_MAX - WATCH_MS_MIN);
    buf_reset(url);
    if (is_watch)
        (void)buf_printf(url, "%s?watch=1&allowWatchBookmarks=true&timeoutSeconds=%d", stream->options.path,
                         (int)(watch_ms / 1000));
    else
        (void)buf_printf(url, "%s?limit=%d", stream->options.path, KUBERNETES_PAGE_OBJECTS);
    append_query(url, is_watch ? "resourceVersion" : "continue",
                 buf_view(is_watch ? &stream->version : &stream->token));
    append_query(url, "labelSelector", str_from(stream->options.label));
    append_query(url, "fieldSelector", str_from(stream->options.field));
    ASSERT(!url->full);
    *ret_request = (struct discovery_request){
        .url = buf_view(url),
        .headers = accept,
        .header_count = ARRAY_LEN(accept),
        .after_ms = stream->pause_ms,
        .spread_ms = stream->spread_ms,
        .timeout_ms = is_watch ? watch_ms + WATCH_GRACE_MS : 0,
        .bytes_max = is_watch ? KUBERNETES_WATCH_BYTES_MAX : KUBERNETES_PAGE_BYTES_MAX,
    };
    clear_answer(stream);
}

/* ---- reading ---- */

static struct json_items *items_of(struct kubernetes_stream *stream)
{
    return stream->state == WATCHING ? stream->watch_items : stream->list_items;
}

void kubernetes_stream_begin(struct kubernetes_stream *stream)
{
    json_items_reset(items_of(stream));
    clear_answer(stream);
}

int kubernetes_stream_data(struct kubernetes_stream *stream, struct str bytes)
{
    stream->failed = json_items_feed(items_of(stream), bytes);
    return stream->failed;
}

/* ---- what an answer comes to ---- */

#define SAY(...) snprintf(ret_problem, KUBERNETES_PROBLEM_BYTES_MAX, __VA_ARGS__)

/* The next list begins after a while, which grows where one follows the other with nothing between them. */
static enum kubernetes_outcome list_again(struct kubernetes_stream *stream)
{
    unsigned relists = MIN(stream->relists, RELIST_DOUBLINGS);
    kubernetes_stream_restart(stream);
    stream->pause_ms = relists == 0 ? 0 : MIN((int64_t)BREATH_MS << relists, KUBERNETES_RELIST_MS_MAX);
    stream->spread_ms = KUBERNETES_RELIST_MS;
    stream->relists++;
    return KUBERNETES_BROKEN;
}

struct message {
    int code; /* 0: unknown */
    char text[SHOWN_BYTES_MAX + 1];
};

static int take_message(void *arg, const struct json_node *status)
{
    struct message *message = arg;
    struct str text = json_get_text(status, "message");
    if (text.len > 0)
        snprintf(message->text, sizeof(message->text), STR_FMT, STR_ARG(text));
    return 0;
}

/* What a Status object says, else the beginning of the body. */
static void read_message(struct str body, struct message *message)
{
    CLEANUP(json_items_freep)
    struct json_items *items =
        json_items_new(&(struct json_items_options){.shape = JSON_VALUES, .item = take_message, .arg = message});
    int r = json_items_feed(items, body);
    if (r >= 0 && message->text[0])
        return;
    body.len = MIN(str_find(body, '\n'), (size_t)100);
    snprintf(message->text, sizeof(message->text), STR_FMT, STR_ARG(body));
}

static void say_refused(struct kubernetes_stream *stream, int failed,
                        char ret_problem[static KUBERNETES_PROBLEM_BYTES_MAX])
{
    if (failed == -ECANCELED)
        SAY("%s: %s", stream->options.path, stream->problem);
    else if (failed == -E2BIG)
        SAY("%s: there are more objects than are kept", stream->options.path);
    else
        SAY("%s: %s", stream->options.path, json_items_error(items_of(stream)));
}

/* True: the whole answer came, with a good status, and was read. */
static bool is_good(struct kubernetes_stream *stream, const struct discovery_end *end,
                    char ret_problem[static KUBERNETES_PROBLEM_BYTES_MAX])
{
    struct message message = {0};
    if (stream->failed < 0) {
        say_refused(stream, stream->failed, ret_problem);
    } else if (end->failure != DISCOVERY_OK) {
        SAY("%s: %s", stream->options.path, end->reason ? end->reason : "no answer");
    } else if (end->status / 100 != 2) {
        read_message(end->error_body, &message);
        SAY("%s: HTTP %d: %s", stream->options.path, end->status, message.text);
        stream->gone = end->status == 410;
    } else {
        return true;
    }
    return false;
}

static enum kubernetes_outcome end_list(struct kubernetes_stream *stream, const struct discovery_end *end,
                                        char ret_problem[static KUBERNETES_PROBLEM_BYTES_MAX])
{
    const struct json_node *rest = NULL;
    if (!is_good(stream, end, ret_problem) && stream->gone)
        return list_again(stream);
    if (ret_problem[0])
        return end->status == 403 || end->status == 404 ? KUBERNETES_REFUSED : KUBERNETES_RETRY;
    int r = json_items_end(stream->list_items, &rest);
    struct str token = json_get_text(json_get(rest, "metadata"), "continue");
    struct str version = json_get_text(json_get(rest, "metadata"), "resourceVersion");
    if (r < 0)
        SAY("%s: %s", stream->options.path, json_items_error(stream->list_items));
    else if (version.len == 0 || version.len > KUBERNETES_VERSION_BYTES_MAX)
        SAY("%s: the answer is no list of Kubernetes: it has no resourceVersion", stream->options.path);
    else if (token.len > KUBERNETES_TOKEN_BYTES_MAX)
        SAY("%s: a continue token of more than %d bytes", stream->options.path, KUBERNETES_TOKEN_BYTES_MAX);
    else if (token.len > 0 && stream->pages >= KUBERNETES_PAGES_MAX)
        SAY("%s: a list of more than %d pages", stream->options.path, KUBERNETES_PAGES_MAX);
    if (ret_problem[0])
        return KUBERNETES_RETRY;
    stream->pause_ms = stream->spread_ms = 0;
    if (token.len > 0) {
        stream->pages++;
        buf_reset(&stream->token);
        (void)buf_append_str(&stream->token, token);
        return KUBERNETES_NEXT;
    }
    buf_reset(&stream->version);
    (void)buf_append_str(&stream->version, version);
    stream->state = WATCHING;
    return KUBERNETES_LISTED;
}

static enum kubernetes_outcome end_watch(struct kubernetes_stream *stream, const struct discovery_end *end,
                                         char ret_problem[static KUBERNETES_PROBLEM_BYTES_MAX])
{
    bool moved = stream->moved, good = is_good(stream, end, ret_problem);
    if (stream->gone) {
        ret_problem[0] = '\0'; /* what comes of long pauses and restarts of the server, and heals itself */
        return list_again(stream);
    }
    if (good && json_items_end(stream->watch_items, NULL) < 0) {
        SAY("%s: %s", stream->options.path, json_items_error(stream->watch_items));
        good = false;
    }
    if (!good && !moved)
        return KUBERNETES_RETRY;
    /* A balancer that cuts what is silent for long is no trouble: nothing was missed. */
    bool at_once = good && moved;
    stream->pause_ms = stream->spread_ms = at_once ? 0 : BREATH_MS;
    if (!good && stream->failed == 0)
        ret_problem[0] = '\0';
    return good ? KUBERNETES_NEXT : KUBERNETES_BROKEN;
}

/* What a server says goes into one line of a log. */
static void make_line(char *text)
{
    bool is_utf8 = str_is_utf8(str_from(text));
    for (; *text; text++)
        if ((uint8_t)*text < ' ' || *text == 0x7f || (!is_utf8 && (uint8_t)*text >= 0x80))
            *text = ' ';
}

enum kubernetes_outcome kubernetes_stream_end(struct kubernetes_stream *stream, const struct discovery_end *end,
                                              char ret_problem[static KUBERNETES_PROBLEM_BYTES_MAX])
{
    ret_problem[0] = '\0';
    bool is_watch = stream->state == WATCHING;
    enum kubernetes_outcome outcome =
        is_watch ? end_watch(stream, end, ret_problem) : end_list(stream, end, ret_problem);
    make_line(ret_problem);
    clear_answer(stream);
    return outcome;
}
