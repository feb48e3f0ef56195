/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/pending.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Most requests fit one block, so that the hot path needs no malloc. */
#define BLOCK_BYTES 320u
#define SPARE_MAX 4096u
#define HEAD_BUF_FIRST_BYTES 512u

static void *env_alloc(struct stream_env *env, size_t size)
{
	void *p;

	if (size > env->max_bytes - env->used_bytes)
		return NULL;
	p = malloc(size);
	if (p)
		env->used_bytes += size;
	return p;
}

static struct pending *block_new(struct stream_env *env, size_t text)
{
	size_t size = sizeof(struct pending) + text;
	struct pending *p = env->spare;

	if (size <= BLOCK_BYTES && p) {
		env->spare = p->next;
		env->n_spare--;
	} else {
		if (size < BLOCK_BYTES)
			size = BLOCK_BYTES;
		p = env_alloc(env, size);
		if (!p)
			return NULL;
		p->size = (uint32_t)size;
	}
	size = p->size;
	memset(p, 0, sizeof(*p));
	p->size = (uint32_t)size;
	return p;
}

static void block_free(struct stream_env *env, struct pending *p)
{
	if (p->size == BLOCK_BYTES && env->n_spare < SPARE_MAX) {
		p->next = env->spare;
		env->spare = p;
		env->n_spare++;
		return;
	}
	env->used_bytes -= p->size;
	free(p);
}

void pending_free_spares(struct stream_env *env)
{
	while (env->spare) {
		struct pending *p = env->spare;

		env->spare = p->next;
		env->used_bytes -= p->size;
		free(p);
	}
	env->n_spare = 0;
}

static uint16_t put_slice(char **to, struct slice s, size_t max)
{
	size_t n = s.len < max ? s.len : max;

	if (n)
		memcpy(*to, s.data, n);
	*to += n;
	return (uint16_t)n;
}

static size_t at_most(size_t n, size_t max)
{
	return n < max ? n : max;
}

static bool method_is(struct slice m, const char *name, size_t n)
{
	return m.len == n && memcmp(m.data, name, n) == 0;
}

struct pending *pending_push(struct stream_env *env, struct conn *c,
			     const struct http1_head *h)
{
	struct slice host = http1_authority(h->method, h->target);
	struct pending *p;
	char *to;

	if (c->n_pending >= env->opt.max_pipelined)
		return NULL;
	if (host.len == 0)
		host = h->host;
	p = block_new(env, h->method.len +
				   at_most(h->target.len, TARGET_MAX_BYTES) +
				   at_most(host.len, HOST_MAX_BYTES) +
				   at_most(h->traceparent.len,
					   TRACEPARENT_MAX_BYTES));
	if (!p)
		return NULL;
	to = p->text;
	p->method_len = put_slice(&to, h->method, HTTP1_METHOD_MAX);
	p->target_len = put_slice(&to, h->target, TARGET_MAX_BYTES);
	p->host_len = put_slice(&to, host, HOST_MAX_BYTES);
	p->traceparent_len =
		put_slice(&to, h->traceparent, TRACEPARENT_MAX_BYTES);
	p->target_cut = h->target_cut || h->target.len > TARGET_MAX_BYTES;
	p->version = h->version;
	p->head = method_is(h->method, "HEAD", 4);
	p->connect = method_is(h->method, "CONNECT", 7);
	p->expect = h->expect_continue;
	p->response_end = POSITION_NONE;
	p->next = NULL;
	if (c->last)
		c->last->next = p;
	else
		c->first = p;
	c->last = p;
	c->n_pending++;
	return p;
}

void pending_drop(struct stream_env *env, struct conn *c)
{
	struct pending *p = c->first;

	c->first = p->next;
	if (!c->first)
		c->last = NULL;
	c->n_pending--;
	block_free(env, p);
}

void pending_drop_after(struct stream_env *env, struct conn *c,
			struct pending *prev)
{
	struct pending *p = prev ? prev->next : c->first;

