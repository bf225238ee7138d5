/* tributary deletions: which series were deleted, by whom and why, and whether it is done. */
#include "base/fail.h"
#include "records.h"

static const struct record_column columns[] = {
    {.title = "ID", .field = "id", .kind = RECORD_NUMBER},
    {.title = "STATE", .field = "state"},
    {.title = "MATCH", .field = "match"},
    {.title = "START", .field = "start", .kind = RECORD_TIME, .none = "the beginning"},
    {.title = "END", .field = "end", .kind = RECORD_TIME},
    {.title = "WHO", .field = "who"},
    {.title = "WHY", .field = "why"},
    {.title = "REQUESTED", .field = "requested", .kind = RECORD_TIME, .minor = true},
    {.title = "DONE", .field = "done", .kind = RECORD_TIME, .minor = true},
};

static enum cli_exit deletions(const struct cli_arguments *arguments)
{
    enum record_format format;
    if (!record_format_take(arguments, &format))
        return CLI_USAGE;
    CLEANUP(remote_done) struct remote remote = {0};
    CLEANUP(json_freep) json_t *answer = NULL;
    enum cli_exit exit_code = remote_init(&remote, arguments);
    if (exit_code == CLI_OK)
        exit_code = records_fetch(&remote, "/api/v1/status/deletions", NULL, &answer);
    if (exit_code != CLI_OK)
        return exit_code;
    json_t *list = json_object_get(answer, "data");
    if (format == RECORD_AS_JSON)
        records_print_json(answer);
    else
        records_print(list, columns, ARRAY_LEN(columns), format);
    fflush(stdout);
    fprintf(stderr, "%zu deletions\n", json_array_size(list));
    return CLI_OK;
}

const struct cli_command command_deletions = {
    .name = "deletions",
    .words = "",
    .purpose = "lists what was deleted of a global's series, by whom and why",
    .help = "An active one hides what it covers from every answer already; it is done when no block and\n"
            "nothing in memory has it any more.\n\n"
            "  tributary deletions\n\n"
            "Exit status: 0 answered, 1 the answer is an error, 2 usage, 3 no answer.\n",
    .options = (const struct cli_option[]){RECORD_OPTION, REMOTE_OPTIONS, {0}},
    .words_min = 0,
    .words_max = 0,
    .run = deletions,
};
