#include "discovery/json_items.h"

#include "base/fail.h"
#include "base/quote.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <yajl/yajl_parse.h>

#define ERROR_BYTES_MAX   512
#define EXCERPT_BYTES_MAX 40 /* shown of what is no JSON: enough to see that it is a page of HTML */
/* yajl is fed so much at a time, so that what stands between two of its calls is measured before more is kept. */
#define FEED_BYTES_MAX (64 * KIB)

/* A tree under construction: of the item, or of the members beside the list. */
struct tree {
    struct arena arena;
    const struct json_node *root;
    struct str key; /* of the member whose value comes next */
    size_t open;    /* containers whose end has not come */
    struct frame {
        struct json_node *node, *last;
    } frames[JSON_DEPTH_MAX];
};

struct json_items {
    struct json_items_options options;
    yajl_handle yajl;
    struct tree item, rest;
    size_t item_depth; /* containers around an item */
    size_t depth;      /* containers that are open */
    size_t skip_depth; /* containers around the value that is passed over; 0: none is */
    bool at_list;      /* the key of the list has come, its value not yet */
    bool in_list, list_seen;
    bool begun; /* something but white space has come */
    bool ended;
    uint64_t fed;        /* bytes of the stream before those that yajl has now */
    uint64_t last_token; /* where in the stream the last one ended that yajl told */
    int failed;          /* negative errno: nothing more is taken */
    char error[ERROR_BYTES_MAX];
};

/* ---- reading a tree ---- */

const struct json_node *json_get(const struct json_node *node, const char *key)
{
    if (!node || node->kind != JSON_OBJECT)
        return NULL;
    JSON_FOREACH(child, node)
    if (str_equal(child->key, str_from(key)))
        return child;
    return NULL;
}

const struct json_node *json_get2(const struct json_node *node, const char *key, const char *key2)
{
    return json_get(json_get(node, key), key2);
}

struct str json_get_text(const struct json_node *node, const char *key)
{
    const struct json_node *value = json_get(node, key);
    return value && value->kind == JSON_STRING ? value->text : STR_NULL;
}

struct str json_scalar(const struct json_node *node, const char *key)
{
    const struct json_node *value = json_get(node, key);
    return value ? value->text : STR_NULL;
}

bool json_is_true(const struct json_node *node, const char *key)
{
    const struct json_node *value = json_get(node, key);
    return value && value->kind == JSON_TRUE;
}

/* ---- what is wrong ---- */

static uint64_t position(const struct json_items *items)
{
    return items->fed + yajl_get_bytes_consumed(items->yajl);
}

/* The first failure stays. 0, which ends yajl's reading. */
static int fail(struct json_items *items, int error, const char *format, ...) PRINTF_LIKE(3, 4);
static int fail(struct json_items *items, int error, const char *format, ...)
{
    ASSERT(error < 0);
    if (items->failed < 0)
        return 0;
    va_list args;
    va_start(args, format);
    vsnprintf(items->error, sizeof(items->error), format, args);
    va_end(args);
    items->failed = error;
    return 0;
}

static int fail_large(struct json_items *items, const struct tree *tree)
{
    return fail(items, -EMSGSIZE, "%s that ends past byte %llu takes more than %zu MiB of memory",
                tree == &items->item ? "an element" : "what stands beside the list",
                (unsigned long long)position(items), JSON_ITEM_BYTES_MAX / MIB);
}

/* With what stands at the place. */
static void fail_found(struct json_items *items, struct str piece, size_t at, struct str reason)
{
    struct str found =
        at < piece.len ? str_of(piece.ptr + at, MIN(piece.len - at, (size_t)EXCERPT_BYTES_MAX)) : STR_NULL;
    CLEANUP(buf_done) struct buf excerpt = BUF_INIT(16 * EXCERPT_BYTES_MAX);
    quote_print(found, &excerpt);
    bool is_page = items->last_token == 0 && str_starts_with(found, STR("<"));
    fail(items, -EBADMSG, "not JSON at byte %llu: found " STR_FMT "%s (" STR_FMT ")",
         (unsigned long long)items->fed + at, STR_ARG(buf_view(&excerpt)),
         is_page ? ", which begins a page of HTML or XML, maybe of a proxy or a login" : "", STR_ARG(reason));
}

