#pragma once
/* Words that every file uses: results, cleanup by scope, sizes.
 *
 * Functions that can fail return int: 0 or a count on success, a negative errno on failure; their out-parameters
 * come last, are named ret_x and are untouched on failure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_CHECK                      __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#define UNUSED                          __attribute__((unused))

/* A local that is released when its scope ends: CLEANUP(buf_done) struct buf text = BUF_INIT(LIMIT);
 * The function gets the address of the variable. For pointers write a small x_freep() next to x_free(). */
#define CLEANUP(function) __attribute__((cleanup(function)))

/* Defines NAMEp(type **) for CLEANUP from NAME(type *). NAME must accept NULL. */
#define DEFINE_CLEANUP(type, name)                                                                                     \
    static inline UNUSED void name##p(type *pointer)                                                                   \
    {                                                                                                                  \
        name(*pointer);                                                                                                \
    }

/* Hands a pointer over: yields its value and leaves NULL behind, so that its cleanup does nothing. */
#define STEAL(pointer)                                                                                                 \
    ({                                                                                                                 \
        __typeof__(pointer) stolen_ = (pointer);                                                                       \
        (pointer) = NULL;                                                                                              \
        stolen_;                                                                                                       \
    })

/* The length of an array parameter, char text[AT_LEAST(32)]: checked by a C compiler, plain for the one C++ file. */
#ifdef __cplusplus
#define AT_LEAST(count) count
#else
#define AT_LEAST(count) static count
#endif

#define ARRAY_LEN(array)                    (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b)                           ((a) < (b) ? (a) : (b))
#define MAX(a, b)                           ((a) > (b) ? (a) : (b))
#define CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define KIB                                 ((size_t)1024)
#define MIB                                 (1024 * KIB)
#define GIB                                 (1024 * MIB)
