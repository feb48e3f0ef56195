/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_BATCH_ENDS_H
#define PROBE_AGENT_BATCH_ENDS_H

#include <stdbool.h>
#include <stdint.h>

#include "probe-agent/batch/packer.h"

/*
 * The connections of a batch under construction, each once: both ends, as the
 * aggregator joins the sides of a request by them. At most one per event of a
 * batch. Not locked: the packer's.
 */
struct ends;

/* Sets *out, released by ends_free(). -ENOMEM. */
int ends_new(struct ends **out);
void ends_free(struct ends *t); /* NULL is fine */
void ends_reset(struct ends *t);

/* The row of the connection + 1; 0: an end is not known. */
uint32_t ends_row(struct ends *t, const struct event_end *local,
		  const struct event_end *remote);

/* Fills in the table, borrowed until the reset. False: it is empty. */
bool ends_table(const struct ends *t, struct batch_events *out);

#endif /* PROBE_AGENT_BATCH_ENDS_H */
