/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_HTTP1_H
#define PROBE_AGENT_HTTP_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "probe-agent/http/exchange.h"

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
	struct slice host, traceparent, upgrade; /* empty: absent */
	uint64_t content_length; /* with HTTP1_FRAMING_LENGTH */
	uint16_t status; /* responses: 100 to 999 */
	uint8_t version; /* 10 or 11; a later 1.x is 11 */
	uint8_t framing; /* enum http1_framing */
	bool expect_continue;
	bool target_cut; /* partial parse: the request line has no end */
};

/*
 * Parses a whole head that begins at buf. Returns the number of its bytes with
 * the empty line; -EAGAIN: it does not end within len bytes, and is valid so
 * far; -EPROTO: not a head, whatever follows. *out is only valid with a number
 * of bytes.
 */
ssize_t http1_parse_request(const char *buf, size_t len,
			    struct http1_head *out);
ssize_t http1_parse_response(const char *buf, size_t len,
			     struct http1_head *out);

/*
 * Parses a head whose rest will never be seen. 0; -EPROTO: not even method and
 * start of the target (request), or the whole status (response), are there.
 * Framing is HTTP1_FRAMING_UNKNOWN unless seen.
 */
int http1_parse_request_cut(const char *buf, size_t len,
			    struct http1_head *out);
int http1_parse_response_cut(const char *buf, size_t len,
			     struct http1_head *out);

/*
 * Takes bytes that are no request, but stand where one was due and are answered
 * by a server: the first word as the method, the next one as the target; each
 * is empty if it is not there. Never fails.
 */
void http1_parse_request_odd(const char *buf, size_t len,
			     struct http1_head *out);

/*
 * Bytes of a line of the PROXY protocol (version 1) that buf begins with, with
 * its end. 0: none. -EAGAIN: it may be one, and does not end within len bytes.
 */
ssize_t http1_proxy_line(const char *buf, size_t len);

/*
 * Offset after the empty line that ends a head, searched from offset from; 0:
 * none.
 */
size_t http1_head_end(const char *buf, size_t len, size_t from);

/*
 * What the first bytes of a message are. EITHER: too short to tell, "H" could
 * be HEAD or HTTP/1.1.
 */
enum http1_kind {
	HTTP1_KIND_NEITHER,
	HTTP1_KIND_EITHER,
	HTTP1_KIND_REQUEST, /* a method token, and a space if len reaches it */
	HTTP1_KIND_RESPONSE, /* "HTTP/" */
};
enum http1_kind http1_kind(const char *buf, size_t len);

/*
 * True if buf begins with "PRI * HTTP/2.0", which identifies the HTTP/2
 * preface.
 */
bool http1_is_http2_preface(const char *buf, size_t len);

/*
 * Authority of an absolute-form target ("http://user@a:1/x" → "a:1"), or of
 * CONNECT's; empty if the target has none.
 */
struct slice http1_authority(struct slice method, struct slice target);

/* Position in a chunked body; all zero at its first byte. */
struct http1_chunked {
	uint64_t left; /* data bytes left of the chunk */
	uint8_t state;
};

/*
 * Consumes body bytes. Returns how many belong to the body: len if it goes on;
 * at most len, with *done set, if its last byte was among them; -EPROTO: these
 * are not chunks.
 */
ssize_t http1_chunked_feed(struct http1_chunked *ch, const char *buf,
			   size_t len, bool *done);

/*
 * Skips n bytes that were not seen. 0 if all of them were chunk data; -EPROTO:
 * the position in the coding is lost.
 */
int http1_chunked_skip(struct http1_chunked *ch, uint64_t n);

#endif /* PROBE_AGENT_HTTP_HTTP1_H */
