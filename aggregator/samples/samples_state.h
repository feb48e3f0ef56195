/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SAMPLES_SAMPLES_STATE_H
#define AGGREGATOR_SAMPLES_SAMPLES_STATE_H

#include <pthread.h>

#include "aggregator/samples/samples.h"
#include "aggregator/series/intern.h"
#include "common/buf.h"
#include "proto/limits.h"

/* The inside of the samples, for samples_*.c and snapshot_samples.c only. */

#define SAMPLES_CHUNK 256u /* series */
#define SAMPLES_OVERFLOW 0u /* slot of a family's overflow series */

/* The label names of a series, in the order they are shown. */
struct samples_shape {
	struct samples_shape *next; /* of the family */
	size_t n;
	const struct interned *name[]; /* "node" first, or last if merged */
};

/* What of a series does not change while it is counted in. */
struct samples_slot {
	uint64_t hash;
	const struct samples_shape *shape; /* NULL: the overflow series */
	const struct interned **value; /* as many as the shape has names */
	uint64_t log_id; /* the last batch that is in it */
	uint32_t stamp; /* of the batch that touched it last */
	bool skip; /* it had that batch already */
	bool dirty; /* not in the store */
};

/* Only of gauges. */
struct samples_gauge {
	uint32_t node;
	uint32_t next; /* slot of the same node, + 1 */
	bool present; /* in the latest set of its node */
};

/* Chunks never move, so a snapshot may read labels without a lock. */
struct samples_chunk {
	struct samples_slot slot[SAMPLES_CHUNK];
	int64_t active_us[SAMPLES_CHUNK]; /* when the last batch came */
	struct samples_gauge *gauge; /* NULL: not of gauges */
	uint64_t value[]; /* stride of the family each */
};

/* A node's latest set of gauges of a family. */
struct samples_set {
	uint32_t node;
	uint32_t first; /* slot of one of its series, + 1; 0: none */
	uint64_t epoch, sequence;
};

/* Who sent the family last, and who else did. */
struct samples_sender {
	uint32_t node; /* UINT32_MAX: none */
	int64_t us;
};

struct samples_family {
	uint32_t id;
	const struct interned *name, *unit, *program;
	const struct interned *help; /* NULL until told; then it stays */
	enum samples_kind kind;
	enum samples_merge merge;
	double multiplier;
	uint64_t bound[LIMIT_SAMPLE_BOUNDS];
	size_t n_bounds;
	size_t stride; /* values of a series: 1, or bounds + 2: +Inf, sum */
	bool gone; /* gave way to another definition; no longer shown */
	uint64_t born_log; /* the batch that made it: earlier ones differed */
	struct samples_sender last, other;
	struct samples_shape *shapes;
	uint32_t n; /* slots, with gaps after loading */
	uint32_t n_granted; /* series in them, the overflow series apart */
	uint32_t gap; /* no slot below is free */
	struct samples_chunk **chunk;
	size_t n_chunks;
	uint32_t *table; /* open addressing: slot + 1 */
	size_t cap;
	struct samples_set *set; /* of gauges, sorted by node */
	size_t n_sets, cap_sets;
	uint64_t overflowed; /* increments that went to the overflow series */
	uint64_t log_id;
	bool dirty;
	/* Slots sorted by labels; for snapshots, under order_mutex. */
	uint32_t *order;
	uint32_t n_ordered;
};

struct samples_program_row {
	const struct interned *name;
	char *reason;
	uint32_t state;
	uint8_t digest[SAMPLES_DIGEST_BYTES];
	uint64_t runs, run_ns, trap_ns, read_us;
};

struct samples_map_row {
	uint32_t program;
	uint32_t guarantee;
	const struct interned *name;
	uint64_t entries, max_entries;
};

struct samples_node {
	const struct interned *name;
	uint64_t epoch, sequence; /* of the last report on programs */
	struct samples_program_row *program;
	struct samples_map_row *map;
	size_t n_programs, n_maps;
	uint64_t conflict; /* increments that another definition kept out */
	uint64_t no_family; /* increments beyond max_families */
	uint64_t log_id;
	bool dirty;
};

/* Where a round of writing is. */
struct samples_cursor {
	size_t gone, family, node;
	uint32_t slot; /* 0: the family itself comes first */
	bool family_done;
};

/* A row that was handed out and is not committed yet. */
struct samples_written {
	bool *dirty;
};

