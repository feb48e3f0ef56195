/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scrape of 100,000 label sets in every default view, out of a real engine:
 * memory of all for each series, how long ingest waits for the snapshot, and
 * what a core renders when a view's series have to be built first. The series
 * come out of a log, as after a start.
 *
 *	bench: NAME VALUE UNIT goal=G ok|short
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "aggregator/engine/engine.h"
#include "aggregator/expose/expose.h"
#include "aggregator/snapshot/snapshot.h"
#include "aggregator/store/store.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/batch.h"
#include "proto/limits.h"

#define SERVICES 20u
#define NAMES 5000u /* routes, and addresses */
#define PER_BATCH 8000u /* events and series of one */
#define ROUNDS 12u /* events of a series */
#define SCRAPES 7

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s * 0x2545f4914f6cdd1d >> 11;
}

static double gauss(uint64_t *x)
{
	double sum = 0;

	for (int i = 0; i < 12; i++)
		sum += (double)(rnd(x) >> 11) / 4398046511104.0;
	return sum - 6;
}

/* A line of /proc/self/status, in KiB. */
static double status_kib(const char *key)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	double kib = 0;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			kib = strtod(line + strlen(key), NULL);
	if (f)
		fclose(f);
	return kib;
}

/* One event of each of the series [from, from + PER_BATCH) of a role. */
static void make_batch(uint64_t *seed, uint32_t role, unsigned from,
		       void **data, size_t *len)
{
	static char text[SERVICES + NAMES + 4][40];
	static struct batch_string string[SERVICES + NAMES + 4];
	static uint32_t col[12][PER_BATCH];
	static uint64_t u64[4][PER_BATCH];
	static int64_t delta[PER_BATCH];
	size_t n = 0;
	struct batch b = { .agent = "node-1",
			   .epoch = 1,
			   .sequence = 1,
			   .base_us = clock_real_us() - 1000000 };

	snprintf(text[n++], 40, "%s", "");
	snprintf(text[n++], 40, "GET");
	snprintf(text[n++], 40, "http");
	snprintf(text[n++], 40, "i-0");
	for (unsigned i = 0; i < SERVICES; i++, n++) {
		snprintf(text[n], 40, "service-%02u", i);
		col[0][i] = (uint32_t)n;
		col[1][i] = 3;
	}
	for (unsigned i = 0; i < NAMES; i++, n++)
		snprintf(text[n], 40,
			 role == 1 ? "/api/v1/orders/{id}/%04u"
				   : "host-%04u.internal",
			 i);
	for (size_t i = 0; i < n; i++)
		string[i] = (struct batch_string){ text[i],
						   (uint32_t)strlen(text[i]) };
	for (unsigned i = 0; i < PER_BATCH; i++) {
		unsigned at = (from + i) % (SERVICES * NAMES);

		col[2][i] = at % SERVICES;
		col[3][i] = role;
		col[4][i] = 1;
		col[5][i] = role == 1 ? 4 + SERVICES + at / SERVICES : 0;
		col[6][i] = 500;
		col[7][i] = 11;
		col[8][i] = 2;
		col[9][i] = role == 2 ? 4 + SERVICES + at / SERVICES : 0;
		col[11][i] = i;
		delta[i] = 0;
		u64[0][i] = (uint64_t)(20000 * exp2(gauss(seed)));
		u64[2][i] = rnd(seed) % 4000;
		u64[3][i] = (uint64_t)(3000 * exp2(gauss(seed)));
	}
	b.n_strings = n;
	b.strings = string;
	b.resources =
		(struct batch_resources){ .n = SERVICES,
					  .column = { col[0], col[10], col[1],
						      col[10], col[10] } };
	b.series = (struct batch_series){ .n = PER_BATCH,
					  .resource = col[2],
					  .role = col[3],
					  .method = col[4],
					  .route = col[5],
					  .status = col[6],
					  .outcome = col[10],
					  .version = col[7],
					  .scheme = col[8],
					  .address = col[9],
					  .port = col[10] };
	b.events = (struct batch_events){ .n = PER_BATCH,
					  .series = col[11],
					  .start_delta_us = delta,
					  .duration_us = u64[0],
					  .tail_us = u64[1],
					  .request_bytes = u64[2],
					  .response_bytes = u64[3] };
	if (batch_encode(&b, data, len) < 0)
		abort();
}

