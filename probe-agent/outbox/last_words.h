/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_OUTBOX_LAST_WORDS_H
#define PROBE_AGENT_OUTBOX_LAST_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "probe-agent/outbox/outbox.h"

/*
 * What earlier starts of an agent gave up, in a small file: for each a batch
 * without requests that has the number after the last one of that start, and
 * its losses. The next start sends these first, so the aggregator counts as
 * lost whatever it did not get. One thread at a time.
 *
 *	4  length, little endian
 *	…  the batch; then the next one
 */
struct last_words;

#define LAST_WORDS_MAX 64u /* batches; beyond that the newest is not kept */

/*
 * Appends a batch to the file, which is made if it does not exist. -ENOSPC: the
 * file has LAST_WORDS_MAX, or the disk is full; -EACCES, -EIO …
 */
int last_words_add(const char *path, const void *batch, size_t len);

/*
 * For an agent that stops: logs what its outbox still has. Without a file at
 * outbox_path that is given up, and added to path unless that is NULL. Returns
 * whether anything is given up.
 */
bool last_words_leave(struct outbox *ob, const char *outbox_path,
		      const char *path);

/*
 * Reads the file; without one there are none. Bytes that are no batches are
 * logged and left out. Sets *out, released by last_words_close(). -ENOMEM, -EIO
 */
int last_words_open(struct last_words **out, const char *path);
void last_words_close(struct last_words *w); /* NULL is fine */

/* The first batch, borrowed until the drop. False: there is none left. */
bool last_words_first(const struct last_words *w, struct outbox_item *out);
/* The aggregator has answered it: removes the first batch from the file. */
void last_words_drop(struct last_words *w);

#endif /* PROBE_AGENT_OUTBOX_LAST_WORDS_H */
