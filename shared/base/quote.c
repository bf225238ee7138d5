#include "base/quote.h"

#include "base/utf8.h"

#include <errno.h>

size_t quote_rune_of(const char *at, const char *end, uint32_t *ret_rune)
{
    if (at >= end)
        return 0;
    size_t len = utf8_decode(str_of(at, (size_t)(end - at)), 0, ret_rune);
    if (len > 0)
        return len;
    *ret_rune = QUOTE_BAD_RUNE;
    return 1;
}

/* What Go escapes of the code points in use: controls, spaces but ' ', formats, private use. Code points that Unicode
 * has not given out are printed as they are (Go escapes them by tables of its Unicode version); both read back the
 * same. */
bool quote_rune_is_print(uint32_t rune)
{
    static const struct {
        uint32_t first, last;
    } hidden[] = {
        {0x0, 0x1f},        {0x7f, 0xa0},       {0xad, 0xad},          {0x600, 0x605},     {0x61c, 0x61c},
        {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x1680, 0x1680},      {0x180e, 0x180e},   {0x2000, 0x200f},
        {0x2028, 0x202f},   {0x205f, 0x206f},   {0x3000, 0x3000},      {0xd800, 0xf8ff},   {0xfeff, 0xfeff},
        {0xfff0, 0xfffb},   {0xfffe, 0xffff},   {0x110bd, 0x110bd},    {0x110cd, 0x110cd}, {0x1bca0, 0x1bca3},
        {0x1d173, 0x1d17a}, {0xe0000, 0xe00ff}, {0xe01f0, UINT32_MAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(hidden); i++) {
        if (rune >= hidden[i].first && rune <= hidden[i].last)
            return false;
    }
    return true;
}

static const char escape_letters[] = "abfnrtv";
static const char escape_bytes[] = "\a\b\f\n\r\t\v";

static int print_escaped_rune(uint32_t rune, char quote, struct buf *out)
{
    char bytes[4];
    if (rune == (uint8_t)quote || rune == '\\')
        return buf_printf(out, "\\%c", (char)rune);
    if (quote_rune_is_print(rune))
        return buf_append(out, bytes, utf8_encode(rune, bytes));
    const char *known = rune ? strchr(escape_bytes, rune < 0x80 ? (int)rune : 0) : NULL;
    if (known && *known)
        return buf_printf(out, "\\%c", escape_letters[known - escape_bytes]);
    if (rune < 0x20 || rune == 0x7f)
        return buf_printf(out, "\\x%02x", rune);
    return buf_printf(out, rune < 0x10000 ? "\\u%04x" : "\\U%08x", rune);
}

int quote_print(struct str text, struct buf *out)
{
    const char *at = text.len ? text.ptr : "";
    const char *end = at + text.len;
    int result = buf_append_byte(out, '"');
    uint32_t rune;
    size_t len;
    for (; result >= 0 && (len = quote_rune_of(at, end, &rune)) > 0; at += len) {
        if (rune == QUOTE_BAD_RUNE)
            result = buf_printf(out, "\\x%02x", (uint8_t)*at);
        else
            result = print_escaped_rune(rune, '"', out);
    }
    return result < 0 ? result : buf_append_byte(out, '"');
}

int quote_print_rune(uint32_t rune, struct buf *out)
{
    int result = buf_append_byte(out, '\'');
    if (result >= 0)
        result = print_escaped_rune(rune == QUOTE_BAD_RUNE ? 0xfffd : rune, '\'', out);
    return result < 0 ? result : buf_append_byte(out, '\'');
}

/* Reads the numeric escape behind the backslash; *at moves behind it. */
static int undo_number(const char **at, const char *end, char *ret_bytes, size_t *ret_len)
{
    char kind = **at;
    bool octal = kind >= '0' && kind <= '7';
    size_t digits = octal ? 3 : kind == 'x' ? 2 : kind == 'u' ? 4 : 8;
    int base = octal ? 8 : 16;
    const char *digit = octal ? *at : *at + 1;
    uint32_t value = 0;
    for (size_t i = 0; i < digits; i++, digit++) {
        int next = digit < end ? str_hex_value(*digit) : -1;
        if (next < 0 || next >= base)
            return -EINVAL;
        value = value * (uint32_t)base + (uint32_t)next;
    }
    *at = digit;
    if (octal || kind == 'x') {
        if (value > 0xff)
            return -EINVAL;
        *ret_bytes = (char)value; /* a byte, not a code point */
        *ret_len = 1;
        return 0;
    }
    if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        return -EINVAL;
    char rune[4];
    *ret_len = utf8_encode(value, rune);
    memcpy(ret_bytes, rune, *ret_len); /* never more bytes than the escape had */
    return 0;
}

/* *at stands behind a backslash. */
static int undo_escape(const char **at, const char *end, char quote, char *ret_bytes, size_t *ret_len)
{
    if (*at >= end)
        return -EINVAL;
    char letter = **at;
    const char *known = letter ? strchr(escape_letters, letter) : NULL;
    if ((letter >= '0' && letter <= '7') || letter == 'x' || letter == 'u' || letter == 'U')
        return undo_number(at, end, ret_bytes, ret_len);
    if (known)
        *ret_bytes = escape_bytes[known - escape_letters];
    else if (letter == '\\' || letter == quote)
        *ret_bytes = letter;
    else
        return -EINVAL;
    (*at)++;
    *ret_len = 1;
    return 0;
}

int quote_undo(struct str literal, char *ret_text, size_t *ret_len)
{
    if (literal.len < 2 || literal.ptr[0] != literal.ptr[literal.len - 1])
        return -EINVAL;
    char quote = literal.ptr[0];
    const char *at = literal.ptr + 1;
    const char *end = literal.ptr + literal.len - 1;
    if (quote != '"' && quote != '\'' && quote != '`')
        return -EINVAL;
    size_t len = 0;
    while (at < end) {
        char byte = *at++;
        size_t added = 1;
        if (byte == quote || (byte == '\n' && quote != '`'))
            return -EINVAL;
        if (byte != '\\' || quote == '`')
            ret_text[len] = byte;
        else if (undo_escape(&at, end, quote, ret_text + len, &added) < 0)
            return -EINVAL;
        len += added;
    }
    *ret_len = len;
    return 0;
}
