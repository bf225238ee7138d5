#pragma once
/* What one section of discovery says: target groups by their source. Kept small, as there may be tens of thousands with
 * fifty labels each of which most are the same: texts are numbers of a pool that all sections share. A group that is
 * said again and is the same stays the same object, so that what was made of it holds. On one thread. */
#include "target/discovery_plugin.h"

struct text_pool;
struct text_pool *text_pool_new(void);
void text_pool_free(struct text_pool *pool); /* after the groups */
DEFINE_CLEANUP(struct text_pool *, text_pool_free)
size_t text_pool_bytes(const struct text_pool *pool);

struct group; /* immutable, counted references */
struct group *group_ref(struct group *group);
void group_unref(struct group *group); /* NULL allowed */
DEFINE_CLEANUP(struct group *, group_unref)
size_t group_target_count(const struct group *group);
struct str group_source(const struct group *group);
struct group_target {
    struct str address;
    struct label labels[DISCOVERY_LABELS_MAX]; /* the group's and its own, sorted by name */
    size_t label_count;
};
/* One after the other: struct group_cursor at = {0}; while (group_next_target(group, &at, &target)). Views into the
 * pool.
 */
struct group_cursor {
    size_t index, place;
};
bool group_next_target(const struct group *group, struct group_cursor *at, struct group_target *ret_target);

struct groups;
struct groups *groups_new(struct text_pool *pool);
void groups_free(struct groups *groups);
DEFINE_CLEANUP(struct groups *, groups_free)
/* As discovery_api has them. -EINVAL and a reason for a group that is refused: what was said of its source before
 * stays. */
MUST_CHECK int groups_put(struct groups *groups, const struct discovery_group *group, char ret_error[static 256]);
void groups_remove(struct groups *groups, struct str source);
void groups_begin(struct groups *groups);
void groups_commit(struct groups *groups);
void groups_abort(struct groups *groups);
bool groups_is_listing(const struct groups *groups);

uint64_t groups_commits(const struct groups *groups); /* so far; 0: it is not known yet what there is */
uint64_t groups_changes(const struct groups *groups); /* rises whenever what is in force becomes another */
size_t groups_count(const struct groups *groups);     /* in force, as all that follows */
size_t groups_targets(const struct groups *groups);
/* All, in no order: size_t at = 0; while ((group = groups_next(groups, &at))). Borrowed. */
struct group *groups_next(const struct groups *groups, size_t *at);
