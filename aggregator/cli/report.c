/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/cli/report.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

#include "aggregator/web/api.h"

#define ANSWER_MAX_BYTES (256u << 20)
#define NUMBERS_WIDTH 64 /* width of the columns with numbers */
#define NAME_MIN 8u
#define NAME_MAX 60u
#define BY_MAX 8u

int report_open(struct report_source *s, const char *where, const char *ca_file)
{
	struct stat st;

	*s = (struct report_source){ .where = where };
	if (!strncasecmp(where, "http://", 7) ||
	    !strncasecmp(where, "https://", 8))
		return client_new(&s->client, ca_file);
	if (stat(where, &st))
		return -errno;
	if (asprintf(&s->store_path,
		     S_ISDIR(st.st_mode) ? "%s/redtap.db" : "%s", where) < 0) {
		s->store_path = NULL;
		return -ENOMEM;
	}
	return 0;
}

void report_close(struct report_source *s)
{
	client_free(s->client);
	free(s->store_path);
}

void report_put_argument(struct buf *b, const char *key, const char *value)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "abcdefghijklmnopqrstuvwxyz"
				    "0123456789-_.~,:";

	if (!value)
		return;
	buf_printf(b, "&%s=", key);
	for (; *value; value++) {
		if (strchr(plain, *value))
			buf_putc(b, *value);
		else
			buf_printf(b, "%%%02X", (unsigned char)*value);
	}
}

static int ask_url(struct report_source *s, const struct report_question *q,
		   struct buf *json)
{
	struct buf path = { 0 };
	int status;

	buf_puts(&path, "/api/v1/windows?");
	report_put_argument(&path, "from", q->from);
	report_put_argument(&path, "to", q->to);
	report_put_argument(&path, "by", q->by);
	report_put_argument(&path, "step", q->step);
	json->max = ANSWER_MAX_BYTES;
	status = buf_str(&path)
			 ? client_get(s->client, s->where, path.data, json)
			 : -ENOMEM;
	buf_fini(&path);
	return status;
}

int report_ask(struct report_source *s, const struct report_question *q,
	       struct buf *json)
{
	int status;

	buf_reset(json);
	status = s->client ? ask_url(s, q, json)
			   : (int)api_windows_step(json, s->store_path, q->from,
						   q->to, q->by, q->step);
	if (status == 200)
		return 0;
	if (status < 0) {
		fprintf(stderr, "%s: %s\n", s->where, client_error(s->client));
		return -EIO;
	}
	fprintf(stderr, "%s: status %d: %s\n", s->where, status,
		buf_str(json) ? json->data : "");
	return status == 400 || status == 422 ? -EINVAL : -EIO;
}

/* --- the table --- */

struct row {
	json_int_t start;
	json_t *group;
	double rate;
};

struct table {
	json_t *by;
	struct row *row;
	size_t n, cap;
	size_t width[BY_MAX];
};

static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	if (x->rate != y->rate)
		return x->rate > y->rate ? -1 : 1;
	return 0;
}

static const char *name_of(const struct table *t, const struct row *r, size_t i)
{
	const char *key = json_string_value(json_array_get(t->by, i));
	json_t *v = key ? json_object_get(r->group, key) : NULL;

	if (v)
		return json_string_value(v);
	return i == 0 && json_is_true(json_object_get(r->group, "overflow"))
		       ? "(overflow)"
		       : "-";
}

static int collect(struct table *t, json_t *root)
{
	json_t *windows = json_object_get(root, "windows"), *w, *g;
	size_t i, k;

	t->by = json_object_get(root, "by");
	if (!json_is_array(windows) || !json_is_array(t->by) ||
	    json_array_size(t->by) > BY_MAX)
		return -EPROTO;
	json_array_foreach(windows, i, w)
	{
		json_array_foreach(json_object_get(w, "groups"), k, g)
		{
			if (t->n == t->cap) {
				size_t cap = t->cap ? 2 * t->cap : 64;
				void *p =
					realloc(t->row, cap * sizeof(*t->row));

				if (!p)
					return -ENOMEM;
				t->row = p;
				t->cap = cap;
			}
			t->row[t->n++] = (struct row){
				.start = json_integer_value(
					json_object_get(w, "start")),
				.group = g,
				.rate = json_number_value(
					json_object_get(g, "rate")),
			};
		}
	}
	if (t->n)
		qsort(t->row, t->n, sizeof(*t->row), compare_rows);
	return 0;
}

