/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/api.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/store/store.h"
#include "aggregator/web/trace_export.h"
#include "common/clock.h"
#include "common/sums.h"
#include "proto/limits.h"

#define NUMBERS (JSON_COMPACT | JSON_REAL_PRECISION(9))

/* --- groups of one window --- */

struct group {
	char *label[API_BYS]; /* parallel to by; NULL: absent */
	bool overflow;
	uint64_t count, errors, duration_sum_us;
	struct store_cell *cells;
	size_t n_cells;
};

struct answer {
	const struct api_windows *query;
	struct buf *out;
	int64_t start_s; /* start of the open window; -1: none yet */
	struct group *group;
	size_t n_groups, cap;
	uint32_t *table; /* hash table: group + 1; table_size: power of 2 */
	size_t table_size;
	size_t rows, groups; /* in the whole answer so far */
	bool any; /* a window was written */
};

/* Where a window has what it can be grouped by. */
static const size_t label_at[API_BYS] = {
	[API_BY_SERVICE] = offsetof(struct store_window, job),
	[API_BY_ROUTE] = offsetof(struct store_window, route),
	[API_BY_METHOD] = offsetof(struct store_window, method),
	[API_BY_STATUS] = offsetof(struct store_window, status),
	[API_BY_ROLE] = offsetof(struct store_window, role),
	[API_BY_RPC] = offsetof(struct store_window, rpc),
	[API_BY_RPC_STATUS] = offsetof(struct store_window, rpc_status),
};

static const char *label_of(const struct store_window *w, enum api_by by)
{
	return *(const char *const *)((const char *)w + label_at[by]);
}

static uint64_t hash_labels(const struct api_windows *q,
			    const struct store_window *w)
{
	uint64_t h = 0xcbf29ce484222325; /* FNV-1a */

	for (size_t i = 0; i < q->n_by; i++) {
		const char *s = label_of(w, q->by[i]);

		for (; s && *s; s++)
			h = (h ^ (uint8_t)*s) * 0x100000001b3;
		h = (h ^ (s ? 0xff : 0xfe)) * 0x100000001b3;
	}
	return h ^ h >> 32;
}

static bool same_labels(const struct api_windows *q, const struct group *g,
			const struct store_window *w)
{
	if (g->overflow != w->overflow)
		return false;
	for (size_t i = 0; i < q->n_by; i++) {
		const char *s = label_of(w, q->by[i]);

		if (!s != !g->label[i] || (s && strcmp(s, g->label[i])))
			return false;
	}
	return true;
}

static int grow_answer(struct answer *a)
{
	size_t cap = a->cap ? 2 * a->cap : 64;
	struct group *group = realloc(a->group, cap * sizeof(*group));
	uint32_t *table;

	if (!group)
		return -ENOMEM;
	a->group = group;
	table = calloc(4 * cap, sizeof(*table));
	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < a->table_size; i++) {
		uint64_t at;
		struct store_window w = { 0 };
		const struct group *g;

		if (!a->table[i])
			continue;
		/* Its labels as a window, which hash_labels() takes. */
		g = &a->group[a->table[i] - 1];
		for (size_t k = 0; k < a->query->n_by; k++) {
			char *to = (char *)&w + label_at[a->query->by[k]];

			*(const char **)to = g->label[k];
		}
		at = hash_labels(a->query, &w);
		while (table[at % (4 * cap)])
			at++;
		table[at % (4 * cap)] = a->table[i];
	}
	free(a->table);
	a->table = table;
	a->table_size = 4 * cap;
	a->cap = cap;
	return 0;
}

static struct group *find_group(struct answer *a, const struct store_window *w)
{
	struct group *g;
	uint64_t at;

