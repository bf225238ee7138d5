/* Shared objects that are no good as plugins: one of another ABI, one that says another name, one that shows no symbol.
 * Which one, STRANGE says. */
#include "target/discovery_plugin.h"

#define OTHER_ABI  1
#define OTHER_NAME 2
#define NO_SYMBOL  3

#if STRANGE == NO_SYMBOL
__attribute__((visibility("default"))) int strange_but_nothing_else = STRANGE;
#else
__attribute__((visibility("default"))) const struct discovery_plugin *tributary_discovery_plugin(void);

const struct discovery_plugin *tributary_discovery_plugin(void)
{
    static const struct discovery_plugin plugin = {
        .magic = DISCOVERY_MAGIC,
        .abi = STRANGE == OTHER_ABI ? DISCOVERY_ABI + 1 : DISCOVERY_ABI,
        .name = "other",
    };
    return &plugin;
}
#endif
