/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/probe-agent/http/h2_script.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CALL_NS 1000
#define FIELDS_MAX 64

/* --- what is said --- */

void talk_init(struct talk *t)
{
	memset(t, 0, sizeof(*t));
	for (int dir = 0; dir < 2; dir++)
		assert_int_equal(
			nghttp2_hd_deflate_new(&t->encoder[dir], 65536), 0);
}

void talk_fini(struct talk *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->calls[i].data);
	free(t->calls);
	for (int dir = 0; dir < 2; dir++)
		nghttp2_hd_deflate_del(t->encoder[dir]);
}

static struct talk_call *new_call(struct talk *t, int dir)
{
	struct talk_call *c;

	t->calls = realloc(t->calls, (t->n + 1) * sizeof(*t->calls));
	assert_non_null(t->calls);
	c = &t->calls[t->n++];
	*c = (struct talk_call){ .dir = dir };
	return c;
}

void talk_call(struct talk *t, int dir, const void *data, size_t len)
{
	struct talk_call *c = new_call(t, dir);

	c->data = malloc(len ? len : 1);
	assert_non_null(c->data);
	memcpy(c->data, data, len);
	c->len = len;
}

void talk_join(struct talk *t)
{
	struct talk_call *a = &t->calls[t->n - 2], *b = &t->calls[t->n - 1];

	assert_int_equal(a->dir, b->dir);
	a->data = realloc(a->data, a->len + b->len);
	assert_non_null(a->data);
	memcpy(a->data + a->len, b->data, b->len);
	a->len += b->len;
	free(b->data);
	t->n--;
}

void talk_wait(struct talk *t, uint64_t ns)
{
	new_call(t, CLIENT)->wait_ns = ns;
}

void talk_preface(struct talk *t)
{
	talk_call(t, CLIENT, H2_PREFACE, H2_PREFACE_BYTES);
	talk_frame(t, CLIENT, H2_SETTINGS, 0, 0, "\0\3\0\0\0\x64", 6);
	talk_join(t);
	talk_frame(t, SERVER, H2_SETTINGS, 0, 0, "", 0);
	talk_frame(t, SERVER, H2_SETTINGS, H2_FLAG_ACK, 0, "", 0);
	talk_frame(t, CLIENT, H2_SETTINGS, H2_FLAG_ACK, 0, "", 0);
}

void talk_frame(struct talk *t, int dir, uint8_t type, uint8_t flags,
		uint32_t stream, const void *payload, size_t len)
{
	uint8_t *f = calloc(1, H2_HEAD_BYTES + len);

	assert_non_null(f);
	for (int i = 0; i < 3; i++)
		f[i] = (uint8_t)(len >> (16 - 8 * i));
	f[3] = type;
	f[4] = flags;
	for (int i = 0; i < 4; i++)
		f[5 + i] = (uint8_t)(stream >> (24 - 8 * i));
	if (payload)
		memcpy(f + H2_HEAD_BYTES, payload, len);
	talk_call(t, dir, f, H2_HEAD_BYTES + len);
	free(f);
}

static size_t put_plain(uint8_t *out, const char *s, size_t len)
{
	assert_true(len < 127);
	out[0] = (uint8_t)len;
	memcpy(out + 1, s, len);
	return 1 + len;
}

size_t talk_block(struct talk *t, int dir, const char *fields, uint8_t *out,
		  size_t room)
{
	nghttp2_nv nv[FIELDS_MAX];
	size_t n = 0, len = 0;
	ssize_t made;

	while (*fields) {
		const char *end = strchr(fields, '\n');
		const char *colon = strchr(fields + 1, ':');

		assert_true(end && colon && colon < end && n < FIELDS_MAX);
		nv[n++] = (nghttp2_nv){
			.name = (uint8_t *)(uintptr_t)fields,
			.namelen = (size_t)(colon - fields),
			.value = (uint8_t *)(uintptr_t)(colon + 2),
			.valuelen = (size_t)(end - colon - 2),
		};
		fields = end + 1;
	}
	for (size_t i = 0; t->plain && i < n; i++) {
		out[len++] = 0;
		len += put_plain(out + len, (char *)nv[i].name, nv[i].namelen);
		len += put_plain(out + len, (char *)nv[i].value,
				 nv[i].valuelen);
		assert_true(len < room);
	}
	if (t->plain)
		return len;
	made = nghttp2_hd_deflate_hd(t->encoder[dir], out, room, nv, n);
	assert_true(made >= 0);
	return (size_t)made;
}

