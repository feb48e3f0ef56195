/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_EXPOSE_EXPOSE_WRITER_H
#define AGGREGATOR_EXPOSE_EXPOSE_WRITER_H

#include "aggregator/expose/expose.h"
#include "proto/limits.h"

/*
 * What expose.c needs from a format. Private to the expose*.c files. For each
 * family expose.c calls family(), then sample() or histogram() for each series,
 * then end_family(), and after the last family end(). Errors stick in the out
 * buffer.
 */

struct expose_label {
	const char *name, *value;
};

/* mantissa / 10^scale */
struct expose_number {
	uint64_t mantissa;
	unsigned scale; /* 0 … 9 */
	bool negative;
	/* A value that no such fraction is, shown as shortly as it is exact. */
	bool is_real;
	double real;
};

struct expose_family {
	const char *base; /* its first base_len bytes: name without suffix */
	size_t base_len;
	const char *suffix; /* "", "_total", "_info" */
	const char *help, *unit;
	enum metric_type type;
	/* Histograms only: */
	const uint64_t *bounds;
	size_t n_bounds;
	bool classic; /* no native histogram can be made of these bounds */
	int schema; /* of the native one */
	double multiplier; /* of a user program's integers; 0: scale says it */
	unsigned scale; /* decimal places of values and bounds */
};

struct expose_writer {
	const struct expose_writer_ops *ops;
	struct buf *out;
	bool openmetrics;
	const struct expose_family *family;
	size_t family_at; /* offset in out where the family starts */
	size_t samples_at; /* where its head ends; SIZE_MAX: in another piece */
	/* Scratch memory, reused so that a series costs no malloc. */
	struct buf labels, prefix, message;
	char le[LIMIT_SAMPLE_BOUNDS + 1][40]; /* le="…"} of each bucket */
	size_t le_len[LIMIT_SAMPLE_BOUNDS + 1];
};

struct expose_writer_ops {
	void (*family)(struct expose_writer *w);
	void (*sample)(struct expose_writer *w, const struct expose_label *l,
		       size_t n, struct expose_number value);
	void (*histogram)(struct expose_writer *w, const struct expose_label *l,
			  size_t n, const struct snapshot_series *s);
	void (*end_family)(struct expose_writer *w);
	void (*end)(struct expose_writer *w);
};

/* An exposition under way. */
struct expose {
	struct expose_writer w;
	const struct snapshot *s;
	struct metrics_self self;
	struct expose_family family;
	bool whole; /* a family must be within one piece */
	bool open; /* the family of a view is begun and not ended */
	size_t view, family_at, series, metric;
	bool done;
	int err;
};

/* Writes the head of x->family; its end, or takes the head back if empty. */
void expose_begin_family(struct expose *x);
void expose_end_family(struct expose *x);

/* --- expose_samples.c --- */

/* Some series of family x->family_at, or all if it must be whole. */
int expose_put_samples(struct expose *x);

/* Writes the samples of one LIST of metrics.def. In expose_lists.c. */
void expose_list(struct expose_writer *w, enum metric_list id,
		 const struct snapshot *s, const struct metrics_self *self);

/* Those about user programs. In expose_programs.c. */
void expose_program_list(struct expose_writer *w, enum metric_list id,
			 const struct snapshot *s);

extern const struct expose_writer_ops expose_text_ops; /* and OpenMetrics */
extern const struct expose_writer_ops expose_proto_ops;

/*
 * Writes v at `to` as an exact decimal without trailing zeros, in at most
 * EXPOSE_NUMBER_MAX bytes and without a NUL. always_point: writes 1.0 instead
 * of 1, as `le` requires. Returns the end.
 */
char *expose_put_number(char *to, struct expose_number v, bool always_point);
/* Writes v in at most 20 bytes, without a NUL. Returns the end. */
char *expose_put_u64(char *to, uint64_t v);

#define EXPOSE_NUMBER_MAX 32

/* An integer of the family as it is shown. */
struct expose_number expose_in_unit(const struct expose_family *f, uint64_t v);
/* How a multiplier is written down as decimal places; -1: it is not. */
int expose_decimals(double multiplier);

/* The labels of an exemplar: trace_id and span_id if known, and request_id. */
struct expose_exemplar {
	struct expose_label label[3];
	size_t n;
	char trace_id[33], span_id[17], request_id[32];
};
void expose_exemplar_labels(struct expose_exemplar *out,
			    const struct exemplar *e);

#endif /* AGGREGATOR_EXPOSE_EXPOSE_WRITER_H */
