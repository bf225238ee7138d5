#include "promql/source.h"

#include <errno.h>
#include <stdatomic.h>

static int64_t read_series(struct source *source, struct sample *ret_samples)
{
    size_t count = 0;
    while (count < SOURCE_SAMPLES) {
        source->step = promql_next(source->series, source->step, source->grid->steps);
        if (source->step >= source->grid->steps)
            break;
        ret_samples[count++] =
            (struct sample){grid_time_ms(source->grid, source->step), source->series->values[source->step]};
        source->step++;
    }
    return (int64_t)count;
}

/* Damage is passed over: the select's warnings tell of it. */
static int64_t read_store(struct source *source, struct sample_reader *reader, struct sample *ret_samples, size_t max)
{
    int64_t got;
    do
        got = sample_reader_read(reader, ret_samples, max);
    while (got == -EBADMSG || got == -EIO);
    if (got < 0)
        return eval_fail(source->eval, PROMQL_INTERNAL, source->ast, "reading the store: %s", strerror((int)-got));
    return got;
}

/* The count of the record at this time. What came into the store between the opening of both readers may lack one. */
static int count_at(struct source *source, int64_t time_ms, double *ret_count)
{
    struct source_counts *counts = source->counts;
    for (;; counts->at++) {
        if (counts->at == counts->count) {
            int64_t got = read_store(source, counts->reader, counts->buffer, SOURCE_SAMPLES);
            if (got < 0)
                return (int)got;
            counts->at = 0;
            counts->count = (size_t)got;
        }
        if (counts->count == 0 || counts->buffer[counts->at].time_ms >= time_ms)
            break;
    }
    bool found = counts->count > 0 && counts->buffer[counts->at].time_ms == time_ms;
    *ret_count = found ? counts->buffer[counts->at].value : 1;
    return 0;
}

/* Spreads the samples and puts the count behind each; both are stale or none is. */
static int64_t add_counts(struct source *source, struct sample *samples, size_t count)
{
    for (size_t i = count; i-- > 0;)
        samples[2 * i] = samples[i];
    for (size_t i = 0; i < count; i++) {
        struct sample *sample = &samples[2 * i];
        double counted = sample->value;
        if (!value_is_stale(sample->value)) {
            int error = count_at(source, sample->time_ms, &counted);
            if (error < 0)
                return error;
        }
        sample[1] = (struct sample){sample->time_ms, counted};
    }
    return 2 * (int64_t)count;
}

int64_t source_read(struct source *source, struct sample ret_samples[static SOURCE_SAMPLES])
{
    struct eval *eval = source->eval;
    if (source->series)
        return read_series(source, ret_samples);
    size_t max = source->counts ? SOURCE_SAMPLES / 2 : SOURCE_SAMPLES;
    int64_t got = read_store(source, source->reader, ret_samples, max);
    if (got <= 0)
        return got;
    uint64_t samples = atomic_fetch_add_explicit(eval->samples, (uint64_t)got, memory_order_relaxed) + (uint64_t)got;
    if (samples > eval->query->limits.samples_max)
        return eval_fail(eval, PROMQL_TOO_MUCH, source->ast,
                         "query processing would load too many samples into memory in query execution");
    int error = eval_work(eval, (size_t)got);
    if (error < 0)
        return error;
    return source->counts ? add_counts(source, ret_samples, (size_t)got) : got;
}
