#pragma once
/* Inside net: one profile of AWS' shared files (~/.aws/credentials, ~/.aws/config). Pure.
 * Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files". */
#include "base/str.h"

#define AWS_PROFILE_VALUE_BYTES_MAX (16 * KIB)

enum aws_profile_key {
    AWS_PROFILE_ACCESS_KEY,
    AWS_PROFILE_SECRET_KEY,
    AWS_PROFILE_SESSION_TOKEN,
    AWS_PROFILE_ROLE_ARN,
    AWS_PROFILE_SOURCE_PROFILE,
    AWS_PROFILE_CREDENTIAL_SOURCE,
    AWS_PROFILE_EXTERNAL_ID,
    AWS_PROFILE_ROLE_SESSION_NAME,
    AWS_PROFILE_WEB_IDENTITY_TOKEN_FILE,
    AWS_PROFILE_MFA_SERIAL,
    AWS_PROFILE_CREDENTIAL_PROCESS,
    AWS_PROFILE_SSO_SESSION,
    AWS_PROFILE_SSO_START_URL,
    AWS_PROFILE_KEYS
};
extern const char *const aws_profile_key_names[AWS_PROFILE_KEYS]; /* "aws_access_key_id", ... */

struct aws_profile {
    char *values[AWS_PROFILE_KEYS]; /* NULL: not there */
};
void aws_profile_done(struct aws_profile *profile); /* wipes; zeroed ones allowed */

/* Adds what a file says of the profile `name`; what is there already stays. config: sections are called [profile NAME],
 * but for [default]. 1: the file has it, 0: it has not. -EINVAL: a line of the profile makes no sense, its number in
 * ret_line. */
MUST_CHECK int aws_profile_read(struct str text, const char *name, bool config, struct aws_profile *profile,
                                size_t *ret_line);
