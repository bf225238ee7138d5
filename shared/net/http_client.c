#include "net/http_client.h"

#include "base/fail.h"
#include "net/http_call.h"
#include "net/http_curl.h"

#include <errno.h>
#include <stdio.h>

#define SHARDS_MAX          100u
#define CONNECTIONS_DEFAULT 64u
#define CALLS_DEFAULT       1024u
#define TELLS_PER_TURN_MAX  256u /* ended calls told before the loop turns to others */

static const char *const failure_names[] = {
    [HTTP_OK] = "ok",         [HTTP_RESOLVE] = "resolve", [HTTP_CONNECT] = "connect",
    [HTTP_TLS] = "tls",       [HTTP_TIMEOUT] = "timeout", [HTTP_TOO_LARGE] = "too_large",
    [HTTP_BROKEN] = "broken", [HTTP_REFUSED] = "refused", [HTTP_CANCELLED] = "cancelled",
};

const char *http_failure_name(enum http_failure failure)
{
    ASSERT((size_t)failure < ARRAY_LEN(failure_names));
    return failure_names[failure];
}

const char *http_failure_text(enum http_failure failure)
{
    static const char *const texts[] = {
        [HTTP_OK] = "",
        [HTTP_RESOLVE] = "name not found",
        [HTTP_CONNECT] = "connection refused",
        [HTTP_TLS] = "TLS failed",
        [HTTP_TIMEOUT] = "no answer in time",
        [HTTP_TOO_LARGE] = "answer larger than allowed",
        [HTTP_BROKEN] = "connection broke off",
        [HTTP_REFUSED] = "refused by its reader",
        [HTTP_CANCELLED] = "cancelled",
    };
    return texts[failure];
}

/* ---- A call's end ---- */

static void unlink_call(struct http_call *call)
{
    struct http_client *client = call->client;
    *(call->previous ? &call->previous->next : call->ended ? &client->ended : &client->active) = call->next;
    if (call->next)
        call->next->previous = call->previous;
    else if (call->ended)
        client->ended_last = call->previous;
    call->previous = call->next = NULL;
}

static void free_answer(struct http_call *call)
{
    buf_done(&call->head_lines);
    buf_done(&call->response);
    http_gunzip_free(STEAL(call->gunzip));
}

static void free_call(struct http_call *call)
{
    call->client->call_count--;
    loop_timer_stop(&call->timeout);
    loop_timer_stop(&call->idle);
    free_answer(call);
    mem_free(call);
}

void http_call_end(struct http_call *call, enum http_failure failure, const char *reason)
{
    struct http_client *client = call->client;
    ASSERT(!call->ended);
    unlink_call(call);
    loop_timer_stop(&call->timeout);
    loop_timer_stop(&call->idle);
    call->ended = true;
    call->ended_ns = clock_mono_ns(loop_clock(client->loop));
    call->failure = failure;
    snprintf(call->reason, sizeof(call->reason), "%s", reason ? reason : http_failure_text(failure));
    call->previous = client->ended_last;
    *(client->ended_last ? &client->ended_last->next : &client->ended) = call;
    client->ended_last = call;
    if (!client->closing)
        loop_timer_start(&client->tell, 0, 0);
}

static void fail_call(struct http_call *call, enum http_failure failure, const char *reason)
{
    call->failure = failure;
    snprintf(call->reason, sizeof(call->reason), "%s", reason);
}

static void tell_call(struct http_call *call)
{
    if (call->failure == HTTP_OK && !http_call_unpack(call))
        fail_call(call, call->cut, call->cut_reason);
    bool answered = call->failure == HTTP_OK;
    struct http_result result = {
        .failure = call->failure,
        .reason = call->reason,
        .status = answered ? call->status : 0,
        .retry_after_s = call->retry_after_s,
        .head = answered ? (struct http_head){call->status, buf_view(&call->head_lines)} : (struct http_head){0},
        .body = answered ? buf_view(&call->response) : STR_NULL,
        .duration_ns = call->ended_ns - call->started_ns,
    };
    result.content_type = http_result_header(&result, "Content-Type");
    if (answered)
        call->reason[0] = '\0';
    call->telling = true;
    call->done(call->arg, &result);
}

/* Tells what has ended; a callback may start, cancel, or free the client. */
static void tell_ended(void *arg)
{
    struct http_client *client = arg;
    bool freed = false;
    for (unsigned told = 0; client->ended && (told < TELLS_PER_TURN_MAX || client->closing); told++) {
        struct http_call *call = client->ended;
        unlink_call(call);
        client->freed = &freed;
        tell_call(call);
        if (freed) {
            free_answer(call);
            mem_free(call);
            return;
        }
        client->freed = NULL;
        free_call(call);
    }
    if (client->ended)
        loop_timer_start(&client->tell, 0, 0);
}

