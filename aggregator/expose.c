/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/expose.h"

#include <errno.h>
#include <string.h>

#include "aggregator/expose_writer.h"
#include "common/version.h"

_Static_assert(EXPOSE_FORMATS == METRICS_FORMATS, "one count per format");

/* A value that every value of a label fits in; agents name few labels. */
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

char *expose_put_number(char *to, struct expose_number v, bool always_point)
{
	static const uint64_t power[] = { 1,	     10,       100,
					  1000,	     10000,    100000,
					  1000000,   10000000, 100000000,
					  1000000000 };
	uint64_t one = power[v.scale], fraction = v.mantissa % one;
	unsigned digits = v.scale;

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
			    const struct snapshot_exemplar *e)
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

/* ---- families */

static void begin(struct expose_writer *w, const struct expose_family *f)
{
	w->family = f;
	w->family_at = w->out->len;
	w->ops->family(w);
	w->samples_at = w->out->len;
}

static void end(struct expose_writer *w)
{
	if (w->out->len == w->samples_at)
		w->out->len = w->family_at; /* nothing to show */
	else
		w->ops->end_family(w);
}

static void sample(struct expose_writer *w, const struct expose_label *l,
		   size_t n, uint64_t value)
{
	w->ops->sample(w, l, n, (struct expose_number){ .mantissa = value });
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

static void put_view(struct expose_writer *w, const struct snapshot_view *sv)
{
	const struct view *v = sv->view;
	bool counter = v->kind == VIEW_COUNTER;
	struct expose_family f = {
		.base = v->name,
		.base_len = strlen(v->name),
		.suffix = counter ? "_total" : "",
		.help = v->help,
		.unit = v->unit,
		.type = counter ? METRIC_COUNTER : METRIC_HISTOGRAM,
		.view = v,
		.scale = view_in_seconds(v->source) ? 6 : 0,
	};
	struct expose_label label[LABELS_MAX];

	begin(w, &f);
	for (size_t i = 0; i < sv->n; i++) {
		const struct snapshot_series *s = &sv->series[i];
		size_t n = view_labels(v, &s->labels, label);

		if (counter)
			sample(w, label, n, s->count);
		else
			w->ops->histogram(w, label, n, s);
	}
	end(w);
}

/* ---- lists of metrics.def, one function each */

struct list_arg {
	const struct snapshot *s;
	const struct metrics_self *self;
};

static void put_build_info(struct expose_writer *w, const struct list_arg *a)
{
	const struct expose_label l[] = {
		{ "version", version_string() },
		{ "revision", version_revision() },
		{ "compiler", __VERSION__ },
	};

	(void)a;
	sample(w, l, 3, 1);
}

static void put_ready(struct expose_writer *w, const struct list_arg *a)
{
	sample(w, NULL, 0, a->s->ready);
}

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

/* Leaves out what is empty: an empty label is no label. */
static size_t keep_named(struct expose_label *l, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (l[i].value && *l[i].value)
			l[kept++] = l[i];
	return kept;
}

static void put_targets(struct expose_writer *w, const struct list_arg *a)
{
	for (size_t i = 0; i < a->s->n_targets; i++) {
		const struct snapshot_target *t = &a->s->targets[i];
		struct expose_label l[] = {
			{ "job", t->job },
			{ "instance", t->instance },
			{ "host_name", t->node },
			{ "container_id", t->container },
			{ "process_executable_name", t->executable },
		};

		sample(w, l, keep_named(l, 5), 1);
	}
}

static void put_agent_up(struct expose_writer *w, const struct list_arg *a)
{
	for (size_t i = 0; i < a->s->n_agents; i++) {
		struct expose_label l = { "node", a->s->agents[i].node };

		sample(w, &l, 1, a->s->agents[i].up);
	}
}

static void put_agent_info(struct expose_writer *w, const struct list_arg *a)
{
	for (size_t i = 0; i < a->s->n_agents; i++) {
		const struct snapshot_agent *g = &a->s->agents[i];
		struct expose_label l[] = {
			{ "node", g->node },
			{ "version", g->version },
			{ "kernel", g->kernel },
			{ "capture", g->capture },
		};

		sample(w, l, keep_named(l, 4), 1);
	}
}

static void put_agent_dropped(struct expose_writer *w, const struct list_arg *a)
{
	for (size_t i = 0; i < a->s->n_agents; i++) {
		const struct snapshot_agent *g = &a->s->agents[i];
		struct expose_label l[] = { { "node", g->node },
					    { "stage", "" } };

		for (unsigned k = 0; k < LOSS_STAGES; k++) {
			l[1].value = loss_stage_name(k);
			sample(w, l, 2, g->dropped[k]);
		}
		l[1].value = "sequence_gap";
		sample(w, l, 2, g->dropped_sequence_gap);
		l[1].value = "expired_epoch";
		sample(w, l, 2, g->dropped_expired);
	}
}

static bool named_before(const struct snapshot_agent *g, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (!strcmp(g->probes[k], g->probes[i]))
			return true;
	return false;
}

static void put_agent_probes(struct expose_writer *w, const struct list_arg *a)
{
	for (size_t i = 0; i < a->s->n_agents; i++) {
		const struct snapshot_agent *g = &a->s->agents[i];

		/* An agent that names one twice must not fail the scrape. */
		for (size_t k = 0; k < g->n_probes; k++) {
			struct expose_label l[] = { { "node", g->node },
						    { "probe", g->probes[k] } };

			if (!named_before(g, k))
				sample(w, l, 2, g->probe_attached[k] != 0);
		}
	}
}

static void put_views(struct expose_writer *w, const struct list_arg *a,
		      enum metric_list id)
{
	for (size_t i = 0; i < a->s->n_views; i++) {
		const struct snapshot_view *v = &a->s->views[i];
		struct expose_label l = { "view", v->view->name };

		sample(w, &l, 1,
		       id == METRIC_VIEW_SERIES	  ? v->n
		       : id == METRIC_VIEW_LIMIT  ? v->view->max_series
		       : id == METRIC_VIEW_DEMAND ? v->demand
		       : id == METRIC_VIEW_IDLE	  ? v->idle
						  : v->overflowed);
	}
}

/* The first of those with the most; n_labels if there are none. */
static size_t worst_label(const struct snapshot_view *v)
{
	size_t worst = v->view->n_labels;

	for (size_t i = 0; v->values && i < v->view->n_labels; i++)
		if (v->values[i].demand > 0 &&
		    (worst == v->view->n_labels ||
		     v->values[i].demand > v->values[worst].demand))
			worst = i;
	return worst;
}

static void put_view_values(struct expose_writer *w,
			    const struct snapshot_view *v, enum metric_list id)
{
	size_t worst = worst_label(v);

	for (size_t i = 0; v->values && i < v->view->n_labels; i++) {
		const struct snapshot_values *x = &v->values[i];
		const struct expose_label l[] = {
			{ "view", v->view->name },
			{ "label", label_key_name(v->view->labels[i]) },
		};

		if (id == METRIC_VIEW_WORST && i != worst)
			continue;
		sample(w, l, 2,
		       id == METRIC_VIEW_WORST		? 1
		       : id == METRIC_VIEW_LABEL_VALUES ? x->n
		       : id == METRIC_VIEW_LABEL_LIMIT	? x->limit
							: x->demand);
	}
}

static void put_labels(struct expose_writer *w, const struct list_arg *a,
		       enum metric_list id)
{
	for (size_t i = 0; i < a->s->n_views; i++)
		put_view_values(w, &a->s->views[i], id);
}

static void put_formats(struct expose_writer *w, const struct list_arg *a,
			enum metric_list id)
{
	for (unsigned i = 0; i < EXPOSE_FORMATS; i++) {
		struct expose_label l = { "format", expose_format_name(i) };
		struct expose_number v = { .mantissa = a->self->scrapes[i] };

		if (id == METRIC_RENDERS)
			v.mantissa = a->self->renders[i];
		if (id == METRIC_RENDER_SECONDS)
			v = (struct expose_number){
				.mantissa = a->self->render_us[i], .scale = 6
			};
		w->ops->sample(w, &l, 1, v);
	}
}

static void put_http(struct expose_writer *w, const struct list_arg *a)
{
	for (unsigned i = 0; i < METRICS_CODES; i++) {
		char code[8];
		struct expose_label l = { "code", code };

		*expose_put_u64(code, i + 100) = '\0';
		if (a->self->http[i] || i == 100)
			sample(w, &l, 1, a->self->http[i]);
	}
}

static void put_list(struct expose_writer *w, enum metric_list id,
		     const struct list_arg *a)
{
	static void (*const put[])(struct expose_writer *,
				   const struct list_arg *) = {
		[METRIC_BUILD_INFO] = put_build_info,
		[METRIC_READY] = put_ready,
		[METRIC_AGENT_UP] = put_agent_up,
		[METRIC_AGENT_INFO] = put_agent_info,
		[METRIC_AGENT_DROPPED] = put_agent_dropped,
		[METRIC_AGENT_PROBES] = put_agent_probes,
		[METRIC_HTTP_REQUESTS] = put_http,
		[METRIC_TARGET_INFO] = put_targets,
	};

	switch (id) {
	case METRIC_VIEW_SERIES:
	case METRIC_VIEW_LIMIT:
	case METRIC_VIEW_DEMAND:
	case METRIC_VIEW_OVERFLOWED:
	case METRIC_VIEW_IDLE:
		put_views(w, a, id);
		break;
	case METRIC_VIEW_LABEL_VALUES:
	case METRIC_VIEW_LABEL_LIMIT:
	case METRIC_VIEW_LABEL_DEMAND:
	case METRIC_VIEW_WORST:
		put_labels(w, a, id);
		break;
	case METRIC_SCRAPES:
	case METRIC_RENDERS:
	case METRIC_RENDER_SECONDS:
		put_formats(w, a, id);
		break;
	default:
		put[id](w, a);
	}
}

/* ---- the table of metrics.def */

/* Counters are uint64_t; a gauge may be int64_t and below zero. */
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

static void put_metric(struct expose_writer *w, const struct metric *m,
		       const struct list_arg *a)
{
	struct expose_family f = {
		.base = m->name,
		.base_len = strlen(m->name),
		.suffix = m->type == METRIC_COUNTER ? "_total"
			  : m->type == METRIC_INFO  ? "_info"
						    : "",
		.help = m->help,
		.unit = m->unit,
		.type = m->type,
	};

	f.base_len -= strlen(f.suffix);
	begin(w, &f);
	switch (m->source) {
	case METRIC_FROM_SELF:
		w->ops->sample(w, NULL, 0, number_at(a->self, m));
		break;
	case METRIC_FROM_ENGINE:
		w->ops->sample(w, NULL, 0, number_at(&a->s->engine, m));
		break;
	case METRIC_FROM_AGENT:
		for (size_t i = 0; i < a->s->n_agents; i++) {
			const struct snapshot_agent *g = &a->s->agents[i];
			struct expose_label l = { "node", or_empty(g->node) };

			w->ops->sample(w, &l, 1, number_at(g, m));
		}
		break;
	case METRIC_FROM_CODE:
		put_list(w, m->list, a);
		break;
	}
	end(w);
}

int expose_render(struct buf *out, enum expose_format format,
		  const struct snapshot *s, const struct metrics_self *self)
{
	struct expose_writer w = {
		.ops = format == EXPOSE_PROTOBUF ? &expose_proto_ops
						 : &expose_text_ops,
		.out = out,
		.openmetrics = format == EXPOSE_OPENMETRICS,
	};
	const struct list_arg a = { s, self };

	for (size_t i = 0; i < s->n_views; i++)
		put_view(&w, &s->views[i]);
	for (size_t i = 0; i < metrics_n; i++)
		put_metric(&w, &metrics[i], &a);
	w.ops->end(&w);
	if (!out->err && (w.labels.err || w.prefix.err || w.message.err))
		out->err = -ENOMEM;
	buf_fini(&w.labels);
	buf_fini(&w.prefix);
	buf_fini(&w.message);
	return out->err;
}
