/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shop FILE KIND MINUTES [N [M]]: writes a trace file of a made fleet, for
 * tests and pictures of the page. The same arguments give the same file, but
 * for its times, which end now. Prints the truth: per service the line "service
 * NAME ROLE COUNT ERRORS", per edge "edge CLIENT SERVER COUNT ERRORS", then
 * "total COUNT".
 *
 * Kinds:
 * - shop: twelve services on four nodes; lately one instance fails. Ends N
 *   seconds ago.
 * - wide: N services with M routes each, and every window has all routes.
 * - names: services and routes with markup, right to left or long names.
 * - idle: agents that saw no request.
 */
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/batch.h"
#include "proto/limits.h"
#include "proto/trace.h"

#define NODES 4
#define STRINGS_MAX 40000
#define EVENTS_MAX 40000
#define SERIES_MAX 16000
#define END_BYTES 18
#define HOPS_MAX 6

static void die(const char *what)
{
	fprintf(stderr, "shop: %s\n", what);
	exit(1);
}

static bool idle;
static uint64_t seed = 88172645463325252u;

static uint64_t draw(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return below ? (seed >> 11) % below : 0;
}

/* Long tails, as durations have. */
static uint64_t draw_us(uint64_t median_us)
{
	double u = ((double)draw(1000000) + 0.5) / 1e6;
	double normal = (u < 0.5 ? -1 : 1) *
			sqrt(-1.9 * log(u < 0.5 ? 2 * u : 2 * (1 - u)));

	return (uint64_t)((double)median_us * exp(0.55 * normal)) + 20;
}

/* --- one node's batch --- */

struct event {
	uint32_t series;
	int64_t start_us;
	uint64_t us, first_us, request, response;
	uint32_t connection; /* 0: none */
	uint8_t local[END_BYTES], remote[END_BYTES];
	uint8_t trace[24];
	bool traced;
};

struct node {
	char name[32];
	uint64_t epoch, sequence, captured;
	struct batch_string string[STRINGS_MAX];
	size_t n_strings;
	uint32_t resource[3][4000]; /* service, namespace, instance */
	size_t n_resources;
	uint32_t col[8][SERIES_MAX]; /* in the order of enum column */
	size_t n_series;
	struct event event[EVENTS_MAX];
	size_t n_events;
	uint32_t strings[131072], rows[131072]; /* see find_string() */
};

enum column {
	COL_RESOURCE,
	COL_ROLE,
	COL_METHOD,
	COL_ROUTE,
	COL_STATUS,
	COL_OUTCOME,
	COL_ADDRESS,
	COL_PORT,
};

static struct node nodes[NODES];
static struct trace_writer *writer;

/* Open addressing: index + 1 by hash, so that wide fleets take seconds. */
#define TABLE 131072u

static size_t hash_bytes(const void *data, size_t len)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < len; i++)
		h = (h ^ ((const uint8_t *)data)[i]) * 0x100000001b3;
	return (size_t)(h ^ h >> 29);
}

static uint32_t find_string(struct node *n, const char *text)
{
	size_t at;

	if (!text || !*text)
		return 0;
	at = hash_bytes(text, strlen(text));
	for (; n->strings[at % TABLE]; at++)
		if (!strcmp(n->string[n->strings[at % TABLE]].data, text))
			return n->strings[at % TABLE];
	n->strings[at % TABLE] = (uint32_t)n->n_strings;
	if (n->n_strings == STRINGS_MAX)
		die("too many strings");
	n->string[n->n_strings] =
		(struct batch_string){ strdup(text), (uint32_t)strlen(text) };
	return (uint32_t)n->n_strings++;
}

static uint32_t find_resource(struct node *n, const char *space,
			      const char *service, const char *instance)
{
	uint32_t v[3] = { find_string(n, service), find_string(n, space),
			  find_string(n, instance) };

	for (size_t i = 0; i < n->n_resources; i++)
		if (n->resource[0][i] == v[0] && n->resource[1][i] == v[1] &&
		    n->resource[2][i] == v[2])
			return (uint32_t)i;
	for (size_t k = 0; k < 3; k++)
		n->resource[k][n->n_resources] = v[k];
	return (uint32_t)n->n_resources++;
}

