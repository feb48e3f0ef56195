/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_EXPOSE_EXPOSE_WRITER_H
#define AGGREGATOR_EXPOSE_EXPOSE_WRITER_H

#include "aggregator/expose/expose.h"

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
};

struct expose_family {
	const char *base; /* its first base_len bytes: name without suffix */
	size_t base_len;
	const char *suffix; /* "", "_total", "_info" */
	const char *help, *unit;
	enum metric_type type;
	/* Histograms only: */
	const struct view *view;
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
	char le[VIEW_BOUNDS_MAX + 1][40]; /* le="…"} of each bucket */
	size_t le_len[VIEW_BOUNDS_MAX + 1];
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

/* Writes the samples of one LIST of metrics.def. In expose_lists.c. */
void expose_list(struct expose_writer *w, enum metric_list id,
		 const struct snapshot *s, const struct metrics_self *self);

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

/* The labels of an exemplar: trace_id and span_id if known, and request_id. */
struct expose_exemplar {
	struct expose_label label[3];
	size_t n;
	char trace_id[33], span_id[17], request_id[32];
};
void expose_exemplar_labels(struct expose_exemplar *out,
			    const struct exemplar *e);

#endif /* AGGREGATOR_EXPOSE_EXPOSE_WRITER_H */
