/* tributary retention: what is kept for how long, and what would go now. */
#include "base/fail.h"
#include "records.h"

static const struct record_column class_columns[] = {
    {.title = "CLASS", .field = "class"},
    {.title = "MATCH", .field = "match", .minor = true},
    {.title = "KEPT", .field = "keepSeconds", .kind = RECORD_SECONDS},
    {.title = "BOUND", .field = "bytesMax", .kind = RECORD_BYTES, .none = "none"},
    {.title = "SIZE", .field = "bytes", .kind = RECORD_BYTES},
    {.title = "BLOCKS", .field = "blocks", .kind = RECORD_NUMBER},
    {.title = "OLDEST", .field = "oldestTime", .kind = RECORD_TIME, .none = "-"},
    {.title = "SAMPLES", .field = "samples", .kind = RECORD_NUMBER, .minor = true},
    {.title = "DELETED", .field = "deletedBlocks", .kind = RECORD_NUMBER},
    {.title = "DELETED SIZE", .field = "deletedBytes", .kind = RECORD_BYTES, .minor = true},
    {.title = "DELETED SAMPLES", .field = "deletedSamples", .kind = RECORD_NUMBER, .minor = true},
};

static const struct record_column victim_columns[] = {
    {.title = "CLASS", .field = "class"},
    {.title = "WHY", .field = "why"},
    {.title = "FROM", .field = "minTime", .kind = RECORD_TIME},
    {.title = "TO", .field = "maxTime", .kind = RECORD_TIME},
    {.title = "SIZE", .field = "bytes", .kind = RECORD_BYTES},
    {.title = "SAMPLES", .field = "samples", .kind = RECORD_NUMBER, .minor = true},
    {.title = "ULID", .field = "ulid"},
};

static void print(json_t *answer, enum record_format format)
{
    json_t *data = json_object_get(answer, "data");
    json_t *victims = json_object_get(data, "victims");
    if (format == RECORD_AS_JSON) {
        records_print_json(answer);
    } else if (format == RECORD_AS_CSV) {
        records_print(victims, victim_columns, ARRAY_LEN(victim_columns), format);
    } else {
        records_print(json_object_get(data, "classes"), class_columns, ARRAY_LEN(class_columns), format);
        printf("\n%s\n", json_array_size(victims) > 0 ? "Would go now:" : "Nothing would go now.");
        records_print(victims, victim_columns, ARRAY_LEN(victim_columns), format);
    }
}

static enum cli_exit retention(const struct cli_arguments *arguments)
{
    enum record_format format;
    if (!record_format_take(arguments, &format))
        return CLI_USAGE;
    if (!cli_flag(arguments, "dry-run")) {
        cli_error("retention: deleting is the daemon's own work, once a minute; --dry-run shows what would go now");
        return CLI_USAGE;
    }
    CLEANUP(remote_done) struct remote remote = {0};
    CLEANUP(json_freep) json_t *answer = NULL;
    enum cli_exit exit_code = remote_init(&remote, arguments);
    if (exit_code == CLI_OK)
        exit_code = records_fetch(&remote, "/api/v1/status/retention", NULL, &answer);
    if (exit_code == CLI_OK)
        print(answer, format);
    return exit_code;
}

const struct cli_command command_retention = {
    .name = "retention",
    .words = "",
    .purpose = "shows the classes of retention, what there is of each, and what would go now",
    .help = "DELETED counts since the daemon's start. With -o csv: the blocks that would go.\n\n"
            "  tributary retention --dry-run\n\n"
            "Exit status: 0 answered, 1 the answer is an error, 2 usage, 3 no answer.\n",
    .options = (const struct cli_option[]){{"dry-run", 'n', NULL,
                                            "only show it; required, as deleting is the daemon's own work"},
                                           RECORD_OPTION,
                                           REMOTE_OPTIONS,
                                           {0}},
    .words_min = 0,
    .words_max = 0,
    .run = retention,
};
