#include "net/aws_profile.h"

#include "base/fail.h"
#include "net/aws_keys.h"

#include <errno.h>
#include <strings.h>

const char *const aws_profile_key_names[AWS_PROFILE_KEYS] = {
    [AWS_PROFILE_ACCESS_KEY] = "aws_access_key_id",
    [AWS_PROFILE_SECRET_KEY] = "aws_secret_access_key",
    [AWS_PROFILE_SESSION_TOKEN] = "aws_session_token",
    [AWS_PROFILE_ROLE_ARN] = "role_arn",
    [AWS_PROFILE_SOURCE_PROFILE] = "source_profile",
    [AWS_PROFILE_CREDENTIAL_SOURCE] = "credential_source",
    [AWS_PROFILE_EXTERNAL_ID] = "external_id",
    [AWS_PROFILE_ROLE_SESSION_NAME] = "role_session_name",
    [AWS_PROFILE_WEB_IDENTITY_TOKEN_FILE] = "web_identity_token_file",
    [AWS_PROFILE_MFA_SERIAL] = "mfa_serial",
    [AWS_PROFILE_CREDENTIAL_PROCESS] = "credential_process",
    [AWS_PROFILE_SSO_SESSION] = "sso_session",
    [AWS_PROFILE_SSO_START_URL] = "sso_start_url",
};

void aws_profile_done(struct aws_profile *profile)
{
    for (size_t i = 0; i < AWS_PROFILE_KEYS; i++)
        aws_secret_free(profile->values[i]);
    *profile = (struct aws_profile){0};
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static struct str next_line(struct str *left)
{
    size_t end = str_find(*left, '\n'), used = MIN(end + 1, left->len);
    struct str line = str_of(left->ptr, end);
    *left = str_of(left->ptr + used, left->len - used);
    if (str_ends_with(line, STR("\r")))
        line.len--;
    return line;
}

/* Without what stands after a blank and # or ; */
static struct str without_comment(struct str value)
{
    for (size_t i = 0; i < value.len; i++)
        if ((value.ptr[i] == '#' || value.ptr[i] == ';') && (i == 0 || is_blank(value.ptr[i - 1])))
            return str_trim(str_of(value.ptr, i));
    return value;
}

/* "[name]", in the config file "[profile name]" or "[default]". */
static bool is_wanted_section(struct str line, const char *name, bool config)
{
    struct str title = str_of(line.ptr + 1, str_find(line, ']') - 1);
    title = str_trim(title);
    if (config && strcmp(name, "default") != 0) {
        struct str word = STR("profile");
        if (!str_starts_with(title, word) || title.len == word.len || !is_blank(title.ptr[word.len]))
            return false;
        title = str_trim(str_of(title.ptr + word.len, title.len - word.len));
    }
    return str_equal(title, str_from(name));
}

static bool is_sound(struct str value)
{
    for (size_t i = 0; i < value.len; i++)
        if ((uint8_t)value.ptr[i] < ' ')
            return false;
    return value.len <= AWS_PROFILE_VALUE_BYTES_MAX;
}

/* What is in `old` came from another file and stays; of two in one file the later counts. */
static int take_line(struct str line, const struct aws_profile *old, struct aws_profile *profile)
{
    size_t equals = str_find(line, '=');
    if (equals == line.len)
        return -EINVAL;
    struct str name = str_trim(str_of(line.ptr, equals));
    struct str value = without_comment(str_trim(str_of(line.ptr + equals + 1, line.len - equals - 1)));
    if (!is_sound(value))
        return -EINVAL;
    for (size_t i = 0; i < AWS_PROFILE_KEYS; i++) {
        const char *known = aws_profile_key_names[i];
        if (old->values[i] || name.len != strlen(known) || strncasecmp(name.ptr, known, name.len) != 0)
            continue;
        aws_secret_free(profile->values[i]);
        profile->values[i] = value.len > 0 ? mem_strndup(value.ptr, value.len) : NULL;
    }
    return 0;
}

int aws_profile_read(struct str text, const char *name, bool config, struct aws_profile *profile, size_t *ret_line)
{
    const struct aws_profile old = *profile;
    bool found = false, wanted = false, has_key = false;
    size_t key_indent = 0;
    for (size_t number = 1; text.len > 0; number++) {
        struct str line = next_line(&text);
        size_t indent = 0;
        while (indent < line.len && is_blank(line.ptr[indent]))
            indent++;
        line = str_trim(line);
        if (line.len == 0 || line.ptr[0] == '#' || line.ptr[0] == ';')
            continue;
        if (line.ptr[0] == '[') {
            wanted = str_find(line, ']') < line.len && is_wanted_section(line, name, config);
            found |= wanted;
            has_key = false;
            continue;
        }
        /* Further in than the key before: part of its value, which none of ours has. */
        if (!wanted || (has_key && indent > key_indent))
            continue;
        has_key = true;
        key_indent = indent;
        if (take_line(line, &old, profile)) {
            *ret_line = number;
            return -EINVAL;
        }
    }
    return found;
}
