#include "base/fail.h"
#include "base/file.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- What every file system does: the same tests for the real one, memory, and a failing one that does not fail ----
 */

struct place {
    struct file_system *fs;
    struct file_system *inner; /* of a failing one */
    char dir[64];
};

static int setup_real(void **state)
{
    struct place *place = mem_zalloc(sizeof(*place));
    place->fs = file_system_real();
    snprintf(place->dir, sizeof(place->dir), "/tmp/tributary-test-XXXXXX");
    *state = place;
    return mkdtemp(place->dir) ? 0 : -1;
}

static int setup_memory(void **state)
{
    struct place *place = mem_zalloc(sizeof(*place));
    place->fs = file_system_memory_new(0);
    snprintf(place->dir, sizeof(place->dir), "/data");
    *state = place;
    return file_make_dirs(place->fs, place->dir);
}

static int setup_failing(void **state)
{
    int error = setup_memory(state);
    struct place *place = *state;
    place->inner = place->fs;
    place->fs = file_system_failing_new(place->inner);
    return error;
}

static int remove_tree(struct file_system *fs, const char *path)
{
    char **names;
    size_t count;
    if (file_list(fs, path, &names, &count) == 0) {
        for (size_t i = 0; i < count; i++) {
            CLEANUP_FREE char *child = mem_printf("%s/%s", path, names[i]);
            remove_tree(fs, child);
        }
        file_names_free(names, count);
    }
    return file_unlink(fs, path);
}

static int teardown(void **state)
{
    struct place *place = *state;
    int error = remove_tree(place->fs, place->dir);
    file_system_free(place->fs);
    file_system_free(place->inner);
    mem_free(place);
    return error;
}

#define PATH(place, name) mem_printf("%s/" name, (place)->dir)

static struct file *opened(struct file_system *fs, const char *path, enum file_mode mode)
{
    struct file *file = NULL;
    assert_int_equal(file_open(fs, path, mode, &file), 0);
    return file;
}

static void assert_content(struct file_system *fs, const char *path, const char *text)
{
    CLEANUP(buf_done) struct buf buf = BUF_INIT(MIB);
    assert_int_equal(file_read_whole(fs, path, &buf), 0);
    assert_true(str_equal(buf_view(&buf), str_from(text)));
}

static void test_append_and_read(void **state)
{
    struct place *place = *state;
    CLEANUP_FREE char *path = PATH(place, "log");
    CLEANUP(file_closep) struct file *file = opened(place->fs, path, FILE_CREATE_NEW);
    assert_string_equal(file_path(file), path);
    assert_int_equal(file_size(file), 0);
    assert_int_equal(file_append(file, "hello ", 6), 0);
    assert_int_equal(file_append(file, NULL, 0), 0);
    assert_int_equal(file_append(file, "world", 5), 0);
    assert_int_equal(file_size(file), 11);
    assert_int_equal(file_sync(file), 0);
    char bytes[32];
    assert_int_equal(file_read_at(file, bytes, sizeof(bytes), 6), 5);
    assert_memory_equal(bytes, "world", 5);
    assert_int_equal(file_read_at(file, bytes, 3, 1), 3);
    assert_memory_equal(bytes, "ell", 3);
    assert_int_equal(file_read_at(file, bytes, sizeof(bytes), 11), 0);
    assert_int_equal(file_read_at(file, bytes, sizeof(bytes), 1000000), 0);
    assert_int_equal(file_read_at(file, bytes, 1, UINT64_MAX), -EINVAL);
}

