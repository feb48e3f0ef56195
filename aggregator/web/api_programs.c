/* SPDX-License-Identifier: Apache-2.0 */
/* GET /api/v1/programs: user programs by node, their maps, their metrics. */
#include <errno.h>
#include <stdlib.h>

#include "aggregator/snapshot/snapshot.h"
#include "aggregator/web/api_ask.h"
#include "aggregator/web/api_json.h"
#include "common/clock.h"

#define LIMIT 1000u
#define LIMIT_MAX 10000u
#define HEX_DIGITS (2 * SAMPLES_DIGEST_BYTES)

/* The rows that the filter leaves; those at and behind n are cut off. */
struct rows {
	const struct snapshot *s;
	const char *filter;
	size_t limit, n, total;
	const struct snapshot_program **at;
};

#define EACH(type, from, count)                                                \
	for (const type *x = (from); x < (from) + (count); x++)
#define COLUMN(key, loop, put)                                                 \
	do {                                                                   \
		api_json_key(j, key);                                          \
		api_json_open(j, '[');                                         \
		loop put;                                                      \
		api_json_close(j, ']');                                        \
	} while (0)

static void put_digest(struct api_json *j, const struct snapshot_program *p)
{
	static const char digit[] = "0123456789abcdef";
	char text[HEX_DIGITS];

	for (size_t i = 0; i < SAMPLES_DIGEST_BYTES; i++) {
		text[2 * i] = digit[p->digest[i] >> 4];
		text[2 * i + 1] = digit[p->digest[i] & 15];
	}
	api_json_text_n(j, text, sizeof(text));
}

static void put_read(struct api_json *j, const struct snapshot_program *p)
{
	if (p->read_us)
		api_json_us(j, (int64_t)p->read_us);
	else
		api_json_null(j);
}

static double seconds(uint64_t ns)
{
	return (double)ns / 1e9;
}

static void put_programs(const struct rows *r, struct api_json *j)
{
#define ROWS                                                                   \
	for (size_t i = 0; i < r->n; i++)                                      \
		for (const struct snapshot_program *x = r->at[i]; x; x = NULL)
	api_json_key(j, "programs");
	api_json_open(j, '{');
	COLUMN("node", ROWS, api_json_text(j, x->node));
	COLUMN("program", ROWS, api_json_text(j, x->name));
	COLUMN("state", ROWS, api_json_text(j, samples_state_name(x->state)));
	COLUMN("reason", ROWS, api_json_text(j, *x->reason ? x->reason : NULL));
	COLUMN("digest", ROWS, put_digest(j, x));
	COLUMN("runs", ROWS, api_json_u64(j, x->runs));
	COLUMN("program_seconds", ROWS, api_json_real(j, seconds(x->run_ns)));
	COLUMN("trap_seconds", ROWS, api_json_real(j, seconds(x->trap_ns)));
	COLUMN("last_read", ROWS, put_read(j, x));
	api_json_close(j, '}');
#undef ROWS
}

static void put_maps(const struct rows *r, struct api_json *j)
{
#define ROWS                                                                   \
	EACH(struct snapshot_program_map, r->s->program_maps,                  \
	     r->s->n_program_maps)                                             \
	if (api_contains(x->program, r->filter))
	api_json_key(j, "maps");
	api_json_open(j, '{');
	COLUMN("node", ROWS, api_json_text(j, x->node));
	COLUMN("program", ROWS, api_json_text(j, x->program));
	COLUMN("map", ROWS, api_json_text(j, x->name));
	COLUMN("guarantee", ROWS,
	       api_json_text(j, samples_guarantee_name(x->guarantee)));
	COLUMN("entries", ROWS, api_json_u64(j, x->entries));
	COLUMN("max_entries", ROWS, api_json_u64(j, x->max_entries));
	api_json_close(j, '}');
#undef ROWS
}

static void put_metrics(const struct rows *r, struct api_json *j)
{
#define ROWS                                                                   \
	EACH(struct snapshot_family, r->s->families, r->s->n_families)         \
	if (api_contains(x->program, r->filter))
	api_json_key(j, "metrics");
	api_json_open(j, '{');
	COLUMN("metric", ROWS, api_json_text(j, x->name));
	COLUMN("type", ROWS, api_json_text(j, samples_kind_name(x->kind)));
	COLUMN("program", ROWS, api_json_text(j, x->program));
	COLUMN("series", ROWS, api_json_u64(j, x->series));
	COLUMN("limit", ROWS, api_json_u64(j, x->limit));
	COLUMN("overflowed", ROWS, api_json_u64(j, x->overflowed));
	api_json_close(j, '}');
#undef ROWS
}

static bool has_samples(const struct snapshot_agent *g)
{
	uint64_t any = g->samples_read | g->samples_counted |
		       g->samples_conflict | g->samples_no_family;

	for (unsigned i = 0; i < SAMPLES_STAGES; i++)
		any |= g->samples_dropped[i];
	return any;
}

static void put_nodes(const struct rows *r, struct api_json *j)
{
#define ROWS                                                                   \
	EACH(struct snapshot_agent, r->s->agents, r->s->n_agents)              \
	if (has_samples(x))
	api_json_key(j, "increments");
	api_json_open(j, '{');
	COLUMN("node", ROWS, api_json_text(j, x->node));
	COLUMN("read", ROWS, api_json_u64(j, x->samples_read));
	COLUMN("counted", ROWS, api_json_u64(j, x->samples_counted));
	for (unsigned k = 0; k < SAMPLES_STAGES; k++)
		COLUMN(samples_stage_name(k), ROWS,
		       api_json_u64(j, x->samples_dropped[k]));
	COLUMN("conflict", ROWS, api_json_u64(j, x->samples_conflict));
	COLUMN("families", ROWS, api_json_u64(j, x->samples_no_family));
	api_json_close(j, '}');
#undef ROWS
}

static int answer_programs(struct rows *r, struct buf *out)
{
	struct api_json j = { .out = out };
	const struct snapshot *s = r->s;

	r->at = malloc((s->n_programs + 1) *
		       sizeof(const struct snapshot_program *));
	if (!r->at)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_programs; i++)
		if (api_contains(s->programs[i].name, r->filter))
			r->at[r->total++] = &s->programs[i];
	r->n = r->total < r->limit ? r->total : r->limit;
	api_json_open(&j, '{');
	api_json_put_us(&j, "now", clock_real_us());
	api_json_put_u64(&j, "total", r->total);
	put_programs(r, &j);
	put_maps(r, &j);
	put_metrics(r, &j);
	put_nodes(r, &j);
	api_json_close(&j, '}');
	buf_putc(out, '\n');
	free(r->at);
	return out->err;
}

unsigned api_programs(struct api *a, const struct api_query *q, struct buf *out)
{
	struct rows r = { .filter = api_get(q, "filter") };
	uint64_t limit;
	int err;

	if (api_get_u64(q, "limit", 1, LIMIT_MAX, LIMIT, &limit))
		return api_bad(out, "limit", "not 1 to 10000");
	r.limit = limit;
	r.s = a->opt.take(a->opt.arg);
	if (!r.s)
		return api_error(out, 503, "out of memory", NULL);
	err = answer_programs(&r, out);
	a->opt.rele(r.s);
	return err < 0 ? api_failed(out, err) : 200;
}
