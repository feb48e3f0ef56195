/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text 0.0.4 and OpenMetrics 1.0. The labels of a histogram are rendered once;
 * each of its sixteen or so lines is a copy of them and a few digits.
 */
#include <string.h>

#include "aggregator/expose/expose_writer.h"

/*
 * A bucket's line is the prefix, `le` and the value, which take LINE_EXTRA
 * bytes, and maybe an exemplar: at most 128 characters and two numbers.
 */
#define LINE_EXTRA (40 + EXPOSE_NUMBER_MAX)
#define EXEMPLAR_EXTRA (160 + 2 * EXPOSE_NUMBER_MAX)

static inline char *put_bytes(char *to, const void *from, size_t n)
{
	memcpy(to, from, n);
	return to + n;
}

/* Escapes backslash and newline; if quotes is set, double quotes too. */
static void put_escaped(struct buf *out, const char *s, bool quotes)
{
	const char *special = quotes ? "\\\n\"" : "\\\n";

	while (*s) {
		size_t n = strcspn(s, special);

		buf_append(out, s, n);
		s += n;
		if (!*s)
			break;
		buf_putc(out, '\\');
		buf_putc(out, *s == '\n' ? 'n' : *s);
		s++;
	}
}

static void put_labels(struct buf *out, const struct expose_label *l, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_putc(out, ',');
		buf_puts(out, l[i].name);
		buf_append(out, "=\"", 2);
		put_escaped(out, l[i].value, true);
		buf_putc(out, '"');
	}
}

static bool ends_with_unit(const struct expose_family *f)
{
	size_t n = strlen(f->unit);

	return n && f->base_len > n && f->base[f->base_len - n - 1] == '_' &&
	       !memcmp(f->base + f->base_len - n, f->unit, n);
}

/* Renders le="0.005"} and so on, once per family. */
static void render_bounds(struct expose_writer *w)
{
	const struct expose_family *f = w->family;

	for (size_t i = 0; i <= f->n_bounds; i++) {
		char *to = put_bytes(w->le[i], "le=\"", 4);

		if (i < f->n_bounds)
			to = expose_put_number(
				to, expose_in_unit(f, f->bounds[i]), true);
		else
			to = put_bytes(to, "+Inf", 4);
		to = put_bytes(to, "\"} ", 3);
		w->le_len[i] = (size_t)(to - w->le[i]);
	}
}

static void text_family(struct expose_writer *w)
{
	const struct expose_family *f = w->family;
	const char *type = metric_type_name(f->type);
	const char *suffix = w->openmetrics ? "" : f->suffix;

	if (f->type == METRIC_HISTOGRAM)
		render_bounds(w);
	if (!w->openmetrics && f->type == METRIC_INFO)
		type = "gauge";
	if (!w->openmetrics && f->type == METRIC_UNKNOWN)
		type = "counter";
	if (!w->openmetrics) {
		buf_puts(w->out, "# HELP ");
		buf_append(w->out, f->base, f->base_len);
		buf_puts(w->out, suffix);
		buf_putc(w->out, ' ');
		put_escaped(w->out, f->help, false);
		buf_putc(w->out, '\n');
	}
	buf_puts(w->out, "# TYPE ");
	buf_append(w->out, f->base, f->base_len);
	buf_puts(w->out, suffix);
	buf_putc(w->out, ' ');
	buf_puts(w->out, type);
	buf_putc(w->out, '\n');
	if (!w->openmetrics)
		return;
	if (ends_with_unit(f)) {
		buf_puts(w->out, "# UNIT ");
		buf_append(w->out, f->base, f->base_len);
		buf_putc(w->out, ' ');
		buf_puts(w->out, f->unit);
		buf_putc(w->out, '\n');
	}
	buf_puts(w->out, "# HELP ");
	buf_append(w->out, f->base, f->base_len);
	buf_putc(w->out, ' ');
	put_escaped(w->out, f->help, true);
	buf_putc(w->out, '\n');
}

