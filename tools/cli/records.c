#include "records.h"

#include "base/clock.h"
#include "base/fail.h"
#include "table.h"

#include <ctype.h>
#include <string.h>

#define COLUMNS_MAX 24

bool record_format_take(const struct cli_arguments *arguments, enum record_format *ret_format)
{
    static const char *const names[] = {
        [RECORD_AS_TABLE] = "table", [RECORD_AS_CSV] = "csv", [RECORD_AS_JSON] = "json"};
    const char *name = cli_value(arguments, "output");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name ? name : names[RECORD_AS_TABLE], names[i]) == 0) {
            *ret_format = (enum record_format)i;
            return true;
        }
    cli_error("--output: '%s' is none of table, json, csv", name);
    return false;
}

enum cli_exit records_fetch(const struct remote *remote, const char *path, const struct buf *form, json_t **ret_answer)
{
    CLEANUP(remote_answer_done) struct remote_answer answer = {0};
    enum cli_exit exit_code = remote_call(remote, path, form, &answer);
    if (exit_code != CLI_OK)
        return exit_code;
    if (answer.status != 200) {
        remote_complain(remote, &answer);
        return CLI_FAILED;
    }
    json_t *json = remote_json(remote, &answer);
    if (!json)
        return CLI_FAILED;
    if (!json_object_get(json, "data")) {
        cli_error("the answer of %s is none of a global", remote->url);
        json_decref(json);
        return CLI_FAILED;
    }
    *ret_answer = json;
    return CLI_OK;
}

/* ---- One value ---- */

static void print_time(int64_t time_ms, enum record_format format, struct buf *out)
{
    char text[32];
    clock_format_rfc3339(time_ms, text);
    char *fraction = strchr(text, '.');
    if (format == RECORD_AS_TABLE && fraction)
        memcpy(fraction, "Z", sizeof("Z")); /* people do not read milliseconds here */
    buf_append_text(out, text);
}

static void print_number(const json_t *value, enum record_kind kind, enum record_format format, struct buf *out)
{
    if (kind == RECORD_TIME)
        print_time(json_integer_value(value), format, out);
    else if (kind == RECORD_BYTES && format == RECORD_AS_TABLE)
        output_bytes(json_number_value(value), out);
    else if (kind == RECORD_SECONDS && format == RECORD_AS_TABLE)
        output_duration(json_number_value(value), out);
    else
        buf_printf(out, "%lld", (long long)json_integer_value(value));
}

static void print_value(const json_t *value, const struct record_column *column, enum record_format format,
                        struct buf *out)
{
    buf_reset(out);
    if (json_is_string(value))
        buf_append_text(out, json_string_value(value));
    else if (json_is_number(value))
        print_number(value, column->kind, format, out);
    else if (json_is_true(value))
        buf_append_text(out, "yes");
    else if (!json_is_boolean(value) && format == RECORD_AS_TABLE && column->none)
        buf_append_text(out, column->none);
}

/* ---- The list ---- */

static void print_csv(json_t *list, const struct record_column *columns, size_t count)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    for (size_t i = 0; i < count; i++)
        printf("%s%s", columns[i].field, i + 1 < count ? "," : "\n");
    for (size_t row = 0; row < json_array_size(list); row++)
        for (size_t i = 0; i < count; i++) {
            print_value(json_object_get(json_array_get(list, row), columns[i].field), &columns[i], RECORD_AS_CSV,
                        &text);
            output_csv(buf_view(&text));
            putchar(i + 1 < count ? ',' : '\n');
        }
}

static void add_cell(struct table *table, const json_t *value, const struct record_column *column, struct buf *text)
{
    print_value(value, column, RECORD_AS_TABLE, text);
    bool bad = column->bad && str_equal(buf_view(text), str_from(column->bad));
    for (size_t i = 0; bad && i < text->len; i++)
        text->data[i] = (uint8_t)toupper(text->data[i]);
    table_cell_style(table, buf_view(text), bad ? STYLE_BAD : STYLE_PLAIN);
}

static void print_table(json_t *list, const struct record_column *columns, size_t count)
{
    struct output output = output_of_stdout();
    struct table_column titles[COLUMNS_MAX];
    ASSERT(count <= COLUMNS_MAX);
    for (size_t i = 0; i < count; i++) {
        bool right = columns[i].kind == RECORD_NUMBER || columns[i].kind == RECORD_BYTES;
        titles[i] = (struct table_column){.title = columns[i].title, .right = right, .minor = columns[i].minor};
    }
    CLEANUP(table_freep) struct table *table = table_new(titles, count);
    CLEANUP(buf_done) struct buf text = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    for (size_t row = 0; row < json_array_size(list); row++)
        for (size_t i = 0; i < count; i++)
            add_cell(table, json_object_get(json_array_get(list, row), columns[i].field), &columns[i], &text);
    if (table_rows(table) > 0)
        table_print(table, &output, "");
}

void records_print(json_t *list, const struct record_column *columns, size_t count, enum record_format format)
{
    if (format == RECORD_AS_CSV)
        print_csv(list, columns, count);
    else
        print_table(list, columns, count);
}

static int append_json(const char *text, size_t len, void *arg)
{
    return buf_append(arg, text, len) < 0 ? -1 : 0;
}

void records_print_json(json_t *answer)
{
    struct output output = output_of_stdout();
    CLEANUP(buf_done) struct buf text = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    if (json_dump_callback(answer, append_json, &text, JSON_PRESERVE_ORDER | JSON_COMPACT | JSON_REAL_PRECISION(15)) <
        0)
        cli_error("the answer is larger than %zu bytes", text.bytes_max);
    else
        output_json(buf_view(&text), &output);
}
