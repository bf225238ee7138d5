/* Files of targets: the first byte says which form. What was taken keeps the contract. */
#include "base/fail.h"
#include "target/target_group.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(target_groups_freep) struct target_groups *groups = NULL;
    char error[256] = "";
    if (size == 0)
        return 0;
    enum target_format format = data[0] == 'j' ? TARGET_JSON : TARGET_YAML;
    if (target_groups_decode(str_of(data + 1, size - 1), format, error, &groups) < 0) {
        ASSERT(error[0] && !groups);
        return 0;
    }
    size_t total = 0;
    for (size_t i = 0; i < groups->count; i++) {
        const struct target_group *group = &groups->items[i];
        total += group->address_count;
        for (size_t j = 0; j < group->address_count; j++)
            ASSERT(group->addresses[j].len > 0 && group->addresses[j].len <= TARGET_ADDRESS_BYTES_MAX);
        for (size_t j = 0; j < group->label_count; j++)
            ASSERT(label_name_is_valid(group->labels[j].name));
    }
    ASSERT(total == groups->address_total);
    return 0;
}
