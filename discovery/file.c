/* file_sd_configs: target groups from JSON and YAML files. A file that is broken keeps what it said last; one that is
 * gone says nothing any more. */
#include "base/arena.h"
#include "base/fail.h"
#include "base/map.h"
#include "target/discovery_plugin.h"
#include "target/target_group.h"

#include <errno.h>

#define PATTERNS_MAX   1000
#define FILES_MAX      1000 /* what a directory of small files may hold */
#define REFRESH_MIN_MS 1000LL
#define REFRESH_MAX_MS (24 * 3600000LL)

/* ---- Configuration ---- */

struct file_config {
    struct conf_strings files;
    int64_t refresh_ms;
};

/* As Prometheus has it: stars in the last part alone. */
static bool is_file_pattern(const char *pattern)
{
    static const char *const endings[] = {".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"};
    const char *star = strchr(pattern, '*');
    if (star && strchr(star, '/'))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(endings); i++)
        if (str_ends_with(str_from(pattern), str_from(endings[i])))
            return true;
    return false;
}

static void check_config(struct conf *conf, const struct conf_node *node, void *object)
{
    struct file_config *config = object;
    const struct conf_node *files = conf_child(node, "files");
    for (size_t i = 0; i < config->files.count; i++) {
        if (is_file_pattern(config->files.items[i]))
            config->files.items[i] = conf_path(conf, config->files.items[i]);
        else
            conf_error(conf, conf_child_at(files, i),
                       "files: \"%.64s\" is not a pattern that ends with .json, .yml or .yaml and has * only in its "
                       "last part",
                       config->files.items[i]);
    }
}

static const struct conf_table file_table = {
    .title = "file_sd_config",
    .struct_bytes = sizeof(struct file_config),
    .check = check_config,
    .options =
        (const struct conf_option[]){
            {.name = "files",
             .type = CONF_STRINGS,
             .offset = offsetof(struct file_config, files),
             .required = true,
             .min = 1,
             .max = PATTERNS_MAX,
             .help = "Patterns of .json, .yml or .yaml files with target groups; * in the last part."},
            {.name = "refresh_interval",
             .type = CONF_DURATION,
             .offset = offsetof(struct file_config, refresh_ms),
             .fallback = "5m",
             .min = REFRESH_MIN_MS,
             .max = REFRESH_MAX_MS,
             .help = "How often the files are read again; every 5 s at least, and when the system tells of a change."},
            {0},
        },
};

/* ---- The instance ---- */

struct source_file {
    char *path;
    size_t group_count; /* said, and not taken back */
    char error[256];    /* of its bytes; "": none */
};

struct file_sd {
    const struct discovery_api *api;
    struct discovery_host *host;
    struct map files; /* of struct source_file */
    bool listing;     /* until all files of the first look are told */
};

static bool file_is(const void *item, const void *path)
{
    return str_equal(str_from(((const struct source_file *)item)->path), *(const struct str *)path);
}

static struct source_file *find_or_add(struct file_sd *sd, struct str path)
{
    struct source_file *file = map_get(&sd->files, str_hash(path), file_is, &path);
    if (!file) {
        file = mem_zalloc(sizeof(*file));
        file->path = mem_strndup(path.ptr, path.len);
        map_put(&sd->files, str_hash(path), file);
    }
    return file;
}

/* One problem of a section is shown at a time: when this file's is over, another's is. */
static void say_problem_of_another(struct file_sd *sd)
{
    size_t at = 0;
    for (const struct source_file *file; (file = map_next(&sd->files, &at));)
        if (file->error[0]) {
            sd->api->problem(sd->host, "%s: %s", file->path, file->error);
            return;
        }
}

/* group NULL: none, which takes back what was said. */
static void put_group(struct file_sd *sd, const struct source_file *file, size_t index,
                      const struct target_group *group)
{
    static const struct target_group none;
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 0);
    group = group ? group : &none;
    struct discovery_target *targets = arena_array(&arena, group->address_count, sizeof(*targets));
    struct label *labels = arena_array(&arena, group->label_count + 1, sizeof(*labels));
    size_t label_count = 0;
    labels[label_count++] = (struct label){STR("__meta_filepath"), str_from(file->path)};
    for (size_t i = 0; i < group->label_count; i++)
        if (!str_equal(group->labels[i].name, labels[0].name))
            labels[label_count++] = group->labels[i];
    for (size_t i = 0; i < group->address_count; i++)
        targets[i].address = group->addresses[i];
    const struct discovery_group said = {.source = str_from(arena_printf(&arena, "%s:%zu", file->path, index)),
                                         .labels = labels,
                                         .label_count = label_count,
                                         .targets = targets,
                                         .target_count = group->address_count};
    sd->api->put(sd->host, &said);
}

static void put_groups(struct file_sd *sd, struct source_file *file, const struct target_group *groups, size_t count)
{
    for (size_t i = 0; i < MAX(count, file->group_count); i++)
        put_group(sd, file, i, i < count ? &groups[i] : NULL);
    file->group_count = count;
}

static int on_file(void *arg, struct str path, struct str text)
{
    struct file_sd *sd = arg;
    struct source_file *file = find_or_add(sd, path);
    CLEANUP(target_groups_freep) struct target_groups *groups = NULL;
    int r = target_groups_decode(text, target_format_of(file->path), file->error, &groups);
    if (r < 0) {
        sd->api->problem(sd->host, "%s: %s", file->path, file->error);
        return r;
    }
    put_groups(sd, file, groups->items, groups->count);
    if (file->error[0]) {
        file->error[0] = '\0';
        say_problem_of_another(sd);
    }
    return 0;
}

static void on_gone(void *arg, struct str path)
{
    struct file_sd *sd = arg;
    struct source_file *file = map_remove(&sd->files, str_hash(path), file_is, &path);
    if (!file)
        return;
    put_groups(sd, file, NULL, 0);
    if (file->error[0])
        say_problem_of_another(sd);
    mem_free(file->path);
    mem_free(file);
}

static void on_settled(void *arg)
{
    struct file_sd *sd = arg;
    if (sd->listing)
        sd->api->commit(sd->host);
    sd->listing = false;
}

static const struct discovery_files_reader reader = {on_file, on_gone, on_settled};

static void *file_start(void *plugin, const struct discovery_api *api, struct discovery_host *host, const void *config,
                        char ret_error[static 256])
{
    const struct file_config *own = config;
    struct file_sd *sd = mem_zalloc(sizeof(*sd));
    const struct discovery_files files = {.patterns = own->files.items,
                                          .pattern_count = own->files.count,
                                          .refresh_ms = own->refresh_ms,
                                          .files_max = FILES_MAX,
                                          .bytes_max = TARGET_FILE_BYTES_MAX};
    (void)plugin, (void)ret_error;
    *sd = (struct file_sd){.api = api, .host = host, .listing = true};
    map_init(&sd->files);
    api->begin(host);
    api->files(host, &files, &reader, sd);
    return sd;
}

static void file_stop(void *instance)
{
    struct file_sd *sd = instance;
    size_t at = 0;
    for (struct source_file *file; (file = map_next(&sd->files, &at));) {
        mem_free(file->path);
        mem_free(file);
    }
    map_done(&sd->files);
    mem_free(sd);
}

const struct discovery_plugin discovery_file = {
    .magic = DISCOVERY_MAGIC,
    .abi = DISCOVERY_ABI,
    .name = "file",
    .version = TRIBUTARY_VERSION,
    .about = "Targets are written in JSON and YAML files, which are read again when they change.",
    .config = &file_table,
    .start = file_start,
    .stop = file_stop,
};
