/* tributary inspect: what is in a spool, a segment, a batch, a layout. Reads only. */
#include "base/fail.h"
#include "base/file.h"
#include "inspect.h"
#include "output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX 4 /* of directories: a data directory, its spool, its segments */

void inspect_problem(struct inspect *inspect, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout); /* in order, where both go to one place */
    fprintf(stderr, "%s: ", inspect->path);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    inspect->totals.problems++;
}

/* ---- Files ---- */

static void inspect_bytes(struct inspect *inspect, struct str bytes)
{
    static const struct str sync = {"\xf7TR1", 4}, batch = {"TRB", 3};
    if (str_starts_with(bytes, sync))
        inspect_frames(inspect, bytes);
    else if (inspect->load_only)
        return;
    else if (str_starts_with(bytes, batch))
        inspect_batch(inspect, bytes, 0);
    else if (layout_group_take(inspect->group, bytes) == 0) /* as a receiver sets it aside */
        inspect_pack(inspect, bytes, 0);
    else
        inspect_problem(inspect, "neither a segment nor a batch nor layouts");
}

static void inspect_file(struct inspect *inspect, const char *path)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(INSPECT_FILE_BYTES_MAX);
    inspect->path = path;
    int result = file_read_whole(file_system_real(), path, &bytes);
    if (result < 0) {
        inspect_problem(inspect, "%s", strerror(-result));
        return;
    }
    if (!inspect->load_only) {
        inspect->totals.files++;
        inspect->totals.bytes += bytes.len;
        printf("%s: %zu bytes\n", path, bytes.len);
    }
    inspect->group = layout_group_new(inspect->layouts);
    inspect_bytes(inspect, buf_view(&bytes));
    if (!inspect->load_only) {
        layout_group_free(STEAL(inspect->group));
        return;
    }
    inspect->kept = mem_resize(inspect->kept, inspect->kept_count + 1, sizeof(struct layout_group *));
    inspect->kept[inspect->kept_count++] = STEAL(inspect->group);
}

/* In a directory: files of ours only, others belong to no one here. */
static bool is_ours(const char *name)
{
    return str_ends_with(str_from(name), STR(".segment")) || str_ends_with(str_from(name), STR(".batch"));
}

static void inspect_path(struct inspect *inspect, const char *path, int depth)
{
    struct stat status;
    inspect->path = path;
    if (stat(path, &status) != 0) {
        inspect_problem(inspect, "%s", strerror(errno));
        return;
    }
    if (!S_ISDIR(status.st_mode)) {
        if (depth == 0 || is_ours(path))
            inspect_file(inspect, path);
        return;
    }
    char **names;
    size_t count;
    int result = depth < DEPTH_MAX ? file_list(file_system_real(), path, &names, &count) : -ELOOP;
    if (result < 0) {
        inspect_problem(inspect, "%s", strerror(-result));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        CLEANUP_FREE char *below = mem_printf("%s/%s", path, names[i]);
        inspect_path(inspect, below, depth + 1);
    }
    file_names_free(names, count);
}

/* ---- The command ---- */

static void print_totals(const struct inspect_totals *totals)
{
    printf("%" PRIu64 " files, %" PRIu64 " bytes: %" PRIu64 " batches (%" PRIu64 " bytes, %" PRIu64 " records",
           totals->files, totals->bytes, totals->batches, totals->batch_bytes, totals->records);
    if (totals->records > 0)
        printf(", %.2f bytes each", (double)totals->batch_bytes / (double)totals->records);
    if (totals->verified > 0)
        printf(", %" PRIu64 " written again as they are", totals->verified);
    printf("), %" PRIu64 " layouts (%" PRIu64 " edits, %" PRIu64 " bytes), %" PRIu64 " gaps, %" PRIu64
           " bytes damaged, %" PRIu64 " problems\n",
           totals->layouts, totals->edits, totals->layout_bytes, totals->gaps, totals->damaged_bytes, totals->problems);
}

static enum cli_exit inspect(const struct cli_arguments *arguments)
{
    CLEANUP(layout_table_freep)
    struct layout_table *layouts = layout_table_new(INSPECT_LAYOUTS_BYTES_MAX, INSPECT_CACHE_BYTES_MAX);
    struct inspect inspect = {.records = cli_flag(arguments, "records"),
                              .columns = cli_flag(arguments, "columns"),
                              .verify = cli_flag(arguments, "verify"),
                              .layouts = layouts};
    inspect.blocks = inspect.records || inspect.columns || cli_flag(arguments, "blocks");
    inspect.frames = inspect.blocks || cli_flag(arguments, "frames");
    const char *more = cli_value(arguments, "layouts");
    if (more) {
        inspect.load_only = true;
        inspect_path(&inspect, more, 0);
        inspect.load_only = false;
    }
    for (int i = 0; i < arguments->word_count; i++) {
        struct stat status;
        bool is_dir = stat(arguments->words[i], &status) == 0 && S_ISDIR(status.st_mode);
        struct inspect one = inspect;
        one.frames = one.frames || (!is_dir && !cli_flag(arguments, "summary"));
        inspect_path(&one, arguments->words[i], 0);
        inspect.totals = one.totals;
    }
    print_totals(&inspect.totals);
    for (size_t i = 0; i < inspect.kept_count; i++)
        layout_group_free(inspect.kept[i]);
    mem_free(inspect.kept);
    return inspect.totals.problems > 0 ? CLI_FAILED : CLI_OK;
}

const struct cli_command command_inspect = {
    .name = "inspect",
    .words = "PATH...",
    .purpose = "prints what is in a spool, a log, a segment, a batch or a layout",
    .help = "Of a file each frame is a line; of a directory (also a daemon's data_dir, which may be in use)\n"
            "each file is one. Damaged places are named on stderr. Nothing is changed.\n\n"
            "  tributary inspect /var/lib/tributary/global\n"
            "  tributary inspect --blocks /var/lib/tributary/secondary/spool/0000000001.segment\n"
            "  tributary inspect --records --layouts /var/lib/tributary/primary/spool rejected.batch\n\n"
            "Exit status: 0 all is sound, 1 something is damaged, not readable, or comes out of --verify as\n"
            "something else, 2 usage.\n",
    .options =
        (const struct cli_option[]){
            {"frames", 'f', NULL, "each frame, in directories too"},
            {"blocks", 'b', NULL, "of each batch its envelope, what each family takes, and where the bytes go"},
            {"columns", 'c', NULL, "of each family its columns too: how they are written, and how large they are"},
            {"records", 'r', NULL, "each record, and layouts whole"},
            {"verify", 'v', NULL, "read each batch whole, write it again, and compare"},
            {"summary", 's', NULL, "of files too only the totals"},
            {"layouts", 'l', "PATH", "a segment or directory whose layouts a batch alone needs"},
            {0}},
    .words_min = 1,
    .words_max = CLI_WORDS_MAX,
    .run = inspect,
};
