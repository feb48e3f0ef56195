/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_LEDGER_LEDGER_INFO_H
#define AGGREGATOR_LEDGER_LEDGER_INFO_H

#include <stddef.h>
#include <stdint.h>

#include "proto/batch.h"

/*
 * What agents say about themselves. Most agents of a fleet say the same, so
 * each text is kept once and shared: by agents, and by snapshots, which only
 * count the references. Immutable. The table belongs to the engine's thread; a
 * reference may be held and released by any thread.
 */
struct ledger_info {
	struct batch_info said; /* points into this allocation */
	/* The inside of ledger_info.c: */
	uint64_t hash;
	size_t bytes; /* of the allocation */
	size_t agents; /* that say this; 0: not in the table any more */
	_Atomic uint32_t references;
	struct ledger_info *next; /* of the same bucket */
};

/*
 * Bounds on what is kept. What is longer is cut, further probes and repeated
 * names are left out; our own agents stay far below. Beyond TABLE_BYTES in all,
 * an agent's probes are left out, and counted.
 */
#define LEDGER_INFO_LABEL_BYTES 128u
#define LEDGER_INFO_PROBE_BYTES 96u
#define LEDGER_INFO_PROBES 128u
#define LEDGER_INFO_TABLE_BYTES ((size_t)32 << 20)

struct ledger_infos;

/* Sets *out, released by ledger_infos_free(). -ENOMEM. */
int ledger_infos_new(struct ledger_infos **out);
void ledger_infos_free(struct ledger_infos *t); /* NULL is fine */

/*
 * Sets *out to what in says, for one more agent; the caller gives it back with
 * ledger_infos_drop(). -ENOMEM.
 */
int ledger_infos_get(struct ledger_infos *t, const struct batch_info *in,
		     struct ledger_info **out);
void ledger_infos_drop(struct ledger_infos *t, struct ledger_info *info);

size_t ledger_infos_bytes(const struct ledger_infos *t);
/* How often an agent's probes were left out for lack of room. */
uint64_t ledger_infos_cut(const struct ledger_infos *t);

/* Any thread that has a reference already, or the lock of the agents. */
const struct ledger_info *ledger_info_hold(const struct ledger_info *info);
void ledger_info_rele(const struct ledger_info *info); /* NULL is fine */

#endif /* AGGREGATOR_LEDGER_LEDGER_INFO_H */
