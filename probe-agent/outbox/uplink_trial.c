/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "probe-agent/outbox/uplink_state.h"
#include "proto/limits.h"

/*
 * A conversation with the aggregator by hand, since nng only says that there is
 * none. Each step blocks for at most SLICE_MS before it looks at *quit.
 */

#define STEP_MS 5000u
#define SLICE_MS 100
#define HELLO_BYTES 8u
#define HEAD_BYTES                                                             \
	12u /* of a message: its length, the number of the request             \
	     */
#define REQUEST_ID 0x80000001u

struct trial {
	const struct uplink_options *opt;
	const struct token *token;
	const char *node;
	const atomic_bool *quit;
	struct uplink_trial *out;
	bool secure;
	char host[256], port[8];
	int fd;
	struct uplink_trial_tls *tls;
	uint64_t until_ns; /* of the step */
};

int uplink_trial_fail(struct uplink_trial *t, enum uplink_step step,
		      const char *advice, const char *fmt, ...)
{
	va_list ap;

	t->failed = step;
	snprintf(t->advice, sizeof(t->advice), "%s", advice);
	va_start(ap, fmt);
	vsnprintf(t->cause, sizeof(t->cause), fmt, ap);
	va_end(ap);
	return -EPROTO;
}

static void begin_step(struct trial *t)
{
	t->until_ns = clock_mono_ns() + STEP_MS * CLOCK_NS_PER_MS;
}

static bool step_is_over(const struct trial *t)
{
	return clock_mono_ns() >= t->until_ns ||
	       (t->quit && atomic_load(t->quit));
}

/* --- the address --- */

static int read_url(struct trial *t)
{
	static const char advice[] =
		"write tcp://HOST:PORT or tls+tcp://HOST:PORT";
	const char *url = t->opt->url, *host, *colon;
	size_t len;

	t->secure = strncasecmp(url, "tls+tcp://", 10) == 0;
	if (!t->secure && strncasecmp(url, "tcp://", 6) != 0)
		return uplink_trial_fail(t->out, UPLINK_SETUP, advice,
					 "not an address: %s", url);
	host = strstr(url, "://") + 3;
	colon = strrchr(host, ':');
	len = colon ? (size_t)(colon - host) : 0;
	if (len == 0 || !colon[1] || strlen(colon + 1) >= sizeof(t->port) ||
	    strspn(colon + 1, "0123456789") != strlen(colon + 1))
		return uplink_trial_fail(t->out, UPLINK_SETUP, advice,
					 "no host or no port in %s", url);
	if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	}
	if (len >= sizeof(t->host))
		return uplink_trial_fail(t->out, UPLINK_SETUP, advice,
					 "the host's name is too long");
	memcpy(t->host, host, len);
	t->host[len] = '\0';
	strcpy(t->port, colon + 1);
	return 0;
}

/* What glibc's resolver needs until it is done with it, or for good. */
struct query {
	struct gaicb cb;
	struct addrinfo hints;
	char host[256], port[8];
};

/*
 * Waits for a resolver of its own thread, which does not end on demand: what it
 * still uses after a stop is left to it.
 */
static int resolve(struct trial *t, struct addrinfo **out)
{
	struct query *q = calloc(1, sizeof(*q));
	struct gaicb *list[1];
	const struct timespec slice = { .tv_nsec = SLICE_MS * 1000000L };
	int code = 0;

	if (!q)
		return -ENOMEM;
	q->hints.ai_socktype = SOCK_STREAM;
	strcpy(q->host, t->host);
	strcpy(q->port, t->port);
	q->cb.ar_name = q->host;
	q->cb.ar_service = q->port;
	q->cb.ar_request = &q->hints;
	list[0] = &q->cb;
	begin_step(t);
	code = getaddrinfo_a(GAI_NOWAIT, list, 1, NULL);
	while (!code && gai_error(&q->cb) == EAI_INPROGRESS && !step_is_over(t))
		gai_suspend((const struct gaicb *const *)list, 1, &slice);
	if (!code)
		code = gai_error(&q->cb);
	if (code == EAI_INPROGRESS) {
		if (gai_cancel(&q->cb) == EAI_CANCELED)
			free(q);
		return uplink_trial_fail(t->out, UPLINK_NAME,
					 "is the name server reachable?",
					 "no answer for the name %s", t->host);
	}
	*out = code ? NULL : q->cb.ar_result;
	free(q);
	if (code)
		return uplink_trial_fail(t->out, UPLINK_NAME,
					 "check the name of the host", "%s: %s",
					 t->host, gai_strerror(code));
	return 0;
}

/* --- the connection --- */

