/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/expose/expose.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/expose/expose_writer.h"

static_assert(EXPOSE_FORMATS == METRICS_FORMATS, "one count per format");

/* At least as many labels as a series of any view has. */
#define LABELS_MAX (LABEL_KEYS + 1)

const char *expose_format_name(enum expose_format format)
{
	static const char *const name[EXPOSE_FORMATS] = {
		[EXPOSE_TEXT] = "text",
		[EXPOSE_OPENMETRICS] = "openmetrics",
		[EXPOSE_PROTOBUF] = "protobuf",
	};

	return format < EXPOSE_FORMATS ? name[format] : NULL;
}

const char *expose_content_type(enum expose_format format)
{
	switch (format) {
	case EXPOSE_OPENMETRICS:
		return "application/openmetrics-text; version=1.0.0; "
		       "charset=utf-8";
	case EXPOSE_PROTOBUF:
		return "application/vnd.google.protobuf; "
		       "proto=io.prometheus.client.MetricFamily; "
		       "encoding=delimited";
	default:
		return "text/plain; version=0.0.4; charset=utf-8";
	}
}

char *expose_put_u64(char *to, uint64_t v)
{
	static const char pairs[201] =
		"00010203040506070809101112131415161718192021222324"
		"25262728293031323334353637383940414243444546474849"
		"50515253545556575859606162636465666768697071727374"
		"75767778798081828384858687888990919293949596979899";
	char text[20], *at = text + sizeof(text);
	size_t n;

	while (v >= 100) {
		at -= 2;
		memcpy(at, pairs + 2 * (v % 100), 2);
		v /= 100;
	}
	if (v >= 10) {
		at -= 2;
		memcpy(at, pairs + 2 * v, 2);
	} else {
		*--at = (char)('0' + v);
	}
	n = (size_t)(text + sizeof(text) - at);
	memcpy(to, at, n);
	return to + n;
}

/* The fewest digits that give the same number back. */
static char *put_real(char *to, double v, bool always_point)
{
	int n = 0;

	for (int digits = 15; digits <= 17; digits++) {
		n = snprintf(to, EXPOSE_NUMBER_MAX, "%.*g", digits, v);
		if (strtod(to, NULL) == v)
			break;
	}
	if (always_point && !strpbrk(to, ".e")) {
		to[n++] = '.';
		to[n++] = '0';
	}
	return to + n;
}

static const double tenths[] = { 1e0,  1e-1, 1e-2, 1e-3, 1e-4,
				 1e-5, 1e-6, 1e-7, 1e-8, 1e-9 };

int expose_decimals(double multiplier)
{
	for (int i = 0; i < 10; i++)
		if (multiplier == tenths[i])
			return i;
	return -1;
}

struct expose_number expose_in_unit(const struct expose_family *f, uint64_t v)
{
	if (f->multiplier == 0)
		return (struct expose_number){ .mantissa = v,
					       .scale = f->scale };
	return (struct expose_number){ .is_real = true,
				       .real = (double)v * f->multiplier };
}

char *expose_put_number(char *to, struct expose_number v, bool always_point)
{
	static const uint64_t power[] = { 1,	     10,       100,
					  1000,	     10000,    100000,
					  1000000,   10000000, 100000000,
					  1000000000 };
	uint64_t one = power[v.scale], fraction = v.mantissa % one;
	unsigned digits = v.scale;

	if (v.is_real)
		return put_real(to, v.real, always_point);
	if (v.negative && v.mantissa)
		*to++ = '-';
	to = expose_put_u64(to, v.mantissa / one);
	if (!fraction) {
		if (always_point) {
			*to++ = '.';
			*to++ = '0';
		}
		return to;
	}
	*to++ = '.';
	while (fraction % 10 == 0) {
		fraction /= 10;
		digits--;
	}
	for (unsigned i = digits; i-- > 0; fraction /= 10)
		to[i] = (char)('0' + fraction % 10);
	return to + digits;
}

