#pragma once
/* Keeps a coverage over restarts: its file in the data directory, which has what the log has not any more. */
#include "coverage/coverage.h"

struct keeper {
    struct coverage *coverage;
    struct file_system *fs;
    char *path;
    struct buf bytes;         /* taken on the loop, written elsewhere */
    uint64_t position, saved; /* of the log: what the bytes have, what the file has */
};

struct keeper_found { /* in the data directory */
    uint64_t log_end; /* no position of the log is at or past it */
    bool has_data;    /* a log, or a block: then a file that is not there was lost */
};

/* Loads the file. Where it was lost or is damaged all is known that the log tells. What is behind coverage_position is
 * to be replayed, then coverage_loaded to be called. The error
 * (-ENOENT without data is none) is for people; the keeper is open all the same. */
int keeper_open(struct keeper *keeper, struct coverage *coverage, struct file_system *fs, const char *data_dir,
                const struct keeper_found *found);
void keeper_close(struct keeper *keeper);
/* Takes what is to be written; on the loop, while nothing is written. */
void keeper_begin(struct keeper *keeper);
/* Writes it, in any thread. */
MUST_CHECK int keeper_write(struct keeper *keeper);
/* Up to here the log need not be kept for it; not while something is written. */
uint64_t keeper_saved(const struct keeper *keeper);
