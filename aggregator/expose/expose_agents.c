/* SPDX-License-Identifier: Apache-2.0 */
/* The LISTs of metrics.def with samples per agent. */
#include <string.h>

#include "aggregator/expose/expose_lists.h"

static void sample(struct expose_writer *w, const struct expose_label *l,
		   size_t n, uint64_t value)
{
	w->ops->sample(w, l, n, (struct expose_number){ .mantissa = value });
}

static void put_up(struct expose_writer *w, const struct snapshot *s)
{
	for (size_t i = 0; i < s->n_agents; i++) {
		struct expose_label l = { "node", s->agents[i].node };

		/* An import that has ended is not down. */
		if (s->agents[i].runs)
			sample(w, &l, 1, s->agents[i].up);
	}
}

static void put_info(struct expose_writer *w, const struct snapshot *s)
{
	for (size_t i = 0; i < s->n_agents; i++) {
		const struct snapshot_agent *g = &s->agents[i];
		struct expose_label l[] = {
			{ "node", g->node },
			{ "version", g->version },
			{ "kernel", g->kernel },
			{ "capture", g->capture },
		};

		sample(w, l, expose_keep_named(l, 4), 1);
	}
}

static void put_dropped(struct expose_writer *w, const struct snapshot *s)
{
	for (size_t i = 0; i < s->n_agents; i++) {
		const struct snapshot_agent *g = &s->agents[i];
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

static void put_probes(struct expose_writer *w, const struct snapshot *s)
{
	for (size_t i = 0; i < s->n_agents; i++) {
		const struct snapshot_agent *g = &s->agents[i];

		/* Their names differ: see ledger_info.h. */
		for (size_t k = 0; k < g->n_probes; k++) {
			struct expose_label l[] = { { "node", g->node },
						    { "probe", g->probes[k] } };

			sample(w, l, 2, g->probe_attached[k] != 0);
		}
	}
}

static void put_agent_gaps(struct expose_writer *w, const struct snapshot *s)
{
	for (size_t i = 0; i < s->n_agents; i++) {
		const struct snapshot_agent *g = &s->agents[i];

		for (unsigned k = 0; k < GAP_REASONS; k++) {
			struct expose_label l[] = { { "node", g->node },
						    { "reason",
						      gap_reason_name(k) } };

			if (g->gaps[k])
				sample(w, l, 2, g->gaps[k]);
		}
	}
}

/* What an agent says with each message; older ones do not. */
static void put_told(struct expose_writer *w, enum metric_list id,
		     const struct snapshot *s)
{
	for (size_t i = 0; i < s->n_agents; i++) {
		const struct snapshot_agent *g = &s->agents[i];
		struct expose_label l = { "node", g->node };
		struct expose_number v = { .mantissa = g->outbox_bytes };

		if (!g->told)
			continue;
		if (id == METRIC_AGENT_OUTBOX_OLDEST)
			v = (struct expose_number){ .mantissa = g->oldest_us,
						    .scale = 6 };
		if (id == METRIC_AGENT_ACKNOWLEDGED)
			v = (struct expose_number){
				.mantissa = (uint64_t)g->acknowledged_us,
				.scale = 6
			};
		if (id != METRIC_AGENT_ACKNOWLEDGED || g->acknowledged_us > 0)
			w->ops->sample(w, &l, 1, v);
	}
}

static void put_agent_certificates(struct expose_writer *w,
				   const struct snapshot *s)
{
	for (size_t i = 0; i < s->n_agents; i++) {
		const struct snapshot_agent *g = &s->agents[i];
		struct expose_label l = { "node", g->node };

		if (g->certificate_us > 0)
			w->ops->sample(
				w, &l, 1,
				(struct expose_number){
					.mantissa = (uint64_t)g->certificate_us,
					.scale = 6 });
	}
}

void expose_agents(struct expose_writer *w, enum metric_list id,
		   const struct snapshot *s)
{
	switch (id) {
	case METRIC_AGENT_UP:
		put_up(w, s);
		break;
	case METRIC_AGENT_INFO:
		put_info(w, s);
		break;
	case METRIC_AGENT_DROPPED:
		put_dropped(w, s);
		break;
	case METRIC_AGENT_PROBES:
		put_probes(w, s);
		break;
	case METRIC_AGENT_GAPS:
		put_agent_gaps(w, s);
		break;
	case METRIC_AGENT_CERTIFICATE:
		put_agent_certificates(w, s);
		break;
	default:
		put_told(w, id, s);
	}
}
