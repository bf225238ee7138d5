#pragma once
/* Inside net: where AWS credentials are to come from, as options, environment and files say it now: the search that
 * aws_credentials.h describes, up to the point where somebody must be asked. */
#include "net/aws_credentials.h"

enum aws_place {
    AWS_PLACE_KEYS, /* they are in the plan */
    AWS_PLACE_WEB_IDENTITY,
    AWS_PLACE_CONTAINER,
    AWS_PLACE_INSTANCE
};

enum aws_plan_text {
    AWS_PLAN_ACCESS_KEY,
    AWS_PLAN_SECRET_KEY,
    AWS_PLAN_SESSION_TOKEN,
    AWS_PLAN_URL,                /* of the container's endpoint */
    AWS_PLAN_AUTHORIZATION,      /* to send to it, */
    AWS_PLAN_AUTHORIZATION_FILE, /* or the file that has it */
    AWS_PLAN_TOKEN_FILE,         /* of the web identity, */
    AWS_PLAN_TOKEN_ROLE,         /* and the role it may take */
    AWS_PLAN_SESSION_NAME,       /* of assumed roles, in AWS' logs */
    AWS_PLAN_PROFILE_ROLE,       /* to be assumed first, */
    AWS_PLAN_PROFILE_EXTERNAL_ID,
    AWS_PLAN_ROLE, /* and then */
    AWS_PLAN_STS_URL,
    AWS_PLAN_REGION,
    AWS_PLAN_TEXTS
};

struct aws_plan {
    enum aws_place place;
    char *texts[AWS_PLAN_TEXTS]; /* NULL: none */
    char *where;                 /* the place, for reasons: "the environment" */
    char *passed;                /* places that were not set up, for reasons; NULL: none */
};

/* Errors as of aws_credentials_fn. */
MUST_CHECK int aws_plan_make(const struct aws_credentials_options *options, struct aws_plan *ret_plan,
                             char ret_reason[static AWS_CREDENTIALS_REASON_MAX]);
void aws_plan_done(struct aws_plan *plan); /* wipes; zeroed ones allowed */
bool aws_plan_equal(const struct aws_plan *a, const struct aws_plan *b);
