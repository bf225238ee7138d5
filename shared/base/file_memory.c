/* A file system in memory that can crash: the locks, limits and handles around a tree of files (memory_tree.h). */
#include "base/fail.h"
#include "base/file_backend.h"
#include "base/memory_tree.h"

#include <errno.h>
#include <pthread.h>

#define UNLIMITED_BYTES (UINT64_C(1) << 50) /* free bytes of a file system without a limit */

struct memory {
    struct file_system head;
    pthread_mutex_t mutex; /* guards all below; nothing else is locked under it */
    struct tree tree;
    uint64_t capacity_bytes; /* 0 = no limit */
    uint64_t generation;     /* crashes so far; files of an earlier generation are useless */
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

static uint64_t free_bytes(const struct memory *memory)
{
    /* A crash may undo a truncation: then more is used than there is. */
    uint64_t capacity_bytes = memory->capacity_bytes > 0 ? memory->capacity_bytes : UNLIMITED_BYTES;
    return capacity_bytes - MIN(capacity_bytes, memory->tree.used_bytes);
}

static int memory_append(struct file *head, const void *data, size_t len)
{
    struct memory_file *file = file_of(head);
    LOCKED(memory, file->fs);
    if (is_useless(file)) {
        return -EIO;
    }
    if (len > free_bytes(memory)) {
        return -ENOSPC;
    }
    tree_append(&memory->tree, file->node, data, len);
    return 0;
}

static int memory_sync(struct file *head)
{
    struct memory_file *file = file_of(head);
    LOCKED(memory, file->fs);
    if (is_useless(file)) {
        return -EIO;
    }
    tree_sync(file->node);
    return 0;
}

static int memory_truncate(struct file *head, uint64_t len)
{
    struct memory_file *file = file_of(head);
    LOCKED(memory, file->fs);
    if (is_useless(file)) {
        return -EIO;
    }
    tree_truncate(&memory->tree, file->node, (size_t)len);
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
        tree_unref(&memory->tree, file->node);
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

/* With the lock held. */
static int open_locked(struct memory *memory, const char *path, enum file_mode mode, struct memory_file **ret_file)
{
    struct place place;
    int error =
        mode == FILE_READ ? tree_find_existing(&memory->tree, path, &place) : tree_find(&memory->tree, path, &place);
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
    file->node = tree_ref(place.node ? place.node : tree_add(&memory->tree, &place, false));
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
    int error = tree_find(&memory->tree, path, &place);
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

static int memory_rename(struct file_system *fs, const char *from_path, const char *to_path)
{
    LOCKED(memory, memory_of(fs));
    struct place from;
    struct place to;
    int error = tree_find_existing(&memory->tree, from_path, &from);
    error = error ? error : tree_find(&memory->tree, to_path, &to);
    error = error ? error : rename_check(from.node, to.node);
    if (error || from.node == to.node) {
        return error;
    }
    if (tree_is_inside(to.dir, from.node)) {
        return -EINVAL;
    }
    tree_move(&memory->tree, &from, &to);
    return 0;
}

static int memory_unlink(struct file_system *fs, const char *path)
{
    LOCKED(memory, memory_of(fs));
    struct place place;
    int error = tree_find_existing(&memory->tree, path, &place);
    if (error) {
        return error;
    }
    if (place.node == memory->tree.root) {
        return -EBUSY;
    }
    if (place.node->names.count > 0) {
        return -ENOTEMPTY;
    }
    tree_remove(&memory->tree, &place);
    return 0;
}

static int memory_make_dir(struct file_system *fs, const char *path)
{
    LOCKED(memory, memory_of(fs));
    struct place place;
    int error = tree_find(&memory->tree, path, &place);
    if (error) {
        return error;
    }
    if (place.node) {
        return place.node->is_dir ? 0 : -ENOTDIR;
    }
    tree_add(&memory->tree, &place, true);
    tree_sync_dir(&memory->tree, place.dir);
    return 0;
}

static int memory_sync_dir(struct file_system *fs, const char *path)
{
    LOCKED(memory, memory_of(fs));
    struct place place;
    int error = tree_find_existing(&memory->tree, path, &place);
    if (error) {
        return error;
    }
    if (!place.node->is_dir) {
        return -ENOTDIR;
    }
    tree_sync_dir(&memory->tree, place.node);
    return 0;
}

static int memory_exists(struct file_system *fs, const char *path)
{
    LOCKED(memory, memory_of(fs));
    struct place place;
    int error = tree_find_existing(&memory->tree, path, &place);
    if (error == -ENOENT || error == -ENOTDIR) {
        return 0;
    }
    return error ? error : 1;
}

static int memory_list(struct file_system *fs, const char *path, char ***ret_names, size_t *ret_count)
{
    LOCKED(memory, memory_of(fs));
    struct place place;
    int error = tree_find_existing(&memory->tree, path, &place);
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
    int error = tree_find_existing(&memory->tree, path, &place);
    if (error) {
        return error;
    }
    *ret_bytes = free_bytes(memory);
    return 0;
}

/* ---- Birth, crash, end ---- */

struct file_system *file_system_memory_new(uint64_t capacity_bytes)
{
    struct memory *memory = mem_zalloc(sizeof(*memory));
    memory->head.ops = &memory_ops;
    memory->capacity_bytes = capacity_bytes;
    pthread_mutex_init(&memory->mutex, NULL);
    tree_init(&memory->tree);
    return &memory->head;
}

void file_system_memory_crash(struct file_system *fs, struct random *random)
{
    LOCKED(memory, memory_of(fs));
    tree_crash(&memory->tree, random);
    memory->generation++;
}

static void memory_free(struct file_system *fs)
{
    struct memory *memory = memory_of(fs);
    tree_done(&memory->tree);
    pthread_mutex_destroy(&memory->mutex);
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
