/* Text -> nodes, by the events of libyaml. Refused here: aliases and anchors (a few lines of them expand to gigabytes),
 * tags, doubled keys, keys that are no text, several documents. */
#include "base/conf_node.h"

#include "base/fail.h"
#include "base/map.h"

#include <errno.h>
#include <yaml.h>

struct source {
    struct conf *conf;
    struct str text;
    yaml_parser_t parser;
    size_t node_count;
};

/* Children of a list or map while it is being read. */
struct children {
    struct conf_node **items;
    size_t count;
    size_t capacity;
};

static struct conf_node *read_node(struct source *source, yaml_event_t *event, int depth);

static void children_done(struct children *children)
{
    mem_free(children->items);
}

static void children_add(struct children *children, struct conf_node *node)
{
    if (children->count == children->capacity) {
        children->capacity = children->capacity ? children->capacity * 2 : 8;
        children->items = mem_resize(children->items, children->capacity, sizeof(*children->items));
    }
    children->items[children->count++] = node;
}

static struct conf_place place_of_mark(const struct source *source, yaml_mark_t mark)
{
    return (struct conf_place){source->conf->name, (uint32_t)mark.line + 1, (uint32_t)mark.column + 1};
}

/* libyaml tells of bad bytes by their offset only. */
static struct conf_place place_of_offset(const struct source *source, size_t offset)
{
    struct conf_place place = {source->conf->name, 1, 1};
    for (size_t i = 0; i < offset && i < source->text.len; i++) {
        uint8_t byte = (uint8_t)source->text.ptr[i];
        if (byte == '\n') {
            place.line++;
            place.column = 1;
        } else if ((byte & 0xc0) != 0x80) {
            place.column++;
        }
    }
    return place;
}

static void report_syntax(struct source *source)
{
    const yaml_parser_t *parser = &source->parser;
    const char *problem = parser->problem ? parser->problem : "not enough memory";
    if (parser->error == YAML_READER_ERROR)
        conf_error_at(source->conf, place_of_offset(source, parser->problem_offset), "%s", problem);
    else
        conf_error_at(source->conf, place_of_mark(source, parser->problem_mark), "%s%s%s", problem,
                      parser->context ? ", " : "", parser->context ? parser->context : "");
}

static int next_event(struct source *source, yaml_event_t *event)
{
    if (yaml_parser_parse(&source->parser, event))
        return 0;
    report_syntax(source);
    return -EINVAL;
}

static struct conf_node *new_node(struct source *source, const yaml_event_t *event, enum conf_node_kind kind)
{
    struct conf_place place = place_of_mark(source, event->start_mark);
    if (source->node_count++ >= CONF_NODES_MAX) {
        conf_error_at(source->conf, place, "more than %d values in one file", CONF_NODES_MAX);
        return NULL;
    }
    struct conf_node *node = arena_array(&source->conf->nodes, 1, sizeof(*node));
    node->kind = kind;
    node->line = place.line;
    node->column = place.column;
    return node;
}

static void refuse_decoration(struct source *source, struct conf_node *node, const yaml_char_t *anchor,
                              const yaml_char_t *tag)
{
    if (anchor)
        conf_error(source->conf, node, "anchors (&name) are not supported: write the value where it is used");
    else if (tag)
        conf_error(source->conf, node, "tags (!name) are not supported: the type of a value follows from its key");
}

static struct conf_node *read_scalar(struct source *source, const yaml_event_t *event)
{
    struct conf_node *node = new_node(source, event, CONF_NODE_SCALAR);
    if (!node)
        return NULL;
    struct str text = str_of(event->data.scalar.value, event->data.scalar.length);
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    refuse_decoration(source, node, event->data.scalar.anchor, event->data.scalar.tag);
    if (str_find(text, '\0') != text.len) {
        conf_error(source->conf, node, "a text with a zero byte in it");
        text = STR("");
    }
    node->text = arena_str(&source->conf->nodes, text).ptr;
    return node;
}

static struct conf_node *read_alias(struct source *source, const yaml_event_t *event)
{
    struct conf_node *node = new_node(source, event, CONF_NODE_SCALAR);
    if (!node)
        return NULL;
    node->text = "";
    conf_error(source->conf, node, "aliases (*name) are not supported: write the value where it is used");
    return node;
}

static struct conf_node **keep_children(struct conf *conf, const struct children *children)
{
    struct conf_node **kept = arena_array(&conf->nodes, MAX(children->count, 1), sizeof(*kept));
    if (children->count > 0)
        memcpy(kept, children->items, children->count * sizeof(*kept));
    return kept;
}

static int too_deep(struct source *source, const struct conf_node *node, int depth)
{
    if (depth < CONF_DEPTH_MAX)
        return 0;
    conf_error(source->conf, node, "nested more than %d deep", CONF_DEPTH_MAX);
    return -EINVAL;
}

