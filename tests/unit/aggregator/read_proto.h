/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_READ_PROTO_H
#define TESTS_READ_PROTO_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"

/*
 * A reader of delimited MetricFamily messages, written from client_model's
 * schema. It turns them into lines: each histogram's buckets by their index.
 * Any byte that is not understood is an error.
 */

struct pb {
	const uint8_t *at, *end;
	bool bad;
};

struct pb_field {
	unsigned number, wire;
	uint64_t v; /* varint, fixed64 */
	struct pb sub;
};

static uint64_t pb_varint(struct pb *p)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t b;

		if (p->at == p->end)
			break;
		b = *p->at++;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80)) {
			p->bad |= !b && shift; /* not the shortest form */
			return v;
		}
	}
	p->bad = true;
	return 0;
}

static bool pb_next(struct pb *p, struct pb_field *f)
{
	uint64_t key, n;

	if (p->bad || p->at == p->end)
		return false;
	key = pb_varint(p);
	f->number = (unsigned)(key >> 3);
	f->wire = key & 7;
	f->v = 0;
	if (f->wire == 0) {
		f->v = pb_varint(p);
	} else if (f->wire == 1 && p->end - p->at >= 8) {
		for (unsigned i = 0; i < 8; i++)
			f->v |= (uint64_t)*p->at++ << (8 * i);
	} else if (f->wire == 2) {
		n = pb_varint(p);
		if (p->bad || n > (uint64_t)(p->end - p->at)) {
			p->bad = true;
			return false;
		}
		f->sub = (struct pb){ p->at, p->at + n, false };
		p->at += n;
	} else {
		p->bad = true;
	}
	return !p->bad;
}

