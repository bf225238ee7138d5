/* The loop: order of timers and deferred calls, real and simulated; posts from other threads; descriptors. */
#include "net/loop.h"

#include "base/fail.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct trace {
    char text[256];
    size_t len;
    struct loop *loop;
    struct loop_timer *timer;
};

static void note(struct trace *trace, char what)
{
    if (trace->len + 1 < sizeof(trace->text))
        trace->text[trace->len++] = what;
}

static void note_a(void *arg)
{
    note(arg, 'a');
}

static void note_b(void *arg)
{
    note(arg, 'b');
}

static void note_c(void *arg)
{
    note(arg, 'c');
}

struct simulation {
    struct clock *clock;
    struct loop *loop;
    struct trace trace;
};

static int setup_simulation(void **state)
{
    struct simulation *simulation = mem_zalloc(sizeof(*simulation));
    simulation->clock = clock_simulated_new(1000000);
    simulation->loop = loop_simulated_new(simulation->clock);
    simulation->trace.loop = simulation->loop;
    *state = simulation;
    return 0;
}

static int teardown_simulation(void **state)
{
    struct simulation *simulation = *state;
    loop_free(simulation->loop);
    clock_free(simulation->clock);
    mem_free(simulation);
    return 0;
}

static void timers_run_in_order_of_time_then_of_start(void **state)
{
    struct simulation *s = *state;
    struct loop_timer a, b, c;
    loop_timer_init(&a, s->loop, note_a, &s->trace);
    loop_timer_init(&b, s->loop, note_b, &s->trace);
    loop_timer_init(&c, s->loop, note_c, &s->trace);
    loop_timer_start(&c, 20, 0);
    loop_timer_start(&b, 10, 0);
    loop_timer_start(&a, 10, 0);
    loop_advance(s->loop, 9);
    assert_string_equal(s->trace.text, "");
    loop_advance(s->loop, 1);
    assert_string_equal(s->trace.text, "ba");
    loop_advance(s->loop, 100);
    assert_string_equal(s->trace.text, "bac");
    assert_int_equal(clock_wall_ms(s->clock), 1000110);
}

static void a_stopped_timer_does_not_run_and_a_restarted_one_runs_once(void **state)
{
    struct simulation *s = *state;
    struct loop_timer a, b;
    loop_timer_init(&a, s->loop, note_a, &s->trace);
    loop_timer_init(&b, s->loop, note_b, &s->trace);
    loop_timer_start(&a, 10, 0);
    loop_timer_start(&b, 10, 0);
    loop_timer_stop(&a);
    loop_timer_stop(&a);
    loop_timer_start(&b, 30, 0);
    loop_advance(s->loop, 29);
    assert_string_equal(s->trace.text, "");
    loop_advance(s->loop, 10);
    assert_string_equal(s->trace.text, "b");
    assert_false(b.active);
}

struct beat {
    struct clock *clock;
    int64_t at_ms[8];
    size_t count;
    struct loop_timer timer;
};

static void on_beat(void *arg)
{
    struct beat *beat = arg;
    beat->at_ms[beat->count++] = clock_wall_ms(beat->clock) - 1000000;
    if (beat->count == 3)
        loop_timer_stop(&beat->timer);
}

static void a_repeating_timer_keeps_its_raster_and_may_stop_itself(void **state)
{
    struct simulation *s = *state;
    struct beat beat = {.clock = s->clock};
    loop_timer_init(&beat.timer, s->loop, on_beat, &beat);
    loop_timer_start(&beat.timer, 5, 10);
    loop_advance(s->loop, 1000);
    assert_int_equal(beat.count, 3);
    assert_int_equal(beat.at_ms[0], 5);
    assert_int_equal(beat.at_ms[1], 15);
    assert_int_equal(beat.at_ms[2], 25);
}

static void many_timers_keep_the_heap_sound(void **state)
{
    enum { COUNT = 500 };
    struct simulation *s = *state;
    struct loop_timer *timers = mem_array(COUNT, sizeof(*timers));
    struct trace trace = {0};
    uint32_t seed = 12345;
    size_t stopped = 0;
    for (size_t i = 0; i < COUNT; i++) {
        seed = seed * 1664525 + 1013904223;
        loop_timer_init(&timers[i], s->loop, note_a, &trace);
        loop_timer_start(&timers[i], seed >> 22, 0);
    }
    for (size_t i = 0; i < COUNT; i += 3, stopped++)
        loop_timer_stop(&timers[i]);
    int64_t last_ms = 0;
    size_t ran = 0;
    for (int step = 0; step < 1024; step++) {
        trace.len = 0;
        loop_advance(s->loop, 1);
        ran += trace.len;
        for (size_t i = 0; i < COUNT; i++) {
            bool due = timers[i].due_ms <= clock_mono_ms(s->clock);
            if (i % 3 != 0)
                assert_int_equal(timers[i].active, !due);
        }
        last_ms = clock_mono_ms(s->clock);
    }
    assert_true(last_ms > 0);
    assert_int_equal(ran, COUNT - stopped);
    mem_free(timers);
}

static void defer_again(void *arg)
{
    struct trace *trace = arg;
    note(trace, 'd');
    loop_defer(trace->loop, note_a, trace);
    note(trace, 'D');
}

static void deferred_calls_run_after_the_callback(void **state)
{
    struct simulation *s = *state;
    loop_defer(s->loop, defer_again, &s->trace);
    loop_defer(s->loop, note_b, &s->trace);
    assert_string_equal(s->trace.text, "");
    loop_settle(s->loop);
    assert_string_equal(s->trace.text, "dDba");
}

