/* Single values and plain lists of them: text -> number, size, address ..., each with its own words when it is wrong.
 * A field whose value is wrong keeps its default. */
#include "base/conf_node.h"

#include "base/fail.h"
#include "base/regex.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

typedef void fill_fn(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field);

/* ---- words --------------------------------------------------------------------------------------------------------
 */

static const char *const type_names[] = {
    [CONF_STRING] = "a text",
    [CONF_NAME] = "a name",
    [CONF_BOOL] = "true or false",
    [CONF_INT] = "a whole number",
    [CONF_DOUBLE] = "a number",
    [CONF_BYTES] = "a size such as 64MiB",
    [CONF_DURATION] = "a duration such as 15s or 1h30m",
    [CONF_ENUM] = "one of a few words",
    [CONF_ADDRESS] = "an address such as 127.0.0.1:9410 or [::1]:9410",
    [CONF_URL] = "a URL such as https://host:9411",
    [CONF_FILE] = "a file's path",
    [CONF_PATH] = "a path",
    [CONF_REGEX] = "a regular expression",
    [CONF_STRINGS] = "a list of texts",
    [CONF_URLS] = "a list of URLs",
    [CONF_STRING_MAP] = "a map of texts",
    [CONF_SECTION] = "a map (key: value)",
    [CONF_LIST] = "a list",
    [CONF_CUSTOM] = "another form",
    [CONF_REFUSED] = "nothing",
};

const char *conf_type_name(enum conf_type type)
{
    return type_names[type];
}

void conf_format_bytes(uint64_t bytes, char ret_text[static 32])
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes > 0 && bytes % 1024 == 0 && unit + 1 < ARRAY_LEN(units)) {
        bytes /= 1024;
        unit++;
    }
    snprintf(ret_text, 32, "%" PRIu64 "%s", bytes, units[unit]);
}

void conf_format_duration(int64_t ms, char ret_text[static 64])
{
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    size_t len = 0;
    if (ms <= 0)
        len = (size_t)snprintf(ret_text, 64, "%" PRId64 "s", ms);
    for (size_t i = 0; i < ARRAY_LEN(units) && ms > 0; i++) {
        if (ms / units[i].ms > 0)
            len += (size_t)snprintf(ret_text + len, 64 - len, "%" PRId64 "%s", ms / units[i].ms, units[i].name);
        ms %= units[i].ms;
    }
}

void conf_format_bound(enum conf_type type, int64_t bound, char ret_text[static 64])
{
    if (type == CONF_BYTES)
        conf_format_bytes((uint64_t)bound, ret_text);
    else if (type == CONF_DURATION)
        conf_format_duration(bound, ret_text);
    else
        snprintf(ret_text, 64, "%" PRId64, bound);
}

/* ---- helpers ------------------------------------------------------------------------------------------------------
 */

static void wrong_type(struct conf *conf, const struct conf_option *option, const struct conf_node *node)
{
    if (node->kind == CONF_NODE_SCALAR)
        conf_error(conf, node, "%s: expected %s, found \"%s\"", option->name, type_names[option->type],
                   conf_shown(conf, node->text));
    else
        conf_error(conf, node, "%s: expected %s, found %s", option->name, type_names[option->type],
                   conf_node_kind_name(node));
}

/* The text of a single value; reports and returns NULL for a list or map. */
static const char *scalar(struct conf *conf, const struct conf_option *option, const struct conf_node *node)
{
    if (node->kind == CONF_NODE_SCALAR && !node->failed)
        return node->text;
    if (!node->failed)
        wrong_type(conf, option, node);
    return NULL;
}

static bool in_bounds(struct conf *conf, const struct conf_option *option, const struct conf_node *node, int64_t value)
{
    if ((option->min == 0 && option->max == 0) || (value >= option->min && value <= option->max))
        return true;
    char min[64], max[64];
    conf_format_bound(option->type, option->min, min);
    conf_format_bound(option->type, option->max, max);
    if (value < option->min)
        conf_error(conf, node, "%s: \"%s\" is too small, the least is %s", option->name, conf_shown(conf, node->text),
                   min);
    else
        conf_error(conf, node, "%s: \"%s\" is too large, the most is %s", option->name, conf_shown(conf, node->text),
                   max);
    return false;
}