static void test_modes(void **state)
{
    struct place *place = *state;
    CLEANUP_FREE char *path = PATH(place, "log");
    struct file *file = NULL;
    assert_int_equal(file_open(place->fs, path, FILE_READ, &file), -ENOENT);
    assert_int_equal(file_open(place->fs, "", FILE_READ, &file), -ENOENT);
    assert_null(file);
    file_close(opened(place->fs, path, FILE_APPEND));
    assert_int_equal(file_open(place->fs, path, FILE_CREATE_NEW, &file), -EEXIST);
    file = opened(place->fs, path, FILE_APPEND);
    assert_int_equal(file_append(file, "ab", 2), 0);
    file_close(file);
    file = opened(place->fs, path, FILE_APPEND); /* goes on at the end */
    assert_int_equal(file_append(file, "cd", 2), 0);
    CLEANUP(file_closep) struct file *reader = opened(place->fs, path, FILE_READ);
    assert_int_equal(file_append(reader, "x", 1), -EBADF);
    assert_int_equal(file_sync(reader), -EBADF);
    assert_int_equal(file_truncate(reader, 0), -EBADF);
    assert_int_equal(file_append(file, "ef", 2), 0);
    assert_int_equal(file_size(reader), 6); /* sees what is appended later */
    file_close(file);
    assert_content(place->fs, path, "abcdef");
    CLEANUP_FREE char *below_file = PATH(place, "log/x");
    assert_int_equal(file_open(place->fs, below_file, FILE_APPEND, &file), -ENOTDIR);
    CLEANUP_FREE char *no_dir = PATH(place, "none/x");
    assert_int_equal(file_open(place->fs, no_dir, FILE_APPEND, &file), -ENOENT);
    file_close(NULL);
}

static void test_truncate(void **state)
{
    struct place *place = *state;
    CLEANUP_FREE char *path = PATH(place, "log");
    CLEANUP(file_closep) struct file *file = opened(place->fs, path, FILE_APPEND);
    assert_int_equal(file_append(file, "abcdef", 6), 0);
    assert_int_equal(file_truncate(file, 7), -EINVAL);
    assert_int_equal(file_truncate(file, 2), 0);
    assert_int_equal(file_size(file), 2);
    assert_int_equal(file_append(file, "XY", 2), 0);
    assert_content(place->fs, path, "abXY");
}

static void test_names(void **state)
{
    struct place *place = *state;
    CLEANUP_FREE char *deep = PATH(place, "a/b//c/");
    CLEANUP_FREE char *a = PATH(place, "a");
    CLEANUP_FREE char *z = PATH(place, "z");
    CLEANUP_FREE char *file_path_in = PATH(place, "a/b/c/file");
    CLEANUP_FREE char *moved_path = PATH(place, "z/b/c/file");
    assert_int_equal(file_make_dirs(place->fs, deep), 0);
    assert_int_equal(file_make_dirs(place->fs, deep), 0);
    assert_int_equal(file_write_whole(place->fs, file_path_in, "x", 1), 0);
    assert_int_equal(file_make_dirs(place->fs, file_path_in), -ENOTDIR);
    assert_int_equal(file_exists(place->fs, file_path_in), 1);
    assert_int_equal(file_exists(place->fs, moved_path), 0);
    assert_int_equal(file_rename(place->fs, a, z), 0); /* a directory with all below it */
    assert_int_equal(file_exists(place->fs, file_path_in), 0);
    assert_content(place->fs, moved_path, "x");
    assert_int_equal(file_rename(place->fs, z, deep), -ENOENT);
    CLEANUP_FREE char *plain = PATH(place, "plain");
    assert_int_equal(file_write_whole(place->fs, plain, "y", 1), 0);
    assert_int_equal(file_rename(place->fs, z, plain), -ENOTDIR);
    assert_int_equal(file_rename(place->fs, plain, z), -EISDIR);
    CLEANUP_FREE char *inside = PATH(place, "z/b/y");
    assert_int_equal(file_rename(place->fs, z, inside), -EINVAL);
    assert_int_equal(file_unlink(place->fs, z), -ENOTEMPTY);
    assert_int_equal(file_unlink(place->fs, moved_path), 0);
    assert_int_equal(file_unlink(place->fs, moved_path), -ENOENT);
    assert_int_equal(file_sync_dir(place->fs, z), 0);
    assert_int_equal(file_sync_dir(place->fs, moved_path), -ENOENT);
    CLEANUP_FREE char *empty = PATH(place, "z/b/c");
    assert_int_equal(file_unlink(place->fs, empty), 0);
}

