/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/backfill.h"

#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "proto/buckets.h"
#include "proto/limits.h"

#define US_PER_S 1000000
/* A series gets a sample this often: Prometheus ends it after 5 min without. */
#define KEEP_ALIVE_S 240

/* The bounds of the aggregator's own histograms, as it writes them. */
static const struct {
	uint64_t us;
	const char *text;
} bounds[] = {
	{ 5000, "0.005" },  { 10000, "0.01" },	  { 25000, "0.025" },
	{ 50000, "0.05" },  { 75000, "0.075" },	  { 100000, "0.1" },
	{ 250000, "0.25" }, { 500000, "0.5" },	  { 750000, "0.75" },
	{ 1000000, "1.0" }, { 2500000, "2.5" },	  { 5000000, "5.0" },
	{ 7500000, "7.5" }, { 10000000, "10.0" },
};
#define N_BOUNDS (sizeof(bounds) / sizeof(*bounds))

struct window {
	int64_t start_s;
	uint64_t count, sum_us;
	uint64_t bucket[N_BOUNDS]; /* not cumulative; +Inf is left out */
};

struct series {
	uint32_t role;
	char *labels;
	struct window *window; /* ascending */
	size_t n, cap;
};

struct backfill {
	void *tree; /* of struct series, by role and labels */
	struct series **row; /* by series of the batch being added */
	size_t row_cap;
	struct buf text;
};

