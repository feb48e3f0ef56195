/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_EXPOSE_EXPOSE_WRITER_H
#define AGGREGATOR_EXPOSE_EXPOSE_WRITER_H

#include "aggregator/expose/expose.h"

/*
 * What expose.c asks of a format. Private to the expose_*.c files. Calls come
 * as family, its samples or histograms, end; errors stick in the out buffer.
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
	const char *base; /* name without suffix, base_len bytes of it */
	size_t base_len;
	const char *suffix; /* "", "_total", "_info" */
	const char *help, *unit;
	enum metric_type type;
	/* Histograms only: */
	const struct view *view;
	unsigned scale; /* of values and bounds */
};

struct expose_writer {
	const struct expose_writer_ops *ops;
	struct buf *out;
	bool openmetrics;
	const struct expose_family *family;
	size_t family_at; /* where it starts in out */
	size_t samples_at; /* where its head ends; SIZE_MAX: in another piece */
	/* Scratch memory that is reused, so a series costs no malloc. */
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

/* A list of metrics.def. In expose_lists.c. */
void expose_list(struct expose_writer *w, enum metric_list id,
		 const struct snapshot *s, const struct metrics_self *self);

extern const struct expose_writer_ops expose_text_ops; /* OpenMetrics too */
extern const struct expose_writer_ops expose_proto_ops;

/*
 * Decimal at to: exact, without trailing zeros. always_point: 1.0, not 1, as
 * `le` wants it. At most 32 bytes. Returns the end.
 */
char *expose_put_number(char *to, struct expose_number v, bool always_point);
/* At most 20 bytes. Returns the end. */
char *expose_put_u64(char *to, uint64_t v);

#define EXPOSE_NUMBER_MAX 32

/* Labels of an exemplar, at most: trace_id, span_id, request_id. */
struct expose_exemplar {
	struct expose_label label[3];
	size_t n;
	char trace_id[33], span_id[17], request_id[32];
};
void expose_exemplar_labels(struct expose_exemplar *out,
			    const struct snapshot_exemplar *e);

#endif /* AGGREGATOR_EXPOSE_EXPOSE_WRITER_H */