/* ---- The simulated transport ---- */

static void on_wire_end(void *arg, enum wire_end end, const struct wire_response *response)
{
    struct http_call *call = arg;
    call->wire = NULL;
    if (end == WIRE_REFUSED) {
        http_call_end(call, HTTP_CONNECT, NULL);
        return;
    }
    if (end == WIRE_BROKEN) {
        http_call_end(call, HTTP_BROKEN, NULL);
        return;
    }
    http_call_restart(call);
    for (size_t i = 0; i < response->header_count; i++)
        http_call_header(call, str_from(response->headers[i].name), str_from(response->headers[i].value));
    bool sound = http_call_head_end(call, response->status) &&
                 (response->body.len == 0 || http_call_body(call, response->body)) && http_call_body_end(call);
    http_call_end(call, sound ? HTTP_OK : call->cut, sound ? NULL : call->cut_reason);
}

static void on_simulated_timeout(void *arg)
{
    struct http_call *call = arg;
    wire_abandon(STEAL(call->wire));
    http_call_end(call, HTTP_TIMEOUT, NULL);
}

static int base64_append(struct buf *out, struct str text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < text.len; i += 3) {
        size_t left = MIN(text.len - i, (size_t)3);
        uint32_t bits = 0;
        for (size_t j = 0; j < 3; j++)
            bits = bits << 8 | (j < left ? (uint8_t)text.ptr[i + j] : 0);
        for (size_t j = 0; j < 4; j++)
            buf_append_byte(out, j <= left ? (uint8_t)digits[bits >> (18 - 6 * j) & 63] : '=');
    }
    return buf_append_byte(out, '\0');
}

#define BASIC_BYTES_MAX (8 * KIB)

static int start_simulated(struct http_call *call, const struct http_request_spec *spec, const char *to,
                           const char *target)
{
    CLEANUP(buf_done) struct buf basic = BUF_INIT(BASIC_BYTES_MAX), credentials = BUF_INIT(BASIC_BYTES_MAX);
    CLEANUP_FREE struct http_header *headers = mem_array(spec->header_count + 2, sizeof(*headers));
    size_t count = 0;
    for (; count < spec->header_count; count++)
        headers[count] = spec->headers[count];
    if (spec->accept_gzip)
        headers[count++] = (struct http_header){"Accept-Encoding", "gzip"};
    if (spec->basic_user) {
        buf_printf(&credentials, "%s:%s", spec->basic_user, spec->basic_password ? spec->basic_password : "");
        buf_append_text(&basic, "Basic ");
        if (credentials.full || base64_append(&basic, buf_view(&credentials)))
            return -EINVAL;
        headers[count++] = (struct http_header){"Authorization", (const char *)basic.data};
    }
    struct wire_request request = {
        .method = spec->method,
        .target = target,
        .headers = headers,
        .header_count = count,
        .body = str_of(spec->body, spec->body_len),
    };
    struct http_client *client = call->client;
    call->wire = wire_send(client->network, client->name, to, &request, on_wire_end, call);
    loop_timer_start(&call->timeout, spec->timeout_ms, 0);
    return 0;
}

/* "host:port" and "/path?query" of a sound URL. */
static int simulate(struct http_call *call, const struct http_request_spec *spec, CURLU *url)
{
    char *host = NULL, *port = NULL, *path = NULL, *query = NULL;
    int error = -EINVAL;
    if (curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK) {
        bool has_query = curl_url_get(url, CURLUPART_QUERY, &query, 0) == CURLUE_OK;
        CLEANUP_FREE char *to = mem_printf("%s:%s", host, port);
        CLEANUP_FREE char *target = mem_printf("%s%s%s", path, has_query ? "?" : "", has_query ? query : "");
        error = start_simulated(call, spec, to, target);
    }
    curl_free(host);
    curl_free(port);
    curl_free(path);
    curl_free(query);
    return error;
}

/* ---- The public face ---- */

