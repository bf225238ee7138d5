/* A table as Markdown: what docs/configuration.md holds between its marks. */
#include "base/conf_node.h"

#include "base/fail.h"

#include <stdio.h>

#define TABLES_MAX 64 /* different tables under one root */

/* Tables in the order in which they are met; each is described once, wherever it is used. */
struct tables {
    const struct conf_table *items[TABLES_MAX];
    size_t count;
};

static void add_table(struct tables *tables, const struct conf_table *table)
{
    for (size_t i = 0; i < tables->count; i++)
        if (tables->items[i] == table)
            return;
    ASSERT(tables->count < TABLES_MAX);
    tables->items[tables->count++] = table;
}

/* Text within a cell: a bar would end it. */
static void append_cell(struct buf *text, const char *words)
{
    for (; *words; words++) {
        if (*words == '|')
            buf_append_byte(text, '\\');
        buf_append_byte(text, (uint8_t)*words);
    }
}

static void append_code(struct buf *text, const char *words)
{
    buf_append_byte(text, '`');
    append_cell(text, words[0] ? words : "\"\"");
    buf_append_byte(text, '`');
}

static void append_type(struct buf *text, const struct conf_option *option)
{
    static const char *const words[] = {
        [CONF_STRING] = "text",
        [CONF_NAME] = "name",
        [CONF_BOOL] = "true or false",
        [CONF_INT] = "number",
        [CONF_DOUBLE] = "number",
        [CONF_BYTES] = "size",
        [CONF_DURATION] = "duration",
        [CONF_ENUM] = "",
        [CONF_ADDRESS] = "address",
        [CONF_URL] = "URL",
        [CONF_FILE] = "file",
        [CONF_PATH] = "path",
        [CONF_REGEX] = "regex",
        [CONF_STRINGS] = "list of texts",
        [CONF_URLS] = "list of URLs",
        [CONF_STRING_MAP] = "map of texts",
        [CONF_SECTION] = "section",
        [CONF_LIST] = "list of",
        [CONF_CUSTOM] = "",
        [CONF_REFUSED] = "",
    };
    buf_append_text(text, words[option->type]);
    if (option->type == CONF_SECTION || option->type == CONF_LIST)
        buf_printf(text, " %s", option->table->title);
    if (option->type == CONF_CUSTOM && option->names)
        append_cell(text, option->names[0]);
    for (size_t i = 0; option->type == CONF_ENUM && option->names[i]; i++)
        buf_printf(text, "%s`%s`", i ? ", " : "", option->names[i]);
}

static void append_default(struct buf *text, const struct conf_option *option)
{
    if (option->required)
        buf_append_text(text, "**required**");
    else if (option->fallback)
        append_code(text, option->fallback);
    else if (option->type == CONF_BOOL)
        buf_append_text(text, "`false`");
    else if (option->type == CONF_ENUM)
        buf_printf(text, "`%s`", option->names[0]);
}

static void append_range(struct buf *text, const struct conf_option *option)
{
    char min[64], max[64];
    if (option->min == 0 && option->max == 0)
        return;
    bool counted = option->type == CONF_LIST || option->type == CONF_STRINGS || option->type == CONF_URLS;
    conf_format_bound(option->type, option->min, min);
    conf_format_bound(option->type, counted && option->max == 0 ? CONF_LIST_MAX : option->max, max);
    buf_printf(text, "%s to %s", min, max);
    if (counted)
        buf_append_text(text, " items");
    else if (option->type == CONF_STRING)
        buf_append_text(text, " bytes");
}

static void append_row(struct buf *text, const struct conf_option *option)
{
    buf_printf(text, "| `%s` | ", option->name);
    append_type(text, option);
    buf_append_text(text, " | ");
    append_default(text, option);
    buf_append_text(text, " | ");
    append_range(text, option);
    buf_append_text(text, " | ");
    append_cell(text, option->help);
    buf_append_text(text, " |\n");
}

static void append_refused(struct buf *text, const struct conf_table *table)
{
    bool first = true;
    for (const struct conf_option *option = table->options; option->name; option++) {
        if (option->type != CONF_REFUSED)
            continue;
        if (first)
            buf_append_text(text, "\n| refused key | why |\n| --- | --- |\n");
        first = false;
        buf_printf(text, "| `%s` | ", option->name);
        append_cell(text, option->help);
        buf_append_text(text, " |\n");
    }
}

static void append_table(struct buf *text, const struct conf_table *table, struct tables *tables)
{
    buf_append_text(text, "| key | type | default | range | meaning |\n| --- | --- | --- | --- | --- |\n");
    for (const struct conf_option *option = table->options; option->name; option++) {
        if (option->type == CONF_REFUSED)
            continue;
        append_row(text, option);
        if (option->table)
            add_table(tables, option->table);
    }
    append_refused(text, table);
}

void conf_describe(const struct conf_table *table, struct buf *text)
{
    struct tables tables = {.items = {table}, .count = 1};
    for (size_t i = 0; i < tables.count; i++) {
        if (i > 0)
            buf_printf(text, "\n#### %s\n\n", tables.items[i]->title);
        append_table(text, tables.items[i], &tables);
    }
}
