/* One reading of a file: its steps, its errors in file order, and the ways to its nodes. */
#include "base/conf_node.h"

#include "base/fail.h"
#include "base/regex.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- errors -------------------------------------------------------------------------------------------------------
 */

static int place_compare(struct conf_place a, struct conf_place b)
{
    if (a.line != b.line)
        return a.line < b.line ? -1 : 1;
    return (a.column > b.column) - (a.column < b.column);
}

/* Messages go to terminals and logs: control characters of the file must not reach them. */
static void make_printable(char *text)
{
    for (uint8_t *at = (uint8_t *)text; *at; at++) {
        bool c1_control = at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0;
        if (*at < 0x20 || *at == 0x7f || c1_control)
            *at = '?';
        if (c1_control)
            *++at = '?';
    }
}

bool conf_errors_wanted(const struct conf *conf)
{
    return conf->problem_total < CONF_ERRORS_MAX;
}

/* Keeps the first CONF_ERRORS_MAX in file order; of equal places the one reported first stands first. */
static void add_problem(struct conf *conf, struct conf_place place, const char *format, va_list args)
{
    conf->problem_total++;
    size_t at = conf->problem_count;
    while (at > 0 && place_compare(place, conf->problems[at - 1].place) < 0)
        at--;
    if (at == CONF_ERRORS_MAX)
        return;
    char text[CONF_ERROR_BYTES_MAX];
    vsnprintf(text, sizeof(text), format, args);
    make_printable(text);
    if (conf->problem_count == CONF_ERRORS_MAX)
        mem_free(conf->problems[--conf->problem_count].text);
    memmove(&conf->problems[at + 1], &conf->problems[at], (conf->problem_count - at) * sizeof(conf->problems[0]));
    conf->problems[at] = (struct conf_problem){place, mem_strdup(text)};
    conf->problem_count++;
}

void conf_error_at(struct conf *conf, struct conf_place place, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_problem(conf, place, format, args);
    va_end(args);
}

void conf_error(struct conf *conf, const struct conf_node *node, const char *format, ...)
{
    if (node && node->failed && node->kind == CONF_NODE_SCALAR)
        return;
    if (node)
        ((struct conf_node *)node)->failed = true; /* nodes are ours; callers see them as const */
    va_list args;
    va_start(args, format);
    add_problem(conf, conf_place_of(conf, node), format, args);
    va_end(args);
}

static char *errors_as_text(const struct conf *conf)
{
    struct buf text = BUF_INIT((CONF_ERRORS_MAX + 1) * (CONF_ERROR_BYTES_MAX + strlen(conf->name) + 64));
    for (size_t i = 0; i < conf->problem_count; i++) {
        const struct conf_problem *problem = &conf->problems[i];
        buf_printf(&text, "%s:%u:%u: %s\n", conf->name, problem->place.line, problem->place.column, problem->text);
    }
    if (conf->problem_total > conf->problem_count)
        buf_printf(&text, "%s: and %llu more\n", conf->name,
                   (unsigned long long)(conf->problem_total - conf->problem_count));
    buf_append_byte(&text, 0);
    return (char *)buf_steal(&text, &(size_t){0});
}

const char *conf_errors(const struct conf *conf)
{
    return conf->errors;
}

const char *conf_shown(struct conf *conf, const char *text)
{
    size_t len = strlen(text);
    if (len <= CONF_SHOWN_BYTES_MAX)
        return text;
    len = CONF_SHOWN_BYTES_MAX;
    while (len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80) /* not within a character */
        len--;
    return arena_printf(&conf->nodes, "%.*s...", (int)len, text);
}

/* ---- nodes --------------------------------------------------------------------------------------------------------
 */

bool conf_node_is_null(const struct conf_node *node)
{
    if (!node)
        return true;
    if (node->kind != CONF_NODE_SCALAR || node->quoted)
        return false;
    return !node->text[0] || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0;
}

const char *conf_node_kind_name(const struct conf_node *node)
{
    switch (node->kind) {
    case CONF_NODE_LIST:
        return "a list";
    case CONF_NODE_MAP:
        return "a map";
    case CONF_NODE_SCALAR:
        break;
    }
    return "a single value";
}

struct conf_place conf_place_of(const struct conf *conf, const struct conf_node *node)
{
    return node ? (struct conf_place){conf->name, node->line, node->column} : (struct conf_place){conf->name, 1, 1};
}

