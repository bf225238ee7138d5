#include "promql/groups.h"

static bool number_series(struct groups *groups, struct eval *eval, const struct vector *vector,
                          group_labels_fn *labels_of, const void *arg)
{
    for (size_t i = 0; i < vector->count; i++) {
        if (eval_work(eval, 1) < 0)
            return false;
        groups->ids[i] = GROUP_NONE;
        CLEANUP(labels_unrefp) struct labels *labels = labels_of(&vector->series[i], arg);
        if (!labels)
            continue;
        int64_t id = label_table_add(&groups->table, labels);
        if (id < 0)
            return false;
        groups->ids[i] = (size_t)id;
    }
    return true;
}

bool groups_init(struct groups *groups, struct eval *eval, const struct vector *vector, group_labels_fn *labels_of,
                 const void *arg)
{
    *groups = (struct groups){0};
    label_table_init(&groups->table, vector->budget);
    groups->ids = budget_array(vector->budget, vector->count, sizeof(size_t));
    groups->members = budget_array(vector->budget, vector->count, sizeof(size_t));
    if (!groups->ids || !groups->members || !number_series(groups, eval, vector, labels_of, arg))
        return false;
    size_t count = groups->table.count;
    groups->starts = budget_array(vector->budget, count + 2, sizeof(size_t));
    if (!groups->starts)
        return false;
    /* Counting sort; the starts are filled two places on and move down while the members are put. */
    for (size_t i = 0; i < vector->count; i++)
        if (groups->ids[i] != GROUP_NONE)
            groups->starts[groups->ids[i] + 2]++;
    for (size_t i = 2; i < count + 2; i++)
        groups->starts[i] += groups->starts[i - 1];
    for (size_t i = 0; i < vector->count; i++)
        if (groups->ids[i] != GROUP_NONE)
            groups->members[groups->starts[groups->ids[i] + 1]++] = i;
    return true;
}

void groups_done(struct groups *groups)
{
    label_table_done(&groups->table);
    budget_free(groups->ids);
    budget_free(groups->starts);
    budget_free(groups->members);
    *groups = (struct groups){0};
}
