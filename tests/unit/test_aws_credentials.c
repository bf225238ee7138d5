/* Where AWS credentials come from, in which order; how they are kept and renewed; what is said where there are none. */
#include "aws_world.h"

#include <errno.h>

#define HOME "/home/tributary"

struct heard {
    struct aws_world *world;
    unsigned times;
    int error;
    char reason[AWS_CREDENTIALS_REASON_MAX];
    char keys[512]; /* "access/secret/token" */
};

static void hear(void *arg, int error, const char *reason, const struct sigv4_credentials *credentials)
{
    struct heard *heard = arg;
    heard->times++;
    heard->error = error;
    assert_true((error != 0) == (reason[0] != '\0'));
    assert_true(!credentials == (error != 0));
    assert_null(strchr(reason, '\n'));
    snprintf(heard->reason, sizeof(heard->reason), "%s", reason);
    heard->keys[0] = '\0';
    if (credentials)
        snprintf(heard->keys, sizeof(heard->keys), "%s/%s/%s", credentials->access_key, credentials->secret_key,
                 credentials->session_token ? credentials->session_token : "");
}

static int setup(void **state)
{
    struct aws_world *world = mem_zalloc(sizeof(*world));
    aws_world_init(world);
    aws_world_set(world, "HOME", HOME);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    aws_world_done(*state);
    mem_free(*state);
    return 0;
}

static struct aws_credentials_options options_of(struct aws_world *world)
{
    return (struct aws_credentials_options){.loop = world->loop,
                                            .client = world->client,
                                            .fs = world->fs,
                                            .metadata = world->metadata,
                                            .environment = {aws_world_get, world},
                                            .region = "eu-west-1"};
}

static struct heard ask(struct aws_world *world, struct aws_credentials *credentials)
{
    struct heard heard = {0};
    aws_credentials_get(credentials, hear, &heard);
    assert_int_equal(heard.times, 0); /* never from inside */
    loop_advance(world->loop, 2 * AWS_CREDENTIALS_TIMEOUT_MS);
    assert_int_equal(heard.times, 1);
    return heard;
}

static void expect_kept(struct aws_world *world, struct aws_credentials *credentials, const char *keys)
{
    struct heard heard = ask(world, credentials);
    assert_string_equal(heard.reason, "");
    assert_string_equal(heard.keys, keys);
}

static void expect_keys(struct aws_world *world, const struct aws_credentials_options *options, const char *keys)
{
    CLEANUP(aws_credentials_freep) struct aws_credentials *credentials = aws_credentials_new(options);
    expect_kept(world, credentials, keys);
}

static void expect_error(struct aws_world *world, const struct aws_credentials_options *options, int error,
                         const char *reason)
{
    CLEANUP(aws_credentials_freep) struct aws_credentials *credentials = aws_credentials_new(options);
    struct heard heard = ask(world, credentials);
    if (!strstr(heard.reason, reason))
        assert_string_equal(heard.reason, reason);
    assert_int_equal(heard.error, error);
    assert_null(strstr(heard.reason, "HUSH")); /* all that must not be said has this in it */
}

/* ---- The places ---- */

