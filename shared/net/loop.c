#include "net/loop.h"

#include "base/fail.h"

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>

/* A simulated turn that never comes to rest is a timer that restarts itself at once: our mistake, better named than
 * hung. */
#define LOOP_SETTLE_TURNS_MAX 10000000
/* A wait that nothing ends is cut here, so that no arithmetic on far timers can go wrong. */
#define LOOP_WAIT_MS_MAX 3600000

struct call {
    loop_fn *fn;
    void *arg;
};

struct call_queue {
    struct call *items;
    size_t count, capacity;
};

struct signal_watch {
    ev_signal ev;
    struct signal_watch *next;
    loop_fn *fn;
    void *arg;
};

struct loop {
    struct clock *clock;
    struct ev_loop *ev; /* NULL: simulated */
    ev_timer wait_timer;
    ev_async wake;
    struct signal_watch *signals;

    struct loop_timer **heap; /* by due time, then by order of start */
    size_t timer_count, timer_capacity;
    uint64_t order_next;

    struct call_queue deferred, running;
    uint64_t calls_run; /* tells whether a turn did anything */
    bool in_turn;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t room;
    struct call_queue posted, taken; /* taken: the loop's own */
    pthread_t thread;
    atomic_bool stop;
};

struct loop_watch {
    ev_io ev;
    struct loop *loop;
    loop_watch_fn *fn;
    void *arg;
    int fd;
    int events;
};

static void queue_push(struct call_queue *queue, loop_fn *fn, void *arg)
{
    if (queue->count == queue->capacity) {
        queue->capacity = queue->capacity ? queue->capacity * 2 : 16;
        queue->items = mem_resize(queue->items, queue->capacity, sizeof(*queue->items));
    }
    queue->items[queue->count++] = (struct call){fn, arg};
}

static void queue_swap(struct call_queue *a, struct call_queue *b)
{
    struct call_queue old = *a;
    *a = *b;
    *b = old;
}

static void queue_run(struct loop *loop, struct call_queue *queue)
{
    for (size_t i = 0; i < queue->count; i++) {
        loop->calls_run++;
        queue->items[i].fn(queue->items[i].arg);
    }
    queue->count = 0;
}

/* ---- Lifecycle ---- */

static struct loop *new_loop(struct clock *clock)
{
    struct loop *loop = mem_zalloc(sizeof(*loop));
    loop->clock = clock;
    loop->thread = pthread_self();
    atomic_init(&loop->stop, false);
    ASSERT(pthread_mutex_init(&loop->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&loop->room, NULL) == 0);
    return loop;
}

/* Events only end the wait; what they mean is done by the turn. */
static void on_wake(struct ev_loop *ev, ev_async *watcher, int events)
{
    (void)ev, (void)watcher, (void)events;
}

static void on_wait_over(struct ev_loop *ev, ev_timer *watcher, int events)
{
    (void)ev, (void)watcher, (void)events;
}

struct loop *loop_new(void)
{
    struct loop *loop = new_loop(clock_real());
    loop->ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (!loop->ev)
        fatal("no event loop: the descriptor limit may be too low");
    ev_async_init(&loop->wake, on_wake);
    ev_async_start(loop->ev, &loop->wake);
    ev_timer_init(&loop->wait_timer, on_wait_over, 0., 0.);
    return loop;
}

struct loop *loop_simulated_new(struct clock *simulated_clock)
{
    ASSERT(clock_is_simulated(simulated_clock));
    return new_loop(simulated_clock);
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    ASSERT(!loop->in_turn);
    while (loop->signals) {
        struct signal_watch *watch = loop->signals;
        loop->signals = watch->next;
        ev_signal_stop(loop->ev, &watch->ev);
        mem_free(watch);
    }
    if (loop->ev) {
        ev_async_stop(loop->ev, &loop->wake);
        ev_timer_stop(loop->ev, &loop->wait_timer);
        ev_loop_destroy(loop->ev);
    }
    pthread_mutex_destroy(&loop->lock);
    pthread_cond_destroy(&loop->room);
    mem_free(loop->heap);
    mem_free(loop->deferred.items);
    mem_free(loop->running.items);
    mem_free(loop->posted.items);
    mem_free(loop->taken.items);
    mem_free(loop);
}

struct clock *loop_clock(struct loop *loop)
{
    return loop->clock;
}

bool loop_is_simulated(const struct loop *loop)
{
    return !loop->ev;
}

/* ---- Timers: one binary heap, real or simulated ---- */

