#pragma once
/* The end of the road, and memory.
 *
 * Three failures, three words: an operating error is returned; a broken environment is fatal(); our own mistake is
 * bug(). What a peer sends never reaches bug().
 *
 * mem_* never return NULL: without memory the process ends by fatal(). Where the size comes from outside and is large,
 * use mem_try_alloc and answer the peer instead. Zero bytes are allowed and give a pointer that may be freed. */
#include "base/defs.h"

_Noreturn void bug(const char *file, int line, const char *text);
_Noreturn void fatal(const char *format, ...) PRINTF_LIKE(1, 2);

/* An operating error with its reason: fills ret_text, cut where it is too long, and returns error. */
int error_text(int error, char ret_text[AT_LEAST(256)], const char *format, ...) PRINTF_LIKE(3, 4);

/* Our own invariant, checked in every build: ends the process with file, line and text. */
#define ASSERT(condition) ((condition) ? (void)0 : bug(__FILE__, __LINE__, #condition))

void *mem_alloc(size_t bytes) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(size_t bytes) __attribute__((malloc, returns_nonnull));
/* count * size, checked for overflow, zeroed. */
void *mem_array(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
/* Grows to count * size, checked for overflow; new bytes are not zeroed. old may be NULL. */
void *mem_resize(void *old, size_t count, size_t size) __attribute__((returns_nonnull));
void *mem_try_alloc(size_t bytes) __attribute__((malloc));
char *mem_strdup(const char *text) __attribute__((malloc, returns_nonnull));
char *mem_strndup(const char *text, size_t bytes) __attribute__((malloc, returns_nonnull));
char *mem_printf(const char *format, ...) PRINTF_LIKE(1, 2) __attribute__((returns_nonnull));
void mem_free(void *pointer); /* NULL is allowed */
/* Gives what is free back to the system, which malloc hardly does by itself: after hundreds of megabytes of small
 * blocks. Takes milliseconds. */
void mem_trim(void);

/* For tests: the nth mem_try_alloc from now on fails (0 = none). */
void mem_fail_at(uint64_t nth);

static inline void mem_freep(void *pointer_to_pointer)
{
    mem_free(*(void **)pointer_to_pointer);
}
#define CLEANUP_FREE CLEANUP(mem_freep)