	while (p) {
		struct pending *next = p->next;

		block_free(env, p);
		c->n_pending--;
		p = next;
	}
	if (prev)
		prev->next = NULL;
	else
		c->first = NULL;
	c->last = prev;
}

/* Bytes of [from, to) that lie before seen. */
static uint64_t moved(uint64_t from, uint64_t to, uint64_t seen)
{
	uint64_t end = to < seen ? to : seen;

	return end > from ? end - from : 0;
}

static uint64_t request_bytes(struct conn *c, const struct pending *p)
{
	uint64_t end = p->body_end;

	if (end == POSITION_NONE && p->next)
		end = p->next->start;
	return moved(p->body, end, requests(c)->seen);
}

void pending_finish(struct stream_env *env, struct conn *c,
		    enum outcome outcome, uint64_t end_ns)
{
	struct pending *p = c->first;
	struct exchange x = {
		.end = &c->end,
		.role = c->role,
		.outcome = outcome,
		.tls = c->tls,
		.version = p->version,
		.status = p->status,
		.target_cut = p->target_cut,
		.start_ns = p->start_ns,
		.first_byte_ns = p->first_byte_ns,
		.end_ns = end_ns > p->start_ns ? end_ns : p->start_ns,
		.request_bytes = request_bytes(c, p),
	};
	const char *t = p->text;

	if (p->status)
		x.response_bytes = moved(p->response_body, p->response_end,
					 responses(c)->seen);
	x.method = (struct slice){ t, p->method_len };
	t += p->method_len;
	x.target = (struct slice){ t, p->target_len };
	t += p->target_len;
	x.host = (struct slice){ t, p->host_len };
	t += p->host_len;
	x.traceparent = (struct slice){ t, p->traceparent_len };
	env->stats.exchanges++;
	if (env->opt.exchange)
		env->opt.exchange(env->opt.arg, &x);
	pending_drop(env, c);
}

void pending_lose(struct stream_env *env, struct conn *c)
{
	if (pending_was_sent(c, c->first))
		env->stats.lost_gap++;
	pending_drop(env, c);
}

void pending_lose_all(struct stream_env *env, struct conn *c)
{
	while (c->first)
		pending_lose(env, c);
	c->desync = false;
}

void pending_settle(struct stream_env *env, struct conn *c, uint64_t end_ns)
{
	struct pending *p = pending_answering(c);

	if (p && p->response_end <= responses(c)->seen)
		pending_finish(env, c, OUTCOME_COMPLETE, end_ns);
}

void pending_settle_unknown(struct stream_env *env, struct conn *c)
{
	if (pending_end_is_unknown(pending_answering(c)))
		pending_finish(env, c, OUTCOME_COMPLETE, responses(c)->seen_ns);
}

int head_buf_append(struct stream_env *env, struct direction *d, uint64_t pos,
		    uint64_t first_ns, const char *data, size_t len)
{
	struct head_buf *b = d->buf, *grown;
	size_t need = (b ? b->len : 0) + len;
	size_t cap = b ? b->cap : HEAD_BUF_FIRST_BYTES;

	if (need > HEAD_MAX_BYTES)
		return -ENOBUFS;
	while (cap < need)
		cap *= 2;
	if (!b || cap > b->cap) {
		grown = env_alloc(env, sizeof(*b) + cap);
		if (!grown)
			return -ENOBUFS;
		grown->pos = pos;
		grown->first_ns = first_ns;
		grown->len = 0;
		grown->call_start = false;
		grown->cap = (uint32_t)cap;
		if (b) {
			memcpy(grown, b, sizeof(*b) + b->len);
			grown->cap = (uint32_t)cap;
			head_buf_free(env, b);
		}
		d->buf = b = grown;
	}
	memcpy(b->data + b->len, data, len);
	b->len += (uint32_t)len;
	return 0;
}

void head_buf_free(struct stream_env *env, struct head_buf *b)
{
	if (!b)
		return;
	env->used_bytes -= sizeof(*b) + b->cap;
	free(b);
}

void head_buf_drop(struct stream_env *env, struct direction *d)
{
	head_buf_free(env, d->buf);
	d->buf = NULL;
}
