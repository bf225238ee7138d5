/* Directories of blocks: what a crash leaves, and deletion. */
#include "base/fail.h"
#include "store/block_parts.h"

#include <errno.h>

#define DEPTH_MAX 4 /* of directories in a block: there is one, chunks */

static int remove_tree(struct file_system *fs, const char *path, int depth)
{
    int error = file_unlink(fs, path); /* a file, or an empty directory */
    if (!error || error == -ENOENT || depth == 0) {
        return error == -ENOENT ? 0 : error;
    }
    char **names;
    size_t count;
    int list_error = file_list(fs, path, &names, &count);
    if (list_error) {
        return list_error == -ENOTDIR ? error : list_error;
    }
    error = 0;
    for (size_t i = 0; i < count && !error; i++) {
        CLEANUP_FREE char *inner = mem_printf("%s/%s", path, names[i]);
        error = remove_tree(fs, inner, depth - 1);
    }
    file_names_free(names, count);
    return error ? error : file_unlink(fs, path);
}

int block_remove_dir(struct file_system *fs, const char *path)
{
    return remove_tree(fs, path, DEPTH_MAX);
}

/* 1 when the name is one that a crash leaves, or of aggregates without their block. */
static int is_leftover(const struct block_dirs *dirs, bool in_aggregates, const char *name)
{
    struct str text = str_from(name);
    if (str_ends_with(text, STR(BLOCK_TMP_CREATION)) || str_ends_with(text, STR(BLOCK_TMP_DELETION))) {
        return 1;
    }
    struct ulid ulid;
    if (!in_aggregates || ulid_parse(text, &ulid) < 0) {
        return 0;
    }
    CLEANUP_FREE char *block = mem_printf("%s/%s", dirs->blocks, name);
    int exists = file_exists(dirs->fs, block);
    return exists < 0 ? exists : !exists;
}

static int remove_leftovers_in(const struct block_dirs *dirs, bool in_aggregates)
{
    const char *dir = in_aggregates ? dirs->aggregates : dirs->blocks;
    char **names;
    size_t count;
    int result = file_list(dirs->fs, dir, &names, &count);
    if (result < 0) {
        return result == -ENOENT ? 0 : result;
    }
    for (size_t i = 0; i < count && result >= 0; i++) {
        result = is_leftover(dirs, in_aggregates, names[i]);
        if (result > 0) {
            CLEANUP_FREE char *path = mem_printf("%s/%s", dir, names[i]);
            result = block_remove_dir(dirs->fs, path);
        }
    }
    file_names_free(names, count);
    return MIN(result, 0);
}

int block_remove_leftovers(const struct block_dirs *dirs)
{
    int error = remove_leftovers_in(dirs, false);
    return error ? error : remove_leftovers_in(dirs, true);
}

/* -ENOENT when there is none. */
static int delete_in(struct file_system *fs, const char *dir, const struct ulid *ulid)
{
    CLEANUP_FREE char *path = mem_printf("%s/%s", dir, ulid->text);
    CLEANUP_FREE char *doomed = mem_printf("%s/%s" BLOCK_TMP_DELETION, dir, ulid->text);
    int error = file_exists(fs, path);
    if (error <= 0) {
        return error < 0 ? error : -ENOENT;
    }
    error = block_remove_dir(fs, doomed); /* of an earlier try */
    error = error ? error : file_rename(fs, path, doomed);
    error = error ? error : file_sync_dir(fs, dir);
    return error ? error : block_remove_dir(fs, doomed);
}

int block_delete(const struct block_dirs *dirs, const struct ulid *ulid)
{
    /* The block first: aggregates without it are leftovers. */
    int error = delete_in(dirs->fs, dirs->blocks, ulid);
    if (error && error != -ENOENT) {
        return error;
    }
    int aggregates_error = delete_in(dirs->fs, dirs->aggregates, ulid);
    return aggregates_error == -ENOENT ? error : aggregates_error;
}
