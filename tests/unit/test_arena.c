#include "base/arena.h"
#include "base/fail.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_pieces_are_aligned_and_apart(void **state)
{
    (void)state;
    enum { PIECES = 2000 };
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 0);
    uint8_t *pieces[PIECES];
    size_t lengths[PIECES];
    struct random random;
    random_seed(&random, 5);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < PIECES; i++) {
            lengths[i] = random_below(&random, 5000);
            pieces[i] = arena_alloc(&arena, lengths[i]);
            assert_int_equal((uintptr_t)pieces[i] % 16, 0);
            memset(pieces[i], (int)(i & 0xff), lengths[i]);
        }
        for (size_t i = 0; i < PIECES; i++) {
            for (size_t at = 0; at < lengths[i]; at++) {
                assert_int_equal(pieces[i][at], i & 0xff);
            }
        }
        arena_reset(&arena);
        assert_int_equal(arena.used_bytes, 0);
    }
}

static void test_the_ceiling(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 1000);
    size_t count = 0;
    while (arena_alloc(&arena, 10)) {
        count++;
    }
    assert_int_equal(count, 1000 / 16);
    assert_true(arena.used_bytes <= 1000);
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_alloc(&arena, SIZE_MAX - 20));
    assert_null(arena_array(&arena, SIZE_MAX / 2, 4));
    assert_null(arena_str(&arena, STR("a text of more than eight bytes")).ptr);
    assert_null(arena_printf(&arena, "%100s", ""));
    arena_reset(&arena);
    assert_non_null(arena_alloc(&arena, 992));
    assert_null(arena_alloc(&arena, 16));
    CLEANUP(arena_done) struct arena exact;
    arena_init(&exact, 992);
    assert_non_null(arena_alloc(&exact, 976));
    assert_non_null(arena_alloc(&exact, 16));
    assert_null(arena_alloc(&exact, 0));
}

static void test_without_memory_an_arena_with_a_ceiling_says_so(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 1000000);
    mem_fail_at(1);
    assert_null(arena_alloc(&arena, 10));
    assert_int_equal(arena.used_bytes, 0);
    assert_non_null(arena_alloc(&arena, 10)); /* once only */
}

static void test_arrays_are_zero(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 0);
    memset(arena_alloc(&arena, 4000), 0xff, 4000);
    arena_reset(&arena);
    const uint64_t *numbers = arena_array(&arena, 400, sizeof(*numbers));
    for (size_t i = 0; i < 400; i++) {
        assert_true(numbers[i] == 0);
    }
    assert_non_null(arena_array(&arena, 0, 8));
}

static void test_texts(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 0);
    char source[] = "abc";
    struct str copy = arena_str(&arena, str_of(source, 2));
    source[0] = 'x';
    assert_true(str_equal(copy, STR("ab")));
    assert_int_equal(copy.ptr[2], '\0');
    struct str empty = arena_str(&arena, STR_NULL);
    assert_non_null(empty.ptr);
    assert_string_equal(empty.ptr, "");
    assert_string_equal(arena_printf(&arena, "%s-%d", "a", 5), "a-5");
    char *long_text = arena_printf(&arena, "%10000d", 5);
    assert_int_equal(strlen(long_text), 10000);
}

static void test_reset_keeps_the_largest_chunk(void **state)
{
    (void)state;
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 0);
    arena_alloc(&arena, 10);
    void *large = arena_alloc(&arena, 3 * MIB);
    arena_alloc(&arena, 10);
    arena_reset(&arena);
    assert_ptr_equal(arena_alloc(&arena, 3 * MIB), large);
    arena_done(&arena);
    assert_null(arena.chunks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_are_aligned_and_apart),
        cmocka_unit_test(test_the_ceiling),
        cmocka_unit_test(test_without_memory_an_arena_with_a_ceiling_says_so),
        cmocka_unit_test(test_arrays_are_zero),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_reset_keeps_the_largest_chunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
