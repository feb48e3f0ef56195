/* SPDX-License-Identifier: Apache-2.0 */
/* The samples of the LISTs of metrics.def. */
#include <string.h>

#include "aggregator/expose/expose_lists.h"
#include "aggregator/expose/expose_target.h"
#include "aggregator/expose/expose_writer.h"
#include "common/version.h"

static void sample(struct expose_writer *w, const struct expose_label *l,
		   size_t n, uint64_t value)
{
	w->ops->sample(w, l, n, (struct expose_number){ .mantissa = value });
}

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

static void put_targets(struct expose_writer *w, const struct list_arg *a)
{
	struct expose_target t;

	for (size_t i = 0; i < a->s->n_targets; i++) {
		expose_target(&t, &a->s->targets[i]);
		sample(w, t.label, t.n, 1);
	}
}

/* --- counters of agents that are families: see AGENT_PART --- */

struct part {
	unsigned counter;
	const char *value[2]; /* of the family's labels */
};

static const struct part desynced[] = {
	{ AGENT_H2_DESYNCED_GAP, { "gap" } },
	{ AGENT_H2_DESYNCED_FRAME, { "frame" } },
	{ AGENT_H2_DESYNCED_ORDER, { "order" } },
	{ AGENT_H2_DESYNCED_HPACK, { "hpack" } },
	{ AGENT_H2_DESYNCED_LIMIT, { "limit" } },
};
static const struct part unknown[] = {
	{ AGENT_H2_UNKNOWN_METHOD, { "method" } },
	{ AGENT_H2_UNKNOWN_PATH, { "path" } },
	{ AGENT_H2_UNKNOWN_AUTHORITY, { "authority" } },
	{ AGENT_H2_UNKNOWN_STATUS, { "status" } },
	{ AGENT_H2_UNKNOWN_CONTENT_TYPE, { "content_type" } },
	{ AGENT_H2_UNKNOWN_GRPC_STATUS, { "grpc_status" } },
};
static const struct part tunnels[] = {
	{ AGENT_TUNNELS_CONNECT, { "connect" } },
	{ AGENT_TUNNELS_WEBSOCKET, { "websocket" } },
	{ AGENT_TUNNELS_OTHER, { "other" } },
};
static const struct part tunnel_seconds[] = {
	{ AGENT_TUNNEL_US_CONNECT, { "connect" } },
	{ AGENT_TUNNEL_US_WEBSOCKET, { "websocket" } },
	{ AGENT_TUNNEL_US_OTHER, { "other" } },
};
static const struct part tunnel_bytes[] = {
	{ AGENT_TUNNEL_SENT_CONNECT, { "connect", "request" } },
	{ AGENT_TUNNEL_SENT_WEBSOCKET, { "websocket", "request" } },
	{ AGENT_TUNNEL_SENT_OTHER, { "other", "request" } },
	{ AGENT_TUNNEL_GOT_CONNECT, { "connect", "response" } },
	{ AGENT_TUNNEL_GOT_WEBSOCKET, { "websocket", "response" } },
	{ AGENT_TUNNEL_GOT_OTHER, { "other", "response" } },
};

#define PARTS(of) (of), sizeof(of) / sizeof((of)[0])
static const struct {
	const struct part *part;
	size_t n;
	const char *label[2];
	unsigned since; /* shown once this counter is not 0 */
	unsigned scale;
} families[] = {
	[METRIC_HTTP2_DESYNCED] = { PARTS(desynced),
				    { "cause" },
				    AGENT_HTTP2,
				    0 },
	[METRIC_HTTP2_UNKNOWN] = { PARTS(unknown),
				   { "field" },
				   AGENT_HTTP2,
				   0 },
	[METRIC_TUNNELS] = { PARTS(tunnels),
			     { "protocol" },
			     AGENT_UPGRADED,
			     0 },
	[METRIC_TUNNEL_SECONDS] = { PARTS(tunnel_seconds),
				    { "protocol" },
				    AGENT_UPGRADED,
				    6 },
	[METRIC_TUNNEL_BYTES] = { PARTS(tunnel_bytes),
				  { "protocol", "direction" },
				  AGENT_UPGRADED,
				  0 },
};
#undef PARTS

