#pragma once
/* How the values of simulated series come about: functions of a host, a series and a time, with the digits that real
 * exporters write. Counters are monotone, also over a restart of the program. */
#include "metric/sample.h"

enum value_form {
    FORM_CONSTANT,  /* the same on every host */
    FORM_OWN,       /* an integer of the host, never moves */
    FORM_OWN_BYTES, /* the same, a multiple of 4096 */
    FORM_COUNT,     /* integer counter */
    FORM_SECTORS,   /* counter, multiple of 512 */
    FORM_CENTI,     /* counter k / 100, as CPU seconds */
    FORM_MILLI,     /* counter k * 0.001, as disk seconds */
    FORM_PRESSURE,  /* counter k / 1000 / 1000, as PSI */
    FORM_MICRO,     /* counter k / 1e6, as CPU seconds of a cgroup */
    FORM_IDLE,      /* counter that stands still, at zero nearly everywhere */
    FORM_BYTES,     /* gauge, multiple of 4096 */
    FORM_LEVEL,     /* integer gauge */
    FORM_SMALL,     /* gauge with 2 decimals, as load */
    FORM_NANO,      /* gauge with 9 decimals, as durations */
    FORM_TIME,      /* unix time with all digits of a double */
    FORM_SECOND,    /* unix time in seconds */
    FORM_START      /* unix time in seconds at which it began to count */
};

struct value_of { /* what a series' values depend on */
    enum value_form form;
    double scale; /* of counters: a second's increase of an ordinary host */
    double own;   /* of host and series, in [0, 1) */
    double rate;  /* of the host: how busy it is, about 1 */
    double since; /* unix time at which its counters were zero */
};

double page_value(const struct value_of *of, double now);
/* As Prometheus' client library writes it, without an end; its length. */
size_t page_value_print(const struct value_of *of, double now, char ret_text[static VALUE_TEXT_BYTES]);

/* Fixed numbers in [0, 1) by key; own_key joins two into a key. */
double own_number(uint64_t key);
uint64_t own_key(uint64_t a, uint64_t b);
/* The same, log-normal with median 1 and about this deviation of the logarithm. */
double own_factor(uint64_t key, double deviation);
