#pragma once
/* For tests: what AWS' clients find on a machine, on simulated time and network: an environment, files, the metadata
 * service, a container's endpoint, STS. */
#include "base/fail.h"
#include "base/file.h"
#include "net/aws_credentials.h"
#include "net/http_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define AWS_WORLD_VARIABLES 16
#define AWS_WORLD_START     "2030-01-01T00:00:00Z"

/* What a service does, and what it saw. */
struct aws_service {
    int status;        /* 0: 200 */
    const char *body;  /* NULL: its own */
    unsigned requests; /* whole ones */
    char seen[8192];   /* body of the last */
    char authorization[4096], token[4096];
};

struct aws_world {
    struct clock *clock;
    struct loop *loop;
    struct network *network;
    struct http_client *client;
    struct file_system *fs;
    struct aws_metadata *metadata;
    struct {
        const char *name, *value;
    } variables[AWS_WORLD_VARIABLES];

    struct http_server *metadata_server, *container_server, *sts_server;
    struct aws_service tokens, roles, keys, container, sts;
    const char *ttl;        /* of metadata tokens, in seconds; NULL: not said */
    unsigned tokens_made;   /* the newest one is "token-N"; only it is let in */
    bool refuse_tokens;     /* all of them */
    int64_t lives_s;        /* credentials that services give, from then on */
    const char *sts_secret; /* of the keys by which the next question to STS must be signed; NULL: any */
    const char *sts_token;  /* and their session token */
    bool sts_signed;        /* the last was */
};

static inline const char *aws_world_get(void *arg, const char *name)
{
    struct aws_world *world = arg;
    for (size_t i = 0; i < AWS_WORLD_VARIABLES; i++)
        if (world->variables[i].name && strcmp(world->variables[i].name, name) == 0)
            return world->variables[i].value;
    return NULL;
}

/* value NULL: not set any more. Texts must live as long as the world. */
static inline void aws_world_set(struct aws_world *world, const char *name, const char *value)
{
    for (size_t i = 0; i < AWS_WORLD_VARIABLES; i++) {
        if (world->variables[i].name && strcmp(world->variables[i].name, name) != 0)
            continue;
        world->variables[i].name = name;
        world->variables[i].value = value;
        return;
    }
    fail_msg("more variables than there is room for");
}

static inline void aws_world_file(struct aws_world *world, const char *path, const char *text)
{
    char dir[256];
    snprintf(dir, sizeof(dir), "%s", path);
    *strrchr(dir, '/') = '\0';
    if (dir[0])
        assert_int_equal(file_make_dirs(world->fs, dir), 0);
    assert_int_equal(file_write_whole(world->fs, path, text, strlen(text)), 0);
}

static inline void aws_world_until(struct aws_world *world, char ret_text[static 32])
{
    clock_format_rfc3339(clock_wall_ms(world->clock) + world->lives_s * 1000, ret_text);
}

/* ---- The services ---- */

static inline void aws_service_note(struct aws_service *service, struct http_exchange *exchange)
{
    service->requests++;
    snprintf(service->seen, sizeof(service->seen), STR_FMT, STR_ARG(http_exchange_body(exchange)));
    snprintf(service->authorization, sizeof(service->authorization), STR_FMT,
             STR_ARG(http_exchange_header(exchange, "Authorization")));
    snprintf(service->token, sizeof(service->token), STR_FMT,
             STR_ARG(http_exchange_header(exchange, "X-Amz-Security-Token")));
}

static inline void aws_service_answer(struct aws_service *service, struct http_exchange *exchange, const char *own)
{
    struct buf body = BUF_INIT(4 * MIB);
    buf_append_text(&body, service->body ? service->body : own);
    http_exchange_answer(exchange, service->status ? service->status : 200, "text/plain", &body);
}