static bool earlier(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void heap_place(struct loop *loop, size_t index, struct loop_timer *timer)
{
    loop->heap[index] = timer;
    timer->heap_index = index;
}

static void heap_up(struct loop *loop, size_t index, struct loop_timer *timer)
{
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (!earlier(timer, loop->heap[parent]))
            break;
        heap_place(loop, index, loop->heap[parent]);
        index = parent;
    }
    heap_place(loop, index, timer);
}

static void heap_down(struct loop *loop, size_t index, struct loop_timer *timer)
{
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= loop->timer_count)
            break;
        if (child + 1 < loop->timer_count && earlier(loop->heap[child + 1], loop->heap[child]))
            child++;
        if (!earlier(loop->heap[child], timer))
            break;
        heap_place(loop, index, loop->heap[child]);
        index = child;
    }
    heap_place(loop, index, timer);
}

static void heap_insert(struct loop *loop, struct loop_timer *timer)
{
    if (loop->timer_count == loop->timer_capacity) {
        loop->timer_capacity = loop->timer_capacity ? loop->timer_capacity * 2 : 64;
        loop->heap = mem_resize(loop->heap, loop->timer_capacity, sizeof(struct loop_timer *));
    }
    timer->order = loop->order_next++;
    timer->active = true;
    loop->timer_count++;
    heap_up(loop, loop->timer_count - 1, timer);
}

static void heap_remove(struct loop *loop, struct loop_timer *timer)
{
    size_t index = timer->heap_index;
    ASSERT(index < loop->timer_count && loop->heap[index] == timer);
    struct loop_timer *last = loop->heap[--loop->timer_count];
    timer->active = false;
    if (last == timer)
        return;
    if (index > 0 && earlier(last, loop->heap[(index - 1) / 2]))
        heap_up(loop, index, last);
    else
        heap_down(loop, index, last);
}

void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_fn *fn, void *arg)
{
    *timer = (struct loop_timer){.loop = loop, .fn = fn, .arg = arg};
}

void loop_timer_start(struct loop_timer *timer, int64_t after_ms, int64_t repeat_ms)
{
    ASSERT(timer->loop && repeat_ms >= 0);
    loop_timer_stop(timer);
    int64_t now_ms = clock_mono_ms(timer->loop->clock);
    timer->due_ms = after_ms <= 0 ? now_ms : after_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + after_ms;
    timer->repeat_ms = repeat_ms;
    heap_insert(timer->loop, timer);
}

void loop_timer_stop(struct loop_timer *timer)
{
    if (timer->active)
        heap_remove(timer->loop, timer);
}

/* Runs what is due; what is started meanwhile waits for the next turn, so that a timer of 0 ms starves nobody. */
static void run_timers(struct loop *loop)
{
    int64_t now_ms = clock_mono_ms(loop->clock);
    uint64_t order_end = loop->order_next;
    while (loop->timer_count > 0) {
        struct loop_timer *timer = loop->heap[0];
        if (timer->due_ms > now_ms || timer->order >= order_end)
            return;
        heap_remove(loop, timer);
        if (timer->repeat_ms > 0) {
            /* Times missed by a stalled loop are left out; the raster stays. */
            int64_t behind_ms = now_ms - timer->due_ms;
            timer->due_ms += (behind_ms / timer->repeat_ms + 1) * timer->repeat_ms;
            heap_insert(loop, timer);
        }
        loop->calls_run++;
        timer->fn(timer->arg);
    }
}

/* ---- Turns ---- */

static void run_posted(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    bool was_full = loop->posted.count >= LOOP_POSTED_MAX;
    queue_swap(&loop->posted, &loop->taken);
    if (was_full)
        pthread_cond_broadcast(&loop->room);
    pthread_mutex_unlock(&loop->lock);
    queue_run(loop, &loop->taken);
}

static void poll_events(struct loop *loop, bool may_wait)
{
    int flags = EVRUN_NOWAIT;
    if (may_wait && loop->deferred.count == 0) {
        double wait_s = LOOP_WAIT_MS_MAX / 1e3;
        if (loop->timer_count > 0) {
            int64_t left_ms = MIN(loop->heap[0]->due_ms - clock_mono_ms(loop->clock), LOOP_WAIT_MS_MAX);
            wait_s = left_ms > 0 ? (double)left_ms / 1e3 : 0;
        }
        if (wait_s > 0) {
            flags = EVRUN_ONCE;
            ev_now_update(loop->ev);
            ev_timer_stop(loop->ev, &loop->wait_timer);
            ev_timer_set(&loop->wait_timer, wait_s, 0.);
            ev_timer_start(loop->ev, &loop->wait_timer);
        }
    }
    ev_run(loop->ev, flags);
}

