/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a scrape costs to render: 100,000 lines of text (and 1,000,000), the
 * bytes of the same data as native histograms, and memory. One thread, CPU
 * time, so that a busy machine disturbs it less; the median of the rounds.
 *
 *	bench: NAME VALUE UNIT goal=G ok|short
 *
 * With "render": runs count_render() over a few lines, for
 * tests/bench/instructions.py, and says how many.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "aggregator/expose/expose.h"
#include "aggregator/views/views.h"
#include "proto/buckets.h"

#define BOUNDS 14
#define LINES (BOUNDS + 3) /* of a histogram series in text */
#define NATIVE 96
#define ROUNDS 11

static struct view view = {
	.name = "http_server_request_duration_seconds",
	.help = "Duration of HTTP server requests.",
	.unit = "seconds",
	.kind = VIEW_HISTOGRAM,
	.source = VIEW_DURATION,
	.labels = { LABEL_JOB, LABEL_INSTANCE, LABEL_METHOD, LABEL_ROUTE,
		    LABEL_STATUS, LABEL_SCHEME, LABEL_VERSION },
	.n_labels = 7,
	.bounds = { 5000, 10000, 25000, 50000, 75000, 100000, 250000, 500000,
		    750000, 1000000, 2500000, 5000000, 7500000, 10000000 },
	.n_bounds = BOUNDS,
};

struct fleet {
	struct snapshot s;
	struct snapshot_view v;
	struct snapshot_series *series;
	uint64_t (*bucket)[BOUNDS + 1];
	uint64_t (*native)[NATIVE];
	char (*text)[3][48];
};

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double gauss(uint64_t *x)
{
	double sum = 0;

	for (int i = 0; i < 12; i++) {
		*x ^= *x << 13;
		*x ^= *x >> 7;
		*x ^= *x << 17;
		sum += (double)(*x >> 11) / 9007199254740992.0;
	}
	return sum - 6;
}

/* A service's latencies: log-normal around 20 ms, a factor of 2 wide. */
static void fill(struct fleet *f, size_t i, uint64_t *x)
{
	struct snapshot_series *s = &f->series[i];
	int first = bucket_native_seconds(700);

	for (int k = 0; k < 5000; k++) {
		double v = 20000 * exp2(gauss(x));
		uint64_t us = v < 701 ? 701 : (uint64_t)v;
		int native = bucket_native_seconds(us) - first;
		size_t b = 0;

		while (b < BOUNDS && us > view.bounds[b])
			b++;
		f->bucket[i][b]++;
		f->native[i][native < NATIVE ? native : NATIVE - 1]++;
		s->count++;
		s->sum += us;
	}
	s->native.first = first;
}

static struct fleet *make(size_t n)
{
	static const char *const method[] = { "GET", "POST" };
	static const char *const status[] = { "200", "404", "500" };
	struct fleet *f = calloc(1, sizeof(*f));
	uint64_t x = 88172645463325252u;

