/* A selector of configuration: refused with a place inside of the text, or read so that it says the same when it is
 * written out again. */
#include "base/fail.h"
#include "metric/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_value(struct buf *text, struct str value)
{
    for (size_t i = 0; i < value.len; i++)
        buf_printf(text, "\\x%02x", (uint8_t)value.ptr[i]);
}

static void write_selector(struct buf *text, const struct selector *selector)
{
    buf_append_byte(text, '{');
    for (size_t i = 0; i < selector->count; i++) {
        const struct matcher *matcher = &selector->matchers[i];
        buf_printf(text, STR_FMT "%s\"", STR_ARG(matcher->name), matcher_operator(matcher->type));
        write_value(text, matcher->value);
        buf_append_text(text, "\",");
    }
    buf_append_byte(text, '}');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(selector_freep) struct selector *first = NULL, *again = NULL;
    CLEANUP(buf_done) struct buf text = BUF_INIT(MIB);
    char error[256];
    size_t at = 0;
    if (selector_new(str_of(data, size), error, &at, &first) < 0) {
        ASSERT(at <= size && strlen(error) < sizeof(error));
        return 0;
    }
    ASSERT(first->count > 0 && first->count <= SELECTOR_MATCHERS_MAX);
    write_selector(&text, first);
    if (text.len > SELECTOR_BYTES_MAX)
        return 0;
    ASSERT(selector_new(buf_view(&text), error, &at, &again) == 0);
    ASSERT(again->count == first->count);
    for (size_t i = 0; i < first->count; i++) {
        ASSERT(str_equal(first->matchers[i].name, again->matchers[i].name));
        ASSERT(str_equal(first->matchers[i].value, again->matchers[i].value));
        ASSERT(first->matchers[i].type == again->matchers[i].type);
    }
    return 0;
}
