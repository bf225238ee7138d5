#pragma once
/* Lines on stderr: "2026-01-02T03:04:05.678Z level message". Libraries log at debug only; the daemon logs once, where
 * it knows host, batch and consequence. Secrets never come here. Safe from any thread. */
#include "base/defs.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level level);
const char *log_level(void); /* the name of the one that was set */
/* "debug", "info", "warn", "error"; -EINVAL for others. */
MUST_CHECK int log_level_parse(const char *name, enum log_level *ret_level);
void log_at(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)

/* Lets one line through per key and interval: a peer that sends garbage must not fill the log. Owned by one thread.
 * At most LOG_LIMIT_KEYS keys are remembered; others share one slot. */
#define LOG_LIMIT_KEYS 1024
struct log_limit {
    uint64_t *keys;
    int64_t *until_ms;
    uint64_t suppressed; /* lines not let through since the start */
};
void log_limit_init(struct log_limit *limit);
void log_limit_done(struct log_limit *limit);
bool log_limit_allow(struct log_limit *limit, uint64_t key, int64_t now_ms, int64_t interval_ms);
