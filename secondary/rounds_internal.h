#pragma once
/* Private to rounds*.c: rounds.c starts scrapes and takes what comes of them, rounds_group.c closes windows. */
#include "base/map.h"
#include "rounds.h"
#include "schedule.h"
#include "scrape.h"

struct round_group;

struct round_target {
    struct rounds *rounds;
    struct target *target;
    struct job *job; /* to fetch by */
    struct pipeline_target *pipeline;
    struct scrape scrape;
    struct loop_timer timer;
    int64_t phase_ms;
    int64_t next_due_ms;   /* INT64_MAX: never again */
    int64_t open_start_ms; /* its open window */
    int64_t began_mono_ms;
    int64_t time_ms;   /* of the scrape in flight, or the last one; 0: never scraped */
    int64_t missed_ms; /* due while one was in flight; 0: none */
    bool in_flight;
    bool ended; /* leaves with the next close */
    bool done;  /* with its open window; kept by round_target_settle alone */
    bool told;  /* the health function knows of it */
    enum scrape_failure failure;
    struct round_group *group;
};

/* Targets of one interval and a range of phases. */
struct round_group {
    struct round_target **targets; /* by key once `sorted` */
    size_t count, capacity;
    bool sorted;
    int64_t window_start_ms; /* the oldest open window of its targets */
    size_t waiting;          /* targets that have this window open and are not done with it */
};

struct round_set { /* of one interval */
    struct round_set *next;
    int64_t interval_ms;
    size_t count;
    size_t group_count; /* a power of two */
    struct round_group *groups;
};

struct rounds {
    struct rounds_options options;
    struct schedule_clock clock;
    struct http_client *client;
    struct pipeline *pipeline;
    struct window_rules *rules; /* set last; a reference */
    int64_t beat_ms;
    int64_t next_beat_ms, next_from_ms; /* another beat from then on; INT64_MAX: none */
    bool rules_settling;                /* the rules set last are not in force everywhere */
    int64_t rules_from_ms;
    struct map targets; /* struct round_target, by the address of its target */
    struct round_set *sets;
    struct loop_timer close_timer; /* closes what is done, on the loop's own turn */
    struct loop_timer idle_timer;  /* windows without any target */
    struct pipeline_sealed *parts; /* until closed_through is known */
    size_t part_count;
    struct rounds_stats stats;
    int64_t closed_through_ms;
};

void rounds_take_sealed(void *arg, struct pipeline_sealed *sealed);

/* ---- rounds_group.c ---- */

int64_t rounds_floor_ms(const struct rounds *rounds, int64_t time_ms); /* where the window begins that holds it */
int64_t rounds_end_ms(const struct rounds *rounds, int64_t start_ms);  /* where one that begins there ends */
void rounds_hand_parts(struct rounds *rounds, int64_t closed_before_ms);
/* What the target's group holds of scrapes kept as they are goes out: one more would be too many. */
void rounds_seal_raw(struct round_target *target, int64_t time_ms);
/* From from_ms on windows are beat_ms long. */
void rounds_change_beat(struct rounds *rounds, int64_t from_ms, int64_t beat_ms);

void round_target_enter(struct round_target *target); /* its phase, next_due and open window are set */
void round_target_leave(struct round_target *target);
/* To be called after every change of next_due, in_flight or ended. */
void round_target_settle(struct round_target *target);
/* Where its next scrape falls behind its open window, that is closed now, without those of the group that are not done.
 */
void round_target_advance(struct round_target *target);
void round_target_free(struct round_target *target);
void rounds_close_done(void *arg); /* timer */
void rounds_idle(void *arg);       /* timer */
void rounds_start_idle(struct rounds *rounds);
void rounds_close_open(struct rounds *rounds); /* everything as it is */
void rounds_free_sets(struct rounds *rounds);  /* and all targets */
