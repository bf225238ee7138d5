#pragma once
/* From argv to cli_arguments, and times as people write them. */
#include "cli.h"

/* CLI_OK, or CLI_USAGE and said why. argv begins behind the command's name. */
MUST_CHECK enum cli_exit arguments_parse(const struct cli_command *command, int argc, char **argv,
                                         struct cli_arguments *ret_arguments);
/* "now", unix seconds, RFC 3339, or a duration, which means so long ago ("1h", "-1h", "now-1h"). -EINVAL. */
MUST_CHECK int arguments_time(const char *text, int64_t now_ms, int64_t *ret_ms);
/* The value of an option that is a time; where it is not given *ret_ms stays. False: it is no time, and that is said.
 */
MUST_CHECK bool arguments_take_time(const struct cli_arguments *arguments, const char *option, int64_t now_ms,
                                    int64_t *ret_ms);
