/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/replay_streams.h"

#include <errno.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "proto/limits.h"
#include "proto/trace.h"

#define FNV_START UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)
#define NS_PER_S UINT64_C(1000000000)
#define US_PER_S 1000000
/* Generous: a heartbeat has a few KiB, a request some 10 bytes. */
#define FREE_BYTES (UINT64_C(16) << 20)
#define BYTES_PER_BATCH 16384u
#define BYTES_PER_REQUEST 1024u

static uint64_t hash_bytes(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * FNV_PRIME;
	return h;
}

/* Spreads differences in the last bytes over all bits. */
static uint64_t mix_hash(uint64_t h)
{
	h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
	h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ h >> 33;
}

uint64_t replay_streams_batch_requests(const struct batch *b)
{
	uint64_t n = b->events.n;

	for (size_t i = 0; i < b->rollups.n; i++)
		n += b->rollups.count[i];
	return n;
}

/* Earliest and latest end of a request, µs; base_us if there is none. */
static void span(const struct batch *b, int64_t *first, int64_t *last)
{
	int64_t start = b->base_us, end;

	*first = INT64_MAX;
	*last = INT64_MIN;
	for (size_t i = 0; i < b->events.n; i++) {
		start += b->events.start_delta_us[i];
		end = start + (int64_t)b->events.duration_us[i];
		*first = end < *first ? end : *first;
		*last = end > *last ? end : *last;
	}
	for (size_t i = 0; i < b->rollups.n; i++) {
		end = b->base_us + b->rollups.window_delta_s[i] * US_PER_S;
		*first = end < *first ? end : *first;
		end += (int64_t)WINDOW_SECONDS * US_PER_S - 1;
		*last = end > *last ? end : *last;
	}
	if (*first > *last)
		*first = *last = b->base_us;
}

int64_t replay_streams_batch_end_us(const struct batch *b)
{
	int64_t first, last;

	span(b, &first, &last);
	return last;
}

static int compare_streams(const void *a, const void *b)
{
	const struct replay_stream *x = a, *y = b;
	int order = strcmp(x->agent, y->agent);

	if (order != 0)
		return order;
	return x->epoch < y->epoch ? -1 : x->epoch > y->epoch;
}

struct replay_stream *replay_streams_find(const struct replay_streams *p,
					  const struct batch *b)
{
	struct replay_stream key = { .agent = (char *)(uintptr_t)b->agent,
				     .epoch = b->epoch };
	struct replay_stream **found = tfind(&key, &p->tree, compare_streams);

	return found ? *found : NULL;
}

static void free_stream(void *p)
{
	struct replay_stream *s = p;

	if (!s)
		return;
	free(s->agent);
	free(s->id);
	free(s);
}

static struct replay_stream *add_stream(struct replay_streams *p,
					const struct batch *b)
{
	struct replay_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->epoch = b->epoch;
	s->first_us = INT64_MAX;
	s->agent = strdup(b->agent);
	if (!s->agent || !tsearch(s, &p->tree, compare_streams)) {
		free_stream(s);
		return NULL;
	}
	p->n++;
	return s;
}

static int note(struct replay_streams *p, const struct batch *b,
		const void *data, size_t len)
{
	struct replay_stream *s = replay_streams_find(p, b);
	uint64_t n = replay_streams_batch_requests(b);
	int64_t first, last;

	p->digest = hash_bytes(p->digest, data, len);
	if (!s && p->n == REPLAY_STREAMS_MAX)
		return -E2BIG;
	if (!s)
		s = add_stream(p, b);
	if (!s)
		return -ENOMEM;
	p->batches++;
	s->batches++;
	if (n == 0)
		return 0;
	span(b, &first, &last);
	s->requests += n;
	p->requests += n;
	s->first_us = first < s->first_us ? first : s->first_us;
	p->first_us = first < p->first_us ? first : p->first_us;
	p->last_us = last > p->last_us ? last : p->last_us;
	return 0;
}

/*
 * Whether what was read so far, and len bytes more, is what its requests and
 * heartbeats may need: a few compressed KB can become any amount of nothing.
 */
static bool is_explained(struct replay_streams *p, size_t len)
{
	p->bytes += len;
	return p->bytes <= FREE_BYTES +
				   (p->batches + p->invalid) * BYTES_PER_BATCH +
				   p->requests * BYTES_PER_REQUEST;
}

