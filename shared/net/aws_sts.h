#pragma once
/* Inside net: the Security Token Service's query API, as text: what is asked, and what is answered. Pure.
 * Source: AWS STS API Reference, AssumeRole and AssumeRoleWithWebIdentity. */
#include "net/aws_keys.h"

#define AWS_STS_BODY_BYTES_MAX (64 * KIB)
#define AWS_STS_DEPTH_MAX      16

struct aws_role {
    const char *arn, *session_name;
    const char *external_id; /* NULL: none */
};

/* A form body. -E2BIG past AWS_STS_BODY_BYTES_MAX. */
MUST_CHECK int aws_sts_assume_role(const struct aws_role *role, struct buf *body);
MUST_CHECK int aws_sts_assume_role_with_web_identity(const struct aws_role *role, struct str token, struct buf *body);

/* An answer of status 200: -EBADMSG with a reason that repeats nothing of it. */
MUST_CHECK int aws_sts_read_keys(struct str xml, struct aws_keys *ret_keys, char ret_reason[static 256]);
/* Any other answer: "AccessDenied: User ... is not authorized ...", or empty where it says nothing that can be read. */
void aws_sts_read_error(struct str xml, char ret_text[static 512]);
