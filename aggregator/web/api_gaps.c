/* SPDX-License-Identifier: Apache-2.0 */
/* GET /api/v1/gaps: what is not captured or not counted, and why, by node. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/web/api.h"
#include "aggregator/web/api_ask.h"
#include "aggregator/web/api_json.h"
#include "common/clock.h"

#define ROWS_MAX 5000u
#define SKEW_US 1000000

enum severity {
	SEVERITY_LOSS, /* seen, and lost */
	SEVERITY_GAP, /* not seen */
	SEVERITY_NOTE,
	SEVERITIES,
};

static const char *const severity_name[SEVERITIES] = { "loss", "gap", "note" };

/* How much there is of it on a node; 0: nothing. detail may be filled in. */
typedef uint64_t gap_fn(const struct snapshot_agent *a, unsigned which,
			char *detail, size_t size);

static uint64_t gap_dropped(const struct snapshot_agent *a, unsigned stage,
			    char *detail, size_t size)
{
	(void)detail;
	(void)size;
	return a->dropped[stage];
}

static uint64_t gap_sequence(const struct snapshot_agent *a, unsigned which,
			     char *detail, size_t size)
{
	(void)detail;
	(void)size;
	return which ? a->dropped_expired : a->dropped_sequence_gap;
}

static uint64_t gap_counter(const struct snapshot_agent *a, unsigned counter,
			    char *detail, size_t size)
{
	(void)detail;
	(void)size;
	return a->counters[counter];
}

static uint64_t gap_down(const struct snapshot_agent *a, unsigned which,
			 char *detail, size_t size)
{
	(void)which;
	snprintf(detail, size, "last heard %lld s ago",
		 (long long)((clock_real_us() - a->last_seen_us) / 1000000));
	return !a->up;
}

static uint64_t gap_probes(const struct snapshot_agent *a, unsigned which,
			   char *detail, size_t size)
{
	uint64_t failed = 0;
	size_t at = 0;

	(void)which;
	for (size_t i = 0; i < a->n_probes; i++) {
		if (a->probe_attached[i])
			continue;
		failed++;
		if (at < size)
			at += (size_t)snprintf(detail + at, size - at, "%s%s",
					       at ? ", " : "", a->probes[i]);
	}
	return failed;
}

static uint64_t gap_skew(const struct snapshot_agent *a, unsigned which,
			 char *detail, size_t size)
{
	bool off = a->skew_us > SKEW_US || a->skew_us < -SKEW_US;

	(void)which;
	snprintf(detail, size, "%.1f s", (double)a->skew_us / 1e6);
	return off;
}

static uint64_t gap_conflicts(const struct snapshot_agent *a, unsigned which,
			      char *detail, size_t size)
{
	(void)detail;
	(void)size;
	return which ? a->refused : a->conflicts;
}

static uint64_t gap_rolled_up(const struct snapshot_agent *a, unsigned which,
			      char *detail, size_t size)
{
	(void)which;
	(void)detail;
	(void)size;
	return a->rolled_up;
}

static uint64_t gap_services(const struct snapshot_agent *a, unsigned reason,
			     char *detail, size_t size)
{
	(void)detail;
	(void)size;
	return a->gaps[reason];
}

#define AGENT_PAGE "docs/man/redtap-agent.8"
#define AGGREGATOR_PAGE "docs/man/redtap-aggregator.8"