	if (a->n_groups == a->cap && grow_answer(a))
		return NULL;
	at = hash_labels(a->query, w);
	for (; a->table[at % a->table_size]; at++) {
		g = &a->group[a->table[at % a->table_size] - 1];
		if (same_labels(a->query, g, w))
			return g;
	}
	g = &a->group[a->n_groups];
	*g = (struct group){ .overflow = w->overflow };
	a->table[at % a->table_size] = (uint32_t)++a->n_groups;
	for (size_t i = 0; i < a->query->n_by; i++) {
		const char *s = label_of(w, a->query->by[i]);

		g->label[i] = s ? strdup(s) : NULL;
		if (s && !g->label[i])
			return NULL;
	}
	return g;
}

/* Adds cells to those of the group. Both are ascending by upper_us. */
static int merge_cells(struct group *g, const struct store_cell *cells,
		       size_t n)
{
	struct store_cell *merged;
	size_t i = 0, k = 0, at = 0;

	if (!n)
		return 0;
	merged = malloc((g->n_cells + n) * sizeof(*merged));
	if (!merged)
		return -ENOMEM;
	while (i < g->n_cells || k < n) {
		if (k == n || (i < g->n_cells &&
			       g->cells[i].upper_us < cells[k].upper_us)) {
			merged[at++] = g->cells[i++];
		} else if (i == g->n_cells ||
			   cells[k].upper_us < g->cells[i].upper_us) {
			merged[at++] = cells[k++];
		} else {
			merged[at] = cells[k++];
			merged[at].count =
				sums_add(merged[at].count, g->cells[i++].count);
			at++;
		}
	}
	free(g->cells);
	g->cells = merged;
	g->n_cells = at;
	return 0;
}

static void clear_groups(struct answer *a)
{
	for (size_t i = 0; i < a->n_groups; i++) {
		for (size_t k = 0; k < API_BYS; k++)
			free(a->group[i].label[k]);
		free(a->group[i].cells);
	}
	a->n_groups = 0;
	if (a->table)
		memset(a->table, 0, a->table_size * sizeof(*a->table));
}

/* --- JSON --- */

static int append_json(const char *text, size_t n, void *arg)
{
	return buf_append(arg, text, n) ? -1 : 0;
}

/* Requests whose duration is known: each is in one cell. */
static uint64_t timed(const struct group *g)
{
	uint64_t n = 0;

	for (size_t i = 0; i < g->n_cells; i++)
		n += g->cells[i].count;
	return n;
}

/* Null if there are requests, but none with a known duration. */
static json_t *mean(const struct group *g)
{
	uint64_t n = timed(g);

	if (n == 0 && g->count > 0)
		return json_null();
	return json_real(n ? (double)g->duration_sum_us / 1e6 / (double)n : 0);
}

static json_t *quantile(const struct group *g, double q)
{
	if (timed(g) == 0 && g->count > 0)
		return json_null();
	return json_real(store_cells_quantile_us(g->cells, g->n_cells, q) /
			 1e6);
}

static json_t *cells_json(const struct group *g)
{
	json_t *list = json_array();
	int bad = 0;

	for (size_t i = 0; i < g->n_cells; i++) {
		const struct store_cell *c = &g->cells[i];

		bad |= json_array_append_new(
			list, json_real((double)c->lower_us / 1e6));
		bad |= json_array_append_new(
			list, json_real((double)c->upper_us / 1e6));
		bad |= json_array_append_new(
			list, json_integer((json_int_t)c->count));
	}
	if (bad) {
		json_decref(list);
		return NULL;
	}
	return list;
}

