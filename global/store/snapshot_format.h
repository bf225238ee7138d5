#pragma once
/* Private to snapshot_*.c: frames of at most some MiB, each `u32 length, u32 CRC32C, bytes`, little endian, whose first
 * byte says what is in it. First SNAPSHOT_BEGIN, last SNAPSHOT_END; a file that ends before is none. Chunks and pieces
 * stand in it as in memory, so that it is of one version of the program and one kind of machine, which SNAPSHOT_BEGIN
 * says; it lives for minutes. */
#include "store/chunk.h"
#include "store/partition.h"

#define SNAPSHOT_MAGIC       UINT64_C(0x31504e5342495254)                                             /* "TRIBSNP1" */
#define SNAPSHOT_LAYOUT      ((uint32_t)(sizeof(struct chunk) << 16 | sizeof(struct piece) << 8 | 4)) /* and a version */
#define SNAPSHOT_FRAME_BYTES (1 * MIB)                                                                /* aimed at */
#define SNAPSHOT_FRAME_MAX   (16 * MIB)                                                               /* never passed */
#define SNAPSHOT_EXTRA_MAX   (1 * GIB)

enum {
    SNAPSHOT_BEGIN = 'B',     /* magic, layout, position, next number */
    SNAPSHOT_PAIRS = 'L',     /* (name, value)...: numbered from 0 in this order */
    SNAPSHOT_SERIES = 'S',    /* (ref, kind, count, numbers of pairs)... */
    SNAPSHOT_PARTITION = 'P', /* what a partition is; its strands follow */
    SNAPSHOT_STRANDS = 'C',   /* (ref, open chunk, late chunk or none, pieces)... */
    SNAPSHOT_EXTRA = 'X',     /* bytes of the owner's */
    SNAPSHOT_END = 'E',       /* of each partition how long its spill file was, synced */
};
