#include "query_result.h"

#include "answer_scan.h"
#include "base/fail.h"
#include "caret.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define TIME_SECONDS_MAX 1e15 /* in milliseconds still far from the ends of int64 */

/* ---- Taking apart ---- */

static int read_labels(const json_t *metric, struct labels **ret_labels)
{
    struct label items[LABELS_MAX];
    size_t count = 0;
    const char *name;
    json_t *value;
    if (metric && (!json_is_object(metric) || json_object_size(metric) > LABELS_MAX))
        return -EPROTO;
    json_object_foreach((json_t *)metric, name, value)
    {
        if (!json_is_string(value))
            return -EPROTO;
        items[count++] = (struct label){str_from(name), str_of(json_string_value(value), json_string_length(value))};
    }
    *ret_labels = labels_new(items, count);
    return 0;
}

static int read_point(const json_t *json, bool number, struct query_point *ret_point)
{
    const json_t *time = json_array_get(json, 0);
    const char *text = json_string_value(json_array_get(json, 1));
    struct query_point point = {.text = text};
    if (!json_is_number(time) || !text || fabs(json_number_value(time)) > TIME_SECONDS_MAX)
        return -EPROTO;
    point.time_ms = llround(json_number_value(time) * 1000);
    if (number && str_to_double(str_from(text), &point.value) < 0)
        return -EPROTO;
    *ret_point = point;
    return 0;
}

/* The texts outlive the JSON they are read from: one block for all of a series. */
static void keep_texts(struct arena *arena, struct query_series *series)
{
    size_t bytes = 0;
    for (size_t i = 0; i < series->count; i++)
        bytes += strlen(series->points[i].text) + 1;
    char *at = arena_alloc(arena, bytes);
    for (size_t i = 0; i < series->count; i++) {
        size_t len = strlen(series->points[i].text) + 1;
        series->points[i].text = memcpy(at, series->points[i].text, len);
        at += len;
    }
}

/* json: one point, or with many an array of them. */
static int read_points(const json_t *json, bool many, bool number, struct query_series *series)
{
    size_t count = many ? json_array_size(json) : 1;
    if (!json_is_array(json) || count == 0)
        return -EPROTO;
    series->points = mem_array(count, sizeof(*series->points));
    for (size_t i = 0; i < count; i++) {
        struct query_point *point = &series->points[i];
        int error = read_point(many ? json_array_get(json, i) : json, number, point);
        if (error < 0)
            return error;
        if (i > 0 && point->time_ms < point[-1].time_ms) /* pictures and spans go by this order */
            return -EPROTO;
    }
    series->count = count;
    return 0;
}

static struct query_series *add_series(struct query_result *result)
{
    if (result->count == result->capacity) {
        result->capacity = MAX(result->capacity * 2, (size_t)16);
        result->series = mem_resize(result->series, result->capacity, sizeof(*result->series));
    }
    struct query_series *series = &result->series[result->count++];
    *series = (struct query_series){0};
    return series;
}

static int read_series(const json_t *json, struct query_result *result)
{
    bool many = result->type == QUERY_MATRIX;
    struct query_series *series = add_series(result);
    int error = read_labels(json_object_get(json, "metric"), &series->labels);
    if (error == 0)
        error = read_points(json_object_get(json, many ? "values" : "value"), many, true, series);
    if (error == 0)
        keep_texts(&result->texts, series);
    return error;
}

/* A scalar or string is the list itself: time and text. */
static int read_single(const json_t *json, struct query_result *result)
{
    struct query_series *series = add_series(result);
    int error = read_labels(NULL, &series->labels);
    if (error == 0)
        error = read_points(json, false, result->type == QUERY_SCALAR, series);
    if (error == 0)
        keep_texts(&result->texts, series);
    return error;
}

/* One value of the text, whose length is counted into *at. */
static json_t *load_one(struct str text, size_t *at)
{
    json_error_t error;
    json_t *json = json_loadb(text.ptr + *at, text.len - *at,
                              JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY, &error);
    *at += (size_t)MAX(error.position, 0);
    return json;
}

/* list: from [ to ]. *at: up to where it was read. */
static int read_list(struct str list, struct query_result *result, size_t *at)
{
    if (result->type == QUERY_SCALAR || result->type == QUERY_STRING) {
        CLEANUP(json_freep) json_t *json = load_one(list, at);
        return json ? read_single(json, result) : -EBADMSG;
    }
    *at = answer_scan_space(list, 1);
    if (list.ptr[*at] == ']')
        return 0;
    for (;;) {
        CLEANUP(json_freep) json_t *json = load_one(list, at);
        int error = json ? read_series(json, result) : -EBADMSG;
        if (error < 0)
            return error;
        *at = answer_scan_space(list, *at);
        if (*at + 1 == list.len && list.ptr[*at] == ']')
            return 0;
        if (*at >= list.len || list.ptr[*at] != ',')
            return -EBADMSG;
        *at = answer_scan_space(list, *at + 1);
    }
}

