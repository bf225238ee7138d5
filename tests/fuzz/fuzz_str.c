/* Numbers, durations, sizes, times and UTF-8 in text, and the reader of bytes: they agree with libc or with themselves,
 * and never read behind the view. The first byte says which. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/str.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is taken as a number is one for libc too, the same to the bit; libc alone takes words and spaces. */
static void check_double(struct str text)
{
    double value;
    if (str_to_double(text, &value) != 0) {
        return;
    }
    char *copy = mem_strndup(text.ptr, text.len);
    char *end;
    double expected = strtod(copy, &end);
    ASSERT(end == copy + text.len);
    ASSERT(memcmp(&value, &expected, sizeof(value)) == 0 || (isnan(value) && isnan(expected)));
    mem_free(copy);
}

static void check_whole_numbers(struct str text)
{
    uint64_t size;
    int64_t number;
    double value;
    if (str_to_u64(text, &size) == 0) {
        ASSERT(text.len > 2000 || (str_to_double(text, &value) == 0 && value == (double)size));
    }
    if (str_to_i64(text, &number) == 0) {
        ASSERT(text.len > 2000 || (str_to_double(text, &value) == 0 && value == (double)number));
    }
    if (str_to_duration_ms(text, &number) == 0) {
        ASSERT(number >= 0 && text.len > 0);
    }
    if (str_to_bytes(text, &size) == 0) {
        ASSERT(text.len > 0);
    }
}

static void check_time(struct str text)
{
    int64_t ms;
    int64_t again_ms;
    char printed[32];
    char *copy = text.len > 0 ? mem_strndup(text.ptr, text.len) : mem_strdup("");
    if (clock_parse_rfc3339(copy, &ms) == 0) {
        clock_format_rfc3339(ms, printed);
        /* An offset may lead out of the years that have four digits. */
        bool out = ms < INT64_C(-62167219200000) || ms > INT64_C(253402300799999);
        ASSERT(out || (clock_parse_rfc3339(printed, &again_ms) == 0 && again_ms == ms));
    }
    mem_free(copy);
}

/* A text is UTF-8 when both its parts around the start of a character are. */
static void check_utf8(struct str text)
{
    size_t cut = text.len / 2;
    while (cut < text.len && ((uint8_t)text.ptr[cut] & 0xC0) == 0x80) {
        cut++;
    }
    bool parts = str_is_utf8(str_of(text.ptr, cut)) && str_is_utf8(str_of(text.ptr + cut, text.len - cut));
    ASSERT(str_is_utf8(text) == parts);
}

/* The bytes say what is read next; a failed read stays failed, and nothing is read behind the end. */
static void check_reader(struct str text)
{
    struct reader reader = reader_of(text.ptr, text.len);
    while (reader_left(&reader) > 0) {
        struct str got = STR_NULL;
        switch (reader_byte(&reader) % 6) {
        case 0:
            reader_uvarint(&reader);
            break;
        case 1:
            reader_le32(&reader);
            break;
        case 2:
            reader_le64(&reader);
            break;
        case 3:
            got = reader_string(&reader, 100);
            break;
        case 4:
            got = reader_bytes(&reader, reader_count(&reader, 2, 50));
            break;
        default:
            break;
        }
        ASSERT(got.len <= 100 && got.len <= text.len);
        /* All of it is read, to its last byte: a sanitizer sees where it lies. */
        ASSERT(got.len == 0 || str_compare(got, str_of(text.ptr, text.len)) != 0);
    }
    reader_byte(&reader);
    ASSERT(reader.bad && reader_left(&reader) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const checks[])(struct str text) = {check_double, check_whole_numbers, check_time, check_utf8,
                                                      check_reader};
    if (size > 0) {
        checks[data[0] % ARRAY_LEN(checks)](str_of(data + 1, size - 1));
    }
    return 0;
}
