#include "answer_scan.h"

size_t answer_scan_space(struct str text, size_t at)
{
    while (at < text.len &&
           (text.ptr[at] == ' ' || text.ptr[at] == '\n' || text.ptr[at] == '\t' || text.ptr[at] == '\r'))
        at++;
    return at;
}

static bool is_at(struct str text, size_t at, char byte)
{
    return at < text.len && text.ptr[at] == byte;
}

/* From its quote to behind the other. */
static bool skip_string(struct str text, size_t *at)
{
    for ((*at)++; *at < text.len; (*at)++) {
        if (text.ptr[*at] == '\\')
            (*at)++;
        else if (text.ptr[*at] == '"') {
            (*at)++;
            return true;
        }
    }
    return false;
}

/* Brackets are counted, not matched: whoever reads the value finds what is wrong with them. */
static bool skip_nested(struct str text, size_t *at)
{
    size_t depth = 0;
    while (*at < text.len) {
        char byte = text.ptr[*at];
        if (byte == '"') {
            if (!skip_string(text, at))
                return false;
            continue;
        }
        (*at)++;
        if (byte == '{' || byte == '[')
            depth++;
        else if ((byte == '}' || byte == ']') && --depth == 0)
            return true;
    }
    return false;
}

static bool skip_value(struct str text, size_t *at)
{
    if (is_at(text, *at, '"'))
        return skip_string(text, at);
    if (is_at(text, *at, '{') || is_at(text, *at, '['))
        return skip_nested(text, at);
    size_t start = *at;
    while (*at < text.len && !strchr(",]} \t\r\n", text.ptr[*at]))
        (*at)++;
    return *at > start;
}

/* From an object's { to the value of the member. Names with escapes are none that are looked for. */
static bool find_member(struct str text, struct str name, size_t *at)
{
    if (!is_at(text, *at, '{'))
        return false;
    do {
        *at = answer_scan_space(text, *at + 1); /* behind { or , */
        size_t start = *at;
        if (!is_at(text, *at, '"') || !skip_string(text, at))
            return false;
        struct str found = {text.ptr + start + 1, *at - start - 2};
        *at = answer_scan_space(text, *at);
        if (!is_at(text, *at, ':'))
            return false;
        *at = answer_scan_space(text, *at + 1);
        if (str_equal(found, name))
            return true;
        if (!skip_value(text, at))
            return false;
        *at = answer_scan_space(text, *at);
    } while (is_at(text, *at, ','));
    return false;
}

bool answer_scan_result(struct str body, struct str *ret_list)
{
    size_t at = answer_scan_space(body, 0);
    if (!find_member(body, STR("data"), &at) || !find_member(body, STR("result"), &at) || !is_at(body, at, '['))
        return false;
    size_t start = at;
    if (!skip_nested(body, &at))
        return false;
    *ret_list = str_of(body.ptr + start, at - start);
    return true;
}