static void fail_yajl(struct json_items *items, struct str piece)
{
    unsigned char *told = yajl_get_error(items->yajl, 0, NULL, 0);
    struct str reason = str_from((const char *)told);
    reason.len = str_find(reason, '\n');
    /* Its offset is that of the wrong byte where a token breaks off, and past a token that may not stand there. */
    size_t at = yajl_get_bytes_consumed(items->yajl);
    bool is_past =
        str_starts_with(reason, STR("parse error")) || str_ends_with(reason, STR("invalid char in json text."));
    fail_found(items, piece, at > 0 && is_past ? at - 1 : at, reason);
    yajl_free_error(items->yajl, told);
}

/* ---- building a tree ---- */

/* The value in its parent, or as the root. A container is open then. NULL past the ceiling. */
static struct json_node *tree_add(struct tree *tree, enum json_kind kind, struct str text)
{
    struct json_node *node = arena_array(&tree->arena, 1, sizeof(*node));
    if (!node)
        return NULL;
    *node = (struct json_node){.kind = kind, .key = tree->key};
    tree->key = STR_NULL;
    if (text.ptr) {
        node->text = arena_str(&tree->arena, text);
        if (!node->text.ptr)
            return NULL;
    }
    if (tree->open > 0) {
        struct frame *parent = &tree->frames[tree->open - 1];
        if (parent->last)
            parent->last->next = node;
        else
            parent->node->children = node;
        parent->last = node;
        parent->node->count++;
    } else {
        tree->root = node;
    }
    if (kind >= JSON_LIST) {
        ASSERT(tree->open < JSON_DEPTH_MAX);
        tree->frames[tree->open++] = (struct frame){.node = node};
    }
    return node;
}

static void tree_clear(struct tree *tree)
{
    arena_reset(&tree->arena);
    tree->root = NULL;
    tree->key = STR_NULL;
    tree->open = 0;
}

/* ---- where a value stands ---- */

/* The tree a value that begins or ends here is part of; NULL: it is the outermost one, or the list. */
static struct tree *tree_here(struct json_items *items)
{
    if (items->options.list_key && !items->in_list)
        return items->at_list ? NULL : &items->rest;
    return items->depth >= items->item_depth ? &items->item : NULL;
}

/* The outermost value and the list must be what the shape says. */
static bool shape_allows(struct json_items *items, enum json_kind kind)
{
    static const char *const names[] = {"null", "a boolean", "a boolean", "a number", "a text", "a list", "an object"};
    if (items->at_list && items->depth == 1) {
        /* Go writes null for a list without elements. */
        if (kind == JSON_LIST || kind == JSON_NULL)
            return true;
        return fail(items, -EBADMSG, "\"%s\" at byte %llu: expected a list, found %s", items->options.list_key,
                    (unsigned long long)position(items), names[kind]);
    }
    enum json_kind expected = items->options.shape == JSON_ELEMENTS ? JSON_LIST : JSON_OBJECT;
    if (items->depth > 0 || items->options.shape == JSON_VALUES || kind == expected)
        return true;
    return fail(items, -EBADMSG, "the outermost value, at byte %llu: expected %s, found %s",
                (unsigned long long)position(items), names[expected], names[kind]);
}

static int item_is_whole(struct json_items *items)
{
    int r = items->options.item(items->options.arg, items->item.root);
    tree_clear(&items->item);
    return r >= 0
               ? 1
               : fail(items, r, "the element that ends at byte %llu was refused", (unsigned long long)position(items));
}