/* All are set up; the first is taken away, one after the other. */
static void the_first_place_that_is_set_up_decides(void **state)
{
    struct aws_world *world = *state;
    struct aws_credentials_options options = options_of(world);
    options.access_key = "AK-options";
    options.secret_key_file = "/etc/secret";
    options.profile = "other";
    aws_world_file(world, "/etc/secret", "secret-options\nand what else stands there\n");
    aws_world_file(world, HOME "/.aws/credentials",
                   "[default]\naws_access_key_id = AK-default\naws_secret_access_key = secret-default\n"
                   "[other]\naws_access_key_id = AK-other\naws_secret_access_key = secret-other\n"
                   "aws_session_token = token-other\n");
    aws_world_file(world, "/var/run/token", "eyJ.token.HUSH\n");
    aws_world_set(world, "AWS_ACCESS_KEY_ID", "AK-environment");
    aws_world_set(world, "AWS_SECRET_ACCESS_KEY", "secret-environment");
    aws_world_set(world, "AWS_SESSION_TOKEN", "token-environment");
    aws_world_set(world, "AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token");
    aws_world_set(world, "AWS_ROLE_ARN", "arn:aws:iam::1:role/eks");
    aws_world_set(world, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/abc");
    expect_keys(world, &options, "AK-options/secret-options/");
    options.access_key = options.secret_key_file = NULL;
    expect_keys(world, &options, "AK-other/secret-other/token-other");
    options.profile = NULL;
    expect_keys(world, &options, "AK-environment/secret-environment/token-environment");
    aws_world_set(world, "AWS_ACCESS_KEY_ID", NULL);
    aws_world_set(world, "AWS_SECRET_ACCESS_KEY", "");
    expect_keys(world, &options, "AK-default/secret-default/");
    aws_world_set(world, "AWS_PROFILE", "other");
    expect_keys(world, &options, "AK-other/secret-other/token-other");
    aws_world_set(world, "AWS_PROFILE", NULL);
    assert_int_equal(file_unlink(world->fs, HOME "/.aws/credentials"), 0);
    expect_keys(world, &options, "AK-sts1/secret-sts1/token-of-sts1");
    aws_world_set(world, "AWS_WEB_IDENTITY_TOKEN_FILE", NULL);
    expect_keys(world, &options, "AK-container/secret-container/token-of-container");
    aws_world_set(world, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", NULL);
    expect_keys(world, &options, "AK-instance/secret-instance/token-of-instance");
}

static void a_place_that_is_set_up_wrong_is_an_error(void **state)
{
    struct aws_world *world = *state;
    struct aws_credentials_options options = options_of(world);
    options.access_key = "AK";
    expect_error(world, &options, -EINVAL, "access_key without secret_key_file");
    options.secret_key_file = "/nowhere";
    expect_error(world, &options, -ENOENT, "/nowhere");
    options.secret_key_file = "/two-words";
    aws_world_file(world, "/two-words", "a HUSH\n");
    expect_error(world, &options, -EINVAL, "/two-words: its keys are no keys");
    aws_world_file(world, "/two-words", "\n");
    expect_error(world, &options, -EINVAL, "/two-words: its keys are no keys");
    options = options_of(world);
    options.profile = "absent";
    expect_error(world, &options, -ENOENT, "profile absent has no keys and no role in " HOME "/.aws/credentials");
    options.profile = NULL;
    aws_world_set(world, "AWS_PROFILE", "absent");
    expect_error(world, &options, -ENOENT, "profile absent");
    aws_world_set(world, "AWS_ACCESS_KEY_ID", "AK");
    expect_error(world, &options, -EINVAL, "AWS_SECRET_ACCESS_KEY only one is set");
    aws_world_set(world, "AWS_ACCESS_KEY_ID", NULL);
    aws_world_set(world, "AWS_PROFILE", NULL);
    aws_world_set(world, "AWS_WEB_IDENTITY_TOKEN_FILE", "/token");
    expect_error(world, &options, -EINVAL, "AWS_WEB_IDENTITY_TOKEN_FILE without AWS_ROLE_ARN");
    aws_world_set(world, "AWS_ROLE_ARN", "arn:role");
    expect_error(world, &options, -ENOENT, "web identity /token: No such file");
    aws_world_file(world, "/token", "\n");
    expect_error(world, &options, -EINVAL, "web identity /token: the file is empty");
}

static void all_places_looked_at_are_named(void **state)
{
    struct aws_world *world = *state;
    const struct aws_credentials_options options = options_of(world);
    world->roles.status = 404;
    expect_error(world, &options, -ENOENT,
                 "no AWS credentials: not in the environment (AWS_ACCESS_KEY_ID), not in profile default of " HOME
                 "/.aws/credentials and " HOME "/.aws/config, no web identity (AWS_WEB_IDENTITY_TOKEN_FILE), no "
                 "container endpoint (AWS_CONTAINER_CREDENTIALS_FULL_URI), and the instance's metadata: the instance "
                 "has no role");
    aws_world_set(world, "HOME", NULL);
    aws_world_set(world, "AWS_EC2_METADATA_DISABLED", "true");
    expect_error(world, &options, -EACCES, "~/.aws/credentials (HOME is not set)");
    expect_error(world, &options, -EACCES, "metadata: not to be asked (AWS_EC2_METADATA_DISABLED)");
}

/* ---- Profiles ---- */

static void files_stand_where_the_environment_says(void **state)
{
    struct aws_world *world = *state;
    const struct aws_credentials_options options = options_of(world);
    aws_world_set(world, "AWS_SHARED_CREDENTIALS_FILE", "/a/keys");
    aws_world_set(world, "AWS_CONFIG_FILE", "/a/config");
    aws_world_file(world, "/a/config",
                   "[default]\naws_access_key_id = AK-config\naws_secret_access_key = secret-config\n");
    expect_keys(world, &options, "AK-config/secret-config/");
    aws_world_file(world, "/a/keys", "[default]\naws_access_key_id=AK-keys\naws_secret_access_key=secret-keys\n");
    expect_keys(world, &options, "AK-keys/secret-keys/");
    aws_world_file(world, "/a/keys", "[default]\naws_access_key_id=AK\nHUSH\n");
    expect_error(world, &options, -EINVAL, "/a/keys, line 3");
    aws_world_file(world, "/a/keys", "[default]\naws_access_key_id=A K HUSH\naws_secret_access_key=x\n");
    expect_error(world, &options, -EINVAL, "profile default: ");
    aws_world_file(world, "/a/keys", "[default]\naws_secret_access_key=HUSH\n");
    aws_world_file(world, "/a/config", "");
    expect_error(world, &options, -EINVAL, "has only one of aws_access_key_id and aws_secret_access_key");
    CLEANUP_FREE char *large = mem_zalloc(AWS_CREDENTIALS_FILE_MAX + 2);
    memset(large, '#', AWS_CREDENTIALS_FILE_MAX + 1);
    aws_world_file(world, "/a/keys", large);
    expect_error(world, &options, -EFBIG, "/a/keys: File too large");
}

static void a_profile_may_name_a_role_and_whose_keys_take_it(void **state)
{
    struct aws_world *world = *state;
    struct aws_credentials_options options = options_of(world);
    options.profile = "prod";
    aws_world_file(world, HOME "/.aws/credentials",
                   "[base]\naws_access_key_id = AK-base\naws_secret_access_key = secret-base\n");
    aws_world_file(world, HOME "/.aws/config",
                   "[profile prod]\nrole_arn = arn:aws:iam::1:role/prod\nsource_profile = base\nexternal_id = x-7\n"
                   "role_session_name = watcher\n");
    world->sts_secret = "secret-base";
    expect_keys(world, &options, "AK-sts1/secret-sts1/token-of-sts1");
    assert_true(world->sts_signed);
    assert_string_equal(world->sts.seen, "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2F"
                                         "prod&RoleSessionName=watcher&ExternalId=x-7");
    /* The role of the options is assumed with what the first gives. */
    options.role_arn = "arn:aws:iam::2:role/second";
    world->sts_secret = "secret-sts2";
    world->sts_token = "token-of-sts2";
    expect_keys(world, &options, "AK-sts3/secret-sts3/token-of-sts3");
    assert_true(world->sts_signed);
    assert_non_null(strstr(world->sts.seen, "role%2Fsecond&RoleSessionName=watcher"));
    assert_null(strstr(world->sts.seen, "ExternalId"));
}

static void a_role_may_be_taken_with_the_keys_of_another_place(void **state)
{
    struct aws_world *world = *state;
    struct aws_credentials_options options = options_of(world);
    options.profile = "prod";
    world->sts_secret = "secret-instance";
    world->sts_token = "token-of-instance";
    aws_world_file(world, HOME "/.aws/config",
                   "[profile prod]\nrole_arn = arn:r\ncredential_source = Ec2InstanceMetadata\n");
    expect_keys(world, &options, "AK-sts1/secret-sts1/token-of-sts1");
    assert_true(world->sts_signed);
    aws_world_set(world, "AWS_ACCESS_KEY_ID", "AK-environment");
    aws_world_set(world, "AWS_SECRET_ACCESS_KEY", "secret-environment");
    world->sts_secret = "secret-environment";
    world->sts_token = NULL;
    aws_world_file(world, HOME "/.aws/config", "[profile prod]\nrole_arn = arn:r\ncredential_source = Environment\n");
    expect_keys(world, &options, "AK-sts2/secret-sts2/token-of-sts2");
    assert_true(world->sts_signed);
    aws_world_file(world, "/token", "eyJ.HUSH");
    aws_world_file(world, HOME "/.aws/config", "[profile prod]\nrole_arn = arn:r\nweb_identity_token_file = /token\n");
    expect_keys(world, &options, "AK-sts3/secret-sts3/token-of-sts3");
    assert_string_equal(world->sts.seen, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Ar&"
                                         "RoleSessionName=tributary&WebIdentityToken=eyJ.HUSH");
    assert_string_equal(world->sts.authorization, "");
}

static void profiles_that_cannot_be_used_say_why(void **state)
{
    static const struct {
        const char *lines, *reason;
    } cases[] = {
        {"role_arn = a", "role_arn needs source_profile"},
        {"role_arn = a\nsource_profile = nobody", "source_profile nobody has no keys"},
        {"role_arn = a\nsource_profile = p\nmfa_serial = x", "mfa_serial needs a person"},
        {"role_arn = a\ncredential_source = Moon", "credential_source Moon is unknown"},
        {"role_arn = a\ncredential_source = EcsContainer", "credential_source EcsContainer is not set up"},
        {"credential_process = /bin/secrets", "credential_process is not supported"},
        {"sso_session = x", "sso_session is not supported"},
        {"sso_start_url = x", "sso_start_url is not supported"},
    };
    struct aws_world *world = *state;
    struct aws_credentials_options options = options_of(world);
    options.profile = "p";
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[256];
        snprintf(text, sizeof(text), "[profile p]\n%s\n", cases[i].lines);
        aws_world_file(world, HOME "/.aws/config", text);
        expect_error(world, &options, -EINVAL, cases[i].reason);
        expect_error(world, &options, -EINVAL, "profile p: ");
    }
    aws_world_file(world, HOME "/.aws/config", "[profile p]\nregion = eu-west-1\n");
    expect_error(world, &options, -ENOENT, "profile p has no keys and no role");
    options.profile = NULL; /* the default profile may hold a region only, as it often does */
    aws_world_file(world, HOME "/.aws/config", "[default]\nregion = eu-west-1\n");
    expect_keys(world, &options, "AK-instance/secret-instance/token-of-instance");
}

/* ---- Container endpoints ---- */

static void a_container_endpoint_is_asked_with_its_token(void **state)
{
    struct aws_world *world = *state;
    const struct aws_credentials_options options = options_of(world);
    aws_world_set(world, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/abc");
    expect_keys(world, &options, "AK-container/secret-container/token-of-container");
    assert_string_equal(world->container.authorization, "");
    aws_world_set(world, "AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic one");
    expect_keys(world, &options, "AK-container/secret-container/token-of-container");
    assert_string_equal(world->container.authorization, "Basic one");
    aws_world_set(world, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/var/token");
    expect_error(world, &options, -ENOENT, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE cannot be read");
    aws_world_file(world, "/var/token", "Basic two\r\n");
    expect_keys(world, &options, "AK-container/secret-container/token-of-container");
    assert_string_equal(world->container.authorization, "Basic two");
    aws_world_file(world, "/var/token", "HUSH\r\nX-Other: header");
    expect_error(world, &options, -EINVAL, "makes no sense");
}

static void keys_are_not_sent_in_the_clear(void **state)
{
    static const struct {
        const char *url;
        bool allowed;
    } cases[] = {
        {"http://127.0.0.1/x", true},
        {"http://127.9.8.7:80/x", true},
        {"http://localhost:80/x", true},
        {"http://[::1]/x", true},
        {"http://169.254.170.23/x", true},
        {"http://[fd00:ec2::23]:80/x", true},
        {"https://elsewhere.test/x", true},
        {"http://elsewhere.test/x", false},
        {"http://10.0.0.1/x", false},
        {"http://127.0.0.1.elsewhere.test/x", false},
        {"http://127.0.0.1@elsewhere/", false},
        {"http://localhost.test/", false},
        {"http://[::1].test/", false},
        {"ftp://localhost/", false},
        {"http://", false},
        {"nonsense", false},
    };
    struct aws_world *world = *state;
    const struct aws_credentials_options options = options_of(world);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        aws_world_set(world, "AWS_CONTAINER_CREDENTIALS_FULL_URI", cases[i].url);
        CLEANUP(aws_credentials_freep) struct aws_credentials *credentials = aws_credentials_new(&options);
        struct heard heard = ask(world, credentials);
        bool refused = strstr(heard.reason, "must be https") != NULL;
        if (refused == cases[i].allowed)
            print_error("%s: %s\n", cases[i].url, heard.reason);
        assert_int_equal(refused, !cases[i].allowed);
        assert_int_not_equal(heard.error, 0); /* nobody is there */
    }
    aws_world_set(world, "AWS_CONTAINER_CREDENTIALS_FULL_URI", NULL);
    aws_world_set(world, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@elsewhere.test/");
    expect_error(world, &options, -EINVAL, "must begin with /");
}

/* ---- Answers that are none ---- */

static void answers_that_are_none_are_refused(void **state)
{
    static const struct {
        int status;
        const char *body;
        int error;
        const char *reason;
    } cases[] = {
        {500, "HUSH", -EIO, "HTTP status 500"},
        {403, "HUSH", -EACCES, "HTTP status 403"},
        {200, "<html>HUSH</html>", -EIO, "no JSON object"},
        {200, "[]", -EIO, "no JSON object"},
        {200, "", -EIO, "no JSON object"},
        {200, "{\"AccessKeyId\":\"A\"", -EIO, "no JSON object"},
        {200, "{}", -EIO, "no sound AccessKeyId"},
        {200, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":7}", -EIO, "no sound AccessKeyId"},
        {200, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"SE CRET\"}", -EIO, "no sound AccessKeyId"},
        {200, "{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"Message\":\"HUSH\"}", -EIO,
         "the answer says AssumeRoleUnauthorizedAccess"},
        {200, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"HUSH\",\"Expiration\":\"soon\"}", -EIO, "is no time"},
        {200, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"HUSH\",\"Expiration\":\"2029-12-31T23:59:59Z\"}", -EIO,
         "over already"},
    };
    struct aws_world *world = *state;
    const struct aws_credentials_options options = options_of(world);
    for (int container = 0; container < 2; container++) {
        if (container)
            aws_world_set(world, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/abc");
        struct aws_service *service = container ? &world->container : &world->keys;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            service->status = cases[i].status;
            service->body = cases[i].body;
            expect_error(world, &options, cases[i].error, cases[i].reason);
            expect_error(world, &options, cases[i].error, container ? "container" : "metadata");
        }
        CLEANUP_FREE char *large = mem_zalloc(2 * MIB);
        memset(large, '[', 2 * MIB - 1);
        service->body = large;
        service->status = 200;
        expect_error(world, &options, -EIO, "larger");
        large[AWS_CREDENTIALS_BYTES_MAX] = '\0'; /* as deep as it may be long */
        expect_error(world, &options, -EIO, "no JSON object");
    }
}

static void roles_of_an_instance_that_are_none_are_refused(void **state)
{
    struct aws_world *world = *state;
    const struct aws_credentials_options options = options_of(world);
    world->roles.body = "";
    expect_error(world, &options, -ENOENT, "the instance has no role");
    world->roles.body = "../../../user-data";
    expect_error(world, &options, -EIO, "no role's name");
    world->roles.body = "a b";
    expect_error(world, &options, -EINVAL, "metadata");
    world->roles.body = "x";
    world->roles.status = 500;
    expect_error(world, &options, -EIO, "HTTP status 500");
    const struct network_link lost = {.lose_request = 1};
    network_set_link(world->network, NULL, NULL, &lost);
    expect_error(world, &options, -EIO, "no answer in time");
}

static void sts_is_not_believed_blindly(void **state)
{
#define KEYS(text)                                                                                                     \
    "<AssumeRoleResponse><AssumeRoleResult><Credentials>" text "</Credentials></AssumeRoleResult></"                   \
    "AssumeRoleResponse>"
    static const char denied[] =
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>"
        "AccessDenied</Code><Message>User: arn:aws:iam::1:user/a is not authorized\n\nThe Canonical String was HUSH"
        "</Message></Error><RequestId>1</RequestId></ErrorResponse>";
    static const struct {
        int status;
        const char *body;
        int error;
        const char *reason;
    } cases[] = {
        {403, denied, -EACCES, "HTTP status 403, AccessDenied: User: arn:aws:iam::1:user/a is not authorized"},
        {400, "<html>HUSH", -EACCES, "HTTP status 400"},
        {429, "", -EIO, "HTTP status 429"},
        {503, denied, -EIO, "HTTP status 503, AccessDenied"},
        {200, denied, -EIO, "no sound Expiration"},
        {200, "{\"HUSH\": 1}", -EIO, "no XML of its kind"},
        {200, "", -EIO, "no XML of its kind"},
        {200, KEYS("<AccessKeyId>A</AccessKeyId>"), -EIO, "no sound Expiration"},
        {200, KEYS("<Expiration>2030-01-01T01:00:00Z</Expiration>"), -EIO, "no sound credentials"},
        {200,
         KEYS("<AccessKeyId>A</AccessKeyId><SecretAccessKey>HUSH</SecretAccessKey>"
              "<Expiration>2030-01-01T01:00:00Z</Expiration>"),
         -EIO, "no sound credentials"},
        {200,
         KEYS("<AccessKeyId>A</AccessKeyId><SecretAccessKey>HUSH</SecretAccessKey><SessionToken>HUSH</SessionToken>"
              "<Expiration>2029-01-01T01:00:00Z</Expiration>"),
         -EIO, "over already"},
    };
    struct aws_world *world = *state;
    struct aws_credentials_options options = options_of(world);
    options.role_arn = "arn:aws:iam::1:role/r";
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        world->sts.status = cases[i].status;
        world->sts.body = cases[i].body;
        expect_error(world, &options, cases[i].error, cases[i].reason);
        expect_error(world, &options, cases[i].error,
                     "STS at https://sts.eu-west-1.amazonaws.com does not let the instance's metadata assume "
                     "arn:aws:iam::1:role/r: ");
    }
}

static void sts_is_where_region_or_environment_say(void **state)
{
    static const struct {
        const char *region, *variable, *listen;
    } cases[] = {
        {"us-west-2", NULL, "sts.us-west-2.amazonaws.com:443"},
        {"cn-north-1", NULL, "sts.cn-north-1.amazonaws.com.cn:443"},
        {NULL, "ap-south-1", "sts.ap-south-1.amazonaws.com:443"},
        {NULL, NULL, "sts.us-east-1.amazonaws.com:443"},
    };
    static const struct http_route routes[] = {{"POST", "/", aws_serve_sts, 0, 100000}, {NULL, NULL, NULL, 0, 0}};
    struct aws_world *world = *state;
    struct aws_credentials_options options = options_of(world);
    options.role_arn = "arn:r";
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        http_server_free(world->sts_server);
        world->sts_server = aws_world_serve(world, cases[i].listen, routes);
        aws_world_set(world, "AWS_REGION", cases[i].variable);
        options.region = cases[i].region;
        CLEANUP(aws_credentials_freep) struct aws_credentials *credentials = aws_credentials_new(&options);
        assert_int_equal(ask(world, credentials).error, 0);
    }
    http_server_free(world->sts_server);
    world->sts_server = aws_world_serve(world, "127.0.0.1:4566", routes);
    expect_error(world, &options, -EIO, "STS at https://sts.us-east-1.amazonaws.com");
    aws_world_set(world, "AWS_ENDPOINT_URL_STS", "http://127.0.0.1:4566");
    CLEANUP(aws_credentials_freep) struct aws_credentials *credentials = aws_credentials_new(&options);
    assert_int_equal(ask(world, credentials).error, 0);
    aws_world_set(world, "AWS_ENDPOINT_URL_STS", "not a URL");
    expect_error(world, &options, -EINVAL, "STS at not a URL");
}

/* ---- Kept and renewed ---- */

static void what_was_found_is_kept_until_shortly_before_it_ends(void **state)
{
    struct aws_world *world = *state;
    const struct aws_credentials_options options = options_of(world);
    CLEANUP(aws_credentials_freep) struct aws_credentials *credentials = aws_credentials_new(&options);
    struct heard heard[10] = {{0}};
    for (size_t i = 0; i < ARRAY_LEN(heard); i++)
        aws_credentials_get(credentials, hear, &heard[i]);
    loop_advance(world->loop, 1000);
    for (size_t i = 0; i < ARRAY_LEN(heard); i++)
        assert_int_equal(heard[i].times, 1);
    assert_int_equal(world->keys.requests, 1);
    loop_advance(world->loop, 50 * 60 * 1000);
    expect_kept(world, credentials, "AK-instance/secret-instance/token-of-instance");
    assert_int_equal(world->keys.requests, 1);
    loop_advance(world->loop, 5 * 60 * 1000); /* within five minutes of the end */
    expect_kept(world, credentials, "AK-instance/secret-instance/token-of-instance");
    assert_int_equal(world->keys.requests, 2);
}

static void what_is_not_over_yet_serves_on_where_renewal_fails(void **state)
{
    struct aws_world *world = *state;
    struct aws_credentials_options options = options_of(world);
    options.role_arn = "arn:r";
    CLEANUP(aws_credentials_freep) struct aws_credentials *credentials = aws_credentials_new(&options);
    expect_kept(world, credentials, "AK-sts1/secret-sts1/token-of-sts1");
    world->sts.status = 503;
    world->sts.body = "";
    loop_advance(world->loop, 56 * 60 * 1000);
    expect_kept(world, credentials, "AK-sts1/secret-sts1/token-of-sts1");
    assert_int_equal(world->sts.requests, 2);
    loop_advance(world->loop, 4 * 60 * 1000);
    assert_int_equal(ask(world, credentials).error, -EIO);
    world->sts.status = 0;
    world->sts.body = NULL;
    expect_kept(world, credentials, "AK-sts4/secret-sts4/token-of-sts4");
}

static void what_was_refused_is_forgotten(void **state)
{
    struct aws_world *world = *state;
    struct aws_credentials_options options = options_of(world);
    options.role_arn = "arn:r";
    CLEANUP(aws_credentials_freep) struct aws_credentials *credentials = aws_credentials_new(&options);
    aws_credentials_forget(credentials); /* nothing yet */
    expect_kept(world, credentials, "AK-sts1/secret-sts1/token-of-sts1");
    aws_credentials_forget(credentials);
    expect_kept(world, credentials, "AK-sts2/secret-sts2/token-of-sts2");
    world->sts.status = 403;
    aws_credentials_forget(credentials);
    assert_int_equal(ask(world, credentials).error, -EACCES); /* and does not come back */
}

static void changed_files_count_at_once(void **state)
{
    struct aws_world *world = *state;
    struct aws_credentials_options options = options_of(world);
    options.role_arn = "arn:r";
    aws_world_file(world, HOME "/.aws/credentials", "[default]\naws_access_key_id=A\naws_secret_access_key=one\n");
    world->sts_secret = "one";
    CLEANUP(aws_credentials_freep) struct aws_credentials *credentials = aws_credentials_new(&options);
    expect_kept(world, credentials, "AK-sts1/secret-sts1/token-of-sts1");
    assert_true(world->sts_signed);
    expect_kept(world, credentials, "AK-sts1/secret-sts1/token-of-sts1");
    aws_world_file(world, HOME "/.aws/credentials", "[default]\naws_access_key_id=A\naws_secret_access_key=two\n");
    world->sts_secret = "two";
    expect_kept(world, credentials, "AK-sts2/secret-sts2/token-of-sts2");
    assert_true(world->sts_signed);
    aws_world_file(world, HOME "/.aws/credentials", "broken");
    assert_int_equal(file_unlink(world->fs, HOME "/.aws/credentials"), 0);
    world->roles.status = 404;
    assert_int_equal(ask(world, credentials).error, -ENOENT); /* no file, no keys: kept ones are not another's */
}

/* ---- Requests ---- */

struct busy {
    struct aws_credentials *credentials;
    struct aws_credentials_request *other;
    unsigned times;
    struct heard again;
};

static void act_inside(void *arg, int error, const char *reason, const struct sigv4_credentials *credentials)
{
    struct busy *busy = arg;
    assert_int_equal(error, 0);
    assert_string_equal(reason, "");
    busy->times++;
    aws_credentials_cancel(STEAL(busy->other));
    aws_credentials_forget(busy->credentials);
    aws_credentials_get(busy->credentials, hear, &busy->again);
    assert_string_equal(credentials->secret_key, "secret-instance"); /* still there */
}

static void a_callback_may_ask_cancel_and_forget(void **state)
{
    struct aws_world *world = *state;
    const struct aws_credentials_options options = options_of(world);
    struct heard cancelled = {0}, last = {0};
    CLEANUP(aws_credentials_freep) struct aws_credentials *credentials = aws_credentials_new(&options);
    struct busy busy = {.credentials = credentials};
    aws_credentials_get(credentials, act_inside, &busy);
    busy.other = aws_credentials_get(credentials, hear, &cancelled);
    aws_credentials_get(credentials, hear, &last);
    loop_advance(world->loop, 1000);
    assert_int_equal(busy.times, 1);
    assert_int_equal(cancelled.times, 0);
    assert_string_equal(last.keys, "AK-instance/secret-instance/token-of-instance");
    assert_string_equal(busy.again.keys, "AK-instance/secret-instance/token-of-instance");
    assert_int_equal(world->keys.requests, 2);
}

static void the_cancelled_hear_nothing(void **state)
{
    struct aws_world *world = *state;
    struct aws_credentials_options options = options_of(world);
    struct heard heard = {0};
    struct aws_credentials *credentials = aws_credentials_new(&options);
    aws_credentials_cancel(aws_credentials_get(credentials, hear, &heard));
    loop_advance(world->loop, 1000);
    assert_int_equal(world->tokens.requests, 0); /* nobody waits: nobody is asked */
    aws_credentials_get(credentials, hear, &heard);
    aws_credentials_free(credentials);
    /* In the middle of each exchange. */
    options.role_arn = "arn:r";
    const struct network_link slow = {.delay_ms = 100};
    network_set_link(world->network, NULL, NULL, &slow);
    for (int ms = 50; ms < 600; ms += 100) {
        credentials = aws_credentials_new(&options);
        aws_credentials_get(credentials, hear, &heard);
        loop_advance(world->loop, ms);
        aws_credentials_free(credentials);
        loop_advance(world->loop, 1000);
    }
    assert_int_equal(heard.times, 0);
}

static void too_many_are_refused(void **state)
{
    struct aws_world *world = *state;
    const struct aws_credentials_options options = options_of(world);
    CLEANUP(aws_credentials_freep) struct aws_credentials *credentials = aws_credentials_new(&options);
    struct heard heard = {0}, last = {0};
    for (int i = 0; i < AWS_CREDENTIALS_GETS_MAX; i++)
        aws_credentials_get(credentials, hear, &heard);
    aws_credentials_get(credentials, hear, &last);
    loop_advance(world->loop, 1000);
    assert_int_equal(heard.times, AWS_CREDENTIALS_GETS_MAX);
    assert_int_equal(heard.error, 0);
    assert_int_equal(last.error, -EAGAIN);
}

/* ---- Over real connections ---- */

static void hear_and_stop(void *arg, int error, const char *reason, const struct sigv4_credentials *credentials)
{
    struct heard *heard = arg;
    hear(arg, error, reason, credentials);
    loop_stop(heard->world->loop);
}

static void real_connections_carry_the_same(void **state)
{
    (void)state;
    static const struct http_route routes[] = {
        {"PUT", "/latest/api/token", aws_serve_token, 0, 100},
        {"GET", "/latest/meta-data/iam/security-credentials/", aws_serve_role, 0, 0},
        {"GET", "/latest/meta-data/iam/security-credentials/node-role", aws_serve_keys, 0, 0},
        {"POST", "/", aws_serve_sts, 0, 100000},
        {NULL, NULL, NULL, 0, 0}};
    const struct http_client_options client = {.name = "test", .shards = 1};
    struct aws_world world = {.clock = clock_real(), .lives_s = 3600, .loop = loop_new()};
    const struct aws_environment environment = {aws_world_get, &world};
    world.fs = file_system_memory_new(0);
    world.client = http_client_new(world.loop, NULL, &client);
    world.metadata_server = aws_world_serve(&world, "127.0.0.1:0", routes);
    world.metadata = aws_metadata_new(world.loop, world.client, &environment);
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", http_server_port(world.metadata_server));
    aws_world_set(&world, "AWS_EC2_METADATA_SERVICE_ENDPOINT", url);
    aws_world_set(&world, "AWS_ENDPOINT_URL_STS", url);
    struct aws_credentials_options options = options_of(&world);
    options.role_arn = "arn:r";
    struct heard heard = {.world = &world};
    struct aws_credentials *credentials = aws_credentials_new(&options);
    aws_credentials_get(credentials, hear_and_stop, &heard);
    while (heard.times == 0)
        loop_run(world.loop);
    assert_string_equal(heard.reason, "");
    assert_string_equal(heard.keys, "AK-sts1/secret-sts1/token-of-sts1");
    assert_string_equal(world.sts.token, "token-of-instance");
    aws_credentials_free(credentials);
    aws_world_done(&world);
}

int main(void)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_WORLD(the_first_place_that_is_set_up_decides),
        WITH_WORLD(a_place_that_is_set_up_wrong_is_an_error),
        WITH_WORLD(all_places_looked_at_are_named),
        WITH_WORLD(files_stand_where_the_environment_says),
        WITH_WORLD(a_profile_may_name_a_role_and_whose_keys_take_it),
        WITH_WORLD(a_role_may_be_taken_with_the_keys_of_another_place),
        WITH_WORLD(profiles_that_cannot_be_used_say_why),
        WITH_WORLD(a_container_endpoint_is_asked_with_its_token),
        WITH_WORLD(keys_are_not_sent_in_the_clear),
        WITH_WORLD(answers_that_are_none_are_refused),
        WITH_WORLD(roles_of_an_instance_that_are_none_are_refused),
        WITH_WORLD(sts_is_not_believed_blindly),
        WITH_WORLD(sts_is_where_region_or_environment_say),
        WITH_WORLD(what_was_found_is_kept_until_shortly_before_it_ends),
        WITH_WORLD(what_is_not_over_yet_serves_on_where_renewal_fails),
        WITH_WORLD(what_was_refused_is_forgotten),
        WITH_WORLD(changed_files_count_at_once),
        WITH_WORLD(a_callback_may_ask_cancel_and_forget),
        WITH_WORLD(the_cancelled_hear_nothing),
        WITH_WORLD(too_many_are_refused),
        cmocka_unit_test(real_connections_carry_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
