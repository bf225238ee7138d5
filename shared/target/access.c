#include "target/access.h"

#define REFUSED(name_text, reason)                                                                                     \
    {                                                                                                                  \
        .name = name_text, .type = CONF_REFUSED, .help = reason                                                        \
    }

static void check_tls(struct conf *conf, const struct conf_node *node, void *object)
{
    const struct access_tls *tls = object;
    if (!tls->cert_file != !tls->key_file && !conf_failed(conf_child(node, "cert_file")) &&
        !conf_failed(conf_child(node, "key_file")))
        conf_error(conf, node, "cert_file and key_file belong together");
}

#define INLINE_PEM "certificates and keys are read from files: use the key that ends with _file"

const struct conf_table access_tls_table = {
    .title = "tls_config",
    .struct_bytes = sizeof(struct access_tls),
    .check = check_tls,
    .options =
        (const struct conf_option[]){
            {.name = "ca_file",
             .type = CONF_FILE,
             .offset = offsetof(struct access_tls, ca_file),
             .help = "Certificates to trust (PEM) instead of the system's."},
            {.name = "cert_file",
             .type = CONF_FILE,
             .offset = offsetof(struct access_tls, cert_file),
             .help = "Certificate (PEM) to show to the other end."},
            {.name = "key_file",
             .type = CONF_FILE,
             .offset = offsetof(struct access_tls, key_file),
             .help = "Private key (PEM) of cert_file."},
            {.name = "server_name",
             .type = CONF_STRING,
             .offset = offsetof(struct access_tls, server_name),
             .min = 1,
             .max = 255,
             .help = "Name that the other end's certificate must carry, when it is not that of its address."},
            {.name = "insecure_skip_verify",
             .type = CONF_BOOL,
             .offset = offsetof(struct access_tls, insecure_skip_verify),
             .help = "Accept any certificate."},
            REFUSED("ca", INLINE_PEM),
            REFUSED("cert", INLINE_PEM),
            REFUSED("key", INLINE_PEM),
            REFUSED("min_version", "TLS 1.2 is the least, always"),
            REFUSED("max_version", "the newest TLS that both ends speak is used"),
            {0},
        },
};

const struct conf_table access_basic_auth_table = {
    .title = "basic_auth",
    .struct_bytes = sizeof(struct access_basic_auth),
    .options =
        (const struct conf_option[]){
            {.name = "username",
             .type = CONF_STRING,
             .offset = offsetof(struct access_basic_auth, username),
             .required = true,
             .min = 1,
             .max = 256,
             .help = "User name."},
            {.name = "password_file",
             .type = CONF_FILE,
             .offset = offsetof(struct access_basic_auth, password_file),
             .required = true,
             .help = "File with the password."},
            REFUSED("password", "secrets are read from files: use password_file"),
            REFUSED("username_file", "the name is no secret: use username"),
            {0},
        },
};

const struct conf_table access_authorization_table = {
    .title = "authorization",
    .struct_bytes = sizeof(struct access_authorization),
    .options =
        (const struct conf_option[]){
            {.name = "type",
             .type = CONF_STRING,
             .offset = offsetof(struct access_authorization, type),
             .fallback = "Bearer",
             .min = 1,
             .max = 64,
             .help = "First word of the Authorization header."},
            {.name = "credentials_file",
             .type = CONF_FILE,
             .offset = offsetof(struct access_authorization, credentials_file),
             .required = true,
             .help = "File with the rest of the header, a token for instance."},
            REFUSED("credentials", "secrets are read from files: use credentials_file"),
            {0},
        },
};

void access_check(struct conf *conf, const struct conf_node *node, const struct access *access)
{
    if (access->basic_auth.username && access->authorization.credentials_file)
        conf_error(conf, conf_child(node, "authorization"), "basic_auth and authorization exclude each other");
}
