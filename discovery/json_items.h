#pragma once
/* JSON as it streams in, item by item: of an answer of any length only one item is in memory at a time, as a small
 * tree. An item is: a value on its own (a watch's lines), an element of the outermost list, or an element of the list
 * under one key of the outermost object, whose other members come at the end as a tree of their own. */
#include "base/arena.h"
#include "base/str.h"

#define JSON_DEPTH_MAX      64
#define JSON_ITEM_BYTES_MAX (8 * MIB) /* of one item's tree, some five times its text; a large pod takes 100 KiB */
/* Of one text or number, with the white space before it: one that comes in pieces is read from its start at each. */
#define JSON_TOKEN_BYTES_MAX (1 * MIB)

enum json_kind { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_LIST, JSON_OBJECT };

struct json_node { /* lives until the next item */
    enum json_kind kind;
    struct str key;                   /* in an object */
    struct str text;                  /* of a string; of a number as it is written; "true", "false" */
    const struct json_node *children; /* the first of a list or an object; then by next */
    const struct json_node *next;
    size_t count;
};

/* Of an object; NULL: absent, or no object (node may be NULL). The first, where a key is there twice. */
const struct json_node *json_get(const struct json_node *node, const char *key);
const struct json_node *json_get2(const struct json_node *node, const char *key, const char *key2);
/* A string's text, STR_NULL: absent or something else (node may be NULL). */
struct str json_get_text(const struct json_node *node, const char *key);
/* The same, also of a number or a boolean, as it is written. */
struct str json_scalar(const struct json_node *node, const char *key);
bool json_is_true(const struct json_node *node, const char *key);
#define JSON_FOREACH(child, node)                                                                                      \
    for (const struct json_node *child = (node) ? (node)->children : NULL; child; child = child->next)

enum json_shape { JSON_VALUES /* one after the other */, JSON_ELEMENTS /* of the outermost list */, JSON_MEMBERS };

struct json_items;
struct json_items_options {
    enum json_shape shape;
    const char *list_key;    /* JSON_MEMBERS: items are the elements of this list; NULL: the outermost object's members,
                                each with its key */
    const char *const *skip; /* keys whose values are passed over wherever they stand ("managedFields"); ends with NULL;
                                or NULL */
    /* Negative: enough, feeding ends with it. It may not reset or free. */
    int (*item)(void *arg, const struct json_node *item);
    void *arg;
};

struct json_items *json_items_new(const struct json_items_options *options); /* the options' pointers must live */
void json_items_free(struct json_items *items);
DEFINE_CLEANUP(struct json_items *, json_items_free)
void json_items_reset(struct json_items *items); /* from the beginning */
/* -EBADMSG: it is not JSON (texts must be UTF-8) or not of this shape; -EMSGSIZE past a ceiling; or what item returned.
 * Then json_items_error says what and at which byte. */
int json_items_feed(struct json_items *items, struct str bytes);
/* The answer is over. -EBADMSG: in the middle, or without the list. The rest of the last item may come now. ret_rest
 * (may be NULL): with list_key the members beside the list, else NULL; lives until reset or free. */
int json_items_end(struct json_items *items, const struct json_node **ret_rest);
const char *json_items_error(const struct json_items *items);
