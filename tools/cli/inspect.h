#pragma once
/* Prints what tributary leaves on disk. Private to cmd_inspect.c and inspect_*.c. */
#include "cli.h"
#include "hop/batch.h"
#include "hop/frame.h"

#define INSPECT_FILE_BYTES_MAX    (2 * GIB) /* a segment is 64 MiB by default */
#define INSPECT_LAYOUTS_BYTES_MAX (4 * GIB) /* packed */
#define INSPECT_CACHE_BYTES_MAX   (1 * GIB) /* expanded */
#define INSPECT_LINE_BYTES_MAX    (1 * MIB)

struct inspect_totals {
    uint64_t files, bytes, frames, layouts, edits, batches, gaps, records;
    uint64_t batch_bytes, layout_bytes, damaged_bytes;
    uint64_t verified; /* batches that came out of the writer as they went into the reader */
    uint64_t problems; /* places that are damaged or cannot be read; each was named */
};

struct inspect {
    bool frames, blocks, records; /* what is listed; each more than the one before */
    bool columns;                 /* of each family its columns */
    bool verify;                  /* each batch is also written again, and compared */
    bool load_only;               /* nothing is printed: layouts are taken in */
    const char *path;             /* of the file at hand */
    struct layout_table *layouts;
    struct layout_group *group; /* layouts of the file at hand */
    struct layout_group **kept; /* of the files that were only loaded */
    size_t kept_count;
    struct inspect_totals totals;
};

/* "PATH: TEXT" on stderr, and counted. */
void inspect_problem(struct inspect *inspect, const char *format, ...) PRINTF_LIKE(2, 3);

/* Frames of a segment (or of a request's body): all layouts first, then each frame in order. */
void inspect_frames(struct inspect *inspect, struct str bytes);

/* A pack of layouts: one line at least. */
void inspect_pack(struct inspect *inspect, struct str payload, uint64_t offset);
/* One line about a layout, without its end. */
void inspect_layout_line(const struct layout *layout);
void inspect_layout(const struct layout *layout); /* all of it */

/* A batch: one line at least. offset: in its file, for problems. */
void inspect_batch(struct inspect *inspect, struct str bytes, uint64_t offset);
