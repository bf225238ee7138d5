#include "store/ulid.h"

#include <errno.h>

static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#define TIME_CHARS 10 /* 50 bits, the first two of them zero */

static void print_bits(char *text, size_t chars, uint64_t value)
{
    while (chars > 0) {
        text[--chars] = digits[value & 31];
        value >>= 5;
    }
}

struct ulid ulid_new(int64_t time_ms, struct random *random)
{
    struct ulid ulid;
    uint64_t high = random_next(random), low = random_next(random);
    print_bits(ulid.text, TIME_CHARS, (uint64_t)time_ms & ((UINT64_C(1) << 48) - 1));
    print_bits(ulid.text + TIME_CHARS, 8, high);
    print_bits(ulid.text + TIME_CHARS + 8, 8, low);
    ulid.text[ULID_CHARS] = '\0';
    return ulid;
}

static int digit_of(char c)
{
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

int ulid_parse(struct str text, struct ulid *ret_ulid)
{
    if (text.len != ULID_CHARS || digit_of(text.ptr[0]) > 7) {
        return -EINVAL;
    }
    for (size_t i = 0; i < ULID_CHARS; i++) {
        if (digit_of(text.ptr[i]) < 0) {
            return -EINVAL;
        }
    }
    memcpy(ret_ulid->text, text.ptr, ULID_CHARS);
    ret_ulid->text[ULID_CHARS] = '\0';
    return 0;
}

int64_t ulid_time_ms(const struct ulid *ulid)
{
    uint64_t time_ms = 0;
    for (size_t i = 0; i < TIME_CHARS; i++) {
        time_ms = time_ms << 5 | (uint64_t)MAX(digit_of(ulid->text[i]), 0);
    }
    return (int64_t)time_ms;
}
