#include "base/conf_object.h"

#include "base/fail.h"

#include <errno.h>

/* Stands before the object in one block. */
struct owner {
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

int conf_object_load(struct file_system *fs, const char *path, const struct conf_table *table, void **ret_object,
                     char **ret_errors)
{
    CLEANUP(owner_freep) struct owner *owner = mem_zalloc(sizeof(*owner) + table->struct_bytes);
    arena_init(&owner->arena, 0);
    int r = conf_load(fs, path, table, owner->object, &owner->arena, &owner->conf);
    if (owner->conf && r < 0)
        *ret_errors = mem_strdup(conf_errors(owner->conf));
    else if (r == -EFBIG)
        *ret_errors = mem_printf("%s: larger than %zu MiB\n", path, CONF_FILE_BYTES_MAX / MIB);
    else if (r < 0)
        *ret_errors = mem_printf("%s: cannot read: %s\n", path, strerrordesc_np(-r));
    if (r < 0)
        return r;
    *ret_object = STEAL(owner)->object;
    return 0;
}

void conf_object_free(void *object)
{
    if (object)
        owner_free(CONTAINER_OF(object, struct owner, object));
}
