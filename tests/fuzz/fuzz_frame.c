/* Frames from any bytes: views within them, rising, none twice. */
#include "base/fail.h"
#include "hop/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_of(data, size);
    size_t at = 0;
    struct frame frame;
    for (size_t before = 0; frame_next(bytes, &at, &frame) > 0; before = at) {
        ASSERT(frame.offset >= before && frame.offset - before == frame.damaged_bytes);
        ASSERT(at == frame.offset + FRAME_HEADER_BYTES + frame.payload.len && at <= size);
        ASSERT(frame.payload.ptr == bytes.ptr + frame.offset + FRAME_HEADER_BYTES);
    }
    ASSERT(frame.offset >= at && frame.offset <= size);
    return 0;
}
