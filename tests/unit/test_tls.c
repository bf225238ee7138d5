/* TLS both ways: who is believed, who is refused. Keys and certificates are made anew for each run. */
#include "http_world.h"

#include "base/file.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { CA, FOREIGN_CA, SERVER, CLIENT, FOREIGN_CLIENT, SERVER_AS_CLIENT, ISSUED };

struct issue {
    const char *name;
    int issuer; /* itself: an authority */
    const char *purpose;
};

static const struct issue issues[ISSUED] = {
    [CA] = {"test authority", CA, NULL},
    [FOREIGN_CA] = {"test authority", FOREIGN_CA, NULL}, /* the same name, another key */
    [SERVER] = {"tributary.test", CA, GNUTLS_KP_TLS_WWW_SERVER},
    [CLIENT] = {"rack-7", CA, GNUTLS_KP_TLS_WWW_CLIENT},
    [FOREIGN_CLIENT] = {"rack-7", FOREIGN_CA, GNUTLS_KP_TLS_WWW_CLIENT},
    [SERVER_AS_CLIENT] = {"rack-7", CA, GNUTLS_KP_TLS_WWW_SERVER},
};

struct papers {
    char *dir, *cert[ISSUED], *key[ISSUED];
    gnutls_x509_crt_t certs[ISSUED];
    gnutls_x509_privkey_t keys[ISSUED];
};

#define OK(call) assert_int_equal(call, GNUTLS_E_SUCCESS)

static void save(const char *path, const gnutls_datum_t *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text->data, 1, text->size, file), text->size);
    fclose(file);
}

static void issue(struct papers *papers, int which)
{
    const struct issue *what = &issues[which];
    bool authority = what->issuer == which;
    gnutls_x509_crt_t cert;
    gnutls_x509_privkey_t key;
    OK(gnutls_x509_privkey_init(&key));
    OK(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
    OK(gnutls_x509_crt_init(&cert));
    papers->certs[which] = cert;
    papers->keys[which] = key;
    time_t now_s = clock_wall_ms(clock_real()) / 1000;
    unsigned char serial = (unsigned char)(which + 1);
    OK(gnutls_x509_crt_set_version(cert, 3));
    OK(gnutls_x509_crt_set_serial(cert, &serial, 1));
    OK(gnutls_x509_crt_set_activation_time(cert, now_s - 86400));
    OK(gnutls_x509_crt_set_expiration_time(cert, now_s + 86400));
    OK(gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, what->name, (unsigned)strlen(what->name)));
    OK(gnutls_x509_crt_set_key(cert, key));
    OK(gnutls_x509_crt_set_basic_constraints(cert, authority, -1));
    OK(gnutls_x509_crt_set_key_usage(cert, authority ? GNUTLS_KEY_KEY_CERT_SIGN : GNUTLS_KEY_DIGITAL_SIGNATURE));
    if (what->purpose) {
        OK(gnutls_x509_crt_set_key_purpose_oid(cert, what->purpose, 0));
        OK(gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, what->name, (unsigned)strlen(what->name),
                                                GNUTLS_FSAN_SET));
    }
    OK(gnutls_x509_crt_sign2(cert, papers->certs[what->issuer], papers->keys[what->issuer], GNUTLS_DIG_SHA256, 0));
    gnutls_datum_t text;
    papers->cert[which] = mem_printf("%s/%d.crt", papers->dir, which);
    papers->key[which] = mem_printf("%s/%d.key", papers->dir, which);
    OK(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &text));
    save(papers->cert[which], &text);
    gnutls_free(text.data);
    OK(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &text));
    save(papers->key[which], &text);
    gnutls_free(text.data);
}

static int setup(void **state)
{
    struct papers *papers = mem_zalloc(sizeof(*papers));
    papers->dir = mem_strdup("/tmp/test_tls_XXXXXX");
    assert_non_null(mkdtemp(papers->dir));
    for (int i = 0; i < ISSUED; i++)
        issue(papers, i);
    *state = papers;
    return 0;
}

