/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_STORE_MARK_H
#define AGGREGATOR_STORE_STORE_MARK_H

#include <stdint.h>

/*
 * A file beside the database, redtap.mark, that says what was acknowledged. The
 * database cannot tell by itself that it was emptied, or that its write-ahead
 * log was lost or cut: it then looks like one that was stopped earlier. The
 * mark is written after each commit and before its acknowledgements, so it is
 * never ahead of them. For one thread.
 */
struct store_mark;

struct store_mark_row {
	uint64_t store; /* which one: a random number; 0: there was no mark */
	uint64_t log_id; /* of the last batch */
	uint64_t requests; /* counted in all */
};

/*
 * Opens or creates the file in dir. Sets *out, released by store_mark_close(),
 * and *row to the last mark. -errno: of open().
 */
int store_mark_open(struct store_mark **out, const char *dir,
		    struct store_mark_row *row);
/*
 * Reads the mark beside the database at path, for a look at it. There is none
 * if the database's file has another name than a store's.
 */
void store_mark_read(const char *path, struct store_mark_row *row);
void store_mark_close(struct store_mark *m); /* NULL is fine */

/* Writes it, by turns to one of two places. Returns -errno. */
int store_mark_put(struct store_mark *m, const struct store_mark_row *row);
/* Waits until it is on disk. Returns -errno. */
int store_mark_sync(struct store_mark *m);

#endif /* AGGREGATOR_STORE_STORE_MARK_H */
