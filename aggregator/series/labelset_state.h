/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SERIES_LABELSET_STATE_H
#define AGGREGATOR_SERIES_LABELSET_STATE_H

#include <assert.h>

#include "aggregator/series/labelset.h"
#include "common/cache_line.h"
#include "common/hash_index.h"
#include "proto/limits.h"

/* Internals of the label sets, for labelset*.c only. */

#define STATUS_MAX 1000u
#define LINE_WORDS (CACHE_LINE / sizeof(uint32_t))

/*
 * The key of a cache entry, which determines all labels of a row: the ids of
 * interned values, so that no text is compared, and small numbers as they are.
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
	KEY_SMALL, /* untimed, rpc_status, rpc, role, outcome, version */
	KEY_WORDS,
};
static_assert(KEY_WORDS == LABELS_KEY_WORDS && KEY_WORDS % 2 == 0,
	      "hashed two by two");
static_assert(LIMIT_RPC_STATUS < 1 << 7 && LIMIT_RPC < 1 << 6 &&
		      LIMIT_OUTCOME < 1 << 8 && LIMIT_HTTP_VERSION < 1 << 8,
	      "KEY_SMALL has room for each");

struct labels {
	struct intern *intern;
	uint32_t used[LABELS_ROLES];
	size_t n_slots;
	const struct batch *batch;

	/* The current batch. */
	struct series_label *string; /* by string; made on first use */
	uint8_t *seen; /* by string: it is made */
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
	struct series_label rpc_method;

	/* Constant labels, hashed once. */
	struct series_label absent, role[3], version[4], other_method,
		other_outcome, unknown_service, outcome[OUTCOMES],
		status[STATUS_MAX], rpc_system[RPC_SYSTEMS],
		rpc_code[RPC_CODES], rpc_number[RPC_CODES];

	/* The cache; an entry is KEY_WORDS words of key, then n_slots words. */
	uint32_t *entry, *scratch;
	size_t stride, n, cap;
	struct hash_index index; /* of entries */
};

#define ID_NONE UINT32_MAX /* not interned, or not looked up yet */

/* Returns the label of string i of the batch. */
struct series_label *labels_string(struct labels *l, uint32_t i);

static inline uint32_t labels_used_by(const struct labels *l, uint32_t role)
{
	return l->used[role < LABELS_ROLES ? role : 0];
}

#endif /* AGGREGATOR_SERIES_LABELSET_STATE_H */