static void a_timer_of_no_time_waits_for_its_turn(void **state)
{
    struct simulation *s = *state;
    struct loop_timer a;
    loop_timer_init(&a, s->loop, note_a, &s->trace);
    loop_timer_start(&a, 0, 0);
    assert_string_equal(s->trace.text, "");
    loop_settle(s->loop);
    assert_string_equal(s->trace.text, "a");
}

/* ---- Real ---- */

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

static void stop_traced(void *arg)
{
    struct trace *trace = arg;
    note(trace, 's');
    loop_stop(trace->loop);
}

static void a_real_loop_runs_timers_and_stops(void **state)
{
    (void)state;
    CLEANUP(loop_freep) struct loop *loop = loop_new();
    struct trace trace = {.loop = loop};
    struct loop_timer a, stop;
    loop_timer_init(&a, loop, note_a, &trace);
    loop_timer_init(&stop, loop, stop_traced, &trace);
    loop_timer_start(&stop, 20, 0);
    loop_timer_start(&a, 5, 0);
    int64_t start_ms = clock_mono_ms(loop_clock(loop));
    loop_run(loop);
    assert_string_equal(trace.text, "as");
    assert_true(clock_mono_ms(loop_clock(loop)) - start_ms >= 19);
    loop_defer(loop, stop_loop, loop); /* it may run again */
    loop_run(loop);
}

struct poster {
    struct loop *loop;
    unsigned long *sum;
    unsigned long count;
};

static void add_one(void *arg)
{
    ++*(unsigned long *)arg;
}

static void *post_many(void *arg)
{
    struct poster *poster = arg;
    for (unsigned long i = 0; i < poster->count; i++)
        loop_post(poster->loop, add_one, poster->sum);
    return NULL;
}

struct waiter {
    struct loop *loop;
    struct loop_timer timer;
    unsigned long *sum, wanted;
};

static void check_sum(void *arg)
{
    struct waiter *waiter = arg;
    if (*waiter->sum == waiter->wanted)
        loop_stop(waiter->loop);
}

/* More than LOOP_POSTED_MAX, so that the threads have to wait for room. */
static void posts_of_threads_all_arrive(void **state)
{
    (void)state;
    enum { THREADS = 3, EACH = 50000 };
    CLEANUP(loop_freep) struct loop *loop = loop_new();
    unsigned long sum = 0;
    struct poster poster = {loop, &sum, EACH};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &poster), 0);
    struct waiter waiter = {.loop = loop, .sum = &sum, .wanted = THREADS * EACH};
    loop_timer_init(&waiter.timer, loop, check_sum, &waiter);
    loop_timer_start(&waiter.timer, 0, 1);
    loop_run(loop);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(sum, THREADS * EACH);
}

struct pipe_end {
    struct loop *loop;
    struct loop_watch *watch;
    int fd;
    char seen[8];
};

static void on_readable(void *arg, int events)
{
    struct pipe_end *end = arg;
    assert_true(events & LOOP_READ);
    ssize_t len = recv(end->fd, end->seen, sizeof(end->seen) - 1, 0);
    assert_true(len > 0);
    end->seen[len] = '\0';
    loop_watch_free(end->watch); /* in its own callback */
    end->watch = NULL;
    loop_stop(end->loop);
}

static void a_descriptor_is_watched_and_may_be_freed_in_its_callback(void **state)
{
    (void)state;
    CLEANUP(loop_freep) struct loop *loop = loop_new();
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    struct pipe_end end = {.loop = loop, .fd = fds[0]};
    end.watch = loop_watch_new(loop, fds[0], LOOP_READ, on_readable, &end);
    assert_int_equal(send(fds[1], "hello", 5, 0), 5);
    loop_run(loop);
    assert_string_equal(end.seen, "hello");
    close(fds[0]);
    close(fds[1]);
}

static void a_signal_reaches_the_loop(void **state)
{
    (void)state;
    CLEANUP(loop_freep) struct loop *loop = loop_new();
    loop_on_signal(loop, SIGUSR1, stop_loop, loop);
    kill(getpid(), SIGUSR1);
    loop_run(loop);
}

static void settle_runs_what_was_posted_without_waiting(void **state)
{
    (void)state;
    CLEANUP(loop_freep) struct loop *loop = loop_new();
    struct trace trace = {.loop = loop};
    struct loop_timer far;
    loop_timer_init(&far, loop, note_c, &trace);
    loop_timer_start(&far, 3600000, 0);
    loop_post(loop, note_a, &trace);
    loop_defer(loop, note_b, &trace);
    loop_settle(loop);
    assert_string_equal(trace.text, "ab");
    loop_timer_stop(&far);
}

int main(void)
{
#define SIMULATED(test) cmocka_unit_test_setup_teardown(test, setup_simulation, teardown_simulation)
    const struct CMUnitTest tests[] = {
        SIMULATED(timers_run_in_order_of_time_then_of_start),
        SIMULATED(a_stopped_timer_does_not_run_and_a_restarted_one_runs_once),
        SIMULATED(a_repeating_timer_keeps_its_raster_and_may_stop_itself),
        SIMULATED(many_timers_keep_the_heap_sound),
        SIMULATED(deferred_calls_run_after_the_callback),
        SIMULATED(a_timer_of_no_time_waits_for_its_turn),
        cmocka_unit_test(a_real_loop_runs_timers_and_stops),
        cmocka_unit_test(posts_of_threads_all_arrive),
        cmocka_unit_test(a_descriptor_is_watched_and_may_be_freed_in_its_callback),
        cmocka_unit_test(a_signal_reaches_the_loop),
        cmocka_unit_test(settle_runs_what_was_posted_without_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
