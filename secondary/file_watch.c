#include "file_watch.h"

#include "base/fail.h"
#include "base/map.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define WILDCARDS "*?[\\"
/* A file that is being written is told when its writer closes it: not when it is made. What a link's making changes is
 * found by polling. */
#define EVENTS                                                                                                         \
    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

struct pattern {
    char *dir;  /* with the slash at its end; "./" where the pattern has none */
    char *text; /* the whole of it */
    char *last; /* its last part */
    bool unlisted;
    int wd; /* of the directory, -1: not watched */
};

struct known_file {
    char *path;
    const struct pattern *pattern; /* that found it */
    bool found;                    /* at this look */
    bool told;                     /* ever */
    uint64_t hash;                 /* of the bytes that were told */
    bool changed;                  /* read, with bytes to be told: */
    struct buf text;
};

/* What is looked for and what is known. While `busy` it is the executor's, else the loop's. */
struct look {
    struct file_watch *watch; /* NULL: nobody is told any more */
    struct file_system *fs;
    size_t files_max;
    uint64_t bytes_max;
    struct pattern *patterns;
    size_t pattern_count;
    int inotify; /* -1: none */
    struct map known;
    /* Of one look. */
    bool listed;
    struct known_file **found;
    size_t found_count, read_count, told_count;
    char *problem; /* the first */
};

struct file_watch {
    struct seams seams;
    struct file_watch_listener listener;
    struct look *look;
    bool busy;
    bool again; /* something happened while it was */
    struct loop_timer poll, notice;
    int events_fd; /* of the look's inotify, -1: none */
    struct loop_watch *events;
    char *problem; /* as it was said */
};

/* ---- On the executor: find and read ---- */

static bool known_is(const void *item, const void *path)
{
    return strcmp(((const struct known_file *)item)->path, path) == 0;
}

static void note_problem(struct look *look, const char *path, int error)
{
    if (!look->problem)
        look->problem = mem_printf("%s: %s", path, strerrordesc_np(-error));
}

static void add_found(struct look *look, const struct pattern *pattern, char *path)
{
    uint64_t hash = str_hash(str_from(path));
    struct known_file *file = map_get(&look->known, hash, known_is, path);
    /* Those known already come first; one that takes the place of one that is gone comes at the next look. */
    bool full = !file && look->known.count >= look->files_max;
    if (full && !look->problem)
        look->problem = mem_printf("%s: more than %zu files", pattern->text, look->files_max);
    if (full || (file && file->found)) {
        mem_free(path);
        return;
    }
    if (file) {
        mem_free(path);
    } else {
        file = mem_zalloc(sizeof(*file));
        file->path = path;
        map_put(&look->known, hash, file);
    }
    file->pattern = pattern;
    file->found = true;
    look->found = mem_resize(look->found, look->found_count + 1, sizeof(*look->found));
    look->found[look->found_count++] = file;
}

static void watch_dir(struct look *look, struct pattern *pattern)
{
    if (look->inotify < 0)
        return;
    int old = pattern->wd;
    pattern->wd = inotify_add_watch(look->inotify, pattern->dir, EVENTS);
    bool shared = old == pattern->wd;
    for (size_t i = 0; i < look->pattern_count; i++)
        shared = shared || look->patterns[i].wd == old;
    if (old >= 0 && !shared) /* another directory stands there now */
        inotify_rm_watch(look->inotify, old);
}

static void find_files(struct look *look, struct pattern *pattern)
{
    char **names;
    size_t count;
    pattern->unlisted = false;
    watch_dir(look, pattern); /* first, so that no change is missed */
    if (!strpbrk(pattern->last, WILDCARDS)) {
        add_found(look, pattern, mem_strdup(pattern->text));
        return;
    }
    int r = file_list(look->fs, pattern->dir, &names, &count);
    if (r == -ENOENT)
        return;
    if (r < 0) {
        pattern->unlisted = true;
        note_problem(look, pattern->dir, r);
        return;
    }
    size_t dir_len = strlen(pattern->text) - strlen(pattern->last);
    for (size_t i = 0; i < count; i++)
        if (fnmatch(pattern->last, names[i], 0) == 0)
            add_found(look, pattern, mem_printf("%.*s%s", (int)dir_len, pattern->text, names[i]));
    file_names_free(names, count);
}

