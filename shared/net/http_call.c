/* What a call does with its answer, whichever way it comes. */
#include "net/http_call.h"

#include "net/http_gzip.h"

#include <errno.h>
#include <strings.h>

static bool is_text(struct str text, const char *wanted)
{
    return text.len == strlen(wanted) && strncasecmp(text.ptr, wanted, text.len) == 0;
}

struct str http_head_get(const struct http_head *head, const char *name)
{
    struct str left = head->lines;
    while (left.len > 0) {
        size_t end = str_find(left, '\n'), colon = str_find(left, ':');
        if (is_text(str_of(left.ptr, MIN(colon, end)), name))
            return str_of(left.ptr + colon + 1, end - colon - 1);
        left = str_of(left.ptr + end + 1, left.len - end - 1);
    }
    return STR_NULL;
}

struct str http_result_header(const struct http_result *result, const char *name)
{
    return http_head_get(&result->head, name);
}

/* False, to be returned at once. */
static bool cut(struct http_call *call, enum http_failure failure, const char *reason)
{
    call->cut = failure;
    call->cut_reason = reason ? reason : http_failure_text(failure);
    return false;
}

/* ---- Headers ---- */

void http_call_restart(struct http_call *call)
{
    buf_reset(&call->head_lines);
}

/* As one line, so that nothing in it can look like another one. Past the ceiling http_call_head_end says no. */
void http_call_header(struct http_call *call, struct str name, struct str value)
{
    if (name.len == 0 || str_find(name, '\n') < name.len || str_find(value, '\n') < value.len)
        return;
    buf_append_str(&call->head_lines, name);
    buf_append_byte(&call->head_lines, ':');
    buf_append_str(&call->head_lines, value);
    buf_append_byte(&call->head_lines, '\n');
}

/* RFC 9110 10.2.3: seconds, or a date. */
static int64_t retry_after(const struct http_call *call, struct str text)
{
    uint64_t seconds = 0;
    char date[64];
    if (str_to_u64(text, &seconds) == 0)
        return (int64_t)MIN(seconds, (uint64_t)INT32_MAX);
    if (text.len == 0 || text.len >= sizeof(date))
        return -1;
    memcpy(date, text.ptr, text.len);
    date[text.len] = '\0';
    int64_t at_s = curl_getdate(date, NULL);
    if (at_s < 0)
        return -1;
    int64_t now_ms = clock_wall_ms(loop_clock(call->client->loop));
    int64_t left_s = at_s - now_ms / 1000;
    return MIN(MAX(left_s, (int64_t)0), (int64_t)INT32_MAX);
}

bool http_call_head_end(struct http_call *call, int status)
{
    if (call->head_lines.full)
        return cut(call, HTTP_BROKEN, "response header too large");
    struct http_head head = {status, buf_view(&call->head_lines)};
    struct str encoding = http_head_get(&head, "Content-Encoding");
    call->status = status;
    call->headed = true;
    call->gzipped = is_text(encoding, "gzip") || is_text(encoding, "x-gzip");
    if (!call->gzipped && encoding.len > 0 && !is_text(encoding, "identity"))
        return cut(call, HTTP_BROKEN, "content encoding that was not asked for");
    call->retry_after_s = retry_after(call, http_head_get(&head, "Retry-After"));
    if (call->stream && call->stream->head)
        call->stream->head(call->arg, &head);
    return true;
}

/* ---- Body ---- */

static int hand_on(void *arg, struct str bytes)
{
    struct http_call *call = arg;
    if (bytes.len > call->response.bytes_max - call->streamed_bytes) {
        cut(call, HTTP_TOO_LARGE, NULL);
        return -EMSGSIZE;
    }
    call->streamed_bytes += bytes.len;
    if (call->stream->data(call->arg, bytes) < 0) {
        cut(call, HTTP_REFUSED, NULL);
        return -ECANCELED;
    }
    return 0;
}

static bool stream_body(struct http_call *call, struct str bytes)
{
    if (!call->gzipped)
        return hand_on(call, bytes) == 0;
    if (!call->gunzip)
        call->gunzip = http_gunzip_new();
    int error = http_gunzip_feed(call->gunzip, bytes, hand_on, call);
    if (error == 0)
        return true;
    return call->cut == HTTP_OK ? cut(call, HTTP_BROKEN, "broken gzip") : false;
}

bool http_call_body(struct http_call *call, struct str bytes)
{
    if (!call->headed) /* 101, which nobody asked for */
        return cut(call, HTTP_BROKEN, "no HTTP answer");
    if (call->stream)
        return stream_body(call, bytes);
    return buf_append_str(&call->response, bytes) == 0 ? true : cut(call, HTTP_TOO_LARGE, NULL);
}

bool http_call_body_end(struct http_call *call)
{
    if (!call->headed)
        return cut(call, HTTP_BROKEN, "no HTTP answer");
    if (call->gunzip && !http_gunzip_is_whole(call->gunzip))
        return cut(call, HTTP_BROKEN, "broken gzip");
    return true;
}

bool http_call_unpack(struct http_call *call)
{
    if (!call->gzipped || call->response.len == 0)
        return true;
    struct buf plain = BUF_INIT(call->response.bytes_max);
    int error = http_gzip_unpack(buf_view(&call->response), &plain);
    buf_done(&call->response);
    call->response = plain;
    if (error == -EMSGSIZE)
        return cut(call, HTTP_TOO_LARGE, NULL);
    return error ? cut(call, HTTP_BROKEN, "broken gzip") : true;
}
