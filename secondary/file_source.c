#include "file_source.h"

#include "base/fail.h"
#include "base/log.h"
#include "discover.h"

#include <errno.h>
#include <stdio.h>

struct known_file {
    char *path;
    uint64_t hash;                /* of its bytes when they were last understood or refused */
    struct target_groups *groups; /* last understood; NULL: never */
    bool broken;
    char error[256];
};

enum reading { READ_SAME, READ_NEW, READ_FAILED };

struct read_file {
    char *path;
    uint64_t known_hash; /* 0: not known */
    enum reading reading;
    uint64_t hash;
    struct target_groups *groups; /* READ_NEW */
    char error[256];
};

/* One look at all files: owned in, owned out. */
struct look {
    struct file_source *source; /* NULL: the source has gone meanwhile */
    struct file_system *fs;
    char **patterns;
    size_t pattern_count;
    struct read_file *known; /* path and hash of what the source knows */
    size_t known_count;
    struct read_file *files; /* what was found */
    size_t count;
    char *list_error; /* a directory could not be listed: what is not found is not gone */
};

struct file_source {
    struct seams seams;
    loop_fn *fn;
    void *arg;
    char **patterns;
    size_t pattern_count;
    struct known_file *files;
    size_t count;
    struct loop_timer timer;
    struct look *look; /* under way */
    bool was_read, list_broken;
    uint64_t reads_total, failures_total;
};

/* ---- On the executor: find and read ---- */

/* One * in the last part, as the configuration's check has it. */
static bool matches(const char *pattern, const char *name)
{
    const char *star = strchr(pattern, '*');
    if (!star)
        return strcmp(pattern, name) == 0;
    struct str start = str_of(pattern, (size_t)(star - pattern)), end = str_from(star + 1), text = str_from(name);
    return text.len >= start.len + end.len && str_starts_with(text, start) && str_ends_with(text, end);
}

static void add_file(struct look *look, char *path)
{
    bool again = false;
    for (size_t i = 0; i < look->count; i++)
        again = again || strcmp(look->files[i].path, path) == 0;
    if (again || look->count == DISCOVER_FILES_MAX) {
        mem_free(path);
        return;
    }
    struct read_file file = {.path = path};
    for (size_t i = 0; i < look->known_count; i++)
        if (strcmp(look->known[i].path, path) == 0)
            file.known_hash = look->known[i].known_hash;
    look->files = mem_resize(look->files, look->count + 1, sizeof(file));
    look->files[look->count++] = file;
}

static void find_files(struct look *look, const char *pattern)
{
    const char *slash = strrchr(pattern, '/');
    const char *last = slash ? slash + 1 : pattern;
    CLEANUP_FREE char *dir = slash ? mem_strndup(pattern, (size_t)(last - pattern)) : mem_strdup(".");
    char **names;
    size_t count;
    int r = file_list(look->fs, dir, &names, &count);
    if (r < 0 && r != -ENOENT && !look->list_error)
        look->list_error = mem_printf("%s: %s", dir, strerrordesc_np(-r));
    if (r < 0)
        return;
    for (size_t i = 0; i < count; i++)
        if (matches(last, names[i]))
            add_file(look, slash ? mem_printf("%s%s", dir, names[i]) : mem_strdup(names[i]));
    file_names_free(names, count);
}

static void read_one(struct look *look, struct read_file *file)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(TARGET_FILE_BYTES_MAX);
    file->reading = READ_FAILED;
    int r = file_read_whole(look->fs, file->path, &text);
    if (r < 0) {
        snprintf(file->error, sizeof(file->error), "%s", strerrordesc_np(-r));
        return;
    }
    file->hash = str_hash(buf_view(&text));
    if (file->hash == file->known_hash)
        file->reading = READ_SAME;
    else if (target_groups_decode(buf_view(&text), target_format_of(file->path), file->error, &file->groups) == 0)
        file->reading = READ_NEW;
}

static void look_work(void *arg)
{
    struct look *look = arg;
    for (size_t i = 0; i < look->pattern_count; i++)
        find_files(look, look->patterns[i]);
    for (size_t i = 0; i < look->count; i++)
        read_one(look, &look->files[i]);
}

/* ---- On the loop: what it means ---- */

static void free_texts(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mem_free(texts[i]);
    mem_free(texts);
}

static void look_free(struct look *look)
{
    for (size_t i = 0; i < look->count; i++) {
        mem_free(look->files[i].path);
        target_groups_free(look->files[i].groups);
    }
    for (size_t i = 0; i < look->known_count; i++)
        mem_free(look->known[i].path);
    mem_free(look->files);
    mem_free(look->known);
    free_texts(look->patterns, look->pattern_count);
    mem_free(look->list_error);
    mem_free(look);
}

static struct known_file *find_known(struct file_source *source, const char *path)
{
    for (size_t i = 0; i < source->count; i++)
        if (source->files[i].path && strcmp(source->files[i].path, path) == 0)
            return &source->files[i];
    return NULL;
}

static void known_file_done(struct known_file *file)
{
    mem_free(file->path);
    target_groups_free(file->groups);
}

/* Takes what was read of one file over; true when its targets are others now. Broken files are told once per content.
 */
