/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_BATCH_PACKER_CONNS_H
#define PROBE_AGENT_BATCH_PACKER_CONNS_H

#include <stdbool.h>
#include <stdint.h>

#include "probe-agent/batch/packer.h"

/*
 * The connections of a batch under construction, each once: both ends, as the
 * aggregator joins the sides of a request by them. At most one per event of a
 * batch. Not locked: the packer's.
 */
struct packer_conns;

/* Sets *out, released by packer_conns_free(). -ENOMEM. */
int packer_conns_new(struct packer_conns **out);
void packer_conns_free(struct packer_conns *t); /* NULL is fine */
void packer_conns_reset(struct packer_conns *t);

/* The row of the connection + 1; 0: an end is not known. */
uint32_t packer_conns_row(struct packer_conns *t,
			  const struct packer_end *local,
			  const struct packer_end *remote);

/* Fills in the table, borrowed until the reset. False: it is empty. */
bool packer_conns_table(const struct packer_conns *t, struct batch_events *out);

#endif /* PROBE_AGENT_BATCH_PACKER_CONNS_H */
