/* Files that are there, change, cannot be read and go: what of them is told, on simulated and on real files. */
#include "secondary/file_watch.h"

#include "base/fail.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct scene {
    struct seams seams;
    struct clock *clock; /* NULL: the real one */
    struct file_watch *watch;
    struct buf told; /* "+path=text;", "-path;", ".": settled, "!reason;" */
    int64_t refresh_ms;
    bool refuse;  /* what is told */
    char free_at; /* this mark frees the watch */
    const char *stop_at;
    char dir[64]; /* real files */
};

static void note(struct scene *scene, char mark, const char *format, ...)
{
    char text[PATH_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    buf_append_byte(&scene->told, (uint8_t)mark);
    buf_append_text(&scene->told, text);
    if (scene->free_at == mark)
        file_watch_free(STEAL(scene->watch));
    if (scene->stop_at && memmem(scene->told.data, scene->told.len, scene->stop_at, strlen(scene->stop_at)))
        loop_stop(scene->seams.loop);
}

static int on_file(void *arg, struct str path, struct str text)
{
    struct scene *scene = arg;
    const char *name = memrchr(path.ptr, '/', path.len);
    if (text.len > 100)
        note(scene, '+', "%.*s=%zu bytes;", (int)(path.ptr + path.len - name), name, text.len);
    else
        note(scene, '+', "%.*s=" STR_FMT ";", (int)(path.ptr + path.len - name), name, STR_ARG(text));
    return scene->refuse ? -1 : 0;
}

static void on_gone(void *arg, struct str path)
{
    const char *name = memrchr(path.ptr, '/', path.len);
    note(arg, '-', "%.*s;", (int)(path.ptr + path.len - name), name);
}

static void on_settled(void *arg)
{
    note(arg, '.', "%s", "");
}

static void on_problem(void *arg, const char *reason)
{
    note(arg, '!', "%s;", reason ? reason : "over");
}

static const struct discovery_files_reader reader = {on_file, on_gone, on_settled};

static int set_up_simulated(void **state)
{
    struct scene *scene = mem_zalloc(sizeof(*scene));
    scene->clock = clock_simulated_new(1700000000000);
    scene->seams = (struct seams){
        .loop = loop_simulated_new(scene->clock), .fs = file_system_memory_new(0), .executor = executor_inline_new()};
    scene->told = BUF_INIT(MIB);
    scene->refresh_ms = 3600 * 1000;
    assert_int_equal(file_make_dirs(scene->seams.fs, "/sd"), 0);
    *state = scene;
    return 0;
}

static int set_up_real(void **state)
{
    struct scene *scene = mem_zalloc(sizeof(*scene));
    scene->seams = (struct seams){.loop = loop_new(), .fs = file_system_real(), .executor = executor_pool_new(2, 1000)};
    scene->told = BUF_INIT(MIB);
    scene->refresh_ms = 3600 * 1000;
    snprintf(scene->dir, sizeof(scene->dir), "/tmp/test_file_watch_XXXXXX");
    assert_non_null(mkdtemp(scene->dir));
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    file_watch_free(scene->watch);
    executor_free(scene->seams.executor);
    loop_settle(scene->seams.loop);
    loop_free(scene->seams.loop);
    file_system_free(scene->seams.fs);
    if (scene->clock)
        clock_free(scene->clock);
    if (scene->dir[0]) {
        CLEANUP_FREE char *command = mem_printf("rm -r %s", scene->dir);
        assert_int_equal(system(command), 0);
    }
    buf_done(&scene->told);
    mem_free(scene);
    return 0;
}

static void write_text(struct scene *scene, const char *path, const char *text)
{
    assert_int_equal(file_write_whole(scene->seams.fs, path, text, strlen(text)), 0);
}

static void watch_with(struct scene *scene, const char *const *patterns, size_t count, size_t files_max,
                       uint64_t bytes_max)
{
    const struct discovery_files files = {patterns, count, scene->refresh_ms, files_max, bytes_max};
    const struct file_watch_listener listener = {&reader, scene, on_problem, scene};
    file_watch_free(scene->watch);
    scene->watch = file_watch_new(&scene->seams, &files, &listener);
}

static void watch(struct scene *scene, const char *pattern)
{
    watch_with(scene, &pattern, 1, 100, MIB);
}

static void assert_told(struct scene *scene, const char *text)
{
    buf_append_byte(&scene->told, 0);
    assert_string_equal((const char *)scene->told.data, text);
    buf_reset(&scene->told);
}

/* ---- Simulated ---- */

static void test_found_by_patterns(void **state)
{
    struct scene *scene = *state;
    static const char *const patterns[] = {"/sd/b.json", "/sd/a*.json", "/sd/a[12].json", "/nowhere/*.json",
                                           "/sd/absent.json"};
    write_text(scene, "/sd/a2.json", "two");
    write_text(scene, "/sd/a1.json", "one");
    write_text(scene, "/sd/b.json", "");
    write_text(scene, "/sd/a1.yml", "other");
    watch_with(scene, patterns, ARRAY_LEN(patterns), 100, MIB);
    assert_int_equal(scene->told.len, 0); /* never from inside the call */
    loop_advance(scene->seams.loop, 0);
    assert_told(scene, "+/b.json=;+/a1.json=one;+/a2.json=two;.");
}

static void test_told_when_it_has_others(void **state)
{
    struct scene *scene = *state;
    write_text(scene, "/sd/a.json", "one");
    watch(scene, "/sd/*.json");
    loop_advance(scene->seams.loop, FILE_WATCH_POLL_MS - 1);
    assert_told(scene, "+/a.json=one;.");
    loop_advance(scene->seams.loop, 1);
    assert_told(scene, "."); /* the same bytes */
    write_text(scene, "/sd/a.json", "two");
    write_text(scene, "/sd/b.json", "new");
    loop_advance(scene->seams.loop, FILE_WATCH_POLL_MS);
    assert_told(scene, "+/a.json=two;+/b.json=new;.");
    assert_int_equal(file_unlink(scene->seams.fs, "/sd/a.json"), 0);
    loop_advance(scene->seams.loop, FILE_WATCH_POLL_MS);
    assert_told(scene, "-/a.json;.");
    write_text(scene, "/sd/a.json", "two");
    loop_advance(scene->seams.loop, FILE_WATCH_POLL_MS);
    assert_told(scene, "+/a.json=two;.");
}

static void test_looks_as_often_as_asked(void **state)
{
    struct scene *scene = *state;
    scene->refresh_ms = 1000;
    watch(scene, "/sd/*.json");
    loop_advance(scene->seams.loop, 3000);
    assert_told(scene, "....");
}

static void test_refused_bytes_are_told_once(void **state)
{
    struct scene *scene = *state;
    scene->refuse = true;
    write_text(scene, "/sd/a.json", "bad");
    watch(scene, "/sd/a.json");
    loop_advance(scene->seams.loop, 2 * FILE_WATCH_POLL_MS);
    assert_told(scene, "+/a.json=bad;...");
}

static void test_too_many_files(void **state)
{
    struct scene *scene = *state;
    static const char *const patterns[] = {"/sd/*.json"};
    write_text(scene, "/sd/b.json", "b");
    write_text(scene, "/sd/c.json", "c");
    watch_with(scene, patterns, 1, 2, MIB);
    loop_advance(scene->seams.loop, 0);
    assert_told(scene, "+/b.json=b;+/c.json=c;.");
    write_text(scene, "/sd/d.json", "d");
    loop_advance(scene->seams.loop, FILE_WATCH_POLL_MS);
    assert_told(scene, "!/sd/*.json: more than 2 files;.");
    assert_int_equal(file_unlink(scene->seams.fs, "/sd/d.json"), 0);
    loop_advance(scene->seams.loop, FILE_WATCH_POLL_MS);
    assert_told(scene, "!over;.");
}

static void test_a_file_too_large_is_not_gone(void **state)
{
    struct scene *scene = *state;
    static const char *const patterns[] = {"/sd/*.json"};
    write_text(scene, "/sd/a.json", "four");
    write_text(scene, "/sd/b.json", "b");
    watch_with(scene, patterns, 1, 100, 4);
    loop_advance(scene->seams.loop, 0);
    assert_told(scene, "+/a.json=four;+/b.json=b;.");
    write_text(scene, "/sd/a.json", "fives");
    loop_advance(scene->seams.loop, 2 * FILE_WATCH_POLL_MS);
    assert_told(scene, "!/sd/a.json: File too large;..");
    write_text(scene, "/sd/a.json", "four");
    loop_advance(scene->seams.loop, FILE_WATCH_POLL_MS);
    assert_told(scene, "!over;.");
}

static void test_many_large_files_come_in_turns(void **state)
{
    struct scene *scene = *state;
    enum { COUNT = 5 };
    size_t len = FILE_WATCH_BYTES_MAX * 2 / 3;
    CLEANUP_FREE char *text = mem_zalloc(len);
    for (int i = 0; i < COUNT; i++) {
        CLEANUP_FREE char *path = mem_printf("/sd/%d.json", i);
        assert_int_equal(file_write_whole(scene->seams.fs, path, text, len), 0);
    }
    static const char *const patterns[] = {"/sd/*.json"};
    watch_with(scene, patterns, 1, 100, len);
    loop_advance(scene->seams.loop, 0);
    CLEANUP_FREE char *wanted = mem_printf("+/0.json=%zu bytes;+/1.json=%zu bytes;+/2.json=%zu bytes;+/3.json=%zu "
                                           "bytes;+/4.json=%zu bytes;.",
                                           len, len, len, len, len);
    assert_told(scene, wanted);
}

static void test_freed_from_inside(void **state)
{
    struct scene *scene = *state;
    static const struct {
        char mark;
        const char *told; /* and no more */
    } marks[] = {{'+', "+/a.json=a;"},
                 {'.', "+/a.json=a;+/b.json=b;!/sd/*.json: more than 2 files;."},
                 {'!', "+/a.json=a;+/b.json=b;!/sd/*.json: more than 2 files;"}};
    write_text(scene, "/sd/a.json", "a");
    write_text(scene, "/sd/b.json", "b");
    write_text(scene, "/sd/c.json", "c");
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        scene->free_at = marks[i].mark;
        watch_with(scene, (const char *const[]){"/sd/*.json"}, 1, 2, MIB);
        loop_advance(scene->seams.loop, 2 * FILE_WATCH_POLL_MS);
        assert_null(scene->watch);
        assert_told(scene, marks[i].told);
    }
    scene->free_at = '-';
    watch(scene, "/sd/*.json");
    loop_advance(scene->seams.loop, 0);
    assert_told(scene, "+/a.json=a;+/b.json=b;+/c.json=c;.");
    assert_int_equal(file_unlink(scene->seams.fs, "/sd/a.json"), 0);
    assert_int_equal(file_unlink(scene->seams.fs, "/sd/b.json"), 0);
    loop_advance(scene->seams.loop, 2 * FILE_WATCH_POLL_MS);
    assert_null(scene->watch);
    assert_int_equal(scene->told.len, strlen("-/a.json;")); /* of the two one, whichever */
}

