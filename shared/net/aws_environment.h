#pragma once
/* The environment as AWS' clients read it, through a function, so that tests need not change that of their process. */
#include "base/defs.h"

#include <stdlib.h>

struct aws_environment {
    const char *(*get)(void *arg, const char *name); /* NULL: getenv */
    void *arg;
};

/* NULL: not set, or empty, which AWS' clients take for the same. */
static inline const char *aws_environment_get(const struct aws_environment *environment, const char *name)
{
    const char *value = environment->get ? environment->get(environment->arg, name) : getenv(name);
    return value && value[0] ? value : NULL;
}