static const struct gap {
	const char *code;
	enum severity severity;
	gap_fn *find;
	unsigned which;
	const char *title, *what, *advice, *doc;
} gaps[] = {
	{ "ring", SEVERITY_LOSS, gap_dropped, LOSS_RING,
	  "No room in the ring buffer",
	  "The kernel had requests faster than the agent took them, so their "
	  "beginnings were dropped.",
	  "Make capture.ring_bytes larger, or give the agent more CPU.",
	  AGENT_PAGE },
	{ "table", SEVERITY_LOSS, gap_dropped, LOSS_TABLE,
	  "Too many connections",
	  "More connections were open than the agent follows, and the oldest "
	  "idle ones were forgotten with their requests.",
	  "Raise capture.max_connections.", AGENT_PAGE },
	{ "buffer", SEVERITY_LOSS, gap_dropped, LOSS_BUFFER,
	  "No memory for request heads",
	  "Requests were given up because their heads or pipelines did not fit "
	  "into the agent's buffers.",
	  "Look for clients that send heads very slowly or pipeline thousands "
	  "of requests.",
	  AGENT_PAGE },
	{ "gap", SEVERITY_LOSS, gap_dropped, LOSS_GAP,
	  "Bytes that were not seen",
	  "Parts of a connection passed by unseen, so its requests could not be "
	  "told apart until the next one began.",
	  "A few are normal after the agent starts. Many: compare the capture "
	  "front-ends with redtap-agent check.",
	  AGENT_PAGE },
	{ "unseen", SEVERITY_LOSS, gap_dropped, LOSS_UNSEEN,
	  "Answers to requests that were not seen",
	  "Programs answered requests whose bytes moved out of the agent's "
	  "sight, so that nothing is known of them but their number.",
	  "Compare the capture front-ends with redtap-agent check, which lists "
	  "what this host's does not see.",
	  AGENT_PAGE },
	{ "outbox", SEVERITY_LOSS, gap_dropped, LOSS_OUTBOX,
	  "The agent's outbox was full",
	  "The aggregator was out of reach until the outbox was full, and the "
	  "agent dropped its oldest batches.",
	  "Raise outbox.cap_bytes, or keep it on disk; see why the aggregator "
	  "was away.",
	  AGENT_PAGE },
	{ "refused", SEVERITY_LOSS, gap_dropped, LOSS_REFUSED,
	  "Batches that the aggregator refused",
	  "The aggregator found these batches malformed or over a limit, and "
	  "their requests were lost.",
	  "Run agents and aggregator of one version; the aggregator's log has "
	  "the reason.",
	  AGGREGATOR_PAGE },
	{ "sequence_gap", SEVERITY_LOSS, gap_sequence, 0,
	  "Batches that never came",
	  "The agent numbered batches that never arrived here, for example "
	  "because its outbox was deleted.",
	  "Keep the outbox between restarts of the agent.", AGENT_PAGE },
	{ "expired_epoch", SEVERITY_LOSS, gap_sequence, 1,
	  "Batches of a start that is forgotten",
	  "Batches came so late that their agent's start had been retired.",
	  "Deliver outboxes within retention.raw_age_s.", AGGREGATOR_PAGE },
	{ "down", SEVERITY_GAP, gap_down, 0, "Agents that are down",
	  "Nothing was heard of these agents within three heartbeats: what "
	  "happens on their nodes is not seen.",
	  "See whether the node, the agent and the way to the ingest port are "
	  "up.",
	  AGENT_PAGE },
	{ "probes", SEVERITY_GAP, gap_probes, 0, "Probes that are not attached",
	  "These kernel programs failed to load or attach, so what they look at "
	  "is not seen.",
	  "redtap-agent check on that node tells what the kernel lacks.",
	  AGENT_PAGE },
	{ "conflict", SEVERITY_GAP, gap_conflicts, 0, "Two agents with one id",
	  "Batches were refused because a newer agent has the same id: only one "
	  "of the two is counted.",
	  "Give each node an id of its own with --node.", AGENT_PAGE },
	{ "http2_unwalked", SEVERITY_GAP, gap_counter, AGENT_H2_UNWALKED,
	  "Calls in HTTP/2 that were not followed",
	  "It was not known where in these calls a frame begins: their requests "
	  "are not counted.",
	  "Expected right after the agent starts, and where bytes move out of "
	  "sight (io_uring, unless the front-end is fentry).",
	  AGENT_PAGE },
	{ "http2_unknown", SEVERITY_NOTE, gap_counter, AGENT_H2_UNKNOWN_PATH,
	  "HTTP/2 requests without a route",
	  "Their paths refer to header fields that were sent before the agent "
	  "saw the connection, or in records that were lost.",
	  "It ends with the connection: clients that open new ones now and then "
	  "are seen whole.",
	  AGENT_PAGE },
	{ "tls_unknown", SEVERITY_GAP, gap_counter, AGENT_TLS_UNKNOWN,
	  "TLS whose connection is not known",
	  "A TLS library moved plain text that could not be matched with its "
	  "connection, so it is not inspected.",
	  "Programs that pump TLS through buffers of their own are not seen; "
	  "the manual lists which are.",
	  AGENT_PAGE },
	{ "tls_missed", SEVERITY_GAP, gap_counter, AGENT_TLS_MISSED,
	  "Short programs with TLS",
	  "These processes ended before the TLS library that they had loaded "
	  "was attached.",
	  "The next ones with the same library are seen from their start.",
	  AGENT_PAGE },
	{ "conn_full", SEVERITY_GAP, gap_counter, AGENT_CONN_FULL,
	  "The kernel's connection table was full",
	  "Connections were pushed out of the kernel's table and met anew at "
	  "their next call.",
	  "Raise capture.max_connections.", AGENT_PAGE },
	{ "read_faults", SEVERITY_GAP, gap_counter, AGENT_READ_FAULTS,
	  "Buffers that could not be read",
	  "Memory of a program was not present when the probe copied it.",
	  "A few are normal for programs that map files.", AGENT_PAGE },
	{ "malformed", SEVERITY_NOTE, gap_counter, AGENT_MALFORMED,
	  "Messages that began like HTTP and were not",
	  "The connection was given up as something else.",
	  "Nothing, unless it is your own service.", AGENT_PAGE },
	{ "orphans", SEVERITY_NOTE, gap_counter, AGENT_ORPHANS,
	  "Responses without a request",
	  "A response came whose request was not seen, as when the agent starts "
	  "in the middle of a connection.",
	  "Nothing, if their number stays where it is.", AGENT_PAGE },
	{ "upgraded", SEVERITY_NOTE, gap_counter, AGENT_UPGRADED,
	  "Connections that left HTTP",
	  "They upgraded to something else, like a WebSocket, or are a tunnel: "
	  "what follows is not HTTP.",
	  "Nothing: the request that upgraded is counted.", AGENT_PAGE },
	{ "routes_overflowed", SEVERITY_NOTE, gap_counter,
	  AGENT_ROUTES_OVERFLOWED, "Too many routes",
	  "A service has more routes than its budget: the rest shares one "
	  "overflow route.",
	  "Add templates to routes, or raise routes.cap.", AGENT_PAGE },
	{ "rolled_up", SEVERITY_NOTE, gap_rolled_up, 0,
	  "Requests without detail",
	  "The agent's outbox was full for a while: these are counted with "
	  "their durations, but cannot be listed one by one.",
	  "Raise outbox.cap_bytes.", AGENT_PAGE },
	{ "skew", SEVERITY_NOTE, gap_skew, 0, "Clocks that are off",
	  "The node's clock differs from the aggregator's by more than a "
	  "second. Beyond 15 s its requests are moved to our time.",
	  "Let the node's clock be set by NTP.", AGGREGATOR_PAGE },
	{ "tls_events_lost", SEVERITY_NOTE, gap_counter, AGENT_TLS_EVENTS_LOST,
	  "Program starts that were missed",
	  "Starts of programs came faster than they were read; all processes "
	  "were inspected instead.",
	  "Nothing.", AGENT_PAGE },
/* What agents find on their nodes; the count is of services. */
#define UNSEEN_FOUND(REASON, key, fronts, what, told, advice)                  \
	{ "service_" key,                                                      \
	  SEVERITY_GAP,                                                        \
	  gap_services,                                                        \
	  GAP_##REASON,                                                        \
	  what,                                                                \
	  "Services on the node that can't be read where they use: " what      \
	  ". redtap-agent check on that node lists them with their ports.",    \
	  "What helps: " advice ".",                                           \
	  AGENT_PAGE },
#include "proto/unseen.def"
};
#define N_GAPS (sizeof(gaps) / sizeof(gaps[0]))

