/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_PACK_H
#define AGGREGATOR_STORE_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

/*
 * A pack is one window of one kind as a single blob: its rows one after the
 * other, ascending by key. Reading a thousand rows of a pack costs as much as
 * stepping over twenty rows of a table. Pure.
 *
 *	version (one byte), then per row, all varints:
 *	step of the key from the row before, length of what follows in bytes,
 *	count, errors, three sums, and per histogram its length in bytes, then
 *	the histograms' bytes in the encoding of durations.h
 *
 * A step is at least 1, the first counts from -1, so the order cannot be wrong.
 * By its length a row of no interest is skipped without reading it.
 */
#define PACK_SUMS 3u
#define PACK_HISTS 3u

struct pack_hist {
	const uint8_t *data; /* may be NULL if len is 0 */
	size_t len;
};

struct pack_row {
	uint32_t key;
	uint64_t count, errors, sum[PACK_SUMS];
	struct pack_hist hist[PACK_HISTS]; /* durations.h */
};

struct pack_writer {
	struct buf *out; /* borrowed; errors stick in out->err */
	int64_t last; /* key of the last row */
	uint64_t rows;
};

void pack_begin(struct pack_writer *w, struct buf *out);
/* Rows must come ascending by key. */
void pack_put(struct pack_writer *w, const struct pack_row *row);

struct pack_reader {
	const uint8_t *at, *end;
	int64_t last;
	/* Which keys are of interest; may be changed after pack_open(). */
	const struct pack_wanted *wanted; /* borrowed; NULL: all */
};

/* By key: PACK_UNWANTED for those to skip, as are all from n on. */
#define PACK_UNWANTED UINT32_MAX
struct pack_wanted {
	const uint32_t *of;
	uint32_t n;
};

/* -EUCLEAN: not a pack, or one of a newer version. */
int pack_open(struct pack_reader *r, const void *data, size_t len);
/*
 * Returns 1 and the next wanted row, which borrows from the pack; 0 at the end.
 * -EUCLEAN: damaged.
 */
int pack_next(struct pack_reader *r, struct pack_row *row);

/*
 * The sum of two packs. Returns the number of its rows. -EUCLEAN: one of them
 * is damaged; -ENOMEM.
 */
int64_t pack_merge(struct buf *out, const void *a, size_t a_len, const void *b,
		   size_t b_len);

#endif /* AGGREGATOR_STORE_PACK_H */