struct samples {
	struct samples_options opt;
	struct intern *intern;
	struct samples_family **family; /* by id - 1; NULL: gone */
	size_t n_families, cap_families;
	size_t n_live;
	struct samples_node *node;
	size_t n_nodes, cap_nodes;
	uint32_t *node_table; /* open addressing: node + 1 */
	size_t node_cap;
	uint32_t stamp; /* of batches */
	/* Families that gave way, and until when their rows are in the store.
	 */
	struct samples_family **gone;
	size_t n_gone, cap_gone;
	struct samples_cursor at, next; /* committed; in the transaction */
	struct samples_written *written;
	size_t n_written, cap_written;
	struct buf blob;
	/* Of the batch that is being applied, by its strings. */
	uint64_t *hash;
	const struct interned **known;
	size_t cap_strings;
	pthread_mutex_t order_mutex; /* leaf */
};

static inline struct samples_slot *
samples_slot_at(const struct samples_family *f, uint32_t slot)
{
	return &f->chunk[slot / SAMPLES_CHUNK]->slot[slot % SAMPLES_CHUNK];
}

static inline uint64_t *samples_value_at(const struct samples_family *f,
					 uint32_t slot)
{
	return f->chunk[slot / SAMPLES_CHUNK]->value +
	       slot % SAMPLES_CHUNK * f->stride;
}

static inline int64_t *samples_active_at(const struct samples_family *f,
					 uint32_t slot)
{
	return &f->chunk[slot / SAMPLES_CHUNK]->active_us[slot % SAMPLES_CHUNK];
}

static inline struct samples_gauge *
samples_gauge_at(const struct samples_family *f, uint32_t slot)
{
	return &f->chunk[slot / SAMPLES_CHUNK]->gauge[slot % SAMPLES_CHUNK];
}

/* NULL: out of memory. */
const struct interned *samples_intern(struct samples *s, const char *text,
				      size_t len);

/* --- samples.c --- */

/* Finds or adds a node. Its number; -ENOSPC: too many; -ENOMEM. */
int64_t samples_node_find(struct samples *s, const char *name);

/* --- samples_family.c --- */

/* What a batch says of a family; strings are borrowed. */
struct samples_definition {
	const struct batch_string *name, *help, *unit, *program;
	enum samples_kind kind;
	enum samples_merge merge;
	double multiplier;
	const uint64_t *bound;
	size_t n_bounds;
};

struct samples_family *samples_family_new(struct samples *s,
					  const struct samples_definition *d);
void samples_family_free(struct samples_family *f);
bool samples_family_is(const struct samples_family *f,
		       const struct samples_definition *d);
/*
 * The family that a node's samples of this definition belong to. NULL and 0:
 * none, because another definition has the name (*conflict) or there are too
 * many. -ENOMEM.
 */
int samples_family_find(struct samples *s, const struct samples_definition *d,
			uint32_t node, uint64_t log_id, int64_t received_us,
			struct samples_family **out, bool *conflict);
/* Puts a family at its place among all. -ENOMEM, -EUCLEAN: it is taken. */
int samples_family_place(struct samples *s, struct samples_family *f,
			 uint32_t id);

/* --- samples_series.c --- */

/* The names as the family shows them. NULL: out of memory. */
const struct samples_shape *
samples_shape_find(struct samples_family *f, const struct interned *const *name,
		   size_t n);

/*
 * The slot of a label set, with interned values; NULL: a value that no series
 * has. SAMPLES_OVERFLOW beyond the budget. Texts of values that are NULL are
 * interned if the series is granted. -ENOMEM.
 */
struct samples_labels {
	const struct samples_shape *shape;
	const struct batch_string **text;
	const struct interned **value;
	uint64_t *hash; /* intern_hash() of each */
};
int64_t samples_resolve(struct samples *s, struct samples_family *f,
			const struct samples_labels *l);
/* For loading: makes slot be this label set; the overflow if shape is NULL. */
int samples_restore(struct samples *s, struct samples_family *f, uint32_t slot,
		    const struct samples_shape *shape,
		    const struct interned *const *value);

/* --- samples_apply.c, samples_programs.c --- */

/* A family of the batch, as it is here. */
struct samples_input_family {
	struct samples_family *f; /* NULL: left out */
	bool conflict;
	const struct samples_shape *shape;
	size_t first_label; /* of its names in the batch */
	size_t n_labels;
	/* Where in the shape each label of the batch goes, and the node. */
	uint16_t place[LIMIT_SAMPLE_LABELS];
	int node_place; /* -1: the series has no node */
};

/* A batch that is being applied. */
struct samples_input {
	struct samples *s;
	const struct batch *b;
	uint64_t log_id;
	int64_t us;
	uint32_t node;
	bool node_skips; /* it has this batch already */
	uint64_t conflict, no_family; /* increments left out */
	struct samples_input_family *family;
	int64_t *slot; /* by series of the batch; -1: left out */
};

/* The node's programs, and what was left out. -ENOMEM. */
int samples_note_node(struct samples_input *a);

#endif /* AGGREGATOR_SAMPLES_SAMPLES_STATE_H */
