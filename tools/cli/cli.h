#pragma once
/* The command `tributary`: a table of commands, each in its file cmd_NAME.c. Exit codes are part of the contract. */
#include "base/defs.h"

#include <stdio.h>

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,     /* the answer is an error, or what was looked at is not in order */
    CLI_USAGE = 2,      /* the command line makes no sense */
    CLI_UNREACHABLE = 3 /* no answer */
};

#define CLI_OPTIONS_MAX 24
#define CLI_WORDS_MAX   64 /* that are no options */

struct cli_option {
    const char *name;  /* --name */
    char letter;       /* -l, or 0 */
    const char *value; /* what it takes, in capitals; NULL: a flag */
    const char *help;  /* may have several lines */
};

/* A command line, taken apart by a table. */
struct cli_arguments {
    const struct cli_option *options;    /* the table; ends with name NULL */
    const char *values[CLI_OPTIONS_MAX]; /* by place in the table; NULL: not given; of a flag ""; the last one given */
    struct {
        int option;
        const char *value;
    } given[CLI_WORDS_MAX]; /* all, in their order */
    int given_count;
    const char *words[CLI_WORDS_MAX];
    int word_count;
};

struct cli_command {
    const char *name;
    const char *words;   /* of its usage line: "FILE..." */
    const char *purpose; /* one line */
    const char *help;    /* paragraphs and examples below the options; each line ends with \n */
    const struct cli_option *options;
    int words_min, words_max;
    enum cli_exit (*run)(const struct cli_arguments *arguments);
};

extern const struct cli_command command_query, command_series, command_labels, command_values, command_targets,
    command_status, command_check_config, command_inspect, command_format_query, command_blocks, command_retention,
    command_delete, command_deletions, command_discover;

/* The value of an option by its name, NULL when it was not given. */
const char *cli_value(const struct cli_arguments *arguments, const char *name);
/* The nth (from 0) value of an option that may be given several times; NULL: no more. */
const char *cli_value_at(const struct cli_arguments *arguments, const char *name, int nth);
static inline bool cli_flag(const struct cli_arguments *arguments, const char *name)
{
    return cli_value(arguments, name) != NULL;
}
/* "tributary: TEXT" on stderr. */
void cli_error(const char *format, ...) PRINTF_LIKE(1, 2);