static void test_freed_before_it_has_looked(void **state)
{
    struct scene *scene = *state;
    write_text(scene, "/sd/a.json", "a");
    watch(scene, "/sd/*.json");
    file_watch_free(STEAL(scene->watch));
    loop_advance(scene->seams.loop, FILE_WATCH_POLL_MS);
    assert_told(scene, "");
}

/* ---- Real ---- */

static char *in_dir(const struct scene *scene, const char *name)
{
    return mem_printf("%s/%s", scene->dir, name);
}

static void write_in(struct scene *scene, const char *name, const char *text)
{
    CLEANUP_FREE char *path = in_dir(scene, name);
    write_text(scene, path, text);
}

static void watch_in(struct scene *scene, const char *pattern)
{
    CLEANUP_FREE char *path = in_dir(scene, pattern);
    watch(scene, path);
}

static void run_until(struct scene *scene, const char *told)
{
    scene->stop_at = told;
    loop_run(scene->seams.loop);
    buf_reset(&scene->told);
}

static void rename_in(const struct scene *scene, const char *from, const char *to)
{
    CLEANUP_FREE char *old = in_dir(scene, from), *new = in_dir(scene, to);
    assert_int_equal(rename(old, new), 0);
}

static void link_in(const struct scene *scene, const char *target, const char *name)
{
    CLEANUP_FREE char *path = in_dir(scene, name);
    assert_int_equal(symlink(target, path), 0);
}

