#include "net/http_curl.h"

#include "base/fail.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>

#define IDLE_EASIES_MAX 256 /* handles kept for the next calls, 8 KB each */

struct shard {
    struct http_curl *curl;
    CURLM *multi;
    struct loop_timer timer;
};

struct http_curl {
    struct http_client *client;
    struct shard *shards;
    unsigned shard_count;
    CURL **idle;
    size_t idle_count;
};

struct socket_watch {
    struct shard *shard;
    curl_socket_t fd;
    struct loop_watch *watch;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        fatal("libcurl does not start");
}

/* ---- Failures ---- */

static enum http_failure failure_of(CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return HTTP_OK;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return HTTP_RESOLVE;
    case CURLE_COULDNT_CONNECT:
    case CURLE_INTERFACE_FAILED:
        return HTTP_CONNECT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_SHUTDOWN_FAILED:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_USE_SSL_FAILED:
        return HTTP_TLS;
    case CURLE_OPERATION_TIMEDOUT:
        return HTTP_TIMEOUT;
    case CURLE_FILESIZE_EXCEEDED: /* what the length claims */
        return HTTP_TOO_LARGE;
    default:
        return HTTP_BROKEN;
    }
}

/* ---- What libcurl tells of one transfer ---- */

static void touch(struct http_call *call)
{
    if (call->idle_timeout_ms > 0)
        call->touched_ms = clock_mono_ms(loop_clock(call->client->loop));
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    touch(call);
    return http_call_body(call, str_of(data, size * count)) ? size * count : 0;
}

/* One line, the empty one after them as well; trailers too, which are nothing to us. */
static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    struct str line = str_of(data, size * count);
    touch(call);
    call->header_bytes += line.len;
    if (call->header_bytes > HTTP_RESPONSE_HEADER_BYTES_MAX)
        return 0;
    struct str text = line;
    while (text.len > 0 && (text.ptr[text.len - 1] == '\r' || text.ptr[text.len - 1] == '\n'))
        text.len--;
    size_t colon = str_find(text, ':');
    if (call->headed)
        return line.len;
    if (text.len == 0) {
        long status = 0;
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
        bool interim = status < 200;
        return interim || http_call_head_end(call, (int)status) ? line.len : 0;
    }
    if (str_starts_with(text, STR("HTTP/")))
        http_call_restart(call);
    else if (colon < text.len)
        http_call_header(call, str_of(text.ptr, colon), str_trim(str_of(text.ptr + colon + 1, text.len - colon - 1)));
    return line.len;
}

static void release(struct http_curl *curl, struct http_call *call)
{
    curl_multi_remove_handle(curl->shards[call->shard].multi, call->easy);
    curl_easy_reset(call->easy);
    if (curl->idle_count < IDLE_EASIES_MAX)
        curl->idle[curl->idle_count++] = call->easy;
    else
        curl_easy_cleanup(call->easy);
    call->easy = NULL;
    curl_slist_free_all(STEAL(call->headers));
    curl_slist_free_all(STEAL(call->connect_to));
    mem_free(STEAL(call->body));
}

static void transfer_ended(struct http_curl *curl, struct http_call *call, CURLcode code)
{
    char reason[HTTP_REASON_BYTES_MAX];
    snprintf(reason, sizeof(reason), "%s", call->reason[0] ? call->reason : curl_easy_strerror(code));
    release(curl, call);
    if (call->header_bytes > HTTP_RESPONSE_HEADER_BYTES_MAX)
        http_call_end(call, HTTP_BROKEN, "response header too large");
    else if (call->cut != HTTP_OK || (code == CURLE_OK && !http_call_body_end(call)))
        http_call_end(call, call->cut, call->cut_reason);
    else
        http_call_end(call, failure_of(code), code == CURLE_OK || code == CURLE_FILESIZE_EXCEEDED ? NULL : reason);
}

static void collect(struct shard *shard)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(shard->multi, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        char *call = NULL;
        CURLcode code = message->data.result; /* the message dies with the handle's removal */
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        transfer_ended(shard->curl, (struct http_call *)(void *)call, code);
    }
}

/* ---- libcurl's descriptors and timer on the loop ---- */

static void on_ready(void *arg, int events)
{
    struct socket_watch *socket = arg;
    struct shard *shard = socket->shard; /* the watch may go inside the next call */
    int running = 0;
    int mask = (events & LOOP_READ ? CURL_CSELECT_IN : 0) | (events & LOOP_WRITE ? CURL_CSELECT_OUT : 0);
    curl_multi_socket_action(shard->multi, socket->fd, mask, &running);
    collect(shard);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    (void)easy;
    struct shard *shard = arg;
    struct socket_watch *socket = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        /* At once: the descriptor may be closed and used again before the loop turns. */
        if (socket) {
            loop_watch_free(socket->watch);
            mem_free(socket);
            curl_multi_assign(shard->multi, fd, NULL);
        }
        return 0;
    }
    int events = (what & CURL_POLL_IN ? LOOP_READ : 0) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0);
    if (socket) {
        loop_watch_set(socket->watch, events);
        return 0;
    }
    socket = mem_zalloc(sizeof(*socket));
    socket->shard = shard;
    socket->fd = fd;
    socket->watch = loop_watch_new(shard->curl->client->loop, fd, events, on_ready, socket);
    curl_multi_assign(shard->multi, fd, socket);
    return 0;
}

