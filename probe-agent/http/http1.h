/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_HTTP1_H
#define PROBE_AGENT_HTTP_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "probe-agent/http/conn.h"

/*
 * HTTP/1 message heads and the chunked coding, as a bystander reads them: what
 * real peers accept is accepted (bare LF, obs-fold, blanks in a target), what
 * no peer would take for HTTP is not. Stateless, no allocation; the slices
 * borrow from the input. Any thread.
 */

#define HTTP1_METHOD_MAX 64 /* a longer token is not taken for a method */

enum http1_framing {
	HTTP1_FRAMING_NONE, /* neither length nor transfer coding given */
	HTTP1_FRAMING_LENGTH, /* content_length bytes */
	HTTP1_FRAMING_CHUNKED,
	/* Conflicting lengths, or a last coding other than chunked. */
	HTTP1_FRAMING_UNKNOWN,
};

struct http1_head {
	struct slice method, target; /* requests */
	struct slice host, traceparent; /* empty: absent */
	uint64_t content_length; /* with HTTP1_FRAMING_LENGTH */
	uint16_t status; /* responses: 100 to 599 */
	uint8_t version; /* 10 or 11; a later 1.x is 11 */
	uint8_t framing; /* enum http1_framing */
	bool expect_continue;
	bool target_cut; /* partial parse: the request line has no end */
};

/*
 * One whole head at buf, from its first byte. >0: bytes of the head with its
 * empty line; -EAGAIN: no end of head in len bytes, and what is there may
 * still become one; -EPROTO: not a head, whatever follows. *out says
 * something only with >0.
 */
ssize_t http1_parse_request(const char *buf, size_t len,
			    struct http1_head *out);
ssize_t http1_parse_response(const char *buf, size_t len,
			     struct http1_head *out);

/*
 * What can be said of a head whose rest will never be seen. 0, or -EPROTO if
 * not even method and start of the target (request), or the whole status
 * (response), are there. Framing is HTTP1_FRAMING_UNKNOWN unless seen.
 */
int http1_parse_request_cut(const char *buf, size_t len,
			    struct http1_head *out);
int http1_parse_response_cut(const char *buf, size_t len,
			     struct http1_head *out);

/* Offset behind the empty line that ends a head, searched from; 0: none. */
size_t http1_head_end(const char *buf, size_t len, size_t from);

/*
 * What the first bytes of a message are. EITHER: too short to tell, "H" could
 * be HEAD or HTTP/1.1.
 */
enum http1_kind {
	HTTP1_KIND_NEITHER,
	HTTP1_KIND_EITHER,
	HTTP1_KIND_REQUEST, /* a method token, then a space if that far */
	HTTP1_KIND_RESPONSE, /* "HTTP/" */
};
enum http1_kind http1_kind(const char *buf, size_t len);

/* True if buf begins with as much of the HTTP/2 preface as names it. */
bool http1_is_http2_preface(const char *buf, size_t len);

/*
 * Authority of an absolute-form target ("http://user@a:1/x" → "a:1"), or of
 * CONNECT's; empty if the target has none.
 */
struct slice http1_authority(struct slice method, struct slice target);

/* Where a chunked body stands. Zeroed is its first byte. */
struct http1_chunked {
	uint64_t left; /* data bytes left of the chunk */
	uint8_t state;
};

/*
 * Consumes body bytes. Returns how many belong to the body: len if it goes on,
 * less or equal with *done set if its last byte was among them; -EPROTO if
 * these are not chunks.
 */
ssize_t http1_chunked_feed(struct http1_chunked *ch, const char *buf,
			   size_t len, bool *done);

/*
 * Passes over n bytes that were not seen. 0 if all of them were chunk data,
 * -EPROTO if the place in the coding is lost.
 */
int http1_chunked_skip(struct http1_chunked *ch, uint64_t n);

/* What a bystander who saw only the last bytes of a chunked body knows. */
enum http1_tail {
	HTTP1_TAIL_UNKNOWN,
	HTTP1_TAIL_INSIDE, /* the body goes on */
	HTTP1_TAIL_BLANK_LINE, /* may end a trailer, or data with lines */
	HTTP1_TAIL_LAST_CHUNK, /* as good as sure: data can look like it */
};

/* last: the last eight bytes, the newest highest; 0 where not known. */
enum http1_tail http1_chunked_tail(uint64_t last);

#endif /* PROBE_AGENT_HTTP_HTTP1_H */
