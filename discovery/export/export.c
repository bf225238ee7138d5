/* The one symbol of a plugin's shared object: built once per plugin with -DDISCOVERY_EXPORT=its struct. */
#include "target/discovery_plugin.h"

extern const struct discovery_plugin DISCOVERY_EXPORT;
__attribute__((visibility("default"))) const struct discovery_plugin *tributary_discovery_plugin(void);

const struct discovery_plugin *tributary_discovery_plugin(void)
{
    return &DISCOVERY_EXPORT;
}
