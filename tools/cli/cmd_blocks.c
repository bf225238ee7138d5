/* tributary blocks: what a global has on disk, and what of it is damaged. */
#include "base/clock.h"
#include "base/fail.h"
#include "records.h"

#include <string.h>

#define FORM_BYTES_MAX (64 * KIB)

static const struct record_column columns[] = {
    {.title = "STATE", .field = "state", .bad = "damaged"},
    {.title = "CLASS", .field = "class"},
    {.title = "FROM", .field = "minTime", .kind = RECORD_TIME, .none = "unknown"},
    {.title = "TO", .field = "maxTime", .kind = RECORD_TIME, .none = "unknown"},
    {.title = "SIZE", .field = "bytes", .kind = RECORD_BYTES},
    {.title = "ULID", .field = "ulid", .minor = true},
    {.title = "SERIES", .field = "series", .kind = RECORD_NUMBER, .minor = true},
    {.title = "SAMPLES", .field = "samples", .kind = RECORD_NUMBER, .minor = true},
    {.title = "LEVEL", .field = "level", .kind = RECORD_NUMBER, .minor = true},
    {.title = "SOURCES", .field = "sources", .kind = RECORD_NUMBER, .minor = true},
    {.title = "LATE", .field = "late", .kind = RECORD_FLAG, .minor = true},
    {.title = "AGGREGATES", .field = "aggregates", .kind = RECORD_NUMBER, .minor = true},
    {.title = "CHUNKS", .field = "chunks", .kind = RECORD_NUMBER, .minor = true},
    /* In tables these are lines below. */
    {.title = "SINCE", .field = "since", .kind = RECORD_TIME},
    {.title = "REASON", .field = "reason"},
};
#define TABLE_COLUMNS (ARRAY_LEN(columns) - 2)

static bool is_damaged(const json_t *block)
{
    const char *state = json_string_value(json_object_get(block, "state"));
    return state && strcmp(state, "damaged") == 0;
}

static void keep_damaged(json_t *list)
{
    for (size_t i = json_array_size(list); i-- > 0;)
        if (!is_damaged(json_array_get(list, i)))
            json_array_remove(list, i);
}

static void print_reasons(json_t *list)
{
    struct output output = output_of_stdout();
    CLEANUP(buf_done) struct buf text = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *block = json_array_get(list, i);
        if (!is_damaged(block))
            continue;
        char since[32];
        clock_format_rfc3339(json_integer_value(json_object_get(block, "since")), since);
        buf_reset(&text);
        output_safe(str_from(json_string_value(json_object_get(block, "ulid"))), &text);
        buf_printf(&text, " since %s: ", since);
        output_safe(str_from(json_string_value(json_object_get(block, "reason"))), &text);
        printf("%sDAMAGED%s " STR_FMT "\n", output_on(&output, STYLE_BAD), output_off(&output, STYLE_BAD),
               STR_ARG(buf_view(&text)));
    }
}

static void print(json_t *answer, json_t *list, enum record_format format)
{
    if (format == RECORD_AS_JSON) {
        records_print_json(answer);
    } else if (format == RECORD_AS_CSV) {
        records_print(list, columns, ARRAY_LEN(columns), format);
    } else {
        records_print(list, columns, TABLE_COLUMNS, format);
        print_reasons(list);
    }
}

/* A line per class and state. Returns how many are damaged. */
static uint64_t print_sums(json_t *sums)
{
    uint64_t damaged = 0;
    CLEANUP(buf_done) struct buf text = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    for (size_t i = 0; i < json_array_size(sums); i++) {
        const json_t *sum = json_array_get(sums, i);
        const char *class = json_string_value(json_object_get(sum, "class"));
        json_int_t blocks = json_integer_value(json_object_get(sum, "blocks"));
        buf_reset(&text);
        output_safe(str_from(class), &text);
        buf_printf(&text, ": %lld blocks%s, ", blocks, is_damaged(sum) ? " DAMAGED" : "");
        output_bytes(json_number_value(json_object_get(sum, "bytes")), &text);
        buf_printf(&text, ", %lld samples", json_integer_value(json_object_get(sum, "samples")));
        fprintf(stderr, STR_FMT "\n", STR_ARG(buf_view(&text)));
        damaged += is_damaged(sum) ? (uint64_t)blocks : 0;
    }
    if (json_array_size(sums) == 0)
        fprintf(stderr, "no blocks\n");
    return damaged;
}

static enum cli_exit forget(const struct remote *remote, const char *ulid)
{
    CLEANUP(buf_done) struct buf form = BUF_INIT(FORM_BYTES_MAX);
    CLEANUP(json_freep) json_t *answer = NULL;
    form_add(&form, "ulid", str_from(ulid));
    enum cli_exit exit_code = records_fetch(remote, "/api/v1/admin/blocks/forget", &form, &answer);
    if (exit_code == CLI_OK)
        fprintf(stderr, "answers do not warn of it any more; its directory stays in damaged/\n");
    return exit_code;
}

static enum cli_exit blocks(const struct cli_arguments *arguments)
{
    enum record_format format;
    if (!record_format_take(arguments, &format))
        return CLI_USAGE;
    CLEANUP(remote_done) struct remote remote = {0};
    CLEANUP(json_freep) json_t *answer = NULL;
    const char *given_up = cli_value(arguments, "forget");
    enum cli_exit exit_code = remote_init(&remote, arguments);
    if (exit_code == CLI_OK && given_up)
        return forget(&remote, given_up);
    if (exit_code == CLI_OK)
        exit_code = records_fetch(&remote, "/api/v1/status/blocks", NULL, &answer);
    if (exit_code != CLI_OK)
        return exit_code;
    json_t *data = json_object_get(answer, "data");
    json_t *list = json_object_get(data, "blocks");
    if (cli_flag(arguments, "damaged"))
        keep_damaged(list);
    print(answer, list, format);
    fflush(stdout);
    return print_sums(json_object_get(data, "sums")) > 0 ? CLI_FAILED : CLI_OK;
}

const struct cli_command command_blocks = {
    .name = "blocks",
    .words = "",
    .purpose = "lists the blocks that a global has on disk, and which of them are damaged",
    .help = "FROM and TO are the block's range of time, TO exclusive. Sums by class go to stderr.\n"
            "What to do about a damaged block: docs/operations.md.\n\n"
            "  tributary blocks\n"
            "  tributary blocks --damaged -o csv\n"
            "  tributary blocks --forget 01M8H0MAHEA4J7WYSHFT02GX6N\n\n"
            "Exit status: 0 answered and all are sound, 1 a block is damaged or the answer is an error,\n"
            "2 usage, 3 no answer.\n",
    .options =
        (const struct cli_option[]){{"damaged", 'd', NULL, "only those that are damaged"},
                                    {"forget", 0, "ULID", "give up a damaged one: answers do not warn of it any more"},
                                    RECORD_OPTION,
                                    REMOTE_OPTIONS,
                                    {0}},
    .words_min = 0,
    .words_max = 0,
    .run = blocks,
};
