#pragma once
/* The lists of postings of an index that is being written, from the series that lie in its file: index_write.c's. */
#include "store/index_write.h"

/* Writes the list of all series, then of each name and value; fills writer's names and lists. */
MUST_CHECK int index_write_postings(struct index_writer *writer);
