#include "discovery/consul_state.h"

#include "base/fail.h"

#include <errno.h>

static void sums_clear(struct map *map)
{
    size_t at = 0;
    for (void *sum; (sum = map_next(map, &at));)
        mem_free(sum);
    map_done(map);
    map_init(map);
}

/* Checks come in any order: a sum does not see it. */
static void sum_add(struct map *map, uint64_t hash, uint64_t state)
{
    uint64_t *sum = map_get(map, hash, NULL, NULL);
    if (!sum) {
        sum = mem_zalloc(sizeof(*sum));
        map_put(map, hash, sum);
    }
    *sum += state;
}

static bool sum_differs(const struct map *a, const struct map *b, uint64_t hash)
{
    const uint64_t *sum_a = map_get(a, hash, NULL, NULL), *sum_b = map_get(b, hash, NULL, NULL);
    return (sum_a ? *sum_a : 0) != (sum_b ? *sum_b : 0);
}

void consul_state_init(struct consul_state *state)
{
    *state = (struct consul_state){0};
    map_init(&state->known.services);
    map_init(&state->known.nodes);
    map_init(&state->next.services);
    map_init(&state->next.nodes);
}

void consul_state_begin(struct consul_state *state)
{
    sums_clear(&state->next.services);
    sums_clear(&state->next.nodes);
}

void consul_state_done(struct consul_state *state)
{
    consul_state_begin(state);
    sums_clear(&state->known.services);
    sums_clear(&state->known.nodes);
}

int consul_state_add(struct consul_state *state, const struct consul_check *check, char ret_reason[static 256])
{
    struct consul_sums *next = &state->next;
    if (next->services.count + next->nodes.count >= CONSUL_STATE_NAMES_MAX)
        return error_text(-EMSGSIZE, ret_reason, "checks of more than %d services and nodes", CONSUL_STATE_NAMES_MAX);
    if (check->service.len > 0)
        sum_add(&next->services, str_hash(check->service), check->state);
    else
        sum_add(&next->nodes, check->node, check->state);
    return 0;
}

bool consul_state_differs(const struct consul_state *state, struct str service, const uint64_t *nodes, size_t count)
{
    const struct consul_sums *known = &state->known, *next = &state->next;
    if (!state->complete || sum_differs(&known->services, &next->services, str_hash(service)))
        return true;
    for (size_t i = 0; i < count; i++)
        if (sum_differs(&known->nodes, &next->nodes, nodes[i]))
            return true;
    return false;
}

void consul_state_settle(struct consul_state *state)
{
    struct consul_sums old = state->known;
    state->known = state->next;
    state->next = old;
    consul_state_begin(state);
    state->complete = true;
}