struct http_client *http_client_new(struct loop *loop, struct network *network,
                                    const struct http_client_options *options)
{
    struct http_client *client = mem_zalloc(sizeof(*client));
    client->loop = loop;
    client->network = network;
    client->name = mem_strdup(options->name ? options->name : "");
    client->calls_max = options->calls_max ? options->calls_max : CALLS_DEFAULT;
    loop_timer_init(&client->tell, loop, tell_ended, client);
    struct http_client_options sound = *options;
    sound.shards = MIN(MAX(options->shards, 1u), SHARDS_MAX);
    sound.connections_max = options->connections_max ? options->connections_max : CONNECTIONS_DEFAULT;
    if (!network)
        client->curl = http_curl_new(client, &sound);
    return client;
}

static void let_go(struct http_call *call)
{
    if (call->easy)
        http_curl_drop(call->client->curl, call);
    if (call->wire)
        wire_abandon(STEAL(call->wire));
}

/* A timer that is not moved with each byte: it looks when it is due, and waits for the rest. */
static void on_idle(void *arg)
{
    struct http_call *call = arg;
    int64_t left_ms = call->touched_ms + call->idle_timeout_ms - clock_mono_ms(loop_clock(call->client->loop));
    if (left_ms > 0) {
        loop_timer_start(&call->idle, left_ms, 0);
        return;
    }
    let_go(call);
    http_call_end(call, HTTP_TIMEOUT, "nothing more came in time");
}

void http_client_free(struct http_client *client)
{
    if (!client)
        return;
    ASSERT(!client->closing);
    client->closing = true;
    while (client->active) {
        struct http_call *call = client->active;
        let_go(call);
        http_call_end(call, HTTP_CANCELLED, NULL);
    }
    for (struct http_call *call = client->ended; call; call = call->next)
        fail_call(call, HTTP_CANCELLED, http_failure_text(HTTP_CANCELLED));
    bool *freed = STEAL(client->freed);
    tell_ended(client);
    if (freed)
        *freed = true;
    loop_timer_stop(&client->tell);
    http_curl_free(client->curl);
    mem_free(client->name);
    mem_free(client);
}

/* No user or password inside: they would be seen wherever the URL is. */
static CURLU *parse_url(const char *text)
{
    CURLU *url = curl_url();
    char *scheme = NULL;
    if (!url)
        return NULL;
    bool sound = curl_url_set(url, CURLUPART_URL, text, CURLU_DISALLOW_USER | CURLU_PATH_AS_IS) == CURLUE_OK &&
                 curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                 (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    if (sound)
        return url;
    curl_url_cleanup(url);
    return NULL;
}

/* A line break would start another header, or another request. */
static bool spec_is_sound(const struct http_request_spec *spec)
{
    for (size_t i = 0; i < spec->header_count; i++)
        if (!spec->headers[i].name[0] || strpbrk(spec->headers[i].name, "\r\n: ") ||
            strpbrk(spec->headers[i].value, "\r\n"))
            return false;
    return spec->method[0] && !strpbrk(spec->method, "\r\n ") && spec->timeout_ms > 0;
}

int http_client_call(struct http_client *client, const struct http_request_spec *spec, http_done_fn *done, void *arg,
                     struct http_call **ret_call)
{
    if (client->closing || client->call_count >= client->calls_max)
        return -EAGAIN;
    CURLU *url = spec_is_sound(spec) ? parse_url(spec->url) : NULL;
    if (!url)
        return -EINVAL;
    struct http_call *call = mem_zalloc(sizeof(*call));
    call->client = client;
    call->done = done;
    call->arg = arg;
    call->retry_after_s = -1;
    call->started_ns = clock_mono_ns(loop_clock(client->loop));
    call->touched_ms = call->started_ns / 1000000;
    call->idle_timeout_ms = spec->idle_timeout_ms;
    call->stream = spec->stream;
    buf_init(&call->head_lines, HTTP_RESPONSE_HEADER_BYTES_MAX);
    buf_init(&call->response, spec->response_bytes_max);
    loop_timer_init(&call->timeout, client->loop, on_simulated_timeout, call);
    loop_timer_init(&call->idle, client->loop, on_idle, call);
    client->call_count++;
    int error = client->network ? simulate(call, spec, url) : http_curl_start(client->curl, call, spec, url);
    curl_url_cleanup(url);
    if (error) {
        free_call(call);
        return error;
    }
    if (call->idle_timeout_ms > 0)
        loop_timer_start(&call->idle, call->idle_timeout_ms, 0);
    call->next = client->active;
    if (call->next)
        call->next->previous = call;
    client->active = call;
    if (ret_call)
        *ret_call = call;
    return 0;
}

void http_call_cancel(struct http_call *call)
{
    if (!call || call->telling)
        return;
    let_go(call);
    unlink_call(call);
    free_call(call);
}
