/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes length-delimited io.prometheus.client.MetricFamily messages by hand:
 * they need few wire types, and a generated encoder would need a tree of
 * pointers first. The field numbers are those of Prometheus.
 *
 *	delimited:  varint length, MetricFamily {
 *	  1 name  2 help  3 type  5 unit
 *	  4 Metric { 1 Label {1 name 2 value}…
 *	             2 Gauge {1 double} | 3 Counter {1 double} | 7 Histogram }…
 *	}
 */
#include <string.h>

#include "aggregator/expose/expose_writer.h"

enum wire {
	WIRE_VARINT = 0,
	WIRE_FIXED64 = 1,
	WIRE_BYTES = 2,
};

#define VARINT_MAX 10
/* The length of a message of up to 4 GiB takes at most this many bytes. */
#define LENGTH_MAX 5

#define ZERO_THRESHOLD 2.938735877055719e-39 /* 2^-128, as client_golang */
#define GAP_MAX                                                                \
	2 /* up to this many empty buckets cost less than a new span           \
	   */

static char *put_varint(char *to, uint64_t v)
{
	while (v >= 0x80) {
		*to++ = (char)(v | 0x80);
		v >>= 7;
	}
	*to++ = (char)v;
	return to;
}

static size_t varint_len(uint64_t v)
{
	size_t n = 1;

	while (v >>= 7)
		n++;
	return n;
}

static void add_varint(struct buf *b, uint64_t v)
{
	char *to = buf_reserve(b, VARINT_MAX);

	if (to)
		b->len = (size_t)(put_varint(to, v) - b->data);
}

static void add_key(struct buf *b, unsigned field, enum wire wire)
{
	add_varint(b, field << 3 | wire);
}

static void add_uint(struct buf *b, unsigned field, uint64_t v)
{
	add_key(b, field, WIRE_VARINT);
	add_varint(b, v);
}

static uint64_t zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static void add_double(struct buf *b, unsigned field, double v)
{
	uint64_t bits;
	uint8_t bytes[8];

	memcpy(&bits, &v, 8);
	for (unsigned i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(bits >> (8 * i));
	add_key(b, field, WIRE_FIXED64);
	buf_append(b, bytes, 8);
}

static void add_bytes(struct buf *b, unsigned field, const void *data, size_t n)
{
	add_key(b, field, WIRE_BYTES);
	add_varint(b, n);
	buf_append(b, data, n);
}

static void add_string(struct buf *b, unsigned field, const char *s)
{
	add_bytes(b, field, s, strlen(s));
}

/*
 * Begins a message whose length is not known yet: leaves room for the longest
 * length. Returns the offset of the content, for close_message(), which writes
 * the length and moves the content up to it.
 */
static size_t open_message(struct buf *b)
{
	if (buf_reserve(b, LENGTH_MAX))
		b->len += LENGTH_MAX;
	return b->len;
}

static void close_message(struct buf *b, size_t at)
{
	char length[VARINT_MAX];
	size_t n, used;

	if (b->err)
		return;
	n = b->len - at;
	used = (size_t)(put_varint(length, n) - length);
	memmove(b->data + at - LENGTH_MAX + used, b->data + at, n);
	memcpy(b->data + at - LENGTH_MAX, length, used);
	b->len -= LENGTH_MAX - used;
}

static double to_double(struct expose_number v)
{
	static const double power[] = { 1e0, 1e1, 1e2, 1e3, 1e4,
					1e5, 1e6, 1e7, 1e8, 1e9 };
	/* One correctly rounded division of an exact integer. */
	double d = v.is_real ? v.real : (double)v.mantissa / power[v.scale];

	return v.negative ? -d : d;
}

static void add_labels(struct buf *b, unsigned field,
		       const struct expose_label *l, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t name = strlen(l[i].name), value = strlen(l[i].value);

		add_key(b, field, WIRE_BYTES);
		add_varint(b, 1 + varint_len(name) + name + 1 +
				      varint_len(value) + value);
		add_bytes(b, 1, l[i].name, name);
		add_bytes(b, 2, l[i].value, value);
	}
}

static void proto_family(struct expose_writer *w)
{
	static const unsigned type[] = {
		[METRIC_COUNTER] = 0,	[METRIC_GAUGE] = 1,   [METRIC_INFO] = 1,
		[METRIC_HISTOGRAM] = 4, [METRIC_UNKNOWN] = 0,
	};
	const struct expose_family *f = w->family;

	open_message(w->out);
	add_key(w->out, 1, WIRE_BYTES);
	add_varint(w->out, f->base_len + strlen(f->suffix));
	buf_append(w->out, f->base, f->base_len);
	buf_puts(w->out, f->suffix);
	add_string(w->out, 2, f->help);
	add_uint(w->out, 3, type[f->type]);
	if (*f->unit)
		add_string(w->out, 5, f->unit);
}

static void proto_sample(struct expose_writer *w, const struct expose_label *l,
			 size_t n, struct expose_number value)
{
	unsigned field = w->family->type == METRIC_COUNTER ||
					 w->family->type == METRIC_UNKNOWN
				 ? 3
				 : 2;
	size_t at;

	add_key(w->out, 4, WIRE_BYTES);
	at = open_message(w->out);
	add_labels(w->out, 1, l, n);
	add_key(w->out, field, WIRE_BYTES);
	add_varint(w->out, 9);
	add_double(w->out, 1, to_double(value));
	close_message(w->out, at);
}

