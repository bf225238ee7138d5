/* The one symbol of a plugin's shared object: built once per plugin with -DDISCOVERY_EXPORT=its struct. */
#include "base/random.h"
#include "base/str.h"
#include "target/discovery_plugin.h"

extern const struct discovery_plugin DISCOVERY_EXPORT;
__attribute__((visibility("default"))) const struct discovery_plugin *tributary_discovery_plugin(void);

const struct discovery_plugin *tributary_discovery_plugin(void)
{
    /* The plugin has its own copy of base: strangers choose the names that it keeps in maps. */
    uint64_t seed;
    random_secret(&seed, sizeof(seed));
    str_hash_seed(seed);
    return &DISCOVERY_EXPORT;
}
