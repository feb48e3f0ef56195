/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_EXPOSE_EXPOSE_H
#define AGGREGATOR_EXPOSE_EXPOSE_H

#include "aggregator/expose/metrics.h"
#include "aggregator/snapshot/snapshot.h"
#include "common/buf.h"

/*
 * A snapshot as bytes for Prometheus. Pure: the same input gives the same
 * bytes. Integers all the way: a sum of 1,234,567 µs is the text 1.234567, and
 * no double ever adds noise to it. In the order: views, target_info, the
 * metrics of metrics.def; a family without samples is left out.
 *
 * Text and OpenMetrics show classic buckets, protobuf shows native histograms:
 * a Prometheus that gets both keeps only the native one anyway (2.42), and
 * native alone is a tenth of the bytes.
 */
enum expose_format {
	EXPOSE_TEXT, /* 0.0.4 */
	EXPOSE_OPENMETRICS, /* 1.0.0 */
	EXPOSE_PROTOBUF, /* io.prometheus.client.MetricFamily, delimited */
	EXPOSE_FORMATS,
};

/* "text", "openmetrics", "protobuf"; NULL if out of range. Static. */
const char *expose_format_name(enum expose_format format);
/* The Content-Type. Static. */
const char *expose_content_type(enum expose_format format);

/*
 * The bytes in pieces, with the memory of one view of the snapshot. Protobuf
 * has the length of a family before it, so there a piece has whole families.
 */
struct expose;
/* Borrows s; copies self. Sets *out, released by expose_free(). -ENOMEM. */
int expose_new(struct expose **out, enum expose_format format,
	       const struct snapshot *s, const struct metrics_self *self);
void expose_free(struct expose *x); /* NULL is fine */
/*
 * Appends until out has enough bytes, and up to some series more. 1: there is
 * more; 0: that was all; -ENOMEM, -EMSGSIZE.
 */
int expose_next(struct expose *x, struct buf *out, size_t enough);

/* All of it. Appends to *out. Returns out->err: 0, -ENOMEM, -EMSGSIZE. */
int expose_render(struct buf *out, enum expose_format format,
		  const struct snapshot *s, const struct metrics_self *self);

#endif /* AGGREGATOR_EXPOSE_EXPOSE_H */
