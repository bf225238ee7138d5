#include "base/file.h"

#include "base/fail.h"
#include "base/file_backend.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define READ_STEP_BYTES (256 * KIB) /* of file_read_whole at once */

/* ---- The real file system ---- */

struct real_file {
    struct file head;
    int fd;
    /* Of files that are appended to: bytes wholly written. Readers in other threads see no half of an append. */
    _Atomic uint64_t len;
};

static struct real_file *real_of(struct file *file)
{
    return CONTAINER_OF(file, struct real_file, head);
}

static uint64_t fd_size(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 ? (uint64_t)status.st_size : 0;
}

static uint64_t real_size(struct file *file)
{
    struct real_file *real = real_of(file);
    return file->mode == FILE_READ ? fd_size(real->fd) : atomic_load(&real->len);
}

static int64_t real_read_at(struct file *file, void *data, size_t len, uint64_t offset)
{
    struct real_file *real = real_of(file);
    if (file->mode != FILE_READ) {
        uint64_t size = atomic_load(&real->len);
        len = (size_t)MIN((uint64_t)len, size > offset ? size - offset : 0);
    }
    size_t done = 0;
    while (done < len) {
        ssize_t got = pread(real->fd, (uint8_t *)data + done, len - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -errno;
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    return (int64_t)done;
}

static int real_append(struct file *file, const void *data, size_t len)
{
    struct real_file *real = real_of(file);
    uint64_t start = atomic_load(&real->len);
    size_t done = 0;
    while (done < len) {
        ssize_t put = pwrite(real->fd, (const uint8_t *)data + done, len - done, (off_t)(start + done));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            int error = put < 0 ? -errno : -EIO;
            if (ftruncate(real->fd, (off_t)start) != 0) {
                atomic_store(&file->broken, true);
            }
            return error;
        }
        done += (size_t)put;
    }
    atomic_store(&real->len, start + len);
    return 0;
}

static int real_sync(struct file *file)
{
    return fdatasync(real_of(file)->fd) == 0 ? 0 : -errno;
}

static int real_truncate(struct file *file, uint64_t len)
{
    struct real_file *real = real_of(file);
    if (ftruncate(real->fd, (off_t)len) != 0) {
        return -errno;
    }
    atomic_store(&real->len, len);
    return 0;
}

static void real_close(struct file *file)
{
    close(real_of(file)->fd);
    mem_free(real_of(file));
}

static const struct file_ops real_file_ops = {
    .read_at = real_read_at,
    .append = real_append,
    .sync = real_sync,
    .truncate = real_truncate,
    .size = real_size,
    .close = real_close,
};

static int real_open(struct file_system *fs, const char *path, enum file_mode mode, struct file **ret_file)
{
    static const int flags[] = {
        [FILE_READ] = O_RDONLY,
        [FILE_APPEND] = O_RDWR | O_CREAT,
        [FILE_CREATE_NEW] = O_RDWR | O_CREAT | O_EXCL,
    };
    (void)fs;
    int fd = open(path, flags[mode] | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -errno;
    }
    struct real_file *real = mem_zalloc(sizeof(*real));
    real->head.ops = &real_file_ops;
    real->fd = fd;
    atomic_init(&real->len, fd_size(fd));
    *ret_file = &real->head;
    return 0;
}

static int real_lock_dir(struct file_system *fs, const char *dir, struct file **ret_lock)
{
    CLEANUP_FREE char *path = mem_printf("%s/lock", dir);
    struct file *lock = NULL;
    int error = real_open(fs, path, FILE_APPEND, &lock);
    if (error) {
        return error;
    }
    ASSERT(lock);
    if (flock(real_of(lock)->fd, LOCK_EX | LOCK_NB) != 0) {
        error = errno == EWOULDBLOCK ? -EBUSY : -errno;
        real_close(lock);
        return error;
    }
    *ret_lock = lock;
    return 0;
}

static int real_rename(struct file_system *fs, const char *from, const char *to)
{
    (void)fs;
    return rename(from, to) == 0 ? 0 : -errno;
}

static int real_unlink(struct file_system *fs, const char *path)
{
    (void)fs;
    return remove(path) == 0 ? 0 : -errno;
}

static int real_sync_dir(struct file_system *fs, const char *path)
{
    (void)fs;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int error = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return error;
}

static char *parent_of(const char *path);

static int real_make_dir(struct file_system *fs, const char *path)
{
    if (mkdir(path, 0700) == 0) {
        CLEANUP_FREE char *parent = parent_of(path);
        return real_sync_dir(fs, parent);
    }
    int error = -errno;
    struct stat status;
    if (stat(path, &status) != 0) {
        return error;
    }
    return S_ISDIR(status.st_mode) ? 0 : -ENOTDIR;
}

static int real_exists(struct file_system *fs, const char *path)
{
    (void)fs;
    struct stat status;
    if (stat(path, &status) == 0) {
        return 1;
    }
    return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int real_list(struct file_system *fs, const char *path, char ***ret_names, size_t *ret_count)
{
    (void)fs;
    DIR *dir = opendir(path);
    if (!dir) {
        return -errno;
    }
    char **names = NULL;
    size_t count = 0;
    size_t capacity = 0;
    int error = 0;
    while (!error) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            error = -errno;
            break;
        }
        if (is_dots(entry->d_name)) {
            continue;
        }
        if (count == capacity) {
            capacity = MAX(capacity * 2, (size_t)16);
            names = mem_resize(names, capacity, sizeof(*names));
        }
        names[count++] = mem_strdup(entry->d_name);
        error = count > FILE_NAMES_MAX ? -EOVERFLOW : 0;
    }
    closedir(dir);
    if (error) {
        file_names_free(names, count);
        return error;
    }
    *ret_names = names;
    *ret_count = count;
    return 0;
}

