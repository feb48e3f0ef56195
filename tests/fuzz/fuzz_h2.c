/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/http/hpack_window.h"
#include "tests/unit/probe-agent/http/h2_kernel.c"

/*
 * Input: a byte that says how, then calls: a byte for direction and length, or
 * two, and what they move. What our frames walker makes of them is fed to the
 * engine.
 *   bit 0     the connection is joined late
 *   bit 1     pieces get lost, by the input's bytes
 *   bits 2, 3 records hold 512, 64, 9 or 1 byte
 *   bit 4     little memory
 * Whatever comes, exchanges make sense and caps hold. And if nothing was lost
 * or wrong, cutting all calls in single bytes changes nothing.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LOG_MAX (64 * 1024)

struct run {
	struct h2_env *env;
	struct h2 *h;
	struct h2_kernel kernel;
	bool refused;
	size_t log_len;
	char log[LOG_MAX]; /* what came out, without times */
};

static void put(struct run *r, const void *data, size_t len)
{
	if (r->log_len + len > sizeof(r->log))
		return;
	memcpy(r->log + r->log_len, data, len);
	r->log_len += len;
}

static void on_exchange(void *owner, const struct h2_exchange *x)
{
	const struct slice texts[] = { x->method, x->target, x->host,
				       x->traceparent };
	struct run *r = owner;

	assert(x->stream > 0 && x->stream <= INT32_MAX);
	assert(x->outcome <= OUTCOME_TIMEOUT);
	assert(x->status == 0 || (x->status >= 100 && x->status <= 599));
	assert(x->rpc <= RPC_CONNECT);
	assert(x->rpc_status <= RPC_CODES && (x->rpc || !x->rpc_status));
	assert(x->end_ns >= x->start_ns);
	put(r, &x->stream, sizeof(x->stream));
	put(r, &x->outcome, sizeof(x->outcome));
	put(r, &x->status, sizeof(x->status));
	put(r, &x->rpc_status, 1);
	put(r, &x->request_bytes, sizeof(x->request_bytes));
	put(r, &x->response_bytes, sizeof(x->response_bytes));
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		assert(texts[i].len <= HPACK_VALUE_MAX_BYTES);
		put(r, texts[i].data, texts[i].len);
	}
}

static void on_tunnel(void *owner, const struct h2_tunnel *t)
{
	struct run *r = owner;

	assert(t->end_ns >= t->start_ns);
	put(r, &t->protocol, sizeof(t->protocol));
	put(r, &t->request_bytes, sizeof(t->request_bytes));
}

static void on_piece(void *arg, const struct h2_piece *p)
{
	struct run *r = arg;
	struct h2_stats s;

	if (!r->refused && h2_data(r->h, p))
		r->refused = true;
	h2_env_stats(r->env, &s);
	assert(s.bytes <= 1 << 20 && s.window_bytes <= 1 << 20);
}

/* One or two bytes: direction and length. Returns how many. */
static size_t read_call(const uint8_t *data, size_t size, int *dir, size_t *len)
{
	*dir = data[0] & 1;
	*len = data[0] >> 1;
	if (*len < 64 || size < 2)
		return 1;
	*len = (*len & 63) << 8 | data[1];
	return 2;
}

static void play(struct run *r, uint8_t how, size_t unit, const uint8_t *data,
		 size_t size)
{
	uint64_t now = 1;

	while (size > 0) {
		size_t len, n;
		int dir;

		n = read_call(data, size, &dir, &len);
		data += n;
		size -= n;
		if (len > size)
			len = size;
		r->kernel.lose = how & 2 && len % 5 == 0;
		for (size_t at = 0; at < len; at += n) {
			n = unit && len - at > unit ? unit : len - at;
			h2_kernel_call(&r->kernel, dir, data + at, n, now,
				       now + 1);
			now += 2;
		}
		data += len;
		size -= len;
	}
	for (int dir = 0; dir < 2; dir++)
		h2_moved(r->h, dir, h2_kernel_pos(&r->kernel, dir),
			 h2_kernel_seq(&r->kernel, dir), now);
	h2_close(r->h, OUTCOME_RESET, now);
}

/* Returns whether all was well with it. */
static bool run(struct run *r, uint8_t how, size_t unit, const uint8_t *data,
		size_t size)
{
	static const size_t pieces[] = { 512, 64, 9, 1 };
	static const uint32_t pos[2] = { UINT32_MAX - 40, 5 };
	enum h2_start start = how & 1 ? H2_START_JOINED : H2_START_PREFACE;
	struct h2_options opt = {
		.max_streams = 40,
		.max_bytes = how & 0x10 ? 12000 : 1 << 20,
		.max_window_bytes = how & 0x10 ? 600 : 1 << 20,
		.exchange = on_exchange,
		.tunnel = on_tunnel,
	};
	struct h2_stats s;
	bool well;

	r->log_len = 0;
	r->refused = false;
	r->kernel = (struct h2_kernel){
		.piece_max = pieces[how >> 2 & 3],
		.sink = on_piece,
		.arg = r,
	};
	if (h2_env_new(&r->env, &opt) || h2_new(&r->h, r->env, start, 0, r))
		abort();
	h2_kernel_connect(&r->kernel, start, 0, pos);
	play(r, how, unit, data, size);
	h2_env_stats(r->env, &s);
	assert(s.open_streams == 0);
	well = !r->refused && start == H2_START_PREFACE && !(how & 0x12) &&
	       !s.lost_buffer;
	for (int i = 0; i < H2_DESYNCS; i++)
		well = well && !s.desynced[i];
	h2_free(r->h);
	h2_env_stats(r->env, &s);
	assert(s.window_bytes == 0);
	h2_env_free(r->env);
	return well;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run whole, cut;

	if (!size)
		return 0;
	if (!run(&whole, data[0], 0, data + 1, size - 1))
		return 0;
	assert(run(&cut, data[0], 1, data + 1, size - 1));
	assert(whole.log_len == cut.log_len);
	assert(!memcmp(whole.log, cut.log, cut.log_len));
	return 0;
}
