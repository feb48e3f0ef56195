/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_OUTBOX_OUTBOX_DISK_H
#define PROBE_AGENT_OUTBOX_OUTBOX_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "probe-agent/outbox/outbox.h"

/*
 * The file of a durable outbox: SQLite in WAL mode, synced at each commit (see
 * tests/lint.sh for who may include sqlite3). Not locked: the outbox's mutex is
 * held. Errors: -EIO; -ENOSPC, disk full; -EBUSY, another process uses it;
 * -EILSEQ, the database is corrupt.
 */
struct outbox_disk;

struct outbox_disk_row {
	uint64_t first, sequence, events;
	int rollup;
	size_t len;
};

/*
 * Opens or creates the file. One that is not a database or fails its check is
 * renamed and logged, and a new one is created. -EPROTONOSUPPORT: a newer
 * version wrote it. -ENOMEM.
 */
int outbox_disk_open(struct outbox_disk **out, const char *path);
void outbox_disk_close(struct outbox_disk *d); /* NULL is fine */

/* The epoch that the file has; 0: the file is new. */
uint64_t outbox_disk_epoch(const struct outbox_disk *d);
int outbox_disk_set_epoch(struct outbox_disk *d, uint64_t epoch);
/*
 * Two sequence numbers that the file keeps. acknowledged may lag behind, since
 * it is only written along with other changes. No batch after sendable has been
 * sent: it is written before batches are sent, and for many at once, so that it
 * costs little.
 */
struct outbox_disk_marks {
	uint64_t acknowledged, sendable;
};
void outbox_disk_marks(const struct outbox_disk *d,
		       struct outbox_disk_marks *out);

/*
 * Writes a batch and the marks. In the same transaction, deletes the rows first
 * to sequence, which the batch replaces, and those that are acknowledged. The
 * newest row stays even then: it has the last sequence number and the losses.
 */
int outbox_disk_put(struct outbox_disk *d, const struct outbox_disk_row *row,
		    const void *data, const struct outbox_disk_marks *marks);
/* Writes the marks, and deletes the row of a dropped batch (0: none). */
int outbox_disk_mark(struct outbox_disk *d,
		     const struct outbox_disk_marks *marks, uint64_t dropped);

/* Reads a batch; *data is malloc'd and the caller's. -ENOENT, -ENOMEM. */
int outbox_disk_get(struct outbox_disk *d, uint64_t sequence, void **data,
		    size_t *len);

/* Calls fn for each row, oldest first, until it returns an error. */
typedef int (*outbox_disk_row_fn)(void *arg, const struct outbox_disk_row *row);
int outbox_disk_each(struct outbox_disk *d, outbox_disk_row_fn fn, void *arg);

/*
 * From here to the release, all that is written is one transaction. If it
 * fails, nothing of it was written.
 */
int outbox_disk_hold(struct outbox_disk *d);
int outbox_disk_release(struct outbox_disk *d, const struct outbox_base *base,
			size_t n);
int outbox_disk_each_base(struct outbox_disk *d, outbox_base_fn fn, void *arg);

#endif /* PROBE_AGENT_OUTBOX_OUTBOX_DISK_H */
