/* A file system that passes all on to another, but for the operations that it was told to fail: those do nothing there.
 */
#include "base/fail.h"
#include "base/file_backend.h"

struct failing {
    struct file_system head;
    struct file_system *inner; /* the caller's */
    /* Atomic, as files are synced from other threads than they are written from. */
    _Atomic uint64_t count;
    _Atomic uint64_t fail_from; /* the first count that fails; 0 = none */
    _Atomic int error;
    _Atomic bool once;
};

struct failing_file {
    struct file head;
    struct failing *fs;
    struct file *inner;
};

static const struct file_system_ops failing_ops;

static struct failing *failing_of(struct file_system *fs)
{
    ASSERT(fs->ops == &failing_ops);
    return CONTAINER_OF(fs, struct failing, head);
}

static struct failing_file *file_of(struct file *file)
{
    return CONTAINER_OF(file, struct failing_file, head);
}

/* Counts one operation; its error when its turn has come, else 0. */
static int turn(struct failing *failing)
{
    uint64_t number = atomic_fetch_add(&failing->count, 1) + 1;
    uint64_t from = atomic_load(&failing->fail_from);
    bool fails = from > 0 && (atomic_load(&failing->once) ? number == from : number >= from);
    return fails ? atomic_load(&failing->error) : 0;
}

static int64_t failing_read_at(struct file *file, void *data, size_t len, uint64_t offset)
{
    return file_read_at(file_of(file)->inner, data, len, offset);
}

static int failing_append(struct file *file, const void *data, size_t len)
{
    int error = turn(file_of(file)->fs);
    return error ? error : file_append(file_of(file)->inner, data, len);
}

static int failing_sync(struct file *file)
{
    int error = turn(file_of(file)->fs);
    return error ? error : file_sync(file_of(file)->inner);
}

static int failing_truncate(struct file *file, uint64_t len)
{
    int error = turn(file_of(file)->fs);
    return error ? error : file_truncate(file_of(file)->inner, len);
}

static uint64_t failing_size(struct file *file)
{
    return file_size(file_of(file)->inner);
}

static void failing_close(struct file *file)
{
    file_close(file_of(file)->inner);
    mem_free(file_of(file));
}

static const struct file_ops failing_file_ops = {
    .read_at = failing_read_at,
    .append = failing_append,
    .sync = failing_sync,
    .truncate = failing_truncate,
    .size = failing_size,
    .close = failing_close,
};

static struct file *wrap(struct file_system *fs, struct file *inner)
{
    struct failing_file *file = mem_zalloc(sizeof(*file));
    file->head.ops = &failing_file_ops;
    file->fs = failing_of(fs);
    file->inner = inner;
    return &file->head;
}

static int failing_open(struct file_system *fs, const char *path, enum file_mode mode, struct file **ret_file)
{
    struct file *inner;
    int error = file_open(failing_of(fs)->inner, path, mode, &inner);
    if (error) {
        return error;
    }
    *ret_file = wrap(fs, inner);
    return 0;
}

static int failing_lock_dir(struct file_system *fs, const char *dir, struct file **ret_lock)
{
    struct file *inner;
    int error = file_lock_dir(failing_of(fs)->inner, dir, &inner);
    if (error) {
        return error;
    }
    *ret_lock = wrap(fs, inner);
    return 0;
}

static int failing_rename(struct file_system *fs, const char *from, const char *to)
{
    int error = turn(failing_of(fs));
    return error ? error : file_rename(failing_of(fs)->inner, from, to);
}

static int failing_unlink(struct file_system *fs, const char *path)
{
    return file_unlink(failing_of(fs)->inner, path);
}

static int failing_make_dir(struct file_system *fs, const char *path)
{
    return file_make_dirs(failing_of(fs)->inner, path);
}

static int failing_sync_dir(struct file_system *fs, const char *path)
{
    int error = turn(failing_of(fs));
    return error ? error : file_sync_dir(failing_of(fs)->inner, path);
}

static int failing_exists(struct file_system *fs, const char *path)
{
    return file_exists(failing_of(fs)->inner, path);
}

static int failing_list(struct file_system *fs, const char *path, char ***ret_names, size_t *ret_count)
{
    return file_list(failing_of(fs)->inner, path, ret_names, ret_count);
}

static int failing_free_bytes(struct file_system *fs, const char *path, uint64_t *ret_bytes)
{
    return file_free_bytes(failing_of(fs)->inner, path, ret_bytes);
}

static void failing_free(struct file_system *fs)
{
    mem_free(failing_of(fs));
}

static const struct file_system_ops failing_ops = {
    .open = failing_open,
    .lock_dir = failing_lock_dir,
    .rename = failing_rename,
    .unlink = failing_unlink,
    .make_dir = failing_make_dir,
    .sync_dir = failing_sync_dir,
    .exists = failing_exists,
    .list = failing_list,
    .free_bytes = failing_free_bytes,
    .free = failing_free,
};

struct file_system *file_system_failing_new(struct file_system *inner)
{
    struct failing *failing = mem_zalloc(sizeof(*failing));
    failing->head.ops = &failing_ops;
    failing->inner = inner;
    return &failing->head;
}

void file_system_failing_at(struct file_system *fs, uint64_t nth, int error, bool once)
{
    struct failing *failing = failing_of(fs);
    ASSERT(error < 0);
    atomic_store(&failing->error, error);
    atomic_store(&failing->once, once);
    atomic_store(&failing->fail_from, nth > 0 ? atomic_load(&failing->count) + nth : 0);
}

uint64_t file_system_failing_count(const struct file_system *fs)
{
    ASSERT(fs->ops == &failing_ops);
    return atomic_load(&CONTAINER_OF(fs, const struct failing, head)->count);
}
