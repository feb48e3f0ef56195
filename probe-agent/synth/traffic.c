/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/synth/traffic.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/batch/packer.h"
#include "proto/batch.h"
#include "proto/limits.h"

#define TEMPLATES_MIN 16u
#define TEMPLATES_MAX 256u
/* A node runs a handful of services. */
#define SERVICES_PER_TEMPLATE 8u

struct made {
	unsigned service, route, method, status; /* method: index of methods */
	uint64_t start_us, duration_us, ttfb_us, request_bytes, response_bytes;
};

static const char *const methods[] = { "GET", "POST", "PUT", "DELETE" };
/* Repeated by weight; 0: the request was aborted. */
static const uint16_t statuses[] = { 200, 200, 200, 200, 200, 200, 200, 200,
				     200, 200, 200, 201, 304, 404, 500, 0 };

struct traffic {
	struct traffic_options opt;
	unsigned plain, multiples; /* templates of each kind; multiples */
	unsigned n; /* templates, including that of the rest */
	struct traffic_template *templates;
};

static uint64_t next_random(uint64_t *x)
{
	uint64_t z = (*x += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* A number below n; low ones are more frequent (the smaller of two). */
static unsigned skewed(uint64_t r, unsigned n)
{
	uint64_t a = r & 0xffff, b = r >> 16 & 0xffff;

	return (unsigned)((a < b ? a : b) * n >> 16);
}

/* Makes the next event of template i; *random and *start_us are its state. */
static void make_event(const struct traffic *t, unsigned i, uint64_t *random,
		       uint64_t *start_us, struct made *e)
{
	const struct traffic_options *o = &t->opt;
	unsigned near = o->services < SERVICES_PER_TEMPLATE
				? o->services
				: SERVICES_PER_TEMPLATE;
	uint64_t r = next_random(random), s = next_random(random);

	e->service = (i % t->plain * near + (unsigned)(r % near)) % o->services;
	e->route = skewed(r >> 8, o->routes);
	e->method = e->route % 4;
	e->status = statuses[r >> 60];
	/* 150 µs to 2 s: a base by route, times 1 to 16, plus noise. */
	e->duration_us = (150 + 100 * (e->route % 20)) << (s & 7) % 5;
	e->duration_us += (s >> 8 & 0xffff) * e->duration_us >> 16;
	if ((s >> 24 & 0xff) == 0)
		e->duration_us *= 30;
	e->ttfb_us = e->status == 0 ? e->duration_us
				    : e->duration_us - (s >> 32 & 63);
	e->request_bytes = e->method == 0 ? 0 : 100 + (s >> 38 & 0xfff);
	e->response_bytes = e->status == 304 ? 0 : 200 + (s >> 50) * 3;
	*start_us += (r >> 40 & 0xff) * o->gap_us >> 7;
	e->start_us = *start_us;
}

static uint64_t seed_of(const struct traffic *t, unsigned i)
{
	uint64_t x = t->opt.seed * 1000003 + i;

	return next_random(&x);
}

/* Encodes the packer's batch again without agent, sequence, time and losses. */
static int strip(struct traffic_template *out, const void *data, size_t len)
{
	struct batch_arena *arena;
	struct batch b;
	void *body;
	int err = batch_arena_new(&arena);

	if (err)
		return err;
	err = batch_decode(arena, data, len, &b, NULL);
	assert(err != -EPROTO);
	if (!err) {
		b.agent = NULL;
		b.epoch = b.sequence = 0;
		b.base_us = 0;
		memset(&b.losses, 0, sizeof(b.losses));
		memset(&b.info, 0, sizeof(b.info));
		err = batch_encode(&b, &body, &out->len);
		out->body = err ? NULL : body;
	}
	batch_arena_free(arena);
	return err;
}

static int add(struct packer *p, const struct made *m)
{
	char service[32], instance[40], route[40];
	struct packer_event e = {
		.service = service,
		.namespace_ = "synth",
		.instance = instance,
		.container = "",
		.executable = "synth",
		.method = methods[m->method],
		.route = route,
		.scheme = "http",
		.address = "",
		.role = ROLE_SERVER,
		.status = m->status,
		.outcome = m->status == 0 ? OUTCOME_ABORTED : OUTCOME_COMPLETE,
		.version = 11,
		.port = 80,
		.start_us = (int64_t)m->start_us,
		.duration_us = m->duration_us,
		.ttfb_us = m->ttfb_us,
		.request_bytes = m->request_bytes,
		.response_bytes = m->response_bytes,
	};

	snprintf(service, sizeof(service), "service-%u", m->service);
	snprintf(instance, sizeof(instance), "service-%u-1", m->service);
	snprintf(route, sizeof(route), "/route-%u/{id}", m->route);
	return packer_add(p, &e);
}

static int make_template(struct traffic *t, unsigned i, unsigned events)
{
	struct traffic_template *out = &t->templates[i];
	uint64_t random = seed_of(t, i), start_us = 0, sequence, end_us = 0;
	struct batch_losses losses = { 0 };
	struct packer *p;
	struct made m;
	void *data;
	size_t len;
	int err = packer_new(&p, "synth", 1);

	if (err)
		return err;
	for (unsigned k = 0; k < events && !err; k++) {
		make_event(t, i, &random, &start_us, &m);
		err = add(p, &m);
		if (m.start_us + m.duration_us > end_us)
			end_us = m.start_us + m.duration_us;
		if (err == 1 && k + 1 < events)
			err = -EINVAL; /* more strings than fit in a batch */
	}
	if (err >= 0)
		err = packer_take(p, &losses, &data, &len, &sequence);
	if (!err) {
		err = strip(out, data, len);
		free(data);
	}
	out->events = events;
	out->span_us = (int64_t)end_us;
	packer_free(p);
	return err;
}

static void count_templates(struct traffic *t)
{
	const struct traffic_options *o = &t->opt;

	t->plain = o->templates;
	if (t->plain == 0)
		t->plain = (o->services + SERVICES_PER_TEMPLATE - 1) /
			   SERVICES_PER_TEMPLATE;
	if (o->templates == 0 && t->plain < TEMPLATES_MIN)
		t->plain = TEMPLATES_MIN;
	if (t->plain > TEMPLATES_MAX)
		t->plain = TEMPLATES_MAX;
	while (t->multiples < o->n_multiples &&
	       o->multiples[t->multiples] <= BATCH_EVENTS / o->events)
		t->multiples++;
	t->n = t->plain * (1 + t->multiples) + 1; /* and the rest */
}

static unsigned template_events(const struct traffic *t, unsigned i)
{
	if (i + 1 == t->n)
		return t->opt.rest;
	if (i < t->plain)
		return t->opt.events;
	return t->opt.events * t->opt.multiples[i / t->plain - 1];
}

int traffic_new(struct traffic **out, const struct traffic_options *opt)
{
	struct traffic *t;
	int err = 0;

	if (opt->services == 0 || opt->routes == 0 || opt->events == 0 ||
	    opt->events > BATCH_EVENTS || opt->rest > BATCH_EVENTS)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->opt = *opt;
	count_templates(t);
	t->templates = calloc(t->n, sizeof(*t->templates));
	if (!t->templates)
		err = -ENOMEM;
	for (unsigned i = 0; i < t->n && !err; i++)
		err = make_template(t, i, template_events(t, i));
	if (err) {
		traffic_free(t);
		return err;
	}
	*out = t;
	return 0;
}

void traffic_free(struct traffic *t)
{
	if (!t)
		return;
	for (unsigned i = 0; t->templates && i < t->n; i++)
		free((void *)(uintptr_t)t->templates[i].body);
	free(t->templates);
	free(t);
}

unsigned traffic_templates(const struct traffic *t)
{
	return t->n - 1;
}

unsigned traffic_plain(const struct traffic *t)
{
	return t->plain;
}

unsigned traffic_multiples(const struct traffic *t)
{
	return t->multiples;
}

void traffic_template(const struct traffic *t, unsigned i,
		      struct traffic_template *out)
{
	*out = t->templates[i];
}

/* --- truth --- */

struct sample {
	uint64_t key; /* service, route, method, status: in that order */
	uint64_t duration_us, request_bytes, response_bytes, times;
};

static int by_key_and_duration(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;

	if (x->key != y->key)
		return (x->key > y->key) - (x->key < y->key);
	return (x->duration_us > y->duration_us) -
	       (x->duration_us < y->duration_us);
}

static size_t take_samples(const struct traffic *t, const uint64_t *times,
			   struct sample *out)
{
	size_t n = 0;

	for (unsigned i = 0; i < t->n; i++) {
		uint64_t random = seed_of(t, i), start_us = 0;

		for (uint64_t k = 0; k < t->templates[i].events; k++) {
			struct made m;

			make_event(t, i, &random, &start_us, &m);
			if (times[i] == 0)
				continue;
			out[n++] = (struct sample){
				.key = (uint64_t)m.service << 40 |
				       (uint64_t)m.route << 16 |
				       m.method << 12 | m.status,
				.duration_us = m.duration_us,
				.request_bytes = m.request_bytes,
				.response_bytes = m.response_bytes,
				.times = times[i],
			};
		}
	}
	return n;
}

/* Value at rank ceil(per_mille / 1000 * count) of sorted samples. */
static uint64_t quantile(const struct sample *s, size_t n, uint64_t count,
			 unsigned per_mille)
{
	uint64_t rank =
		(uint64_t)(((__uint128_t)count * per_mille + 999) / 1000);
	uint64_t seen = 0;

	for (size_t i = 0; i < n; i++) {
		seen += s[i].times;
		if (seen >= rank)
			return s[i].duration_us;
	}
	return 0;
}

static void print_series(FILE *f, const struct sample *s, size_t n)
{
	uint64_t count = 0, duration = 0, request = 0, response = 0;
	unsigned status = s->key & 0xfff;

	for (size_t i = 0; i < n; i++) {
		count += s[i].times;
		duration += s[i].times * s[i].duration_us;
		request += s[i].times * s[i].request_bytes;
		response += s[i].times * s[i].response_bytes;
	}
	fprintf(f,
		"{\"service\":\"service-%u\",\"route\":\"/route-%u/{id}\","
		"\"method\":\"%s\",\"status\":%u,\"outcome\":%u,"
		"\"count\":%" PRIu64 ",\"duration_us_sum\":%" PRIu64
		",\"request_bytes_sum\":%" PRIu64
		",\"response_bytes_sum\":%" PRIu64,
		(unsigned)(s->key >> 40), (unsigned)(s->key >> 16 & 0xffffff),
		methods[s->key >> 12 & 3], status, status == 0, count, duration,
		request, response);
	fprintf(f,
		",\"p50_us\":%" PRIu64 ",\"p90_us\":%" PRIu64
		",\"p99_us\":%" PRIu64 ",\"max_us\":%" PRIu64 "}",
		quantile(s, n, count, 500), quantile(s, n, count, 900),
		quantile(s, n, count, 990), s[n - 1].duration_us);
}

int traffic_truth(const struct traffic *t, const uint64_t *times, FILE *f)
{
	struct sample *s;
	size_t n = 0;

	for (unsigned i = 0; i < t->n; i++)
		n += t->templates[i].events;
	s = malloc((n + 1) * sizeof(*s));
	if (!s)
		return -ENOMEM;
	n = take_samples(t, times, s);
	qsort(s, n, sizeof(*s), by_key_and_duration);
	fputc('[', f);
	for (size_t i = 0, end; i < n; i = end) {
		for (end = i; end < n && s[end].key == s[i].key; end++)
			;
		fputs(i > 0 ? ",\n" : "\n", f);
		print_series(f, s + i, end - i);
	}
	fputs("]", f);
	free(s);
	return 0;
}
