#include "net/http_form.h"

#include <errno.h>

int http_percent_decode(struct arena *arena, struct str text, bool plus_is_space, struct str *ret_text)
{
    char *out = arena_alloc(arena, text.len + 1);
    if (!out)
        return -ENOMEM;
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.ptr[i];
        if (byte == '%') {
            int high = i + 2 < text.len ? str_hex_value(text.ptr[i + 1]) : -1;
            int low = i + 2 < text.len ? str_hex_value(text.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return -EINVAL;
            byte = (char)(high * 16 + low);
            i += 2;
        } else if (byte == '+' && plus_is_space) {
            byte = ' ';
        }
        if (byte == '\0')
            return -EINVAL;
        out[len++] = byte;
    }
    out[len] = '\0';
    *ret_text = str_of(out, len);
    return 0;
}

static int add_param(struct arena *arena, struct str pair, struct http_param *param)
{
    size_t equals = str_find(pair, '=');
    size_t value_at = equals < pair.len ? equals + 1 : pair.len;
    int error = http_percent_decode(arena, str_of(pair.ptr, equals), true, &param->name);
    if (error)
        return error;
    return http_percent_decode(arena, str_of(pair.ptr + value_at, pair.len - value_at), true, &param->value);
}

int http_form_decode(struct arena *arena, struct str text, struct http_params *params)
{
    if (text.len == 0)
        return 0;
    size_t count = params->count + 1;
    for (size_t i = 0; i < text.len; i++)
        count += text.ptr[i] == '&';
    if (count > HTTP_PARAMS_MAX)
        return -E2BIG;
    struct http_param *items = arena_array(arena, count, sizeof(*items));
    if (!items)
        return -ENOMEM;
    for (size_t i = 0; i < params->count; i++)
        items[i] = params->items[i];
    count = params->count;
    for (size_t at = 0; at < text.len;) {
        struct str rest = str_of(text.ptr + at, text.len - at);
        struct str pair = str_of(rest.ptr, str_find(rest, '&'));
        at += pair.len + 1;
        if (pair.len == 0)
            continue;
        int error = add_param(arena, pair, &items[count]);
        if (error)
            return error;
        count++;
    }
    params->items = items;
    params->count = count;
    return 0;
}

struct str http_params_get(const struct http_params *params, const char *name, size_t nth)
{
    struct str wanted = str_from(name);
    for (size_t i = 0; i < params->count; i++)
        if (str_equal(params->items[i].name, wanted) && nth-- == 0)
            return params->items[i].value;
    return STR_NULL;
}

int http_percent_encode(struct buf *out, struct str text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.ptr[i];
        bool plain = (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
                     byte == '-' || byte == '.' || byte == '_' || byte == '~';
        char escape[3] = {'%', digits[byte >> 4], digits[byte & 15]};
        int error = plain ? buf_append_byte(out, byte) : buf_append(out, escape, sizeof(escape));
        if (error)
            return error;
    }
    return 0;
}
