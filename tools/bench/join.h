#pragma once
/* Windows of one group put side by side into one batch, as a backlog is sent. */
#include "secondary/pipeline.h"

struct join;

struct join *join_new(int rounds); /* windows of a batch */
void join_free(struct join *join);
/* Owns part->writer. group: its place among its window's parts. */
void join_take(struct join *join, size_t group, struct pipeline_sealed *part);
/* A group whose windows are together: part of all of them, its writer the caller's. False: none. */
bool join_next(struct join *join, struct pipeline_sealed *ret_part);
