#include "base/log.h"

#include "base/clock.h"
#include "base/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define LOG_LINE_BYTES_MAX 4096 /* bytes; what is longer is cut: one line is one write of at most a page */
#define LOG_LIMIT_PROBES   16   /* slots that are looked at for a key */

/* Of the process, as stderr is. */
static _Atomic int level_min = LOG_INFO;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&level_min, (int)level, memory_order_relaxed);
}

const char *log_level(void)
{
    return level_names[atomic_load_explicit(&level_min, memory_order_relaxed)];
}

int log_level_parse(const char *name, enum log_level *ret_level)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

void log_at(enum log_level level, const char *format, ...)
{
    if ((int)level < atomic_load_explicit(&level_min, memory_order_relaxed)) {
        return;
    }
    char line[LOG_LINE_BYTES_MAX];
    char when[32];
    clock_format_rfc3339(clock_wall_ms(clock_real()), when);
    size_t start = (size_t)snprintf(line, sizeof(line), "%s %s ", when, level_names[level]);
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(line + start, sizeof(line) - start, format, args);
    va_end(args);
    if (wanted < 0) {
        return;
    }
    size_t len = start + (size_t)wanted;
    if (len > sizeof(line) - 1) {
        len = sizeof(line) - 1;
        memcpy(line + len - 3, "...", 3); // NOLINT(bugprone-not-null-terminated-result): its length is known
    }
    /* A peer's text must not be able to write lines of its own, nor to steer a terminal. */
    for (size_t i = start; i < len; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) {
            line[i] = ' ';
        }
    }
    line[len] = '\n'; /* over the terminator: at most sizeof(line) bytes */
    fwrite(line, 1, len + 1, stderr);
}

void log_limit_init(struct log_limit *limit)
{
    /* One slot more: the one that keys share for which there is no room. */
    *limit = (struct log_limit){.keys = mem_array(LOG_LIMIT_KEYS + 1, sizeof(*limit->keys)),
                                .until_ms = mem_array(LOG_LIMIT_KEYS + 1, sizeof(*limit->until_ms))};
    for (size_t i = 0; i <= LOG_LIMIT_KEYS; i++) {
        limit->until_ms[i] = INT64_MIN;
    }
}

void log_limit_done(struct log_limit *limit)
{
    mem_free(limit->keys);
    mem_free(limit->until_ms);
    *limit = (struct log_limit){0};
}

/* The key's slot, else one whose time is over, else the shared one. */
static size_t limit_slot(const struct log_limit *limit, uint64_t key, int64_t now_ms)
{
    size_t start = (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 32);
    size_t found = LOG_LIMIT_KEYS;
    for (size_t i = 0; i < LOG_LIMIT_PROBES; i++) {
        size_t slot = (start + i) % LOG_LIMIT_KEYS;
        bool over = limit->until_ms[slot] <= now_ms;
        if (!over && limit->keys[slot] == key) {
            return slot;
        }
        if (over && found == LOG_LIMIT_KEYS) {
            found = slot;
        }
    }
    return found;
}

bool log_limit_allow(struct log_limit *limit, uint64_t key, int64_t now_ms, int64_t interval_ms)
{
    size_t slot = limit_slot(limit, key, now_ms);
    if (limit->until_ms[slot] > now_ms) {
        limit->suppressed++;
        return false;
    }
    limit->keys[slot] = key;
    limit->until_ms[slot] = now_ms + interval_ms;
    return true;
}
