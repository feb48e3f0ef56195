/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_BATCH_PACKER_CONNS_H
#define PROBE_AGENT_BATCH_PACKER_CONNS_H

#include <stdbool.h>
#include <stdint.h>

#include "probe-agent/batch/packer.h"

/*
 * The connections of a batch under construction, each stored once with both of
 * its ends: the aggregator joins the two sides of a request by them. Holds at
 * most BATCH_EVENTS connections. Not locked: the packer owns it.
 */
struct packer_conns;

/* Sets *out, released by packer_conns_free(). -ENOMEM. */
int packer_conns_new(struct packer_conns **out);
void packer_conns_free(struct packer_conns *t); /* NULL is fine */
void packer_conns_reset(struct packer_conns *t);

/*
 * Returns the row of a connection + 1, adding it if it is new. 0: an end is
 * unknown, or the table is full.
 */
uint32_t packer_conns_row(struct packer_conns *t,
			  const struct packer_end *local,
			  const struct packer_end *remote);

/*
 * What the column of streams has for the next event on that connection, whose
 * row + 1 is given.
 */
uint32_t packer_conns_stream(struct packer_conns *t, uint32_t row,
			     uint32_t stream);

/* Fills in the connections of out, borrowed until a reset. False: none. */
bool packer_conns_table(const struct packer_conns *t, struct batch_events *out);

#endif /* PROBE_AGENT_BATCH_PACKER_CONNS_H */
