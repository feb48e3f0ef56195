/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_LABELSET_H
#define AGGREGATOR_FOLD_LABELSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/fold/series.h"
#include "proto/batch.h"

/*
 * From the rows of a batch's series table to label values, and a bounded cache
 * from label sets to the slots of all views, so that a known label set costs
 * one look-up a batch. Not locked: the fold owns it.
 */
struct labels;

#define LABELS_NO_SLOT UINT32_MAX
#define LABELS_ROLES 3u /* by wire value; 0: any other */

/*
 * used: bit 1 << label_key for every label that some view of that role has (a
 * value that no series is made of is never interned, so it must not be part of
 * the key); n_slots: how many slots a cache entry holds. Borrows the intern
 * table. -ENOMEM.
 */
int labels_new(struct labels **out, struct intern *intern,
	       const uint32_t used[LABELS_ROLES], size_t n_slots);
void labels_free(struct labels *l); /* NULL is fine */

/* Starts on a batch, borrowed until the next one. -ENOMEM. */
int labels_begin(struct labels *l, const struct batch *b);

struct labels_row {
	uint32_t role;
	bool error;
	struct series_label
		*label[LABEL_EVENT_KEYS]; /* never NULL; data may be */
};

/* Labels of row i of the series table. Valid until the next call. */
void labels_of(struct labels *l, size_t i, struct labels_row *out);

/* error_type of a request, NULL on success. Static. */
const char *labels_error_name(uint32_t role, uint32_t status, uint32_t outcome);

/* Labels of row i of the resources table. */
const struct series_label *labels_job(const struct labels *l, size_t i);
const struct series_label *labels_instance(const struct labels *l, size_t i);

/* The slots that were cached for row i, valid until the next call; or NULL. */
const uint32_t *labels_cached(struct labels *l, size_t i);
uint32_t *labels_scratch(struct labels *l); /* room for n_slots */
/* Caches slots, if all labels in use are interned by now. -ENOMEM. */
int labels_cache(struct labels *l, size_t i, const uint32_t *slot);

#endif /* AGGREGATOR_FOLD_LABELSET_H */
