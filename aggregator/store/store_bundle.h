/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_STORE_BUNDLE_H
#define AGGREGATOR_STORE_STORE_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/store/store.h"
#include "common/buf.h"

/*
 * Many small batches in one row of the log, since a row costs 11 000
 * instructions, whatever its size. The row has the id of its last batch, the
 * others the ids before it; the latest received_us, and no batch in it was
 * received more than STORE_BUNDLE_SPAN_US before that; the sum of requests; and
 * in batches how many there are. Its blob, little endian, for each batch:
 *
 *	4  length
 *	8  received_us
 *	8  requests
 *	…  the batch
 *
 * For store*.c only. Not locked.
 */
#define STORE_BUNDLE_HEAD 20u
#define STORE_BUNDLE_BYTES ((size_t)64 << 10) /* of a blob, about */
#define STORE_BUNDLE_SMALL ((size_t)16 << 10) /* larger: a row of its own */
#define STORE_BUNDLE_SPAN_US INT64_C(10000000)

struct store_bundle {
	struct buf blob;
	uint64_t last_id, requests, batches;
	int64_t first_us, last_us; /* received */
	int64_t first_s, last_s; /* windows of the events; -1: none */
};

/* The batch fits, as the next one. Else the bundle must be written first. */
bool store_bundle_fits(const struct store_bundle *b,
		       const struct store_log *row);
/* Errors stay in b->blob.err. */
void store_bundle_add(struct store_bundle *b, const struct store_log *row);
void store_bundle_reset(struct store_bundle *b);

/* --- reading --- */

/* Goes through the batches of a row; borrows its blob. */
struct store_bundle_reader {
	struct store_log row; /* data, len: what is left */
	uint64_t left; /* batches */
	bool single;
};

/* batches: as in the row; 0 for a blob that is one batch. */
void store_bundle_read(struct store_bundle_reader *r,
		       const struct store_log *row, uint64_t batches);
/* Returns 1 and the next batch; 0 at the end; -EUCLEAN: damaged. */
int store_bundle_next(struct store_bundle_reader *r, struct store_log *out);

#endif /* AGGREGATOR_STORE_STORE_BUNDLE_H */
