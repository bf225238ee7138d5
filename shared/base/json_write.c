#include "base/json_write.h"

#include "base/fail.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void json_begin(struct json_writer *json, struct buf *out)
{
    *json = (struct json_writer){.out = out};
}

/* What comes before any value: the comma of an array, or nothing behind a key. */
static void before_value(struct json_writer *json)
{
    if (json->after_key) {
        json->after_key = false;
        return;
    }
    if (json->comma[json->depth])
        buf_append_byte(json->out, ',');
    json->comma[json->depth] = true;
}

static void open_level(struct json_writer *json, char bracket)
{
    before_value(json);
    buf_append_byte(json->out, (uint8_t)bracket);
    ASSERT(json->depth + 1 < JSON_WRITE_DEPTH_MAX);
    json->comma[++json->depth] = false;
}

static void close_level(struct json_writer *json, char bracket)
{
    ASSERT(json->depth > 0 && !json->after_key);
    json->depth--;
    buf_append_byte(json->out, (uint8_t)bracket);
}

void json_object(struct json_writer *json)
{
    open_level(json, '{');
}

void json_object_end(struct json_writer *json)
{
    close_level(json, '}');
}

void json_array(struct json_writer *json)
{
    open_level(json, '[');
}

void json_array_end(struct json_writer *json)
{
    close_level(json, ']');
}

/* Bytes of the UTF-8 sequence at text[0..len), 0 when it is none (overlong, surrogate, cut, above U+10FFFF). */
static size_t utf8_sequence(const uint8_t *text, size_t len)
{
    uint8_t first = text[0];
    size_t want = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || len < want)
        return 0;
    for (size_t i = 1; i < want; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((first == 0xe0 && text[1] < 0xa0) || (first == 0xed && text[1] > 0x9f) || (first == 0xf0 && text[1] < 0x90) ||
        (first == 0xf4 && text[1] > 0x8f))
        return 0;
    return want;
}

static void append_escaped(struct buf *out, uint8_t byte)
{
    switch (byte) {
    case '"':
        buf_append_text(out, "\\\"");
        break;
    case '\\':
        buf_append_text(out, "\\\\");
        break;
    case '\n':
        buf_append_text(out, "\\n");
        break;
    case '\r':
        buf_append_text(out, "\\r");
        break;
    case '\t':
        buf_append_text(out, "\\t");
        break;
    default:
        buf_printf(out, "\\u%04x", byte);
    }
}

static void append_string(struct buf *out, struct str text)
{
    const uint8_t *bytes = (const uint8_t *)text.ptr;
    size_t plain = 0; /* start of the run that needs no escape */
    buf_append_byte(out, '"');
    for (size_t i = 0; i < text.len;) {
        uint8_t byte = bytes[i];
        size_t step = byte >= 0x80 ? utf8_sequence(bytes + i, text.len - i) : 1;
        if (step > 0 && byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f) {
            i += step;
            continue;
        }
        buf_append(out, bytes + plain, i - plain);
        if (step == 0)
            buf_append_text(out, "\xef\xbf\xbd");
        else
            append_escaped(out, byte);
        plain = ++i;
    }
    if (text.len > plain)
        buf_append(out, bytes + plain, text.len - plain);
    buf_append_byte(out, '"');
}

void json_key_str(struct json_writer *json, struct str key)
{
    ASSERT(json->depth > 0 && !json->after_key);
    before_value(json);
    append_string(json->out, key);
    buf_append_byte(json->out, ':');
    json->after_key = true;
}

void json_key(struct json_writer *json, const char *key)
{
    json_key_str(json, str_from(key));
}

void json_str(struct json_writer *json, struct str text)
{
    before_value(json);
    append_string(json->out, text);
}

void json_raw(struct json_writer *json, struct str value)
{
    before_value(json);
    buf_append_str(json->out, value);
}

void json_null(struct json_writer *json)
{
    json_raw(json, STR("null"));
}

void json_text(struct json_writer *json, const char *text)
{
    if (text)
        json_str(json, str_from(text));
    else
        json_null(json);
}

void json_int(struct json_writer *json, int64_t value)
{
    before_value(json);
    buf_printf(json->out, "%lld", (long long)value);
}

void json_uint(struct json_writer *json, uint64_t value)
{
    before_value(json);
    buf_printf(json->out, "%llu", (unsigned long long)value);
}

void json_double(struct json_writer *json, double value)
{
    if (!isfinite(value)) {
        json_null(json);
        return;
    }
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    json_raw(json, str_from(text));
}

void json_bool(struct json_writer *json, bool value)
{
    json_raw(json, value ? STR("true") : STR("false"));
}

void json_field_text(struct json_writer *json, const char *key, const char *value)
{
    json_key(json, key);
    json_text(json, value);
}

void json_field_str(struct json_writer *json, const char *key, struct str value)
{
    json_key(json, key);
    json_str(json, value);
}

void json_field_int(struct json_writer *json, const char *key, int64_t value)
{
    json_key(json, key);
    json_int(json, value);
}

void json_field_uint(struct json_writer *json, const char *key, uint64_t value)
{
    json_key(json, key);
    json_uint(json, value);
}

void json_field_double(struct json_writer *json, const char *key, double value)
{
    json_key(json, key);
    json_double(json, value);
}

void json_field_bool(struct json_writer *json, const char *key, bool value)
{
    json_key(json, key);
    json_bool(json, value);
}