static void test_rename_replaces_a_file_and_open_files_live_on(void **state)
{
    struct place *place = *state;
    CLEANUP_FREE char *from = PATH(place, "from");
    CLEANUP_FREE char *to = PATH(place, "to");
    assert_int_equal(file_write_whole(place->fs, from, "new", 3), 0);
    assert_int_equal(file_write_whole(place->fs, to, "old", 3), 0);
    CLEANUP(file_closep) struct file *old = opened(place->fs, to, FILE_READ);
    assert_int_equal(file_rename(place->fs, from, to), 0);
    assert_content(place->fs, to, "new");
    char bytes[3];
    assert_int_equal(file_read_at(old, bytes, 3, 0), 3);
    assert_memory_equal(bytes, "old", 3);
    assert_int_equal(file_exists(place->fs, from), 0);
}

static void test_lists_are_sorted(void **state)
{
    struct place *place = *state;
    static const char *const made[] = {"b", "a", "10", "9", "B"};
    static const char *const sorted[] = {"10", "9", "B", "a", "b"};
    char **names;
    size_t count;
    assert_int_equal(file_list(place->fs, place->dir, &names, &count), 0);
    assert_int_equal(count, 0);
    file_names_free(names, count);
    for (size_t i = 0; i < ARRAY_LEN(made); i++) {
        CLEANUP_FREE char *path = mem_printf("%s/%s", place->dir, made[i]);
        file_close(opened(place->fs, path, FILE_CREATE_NEW));
    }
    assert_int_equal(file_list(place->fs, place->dir, &names, &count), 0);
    assert_int_equal(count, ARRAY_LEN(sorted));
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(names[i], sorted[i]);
    }
    file_names_free(names, count);
    CLEANUP_FREE char *none = PATH(place, "none");
    assert_int_equal(file_list(place->fs, none, &names, &count), -ENOENT);
    CLEANUP_FREE char *no_dir = PATH(place, "a");
    assert_int_equal(file_list(place->fs, no_dir, &names, &count), -ENOTDIR);
}

static void test_whole_files(void **state)
{
    struct place *place = *state;
    CLEANUP_FREE char *path = PATH(place, "document");
    CLEANUP_FREE char *temporary = PATH(place, "document.tmp");
    assert_int_equal(file_write_whole(place->fs, temporary, "left by a crash", 15), 0);
    assert_int_equal(file_write_whole(place->fs, path, "12345", 5), 0);
    assert_int_equal(file_write_whole(place->fs, path, "1234567", 7), 0);
    assert_int_equal(file_exists(place->fs, temporary), 0);
    CLEANUP(buf_done) struct buf exact = BUF_INIT(8);
    buf_append_byte(&exact, 'x');
    assert_int_equal(file_read_whole(place->fs, path, &exact), 0);
    assert_true(str_equal(buf_view(&exact), STR("x1234567")));
    CLEANUP(buf_done) struct buf small = BUF_INIT(7);
    buf_append_byte(&small, 'x');
    assert_int_equal(file_read_whole(place->fs, path, &small), -EFBIG);
    assert_true(str_equal(buf_view(&small), STR("x")));
    assert_int_equal(file_write_whole(place->fs, path, NULL, 0), 0);
    assert_content(place->fs, path, "");
    CLEANUP_FREE char *none = PATH(place, "none");
    assert_int_equal(file_read_whole(place->fs, none, &small), -ENOENT);
    CLEANUP_FREE char *large = mem_alloc(MIB);
    memset(large, 'y', MIB);
    assert_int_equal(file_write_whole(place->fs, path, large, MIB), 0);
    CLEANUP(buf_done) struct buf whole = BUF_INIT(MIB);
    assert_int_equal(file_read_whole(place->fs, path, &whole), 0);
    assert_int_equal(whole.len, MIB);
    assert_memory_equal(whole.data, large, MIB);
}

