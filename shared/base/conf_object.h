#pragma once
/* A configuration that owns everything it points to: what a daemon holds, and swaps at a reload. */
#include "base/conf.h"

/* Reads path into a new object of table->struct_bytes. On failure *ret_errors (mem_free it) says why, one line per
 * error, ending with a newline; it is for people and holds no secret. Returns -EINVAL
 * when the file is wrong, -EFBIG when it is past CONF_FILE_BYTES_MAX, else the error of reading it. */
MUST_CHECK int conf_object_load(struct file_system *fs, const char *path, const struct conf_table *table,
                                void **ret_object, char **ret_errors);
void conf_object_free(void *object); /* NULL allowed */
