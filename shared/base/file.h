#pragma once
/* Durable files. All I/O of logs, blocks and documents goes through a file system: the real one, one in memory that can
 * crash, or one that fails where it is told to.
 *
 * Paths are ordinary; we make none with "..", and the file system in memory refuses them. A file may be read and
 * appended to from one thread and synced from another at the same time. After a failed file_sync the file is not to be
 * trusted again: close it and start another (the kernel may have dropped the dirty pages). */
#include "base/buf.h"
#include "base/defs.h"
#include "base/random.h"

struct file_system;
struct file;

enum file_mode {
    FILE_READ,      /* must exist */
    FILE_APPEND,    /* made if absent, read and append */
    FILE_CREATE_NEW /* -EEXIST if there is one; read and append */
};

struct file_system *file_system_real(void); /* one, never freed */
/* In memory, for tests and simulations: what was not synced is lost, torn or kept at file_system_memory_crash. */
struct file_system *file_system_memory_new(uint64_t capacity_bytes); /* 0 = no limit, else -ENOSPC past it */
/* Everything synced stays; of the rest a random part, torn at 512 bytes. Open files become useless (-EIO). */
void file_system_memory_crash(struct file_system *fs, struct random *random);
/* Wraps another: the nth write, sync (of a file or directory), rename or truncate from now on does nothing but fail
 * with error (once, or from then on). 0 = none. */
struct file_system *file_system_failing_new(struct file_system *inner);
void file_system_failing_at(struct file_system *fs, uint64_t nth, int error, bool once);
uint64_t file_system_failing_count(const struct file_system *fs); /* such operations so far */
/* Its files are closed before. Of the failing one the inner one stays. Nothing happens to the real one, nor for NULL.
 */
void file_system_free(struct file_system *fs);

MUST_CHECK int file_open(struct file_system *fs, const char *path, enum file_mode mode, struct file **ret_file);
void file_close(struct file *file); /* NULL allowed */
DEFINE_CLEANUP(struct file *, file_close)
/* Bytes read, less than len only at the end of the file. */
MUST_CHECK int64_t file_read_at(struct file *file, void *data, size_t len, uint64_t offset);
/* All or nothing as far as the caller can tell: after an error the file is cut back to its old length if that works. */
MUST_CHECK int file_append(struct file *file, const void *data, size_t len);
MUST_CHECK int file_sync(struct file *file);                   /* fdatasync */
MUST_CHECK int file_truncate(struct file *file, uint64_t len); /* -EINVAL when it is shorter already */
uint64_t file_size(struct file *file);
const char *file_path(const struct file *file);

MUST_CHECK int file_rename(struct file_system *fs, const char *from, const char *to);
MUST_CHECK int file_unlink(struct file_system *fs, const char *path); /* a file or an empty directory */
/* With parents, 0700, durable; existing is fine. */
MUST_CHECK int file_make_dirs(struct file_system *fs, const char *path);
MUST_CHECK int file_sync_dir(struct file_system *fs, const char *path); /* makes renames and new names durable */
MUST_CHECK int file_exists(struct file_system *fs, const char *path);   /* 1, 0 or an error */
/* Names in a directory, sorted, without . and .. ; free with file_names_free. */
MUST_CHECK int file_list(struct file_system *fs, const char *path, char ***ret_names, size_t *ret_count);
void file_names_free(char **names, size_t count);
/* Appends the whole file; -EFBIG when it is larger than the buffer may become. */
MUST_CHECK int file_read_whole(struct file_system *fs, const char *path, struct buf *buf);
/* Replaces a file atomically: temporary name, sync, rename, sync of the directory. */
MUST_CHECK int file_write_whole(struct file_system *fs, const char *path, const void *data, size_t len);
/* Free bytes where path lies. */
MUST_CHECK int file_free_bytes(struct file_system *fs, const char *path, uint64_t *ret_bytes);
/* One process per data directory: -EBUSY when another holds the lock. Released by file_close or by the end. */
MUST_CHECK int file_lock_dir(struct file_system *fs, const char *dir, struct file **ret_lock);
