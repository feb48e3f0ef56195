/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/api_red.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/web/api.h"

/* --- groups --- */

int api_red_begin(struct api_red *red, struct store_reader *reader,
		  const struct api_range *range, enum window_kind kind)
{
	int err = store_reader_update_keys(reader, kind);

	*red = (struct api_red){ .reader = reader,
				 .range = range,
				 .kind = kind };
	if (err < 0)
		return err;
	red->n_keys = store_reader_keys(reader, kind);
	red->group_of = malloc((red->n_keys + 1) * sizeof(uint32_t));
	red->point = calloc(range->points + 1, sizeof(*red->point));
	red->total.cell = calloc(API_CELLS, sizeof(uint64_t));
	red->before.cell = calloc(API_CELLS, sizeof(uint64_t));
	red->table_cap = 256;
	red->table = calloc(red->table_cap, sizeof(uint32_t));
	if (!red->group_of || !red->point || !red->total.cell ||
	    !red->before.cell || !red->table)
		return -ENOMEM;
	memset(red->group_of, 0xff, red->n_keys * sizeof(uint32_t));
	for (size_t i = 0; i < range->points; i++) {
		red->point[i].cell = calloc(API_CELLS, sizeof(uint64_t));
		if (!red->point[i].cell)
			return -ENOMEM;
	}
	return 0;
}

void api_red_end(struct api_red *red)
{
	for (size_t i = 0; red->point && i < red->range->points; i++)
		free(red->point[i].cell);
	for (size_t i = 0; i < red->n_groups; i++) {
		free(red->group[i].sum.cell);
		free(red->group[i].before.cell);
		free(red->group[i].points);
		free(red->group[i].errors);
	}
	free(red->group);
	free(red->group_of);
	free(red->second_of);
	free(red->second);
	free(red->point);
	free(red->total.cell);
	free(red->before.cell);
	free(red->table);
	free(red->chosen);
}

static uint64_t hash_text(uint64_t h, const char *s)
{
	for (; s && *s; s++)
		h = (h ^ (uint8_t)*s) * 0x100000001b3;
	return (h ^ (s ? 0xff : 0xfe)) * 0x100000001b3;
}

