#include "promql/error.h"

#include "base/quote.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>

#define SHOWN_BEFORE_BYTES 60 /* of the line, on each side of the place: both fit a terminal's line */
#define SHOWN_AFTER_BYTES  40

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

static bool is_rune_start(char byte)
{
    return (byte & 0xc0) != 0x80;
}

/* The bytes from start to end so that each code point takes one place on a terminal and none steers it. Returns places.
 */
static size_t print_plain(struct str text, size_t start, size_t end, struct buf *out)
{
    size_t places = 0;
    for (uint32_t rune; start < end; places++) {
        size_t len = quote_rune_of(text.ptr + start, text.ptr + end, &rune);
        if (rune != QUOTE_BAD_RUNE && quote_rune_is_print(rune))
            buf_append(out, text.ptr + start, len);
        else
            buf_append_byte(out, rune == '\t' || rune == '\r' ? ' ' : '?');
        start += len;
    }
    return places;
}

int promql_error_print(const struct promql_error *error, struct str text, struct buf *out)
{
    size_t place = MIN(error->position.start, text.len);
    size_t start = place;
    size_t end = place;
    while (start > 0 && text.ptr[start - 1] != '\n' &&
           (place - start < SHOWN_BEFORE_BYTES || !is_rune_start(text.ptr[start])))
        start--;
    while (end < text.len && text.ptr[end] != '\n' &&
           (end - place < SHOWN_AFTER_BYTES || !is_rune_start(text.ptr[end])))
        end++;
    bool cut = start > 0 && text.ptr[start - 1] != '\n';
    promql_error_print_short(error, text, out);
    buf_append_text(out, cut ? "\n  ..." : "\n  ");
    size_t before = print_plain(text, start, place, out);
    print_plain(text, place, end, out);
    buf_append_text(out, end < text.len && text.ptr[end] != '\n' ? "...\n" : "\n");
    buf_printf(out, "%*s", (int)before + (cut ? 5 : 2), "");
    return buf_append_text(out, "^\n");
}