/* Returns the end (one past) of the run from i without gaps over GAP_MAX. */
static size_t run_end(const struct snapshot_native *h, size_t i)
{
	size_t last = i;

	for (; i < h->n && i - last <= GAP_MAX + 1; i++)
		if (h->count[i])
			last = i;
	return last + 1;
}

static void add_span(struct buf *b, int32_t offset, size_t length)
{
	uint64_t o = zigzag(offset);

	add_key(b, 12, WIRE_BYTES);
	add_varint(b, 1 + varint_len(o) + 1 + varint_len(length));
	add_uint(b, 1, o);
	add_uint(b, 2, length);
}

static void add_native(struct buf *b, const struct snapshot_native *h,
		       struct buf *deltas)
{
	int64_t before = 0;
	int32_t next = 0; /* first index after the previous span */
	bool any = false;

	buf_reset(deltas);
	for (size_t i = 0; i < h->n;) {
		size_t stop;

		if (!h->count[i]) {
			i++;
			continue;
		}
		stop = run_end(h, i);
		add_span(b, h->first + (int32_t)i - next, stop - i);
		for (; i < stop; i++) {
			add_varint(deltas,
				   zigzag((int64_t)h->count[i] - before));
			before = (int64_t)h->count[i];
		}
		next = h->first + (int32_t)stop;
		any = true;
	}
	/* Prometheus takes a histogram without any span for a classic one. */
	if (!any)
		add_span(b, 0, 0);
	else
		add_bytes(b, 13, deltas->data, deltas->len);
}

static void add_timestamp(struct buf *b, unsigned field, int64_t time_us)
{
	uint64_t s = (uint64_t)time_us / 1000000;
	uint64_t ns = (uint64_t)time_us % 1000000 * 1000;
	size_t n = 1 + varint_len(s) + (ns ? 1 + varint_len(ns) : 0);

	add_key(b, field, WIRE_BYTES);
	add_varint(b, n);
	add_uint(b, 1, s);
	if (ns)
		add_uint(b, 2, ns);
}

static void add_exemplars(struct expose_writer *w,
			  const struct snapshot_series *s)
{
	for (size_t i = 0; i < s->n_exemplars; i++) {
		const struct exemplar *e = &s->exemplar[i];
		struct expose_exemplar x;
		size_t at;

		expose_exemplar_labels(&x, e);
		add_varint(w->out, 16 << 3 | WIRE_BYTES);
		at = open_message(w->out);
		add_labels(w->out, 1, x.label, x.n);
		add_double(w->out, 2,
			   to_double((struct expose_number){
				   .mantissa = e->value,
				   .scale = w->family->scale }));
		add_timestamp(w->out, 3, e->time_us);
		close_message(w->out, at);
	}
}

static void add_sparse(struct expose_writer *w, const struct snapshot_series *s)
{
	add_uint(w->out, 5, zigzag(w->family->schema));
	add_double(w->out, 6, ZERO_THRESHOLD);
	if (s->native.zero)
		add_uint(w->out, 7, s->native.zero);
	add_native(w->out, &s->native, &w->message);
}

/* Bucket {1 cumulative count, 2 upper bound}, without +Inf: that is the count.
 */
static void add_classic(struct expose_writer *w,
			const struct snapshot_series *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < w->family->n_bounds; i++) {
		size_t at;

		sum += s->bucket[i];
		add_key(w->out, 3, WIRE_BYTES);
		at = open_message(w->out);
		add_uint(w->out, 1, sum);
		add_double(w->out, 2,
			   to_double(expose_in_unit(w->family,
						    w->family->bounds[i])));
		close_message(w->out, at);
	}
}

static void proto_histogram(struct expose_writer *w,
			    const struct expose_label *l, size_t n,
			    const struct snapshot_series *s)
{
	struct expose_number sum = expose_in_unit(w->family, s->sum);
	size_t metric, histogram;

	add_key(w->out, 4, WIRE_BYTES);
	metric = open_message(w->out);
	add_labels(w->out, 1, l, n);
	add_key(w->out, 7, WIRE_BYTES);
	histogram = open_message(w->out);
	add_uint(w->out, 1, s->count);
	add_double(w->out, 2, to_double(sum));
	if (w->family->classic)
		add_classic(w, s);
	else
		add_sparse(w, s);
	if (s->created_us > 0)
		add_timestamp(w->out, 15, s->created_us);
	add_exemplars(w, s);
	close_message(w->out, histogram);
	close_message(w->out, metric);
}

static void proto_end_family(struct expose_writer *w)
{
	close_message(w->out, w->family_at + LENGTH_MAX);
}

static void proto_end(struct expose_writer *w)
{
	(void)w;
}

const struct expose_writer_ops expose_proto_ops = {
	.family = proto_family,
	.sample = proto_sample,
	.histogram = proto_histogram,
	.end_family = proto_end_family,
	.end = proto_end,
};
