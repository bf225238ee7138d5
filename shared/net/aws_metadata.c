#include "net/aws_metadata.h"

#include "base/fail.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#define ENDPOINT        "http://169.254.169.254"
#define ENDPOINT_IPV6   "http://[fd00:ec2::254]"
#define TOKEN_TTL_TEXT  "21600" /* seconds: the most there is */
#define TOKEN_TTL_S     21600
#define TOKEN_BYTES_MAX 1024 /* EC2's have 56 */
#define PATH_BYTES_MAX  1024

enum state {
    WAITING, /* for a token */
    ASKED,   /* its call is on its way */
    FAILED   /* its error is to be told on a turn of the loop's own */
};

struct aws_metadata_request {
    struct aws_metadata *metadata;
    struct aws_metadata_request *previous, *next;
    char *path;
    aws_metadata_fn *fn;
    void *arg;
    enum state state;
    struct http_call *call;
    bool refused; /* its token was, once */
    int error;
    char reason[AWS_METADATA_REASON_MAX];
};

struct aws_metadata {
    struct loop *loop;
    struct http_client *client;
    struct aws_environment environment;
    struct aws_metadata_request *requests, *last; /* in their order */
    size_t request_count;
    struct http_call *token_call;
    char token[TOKEN_BYTES_MAX + 1]; /* empty: none */
    int64_t token_until_ms;          /* monotonic */
    struct loop_timer turn;
};

static void remove_request(struct aws_metadata_request *request)
{
    struct aws_metadata *metadata = request->metadata;
    *(request->previous ? &request->previous->next : &metadata->requests) = request->next;
    *(request->next ? &request->next->previous : &metadata->last) = request->previous;
    metadata->request_count--;
}

static void free_request(struct aws_metadata_request *request)
{
    mem_free(request->path);
    mem_free(request);
}

static void fail_request(struct aws_metadata_request *request, int error, const char *reason)
{
    request->state = FAILED;
    request->error = error;
    snprintf(request->reason, sizeof(request->reason), "%s", reason);
    loop_timer_start(&request->metadata->turn, 0, 0);
}

/* fn is called, and the request is gone. */
static void tell(struct aws_metadata_request *request, int error, const char *reason, const struct http_result *result)
{
    remove_request(request);
    request->fn(request->arg, error, reason, result);
    free_request(request);
}

/* ---- The endpoint ---- */

