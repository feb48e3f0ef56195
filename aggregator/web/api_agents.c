/* SPDX-License-Identifier: Apache-2.0 */
/* GET /api/v1/agents: one row per node. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/web/api.h"
#include "aggregator/web/api_ask.h"
#include "aggregator/web/api_json.h"
#include "common/clock.h"

#define LIMIT 1000
#define LIMIT_MAX 10000

enum by {
	BY_NODE,
	BY_UP,
	BY_CAPTURED,
	BY_COUNTED,
	BY_DROPPED,
	BY_SEEN,
	BYS,
};

static const char *const by_name[BYS] = {
	[BY_NODE] = "node",	    [BY_UP] = "up",
	[BY_CAPTURED] = "captured", [BY_COUNTED] = "counted",
	[BY_DROPPED] = "dropped",   [BY_SEEN] = "last_seen",
};

struct sorting {
	enum by by;
	int sign;
};

static uint64_t dropped(const struct snapshot_agent *a)
{
	uint64_t n = a->dropped_sequence_gap + a->dropped_expired;

	for (size_t i = 0; i < LOSS_STAGES; i++)
		n += a->dropped[i];
	return n;
}

/* Captured and neither counted nor lost. */
static uint64_t in_flight(const struct snapshot_agent *a)
{
	uint64_t known = a->counted + dropped(a);

	return a->captured > known ? a->captured - known : 0;
}

static double value_by(const struct snapshot_agent *a, enum by by)
{
	switch (by) {
	case BY_UP:
		return a->up;
	case BY_CAPTURED:
		return (double)a->captured;
	case BY_COUNTED:
		return (double)a->counted;
	case BY_DROPPED:
		return (double)dropped(a);
	default:
		return (double)a->last_seen_us;
	}
}

static int compare_agents(const void *pa, const void *pb, void *arg)
{
	const struct snapshot_agent *a =
		*(const struct snapshot_agent *const *)pa;
	const struct snapshot_agent *b =
		*(const struct snapshot_agent *const *)pb;
	const struct sorting *s = arg;
	double x, y;

	if (s->by == BY_NODE)
		return -s->sign * strcmp(a->node, b->node);
	x = value_by(a, s->by);
	y = value_by(b, s->by);
	if (x != y)
		return x > y ? -s->sign : s->sign;
	return strcmp(a->node, b->node);
}

static int parse_by(const char *text, struct sorting *s)
{
	*s = (struct sorting){ .by = BY_NODE, .sign = -1 };
	if (!text || !*text)
		return 0;
	s->sign = *text == '-' ? -1 : 1;
	text += *text == '-';
	for (unsigned i = 0; i < BYS; i++)
		if (!strcmp(text, by_name[i])) {
			s->by = (enum by)i;
			return 0;
		}
	return -EINVAL;
}

/* --- columns --- */

struct agents {
	const struct snapshot_agent **at;
	size_t n, total, up;
};

#define COLUMN(key, put)                                                       \
	do {                                                                   \
		api_json_key(j, key);                                          \
		api_json_open(j, '[');                                         \
		for (size_t i = 0; i < g->n; i++) {                            \
			const struct snapshot_agent *x = g->at[i];             \
			put;                                                   \
		}                                                              \
		api_json_close(j, ']');                                        \
	} while (0)

static void put_failed_probes(struct api_json *j,
			      const struct snapshot_agent *x)
{
	api_json_open(j, '[');
	for (size_t i = 0; i < x->n_probes; i++)
		if (!x->probe_attached[i])
			api_json_text(j, x->probes[i]);
	api_json_close(j, ']');
}

static void put_agents(const struct agents *g, struct api_json *j)
{
	api_json_key(j, "agents");
	api_json_open(j, '{');
	COLUMN("node", api_json_text(j, x->node));
	COLUMN("up", api_json_bool(j, x->up));
	COLUMN("last_seen", api_json_us(j, x->last_seen_us));
	COLUMN("skew", api_json_us(j, x->skew_us));
	COLUMN("version", api_json_text(j, x->version));
	COLUMN("kernel", api_json_text(j, x->kernel));
	COLUMN("capture", api_json_text(j, x->capture));
	COLUMN("captured", api_json_u64(j, x->captured));
	COLUMN("counted", api_json_u64(j, x->counted));
	COLUMN("dropped", api_json_u64(j, dropped(x)));
	COLUMN("in_flight", api_json_u64(j, in_flight(x)));
	COLUMN("rolled_up", api_json_u64(j, x->rolled_up));
	COLUMN("batches", api_json_u64(j, x->batches));
	COLUMN("duplicates", api_json_u64(j, x->duplicates));
	COLUMN("refused", api_json_u64(j, x->refused));
	COLUMN("conflicts", api_json_u64(j, x->conflicts));
	COLUMN("probes", api_json_u64(j, x->n_probes));
	COLUMN("probes_failed", put_failed_probes(j, x));
	api_json_close(j, '}');
}

static void put_counters(const struct agents *g, struct api_json *j)
{
	api_json_key(j, "dropped");
	api_json_open(j, '{');
	for (unsigned k = 0; k < LOSS_STAGES; k++)
		COLUMN(loss_stage_name(k), api_json_u64(j, x->dropped[k]));
	COLUMN("sequence_gap", api_json_u64(j, x->dropped_sequence_gap));
	COLUMN("expired_epoch", api_json_u64(j, x->dropped_expired));
	api_json_close(j, '}');
	api_json_key(j, "counters");
	api_json_open(j, '{');
	for (unsigned k = 0; k < AGENT_COUNTERS; k++)
		COLUMN(agent_counter_name(k), api_json_u64(j, x->counters[k]));
	api_json_close(j, '}');
}

static int answer_agents(const struct snapshot *s, const char *filter,
			 struct sorting *by, size_t limit, struct buf *out)
{
	struct api_json j = { .out = out };
	struct agents g = { .n = 0 };

	g.at = malloc((s->n_agents + 1) *
		      sizeof(const struct snapshot_agent *));
	if (!g.at)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_agents; i++) {
		if (!api_contains(s->agents[i].node, filter))
			continue;
		g.at[g.total++] = &s->agents[i];
		g.up += s->agents[i].up;
	}
	qsort_r(g.at, g.total, sizeof(const struct snapshot_agent *),
		compare_agents, by);
	g.n = g.total < limit ? g.total : limit;
	api_json_open(&j, '{');
	api_json_put_us(&j, "now", clock_real_us());
	api_json_put_u64(&j, "total", g.total);
	api_json_put_u64(&j, "up", g.up);
	put_agents(&g, &j);
	put_counters(&g, &j);
	api_json_close(&j, '}');
	buf_putc(out, '\n');
	free(g.at);
	return out->err;
}

unsigned api_agents(struct api *a, const struct api_query *q, struct buf *out)
{
	const struct snapshot *s;
	struct sorting by;
	uint64_t limit;
	int err;

	if (parse_by(api_get(q, "order"), &by))
		return api_bad(out, "order", "no such column");
	if (api_get_u64(q, "limit", 1, LIMIT_MAX, LIMIT, &limit))
		return api_bad(out, "limit", "not 1 to 10000");
	s = a->opt.take(a->opt.arg);
	if (!s)
		return api_error(out, 503, "out of memory", NULL);
	err = answer_agents(s, api_get(q, "filter"), &by, limit, out);
	a->opt.rele(s);
	return err < 0 ? api_failed(out, err) : 200;
}
