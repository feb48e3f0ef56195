/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_EXPOSE_EXPOSE_H
#define AGGREGATOR_EXPOSE_EXPOSE_H

#include "aggregator/expose/metrics.h"
#include "aggregator/snapshot/snapshot.h"
#include "common/buf.h"

/*
 * Renders a snapshot as bytes for Prometheus. Pure: the same input gives the
 * same bytes. Text is made from integers: a sum of 1,234,567 µs is written as
 * 1.234567 without ever being a double, so it is exact. First come the views,
 * then the metrics of metrics.def; a family without samples is left out.
 *
 * Text and OpenMetrics have classic buckets, protobuf has native histograms.
 * A Prometheus that gets both keeps only the native one (as of 2.42), and the
 * native one alone takes a tenth of the bytes.
 */
enum expose_format {
	EXPOSE_TEXT, /* 0.0.4 */
	EXPOSE_OPENMETRICS, /* 1.0.0 */
	EXPOSE_PROTOBUF, /* io.prometheus.client.MetricFamily, delimited */
	EXPOSE_FORMATS,
};

/* Returns "text", "openmetrics" or "protobuf"; NULL if out of range. Static. */
const char *expose_format_name(enum expose_format format);
/* Returns the Content-Type. Static. */
const char *expose_content_type(enum expose_format format);

/*
 * Renders in pieces, so that only one view of the snapshot is in memory at a
 * time. In protobuf a family begins with its length, so there a piece holds
 * whole families.
 */
struct expose;
/*
 * Sets *out, released by expose_free(). Borrows s until then; copies self.
 * -ENOMEM.
 */
int expose_new(struct expose **out, enum expose_format format,
	       const struct snapshot *s, const struct metrics_self *self);
void expose_free(struct expose *x); /* NULL is fine */
/*
 * Appends to out until it holds at least `enough` bytes; may overshoot by some
 * series. Returns 1 if there is more, 0 at the end. -ENOMEM. -EMSGSIZE: more
 * than out->max bytes.
 */
int expose_next(struct expose *x, struct buf *out, size_t enough);

/*
 * Appends the whole exposition to *out. Returns out->err: 0, -ENOMEM or
 * -EMSGSIZE.
 */
int expose_render(struct buf *out, enum expose_format format,
		  const struct snapshot *s, const struct metrics_self *self);

#endif /* AGGREGATOR_EXPOSE_EXPOSE_H */