	f->series = calloc(n, sizeof(*f->series));
	f->bucket = calloc(n, sizeof(*f->bucket));
	f->native = calloc(n, sizeof(*f->native));
	f->text = calloc(n, sizeof(*f->text));
	for (size_t i = 0; i < n; i++) {
		struct snapshot_series *s = &f->series[i];

		snprintf(f->text[i][0], 48, "shop/service-%02zu", i / 60 % 40);
		snprintf(f->text[i][1], 48, "service-%02zu-%04zu", i / 60 % 40,
			 i / 2400);
		snprintf(f->text[i][2], 48, "/api/v1/orders/{id}/%zu",
			 i / 6 % 10);
		s->labels.value[0] = f->text[i][0];
		s->labels.value[1] = f->text[i][1];
		s->labels.value[2] = method[i % 2];
		s->labels.value[3] = f->text[i][2];
		s->labels.value[4] = status[i / 2 % 3];
		s->labels.value[5] = "http";
		s->labels.value[6] = "1.1";
		s->bucket = f->bucket[i];
		s->native = (struct snapshot_native){ .n = NATIVE,
						      .count = f->native[i] };
		if (i < 1000) {
			fill(f, i, &x);
		} else { /* the same shapes again: making them is slow */
			memcpy(f->bucket[i], f->bucket[i % 1000],
			       sizeof(f->bucket[0]));
			memcpy(f->native[i], f->native[i % 1000],
			       sizeof(f->native[0]));
			s->count = f->series[i % 1000].count;
			s->sum = f->series[i % 1000].sum;
			s->native.first = f->series[i % 1000].native.first;
		}
	}
	f->v = (struct snapshot_view){
		.view = &view, .n = n, .series = f->series, .demand = n
	};
	f->s.views = &f->v;
	f->s.n_views = 1;
	return f;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Median CPU seconds of a rendering into fresh memory; its size in *len. */
static double measure(const struct fleet *f, enum expose_format format,
		      size_t *len)
{
	struct metrics_self self = { 0 };
	double s[ROUNDS];

	*len = 0;
	for (int i = 0; i < ROUNDS; i++) {
		struct buf out = { 0 };
		double start = cpu_s();

		buf_reserve(&out, *len + *len / 8 + 1);
		if (expose_render(&out, format, &f->s, &self))
			exit(1);
		s[i] = cpu_s() - start;
		*len = out.len;
		buf_fini(&out);
	}
	qsort(s, ROUNDS, sizeof(s[0]), ascending);
	return s[ROUNDS / 2];
}

static void report(const char *name, double value, const char *unit,
		   double goal, bool least)
{
	bool ok = least ? value >= goal : value <= goal;

	printf("bench: %s %.4g %s goal=%s%g %s\n", name, value, unit,
	       least ? ">=" : "<=", goal, ok ? "ok" : "short");
}

static void bench(const char *size, size_t lines)
{
	size_t n = (lines + LINES - 1) / LINES, text, om, proto;
	struct fleet *f = make(n);
	double s;
	char name[64];

	s = measure(f, EXPOSE_TEXT, &text);
	snprintf(name, sizeof(name), "scrape_text_%s", size);
	report(name, (double)text / s / 1e6, "MB/s", 800, true);
	snprintf(name, sizeof(name), "scrape_text_%s_bytes_per_series", size);
	/* Of the 1 KiB that a series may cost all told. */
	report(name, (double)text / (double)(n * LINES), "B", 512, false);
	s = measure(f, EXPOSE_OPENMETRICS, &om);
	snprintf(name, sizeof(name), "scrape_openmetrics_%s", size);
	report(name, (double)om / s / 1e6, "MB/s", 800, true);
	s = measure(f, EXPOSE_PROTOBUF, &proto);
	snprintf(name, sizeof(name), "scrape_protobuf_%s_ratio", size);
	report(name, (double)proto / (double)text, "of_text", 0.125, false);
	printf("bench: scrape_protobuf_%s_time %.4g ms\n", size, s * 1e3);
	free(f->series);
	free(f->bucket);
	free(f->native);
	free(f->text);
	free(f);
}

static __attribute__((noinline, noclone)) void
count_render(const struct fleet *f, struct buf *out)
{
	struct metrics_self self = { 0 };

	if (expose_render(out, EXPOSE_TEXT, &f->s, &self))
		exit(1);
}

/* What is said of ourselves is among the lines. */
static void count(size_t n)
{
	struct fleet *f = make(n);
	struct buf out = { 0 };
	size_t lines = 0;

	count_render(f, &out);
	for (size_t i = 0; i < out.len; i++)
		lines += out.data[i] == '\n';
	printf("counted: render %zu\n", lines);
	buf_fini(&out);
	free(f->series);
	free(f->bucket);
	free(f->native);
	free(f->text);
	free(f);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "render") == 0) {
		count(600);
		return 0;
	}
	bench("100k", 100000);
	bench("1m", 1000000);
	return 0;
}
