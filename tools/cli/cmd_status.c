/* tributary status: what a daemon says of itself, whichever it is. The answer is shown as it is structured: fields as
 * lines, objects as sections, lists of objects as tables. */
#include "base/clock.h"
#include "base/fail.h"
#include "records.h"
#include "remote.h"
#include "table.h"

#include <string.h>

#define DEPTH_MAX   6 /* of sections: ours have three */
#define COLUMNS_MAX 64
#define NAME_BYTES  64
#define ROWS_MAX    50 /* of a list on a terminal: what a person reads */

/* ---- One value ---- */

static bool name_ends(const char *name, const char *end)
{
    return str_ends_with(str_from(name), str_from(end));
}

static void print_number(const char *name, const json_t *value, struct buf *out)
{
    double number = json_number_value(value);
    if (name_ends(name, "bytes_per_second")) {
        output_bytes(number, out);
        buf_append_text(out, "/s");
    } else if (strcmp(name, "bytes") == 0 || name_ends(name, "_bytes") || name_ends(name, "bytes_max")) {
        output_bytes(number, out);
    } else if (name_ends(name, "_seconds")) {
        output_duration(number, out);
    } else if (json_is_integer(value)) {
        buf_printf(out, "%lld", (long long)json_integer_value(value));
    } else {
        buf_printf(out, "%.6g", number);
    }
}

/* Times as how long ago they were: what a person would reckon out. */
static void print_text(const char *text, int64_t now_ms, struct buf *out)
{
    int64_t time_ms;
    if (now_ms == 0 || clock_parse_rfc3339(text, &time_ms) < 0) {
        buf_append_text(out, text);
        return;
    }
    output_duration((double)llabs(now_ms - time_ms) / 1000, out);
    buf_append_text(out, time_ms > now_ms ? " ahead" : " ago");
}

/* Inside of a table's cell: labels, mostly. */
static void print_small_object(const json_t *object, struct buf *out)
{
    const char *name;
    json_t *value;
    bool first = true;
    json_object_foreach((json_t *)object, name, value)
    {
        const char *text = json_string_value(value);
        buf_printf(out, "%s%s=%s", first ? "" : " ", name, text ? text : "...");
        first = false;
    }
}

static void print_value(const char *name, const json_t *value, int64_t now_ms, struct buf *out)
{
    buf_reset(out);
    if (json_is_string(value))
        print_text(json_string_value(value), now_ms, out);
    else if (json_is_number(value))
        print_number(name, value, out);
    else if (json_is_boolean(value))
        buf_append_text(out, json_is_true(value) ? "yes" : "no");
    else if (json_is_null(value))
        buf_append_text(out, "-");
    else if (json_is_object(value))
        print_small_object(value, out);
    else
        buf_printf(out, "(%zu)", json_array_size(value));
}

/* Seconds and bytes are said by the value. */
static void plain_name(const char *name, char ret_text[static NAME_BYTES])
{
    struct str text = str_from(name);
    if (name_ends(name, "_seconds"))
        text.len -= strlen("_seconds");
    snprintf(ret_text, NAME_BYTES, STR_FMT, STR_ARG(text));
    for (char *at = ret_text; *at; at++)
        if (*at == '_')
            *at = ' ';
}

/* ---- Lists of objects ---- */

struct view {
    const struct output *output;
    int64_t now_ms; /* 0: times are shown as they are */
    struct buf text;
};

/* What tells less to a person goes first where there is no room. */
static bool is_minor(const char *name)
{
    static const char *const minor[] = {"incarnation",
                                        "epoch",
                                        "peer",
                                        "url",
                                        "batches",
                                        "duplicates",
                                        "refused",
                                        "clock_skew_seconds",
                                        "last_received",
                                        "stored_batches",
                                        "refused_batches",
                                        "scrapePool",
                                        "scrapeInterval",
                                        "scrapeTimeout",
                                        "lastScrapeDuration",
                                        "lastSamples",
                                        "labels"};
    for (size_t i = 0; i < ARRAY_LEN(minor); i++)
        if (strcmp(name, minor[i]) == 0)
            return true;
    return false;
}

