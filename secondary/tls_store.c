#include "tls_store.h"

#include "base/arena.h"
#include "base/fail.h"

struct kept_tls {
    struct kept_tls *next;
    struct http_tls tls;
};

struct tls_store {
    struct arena arena;
    struct kept_tls *first;
};

struct tls_store *tls_store_new(void)
{
    struct tls_store *store = mem_zalloc(sizeof(*store));
    arena_init(&store->arena, 0);
    return store;
}

void tls_store_free(struct tls_store *store)
{
    if (!store)
        return;
    arena_done(&store->arena);
    mem_free(store);
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_tls(const struct http_tls *a, const struct access_tls *b)
{
    return same_text(a->ca_file, b->ca_file) && same_text(a->cert_file, b->cert_file) &&
           same_text(a->key_file, b->key_file) && same_text(a->server_name, b->server_name) &&
           a->insecure_skip_verify == b->insecure_skip_verify;
}

static const char *copy_text(struct arena *arena, const char *text)
{
    return text ? arena_str(arena, str_from(text)).ptr : NULL;
}

const struct http_tls *tls_store_keep(struct tls_store *store, const struct access_tls *tls)
{
    const struct http_tls none = {0};
    if (same_tls(&none, tls))
        return NULL;
    for (struct kept_tls *kept = store->first; kept; kept = kept->next)
        if (same_tls(&kept->tls, tls))
            return &kept->tls;
    struct kept_tls *kept = arena_alloc(&store->arena, sizeof(*kept));
    *kept = (struct kept_tls){store->first,
                              {.ca_file = copy_text(&store->arena, tls->ca_file),
                               .cert_file = copy_text(&store->arena, tls->cert_file),
                               .key_file = copy_text(&store->arena, tls->key_file),
                               .server_name = copy_text(&store->arena, tls->server_name),
                               .insecure_skip_verify = tls->insecure_skip_verify}};
    store->first = kept;
    return &kept->tls;
}