static int real_free_bytes(struct file_system *fs, const char *path, uint64_t *ret_bytes)
{
    (void)fs;
    struct statvfs status;
    if (statvfs(path, &status) != 0) {
        return -errno;
    }
    *ret_bytes = (uint64_t)status.f_bavail * status.f_frsize;
    return 0;
}

static const struct file_system_ops real_ops = {
    .open = real_open,
    .lock_dir = real_lock_dir,
    .rename = real_rename,
    .unlink = real_unlink,
    .make_dir = real_make_dir,
    .sync_dir = real_sync_dir,
    .exists = real_exists,
    .list = real_list,
    .free_bytes = real_free_bytes,
};

struct file_system *file_system_real(void)
{
    static struct file_system real = {.ops = &real_ops}; /* never written */
    return &real;
}

void file_system_free(struct file_system *fs)
{
    if (fs && fs->ops->free) {
        fs->ops->free(fs);
    }
}

/* ---- One file ---- */

static int path_check(const char *path)
{
    size_t len = strlen(path);
    if (len == 0) {
        return -ENOENT;
    }
    return len <= FILE_PATH_BYTES_MAX ? 0 : -ENAMETOOLONG;
}

int file_open(struct file_system *fs, const char *path, enum file_mode mode, struct file **ret_file)
{
    struct file *file;
    int error = path_check(path);
    if (!error) {
        error = fs->ops->open(fs, path, mode, &file);
    }
    if (error) {
        return error;
    }
    file->path = mem_strdup(path);
    file->mode = mode;
    *ret_file = file;
    return 0;
}

void file_close(struct file *file)
{
    if (file) {
        mem_free(file->path);
        file->ops->close(file);
    }
}

int64_t file_read_at(struct file *file, void *data, size_t len, uint64_t offset)
{
    if (len > INT64_MAX || offset > INT64_MAX - len) {
        return -EINVAL;
    }
    return file->ops->read_at(file, data, len, offset);
}

/* Why this file may not be changed, or 0. */
static int change_check(const struct file *file)
{
    if (file->mode == FILE_READ) {
        return -EBADF;
    }
    return atomic_load(&file->broken) ? -EIO : 0;
}

int file_append(struct file *file, const void *data, size_t len)
{
    int error = change_check(file);
    if (error || len == 0) {
        return error;
    }
    return file->ops->append(file, data, len);
}

int file_sync(struct file *file)
{
    int error = change_check(file);
    if (error) {
        return error;
    }
    error = file->ops->sync(file);
    if (error) {
        atomic_store(&file->broken, true);
    }
    return error;
}

int file_truncate(struct file *file, uint64_t len)
{
    int error = change_check(file);
    if (error) {
        return error;
    }
    return len <= file->ops->size(file) ? file->ops->truncate(file, len) : -EINVAL;
}

uint64_t file_size(struct file *file)
{
    return file->ops->size(file);
}

const char *file_path(const struct file *file)
{
    return file->path;
}

/* ---- Names ---- */

int file_rename(struct file_system *fs, const char *from, const char *to)
{
    int error = path_check(from);
    error = error ? error : path_check(to);
    return error ? error : fs->ops->rename(fs, from, to);
}

