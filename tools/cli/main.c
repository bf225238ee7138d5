/* tributary: asks daemons, checks and looks into what they leave on disk. */
#include "arguments.h"
#include "base/fail.h"
#include "cli.h"

#include <locale.h>
#include <string.h>

static const struct cli_command *const commands[] = {
    &command_query,        &command_series,   &command_labels,    &command_values,       &command_targets,
    &command_status,       &command_blocks,   &command_retention, &command_delete,       &command_deletions,
    &command_check_config, &command_discover, &command_inspect,   &command_format_query,
};

static void print_help(FILE *out)
{
    fputs("usage: tributary COMMAND [OPTION...] [WORD...]\n\n", out);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(out, "  %-13s %s\n", commands[i]->name, commands[i]->purpose);
    fputs("  version       prints the version\n"
          "  help COMMAND  tells more of a command\n\n"
          "Exit status: 0 done, 1 the answer is an error or what was looked at is not in order,\n"
          "2 the command line makes no sense, 3 no answer.\n"
          "Environment: TRIBUTARY_URL is the daemon to ask (http://127.0.0.1:9412 without it);\n"
          "NO_COLOR, if set, leaves colours out.\n",
          out);
}

static void print_option(const struct cli_option *option)
{
    char name[64];
    char letter[8] = "   ";
    if (option->letter)
        snprintf(letter, sizeof(letter), "-%c,", option->letter);
    snprintf(name, sizeof(name), "%s --%s %s", letter, option->name, option->value ? option->value : "");
    printf("  %-26s ", name);
    for (const char *at = option->help; *at; at++) {
        putchar(*at);
        if (*at == '\n')
            printf("%*s", 29, "");
    }
    putchar('\n');
}

static void print_command_help(const struct cli_command *command)
{
    printf("usage: tributary %s [OPTION...] %s\n%s\n\n", command->name, command->words, command->purpose);
    for (const struct cli_option *option = command->options; option->name; option++)
        print_option(option);
    printf("%s%s", command->options->name ? "\n" : "", command->help);
}

static const struct cli_command *find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static enum cli_exit unknown(const char *name)
{
    cli_error("no command '%s'", name);
    fputs("Try 'tributary help'.\n", stderr);
    return CLI_USAGE;
}

static enum cli_exit help(const char *name)
{
    if (!name) {
        print_help(stdout);
        return CLI_OK;
    }
    const struct cli_command *command = find(name);
    if (!command)
        return unknown(name);
    print_command_help(command);
    return CLI_OK;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static enum cli_exit run(const struct cli_command *command, int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (is_help(argv[i]))
            return help(command->name);
    struct cli_arguments arguments;
    enum cli_exit exit_code = arguments_parse(command, argc, argv, &arguments);
    return exit_code == CLI_OK ? command->run(&arguments) : exit_code;
}

/* What was printed has arrived: a full disk behind > is not a success. */
static int leave(enum cli_exit exit_code)
{
    if ((fflush(stdout) != 0 || ferror(stdout)) && exit_code == CLI_OK) {
        cli_error("cannot write the output");
        return CLI_FAILED;
    }
    return (int)exit_code;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, ""); /* which characters may be shown; numbers stay as in C */
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "help") == 0 || is_help(name))
        return leave(help(argc > 2 ? argv[2] : NULL));
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0) {
        puts("tributary " TRIBUTARY_VERSION);
        return leave(CLI_OK);
    }
    const struct cli_command *command = find(name);
    return leave(command ? run(command, argc - 2, argv + 2) : unknown(name));
}
