#include "upstream.h"

#include "base/fail.h"
#include "net/auth.h"

#include <string.h>

#define CONNECTIONS_MAX 4
#define CALLS_MAX       16

struct upstream {
    struct arena arena; /* texts of the options */
    struct sender_options options;
    struct http_client *client;
    struct sender *sender;
};

static const char *copy_text(struct arena *arena, const char *text)
{
    return text ? arena_str(arena, str_from(text)).ptr : NULL;
}

static void copy_options(struct upstream *upstream, const struct secondary_config *config, const char *token)
{
    struct arena *arena = &upstream->arena;
    const char **urls = arena_array(arena, config->primary.urls.count, sizeof(*urls));
    const struct http_tls *tls = &config->primary.tls;
    for (size_t i = 0; i < config->primary.urls.count; i++)
        urls[i] = copy_text(arena, config->primary.urls.items[i]);
    upstream->options = (struct sender_options){
        .name = UPSTREAM_NAME,
        .urls = urls,
        .url_count = config->primary.urls.count,
        .tls = {.ca_file = copy_text(arena, tls->ca_file),
                .cert_file = copy_text(arena, tls->cert_file),
                .key_file = copy_text(arena, tls->key_file),
                .server_name = copy_text(arena, tls->server_name),
                .insecure_skip_verify = tls->insecure_skip_verify},
        .bearer_token = copy_text(arena, token),
    };
}

int upstream_new(const struct seams *seams, struct spool *spool, const struct secondary_config *config,
                 char ret_error[static 256], struct upstream **ret_upstream)
{
    CLEANUP_FREE char *token = NULL;
    if (config->primary.bearer_token_file) {
        int r = auth_read_secret(seams->fs, config->primary.bearer_token_file, ret_error, &token);
        if (r < 0)
            return r;
    }
    struct upstream *upstream = mem_zalloc(sizeof(*upstream));
    const struct http_client_options client = {
        .name = config->secondary, .shards = 1, .connections_max = CONNECTIONS_MAX, .calls_max = CALLS_MAX};
    arena_init(&upstream->arena, 0);
    copy_options(upstream, config, token);
    upstream->client = http_client_new(seams->loop, seams->network, &client);
    upstream->sender = sender_new(seams, spool, UPSTREAM_CONSUMER, upstream->client, &upstream->options);
    *ret_upstream = upstream;
    return 0;
}

void upstream_free(struct upstream *upstream)
{
    if (!upstream)
        return;
    sender_free(upstream->sender);
    http_client_free(upstream->client);
    arena_done(&upstream->arena);
    mem_free(upstream);
}

struct sender *upstream_sender(const struct upstream *upstream)
{
    return upstream->sender;
}

const char *upstream_url(const struct upstream *upstream)
{
    return upstream->options.urls[0];
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool upstream_equal(const struct upstream *a, const struct upstream *b)
{
    const struct http_tls *left = &a->options.tls, *right = &b->options.tls;
    bool same = a->options.url_count == b->options.url_count;
    for (size_t i = 0; same && i < a->options.url_count; i++)
        same = same_text(a->options.urls[i], b->options.urls[i]);
    return same && same_text(a->options.bearer_token, b->options.bearer_token) &&
           same_text(left->ca_file, right->ca_file) && same_text(left->cert_file, right->cert_file) &&
           same_text(left->key_file, right->key_file);
}
