#include "net/aws_credentials.h"

#include "base/fail.h"
#include "net/aws_keys.h"
#include "net/aws_plan.h"
#include "net/aws_profile.h"
#include "net/aws_sts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define ROLES_PATH           "/latest/meta-data/iam/security-credentials/"
#define ROLE_NAME_BYTES_MAX  256
#define TOKEN_FILE_BYTES_MAX (32 * KIB) /* of a web identity or a container's authorization */

struct aws_credentials_request {
    struct aws_credentials *credentials;
    struct aws_credentials_request *previous, *next;
    aws_credentials_fn *fn;
    void *arg;
    bool due;     /* an answer is being told to it and those before it */
    bool refused; /* one too many */
};

struct aws_credentials {
    struct aws_credentials_options options;
    char *access_key, *secret_key_file, *profile, *role_arn, *region; /* what options points to */
    struct aws_credentials_request *requests, *last;                  /* in their order */
    size_t request_count;
    struct loop_timer turn; /* looks at the plan, and answers or starts a search */

    /* What was found last, and by which plan. */
    struct aws_plan plan;
    struct aws_keys keys; /* access_key NULL: none */

    /* A search. One at a time: all requests wait for it. */
    bool searching;
    struct aws_plan next_plan;
    struct aws_keys next_keys;
    enum aws_plan_text role; /* that is being assumed */
    struct http_call *call;
    struct aws_metadata_request *metadata_request;
    char reason[AWS_CREDENTIALS_REASON_MAX];
};

static int64_t now_ms(const struct aws_credentials *credentials)
{
    return clock_wall_ms(loop_clock(credentials->options.loop));
}

static bool has_keys(const struct aws_credentials *credentials, int64_t for_ms)
{
    return credentials->keys.access_key && credentials->keys.expires_ms - for_ms > now_ms(credentials);
}

/* ---- Telling ---- */

static void remove_request(struct aws_credentials_request *request)
{
    struct aws_credentials *credentials = request->credentials;
    *(request->previous ? &request->previous->next : &credentials->requests) = request->next;
    *(request->next ? &request->next->previous : &credentials->last) = request->previous;
    credentials->request_count--;
}

/* A fn may ask anew, cancel others and have the keys forgotten: those that are told now are marked, and told a copy. */
static void tell_all(struct aws_credentials *credentials, int error, const char *reason, const struct aws_keys *keys)
{
    struct aws_keys copy = {0};
    char text[AWS_CREDENTIALS_REASON_MAX];
    struct aws_credentials_request *request = credentials->requests;
    if (keys)
        aws_keys_copy(keys, &copy);
    snprintf(text, sizeof(text), "%s", reason);
    for (; request; request = request->next)
        request->due = true;
    while ((request = credentials->requests) && request->due) {
        struct sigv4_credentials view = aws_keys_view(&copy);
        remove_request(request);
        request->fn(request->arg, error, text, keys ? &view : NULL);
        mem_free(request);
    }
    aws_keys_done(&copy);
}

/* One a turn: what its fn does to the others is done by then. */
static bool tell_refused(struct aws_credentials *credentials)
{
    struct aws_credentials_request *request = credentials->requests;
    while (request && !request->refused)
        request = request->next;
    if (!request)
        return false;
    loop_timer_start(&credentials->turn, 0, 0);
    remove_request(request);
    request->fn(request->arg, -EAGAIN, "too many wait for AWS credentials", NULL);
    mem_free(request);
    return true;
}

/* ---- A search ---- */

static void search_end(struct aws_credentials *credentials)
{
    credentials->searching = false;
    aws_keys_done(&credentials->next_keys);
    aws_plan_done(&credentials->next_plan);
}

/* What was found before and is not over yet serves on: services have bad minutes. */
static PRINTF_LIKE(3, 4) void search_fails(struct aws_credentials *credentials, int error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(credentials->reason, sizeof(credentials->reason), format, arguments);
    va_end(arguments);
    bool kept = aws_plan_equal(&credentials->plan, &credentials->next_plan) && has_keys(credentials, 0);
    search_end(credentials);
    tell_all(credentials, kept ? 0 : error, kept ? "" : credentials->reason, kept ? &credentials->keys : NULL);
}