void talk_headers(struct talk *t, int dir, uint8_t flags, uint32_t stream,
		  const char *fields)
{
	uint8_t block[8192];
	size_t n = talk_block(t, dir, fields, block, sizeof(block));

	talk_frame(t, dir, H2_HEADERS, flags | H2_FLAG_END_HEADERS, stream,
		   block, n);
}

void talk_headers_in(struct talk *t, int dir, uint8_t flags, uint32_t stream,
		     const char *fields, size_t n)
{
	uint8_t block[8192];
	size_t len = talk_block(t, dir, fields, block, sizeof(block));

	for (size_t at = 0; at < len; at += n) {
		size_t piece = len - at < n ? len - at : n;
		uint8_t last = at + n >= len ? H2_FLAG_END_HEADERS : 0;

		talk_frame(t, dir, at ? H2_CONTINUATION : H2_HEADERS,
			   at ? last : flags | last, stream, block + at, piece);
	}
}

void talk_promise(struct talk *t, uint32_t stream, uint32_t promised,
		  const char *fields)
{
	uint8_t payload[4096] = { 0, 0, (uint8_t)(promised >> 8),
				  (uint8_t)promised };
	size_t n =
		talk_block(t, SERVER, fields, payload + 4, sizeof(payload) - 4);

	talk_frame(t, SERVER, H2_PUSH_PROMISE, H2_FLAG_END_HEADERS, stream,
		   payload, 4 + n);
}

void talk_data(struct talk *t, int dir, uint8_t flags, uint32_t stream,
	       size_t len)
{
	talk_frame(t, dir, H2_DATA, flags, stream, NULL, len);
}

void talk_reset(struct talk *t, int dir, uint32_t stream, uint32_t error)
{
	uint8_t payload[4] = { 0, 0, 0, (uint8_t)error };

	talk_frame(t, dir, H2_RST_STREAM, 0, stream, payload, 4);
}

void talk_goaway(struct talk *t, int dir, uint32_t last)
{
	uint8_t payload[8] = { (uint8_t)(last >> 24), (uint8_t)(last >> 16),
			       (uint8_t)(last >> 8), (uint8_t)last };

	talk_frame(t, dir, H2_GOAWAY, 0, 0, payload, 8);
}

/* --- what comes out --- */

static void put_slice(struct buf *b, const char *before, struct slice s)
{
	if (!s.len)
		return;
	buf_puts(b, before);
	buf_append(b, s.data, s.len);
}

/* "1 GET /x 200 complete 0 5 host=a\n", the last numbers being body bytes. */
static void on_exchange(void *owner, const struct h2_exchange *x)
{
	static const char *const outcomes[] = {
		[OUTCOME_COMPLETE] = "complete",
		[OUTCOME_ABORTED] = "aborted",
		[OUTCOME_RESET] = "reset",
		[OUTCOME_TIMEOUT] = "timeout",
	};
	static const char *const systems[] = { "", " grpc=", " connect=" };
	struct player *p = owner;
	struct buf *b = &p->lines;

	assert_true(x->outcome < sizeof(outcomes) / sizeof(*outcomes));
	assert_true(x->end_ns >= x->start_ns);
	buf_printf(b, "%u ", x->stream);
	buf_append(b, x->method.data, x->method.len);
	put_slice(b, " ", x->target);
	if (x->target_cut)
		buf_puts(b, "...");
	buf_printf(b, " %u %s %" PRIu64 " %" PRIu64, x->status,
		   outcomes[x->outcome], x->request_bytes, x->response_bytes);
	put_slice(b, " host=", x->host);
	put_slice(b, " trace=", x->traceparent);
	buf_puts(b, systems[x->rpc]);
	if (x->rpc && x->rpc_status)
		buf_printf(b, "%u", x->rpc_status - 1);
	else if (x->rpc)
		buf_puts(b, "?");
	if (p->times)
		buf_printf(b, " %" PRIu64 "+%" PRIu64 "+%" PRIu64, x->start_ns,
			   x->first_byte_ns ? x->first_byte_ns - x->start_ns
					    : 0,
			   x->end_ns - x->start_ns);
	buf_putc(b, '\n');
	assert_int_equal(b->err, 0);
}

