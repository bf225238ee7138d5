#include "hop/frame.h"
#include "base/crc.h"

#include <errno.h>

#define FRAME_CHECKED_BYTES 16 /* of the header, by its own checksum */

static const uint8_t frame_marker[4] = {0xf7, 0x54, 0x52, 0x31};

static void put_le32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_le32(const char *at)
{
    struct reader reader = reader_of(at, 4);
    return reader_le32(&reader);
}

int frame_append(struct buf *out, enum frame_type type, const void *payload, size_t len)
{
    if (len > FRAME_PAYLOAD_BYTES_MAX)
        return -EMSGSIZE;
    uint8_t header[FRAME_HEADER_BYTES] = {0};
    memcpy(header, frame_marker, sizeof(frame_marker));
    header[4] = (uint8_t)type;
    put_le32(header + 8, (uint32_t)len);
    put_le32(header + 12, crc32c(0, payload, len));
    put_le32(header + 16, crc32c(0, header, FRAME_CHECKED_BYTES));
    /* One reservation, so that a full buffer holds no half frame. */
    uint8_t *room = buf_reserve(out, FRAME_HEADER_BYTES + len);
    if (!room)
        return -EMSGSIZE;
    memcpy(room, header, FRAME_HEADER_BYTES);
    if (len > 0)
        memcpy(room + FRAME_HEADER_BYTES, payload, len);
    buf_added(out, FRAME_HEADER_BYTES + len);
    return 0;
}

/* Where the marker, or at the end of the bytes a beginning of it, is found at or after `at`; else the end. */
static size_t find_marker(struct str bytes, size_t at)
{
    while (at < bytes.len) {
        const char *found = memchr(bytes.ptr + at, frame_marker[0], bytes.len - at);
        if (!found)
            return bytes.len;
        at = (size_t)(found - bytes.ptr);
        if (memcmp(found, frame_marker, MIN(sizeof(frame_marker), bytes.len - at)) == 0)
            return at;
        at++;
    }
    return bytes.len;
}

enum look { LOOK_FRAME, LOOK_DAMAGED, LOOK_SHORT };

/* What stands at `at`, where a marker is. ret_bytes: the frame's length, of a damaged one what to skip. */
static enum look look_at(struct str bytes, size_t at, struct frame *frame, size_t *ret_bytes)
{
    const char *header = bytes.ptr + at;
    size_t left = bytes.len - at;
    *ret_bytes = 0;
    if (left < FRAME_HEADER_BYTES)
        return LOOK_SHORT;
    size_t len = get_le32(header + 8);
    bool right = get_le32(header + 16) == crc32c(0, header, FRAME_CHECKED_BYTES) && header[5] == 0 && header[6] == 0 &&
                 header[7] == 0 && len <= FRAME_PAYLOAD_BYTES_MAX;
    if (!right) {
        *ret_bytes = 1; /* the length cannot be believed: look for a marker behind this one */
        return LOOK_DAMAGED;
    }
    *ret_bytes = FRAME_HEADER_BYTES + len;
    if (left < *ret_bytes)
        return LOOK_SHORT;
    frame->type = (enum frame_type)(uint8_t)header[4];
    frame->payload = str_of(header + FRAME_HEADER_BYTES, len);
    frame->checksum = get_le32(header + 12);
    return crc32c(0, frame->payload.ptr, len) == frame->checksum ? LOOK_FRAME : LOOK_DAMAGED;
}

int frame_next(struct str bytes, size_t *at, struct frame *ret_frame)
{
    struct frame frame = {0};
    for (size_t place = *at;;) {
        place = find_marker(bytes, place);
        frame.offset = place;
        frame.damaged_bytes = place - *at;
        size_t len = 0;
        enum look look = place < bytes.len ? look_at(bytes, place, &frame, &len) : LOOK_SHORT;
        if (look == LOOK_DAMAGED) {
            place += len;
            continue;
        }
        if (look == LOOK_SHORT) {
            frame.wanted_bytes = len;
            frame.payload = STR_NULL;
            *ret_frame = frame;
            return 0;
        }
        *at = place + len;
        *ret_frame = frame;
        return 1;
    }
}