static uint32_t find_series(struct node *n, const uint32_t v[8])
{
	size_t at = hash_bytes(v, 8 * sizeof(*v));

	for (; n->rows[at % TABLE]; at++) {
		uint32_t i = n->rows[at % TABLE] - 1;
		size_t k = 0;

		while (k < 8 && n->col[k][i] == v[k])
			k++;
		if (k == 8)
			return i;
	}
	n->rows[at % TABLE] = (uint32_t)n->n_series + 1;
	if (n->n_series == SERIES_MAX)
		die("too many series");
	for (size_t k = 0; k < 8; k++)
		n->col[k][n->n_series] = v[k];
	return (uint32_t)n->n_series++;
}

static void begin_node(struct node *n, unsigned i)
{
	snprintf(n->name, sizeof(n->name), "web-%u", i + 1);
	n->epoch = (uint64_t)time(NULL) * 1000 + i;
	n->string[0] = (struct batch_string){ "", 0 };
	n->n_strings = 1;
}

static int by_end(const void *pa, const void *pb)
{
	const struct event *a = pa, *b = pb;
	int64_t x = a->start_us + (int64_t)a->us;
	int64_t y = b->start_us + (int64_t)b->us;

	return x < y ? -1 : x > y;
}

static void write_batch(struct node *n)
{
	static uint32_t none[SERIES_MAX], version[SERIES_MAX],
		scheme[SERIES_MAX], series[EVENTS_MAX], traced[EVENTS_MAX],
		connection[EVENTS_MAX];
	static int64_t start[EVENTS_MAX];
	static uint64_t us[EVENTS_MAX], tail[EVENTS_MAX], in[EVENTS_MAX],
		out[EVENTS_MAX];
	static uint8_t ids[EVENTS_MAX][24], local[EVENTS_MAX][END_BYTES],
		remote[EVENTS_MAX][END_BYTES];
	uint32_t http = find_string(n, "http");
	struct batch b = { .agent = n->name,
			   .epoch = n->epoch,
			   .sequence = ++n->sequence };
	size_t n_traced = 0, last = 0, n_connections = 0;
	int64_t before;
	void *data;
	size_t len;

	if (!n->n_events && !idle)
		return;
	qsort(n->event, n->n_events, sizeof(n->event[0]), by_end);
	b.base_us = before = n->n_events ? n->event[0].start_us
					 : (int64_t)time(NULL) * 1000000;
	for (size_t i = 0; i < n->n_events; i++) {
		const struct event *e = &n->event[i];

		series[i] = e->series;
		start[i] = e->start_us - before;
		before = e->start_us;
		us[i] = e->us;
		tail[i] = e->us - e->first_us;
		in[i] = e->request;
		out[i] = e->response;
		connection[i] = e->connection ? (uint32_t)++n_connections : 0;
		if (e->connection) {
			memcpy(local[n_connections - 1], e->local, END_BYTES);
			memcpy(remote[n_connections - 1], e->remote, END_BYTES);
		}
		if (!e->traced)
			continue;
		traced[n_traced] = (uint32_t)(i - last);
		last = i;
		memcpy(ids[n_traced++], e->trace, 24);
	}
	for (size_t i = 0; i < n->n_series; i++) {
		version[i] = 11;
		scheme[i] = http;
	}
	n->captured += n->n_events;
	b.n_strings = n->n_strings;
	b.strings = n->string;
	b.resources.n = n->n_resources;
	for (size_t i = 0; i < RESOURCE_N; i++)
		b.resources.column[i] = none;
	b.resources.service = n->resource[0];
	b.resources.namespace_ = n->resource[1];
	b.resources.instance = n->resource[2];
	b.series = (struct batch_series){ .n = n->n_series,
					  .resource = n->col[COL_RESOURCE],
					  .role = n->col[COL_ROLE],
					  .method = n->col[COL_METHOD],
					  .route = n->col[COL_ROUTE],
					  .status = n->col[COL_STATUS],
					  .outcome = n->col[COL_OUTCOME],
					  .version = version,
					  .scheme = scheme,
					  .address = n->col[COL_ADDRESS],
					  .port = n->col[COL_PORT] };
	b.events = (struct batch_events){ .n = n->n_events,
					  .series = series,
					  .start_delta_us = start,
					  .duration_us = us,
					  .tail_us = tail,
					  .request_bytes = in,
					  .response_bytes = out,
					  .n_traced = n_traced,
					  .traced = traced,
					  .trace_ids = ids[0],
					  .n_connections = n_connections,
					  .connection = connection,
					  .connection_local = local[0],
					  .connection_remote = remote[0] };
	b.losses.captured = b.losses.packed = n->captured;
	b.info = (struct batch_info){ .version = "0.1.0",
				      .kernel = "6.12.9",
				      .capture = "fentry" };
	if (batch_encode(&b, &data, &len) < 0 ||
	    trace_write(writer, data, len) < 0)
		die("cannot write a batch");
	free(data);
	for (size_t i = 1; i < n->n_strings; i++)
		free((char *)(uintptr_t)n->string[i].data);
	n->n_events = n->n_series = n->n_resources = 0;
	n->n_strings = 1;
	memset(n->strings, 0, sizeof(n->strings));
	memset(n->rows, 0, sizeof(n->rows));
}

