/* The answer of a query, as anybody may send it: what is read of it is what a tree of its JSON has, and nothing that is
 * printed for a terminal steers it. The first byte is the terminal's width, the rest is the answer. */
#include "base/fail.h"
#include "tools/cli/query_prom.h"
#include "tools/cli/query_table.h"

#include <locale.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(struct str text)
{
    ASSERT(str_is_utf8(text));
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = (uint8_t)text.ptr[i];
        ASSERT(byte == '\n' || (byte >= 0x20 && byte != 0x7f));
        ASSERT(!(byte == 0xc2 && (uint8_t)text.ptr[i + 1] < 0xa0)); /* the other control characters */
    }
}

static void print_all(const struct query_result *result, const struct output *output)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    ASSERT(out);
    struct query_view view = {.output = output, .span = series_span_of(result->series, result->count)};
    if (result->type == QUERY_MATRIX && result->count > 0) {
        query_table_sparks(result, &view, out);
        query_table_plot(result, &view, out);
    }
    if (result->type == QUERY_VECTOR && result->count > 0)
        query_table_vector(result, &view, out);
    view.exact = true;
    if (result->type == QUERY_VECTOR && result->count > 0)
        query_table_vector(result, &view, out);
    if (result->type != QUERY_STRING)
        query_prom_print(result, output, out);
    fclose(out);
    check_text(str_of(text, len));
    free(text);
}

static void check_against_tree(const struct query_result *result, struct str body)
{
    json_error_t error;
    CLEANUP(json_freep) json_t *json = json_loadb(body.ptr, body.len, JSON_REJECT_DUPLICATES, &error);
    ASSERT(json);
    const json_t *list = json_object_get(json_object_get(json, "data"), "result");
    bool single = result->type == QUERY_SCALAR || result->type == QUERY_STRING;
    ASSERT(json_is_array(list) && result->count == (single ? 1 : json_array_size(list)));
    for (size_t i = 0; i < result->count && !single; i++) {
        const json_t *values = json_object_get(json_array_get(list, i), "values");
        ASSERT(result->series[i].count == (result->type == QUERY_MATRIX ? json_array_size(values) : 1));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready)
        ASSERT(setlocale(LC_CTYPE, "C.UTF-8"));
    ready = true;
    if (size == 0)
        return 0;
    struct str body = str_of(data + 1, size - 1);
    CLEANUP(query_result_done) struct query_result result = {0};
    size_t place = 0;
    int width = 10 + data[0];
    struct output output = {
        .terminal = true, .utf8 = data[0] % 2 == 0, .width = width, .plot_width = width, .plot_height = 24};
    if (query_result_of(body, &place, &result) < 0) {
        ASSERT(place <= body.len);
        return 0;
    }
    check_against_tree(&result, body);
    print_all(&result, &output);
    return 0;
}
