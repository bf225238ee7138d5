/* Any bytes as an XOR chunk: reading ends, within what there is; and what was read can be written and read again. */
#include "base/fail.h"
#include "store/xor.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void rewrite(const struct sample *samples, size_t count)
{
    size_t bytes_max = XOR_HEADER_BYTES + (count + 1) * XOR_SAMPLE_BYTES_MAX;
    uint8_t *bytes = mem_zalloc(bytes_max);
    struct bit_writer writer = {.data = bytes, .bytes_max = bytes_max};
    struct xor_state state = XOR_STATE_INIT;
    struct xor_reader reader;
    struct sample sample;
    bit_write(&writer, count, 16);
    for (size_t i = 0; i < count; i++) {
        xor_write(&writer, &state, samples[i]);
    }
    xor_reader_init(&reader, bytes, (writer.bits + 7) / 8);
    for (size_t i = 0; i < count; i++) {
        ASSERT(xor_read(&reader, &sample) == 1);
        ASSERT(sample.time_ms == samples[i].time_ms && double_bits(sample.value) == double_bits(samples[i].value));
    }
    ASSERT(xor_read(&reader, &sample) == 0);
    mem_free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sample *samples = mem_array(UINT16_MAX, sizeof(*samples));
    struct xor_reader reader;
    size_t count = 0;
    int result = 1;
    xor_reader_init(&reader, data, size);
    while (result > 0) {
        struct sample sample;
        result = xor_read(&reader, &sample);
        if (result > 0) {
            ASSERT(count < UINT16_MAX);
            samples[count++] = sample;
        }
    }
    struct sample *bulk = mem_array(UINT16_MAX, sizeof(*bulk));
    if (size >= XOR_HEADER_BYTES && xor_decode(data, size, bulk) == 0) {
        ASSERT(result == 0 && count == xor_count(data, size));
        for (size_t i = 0; i < count; i++)
            ASSERT(bulk[i].time_ms == samples[i].time_ms &&
                   double_bits(bulk[i].value) == double_bits(samples[i].value));
    } else {
        ASSERT(result < 0);
    }
    mem_free(bulk);
    rewrite(samples, count);
    mem_free(samples);
    return 0;
}
