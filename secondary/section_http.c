/* One HTTP exchange of a section: who we are to the other end, the request, and how its answer reaches the reader. */
#include "section_internal.h"

#include "base/fail.h"
#include "net/auth.h"
#include "net/aws_credentials.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define HEADERS_MAX    32 /* of the plugin's, and ours */
#define ETAG_BYTES_MAX 512

/* What a request is made of besides what the plugin said. Secrets live as long as it does. */
struct sending {
    struct http_header headers[HEADERS_MAX];
    size_t header_count;
    struct http_tls tls;
    char *url, *authorization, *secret, *password;
    const char *user;
    struct sigv4_headers signature;
    char error[512];
};

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    mem_free(text);
}

static void sending_done(struct sending *sending)
{
    mem_free(sending->url);
    sigv4_headers_done(&sending->signature);
    wipe(sending->authorization);
    wipe(sending->secret);
    wipe(sending->password);
}

static void add_header(struct sending *sending, const char *name, const char *value)
{
    if (value && sending->header_count < HEADERS_MAX)
        sending->headers[sending->header_count++] = (struct http_header){name, value};
}

static int read_secret(struct discovery_call *call, const char *path, struct sending *sending, char **ret_secret)
{
    char error[256] = "";
    int r = auth_read_secret(call->section->env->seams.fs, path, error, ret_secret);
    if (r < 0)
        snprintf(sending->error, sizeof(sending->error), "%s", error);
    return r;
}

/* ---- who we are ---- */

static int set_access(struct discovery_call *call, struct sending *sending)
{
    const struct access *access = call->request.access;
    CLEANUP_FREE char *secret = NULL;
    int r = 0;
    if (!access)
        return 0;
    sending->tls = (struct http_tls){.ca_file = access->tls.ca_file,
                                     .cert_file = access->tls.cert_file,
                                     .key_file = access->tls.key_file,
                                     .server_name = access->tls.server_name,
                                     .insecure_skip_verify = access->tls.insecure_skip_verify};
    if (access->basic_auth.username) {
        sending->user = access->basic_auth.username;
        r = read_secret(call, access->basic_auth.password_file, sending, &sending->password);
    } else if (access->authorization.credentials_file) {
        r = read_secret(call, access->authorization.credentials_file, sending, &secret);
        if (r == 0)
            sending->authorization = mem_printf("%s %s", access->authorization.type, secret);
    }
    if (secret)
        explicit_bzero(secret, strlen(secret));
    return r;
}

static const char *from_environment(const char *name)
{
    return getenv(name);
}

/* Read anew for each request: tokens and certificates are renewed in place. */
static int set_kubernetes(struct discovery_call *call, struct sending *sending)
{
    const struct access_kubernetes *access = call->request.kubernetes;
    struct file_system *fs = call->section->env->seams.fs;
    struct kubeconfig *config = &call->kubeconfig;
    char error[256] = "";
    CLEANUP_FREE char *token = NULL;
    kubeconfig_done(config);
    if (!str_starts_with(call->request.url, STR("/"))) /* what stands behind a host must not become part of its name */
        return error_text(-EINVAL, sending->error, "%.100s does not begin with /", call->request.url.ptr);
    if (access->api_server && !access->kubeconfig_file) {
        sending->url = mem_printf("%s" STR_FMT, access->api_server, STR_ARG(call->request.url));
        return 0;
    }
    int r = access->kubeconfig_file
                ? kubeconfig_load(fs, access->kubeconfig_file, error, config)
                : kubeconfig_in_cluster(fs, KUBECONFIG_CLUSTER_DIR, from_environment, error, config);
    if (r < 0) {
        snprintf(sending->error, sizeof(sending->error), "%s", error);
        return r;
    }
    sending->url = mem_printf("%s" STR_FMT, config->server, STR_ARG(call->request.url));
    wipe(STEAL(sending->authorization)); /* the file's counts, not that of `access` */
    wipe(STEAL(sending->password));
    sending->user = NULL;
    sending->tls = (struct http_tls){.ca_pem = config->ca_pem,
                                     .cert_pem = config->cert_pem,
                                     .key_pem = config->key_pem,
                                     .server_name = config->tls_server_name,
                                     .insecure_skip_verify = config->insecure_skip_verify};
    if (config->token_file)
        r = read_secret(call, config->token_file, sending, &token);
    if (r == 0 && (token || config->token))
        sending->authorization = mem_printf("Bearer %s", token ? token : config->token);
    if (token)
        explicit_bzero(token, strlen(token));
    if (r == 0 && config->username) {
        sending->user = config->username;
        sending->password = mem_strdup(config->password ? config->password : "");
    }
    return r;
}

