/* Any text as a query or form: decodes or is refused; what was decoded holds no NUL, and encoded again it means the
 * same. */
#include "net/http_form.h"

#include "base/fail.h"

#define ARENA_BYTES_MAX (16 * MIB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(struct arena *arena, struct str text)
{
    CLEANUP(buf_done) struct buf encoded = BUF_INIT(ARENA_BYTES_MAX);
    struct str again;
    ASSERT(text.len == 0 || !memchr(text.ptr, '\0', text.len));
    ASSERT(text.ptr[text.len] == '\0');
    ASSERT(http_percent_encode(&encoded, text) == 0);
    if (http_percent_decode(arena, buf_view(&encoded), true, &again) == 0)
        ASSERT(str_equal(again, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, ARENA_BYTES_MAX);
    struct http_params params = {0};
    struct str path;
    if (http_form_decode(&arena, str_of(data, size), &params) == 0) {
        ASSERT(params.count <= HTTP_PARAMS_MAX);
        for (size_t i = 0; i < params.count; i++) {
            check_round_trip(&arena, params.items[i].name);
            check_round_trip(&arena, params.items[i].value);
        }
    }
    if (http_percent_decode(&arena, str_of(data, size), false, &path) == 0)
        ASSERT(path.len <= size);
    return 0;
}