static void test_one_lock_a_directory(void **state)
{
    struct place *place = *state;
    struct file *lock = NULL;
    struct file *second = NULL;
    assert_int_equal(file_lock_dir(place->fs, place->dir, &lock), 0);
    assert_int_equal(file_lock_dir(place->fs, place->dir, &second), -EBUSY);
    assert_null(second);
    file_close(lock);
    assert_int_equal(file_lock_dir(place->fs, place->dir, &lock), 0);
    file_close(lock);
    CLEANUP_FREE char *none = PATH(place, "none");
    assert_int_equal(file_lock_dir(place->fs, none, &lock), -ENOENT);
}

static void test_free_bytes(void **state)
{
    struct place *place = *state;
    uint64_t bytes = 0;
    assert_int_equal(file_free_bytes(place->fs, place->dir, &bytes), 0);
    assert_true(bytes > 0);
    CLEANUP_FREE char *none = PATH(place, "none");
    assert_int_equal(file_free_bytes(place->fs, none, &bytes), -ENOENT);
}

struct writer {
    struct file *file;
    int error;
};

static void *append_many(void *argument)
{
    struct writer *writer = argument;
    for (int i = 0; i < 2000 && !writer->error; i++) {
        writer->error = file_append(writer->file, "0123456789", 10);
    }
    return NULL;
}

static void test_appended_by_one_thread_and_synced_by_another(void **state)
{
    struct place *place = *state;
    CLEANUP_FREE char *path = PATH(place, "log");
    CLEANUP(file_closep) struct file *file = opened(place->fs, path, FILE_APPEND);
    struct writer writer = {.file = file};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, append_many, &writer), 0);
    for (int i = 0; i < 50; i++) {
        char bytes[10];
        uint64_t size = file_size(file);
        assert_int_equal(size % 10, 0); /* never half an append */
        assert_int_equal(file_sync(file), 0);
        if (size > 0) {
            assert_int_equal(file_read_at(file, bytes, 10, size - 10), 10);
            assert_memory_equal(bytes, "0123456789", 10);
        }
    }
    pthread_join(thread, NULL);
    assert_int_equal(writer.error, 0);
    assert_int_equal(file_size(file), 20000);
}

/* ---- The real one ---- */