/* A value that is no container, or the beginning of one that is. */
static int on_value(struct json_items *items, enum json_kind kind, struct str text)
{
    items->last_token = position(items);
    if (kind == JSON_STRING && !str_is_utf8(text))
        return fail(items, -EBADMSG, "the text that ends at byte %llu is not UTF-8",
                    (unsigned long long)items->last_token);
    if (kind >= JSON_LIST && items->depth == JSON_DEPTH_MAX)
        return fail(items, -EMSGSIZE, "nested deeper than %d at byte %llu", JSON_DEPTH_MAX,
                    (unsigned long long)items->last_token);
    if (items->skip_depth == 0) {
        struct tree *tree = tree_here(items);
        if (!shape_allows(items, kind))
            return 0;
        if (tree && !tree_add(tree, kind, text))
            return fail_large(items, tree);
        items->in_list = items->in_list || (items->at_list && kind == JSON_LIST);
        items->at_list = false;
        if (tree == &items->item && tree->open == 0)
            return item_is_whole(items);
    } else if (kind < JSON_LIST && items->depth == items->skip_depth) {
        items->skip_depth = 0;
    }
    items->depth += kind >= JSON_LIST;
    return 1;
}

static int on_end(void *arg)
{
    struct json_items *items = arg;
    items->last_token = position(items);
    ASSERT(items->depth > 0);
    items->depth--;
    if (items->skip_depth > 0) {
        items->skip_depth = items->depth == items->skip_depth ? 0 : items->skip_depth;
        return 1;
    }
    if (items->in_list && items->depth == 1) {
        items->in_list = false;
        return 1;
    }
    struct tree *tree = tree_here(items);
    if (!tree)
        return 1;
    ASSERT(tree->open > 0);
    tree->open--;
    return tree == &items->item && tree->open == 0 ? item_is_whole(items) : 1;
}

static bool is_skipped(const struct json_items *items, struct str key)
{
    for (const char *const *name = items->options.skip; name && *name; name++)
        if (str_equal(key, str_from(*name)))
            return true;
    return false;
}

static int on_key(void *arg, const unsigned char *bytes, size_t len)
{
    struct json_items *items = arg;
    struct str key = str_of(bytes, len);
    items->last_token = position(items);
    if (!str_is_utf8(key))
        return fail(items, -EBADMSG, "the key that ends at byte %llu is not UTF-8",
                    (unsigned long long)items->last_token);
    if (items->skip_depth > 0)
        return 1;
    if (items->options.list_key && items->depth == 1 && str_equal(key, str_from(items->options.list_key))) {
        if (items->list_seen)
            return fail(items, -EBADMSG, "\"%s\" is there a second time at byte %llu", items->options.list_key,
                        (unsigned long long)items->last_token);
        items->at_list = items->list_seen = true;
        return 1;
    }
    if (is_skipped(items, key)) {
        items->skip_depth = items->depth;
        return 1;
    }
    struct tree *tree = tree_here(items);
    ASSERT(tree); /* an object outside of both is the outermost one, and its members are items */
    tree->key = arena_str(&tree->arena, key);
    return tree->key.ptr ? 1 : fail_large(items, tree);
}

/* ---- yajl's calls ---- */

static int on_null(void *arg)
{
    return on_value(arg, JSON_NULL, STR_NULL);
}

static int on_boolean(void *arg, int value)
{
    return on_value(arg, value ? JSON_TRUE : JSON_FALSE, value ? STR("true") : STR("false"));
}

static int on_number(void *arg, const char *text, size_t len)
{
    return on_value(arg, JSON_NUMBER, str_of(text, len));
}

static int on_string(void *arg, const unsigned char *text, size_t len)
{
    return on_value(arg, JSON_STRING, len > 0 ? str_of(text, len) : STR(""));
}

static int on_list(void *arg)
{
    return on_value(arg, JSON_LIST, STR_NULL);
}

static int on_object(void *arg)
{
    return on_value(arg, JSON_OBJECT, STR_NULL);
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_object,
    .yajl_map_key = on_key,
    .yajl_end_map = on_end,
    .yajl_start_array = on_list,
    .yajl_end_array = on_end,
};

static void *yajl_take(void *arg, size_t bytes)
{
    (void)arg;
    return mem_alloc(bytes);
}

static void *yajl_grow(void *arg, void *old, size_t bytes)
{
    (void)arg;
    return mem_resize(old, bytes, 1);
}

static void yajl_give(void *arg, void *pointer)
{
    (void)arg;
    mem_free(pointer);
}

/* ---- the stream ---- */

