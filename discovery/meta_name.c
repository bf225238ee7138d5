#include "discovery/meta_name.h"

#include "base/utf8.h"

static bool is_name_byte(char byte)
{
    char lower = (char)(byte | 0x20);
    return (lower >= 'a' && lower <= 'z') || (byte >= '0' && byte <= '9') || byte == '_';
}

struct str meta_name(struct arena *arena, struct str prefix, struct str key)
{
    char *name = arena_alloc(arena, prefix.len + key.len + 1);
    if (!name)
        return STR_NULL;
    size_t len = prefix.len;
    memcpy(name, prefix.ptr, prefix.len);
    for (size_t at = 0; at < key.len;) {
        uint32_t rune;
        size_t bytes = utf8_decode(key, at, &rune);
        name[len++] = is_name_byte(key.ptr[at]) ? key.ptr[at] : '_';
        at += MAX(bytes, 1);
    }
    name[len] = '\0';
    return str_of(name, len);
}