const struct conf_node *conf_child(const struct conf_node *node, const char *name)
{
    if (!node || node->kind != CONF_NODE_MAP)
        return NULL;
    for (size_t i = 0; i < node->count; i++)
        if (strcmp(node->names[i]->text, name) == 0)
            return node->items[i];
    return NULL;
}

size_t conf_child_count(const struct conf_node *node)
{
    return node ? node->count : 0;
}

const struct conf_node *conf_child_at(const struct conf_node *node, size_t index)
{
    return node && index < node->count ? node->items[index] : NULL;
}

const char *conf_child_name(const struct conf_node *node, size_t index)
{
    return node && node->kind == CONF_NODE_MAP && index < node->count ? node->names[index]->text : NULL;
}

const char *conf_text(const struct conf_node *node)
{
    return conf_node_is_null(node) || node->kind != CONF_NODE_SCALAR ? NULL : node->text;
}

bool conf_failed(const struct conf_node *node)
{
    return node && node->failed;
}

/* ---- memory -------------------------------------------------------------------------------------------------------
 */

struct arena *conf_arena(struct conf *conf)
{
    return conf->arena;
}

const char *conf_base_dir(const struct conf *conf)
{
    return conf->base_dir;
}

void *conf_context(const struct conf *conf)
{
    return conf->context;
}

void *conf_take(struct conf *conf, const struct conf_node *node, size_t count, size_t size)
{
    void *room = arena_array(conf->arena, MAX(count, 1), size);
    if (!room)
        conf_error(conf, node, "the configuration takes more than %zu bytes of memory", conf->arena->bytes_max);
    return room;
}

const char *conf_take_text(struct conf *conf, const struct conf_node *node, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = conf_take(conf, node, bytes, 1);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

const char *conf_path(struct conf *conf, const char *path)
{
    if (path[0] == '/' || !conf->base_dir[0])
        return conf_take_text(conf, NULL, path);
    CLEANUP_FREE char *joined = mem_printf("%s/%s", conf->base_dir, path);
    return conf_take_text(conf, NULL, joined);
}

/* ---- reading ------------------------------------------------------------------------------------------------------
 */

static struct conf *conf_new(const struct conf_source *source, struct arena *arena)
{
    struct conf *conf = mem_zalloc(sizeof(*conf));
    conf->fs = source->fs;
    conf->name = mem_strdup(source->name);
    conf->base_dir = mem_strdup(source->base_dir ? source->base_dir : "");
    conf->context = source->context;
    conf->arena = arena;
    arena_init(&conf->nodes, 0);
    return conf;
}

static int finish(struct conf *conf, struct conf **ret_conf)
{
    arena_done(&conf->nodes);
    conf->errors = errors_as_text(conf);
    *ret_conf = conf;
    return conf->problem_total > 0 ? -EINVAL : 0;
}

int conf_load_text(const struct conf_source *source, const struct conf_table *table, void *object, struct arena *arena,
                   struct conf **ret_conf)
{
    struct conf *conf = conf_new(source, arena);
    const struct conf_node *root = conf_yaml_read(conf, source->text);
    if (root)
        conf_fill(conf, root, table, object);
    else
        memset(object, 0, table->struct_bytes);
    return finish(conf, ret_conf);
}

int conf_load_list(const struct conf_source *source, const struct conf_option *option, struct conf_list *ret_list,
                   struct arena *arena, struct conf **ret_conf)
{
    struct conf *conf = conf_new(source, arena);
    *ret_list = (struct conf_list){0};
    const struct conf_node *root = conf_yaml_read(conf, source->text);
    if (root)
        conf_fill_list(conf, option, root, ret_list);
    int r = finish(conf, ret_conf);
    if (r < 0)
        *ret_list = (struct conf_list){0};
    return r;
}

void conf_free(struct conf *conf)
{
    if (!conf)
        return;
    for (size_t i = 0; i < conf->problem_count; i++)
        mem_free(conf->problems[i].text);
    for (size_t i = 0; i < conf->regex_count; i++)
        regex_free(conf->regexes[i]);
    mem_free(conf->regexes);
    mem_free(conf->errors);
    mem_free(conf->base_dir);
    mem_free(conf->name);
    mem_free(conf);
}