/* ---- one value ----------------------------------------------------------------------------------------------------
 */

static void fill_string(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field)
{
    const char *text = scalar(conf, option, node);
    if (!text)
        return;
    int64_t len = (int64_t)strlen(text);
    if ((option->min || option->max) && (len < option->min || len > option->max))
        conf_error(conf, node, "%s: %" PRId64 " bytes, expected %" PRId64 " to %" PRId64, option->name, len,
                   option->min, option->max);
    else
        *(const char **)field = conf_take_text(conf, node, text);
}

static void fill_name(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    const char *text = scalar(conf, option, node);
    if (!text)
        return;
    size_t len = strlen(text);
    if (len == 0 || len > CONF_NAME_BYTES_MAX || strspn(text, allowed) != len)
        conf_error(conf, node, "%s: \"%s\" is not a name: 1 to %d of A-Z a-z 0-9 _ . -", option->name,
                   conf_shown(conf, text), CONF_NAME_BYTES_MAX);
    else if (text[0] == '.')
        conf_error(conf, node, "%s: \"%s\" is not a name: no dot in front", option->name, text);
    else
        *(const char **)field = conf_take_text(conf, node, text);
}

static void fill_bool(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field)
{
    /* YAML 1.1's words, as Prometheus takes them. */
    static const char *const words[] = {"false", "no",  "off", "False", "No",  "Off", "FALSE", "NO",  "OFF",
                                        "true",  "yes", "on",  "True",  "Yes", "On",  "TRUE",  "YES", "ON"};
    const char *text = scalar(conf, option, node);
    for (size_t i = 0; text && i < ARRAY_LEN(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *(bool *)field = i >= ARRAY_LEN(words) / 2;
            return;
        }
    }
    if (text)
        wrong_type(conf, option, node);
}

static void fill_int(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field)
{
    const char *text = scalar(conf, option, node);
    int64_t value;
    if (!text)
        return;
    if (str_to_i64(str_from(text), &value) < 0)
        wrong_type(conf, option, node);
    else if (in_bounds(conf, option, node, value))
        *(int64_t *)field = value;
}

static void fill_double(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field)
{
    const char *text = scalar(conf, option, node);
    double value;
    if (!text)
        return;
    if (str_to_double(str_from(text), &value) < 0 || !isfinite(value))
        wrong_type(conf, option, node);
    else if ((option->min || option->max) && (value < (double)option->min || value > (double)option->max))
        conf_error(conf, node, "%s: \"%s\" is not between %" PRId64 " and %" PRId64, option->name,
                   conf_shown(conf, text), option->min, option->max);
    else
        *(double *)field = value;
}

static void fill_bytes(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field)
{
    const char *text = scalar(conf, option, node);
    uint64_t value;
    if (!text)
        return;
    if (str_to_bytes(str_from(text), &value) < 0)
        wrong_type(conf, option, node);
    else if (in_bounds(conf, option, node, (int64_t)MIN(value, (uint64_t)INT64_MAX)))
        *(uint64_t *)field = value;
}

static void fill_duration(struct conf *conf, const struct conf_option *option, const struct conf_node *node,
                          void *field)
{
    const char *text = scalar(conf, option, node);
    int64_t value;
    if (!text)
        return;
    if (str_to_duration_ms(str_from(text), &value) < 0)
        wrong_type(conf, option, node);
    else if (in_bounds(conf, option, node, value))
        *(int64_t *)field = value;
}

static void fill_enum(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field)
{
    const char *text = scalar(conf, option, node);
    if (!text)
        return;
    size_t count = 0;
    for (; option->names[count]; count++) {
        if (strcmp(option->names[count], text) == 0) {
            *(int *)field = (int)count;
            return;
        }
    }
    char list[256] = "";
    for (size_t i = 0, len = 0; i < count && len < sizeof(list); i++)
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", i ? ", " : "", option->names[i]);
    conf_error(conf, node, "%s: \"%s\" is not one of %s", option->name, conf_shown(conf, text), list);
}

