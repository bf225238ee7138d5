#pragma once
/* Up to where the log has been cut into blocks, by partition: a replay leaves out what is in blocks already.
 * head/marks in the data directory, replaced atomically. Safe from any thread. */
#include "base/file.h"

struct cut_marks;

/* fs NULL: nothing is kept. A damaged file counts as none (with -EBADMSG told by ret_damaged): then a replay brings
 * again what blocks have, and the identity of windows sorts it out. */
MUST_CHECK int cut_marks_open(struct file_system *fs, const char *dir, bool *ret_damaged, struct cut_marks **ret_marks);
void cut_marks_free(struct cut_marks *marks);
/* Everything of the partition that the log has up to `position` is in synced blocks. */
MUST_CHECK int cut_marks_set(struct cut_marks *marks, int64_t partition_ms, uint64_t position);
/* Forgets partitions before this one. */
void cut_marks_forget(struct cut_marks *marks, int64_t before_ms);
/* 0: never cut. */
uint64_t cut_marks_get(struct cut_marks *marks, int64_t partition_ms);
/* Forgets all. */
MUST_CHECK int cut_marks_clear(struct cut_marks *marks);
/* The greatest position of any; 0: none. */
uint64_t cut_marks_newest(struct cut_marks *marks);