struct row {
	const char *node;
	size_t gap;
	uint64_t count;
	char detail[160];
};

struct found {
	struct row *row;
	size_t n, cap;
	uint64_t total[N_GAPS];
	size_t order[N_GAPS], n_codes; /* codes that occur, worst first */
};

static int add_row(struct found *f, const struct snapshot_agent *a, size_t gap)
{
	struct row r = { .node = a->node, .gap = gap };

	r.count =
		gaps[gap].find(a, gaps[gap].which, r.detail, sizeof(r.detail));
	if (!r.count)
		return 0;
	f->total[gap] += r.count;
	if (f->n == ROWS_MAX)
		return 0;
	if (f->n == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 64;
		void *p = realloc(f->row, cap * sizeof(*f->row));

		if (!p)
			return -ENOMEM;
		f->row = p;
		f->cap = cap;
	}
	f->row[f->n++] = r;
	return 0;
}

static int compare_codes(const void *pa, const void *pb, void *arg)
{
	size_t a = *(const size_t *)pa, b = *(const size_t *)pb;
	const struct found *f = arg;

	if (gaps[a].severity != gaps[b].severity)
		return gaps[a].severity < gaps[b].severity ? -1 : 1;
	if (f->total[a] != f->total[b])
		return f->total[a] > f->total[b] ? -1 : 1;
	return a < b ? -1 : 1;
}

