#pragma once
/* A configuration that owns everything it points to: what a daemon holds, and swaps at a reload. */
#include "base/conf.h"

struct conf_object_source {
    struct file_system *fs;
    const char *path;
    void *context; /* for custom fields */
};

/* Reads the file into a new object of table->struct_bytes, with one reference. On failure *ret_errors (mem_free it)
 * says why, one line per error, ending with a newline; it is for people and holds no secret. Returns -EINVAL when the
 * file is wrong, -EFBIG when it is past CONF_FILE_BYTES_MAX, else the error of reading it. */
MUST_CHECK int conf_object_load(const struct conf_object_source *source, const struct conf_table *table,
                                void **ret_object, char **ret_errors);
/* The same for a text, such as conf_print's: paths in it are as they are. */
MUST_CHECK int conf_object_load_text(const struct conf_source *source, const struct conf_table *table,
                                     void **ret_object, char **ret_errors);
/* References are counted, from any thread; nobody changes an object that was loaded. */
void *conf_object_ref(void *object);
void conf_object_unref(void *object); /* NULL allowed */
