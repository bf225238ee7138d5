#include "arguments.h"

#include "api/params.h"

#include <errno.h>
#include <string.h>

static int find_long(const struct cli_option *options, const char *name, size_t len)
{
    for (int i = 0; options[i].name; i++)
        if (strlen(options[i].name) == len && memcmp(options[i].name, name, len) == 0)
            return i;
    return -1;
}

static int find_short(const struct cli_option *options, char letter)
{
    for (int i = 0; options[i].name; i++)
        if (options[i].letter && options[i].letter == letter)
            return i;
    return -1;
}

static enum cli_exit misused(const struct cli_command *command)
{
    fprintf(stderr, "Try 'tributary help %s'.\n", command->name);
    return CLI_USAGE;
}

struct cursor {
    int argc;
    char **argv;
    int at;
};

/* One option, with the word behind it where it takes a value. */
static enum cli_exit take_option(const struct cli_command *command, struct cursor *cursor,
                                 struct cli_arguments *arguments)
{
    const char *text = cursor->argv[cursor->at++];
    bool is_long = text[1] == '-';
    const char *name = text + (is_long ? 2 : 1);
    const char *inside = is_long ? strchr(name, '=') : NULL; /* its value in the same word */
    size_t len = inside ? (size_t)(inside - name) : strlen(name);
    int index = is_long ? find_long(command->options, name, len) : find_short(command->options, name[0]);
    if (index < 0) {
        cli_error("%s: no option %s (an expression that begins with - goes behind --)", command->name, text);
        return misused(command);
    }
    const struct cli_option *option = &command->options[index];
    if (inside)
        inside++;
    else if (!is_long && name[1])
        inside = name + 1;
    if (!option->value && inside) {
        cli_error("%s: --%s takes no value", command->name, option->name);
        return misused(command);
    }
    if (option->value && !inside && cursor->at == cursor->argc) {
        cli_error("%s: --%s needs %s", command->name, option->name, option->value);
        return misused(command);
    }
    if (arguments->given_count == CLI_WORDS_MAX) {
        cli_error("%s: more than %d options", command->name, CLI_WORDS_MAX);
        return misused(command);
    }
    const char *value = !option->value ? "" : inside ? inside : cursor->argv[cursor->at++];
    arguments->values[index] = value;
    arguments->given[arguments->given_count].option = index;
    arguments->given[arguments->given_count++].value = value;
    return CLI_OK;
}

enum cli_exit arguments_parse(const struct cli_command *command, int argc, char **argv,
                              struct cli_arguments *ret_arguments)
{
    struct cli_arguments arguments = {.options = command->options};
    struct cursor cursor = {argc, argv, 0};
    bool options_end = false;
    while (cursor.at < argc) {
        const char *text = argv[cursor.at];
        if (!options_end && strcmp(text, "--") == 0) {
            options_end = true;
            cursor.at++;
        } else if (!options_end && text[0] == '-' && text[1]) {
            enum cli_exit exit_code = take_option(command, &cursor, &arguments);
            if (exit_code != CLI_OK)
                return exit_code;
        } else if (arguments.word_count == MIN(command->words_max, CLI_WORDS_MAX)) {
            cli_error("%s: '%s' is one word too many%s", command->name, text,
                      command->words_max == 1 ? " (quotes missing?)" : "");
            return misused(command);
        } else {
            arguments.words[arguments.word_count++] = argv[cursor.at++];
        }
    }
    if (arguments.word_count < command->words_min) {
        cli_error("%s: %s is missing", command->name, command->words);
        return misused(command);
    }
    *ret_arguments = arguments;
    return CLI_OK;
}

const char *cli_value(const struct cli_arguments *arguments, const char *name)
{
    int index = find_long(arguments->options, name, strlen(name));
    return index < 0 ? NULL : arguments->values[index];
}

const char *cli_value_at(const struct cli_arguments *arguments, const char *name, int nth)
{
    int index = find_long(arguments->options, name, strlen(name));
    for (int i = 0; i < arguments->given_count; i++)
        if (arguments->given[i].option == index && nth-- == 0)
            return arguments->given[i].value;
    return NULL;
}

int arguments_time(const char *text, int64_t now_ms, int64_t *ret_ms)
{
    int64_t ago_ms;
    if (strcmp(text, "now") == 0) {
        *ret_ms = now_ms;
        return 0;
    }
    if (params_time(str_from(text), ret_ms) == 0)
        return 0;
    const char *duration = text + (strncmp(text, "now-", 4) == 0 ? 4 : text[0] == '-');
    if (str_to_duration_ms(str_from(duration), &ago_ms) < 0 || ago_ms > PARAMS_TIME_MS_MAX)
        return -EINVAL;
    *ret_ms = now_ms - ago_ms;
    return 0;
}

bool arguments_take_time(const struct cli_arguments *arguments, const char *option, int64_t now_ms, int64_t *ret_ms)
{
    const char *text = cli_value(arguments, option);
    if (!text || arguments_time(text, now_ms, ret_ms) == 0)
        return true;
    cli_error("--%s: '%s' is no time (RFC 3339, unix seconds, now, or how long ago: 1h)", option, text);
    return false;
}