/* ---- places on the net --------------------------------------------------------------------------------------------
 */

static bool is_port(struct str text)
{
    uint64_t port;
    return text.len > 0 && text.len <= 5 && str_to_u64(text, &port) == 0 && port <= 65535;
}

/* A name or an IPv4 address, or an IPv6 address in brackets. */
static bool is_host(struct str text)
{
    bool v6 = str_starts_with(text, STR("[")) && str_ends_with(text, STR("]"));
    if (v6)
        text = str_of(text.ptr + 1, text.len - 2);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alnum && !strchr(v6 ? ":.%" : "._-", c))
            return false;
    }
    return text.len > 0 && text.len < 256;
}

/* host[:port] */
static bool is_host_port(struct str text, bool port_required)
{
    size_t colon = text.len;
    while (colon > 0 && text.ptr[colon - 1] != ':' && text.ptr[colon - 1] != ']')
        colon--;
    if (colon == 0 || text.ptr[colon - 1] == ']')
        return !port_required && is_host(text);
    return is_host(str_of(text.ptr, colon - 1)) && is_port(str_of(text.ptr + colon, text.len - colon));
}

static void fill_address(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field)
{
    const char *text = scalar(conf, option, node);
    if (!text)
        return;
    if (text[0] == ':' && is_port(str_from(text + 1)))
        conf_error(conf, node, "%s: \"%s\" has no host: 0.0.0.0 means all addresses of this machine", option->name,
                   conf_shown(conf, text));
    else if (!is_host_port(str_from(text), true))
        wrong_type(conf, option, node);
    else
        *(const char **)field = conf_take_text(conf, node, text);
}

static void fill_url(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field)
{
    const char *text = scalar(conf, option, node);
    if (!text)
        return;
    struct str rest = str_from(text);
    size_t scheme = str_starts_with(rest, STR("http://")) ? 7 : str_starts_with(rest, STR("https://")) ? 8 : 0;
    size_t host_len = strcspn(text + scheme, "/?#");
    if (memchr(text + scheme, '@', host_len)) /* the text is not shown: there is a password in it */
        conf_error(conf, node, "%s: a user name or password does not belong into a URL: secrets are read from files",
                   option->name);
    else if (scheme == 0 || !is_host_port(str_of(text + scheme, host_len), false))
        conf_error(conf, node, "%s: expected a URL such as https://host:9411, found \"%s\"", option->name,
                   conf_shown(conf, text));
    else if (strpbrk(text, " \"<>\\^`{|}#"))
        conf_error(conf, node, "%s: \"%s\" has a character that does not belong into a URL", option->name,
                   conf_shown(conf, text));
    else
        *(const char **)field = conf_take_text(conf, node, text);
}

/* ---- files and patterns -------------------------------------------------------------------------------------------
 */

static void fill_path(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field)
{
    const char *text = scalar(conf, option, node);
    if (!text)
        return;
    if (!text[0])
        conf_error(conf, node, "%s: an empty path", option->name);
    else
        *(const char **)field = conf_path(conf, text);
}

/* Opening does not tell: a directory opens, and only reading fails. */
static int check_readable(struct file_system *fs, const char *path)
{
    CLEANUP(file_closep) struct file *file = NULL;
    int r = file_open(fs, path, FILE_READ, &file);
    if (r < 0)
        return r;
    uint8_t byte;
    return (int)MIN(file_read_at(file, &byte, 1, 0), 0);
}

static void fill_file(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field)
{
    const char *path = NULL;
    fill_path(conf, option, node, &path);
    if (!path)
        return;
    int r = check_readable(conf->fs, path);
    if (r < 0)
        conf_error(conf, node, "%s: cannot read \"%s\": %s", option->name, path, strerrordesc_np(-r));
    else
        *(const char **)field = path;
}

