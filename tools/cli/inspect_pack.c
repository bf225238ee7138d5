#include "inspect.h"

#include "base/fail.h"
#include "hop/layout_pack.h"

#include <inttypes.h>

static void ignore_missing(void *arg, struct hash128 hash)
{
    (void)arg;
    (void)hash;
}

/* Of a pack that does not say its hashes, or whose layouts are listed: made, and held until they are printed. */
static void make_all(struct inspect *inspect, struct str payload, struct layout_take *take)
{
    if (layout_table_take(inspect->layouts, payload, take) < 0)
        inspect_problem(inspect, "not all of its layouts can be made");
}

static void print_item(struct inspect *inspect, const struct layout_pack_item *item, const struct hash128 *hash)
{
    struct layout *layout = hash ? layout_table_get(inspect->layouts, *hash) : NULL;
    printf("%14s%s, ", "", item->type == LAYOUT_PAGE ? "page" : "target list");
    if (item->base_count > 0)
        printf("edit of %u, ", item->base_count);
    else
        printf("whole, ");
    printf("%zu bytes: ", item->operations.len);
    if (!layout)
        printf("not to be made here\n");
    else if (inspect->records)
        inspect_layout(layout);
    else if (hash) {
        inspect_layout_line(layout);
        printf("\n");
    }
}

void inspect_pack(struct inspect *inspect, struct str payload, uint64_t offset)
{
    CLEANUP(layout_pack_freep) struct layout_pack *pack = NULL;
    if (layout_pack_open(payload, &pack) < 0) {
        inspect_problem(inspect, "layouts at %" PRIu64 ": malformed", offset);
        return;
    }
    struct layout_take take = {.missing = ignore_missing};
    struct layout_pack_item item;
    if (inspect->frames)
        make_all(inspect, payload, &take);
    if (inspect->frames)
        printf("layouts, %zu bytes, %zu unpacked\n", payload.len, layout_pack_raw_bytes(pack));
    for (uint32_t number = 0; layout_pack_next(pack, &item) > 0; number++) {
        inspect->totals.layouts++;
        inspect->totals.edits += item.base_count > 0;
        const struct hash128 *hash = layout_pack_has_hashes(pack) ? &item.hash
                                     : number < take.item_count   ? &take.items[number]
                                                                  : NULL;
        if (inspect->frames)
            print_item(inspect, &item, hash);
    }
    inspect->totals.layout_bytes += payload.len;
    for (uint32_t i = 0; i < take.held_count; i++)
        layout_table_release(inspect->layouts, take.held[i]);
    layout_take_done(&take);
}
