#include "caret.h"

#include "base/utf8.h"
#include "output.h"

#define INDENT         2
#define WINDOW_MIN     20
#define LINE_BYTES     (64 * KIB)
#define TEXT_BYTES_MAX MIB
#define DOTS           "..."
#define DOTS_PLACES    3

static void show(struct str text, struct buf *out)
{
    for (size_t at = 0; at < text.len;) {
        size_t tab = str_find(str_of(text.ptr + at, text.len - at), '\t');
        output_safe(str_of(text.ptr + at, tab), out);
        at += tab;
        if (at < text.len)
            buf_append_byte(out, ' ');
        at++;
    }
}

static size_t places(struct str text)
{
    CLEANUP(buf_done) struct buf shown = BUF_INIT(LINE_BYTES);
    show(text, &shown);
    return output_columns(buf_view(&shown));
}

static size_t before(struct str line, size_t at)
{
    do
        at--;
    while (at > 0 && ((uint8_t)line.ptr[at] & 0xc0) == 0x80);
    return at;
}

static size_t behind(struct str line, size_t at)
{
    uint32_t rune;
    return at + MAX(utf8_decode(line, at, &rune), (size_t)1);
}

/* The part of the line around the place that takes at most columns_max places: two thirds of them before it. */
static struct str window(struct str line, size_t place, size_t columns_max)
{
    size_t start = place;
    size_t end = place;
    size_t used = 0;
    for (size_t limit = columns_max * 2 / 3; start > 0;) {
        size_t at = before(line, start);
        size_t more = places(str_of(line.ptr + at, start - at));
        if (used + more > limit)
            break;
        used += more;
        start = at;
    }
    while (end < line.len) {
        size_t at = behind(line, end);
        size_t more = places(str_of(line.ptr + end, at - end));
        if (used + more > columns_max)
            break;
        used += more;
        end = at;
    }
    return str_of(line.ptr + start, end - start);
}

void caret_print(struct str text, size_t place, size_t columns_max, struct buf *out)
{
    size_t start = place;
    while (start > 0 && text.ptr[start - 1] != '\n')
        start--;
    struct str line = {text.ptr + start, str_find(str_of(text.ptr + start, text.len - start), '\n')};
    place -= start;
    size_t room = MAX(columns_max, (size_t)WINDOW_MIN + INDENT + 2 * DOTS_PLACES) - INDENT;
    struct str shown = line;
    if (line.len > LINE_BYTES / 4 || places(line) >= room)
        shown = window(line, place, room - 2 * DOTS_PLACES);
    bool cut = shown.ptr > line.ptr;
    size_t in_window = place - (size_t)(shown.ptr - line.ptr);
    size_t margin = INDENT + (cut ? DOTS_PLACES : 0) + places(str_of(shown.ptr, in_window));
    buf_printf(out, "%*s%s", INDENT, "", cut ? DOTS : "");
    show(shown, out);
    buf_append_text(out, shown.ptr + shown.len < line.ptr + line.len ? DOTS "\n" : "\n");
    buf_printf(out, "%*s^\n", (int)margin, "");
}

bool caret_place(struct str message, struct str expression, size_t *ret_place)
{
    uint64_t line;
    uint64_t column;
    size_t colon = str_find(message, ':');
    if (colon == message.len || str_to_u64(str_of(message.ptr, colon), &line) < 0 || line == 0)
        return false;
    struct str rest = {message.ptr + colon + 1, message.len - colon - 1};
    colon = str_find(rest, ':');
    if (colon == rest.len || str_to_u64(str_of(rest.ptr, colon), &column) < 0 || column == 0)
        return false;
    size_t start = 0;
    for (uint64_t i = 1; i < line; i++) {
        start += str_find(str_of(expression.ptr + start, expression.len - start), '\n') + 1;
        if (start > expression.len)
            return false;
    }
    if (column - 1 > expression.len - start)
        return false;
    *ret_place = start + (size_t)column - 1;
    return true;
}

void caret_complain(struct str message, struct str expression, size_t place)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(TEXT_BYTES_MAX);
    output_safe(message, &out);
    buf_append_byte(&out, '\n');
    caret_print(expression, place, (size_t)output_error_width(), &out);
    fprintf(stderr, STR_FMT, STR_ARG(buf_view(&out)));
}
