#pragma once
/* Where a Kubernetes API server is and who we are to it: from a kubeconfig file's current context, or from what every
 * pod is given. Everything is read here but the file of a token, which is renewed under its path and read anew for
 * each request. */
#include "base/file.h"

#define KUBECONFIG_FILE_BYTES_MAX   MIB         /* of a kubeconfig; those of hundreds of clusters take half of it */
#define KUBECONFIG_SECRET_BYTES_MAX (256 * KIB) /* of certificates, a key, a token; as PEM text */
#define KUBECONFIG_CLUSTER_DIR      "/var/run/secrets/kubernetes.io/serviceaccount"

struct kubeconfig { /* texts are owned; those that may be absent are NULL */
    char *server;   /* http(s)://host[:port][/path], without a slash at its end */
    char *tls_server_name;
    bool insecure_skip_verify;
    char *ca_pem;             /* certificates to trust; NULL: the system's */
    char *cert_pem, *key_pem; /* to show to the server: both or none */
    char *token;              /* of "Authorization: Bearer" */
    char *token_file;         /* its path: when it is set it is used instead of token */
    char *username, *password;
    char *name_space; /* of the context, or the pod's own */
};

/* The current context of the file. -EINVAL with its place in ret_error, or what reading gave, for what cannot be used:
 * programs to run for credentials (exec, auth-provider) among it. */
MUST_CHECK int kubeconfig_load(struct file_system *fs, const char *path, char ret_error[static 256],
                               struct kubeconfig *ret_config);

typedef const char *kubeconfig_getenv_fn(const char *name); /* getenv, wrapped */
/* By KUBERNETES_SERVICE_HOST and _PORT, and a directory with token, ca.crt and, maybe, namespace
 * (KUBECONFIG_CLUSTER_DIR). */
MUST_CHECK int kubeconfig_in_cluster(struct file_system *fs, const char *directory, kubeconfig_getenv_fn *environment,
                                     char ret_error[static 256], struct kubeconfig *ret_config);

/* Secrets are wiped. NULL is allowed, and so is an all-zero one. */
void kubeconfig_done(struct kubeconfig *config);