static void hex(char *to, const uint8_t *from, size_t n)
{
	static const char digit[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*to++ = digit[from[i] >> 4];
		*to++ = digit[from[i] & 15];
	}
	*to = '\0';
}

void expose_exemplar_labels(struct expose_exemplar *out,
			    const struct exemplar *e)
{
	static const uint8_t none[24];
	char *end;

	out->n = 0;
	if (memcmp(e->trace, none, sizeof(none)) != 0) {
		hex(out->trace_id, e->trace, 16);
		hex(out->span_id, e->trace + 16, 8);
		out->label[out->n++] =
			(struct expose_label){ "trace_id", out->trace_id };
		out->label[out->n++] =
			(struct expose_label){ "span_id", out->span_id };
	}
	end = expose_put_u64(out->request_id, e->log_id);
	*end++ = '-';
	*expose_put_u64(end, e->event) = '\0';
	out->label[out->n++] =
		(struct expose_label){ "request_id", out->request_id };
}

static size_t view_labels(const struct view *v, const struct snapshot_labels *s,
			  struct expose_label *out)
{
	size_t n = 0;

	if (s->overflow) {
		out[0] =
			(struct expose_label){ "otel_metric_overflow", "true" };
		return 1;
	}
	for (size_t i = 0; i < v->n_labels; i++)
		if (s->value[i] && *s->value[i])
			out[n++] = (struct expose_label){
				label_key_name(v->labels[i]), s->value[i]
			};
	return n;
}

/* --- families --- */

void expose_begin_family(struct expose *x)
{
	struct expose_writer *w = &x->w;

	w->family = &x->family;
	w->family_at = w->out->len;
	w->ops->family(w);
	w->samples_at = w->out->len;
}

void expose_end_family(struct expose *x)
{
	struct expose_writer *w = &x->w;

	if (w->out->len == w->samples_at)
		w->out->len = w->family_at; /* no samples: drop the head */
	else
		w->ops->end_family(w);
}

/* --- views --- */

#define VIEW_SCHEMA 3 /* eight buckets per power of two */
#define AT_ONCE 64u /* series written between two checks of the size */

static int open_view(struct expose *x)
{
	const struct view *v = x->s->views[x->view].view;
	bool counter = v->kind == VIEW_COUNTER;
	int err = x->s->load ? x->s->load(x->s, x->view) : 0;

	if (err < 0)
		return err;
	x->family = (struct expose_family){
		.base = v->name,
		.base_len = strlen(v->name),
		.suffix = counter ? "_total" : "",
		.help = v->help,
		.unit = v->unit,
		.type = counter ? METRIC_COUNTER : METRIC_HISTOGRAM,
		.bounds = v->bounds,
		.n_bounds = v->n_bounds,
		.schema = VIEW_SCHEMA,
		.scale = view_in_seconds(v->source) ? 6 : 0,
	};
	expose_begin_family(x);
	x->open = true;
	x->series = 0;
	return 0;
}

static void close_view(struct expose *x)
{
	expose_end_family(x);
	if (x->s->unload)
		x->s->unload(x->s, x->view);
	x->open = false;
	x->view++;
}

static void put_series(struct expose *x, const struct snapshot_view *sv)
{
	const struct snapshot_series *s = &sv->series[x->series++];
	struct expose_label label[LABELS_MAX];
	size_t n = view_labels(sv->view, &s->labels, label);

	if (sv->view->kind == VIEW_COUNTER)
		x->w.ops->sample(
			&x->w, label, n,
			(struct expose_number){ .mantissa = s->count });
	else
		x->w.ops->histogram(&x->w, label, n, s);
}

/* Writes AT_ONCE series of the view, or all if its family must be whole. */
static int put_view(struct expose *x)
{
	const struct snapshot_view *sv = &x->s->views[x->view];
	int err = x->open ? 0 : open_view(x);
	size_t stop;

	if (err < 0)
		return err;
	stop = x->whole || sv->n - x->series < AT_ONCE ? sv->n
						       : x->series + AT_ONCE;
	while (x->series < stop)
		put_series(x, sv);
	if (x->series == sv->n)
		close_view(x);
	return 0;
}