static size_t hash_names(const char *name, const char *more)
{
	uint64_t h = hash_text(hash_text(0xcbf29ce484222325, name), more);

	return (size_t)(h ^ h >> 32);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static int grow_groups(struct api_red *red)
{
	size_t cap = 2 * red->table_cap;
	struct api_group *group =
		realloc(red->group, cap / 2 * sizeof(*red->group));
	uint32_t *table = calloc(cap, sizeof(*table));

	if (group)
		red->group = group;
	if (!group || !table) {
		free(table);
		return -ENOMEM;
	}
	red->group_cap = cap / 2;
	for (size_t i = 0; i < red->n_groups; i++) {
		size_t at = hash_names(group[i].name, group[i].more);

		while (table[at & (cap - 1)])
			at++;
		table[at & (cap - 1)] = (uint32_t)i + 1;
	}
	free(red->table);
	red->table = table;
	red->table_cap = cap;
	return 0;
}

struct api_group *api_red_group(struct api_red *red, const char *name,
				const char *more, bool overflow)
{
	struct api_group *g;
	size_t at;

	if (red->n_groups == red->group_cap && grow_groups(red) < 0)
		return NULL;
	at = hash_names(name, more);
	for (; red->table[at & (red->table_cap - 1)]; at++) {
		g = &red->group[red->table[at & (red->table_cap - 1)] - 1];
		if (g->overflow == overflow && same_text(g->name, name) &&
		    same_text(g->more, more))
			return g;
	}
	g = &red->group[red->n_groups];
	*g = (struct api_group){ .name = name,
				 .more = more,
				 .overflow = overflow };
	red->table[at & (red->table_cap - 1)] = (uint32_t)++red->n_groups;
	return g;
}

void api_red_put(struct api_red *red, uint32_t key, const struct api_group *g)
{
	red->group_of[key] = (uint32_t)(g - red->group);
}

int api_red_rows(const struct api_red *red, const uint32_t *of,
		 store_row_fn *fn, void *arg)
{
	const struct pack_wanted wanted = { of, red->n_keys };
	const struct store_rows q = { .kind = red->kind,
				      .tier = red->range->tier,
				      .from_s = red->range->from_s,
				      .to_s = red->range->to_s,
				      .wanted = &wanted,
				      .fn = fn,
				      .arg = arg };

	return store_reader_rows(red->reader, &q);
}

/* --- the first walk: all sums --- */

static int on_sum(void *arg, int64_t start_s, const struct pack_row *row)
{
	struct api_red *red = arg;
	uint32_t at =
		row->key < red->n_keys ? red->group_of[row->key] : API_RED_NONE;
	size_t point;

	if (at == API_RED_NONE)
		return 0;
	point = api_range_point(red->range, start_s);
	api_sum_add(&red->group[at].sum, row, WINDOW_DURATION);
	api_sum_add(&red->point[point], row, WINDOW_DURATION);
	if (red->second && red->second_of[row->key] != API_RED_NONE)
		red->second[red->second_of[row->key] * red->range->points +
			    point] += row->count;
	return 0;
}

/* The total is the sum of the points: their cells are fewer than the rows. */
static void add_points(struct api_red *red)
{
	for (size_t i = 0; i < red->range->points; i++) {
		const struct api_sum *p = &red->point[i];

		red->total.count += p->count;
		red->total.errors += p->errors;
		red->total.sum_us += p->sum_us;
		for (size_t k = 0; k < API_CELLS; k++)
			red->total.cell[k] += p->cell[k];
	}
}

static int make_cells(struct api_sum *s)
{
	if (!s->cell)
		s->cell = calloc(API_CELLS, sizeof(uint64_t));
	return s->cell ? 0 : -ENOMEM;
}

static int sum_all(struct api_red *red, const struct api_choice *choice)
{
	int err = 0;

	if (api_order_of_cells(choice->order))
		for (size_t i = 0; i < red->n_groups && !err; i++)
			err = make_cells(&red->group[i].sum);
	if (!err)
		err = api_red_rows(red, red->group_of, on_sum, red);
	add_points(red);
	return err;
}

/* --- the choice --- */

struct sorting {
	enum api_order order;
	int sign;
};

static int compare_groups(const void *pa, const void *pb, void *arg)
{
	const struct api_group *a = *(struct api_group *const *)pa;
	const struct api_group *b = *(struct api_group *const *)pb;
	const struct sorting *s = arg;
	int c;

	if (s->order != API_ORDER_NAME && a->value != b->value)
		return a->value > b->value ? -s->sign : s->sign;
	/* Errors first is worst first: of equals, those with most requests. */
	if (s->order != API_ORDER_NAME && a->sum.count != b->sum.count)
		return a->sum.count > b->sum.count ? -1 : 1;
	c = strcmp(a->name ? a->name : "", b->name ? b->name : "");
	c = c ? c : strcmp(a->more ? a->more : "", b->more ? b->more : "");
	return s->order == API_ORDER_NAME ? -s->sign * c : c;
}

static int choose(struct api_red *red, const struct api_choice *choice)
{
	struct sorting by = { choice->order, choice->sign };
	size_t n = 0;

	red->chosen = malloc((red->n_groups + 1) * sizeof(*red->chosen));
	if (!red->chosen)
		return -ENOMEM;
	for (size_t i = 0; i < red->n_groups; i++) {
		struct api_group *g = &red->group[i];

		if (!g->sum.count || (choice->only_errors && !g->sum.errors))
			continue;
		g->value = choice->order == API_ORDER_NAME
				   ? 0
				   : api_order_value(choice->order, &g->sum);
		if (isnan(g->value))
			g->value = -1;
		red->chosen[n++] = g;
	}
	qsort_r(red->chosen, n, sizeof(struct api_group *), compare_groups,
		&by);
	red->n_listed = n;
	red->n_chosen = n < choice->limit ? n : choice->limit;
	return 0;
}

/* --- the second walk: details of what was chosen --- */

static int make_details(struct api_red *red, bool had_cells)
{
	size_t points = red->range->points;

	for (size_t i = 0; i < red->n_chosen; i++) {
		struct api_group *g = red->chosen[i];

		g->points = calloc(points, sizeof(uint64_t));
		g->errors = calloc(points, sizeof(uint64_t));
		if (!g->points || !g->errors || make_cells(&g->before) < 0 ||
		    (!had_cells && make_cells(&g->sum) < 0))
			return -ENOMEM;
	}
	return 0;
}

struct detail_walk {
	struct api_red *red;
	bool cells; /* are still to be added */
};

static int on_detail(void *arg, int64_t start_s, const struct pack_row *row)
{
	struct detail_walk *walk = arg;
	struct api_red *red = walk->red;
	uint32_t at =
		row->key < red->n_keys ? red->group_of[row->key] : API_RED_NONE;
	struct api_group *g;
	size_t point;

	if (at == API_RED_NONE || !red->group[at].points)
		return 0;
	g = &red->group[at];
	point = api_range_point(red->range, start_s);
	g->points[point] += row->count;
	g->errors[point] += row->errors;
	if (walk->cells)
		api_sum_add_cells(g->sum.cell, &row->hist[WINDOW_DURATION]);
	return 0;
}

static int on_before(void *arg, int64_t start_s, const struct pack_row *row)
{
	struct api_red *red = arg;
	uint32_t at =
		row->key < red->n_keys ? red->group_of[row->key] : API_RED_NONE;

	(void)start_s;
	if (at == API_RED_NONE)
		return 0;
	api_sum_add(&red->before, row, WINDOW_DURATION);
	if (red->group[at].before.cell)
		api_sum_add(&red->group[at].before, row, WINDOW_DURATION);
	return 0;
}

/* Only keys of what was chosen. */
static int walk_details(struct api_red *red, struct detail_walk *walk)
{
	uint32_t *wanted = malloc((red->n_keys + 1) * sizeof(*wanted));
	int err;

	if (!wanted)
		return -ENOMEM;
	for (uint32_t key = 0; key < red->n_keys; key++) {
		uint32_t at = red->group_of[key];

		wanted[key] = at != API_RED_NONE && red->group[at].points
				      ? at
				      : PACK_UNWANTED;
	}
	err = api_red_rows(red, wanted, on_detail, walk);
	free(wanted);
	return err;
}

static int walk_before(struct api_red *red)
{
	const struct pack_wanted wanted = { red->group_of, red->n_keys };
	const struct api_range *r = red->range;
	const struct store_rows q = { .kind = red->kind,
				      .from_s = 2 * r->from_s - r->to_s,
				      .to_s = r->from_s,
				      .wanted = &wanted,
				      .fn = on_before,
				      .arg = red };

	return api_range_rows(red->reader, &q);
}

int api_red_run(struct api_red *red, const struct api_choice *choice)
{
	struct detail_walk walk = {
		.red = red, .cells = !api_order_of_cells(choice->order)
	};
	int err = red->n_groups > API_GROUPS_MAX ? -E2BIG : 0;

	if (!err)
		err = sum_all(red, choice);
	if (!err)
		err = choose(red, choice);
	if (!err)
		err = make_details(red, !walk.cells);
	if (!err)
		err = walk_details(red, &walk);
	return err < 0 ? err : walk_before(red);
}

/* --- the answer --- */

void api_red_put_sum(const struct api_red *red, struct api_json *j,
		     const char *key)
{
	const struct api_sum *s = &red->total;

	api_json_key(j, key);
	api_json_open(j, '{');
	api_json_put_u64(j, "count", s->count);
	api_json_put_u64(j, "errors", s->errors);
	api_json_put_real(j, "mean", api_sum_mean(s));
	api_json_put_real(j, "p50", api_sum_quantile(s->cell, 0.5));
	api_json_put_real(j, "p90", api_sum_quantile(s->cell, 0.9));
	api_json_put_real(j, "p99", api_sum_quantile(s->cell, 0.99));
	api_json_put_u64(j, "count_before", red->before.count);
	api_json_put_u64(j, "errors_before", red->before.errors);
	api_json_put_real(j, "p99_before",
			  api_sum_quantile(red->before.cell, 0.99));
	api_json_close(j, '}');
}

static void put_point_quantiles(const struct api_red *red, struct api_json *j,
				const char *key, double q)
{
	api_json_key(j, key);
	api_json_open(j, '[');
	for (size_t i = 0; i < red->range->points; i++)
		api_json_real(j, api_sum_quantile(red->point[i].cell, q));
	api_json_close(j, ']');
}

void api_red_put_series(const struct api_red *red, struct api_json *j)
{
	api_json_key(j, "series");
	api_json_open(j, '{');
	api_range_put_starts(red->range, j);
	api_json_key(j, "count");
	api_json_open(j, '[');
	for (size_t i = 0; i < red->range->points; i++)
		api_json_u64(j, red->point[i].count);
	api_json_close(j, ']');
	api_json_key(j, "errors");
	api_json_open(j, '[');
	for (size_t i = 0; i < red->range->points; i++)
		api_json_u64(j, red->point[i].errors);
	api_json_close(j, ']');
	api_json_key(j, "mean");
	api_json_open(j, '[');
	for (size_t i = 0; i < red->range->points; i++)
		api_json_real(j, api_sum_mean(&red->point[i]));
	api_json_close(j, ']');
	put_point_quantiles(red, j, "p50", 0.5);
	put_point_quantiles(red, j, "p90", 0.9);
	put_point_quantiles(red, j, "p99", 0.99);
	api_json_close(j, '}');
}

void api_red_put_columns(const struct api_red *red, struct api_json *j)
{
	const struct api_sum **row =
		malloc((red->n_chosen + 1) * sizeof(const struct api_sum *));

	if (!row) {
		j->out->err = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < red->n_chosen; i++)
		row[i] = &red->chosen[i]->sum;
	api_sum_put_columns(j, row, red->n_chosen, red->range->seconds);
	free(row);
	api_json_key(j, "count_before");
	api_json_open(j, '[');
	for (size_t i = 0; i < red->n_chosen; i++)
		api_json_u64(j, red->chosen[i]->before.count);
	api_json_close(j, ']');
	api_json_key(j, "errors_before");
	api_json_open(j, '[');
	for (size_t i = 0; i < red->n_chosen; i++)
		api_json_u64(j, red->chosen[i]->before.errors);
	api_json_close(j, ']');
	api_json_key(j, "p99_before");
	api_json_open(j, '[');
	for (size_t i = 0; i < red->n_chosen; i++)
		api_json_real(
			j, api_sum_quantile(red->chosen[i]->before.cell, 0.99));
	api_json_close(j, ']');
}

void api_red_put_points(const struct api_red *red, struct api_json *j,
			const char *key, int which)
{
	api_json_key(j, key);
	api_json_open(j, '[');
	for (size_t i = 0; i < red->n_chosen; i++) {
		const uint64_t *v =
			which ? red->chosen[i]->errors : red->chosen[i]->points;

		api_json_open(j, '[');
		for (size_t k = 0; k < red->range->points; k++)
			api_json_u64(j, v[k]);
		api_json_close(j, ']');
	}
	api_json_close(j, ']');
}
