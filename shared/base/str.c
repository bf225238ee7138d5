#include "base/str.h"

#include "base/crc.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <strings.h>

int str_compare(struct str a, struct str b)
{
    size_t len = MIN(a.len, b.len);
    int order = len > 0 ? memcmp(a.ptr, b.ptr, len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

bool str_starts_with(struct str text, struct str start)
{
    return text.len >= start.len && str_equal(str_of(text.ptr, start.len), start);
}

bool str_ends_with(struct str text, struct str end)
{
    return end.len == 0 || (text.len >= end.len && str_equal(str_of(text.ptr + text.len - end.len, end.len), end));
}

size_t str_find(struct str text, char byte)
{
    const char *found = text.len > 0 ? memchr(text.ptr, byte, text.len) : NULL;
    return found ? (size_t)(found - text.ptr) : text.len;
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

struct str str_trim(struct str text)
{
    while (text.len > 0 && is_blank(text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && is_blank(text.ptr[text.len - 1])) {
        text.len--;
    }
    return text;
}

static uint64_t hash_seed;

void str_hash_seed(uint64_t seed)
{
    hash_seed = seed;
}

uint64_t str_hash(struct str text)
{
    return hash64(text.ptr, text.len, hash_seed);
}

/* Bytes of the sequence that starts here; 0 when it is not one that RFC 3629 allows (cut short, overlong, a surrogate,
 * above U+10FFFF). Not called for ASCII. */
static size_t utf8_sequence(const uint8_t *at, size_t left)
{
    uint8_t low = 0x80;
    uint8_t high = 0xBF;
    size_t len;
    if (at[0] >= 0xC2 && at[0] <= 0xDF) {
        len = 2;
    } else if ((at[0] & 0xF0) == 0xE0) {
        len = 3;
        low = at[0] == 0xE0 ? 0xA0 : low;
        high = at[0] == 0xED ? 0x9F : high;
    } else if (at[0] >= 0xF0 && at[0] <= 0xF4) {
        len = 4;
        low = at[0] == 0xF0 ? 0x90 : low;
        high = at[0] == 0xF4 ? 0x8F : high;
    } else {
        return 0;
    }
    if (left < len || at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return len;
}

bool str_is_utf8(struct str text)
{
    const uint8_t *at = (const uint8_t *)text.ptr;
    size_t left = text.len;
    while (left > 0) {
        uint64_t word = UINT64_C(0x8080808080808080);
        if (left >= sizeof(word)) {
            memcpy(&word, at, sizeof(word));
        }
        size_t step = 1;
        if (!(word & UINT64_C(0x8080808080808080))) {
            step = sizeof(word); /* eight of ASCII at once: what text nearly always is */
        } else if (*at >= 0x80) {
            step = utf8_sequence(at, left);
        }
        if (step == 0) {
            return false;
        }
        at += step;
        left -= step;
    }
    return true;
}

/* ---- Numbers ---- */

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* Digits from the start of *text, which is moved behind them. */
static int take_u64(struct str *text, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t len = 0;
    bool fits = true;
    for (; len < text->len && is_digit(text->ptr[len]); len++) {
        unsigned digit = (unsigned)(text->ptr[len] - '0');
        fits = fits && !__builtin_mul_overflow(value, 10, &value) && !__builtin_add_overflow(value, digit, &value);
    }
    if (len == 0) {
        return -EINVAL;
    }
    *text = str_of(text->ptr + len, text->len - len);
    if (!fits) {
        return -ERANGE;
    }
    *ret_value = value;
    return 0;
}

int str_to_u64(struct str text, uint64_t *ret_value)
{
    uint64_t value;
    int error = take_u64(&text, &value);
    if (text.len > 0) {
        return -EINVAL; /* whatever follows: no number at all, rather than one too large */
    }
    if (!error) {
        *ret_value = value;
    }
    return text.len == 0 && !error ? 0 : error;
}

int str_to_i64(struct str text, int64_t *ret_value)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    if (text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+')) {
        text = str_of(text.ptr + 1, text.len - 1);
    }
    uint64_t size;
    int error = str_to_u64(text, &size);
    if (error) {
        return error;
    }
    if (size > (uint64_t)INT64_MAX + negative) {
        return -ERANGE;
    }
    *ret_value = negative ? (int64_t)(0 - size) : (int64_t)size;
    return 0;
}

/* Short decimals, which numbers of metrics nearly always are: a mantissa below 2^53 and a power of ten up to 22 are
 * both exact doubles, so that one multiplication or division rounds correctly (Clinger). False: not such a number. */
static bool parse_short_decimal(struct str text, double *ret_value)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *at = text.ptr;
    const char *end = at + text.len;
    bool negative = *at == '-';
    at += *at == '-' || *at == '+';
    uint64_t mantissa = 0;
    int digits = 0;
    int point_digits = 0;
    bool point = false;
    for (; at < end && (is_digit(*at) || (*at == '.' && !point)); at++) {
        if (*at == '.') {
            point = true;
            continue;
        }
        mantissa = mantissa * 10 + (unsigned)(*at - '0');
        point_digits += point;
        if (++digits > 18) {
            return false;
        }
    }
    int exponent = 0;
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        bool down = at < end && *at == '-';
        at += at < end && (*at == '-' || *at == '+');
        const char *start = at;
        for (; at < end && is_digit(*at) && at - start < 3; at++) {
            exponent = exponent * 10 + (*at - '0');
        }
        if (at == start) {
            return false;
        }
        exponent = down ? -exponent : exponent;
    }
    exponent -= point_digits;
    if (at != end || digits == 0 || mantissa > (UINT64_C(1) << 53) || exponent < -22 || exponent > 22) {
        return false;
    }
    double value = (double)mantissa;
    value = exponent < 0 ? value / powers[-exponent] : value * powers[exponent];
    *ret_value = negative ? -value : value;
    return true;
}

/* inf and infinity with a sign or without, nan without, in any case of letters, as Go writes and reads them. */
static bool parse_not_finite(struct str text, double *ret_value)
{
    bool negative = text.ptr[0] == '-';
    if (text.len == 3 && strncasecmp(text.ptr, "nan", 3) == 0) {
        *ret_value = (double)NAN;
        return true;
    }
    if (text.ptr[0] == '-' || text.ptr[0] == '+') {
        text = str_of(text.ptr + 1, text.len - 1);
    }
    if ((text.len == 3 && strncasecmp(text.ptr, "inf", 3) == 0) ||
        (text.len == 8 && strncasecmp(text.ptr, "infinity", 8) == 0)) {
        *ret_value = negative ? -(double)INFINITY : (double)INFINITY;
        return true;
    }
    return false;
}

/* By libc: many digits, far exponents, hexadecimal. */
static int parse_any_number(struct str text, double *ret_value)
{
    char copy[STR_NUMBER_BYTES_MAX + 1];
    if (text.len > STR_NUMBER_BYTES_MAX) {
        return -EINVAL;
    }
    /* Spaces, which strtod skips, and words, which it knows more of ("nan(1)"), are no numbers here. */
    size_t first = text.ptr[0] == '-' || text.ptr[0] == '+';
    if (first == text.len || !(is_digit(text.ptr[first]) || text.ptr[first] == '.')) {
        return -EINVAL;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    /* For "C" glibc hands out a constant: nothing to allocate, nothing to free. */
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    char *end;
    double value = strtod_l(copy, &end, c_locale);
    freelocale(c_locale);
    if (end != copy + text.len) {
        return -EINVAL;
    }
    if (isinf(value)) {
        return -ERANGE; /* too small is no error: it becomes 0 or denormal */
    }
    *ret_value = value;
    return 0;
}

int str_to_double(struct str text, double *ret_value)
{
    if (text.len == 0) {
        return -EINVAL;
    }
    if (parse_short_decimal(text, ret_value) || parse_not_finite(text, ret_value)) {
        return 0;
    }
    return parse_any_number(text, ret_value);
}

/* ---- Numbers with units ---- */

struct unit {
    const char *name;
    uint64_t factor;
};

/* The unit that *text starts with; it must not go on with another letter ("m" is not found in "ms"). */
static const struct unit *take_unit(const struct unit *units, size_t count, struct str *text)
{
    size_t len = 0;
    while (len < text->len && !is_digit(text->ptr[len])) {
        len++;
    }
    for (size_t i = 0; i < count; i++) {
        if (str_equal(str_from(units[i].name), str_of(text->ptr, len))) {
            *text = str_of(text->ptr + len, text->len - len);
            return &units[i];
        }
    }
    return NULL;
}

int str_to_duration_ms(struct str text, int64_t *ret_ms)
{
    static const struct unit units[] = {
        {"y", UINT64_C(365) * 86400000},
        {"w", 7 * 86400000},
        {"d", 86400000},
        {"h", 3600000},
        {"m", 60000},
        {"s", 1000},
        {"ms", 1},
    };
    if (str_equal(text, STR("0"))) {
        *ret_ms = 0;
        return 0;
    }
    int64_t total_ms = 0;
    bool fits = text.len > 0;
    int error = text.len > 0 ? 0 : -EINVAL;
    size_t first = 0; /* units before this one have been */
    while (text.len > 0) {
        uint64_t value = 0;
        int64_t part_ms;
        error = take_u64(&text, &value);
        const struct unit *unit = take_unit(units + first, ARRAY_LEN(units) - first, &text);
        if (error == -EINVAL || !unit) {
            return -EINVAL;
        }
        first = (size_t)(unit - units) + 1;
        fits = fits && !error && !__builtin_mul_overflow(value, unit->factor, &part_ms) &&
               !__builtin_add_overflow(total_ms, part_ms, &total_ms);
    }
    if (error == -EINVAL) {
        return -EINVAL;
    }
    if (!fits) {
        return -ERANGE;
    }
    *ret_ms = total_ms;
    return 0;
}

int str_to_bytes(struct str text, uint64_t *ret_bytes)
{
    static const struct unit units[] = {
        {"", 1},
        {"B", 1},
        {"KiB", UINT64_C(1) << 10},
        {"MiB", UINT64_C(1) << 20},
        {"GiB", UINT64_C(1) << 30},
        {"TiB", UINT64_C(1) << 40},
        {"kB", UINT64_C(1000)},
        {"MB", UINT64_C(1000000)},
        {"GB", UINT64_C(1000000000)},
        {"TB", UINT64_C(1000000000000)},
    };
    uint64_t value = 0;
    int error = take_u64(&text, &value);
    const struct unit *unit = take_unit(units, ARRAY_LEN(units), &text);
    if (error == -EINVAL || !unit || text.len > 0) {
        return -EINVAL;
    }
    if (error || __builtin_mul_overflow(value, unit->factor, &value)) {
        return -ERANGE;
    }
    *ret_bytes = value;
    return 0;
}