static void fill(const char *dir)
{
	unsigned n = (SERVICES * NAMES + PER_BATCH - 1) / PER_BATCH;
	struct store *st;
	uint64_t seed = 42, id = 0;

	if (store_open(&st, dir) < 0 || store_begin(st) < 0)
		abort();
	for (unsigned i = 0; i < n * ROUNDS; i++)
		for (uint32_t role = 1; role <= 2; role++) {
			struct store_log row = { .received_us = clock_real_us(),
						 .requests = PER_BATCH };
			void *data;

			row.id = ++id;
			make_batch(&seed, role, i % n * PER_BATCH, &data,
				   &row.len);
			row.data = data;
			if (store_put_log(st, &row) < 0)
				abort();
			free(data);
		}
	if (store_commit(st) < 0)
		abort();
	store_close(st);
}

static void report(const char *name, double value, const char *unit,
		   double goal, bool least)
{
	bool ok = least ? value >= goal : value <= goal;

	printf("bench: %s %.4g %s goal=%s%g %s\n", name, value, unit,
	       least ? ">=" : "<=", goal, ok ? "ok" : "short");
}

struct cost {
	double bytes, mb_per_s, stall_ms;
};

/* As render.c does it, but that the bytes go nowhere. */
static struct cost scrape(struct engine *e, enum expose_format format)
{
	struct metrics_self self = { 0 };
	const struct snapshot *s = snapshot_open(engine_snapshots(e));
	struct cost c = { 0 };
	double start = cpu_s();
	struct buf out = { 0 };
	struct expose *x;
	int more = 1;

	if (!s || expose_new(&x, format, s, &self) < 0)
		abort();
	c.stall_ms = (double)s->locked_ns / 1e6;
	while (more == 1) {
		buf_reset(&out);
		more = expose_next(x, &out, 1u << 20);
		c.bytes += (double)out.len;
	}
	if (more < 0)
		abort();
	c.mb_per_s = c.bytes / (cpu_s() - start) / 1e6;
	expose_free(x);
	snapshot_rele(s);
	buf_fini(&out);
	return c;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(void)
{
	char dir[] = "/tmp/redtap-scrape-XXXXXX", command[64];
	struct engine_options o = { .store_dir = dir };
	double speed[SCRAPES], stall[SCRAPES], before, series = 0, text = 0;
	struct engine *e;
	const struct snapshot *s;

	log_init(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	if (!mkdtemp(dir))
		abort();
	fill(dir);
	before = status_kib("VmRSS:");
	if (engine_new(&e, &o) < 0)
		abort();
	s = snapshot_open(engine_snapshots(e));
	for (size_t v = 0; v < s->n_views; v++) {
		if (s->load(s, v) < 0)
			abort();
		series += (double)s->views[v].n;
		s->unload(s, v);
	}
	snapshot_rele(s);
	printf("# %.0f series of %zu views; %.0f MiB before a scrape\n", series,
	       views_default()->n, (status_kib("VmRSS:") - before) / 1024);
	for (int f = 0; f < EXPOSE_FORMATS; f++) {
		struct cost c = { 0 };
		char name[64];

		for (int i = 0; i < SCRAPES; i++) {
			c = scrape(e, (enum expose_format)f);
			speed[i] = c.mb_per_s;
			stall[i] = c.stall_ms;
		}
		qsort(speed, SCRAPES, sizeof(*speed), ascending);
		qsort(stall, SCRAPES, sizeof(*stall), ascending);
		if (f == EXPOSE_TEXT)
			text = c.bytes;
		printf("# %s: %.0f MB\n",
		       expose_format_name((enum expose_format)f),
		       c.bytes / 1e6);
		if (f == EXPOSE_PROTOBUF) {
			report("scrape_full_protobuf_ratio", c.bytes / text,
			       "of_text", 0.125, false);
			continue;
		}
		snprintf(name, sizeof(name), "scrape_full_%s",
			 expose_format_name((enum expose_format)f));
		report(name, speed[SCRAPES / 2], "MB/s", 800, true);
	}
	/* The median of the last format's; all are alike. */
	report("scrape_full_stall", stall[SCRAPES / 2], "ms", 5, false);
	report("scrape_full_memory",
	       (status_kib("VmHWM:") - before) * 1024 / series, "B/series",
	       1024, false);
	engine_free(e);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command) != 0;
}
