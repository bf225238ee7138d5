#pragma once
/* Remote write 1.0 on the wire: protobuf's prometheus.WriteRequest, read in place by a cursor that takes no memory.
 * (protobuf-c makes an object of each message: 72 bytes of memory for each byte of empty series, measured.)
 *
 * Unknown fields are passed over; a known one of another wire type, or one that goes past its message, is malformed. */
#include "base/buf.h"
#include "metric/labels.h"
#include "metric/sample.h"

struct wire_metadata { /* of a metric family; views */
    struct str name, help, unit;
    enum metric_type type;
};

enum wire_part { WIRE_END, WIRE_SERIES, WIRE_METADATA, WIRE_LABEL, WIRE_SAMPLE, WIRE_EXEMPLAR, WIRE_HISTOGRAM };

struct wire_item {
    enum wire_part part;
    union {
        struct str series; /* its message, for wire_series_next */
        struct wire_metadata metadata;
        struct label label;
        struct sample sample;
    };
};

/* The next series or metadata of a request; WIRE_END at its end. -EBADMSG. */
MUST_CHECK int wire_request_next(struct reader *request, struct wire_item *ret_item);
/* The next label, sample, exemplar or histogram of a series, in the order in which they stand there; of the latter two
 * only that they are there. -EBADMSG. */
MUST_CHECK int wire_series_next(struct reader *series, struct wire_item *ret_item);
