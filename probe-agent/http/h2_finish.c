/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/h2_state.h"

/* How streams end, and what is reported then. */

/* Evidence of a request and its answer: if they are HTTP/2, they are lost. */
#define HINT_BITS 24

/* The code that the answer ended with, + 1; 0: not known. */
static uint8_t rpc_status(const struct h2_stream *s)
{
	int code;

	if (s->code || !s->body)
		return s->code;
	code = grpc_body_status(s->body);
	return code < 0 ? 0 : (uint8_t)(code + 1);
}

static void count_unknown(struct h2_stats *stats, const struct h2_stream *s,
			  enum outcome outcome)
{
	uint8_t unknown = s->unknown;

	if (s->kind || (s->status && s->status != 200))
		unknown &= (uint8_t) ~(1u << H2_UNKNOWN_CONTENT_TYPE);
	if (s->kind != GRPC_PLAIN || outcome != OUTCOME_COMPLETE ||
	    rpc_status(s))
		unknown &= (uint8_t) ~(1u << H2_UNKNOWN_GRPC_STATUS);
	for (int i = 0; i < H2_UNKNOWNS; i++)
		stats->unknown[i] += unknown >> i & 1;
}

static void report(struct h2 *h, struct h2_stream *s, enum outcome outcome,
		   uint64_t end_ns)
{
	struct h2_stats *stats = &h->env->stats;
	struct h2_exchange x = {
		.stream = s->id,
		.outcome = outcome,
		.status = s->status,
		.rpc = grpc_system_of(s->kind),
		.target_cut = s->target_cut,
		.method = h2_stream_text(s, H2_TEXT_METHOD),
		.target = h2_stream_text(s, H2_TEXT_TARGET),
		.host = h2_stream_text(s, H2_TEXT_HOST),
		.traceparent = h2_stream_text(s, H2_TEXT_TRACEPARENT),
		.start_ns = s->start_ns,
		.first_byte_ns = s->first_byte_ns,
		.end_ns = end_ns > s->start_ns ? end_ns : s->start_ns,
		.request_bytes = s->request_bytes,
		.response_bytes = s->response_bytes,
	};

	if (x.rpc)
		x.rpc_status = rpc_status(s);
	count_unknown(stats, s, outcome);
	stats->exchanges++;
	if (h->env->opt.exchange)
		h->env->opt.exchange(h->owner, &x);
}

static void forget_stream(struct h2 *h, struct h2_stream *s)
{
	if (h->proved && s->requested && !s->tunnel)
		h->env->stats.open_streams--;
	h2_stream_remove(h, s);
}

void h2_finish(struct h2 *h, struct h2_stream *s, enum outcome outcome,
	       uint64_t end_ns)
{
	if (!h->proved) {
		s->held = true;
		s->outcome = (uint8_t)outcome;
		s->end_ns = end_ns;
		return;
	}
	report(h, s, outcome, end_ns);
	forget_stream(h, s);
}

void h2_finish_tunnel_begins(struct h2 *h, struct h2_stream *s,
			     uint64_t time_ns)
{
	if (h->proved) {
		report(h, s, OUTCOME_COMPLETE, time_ns);
		h->env->stats.open_streams--;
		h->env->stats.tunnels++;
	}
	s->tunnel = true;
	s->end_ns = time_ns;
}

void h2_finish_tunnel_ends(struct h2 *h, struct h2_stream *s, uint64_t time_ns)
{
	struct h2_tunnel t = {
		.protocol = s->protocol,
		.start_ns = s->end_ns,
		.end_ns = time_ns,
		.request_bytes = s->request_bytes,
		.response_bytes = s->response_bytes,
	};

	if (!h->proved) {
		/* Its CONNECT is an exchange all the same. */
		s->tunnel = false;
		s->held = true;
		return;
	}
	if (h->env->opt.tunnel)
		h->env->opt.tunnel(h->owner, &t);
	h2_stream_remove(h, s);
}

/* Nothing more will come of it, and its request was not seen. */
void h2_finish_orphan(struct h2 *h, struct h2_stream *s)
{
	h->env->stats.orphans += h->proved;
	h->halves--;
	h2_stream_remove(h, s);
}

/* --- proof --- */

