#include "base/conf_object.h"

#include "base/fail.h"

#include <errno.h>
#include <stdatomic.h>

/* Stands before the object in one block. */
struct owner {
    atomic_uint references;
    struct arena arena;
    struct conf *conf;
    _Alignas(max_align_t) uint8_t object[];
};

static void owner_free(struct owner *owner)
{
    if (!owner)
        return;
    conf_free(owner->conf);
    arena_done(&owner->arena);
    mem_free(owner);
}
DEFINE_CLEANUP(struct owner *, owner_free)

/* The directory part of a path, "" for a bare name. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return mem_strdup("");
    return slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
}

int conf_object_load_text(const struct conf_source *source, const struct conf_table *table, void **ret_object,
                          char **ret_errors)
{
    CLEANUP(owner_freep) struct owner *owner = mem_zalloc(sizeof(*owner) + table->struct_bytes);
    atomic_init(&owner->references, 1);
    arena_init(&owner->arena, 0);
    int r = conf_load_text(source, table, owner->object, &owner->arena, &owner->conf);
    if (r < 0) {
        *ret_errors = mem_strdup(conf_errors(owner->conf));
        return r;
    }
    *ret_object = STEAL(owner)->object;
    return 0;
}

int conf_object_load(const struct conf_object_source *source, const struct conf_table *table, void **ret_object,
                     char **ret_errors)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(CONF_FILE_BYTES_MAX);
    int r = file_read_whole(source->fs, source->path, &text);
    if (r < 0) {
        *ret_errors = r == -EFBIG ? mem_printf("%s: larger than %zu MiB\n", source->path, CONF_FILE_BYTES_MAX / MIB)
                                  : mem_printf("%s: cannot read: %s\n", source->path, strerrordesc_np(-r));
        return r;
    }
    CLEANUP_FREE char *base_dir = directory_of(source->path);
    const struct conf_source whole = {.fs = source->fs,
                                      .text = buf_view(&text),
                                      .name = source->path,
                                      .base_dir = base_dir,
                                      .context = source->context};
    return conf_object_load_text(&whole, table, ret_object, ret_errors);
}

static struct owner *owner_of(void *object)
{
    return CONTAINER_OF(object, struct owner, object);
}

void *conf_object_ref(void *object)
{
    atomic_fetch_add_explicit(&owner_of(object)->references, 1, memory_order_relaxed);
    return object;
}

void conf_object_unref(void *object)
{
    if (object && atomic_fetch_sub_explicit(&owner_of(object)->references, 1, memory_order_acq_rel) == 1)
        owner_free(owner_of(object));
}