static void print_list(struct view *view, json_t *list, const char *indent)
{
    struct table_column columns[COLUMNS_MAX];
    char titles[COLUMNS_MAX][NAME_BYTES];
    const char *names[COLUMNS_MAX];
    size_t count = 0;
    const char *name;
    json_t *value;
    json_object_foreach(json_array_get(list, 0), name, value)
    {
        if (count == COLUMNS_MAX)
            break;
        plain_name(name, titles[count]);
        columns[count] =
            (struct table_column){.title = titles[count], .right = json_is_number(value), .minor = is_minor(name)};
        names[count++] = name;
    }
    if (count == 0)
        return;
    CLEANUP(table_freep) struct table *table = table_new(columns, count);
    size_t rows = view->output->terminal ? MIN(json_array_size(list), (size_t)ROWS_MAX) : json_array_size(list);
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < count; j++) {
            const json_t *cell = json_object_get(json_array_get(list, i), names[j]);
            print_value(names[j], cell ? cell : json_null(), view->now_ms, &view->text);
            bool bad = (strcmp(names[j], "up") == 0 && json_is_false(cell)) ||
                       (strcmp(names[j], "last_error") == 0 && json_is_string(cell));
            table_cell_style(table, buf_view(&view->text), bad ? STYLE_BAD : STYLE_PLAIN);
        }
    }
    table_print(table, view->output, indent);
    if (rows < json_array_size(list))
        printf("%s(and %zu more; -o json has all)\n", indent, json_array_size(list) - rows);
}

/* ---- Objects ---- */

static bool is_section(const json_t *value)
{
    return json_is_object(value) || json_is_object(json_array_get(value, 0));
}

static void print_fields(struct view *view, json_t *object, const char *indent)
{
    const char *name;
    json_t *value;
    int width = 0;
    json_object_foreach(object, name, value)
    {
        char title[NAME_BYTES];
        plain_name(name, title);
        width = is_section(value) ? width : MAX(width, (int)strlen(title));
    }
    json_object_foreach(object, name, value)
    {
        if (is_section(value))
            continue;
        char title[NAME_BYTES];
        plain_name(name, title);
        print_value(name, value, view->now_ms, &view->text);
        CLEANUP(buf_done) struct buf safe = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
        output_safe(buf_view(&view->text), &safe);
        printf("%s%-*s  " STR_FMT "\n", indent, width, title, STR_ARG(buf_view(&safe)));
    }
}

static void print_object(struct view *view, json_t *object, int depth)
{
    char indent[2 * DEPTH_MAX + 1];
    snprintf(indent, sizeof(indent), "%*s", 2 * depth, "");
    print_fields(view, object, indent);
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        if (!is_section(value) || depth + 1 == DEPTH_MAX)
            continue;
        char title[NAME_BYTES];
        plain_name(name, title);
        printf("%s%s%s%s%s\n", depth == 0 ? "\n" : "", indent, output_on(view->output, STYLE_BOLD), title,
               output_off(view->output, STYLE_BOLD));
        if (json_is_object(value)) {
            print_object(view, value, depth + 1);
        } else {
            char deeper[sizeof(indent) + 2];
            snprintf(deeper, sizeof(deeper), "%s  ", indent);
            print_list(view, value, deeper);
        }
    }
}

/* ---- The command ---- */

static enum cli_exit status(const struct cli_arguments *arguments)
{
    const char *format = cli_value(arguments, "output");
    if (format && strcmp(format, "json") != 0 && strcmp(format, "table") != 0) {
        cli_error("--output: '%s' is none of table, json", format);
        return CLI_USAGE;
    }
    CLEANUP(remote_done) struct remote remote = {0};
    CLEANUP(remote_answer_done) struct remote_answer answer = {0};
    enum cli_exit exit_code = remote_init(&remote, arguments);
    if (exit_code == CLI_OK)
        exit_code = remote_call(&remote, "/api/v1/status", NULL, &answer);
    if (exit_code != CLI_OK)
        return exit_code;
    if (answer.status != 200) {
        remote_complain(&remote, &answer);
        return CLI_FAILED;
    }
    CLEANUP(json_freep) json_t *json = remote_json(&remote, &answer);
    if (!json)
        return CLI_FAILED;
    if (format && strcmp(format, "json") == 0) {
        records_print_json(json);
        return CLI_OK;
    }
    struct output output = output_of_stdout();
    struct view view = {.output = &output,
                        .now_ms = output.terminal ? clock_wall_ms(clock_real()) : 0,
                        .text = BUF_INIT(OUTPUT_TEXT_BYTES_MAX)};
    print_object(&view, json, 0);
    buf_done(&view.text);
    return CLI_OK;
}

const struct cli_command command_status = {
    .name = "status",
    .words = "",
    .purpose = "shows what a daemon (of any tier) says of itself",
    .help = "  tributary status --url 127.0.0.1:9411\n\n"
            "Exit status: 0 answered, 1 the answer is an error, 2 usage, 3 no answer.\n",
    .options = (const struct cli_option[]){{"output", 'o', "FORM", "table or json"}, REMOTE_OPTIONS, {0}},
    .words_min = 0,
    .words_max = 0,
    .run = status,
};
