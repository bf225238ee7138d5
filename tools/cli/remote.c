#include "remote.h"

#include "arguments.h"
#include "base/clock.h"
#include "base/fail.h"
#include "net/daemon.h"
#include "net/http_form.h"
#include "output.h"

#include <errno.h>
#include <stdlib.h>

#define URL_DEFAULT        "http://127.0.0.1:9412"
#define TIMEOUT_DEFAULT_MS 60000
#define TIMEOUT_MS_MAX     (24 * 3600 * INT64_C(1000))
#define SHOWN_BYTES_MAX    300 /* of an answer that is not ours */

enum cli_exit remote_init(struct remote *remote, const struct cli_arguments *arguments)
{
    const char *timeout = cli_value(arguments, "timeout");
    const char *url = cli_value(arguments, "url");
    const char *environment = getenv("TRIBUTARY_URL");
    *remote = (struct remote){.timeout_ms = TIMEOUT_DEFAULT_MS};
    if (timeout && (str_to_duration_ms(str_from(timeout), &remote->timeout_ms) < 0 || remote->timeout_ms <= 0 ||
                    remote->timeout_ms > TIMEOUT_MS_MAX)) {
        cli_error("--timeout: '%s' is no duration such as 30s", timeout);
        return CLI_USAGE;
    }
    if (!url)
        url = environment && environment[0] ? environment : URL_DEFAULT;
    struct str text = str_from(url);
    while (str_ends_with(text, STR("/")))
        text.len--;
    /* host:port alone is what people type. */
    remote->url = mem_printf("%s" STR_FMT, strstr(url, "://") ? "" : "http://", STR_ARG(text));
    remote->tls = (struct http_tls){.ca_file = cli_value(arguments, "ca-file"),
                                    .cert_file = cli_value(arguments, "cert-file"),
                                    .key_file = cli_value(arguments, "key-file")};
    return CLI_OK;
}

void remote_done(struct remote *remote)
{
    mem_free(remote->url);
    remote->url = NULL;
}

/* ---- One call ---- */

struct call {
    struct loop *loop;
    struct remote_answer *answer;
    enum http_failure failure;
    char reason[256];
    bool done;
};

static void on_done(void *arg, const struct http_result *result)
{
    struct call *call = arg;
    call->done = true;
    call->failure = result->failure;
    snprintf(call->reason, sizeof(call->reason), "%s", result->reason);
    call->answer->status = result->status;
    buf_append_str(&call->answer->body, result->body);
    loop_stop(call->loop);
}

static enum cli_exit judge(const struct remote *remote, const struct call *call)
{
    static const char *const advice[] = {
        [HTTP_RESOLVE] = "Is its name right? --url or TRIBUTARY_URL names another daemon.",
        [HTTP_CONNECT] = "Is the daemon running? --url or TRIBUTARY_URL names another.",
        [HTTP_TLS] = "--ca-file names the authorities that vouch for it; a URL with http:// goes without TLS.",
        [HTTP_TIMEOUT] = "A longer --timeout waits longer; less to answer is answered sooner.",
        [HTTP_BROKEN] = "Something between here and the daemon, or the daemon itself, broke off: try again.",
        [HTTP_CANCELLED] = NULL};
    if (call->failure == HTTP_OK)
        return CLI_OK;
    if (call->failure == HTTP_TOO_LARGE) {
        cli_error("the answer of %s is larger than %zu MiB", remote->url, REMOTE_ANSWER_BYTES_MAX / MIB);
        fprintf(stderr, "Ask for less: fewer series, a shorter range, a larger --step, a sum.\n");
        return CLI_FAILED;
    }
    cli_error("no answer of %s: %s", remote->url, call->reason);
    if (advice[call->failure])
        fprintf(stderr, "%s\n", advice[call->failure]);
    return CLI_UNREACHABLE;
}

