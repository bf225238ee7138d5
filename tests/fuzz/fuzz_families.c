/* Any bytes as saved families: what is read of them is written and read again as the same. */
#include "base/fail.h"
#include "global/store/families.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(families_freep) struct families *families = families_new();
    CLEANUP(families_freep) struct families *again = families_new();
    CLEANUP(buf_done) struct buf first = BUF_INIT(SIZE_MAX), second = BUF_INIT(SIZE_MAX);
    families_load(families, str_of(data, size));
    families_save(families, &first);
    ASSERT(first.len <= size);
    families_load(again, buf_view(&first));
    families_save(again, &second);
    ASSERT(str_equal(buf_view(&first), buf_view(&second)));
    return 0;
}
