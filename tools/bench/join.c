#include "join.h"
#include "base/fail.h"
#include "rig.h"

#define LAYOUTS_BYTES (2 * GIB)

struct group {
    struct pipeline_sealed sealed; /* of its first window; NULL writer: none yet */
    uint32_t rounds;
};

struct join {
    uint32_t rounds;
    struct layout_table *layouts;
    struct buf batch;
    struct group groups[RIG_PARTS_MAX];
};

struct join *join_new(int rounds)
{
    struct join *join = mem_zalloc(sizeof(*join));
    join->rounds = (uint32_t)rounds;
    join->layouts = layout_table_new(LAYOUTS_BYTES, LAYOUTS_BYTES);
    buf_init(&join->batch, BATCH_BYTES_MAX);
    return join;
}

void join_free(struct join *join)
{
    if (!join)
        return;
    for (size_t i = 0; i < RIG_PARTS_MAX; i++)
        batch_writer_free(join->groups[i].sealed.writer);
    layout_table_free(join->layouts);
    buf_done(&join->batch);
    mem_free(join);
}

void join_take(struct join *join, size_t group, struct pipeline_sealed *part)
{
    ASSERT(group < RIG_PARTS_MAX);
    struct group *joined = &join->groups[group];
    struct batch_writer *window = STEAL(part->writer);
    if (!joined->sealed.writer)
        *joined = (struct group){.sealed = *part}, joined->sealed.writer = batch_writer_new();
    struct envelope envelope = {.source = {STR("dc1"), STR("rack-7"), 1},
                                .epoch = 1,
                                .seq = 1,
                                .window_start_ms = part->window_start_ms,
                                .resolution_ms = part->resolution_ms,
                                .span_ms = part->span_ms};
    buf_reset(&join->batch);
    ASSERT(batch_writer_finish(window, &envelope, join->layouts, &join->batch) == 0);
    CLEANUP(batch_reader_freep) struct batch_reader *reader = NULL;
    ASSERT(batch_reader_open(join->batch.data, join->batch.len, join->layouts, &reader) == 0);
    if (batch_writer_add_batch(joined->sealed.writer, reader, joined->rounds++) < 0)
        fatal("the windows of a group do not go into one batch: --group makes them smaller");
    batch_writer_release(window, join->layouts);
    batch_writer_free(window);
}

bool join_next(struct join *join, struct pipeline_sealed *ret_part)
{
    for (size_t i = 0; i < RIG_PARTS_MAX; i++) {
        struct group *group = &join->groups[i];
        if (!group->sealed.writer || group->rounds < join->rounds)
            continue;
        *ret_part = group->sealed;
        ret_part->span_ms = join->rounds * group->sealed.resolution_ms;
        *group = (struct group){0};
        return true;
    }
    return false;
}
