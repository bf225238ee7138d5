#include "query_result.h"

#include "base/fail.h"
#include "output.h"
#include "promql/error.h"

#include <errno.h>
#include <math.h>

#define MESSAGE_BYTES_MAX (64 * KIB)

/* ---- Taking apart ---- */

static int read_labels(const json_t *metric, struct labels **ret_labels)
{
    struct label items[LABELS_MAX];
    size_t count = 0;
    const char *name;
    json_t *value;
    if (metric && (!json_is_object(metric) || json_object_size(metric) > LABELS_MAX))
        return -EBADMSG;
    json_object_foreach((json_t *)metric, name, value)
    {
        if (!json_is_string(value))
            return -EBADMSG;
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
    if (!json_is_number(time) || !text || fabs(json_number_value(time)) > 1e15)
        return -EBADMSG;
    point.time_ms = llround(json_number_value(time) * 1000);
    if (number && str_to_double(str_from(text), &point.value) < 0)
        return -EBADMSG;
    *ret_point = point;
    return 0;
}

/* json: one point, or with many an array of them. */
static int read_points(const json_t *json, bool many, bool number, struct query_series *series)
{
    size_t count = many ? json_array_size(json) : 1;
    if (!json_is_array(json) || count == 0)
        return -EBADMSG;
    series->points = mem_array(count, sizeof(*series->points));
    for (size_t i = 0; i < count; i++) {
        int result = read_point(many ? json_array_get(json, i) : json, number, &series->points[i]);
        if (result < 0)
            return result;
    }
    series->count = count;
    return 0;
}

static int read_series(const json_t *json, bool many, struct query_series *series)
{
    int result = read_labels(json_object_get(json, "metric"), &series->labels);
    return result < 0 ? result : read_points(json_object_get(json, many ? "values" : "value"), many, true, series);
}

static int read_single(const json_t *json, struct query_result *result)
{
    result->count = 1;
    result->series = mem_array(1, sizeof(*result->series));
    int error = read_labels(NULL, &result->series[0].labels);
    return error < 0 ? error : read_points(json, false, result->type == QUERY_SCALAR, &result->series[0]);
}

static int read_result(const json_t *data, struct query_result *result)
{
    static const char *const types[] = {"vector", "matrix", "scalar", "string"};
    const char *type = json_string_value(json_object_get(data, "resultType"));
    const json_t *items = json_object_get(data, "result");
    size_t index = 0;
    while (index < ARRAY_LEN(types) && !(type && strcmp(type, types[index]) == 0))
        index++;
    if (index == ARRAY_LEN(types) || !json_is_array(items))
        return -EBADMSG;
    result->type = index;
    if (result->type == QUERY_SCALAR || result->type == QUERY_STRING)
        return read_single(items, result);
    result->series = mem_array(json_array_size(items), sizeof(*result->series));
    for (size_t i = 0; i < json_array_size(items); i++) {
        result->count++;
        int error = read_series(json_array_get(items, i), result->type == QUERY_MATRIX, &result->series[i]);
        if (error < 0)
            return error;
    }
    return 0;
}

int query_result_of(json_t *json, struct query_result *ret_result)
{
    CLEANUP(query_result_done) struct query_result result = {.json = json};
    int error = read_result(json_object_get(json, "data"), &result);
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
    json_decref(result->json);
    *result = (struct query_result){0};
}

void query_result_warn(const struct query_result *result)
{
    static const char *const kinds[] = {"warnings", "infos"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        const json_t *texts = json_object_get(result->json, kinds[i]);
        for (size_t j = 0; j < json_array_size(texts); j++) {
            const char *text = json_string_value(json_array_get(texts, j));
            CLEANUP(buf_done) struct buf safe = BUF_INIT(MESSAGE_BYTES_MAX);
            output_safe(str_from(text), &safe);
            cli_warn(STR_FMT, STR_ARG(buf_view(&safe)));
        }
    }
}

/* ---- Errors ---- */

/* "LINE:COLUMN" at the start of text as a place in the expression; and what follows. */
static bool read_place(struct str text, struct str expression, uint32_t *ret_place, struct str *ret_rest)
{
    uint64_t line, column;
    size_t colon = str_find(text, ':');
    struct str rest = str_of(text.ptr + colon, text.len - colon);
    if (rest.len == 0 || str_to_u64(str_of(text.ptr, colon), &line) < 0)
        return false;
    rest = str_of(rest.ptr + 1, rest.len - 1);
    colon = str_find(rest, ':');
    if (colon == rest.len || str_to_u64(str_of(rest.ptr, colon), &column) < 0 || column == 0)
        return false;
    size_t start = 0;
    for (uint64_t i = 1; i < line && start < expression.len; i++)
        start += str_find(str_of(expression.ptr + start, expression.len - start), '\n') + 1;
    *ret_place = (uint32_t)MIN(start + column - 1, expression.len);
    *ret_rest = str_of(rest.ptr + colon + 1, rest.len - colon - 1);
    return true;
}

/* A parse error with the line and a caret under the place; false: it is none. */
static bool complain_parse(const struct remote_answer *answer, struct str expression)
{
    static const char mark[] = "parse error: ";
    json_error_t unused;
    CLEANUP(json_freep) json_t *json = json_loadb((const char *)answer->body.data, answer->body.len, 0, &unused);
    struct str text = str_from(json_string_value(json_object_get(json, "error")));
    static const struct str prefix = {"invalid parameter \"query\": ", 27};
    if (str_starts_with(text, prefix))
        text = str_of(text.ptr + prefix.len, text.len - prefix.len);
    uint32_t place;
    struct str rest;
    if (!text.ptr || !read_place(text, expression, &place, &rest))
        return false;
    rest = str_trim(rest);
    if (str_starts_with(rest, str_from(mark)))
        rest = str_of(rest.ptr + sizeof(mark) - 1, rest.len - sizeof(mark) + 1);
    CLEANUP(buf_done) struct buf safe = BUF_INIT(MESSAGE_BYTES_MAX);
    CLEANUP(buf_done) struct buf out = BUF_INIT(MESSAGE_BYTES_MAX);
    output_safe(rest, &safe);
    struct promql_error error = {0};
    promql_error_set(&error, (struct ast_position){place, place}, STR_FMT, STR_ARG(buf_view(&safe)));
    promql_error_print(&error, expression, &out);
    fprintf(stderr, STR_FMT, STR_ARG(buf_view(&out)));
    return true;
}

enum cli_exit query_fetch(const struct remote *remote, const char *path, const struct buf *form, const char *expression,
                          struct query_result *ret_result)
{
    CLEANUP(remote_answer_done) struct remote_answer answer = {0};
    enum cli_exit exit_code = remote_call(remote, path, form, &answer);
    if (exit_code != CLI_OK)
        return exit_code;
    if (answer.status != 200) {
        if (!expression || !complain_parse(&answer, str_from(expression)))
            remote_complain(remote, &answer);
        return CLI_FAILED;
    }
    json_t *json = remote_json(remote, &answer);
    if (!json)
        return CLI_FAILED;
    if (query_result_of(json, ret_result) == 0)
        return CLI_OK;
    cli_error("the answer of %s is none of the query API", remote->url);
    return CLI_FAILED;
}
