/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_SERIES_H
#define AGGREGATOR_FOLD_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/cells.h"
#include "aggregator/fold/intern.h"
#include "aggregator/fold/span.h"
#include "aggregator/fold/top_denied.h"
#include "aggregator/fold/views.h"

/*
 * The series of one view: label sets and what was counted for each. A slot
 * never moves and is never given to another label set, so its number is its
 * name in the store. Slot 0 is the overflow series: what asks for a place
 * beyond the budget counts there, so totals stay exact.
 * Not locked: the engine's thread owns it.
 */
#define SERIES_CHUNK 1024u
#define SERIES_OVERFLOW 0u

/* A label value of an event. interned is set as soon as it is known. */
struct series_label {
	const char *data; /* NULL: absent */
	size_t len;
	uint64_t hash; /* intern_hash() */
	const struct interned *interned;
};

struct series_slot {
	/* What a snapshot copies while ingest waits: SERIES_COPIED bytes. */
	uint64_t count;
	uint64_t sum;
	struct span *span; /* NULL: nothing counted, or a counter */
	struct slowest_exemplars *exemplars; /* NULL: none */
	int64_t created_us;
	int64_t active_us; /* when the last batch came that is in it */
	uint64_t log_id; /* the last batch that is in it */
	uint32_t turn; /* of the fold: when it was last counted in */
	bool dirty; /* the store's copy is older */
};
#define SERIES_COPIED offsetof(struct series_slot, log_id)

#define SERIES_SKETCH_BITS 10
#define SERIES_VALUES_BITS 8

/* The distinct values of one label of a view. */
struct series_values {
	uint32_t n; /* of the series granted */
	uint32_t max; /* budget */
	uint8_t *seen; /* bit by id of the interned value */
	size_t seen_bytes;
	uint8_t sketch[1 << SERIES_VALUES_BITS]; /* of all asked for */
};

struct series {
	const enum view_key *keys; /* borrowed */
	size_t n_keys;
	const struct cells *cells; /* borrowed; NULL: counters only */
	size_t max; /* budget, the overflow series not counted */
	struct intern *intern; /* borrowed */
	uint32_t n; /* slots in use */
	struct series_slot **slot; /* chunks of SERIES_CHUNK */
	const struct interned ***label; /* chunks of SERIES_CHUNK * n_keys */
	uint64_t **hash; /* chunks */
	size_t n_chunks;
	uint32_t *table; /* open addressing: slot + 1 */
	size_t cap;
	struct series_values *values; /* by position in keys */
	uint8_t sketch[1 << SERIES_SKETCH_BITS]; /* of the sets asked for */
	struct top_denied askers; /* services, if the view has the label job */
};

/* -ENOMEM. series_fini() frees either way. */
int series_init(struct series *s, const enum view_key *keys, size_t n_keys,
		size_t max, const struct cells *cells, struct intern *intern);
void series_fini(struct series *s);

/* A budget of distinct values for the label at this position. */
void series_limit_values(struct series *s, size_t key, size_t max);

/*
 * The slot of a label set: labels is indexed by label_key, only the keys of
 * the view count. Adds it if there is room in the budgets; else
 * SERIES_OVERFLOW. Negative errno.
 */
int64_t series_resolve(struct series *s, struct series_label *const *labels,
		       int64_t now_us);

static inline struct series_slot *series_at(const struct series *s,
					    uint32_t slot)
{
	return &s->slot[slot / SERIES_CHUNK][slot % SERIES_CHUNK];
}

/* n_keys values; NULL: absent. */
static inline const struct interned *const *
series_labels(const struct series *s, uint32_t slot)
{
	return s->label[slot / SERIES_CHUNK] + slot % SERIES_CHUNK * s->n_keys;
}

/*
 * For loading: makes slot (which must be the next or one in a gap) be this
 * label set. -EEXIST, -EINVAL, -ENOMEM.
 */
int series_restore(struct series *s, uint32_t slot,
		   struct series_label *const *labels);

#endif /* AGGREGATOR_FOLD_SERIES_H */