/* The place that was chosen failed; where it was the last, all that was passed over belongs to the story. */
static void place_fails(struct aws_credentials *credentials, int error, const char *reason)
{
    const struct aws_plan *plan = &credentials->next_plan;
    if (plan->place == AWS_PLACE_INSTANCE && plan->passed)
        search_fails(credentials, error, "no AWS credentials: %.700s, and the instance's metadata: %.200s",
                     plan->passed, reason);
    else
        search_fails(credentials, error, "%.500s: %.500s", plan->where, reason);
}

static void sts_fails(struct aws_credentials *credentials, int error, const char *reason)
{
    const struct aws_plan *plan = &credentials->next_plan;
    search_fails(credentials, error, "STS at %.200s does not let %.200s assume %.200s: %.300s",
                 plan->texts[AWS_PLAN_STS_URL], plan->where, plan->texts[credentials->role], reason);
}

static void assume_next(struct aws_credentials *credentials);

/* Keys came from a place or from an assumed role. */
static void step_done(struct aws_credentials *credentials, struct aws_keys *keys)
{
    aws_keys_done(&credentials->next_keys);
    credentials->next_keys = *keys;
    assume_next(credentials);
}

static void search_succeeds(struct aws_credentials *credentials)
{
    aws_keys_done(&credentials->keys);
    aws_plan_done(&credentials->plan);
    credentials->keys = credentials->next_keys;
    credentials->plan = credentials->next_plan;
    credentials->next_keys = (struct aws_keys){0};
    credentials->next_plan = (struct aws_plan){0};
    search_end(credentials);
    tell_all(credentials, 0, "", &credentials->keys);
}

static bool is_over(const struct aws_credentials *credentials, const struct aws_keys *keys)
{
    return keys->expires_ms <= now_ms(credentials);
}

/* ---- STS ---- */

static void on_sts(void *arg, const struct http_result *result)
{
    struct aws_credentials *credentials = arg;
    struct aws_keys keys;
    char text[512], reason[256];
    credentials->call = NULL;
    if (result->failure != HTTP_OK) {
        sts_fails(credentials, -EIO, result->reason);
    } else if (result->status != 200) {
        aws_sts_read_error(result->body, text);
        snprintf(reason, sizeof(reason), "HTTP status %d%s%.200s", result->status, text[0] ? ", " : "", text);
        sts_fails(credentials, result->status < 500 && result->status != 429 ? -EACCES : -EIO, reason);
    } else if (aws_sts_read_keys(result->body, &keys, reason) != 0) {
        sts_fails(credentials, -EIO, reason);
    } else if (is_over(credentials, &keys)) {
        aws_keys_done(&keys);
        sts_fails(credentials, -EIO, "what it gave is over already: is this machine's clock right?");
    } else {
        step_done(credentials, &keys);
    }
}

static void call_sts(struct aws_credentials *credentials, const struct sigv4_headers *signature, struct str body)
{
    struct http_header headers[1 + ARRAY_LEN(signature->headers)] = {
        {"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"}};
    size_t count = 1;
    for (size_t i = 0; i < signature->count; i++)
        headers[count++] = signature->headers[i];
    const struct http_request_spec spec = {.method = "POST",
                                           .url = credentials->next_plan.texts[AWS_PLAN_STS_URL],
                                           .headers = headers,
                                           .header_count = count,
                                           .body = body.ptr,
                                           .body_len = body.len,
                                           .timeout_ms = AWS_CREDENTIALS_TIMEOUT_MS,
                                           .response_bytes_max = AWS_CREDENTIALS_BYTES_MAX};
    int error = http_client_call(credentials->options.client, &spec, on_sts, credentials, &credentials->call);
    if (error)
        sts_fails(credentials, error, error == -EAGAIN ? "too many requests at a time" : "that is no URL");
}