static json_t *group_json(const struct api_windows *q, const struct group *g)
{
	json_t *o = json_object();
	double count = (double)g->count;
	int bad = 0;

	if (g->overflow)
		bad |= json_object_set_new(o, "overflow", json_true());
	/* Strings are UTF-8: this was checked when the batch was decoded. */
	for (size_t i = 0; i < q->n_by; i++)
		if (g->label[i])
			bad |= json_object_set_new(o, api_by_name(q->by[i]),
						   json_string(g->label[i]));
	bad |= json_object_set_new(o, "count",
				   json_integer((json_int_t)g->count));
	bad |= json_object_set_new(o, "errors",
				   json_integer((json_int_t)g->errors));
	bad |= json_object_set_new(o, "rate",
				   json_real(count / (double)q->step_s));
	bad |= json_object_set_new(
		o, "error_ratio",
		json_real(g->count ? (double)g->errors / count : 0));
	bad |= json_object_set_new(o, "mean", mean(g));
	bad |= json_object_set_new(o, "p50", quantile(g, 0.5));
	bad |= json_object_set_new(o, "p90", quantile(g, 0.9));
	bad |= json_object_set_new(o, "p99", quantile(g, 0.99));
	if (q->cells)
		bad |= json_object_set_new(o, "cells", cells_json(g));
	if (bad) {
		json_decref(o);
		return NULL;
	}
	return o;
}

/* Writes the open window to the answer. */
static int close_window(struct answer *a)
{
	int err = 0;

	if (a->start_s < 0)
		return 0;
	buf_puts(a->out, a->any ? ",{\"start\":" : "{\"start\":");
	a->any = true;
	buf_put_i64(a->out, a->start_s);
	buf_puts(a->out, ",\"groups\":[");
	for (size_t i = 0; !err && i < a->n_groups; i++) {
		json_t *o = group_json(a->query, &a->group[i]);

		if (i)
			buf_putc(a->out, ',');
		if (!o || json_dump_callback(o, append_json, a->out, NUMBERS))
			err = -ENOMEM;
		json_decref(o);
	}
	buf_puts(a->out, "]}");
	clear_groups(a);
	return err ? err : a->out->err;
}

static bool is_asked_for(const struct api_windows *q,
			 const struct store_window *w)
{
	for (unsigned i = 0; i < API_BYS; i++) {
		const char *value = label_of(w, (enum api_by)i);

		if (q->only[i] && strcmp(value ? value : "", q->only[i]) != 0)
			return false;
	}
	return true;
}

static int on_window(void *arg, const struct store_window *w)
{
	struct answer *a = arg;
	struct group *g;
	int64_t start_s;
	size_t before;
	int err = 0;

	if (++a->rows > API_ROWS_MAX)
		return -E2BIG;
	if (!is_asked_for(a->query, w))
		return 0;
	start_s =
		w->start_s - (w->start_s - a->query->from_s) % a->query->step_s;
	if (start_s != a->start_s) {
		err = close_window(a);
		a->start_s = start_s;
	}
	if (err)
		return err;
	before = a->n_groups;
	g = find_group(a, w);
	if (!g)
		return -ENOMEM;
	a->groups += a->n_groups - before;
	if (a->groups > API_GROUPS_MAX)
		return -E2BIG;
	g->count = sums_add(g->count, w->count);
	g->errors = sums_add(g->errors, w->errors);
	g->duration_sum_us = sums_add(g->duration_sum_us, w->duration_sum_us);
	return merge_cells(g, w->cells, w->n_cells);
}

unsigned api_error(struct buf *out, unsigned status, const char *what,
		   const char *where)
{
	json_t *o = json_object();

	buf_reset(out);
	json_object_set_new(o, "error", json_string(what));
	if (where)
		json_object_set_new(o, "where", json_string(where));
	json_dump_callback(o, append_json, out, NUMBERS);
	json_decref(o);
	buf_putc(out, '\n');
	return status;
}

static void put_head(struct buf *out, const struct api_windows *q)
{
	buf_printf(out, "{\"from\":%lld,\"to\":%lld,\"step\":%lld,\"by\":[",
		   (long long)q->from_s, (long long)q->to_s,
		   (long long)q->step_s);
	for (size_t i = 0; i < q->n_by; i++)
		buf_printf(out, "%s\"%s\"", i ? "," : "",
			   api_by_name(q->by[i]));
	buf_puts(out, "],\"windows\":[");
}