static int on_timer_wanted(CURLM *multi, long after_ms, void *arg)
{
    (void)multi;
    struct shard *shard = arg;
    if (after_ms < 0)
        loop_timer_stop(&shard->timer);
    else
        loop_timer_start(&shard->timer, after_ms, 0);
    return 0;
}

static void on_timer(void *arg)
{
    struct shard *shard = arg;
    int running = 0;
    curl_multi_socket_action(shard->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(shard);
}

/* ---- Lifecycle ---- */

struct http_curl *http_curl_new(struct http_client *client, const struct http_client_options *options)
{
    pthread_once(&curl_once, init_curl);
    struct http_curl *curl = mem_zalloc(sizeof(*curl));
    curl->client = client;
    curl->shard_count = options->shards;
    curl->shards = mem_array(options->shards, sizeof(struct shard));
    curl->idle = mem_array(IDLE_EASIES_MAX, sizeof(CURL *));
    for (unsigned i = 0; i < options->shards; i++) {
        struct shard *shard = &curl->shards[i];
        shard->curl = curl;
        shard->multi = curl_multi_init();
        if (!shard->multi)
            fatal("libcurl gives no multi handle");
        loop_timer_init(&shard->timer, client->loop, on_timer, shard);
        curl_multi_setopt(shard->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
        curl_multi_setopt(shard->multi, CURLMOPT_SOCKETDATA, shard);
        curl_multi_setopt(shard->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
        curl_multi_setopt(shard->multi, CURLMOPT_TIMERDATA, shard);
        /* The default closes nearly all connections after each scrape. */
        curl_multi_setopt(shard->multi, CURLMOPT_MAXCONNECTS, (long)options->connections_max);
        curl_multi_setopt(shard->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    }
    return curl;
}

void http_curl_free(struct http_curl *curl)
{
    if (!curl)
        return;
    for (size_t i = 0; i < curl->idle_count; i++)
        curl_easy_cleanup(curl->idle[i]);
    for (unsigned i = 0; i < curl->shard_count; i++) {
        curl_multi_cleanup(curl->shards[i].multi);
        loop_timer_stop(&curl->shards[i].timer);
    }
    mem_free(curl->shards);
    mem_free(curl->idle);
    mem_free(curl);
}

void http_curl_drop(struct http_curl *curl, struct http_call *call)
{
    release(curl, call);
}

/* ---- Starting a call ---- */

/* CURLcode of the first option refused; later ones are not set. */
#define SET(option, value)                                                                                             \
    do {                                                                                                               \
        CURLcode code_ = curl_easy_setopt(easy, option, value);                                                        \
        if (code_ != CURLE_OK)                                                                                         \
            return code_;                                                                                              \
    } while (0)

#define SET_PEM(option, text)                                                                                          \
    do {                                                                                                               \
        struct curl_blob blob_ = {(char *)(uintptr_t)(text), strlen(text), CURL_BLOB_COPY};                            \
        SET(option, &blob_);                                                                                           \
    } while (0)

static CURLcode set_common(CURL *easy, struct http_call *call, const struct http_request_spec *spec)
{
    SET(CURLOPT_PRIVATE, (char *)call);
    SET(CURLOPT_ERRORBUFFER, call->reason);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, ""); /* nothing from the environment */
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_DNS_CACHE_TIMEOUT, 0L); /* else each transfer walks the cache: half of the CPU at 5,000 targets */
    SET(CURLOPT_QUICK_EXIT, 1L);        /* a timeout must not wait for a resolver thread */
    SET(CURLOPT_TIMEOUT_MS, (long)spec->timeout_ms);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)spec->timeout_ms);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_USERAGENT, "tributary/" TRIBUTARY_VERSION);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, call);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, call);
    return CURLE_OK;
}

static CURLcode set_method(CURL *easy, struct http_call *call, const struct http_request_spec *spec)
{
    if (strcmp(spec->method, "HEAD") == 0)
        SET(CURLOPT_NOBODY, 1L);
    else /* what a length claims; what comes is counted by on_body */
        SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)MIN(spec->response_bytes_max, (size_t)INT64_MAX));
    if (spec->body_len > 0 || strcmp(spec->method, "POST") == 0) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)spec->body_len);
        SET(CURLOPT_POSTFIELDS, call->body ? (const char *)call->body : "");
    }
    if (strcmp(spec->method, "GET") != 0 && strcmp(spec->method, "HEAD") != 0)
        SET(CURLOPT_CUSTOMREQUEST, spec->method);
    if (spec->basic_user) {
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        SET(CURLOPT_USERNAME, spec->basic_user);
        SET(CURLOPT_PASSWORD, spec->basic_password ? spec->basic_password : "");
    }
    return CURLE_OK;
}

