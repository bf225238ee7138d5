#pragma once
/* Prometheus' remote write 1.0 (protobuf under snappy) of the samples that a batch holds: what another store is given
 * is what the global gets, label by label and value by value. Series stand target after target, as a scraper sends
 * them. */
#include "hop/batch.h"

struct remote_write;

struct remote_write *remote_write_new(void);
void remote_write_free(struct remote_write *remote);
DEFINE_CLEANUP(struct remote_write *, remote_write_free)
/* Takes the samples of a newly opened reader, which is read to its end, in place of those before. The batch has one
 * round, of records of one scrape each. Returns how many targets it has. */
uint32_t remote_write_take(struct remote_write *remote, struct batch_reader *reader);
/* Appends the body of a request with the samples of targets [from, from + count); returns how many. */
uint32_t remote_write_request(struct remote_write *remote, uint32_t from, uint32_t count, struct buf *out);
