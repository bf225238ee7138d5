#include "base/memory_tree.h"

#include "base/fail.h"
#include "base/str.h"

#include <errno.h>

#define SECTOR_BYTES 512 /* a disk writes such a piece whole or not at all */

/* ---- Nodes and names ---- */

struct node *tree_ref(struct node *node)
{
    node->refs++;
    return node;
}

static void names_clear(struct tree *tree, struct names *names);

void tree_unref(struct tree *tree, struct node *node)
{
    if (!node || --node->refs > 0) {
        return;
    }
    names_clear(tree, &node->names);
    names_clear(tree, &node->durable_names);
    tree->used_bytes -= node->len;
    mem_free(node->bytes);
    mem_free(node->durable_bytes);
    mem_free(node);
}

static struct entry *names_find(const struct names *names, struct str name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (str_equal(str_from(names->items[i].name), name)) {
            return &names->items[i];
        }
    }
    return NULL;
}

/* Makes name lead to node, or to nothing. */
static void names_set(struct tree *tree, struct names *names, const char *name, struct node *node)
{
    struct entry *entry = names_find(names, str_from(name));
    struct node *before = entry ? entry->node : NULL;
    if (node && entry) {
        entry->node = tree_ref(node);
    } else if (node) {
        if (names->count == names->capacity) {
            names->capacity = MAX(names->capacity * 2, (size_t)8);
            names->items = mem_resize(names->items, names->capacity, sizeof(*names->items));
        }
        ASSERT(names->items);
        names->items[names->count++] = (struct entry){mem_strdup(name), tree_ref(node)};
    } else if (entry) {
        ASSERT(names->items);
        mem_free(entry->name);
        *entry = names->items[--names->count];
    }
    tree_unref(tree, before);
}

static void names_clear(struct tree *tree, struct names *names)
{
    while (names->count > 0) {
        struct entry *last = &names->items[--names->count];
        mem_free(last->name);
        tree_unref(tree, last->node);
    }
    mem_free(names->items);
    *names = (struct names){0};
}

/* ---- Paths ---- */

/* The next name of a path, without slashes; empty at its end. */
static struct str next_name(const char **at)
{
    *at += strspn(*at, "/");
    struct str name = str_of(*at, strcspn(*at, "/"));
    *at += name.len;
    return name;
}

int tree_find(const struct tree *tree, const char *path, struct place *ret_place)
{
    struct place place = {.dir = tree->root, .node = tree->root, .name = "."};
    for (struct str name = next_name(&path); name.len > 0; name = next_name(&path)) {
        if (str_equal(name, STR("."))) {
            continue;
        }
        if (str_equal(name, STR(".."))) {
            return -EINVAL;
        }
        if (name.len >= sizeof(place.name)) {
            return -ENAMETOOLONG;
        }
        if (!place.node || !place.node->is_dir) {
            return place.node ? -ENOTDIR : -ENOENT;
        }
        place.dir = place.node;
        memcpy(place.name, name.ptr, name.len);
        place.name[name.len] = '\0';
        const struct entry *entry = names_find(&place.dir->names, name);
        place.node = entry ? entry->node : NULL;
    }
    *ret_place = place;
    return 0;
}

int tree_find_existing(const struct tree *tree, const char *path, struct place *ret_place)
{
    int error = tree_find(tree, path, ret_place);
    return error || ret_place->node ? error : -ENOENT;
}

bool tree_is_inside(const struct node *node, const struct node *dir)
{
    bool inside = node == dir;
    for (size_t i = 0; i < dir->names.count && !inside; i++) {
        inside = tree_is_inside(node, dir->names.items[i].node);
    }
    return inside;
}

/* ---- Changes of names, and their journal ---- */

static void change_name(struct tree *tree, const struct place *place, struct node *node, bool with_next)
{
    if (tree->journal_count == tree->journal_capacity) {
        tree->journal_capacity = MAX(tree->journal_capacity * 2, (size_t)16);
        tree->journal = mem_resize(tree->journal, tree->journal_capacity, sizeof(*tree->journal));
    }
    tree->journal[tree->journal_count++] = (struct change){
        .dir = tree_ref(place->dir),
        .name = mem_strdup(place->name),
        .node = node ? tree_ref(node) : NULL,
        .with_next = with_next,
    };
    names_set(tree, &place->dir->names, place->name, node);
}

static void change_free(struct tree *tree, struct change *change)
{
    tree_unref(tree, change->dir);
    tree_unref(tree, change->node);
    mem_free(change->name);
}

/* The first count changes become durable and leave the journal. */
static void journal_commit(struct tree *tree, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct change *change = &tree->journal[i];
        names_set(tree, &change->dir->durable_names, change->name, change->node);
        change_free(tree, change);
    }
    tree->journal_count -= count;
    if (count > 0) {
        memmove(tree->journal, tree->journal + count, tree->journal_count * sizeof(*tree->journal));
    }
}

struct node *tree_add(struct tree *tree, const struct place *place, bool is_dir)
{
    struct node *node = mem_zalloc(sizeof(*node));
    node->is_dir = is_dir;
    change_name(tree, place, node, false);
    return node;
}

