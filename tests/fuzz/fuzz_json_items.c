/* JSON in pieces: the first byte says the shape, the second how long the pieces are. What is read in pieces is read the
 * same as a whole, and the same again after a reset. */
#include "base/fail.h"
#include "discovery/json_items.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct summary {
    uint64_t items, hash;
};

static size_t walk(const struct json_node *node, size_t depth, uint64_t *hash)
{
    size_t count = 0;
    ASSERT(depth <= JSON_DEPTH_MAX);
    ASSERT(str_is_utf8(node->key) && str_is_utf8(node->text));
    ASSERT(node->kind >= JSON_LIST || (!node->children && node->count == 0));
    *hash = *hash * 31 + str_hash(node->key) + str_hash(node->text) + (uint64_t)node->kind;
    JSON_FOREACH(child, node)
    {
        ASSERT(node->kind != JSON_OBJECT || (child->key.ptr && json_get(node, child->key.ptr)));
        walk(child, depth + 1, hash);
        count++;
    }
    ASSERT(count == node->count);
    return count;
}

static int on_item(void *arg, const struct json_node *item)
{
    struct summary *summary = arg;
    walk(item, 0, &summary->hash);
    return ++summary->items == 1000 ? -ECANCELED : 0;
}

static int read_all(struct json_items *items, struct str text, size_t piece, struct summary *summary)
{
    const struct json_node *rest = NULL;
    int r = 0;
    for (size_t at = 0; r == 0 && at < text.len; at += piece)
        r = json_items_feed(items, str_of(text.ptr + at, MIN(piece, text.len - at)));
    int end = json_items_end(items, &rest);
    ASSERT(r == 0 || r == end);
    ASSERT(end == 0 || end == -EBADMSG || end == -EMSGSIZE || end == -ECANCELED);
    ASSERT((end < 0) == (json_items_error(items)[0] != '\0') && str_is_utf8(str_from(json_items_error(items))));
    if (rest)
        walk(rest, 0, &summary->hash);
    return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const skip[] = {"skip", "s", NULL};
    static const struct json_items_options shapes[] = {
        {.shape = JSON_VALUES},
        {.shape = JSON_ELEMENTS},
        {.shape = JSON_MEMBERS},
        {.shape = JSON_MEMBERS, .list_key = "items", .skip = skip},
        {.shape = JSON_VALUES, .skip = skip},
    };
    struct summary whole = {0}, pieces = {0};
    if (size < 2)
        return 0;
    struct json_items_options options = shapes[data[0] % ARRAY_LEN(shapes)];
    options.item = on_item;
    options.arg = &whole;
    struct str text = str_of(data + 2, size - 2);
    CLEANUP(json_items_freep) struct json_items *first = json_items_new(&options);
    int r = read_all(first, text, text.len + 1, &whole);
    options.arg = &pieces;
    CLEANUP(json_items_freep) struct json_items *second = json_items_new(&options);
    ASSERT(read_all(second, text, 1 + data[1] % 16, &pieces) == r);
    ASSERT(whole.items == pieces.items && whole.hash == pieces.hash);
    json_items_reset(second);
    pieces = (struct summary){0};
    ASSERT(read_all(second, text, 1 + data[1] % 16, &pieces) == r);
    ASSERT(whole.items == pieces.items && whole.hash == pieces.hash);
    return 0;
}
