#pragma once
/* What a daemon's parts get from their main or from a test, so that several run in one process, on real or simulated
 * time, files and network. None of it is owned by who gets it. */
#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "net/executor.h"
#include "net/loop.h"
#include "net/network.h"

struct seams {
    struct loop *loop; /* its clock is the clock */
    struct file_system *fs;
    struct executor *executor;
    struct network *network; /* NULL: the real one */
    struct random *random;
};
