/* SPDX-License-Identifier: Apache-2.0 */
/* GET /api/v1/services: RED of each service, worst first. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/web/api.h"
#include "aggregator/web/api_red.h"

/* Labels of a key of WINDOW_INSTANCES. */
enum {
	AT_JOB,
	AT_INSTANCE,
	AT_ROLE,
};

#define LIMIT 50
#define LIMIT_MAX 1000

/* The instances of the services that were chosen, by key. */
struct instances {
	struct api_red *red;
	struct api_sum *of; /* by key; cells: it belongs to a chosen group */
};

struct worst {
	uint64_t instances;
	const char *name;
	double ratio, p99;
};

struct services {
	struct api_red red;
	struct api_choice choice;
	const char *role, *filter;
	struct instances instances;
	struct worst *worst; /* by chosen */
};

static int group_keys(struct services *s, struct store_reader *reader)
{
	for (uint32_t key = 0; key < s->red.n_keys; key++) {
		const char *const *v =
			store_reader_key(reader, WINDOW_INSTANCES, key);
		bool overflow = key == 0;
		struct api_group *g;

		if (!v ||
		    (overflow ? strcmp(s->role, "server") != 0 ||
					(s->filter && *s->filter)
			      : !v[AT_ROLE] ||
					strcmp(v[AT_ROLE], s->role) != 0 ||
					!api_contains(v[AT_JOB], s->filter)))
			continue;
		g = api_red_group(&s->red, v[AT_JOB], NULL, overflow);
		if (!g)
			return -ENOMEM;
		api_red_put(&s->red, key, g);
	}
	return 0;
}

/* --- instances --- */

static int on_instance(void *arg, int64_t start_s, const struct pack_row *row)
{
	struct instances *in = arg;

	(void)start_s;
	api_sum_add(&in->of[row->key], row, WINDOW_DURATION);
	return 0;
}

static int sum_instances(struct services *s)
{
	struct instances *in = &s->instances;
	uint32_t *wanted = malloc((s->red.n_keys + 1) * sizeof(*wanted));
	int err = wanted ? 0 : -ENOMEM;

	in->red = &s->red;
	in->of = calloc(s->red.n_keys + 1, sizeof(*in->of));
	if (!in->of)
		err = -ENOMEM;
	for (uint32_t key = 0; key < s->red.n_keys && !err; key++) {
		uint32_t at = s->red.group_of[key];

		wanted[key] = PACK_UNWANTED;
		if (at == API_RED_NONE || !s->red.group[at].points)
			continue;
		wanted[key] = at;
		in->of[key].cell = calloc(API_CELLS, sizeof(uint64_t));
		if (!in->of[key].cell)
			err = -ENOMEM;
	}
	if (!err)
		err = api_red_rows(&s->red, wanted, on_instance, in);
	free(wanted);
	return err;
}

static bool worse(const struct api_sum *s, double p99, const struct worst *than)
{
	double ratio = api_sum_ratio(s);

	if (!than->name || ratio != than->ratio)
		return !than->name || ratio > than->ratio;
	return p99 > than->p99;
}

static int find_worst(struct services *s)
{
	s->worst = calloc(s->red.n_chosen + 1, sizeof(*s->worst));
	if (!s->worst)
		return -ENOMEM;
	/* Where in chosen a group is: its value is not needed any more. */
	for (size_t i = 0; i < s->red.n_chosen; i++)
		s->red.chosen[i]->value = (double)i;
	for (uint32_t key = 0; key < s->red.n_keys; key++) {
		const struct api_sum *sum = &s->instances.of[key];
		const char *const *v;
		struct worst *w;
		double p99;

		if (!sum->cell || !sum->count)
			continue;
		v = store_reader_key(s->red.reader, WINDOW_INSTANCES, key);
		w = &s->worst[(size_t)s->red.group[s->red.group_of[key]].value];
		w->instances++;
		p99 = api_sum_quantile(sum->cell, 0.99);
		if (!worse(sum, p99, w))
			continue;
		w->name = v[AT_INSTANCE] ? v[AT_INSTANCE] : "";
		w->ratio = api_sum_ratio(sum);
		w->p99 = p99;
	}
	return 0;
}

/* --- the answer --- */

static void put_worst(const struct services *s, struct api_json *j)
{
	api_json_key(j, "instances");
	api_json_open(j, '[');
	for (size_t i = 0; i < s->red.n_chosen; i++)
		api_json_u64(j, s->worst[i].instances);
	api_json_close(j, ']');
	api_json_key(j, "worst_instance");
	api_json_open(j, '[');
	for (size_t i = 0; i < s->red.n_chosen; i++)
		api_json_text(j, s->worst[i].name);
	api_json_close(j, ']');
	api_json_key(j, "worst_error_ratio");
	api_json_open(j, '[');
	for (size_t i = 0; i < s->red.n_chosen; i++)
		api_json_real(j, s->worst[i].ratio);
	api_json_close(j, ']');
	api_json_key(j, "worst_p99");
	api_json_open(j, '[');
	for (size_t i = 0; i < s->red.n_chosen; i++)
		api_json_real(j, s->worst[i].p99);
	api_json_close(j, ']');
}

