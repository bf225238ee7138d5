#pragma once
/* The discovery plugins of a process: those built in, and shared objects DIR/NAME.so that are loaded when a
 * configuration first names them. One that cannot be used is refused with the reason, and harms nothing else; one that
 * was loaded stays until the process ends. On one thread. */
#include "target/discovery_plugin.h"

struct plugins;

struct plugins *plugins_new(const char *dir); /* NULL: only what is added */
void plugins_free(struct plugins *plugins);
DEFINE_CLEANUP(struct plugins *, plugins_free)
/* Where an installation has them: lib/tributary/discovery beside the bin of this program. The caller frees it. */
char *plugins_default_dir(void);
/* Where those are looked for that are not loaded yet. NULL: as plugins_new was told. */
void plugins_set_dir(struct plugins *plugins, const char *dir);
void plugins_add(struct plugins *plugins, const struct discovery_plugin *plugin);
/* -ENOENT: there is none of this name; -EINVAL: its file is no plugin, or one of another ABI; with the reason. */
MUST_CHECK int plugins_find(struct plugins *plugins, struct str name, char ret_error[static 256],
                            const struct discovery_plugin **ret_plugin);