static void assume(struct aws_credentials *credentials, const char *external_id)
{
    char *const *texts = credentials->next_plan.texts;
    const struct aws_role role = {texts[credentials->role], texts[AWS_PLAN_SESSION_NAME], external_id};
    const struct http_header type = {"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"};
    struct sigv4_headers signature = {0};
    CLEANUP(buf_done) struct buf body = BUF_INIT(AWS_STS_BODY_BYTES_MAX);
    int error = aws_sts_assume_role(&role, &body);
    const struct sigv4_request request = {.method = "POST",
                                          .url = texts[AWS_PLAN_STS_URL],
                                          .headers = &type,
                                          .header_count = 1,
                                          .payload = buf_view(&body),
                                          .region = texts[AWS_PLAN_REGION],
                                          .service = "sts",
                                          .time_ms = now_ms(credentials)};
    struct sigv4_credentials keys = aws_keys_view(&credentials->next_keys);
    if (error == 0)
        error = sigv4_sign(&request, &keys, &signature);
    if (error)
        sts_fails(credentials, error, "the request cannot be made");
    else
        call_sts(credentials, &signature, buf_view(&body));
    sigv4_headers_done(&signature);
}

/* With the place's keys the profile's role, with these the options', then there is nothing more to do. */
static void assume_next(struct aws_credentials *credentials)
{
    char *const *texts = credentials->next_plan.texts;
    bool first = credentials->role == AWS_PLAN_TEXTS || credentials->role == AWS_PLAN_TOKEN_ROLE;
    bool second = first || credentials->role == AWS_PLAN_PROFILE_ROLE;
    if (first && texts[AWS_PLAN_PROFILE_ROLE]) {
        credentials->role = AWS_PLAN_PROFILE_ROLE;
        assume(credentials, texts[AWS_PLAN_PROFILE_EXTERNAL_ID]);
    } else if (second && texts[AWS_PLAN_ROLE]) {
        credentials->role = AWS_PLAN_ROLE;
        assume(credentials, NULL);
    } else {
        search_succeeds(credentials);
    }
}

/* ---- The places ---- */

static void use_keys(struct aws_credentials *credentials)
{
    char *const *texts = credentials->next_plan.texts;
    struct aws_keys keys;
    int error = aws_keys_make(str_from(texts[AWS_PLAN_ACCESS_KEY]), str_from(texts[AWS_PLAN_SECRET_KEY]),
                              str_from(texts[AWS_PLAN_SESSION_TOKEN]), AWS_KEYS_NEVER, &keys);
    ASSERT(error == 0); /* the plan has seen to it */
    step_done(credentials, &keys);
}

/* Without its line break. */
static int read_token(struct aws_credentials *credentials, const char *path, struct buf *text, struct str *ret_token)
{
    int error = file_read_whole(credentials->options.fs, path, text);
    if (error)
        return error;
    struct str token = buf_view(text);
    while (token.len > 0 && strchr(" \t\r\n", token.ptr[token.len - 1]))
        token.len--;
    *ret_token = token;
    return token.len > 0 ? 0 : -EINVAL;
}

static void ask_web_identity(struct aws_credentials *credentials)
{
    char *const *texts = credentials->next_plan.texts;
    const struct aws_role role = {texts[AWS_PLAN_TOKEN_ROLE], texts[AWS_PLAN_SESSION_NAME], NULL};
    CLEANUP(aws_secret_buf_done) struct buf file = BUF_INIT(TOKEN_FILE_BYTES_MAX);
    CLEANUP(aws_secret_buf_done) struct buf body = BUF_INIT(AWS_STS_BODY_BYTES_MAX);
    const struct sigv4_headers unsigned_call = {0}; /* the token is the proof */
    struct str token = STR_NULL;
    credentials->role = AWS_PLAN_TOKEN_ROLE;
    int error = read_token(credentials, texts[AWS_PLAN_TOKEN_FILE], &file, &token);
    if (error)
        place_fails(credentials, error, error == -EINVAL ? "the file is empty" : strerror(-error));
    else if (aws_sts_assume_role_with_web_identity(&role, token, &body) != 0)
        place_fails(credentials, -EINVAL, "the token is too long");
    else
        call_sts(credentials, &unsigned_call, buf_view(&body));
}

