#pragma once
/* AWS credentials: found, kept, renewed. The first of these places that is set up decides; one that is set up and does
 * not work is an error, for to go on would be to ask as somebody else:
 *
 *   1. access_key and secret_key_file of the options
 *   2. the profile of the options, in the shared files
 *   3. the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *   4. the shared files' profile AWS_PROFILE, or "default": ~/.aws/credentials and ~/.aws/config, or where
 *      AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE say
 *   5. web identity: AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN (EKS' service accounts)
 *   6. the container's endpoint: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or AWS_CONTAINER_CREDENTIALS_FULL_URI (ECS,
 * EKS)
 *   7. the role of the instance, by its metadata
 *
 * What they give assumes the role that the profile names, then that of the options, by STS at
 * https://sts.REGION.amazonaws.com or AWS_ENDPOINT_URL_STS. Environment and files are read anew for each get, so that a
 * change is in force at once; what services gave is kept until AWS_CREDENTIALS_EARLY_MS before it expires. */
#include "base/file.h"
#include "net/aws_metadata.h"
#include "net/sigv4.h"

#define AWS_CREDENTIALS_EARLY_MS   (5 * 60 * 1000)
#define AWS_CREDENTIALS_TIMEOUT_MS 10000      /* of an exchange with STS or a container's endpoint */
#define AWS_CREDENTIALS_BYTES_MAX  (64 * KIB) /* of their answers */
#define AWS_CREDENTIALS_FILE_MAX   MIB        /* bytes of a shared file */
#define AWS_CREDENTIALS_GETS_MAX   1024       /* waiting at a time */
#define AWS_CREDENTIALS_REASON_MAX 1024

struct aws_credentials_options {
    struct loop *loop;
    struct http_client *client; /* on the loop */
    struct file_system *fs;
    struct aws_metadata *metadata; /* may be shared */
    struct aws_environment environment;
    const char *access_key; /* with secret_key_file; or NULL */
    const char *secret_key_file;
    const char *profile;  /* or NULL */
    const char *role_arn; /* or NULL */
    const char *region;   /* whose STS is asked; NULL: AWS_REGION, AWS_DEFAULT_REGION, else us-east-1 */
};

struct aws_credentials;
struct aws_credentials_request;

/* error 0: credentials, a view during the call. Else -ENOENT: none anywhere; -EACCES: refused; -EINVAL: something that
 * is set up makes no sense; -EAGAIN: too many wait; -EIO: no answer, or none that can be read; errors of reading files.
 * reason then names the places looked at and what was wrong, in one line, and never a secret. */
typedef void aws_credentials_fn(void *arg, int error, const char *reason, const struct sigv4_credentials *credentials);

/* Options are copied; what they point to but texts outlives it. */
struct aws_credentials *aws_credentials_new(const struct aws_credentials_options *options);
void aws_credentials_free(struct aws_credentials *credentials); /* requests are dropped; not from inside a fn */
DEFINE_CLEANUP(struct aws_credentials *, aws_credentials_free)

/* fn is called once, on the loop, never from inside this call. The request lives until fn has returned. */
struct aws_credentials_request *aws_credentials_get(struct aws_credentials *credentials, aws_credentials_fn *fn,
                                                    void *arg);
/* fn is not called any more; not from inside it. NULL allowed. */
void aws_credentials_cancel(struct aws_credentials_request *request);
/* They were refused: what was kept goes, the next get asks anew. */
void aws_credentials_forget(struct aws_credentials *credentials);
