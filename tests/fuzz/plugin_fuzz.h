#pragma once
/* A plugin in its rig with what it says checked: whatever came, groups are what the contract lets them be. */
#include "plugin_rig.h"

static const struct discovery_plugin *fuzz_inner;

static void fuzz_check_labels(const struct label *labels, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ASSERT(label_name_is_valid(labels[i].name) && str_is_utf8(labels[i].value));
}

static void fuzz_put(struct discovery_host *host, const struct discovery_group *group)
{
    ASSERT(group->source.len > 0 && str_is_utf8(group->source));
    ASSERT(group->target_count <= DISCOVERY_GROUP_TARGETS_MAX);
    fuzz_check_labels(group->labels, group->label_count);
    for (size_t i = 0; i < group->target_count; i++) {
        const struct discovery_target *target = &group->targets[i];
        ASSERT(target->address.len > 0 && str_is_utf8(target->address));
        fuzz_check_labels(target->labels, target->label_count);
        if (group->label_count + target->label_count > DISCOVERY_LABELS_MAX)
            return; /* the host refuses it */
    }
    rig_put(host, group);
}

static void *fuzz_start(void *plugin, const struct discovery_api *api, struct discovery_host *host, const void *config,
                        char ret_error[static 256])
{
    static struct discovery_api checked;
    checked = *api;
    checked.put = fuzz_put;
    return fuzz_inner->start(plugin, &checked, host, config, ret_error);
}

static void fuzz_rig_start(struct plugin_rig *rig, const struct discovery_plugin *plugin, const char *yaml)
{
    static struct discovery_plugin wrapped;
    fuzz_inner = plugin;
    wrapped = *plugin;
    wrapped.start = fuzz_start;
    ASSERT(rig_start(rig, &wrapped, yaml) == 0);
}
