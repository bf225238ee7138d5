#include "write/expand.h"

#include <errno.h>
#include <snappy-c.h>

int expand_block(struct str block, struct buf *out)
{
    size_t bytes = 0;
    if (snappy_uncompressed_length(block.ptr, block.len, &bytes) != SNAPPY_OK || bytes / EXPAND_RATIO_MAX > block.len)
        return -EBADMSG;
    uint8_t *room = buf_reserve(out, bytes);
    if (!room)
        return -EMSGSIZE;
    if (snappy_uncompress(block.ptr, block.len, (char *)room, &bytes) != SNAPPY_OK)
        return -EBADMSG;
    buf_added(out, bytes);
    return 0;
}