static inline void aws_serve_token(void *context, struct http_exchange *exchange)
{
    struct aws_world *world = context;
    char text[32];
    aws_service_note(&world->tokens, exchange);
    struct str ttl = http_exchange_header(exchange, "X-aws-ec2-metadata-token-ttl-seconds");
    if (ttl.len == 0) {
        http_exchange_answer_text(exchange, 400, "a TTL is needed");
        return;
    }
    snprintf(text, sizeof(text), "token-%u", ++world->tokens_made);
    if (world->ttl)
        http_exchange_header_add(exchange, "X-Aws-Ec2-Metadata-Token-Ttl-Seconds", world->ttl);
    aws_service_answer(&world->tokens, exchange, text);
}

/* False: answered 401. */
static inline bool aws_metadata_lets_in(struct aws_world *world, struct http_exchange *exchange)
{
    char token[32];
    snprintf(token, sizeof(token), "token-%u", world->tokens_made);
    if (!world->refuse_tokens && str_equal(http_exchange_header(exchange, "X-aws-ec2-metadata-token"), str_from(token)))
        return true;
    http_exchange_answer_text(exchange, 401, "Unauthorized");
    return false;
}

static inline void aws_serve_role(void *context, struct http_exchange *exchange)
{
    struct aws_world *world = context;
    aws_service_note(&world->roles, exchange);
    if (aws_metadata_lets_in(world, exchange))
        aws_service_answer(&world->roles, exchange, "node-role\n");
}

static inline void aws_world_json(struct aws_world *world, const char *who, char *ret_text, size_t bytes)
{
    char until[32];
    aws_world_until(world, until);
    snprintf(ret_text, bytes,
             "{\"Code\":\"Success\",\"LastUpdated\":\"" AWS_WORLD_START "\",\"Type\":\"AWS-HMAC\","
             "\"AccessKeyId\":\"AK-%s\",\"SecretAccessKey\":\"secret-%s\",\"Token\":\"token-of-%s\","
             "\"Expiration\":\"%s\"}",
             who, who, who, until);
}

static inline void aws_serve_keys(void *context, struct http_exchange *exchange)
{
    struct aws_world *world = context;
    char text[512];
    aws_service_note(&world->keys, exchange);
    aws_world_json(world, "instance", text, sizeof(text));
    if (aws_metadata_lets_in(world, exchange))
        aws_service_answer(&world->keys, exchange, text);
}

static inline void aws_serve_container(void *context, struct http_exchange *exchange)
{
    struct aws_world *world = context;
    char text[512];
    aws_service_note(&world->container, exchange);
    aws_world_json(world, "container", text, sizeof(text));
    aws_service_answer(&world->container, exchange, text);
}

/* Does what came carry the signature that what came must have? */
static inline bool aws_world_is_signed(struct aws_world *world, struct http_exchange *exchange)
{
    char secret[64], access_key[64] = "", date[64], type[128], url[128];
    struct sigv4_headers headers = {0};
    const char *given = world->sts.authorization, *place = strstr(given, "Credential=");
    if (place)
        snprintf(access_key, sizeof(access_key), "%.*s", (int)strcspn(place + 11, "/"), place + 11);
    snprintf(secret, sizeof(secret), "%s", world->sts_secret ? world->sts_secret : "");
    snprintf(date, sizeof(date), STR_FMT, STR_ARG(http_exchange_header(exchange, "X-Amz-Date")));
    snprintf(type, sizeof(type), STR_FMT, STR_ARG(http_exchange_header(exchange, "Content-Type")));
    snprintf(url, sizeof(url), "https://sts.eu-west-1.amazonaws.com/");
    const struct http_header content = {"Content-Type", type};
    const struct sigv4_request request = {.method = "POST",
                                          .url = url,
                                          .headers = &content,
                                          .header_count = 1,
                                          .payload = http_exchange_body(exchange),
                                          .region = "eu-west-1",
                                          .service = "sts",
                                          .time_ms = clock_wall_ms(world->clock)};
    const struct sigv4_credentials keys = {access_key, secret, world->sts_token};
    if (sigv4_sign(&request, &keys, &headers) != 0)
        return false;
    const char *expected = headers.headers[headers.count - 1].value;
    bool same = strcmp(given, expected) == 0 && strcmp(headers.headers[0].value, date) == 0 &&
                strcmp(world->sts.token, world->sts_token ? world->sts_token : "") == 0;
    sigv4_headers_done(&headers);
    return same;
}

