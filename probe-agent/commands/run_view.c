/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/commands/run_view.h"

#include <errno.h>
#include <jansson.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

#define ROWS_MAX 4096u /* kept; those beyond are counted */
#define ROWS_DRAWN 40u
#define FILTERS_MAX 16u

struct filter {
	char map[64], label[64];
	regex_t regex;
};

struct row {
	char *name; /* map and labels, as they are drawn */
	long long value;
};

struct run_view {
	struct run_view_options opt;
	struct filter filter[FILTERS_MAX];
	size_t n_filters;
	struct row *row; /* sorted by name */
	size_t n, cap;
	unsigned long long more; /* rows that there was no room for */
	struct buf name;
};

static int add_filter(struct run_view *v, const char *text)
{
	struct filter *f = &v->filter[v->n_filters];
	const char *one = strchr(text, ','),
		   *two = one ? strchr(one + 1, ',') : NULL;

	if (!two || v->n_filters == FILTERS_MAX ||
	    one - text >= (long)sizeof(f->map) ||
	    two - one - 1 >= (long)sizeof(f->label))
		return -EINVAL;
	snprintf(f->map, sizeof(f->map), "%.*s", (int)(one - text), text);
	snprintf(f->label, sizeof(f->label), "%.*s", (int)(two - one - 1),
		 one + 1);
	if (regcomp(&f->regex, two + 1, REG_EXTENDED | REG_NOSUB))
		return -EINVAL;
	v->n_filters++;
	return 0;
}

int run_view_new(struct run_view **out, const struct run_view_options *opt)
{
	struct run_view *v = calloc(1, sizeof(*v));
	int err = 0;

	if (!v)
		return -ENOMEM;
	v->opt = *opt;
	for (size_t i = 0; i < opt->n_filters && !err; i++)
		err = add_filter(v, opt->filter[i]);
	if (err) {
		run_view_free(v);
		return err;
	}
	*out = v;
	return 0;
}

void run_view_free(struct run_view *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->n_filters; i++)
		regfree(&v->filter[i].regex);
	for (size_t i = 0; i < v->n; i++)
		free(v->row[i].name);
	free(v->row);
	buf_fini(&v->name);
	free(v);
}

static bool passes(const struct run_view *v, const json_t *row)
{
	const char *map = json_string_value(json_object_get(row, "map"));
	const json_t *labels = json_object_get(row, "labels");

	for (size_t i = 0; i < v->n_filters; i++) {
		const struct filter *f = &v->filter[i];
		const char *text =
			json_string_value(json_object_get(labels, f->label));

		if (map && !strcmp(map, f->map) &&
		    (!text || regexec(&f->regex, text, 0, NULL, 0)))
			return false;
	}
	return true;
}

/* --- the table --- */

static int put_row(struct run_view *v, const char *name, long long value,
		   bool adds)
{
	size_t low = 0, high = v->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(v->row[mid].name, name);

		if (order == 0) {
			v->row[mid].value =
				adds ? v->row[mid].value + value : value;
			return 0;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (v->n == ROWS_MAX) {
		v->more++;
		return 0;
	}
	if (v->n == v->cap) {
		size_t cap = v->cap ? 2 * v->cap : 64;
		void *p = reallocarray(v->row, cap, sizeof(*v->row));

		if (!p)
			return -ENOMEM;
		v->row = p;
		v->cap = cap;
	}
	memmove(&v->row[low + 1], &v->row[low], (v->n - low) * sizeof(*v->row));
	v->row[low].name = strdup(name);
	v->row[low].value = value;
	v->n++;
	return v->row[low].name ? 0 : -ENOMEM;
}

static int add_to_table(struct run_view *v, const json_t *row)
{
	json_t *labels = json_object_get(row, "labels");
	json_t *bucket = json_object_get(row, "bucket");
	const char *metric = json_string_value(json_object_get(row, "metric"));
	const char *key, *name;
	json_t *value;

	buf_reset(&v->name);
	buf_printf(&v->name, "%-32s", metric ? metric : "?");
	json_object_foreach(labels, key, value) buf_printf(
		&v->name, " %s=%s", key,
		json_string_value(value) ? json_string_value(value) : "");
	if (json_is_integer(bucket))
		buf_printf(&v->name, " bucket=%3lld",
			   json_integer_value(bucket));
	else if (json_is_string(bucket))
		buf_printf(&v->name, " %s", json_string_value(bucket));
	name = buf_str(&v->name);
	return name ? put_row(v, name,
			      json_integer_value(json_object_get(row, "value")),
			      json_is_true(json_object_get(row, "event")))
		    : -ENOMEM;
}

int run_view_line(struct run_view *v, const char *line)
{
	json_error_t e;
	json_t *row;
	int err = 0;

	if (!v->opt.table && v->n_filters == 0) {
		fprintf(v->opt.out, "%s\n", line);
		return 0;
	}
	row = json_loads(line, 0, &e);
	if (!row)
		return -EINVAL;
	if (passes(v, row)) {
		if (v->opt.table)
			err = add_to_table(v, row);
		else
			fprintf(v->opt.out, "%s\n", line);
	}
	json_decref(row);
	return err;
}

static int by_value(const void *a, const void *b)
{
	const struct row *x = *(const struct row *const *)a;
	const struct row *y = *(const struct row *const *)b;

	if (x->value != y->value)
		return x->value < y->value ? 1 : -1;
	return strcmp(x->name, y->name);
}

void run_view_draw(struct run_view *v)
{
	const struct row **order;

	if (!v->opt.table)
		return;
	order = calloc(v->n + 1, sizeof(*order));
	if (!order)
		return;
	for (size_t i = 0; i < v->n; i++)
		order[i] = &v->row[i];
	qsort(order, v->n, sizeof(*order), by_value);
	fputs("\033[H\033[J", v->opt.out);
	for (size_t i = 0; i < v->n && i < ROWS_DRAWN; i++)
		fprintf(v->opt.out, "%14lld  %s\n", order[i]->value,
			order[i]->name);
	if (v->n > ROWS_DRAWN || v->more)
		fprintf(v->opt.out, "… and %llu more\n",
			(unsigned long long)(v->n > ROWS_DRAWN
						     ? v->n - ROWS_DRAWN
						     : 0) +
				v->more);
	fputs("Ctrl-C ends the program.\n", v->opt.out);
	fflush(v->opt.out);
	free(order);
}
