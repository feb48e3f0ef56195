/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SERIES_SERIES_H
#define AGGREGATOR_SERIES_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/series/cells.h"
#include "aggregator/series/intern.h"
#include "aggregator/series/span.h"
#include "aggregator/series/top_denied.h"
#include "aggregator/views/views.h"
#include "common/hash_index.h"

/*
 * The series of one view: label sets, and what was counted for each. A slot
 * never moves and always keeps its label set, so its number identifies it in
 * the store. Slot 0 is the overflow series: label sets beyond the budget are
 * counted there, so totals stay exact. Not locked: the engine's thread owns it.
 */
#define SERIES_CHUNK 1024u
#define SERIES_OVERFLOW 0u
/*
 * A series with this many requests counts no further batch: its counters stop
 * instead of going back. A batch adds less than that, so none overflows.
 */
#define SERIES_COUNT_MAX (UINT64_C(1) << 62)

/* A label value of an event. interned is set once the value is looked up. */
struct series_label {
	const char *data; /* NULL: absent */
	size_t len;
	uint64_t hash; /* intern_hash() */
	const struct interned *interned;
};

struct series_slot {
	/* The first SERIES_COPIED bytes; snapshots copy only these. */
	uint64_t count;
	uint64_t sum;
	struct span *span; /* NULL: nothing counted, or a counter */
	struct slowest_exemplars *exemplars; /* NULL: none */
	int64_t created_us;
	int64_t active_us; /* arrival of the last batch counted here */
	/* From here on not copied. */
	uint64_t log_id; /* the last batch counted here */
	uint32_t turn; /* the fold's turn when it was counted */
	bool dirty; /* changed since it was written to the store */
};
#define SERIES_COPIED offsetof(struct series_slot, log_id)

#define SERIES_SKETCH_BITS 10
#define SERIES_VALUES_BITS 8

/* The distinct values of one label of a view. */
struct series_values {
	uint32_t n; /* values that the series have */
	uint32_t max; /* budget */
	uint8_t *seen; /* bit set, by the id of the interned value */
	size_t seen_bytes;
	uint8_t sketch[1 << SERIES_VALUES_BITS]; /* values ever asked for */
};

struct series {
	const enum view_key *keys; /* borrowed */
	size_t n_keys;
	const struct cells *cells; /* borrowed; NULL: counters only */
	size_t max; /* budget, not counting the overflow series */
	struct intern *intern; /* borrowed */
	uint32_t n; /* slots in use */
	struct series_slot **slot; /* chunks of SERIES_CHUNK */
	const struct interned ***label; /* chunks of SERIES_CHUNK * n_keys */
	uint64_t **hash; /* chunks */
	size_t n_chunks;
	struct hash_index index; /* of slots */
	struct series_values *values; /* by position in keys */
	uint8_t sketch[1 << SERIES_SKETCH_BITS]; /* label sets ever asked for */
	struct top_denied askers; /* jobs, if the view has the label job */
};

/* Initialises *s. -ENOMEM. Call series_fini() in either case. */
int series_init(struct series *s, const enum view_key *keys, size_t n_keys,
		size_t max, const struct cells *cells, struct intern *intern);
void series_fini(struct series *s);
int series_clear(struct series *s); /* forgets all slots. -ENOMEM */

/* Sets the budget of distinct values for keys[key]. */
void series_limit_values(struct series *s, size_t key, size_t max);

/*
 * Returns the slot of a label set. Adds it if the budgets have room; else
 * returns SERIES_OVERFLOW. labels is indexed by enum view_key; only the view's
 * keys matter. -ENOMEM.
 */
int64_t series_resolve(struct series *s, struct series_label *const *labels,
		       int64_t now_us);

static inline struct series_slot *series_at(const struct series *s,
					    uint32_t slot)
{
	return &s->slot[slot / SERIES_CHUNK][slot % SERIES_CHUNK];
}

/* Returns the n_keys label values of a slot; NULL: absent. */
static inline const struct interned *const *
series_labels(const struct series *s, uint32_t slot)
{
	return s->label[slot / SERIES_CHUNK] + slot % SERIES_CHUNK * s->n_keys;
}

/*
 * Gives `slot` this label set, while loading. -EINVAL: it is not the next free
 * slot. -EEXIST: the label set has a slot already. -ENOMEM.
 */
int series_restore(struct series *s, uint32_t slot,
		   struct series_label *const *labels);

#endif /* AGGREGATOR_SERIES_SERIES_H */