static void fill_regex(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field)
{
    const char *text = scalar(conf, option, node);
    if (!text)
        return;
    struct regex *regex = NULL;
    char error[256] = "";
    if (regex_new(str_from(text), error, &regex) < 0) {
        conf_error(conf, node, "%s: %s", option->name, error);
        return;
    }
    conf->regexes = mem_resize(conf->regexes, conf->regex_count + 1, sizeof(*conf->regexes));
    conf->regexes[conf->regex_count++] = regex;
    *(struct regex **)field = regex;
}

/* ---- lists of texts -----------------------------------------------------------------------------------------------
 */

static bool count_in_bounds(struct conf *conf, const struct conf_option *option, const struct conf_node *node)
{
    int64_t max = option->max ? option->max : CONF_LIST_MAX;
    if ((int64_t)node->count >= option->min && (int64_t)node->count <= max)
        return true;
    conf_error(conf, node, "%s: %zu items, expected %" PRId64 " to %" PRId64, option->name, node->count, option->min,
               max);
    return false;
}

/* Each item by `fill`, with the option's name for messages. */
static void fill_items(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field,
                       fill_fn *fill)
{
    if (node->kind != CONF_NODE_LIST) {
        if (!node->failed)
            wrong_type(conf, option, node);
        return;
    }
    struct conf_strings *strings = field;
    const char **items = NULL;
    if (!count_in_bounds(conf, option, node) || !(items = conf_take(conf, node, node->count, sizeof(*items))))
        return;
    /* Bounds of the list are not those of its items. */
    const struct conf_option item = {.name = option->name, .type = fill == fill_url ? CONF_URL : CONF_STRING};
    for (size_t i = 0; i < node->count; i++) {
        items[i] = "";
        if (conf_node_is_null(node->items[i]))
            conf_error(conf, node->items[i], "%s: an empty item", option->name);
        else
            fill(conf, &item, node->items[i], &items[i]);
    }
    *strings = (struct conf_strings){items, node->count};
}

static void fill_strings(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field)
{
    fill_items(conf, option, node, field, fill_string);
}

void conf_fill_strings(struct conf *conf, const char *name, const struct conf_node *node,
                       struct conf_strings *ret_strings)
{
    const struct conf_option option = {.name = name, .type = CONF_STRINGS};
    if (!conf_node_is_null(node))
        fill_strings(conf, &option, node, ret_strings);
}

static void fill_urls(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field)
{
    fill_items(conf, option, node, field, fill_url);
}

static void fill_string_map(struct conf *conf, const struct conf_option *option, const struct conf_node *node,
                            void *field)
{
    if (node->kind != CONF_NODE_MAP) {
        if (!node->failed)
            wrong_type(conf, option, node);
        return;
    }
    struct conf_string_map *map = field;
    struct conf_pair *pairs = conf_take(conf, node, node->count, sizeof(*pairs));
    if (!pairs)
        return;
    const struct conf_option item = {.name = option->name, .type = CONF_STRING};
    for (size_t i = 0; i < node->count; i++) {
        pairs[i] = (struct conf_pair){conf_take_text(conf, node, node->names[i]->text), ""};
        if (!conf_node_is_null(node->items[i]))
            fill_string(conf, &item, node->items[i], &pairs[i].value);
    }
    *map = (struct conf_string_map){pairs, node->count};
}

void conf_value_fill(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field)
{
    static fill_fn *const fillers[] = {
        [CONF_STRING] = fill_string,     [CONF_NAME] = fill_name,
        [CONF_BOOL] = fill_bool,         [CONF_INT] = fill_int,
        [CONF_DOUBLE] = fill_double,     [CONF_BYTES] = fill_bytes,
        [CONF_DURATION] = fill_duration, [CONF_ENUM] = fill_enum,
        [CONF_ADDRESS] = fill_address,   [CONF_URL] = fill_url,
        [CONF_FILE] = fill_file,         [CONF_PATH] = fill_path,
        [CONF_REGEX] = fill_regex,       [CONF_STRINGS] = fill_strings,
        [CONF_URLS] = fill_urls,         [CONF_STRING_MAP] = fill_string_map,
    };
    ASSERT(option->type < ARRAY_LEN(fillers));
    fillers[option->type](conf, option, node, field);
}