static const struct validator *find_validator(const struct section *section, const char *url)
{
    for (size_t i = 0; i < section->validator_count; i++)
        if (strcmp(section->validators[i].url, url) == 0)
            return &section->validators[i];
    return NULL;
}

static int prepare(struct discovery_call *call, struct sending *sending)
{
    const struct discovery_request *request = &call->request;
    if (request->header_count > HEADERS_MAX / 2)
        return error_text(-E2BIG, sending->error, "more than %d headers", HEADERS_MAX / 2);
    int r = set_access(call, sending);
    if (r == 0 && request->kubernetes)
        r = set_kubernetes(call, sending);
    if (r == 0 && request->secret_header && request->secret_header->file)
        r = read_secret(call, request->secret_header->file, sending, &sending->secret);
    if (r < 0)
        return r;
    if (!sending->url)
        sending->url = mem_strdup(request->url.ptr);
    for (size_t i = 0; i < request->header_count; i++)
        add_header(sending, request->headers[i].name, request->headers[i].value);
    add_header(sending, "Authorization", sending->authorization);
    if (request->secret_header)
        add_header(sending, request->secret_header->name, sending->secret);
    const struct validator *validator = request->conditional ? find_validator(call->section, request->url.ptr) : NULL;
    call->is_conditional = validator;
    if (validator) {
        add_header(sending, "If-None-Match", validator->etag);
        add_header(sending, "If-Modified-Since", validator->last_modified);
    }
    return 0;
}

/* ---- how the answer comes ---- */

struct reading_head {
    struct discovery_answer_head head; /* first */
    const struct http_head *http;
};

static struct str header_of(const struct discovery_answer_head *head, const char *name)
{
    return http_head_get(((const struct reading_head *)(const void *)head)->http, name);
}

static char *copy_header(const struct http_head *head, const char *name)
{
    struct str value = http_head_get(head, name);
    return value.len > 0 && value.len <= ETAG_BYTES_MAX ? mem_strndup(value.ptr, value.len) : NULL;
}

static bool is_told(const struct discovery_call *call)
{
    return call->state == CALL_SENT;
}

void call_read_head(struct discovery_call *call, const struct http_head *head)
{
    struct reading_head reading = {.http = head};
    call->status = head->status;
    mem_free(call->etag);
    mem_free(call->last_modified);
    call->etag = copy_header(head, "ETag");
    call->last_modified = copy_header(head, "Last-Modified");
    if (!is_told(call) || head->status / 100 != 2 || !call->reader->head)
        return;
    reading.head = (struct discovery_answer_head){.status = head->status, .header = header_of};
    reading.head.content_type = http_head_get(head, "Content-Type");
    call->section->telling = call;
    call->reader->head(call->arg, &reading.head);
    call->section->telling = NULL;
}

int call_read_data(struct discovery_call *call, struct str bytes)
{
    struct section *section = call->section;
    section->bytes_total += bytes.len;
    if (!is_told(call))
        return -ECANCELED;
    if (call->status / 100 != 2) {
        size_t room = DISCOVERY_ERROR_BYTES_MAX - call->error_body.len;
        (void)buf_append(&call->error_body, bytes.ptr, MIN(bytes.len, room));
        return 0;
    }
    section->telling = call;
    int r = call->reader->data ? call->reader->data(call->arg, bytes) : 0;
    section->telling = NULL;
    call->reader_refused = r < 0;
    section_after(section);
    return r;
}

static void on_head(void *arg, const struct http_head *head)
{
    call_read_head(arg, head);
}

static int on_data(void *arg, struct str bytes)
{
    return call_read_data(arg, bytes);
}

static const struct http_stream stream = {.head = on_head, .data = on_data};

static size_t bytes_max_of(const struct discovery_request *request)
{
    return request->bytes_max > 0 ? (size_t)MIN(request->bytes_max, (uint64_t)SIZE_MAX) : DISCOVERY_ANSWER_BYTES_MAX;
}

static enum discovery_failure failure_of(const struct discovery_call *call, enum http_failure failure)
{
    if (failure == HTTP_OK || call->reader_refused)
        return DISCOVERY_OK;
    return failure == HTTP_TOO_LARGE ? DISCOVERY_TOO_LARGE : DISCOVERY_BROKEN;
}

