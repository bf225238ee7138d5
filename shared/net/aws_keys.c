#include "net/aws_keys.h"

#include "base/fail.h"

#include <errno.h>
#include <jansson.h>

#define KEY_BYTES_MAX   512        /* of an access or secret key; AWS' have 20 and 40 */
#define TOKEN_BYTES_MAX (16 * KIB) /* as sigv4 has it */
#define WORD_BYTES_MAX  256        /* longer ones are no names: session tokens have some 400 bytes and more */

void aws_secret_free(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    mem_free(text);
}

void aws_secret_buf_done(struct buf *buf)
{
    if (buf->data)
        explicit_bzero(buf->data, buf->len);
    buf_done(buf);
}

void aws_plain_text(struct str text, char *ret_text, size_t ret_text_bytes)
{
    size_t len = 0;
    text = str_trim(text);
    text.len = str_find(text, '\n');
    while (text.len > 0) {
        size_t word = MIN(str_find(text, ' ') + 1, text.len);
        struct str shown = word > WORD_BYTES_MAX ? STR("... ") : str_of(text.ptr, word);
        for (size_t i = 0; i < shown.len && len + 1 < ret_text_bytes; i++)
            ret_text[len++] = shown.ptr[i] >= ' ' && shown.ptr[i] <= '~' ? shown.ptr[i] : '?';
        text = str_of(text.ptr + word, text.len - word);
    }
    ret_text[len] = '\0';
}

/* Nothing that would not pass as part of a header. */
static bool is_sound(struct str text, size_t bytes_max)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~')
            return false;
    return text.len <= bytes_max;
}

int aws_keys_make(struct str access_key, struct str secret_key, struct str token, int64_t expires_ms,
                  struct aws_keys *ret_keys)
{
    if (access_key.len == 0 || secret_key.len == 0 || !is_sound(access_key, KEY_BYTES_MAX) ||
        !is_sound(secret_key, KEY_BYTES_MAX) || !is_sound(token, TOKEN_BYTES_MAX))
        return -EINVAL;
    *ret_keys = (struct aws_keys){.access_key = mem_strndup(access_key.ptr, access_key.len),
                                  .secret_key = mem_strndup(secret_key.ptr, secret_key.len),
                                  .session_token = token.len > 0 ? mem_strndup(token.ptr, token.len) : NULL,
                                  .expires_ms = expires_ms};
    return 0;
}

void aws_keys_copy(const struct aws_keys *keys, struct aws_keys *ret_keys)
{
    int error = aws_keys_make(str_from(keys->access_key), str_from(keys->secret_key), str_from(keys->session_token),
                              keys->expires_ms, ret_keys);
    ASSERT(error == 0); /* they were made so */
}

void aws_keys_done(struct aws_keys *keys)
{
    aws_secret_free(keys->access_key);
    aws_secret_free(keys->secret_key);
    aws_secret_free(keys->session_token);
    *keys = (struct aws_keys){0};
}

struct sigv4_credentials aws_keys_view(const struct aws_keys *keys)
{
    return (struct sigv4_credentials){keys->access_key, keys->secret_key, keys->session_token};
}

/* ---- JSON ---- */

static struct str member(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return value ? str_of(json_string_value(value), json_string_length(value)) : STR_NULL;
}

static void wipe_member(const json_t *object, const char *name)
{
    struct str text = member(object, name);
    if (text.len > 0)
        explicit_bzero((char *)(uintptr_t)text.ptr, text.len); /* jansson's own copy, which goes next */
}

static int read_object(const json_t *object, struct aws_keys *ret_keys, char ret_reason[static 256])
{
    struct str code = member(object, "Code"), until = member(object, "Expiration");
    int64_t expires_ms = AWS_KEYS_NEVER;
    if (code.len > 0 && !str_equal(code, STR("Success"))) {
        char text[128];
        aws_plain_text(code, text, sizeof(text));
        return error_text(-EBADMSG, ret_reason, "the answer says %s", text);
    }
    if (until.len > 0 && clock_parse_rfc3339(until.ptr, &expires_ms) != 0)
        return error_text(-EBADMSG, ret_reason, "the answer's Expiration is no time");
    if (aws_keys_make(member(object, "AccessKeyId"), member(object, "SecretAccessKey"), member(object, "Token"),
                      expires_ms, ret_keys))
        return error_text(-EBADMSG, ret_reason, "the answer has no sound AccessKeyId, SecretAccessKey and Token");
    return 0;
}

int aws_keys_read_json(struct str text, struct aws_keys *ret_keys, char ret_reason[static 256])
{
    json_t *object = json_loadb(text.ptr ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(object)) {
        json_decref(object);
        return error_text(-EBADMSG, ret_reason, "the answer is no JSON object");
    }
    int error = read_object(object, ret_keys, ret_reason);
    wipe_member(object, "SecretAccessKey");
    wipe_member(object, "Token");
    json_decref(object);
    return error;
}