static void put_parts(struct expose_writer *w, const struct list_arg *a,
		      enum metric_list id)
{
	for (size_t i = 0; i < a->s->n_agents; i++) {
		const struct snapshot_agent *g = &a->s->agents[i];

		if (!g->counters[families[id].since])
			continue;
		for (size_t k = 0; k < families[id].n; k++) {
			const struct part *p = &families[id].part[k];
			const struct expose_label l[] = {
				{ "node", g->node },
				{ families[id].label[0], p->value[0] },
				{ families[id].label[1], p->value[1] },
			};

			w->ops->sample(
				w, l, p->value[1] ? 3 : 2,
				(struct expose_number){
					.mantissa = g->counters[p->counter],
					.scale = families[id].scale });
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

/*
 * Returns the label with the highest demand, among equals the first; n_labels
 * if no label has any.
 */
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

static void put_worst_jobs(struct expose_writer *w, const struct list_arg *a)
{
	for (size_t i = 0; i < a->s->n_views; i++) {
		const struct snapshot_view *v = &a->s->views[i];
		const struct expose_label l[] = { { "view", v->view->name },
						  { "job", v->worst_job } };

		if (v->worst_job)
			sample(w, l, 2, v->worst_job_sets);
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

static void put_refusals(struct expose_writer *w, const struct list_arg *a)
{
	for (unsigned i = 0; i < REFUSALS; i++) {
		struct expose_label l = { "cause", refusal_name(i) };

		sample(w, &l, 1, a->s->engine.refusals[i]);
	}
}

/* Only those that are in use. */
static void put_certificates(struct expose_writer *w, const struct list_arg *a)
{
	const struct {
		const char *name;
		uint64_t us;
	} all[] = {
		{ "ingest", a->s->engine.certificate_us },
		{ "ingest_ca", a->s->engine.ca_us },
		{ "web", a->self->certificate_us },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct expose_label l = { "certificate", all[i].name };

		if (all[i].us)
			w->ops->sample(
				w, &l, 1,
				(struct expose_number){ .mantissa = all[i].us,
							.scale = 6 });
	}
}

void expose_list(struct expose_writer *w, enum metric_list id,
		 const struct snapshot *s, const struct metrics_self *self)
{
	static void (*const put[])(struct expose_writer *,
				   const struct list_arg *) = {
		[METRIC_BUILD_INFO] = put_build_info,
		[METRIC_READY] = put_ready,
		[METRIC_HTTP_REQUESTS] = put_http,
		[METRIC_TARGET_INFO] = put_targets,
		[METRIC_VIEW_WORST_JOB] = put_worst_jobs,
		[METRIC_REFUSALS] = put_refusals,
		[METRIC_CERTIFICATES] = put_certificates,
	};
	const struct list_arg arg = { s, self }, *a = &arg;

	switch (id) {
	case METRIC_AGENT_UP:
	case METRIC_AGENT_INFO:
	case METRIC_AGENT_DROPPED:
	case METRIC_AGENT_PROBES:
	case METRIC_AGENT_GAPS:
	case METRIC_AGENT_OUTBOX_BYTES:
	case METRIC_AGENT_OUTBOX_OLDEST:
	case METRIC_AGENT_ACKNOWLEDGED:
	case METRIC_AGENT_CERTIFICATE:
		expose_agents(w, id, s);
		break;
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
	case METRIC_PROGRAM_INFO:
	case METRIC_PROGRAM_STATE:
	case METRIC_PROGRAM_RUNS:
	case METRIC_PROGRAM_CPU:
	case METRIC_PROGRAM_LAST_READ:
	case METRIC_PROGRAM_MAP_INFO:
	case METRIC_PROGRAM_MAP_ENTRIES:
	case METRIC_PROGRAM_MAP_MAX_ENTRIES:
	case METRIC_PROGRAM_READ:
	case METRIC_PROGRAM_COUNTED:
	case METRIC_PROGRAM_DROPPED:
	case METRIC_PROGRAM_FAMILY_SERIES:
	case METRIC_PROGRAM_FAMILY_OVERFLOWED:
		expose_program_list(w, id, s);
		break;
	case METRIC_HTTP2_DESYNCED:
	case METRIC_HTTP2_UNKNOWN:
	case METRIC_TUNNELS:
	case METRIC_TUNNEL_SECONDS:
	case METRIC_TUNNEL_BYTES:
		put_parts(w, a, id);
		break;
	default:
		put[id](w, a);
	}
}