/* --- the truth --- */

struct tally {
	char key[4200];
	uint64_t count, errors;
};
static struct tally *tally;
static size_t n_tally;

static void count(const char *key, bool failed)
{
	static uint32_t table[TABLE];
	size_t at = hash_bytes(key, strlen(key)), i;

	while (table[at % TABLE] &&
	       strcmp(tally[table[at % TABLE] - 1].key, key) != 0)
		at++;
	i = table[at % TABLE] ? table[at % TABLE] - 1 : n_tally;
	if (i == n_tally) {
		table[at % TABLE] = (uint32_t)i + 1;
		tally = realloc(tally, ++n_tally * sizeof(*tally));
		memset(&tally[i], 0, sizeof(*tally));
		snprintf(tally[i].key, sizeof(tally[i].key), "%s", key);
	}
	tally[i].count++;
	tally[i].errors += failed;
}

/* --- requests --- */

struct side {
	const char *space, *service, *method, *route, *address;
	unsigned instance, status, role;
};

static uint64_t total;

static struct event *add_event(const struct side *s, int64_t start_us,
			       uint64_t us)
{
	struct node *n = &nodes[s->instance % NODES];
	char instance[64], job[3000];
	uint32_t v[8];
	struct event *e;
	bool failed = s->status == 0 || s->status >= 500 ||
		      (s->role == ROLE_CLIENT && s->status >= 400);

	if (n->n_events == EVENTS_MAX)
		write_batch(n);
	snprintf(instance, sizeof(instance), "%.32s-%u", s->service,
		 s->instance);
	v[COL_RESOURCE] = find_resource(n, s->space, s->service, instance);
	v[COL_ROLE] = s->role;
	v[COL_METHOD] = find_string(n, s->method);
	v[COL_ROUTE] = s->role == ROLE_SERVER ? find_string(n, s->route) : 0;
	v[COL_STATUS] = s->status;
	v[COL_OUTCOME] = s->status ? OUTCOME_COMPLETE : OUTCOME_RESET;
	v[COL_ADDRESS] = find_string(n, s->address);
	v[COL_PORT] = s->address ? 8080 : 0;
	e = &n->event[n->n_events++];
	*e = (struct event){ .series = find_series(n, v),
			     .start_us = start_us,
			     .us = us,
			     .first_us = us - us / 8,
			     .request = s->method[0] == 'P' ? draw(3000) : 0,
			     .response = 200 + draw(12000) };
	total++;
	snprintf(job, sizeof(job), "service %s%s%s %s", s->space,
		 *s->space ? "/" : "", s->service,
		 s->role == ROLE_SERVER ? "server" : "client");
	count(job, failed);
	return e;
}

