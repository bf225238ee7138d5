#pragma once
/* One sample of a series of two labels, into a store. */
#include "base/fail.h"
#include "store/store.h"

static inline void store_sample(struct store *store, const char *name, const char *host, int64_t time_ms, double value)
{
    struct label items[] = {{STR("__name__"), str_from(name)}, {STR("host"), str_from(host)}};
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(items, ARRAY_LEN(items));
    series_ref ref = store_series(store, labels, KIND_GAUGE);
    ASSERT(ref != SERIES_REF_NONE);
    struct record record = record_empty(KIND_GAUGE);
    record_add(&record, (struct sample){time_ms, value});
    store_write_begin(store);
    store_append(store, ref, time_ms, 0, &record, NULL, 0);
    store_write_end(store);
}
