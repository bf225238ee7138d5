/* An object as YAML again. Texts are quoted as in JSON, which YAML reads; so nothing in one can begin another value. */
#include "base/conf_node.h"

#include "base/json_write.h"
#include "base/regex.h"

#include <inttypes.h>

#define INDENT 2

typedef void print_fn(const struct conf_option *option, const void *field, struct buf *text);

static void append_text(struct str value, struct buf *text)
{
    struct json_writer json;
    json_begin(&json, text);
    json_str(&json, value);
}

/* No table has such a key: secrets are read from files. Should one get it, it is not shown. */
static bool names_a_secret(const char *name)
{
    static const char *const words[] = {"password", "secret", "token", "credential"};
    bool found = false;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        found = found || strstr(name, words[i]);
    return found && !str_ends_with(str_from(name), STR("_file"));
}

static void print_text(const struct conf_option *option, const void *field, struct buf *text)
{
    append_text(names_a_secret(option->name) ? STR("<secret>") : str_from(*(const char *const *)field), text);
}

static void print_bool(const struct conf_option *option, const void *field, struct buf *text)
{
    (void)option;
    buf_append_text(text, *(const bool *)field ? "true" : "false");
}

static void print_int(const struct conf_option *option, const void *field, struct buf *text)
{
    (void)option;
    buf_printf(text, "%" PRId64, *(const int64_t *)field);
}

static void print_double(const struct conf_option *option, const void *field, struct buf *text)
{
    (void)option;
    buf_printf(text, "%.17g", *(const double *)field);
}

static void print_bytes(const struct conf_option *option, const void *field, struct buf *text)
{
    char shown[32];
    (void)option;
    conf_format_bytes(*(const uint64_t *)field, shown);
    buf_append_text(text, shown);
}

static void print_duration(const struct conf_option *option, const void *field, struct buf *text)
{
    char shown[64];
    (void)option;
    conf_format_duration(*(const int64_t *)field, shown);
    buf_append_text(text, shown);
}

static void print_enum(const struct conf_option *option, const void *field, struct buf *text)
{
    append_text(str_from(option->names[*(const int *)field]), text);
}

static void print_regex(const struct conf_option *option, const void *field, struct buf *text)
{
    (void)option;
    append_text(regex_pattern(*(struct regex *const *)field), text);
}

static void print_strings(const struct conf_option *option, const void *field, struct buf *text)
{
    const struct conf_strings *strings = field;
    (void)option;
    buf_append_byte(text, '[');
    for (size_t i = 0; i < strings->count; i++) {
        buf_append_text(text, i > 0 ? ", " : "");
        append_text(str_from(strings->items[i]), text);
    }
    buf_append_byte(text, ']');
}

static void print_string_map(const struct conf_option *option, const void *field, struct buf *text)
{
    const struct conf_string_map *map = field;
    (void)option;
    buf_append_byte(text, '{');
    for (size_t i = 0; i < map->count; i++) {
        buf_append_text(text, i > 0 ? ", " : "");
        append_text(str_from(map->items[i].name), text);
        buf_append_text(text, ": ");
        append_text(str_from(map->items[i].value), text);
    }
    buf_append_byte(text, '}');
}

static void print_custom(const struct conf_option *option, const void *field, struct buf *text)
{
    option->print(field, text);
}

/* Values of one line. Of a pointer: a NULL is a key that was not given. */
static const struct {
    print_fn *print;
    bool is_pointer;
} kinds[] = {
    [CONF_STRING] = {print_text, true},        [CONF_NAME] = {print_text, true},
    [CONF_BOOL] = {print_bool, false},         [CONF_INT] = {print_int, false},
    [CONF_DOUBLE] = {print_double, false},     [CONF_BYTES] = {print_bytes, false},
    [CONF_DURATION] = {print_duration, false}, [CONF_ENUM] = {print_enum, false},
    [CONF_ADDRESS] = {print_text, true},       [CONF_URL] = {print_text, true},
    [CONF_FILE] = {print_text, true},          [CONF_PATH] = {print_text, true},
    [CONF_REGEX] = {print_regex, true},        [CONF_STRINGS] = {print_strings, false},
    [CONF_URLS] = {print_strings, false},      [CONF_STRING_MAP] = {print_string_map, false},
    [CONF_CUSTOM] = {print_custom, false},     [CONF_REFUSED] = {NULL, false},
};

static bool is_shown(const struct conf_option *option, const void *field)
{
    if (option->type == CONF_CUSTOM && (!option->print || option->name[0] == '*'))
        return false;
    return kinds[option->type].print && !(kinds[option->type].is_pointer && !*(const void *const *)field);
}

/* A section that lacks what it must have was not given: its other keys have their defaults only. */
static bool was_given(const struct conf_table *table, const void *object)
{
    for (const struct conf_option *option = table->options; option->name; option++) {
        const void *field = (const uint8_t *)object + option->offset;
        if (option->required && kinds[option->type].is_pointer && !*(const void *const *)field)
            return false;
    }
    return true;
}

static void print_table(const struct conf_table *table, const void *object, int indent, struct buf *text);

static void print_list(const struct conf_option *option, const struct conf_list *list, int indent, struct buf *text)
{
    const uint8_t *items = list->items;
    for (size_t i = 0; i < list->count; i++) {
        buf_printf(text, "%*s-\n", indent, "");
        print_table(option->table, items + i * option->table->struct_bytes, indent + INDENT, text);
    }
}

static void print_table(const struct conf_table *table, const void *object, int indent, struct buf *text)
{
    for (const struct conf_option *option = table->options; option->name; option++) {
        const void *field = (const uint8_t *)object + option->offset;
        bool is_section = option->type == CONF_SECTION, is_list = option->type == CONF_LIST;
        if ((!is_section && !is_list && !is_shown(option, field)) || (is_section && !was_given(option->table, field)))
            continue;
        buf_printf(text, "%*s%s:", indent, "", option->name);
        if (is_section || (is_list && ((const struct conf_list *)field)->count > 0)) {
            buf_append_byte(text, '\n');
            if (is_section)
                print_table(option->table, field, indent + INDENT, text);
            else
                print_list(option, field, indent + INDENT, text);
            continue;
        }
        buf_append_byte(text, ' ');
        if (is_list)
            buf_append_text(text, "[]");
        else
            kinds[option->type].print(option, field, text);
        buf_append_byte(text, '\n');
    }
}

void conf_print(const struct conf_table *table, const void *object, struct buf *text)
{
    print_table(table, object, 0, text);
}

/* Not deeper than a file may be, CONF_DEPTH_MAX. */
void conf_print_node(const struct conf_node *node, struct buf *text)
{
    if (conf_node_is_null(node)) {
        buf_append_text(text, "null");
        return;
    }
    if (node->kind == CONF_NODE_SCALAR) {
        append_text(str_from(node->text), text);
        return;
    }
    bool is_map = node->kind == CONF_NODE_MAP;
    buf_append_byte(text, is_map ? '{' : '[');
    for (size_t i = 0; i < node->count; i++) {
        buf_append_text(text, i > 0 ? ", " : "");
        if (is_map) {
            append_text(str_from(node->names[i]->text), text);
            buf_append_text(text, ": ");
        }
        conf_print_node(node->items[i], text);
    }
    buf_append_byte(text, is_map ? '}' : ']');
}