/* The body of a container's endpoint or of instance metadata. */
static void take_json(struct aws_credentials *credentials, const struct http_result *result)
{
    struct aws_keys keys;
    char reason[256];
    if (result->status != 200) {
        snprintf(reason, sizeof(reason), "HTTP status %d", result->status);
        place_fails(credentials, result->status < 500 && result->status != 429 ? -EACCES : -EIO, reason);
    } else if (aws_keys_read_json(result->body, &keys, reason) != 0) {
        place_fails(credentials, -EIO, reason);
    } else if (is_over(credentials, &keys)) {
        aws_keys_done(&keys);
        place_fails(credentials, -EIO, "what it gave is over already: is this machine's clock right?");
    } else {
        step_done(credentials, &keys);
    }
}

static void on_container(void *arg, const struct http_result *result)
{
    struct aws_credentials *credentials = arg;
    credentials->call = NULL;
    if (result->failure != HTTP_OK)
        place_fails(credentials, -EIO, result->reason);
    else
        take_json(credentials, result);
}

static void ask_container(struct aws_credentials *credentials)
{
    char *const *texts = credentials->next_plan.texts;
    CLEANUP(aws_secret_buf_done) struct buf file = BUF_INIT(TOKEN_FILE_BYTES_MAX);
    struct str token = str_from(texts[AWS_PLAN_AUTHORIZATION]);
    const char *path = texts[AWS_PLAN_AUTHORIZATION_FILE];
    int error = path ? read_token(credentials, path, &file, &token) : 0;
    if (error) {
        place_fails(credentials, error, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE cannot be read");
        return;
    }
    char *value = mem_strndup(token.ptr ? token.ptr : "", token.len);
    const struct http_header header = {"Authorization", value};
    const struct http_request_spec spec = {.method = "GET",
                                           .url = texts[AWS_PLAN_URL],
                                           .headers = &header,
                                           .header_count = token.len > 0,
                                           .timeout_ms = AWS_CREDENTIALS_TIMEOUT_MS,
                                           .response_bytes_max = AWS_CREDENTIALS_BYTES_MAX};
    error = http_client_call(credentials->options.client, &spec, on_container, credentials, &credentials->call);
    aws_secret_free(value);
    if (error)
        place_fails(credentials, error,
                    error == -EAGAIN ? "too many requests at a time" : "its URL or authorization token makes no sense");
}

static void on_instance_keys(void *arg, int error, const char *reason, const struct http_result *result)
{
    struct aws_credentials *credentials = arg;
    credentials->metadata_request = NULL;
    if (error)
        place_fails(credentials, error, reason);
    else
        take_json(credentials, result);
}

/* The one role that the instance has. */
static void on_instance_role(void *arg, int error, const char *reason, const struct http_result *result)
{
    struct aws_credentials *credentials = arg;
    char path[sizeof(ROLES_PATH) + ROLE_NAME_BYTES_MAX], status[64];
    credentials->metadata_request = NULL;
    if (error) {
        place_fails(credentials, error, reason);
        return;
    }
    struct str name = result->body;
    name.len = str_find(name, '\n');
    name = str_trim(name);
    if (result->status == 404 || (result->status == 200 && name.len == 0)) {
        place_fails(credentials, -ENOENT, "the instance has no role");
    } else if (result->status != 200) {
        snprintf(status, sizeof(status), "HTTP status %d", result->status);
        place_fails(credentials, -EIO, status);
    } else if (name.len > ROLE_NAME_BYTES_MAX || str_find(name, '/') < name.len) {
        place_fails(credentials, -EIO, "the answer is no role's name");
    } else {
        snprintf(path, sizeof(path), ROLES_PATH STR_FMT, STR_ARG(name));
        credentials->metadata_request =
            aws_metadata_get(credentials->options.metadata, path, on_instance_keys, credentials);
    }
}

static void ask_instance(struct aws_credentials *credentials)
{
    credentials->metadata_request =
        aws_metadata_get(credentials->options.metadata, ROLES_PATH, on_instance_role, credentials);
}

static void search(struct aws_credentials *credentials, struct aws_plan *plan)
{
    static void (*const asks[])(struct aws_credentials * credentials) = {
        [AWS_PLACE_KEYS] = use_keys,
        [AWS_PLACE_WEB_IDENTITY] = ask_web_identity,
        [AWS_PLACE_CONTAINER] = ask_container,
        [AWS_PLACE_INSTANCE] = ask_instance,
    };
    credentials->searching = true;
    credentials->next_plan = *plan;
    credentials->role = AWS_PLAN_TEXTS; /* none yet */
    asks[plan->place](credentials);
}

/* ---- The public face ---- */

static void on_turn(void *arg)
{
    struct aws_credentials *credentials = arg;
    struct aws_plan plan;
    if (tell_refused(credentials) || credentials->searching || !credentials->requests)
        return;
    int error = aws_plan_make(&credentials->options, &plan, credentials->reason);
    if (error) {
        tell_all(credentials, error, credentials->reason, NULL);
    } else if (has_keys(credentials, AWS_CREDENTIALS_EARLY_MS) && aws_plan_equal(&credentials->plan, &plan)) {
        aws_plan_done(&plan);
        tell_all(credentials, 0, "", &credentials->keys);
    } else {
        search(credentials, &plan);
    }
}

static const char *keep(char **place, const char *text)
{
    *place = text ? mem_strdup(text) : NULL;
    return *place;
}

struct aws_credentials *aws_credentials_new(const struct aws_credentials_options *options)
{
    struct aws_credentials *credentials = mem_zalloc(sizeof(*credentials));
    struct aws_credentials_options *own = &credentials->options;
    *own = *options;
    own->access_key = keep(&credentials->access_key, options->access_key);
    own->secret_key_file = keep(&credentials->secret_key_file, options->secret_key_file);
    own->profile = keep(&credentials->profile, options->profile);
    own->role_arn = keep(&credentials->role_arn, options->role_arn);
    own->region = keep(&credentials->region, options->region);
    loop_timer_init(&credentials->turn, options->loop, on_turn, credentials);
    return credentials;
}

void aws_credentials_free(struct aws_credentials *credentials)
{
    if (!credentials)
        return;
    while (credentials->requests)
        aws_credentials_cancel(credentials->requests);
    http_call_cancel(credentials->call);
    aws_metadata_cancel(credentials->metadata_request);
    loop_timer_stop(&credentials->turn);
    search_end(credentials);
    aws_credentials_forget(credentials);
    char *const texts[] = {credentials->access_key, credentials->secret_key_file, credentials->profile,
                           credentials->role_arn, credentials->region};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        mem_free(texts[i]);
    mem_free(credentials);
}

struct aws_credentials_request *aws_credentials_get(struct aws_credentials *credentials, aws_credentials_fn *fn,
                                                    void *arg)
{
    struct aws_credentials_request *request = mem_zalloc(sizeof(*request));
    *request = (struct aws_credentials_request){.credentials = credentials, .fn = fn, .arg = arg};
    request->previous = credentials->last;
    *(credentials->last ? &credentials->last->next : &credentials->requests) = request;
    credentials->last = request;
    request->refused = ++credentials->request_count > AWS_CREDENTIALS_GETS_MAX;
    loop_timer_start(&credentials->turn, 0, 0);
    return request;
}

void aws_credentials_cancel(struct aws_credentials_request *request)
{
    if (!request)
        return;
    remove_request(request);
    mem_free(request);
}

void aws_credentials_forget(struct aws_credentials *credentials)
{
    aws_keys_done(&credentials->keys);
    aws_plan_done(&credentials->plan);
}