static void yajl_start(struct json_items *items)
{
    yajl_alloc_funcs memory = {yajl_take, yajl_grow, yajl_give, NULL};
    items->yajl = yajl_alloc(&callbacks, &memory, items);
    yajl_config(items->yajl, yajl_allow_multiple_values, items->options.shape == JSON_VALUES);
    /* Its own check passes overlong forms and surrogates; ours sees each text. */
    yajl_config(items->yajl, yajl_dont_validate_strings, 1);
}

struct json_items *json_items_new(const struct json_items_options *options)
{
    ASSERT(options->item && (!options->list_key || options->shape == JSON_MEMBERS));
    struct json_items *items = mem_zalloc(sizeof(*items));
    items->options = *options;
    items->item_depth = options->shape == JSON_VALUES ? 0 : options->list_key ? 2 : 1;
    arena_init(&items->item.arena, JSON_ITEM_BYTES_MAX);
    arena_init(&items->rest.arena, JSON_ITEM_BYTES_MAX);
    yajl_start(items);
    return items;
}

void json_items_free(struct json_items *items)
{
    if (!items)
        return;
    yajl_free(items->yajl);
    arena_done(&items->item.arena);
    arena_done(&items->rest.arena);
    mem_free(items);
}

void json_items_reset(struct json_items *items)
{
    yajl_free(items->yajl);
    tree_clear(&items->item);
    tree_clear(&items->rest);
    items->depth = items->skip_depth = 0;
    items->at_list = items->in_list = items->list_seen = items->begun = items->ended = false;
    items->fed = items->last_token = 0;
    items->failed = 0;
    items->error[0] = '\0';
    yajl_start(items);
}

static bool is_white(struct str bytes)
{
    size_t at = 0;
    while (at < bytes.len && strchr(" \t\r\n", bytes.ptr[at]) && bytes.ptr[at])
        at++;
    return at == bytes.len;
}

static int feed_piece(struct json_items *items, struct str piece)
{
    yajl_status status = yajl_parse(items->yajl, (const unsigned char *)piece.ptr, piece.len);
    if (status == yajl_status_error)
        fail_yajl(items, piece);
    ASSERT(status != yajl_status_client_canceled || items->failed < 0);
    if (items->failed < 0)
        return items->failed;
    /* yajl does not see garbage at the end that begins a token only. */
    bool is_whole = items->options.shape != JSON_VALUES && items->depth == 0 && items->last_token > 0;
    size_t end = items->last_token > items->fed ? items->last_token - items->fed : 0;
    if (is_whole && !is_white(str_of(piece.ptr + end, piece.len - end)))
        fail_found(items, piece, end, STR("trailing garbage"));
    items->fed += piece.len;
    if (items->fed - items->last_token > JSON_TOKEN_BYTES_MAX)
        fail(items, -EMSGSIZE, "more than %zu MiB after byte %llu without the end of a text",
             JSON_TOKEN_BYTES_MAX / MIB, (unsigned long long)items->last_token);
    return items->failed;
}

int json_items_feed(struct json_items *items, struct str bytes)
{
    ASSERT(!items->ended);
    items->begun = items->begun || !is_white(bytes);
    for (size_t at = 0; items->failed == 0 && at < bytes.len; at += FEED_BYTES_MAX)
        feed_piece(items, str_of(bytes.ptr + at, MIN(bytes.len - at, FEED_BYTES_MAX)));
    return items->failed;
}

int json_items_end(struct json_items *items, const struct json_node **ret_rest)
{
    ASSERT(!items->ended);
    items->ended = true;
    if (!items->begun && items->options.shape != JSON_VALUES)
        fail(items, -EBADMSG, "the answer is empty");
    if (items->begun && items->failed == 0 && yajl_complete_parse(items->yajl) == yajl_status_error)
        fail(items, -EBADMSG, "the answer ends in the middle, at byte %llu", (unsigned long long)items->fed);
    if (items->failed == 0 && items->options.list_key && !items->list_seen)
        fail(items, -EBADMSG, "no list \"%s\" in the answer of %llu bytes", items->options.list_key,
             (unsigned long long)items->fed);
    if (items->failed < 0)
        return items->failed;
    if (ret_rest)
        *ret_rest = items->rest.root;
    return 0;
}

const char *json_items_error(const struct json_items *items)
{
    return items->error;
}