static bool take_file(struct file_source *source, struct known_file *known, struct read_file *file)
{
    if (file->reading == READ_FAILED) {
        source->failures_total++;
        if (!known->broken || strcmp(known->error, file->error) != 0)
            log_warn("targets file %s: %s; %s", file->path, file->error,
                     known->groups ? "its last targets stay" : "no targets from it");
        known->broken = true;
        known->hash = 0; /* looked into again next time: the same bytes say the same, quietly */
        snprintf(known->error, sizeof(known->error), "%s", file->error);
        return false;
    }
    if (known->broken)
        log_info("targets file %s: readable again", file->path);
    known->broken = false;
    if (file->reading == READ_SAME)
        return false;
    target_groups_free(known->groups);
    known->groups = STEAL(file->groups);
    known->hash = file->hash;
    return true;
}

static bool take_look(struct file_source *source, struct look *look)
{
    bool changed = !source->was_read;
    struct known_file *files = mem_array(look->count + source->count, sizeof(*files));
    size_t count = 0;
    for (size_t i = 0; i < look->count; i++) {
        struct known_file *known = find_known(source, look->files[i].path);
        files[count] = known ? *known : (struct known_file){.path = mem_strdup(look->files[i].path)};
        if (known)
            *known = (struct known_file){0};
        changed = take_file(source, &files[count++], &look->files[i]) || changed;
    }
    for (size_t i = 0; i < source->count; i++) {
        if (source->files[i].path && look->list_error)
            files[count++] = source->files[i];
        else if (source->files[i].path) {
            changed = true;
            known_file_done(&source->files[i]);
        }
    }
    mem_free(source->files);
    source->files = files;
    source->count = count;
    return changed;
}

static void look_done(void *arg)
{
    struct look *look = arg;
    struct file_source *source = look->source;
    if (source) {
        source->look = NULL;
        source->reads_total++;
        if (look->list_error && !source->list_broken)
            log_warn("targets files: %s", look->list_error);
        source->list_broken = look->list_error;
        bool changed = take_look(source, look);
        source->was_read = true;
        if (changed)
            source->fn(source->arg);
    }
    look_free(look);
}

static char **copy_texts(char *const *texts, size_t count)
{
    char **copies = mem_array(count, sizeof(*copies));
    for (size_t i = 0; i < count; i++)
        copies[i] = mem_strdup(texts[i]);
    return copies;
}

static void on_timer(void *arg)
{
    struct file_source *source = arg;
    if (source->look)
        return; /* a slow disk: the next time */
    struct look *look = mem_zalloc(sizeof(*look));
    look->source = source;
    look->fs = source->seams.fs;
    look->patterns = copy_texts(source->patterns, source->pattern_count);
    look->pattern_count = source->pattern_count;
    look->known = mem_array(source->count, sizeof(*look->known));
    look->known_count = source->count;
    for (size_t i = 0; i < source->count; i++)
        look->known[i] =
            (struct read_file){.path = mem_strdup(source->files[i].path), .known_hash = source->files[i].hash};
    if (executor_submit(source->seams.executor, source->seams.loop, look_work, look_done, look) == 0)
        source->look = look;
    else
        look_free(look); /* the executor is full: the next time */
}

struct file_source *file_source_new(const struct seams *seams, const struct file_sd_config *config, loop_fn *fn,
                                    void *arg)
{
    struct file_source *source = mem_zalloc(sizeof(*source));
    source->seams = *seams;
    source->patterns = copy_texts((char *const *)config->files.items, config->files.count);
    source->pattern_count = config->files.count;
    loop_timer_init(&source->timer, seams->loop, on_timer, source);
    file_source_give_to(source, fn, arg, config->refresh_interval_ms);
    return source;
}

void file_source_give_to(struct file_source *source, loop_fn *fn, void *arg, int64_t refresh_interval_ms)
{
    source->fn = fn;
    source->arg = arg;
    loop_timer_start(&source->timer, 0, MIN(refresh_interval_ms, DISCOVER_POLL_MS));
}

void file_source_free(struct file_source *source)
{
    if (!source)
        return;
    loop_timer_stop(&source->timer);
    if (source->look)
        source->look->source = NULL;
    for (size_t i = 0; i < source->count; i++)
        known_file_done(&source->files[i]);
    mem_free(source->files);
    free_texts(source->patterns, source->pattern_count);
    mem_free(source);
}

bool file_source_was_read(const struct file_source *source)
{
    return source->was_read;
}

bool file_source_is_of(const struct file_source *source, const struct file_sd_config *config)
{
    bool same = source->pattern_count == config->files.count;
    for (size_t i = 0; same && i < source->pattern_count; i++)
        same = strcmp(source->patterns[i], config->files.items[i]) == 0;
    return same;
}

size_t file_source_count(const struct file_source *source)
{
    return source->count;
}

const struct target_groups *file_source_groups(const struct file_source *source, size_t index)
{
    return source->files[index].groups;
}

const char *file_source_path(const struct file_source *source, size_t index)
{
    return source->files[index].path;
}

void file_source_stats(const struct file_source *source, struct file_source_stats *ret_stats)
{
    *ret_stats = (struct file_source_stats){
        .files = source->count, .reads_total = source->reads_total, .failures_total = source->failures_total};
    for (size_t i = 0; i < source->count; i++)
        ret_stats->broken += source->files[i].broken;
}
