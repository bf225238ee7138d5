#pragma once
/* The metadata service of an EC2 instance, by IMDSv2 only: a session token is got first, kept, and got anew when it
 * ages or is refused. At http://169.254.169.254, or where AWS_EC2_METADATA_SERVICE_ENDPOINT says; not asked at all
 * where AWS_EC2_METADATA_DISABLED is true.
 * Source: EC2 User Guide, "Use the Instance Metadata Service". */
#include "net/aws_environment.h"
#include "net/http_client.h"

#define AWS_METADATA_TIMEOUT_MS 2000 /* of one exchange; a machine elsewhere must not wait for long to learn it */
#define AWS_METADATA_BYTES_MAX  (64 * KIB)
#define AWS_METADATA_GETS_MAX   256 /* at a time */
#define AWS_METADATA_REASON_MAX 512

struct aws_metadata;
struct aws_metadata_request;

/* error 0: result is an answer, whatever its status but 401. Else -EACCES: disabled, or the service hands out no token;
 * -EINVAL: its endpoint's URL or the path is none; -EAGAIN: too many at a time; -EIO: no answer, a token that is none.
 * Then reason says more and result is NULL. All views during the call. */
typedef void aws_metadata_fn(void *arg, int error, const char *reason, const struct http_result *result);

/* The client is on the loop and outlives it. environment's get and arg live as long. */
struct aws_metadata *aws_metadata_new(struct loop *loop, struct http_client *client,
                                      const struct aws_environment *environment);
void aws_metadata_free(struct aws_metadata *metadata); /* requests are dropped; not from inside a fn */
DEFINE_CLEANUP(struct aws_metadata *, aws_metadata_free)

/* Asks for a path ("/latest/meta-data/placement/region"). fn is called once, on the loop, never from inside this call.
 * The request lives until fn has returned. */
struct aws_metadata_request *aws_metadata_get(struct aws_metadata *metadata, const char *path, aws_metadata_fn *fn,
                                              void *arg);
/* fn is not called any more; not from inside it. NULL allowed. */
void aws_metadata_cancel(struct aws_metadata_request *request);