static void put_services(const struct services *s, struct api_json *j)
{
	api_json_key(j, "services");
	api_json_open(j, '{');
	api_json_key(j, "service");
	api_json_open(j, '[');
	for (size_t i = 0; i < s->red.n_chosen; i++)
		api_json_text(j, s->red.chosen[i]->name);
	api_json_close(j, ']');
	api_json_key(j, "overflow");
	api_json_open(j, '[');
	for (size_t i = 0; i < s->red.n_chosen; i++)
		api_json_bool(j, s->red.chosen[i]->overflow);
	api_json_close(j, ']');
	api_red_put_columns(&s->red, j);
	put_worst(s, j);
	api_json_close(j, '}');
	api_json_key(j, "points");
	api_json_open(j, '{');
	api_range_put_starts(s->red.range, j);
	api_red_put_points(&s->red, j, "count", 0);
	api_red_put_points(&s->red, j, "errors", 1);
	api_json_close(j, '}');
}

static void put_fleet(const struct api *a, struct api_json *j)
{
	const struct snapshot *s = a->opt.take(a->opt.arg);
	uint64_t up = 0, captured = 0, counted = 0, dropped = 0;

	for (size_t i = 0; s && i < s->n_agents; i++) {
		const struct snapshot_agent *g = &s->agents[i];

		up += g->up;
		captured += g->captured;
		counted += g->counted;
		dropped += g->dropped_sequence_gap + g->dropped_expired;
		for (size_t k = 0; k < LOSS_STAGES; k++)
			dropped += g->dropped[k];
	}
	api_json_key(j, "fleet");
	api_json_open(j, '{');
	api_json_put_u64(j, "agents", s ? s->n_agents : 0);
	api_json_put_u64(j, "up", up);
	api_json_put_u64(j, "captured", captured);
	api_json_put_u64(j, "counted", counted);
	api_json_put_u64(j, "dropped", dropped);
	api_json_close(j, '}');
	if (s)
		a->opt.rele(s);
}

static int answer_services(struct api *a, struct api_range *range,
			   struct services *s, struct buf *out)
{
	struct api_json j = { .out = out };
	int err = api_range_settle(range, a->reader, WINDOW_INSTANCES);

	if (!err)
		err = api_red_begin(&s->red, a->reader, range,
				    WINDOW_INSTANCES);
	if (!err)
		err = group_keys(s, a->reader);
	if (!err)
		err = api_red_run(&s->red, &s->choice);
	if (!err)
		err = sum_instances(s);
	if (!err)
		err = find_worst(s);
	if (err < 0)
		return err;
	api_json_open(&j, '{');
	api_range_put(range, &j);
	api_json_put_text(&j, "role", s->role);
	api_json_put_u64(&j, "total", s->red.n_listed);
	api_red_put_sum(&s->red, &j, "sum");
	put_services(s, &j);
	api_red_put_series(&s->red, &j);
	put_fleet(a, &j);
	api_json_close(&j, '}');
	buf_putc(out, '\n');
	return out->err;
}

unsigned api_services(struct api *a, const struct api_query *q, struct buf *out)
{
	struct services s = { .filter = api_get(q, "filter"),
			      .role = api_get(q, "role") };
	struct api_range range;
	uint64_t limit;
	unsigned status = api_range_parse(&range, q, out);
	int err;

	if (status)
		return status;
	if (!s.role || !*s.role)
		s.role = "server";
	if (strcmp(s.role, "server") && strcmp(s.role, "client"))
		return api_bad(out, "role", "neither server nor client");
	if (api_get_u64(q, "limit", 1, LIMIT_MAX, LIMIT, &limit))
		return api_bad(out, "limit", "not 1 to 1000");
	if (api_order_parse(api_get(q, "order"), &s.choice.order,
			    &s.choice.sign))
		return api_bad(out, "order", "no such column");
	s.choice.limit = limit;
	s.choice.only_errors = api_get_flag(q, "errors");
	status = api_open(a, out);
	if (status)
		return status;
	err = store_reader_begin(a->reader);
	if (!err) {
		err = answer_services(a, &range, &s, out);
		store_reader_end(a->reader);
	}
	for (uint32_t key = 0; s.instances.of && key < s.red.n_keys; key++)
		free(s.instances.of[key].cell);
	free(s.instances.of);
	free(s.worst);
	api_red_end(&s.red);
	return err < 0 ? api_failed(out, err) : 200;
}
