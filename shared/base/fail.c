#include "base/fail.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The one piece of state here, for tests alone: how many mem_try_alloc are left until one fails; 0 = none fails. */
static _Atomic uint64_t tries_until_failure;

void bug(const char *file, int line, const char *text)
{
    fprintf(stderr, "BUG: %s:%d: %s\n", file, line, text);
    abort();
}

int error_text(int error, char ret_text[AT_LEAST(256)], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ret_text, 256, format, args);
    va_end(args);
    return error;
}

void fatal(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    flockfile(stderr);
    fputs("FATAL: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    funlockfile(stderr);
    va_end(args);
    _exit(1); /* no exit handlers: other threads still run */
}

static void *checked(void *memory, size_t bytes)
{
    if (!memory) {
        fatal("out of memory: %zu bytes", bytes);
    }
    return memory;
}

void *mem_alloc(size_t bytes)
{
    return checked(malloc(MAX(bytes, 1)), bytes);
}

void *mem_zalloc(size_t bytes)
{
    return checked(calloc(1, MAX(bytes, 1)), bytes);
}

void *mem_array(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        fatal("out of memory: %zu times %zu bytes", count, size);
    }
    return mem_zalloc(bytes);
}

void *mem_resize(void *old, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        fatal("out of memory: %zu times %zu bytes", count, size);
    }
    return checked(realloc(old, MAX(bytes, 1)), bytes);
}

static bool try_fails(void)
{
    uint64_t left = atomic_load(&tries_until_failure);
    while (left > 0 && !atomic_compare_exchange_weak(&tries_until_failure, &left, left - 1)) {
    }
    return left == 1;
}

void *mem_try_alloc(size_t bytes)
{
    return try_fails() ? NULL : malloc(MAX(bytes, 1));
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t bytes)
{
    size_t len = strnlen(text, bytes);
    char *copy = mem_alloc(len + 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *mem_printf(const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0) {
        fatal("out of memory: formatting");
    }
    return text;
}

void mem_free(void *pointer)
{
    free(pointer);
}

void mem_trim(void)
{
    malloc_trim(0);
}

void mem_fail_at(uint64_t nth)
{
    atomic_store(&tries_until_failure, nth);
}
