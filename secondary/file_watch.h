#pragma once
/* Files that a discovery plugin asked for (struct discovery_files): found by their patterns and read on the executor,
 * told on the loop when they are there or have other bytes. Directories are looked into each refresh_ms, at least each
 * FILE_WATCH_POLL_MS, and on the real file system soon after something happened in them (inotify, where the system
 * still has some). */
#include "net/seams.h"
#include "target/discovery_plugin.h"

#define FILE_WATCH_POLL_MS   5000
#define FILE_WATCH_NOTICE_MS 100        /* after the first of several changes */
#define FILE_WATCH_BYTES_MAX (16 * MIB) /* of changed files in memory at a time, and one file more */

struct file_watch;

/* What of the files cannot be read or found, one line, when it is or becomes another, before `settled`; NULL: it is
 * over. It is not the plugin's own problem, which may stand beside it. */
typedef void file_watch_problem_fn(void *arg, const char *reason);

struct file_watch_listener {
    const struct discovery_files_reader *reader;
    void *reader_arg;
    file_watch_problem_fn *problem;
    void *problem_arg;
};

/* Everything is told on the loop, never from inside this call. A file is gone when it does not exist any more: what
 * stands in a directory that cannot be listed, or cannot be read, is not. `files` and `listener` are copied; of *seams
 * loop, fs and executor are used. */
struct file_watch *file_watch_new(const struct seams *seams, const struct discovery_files *files,
                                  const struct file_watch_listener *listener);
/* Also from inside of what it tells. Nothing is told any more. */
void file_watch_free(struct file_watch *watch);
DEFINE_CLEANUP(struct file_watch *, file_watch_free)
