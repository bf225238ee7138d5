#pragma once
/* Private to file_memory.c: the files and names of a file system in memory, twice: as they are and as a disk has them.
 *
 * A file's durable bytes are those of its last sync. The durable names follow a journal of changes, as ext4 and XFS
 * have one: tree_sync_dir makes all changes durable up to the last one of that directory; a crash some more of them, in
 * their order, never one without those before it. Syncing a file does not make its name durable: POSIX does not promise
 * that. Not safe for several threads: its user locks. */
#include "base/defs.h"
#include "base/random.h"

struct node;
struct entry {
    char *name;
    struct node *node;
};
struct names {
    struct entry *items;
    size_t count;
    size_t capacity;
};

/* A file or a directory; lives as long as a name, a change in the journal or an open file holds it. */
struct node {
    size_t refs;
    bool is_dir;
    bool locked;
    uint8_t *bytes;
    size_t len;
    size_t capacity;
    uint8_t *durable_bytes;
    size_t durable_len;
    size_t durable_capacity;
    size_t same_len; /* the two states have these first bytes in common */
    struct names names;
    struct names durable_names;
};

/* One change of names: name in dir leads to node, or to nothing. A rename is two such that hold together. */
struct change {
    struct node *dir;
    char *name;
    struct node *node; /* NULL: the name goes */
    bool with_next;
};

struct tree {
    struct node *root;
    struct change *journal;
    size_t journal_count;
    size_t journal_capacity;
    uint64_t used_bytes; /* of all files as they are */
};

/* Where a path leads: its directory and, in it, a name that may not be there yet. */
struct place {
    struct node *dir;
    char name[256];
    struct node *node; /* NULL: no such name */
};

void tree_init(struct tree *tree);
void tree_done(struct tree *tree); /* no file may be open any more */
struct node *tree_ref(struct node *node);
void tree_unref(struct tree *tree, struct node *node); /* NULL allowed */

/* -ENOENT or -ENOTDIR when the directory is not there, -EINVAL for "..". The place holds no references. */
MUST_CHECK int tree_find(const struct tree *tree, const char *path, struct place *ret_place);
/* As tree_find, but -ENOENT too where nothing of that name is. */
MUST_CHECK int tree_find_existing(const struct tree *tree, const char *path, struct place *ret_place);
/* A new file or directory at a place; the names hold it, not the caller. */
struct node *tree_add(struct tree *tree, const struct place *place, bool is_dir);
void tree_remove(struct tree *tree, const struct place *place);
void tree_move(struct tree *tree, const struct place *from, const struct place *to);
bool tree_is_inside(const struct node *node, const struct node *dir); /* anywhere below dir, or dir itself */

void tree_append(struct tree *tree, struct node *node, const void *data, size_t len);
void tree_truncate(struct tree *tree, struct node *node, size_t len); /* len <= node->len */
void tree_sync(struct node *node);
void tree_sync_dir(struct tree *tree, const struct node *dir);
/* Both states become one that a disk may have after a crash. */
void tree_crash(struct tree *tree, struct random *random);