static void note_address(struct trial *t, const struct addrinfo *a)
{
	char host[48], port[8];

	if (getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof(host), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		return;
	snprintf(t->out->address, sizeof(t->out->address),
		 a->ai_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

/* The descriptor, or a negative errno. */
static int connect_one(struct trial *t, const struct addrinfo *a)
{
	const struct timeval slice = { .tv_usec = SLICE_MS * 1000 };
	struct pollfd p = { .events = POLLOUT };
	int err = -ETIMEDOUT, ready = 0;
	socklen_t len = sizeof(err);

	p.fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		      0);
	if (p.fd < 0)
		return -errno;
	if (connect(p.fd, a->ai_addr, a->ai_addrlen) < 0 &&
	    errno != EINPROGRESS) {
		err = -errno;
		close(p.fd);
		return err;
	}
	while (ready <= 0 && !step_is_over(t))
		ready = poll(&p, 1, SLICE_MS);
	if (ready > 0 && getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &err, &len))
		err = errno;
	err = ready > 0 ? -err : -ETIMEDOUT;
	if (err) {
		close(p.fd);
		return err;
	}
	/* From now on it blocks, for a slice each time. */
	fcntl(p.fd, F_SETFL, fcntl(p.fd, F_GETFL) & ~O_NONBLOCK);
	setsockopt(p.fd, SOL_SOCKET, SO_RCVTIMEO, &slice, sizeof(slice));
	setsockopt(p.fd, SOL_SOCKET, SO_SNDTIMEO, &slice, sizeof(slice));
	return p.fd;
}

static int connect_any(struct trial *t)
{
	struct addrinfo *all = NULL;
	int err = resolve(t, &all);

	if (err)
		return err;
	for (struct addrinfo *a = all; a && t->fd < 0; a = a->ai_next) {
		begin_step(t);
		note_address(t, a);
		t->fd = connect_one(t, a);
	}
	freeaddrinfo(all);
	if (t->fd >= 0)
		return 0;
	return uplink_trial_fail(
		t->out, UPLINK_CONNECT,
		t->fd == -ECONNREFUSED
			? "is the aggregator running, and does its "
			  "ingest.listen have this address and port?"
			: "is there a way to that host, and does a firewall "
			  "let this port through?",
		"%s", strerror(-t->fd));
}

/* --- messages --- */

static bool is_again(ssize_t n)
{
	return n < 0 &&
	       (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

static int put_bytes(struct trial *t, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len > 0) {
		ssize_t n = t->tls ? uplink_trial_tls_send(t->tls, p, len)
				   : send(t->fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && !is_again(n))
			return -errno;
		if (n < 0 && step_is_over(t))
			return -ETIMEDOUT;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* Fills data. Returns what came before the end, or a negative errno. */
static ssize_t get_bytes(struct trial *t, void *data, size_t len)
{
	size_t have = 0;

	while (have < len) {
		uint8_t *p = (uint8_t *)data + have;
		ssize_t n =
			t->tls ? uplink_trial_tls_recv(t->tls, p, len - have)
			       : recv(t->fd, p, len - have, 0);

		if (n == 0)
			break;
		if (n < 0 && !is_again(n))
			return have ? (ssize_t)have : -errno;
		if (n < 0 && step_is_over(t))
			return have ? (ssize_t)have : -ETIMEDOUT;
		if (n > 0)
			have += (size_t)n;
	}
	return (ssize_t)have;
}

static int wrong_hello(struct trial *t, const uint8_t *hello, ssize_t n)
{
	struct uplink_trial *o = t->out;

	if (n == -ETIMEDOUT)
		return uplink_trial_fail(
			o, UPLINK_PROTOCOL,
			"is it the port of ingest.listen, not of web.listen, "
			"and does it want TLS (tls+tcp://)?",
			"no greeting");
	if (n > 2 && hello[0] == 0x15 && hello[1] == 3)
		return uplink_trial_fail(
			o, UPLINK_PROTOCOL,
			"write tls+tcp:// and give tls.ca_file",
			"it speaks TLS there");
	if (n > 4 && !memcmp(hello, "HTTP", 4))
		return uplink_trial_fail(o, UPLINK_PROTOCOL,
					 "give the port of ingest.listen, not "
					 "that of web.listen",
					 "it speaks HTTP there");
	if (n > 0)
		return uplink_trial_fail(o, UPLINK_PROTOCOL,
					 "is it the aggregator's ingest port?",
					 "it speaks another protocol there");
	return uplink_trial_fail(o, UPLINK_PROTOCOL,
				 t->secure ? "see the aggregator's log, which "
					     "names the cause"
					   : "see the aggregator's log; if it "
					     "wants TLS, write tls+tcp://",
				 "it closes the connection%s%s",
				 n < 0 ? ": " : "",
				 n < 0 ? strerror((int)-n) : "");
}

/* The greetings of nng: a request side here, a reply side there. */
static int greet(struct trial *t)
{
	static const uint8_t ours[HELLO_BYTES] = { 0, 'S', 'P', 0, 0, 0x30 };
	static const uint8_t theirs[HELLO_BYTES] = { 0, 'S', 'P', 0, 0, 0x31 };
	uint8_t hello[HELLO_BYTES] = { 0 };
	ssize_t n;
	int err;

	begin_step(t);
	err = put_bytes(t, ours, sizeof(ours));
	n = err ? err : get_bytes(t, hello, sizeof(hello));
	if (n != HELLO_BYTES || memcmp(hello, theirs, sizeof(theirs)))
		return wrong_hello(t, hello, n);
	return 0;
}

static void put_u64_be(uint8_t *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

static int exchange_ask(struct trial *t, struct reply *r)
{
	const struct push push = {
		.protocol = PROTOCOL_VERSION,
		.sent_us = clock_real_us(),
		.token = t->token->text,
		.token_len = t->token->len,
		.ask = t->node,
		.ask_len = strlen(t->node),
	};
	uint8_t message[HEAD_BYTES + PUSH_HEAD_MAX];
	uint8_t head[HEAD_BYTES], reply[REPLY_BYTES_MAX];
	size_t len = push_head(&push, message + HEAD_BYTES);
	ssize_t n;
	int err;

	put_u64_be(message, len + 4);
	memcpy(message + 8, (const uint8_t[]){ REQUEST_ID >> 24, 0, 0, 1 }, 4);
	begin_step(t);
	err = put_bytes(t, message, HEAD_BYTES + len);
	explicit_bzero(message, sizeof(message));
	if (err)
		return err;
	n = get_bytes(t, head, sizeof(head));
	if (n < 0)
		return (int)n;
	len = ((size_t)head[6] << 8 | head[7]) - 4;
	if (n != HEAD_BYTES || head[6] > 1 || len > sizeof(reply) ||
	    get_bytes(t, reply, len) != (ssize_t)len)
		return -EPROTO;
	return reply_decode(reply, len, r);
}

static int ask_aggregator(struct trial *t)
{
	static const char *const advice[] = {
		[REPLY_BUSY] = "try again later; see its /-/ready",
		[REPLY_CONFLICT] = "see node, token_file and the names in the "
				   "certificate",
		[REPLY_VERSION] = "upgrade the aggregator first",
	};
	struct reply r;
	int err = exchange_ask(t, &r);

	if (err)
		return uplink_trial_fail(
			t->out, UPLINK_ANSWER, "see the aggregator's log",
			"no answer to a question: %s", strerror(-err));
	/* One that does not know the question refuses it as a batch. */
	if (r.status == REPLY_ACCEPTED || r.status == REPLY_REFUSED)
		return 0;
	return uplink_trial_fail(
		t->out, UPLINK_ANSWER,
		(size_t)r.status < sizeof(advice) / sizeof(*advice) &&
				advice[r.status]
			? advice[r.status]
			: "",
		"%s", *r.reason ? r.reason : "a strange answer");
}

/* --- the trial --- */

static int run(struct trial *t)
{
	int err = read_url(t);

	if (!err)
		err = connect_any(t);
	if (!err && t->secure)
		err = uplink_trial_tls_open(&t->tls, t->opt, t->host, t->fd,
					    t->out);
	if (!err)
		err = greet(t);
	if (!err && t->node)
		err = ask_aggregator(t);
	return err;
}

void uplink_trial_run(const struct uplink_options *opt,
		      const struct token *token, const char *node,
		      const atomic_bool *quit, struct uplink_trial *out)
{
	struct trial t = {
		.opt = opt,
		.token = token,
		.node = node,
		.quit = quit,
		.out = out,
		.fd = -1,
	};
	int err;

	*out = (struct uplink_trial){ .failed = UPLINK_STEPS };
	err = run(&t);
	if (err && out->failed == UPLINK_STEPS)
		uplink_trial_fail(out, UPLINK_SETUP, "", "%s", strerror(-err));
	uplink_trial_tls_free(t.tls);
	if (t.fd >= 0)
		close(t.fd);
}

void uplink_try(const struct uplink_options *opt, const char *node,
		struct uplink_trial *out)
{
	struct uplink_secret secret;
	int err = uplink_token_open(&secret, opt);

	*out = (struct uplink_trial){ .failed = UPLINK_STEPS };
	if (err)
		uplink_trial_fail(out, UPLINK_SETUP, "see token_file",
				  "the token file cannot be used");
	else
		uplink_trial_run(opt, &secret.token, node, NULL, out);
	uplink_token_fini(&secret);
}