static void test_the_lock_is_the_processs(void **state)
{
    struct place *place = *state;
    int go[2];
    int done[2];
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(done), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct file *lock;
        char byte = file_lock_dir(place->fs, place->dir, &lock) == 0 ? 'y' : 'n';
        if (write(done[1], &byte, 1) == 1 && read(go[0], &byte, 1) == 1) {
            _exit(0); /* without file_close, as a killed process */
        }
        _exit(1);
    }
    char byte = 0;
    assert_int_equal(read(done[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    struct file *lock = NULL;
    assert_int_equal(file_lock_dir(place->fs, place->dir, &lock), -EBUSY);
    assert_int_equal(write(go[1], "g", 1), 1);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(file_lock_dir(place->fs, place->dir, &lock), 0);
    file_close(lock);
    for (int i = 0; i < 2; i++) {
        close(go[i]);
        close(done[i]);
    }
}

static void test_a_real_full_disk_is_an_error(void **state)
{
    (void)state;
    /* The device that is always full: the append fails, and cannot be cut back, so the file is given up. */
    CLEANUP(file_closep) struct file *file = opened(file_system_real(), "/dev/full", FILE_APPEND);
    assert_int_equal(file_append(file, "x", 1), -ENOSPC);
    assert_int_equal(file_size(file), 0);
    assert_int_equal(file_append(file, "x", 1), -EIO);
    assert_int_equal(file_sync(file), -EIO);
}

static void test_files_that_do_not_tell_their_size(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf whole = BUF_INIT(MIB);
    assert_int_equal(file_read_whole(file_system_real(), "/proc/self/status", &whole), 0);
    assert_true(whole.len > 100);
    CLEANUP(buf_done) struct buf small = BUF_INIT(100);
    assert_int_equal(file_read_whole(file_system_real(), "/proc/self/status", &small), -EFBIG);
    assert_int_equal(small.len, 0);
}

/* ---- Crashes ---- */

#define CRASHES 300 /* seeds: enough for each outcome to be seen, which the tests check */

static void test_what_was_synced_survives(void **state)
{
    (void)state;
    int lost = 0;
    int torn = 0;
    int zeros = 0;
    int kept = 0;
    for (uint64_t seed = 0; seed < CRASHES; seed++) {
        struct random random;
        random_seed(&random, seed);
        struct file_system *fs = file_system_memory_new(0);
        struct file *file = opened(fs, "log", FILE_CREATE_NEW);
        char synced[700];
        char after[2000];
        memset(synced, 's', sizeof(synced));
        memset(after, 'a', sizeof(after));
        assert_int_equal(file_append(file, synced, sizeof(synced)), 0);
        assert_int_equal(file_sync(file), 0);
        assert_int_equal(file_sync_dir(fs, "."), 0);
        assert_int_equal(file_append(file, after, sizeof(after)), 0);
        file_system_memory_crash(fs, &random);

        assert_int_equal(file_append(file, "x", 1), -EIO);
        assert_int_equal(file_sync(file), -EIO);
        assert_int_equal(file_read_at(file, after, 1, 0), -EIO);
        file_close(file);
        CLEANUP(buf_done) struct buf found = BUF_INIT(MIB);
        assert_int_equal(file_read_whole(fs, "log", &found), 0);
        assert_true(found.len >= sizeof(synced) && found.len <= sizeof(synced) + sizeof(after));
        assert_memory_equal(found.data, synced, sizeof(synced));
        bool all = true;
        for (size_t i = sizeof(synced); i < found.len; i++) {
            assert_true(found.data[i] == 'a' || found.data[i] == 0);
            bool same_sector = i > sizeof(synced) && i % 512 != 0;
            assert_true(!same_sector || found.data[i] == found.data[i - 1]); /* torn between sectors only */
            all = all && found.data[i] == 'a';
        }
        lost += found.len == sizeof(synced);
        torn += found.len > sizeof(synced) && found.len < sizeof(synced) + sizeof(after);
        kept += found.len == sizeof(synced) + sizeof(after) && all;
        zeros += !all;
        assert_true(found.len % 512 == 0 || found.len == sizeof(synced) || found.len == 2700);
        file_system_free(fs);
    }
    assert_true(lost > 0 && torn > 0 && zeros > 0 && kept > 0);
}

static void test_names_need_a_sync_of_their_directory(void **state)
{
    (void)state;
    int survived = 0;
    for (uint64_t seed = 0; seed < CRASHES; seed++) {
        struct random random;
        random_seed(&random, seed);
        struct file_system *fs = file_system_memory_new(0);
        assert_int_equal(file_make_dirs(fs, "a/b"), 0);
        file_close(opened(fs, "a/durable", FILE_CREATE_NEW));
        assert_int_equal(file_sync_dir(fs, "a"), 0);
        struct file *file = opened(fs, "a/b/new", FILE_CREATE_NEW);
        assert_int_equal(file_append(file, "x", 1), 0);
        assert_int_equal(file_sync(file), 0);
        file_close(file);
        file_system_memory_crash(fs, &random);
        assert_int_equal(file_exists(fs, "a/durable"), 1);
        assert_int_equal(file_exists(fs, "a/b"), 1); /* file_make_dirs is durable */
        int exists = file_exists(fs, "a/b/new");
        if (exists) {
            assert_content(fs, "a/b/new", "x");
        }
        survived += exists;
        file_system_free(fs);
    }
    assert_true(survived > 0 && survived < CRASHES);
}

static void test_changes_of_names_survive_in_their_order(void **state)
{
    (void)state;
    int seen[4] = {0};
    for (uint64_t seed = 0; seed < CRASHES; seed++) {
        struct random random;
        random_seed(&random, seed);
        struct file_system *fs = file_system_memory_new(0);
        file_close(opened(fs, "first", FILE_CREATE_NEW));
        file_close(opened(fs, "second", FILE_CREATE_NEW));
        assert_int_equal(file_rename(fs, "first", "third"), 0);
        file_system_memory_crash(fs, &random);
        int first = file_exists(fs, "first");
        int second = file_exists(fs, "second");
        int third = file_exists(fs, "third");
        assert_true(!second || first || third);    /* the second was made after the first */
        assert_true(!third || (!first && second)); /* a rename is one change */
        seen[first + second + third + (third > 0)]++;
        file_system_free(fs);
    }
    assert_true(seen[0] > 0 && seen[1] > 0 && seen[2] > 0 && seen[3] > 0);
}

static void test_write_whole_is_old_or_new(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < CRASHES; seed++) {
        struct random random;
        random_seed(&random, seed);
        struct file_system *memory = file_system_memory_new(0);
        struct file_system *fs = file_system_failing_new(memory);
        assert_int_equal(file_write_whole(fs, "document", "old", 3), 0);
        uint64_t before = file_system_failing_count(fs);
        assert_int_equal(file_write_whole(fs, "document", "newer", 5), 0);
        uint64_t steps = file_system_failing_count(fs) - before;
        assert_int_equal(steps, 4); /* append, sync, rename, sync of the directory */
        assert_int_equal(file_write_whole(fs, "document", "old", 3), 0);

        /* The machine stops at any of these steps, or after the last. */
        uint64_t stop = 1 + seed % (steps + 1);
        file_system_failing_at(fs, stop, -EIO, false);
        int error = file_write_whole(fs, "document", "newer", 5);
        assert_int_equal(error, stop <= steps ? -EIO : 0);
        file_system_memory_crash(memory, &random);
        CLEANUP(buf_done) struct buf found = BUF_INIT(100);
        assert_int_equal(file_read_whole(memory, "document", &found), 0);
        bool is_new = str_equal(buf_view(&found), STR("newer"));
        assert_true(is_new || str_equal(buf_view(&found), STR("old")));
        assert_true(is_new || error);     /* what was answered is true */
        assert_true(!is_new || stop > 3); /* and the new one is never there before its rename */
        file_system_free(fs);
        file_system_free(memory);
    }
}

static void test_a_truncation_survives_or_not(void **state)
{
    (void)state;
    int cut = 0;
    for (uint64_t seed = 0; seed < CRASHES; seed++) {
        struct random random;
        random_seed(&random, seed);
        struct file_system *fs = file_system_memory_new(0);
        struct file *file = opened(fs, "log", FILE_CREATE_NEW);
        assert_int_equal(file_append(file, "abcdef", 6), 0);
        assert_int_equal(file_sync(file), 0);
        assert_int_equal(file_sync_dir(fs, "."), 0);
        assert_int_equal(file_truncate(file, 3), 0);
        if (seed % 2) {
            assert_int_equal(file_sync(file), 0);
        }
        file_close(file);
        file_system_memory_crash(fs, &random);
        CLEANUP(buf_done) struct buf found = BUF_INIT(100);
        assert_int_equal(file_read_whole(fs, "log", &found), 0);
        assert_true(found.len == 3 || (found.len == 6 && seed % 2 == 0));
        assert_memory_equal(found.data, "abcdef", found.len);
        cut += found.len == 3 && seed % 2 == 0;
        file_system_free(fs);
    }
    assert_true(cut > 0 && cut < CRASHES / 2);
}

static void test_what_replaces_a_truncated_end_is_not_synced(void **state)
{
    (void)state;
    int seen_old = 0;
    int seen_cut = 0;
    int seen_new = 0;
    for (uint64_t seed = 0; seed < CRASHES; seed++) {
        struct random random;
        random_seed(&random, seed);
        struct file_system *fs = file_system_memory_new(0);
        struct file *file = opened(fs, "log", FILE_CREATE_NEW);
        assert_int_equal(file_append(file, "abcdef", 6), 0);
        assert_int_equal(file_sync(file), 0);
        assert_int_equal(file_sync_dir(fs, "."), 0);
        assert_int_equal(file_truncate(file, 3), 0);
        assert_int_equal(file_append(file, "XYZ", 3), 0);
        file_close(file);
        file_system_memory_crash(fs, &random);
        CLEANUP(buf_done) struct buf found = BUF_INIT(100);
        assert_int_equal(file_read_whole(fs, "log", &found), 0);
        bool is_old = str_equal(buf_view(&found), STR("abcdef"));
        bool is_cut = str_equal(buf_view(&found), STR("abc"));
        bool is_new = str_equal(buf_view(&found), STR("abcXYZ"));
        assert_true(is_old || is_cut || is_new || str_equal(buf_view(&found), STR("abc\0\0\0")));
        seen_old += is_old;
        seen_cut += is_cut;
        seen_new += is_new;
        file_system_free(fs);
    }
    assert_true(seen_old > 0 && seen_cut > 0 && seen_new > 0);
}

static void test_crash_after_crash(void **state)
{
    (void)state;
    /* A log that is always synced loses nothing, whatever happens in between. */
    struct random random;
    random_seed(&random, 6);
    struct file_system *fs = file_system_memory_new(0);
    assert_int_equal(file_make_dirs(fs, "d"), 0);
    uint64_t written = 0;
    for (int i = 0; i < 100; i++) {
        struct file *lock;
        assert_int_equal(file_lock_dir(fs, "d", &lock), 0); /* a dead owner's lock is gone */
        struct file *file = opened(fs, "d/log", FILE_APPEND);
        assert_true(file_size(file) >= written * 8);
        assert_int_equal(file_truncate(file, written * 8), 0); /* recovery */
        for (uint64_t at = 0; at < written; at++) {
            uint64_t number;
            assert_int_equal(file_read_at(file, &number, 8, at * 8), 8);
            assert_true(number == at);
        }
        uint64_t count = random_below(&random, 100);
        for (uint64_t j = 0; j < count; j++, written++) {
            assert_int_equal(file_append(file, &written, 8), 0);
        }
        assert_int_equal(file_sync(file), 0);
        assert_int_equal(file_sync_dir(fs, "d"), 0);
        assert_int_equal(file_append(file, "lost", 4), 0);
        file_system_memory_crash(fs, &random);
        file_close(file);
        file_close(lock);
    }
    file_system_free(fs);
}

static void test_a_full_file_system(void **state)
{
    (void)state;
    struct file_system *fs = file_system_memory_new(100);
    struct file *file = opened(fs, "a", FILE_APPEND);
    char bytes[101] = {0};
    uint64_t left = 0;
    assert_int_equal(file_append(file, bytes, 101), -ENOSPC);
    assert_int_equal(file_size(file), 0);
    assert_int_equal(file_append(file, bytes, 60), 0);
    assert_int_equal(file_append(file, bytes, 41), -ENOSPC);
    assert_int_equal(file_free_bytes(fs, "/", &left), 0);
    assert_int_equal(left, 40);
    assert_int_equal(file_truncate(file, 10), 0);
    assert_int_equal(file_append(file, bytes, 90), 0);
    file_close(file);
    assert_int_equal(file_unlink(fs, "a"), 0);
    assert_int_equal(file_sync_dir(fs, "/"), 0);
    assert_int_equal(file_free_bytes(fs, "/", &left), 0);
    assert_int_equal(left, 100);
    struct file *none = NULL;
    assert_int_equal(file_open(fs, "../a", FILE_APPEND, &none), -EINVAL);
    file_system_free(fs);
}

/* ---- Failures on demand ---- */

static void test_the_nth_operation_fails(void **state)
{
    struct place *place = *state;
    CLEANUP_FREE char *path = PATH(place, "log");
    CLEANUP(file_closep) struct file *file = opened(place->fs, path, FILE_APPEND);
    file_system_failing_at(place->fs, 2, -ENOSPC, true);
    assert_int_equal(file_append(file, "a", 1), 0);
    assert_int_equal(file_append(file, "b", 1), -ENOSPC);
    assert_int_equal(file_append(file, "c", 1), 0); /* once */
    assert_content(place->fs, path, "ac");
    assert_int_equal(file_system_failing_count(place->fs), 3);
    file_system_failing_at(place->fs, 1, -EIO, false);
    assert_int_equal(file_append(file, "d", 1), -EIO);
    assert_int_equal(file_truncate(file, 0), -EIO);
    assert_int_equal(file_rename(place->fs, path, path), -EIO);
    assert_int_equal(file_sync_dir(place->fs, place->dir), -EIO);
    file_system_failing_at(place->fs, 0, -EIO, false);
    assert_int_equal(file_append(file, "e", 1), 0);
    assert_content(place->fs, path, "ace");
}

static void test_after_a_failed_sync_the_file_is_given_up(void **state)
{
    struct place *place = *state;
    CLEANUP_FREE char *path = PATH(place, "log");
    CLEANUP(file_closep) struct file *file = opened(place->fs, path, FILE_APPEND);
    assert_int_equal(file_append(file, "a", 1), 0);
    file_system_failing_at(place->fs, 1, -ENOSPC, true);
    assert_int_equal(file_sync(file), -ENOSPC);
    assert_int_equal(file_sync(file), -EIO); /* the second must not look like a success */
    assert_int_equal(file_append(file, "b", 1), -EIO);
    assert_int_equal(file_truncate(file, 0), -EIO);
    CLEANUP(file_closep) struct file *again = opened(place->fs, path, FILE_APPEND);
    assert_int_equal(file_sync(again), 0);
}

#define ON(setup, test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define ON_ALL(test)    ON(setup_real, test), ON(setup_memory, test), ON(setup_failing, test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ALL(test_append_and_read),
        ON_ALL(test_modes),
        ON_ALL(test_truncate),
        ON_ALL(test_names),
        ON_ALL(test_rename_replaces_a_file_and_open_files_live_on),
        ON_ALL(test_lists_are_sorted),
        ON_ALL(test_whole_files),
        ON_ALL(test_one_lock_a_directory),
        ON_ALL(test_free_bytes),
        ON_ALL(test_appended_by_one_thread_and_synced_by_another),
        ON(setup_real, test_the_lock_is_the_processs),
        cmocka_unit_test(test_a_real_full_disk_is_an_error),
        cmocka_unit_test(test_files_that_do_not_tell_their_size),
        cmocka_unit_test(test_what_was_synced_survives),
        cmocka_unit_test(test_names_need_a_sync_of_their_directory),
        cmocka_unit_test(test_changes_of_names_survive_in_their_order),
        cmocka_unit_test(test_write_whole_is_old_or_new),
        cmocka_unit_test(test_a_truncation_survives_or_not),
        cmocka_unit_test(test_what_replaces_a_truncated_end_is_not_synced),
        cmocka_unit_test(test_crash_after_crash),
        cmocka_unit_test(test_a_full_file_system),
        ON(setup_failing, test_the_nth_operation_fails),
        ON(setup_failing, test_after_a_failed_sync_the_file_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
