#pragma once
/* Private to base/file*.c: what a file system gives. file.c checks, dispatches, and builds the whole-file functions
 * from these; it also remembers that a file is broken, so that a backend need not. Errors are negative errnos. */
#include "base/file.h"

#include <stdatomic.h>

struct file_ops {
    int64_t (*read_at)(struct file *file, void *data, size_t len, uint64_t offset);
    int (*append)(struct file *file, const void *data, size_t len);
    int (*sync)(struct file *file);
    int (*truncate)(struct file *file, uint64_t len);
    uint64_t (*size)(struct file *file);
    void (*close)(struct file *file); /* frees all but the head's path */
};

struct file_system_ops {
    int (*open)(struct file_system *fs, const char *path, enum file_mode mode, struct file **ret_file);
    int (*lock_dir)(struct file_system *fs, const char *dir, struct file **ret_lock);
    int (*rename)(struct file_system *fs, const char *from, const char *to);
    int (*unlink)(struct file_system *fs, const char *path);
    int (*make_dir)(struct file_system *fs, const char *path); /* one, durable; 0 also when it is there */
    int (*sync_dir)(struct file_system *fs, const char *path);
    int (*exists)(struct file_system *fs, const char *path);
    int (*list)(struct file_system *fs, const char *path, char ***ret_names, size_t *ret_count); /* in any order */
    int (*free_bytes)(struct file_system *fs, const char *path, uint64_t *ret_bytes);
    void (*free)(struct file_system *fs);
};

struct file_system {
    const struct file_system_ops *ops;
};

/* The head of each backend's own struct. */
struct file {
    const struct file_ops *ops;
    char *path;          /* set by file.c */
    enum file_mode mode; /* set by file.c */
    _Atomic bool broken; /* a sync failed, or a failed append could not be cut back */
};

#define FILE_PATH_BYTES_MAX 4095    /* bytes; what Linux takes */
#define FILE_NAMES_MAX      1000000 /* of one directory; a list of them takes some 50 MB */