static struct conf_node *read_list(struct source *source, const yaml_event_t *start, int depth)
{
    struct conf_node *node = new_node(source, start, CONF_NODE_LIST);
    if (!node || too_deep(source, node, depth) < 0)
        return NULL;
    refuse_decoration(source, node, start->data.sequence_start.anchor, start->data.sequence_start.tag);
    CLEANUP(children_done) struct children items = {0};
    for (;;) {
        CLEANUP(yaml_event_delete) yaml_event_t event = {0};
        if (next_event(source, &event) < 0)
            return NULL;
        if (event.type == YAML_SEQUENCE_END_EVENT)
            break;
        struct conf_node *item = read_node(source, &event, depth + 1);
        if (!item)
            return NULL;
        children_add(&items, item);
    }
    node->items = keep_children(source->conf, &items);
    node->count = items.count;
    return node;
}

static bool key_equal(const void *item, const void *key)
{
    return strcmp(((const struct conf_node *)item)->text, key) == 0;
}

static void refuse_doubled_keys(struct conf *conf, const struct conf_node *node)
{
    CLEANUP(map_done) struct map seen;
    map_init(&seen);
    for (size_t i = 0; i < node->count; i++) {
        const struct conf_node *name = node->names[i];
        uint64_t hash = str_hash(str_from(name->text));
        const struct conf_node *first = map_get(&seen, hash, key_equal, name->text);
        if (first)
            conf_error(conf, name, "key \"%s\" stands twice, first in line %u", conf_shown(conf, name->text),
                       first->line);
        else
            map_put(&seen, hash, node->names[i]);
    }
}

static struct conf_node *read_key(struct source *source, yaml_event_t *event, int depth)
{
    struct conf_node *name = read_node(source, event, depth);
    if (!name || (name->kind == CONF_NODE_SCALAR && (name->failed || !conf_node_is_null(name))))
        return name;
    conf_error(source->conf, name, "a key must be a text");
    name->kind = CONF_NODE_SCALAR;
    name->text = "";
    return name;
}

static struct conf_node *read_map(struct source *source, const yaml_event_t *start, int depth)
{
    struct conf_node *node = new_node(source, start, CONF_NODE_MAP);
    if (!node || too_deep(source, node, depth) < 0)
        return NULL;
    refuse_decoration(source, node, start->data.mapping_start.anchor, start->data.mapping_start.tag);
    CLEANUP(children_done) struct children names = {0};
    CLEANUP(children_done) struct children items = {0};
    for (;;) {
        CLEANUP(yaml_event_delete) yaml_event_t key_event = {0};
        CLEANUP(yaml_event_delete) yaml_event_t event = {0};
        if (next_event(source, &key_event) < 0)
            return NULL;
        if (key_event.type == YAML_MAPPING_END_EVENT)
            break;
        struct conf_node *name = read_key(source, &key_event, depth + 1);
        if (!name || next_event(source, &event) < 0)
            return NULL;
        struct conf_node *item = read_node(source, &event, depth + 1);
        if (!item)
            return NULL;
        children_add(&names, name);
        children_add(&items, item);
    }
    node->names = keep_children(source->conf, &names);
    node->items = keep_children(source->conf, &items);
    node->count = items.count;
    refuse_doubled_keys(source->conf, node);
    return node;
}

/* Recursion is bounded by CONF_DEPTH_MAX. */
static struct conf_node *read_node(struct source *source, yaml_event_t *event, int depth)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(source, event);
    case YAML_ALIAS_EVENT:
        return read_alias(source, event);
    case YAML_SEQUENCE_START_EVENT:
        return read_list(source, event, depth);
    case YAML_MAPPING_START_EVENT:
        return read_map(source, event, depth);
    default: /* libyaml's grammar has no other event here */
        conf_error_at(source->conf, place_of_mark(source, event->start_mark), "expected a value");
        return NULL;
    }
}

/* An empty file is an empty map, so that its missing keys are told. */
static struct conf_node *empty_map(struct conf *conf)
{
    struct conf_node *node = arena_array(&conf->nodes, 1, sizeof(*node));
    node->kind = CONF_NODE_MAP;
    node->line = node->column = 1;
    return node;
}

static struct conf_node *read_stream(struct source *source)
{
    struct conf_node *root = NULL;
    for (;;) {
        CLEANUP(yaml_event_delete) yaml_event_t event = {0};
        if (next_event(source, &event) < 0)
            return NULL;
        if (event.type == YAML_STREAM_END_EVENT)
            return conf_node_is_null(root) && !conf_failed(root) ? empty_map(source->conf) : root;
        if (event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_END_EVENT)
            continue;
        if (event.type == YAML_DOCUMENT_START_EVENT) {
            if (!root)
                continue;
            conf_error_at(source->conf, place_of_mark(source, event.start_mark), "a second document in one file");
            return root;
        }
        root = read_node(source, &event, 0);
        if (!root)
            return NULL;
    }
}

struct conf_node *conf_yaml_read(struct conf *conf, struct str text)
{
    struct source source = {.conf = conf, .text = text};
    if (!yaml_parser_initialize(&source.parser)) {
        conf_error(conf, NULL, "not enough memory");
        return NULL;
    }
    yaml_parser_set_input_string(&source.parser, (const unsigned char *)(text.ptr ? text.ptr : ""), text.len);
    struct conf_node *root = read_stream(&source);
    yaml_parser_delete(&source.parser);
    return root;
}