static int compare_rows(const void *pa, const void *pb)
{
	const struct row *a = pa, *b = pb;

	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	return strcmp(a->node, b->node);
}

static int find_gaps(struct found *f, const struct snapshot *s)
{
	int err = 0;

	for (size_t g = 0; g < N_GAPS; g++)
		for (size_t i = 0; i < s->n_agents && !err; i++)
			err = add_row(f, &s->agents[i], g);
	for (size_t g = 0; g < N_GAPS; g++)
		if (f->total[g])
			f->order[f->n_codes++] = g;
	qsort_r(f->order, f->n_codes, sizeof(f->order[0]), compare_codes, f);
	if (f->n)
		qsort(f->row, f->n, sizeof(*f->row), compare_rows);
	return err;
}

#define ROWS(key, put)                                                         \
	do {                                                                   \
		api_json_key(j, key);                                          \
		api_json_open(j, '[');                                         \
		for (size_t i = 0; i < f->n; i++) {                            \
			const struct row *r = &f->row[i];                      \
			put;                                                   \
		}                                                              \
		api_json_close(j, ']');                                        \
	} while (0)

#define CODES(key, field)                                                      \
	do {                                                                   \
		api_json_key(j, key);                                          \
		api_json_open(j, '[');                                         \
		for (size_t i = 0; i < f->n_codes; i++)                        \
			api_json_text(j, gaps[f->order[i]].field);             \
		api_json_close(j, ']');                                        \
	} while (0)

static void put_gaps(const struct found *f, struct api_json *j)
{
	api_json_key(j, "gaps");
	api_json_open(j, '{');
	ROWS("node", api_json_text(j, r->node));
	ROWS("code", api_json_text(j, gaps[r->gap].code));
	ROWS("severity",
	     api_json_text(j, severity_name[gaps[r->gap].severity]));
	ROWS("count", api_json_u64(j, r->count));
	ROWS("detail", api_json_text(j, *r->detail ? r->detail : NULL));
	api_json_close(j, '}');
	api_json_key(j, "codes");
	api_json_open(j, '{');
	CODES("code", code);
	CODES("title", title);
	CODES("what", what);
	CODES("advice", advice);
	CODES("doc", doc);
	api_json_close(j, '}');
}

unsigned api_gaps(struct api *a, const struct api_query *q, struct buf *out)
{
	const struct snapshot *s = a->opt.take(a->opt.arg);
	struct api_json j = { .out = out };
	struct found f = { .n = 0 };
	int err;

	(void)q;
	if (!s)
		return api_error(out, 503, "out of memory", NULL);
	err = find_gaps(&f, s);
	if (!err) {
		api_json_open(&j, '{');
		api_json_put_us(&j, "now", clock_real_us());
		api_json_put_u64(&j, "agents", s->n_agents);
		put_gaps(&f, &j);
		api_json_close(&j, '}');
		buf_putc(out, '\n');
		err = out->err;
	}
	free(f.row);
	a->opt.rele(s);
	return err < 0 ? api_failed(out, err) : 200;
}
