/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_FOLD_LABELSET_STATE_H
#define AGGREGATOR_FOLD_LABELSET_STATE_H

#include <assert.h>

#include "aggregator/fold/labelset.h"

/* The inside of the label sets, for labelset*.c only. */

#define STATUS_MAX 1000u

struct labels {
	struct intern *intern;
	uint32_t used[LABELS_ROLES];
	size_t n_slots;
	const struct batch *batch;

	/* Of the batch. */
	struct series_label *string; /* by string; hash made on first use */
	uint8_t *seen;
	uint32_t *id; /* by string, see id_of_string() */
	size_t string_cap;
	struct series_label *job, *instance; /* by resource */
	uint32_t *job_id, *instance_id;
	size_t resource_cap;
	char *text; /* composed job names */
	size_t text_cap;
	struct series_label node;
	uint32_t node_id, other_method_id; /* or ID_NONE */
	char port_text[12];
	struct series_label port;

	/* Constant ones, hashed once. */
	struct series_label absent, role[3], version[4], other_method,
		other_outcome, unknown_service, outcome[OUTCOMES],
		status[STATUS_MAX];

	/* Cache: keys, then the slots. */
	uint32_t *entry, *table, *scratch;
	size_t stride, n, cap, table_cap;
};

/*
 * What the labels of a row follow from: interned values by their id, so that a
 * row is found without a look at any text, and small numbers as they are.
 */
enum labelset_word {
	KEY_JOB,
	KEY_INSTANCE,
	KEY_NODE,
	KEY_SERVICE,
	KEY_METHOD,
	KEY_ROUTE,
	KEY_SCHEME,
	KEY_ADDRESS,
	KEY_PORT_STATUS,
	KEY_ROLE_OUTCOME_VERSION,
	KEY_WORDS,
};
static_assert(KEY_WORDS % 2 == 0, "hashed two by two");

#define ID_NONE UINT32_MAX /* not interned, or not looked for yet */

/* The label of a string of the batch. */
struct series_label *labels_string(struct labels *l, uint32_t i);

static inline uint32_t labels_used_by(const struct labels *l, uint32_t role)
{
	return l->used[role < LABELS_ROLES ? role : 0];
}

#endif /* AGGREGATOR_FOLD_LABELSET_STATE_H */
