/* Any bytes as a layout: what is taken says the same when it is made again from its parsed form, byte for byte. */
#include "base/fail.h"
#include "metric/layout.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct layout *make_again(const struct layout *layout)
{
    struct layout_family_spec spec = {
        .name = layout->name,
        .unit = layout->unit,
        .help = layout->help,
        .metric_type = layout->metric_type,
        .last_only = layout->last_only,
        .slots = layout->slots,
        .count = layout->count,
    };
    switch (layout->type) {
    case LAYOUT_FAMILY:
        return layout_family_new(&spec);
    default:
        return layout_targets_new(layout->targets, layout->count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(layout_unrefp) struct layout *layout = NULL;
    int result = layout_decode(data, size, &layout);
    if (result < 0) {
        ASSERT(result == -EBADMSG && !layout);
        return 0;
    }
    CLEANUP(layout_unrefp) struct layout *again = make_again(layout);
    ASSERT(again && again->bytes_len == size && memcmp(again->bytes, data, size) == 0);
    ASSERT(hash128_equal(again->hash, layout->hash));
    if (layout->type != LAYOUT_FAMILY)
        return 0;
    const struct label own[] = {{STR("instance"), STR("a:1")}, {STR("datacenter"), STR("mine")}};
    CLEANUP(labels_unrefp) struct labels *target = labels_new(own, 2);
    for (uint32_t i = 0; i < layout->count; i++) {
        CLEANUP(labels_unrefp) struct labels *series = layout_series(layout, i, target, STR("dc1"));
        ASSERT(!series || labels_get(series, STR(LABEL_NAME)).len > 0);
        ASSERT(!series || str_equal(labels_get(series, STR("datacenter")), STR("dc1")));
    }
    return 0;
}
