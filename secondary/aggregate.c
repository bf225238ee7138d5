#include "aggregate.h"

#include "base/crc.h"
#include "base/fail.h"
#include "metric/record.h"

/* ---- Groups ---- */

struct aggregate *aggregate_new(void)
{
    struct aggregate *aggregate = mem_zalloc(sizeof(*aggregate));
    map_init(&aggregate->cells);
    map_init(&aggregate->metrics);
    return aggregate;
}

void aggregate_free(struct aggregate *aggregate)
{
    if (!aggregate)
        return;
    size_t at = 0;
    for (struct aggregate_cell *cell; (cell = map_next(&aggregate->cells, &at));) {
        labels_unref(cell->labels);
        mem_free(cell);
    }
    map_done(&aggregate->cells);
    map_done(&aggregate->metrics);
    mem_free(aggregate);
}

/* Of names and values together in any order: a label without value is no label. */
static uint64_t hash_of(const struct aggregate_key *key)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < key->count; i++)
        if (key->values[i].len > 0)
            hash += hash64(key->values[i].ptr, key->values[i].len, str_hash(key->names[i]));
    return hash;
}

static bool is_cell(const void *item, const void *wanted)
{
    const struct aggregate_cell *cell = item;
    const struct aggregate_key *key = wanted;
    size_t labels = 0;
    for (size_t i = 0; i < key->count; i++) {
        if (!str_equal(labels_get(cell->labels, key->names[i]), key->values[i]))
            return false;
        labels += key->values[i].len > 0;
    }
    return labels == labels_count(cell->labels);
}

static struct labels *labels_of(const struct aggregate_key *key)
{
    struct labels_builder builder;
    labels_builder_init(&builder, NULL);
    for (size_t i = 0; i < key->count; i++)
        labels_builder_set(&builder, key->names[i], key->values[i]);
    struct labels *labels = labels_builder_build(&builder);
    ASSERT(labels);
    return labels;
}

static double smaller(double a, double b)
{
    return b < a || isnan(a) ? b : a;
}

static double larger(double a, double b)
{
    return b > a || isnan(a) ? b : a;
}

static void add_cell(struct aggregate_cell *cell, const struct aggregate_cell *more)
{
    cell->sum = sum_add(cell->sum, more->sum);
    cell->min = smaller(cell->min, more->min);
    cell->max = larger(cell->max, more->max);
    cell->members += more->members;
    cell->count = MAX(cell->count, more->count);
    cell->first_ms = MIN(cell->first_ms, more->first_ms);
    cell->last_ms = MAX(cell->last_ms, more->last_ms);
}

/* NULL past a ceiling. */
static struct aggregate_cell *make_cell(struct aggregate *aggregate, const struct aggregate_key *key, uint64_t hash)
{
    struct str name = STR_NULL;
    size_t bytes = 0;
    for (size_t i = 0; i < key->count; i++) {
        bytes += key->values[i].len > 0 ? key->names[i].len + key->values[i].len : 0;
        if (str_equal(key->names[i], STR(LABEL_NAME)))
            name = key->values[i];
    }
    bool known = map_get(&aggregate->metrics, str_hash(name), NULL, NULL);
    if (aggregate->cells.count == AGGREGATE_GROUPS_MAX || aggregate->label_bytes + bytes > AGGREGATE_BYTES_MAX ||
        (!known && aggregate->metrics.count == AGGREGATE_METRICS_MAX) || name.len > AGGREGATE_NAME_BYTES_MAX)
        return NULL;
    struct aggregate_cell *cell = mem_zalloc(sizeof(*cell));
    cell->labels = labels_of(key);
    aggregate->label_bytes += bytes;
    map_put(&aggregate->cells, hash, cell);
    if (!known)
        map_put(&aggregate->metrics, str_hash(name), cell);
    return cell;
}

void aggregate_add(struct aggregate *aggregate, const struct aggregate_key *key, const struct aggregate_cell *more)
{
    uint64_t hash = hash_of(key);
    struct aggregate_cell *cell = map_get(&aggregate->cells, hash, is_cell, key);
    bool is_new = !cell;
    if (is_new)
        cell = make_cell(aggregate, key, hash);
    if (!cell || (!is_new && cell->kind != more->kind)) {
        aggregate->refused += more->members;
        return;
    }
    aggregate->folded += more->members;
    if (!is_new) {
        add_cell(cell, more);
        return;
    }
    struct labels *labels = cell->labels;
    *cell = *more;
    cell->labels = labels;
}

/* names and values have room for LABELS_MAX. */
static struct aggregate_key key_of(const struct labels *labels, struct str *names, struct str *values)
{
    size_t count = labels_count(labels);
    for (size_t i = 0; i < count; i++) {
        names[i] = labels_at(labels, i).name;
        values[i] = labels_at(labels, i).value;
    }
    return (struct aggregate_key){names, values, count};
}

struct aggregate_cell *aggregate_find(const struct aggregate *aggregate, const struct labels *labels)
{
    struct str names[LABELS_MAX], values[LABELS_MAX];
    const struct aggregate_key key = key_of(labels, names, values);
    return map_get(&aggregate->cells, hash_of(&key), is_cell, &key);
}

void aggregate_merge(struct aggregate *aggregate, const struct aggregate *part)
{
    struct str names[LABELS_MAX], values[LABELS_MAX];
    size_t at = 0;
    map_reserve(&aggregate->cells, MIN(aggregate->cells.count + part->cells.count, (size_t)AGGREGATE_GROUPS_MAX));
    for (const struct aggregate_cell *cell; (cell = map_next(&part->cells, &at));) {
        const struct aggregate_key key = key_of(cell->labels, names, values);
        aggregate_add(aggregate, &key, cell);
    }
    aggregate->refused += part->refused;
}