static int scan(struct replay_streams *p, struct trace_reader *r)
{
	struct batch_arena *arena;
	const void *data;
	struct batch b;
	size_t len;
	int err = batch_arena_new(&arena);

	if (err)
		return err;
	while ((err = trace_read(r, &data, &len)) == 1) {
		if (!is_explained(p, len)) {
			err = -EFBIG;
			break;
		}
		err = batch_decode(arena, data, len, &b, NULL);
		if (!err)
			err = note(p, &b, data, len);
		else if (err == -EPROTO)
			err = 0, p->invalid++;
		if (err)
			break;
	}
	p->damage = trace_damage(r);
	batch_arena_free(arena);
	return p->damage ? 0 : err;
}

/* --- ids and epochs to send as --- */

struct naming {
	const char *as;
	bool several; /* agents */
	uint64_t digest;
	const struct replay_stream *before;
	int err;
};

/*
 * The new epoch is the second of the stream's first request, plus a hash of the
 * content in place of its nanoseconds. So files of one agent that follow each
 * other in time get epochs in the same order.
 */
static uint64_t make_epoch(const struct naming *n,
			   const struct replay_stream *s)
{
	uint64_t h = hash_bytes(n->digest, s->id, strlen(s->id) + 1);
	int64_t us =
		s->first_us == INT64_MAX || s->first_us < 0 ? 0 : s->first_us;

	h = mix_hash(hash_bytes(h, &s->epoch, sizeof(s->epoch)));
	return (uint64_t)(us / US_PER_S) * NS_PER_S + h % NS_PER_S + 1;
}

static void name_stream(struct naming *n, struct replay_stream *s)
{
	struct buf id = { 0 };

	buf_puts(&id, n->as ? n->as : s->agent);
	if (n->as && n->several)
		buf_printf(&id, "-%s", s->agent);
	if (!buf_str(&id))
		n->err = -ENOMEM;
	else if (id.len > LIMIT_AGENT_BYTES || id.len == 0)
		n->err = -EINVAL;
	if (n->err) {
		buf_fini(&id);
		return;
	}
	s->id = id.data;
	s->new_epoch = make_epoch(n, s);
	/* The epochs of one agent keep their order. */
	if (n->before && !strcmp(n->before->agent, s->agent) &&
	    s->new_epoch <= n->before->new_epoch)
		s->new_epoch = n->before->new_epoch + 1;
	n->before = s;
}

static void count_agents(const void *node, VISIT visit, void *arg)
{
	const struct replay_stream *s = *(struct replay_stream *const *)node;
	struct naming *n = arg;

	if (visit != postorder && visit != leaf)
		return;
	if (n->before && strcmp(n->before->agent, s->agent) != 0)
		n->several = true;
	n->before = s;
}

static void name_each(const void *node, VISIT visit, void *arg)
{
	struct replay_stream *s = *(struct replay_stream *const *)node;
	struct naming *n = arg;

	if ((visit == postorder || visit == leaf) && !n->err)
		name_stream(n, s);
}

int replay_streams_make(struct replay_streams *p, FILE *f, const char *as)
{
	struct naming n = { .as = as };
	struct trace_reader *r;
	int err;

	*p = (struct replay_streams){ .digest = FNV_START,
				      .first_us = INT64_MAX,
				      .last_us = INT64_MIN };
	err = trace_reader_new(&r, f);
	if (err)
		return err;
	err = scan(p, r);
	trace_reader_free(r);
	if (err)
		return err;
	if (p->first_us > p->last_us)
		p->first_us = p->last_us = 0;
	n.digest = p->digest;
	twalk_r(p->tree, count_agents, &n);
	n.before = NULL;
	twalk_r(p->tree, name_each, &n);
	return n.err;
}

void replay_streams_fini(struct replay_streams *p)
{
	tdestroy(p->tree, free_stream);
	p->tree = NULL;
}

int replay_streams_rewrite(const struct replay_stream *s, const struct batch *b,
			   const void *data, size_t len, int64_t shift_us,
			   void **out, size_t *out_len)
{
	struct batch head = {
		.agent = s->id,
		.epoch = s->new_epoch,
		.sequence = b->sequence,
		.first_sequence = s->told + 1,
		.base_us = b->base_us + shift_us,
	};

	return batch_put_head(&head, data, len, out, out_len);
}
