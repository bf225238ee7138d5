#include "promql/error.h"

#include <stdarg.h>
#include <stdio.h>

void promql_error_set(struct promql_error *error, struct ast_position position, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    error->position = position;
    if (len < (int)sizeof(error->text))
        return;
    /* No half code point at the cut: it would make a broken JSON string of the answer. */
    size_t cut = sizeof(error->text) - 1;
    while (cut > 0 && (error->text[cut - 1] & 0xc0) == 0x80)
        cut--;
    if (cut > 0 && (error->text[cut - 1] & 0x80))
        cut--;
    error->text[cut] = 0;
}

int promql_error_print_short(const struct promql_error *error, struct str text, struct buf *out)
{
    size_t place = MIN(error->position.start, text.len);
    size_t line = 1;
    size_t line_start = 0;
    for (size_t i = 0; i < place; i++) {
        if (text.ptr[i] == '\n') {
            line++;
            line_start = i + 1;
        }
    }
    return buf_printf(out, "%zu:%zu: parse error: %s", line, place - line_start + 1, error->text);
}