static int read_type(const json_t *data, struct query_result *result)
{
    static const char *const types[] = {"vector", "matrix", "scalar", "string"};
    const char *type = json_string_value(json_object_get(data, "resultType"));
    for (size_t i = 0; type && i < ARRAY_LEN(types); i++) {
        if (strcmp(type, types[i]) == 0) {
            result->type = i;
            return 0;
        }
    }
    return -EPROTO;
}

/* All but the list, which stays behind as an empty one. */
static json_t *load_frame(struct str body, struct str list, size_t *ret_place)
{
    CLEANUP(buf_done) struct buf frame = BUF_INIT(REMOTE_ANSWER_BYTES_MAX);
    json_error_t error;
    size_t before = (size_t)(list.ptr - body.ptr) + 1;
    buf_append(&frame, body.ptr, before);
    buf_append(&frame, list.ptr + list.len - 1, body.len - before - list.len + 2);
    json_t *json = json_loadb((const char *)frame.data, frame.len, JSON_REJECT_DUPLICATES, &error);
    if (!json) {
        size_t place = (size_t)MAX(error.position, 0);
        *ret_place = place <= before ? place : place + list.len - 2;
    }
    return json;
}

int query_result_of(struct str body, size_t *ret_place, struct query_result *ret_result)
{
    CLEANUP(query_result_done) struct query_result result = {0};
    struct str list;
    size_t at = 0;
    arena_init(&result.texts, 0); /* less than the body, which has a ceiling */
    if (!answer_scan_result(body, &list)) {
        json_error_t error;
        CLEANUP(json_freep) json_t *json = json_loadb(body.ptr, body.len, 0, &error);
        *ret_place = json ? 0 : remote_json_place(&error, body.len);
        return json ? -EPROTO : -EBADMSG;
    }
    result.answer = load_frame(body, list, ret_place);
    int error = result.answer ? read_type(json_object_get(result.answer, "data"), &result) : -EBADMSG;
    if (error == 0) {
        error = read_list(list, &result, &at);
        *ret_place = (size_t)(list.ptr - body.ptr) + at;
    }
    if (error < 0)
        return error;
    *ret_result = result;
    result = (struct query_result){0};
    return 0;
}

void query_result_done(struct query_result *result)
{
    for (size_t i = 0; i < result->count; i++) {
        labels_unref(result->series[i].labels);
        mem_free(result->series[i].points);
    }
    mem_free(result->series);
    json_decref(result->answer);
    arena_done(&result->texts);
    buf_done(&result->body);
    *result = (struct query_result){0};
}

/* ---- Errors ---- */

/* An error that says its place, with a caret under it; false: this one does not. */
static bool complain_at_place(const struct remote_answer *answer, struct str expression)
{
    static const struct str prefix = {"invalid parameter \"query\": ", 27};
    json_error_t unused;
    CLEANUP(json_freep) json_t *json = json_loadb((const char *)answer->body.data, answer->body.len, 0, &unused);
    struct str text = str_from(json_string_value(json_object_get(json, "error")));
    if (str_starts_with(text, prefix))
        text = str_of(text.ptr + prefix.len, text.len - prefix.len);
    size_t place;
    if (!text.ptr || !caret_place(text, expression, &place))
        return false;
    caret_complain(text, expression, place);
    return true;
}

enum cli_exit query_fetch(const struct remote *remote, const char *path, const struct buf *form, struct str expression,
                          struct query_result *ret_result)
{
    CLEANUP(remote_answer_done) struct remote_answer answer = {0};
    enum cli_exit exit_code = remote_call(remote, path, form, &answer);
    if (exit_code != CLI_OK)
        return exit_code;
    if (answer.status != 200) {
        if (!complain_at_place(&answer, expression))
            remote_complain(remote, &answer);
        return CLI_FAILED;
    }
    size_t place = 0;
    int error = query_result_of(buf_view(&answer.body), &place, ret_result);
    if (error < 0) {
        if (error == -EBADMSG)
            remote_complain_json(remote, &answer, place);
        else
            cli_error("the answer of %s is none of the query API", remote->url);
        return CLI_FAILED;
    }
    ret_result->body = answer.body;
    answer.body = BUF_INIT(0);
    return CLI_OK;
}