static const char *endpoint(const struct aws_metadata *metadata)
{
    const char *own = aws_environment_get(&metadata->environment, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
    const char *mode = aws_environment_get(&metadata->environment, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
    return own ? own : mode && strcasecmp(mode, "IPv6") == 0 ? ENDPOINT_IPV6 : ENDPOINT;
}

static bool is_disabled(const struct aws_metadata *metadata)
{
    const char *value = aws_environment_get(&metadata->environment, "AWS_EC2_METADATA_DISABLED");
    return value && strcasecmp(value, "true") == 0;
}

static char *url_of(const struct aws_metadata *metadata, const char *path)
{
    struct str base = str_from(endpoint(metadata));
    while (str_ends_with(base, STR("/")))
        base.len--;
    return mem_printf(STR_FMT "%s", STR_ARG(base), path);
}

static struct http_request_spec spec_of(const char *method, const char *url, const struct http_header *header)
{
    return (struct http_request_spec){.method = method,
                                      .url = url,
                                      .headers = header,
                                      .header_count = 1,
                                      .timeout_ms = AWS_METADATA_TIMEOUT_MS,
                                      .response_bytes_max = AWS_METADATA_BYTES_MAX};
}

/* ---- One question ---- */

static void advance(struct aws_metadata_request *request);

static void on_answer(void *arg, const struct http_result *result)
{
    struct aws_metadata_request *request = arg;
    struct aws_metadata *metadata = request->metadata;
    request->call = NULL;
    if (result->failure != HTTP_OK) {
        tell(request, -EIO, result->reason, NULL);
    } else if (result->status != 401) {
        tell(request, 0, "", result);
    } else if (request->refused) {
        tell(request, -EACCES, "new tokens are refused too (HTTP status 401)", NULL);
    } else {
        request->refused = true;
        explicit_bzero(metadata->token, sizeof(metadata->token));
        advance(request);
    }
}

static void ask(struct aws_metadata_request *request)
{
    struct aws_metadata *metadata = request->metadata;
    const struct http_header header = {"X-aws-ec2-metadata-token", metadata->token};
    CLEANUP_FREE char *url = url_of(metadata, request->path);
    const struct http_request_spec spec = spec_of("GET", url, &header);
    int error = http_client_call(metadata->client, &spec, on_answer, request, &request->call);
    if (error)
        fail_request(request, error, error == -EAGAIN ? "too many requests at a time" : "its endpoint is no URL");
    else
        request->state = ASKED;
}

/* ---- The token ---- */

static void fail_waiting(struct aws_metadata *metadata, int error, const char *reason)
{
    for (struct aws_metadata_request *request = metadata->requests; request; request = request->next)
        if (request->state == WAITING)
            fail_request(request, error, reason);
}

static bool take_token(struct aws_metadata *metadata, const struct http_result *result)
{
    struct str token = str_trim(result->body);
    struct str ttl = http_result_header(result, "X-aws-ec2-metadata-token-ttl-seconds");
    uint64_t ttl_s = TOKEN_TTL_S;
    if (token.len == 0 || token.len > TOKEN_BYTES_MAX)
        return false;
    for (size_t i = 0; i < token.len; i++)
        if (token.ptr[i] <= ' ' || token.ptr[i] > '~')
            return false;
    if (ttl.len > 0 && str_to_u64(ttl, &ttl_s) != 0)
        ttl_s = TOKEN_TTL_S;
    memcpy(metadata->token, token.ptr, token.len);
    metadata->token[token.len] = '\0';
    /* A tenth early, so that none ends on its way. */
    metadata->token_until_ms =
        clock_mono_ms(loop_clock(metadata->loop)) + (int64_t)MIN(ttl_s, (uint64_t)TOKEN_TTL_S) * 900;
    return true;
}

static void on_token(void *arg, const struct http_result *result)
{
    struct aws_metadata *metadata = arg;
    char reason[AWS_METADATA_REASON_MAX];
    metadata->token_call = NULL;
    if (result->failure == HTTP_TIMEOUT) {
        fail_waiting(metadata, -EIO, "no answer in time (no EC2 instance, or a container that needs a hop limit of 2)");
    } else if (result->failure != HTTP_OK) {
        fail_waiting(metadata, -EIO, result->reason);
    } else if (result->status != 200) {
        snprintf(reason, sizeof(reason), "no token: HTTP status %d", result->status);
        fail_waiting(metadata, result->status == 403 ? -EACCES : -EIO, reason);
    } else if (!take_token(metadata, result)) {
        fail_waiting(metadata, -EIO, "the answer is no token");
    } else {
        for (struct aws_metadata_request *request = metadata->requests; request; request = request->next)
            if (request->state == WAITING)
                ask(request);
    }
}

static void get_token(struct aws_metadata *metadata)
{
    const struct http_header header = {"X-aws-ec2-metadata-token-ttl-seconds", TOKEN_TTL_TEXT};
    CLEANUP_FREE char *url = url_of(metadata, "/latest/api/token");
    const struct http_request_spec spec = spec_of("PUT", url, &header);
    int error = http_client_call(metadata->client, &spec, on_token, metadata, &metadata->token_call);
    if (error)
        fail_waiting(metadata, error, error == -EAGAIN ? "too many requests at a time" : "its endpoint is no URL");
}

static void advance(struct aws_metadata_request *request)
{
    struct aws_metadata *metadata = request->metadata;
    request->state = WAITING;
    if (metadata->token_call)
        return;
    if (metadata->token[0] && clock_mono_ms(loop_clock(metadata->loop)) < metadata->token_until_ms)
        ask(request);
    else
        get_token(metadata);
}

/* ---- The public face ---- */

/* One failure a turn: what its fn does to the others is done by then. */
static void on_turn(void *arg)
{
    struct aws_metadata *metadata = arg;
    struct aws_metadata_request *request = metadata->requests, *first = NULL;
    size_t failed = 0;
    for (; request; request = request->next) {
        if (request->state != FAILED)
            continue;
        first = first ? first : request;
        failed++;
    }
    if (failed > 1)
        loop_timer_start(&metadata->turn, 0, 0);
    if (first)
        tell(first, first->error, first->reason, NULL);
}

struct aws_metadata *aws_metadata_new(struct loop *loop, struct http_client *client,
                                      const struct aws_environment *environment)
{
    struct aws_metadata *metadata = mem_zalloc(sizeof(*metadata));
    metadata->loop = loop;
    metadata->client = client;
    metadata->environment = *environment;
    loop_timer_init(&metadata->turn, loop, on_turn, metadata);
    return metadata;
}

void aws_metadata_free(struct aws_metadata *metadata)
{
    if (!metadata)
        return;
    while (metadata->requests)
        aws_metadata_cancel(metadata->requests);
    http_call_cancel(metadata->token_call);
    loop_timer_stop(&metadata->turn);
    explicit_bzero(metadata->token, sizeof(metadata->token));
    mem_free(metadata);
}

static bool is_path(const char *path)
{
    for (const char *at = path; *at; at++)
        if (*at <= ' ' || *at > '~')
            return false;
    return path[0] == '/' && strlen(path) <= PATH_BYTES_MAX;
}

struct aws_metadata_request *aws_metadata_get(struct aws_metadata *metadata, const char *path, aws_metadata_fn *fn,
                                              void *arg)
{
    struct aws_metadata_request *request = mem_zalloc(sizeof(*request));
    request->metadata = metadata;
    request->path = mem_strdup(path);
    request->fn = fn;
    request->arg = arg;
    request->previous = metadata->last;
    *(metadata->last ? &metadata->last->next : &metadata->requests) = request;
    metadata->last = request;
    metadata->request_count++;
    if (is_disabled(metadata))
        fail_request(request, -EACCES, "not to be asked (AWS_EC2_METADATA_DISABLED)");
    else if (!is_path(path))
        fail_request(request, -EINVAL, "no path");
    else if (metadata->request_count > AWS_METADATA_GETS_MAX)
        fail_request(request, -EAGAIN, "too many requests at a time");
    else
        advance(request);
    return request;
}

void aws_metadata_cancel(struct aws_metadata_request *request)
{
    if (!request)
        return;
    http_call_cancel(request->call);
    remove_request(request);
    free_request(request);
}