static void put_end(uint8_t *to, unsigned host, uint16_t port)
{
	memset(to, 0, END_BYTES);
	to[0] = 10;
	to[2] = (uint8_t)(host >> 8);
	to[3] = (uint8_t)host;
	to[16] = (uint8_t)(port >> 8);
	to[17] = (uint8_t)port;
}

static void connect_ends(struct event *e, bool client, unsigned from,
			 unsigned to, uint16_t port)
{
	e->connection = 1;
	put_end(client ? e->local : e->remote, from, port);
	put_end(client ? e->remote : e->local, to, 8080);
}

/* --- the shop --- */

struct call {
	const char *client, *server, *method, *route;
	unsigned share; /* of the client's requests, in a hundred */
	unsigned median_us;
};

static const struct call calls[] = {
	{ NULL, "frontend", "GET", "/", 34, 9000 },
	{ NULL, "frontend", "GET", "/product/{id}", 40, 14000 },
	{ NULL, "frontend", "POST", "/cart/checkout", 6, 48000 },
	{ NULL, "frontend", "GET", "/search", 20, 21000 },
	{ NULL, "admin", "GET", "/reports/{id}", 1, 180000 },
	{ "frontend", "catalog", "GET", "/products/{id}", 70, 4000 },
	{ "frontend", "cart", "GET", "/carts/{id}", 45, 2600 },
	{ "frontend", "cart", "PUT", "/carts/{id}/items", 12, 3900 },
	{ "frontend", "search", "GET", "/query", 20, 11000 },
	{ "frontend", "checkout", "POST", "/orders", 6, 30000 },
	{ "frontend", "ads", "GET", "/ads", 30, 1800 },
	{ "catalog", "images", "GET", "/img/{id}", 60, 900 },
	{ "catalog", "reviews", "GET", "/products/{id}/reviews", 25, 2900 },
	{ "search", "catalog", "GET", "/products", 40, 5000 },
	{ "checkout", "payment", "POST", "/charges", 95, 17000 },
	{ "checkout", "shipping", "POST", "/labels", 90, 8000 },
	{ "checkout", "cart", "DELETE", "/carts/{id}", 90, 2200 },
	{ "checkout", "mail", "POST", "/messages", 85, 5200 },
	{ "admin", "reporting", "GET", "/sum/{year}", 300, 90000 },
	{ "reporting", "catalog", "GET", "/export", 60, 25000 },
};
#define N_CALLS (sizeof(calls) / sizeof(calls[0]))

static const char *space_of(const char *service)
{
	if (!strcmp(service, "payment") || !strcmp(service, "bank"))
		return "billing";
	if (!strcmp(service, "images") || !strcmp(service, "ads"))
		return "media";
	if (!strcmp(service, "reporting") || !strcmp(service, "admin"))
		return "ops";
	return "shop";
}

static unsigned service_number(const char *name)
{
	unsigned h = 7;

	for (; *name; name++)
		h = h * 31 + (unsigned char)*name;
	return h % 200;
}

struct moment {
	int64_t us;
	bool incident; /* cart's instance on web-3 fails */
	int hops;
};

static uint16_t next_port = 20000;

static uint64_t serve(const char *client, unsigned client_instance,
		      const struct call *c, struct moment at);

static unsigned status_of(const struct call *c, unsigned instance,
			  const struct moment *at)
{
	uint64_t dice = draw(1000);

	if (at->incident && !strcmp(c->server, "cart") && instance == 2 &&
	    dice < 420)
		return dice < 40 ? 0 : 503;
	if (!strcmp(c->server, "payment") && dice < 14)
		return 402;
	if (!strcmp(c->server, "search") && dice < 5)
		return 500;
	if (!strcmp(c->route, "/product/{id}") && dice < 22)
		return 404;
	if (!strcmp(c->server, "images"))
		return dice < 160 ? 304 : 200;
	return c->method[0] == 'P' && c->method[1] == 'O' ? 201 : 200;
}