int file_unlink(struct file_system *fs, const char *path)
{
    int error = path_check(path);
    return error ? error : fs->ops->unlink(fs, path);
}

/* The directory that path lies in, "." or "/" at the least. */
static char *parent_of(const char *path)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    while (len > 0 && path[len - 1] != '/') {
        len--;
    }
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    return len > 0 ? mem_strndup(path, len) : mem_strdup(".");
}

int file_make_dirs(struct file_system *fs, const char *path)
{
    int error = path_check(path);
    CLEANUP_FREE char *part = mem_strdup(path);
    /* "a/b/c": first "a", then "a/b"; each slash in turn becomes the end of the text. */
    for (char *slash = strchr(part + (*part != '\0'), '/'); slash && !error; slash = strchr(slash + 1, '/')) {
        if (slash[-1] == '/') {
            continue;
        }
        *slash = '\0';
        error = fs->ops->make_dir(fs, part);
        *slash = '/';
    }
    return error ? error : fs->ops->make_dir(fs, part);
}

int file_sync_dir(struct file_system *fs, const char *path)
{
    int error = path_check(path);
    return error ? error : fs->ops->sync_dir(fs, path);
}

int file_exists(struct file_system *fs, const char *path)
{
    int error = path_check(path);
    return error ? error : fs->ops->exists(fs, path);
}

static int name_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int file_list(struct file_system *fs, const char *path, char ***ret_names, size_t *ret_count)
{
    int error = path_check(path);
    error = error ? error : fs->ops->list(fs, path, ret_names, ret_count);
    if (!error && *ret_count > 0) {
        qsort(*ret_names, *ret_count, sizeof(**ret_names), name_order);
    }
    return error;
}

void file_names_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mem_free(names[i]);
    }
    mem_free(names);
}

int file_free_bytes(struct file_system *fs, const char *path, uint64_t *ret_bytes)
{
    int error = path_check(path);
    return error ? error : fs->ops->free_bytes(fs, path, ret_bytes);
}

int file_lock_dir(struct file_system *fs, const char *dir, struct file **ret_lock)
{
    int error = path_check(dir);
    if (!error) {
        error = fs->ops->lock_dir(fs, dir, ret_lock);
    }
    if (!error) {
        (*ret_lock)->path = mem_printf("%s/lock", dir);
        (*ret_lock)->mode = FILE_APPEND;
    }
    return error;
}

/* ---- Whole files ---- */

static int read_to_end(struct file *file, struct buf *buf)
{
    uint64_t offset = 0;
    for (;;) {
        uint8_t past_end;
        size_t room = MIN(buf->bytes_max - buf->len, READ_STEP_BYTES);
        uint8_t *at = room > 0 ? buf_reserve(buf, room) : &past_end;
        if (!at) {
            return -EFBIG; /* the buffer was full before */
        }
        int64_t got = file_read_at(file, at, MAX(room, (size_t)1), offset);
        if (got <= 0) {
            return (int)got;
        }
        if (room == 0) {
            return -EFBIG;
        }
        buf_added(buf, (size_t)got);
        offset += (uint64_t)got;
    }
}

int file_read_whole(struct file_system *fs, const char *path, struct buf *buf)
{
    CLEANUP(file_closep) struct file *file = NULL;
    int error = file_open(fs, path, FILE_READ, &file);
    if (error) {
        return error;
    }
    size_t before = buf->len;
    error = file_size(file) <= buf->bytes_max - buf->len ? read_to_end(file, buf) : -EFBIG;
    if (error) {
        buf->len = before;
    }
    return error;
}

static int write_new(struct file_system *fs, const char *path, const void *data, size_t len)
{
    CLEANUP(file_closep) struct file *file = NULL;
    int error = file_open(fs, path, FILE_CREATE_NEW, &file);
    if (error) {
        return error;
    }
    error = file_append(file, data, len);
    return error ? error : file_sync(file);
}

int file_write_whole(struct file_system *fs, const char *path, const void *data, size_t len)
{
    CLEANUP_FREE char *temporary = mem_printf("%s.tmp", path);
    CLEANUP_FREE char *parent = parent_of(path);
    /* One may be left from a crash; it means nothing. */
    int error = file_unlink(fs, temporary);
    if (error && error != -ENOENT) {
        return error;
    }
    error = write_new(fs, temporary, data, len);
    if (!error) {
        error = file_rename(fs, temporary, path);
    }
    if (error) {
        int ignored = file_unlink(fs, temporary); /* a litter at worst: the next writer takes it away */
        (void)ignored;
        return error;
    }
    return file_sync_dir(fs, parent);
}
