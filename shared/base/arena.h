#pragma once
/* Memory that is freed all at once: one arena per scrape, request, query. Not safe for several threads.
 * Past bytes_max arena_alloc returns NULL (the caller answers its peer); 0 = no ceiling, then it never returns NULL. */
#include "base/defs.h"
#include "base/str.h"

struct arena_chunk;
struct arena {
    struct arena_chunk *chunks;
    size_t used_bytes; /* handed out since the last reset */
    size_t bytes_max;
};

void arena_init(struct arena *arena, size_t bytes_max);
void arena_done(struct arena *arena);
/* All memory back; the largest chunk is kept for the next round. */
void arena_reset(struct arena *arena);
void *arena_alloc(struct arena *arena, size_t bytes);              /* aligned to 16, not zeroed */
void *arena_array(struct arena *arena, size_t count, size_t size); /* overflow checked, zeroed */
struct str arena_str(struct arena *arena, struct str text);        /* a copy, terminated by 0 behind len */
char *arena_printf(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);
