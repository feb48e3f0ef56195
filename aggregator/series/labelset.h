/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SERIES_LABELSET_H
#define AGGREGATOR_SERIES_LABELSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/series/series.h"
#include "proto/batch.h"

/*
 * Turns the rows of a batch's series table into label values, and caches for
 * each label set its slots in all views, so that a known label set costs one
 * look-up per batch. The cache is bounded. Not locked: the fold owns it.
 */
struct labels;

#define LABELS_NO_SLOT UINT32_MAX
#define LABELS_KEY_WORDS 10u
#define LABELS_ROLES 3u /* wire values of roles; 0 stands for unknown ones */

/*
 * Sets *out, released by labels_free(). Borrows the intern table. used: for
 * each role, bit 1 << label_key for every label that some view of this role
 * has. Other labels are not part of the cache's key, as their values are never
 * interned. n_slots: number of words per cache entry. -ENOMEM.
 */
int labels_new(struct labels **out, struct intern *intern,
	       const uint32_t used[LABELS_ROLES], size_t n_slots);
void labels_free(struct labels *l); /* NULL is fine */

/* Starts on a batch; borrows it until the next call. -ENOMEM. */
int labels_begin(struct labels *l, const struct batch *b);

struct labels_row {
	uint32_t role;
	bool error;
	bool untimed; /* durations are unknown */
	bool call; /* it has an rpc_system */
	struct series_label
		*label[LABEL_EVENT_KEYS]; /* never NULL; their data may be */
};

/* Sets *out to the labels of row i of the series table, until the next call. */
void labels_of(struct labels *l, size_t i, struct labels_row *out);

/* Returns the error_type of row i, NULL on success. Static. */
const char *labels_error_name(const struct batch_series *s, size_t i);

/* The labels of row i of the resources table. */
const struct series_label *labels_job(const struct labels *l, size_t i);
const struct series_label *labels_instance(const struct labels *l, size_t i);

/* The look-up of a row in the cache. */
struct labels_lookup {
	size_t row; /* of the series table; the caller sets it */
	uint32_t key[LABELS_KEY_WORDS];
	bool known; /* the key is complete */
	uint64_t hash;
};

/*
 * With many label sets a look-up mostly waits for memory. A caller with many
 * rows makes these steps in this order, and other rows' steps between them:
 * each asks the CPU for the memory that the next one reads.
 */
void labels_ask_strings(struct labels *l, size_t row);
void labels_ask_values(struct labels *l, size_t row);
void labels_ask_place(struct labels *l, struct labels_lookup *x);
void labels_ask_entry(const struct labels *l, const struct labels_lookup *x);
/*
 * Returns the cached slots of the row, until the next labels_cache(); or NULL.
 * Of the steps, only labels_ask_place() must have been made.
 */
const uint32_t *labels_cached(struct labels *l, struct labels_lookup *x);
uint32_t *labels_scratch(struct labels *l); /* room for n_slots */
/* Caches the slots of row i if all its labels in use are interned. -ENOMEM. */
int labels_cache(struct labels *l, size_t i, const uint32_t *slot);

#endif /* AGGREGATOR_SERIES_LABELSET_H */