void tree_remove(struct tree *tree, const struct place *place)
{
    change_name(tree, place, NULL, false);
}

void tree_move(struct tree *tree, const struct place *from, const struct place *to)
{
    change_name(tree, to, from->node, true);
    change_name(tree, from, NULL, false);
}

void tree_sync_dir(struct tree *tree, const struct node *dir)
{
    size_t count = tree->journal_count;
    while (count > 0 && tree->journal[count - 1].dir != dir) {
        count--;
    }
    while (count > 0 && tree->journal[count - 1].with_next) {
        count++;
    }
    journal_commit(tree, count);
}

/* ---- Bytes ---- */

void tree_append(struct tree *tree, struct node *node, const void *data, size_t len)
{
    if (len > node->capacity - node->len) {
        node->capacity = MAX(node->capacity * 2, node->len + len);
        node->bytes = mem_resize(node->bytes, node->capacity, 1);
    }
    memcpy(node->bytes + node->len, data, len);
    node->len += len;
    tree->used_bytes += len;
}

void tree_truncate(struct tree *tree, struct node *node, size_t len)
{
    ASSERT(len <= node->len);
    tree->used_bytes -= node->len - len;
    node->len = len;
    node->same_len = MIN(node->same_len, len);
}

void tree_sync(struct node *node)
{
    if (node->len > node->durable_capacity) {
        node->durable_capacity = MAX(node->durable_capacity * 2, node->len);
        node->durable_bytes = mem_resize(node->durable_bytes, node->durable_capacity, 1);
    }
    if (node->len > node->same_len) {
        memcpy(node->durable_bytes + node->same_len, node->bytes + node->same_len, node->len - node->same_len);
    }
    node->durable_len = node->len;
    node->same_len = node->len;
}

/* ---- Crash ---- */

/* The file as it was synced, without the truncation that came later. */
static void restore_durable(struct node *node)
{
    if (node->durable_len > node->capacity) {
        node->capacity = node->durable_len;
        node->bytes = mem_resize(node->bytes, node->capacity, 1);
    }
    memcpy(node->bytes, node->durable_bytes, node->durable_len);
    node->len = node->durable_len;
}

/* Of the bytes after the synced ones some sectors stay, and any of those may be zeros: a disk may have the length
 * before it has the bytes. */
static void tear(struct node *node, struct random *random)
{
    size_t first = node->same_len / SECTOR_BYTES;
    size_t sectors = (node->len + SECTOR_BYTES - 1) / SECTOR_BYTES - first;
    size_t kept = (size_t)random_below(random, sectors + 1);
    size_t end = kept > 0 ? MIN((first + kept) * SECTOR_BYTES, node->len) : node->same_len;
    for (size_t at = node->same_len; at < end; at = (at / SECTOR_BYTES + 1) * SECTOR_BYTES) {
        if (random_below(random, 4) == 0) {
            memset(node->bytes + at, 0, MIN((at / SECTOR_BYTES + 1) * SECTOR_BYTES, end) - at);
        }
    }
    node->len = end;
}

/* What a disk may hold of a file: a truncation has reached it or has not. */
static void crash_file(struct tree *tree, struct node *node, struct random *random)
{
    tree->used_bytes -= node->len;
    if (node->same_len < node->durable_len && random_below(random, 2) == 0) {
        restore_durable(node);
    } else {
        tear(node, random);
    }
    tree->used_bytes += node->len;
    tree_sync(node);
    node->locked = false;
}

/* The tree as its durable names have it. Depth is bounded by the length of paths. */
static void crash_node(struct tree *tree, struct node *node, struct random *random)
{
    if (!node->is_dir) {
        crash_file(tree, node, random);
        return;
    }
    struct names gone = node->names;
    node->names = (struct names){0};
    for (size_t i = 0; i < node->durable_names.count; i++) {
        names_set(tree, &node->names, node->durable_names.items[i].name, node->durable_names.items[i].node);
    }
    names_clear(tree, &gone);
    for (size_t i = 0; i < node->names.count; i++) {
        crash_node(tree, node->names.items[i].node, random);
    }
}

static void journal_drop(struct tree *tree)
{
    while (tree->journal_count > 0) {
        change_free(tree, &tree->journal[--tree->journal_count]);
    }
}

void tree_crash(struct tree *tree, struct random *random)
{
    size_t kept = (size_t)random_below(random, tree->journal_count + 1);
    while (kept > 0 && tree->journal[kept - 1].with_next) {
        kept--;
    }
    journal_commit(tree, kept);
    journal_drop(tree);
    crash_node(tree, tree->root, random);
}

void tree_init(struct tree *tree)
{
    *tree = (struct tree){.root = tree_ref(mem_zalloc(sizeof(*tree->root)))};
    tree->root->is_dir = true;
}

void tree_done(struct tree *tree)
{
    journal_drop(tree);
    tree_unref(tree, tree->root);
    mem_free(tree->journal);
    *tree = (struct tree){0};
}
