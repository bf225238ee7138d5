/* What AWS asks of a request: credentials to sign it with, or that it goes to the instance's metadata service. */
#include "section_internal.h"

#include "net/aws_metadata.h"

static void on_credentials(void *arg, int error, const char *reason, const struct sigv4_credentials *credentials)
{
    struct discovery_call *call = arg;
    call->aws_wait = NULL;
    if (call->state == CALL_DOOMED)
        return;
    if (error < 0)
        call_unsent(call, reason);
    else
        call_send_signed(call, credentials);
}

void call_ask_credentials(struct discovery_call *call)
{
    struct section *section = call->section;
    const struct discovery_aws *aws = call->request.aws;
    const struct section_env *env = section->env;
    if (!section->aws) {
        const struct aws_credentials_options options = {.loop = env->seams.loop,
                                                        .client = env->http,
                                                        .fs = env->seams.fs,
                                                        .metadata = env->aws_metadata,
                                                        .access_key = aws->access_key,
                                                        .secret_key_file = aws->secret_key_file,
                                                        .profile = aws->profile,
                                                        .role_arn = aws->role_arn,
                                                        .region = aws->region};
        section->aws = aws_credentials_new(&options);
        section->aws_of = aws;
    }
    if (section->aws_of != aws) {
        call_unsent(call, "a section has one set of AWS credentials, and this request names another");
        return;
    }
    call->aws_wait = aws_credentials_get(section->aws, on_credentials, call);
}

static void on_metadata(void *arg, int error, const char *reason, const struct http_result *result)
{
    struct discovery_call *call = arg;
    struct call_end end = {
        .failure = error < 0 ? DISCOVERY_BROKEN : DISCOVERY_OK, .reason = reason, .retry_after_s = -1};
    call->metadata = NULL;
    if (call->state == CALL_DOOMED)
        return;
    if (error == 0) {
        call_read_head(call, &result->head);
        (void)call_read_data(call, result->body);
    }
    call_end(call, &end);
}

void call_ask_metadata(struct discovery_call *call)
{
    call->metadata = aws_metadata_get(call->section->env->aws_metadata, call->request.url.ptr, on_metadata, call);
}
