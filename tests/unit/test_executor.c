/* The executor: a pool that does everything once, its ceiling, its end; inline in order. */
#include "net/executor.h"

#include "base/fail.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

struct tally {
    struct loop *loop;
    atomic_uint worked;
    unsigned done, wanted;
};

static void work(void *arg)
{
    struct tally *tally = arg;
    atomic_fetch_add(&tally->worked, 1);
}

static void done(void *arg)
{
    struct tally *tally = arg;
    if (++tally->done == tally->wanted)
        loop_stop(tally->loop);
}

static void a_pool_works_everything_and_tells_the_loop(void **state)
{
    (void)state;
    CLEANUP(loop_freep) struct loop *loop = loop_new();
    struct executor *pool = executor_pool_new(3, 1000);
    struct tally tally = {.loop = loop, .wanted = 1000};
    for (unsigned i = 0; i < tally.wanted; i++)
        assert_int_equal(executor_submit(pool, loop, work, done, &tally), 0);
    loop_run(loop);
    assert_int_equal(tally.worked, 1000);
    assert_int_equal(tally.done, 1000);
    executor_free(pool);
}

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool entered, open;
};

static void wait_at_gate(void *arg)
{
    struct gate *gate = arg;
    pthread_mutex_lock(&gate->lock);
    gate->entered = true;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open)
        pthread_cond_wait(&gate->changed, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
}

static void a_full_queue_refuses_and_free_works_off_the_rest(void **state)
{
    (void)state;
    CLEANUP(loop_freep) struct loop *loop = loop_new();
    struct executor *pool = executor_pool_new(1, 2);
    struct gate gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false};
    struct tally tally = {.loop = loop};
    assert_int_equal(executor_submit(pool, loop, wait_at_gate, NULL, &gate), 0);
    pthread_mutex_lock(&gate.lock);
    while (!gate.entered)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    assert_int_equal(executor_submit(pool, loop, work, done, &tally), 0);
    assert_int_equal(executor_submit(pool, loop, work, done, &tally), 0);
    assert_int_equal(executor_queued(pool), 2);
    assert_int_equal(executor_submit(pool, loop, work, done, &tally), -EAGAIN);
    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
    executor_free(pool);
    assert_int_equal(tally.worked, 2);
    assert_int_equal(tally.done, 0);
    loop_settle(loop);
    assert_int_equal(tally.done, 2);
}

struct step {
    char *text;
    size_t *len;
    char work, done;
};

static void step_work(void *arg)
{
    struct step *step = arg;
    step->text[(*step->len)++] = step->work;
}

static void step_done(void *arg)
{
    struct step *step = arg;
    step->text[(*step->len)++] = step->done;
}

static void inline_runs_in_order_when_the_loop_turns(void **state)
{
    (void)state;
    CLEANUP(clock_freep) struct clock *clock = clock_simulated_new(0);
    CLEANUP(loop_freep) struct loop *loop = loop_simulated_new(clock);
    struct executor *executor = executor_inline_new();
    char text[16] = "";
    size_t len = 0;
    struct step steps[] = {{text, &len, 'a', 'A'}, {text, &len, 'b', 'B'}, {text, &len, 'c', 'C'}};
    assert_int_equal(executor_submit(executor, loop, step_work, step_done, &steps[0]), 0);
    assert_int_equal(executor_submit(executor, loop, step_work, step_done, &steps[1]), 0);
    assert_string_equal(text, "");
    loop_settle(loop);
    assert_string_equal(text, "aAbB");
    assert_int_equal(executor_submit(executor, loop, step_work, step_done, &steps[2]), 0);
    executor_free(executor);
    assert_string_equal(text, "aAbBcC");
    loop_settle(loop);
    assert_int_equal(len, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pool_works_everything_and_tells_the_loop),
        cmocka_unit_test(a_full_queue_refuses_and_free_works_off_the_rest),
        cmocka_unit_test(inline_runs_in_order_when_the_loop_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
