#include "cli.h"

#include <stdarg.h>

void cli_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("tributary: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}