static void on_done(void *arg, const struct http_result *result)
{
    struct discovery_call *call = arg;
    call->http = NULL;
    if (call->state == CALL_DOOMED)
        return;
    if (result->status > 0)
        call->status = result->status;
    if (call->request.aws && call->status / 100 == 4)
        aws_credentials_forget(call->section->aws); /* maybe expired or revoked: the next try asks for new ones */
    char ceiling[32], too_large[64];
    conf_format_bytes(bytes_max_of(&call->request), ceiling);
    snprintf(too_large, sizeof(too_large), "its answer has more than %s", ceiling);
    call_end(call, &(struct call_end){.failure = failure_of(call, result->failure),
                                      .reason = result->failure == HTTP_TOO_LARGE ? too_large : result->reason,
                                      .retry_after_s = result->retry_after_s});
}

/* Sent it was not: the end is told on the loop's next turn. */
static void on_unsent(void *arg)
{
    struct discovery_call *call = arg;
    char reason[DISCOVERY_ERROR_BYTES_MAX];
    snprintf(reason, sizeof(reason), STR_FMT, STR_ARG(buf_view(&call->error_body)));
    buf_reset(&call->error_body);
    call_end(call, &(struct call_end){.failure = DISCOVERY_UNSENT, .reason = reason, .retry_after_s = -1});
}

void call_unsent(struct discovery_call *call, const char *reason)
{
    buf_reset(&call->error_body);
    (void)buf_append(&call->error_body, reason, MIN(strlen(reason), (size_t)1000));
    call->timer.fn = on_unsent;
    loop_timer_start(&call->timer, 0, 0);
}

static int sign(struct discovery_call *call, const struct sigv4_credentials *credentials, struct sending *sending)
{
    const struct discovery_request *request = &call->request;
    const struct sigv4_request to_sign = {
        .method = request->method,
        .url = sending->url,
        .headers = sending->headers,
        .header_count = sending->header_count,
        .payload = request->body,
        .region = request->aws->region,
        .service = request->aws->service,
        .time_ms = clock_wall_ms(loop_clock(call->section->env->seams.loop)),
    };
    int r = sigv4_sign(&to_sign, credentials, &sending->signature);
    if (r < 0)
        snprintf(sending->error, sizeof(sending->error), "cannot be signed: %s", strerrordesc_np(-r));
    for (size_t i = 0; r == 0 && i < sending->signature.count; i++)
        add_header(sending, sending->signature.headers[i].name, sending->signature.headers[i].value);
    return r;
}

void call_send_signed(struct discovery_call *call, const struct sigv4_credentials *credentials)
{
    CLEANUP(sending_done) struct sending sending = {0};
    const struct discovery_request *request = &call->request;
    int r = prepare(call, &sending);
    if (r == 0 && credentials)
        r = sign(call, credentials, &sending);
    if (r < 0) {
        call_unsent(call, sending.error);
        return;
    }
    const struct http_request_spec spec = {
        .method = request->method,
        .url = sending.url,
        .headers = sending.headers,
        .header_count = sending.header_count,
        .body = request->body.ptr,
        .body_len = request->body.len,
        .basic_user = sending.user,
        .basic_password = sending.password,
        .tls = &sending.tls,
        .timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : DISCOVERY_TIMEOUT_MS,
        .response_bytes_max = bytes_max_of(request),
        .accept_gzip = true,
        .stream = &stream,
    };
    r = http_client_call(call->section->env->http, &spec, on_done, call, &call->http);
    if (r == -EINVAL)
        snprintf(sending.error, sizeof(sending.error),
                 "%.300s is no URL that can be asked, or a header has a line break", sending.url);
    else if (r < 0)
        snprintf(sending.error, sizeof(sending.error), "too many requests at a time");
    if (r < 0)
        call_unsent(call, sending.error);
}

void call_send_http(struct discovery_call *call)
{
    if (call->request.aws_metadata)
        call_ask_metadata(call);
    else if (call->request.aws)
        call_ask_credentials(call);
    else
        call_send_signed(call, NULL);
}

/* ---- what is kept of an answer ---- */

static void validator_done(struct validator *validator)
{
    mem_free(validator->url);
    mem_free(validator->etag);
    mem_free(validator->last_modified);
}

void call_keep_validators(struct discovery_call *call)
{
    struct section *section = call->section;
    if (call->kind != CALL_HTTP || !call->request.conditional || call->status / 100 != 2)
        return;
    struct validator *at = (struct validator *)find_validator(section, call->request.url.ptr);
    if (!at && section->validator_count < VALIDATORS_MAX)
        at = &section->validators[section->validator_count++];
    if (!at)
        return;
    validator_done(at);
    at->url = mem_strdup(call->request.url.ptr);
    at->etag = STEAL(call->etag);
    at->last_modified = STEAL(call->last_modified);
}

void section_let_go(struct section *section)
{
    for (size_t i = 0; i < section->validator_count; i++)
        validator_done(&section->validators[i]);
    section->validator_count = 0;
    aws_credentials_free(STEAL(section->aws));
}