enum cli_exit remote_call(const struct remote *remote, const char *path, const struct buf *form,
                          struct remote_answer *ret_answer)
{
    const struct http_header header = {"Content-Type", "application/x-www-form-urlencoded"};
    const struct http_client_options options = {.name = "tributary", .shards = 1, .connections_max = 1};
    CLEANUP_FREE char *url = mem_printf("%s%s", remote->url, path);
    struct http_request_spec spec = {.method = form ? "POST" : "GET",
                                     .url = url,
                                     .headers = &header,
                                     .header_count = form ? 1 : 0,
                                     .body = form ? form->data : NULL,
                                     .body_len = form ? form->len : 0,
                                     .tls = &remote->tls,
                                     .timeout_ms = remote->timeout_ms,
                                     .response_bytes_max = REMOTE_ANSWER_BYTES_MAX,
                                     .accept_gzip = true};
    daemon_ignore_sigpipe();
    *ret_answer = (struct remote_answer){.body = BUF_INIT(REMOTE_ANSWER_BYTES_MAX)};
    CLEANUP(loop_freep) struct loop *loop = loop_new();
    CLEANUP(http_client_freep) struct http_client *client = http_client_new(loop, NULL, &options);
    struct call call = {.loop = loop, .answer = ret_answer};
    int result = http_client_call(client, &spec, on_done, &call, NULL);
    if (result < 0) {
        cli_error("'%s' is no URL of a daemon", remote->url);
        return CLI_USAGE;
    }
    while (!call.done)
        loop_run(loop);
    return judge(remote, &call);
}

void remote_answer_done(struct remote_answer *answer)
{
    buf_done(&answer->body);
}

/* ---- Its content ---- */

static struct str body_start(const struct remote_answer *answer)
{
    struct str body = buf_view(&answer->body);
    while (body.len > 0 && strchr(" \t\r\n", body.ptr[0]))
        body = str_of(body.ptr + 1, body.len - 1);
    return body;
}

/* A proxy's or login's page, or another program's. */
static bool complain_page(const struct remote *remote, const struct remote_answer *answer)
{
    if (!str_starts_with(body_start(answer), STR("<")))
        return false;
    cli_error("%s answers %d with a web page, not with JSON", remote->url, answer->status);
    fprintf(stderr,
            "Is that the daemon's address, and no proxy or login before it? --url or TRIBUTARY_URL names another.\n");
    return true;
}

void remote_complain_json(const struct remote *remote, const struct remote_answer *answer, size_t place)
{
    if (complain_page(remote, answer))
        return;
    cli_error("the answer of %s is %s (at byte %zu of %zu)", remote->url,
              place >= answer->body.len ? "cut off" : "no JSON", place, answer->body.len);
}

size_t remote_json_place(const json_error_t *error, size_t len)
{
    size_t place = (size_t)MAX(error->position, 0);
    bool cut = json_error_code(error) == json_error_premature_end_of_input;
    return cut || len == 0 ? len : MIN(place, len - 1);
}

json_t *remote_json(const struct remote *remote, const struct remote_answer *answer)
{
    json_error_t error;
    json_t *json = json_loadb((const char *)answer->body.data, answer->body.len, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        remote_complain_json(remote, answer, remote_json_place(&error, answer->body.len));
    return json;
}

void remote_complain(const struct remote *remote, const struct remote_answer *answer)
{
    json_error_t error;
    CLEANUP(json_freep) json_t *json = json_loadb((const char *)answer->body.data, answer->body.len, 0, &error);
    const char *text = json_string_value(json_object_get(json, "error"));
    const char *type = json_string_value(json_object_get(json, "errorType"));
    if (!text && complain_page(remote, answer))
        return;
    struct str shown = text ? str_from(text) : buf_view(&answer->body);
    shown = str_of(shown.ptr, MIN(shown.len, text ? shown.len : (size_t)SHOWN_BYTES_MAX));
    while (str_ends_with(shown, STR("\n")))
        shown.len--;
    CLEANUP(buf_done) struct buf safe = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    output_safe(shown, &safe);
    if (type)
        cli_error("%s: " STR_FMT, type, STR_ARG(buf_view(&safe)));
    else
        cli_error("%s answers %d: " STR_FMT, remote->url, answer->status, STR_ARG(buf_view(&safe)));
}

void form_add(struct buf *form, const char *name, struct str value)
{
    if (form->len > 0)
        buf_append_byte(form, '&');
    http_percent_encode(form, str_from(name));
    buf_append_byte(form, '=');
    http_percent_encode(form, value);
}

void form_add_time(struct buf *form, const char *name, int64_t ms)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "%s%lld.%03lld", ms < 0 ? "-" : "", llabs(ms) / 1000, llabs(ms) % 1000);
    form_add(form, name, str_of(text, (size_t)len));
}

bool form_add_time_option(struct buf *form, const struct cli_arguments *arguments, const char *name)
{
    int64_t time_ms;
    if (!cli_flag(arguments, name))
        return true;
    if (!arguments_take_time(arguments, name, clock_wall_ms(clock_real()), &time_ms))
        return false;
    form_add_time(form, name, time_ms);
    return true;
}