int backfill_new(struct backfill **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

static void free_series(void *p)
{
	struct series *s = p;

	free(s->labels);
	free(s->window);
	free(s);
}

void backfill_free(struct backfill *b)
{
	if (!b)
		return;
	tdestroy(b->tree, free_series);
	free(b->row);
	buf_fini(&b->text);
	free(b);
}

/* --- labels, as the aggregator writes them; docs/METRICS.md --- */

static void put_label(struct buf *t, const char *name, const char *value)
{
	if (*value == '\0')
		return;
	buf_printf(t, "%s%s=\"", t->len > 0 ? "," : "", name);
	for (; *value != '\0'; value++) {
		if (*value == '\n') {
			buf_puts(t, "\\n");
			continue;
		}
		if (*value == '"' || *value == '\\')
			buf_putc(t, '\\');
		buf_putc(t, *value);
	}
	buf_putc(t, '"');
}

static const char *version_text(uint32_t version)
{
	return version == 10   ? "1.0"
	       : version == 11 ? "1.1"
	       : version == 20 ? "2"
	       : version == 30 ? "3"
			       : "";
}

static const char *error_text(uint32_t role, uint32_t status, uint32_t outcome,
			      const char *status_text)
{
	const char *name = outcome_name(outcome);

	if (outcome != OUTCOME_COMPLETE)
		return name ? name : "_OTHER";
	return status >= (role == ROLE_CLIENT ? 400u : 500u) ? status_text : "";
}

static void put_job(struct buf *t, const char *ns, const char *service)
{
	struct buf job = { 0 };

	if (*service == '\0')
		buf_puts(&job, "unknown_service");
	else
		buf_printf(&job, "%s%s%s", ns, *ns ? "/" : "", service);
	if (buf_str(&job))
		put_label(t, "job", job.data);
	else
		t->err = -ENOMEM;
	buf_fini(&job);
}

static int label_text(struct buf *t, const struct batch *b, size_t i)
{
	const struct batch_string *s = b->strings;
	const struct batch_series *row = &b->series;
	const struct batch_resources *r = &b->resources;
	uint32_t resource = row->resource[i], role = row->role[i];
	const char *instance = s[r->instance[resource]].data;
	const char *method = s[row->method[i]].data;
	char status[12] = "", port[12] = "";

	if (row->status[i] > 0)
		snprintf(status, sizeof(status), "%u", row->status[i]);
	if (row->port[i] > 0)
		snprintf(port, sizeof(port), "%u", row->port[i]);
	buf_reset(t);
	put_job(t, s[r->namespace_[resource]].data,
		s[r->service[resource]].data);
	put_label(t, "instance", *instance ? instance : b->agent);
	put_label(t, "http_request_method", *method ? method : "_OTHER");
	if (role == ROLE_CLIENT) {
		put_label(t, "server_address", s[row->address[i]].data);
		put_label(t, "server_port", port);
	} else {
		put_label(t, "http_route", s[row->route[i]].data);
	}
	put_label(t, "http_response_status_code", status);
	put_label(t, "error_type",
		  error_text(role, row->status[i], row->outcome[i], status));
	put_label(t, "url_scheme", s[row->scheme[i]].data);
	put_label(t, "network_protocol_version", version_text(row->version[i]));
	return buf_str(t) ? 0 : t->err;
}

static int compare_series(const void *a, const void *b)
{
	const struct series *x = a, *y = b;

	if (x->role != y->role)
		return x->role < y->role ? -1 : 1;
	return strcmp(x->labels, y->labels);
}

static struct series *find_series(struct backfill *b, const struct batch *batch,
				  size_t i)
{
	struct series key = { .role = batch->series.role[i] }, *s, **found;

	if (label_text(&b->text, batch, i) != 0)
		return NULL;
	key.labels = b->text.data;
	found = tfind(&key, &b->tree, compare_series);
	if (found)
		return *found;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->role = key.role;
	s->labels = strdup(key.labels);
	if (!s->labels || !tsearch(s, &b->tree, compare_series)) {
		free_series(s);
		return NULL;
	}
	return s;
}

/* --- counting --- */

static struct window *window_at(struct series *s, int64_t end_us)
{
	int64_t start_s =
		end_us / US_PER_S / (int64_t)WINDOW_SECONDS * WINDOW_SECONDS;
	size_t at = s->n;

	while (at > 0 && s->window[at - 1].start_s > start_s)
		at--;
	if (at > 0 && s->window[at - 1].start_s == start_s)
		return &s->window[at - 1];
	if (s->n == s->cap) {
		size_t cap = s->cap > 0 ? 2 * s->cap : 4;
		void *p = realloc(s->window, cap * sizeof(*s->window));

		if (!p)
			return NULL;
		s->window = p;
		s->cap = cap;
	}
	memmove(&s->window[at + 1], &s->window[at],
		(s->n++ - at) * sizeof(*s->window));
	s->window[at] = (struct window){ .start_s = start_s };
	return &s->window[at];
}

static void count_request(struct window *w, uint64_t us, uint64_t times)
{
	size_t i = 0;

	while (i < N_BOUNDS && us > bounds[i].us)
		i++;
	if (i < N_BOUNDS)
		w->bucket[i] += times;
}

static int add_events(struct backfill *b, const struct batch *batch)
{
	const struct batch_events *e = &batch->events;
	int64_t start = batch->base_us, end;
	struct window *w;

	for (size_t i = 0; i < e->n; i++) {
		start += e->start_delta_us[i];
		if (batch_series_untimed(&batch->series, e->series[i]))
			continue;
		end = start + (int64_t)e->duration_us[i];
		w = window_at(b->row[e->series[i]], end > 0 ? end : 0);
		if (!w)
			return -ENOMEM;
		w->count++;
		w->sum_us += e->duration_us[i];
		count_request(w, e->duration_us[i], 1);
	}
	return 0;
}

static int add_rollups(struct backfill *b, const struct batch *batch)
{
	const struct batch_rollups *r = &batch->rollups;
	const struct batch_rollup_hist *h = &r->duration;
	size_t at = 0;

	for (size_t i = 0; i < r->n; i++) {
		int64_t us = batch->base_us + r->window_delta_s[i] * US_PER_S;
		struct window *w = window_at(b->row[r->series[i]], us);

		if (!w)
			return -ENOMEM;
		w->count += r->count[i];
		w->sum_us += r->duration_sum_us[i];
		for (uint32_t k = 0; k < h->buckets[i]; k++, at++)
			count_request(w, bucket_seconds_upper(h->index[at]),
				      h->count[at]);
	}
	return 0;
}

int backfill_add(struct backfill *b, const struct batch *batch)
{
	size_t n = batch->series.n;
	int err;

	if (n > b->row_cap) {
		void *p = realloc(b->row, n * sizeof(struct series *));

		if (!p)
			return -ENOMEM;
		b->row = p;
		b->row_cap = n;
	}
	for (size_t i = 0; i < n; i++) {
		b->row[i] = find_series(b, batch, i);
		if (!b->row[i])
			return -ENOMEM;
	}
	err = add_events(b, batch);
	return err ? err : add_rollups(b, batch);
}

/* --- writing --- */

struct walk {
	FILE *file;
	uint32_t role;
	bool any;
};

static const char *family(uint32_t role)
{
	return role == ROLE_CLIENT ? "http_client_request_duration_seconds"
				   : "http_server_request_duration_seconds";
}

static void write_sample(const struct walk *w, const struct series *s,
			 const struct window *sum, int64_t time_s)
{
	const char *name = family(s->role);
	uint64_t n = 0;

	for (size_t i = 0; i < N_BOUNDS; i++) {
		n += sum->bucket[i];
		fprintf(w->file,
			"%s_bucket{%s,le=\"%s\"} %" PRIu64 " %" PRId64 "\n",
			name, s->labels, bounds[i].text, n, time_s);
	}
	fprintf(w->file, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 " %" PRId64 "\n",
		name, s->labels, sum->count, time_s);
	fprintf(w->file, "%s_count{%s} %" PRIu64 " %" PRId64 "\n", name,
		s->labels, sum->count, time_s);
	fprintf(w->file, "%s_sum{%s} %" PRIu64 ".%06u %" PRId64 "\n", name,
		s->labels, sum->sum_us / US_PER_S,
		(unsigned)(sum->sum_us % US_PER_S), time_s);
}

/* A series begins with 0, so that its first requests show as an increase. */
static void write_series(struct walk *w, const struct series *s)
{
	struct window sum = { 0 };
	int64_t last = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct window *x = &s->window[i];

		for (; i > 0 && x->start_s - last > KEEP_ALIVE_S;
		     last += KEEP_ALIVE_S)
			write_sample(w, s, &sum, last + KEEP_ALIVE_S);
		if (i == 0 || x->start_s > last)
			write_sample(w, s, &sum, x->start_s);
		sum.count += x->count;
		sum.sum_us += x->sum_us;
		for (size_t k = 0; k < N_BOUNDS; k++)
			sum.bucket[k] += x->bucket[k];
		last = x->start_s + WINDOW_SECONDS;
		write_sample(w, s, &sum, last);
	}
}

static void visit(const void *node, VISIT how, void *arg)
{
	const struct series *s = *(struct series *const *)node;
	struct walk *w = arg;
	const char *name = family(w->role);

	if ((how != postorder && how != leaf) || s->role != w->role ||
	    s->n == 0)
		return;
	if (!w->any)
		fprintf(w->file,
			"# HELP %s Duration of HTTP %s requests.\n"
			"# TYPE %s histogram\n# UNIT %s seconds\n",
			name, w->role == ROLE_CLIENT ? "client" : "server",
			name, name);
	w->any = true;
	write_series(w, s);
}

int backfill_write(struct backfill *b, const char *path)
{
	bool standard = strcmp(path, "-") == 0;
	struct walk w = { .file = standard ? stdout : fopen(path, "we") };
	int err = 0;

	if (!w.file)
		return -errno;
	for (w.role = ROLE_SERVER; w.role <= ROLES; w.role++) {
		w.any = false;
		twalk_r(b->tree, visit, &w);
	}
	fputs("# EOF\n", w.file);
	if (fflush(w.file) != 0 || ferror(w.file))
		err = -EIO;
	if (!standard && fclose(w.file) != 0)
		err = -EIO;
	return err;
}