static int teardown(void **state)
{
    struct papers *papers = *state;
    for (int i = 0; i < ISSUED; i++) {
        unlink(papers->cert[i]);
        unlink(papers->key[i]);
        mem_free(papers->cert[i]);
        mem_free(papers->key[i]);
        gnutls_x509_crt_deinit(papers->certs[i]);
        gnutls_x509_privkey_deinit(papers->keys[i]);
    }
    rmdir(papers->dir);
    mem_free(papers->dir);
    mem_free(papers);
    return 0;
}

static void serve_who(void *context, struct http_exchange *exchange)
{
    (void)context;
    struct str name = http_exchange_certificate(exchange);
    http_exchange_answer_text(exchange, 200, "%s" STR_FMT, name.ptr ? "certificate of " : "no certificate",
                              STR_ARG(name));
}

static const struct http_route routes[] = {
    {"GET", "/who", serve_who, 0, 0}, {"POST", "/who", serve_who, 0, 100000}, {NULL, NULL, NULL, 0, 0}};

static void start(struct http_world *world, const struct papers *papers, bool mutual)
{
    struct http_server_options options = world_server_options();
    options.cert_file = papers->cert[SERVER];
    options.key_file = papers->key[SERVER];
    options.client_ca_file = mutual ? papers->cert[CA] : NULL;
    world_init(world, &options, routes, NULL);
}

static void fetch(struct http_world *world, const struct http_tls *tls, const char *method, struct http_reply *reply)
{
    static char body[50000];
    char url[64];
    snprintf(url, sizeof(url), "https://127.0.0.1:%u/who", http_server_port(world->server));
    struct http_request_spec spec = world_get(url);
    spec.method = method;
    spec.body = body;
    spec.body_len = strcmp(method, "POST") == 0 ? sizeof(body) : 0;
    spec.tls = tls;
    world_fetch(world, &spec, reply);
}

static struct http_tls tls_of(const struct papers *papers, int ca, int client)
{
    return (struct http_tls){.ca_file = papers->cert[ca],
                             .server_name = "tributary.test",
                             .cert_file = client < ISSUED ? papers->cert[client] : NULL,
                             .key_file = client < ISSUED ? papers->key[client] : NULL};
}

static void expect_tls_failure(struct http_world *world, const struct http_tls *tls)
{
    struct http_reply reply;
    fetch(world, tls, "GET", &reply);
    assert_string_equal(http_failure_name(reply.failure), "tls");
    assert_true(reply.reason[0] != '\0');
    reply_done(&reply);
}

static void a_client_believes_only_its_authority_and_the_right_name(void **state)
{
    struct papers *papers = *state;
    struct http_world world;
    struct http_reply reply;
    start(&world, papers, false);
    struct http_tls tls = tls_of(papers, CA, ISSUED);
    fetch(&world, &tls, "GET", &reply);
    assert_string_equal(reply.reason, "");
    assert_string_equal(reply.body, "no certificate");
    reply_done(&reply);
    tls.server_name = NULL; /* the certificate is not 127.0.0.1's */
    expect_tls_failure(&world, &tls);
    tls.server_name = "other.test";
    expect_tls_failure(&world, &tls);
    tls = tls_of(papers, FOREIGN_CA, ISSUED);
    expect_tls_failure(&world, &tls);
    tls.insecure_skip_verify = true;
    fetch(&world, &tls, "GET", &reply);
    assert_int_equal(reply.status, 200);
    reply_done(&reply);
    expect_tls_failure(&world, NULL); /* the system's authorities do not know it */
    world_done(&world);
}

static void a_server_that_requires_a_certificate_lets_in_only_its_own(void **state)
{
    struct papers *papers = *state;
    static const int refused[] = {ISSUED, FOREIGN_CLIENT, SERVER_AS_CLIENT};
    struct http_world world;
    struct http_reply reply;
    start(&world, papers, true);
    struct http_tls mine = tls_of(papers, CA, CLIENT);
    for (int round = 0; round < 2; round++) { /* the second time on the kept connection */
        fetch(&world, &mine, "POST", &reply);
        assert_int_equal(reply.status, 200);
        assert_string_equal(reply.body, "certificate of rack-7");
        reply_done(&reply);
    }
    struct http_tls others[ARRAY_LEN(refused)];
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        others[i] = tls_of(papers, CA, refused[i]);
        fetch(&world, &others[i], i % 2 ? "GET" : "POST", &reply);
        assert_true(reply.status == 403 || reply.failure == HTTP_TLS || reply.failure == HTTP_BROKEN);
        if (refused[i] == ISSUED) /* the handshake lets it through: found out by the server itself */
            assert_int_equal(reply.status, 403);
        reply_done(&reply);
    }
    world_done(&world);
}

