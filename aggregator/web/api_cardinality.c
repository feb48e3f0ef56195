/* SPDX-License-Identifier: Apache-2.0 */
/* GET /api/v1/cardinality: who makes the series. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/web/api.h"
#include "aggregator/web/api_ask.h"
#include "aggregator/web/api_json.h"
#include "common/clock.h"

#define TOP 10u

static const char *kind_name(const struct view *v)
{
	return v->kind == VIEW_HISTOGRAM ? "histogram" : "counter";
}

#define COLUMN(key, put)                                                       \
	do {                                                                   \
		api_json_key(j, key);                                          \
		api_json_open(j, '[');                                         \
		for (size_t i = 0; i < s->n_views; i++) {                      \
			const struct snapshot_view *v = &s->views[i];          \
			put;                                                   \
		}                                                              \
		api_json_close(j, ']');                                        \
	} while (0)

static void put_views(const struct snapshot *s, struct api_json *j)
{
	api_json_key(j, "views");
	api_json_open(j, '{');
	COLUMN("name", api_json_text(j, v->view->name));
	COLUMN("kind", api_json_text(j, kind_name(v->view)));
	COLUMN("series", api_json_u64(j, v->n));
	COLUMN("limit", api_json_u64(j, v->view->max_series));
	COLUMN("demand", api_json_u64(j, v->demand));
	COLUMN("overflowed", api_json_u64(j, v->overflowed));
	COLUMN("idle", api_json_u64(j, v->idle));
	COLUMN("worst_job", api_json_text(j, v->worst_job));
	COLUMN("worst_job_series", api_json_u64(j, v->worst_job_sets));
	api_json_close(j, '}');
}

static void put_labels(const struct snapshot_view *v, struct api_json *j)
{
	size_t n = v ? v->view->n_labels : 0;

	api_json_key(j, "labels");
	api_json_open(j, '{');
	api_json_key(j, "label");
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++)
		api_json_text(j, label_key_name(v->view->labels[i]));
	api_json_close(j, ']');
	api_json_key(j, "values");
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++)
		api_json_u64(j, v->values[i].n);
	api_json_close(j, ']');
	api_json_key(j, "limit");
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++)
		api_json_u64(j, v->values[i].limit);
	api_json_close(j, ']');
	api_json_key(j, "demand");
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++)
		api_json_u64(j, v->values[i].demand);
	api_json_close(j, ']');
	api_json_close(j, '}');
}

static void put_askers(const struct snapshot_view *v, struct api_json *j)
{
	size_t n = v ? v->n_askers : 0;

	api_json_key(j, "askers");
	api_json_open(j, '{');
	api_json_key(j, "job");
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++)
		api_json_text(j, v->askers[i].job);
	api_json_close(j, ']');
	api_json_key(j, "series");
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++)
		api_json_u64(j, v->askers[i].sets);
	api_json_close(j, ']');
	api_json_close(j, '}');
}

/* --- top values: counted by pointer, as equal values are one text --- */

struct value {
	const char *text;
	uint64_t series;
};

struct tops {
	struct value top[LABEL_KEYS][TOP];
	size_t n[LABEL_KEYS];
	struct value *table; /* open addressing by pointer */
	size_t cap;
};

static void count_value(struct tops *t, const char *text)
{
	size_t at =
		(size_t)((uintptr_t)text * UINT64_C(0x9e3779b97f4a7c15) >> 20);

	for (;; at++) {
		struct value *v = &t->table[at & (t->cap - 1)];

		if (!v->text)
			v->text = text;
		if (v->text == text) {
			v->series++;
			return;
		}
	}
}

static int compare_values(const void *pa, const void *pb)
{
	const struct value *a = pa, *b = pb;

	if (a->series != b->series)
		return a->series > b->series ? -1 : 1;
	return strcmp(a->text ? a->text : "", b->text ? b->text : "");
}

static void find_tops(struct tops *t, const struct snapshot_view *v,
		      size_t label)
{
	size_t n = 0;

	memset(t->table, 0, t->cap * sizeof(*t->table));
	for (size_t i = 0; i < v->n; i++)
		if (v->series[i].labels.value[label])
			count_value(t, v->series[i].labels.value[label]);
	for (size_t i = 0; i < t->cap; i++)
		if (t->table[i].text)
			t->table[n++] = t->table[i];
	qsort(t->table, n, sizeof(*t->table), compare_values);
	t->n[label] = n < TOP ? n : TOP;
	memcpy(t->top[label], t->table, t->n[label] * sizeof(*t->table));
}

static int count_tops(struct tops *t, const struct snapshot_view *v)
{
	t->cap = 16;
	while (t->cap < 2 * v->n)
		t->cap *= 2;
	t->table = malloc(t->cap * sizeof(*t->table));
	if (!t->table)
		return -ENOMEM;
	for (size_t i = 0; i < v->view->n_labels; i++)
		find_tops(t, v, i);
	free(t->table);
	return 0;
}

static void put_tops(const struct tops *t, const struct snapshot_view *v,
		     struct api_json *j)
{
	size_t n = v ? v->view->n_labels : 0;

	api_json_key(j, "values");
	api_json_open(j, '{');
	api_json_key(j, "label");
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < t->n[i]; k++)
			api_json_text(j, label_key_name(v->view->labels[i]));
	api_json_close(j, ']');
	api_json_key(j, "value");
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < t->n[i]; k++)
			api_json_text(j, t->top[i][k].text);
	api_json_close(j, ']');
	api_json_key(j, "series");
	api_json_open(j, '[');
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < t->n[i]; k++)
			api_json_u64(j, t->top[i][k].series);
	api_json_close(j, ']');
	api_json_close(j, '}');
}

static int answer_cardinality(const struct snapshot *s, size_t view,
			      struct buf *out)
{
	const struct snapshot_view *v =
		view < s->n_views ? &s->views[view] : NULL;
	struct api_json j = { .out = out };
	struct tops tops = { .cap = 0 };
	int err = 0;

	api_json_open(&j, '{');
	api_json_put_us(&j, "now", clock_real_us());
	put_views(s, &j);
	api_json_put_text(&j, "view", v ? v->view->name : NULL);
	put_labels(v, &j);
	put_askers(v, &j);
	if (v && s->load)
		err = s->load(s, view);
	if (v && !err)
		err = count_tops(&tops, v);
	if (err < 0)
		return err;
	put_tops(&tops, v, &j);
	api_json_close(&j, '}');
	buf_putc(out, '\n');
	if (v && s->unload)
		s->unload(s, view);
	return out->err;
}

unsigned api_cardinality(struct api *a, const struct api_query *q,
			 struct buf *out)
{
	const char *name = api_get(q, "view");
	const struct snapshot *s = a->opt.take_all(a->opt.arg);
	size_t view = SIZE_MAX;
	int err;

	if (!s)
		return api_error(out, 503, "out of memory", NULL);
	for (size_t i = 0; name && *name && i < s->n_views; i++)
		if (!strcmp(s->views[i].view->name, name))
			view = i;
	if (name && *name && view == SIZE_MAX) {
		a->opt.rele(s);
		return api_bad(out, "view", "no such view");
	}
	err = answer_cardinality(s, view, out);
	a->opt.rele(s);
	return err < 0 ? api_failed(out, err) : 200;
}