static int add_header(struct http_call *call, const char *name, const char *value)
{
    CLEANUP_FREE char *line = value[0] ? mem_printf("%s: %s", name, value) : mem_printf("%s;", name);
    struct curl_slist *longer = curl_slist_append(call->headers, line);
    if (!longer)
        return -ENOMEM;
    call->headers = longer;
    return 0;
}

static CURLcode set_headers(struct http_call *call, const struct http_request_spec *spec)
{
    struct curl_slist *first = curl_slist_append(NULL, "Expect:"); /* no round trip before a body */
    if (!first)
        return CURLE_OUT_OF_MEMORY;
    call->headers = first;
    bool typed = false;
    for (size_t i = 0; i < spec->header_count; i++) {
        typed |= strcasecmp(spec->headers[i].name, "Content-Type") == 0;
        if (add_header(call, spec->headers[i].name, spec->headers[i].value))
            return CURLE_OUT_OF_MEMORY;
    }
    if (!typed && !curl_slist_append(call->headers, "Content-Type:")) /* libcurl would call any body a form */
        return CURLE_OUT_OF_MEMORY;
    if (spec->accept_gzip && add_header(call, "Accept-Encoding", "gzip"))
        return CURLE_OUT_OF_MEMORY;
    return CURLE_OK;
}

/* The certificate is to be another name's than the address': ask for that name, connect to the address. */
static CURLcode set_server_name(CURL *easy, struct http_call *call, CURLU *url, const char *server_name)
{
    char *host = NULL, *port = NULL;
    CURLcode code = CURLE_URL_MALFORMAT;
    if (curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
        curl_url_set(url, CURLUPART_HOST, server_name, 0) == CURLUE_OK) {
        CLEANUP_FREE char *route = mem_printf("%s:%s:%s:%s", server_name, port, host, port);
        CLEANUP_FREE char *named = mem_printf("%s:%s", host, port);
        call->connect_to = curl_slist_append(NULL, route);
        code = call->connect_to && add_header(call, "Host", named) == 0
                   ? curl_easy_setopt(easy, CURLOPT_CONNECT_TO, call->connect_to)
                   : CURLE_OUT_OF_MEMORY;
    }
    curl_free(host);
    curl_free(port);
    return code;
}

static CURLcode set_tls(CURL *easy, struct http_call *call, const struct http_tls *tls, CURLU *url)
{
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (!tls)
        return CURLE_OK;
    if (tls->ca_file)
        SET(CURLOPT_CAINFO, tls->ca_file);
    if (tls->ca_pem)
        SET_PEM(CURLOPT_CAINFO_BLOB, tls->ca_pem);
    if (tls->ca_file || tls->ca_pem)
        SET(CURLOPT_CAPATH, NULL); /* this authority and no other */
    if (tls->cert_file)
        SET(CURLOPT_SSLCERT, tls->cert_file);
    if (tls->cert_pem)
        SET_PEM(CURLOPT_SSLCERT_BLOB, tls->cert_pem);
    if (tls->key_file)
        SET(CURLOPT_SSLKEY, tls->key_file);
    if (tls->key_pem)
        SET_PEM(CURLOPT_SSLKEY_BLOB, tls->key_pem);
    if (tls->insecure_skip_verify) {
        SET(CURLOPT_SSL_VERIFYPEER, 0L);
        SET(CURLOPT_SSL_VERIFYHOST, 0L);
    }
    return tls->server_name ? set_server_name(easy, call, url, tls->server_name) : CURLE_OK;
}

static CURLcode set_url(CURL *easy, CURLU *url)
{
    char *text = NULL;
    if (curl_url_get(url, CURLUPART_URL, &text, 0) != CURLUE_OK)
        return CURLE_URL_MALFORMAT;
    CURLcode code = curl_easy_setopt(easy, CURLOPT_URL, text);
    curl_free(text);
    return code;
}

int http_curl_start(struct http_curl *curl, struct http_call *call, const struct http_request_spec *spec, CURLU *url)
{
    CURL *easy = curl->idle_count > 0 ? curl->idle[--curl->idle_count] : curl_easy_init();
    if (!easy)
        return -ENOMEM;
    call->easy = easy;
    call->shard = spec->shard % curl->shard_count;
    if (spec->body_len > 0) {
        call->body = mem_alloc(spec->body_len);
        memcpy(call->body, spec->body, spec->body_len);
    }
    CURLcode code = set_common(easy, call, spec);
    if (code == CURLE_OK)
        code = set_method(easy, call, spec);
    if (code == CURLE_OK)
        code = set_headers(call, spec);
    if (code == CURLE_OK)
        code = set_tls(easy, call, spec->tls, url);
    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
    if (code == CURLE_OK)
        code = set_url(easy, url);
    if (code == CURLE_OK && curl_multi_add_handle(curl->shards[call->shard].multi, easy) == CURLM_OK)
        return 0;
    release(curl, call);
    return -EINVAL;
}
