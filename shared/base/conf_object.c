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

/* The directory part of a path, "" for a bare name. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return mem_strdup("");
    return slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
}

int conf_object_load(struct file_system *fs, const char *path, const struct conf_table *table, void **ret_object,
                     char **ret_errors)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(CONF_FILE_BYTES_MAX);
    int r = file_read_whole(fs, path, &text);
    if (r < 0) {
        *ret_errors = r == -EFBIG ? mem_printf("%s: larger than %zu MiB\n", path, CONF_FILE_BYTES_MAX / MIB)
                                  : mem_printf("%s: cannot read: %s\n", path, strerrordesc_np(-r));
        return r;
    }
    CLEANUP_FREE char *base_dir = directory_of(path);
    const struct conf_source source = {.fs = fs, .text = buf_view(&text), .name = path, .base_dir = base_dir};
    CLEANUP(owner_freep) struct owner *owner = mem_zalloc(sizeof(*owner) + table->struct_bytes);
    arena_init(&owner->arena, 0);
    r = conf_load_text(&source, table, owner->object, &owner->arena, &owner->conf);
    if (r < 0) {
        *ret_errors = mem_strdup(conf_errors(owner->conf));
        return r;
    }
    *ret_object = STEAL(owner)->object;
    return 0;
}

void conf_object_free(void *object)
{
    if (object)
        owner_free(CONTAINER_OF(object, struct owner, object));
}
