#pragma once
/* Inside net: AWS keys as services and files tell them, owned, and wiped when they go. */
#include "base/buf.h"
#include "net/sigv4.h"

#define AWS_KEYS_NEVER INT64_MAX

struct aws_keys {
    char *access_key, *secret_key;
    char *session_token; /* NULL: long-lived */
    int64_t expires_ms;  /* since 1970, or AWS_KEYS_NEVER */
};

/* token may be empty: none. -EINVAL: an access or secret key that is empty, a text with blanks or control characters,
 * one that is longer than any of AWS' is. */
MUST_CHECK int aws_keys_make(struct str access_key, struct str secret_key, struct str token, int64_t expires_ms,
                             struct aws_keys *ret_keys);
/* What instance metadata and container endpoints answer: AccessKeyId, SecretAccessKey, Token, Expiration. -EBADMSG with
 * a reason that repeats nothing of it but its Code. */
MUST_CHECK int aws_keys_read_json(struct str text, struct aws_keys *ret_keys, char ret_reason[static 256]);
void aws_keys_copy(const struct aws_keys *keys, struct aws_keys *ret_keys);
void aws_keys_done(struct aws_keys *keys); /* zeroed ones allowed */
struct sigv4_credentials aws_keys_view(const struct aws_keys *keys);

/* Wipe, then free. */
void aws_secret_free(char *text);
void aws_secret_buf_done(struct buf *buf);
/* Makes text from outside fit for a reason: its first line, printable, without words as long as tokens are, no longer
 * than ret_text. */
void aws_plain_text(struct str text, char *ret_text, size_t ret_text_bytes);
