#pragma once
/* Who we are to another end, as configuration says it: basic_auth, authorization and tls_config with Prometheus' keys.
 * Secrets are named by their files, never written. Tables for configuration, plain structs for use. */
#include "base/conf.h"

struct access_basic_auth {
    const char *username; /* NULL: none */
    const char *password_file;
};
struct access_authorization {
    const char *type;             /* "Bearer" */
    const char *credentials_file; /* NULL: no authorization */
};
struct access_tls { /* all may be NULL */
    const char *ca_file, *cert_file, *key_file, *server_name;
    bool insecure_skip_verify;
};
struct access {
    struct access_basic_auth basic_auth;
    struct access_authorization authorization;
    struct access_tls tls;
};
struct access_kubernetes { /* all NULL: in the cluster, by the service account */
    const char *api_server;
    const char *kubeconfig_file;
};

extern const struct conf_table access_basic_auth_table, access_authorization_table, access_tls_table;

/* The options of a table whose struct has a struct access as `member`, and keys of Prometheus' http_config that mean
 * nothing here. */
#define ACCESS_OPTIONS(owner, member)                                                                                  \
    {.name = "basic_auth",                                                                                             \
     .type = CONF_SECTION,                                                                                             \
     .offset = offsetof(owner, member.basic_auth),                                                                     \
     .table = &access_basic_auth_table,                                                                                \
     .help = "User name and password to send."},                                                                       \
        {.name = "authorization",                                                                                      \
         .type = CONF_SECTION,                                                                                         \
         .offset = offsetof(owner, member.authorization),                                                              \
         .table = &access_authorization_table,                                                                         \
         .help = "Authorization header to send, with a token for instance."},                                          \
        {.name = "bearer_token",                                                                                       \
         .type = CONF_REFUSED,                                                                                         \
         .help = "secrets are read from files: use authorization.credentials_file"},                                   \
        {.name = "bearer_token_file",                                                                                  \
         .type = CONF_REFUSED,                                                                                         \
         .help = "an old key of Prometheus: use authorization.credentials_file"},                                      \
        {.name = "oauth2",                                                                                             \
         .type = CONF_REFUSED,                                                                                         \
         .help = "not in this version; use authorization.credentials_file with a token that is renewed"},              \
        ACCESS_CONNECTION_OPTIONS(owner, member.tls)

/* Of these, what says how to reach the other end and not who we are: `member` is a struct access_tls. */
#define ACCESS_CONNECTION_OPTIONS(owner, member)                                                                       \
    {.name = "tls_config",                                                                                             \
     .type = CONF_SECTION,                                                                                             \
     .offset = offsetof(owner, member),                                                                                \
     .table = &access_tls_table,                                                                                       \
     .help = "Certificates for https."},                                                                               \
        {.name = "proxy_url",                                                                                          \
         .type = CONF_REFUSED,                                                                                         \
         .help = "there are no proxies: run a secondary where it can be reached"},                                     \
        {.name = "follow_redirects",                                                                                   \
         .type = CONF_REFUSED,                                                                                         \
         .help = "redirects are not followed: name the page's own address"},                                           \
    {                                                                                                                  \
        .name = "enable_http2", .type = CONF_REFUSED, .help = "HTTP/1.1 is spoken"                                     \
    }

/* 0, or where basic_auth and authorization are both given an error at the latter. For a table's check. */
void access_check(struct conf *conf, const struct conf_node *node, const struct access *access);