static struct http_tls as_text(const struct http_tls *tls, struct buf texts[3])
{
    const char *const paths[] = {tls->ca_file, tls->cert_file, tls->key_file};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        texts[i] = BUF_INIT(64 * KIB);
        if (paths[i])
            assert_int_equal(file_read_whole(file_system_real(), paths[i], &texts[i]), 0);
        buf_append_byte(&texts[i], '\0');
    }
    return (struct http_tls){.ca_pem = tls->ca_file ? (const char *)texts[0].data : NULL,
                             .cert_pem = tls->cert_file ? (const char *)texts[1].data : NULL,
                             .key_pem = tls->key_file ? (const char *)texts[2].data : NULL,
                             .server_name = tls->server_name};
}

static void certificates_as_text_are_as_good_as_files(void **state)
{
    struct papers *papers = *state;
    static const struct {
        int ca, client, status; /* 0: TLS fails */
    } cases[] = {{CA, CLIENT, 200}, {FOREIGN_CA, CLIENT, 0}, {CA, ISSUED, 403}, {CA, CLIENT, 200}};
    struct http_world world;
    start(&world, papers, true);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf texts[3];
        struct http_reply reply;
        struct http_tls files = tls_of(papers, cases[i].ca, cases[i].client), tls = as_text(&files, texts);
        fetch(&world, &tls, "POST", &reply);
        assert_int_equal(reply.status, cases[i].status);
        assert_string_equal(http_failure_name(reply.failure), cases[i].status ? "ok" : "tls");
        reply_done(&reply);
        for (size_t j = 0; j < ARRAY_LEN(texts); j++)
            buf_done(&texts[j]);
    }
    struct http_tls nonsense = {.ca_pem = "no certificate", .server_name = "tributary.test"};
    expect_tls_failure(&world, &nonsense);
    nonsense.ca_pem = ""; /* an empty list believes nobody */
    expect_tls_failure(&world, &nonsense);
    world_done(&world);
}

static void unsound_tls_files_are_refused(void **state)
{
    struct papers *papers = *state;
    struct http_world world;
    world_init(&world, NULL, NULL, NULL);
    struct http_server_options options = world_server_options();
    struct http_server *server = NULL;
    options.cert_file = papers->cert[SERVER];
    assert_int_equal(http_server_new(world.loop, NULL, NULL, &options, routes, NULL, &server), -EINVAL);
    options.key_file = "/nonexistent/key";
    assert_int_equal(http_server_new(world.loop, NULL, NULL, &options, routes, NULL, &server), -ENOENT);
    options.key_file = papers->key[CLIENT]; /* another certificate's */
    assert_int_equal(http_server_new(world.loop, NULL, NULL, &options, routes, NULL, &server), -EINVAL);
    options.key_file = papers->cert[SERVER]; /* no key at all */
    assert_int_equal(http_server_new(world.loop, NULL, NULL, &options, routes, NULL, &server), -EINVAL);
    options.key_file = papers->key[SERVER];
    options.client_ca_file = papers->key[SERVER]; /* no certificate */
    assert_int_equal(http_server_new(world.loop, NULL, NULL, &options, routes, NULL, &server), -EINVAL);
    options.cert_file = options.key_file = NULL;
    options.client_ca_file = papers->cert[CA]; /* would promise what plain HTTP cannot hold */
    assert_int_equal(http_server_new(world.loop, NULL, NULL, &options, routes, NULL, &server), -EINVAL);
    assert_null(server);
    world_done(&world);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* as every daemon does: TLS has no MSG_NOSIGNAL */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_believes_only_its_authority_and_the_right_name),
        cmocka_unit_test(a_server_that_requires_a_certificate_lets_in_only_its_own),
        cmocka_unit_test(certificates_as_text_are_as_good_as_files),
        cmocka_unit_test(unsound_tls_files_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