static void on_tunnel(void *owner, const struct h2_tunnel *t)
{
	static const char *const protocols[] = { "connect", "websocket",
						 "other" };
	struct player *p = owner;

	buf_printf(&p->lines, "tunnel %s %" PRIu64 " %" PRIu64,
		   protocols[t->protocol], t->request_bytes, t->response_bytes);
	if (p->times)
		buf_printf(&p->lines, " %" PRIu64 "+%" PRIu64, t->start_ns,
			   t->end_ns - t->start_ns);
	buf_putc(&p->lines, '\n');
}

/* --- what is played --- */

static void on_piece(void *arg, const struct h2_piece *piece)
{
	struct player *p = arg;

	if (!p->refused && h2_data(p->h, piece))
		p->refused = true;
}

void player_init(struct player *p, const struct h2_options *opt)
{
	memset(p, 0, sizeof(*p));
	if (opt)
		p->opt = *opt;
	p->opt.exchange = on_exchange;
	p->opt.tunnel = on_tunnel;
	p->kernel.piece_max = TAP_PIECE_MAX;
	p->kernel.sink = on_piece;
	p->kernel.arg = p;
	p->cut_call = SIZE_MAX;
	p->now_ns = CALL_NS;
	assert_int_equal(h2_env_new(&p->env, &p->opt), 0);
}

void player_fini(struct player *p)
{
	struct h2_stats s;

	h2_free(p->h);
	h2_env_stats(p->env, &s);
	assert_int_equal(s.open_streams, 0);
	assert_int_equal(s.window_bytes, 0);
	h2_env_free(p->env);
	buf_fini(&p->lines);
	free(p->taken);
}

void player_connect(struct player *p, enum h2_start start)
{
	/* Positions wrap in most tests. */
	static const uint32_t pos[2] = { 0u - 300, 0u - 70 };

	h2_free(p->h);
	h2_kernel_connect(&p->kernel, start, CLIENT, pos);
	p->refused = false;
	assert_int_equal(h2_new(&p->h, p->env, start, CLIENT, p), 0);
}

static void play_bytes(struct player *p, int dir, const uint8_t *data,
		       size_t len)
{
	h2_kernel_call(&p->kernel, dir, data, len, p->now_ns,
		       p->now_ns + CALL_NS / 2);
	p->now_ns += CALL_NS;
}

static void play_call(struct player *p, const struct talk_call *c, bool cut)
{
	size_t unit = p->unit ? p->unit : c->len;

	p->now_ns += c->wait_ns;
	for (size_t at = 0; at < c->len; at += unit) {
		size_t n = c->len - at < unit ? c->len - at : unit;

		if (cut && p->cut_at < n) {
			play_bytes(p, c->dir, c->data + at, p->cut_at);
			play_bytes(p, c->dir, c->data + at + p->cut_at,
				   n - p->cut_at);
		} else {
			play_bytes(p, c->dir, c->data + at, n);
		}
	}
}

void player_play(struct player *p, const struct talk *t, size_t from, size_t to)
{
	for (size_t i = from; i < t->n && i < to; i++)
		play_call(p, &t->calls[i], i == p->cut_call);
}

void player_close(struct player *p, enum outcome outcome)
{
	for (int dir = 0; dir < 2; dir++)
		h2_moved(p->h, dir, h2_kernel_pos(&p->kernel, dir),
			 h2_kernel_seq(&p->kernel, dir), p->now_ns);
	h2_close(p->h, outcome, p->now_ns);
	h2_free(p->h);
	p->h = NULL;
}

const char *player_take(struct player *p)
{
	free(p->taken);
	p->taken = strdup(buf_str(&p->lines));
	assert_non_null(p->taken);
	buf_reset(&p->lines);
	return p->taken;
}

struct h2_stats player_stats(const struct player *p)
{
	struct h2_stats s;

	h2_env_stats(p->env, &s);
	return s;
}