/* One turn: true when something ran. */
static bool turn(struct loop *loop, bool may_wait)
{
    uint64_t before = loop->calls_run;
    loop->in_turn = true;
    if (loop->ev)
        poll_events(loop, may_wait);
    run_posted(loop);
    run_timers(loop);
    queue_swap(&loop->deferred, &loop->running);
    queue_run(loop, &loop->running);
    loop->in_turn = false;
    return loop->calls_run != before;
}

void loop_run(struct loop *loop)
{
    ASSERT(loop->ev && !loop->in_turn);
    pthread_mutex_lock(&loop->lock);
    loop->thread = pthread_self();
    pthread_mutex_unlock(&loop->lock);
    while (!atomic_exchange(&loop->stop, false))
        turn(loop, true);
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stop, true);
    if (loop->ev)
        ev_async_send(loop->ev, &loop->wake);
}

void loop_settle(struct loop *loop)
{
    ASSERT(!loop->in_turn);
    for (uint64_t turns = 0; turn(loop, false); turns++)
        ASSERT(turns < LOOP_SETTLE_TURNS_MAX);
}

void loop_advance(struct loop *loop, int64_t ms)
{
    ASSERT(!loop->ev && ms >= 0);
    int64_t end_ms = clock_mono_ms(loop->clock) + ms;
    for (;;) {
        loop_settle(loop);
        int64_t now_ms = clock_mono_ms(loop->clock);
        bool more = loop->timer_count > 0 && loop->heap[0]->due_ms <= end_ms;
        int64_t next_ms = more ? loop->heap[0]->due_ms : end_ms;
        if (next_ms > now_ms)
            clock_simulated_advance(loop->clock, next_ms - now_ms);
        if (!more)
            return;
    }
}

void loop_defer(struct loop *loop, loop_fn *fn, void *arg)
{
    queue_push(&loop->deferred, fn, arg);
}

void loop_post(struct loop *loop, loop_fn *fn, void *arg)
{
    pthread_mutex_lock(&loop->lock);
    /* The loop's own thread must not wait for itself. */
    while (loop->posted.count >= LOOP_POSTED_MAX && !pthread_equal(loop->thread, pthread_self()))
        pthread_cond_wait(&loop->room, &loop->lock);
    queue_push(&loop->posted, fn, arg);
    if (loop->ev)
        ev_async_send(loop->ev, &loop->wake);
    pthread_mutex_unlock(&loop->lock);
}

/* ---- Descriptors and signals ---- */

static void on_io(struct ev_loop *ev, ev_io *watcher, int events)
{
    (void)ev;
    struct loop_watch *watch = CONTAINER_OF(watcher, struct loop_watch, ev);
    int seen = (events & EV_READ ? LOOP_READ : 0) | (events & EV_WRITE ? LOOP_WRITE : 0);
    watch->loop->calls_run++;
    watch->fn(watch->arg, seen ? seen : watch->events); /* EV_ERROR: the owner learns it from the descriptor */
}

struct loop_watch *loop_watch_new(struct loop *loop, int fd, int events, loop_watch_fn *fn, void *arg)
{
    ASSERT(loop->ev && fd >= 0);
    struct loop_watch *watch = mem_zalloc(sizeof(*watch));
    watch->loop = loop;
    watch->fd = fd;
    watch->fn = fn;
    watch->arg = arg;
    ev_io_init(&watch->ev, on_io, fd, 0);
    loop_watch_set(watch, events);
    return watch;
}

void loop_watch_set(struct loop_watch *watch, int events)
{
    if (events == watch->events)
        return;
    watch->events = events;
    ev_io_stop(watch->loop->ev, &watch->ev);
    if (!events)
        return;
    int wanted = (events & LOOP_READ ? EV_READ : 0) | (events & LOOP_WRITE ? EV_WRITE : 0);
    ev_io_set(&watch->ev, watch->fd, wanted);
    ev_io_start(watch->loop->ev, &watch->ev);
}

void loop_watch_free(struct loop_watch *watch)
{
    if (!watch)
        return;
    ev_io_stop(watch->loop->ev, &watch->ev);
    mem_free(watch);
}

static void on_signal(struct ev_loop *ev, ev_signal *watcher, int events)
{
    (void)ev, (void)events;
    struct signal_watch *watch = CONTAINER_OF(watcher, struct signal_watch, ev);
    watch->fn(watch->arg);
}

void loop_on_signal(struct loop *loop, int signal_number, loop_fn *fn, void *arg)
{
    ASSERT(loop->ev);
    struct signal_watch *watch = mem_zalloc(sizeof(*watch));
    watch->fn = fn;
    watch->arg = arg;
    watch->next = loop->signals;
    loop->signals = watch;
    ev_signal_init(&watch->ev, on_signal, signal_number);
    ev_signal_start(loop->ev, &watch->ev);
}