/* --- the table of metrics.def --- */

/* A counter is a uint64_t; a gauge may be an int64_t below zero. */
static struct expose_number number_at(const void *record,
				      const struct metric *m)
{
	struct expose_number v = { .scale = m->scale };

	memcpy(&v.mantissa, (const char *)record + m->offset, 8);
	if (m->type == METRIC_GAUGE && (int64_t)v.mantissa < 0) {
		v.negative = true;
		v.mantissa = -v.mantissa;
	}
	return v;
}

static void put_metric(struct expose *x, const struct metric *m)
{
	const struct snapshot *s = x->s;
	struct expose_writer *w = &x->w;
	struct expose_family *f = &x->family;

	*f = (struct expose_family){
		.base = m->name,
		.base_len = strlen(m->name),
		.suffix = m->type == METRIC_COUNTER ? "_total"
			  : m->type == METRIC_INFO  ? "_info"
						    : "",
		.help = m->help,
		.unit = m->unit,
		.type = m->type,
	};

	f->base_len -= strlen(f->suffix);
	expose_begin_family(x);
	switch (m->source) {
	case METRIC_FROM_SELF:
		w->ops->sample(w, NULL, 0, number_at(&x->self, m));
		break;
	case METRIC_FROM_ENGINE:
		w->ops->sample(w, NULL, 0, number_at(&s->engine, m));
		break;
	case METRIC_FROM_AGENT:
		for (size_t i = 0; i < s->n_agents; i++) {
			const struct snapshot_agent *g = &s->agents[i];
			struct expose_label l = { "node",
						  g->node ? g->node : "" };

			w->ops->sample(w, &l, 1, number_at(g, m));
		}
		break;
	case METRIC_FROM_CODE:
		expose_list(w, m->list, s, &x->self);
		break;
	}
	expose_end_family(x);
}

/* --- the whole exposition --- */

int expose_new(struct expose **out, enum expose_format format,
	       const struct snapshot *s, const struct metrics_self *self)
{
	struct expose *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	x->s = s;
	x->self = *self;
	x->whole = format == EXPOSE_PROTOBUF;
	x->w.ops = x->whole ? &expose_proto_ops : &expose_text_ops;
	x->w.openmetrics = format == EXPOSE_OPENMETRICS;
	*out = x;
	return 0;
}

void expose_free(struct expose *x)
{
	if (!x)
		return;
	buf_fini(&x->w.labels);
	buf_fini(&x->w.prefix);
	buf_fini(&x->w.message);
	free(x);
}

static void step(struct expose *x)
{
	if (x->view < x->s->n_views) {
		x->err = put_view(x);
	} else if (x->family_at < x->s->n_families) {
		x->err = expose_put_samples(x);
	} else if (x->metric < metrics_n) {
		put_metric(x, &metrics[x->metric++]);
	} else {
		x->w.ops->end(&x->w);
		x->done = true;
	}
}

int expose_next(struct expose *x, struct buf *out, size_t enough)
{
	x->w.out = out;
	while (!x->done && !x->err && !out->err && out->len < enough)
		step(x);
	if (!out->err &&
	    (x->w.labels.err || x->w.prefix.err || x->w.message.err))
		out->err = -ENOMEM;
	if (out->err)
		x->err = out->err;
	/* The piece is sent, so end() must not drop the head of the family. */
	if (x->open)
		x->w.samples_at = SIZE_MAX;
	return x->err ? x->err : !x->done;
}

int expose_render(struct buf *out, enum expose_format format,
		  const struct snapshot *s, const struct metrics_self *self)
{
	struct expose *x = NULL;
	int err = expose_new(&x, format, s, self);

	if (!err)
		err = expose_next(x, out, SIZE_MAX);
	if (err < 0)
		out->err = err;
	expose_free(x);
	return out->err;
}