static inline void aws_serve_sts(void *context, struct http_exchange *exchange)
{
    struct aws_world *world = context;
    char until[32], text[1024], action[64];
    aws_service_note(&world->sts, exchange);
    world->sts_signed = aws_world_is_signed(world, exchange);
    aws_world_until(world, until);
    snprintf(action, sizeof(action), STR_FMT, STR_ARG(http_exchange_param(exchange, "Action", 0)));
    snprintf(text, sizeof(text),
             "<%sResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><%sResult><AssumedRoleUser>"
             "<AssumedRoleId>A:b</AssumedRoleId></AssumedRoleUser><Credentials><AccessKeyId>AK-sts%u</AccessKeyId>"
             "<SecretAccessKey>secret-sts%u</SecretAccessKey><SessionToken>token-of-sts%u</SessionToken>"
             "<Expiration>%s</Expiration></Credentials></%sResult><ResponseMetadata/></%sResponse>",
             action, action, world->sts.requests, world->sts.requests, world->sts.requests, until, action, action);
    aws_service_answer(&world->sts, exchange, text);
}

static inline struct http_server *aws_world_serve(struct aws_world *world, const char *listen,
                                                  const struct http_route *routes)
{
    const struct http_server_options options = {.listen = listen};
    struct http_server *server = NULL;
    assert_int_equal(http_server_new(world->loop, world->network, NULL, &options, routes, world, &server), 0);
    return server;
}

/* ---- The world ---- */

static inline void aws_world_serve_metadata(struct aws_world *world, const char *listen)
{
    static const struct http_route routes[] = {
        {"PUT", "/latest/api/token", aws_serve_token, 0, 100},
        {"GET", "/latest/meta-data/iam/security-credentials/", aws_serve_role, 0, 0},
        {"GET", "/latest/meta-data/iam/security-credentials/node-role", aws_serve_keys, 0, 0},
        {NULL, NULL, NULL, 0, 0}};
    http_server_free(world->metadata_server);
    world->metadata_server = aws_world_serve(world, listen, routes);
}

static inline void aws_world_init(struct aws_world *world)
{
    static const struct http_route container[] = {{"GET", "/v2/credentials/abc", aws_serve_container, 0, 0},
                                                  {NULL, NULL, NULL, 0, 0}};
    static const struct http_route sts[] = {{"POST", "/", aws_serve_sts, 0, 100000}, {NULL, NULL, NULL, 0, 0}};
    const struct http_client_options client = {.name = "test", .shards = 1};
    int64_t start_ms = 0;
    assert_int_equal(clock_parse_rfc3339(AWS_WORLD_START, &start_ms), 0);
    *world = (struct aws_world){.clock = clock_simulated_new(start_ms), .lives_s = 3600};
    world->loop = loop_simulated_new(world->clock);
    world->network = network_simulated_new(world->loop, 1);
    world->client = http_client_new(world->loop, world->network, &client);
    world->fs = file_system_memory_new(0);
    const struct aws_environment environment = {aws_world_get, world};
    world->metadata = aws_metadata_new(world->loop, world->client, &environment);
    aws_world_serve_metadata(world, "169.254.169.254:80");
    world->container_server = aws_world_serve(world, "169.254.170.2:80", container);
    world->sts_server = aws_world_serve(world, "sts.eu-west-1.amazonaws.com:443", sts);
}

static inline void aws_world_done(struct aws_world *world)
{
    aws_metadata_free(world->metadata);
    http_client_free(world->client);
    http_server_free(world->metadata_server);
    http_server_free(world->container_server);
    http_server_free(world->sts_server);
    network_free(world->network);
    loop_free(world->loop);
    clock_free(world->clock);
    file_system_free(world->fs);
}