static void list_all(struct look *look)
{
    size_t at = 0;
    for (struct known_file *file; (file = map_next(&look->known, &at));)
        file->found = false;
    mem_free(STEAL(look->problem));
    look->found_count = look->read_count = look->told_count = 0;
    for (size_t i = 0; i < look->pattern_count; i++)
        find_files(look, &look->patterns[i]);
    look->listed = true;
}

/* Bytes that are to be told. */
static size_t read_file(struct look *look, struct known_file *file)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(look->bytes_max);
    int r = file_read_whole(look->fs, file->path, &text);
    if (r == -ENOENT) {
        file->found = false;
        return 0;
    }
    if (r < 0) {
        note_problem(look, file->path, r);
        return 0;
    }
    uint64_t hash = str_hash(buf_view(&text));
    if (file->told && hash == file->hash)
        return 0;
    file->hash = hash;
    file->changed = true;
    file->text = text;
    text = BUF_INIT(0);
    return file->text.len;
}

static void look_work(void *arg)
{
    struct look *look = arg;
    if (!look->listed)
        list_all(look);
    for (size_t bytes = 0; look->read_count < look->found_count && bytes < FILE_WATCH_BYTES_MAX;)
        bytes += read_file(look, look->found[look->read_count++]);
}

/* ---- On the loop: tell ---- */

static void known_free(struct known_file *file)
{
    buf_done(&file->text);
    mem_free(file->path);
    mem_free(file);
}

static void look_free(struct look *look)
{
    size_t at = 0;
    for (struct known_file *file; (file = map_next(&look->known, &at));)
        known_free(file);
    map_done(&look->known);
    for (size_t i = 0; i < look->pattern_count; i++) {
        mem_free(look->patterns[i].dir);
        mem_free(look->patterns[i].text);
    }
    mem_free(look->patterns);
    mem_free(look->found);
    mem_free(look->problem);
    if (look->inotify >= 0)
        close(look->inotify);
    mem_free(look);
}

static void tell_file(struct look *look, struct known_file *file)
{
    if (!file->changed)
        return;
    const struct file_watch_listener *listener = &look->watch->listener;
    CLEANUP(buf_done) struct buf text = file->text;
    file->text = BUF_INIT(0);
    file->changed = false;
    file->told = true;
    /* What it says of the bytes is between it and the plugin's problem: they are told once either way. */
    (void)listener->reader->file(listener->reader_arg, str_from(file->path), buf_view(&text));
}

