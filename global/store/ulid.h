#pragma once
/* Names of blocks: 26 characters of Crockford's base 32, 48 bits of milliseconds and 80 random bits; they sort by time
 * (github.com/ulid/spec). */
#include "base/random.h"
#include "base/str.h"

#define ULID_CHARS 26

struct ulid {
    char text[ULID_CHARS + 1];
};

struct ulid ulid_new(int64_t time_ms, struct random *random);
/* -EINVAL when it is none. */
MUST_CHECK int ulid_parse(struct str text, struct ulid *ret_ulid);
int64_t ulid_time_ms(const struct ulid *ulid);
