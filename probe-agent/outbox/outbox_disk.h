/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_OUTBOX_OUTBOX_DISK_H
#define PROBE_AGENT_OUTBOX_OUTBOX_DISK_H

#include <stddef.h>
#include <stdint.h>

/*
 * The file under a durable outbox: SQLite, WAL, synced at each commit. Only
 * this file of the agent sees sqlite3. Not locked: the outbox's mutex is held.
 * Errors: -EIO, -ENOSPC (disk full), -EBUSY (another process has it).
 */
struct outbox_disk;

struct outbox_disk_row {
	uint64_t first, sequence, events;
	int rollup;
	size_t len;
};

/*
 * Opens or makes the file. A file that is no database or fails its check is
 * set aside under another name, said so in the log, and a new one is made.
 */
int outbox_disk_open(struct outbox_disk **out, const char *path);
void outbox_disk_close(struct outbox_disk *d); /* NULL is fine */

/* The epoch of the file; 0: a new file. */
uint64_t outbox_disk_epoch(const struct outbox_disk *d);
int outbox_disk_set_epoch(struct outbox_disk *d, uint64_t epoch);
/*
 * Two sequence numbers that the file keeps. Acknowledged may be behind, since
 * it is written with something else. Nothing after sendable has been sent: it
 * is written first, and ahead, so that it costs little.
 */
struct outbox_disk_marks {
	uint64_t acknowledged, sendable;
};
void outbox_disk_marks(const struct outbox_disk *d,
		       struct outbox_disk_marks *out);

/*
 * Writes a batch and the marks, and in the same transaction forgets what is
 * acknowledged and all of first … sequence that it stands for. The newest row
 * stays even when it is acknowledged: it knows the sequence and losses.
 */
int outbox_disk_put(struct outbox_disk *d, const struct outbox_disk_row *row,
		    const void *data, const struct outbox_disk_marks *marks);
/* Writes the marks, and forgets one that was dropped (0: none). */
int outbox_disk_mark(struct outbox_disk *d,
		     const struct outbox_disk_marks *marks, uint64_t dropped);

/* *data is malloc'd and the caller's. -ENOENT. */
int outbox_disk_get(struct outbox_disk *d, uint64_t sequence, void **data,
		    size_t *len);

/* Calls fn for each row, oldest first, until it returns an error. */
typedef int (*outbox_disk_row_fn)(void *arg, const struct outbox_disk_row *row);
int outbox_disk_each(struct outbox_disk *d, outbox_disk_row_fn fn, void *arg);

#endif /* PROBE_AGENT_OUTBOX_OUTBOX_DISK_H */