/* The calls that a request makes in turn; how long they took. */
static uint64_t call_on(const char *service, unsigned instance,
			struct moment at)
{
	uint64_t us = 0;

	at.hops++;
	for (size_t i = 0; i < N_CALLS && at.hops < HOPS_MAX; i++) {
		const struct call *c = &calls[i];
		unsigned left = c->share;

		if (!c->client || strcmp(c->client, service) != 0)
			continue;
		for (; left && draw(100) < left;
		     left = left > 100 ? left - 100 : 0) {
			struct moment then = at;

			then.us += (int64_t)us + 300;
			us += serve(service, instance, c, then) + 300;
		}
	}
	return us;
}

static uint64_t serve(const char *client, unsigned client_instance,
		      const struct call *c, struct moment at)
{
	unsigned instance = (unsigned)draw(NODES);
	struct side server = { .space = space_of(c->server),
			       .service = c->server,
			       .method = c->method,
			       .route = c->route,
			       .instance = instance,
			       .role = ROLE_SERVER };
	uint64_t inner = call_on(c->server, instance, at);
	uint64_t us = draw_us(c->median_us) + inner, wire = 150 + draw(900);
	uint16_t port = next_port++;
	struct event *e;
	char edge[256], address[64];

	if (next_port > 60000)
		next_port = 20000;
	server.status = status_of(c, instance, &at);
	if (at.incident && !strcmp(c->server, "cart") && instance == 2)
		us += 900000 + draw(600000);
	e = add_event(&server, at.us + (int64_t)wire / 2, us);
	e->traced = draw(4) == 0;
	for (size_t i = 0; i < sizeof(e->trace); i++)
		e->trace[i] = (uint8_t)draw(256);
	connect_ends(e, false,
		     client ? 256 + service_number(client)
			    : (unsigned)draw(200),
		     1024 + service_number(c->server), port);
	snprintf(edge, sizeof(edge), "edge %s%s%s %s/%s",
		 client ? space_of(client) : "", client ? "/" : "",
		 client ? client : "user", server.space, c->server);
	count(edge, server.status == 0 || server.status >= 500 ||
			    (client && server.status >= 400));
	if (client) {
		struct side side = { .space = space_of(client),
				     .service = client,
				     .method = c->method,
				     .route = NULL,
				     .address = address,
				     .instance = client_instance,
				     .status = server.status,
				     .role = ROLE_CLIENT };

		snprintf(address, sizeof(address), "%s.internal", c->server);
		connect_ends(add_event(&side, at.us, us + wire), true,
			     256 + service_number(client),
			     1024 + service_number(c->server), port);
	}
	return us + wire;
}

/* An address that no agent watches: the bank. */
static void ask_bank(struct moment at)
{
	struct side side = { .space = "billing",
			     .service = "payment",
			     .method = "POST",
			     .address = "api.bank.example",
			     .instance = (unsigned)draw(3),
			     .status = draw(100) < 2 ? 504 : 200,
			     .role = ROLE_CLIENT };

	connect_ends(add_event(&side, at.us, draw_us(65000)), true,
		     256 + service_number("payment"), 4000, next_port++);
	count("edge billing/payment api.bank.example", side.status >= 400);
}

static void open_shop(int64_t from_us, unsigned seconds)
{
	for (unsigned s = 0; s < seconds; s++) {
		double wave = 1 + 0.35 * sin((double)s / 140) +
			      0.1 * sin((double)s / 17);
		unsigned n = (unsigned)(9 * wave) + (unsigned)draw(3);
		struct moment at = { .incident = s + 260 > seconds };

		for (unsigned i = 0; i < n; i++) {
			uint64_t dice = draw(101), sum = 0;

			at.us = from_us + s * INT64_C(1000000) +
				(int64_t)draw(900000);
			for (size_t k = 0; k < N_CALLS && !calls[k].client;
			     k++) {
				sum += calls[k].share;
				if (dice < sum) {
					serve(NULL, 0, &calls[k], at);
					break;
				}
			}
			if (draw(16) == 0)
				ask_bank(at);
		}
		if (s % 10 == 9)
			for (unsigned i = 0; i < NODES; i++)
				write_batch(&nodes[i]);
	}
}