static void report_held(struct h2 *h, struct h2_stream *s, void *arg)
{
	(void)arg;
	if (s->requested)
		h->env->stats.open_streams++;
	if (s->held) {
		report(h, s, s->outcome, s->end_ns);
		forget_stream(h, s);
	} else if (s->tunnel) {
		h2_finish_tunnel_begins(h, s, s->end_ns);
	}
}

void h2_finish_proved(struct h2 *h)
{
	if (h->proved)
		return;
	h->proved = true;
	h->env->stats.connections++;
	h->env->stats.joined += h->joined;
	h2_stream_each(h, report_held, NULL);
}

static void drop_doubtful(struct h2 *h, struct h2_stream *s, void *arg)
{
	(void)arg;
	if (!s->doubtful || s->tunnel || s->held)
		return;
	if (!s->requested) {
		h2_finish_orphan(h, s);
		return;
	}
	h->env->stats.lost_gap += h->proved;
	forget_stream(h, s);
}

/* What ends a stream before its response has. */
struct end_reason {
	enum outcome outcome;
	uint64_t time_ns;
	uint32_t above; /* only streams with a higher number */
	uint32_t parity; /* only streams that are even (0) or odd (1) */
};

static void stop(struct h2 *h, struct h2_stream *s,
		 const struct end_reason *why)
{
	if (s->held)
		return;
	if (s->tunnel)
		h2_finish_tunnel_ends(h, s, why->time_ns);
	else if (!s->requested)
		h2_finish_orphan(h, s);
	else
		h2_finish(h, s, why->outcome, why->time_ns);
}

void h2_finish_reset(struct h2 *h, int dir, uint32_t id, uint64_t time_ns)
{
	struct h2_stream *s = h2_stream_find(h, id);
	struct end_reason why = {
		.outcome =
			dir == h->request_dir ? OUTCOME_ABORTED : OUTCOME_RESET,
		.time_ns = time_ns,
	};

	if (s && h->request_dir != H2_DIR_UNKNOWN)
		stop(h, s, &why);
}

static void stop_above(struct h2 *h, struct h2_stream *s, void *arg)
{
	const struct end_reason *why = arg;

	if (s->id > why->above && (s->id & 1) == why->parity)
		stop(h, s, why);
}

void h2_finish_goaway(struct h2 *h, int dir, uint32_t last, uint64_t time_ns)
{
	struct end_reason why = {
		.outcome = OUTCOME_ABORTED,
		.time_ns = time_ns,
		.above = last,
		.parity = dir != h->request_dir,
	};

	if (h->request_dir != H2_DIR_UNKNOWN)
		h2_stream_each(h, stop_above, &why);
}

static void stop_any(struct h2 *h, struct h2_stream *s, void *arg)
{
	if (s->doubtful && s->requested && !s->tunnel && !s->held) {
		h->env->stats.lost_gap += h->proved;
		forget_stream(h, s);
	} else {
		stop(h, s, arg);
	}
}

static void count_requests(struct h2 *h, struct h2_stream *s, void *arg)
{
	(void)arg;
	h->env->stats.lost_gap += s->requested;
}

void h2_finish_all(struct h2 *h, enum outcome outcome, uint64_t time_ns)
{
	struct end_reason why = { .outcome = outcome, .time_ns = time_ns };

	if (h->proved)
		h2_stream_each(h, stop_any, &why);
	else if (h->evidence >= HINT_BITS)
		h2_stream_each(h, count_requests, NULL);
	h2_stream_free_all(h);
	h->halves = 0;
}

static void lose(struct h2 *h, struct h2_stream *s, void *arg)
{
	(void)arg;
	if (s->requested && !s->tunnel)
		h->env->stats.lost_gap++;
	forget_stream(h, s);
}

void h2_finish_lost(struct h2 *h)
{
	if (h->proved)
		h2_stream_each(h, lose, NULL);
	h2_stream_free_all(h);
	h->halves = 0;
}

static void doubt(struct h2 *h, struct h2_stream *s, void *arg)
{
	(void)h;
	(void)arg;
	s->doubtful = true;
}

void h2_finish_doubt(struct h2 *h)
{
	h2_stream_each(h, doubt, NULL);
}

void h2_finish_doubtful(struct h2 *h)
{
	h2_stream_each(h, drop_doubtful, NULL);
}
