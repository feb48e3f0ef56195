/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_PROBE_AGENT_HTTP_H2_SCRIPT_H
#define TESTS_UNIT_PROBE_AGENT_HTTP_H2_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nghttp2/nghttp2.h>

#include "bpf/tap.h"
#include "common/buf.h"
#include "probe-agent/http/h2.h"
#include "probe-agent/http/h2_frame.h"
#include "tests/unit/probe-agent/http/h2_kernel.h"

/*
 * A conversation in HTTP/2, written down as calls, and played to h2.c as the
 * kernel side would hand it over: payload of DATA is not copied, calls that say
 * nothing make no piece. It can be played whole, or with calls cut anywhere.
 * What comes out is kept as one line of text per exchange.
 */

#define CLIENT TAP_RX /* requests are read: we watch the server */
#define SERVER TAP_TX

struct talk_call {
	int dir;
	uint8_t *data;
	size_t len;
	uint64_t wait_ns; /* before it */
};

struct talk {
	struct talk_call *calls;
	size_t n;
	nghttp2_hd_deflater *encoder[2];
	bool plain; /* header fields are literals, and not Huffman coded */
};

void talk_init(struct talk *t);
void talk_fini(struct talk *t);
/* A call that moves these bytes. */
void talk_call(struct talk *t, int dir, const void *data, size_t len);
/* The last two calls become one. */
void talk_join(struct talk *t);
void talk_wait(struct talk *t, uint64_t ns);
void talk_preface(struct talk *t);
void talk_frame(struct talk *t, int dir, uint8_t type, uint8_t flags,
		uint32_t stream, const void *payload, size_t len);
/* fields: "name: value\n" each. Length of the block; it is in out. */
size_t talk_block(struct talk *t, int dir, const char *fields, uint8_t *out,
		  size_t room);
/* One frame, with END_HEADERS and flags. */
void talk_headers(struct talk *t, int dir, uint8_t flags, uint32_t stream,
		  const char *fields);
/* The same in pieces of n bytes: HEADERS and CONTINUATION, a call each. */
void talk_headers_in(struct talk *t, int dir, uint8_t flags, uint32_t stream,
		     const char *fields, size_t n);
void talk_promise(struct talk *t, uint32_t stream, uint32_t promised,
		  const char *fields);
/* len bytes of DATA. */
void talk_data(struct talk *t, int dir, uint8_t flags, uint32_t stream,
	       size_t len);
void talk_reset(struct talk *t, int dir, uint32_t stream, uint32_t error);
void talk_goaway(struct talk *t, int dir, uint32_t last);

#define GET(path)                                                              \
	":method: GET\n:scheme: http\n:path: " path "\n:authority: a.test\n"
#define CALL(path)                                                             \
	":method: POST\n:scheme: http\n:path: " path "\n:authority: a.test\n"  \
	"content-type: application/grpc\nte: trailers\n"

struct player {
	struct h2_env *env;
	struct h2_options opt;
	struct h2 *h;
	struct buf lines;
	char *taken;
	struct h2_kernel kernel;
	size_t unit; /* calls have this many bytes at most; 0: any */
	size_t cut_call, cut_at; /* that call is two; SIZE_MAX: none */
	bool times; /* lines carry the times too */
	bool refused; /* h2_data() has wanted no more */
	uint64_t now_ns;
};

void player_init(struct player *p, const struct h2_options *opt);
void player_fini(struct player *p);
/* A new connection; the one before is dropped. */
void player_connect(struct player *p, enum h2_start start);
/* Plays calls [from, to) of t; SIZE_MAX: to the end. */
void player_play(struct player *p, const struct talk *t, size_t from,
		 size_t to);
void player_close(struct player *p, enum outcome outcome);
/* Lines so far; forgets them. Valid until the next call. */
const char *player_take(struct player *p);
struct h2_stats player_stats(const struct player *p);

#endif /* TESTS_UNIT_PROBE_AGENT_HTTP_H2_SCRIPT_H */