static void make_dir_in(const struct scene *scene, const char *name)
{
    CLEANUP_FREE char *path = in_dir(scene, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

/* By polling alone these changes would take three times as long as the alarm lets them. */
static void test_changes_are_noticed_at_once(void **state)
{
    struct scene *scene = *state;
    enum { CHANGES = 24 };
    write_in(scene, "a.json", "first");
    watch_in(scene, "*.json");
    run_until(scene, ".");
    alarm(CHANGES * FILE_WATCH_POLL_MS / 1000 / 3);
    for (int i = 0; i < CHANGES / 4; i++) {
        char text[32], told[64];
        snprintf(text, sizeof(text), "%d", i);
        snprintf(told, sizeof(told), "+/a.json=%d;", i);
        write_in(scene, "a.json", text);
        run_until(scene, told);
        write_in(scene, "b.json", "b");
        run_until(scene, "+/b.json=b;");
        rename_in(scene, "b.json", "elsewhere");
        run_until(scene, "-/b.json;");
        CLEANUP_FREE char *path = in_dir(scene, "a.json");
        FILE *file = fopen(path, "w"); /* in its place */
        assert_non_null(file);
        fprintf(file, "again%d", i);
        fclose(file);
        snprintf(told, sizeof(told), "+/a.json=again%d;", i);
        run_until(scene, told);
    }
    alarm(0);
}

/* As Kubernetes mounts a ConfigMap: names are links through ..data, which is exchanged. */
static void test_links_that_are_exchanged(void **state)
{
    struct scene *scene = *state;
    make_dir_in(scene, "..1");
    make_dir_in(scene, "..2");
    write_in(scene, "..1/a.json", "one");
    write_in(scene, "..2/a.json", "two");
    link_in(scene, "..1", "..data");
    link_in(scene, "..data/a.json", "a.json");
    watch_in(scene, "*.json");
    run_until(scene, "+/a.json=one;.");
    link_in(scene, "..2", "..tmp");
    rename_in(scene, "..tmp", "..data");
    run_until(scene, "+/a.json=two;.");
}

static void test_another_directory_in_its_place(void **state)
{
    struct scene *scene = *state;
    make_dir_in(scene, "d");
    make_dir_in(scene, "e");
    write_in(scene, "d/a.json", "one");
    watch_in(scene, "d/*.json");
    run_until(scene, "+/a.json=one;.");
    write_in(scene, "e/a.json", "two");
    rename_in(scene, "d", "old");
    rename_in(scene, "e", "d");
    run_until(scene, "+/a.json=two;.");
    alarm(6 * FILE_WATCH_POLL_MS / 1000 / 3);
    for (int i = 0; i < 6; i++) { /* it is this one that is watched now */
        char text[32], told[64];
        snprintf(text, sizeof(text), "%d", i);
        snprintf(told, sizeof(told), "+/a.json=%d;", i);
        write_in(scene, "d/a.json", text);
        run_until(scene, told);
    }
    alarm(0);
}

/* A link to itself can neither be listed nor read, not even by root. */
static void test_what_cannot_be_listed_is_not_gone(void **state)
{
    struct scene *scene = *state;
    make_dir_in(scene, "d");
    make_dir_in(scene, "e");
    write_in(scene, "d/a.json", "a");
    write_in(scene, "e/b.json", "b");
    CLEANUP_FREE char *d = in_dir(scene, "d"), *link = in_dir(scene, "link");
    scene->refresh_ms = 200; /* a directory that cannot be listed cannot be watched either */
    CLEANUP_FREE char *in_d = in_dir(scene, "d/*.json"), *in_e = in_dir(scene, "e/*.json");
    watch_with(scene, (const char *const[]){in_d, in_e}, 2, 100, MIB);
    run_until(scene, "+/a.json=a;+/b.json=b;.");
    link_in(scene, "d", "link");
    assert_int_equal(renameat2(AT_FDCWD, link, AT_FDCWD, d, RENAME_EXCHANGE), 0);
    CLEANUP_FREE char *problem = mem_printf("!%s/: Too many levels of symbolic links;", d);
    run_until(scene, problem);
    rename_in(scene, "e/b.json", "c.json"); /* elsewhere files go */
    scene->stop_at = "-/b.json;.";
    loop_run(scene->seams.loop);
    assert_null(memmem(scene->told.data, scene->told.len, "a.json", strlen("a.json")));
    assert_int_equal(renameat2(AT_FDCWD, link, AT_FDCWD, d, RENAME_EXCHANGE), 0);
    scene->stop_at = "!over;";
    loop_run(scene->seams.loop);
    assert_null(memmem(scene->told.data, scene->told.len, "a.json", strlen("a.json")));
}

static void test_what_cannot_be_read_is_not_gone(void **state)
{
    struct scene *scene = *state;
    write_in(scene, "a.json", "a");
    watch_in(scene, "*.json");
    run_until(scene, "+/a.json=a;.");
    link_in(scene, "a.json", "tmp");
    rename_in(scene, "tmp", "a.json");
    scene->stop_at = "!";
    loop_run(scene->seams.loop);
    CLEANUP_FREE char *wanted = mem_printf("!%s/a.json: Too many levels of symbolic links;", scene->dir);
    buf_append_byte(&scene->told, 0);
    assert_non_null(strstr((const char *)scene->told.data, wanted));
    assert_null(strchr((const char *)scene->told.data, '-'));
    buf_reset(&scene->told);
    write_in(scene, "a.json", "a");
    scene->stop_at = "!over;";
    loop_run(scene->seams.loop);
    assert_null(memchr(scene->told.data, '+', scene->told.len)); /* it says the same as before */
}

static void test_freed_while_it_looks(void **state)
{
    struct scene *scene = *state;
    write_in(scene, "a.json", "a");
    for (int i = 0; i < 50; i++) {
        watch_in(scene, "*.json");
        for (int turn = 0; turn < i % 3; turn++)
            loop_settle(scene->seams.loop);
        file_watch_free(STEAL(scene->watch));
        buf_reset(&scene->told);
        loop_settle(scene->seams.loop);
        assert_int_equal(scene->told.len, 0);
    }
}

int main(void)
{
#define SIMULATED(name) cmocka_unit_test_setup_teardown(name, set_up_simulated, tear_down)
#define REAL(name)      cmocka_unit_test_setup_teardown(name, set_up_real, tear_down)
    const struct CMUnitTest tests[] = {
        SIMULATED(test_found_by_patterns),
        SIMULATED(test_told_when_it_has_others),
        SIMULATED(test_looks_as_often_as_asked),
        SIMULATED(test_refused_bytes_are_told_once),
        SIMULATED(test_too_many_files),
        SIMULATED(test_a_file_too_large_is_not_gone),
        SIMULATED(test_many_large_files_come_in_turns),
        SIMULATED(test_freed_from_inside),
        SIMULATED(test_freed_before_it_has_looked),
        REAL(test_changes_are_noticed_at_once),
        REAL(test_links_that_are_exchanged),
        REAL(test_another_directory_in_its_place),
        REAL(test_what_cannot_be_listed_is_not_gone),
        REAL(test_what_cannot_be_read_is_not_gone),
        REAL(test_freed_while_it_looks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
