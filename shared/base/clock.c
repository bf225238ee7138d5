#include "base/clock.h"

#include "base/fail.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define DAY_MS 86400000

struct clock {
    bool simulated;
    _Atomic int64_t wall_ms; /* of a simulated one; atomic, as other threads may look while the simulation moves it */
    _Atomic int64_t mono_ns;
};

static struct clock real_clock = {.simulated = false}; /* never written */

static int64_t system_ns(clockid_t id)
{
    struct timespec now;
    if (clock_gettime(id, &now) != 0) {
        fatal("clock %d cannot be read", (int)id);
    }
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct clock *clock_real(void)
{
    return &real_clock;
}

struct clock *clock_simulated_new(int64_t wall_ms)
{
    struct clock *clock = mem_zalloc(sizeof(*clock));
    clock->simulated = true;
    atomic_init(&clock->wall_ms, wall_ms);
    atomic_init(&clock->mono_ns, 0);
    return clock;
}

void clock_free(struct clock *clock)
{
    if (clock != &real_clock) {
        mem_free(clock);
    }
}

bool clock_is_simulated(const struct clock *clock)
{
    return clock->simulated;
}

int64_t clock_wall_ms(const struct clock *clock)
{
    return clock->simulated ? atomic_load(&clock->wall_ms) : system_ns(CLOCK_REALTIME) / 1000000;
}

int64_t clock_mono_ns(const struct clock *clock)
{
    return clock->simulated ? atomic_load(&clock->mono_ns) : system_ns(CLOCK_MONOTONIC);
}

int64_t clock_thread_cpu_ns(void)
{
    return system_ns(CLOCK_THREAD_CPUTIME_ID);
}

void clock_simulated_advance(struct clock *clock, int64_t ms)
{
    ASSERT(clock->simulated && ms >= 0);
    atomic_fetch_add(&clock->wall_ms, ms);
    atomic_fetch_add(&clock->mono_ns, ms * 1000000);
}

void clock_simulated_step_wall(struct clock *clock, int64_t ms)
{
    ASSERT(clock->simulated);
    atomic_fetch_add(&clock->wall_ms, ms);
}

/* ---- RFC 3339, by the calendar of Gregory in both directions; the formulas are Howard Hinnant's days_from_civil and
 * civil_from_days: the year starts in March, so that the leap day is its last. ---- */

static int64_t floor_div(int64_t value, int64_t by)
{
    return value / by - (value % by < 0);
}

static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = floor_div(year, 400);
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_from_days(int64_t days, int *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    days += 719468;
    int64_t era = floor_div(days, 146097);
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    *ret_day = (unsigned)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
    *ret_month = (unsigned)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
    *ret_year = (int)(year_of_era + era * 400) + (*ret_month <= 2);
}

void clock_format_rfc3339(int64_t wall_ms, char ret_text[static 32])
{
    int64_t days = floor_div(wall_ms, DAY_MS);
    unsigned ms = (unsigned)(wall_ms - days * DAY_MS);
    int year;
    unsigned month;
    unsigned day;
    date_from_days(days, &year, &month, &day);
    snprintf(ret_text, 32, "%04d-%02u-%02uT%02u:%02u:%02u.%03uZ", year, month, day, ms / 3600000 % 24, ms / 60000 % 60,
             ms / 1000 % 60, ms % 1000);
}

/* Reads exactly count digits into *value, which must come to lie in min..max. */
static const char *parse_digits(const char *at, int count, int64_t min, int64_t max, int64_t *value)
{
    *value = 0;
    for (int i = 0; at && i < count; i++, at++) {
        if (*at < '0' || *at > '9') {
            return NULL;
        }
        *value = *value * 10 + (*at - '0');
    }
    return at && *value >= min && *value <= max ? at : NULL;
}

static const char *parse_byte(const char *at, char byte)
{
    return at && *at == byte ? at + 1 : NULL;
}

/* ".678" to milliseconds; what is finer is cut off. */
static const char *parse_fraction(const char *at, int64_t *ret_ms)
{
    *ret_ms = 0;
    if (!at || *at != '.') {
        return at;
    }
    at++;
    const char *start = at;
    for (int64_t unit = 100; *at >= '0' && *at <= '9'; at++, unit /= 10) {
        *ret_ms += (*at - '0') * unit;
    }
    return at > start ? at : NULL;
}

static const char *parse_offset(const char *at, int64_t *ret_ms)
{
    *ret_ms = 0;
    if (!at || *at == 'Z') {
        return at ? at + 1 : NULL;
    }
    if (*at != '+' && *at != '-') {
        return NULL;
    }
    int64_t sign = *at == '-' ? -1 : 1;
    int64_t hours;
    int64_t minutes;
    at = parse_byte(parse_digits(at + 1, 2, 0, 23, &hours), ':');
    at = parse_digits(at, 2, 0, 59, &minutes);
    *ret_ms = sign * (hours * 60 + minutes) * 60000;
    return at;
}

static int64_t month_days(int64_t year, int64_t month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

int clock_parse_rfc3339(const char *text, int64_t *ret_ms)
{
    int64_t year, month, day, hour, minute, second, fraction_ms, offset_ms;
    const char *at = parse_byte(parse_digits(text, 4, 0, 9999, &year), '-');
    at = parse_byte(parse_digits(at, 2, 1, 12, &month), '-');
    if (!at) {
        return -EINVAL;
    }
    at = parse_byte(parse_digits(at, 2, 1, month_days(year, month), &day), 'T');
    at = parse_byte(parse_digits(at, 2, 0, 23, &hour), ':');
    at = parse_byte(parse_digits(at, 2, 0, 59, &minute), ':');
    at = parse_digits(at, 2, 0, 59, &second);
    at = parse_fraction(at, &fraction_ms);
    at = parse_offset(at, &offset_ms);
    if (!at || *at != '\0') {
        return -EINVAL;
    }
    *ret_ms = days_from_date(year, month, day) * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + fraction_ms -
              offset_ms;
    return 0;
}
