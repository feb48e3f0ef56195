/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/pending.h"

#include <string.h>

/* Most requests fit one block, so that the hot path needs no malloc. */
#define BLOCK_BYTES 320u
#define SPARE_MAX 4096u

/* A block that is kept for the next request. */
struct pending_spare {
	struct pending_spare *next;
};

#define METHOD_MAX 64u
#define TARGET_MAX 2048u
#define HOST_MAX 512u
#define TRACEPARENT_MAX 128u

static struct pending *block_new(struct conn_engine *e, size_t size)
{
	struct pending_spare *spare = e->spare;
	struct pending *p = (void *)spare;

	if (size <= BLOCK_BYTES) {
		size = BLOCK_BYTES;
		if (spare) {
			e->spare = spare->next;
			e->n_spare--;
		}
	}
	if (size > BLOCK_BYTES || !spare)
		p = conn_alloc(e, size);
	if (!p)
		return NULL;
	p->size = (uint32_t)size;
	return p;
}

void pending_free(struct conn_engine *e, struct pending *p)
{
	struct pending_spare *spare = (void *)p;

	if (p->size == BLOCK_BYTES && e->n_spare < SPARE_MAX) {
		spare->next = e->spare;
		e->spare = spare;
		e->n_spare++;
		return;
	}
	conn_release(e, p, p->size);
}

void pending_free_spares(struct conn_engine *e)
{
	while (e->spare) {
		struct pending_spare *spare = e->spare;

		e->spare = spare->next;
		conn_release(e, spare, BLOCK_BYTES);
	}
	e->n_spare = 0;
}

static uint16_t at_most(size_t len, size_t max)
{
	return (uint16_t)(len < max ? len : max);
}

static char *put_text(char *to, struct slice s, size_t len)
{
	if (len)
		memcpy(to, s.data, len);
	return to + len;
}

struct pending *pending_new(struct conn_engine *e, size_t own,
			    const struct slice text[PENDING_TEXTS])
{
	const uint16_t len[PENDING_TEXTS] = {
		at_most(text[PENDING_METHOD].len, METHOD_MAX),
		at_most(text[PENDING_TARGET].len, TARGET_MAX),
		at_most(text[PENDING_HOST].len, HOST_MAX),
		at_most(text[PENDING_TRACEPARENT].len, TRACEPARENT_MAX),
	};
	struct pending *p =
		block_new(e, own + len[0] + len[1] + len[2] + len[3]);
	char *to = (char *)p + own;

	if (!p)
		return NULL;
	p->own = (uint16_t)own;
	memcpy(p->len, len, sizeof(len));
	p->target_cut = len[PENDING_TARGET] < text[PENDING_TARGET].len;
	p->status = 0;
	p->first_byte_ns = 0;
	to = put_text(to, text[PENDING_METHOD], len[PENDING_METHOD]);
	to = put_text(to, text[PENDING_TARGET], len[PENDING_TARGET]);
	to = put_text(to, text[PENDING_HOST], len[PENDING_HOST]);
	put_text(to, text[PENDING_TRACEPARENT], len[PENDING_TRACEPARENT]);
	return p;
}

struct slice pending_text(const struct pending *p, enum pending_part which)
{
	const char *at = (const char *)p + p->own;

	for (size_t i = 0; i < (size_t)which; i++)
		at += p->len[i];
	return (struct slice){ at, p->len[which] };
}

static struct slice text_at(const char **at, size_t len)
{
	struct slice s = { *at, len };

	*at += len;
	return s;
}

void pending_report(struct conn_engine *e, const struct conn *c,
		    const struct pending *p, struct exchange *x)
{
	const char *at = (const char *)p + p->own;

	x->end = &c->end;
	x->role = c->role;
	x->tls = c->tls;
	x->version = p->version;
	x->status = p->status;
	x->method = text_at(&at, p->len[PENDING_METHOD]);
	x->target = text_at(&at, p->len[PENDING_TARGET]);
	x->target_cut = p->target_cut;
	x->host = text_at(&at, p->len[PENDING_HOST]);
	x->traceparent = text_at(&at, p->len[PENDING_TRACEPARENT]);
	x->start_ns = p->start_ns;
	x->first_byte_ns = p->first_byte_ns;
	if (x->end_ns < p->start_ns)
		x->end_ns = p->start_ns;
	conn_report(e, x);
}
