#pragma once
/* Who is it? A bearer token or a client certificate becomes the name it was issued for. Tokens come from files, are
 * read again at reload, and are compared in constant time. */
#include "base/file.h"
#include "net/http_server.h"

struct auth;

struct auth_entry {
    const char *name;              /* identity */
    const char *bearer_token_file; /* NULL: by certificate only (its common name must be `name`) */
};

/* No entries: everybody is let in, with the empty identity. -EINVAL and a text for an unreadable, empty or oversized
 * token file, or one that group or others may read. */
MUST_CHECK int auth_new(struct file_system *fs, const struct auth_entry *entries, size_t count,
                        char ret_error[static 256], struct auth **ret_auth);
void auth_free(struct auth *auth);
DEFINE_CLEANUP(struct auth *, auth_free)
/* 0 and the identity (STR_NULL where everybody may), or -EACCES. */
MUST_CHECK int auth_check(const struct auth *auth, const struct http_exchange *exchange, struct str *ret_identity);
/* A secret's file as text, without the newline at its end; at most 4 KiB, one line. Caller frees with mem_free. */
MUST_CHECK int auth_read_secret(struct file_system *fs, const char *path, char ret_error[static 256],
                                char **ret_secret);