static void text_sample(struct expose_writer *w, const struct expose_label *l,
			size_t n, struct expose_number value)
{
	const struct expose_family *f = w->family;
	char *to;

	buf_append(w->out, f->base, f->base_len);
	buf_puts(w->out, f->suffix);
	if (n) {
		buf_putc(w->out, '{');
		put_labels(w->out, l, n);
		buf_putc(w->out, '}');
	}
	buf_putc(w->out, ' ');
	to = buf_reserve(w->out, EXPOSE_NUMBER_MAX);
	if (!to)
		return;
	w->out->len =
		(size_t)(expose_put_number(to, value, false) - w->out->data);
	buf_putc(w->out, '\n');
}

static char *put_exemplar(char *to, const struct exemplar *e, unsigned scale)
{
	struct expose_exemplar x;

	expose_exemplar_labels(&x, e);
	to = put_bytes(to, " # {", 4);
	for (size_t i = 0; i < x.n; i++) {
		if (i)
			*to++ = ',';
		to = put_bytes(to, x.label[i].name, strlen(x.label[i].name));
		to = put_bytes(to, "=\"", 2);
		to = put_bytes(to, x.label[i].value, strlen(x.label[i].value));
		*to++ = '"';
	}
	to = put_bytes(to, "} ", 2);
	to = expose_put_number(
		to,
		(struct expose_number){ .mantissa = e->value, .scale = scale },
		false);
	*to++ = ' ';
	return expose_put_number(
		to,
		(struct expose_number){ .mantissa = (uint64_t)e->time_us,
					.scale = 6 },
		false);
}

/* Writes the beginning of a _sum or _count line: name_SUFFIX{labels} */
static char *put_plain(char *to, const struct expose_writer *w,
		       const char *suffix, size_t suffix_len)
{
	to = put_bytes(to, w->family->base, w->family->base_len);
	to = put_bytes(to, suffix, suffix_len);
	if (w->labels.len) {
		*to++ = '{';
		to = put_bytes(to, w->labels.data, w->labels.len);
		*to++ = '}';
	}
	*to++ = ' ';
	return to;
}

static void text_histogram(struct expose_writer *w,
			   const struct expose_label *l, size_t n,
			   const struct snapshot_series *s)
{
	const struct expose_family *f = w->family;
	size_t lines = f->n_bounds + 1, prefix_len;
	size_t exemplars = w->openmetrics ? s->n_exemplars : 0, x = 0;
	uint64_t sum = 0;
	const char *prefix;
	char *to;

	buf_reset(&w->labels);
	put_labels(&w->labels, l, n);
	buf_reset(&w->prefix);
	buf_append(&w->prefix, f->base, f->base_len);
	buf_append(&w->prefix, "_bucket{", 8);
	buf_append(&w->prefix, w->labels.data, w->labels.len);
	if (w->labels.len)
		buf_putc(&w->prefix, ',');
	if (w->labels.err || w->prefix.err)
		return;
	prefix = w->prefix.data;
	prefix_len = w->prefix.len;
	to = buf_reserve(w->out, (lines + 2) * (prefix_len + LINE_EXTRA) +
					 exemplars * EXEMPLAR_EXTRA);
	if (!to)
		return;
	for (size_t i = 0; i < lines; i++) {
		sum += s->bucket[i];
		to = put_bytes(to, prefix, prefix_len);
		to = put_bytes(to, w->le[i], w->le_len[i]);
		to = expose_put_u64(to, sum);
		if (x < exemplars && s->exemplar[x].bucket == i)
			to = put_exemplar(to, &s->exemplar[x++], f->scale);
		*to++ = '\n';
	}
	to = put_plain(to, w, "_sum", 4);
	to = expose_put_number(to, expose_in_unit(f, s->sum), false);
	*to++ = '\n';
	to = put_plain(to, w, "_count", 6);
	to = expose_put_u64(to, s->count);
	*to++ = '\n';
	w->out->len = (size_t)(to - w->out->data);
}

static void text_end_family(struct expose_writer *w)
{
	(void)w;
}

static void text_end(struct expose_writer *w)
{
	if (w->openmetrics)
		buf_puts(w->out, "# EOF\n");
}

const struct expose_writer_ops expose_text_ops = {
	.family = text_family,
	.sample = text_sample,
	.histogram = text_histogram,
	.end_family = text_end_family,
	.end = text_end,
};