/* The columns of names share the width that the numbers leave. */
static void measure(struct table *t, const struct report_layout *l)
{
	size_t n = json_array_size(t->by), room, share;

	room = l->columns > NUMBERS_WIDTH ? l->columns - NUMBERS_WIDTH : 0;
	share = n && l->columns ? room / n : NAME_MAX;
	share = share < NAME_MIN   ? NAME_MIN
		: share > NAME_MAX ? NAME_MAX
				   : share;
	for (size_t i = 0; i < n; i++) {
		const char *key = json_string_value(json_array_get(t->by, i));

		t->width[i] = key ? strlen(key) : 1;
		for (size_t r = 0; r < t->n; r++) {
			size_t len = strlen(name_of(t, &t->row[r], i));

			t->width[i] = len > t->width[i] ? len : t->width[i];
		}
		if (t->width[i] > share)
			t->width[i] = share;
	}
}

/* Writes a duration with three digits, like 1.23ms or 45.6s. Returns out. */
static const char *duration_text(double s, char out[16])
{
	const char *unit = s >= 1 ? "s" : s >= 1e-3 ? "ms" : "µs";
	double v = s >= 1 ? s : s >= 1e-3 ? s * 1e3 : s * 1e6;

	snprintf(out, 16, "%.*f%s", v >= 100 ? 0 : v >= 10 ? 1 : 2, v, unit);
	return out;
}

/* Prints a duration, or "-". µ has two bytes but takes one column. */
static void put_duration(FILE *f, const json_t *v)
{
	char text[16] = "-";
	int wide = 0;

	if (json_is_number(v) &&
	    strstr(duration_text(json_number_value(v), text), "µ"))
		wide = 1;
	fprintf(f, " %*s", 8 + wide, text);
}

static void print_row(FILE *f, const struct table *t, const struct row *r,
		      bool times)
{
	char when[24];
	time_t start = (time_t)r->start;
	struct tm tm;

	if (times && gmtime_r(&start, &tm)) {
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
		fprintf(f, "%s ", when);
	}
	for (size_t i = 0; i < json_array_size(t->by); i++)
		fprintf(f, "%-*.*s ", (int)t->width[i], (int)t->width[i],
			name_of(t, r, i));
	fprintf(f, "%12lld %11.2f %7.2f%%",
		(long long)json_integer_value(
			json_object_get(r->group, "count")),
		r->rate,
		100 * json_number_value(
			      json_object_get(r->group, "error_ratio")));
	put_duration(f, json_object_get(r->group, "p50"));
	put_duration(f, json_object_get(r->group, "p90"));
	put_duration(f, json_object_get(r->group, "p99"));
	fputc('\n', f);
}

static void print_head(FILE *f, const struct table *t, bool times)
{
	if (times)
		fprintf(f, "%-20s ", "WINDOW");
	for (size_t i = 0; i < json_array_size(t->by); i++) {
		const char *key = json_string_value(json_array_get(t->by, i));

		fprintf(f, "%-*.*s ", (int)t->width[i], (int)t->width[i],
			key ? key : "?");
	}
	fprintf(f, "%12s %11s %8s %8s %8s %8s\n", "requests", "req/s", "errors",
		"p50", "p90", "p99");
}

int report_print(FILE *f, const struct buf *json,
		 const struct report_layout *layout)
{
	struct table t = { 0 };
	json_t *root = json_loadb(json->data, json->len, 0, NULL);
	int err = root ? collect(&t, root) : -EPROTO;

	if (!err) {
		measure(&t, layout);
		print_head(f, &t, layout->times);
		for (size_t i = 0; i < t.n; i++) {
			if (layout->rows && i == layout->rows)
				break;
			print_row(f, &t, &t.row[i], layout->times);
		}
		if (!t.n)
			fprintf(f, "(no requests)\n");
	}
	free(t.row);
	json_decref(root);
	return err;
}
