/* The log's lines and its limit, randomness, and the ends of the road. */
#include "base/fail.h"
#include "base/log.h"
#include "base/random.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Runs a function in a child; what it wrote to stderr, and how it ended. */
static int output_of(void (*function)(void), char *ret_text, size_t bytes)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        signal(SIGABRT, SIG_DFL);
        function();
        _exit(0);
    }
    close(ends[1]);
    size_t len = 0;
    ssize_t got;
    while (len < bytes - 1 && (got = read(ends[0], ret_text + len, bytes - 1 - len)) > 0) {
        len += (size_t)got;
    }
    ret_text[len] = '\0';
    close(ends[0]);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void log_some(void)
{
    enum log_level level;
    if (log_level_parse("warn", &level) != 0) {
        _exit(1);
    }
    log_set_level(level);
    log_info("not seen");
    log_warn("disk %d %% full", 90);
    log_error("a peer says \"x\n2026-01-01T00:00:00.000Z info forged\x1b[2J\"");
    log_error("%5000s", "long");
    log_set_level(LOG_DEBUG);
    log_debug("seen");
}

static void test_lines(void **state)
{
    (void)state;
    char text[16384];
    assert_int_equal(output_of(log_some, text, sizeof(text)), 0);
    char *rest = text;
    char *line = strsep(&rest, "\n");
    assert_int_equal(line[10], 'T');
    assert_int_equal(line[23], 'Z');
    assert_string_equal(line + 24, " warn disk 90 % full");
    line = strsep(&rest, "\n");
    assert_string_equal(line + 24, " error a peer says \"x 2026-01-01T00:00:00.000Z info forged [2J\"");
    line = strsep(&rest, "\n");
    assert_int_equal(strlen(line), 4095); /* with its end of line, a page */
    assert_string_equal(line + 4092, "...");
    line = strsep(&rest, "\n");
    assert_string_equal(line + 24, " debug seen");
    assert_string_equal(rest, "");
}

static void test_levels(void **state)
{
    (void)state;
    enum log_level level = LOG_ERROR;
    assert_int_equal(log_level_parse("debug", &level), 0);
    assert_int_equal(level, LOG_DEBUG);
    assert_int_equal(log_level_parse("Debug", &level), -EINVAL);
    assert_int_equal(log_level_parse("", &level), -EINVAL);
    assert_int_equal(level, LOG_DEBUG);
}

static void test_one_line_per_key_and_interval(void **state)
{
    (void)state;
    CLEANUP(log_limit_done) struct log_limit limit;
    log_limit_init(&limit);
    assert_true(log_limit_allow(&limit, 0, 0, 1000));
    assert_false(log_limit_allow(&limit, 0, 0, 1000));
    assert_true(log_limit_allow(&limit, 1, 0, 1000));
    assert_false(log_limit_allow(&limit, 0, 999, 1000));
    assert_true(log_limit_allow(&limit, 0, 1000, 1000));
    assert_false(log_limit_allow(&limit, 0, 1001, 1000));
    assert_int_equal(limit.suppressed, 3);
}

static void test_some_keys_do_not_hide_each_other(void **state)
{
    (void)state;
    CLEANUP(log_limit_done) struct log_limit limit;
    log_limit_init(&limit);
    for (uint64_t key = 0; key < 300; key++) {
        assert_true(log_limit_allow(&limit, key * key * 7919, 0, 1000));
    }
    assert_int_equal(limit.suppressed, 0);
}

static void test_many_keys_cannot_flood(void **state)
{
    (void)state;
    CLEANUP(log_limit_done) struct log_limit limit;
    log_limit_init(&limit);
    for (int64_t now_ms = 0; now_ms < 3000; now_ms += 1000) {
        size_t allowed = 0;
        for (uint64_t key = 0; key < 100000; key++) {
            allowed += log_limit_allow(&limit, key, now_ms, 1000);
        }
        assert_true(allowed > LOG_LIMIT_KEYS / 2);
        assert_true(allowed <= LOG_LIMIT_KEYS + 1);
    }
}

static void test_random_repeats_by_its_seed(void **state)
{
    (void)state;
    struct random a;
    struct random b;
    random_seed(&a, 42);
    random_seed(&b, 42);
    for (int i = 0; i < 1000; i++) {
        assert_true(random_next(&a) == random_next(&b));
    }
    random_seed(&b, 43);
    assert_true(random_next(&a) != random_next(&b));
    /* The authors' reference implementation of xoshiro256**, state 1, 2, 3, 4. */
    struct random known = {{1, 2, 3, 4}};
    assert_true(random_next(&known) == 11520);
    assert_true(random_next(&known) == 0);
    assert_true(random_next(&known) == 1509978240);
    assert_true(random_next(&known) == UINT64_C(1215971899390074240));
}

static void test_random_is_fair_enough(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 7);
    int counts[6] = {0};
    double sum = 0;
    for (int i = 0; i < 60000; i++) {
        counts[random_below(&random, 6)]++;
        double unit = random_unit(&random);
        assert_true(unit >= 0 && unit < 1);
        sum += unit;
    }
    for (int i = 0; i < 6; i++) {
        assert_in_range(counts[i], 9500, 10500); /* five standard deviations */
    }
    assert_true(sum > 29500 && sum < 30500);
    assert_int_equal(random_below(&random, 1), 0);
    random_seed_from_system(&random);
    uint8_t secrets[2][32] = {{0}};
    random_secret(secrets[0], 32);
    random_secret(secrets[1], 32);
    assert_memory_not_equal(secrets[0], secrets[1], 32);
}

static void test_memory(void **state)
{
    (void)state;
    CLEANUP_FREE char *text = mem_printf("%s-%d", "a", 5);
    assert_string_equal(text, "a-5");
    CLEANUP_FREE char *part = mem_strndup("abcdef", 3);
    assert_string_equal(part, "abc");
    CLEANUP_FREE char *shorter = mem_strndup("ab", 10);
    assert_string_equal(shorter, "ab");
    CLEANUP_FREE void *nothing = mem_alloc(0);
    assert_non_null(nothing);
    CLEANUP_FREE int *numbers = mem_array(3, sizeof(*numbers));
    assert_int_equal(numbers[2], 0);
    numbers[2] = 7;
    numbers = mem_resize(numbers, 1000, sizeof(*numbers));
    assert_int_equal(numbers[2], 7);
    mem_fail_at(2);
    CLEANUP_FREE void *first = mem_try_alloc(10);
    assert_non_null(first);
    assert_null(mem_try_alloc(10));
    CLEANUP_FREE void *third = mem_try_alloc(10);
    assert_non_null(third);
}

static void overflow(void)
{
    volatile size_t many = SIZE_MAX / 2;
    mem_free(mem_array(many, 3));
}

static void break_invariant(void)
{
    volatile int one = 1;
    ASSERT(one == 2);
}

static void test_the_ends_of_the_road(void **state)
{
    (void)state;
    char text[1024];
    int status = output_of(overflow, text, sizeof(text));
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_true(strncmp(text, "FATAL: out of memory", 20) == 0);
    status = output_of(break_invariant, text, sizeof(text));
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "test_log.c"));
    assert_non_null(strstr(text, "one == 2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_one_line_per_key_and_interval),
        cmocka_unit_test(test_some_keys_do_not_hide_each_other),
        cmocka_unit_test(test_many_keys_cannot_flood),
        cmocka_unit_test(test_random_repeats_by_its_seed),
        cmocka_unit_test(test_random_is_fair_enough),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_the_ends_of_the_road),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