/* --- others --- */

static void open_wide(int64_t from_us, unsigned seconds, unsigned services,
		      unsigned routes)
{
	char service[32], route[48];

	for (unsigned s = 0; s < seconds; s += 10) {
		for (unsigned i = 0; i < services * routes; i++) {
			struct side side = { .space = "wide",
					     .service = service,
					     .method = "GET",
					     .route = route,
					     .instance = i / routes % NODES,
					     .status = draw(50) ? 200 : 500,
					     .role = ROLE_SERVER };

			snprintf(service, sizeof(service), "service-%04u",
				 i / routes);
			snprintf(route, sizeof(route), "/r%u/{id}", i % routes);
			add_event(&side,
				  from_us + s * INT64_C(1000000) +
					  (int64_t)draw(9000000),
				  draw_us(4000));
		}
		for (unsigned i = 0; i < NODES; i++)
			write_batch(&nodes[i]);
	}
}

static void open_names(int64_t from_us)
{
	static char longest[LIMIT_STRING_BYTES + 1];
	const char *const names[] = {
		"<img src=x onerror=alert(1)>",
		"\"><script>document.title='owned'</script>",
		"\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d \xe2\x80\xae evil",
		"\xd8\xae\xd8\xaf\xd9\x85\xd8\xa9",
		"a/b?c=d&e=f#g%20",
		longest,
	};

	memset(longest, 'n', LIMIT_STRING_BYTES);
	for (unsigned i = 0; i < 60; i++)
		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
			struct side side = { .space = k == 5 ? longest : "",
					     .service = names[k],
					     .method = "GET",
					     .route = names[k],
					     .instance = i % 2,
					     .status = i % 10 ? 200 : 500,
					     .role = ROLE_SERVER };

			add_event(&side, from_us + i * INT64_C(1000000),
				  draw_us(5000));
		}
	for (unsigned i = 0; i < NODES; i++)
		write_batch(&nodes[i]);
}

int main(int argc, char **argv)
{
	const struct trace_origin origin = { .created_by = "shop",
					     .source = "shop" };
	unsigned seconds = argc > 3 ? (unsigned)atoi(argv[3]) * 60 : 0;
	int64_t from_us;
	FILE *f;

	if (argc < 4)
		die("usage: shop FILE shop|wide|names|idle MINUTES [N [M]]");
	from_us = ((int64_t)time(NULL) - seconds -
		   (!strcmp(argv[2], "shop") && argc > 4 ? atoi(argv[4]) : 0)) /
		  10 * 10 * 1000000;
	f = fopen(argv[1], "w");
	if (!f || trace_writer_new(&writer, &origin, trace_to_file, f) < 0)
		die("cannot write the file");
	for (unsigned i = 0; i < NODES; i++)
		begin_node(&nodes[i], i);
	if (!strcmp(argv[2], "shop"))
		open_shop(from_us, seconds);
	else if (!strcmp(argv[2], "wide"))
		open_wide(from_us, seconds,
			  argc > 4 ? (unsigned)atoi(argv[4]) : 10,
			  argc > 5 ? (unsigned)atoi(argv[5]) : 10);
	else if (!strcmp(argv[2], "names"))
		open_names(from_us);
	else
		idle = true;
	for (unsigned i = 0; i < NODES; i++)
		write_batch(&nodes[i]);
	if (trace_end(writer) < 0 || fclose(f))
		die("cannot write the file");
	trace_writer_free(writer);
	for (size_t i = 0; i < n_tally; i++)
		printf("%s %llu %llu\n", tally[i].key,
		       (unsigned long long)tally[i].count,
		       (unsigned long long)tally[i].errors);
	printf("total %llu\n", (unsigned long long)total);
	return 0;
}