static void drop_gone(struct look *look)
{
    struct known_file **gone = mem_array(look->known.count, sizeof(struct known_file *));
    size_t count = 0, at = 0;
    for (struct known_file *file; (file = map_next(&look->known, &at));)
        if (!file->found && !file->pattern->unlisted)
            gone[count++] = file;
    for (size_t i = 0; i < count; i++) {
        map_remove(&look->known, str_hash(str_from(gone[i]->path)), known_is, gone[i]->path);
        if (gone[i]->told && look->watch) {
            const struct file_watch_listener *listener = &look->watch->listener;
            listener->reader->gone(listener->reader_arg, str_from(gone[i]->path));
        }
        known_free(gone[i]);
    }
    mem_free(gone);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void tell_problem(struct file_watch *watch, const char *problem)
{
    if (same_text(watch->problem, problem))
        return;
    mem_free(watch->problem);
    watch->problem = problem ? mem_strdup(problem) : NULL;
    watch->listener.problem(watch->listener.problem_arg, watch->problem);
}

static void end_look(struct look *look)
{
    look->listed = false; /* the next one begins anew */
    drop_gone(look);
    if (look->watch)
        tell_problem(look->watch, look->problem);
    if (look->watch && look->watch->listener.reader->settled)
        look->watch->listener.reader->settled(look->watch->listener.reader_arg);
}

static void look_done(void *arg);

static void start_look(struct file_watch *watch)
{
    if (watch->busy) {
        watch->again = true;
        return;
    }
    watch->busy = true;
    if (executor_submit(watch->seams.executor, watch->seams.loop, look_work, look_done, watch->look) < 0)
        watch->busy = false; /* the executor is full: the next time */
}

static void look_done(void *arg)
{
    struct look *look = arg;
    while (look->watch && look->told_count < look->read_count)
        tell_file(look, look->found[look->told_count++]);
    bool over = look->read_count == look->found_count;
    if (look->watch && over)
        end_look(look);
    struct file_watch *watch = look->watch;
    if (!watch) {
        look_free(look);
        return;
    }
    watch->busy = false;
    bool more = !over || watch->again;
    if (over)
        watch->again = false;
    if (more)
        start_look(watch);
}

static void on_timer(void *arg)
{
    start_look(arg);
}

static void on_events(void *arg, int events)
{
    struct file_watch *watch = arg;
    char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    (void)events;
    while (read(watch->events_fd, buffer, sizeof(buffer)) > 0)
        continue; /* that something happened is enough: what, the look tells */
    if (!watch->notice.active)
        loop_timer_start(&watch->notice, FILE_WATCH_NOTICE_MS, 0);
}

/* Two descriptors of one instance: the look's own goes with the look, which may outlive the watch. */
static void watch_events(struct file_watch *watch)
{
    if (loop_is_simulated(watch->seams.loop) || watch->seams.fs != file_system_real())
        return;
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0)
        return; /* the system has no more: polling finds everything, later */
    watch->events_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (watch->events_fd < 0) {
        close(fd);
        return;
    }
    watch->look->inotify = fd;
    watch->events = loop_watch_new(watch->seams.loop, watch->events_fd, LOOP_READ, on_events, watch);
}

static struct pattern pattern_of(const char *text)
{
    const char *slash = strrchr(text, '/');
    struct pattern pattern = {.text = mem_strdup(text), .wd = -1};
    pattern.dir = slash ? mem_strndup(text, (size_t)(slash - text) + 1) : mem_strdup("./");
    pattern.last = slash ? pattern.text + (slash - text) + 1 : pattern.text;
    return pattern;
}

struct file_watch *file_watch_new(const struct seams *seams, const struct discovery_files *files,
                                  const struct file_watch_listener *listener)
{
    ASSERT(files->refresh_ms > 0 && files->files_max > 0 && files->bytes_max > 0);
    struct file_watch *watch = mem_zalloc(sizeof(*watch));
    struct look *look = mem_zalloc(sizeof(*look));
    *watch = (struct file_watch){.seams = *seams, .listener = *listener, .look = look, .events_fd = -1};
    *look = (struct look){.watch = watch,
                          .fs = seams->fs,
                          .files_max = files->files_max,
                          .bytes_max = files->bytes_max,
                          .patterns = mem_array(files->pattern_count, sizeof(*look->patterns)),
                          .pattern_count = files->pattern_count,
                          .inotify = -1};
    for (size_t i = 0; i < files->pattern_count; i++)
        look->patterns[i] = pattern_of(files->patterns[i]);
    map_init(&look->known);
    watch_events(watch);
    loop_timer_init(&watch->notice, seams->loop, on_timer, watch);
    loop_timer_init(&watch->poll, seams->loop, on_timer, watch);
    loop_timer_start(&watch->poll, 0, MIN(files->refresh_ms, FILE_WATCH_POLL_MS));
    return watch;
}

void file_watch_free(struct file_watch *watch)
{
    if (!watch)
        return;
    loop_timer_stop(&watch->poll);
    loop_timer_stop(&watch->notice);
    loop_watch_free(watch->events);
    if (watch->events_fd >= 0)
        close(watch->events_fd);
    watch->look->watch = NULL;
    if (!watch->busy)
        look_free(watch->look);
    mem_free(watch->problem);
    mem_free(watch);
}
