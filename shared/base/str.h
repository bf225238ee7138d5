#pragma once
/* A view of bytes that somebody else owns. Not terminated by 0. ptr may be NULL only when len is 0. */
#include "base/defs.h"

#include <string.h>

struct str {
    const char *ptr;
    size_t len;
};

#define STR(literal)  ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NULL      ((struct str){NULL, 0})
#define STR_FMT       "%.*s"
#define STR_ARG(view) (int)MIN((view).len, (size_t)INT32_MAX), (view).ptr ? (view).ptr : ""

static inline struct str str_from(const char *text)
{
    return (struct str){text, text ? strlen(text) : 0};
}
static inline struct str str_of(const void *ptr, size_t len)
{
    return (struct str){(const char *)ptr, len};
}
static inline bool str_equal(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
/* Order of bytes, shorter first where one is the beginning of the other: < 0, 0, > 0. */
int str_compare(struct str a, struct str b);
bool str_starts_with(struct str text, struct str start);
bool str_ends_with(struct str text, struct str end);
/* First place of byte, or len. */
size_t str_find(struct str text, char byte);
/* Without spaces and tabs at both ends. */
struct str str_trim(struct str text);
/* Of a hexadecimal digit; -1: it is none. */
static inline int str_hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    char lower = (char)(digit | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}
uint64_t str_hash(struct str text); /* XXH3, 64 bits, stable within a process only */
/* Whoever chooses texts that this process keeps in maps must not be able to choose their hashes as well: daemons seed
 * them by chance, before anything is hashed. Else the seed is 0 and runs can be repeated. */
void str_hash_seed(uint64_t seed);
bool str_is_utf8(struct str text);

#define STR_NUMBER_BYTES_MAX 2048 /* of a double in text; exact decimals take some 1,100 at most */
/* Whole text as a number; -EINVAL when it is not one, -ERANGE when it does not fit. */
MUST_CHECK int str_to_u64(struct str text, uint64_t *ret_value);
MUST_CHECK int str_to_i64(struct str text, int64_t *ret_value);
MUST_CHECK int str_to_double(struct str text, double *ret_value); /* as strtod in the C locale, whole text */
/* "15s", "1h30m", "250ms", "1d" as Prometheus writes durations (units y w d h m s ms, each once, falling); "0". */
MUST_CHECK int str_to_duration_ms(struct str text, int64_t *ret_ms);
/* "4GiB", "512KiB", "1000" (bytes), also kB MB GB of 1000. */
MUST_CHECK int str_to_bytes(struct str text, uint64_t *ret_bytes);
