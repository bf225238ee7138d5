#include "base/arena.h"

#include "base/fail.h"

#include <stdarg.h>
#include <stdio.h>

#define ARENA_ALIGN           16
#define ARENA_CHUNK_BYTES_MIN (4 * KIB) /* a small request costs one page */
#define ARENA_CHUNK_BYTES_MAX (1 * MIB) /* chunks double up to here; a larger piece gets a chunk of its own size */

/* With AddressSanitizer what is not handed out is poisoned, and pieces stand apart, so that a write past one is seen.
 */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(at, bytes)   __asan_poison_memory_region((at), (bytes))
#define UNPOISON(at, bytes) __asan_unpoison_memory_region((at), (bytes))
#define ARENA_GAP_BYTES     16
#else
#define POISON(at, bytes)   ((void)(at), (void)(bytes))
#define UNPOISON(at, bytes) ((void)(at), (void)(bytes))
#define ARENA_GAP_BYTES     0
#endif

struct arena_chunk {
    struct arena_chunk *next; /* older */
    size_t capacity;
    size_t used;
    _Alignas(ARENA_ALIGN) uint8_t bytes[];
};

void arena_init(struct arena *arena, size_t bytes_max)
{
    *arena = (struct arena){.bytes_max = bytes_max};
}

static void chunk_free(struct arena_chunk *chunk)
{
    UNPOISON(chunk->bytes, chunk->capacity);
    mem_free(chunk);
}

void arena_done(struct arena *arena)
{
    while (arena->chunks) {
        struct arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        chunk_free(chunk);
    }
    arena->used_bytes = 0;
}

void arena_reset(struct arena *arena)
{
    struct arena_chunk *largest = NULL;
    while (arena->chunks) {
        struct arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        if (largest && largest->capacity >= chunk->capacity) {
            chunk_free(chunk);
            continue;
        }
        if (largest) {
            chunk_free(largest);
        }
        largest = chunk;
    }
    arena->used_bytes = 0;
    if (largest) {
        largest->next = NULL;
        largest->used = 0;
        POISON(largest->bytes, largest->capacity);
        arena->chunks = largest;
    }
}

static struct arena_chunk *chunk_add(struct arena *arena, size_t bytes)
{
    size_t capacity = arena->chunks ? MIN(arena->chunks->capacity * 2, ARENA_CHUNK_BYTES_MAX) : ARENA_CHUNK_BYTES_MIN;
    capacity = MAX(capacity, bytes);
    size_t total = sizeof(struct arena_chunk) + capacity;
    struct arena_chunk *chunk = arena->bytes_max > 0 ? mem_try_alloc(total) : mem_alloc(total);
    if (!chunk) {
        return NULL;
    }
    chunk->next = arena->chunks;
    chunk->capacity = capacity;
    chunk->used = 0;
    POISON(chunk->bytes, chunk->capacity);
    arena->chunks = chunk;
    return chunk;
}

/* Too much: the caller's peer is answered where there is a ceiling, else there is nobody to tell. */
static void *too_much(const struct arena *arena, size_t bytes)
{
    if (arena->bytes_max == 0) {
        fatal("out of memory: arena of %zu bytes asked for %zu more", arena->used_bytes, bytes);
    }
    return NULL;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 2 || (arena->bytes_max > 0 && bytes > arena->bytes_max)) {
        return too_much(arena, bytes);
    }
    size_t rounded = (MAX(bytes, 1) + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (arena->bytes_max > 0 &&
        (arena->used_bytes > arena->bytes_max || rounded > arena->bytes_max - arena->used_bytes)) {
        return too_much(arena, bytes);
    }
    struct arena_chunk *chunk = arena->chunks;
    if (!chunk || chunk->capacity - chunk->used < rounded + ARENA_GAP_BYTES) {
        chunk = chunk_add(arena, rounded + ARENA_GAP_BYTES);
        if (!chunk) {
            return NULL;
        }
    }
    void *piece = chunk->bytes + chunk->used;
    chunk->used += rounded + ARENA_GAP_BYTES;
    arena->used_bytes += rounded;
    UNPOISON(piece, bytes);
    return piece;
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        return too_much(arena, SIZE_MAX);
    }
    void *items = arena_alloc(arena, bytes);
    return items ? memset(items, 0, bytes) : NULL;
}

struct str arena_str(struct arena *arena, struct str text)
{
    char *copy = text.len < SIZE_MAX ? arena_alloc(arena, text.len + 1) : too_much(arena, text.len);
    if (!copy) {
        return STR_NULL;
    }
    if (text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    copy[text.len] = '\0';
    return str_of(copy, text.len);
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = len >= 0 ? arena_alloc(arena, (size_t)len + 1) : too_much(arena, SIZE_MAX);
    if (text) {
        vsnprintf(text, (size_t)len + 1, format, again);
    }
    va_end(again);
    return text;
}
