/* A file system in memory that can crash.
 *
 * It is a tree of nodes. Each node has a present state and a durable one. A file's durable bytes are those of its last
 * sync. A directory's durable names follow a journal of changes, as ext4 and XFS have one: file_sync_dir makes all
 * changes durable up to the last one of that directory, a crash some more of them, in their order, never one without
 * those before it. Syncing a file does not make its name durable: POSIX does not promise that. */
#include "base/fail.h"
#include "base/file_backend.h"

#include <errno.h>
#include <pthread.h>

#define SECTOR_BYTES    512                 /* a disk writes such a piece whole or not at all */
#define UNLIMITED_BYTES (UINT64_C(1) << 50) /* free bytes of a file system without a limit */

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

struct node {
    size_t refs; /* entries of both states, journal, open files */
    bool is_dir;
    bool locked;
    uint8_t *bytes;
    size_t len;
    size_t capacity;
    uint8_t *durable_bytes;
    size_t durable_len;
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

struct memory {
    struct file_system head;
    pthread_mutex_t mutex; /* guards all below and all nodes; nothing else is locked under it */
    struct node *root;
    struct change *journal;
    size_t journal_count;
    size_t journal_capacity;
    uint64_t capacity_bytes; /* 0 = no limit */
    uint64_t used_bytes;
    uint64_t generation; /* crashes so far; files of an earlier generation are useless */
};

struct memory_file {
    struct file head;
    struct memory *fs;
    struct node *node;
    uint64_t generation;
    bool holds_lock;
};

static const struct file_system_ops memory_ops;

static struct memory *memory_of(struct file_system *fs)
{
    ASSERT(fs->ops == &memory_ops);
    return CONTAINER_OF(fs, struct memory, head);
}

static void unlock(struct memory **memory)
{
    pthread_mutex_unlock(&(*memory)->mutex);
}

/* The file system, locked until the scope ends. */
#define LOCKED(variable, file_system)                                                                                  \
    CLEANUP(unlock) struct memory *variable = (file_system);                                                           \
    pthread_mutex_lock(&variable->mutex)

/* ---- Nodes ---- */

static struct node *node_ref(struct node *node)
{
    node->refs++;
    return node;
}

static void names_clear(struct memory *memory, struct names *names);

static void node_unref(struct memory *memory, struct node *node)
{
    if (!node || --node->refs > 0) {
        return;
    }
    names_clear(memory, &node->names);
    names_clear(memory, &node->durable_names);
    memory->used_bytes -= node->len;
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
static void names_set(struct memory *memory, struct names *names, const char *name, struct node *node)
{
    struct entry *entry = names_find(names, str_from(name));
    struct node *before = entry ? entry->node : NULL;
    if (node && entry) {
        entry->node = node_ref(node);
    } else if (node) {
        if (names->count == names->capacity) {
            names->capacity = MAX(names->capacity * 2, (size_t)8);
            names->items = mem_resize(names->items, names->capacity, sizeof(*names->items));
        }
        names->items[names->count++] = (struct entry){mem_strdup(name), node_ref(node)};
    } else if (entry) {
        mem_free(entry->name);
        *entry = names->items[--names->count];
    }
    node_unref(memory, before);
}

static void names_clear(struct memory *memory, struct names *names)
{
    while (names->count > 0) {
        struct entry *last = &names->items[--names->count];
        mem_free(last->name);
        node_unref(memory, last->node);
    }
    mem_free(names->items);
    *names = (struct names){0};
}

/* Where a path leads: its directory and, in it, a name that may not be there yet. */
struct place {
    struct node *dir;
    char name[256];
    struct node *node; /* NULL: no such name */
};

/* The next name of a path, without slashes; empty at its end. */
static struct str next_name(const char **at)
{
    *at += strspn(*at, "/");
    struct str name = str_of(*at, strcspn(*at, "/"));
    *at += name.len;
    return name;
}

static int find(const struct memory *memory, const char *path, struct place *ret_place)
{
    struct place place = {.dir = memory->root, .node = memory->root, .name = "."};
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

/* As find, where something must be. */
static int find_existing(const struct memory *memory, const char *path, struct place *ret_place)
{
    int error = find(memory, path, ret_place);
    return error || ret_place->node ? error : -ENOENT;
}

/* ---- Changes of names, and their journal ---- */

static void change_name(struct memory *memory, struct place *place, struct node *node, bool with_next)
{
    if (memory->journal_count == memory->journal_capacity) {
        memory->journal_capacity = MAX(memory->journal_capacity * 2, (size_t)16);
        memory->journal = mem_resize(memory->journal, memory->journal_capacity, sizeof(*memory->journal));
    }
    memory->journal[memory->journal_count++] = (struct change){
        .dir = node_ref(place->dir),
        .name = mem_strdup(place->name),
        .node = node ? node_ref(node) : NULL,
        .with_next = with_next,
    };
    names_set(memory, &place->dir->names, place->name, node);
}

static void change_free(struct memory *memory, struct change *change)
{
    node_unref(memory, change->dir);
    node_unref(memory, change->node);
    mem_free(change->name);
}

/* The first count changes become durable and leave the journal. */
static void journal_commit(struct memory *memory, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct change *change = &memory->journal[i];
        names_set(memory, &change->dir->durable_names, change->name, change->node);
        change_free(memory, change);
    }
    memory->journal_count -= count;
    if (count > 0) {
        memmove(memory->journal, memory->journal + count, memory->journal_count * sizeof(*memory->journal));
    }
}

/* All changes up to the last one of dir. */
static void journal_commit_dir(struct memory *memory, const struct node *dir)
{
    size_t count = memory->journal_count;
    while (count > 0 && memory->journal[count - 1].dir != dir) {
        count--;
    }
    while (count > 0 && memory->journal[count - 1].with_next) {
        count++;
    }
    journal_commit(memory, count);
}

/* ---- Files ---- */

static struct memory_file *file_of(struct file *file)
{
    return CONTAINER_OF(file, struct memory_file, head);
}

static bool is_useless(const struct memory_file *file)
{
    return file->generation != file->fs->generation;
}

static int64_t memory_read_at(struct file *head, void *data, size_t len, uint64_t offset)
{
    struct memory_file *file = file_of(head);
    LOCKED(memory, file->fs);
    if (is_useless(file)) {
        return -EIO;
    }
    const struct node *node = file->node;
    if (node->is_dir) {
        return -EISDIR;
    }
    len = offset < node->len ? MIN(len, node->len - (size_t)offset) : 0;
    if (len > 0) {
        memcpy(data, node->bytes + offset, len);
    }
    return (int64_t)len;
}

static int memory_append(struct file *head, const void *data, size_t len)
{
    struct memory_file *file = file_of(head);
    LOCKED(memory, file->fs);
    if (is_useless(file)) {
        return -EIO;
    }
    if (memory->capacity_bytes > 0 && len > memory->capacity_bytes - memory->used_bytes) {
        return -ENOSPC;
    }
    struct node *node = file->node;
    if (len > node->capacity - node->len) {
        node->capacity = MAX(node->capacity * 2, node->len + len);
        node->bytes = mem_resize(node->bytes, node->capacity, 1);
    }
    memcpy(node->bytes + node->len, data, len);
    node->len += len;
    memory->used_bytes += len;
    return 0;
}

static int memory_sync(struct file *head)
{
    struct memory_file *file = file_of(head);
    LOCKED(memory, file->fs);
    if (is_useless(file)) {
        return -EIO;
    }
    struct node *node = file->node;
    node->durable_bytes = mem_resize(node->durable_bytes, node->len, 1);
    if (node->len > node->same_len) {
        memcpy(node->durable_bytes + node->same_len, node->bytes + node->same_len, node->len - node->same_len);
    }
    node->durable_len = node->len;
    node->same_len = node->len;
    return 0;
}

static int memory_truncate(struct file *head, uint64_t len)
{
    struct memory_file *file = file_of(head);
    LOCKED(memory, file->fs);
    if (is_useless(file)) {
        return -EIO;
    }
    struct node *node = file->node;
    ASSERT(len <= node->len);
    memory->used_bytes -= node->len - len;
    node->len = (size_t)len;
    node->same_len = MIN(node->same_len, node->len);
    return 0;
}

static uint64_t memory_size(struct file *head)
{
    struct memory_file *file = file_of(head);
    LOCKED(memory, file->fs);
    return file->node->len;
}

static void memory_close(struct file *head)
{
    struct memory_file *file = file_of(head);
    {
        LOCKED(memory, file->fs);
        if (file->holds_lock && !is_useless(file)) {
            file->node->locked = false;
        }
        node_unref(memory, file->node);
    }
    mem_free(file);
}

static const struct file_ops memory_file_ops = {
    .read_at = memory_read_at,
    .append = memory_append,
    .sync = memory_sync,
    .truncate = memory_truncate,
    .size = memory_size,
    .close = memory_close,
};

static struct node *node_new(struct memory *memory, struct place *place, bool is_dir)
{
    struct node *node = mem_zalloc(sizeof(*node));
    node->is_dir = is_dir;
    change_name(memory, place, node, false); /* takes the references */
    return node;
}

/* With the lock held. */
static int open_locked(struct memory *memory, const char *path, enum file_mode mode, struct memory_file **ret_file)
{
    struct place place;
    int error = mode == FILE_READ ? find_existing(memory, path, &place) : find(memory, path, &place);
    if (error) {
        return error;
    }
    if (place.node && mode == FILE_CREATE_NEW) {
        return -EEXIST;
    }
    if (place.node && place.node->is_dir && mode == FILE_APPEND) {
        return -EISDIR;
    }
    struct memory_file *file = mem_zalloc(sizeof(*file));
    file->head.ops = &memory_file_ops;
    file->fs = memory;
    file->node = node_ref(place.node ? place.node : node_new(memory, &place, false));
    file->generation = memory->generation;
    *ret_file = file;
    return 0;
}

static int memory_open(struct file_system *fs, const char *path, enum file_mode mode, struct file **ret_file)
{
    LOCKED(memory, memory_of(fs));
    struct memory_file *file;
    int error = open_locked(memory, path, mode, &file);
    if (error) {
        return error;
    }
    *ret_file = &file->head;
    return 0;
}

static int memory_lock_dir(struct file_system *fs, const char *dir, struct file **ret_lock)
{
    CLEANUP_FREE char *path = mem_printf("%s/lock", dir);
    LOCKED(memory, memory_of(fs));
    struct place place;
    int error = find(memory, path, &place);
    if (!error && place.node && place.node->locked) {
        error = -EBUSY;
    }
    struct memory_file *file;
    error = error ? error : open_locked(memory, path, FILE_APPEND, &file);
    if (error) {
        return error;
    }
    file->holds_lock = true;
    file->node->locked = true;
    *ret_lock = &file->head;
    return 0;
}

/* ---- Names ---- */

static int rename_check(const struct node *from, const struct node *to)
{
    if (!to || from == to) {
        return 0;
    }
    if (from->is_dir != to->is_dir) {
        return to->is_dir ? -EISDIR : -ENOTDIR;
    }
    return to->names.count > 0 ? -ENOTEMPTY : 0;
}

static bool is_inside(const struct node *node, const struct node *dir)
{
    bool inside = node == dir;
    for (size_t i = 0; i < dir->names.count && !inside; i++) {
        inside = is_inside(node, dir->names.items[i].node);
    }
    return inside;
}

static int memory_rename(struct file_system *fs, const char *from_path, const char *to_path)
{
    LOCKED(memory, memory_of(fs));
    struct place from;
    struct place to;
    int error = find_existing(memory, from_path, &from);
    error = error ? error : find(memory, to_path, &to);
    error = error ? error : rename_check(from.node, to.node);
    if (error || from.node == to.node) {
        return error;
    }
    if (is_inside(to.dir, from.node)) {
        return -EINVAL;
    }
    change_name(memory, &to, from.node, true);
    change_name(memory, &from, NULL, false);
    return 0;
}

static int memory_unlink(struct file_system *fs, const char *path)
{
    LOCKED(memory, memory_of(fs));
    struct place place;
    int error = find_existing(memory, path, &place);
    if (error) {
        return error;
    }
    if (place.node == memory->root) {
        return -EBUSY;
    }
    if (place.node->names.count > 0) {
        return -ENOTEMPTY;
    }
    change_name(memory, &place, NULL, false);
    return 0;
}

static int memory_make_dir(struct file_system *fs, const char *path)
{
    LOCKED(memory, memory_of(fs));
    struct place place;
    int error = find(memory, path, &place);
    if (error) {
        return error;
    }
    if (place.node) {
        return place.node->is_dir ? 0 : -ENOTDIR;
    }
    node_new(memory, &place, true);
    journal_commit_dir(memory, place.dir);
    return 0;
}

static int memory_sync_dir(struct file_system *fs, const char *path)
{
    LOCKED(memory, memory_of(fs));
    struct place place;
    int error = find_existing(memory, path, &place);
    if (error) {
        return error;
    }
    if (!place.node->is_dir) {
        return -ENOTDIR;
    }
    journal_commit_dir(memory, place.node);
    return 0;
}

static int memory_exists(struct file_system *fs, const char *path)
{
    LOCKED(memory, memory_of(fs));
    struct place place;
    int error = find_existing(memory, path, &place);
    if (error == -ENOENT || error == -ENOTDIR) {
        return 0;
    }
    return error ? error : 1;
}

static int memory_list(struct file_system *fs, const char *path, char ***ret_names, size_t *ret_count)
{
    LOCKED(memory, memory_of(fs));
    struct place place;
    int error = find_existing(memory, path, &place);
    if (error) {
        return error;
    }
    if (!place.node->is_dir) {
        return -ENOTDIR;
    }
    const struct names *names = &place.node->names;
    char **list = mem_array(names->count, sizeof(*list));
    for (size_t i = 0; i < names->count; i++) {
        list[i] = mem_strdup(names->items[i].name);
    }
    *ret_names = list;
    *ret_count = names->count;
    return 0;
}

static int memory_free_bytes(struct file_system *fs, const char *path, uint64_t *ret_bytes)
{
    LOCKED(memory, memory_of(fs));
    struct place place;
    int error = find_existing(memory, path, &place);
    if (error) {
        return error;
    }
    *ret_bytes = memory->capacity_bytes > 0 ? memory->capacity_bytes - memory->used_bytes : UNLIMITED_BYTES;
    return 0;
}

/* ---- Birth, crash, end ---- */

struct file_system *file_system_memory_new(uint64_t capacity_bytes)
{
    struct memory *memory = mem_zalloc(sizeof(*memory));
    memory->head.ops = &memory_ops;
    memory->capacity_bytes = capacity_bytes;
    pthread_mutex_init(&memory->mutex, NULL);
    memory->root = node_ref(mem_zalloc(sizeof(*memory->root)));
    memory->root->is_dir = true;
    return &memory->head;
}

/* What a disk may hold of a file after a crash: what was synced; of what was appended since then, a part, with any of
 * its sectors zeros, as a length may be written before the bytes; a truncation may have happened or not. */
static void crash_file(struct node *node, struct random *random)
{
    bool truncated = node->same_len < node->durable_len;
    if (truncated && random_below(random, 2) == 0) {
        node->bytes = mem_resize(node->bytes, node->durable_len, 1);
        node->capacity = node->durable_len;
        node->len = node->durable_len;
        memcpy(node->bytes, node->durable_bytes, node->durable_len);
    } else if (node->len > node->same_len) {
        size_t kept = node->same_len + (size_t)random_below(random, node->len - node->same_len + 1);
        if (kept < node->len) {
            kept = MAX(kept / SECTOR_BYTES * SECTOR_BYTES, node->same_len);
        }
        for (size_t at = node->same_len; at < kept;) {
            size_t next = MIN((at / SECTOR_BYTES + 1) * SECTOR_BYTES, kept);
            if (random_below(random, 4) == 0) {
                memset(node->bytes + at, 0, next - at);
            }
            at = next;
        }
        node->len = kept;
    }
    node->durable_bytes = mem_resize(node->durable_bytes, node->len, 1);
    if (node->len > 0) {
        memcpy(node->durable_bytes, node->bytes, node->len);
    }
    node->durable_len = node->len;
    node->same_len = node->len;
}

/* The tree as its durable names have it. Depth is bounded by the length of paths. */
static void crash_node(struct memory *memory, struct node *node, struct random *random)
{
    if (!node->is_dir) {
        size_t before = node->len;
        crash_file(node, random);
        memory->used_bytes = memory->used_bytes - before + node->len;
        node->locked = false;
        return;
    }
    struct names gone = node->names;
    node->names = (struct names){0};
    for (size_t i = 0; i < node->durable_names.count; i++) {
        names_set(memory, &node->names, node->durable_names.items[i].name, node->durable_names.items[i].node);
    }
    names_clear(memory, &gone);
    for (size_t i = 0; i < node->names.count; i++) {
        crash_node(memory, node->names.items[i].node, random);
    }
}

void file_system_memory_crash(struct file_system *fs, struct random *random)
{
    LOCKED(memory, memory_of(fs));
    size_t kept = (size_t)random_below(random, memory->journal_count + 1);
    while (kept > 0 && memory->journal[kept - 1].with_next) {
        kept--;
    }
    journal_commit(memory, kept);
    while (memory->journal_count > 0) {
        change_free(memory, &memory->journal[--memory->journal_count]);
    }
    crash_node(memory, memory->root, random);
    memory->generation++;
}

static void memory_free(struct file_system *fs)
{
    struct memory *memory = memory_of(fs);
    while (memory->journal_count > 0) {
        change_free(memory, &memory->journal[--memory->journal_count]);
    }
    node_unref(memory, memory->root);
    pthread_mutex_destroy(&memory->mutex);
    mem_free(memory->journal);
    mem_free(memory);
}

static const struct file_system_ops memory_ops = {
    .open = memory_open,
    .lock_dir = memory_lock_dir,
    .rename = memory_rename,
    .unlink = memory_unlink,
    .make_dir = memory_make_dir,
    .sync_dir = memory_sync_dir,
    .exists = memory_exists,
    .list = memory_list,
    .free_bytes = memory_free_bytes,
    .free = memory_free,
};