static int64_t pb_signed(uint64_t v)
{
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static double pb_double(uint64_t v)
{
	double d;

	memcpy(&d, &v, 8);
	return d;
}

static void pb_text(struct buf *out, const struct pb *p)
{
	for (const uint8_t *c = p->at; c < p->end; c++)
		if (*c == '\n')
			buf_puts(out, "\\n");
		else
			buf_putc(out, (char)*c);
}

static bool pb_label(struct buf *out, struct pb p)
{
	struct pb_field f;

	buf_putc(out, ' ');
	while (pb_next(&p, &f)) {
		if (f.number == 2)
			buf_putc(out, '=');
		else if (f.number != 1)
			return false;
		pb_text(out, &f.sub);
	}
	return !p.bad;
}

static bool pb_number(struct buf *out, struct pb p)
{
	struct pb_field f;

	if (!pb_next(&p, &f) || f.number != 1 || f.wire != 1)
		return false;
	buf_printf(out, " value=%.17g", pb_double(f.v));
	return p.at == p.end;
}

static bool pb_time(struct buf *out, struct pb p, const char *what)
{
	struct pb_field f;
	uint64_t s = 0, ns = 0;

	while (pb_next(&p, &f))
		*(f.number == 1 ? &s : &ns) = f.v;
	buf_printf(out, " %s=%llu.%09llu", what, (unsigned long long)s,
		   (unsigned long long)ns);
	return !p.bad;
}

static bool pb_exemplar(struct buf *out, struct pb p)
{
	struct pb_field f;

	buf_puts(out, "\n    exemplar");
	while (pb_next(&p, &f)) {
		if (f.number == 1 && !pb_label(out, f.sub))
			return false;
		if (f.number == 2)
			buf_printf(out, " value=%.17g", pb_double(f.v));
		if (f.number == 3 && !pb_time(out, f.sub, "time"))
			return false;
	}
	return !p.bad;
}

/* Buckets as index:count; *total is what they hold. */
static bool pb_buckets(struct buf *out, struct pb *spans, size_t n_spans,
		       struct pb deltas, uint64_t *total)
{
	int64_t index = 0, count = 0;

	for (size_t i = 0; i < n_spans; i++) {
		struct pb_field f;
		uint64_t length = 0;

		while (pb_next(&spans[i], &f)) {
			if (f.number == 1)
				index += pb_signed(f.v);
			else
				length = f.v;
		}
		for (; length; length--, index++) {
			count += pb_signed(pb_varint(&deltas));
			if (count < 0 || deltas.bad)
				return false;
			*total += (uint64_t)count;
			if (count)
				buf_printf(out, " %lld:%lld", (long long)index,
					   (long long)count);
		}
	}
	return deltas.at == deltas.end;
}

/* A bucket of a classic histogram. *least: what the one before it had. */
static bool pb_classic(struct buf *out, struct pb p, uint64_t *least)
{
	uint64_t count = 0;
	double bound = 0;
	struct pb_field f;

	while (pb_next(&p, &f)) {
		if (f.number == 1 && f.wire == 0)
			count = f.v;
		else if (f.number == 2 && f.wire == 1)
			bound = pb_double(f.v);
		else
			return false;
	}
	buf_printf(out, " le=%.17g:%llu", bound, (unsigned long long)count);
	if (p.bad || count < *least)
		return false;
	*least = count;
	return true;
}

static bool pb_histogram(struct buf *out, struct pb p)
{
	struct pb spans[400], deltas = { NULL, NULL, false };
	struct buf exemplars = { 0 };
	uint64_t count = 0, total = 0, classic = 0;
	size_t n_spans = 0;
	struct pb_field f;
	bool ok = true, native = true;

	buf_puts(out, "\n    histogram");
	while (ok && pb_next(&p, &f)) {
		switch (f.number) {
		case 1:
			count = f.v;
			buf_printf(out, " count=%llu", (unsigned long long)f.v);
			break;
		case 2:
			buf_printf(out, " sum=%.17g", pb_double(f.v));
			break;
		case 3:
			native = false;
			ok = pb_classic(out, f.sub, &classic);
			break;
		case 5:
			buf_printf(out, " schema=%lld",
				   (long long)pb_signed(f.v));
			break;
		case 6:
			buf_printf(out, " threshold=%.17g", pb_double(f.v));
			break;
		case 7:
			total += f.v;
			buf_printf(out, " zero=%llu", (unsigned long long)f.v);
			break;
		case 12:
			ok = n_spans < 400;
			spans[n_spans++] = f.sub;
			break;
		case 13:
			deltas = f.sub;
			break;
		case 15:
			ok = pb_time(out, f.sub, "created");
			break;
		case 16:
			ok = pb_exemplar(&exemplars, f.sub);
			break;
		default:
			ok = false;
		}
	}
	if (!native) /* +Inf is left out: that is the count */
		return ok && !p.bad && n_spans == 0 && classic <= count;
	buf_puts(out, " spans=");
	buf_put_u64(out, n_spans);
	ok = ok && n_spans && pb_buckets(out, spans, n_spans, deltas, &total);
	buf_append(out, exemplars.data, exemplars.len);
	buf_fini(&exemplars);
	/* Prometheus refuses the whole scrape over one such histogram. */
	return ok && !p.bad && total == count;
}

static bool pb_metric(struct buf *out, struct pb p)
{
	struct pb_field f;

	buf_puts(out, "  metric");
	while (pb_next(&p, &f)) {
		bool ok = f.number == 1 ? pb_label(out, f.sub)
			  : f.number == 2 || f.number == 3
				  ? pb_number(out, f.sub)
			  : f.number == 7 ? pb_histogram(out, f.sub)
					  : false;
		if (!ok)
			return false;
	}
	buf_putc(out, '\n');
	return !p.bad;
}

static bool pb_family(struct buf *out, struct pb p)
{
	static const char *const type[] = { "counter", "gauge", "?", "?",
					    "histogram" };
	struct pb_field f;

	while (pb_next(&p, &f)) {
		if (f.number == 4) {
			if (!pb_metric(out, f.sub))
				return false;
		} else if (f.number == 3 && f.v <= 4) {
			buf_printf(out, "  type %s\n", type[f.v]);
		} else if (f.number == 1 || f.number == 2 || f.number == 5) {
			buf_puts(out, f.number == 1   ? "family "
				      : f.number == 2 ? "  help "
						      : "  unit ");
			pb_text(out, &f.sub);
			buf_putc(out, '\n');
		} else {
			return false;
		}
	}
	return !p.bad;
}

/* False: not the format, or a histogram that does not add up. */
static bool read_proto(struct buf *out, const void *data, size_t len)
{
	struct pb p = { data, (const uint8_t *)data + len, false };

	while (p.at < p.end) {
		uint64_t n = pb_varint(&p);

		if (p.bad || n > (uint64_t)(p.end - p.at) ||
		    !pb_family(out, (struct pb){ p.at, p.at + n, false }))
			return false;
		p.at += n;
	}
	return true;
}

#endif /* TESTS_READ_PROTO_H */
