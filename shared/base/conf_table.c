/* Nodes -> structs by tables: which keys are there, which are missing, which are nobody's. */
#include "base/conf_node.h"

#include "base/fail.h"

#include <inttypes.h>

/* ---- did you mean -------------------------------------------------------------------------------------------------
 */

/* Edits (change, add, leave out, swap neighbours) that make a into b; both at most CONF_NAME_BYTES_MAX long. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t a_len = strlen(a), b_len = strlen(b);
    size_t rows[3][CONF_NAME_BYTES_MAX + 1]; /* before the last, the last, this one */
    for (size_t j = 0; j <= b_len; j++)
        rows[1][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        rows[2][0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t change = rows[1][j - 1] + (a[i - 1] != b[j - 1]);
            size_t best = MIN(change, MIN(rows[1][j], rows[2][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, rows[0][j - 2] + 1);
            rows[2][j] = best;
        }
        memcpy(rows[0], rows[1], sizeof(rows[0]));
        memcpy(rows[1], rows[2], sizeof(rows[1]));
    }
    return rows[1][b_len];
}

const char *conf_nearest(const char *word, const char *const *names, size_t count)
{
    size_t len = strlen(word);
    if (len > CONF_NAME_BYTES_MAX)
        return NULL;
    const char *nearest = NULL;
    size_t nearest_edits = MAX(len / 3, 1) + 1; /* a third of the letters wrong is a typo, more is another word */
    for (size_t i = 0; i < count; i++) {
        size_t edits = strlen(names[i]) <= CONF_NAME_BYTES_MAX ? edit_distance(word, names[i]) : SIZE_MAX;
        if (edits < nearest_edits) {
            nearest = names[i];
            nearest_edits = edits;
        }
    }
    return nearest;
}

/* ---- keys of one table --------------------------------------------------------------------------------------------
 */

bool conf_name_fits(const char *option_name, const char *key)
{
    return option_name[0] == '*' ? str_ends_with(str_from(key), str_from(option_name + 1))
                                 : strcmp(option_name, key) == 0;
}

static const struct conf_option *find_option(const struct conf_table *table, const char *name)
{
    const struct conf_option *by_ending = NULL;
    for (const struct conf_option *option = table->options; option->name; option++) {
        if (strcmp(option->name, name) == 0)
            return option;
        if (conf_name_fits(option->name, name))
            by_ending = option;
    }
    return by_ending;
}

static const char *suggestion(const struct conf_table *table, const char *word)
{
    const char *names[128];
    size_t count = 0;
    for (const struct conf_option *option = table->options; option->name && count < ARRAY_LEN(names); option++)
        if (option->type != CONF_REFUSED && option->name[0] != '*')
            names[count++] = option->name;
    return conf_nearest(word, names, count);
}

static void report_unknown_key(struct conf *conf, const struct conf_table *table, const struct conf_node *name)
{
    /* Looking for the nearest is work that a file of a million bad keys must not cause. */
    const char *nearest = conf_errors_wanted(conf) ? suggestion(table, name->text) : NULL;
    if (nearest)
        conf_error(conf, name, "unknown key \"%s\" in %s, did you mean \"%s\"?", conf_shown(conf, name->text),
                   table->title, nearest);
    else
        conf_error(conf, name, "unknown key \"%s\" in %s", conf_shown(conf, name->text), table->title);
}

/* Keys that no option takes; a doubled key has its error already. */
static void check_keys(struct conf *conf, const struct conf_node *node, const struct conf_table *table)
{
    for (size_t i = 0; i < node->count; i++) {
        const struct conf_node *name = node->names[i];
        const struct conf_option *option = find_option(table, name->text);
        if (!option)
            report_unknown_key(conf, table, name);
        else if (option->type == CONF_REFUSED)
            conf_error(conf, name, "%s: %s", option->name, option->help);
    }
}

/* ---- filling ------------------------------------------------------------------------------------------------------
 */

/* A default is text like any other value; that it is a good one is our own promise. */
static void fill_fallback(struct conf *conf, const struct conf_option *option, void *field)
{
    if (!option->fallback)
        return;
    struct conf_node node = {
        .kind = CONF_NODE_SCALAR, .quoted = true, .line = 1, .column = 1, .text = option->fallback};
    conf_value_fill(conf, option, &node, field);
    ASSERT(!node.failed || conf->arena->bytes_max > 0); /* an arena with a ceiling may be full */
}

void conf_fill_list(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field)
{
    struct conf_list *list = field;
    int64_t max = option->max ? option->max : CONF_LIST_MAX;
    if (node->kind != CONF_NODE_LIST) {
        conf_error(conf, node, "%s: expected a list, found %s", option->name, conf_node_kind_name(node));
        return;
    } else if ((int64_t)node->count < option->min || (int64_t)node->count > max) {
        conf_error(conf, node, "%s: %zu items, expected %" PRId64 " to %" PRId64, option->name, node->count,
                   option->min, max);
        return;
    }
    uint8_t *items = conf_take(conf, node, node->count, option->table->struct_bytes);
    if (!items)
        return;
    for (size_t i = 0; i < node->count; i++)
        conf_fill(conf, node->items[i], option->table, items + i * option->table->struct_bytes);
    *list = (struct conf_list){items, node->count};
}

/* node NULL: the key is absent, the field has its default (of a section: the defaults of its keys). */
static void fill_option(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field)
{
    switch (option->type) {
    case CONF_REFUSED:
        return;
    case CONF_SECTION:
        conf_fill(conf, node, option->table, field);
        return;
    case CONF_LIST:
        if (node)
            conf_fill_list(conf, option, node, field);
        return;
    case CONF_CUSTOM:
        option->custom(conf, node, field);
        return;
    default:
        fill_fallback(conf, option, field);
        if (node)
            conf_value_fill(conf, option, node, field);
    }
}

static void fill_options(struct conf *conf, const struct conf_node *map, const struct conf_table *table, void *object)
{
    for (const struct conf_option *option = table->options; option->name; option++) {
        const struct conf_node *node = option->name[0] == '*' ? map : conf_child(map, option->name);
        bool null = conf_node_is_null(node) && !conf_failed(node);
        if (null && option->required && map && node)
            conf_error(conf, node, "%s: a value is required", option->name);
        else if (null && option->required && map)
            conf_error_at(conf, conf_place_of(conf, map), "key \"%s\" is missing in %s", option->name, table->title);
        fill_option(conf, option, null ? NULL : node, (uint8_t *)object + option->offset);
    }
}

void conf_fill(struct conf *conf, const struct conf_node *node, const struct conf_table *table, void *object)
{
    memset(object, 0, table->struct_bytes);
    bool is_map = node && node->kind == CONF_NODE_MAP;
    if (node && !is_map)
        conf_error(conf, node, "%s: expected a map (key: value), found %s", table->title,
                   conf_node_is_null(node) ? "nothing" : conf_node_kind_name(node));
    fill_options(conf, is_map ? node : NULL, table, object);
    if (!is_map)
        return;
    check_keys(conf, node, table);
    if (table->check)
        table->check(conf, node, object);
}
