#include "net/auth.h"

#include "base/fail.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>

#define SECRET_BYTES_MAX ((size_t)4 * KIB)
#define ERROR_BYTES      256
#define SECRET_MODE_MASK 0077 /* group and others */

struct identity {
    char *name;
    bool has_token;
    uint8_t token_digest[SHA256_DIGEST_LENGTH]; /* the token itself is not kept */
};

struct auth {
    struct identity *identities;
    size_t count;
};

int auth_read_secret(struct file_system *fs, const char *path, char ret_error[static 256], char **ret_secret)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(SECRET_BYTES_MAX);
    int error = file_read_whole(fs, path, &text);
    if (error == -EFBIG || error == -EMSGSIZE) {
        snprintf(ret_error, ERROR_BYTES, "%s: larger than %zu bytes", path, SECRET_BYTES_MAX);
        return -EINVAL;
    }
    if (error) {
        snprintf(ret_error, ERROR_BYTES, "%s: %s", path, strerror(-error));
        return -EINVAL;
    }
    struct str secret = buf_view(&text);
    if (str_ends_with(secret, STR("\n")))
        secret.len--;
    if (str_ends_with(secret, STR("\r")))
        secret.len--;
    const char *fault = secret.len == 0                       ? "empty"
                        : str_find(secret, '\n') < secret.len ? "more than one line"
                        : str_find(secret, '\0') < secret.len ? "not text"
                                                              : NULL;
    if (fault)
        snprintf(ret_error, ERROR_BYTES, "%s: %s", path, fault);
    else
        *ret_secret = mem_strndup(secret.ptr, secret.len);
    if (text.data)
        explicit_bzero(text.data, text.len);
    return fault ? -EINVAL : 0;
}

static void digest(struct str token, uint8_t ret_digest[static SHA256_DIGEST_LENGTH])
{
    SHA256((const unsigned char *)token.ptr, token.len, ret_digest);
}

static int read_token(struct file_system *fs, const char *path, char ret_error[static ERROR_BYTES],
                      struct identity *identity)
{
    struct stat status;
    /* Files in memory have no mode. */
    if (fs == file_system_real() && stat(path, &status) == 0 && (status.st_mode & SECRET_MODE_MASK)) {
        snprintf(ret_error, ERROR_BYTES, "%s: others than its owner may read it (mode %04o); chmod 600", path,
                 (unsigned)(status.st_mode & 07777));
        return -EINVAL;
    }
    char *token = NULL;
    int error = auth_read_secret(fs, path, ret_error, &token);
    if (error)
        return error;
    digest(str_from(token), identity->token_digest);
    identity->has_token = true;
    explicit_bzero(token, strlen(token));
    mem_free(token);
    return 0;
}

int auth_new(struct file_system *fs, const struct auth_entry *entries, size_t count, char ret_error[static 256],
             struct auth **ret_auth)
{
    CLEANUP(auth_freep) struct auth *auth = mem_zalloc(sizeof(*auth));
    auth->identities = mem_array(count, sizeof(*auth->identities));
    auth->count = count;
    for (size_t i = 0; i < count; i++) {
        struct identity *identity = &auth->identities[i];
        identity->name = mem_strdup(entries[i].name);
        int error =
            entries[i].bearer_token_file ? read_token(fs, entries[i].bearer_token_file, ret_error, identity) : 0;
        if (error)
            return error;
        for (size_t j = 0; identity->has_token && j < i; j++) {
            const struct identity *other = &auth->identities[j];
            if (!other->has_token || CRYPTO_memcmp(other->token_digest, identity->token_digest, SHA256_DIGEST_LENGTH))
                continue;
            snprintf(ret_error, ERROR_BYTES, "%s: the same token as of %s", entries[i].bearer_token_file, other->name);
            return -EINVAL;
        }
    }
    *ret_auth = STEAL(auth);
    return 0;
}

void auth_free(struct auth *auth)
{
    if (!auth)
        return;
    for (size_t i = 0; i < auth->count; i++)
        mem_free(auth->identities[i].name);
    mem_free(auth->identities);
    mem_free(auth);
}

/* Every identity is compared, so that the time does not tell which one came near. */
static const struct identity *by_token(const struct auth *auth, struct str token)
{
    uint8_t given[SHA256_DIGEST_LENGTH];
    const struct identity *found = NULL;
    digest(token, given);
    for (size_t i = 0; i < auth->count; i++) {
        const struct identity *identity = &auth->identities[i];
        if (CRYPTO_memcmp(identity->token_digest, given, sizeof(given)) == 0 && identity->has_token)
            found = identity;
    }
    return found;
}

static const struct identity *by_name(const struct auth *auth, struct str name)
{
    for (size_t i = 0; i < auth->count; i++)
        if (str_equal(str_from(auth->identities[i].name), name))
            return &auth->identities[i];
    return NULL;
}

int auth_check(const struct auth *auth, const struct http_exchange *exchange, struct str *ret_identity)
{
    if (auth->count == 0) {
        *ret_identity = STR_NULL;
        return 0;
    }
    struct str authorization = http_exchange_header(exchange, "Authorization");
    struct str certificate = http_exchange_certificate(exchange);
    const struct identity *from_token = NULL, *from_certificate = NULL;
    if (authorization.len > 7 && strncasecmp(authorization.ptr, "Bearer ", 7) == 0)
        from_token = by_token(auth, str_trim(str_of(authorization.ptr + 7, authorization.len - 7)));
    if (certificate.ptr)
        from_certificate = by_name(auth, certificate);
    /* Credentials that contradict each other, or a wrong one beside a right one, are no mistake to be lenient with. */
    if ((authorization.ptr && !from_token) || (from_token && from_certificate && from_token != from_certificate))
        return -EACCES;
    const struct identity *identity = from_token ? from_token : from_certificate;
    if (!identity)
        return -EACCES;
    *ret_identity = str_from(identity->name);
    return 0;
}