unsigned api_windows(struct buf *out, const char *store_path, const char *from,
		     const char *to, const char *by)
{
	return api_windows_step(out, store_path, from, to, by, NULL);
}

static unsigned answer_windows(struct buf *out, const char *store_path,
			       const struct api_windows *q)
{
	struct answer a = { .query = q, .out = out, .start_s = -1 };
	struct store_reader *reader;
	int err;

	if (!store_path)
		return api_error(out, 501, "no store to read from", NULL);
	err = store_reader_open(&reader, store_path);
	if (err)
		return api_error(out, 503, "cannot open the store",
				 strerror(-err));
	put_head(out, q);
	err = store_reader_windows(reader, q->from_s, q->to_s, on_window, &a);
	if (!err)
		err = close_window(&a);
	store_reader_close(reader);
	clear_groups(&a);
	free(a.group);
	free(a.table);
	if (err == -E2BIG)
		return api_error(out, 422,
				 "the answer would be too large; ask for a "
				 "shorter range or fewer labels",
				 "from");
	if (err)
		return api_error(out, 500, "cannot read the store",
				 strerror(-err));
	buf_puts(out, "]}\n");
	return 200;
}

/* Returns 0, or the status of an error in out. */
static unsigned parse_windows(struct api_windows *q, struct buf *out,
			      const char *from, const char *to, const char *by,
			      const char *step)
{
	const char *where;
	char why[128];

	if (api_windows_parse(q, from, to, by, clock_real_us() / 1000000,
			      &where, why, sizeof(why)))
		return api_error(out, 400, why, where);
	if (api_step_parse(q, step))
		return api_error(out, 400,
				 "must be all or a multiple of 10 seconds",
				 "step");
	return 0;
}

unsigned api_windows_step(struct buf *out, const char *store_path,
			  const char *from, const char *to, const char *by,
			  const char *step)
{
	struct api_windows q;
	unsigned status = parse_windows(&q, out, from, to, by, step);

	return status ? status : answer_windows(out, store_path, &q);
}

unsigned api_windows_ask(struct buf *out, const char *store_path,
			 const struct api_query *ask)
{
	const char *cells = ask->get(ask->arg, "cells");
	struct api_windows q;
	unsigned status = parse_windows(
		&q, out, ask->get(ask->arg, "from"), ask->get(ask->arg, "to"),
		ask->get(ask->arg, "by"), ask->get(ask->arg, "step"));

	if (status)
		return status;
	for (unsigned i = 0; i < API_BYS; i++)
		q.only[i] = ask->get(ask->arg, api_by_name((enum api_by)i));
	q.cells = cells && !strcmp(cells, "1");
	return answer_windows(out, store_path, &q);
}

unsigned api_trace(struct buf *out, int *fd, const char *store_path,
		   const char *from, const char *to, const char *service)
{
	static const char wanted[] =
		"must be seconds since 1970, an RFC 3339 time, or a duration "
		"like 1h before now";
	const int64_t now_s = clock_real_us() / 1000000;
	int64_t to_s = now_s + 1, from_s;
	struct trace_export e = { .store_path = store_path,
				  .service = service };
	int err;

	if (to && api_time_parse(to, now_s, &to_s))
		return api_error(out, 400, wanted, "to");
	from_s = to_s > API_RANGE_S ? to_s - API_RANGE_S : 0;
	if (from && api_time_parse(from, now_s, &from_s))
		return api_error(out, 400, wanted, "from");
	if (from_s >= to_s)
		return api_error(out, 400, "must be before to", "from");
	if (!store_path)
		return api_error(out, 501, "no store to read from", NULL);
	e.from_us = from_s * 1000000;
	e.to_us = to_s * 1000000;
	err = trace_export_temporary(&e, fd);
	if (err == -EINVAL)
		return api_error(out, 400, "not a service name", "service");
	if (err)
		return api_error(out, 503, "cannot write the trace",
				 strerror(-err));
	return 200;
}
