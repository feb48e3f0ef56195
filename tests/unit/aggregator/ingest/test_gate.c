/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "aggregator/ingest/gate.h"
#include "common/clock.h"
#include "proto/limits.h"

/* The gate alone; peers speak the scalability protocols by hand. */

#define PEERS 23u
#define BODY 30011u /* bytes */
#define ROOM 4u /* of such bodies fit */
#define PATIENCE_MS 20000

struct fixture {
	struct gate *gate;
	uint16_t port;
	int peer[PEERS];
};

static const uint8_t hello[8] = { 0, 'S', 'P', 0, 0, 0x30, 0, 0 };
static uint8_t body[BODY];

static void open_gate(struct fixture *f, struct gate_options o)
{
	static uint16_t port = 21190;
	const char *url;
	char text[64];
	int err;

	o.urls = &url;
	o.n_urls = 1;
	url = text;
	o.queue_bytes = ROOM * BODY;
	do { /* the one before may still be in use */
		f->port = port++;
		snprintf(text, sizeof(text), "tcp://127.0.0.1:%u", f->port);
		err = gate_open(&f->gate, &o);
	} while (err == -EADDRINUSE && port < 21250);
	assert_int_equal(err, 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	memset(f->peer, -1, sizeof(f->peer));
	memset(body, 'x', sizeof(body));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < PEERS; i++)
		if (f->peer[i] >= 0)
			close(f->peer[i]);
	gate_close(f->gate);
	free(f);
	return 0;
}

/* --- a peer --- */

static void put(int fd, const void *data, size_t len)
{
	assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
}

static void get(int fd, void *data, size_t len)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t *at = data;

	while (len > 0) {
		ssize_t n;

		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		n = recv(fd, at, len, 0);
		assert_true(n > 0);
		at += n;
		len -= (size_t)n;
	}
}

static int dial(const struct fixture *f)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(f->port),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static int greet(const struct fixture *f)
{
	static const uint8_t want[8] = { 0, 'S', 'P', 0, 0, 0x31, 0, 0 };
	uint8_t got[8];
	int fd = dial(f);

	put(fd, hello, sizeof(hello));
	get(fd, got, sizeof(got));
	assert_memory_equal(got, want, sizeof(want));
	return fd;
}

static size_t head_of(uint8_t *out, uint64_t len, const uint32_t *word,
		      unsigned n)
{
	len += 4 * n;
	for (unsigned i = 0; i < 8; i++)
		out[i] = (uint8_t)(len >> (56 - 8 * i));
	for (unsigned i = 0; i < n; i++) {
		uint32_t w = htonl(word[i]);

		memcpy(out + 8 + 4 * i, &w, 4);
	}
	return 8 + 4 * n;
}

static void ask(int fd, uint32_t id, const void *data, size_t len)
{
	uint32_t word = id | 0x80000000;
	uint8_t head[12];

	put(fd, head, head_of(head, len, &word, 1));
	put(fd, data, len);
}

/* The answer's words, and what it says. */
static struct reply hear(int fd, uint32_t *word, unsigned n)
{
	uint8_t head[8], data[256];
	uint64_t len = 0;
	struct reply r;

	get(fd, head, sizeof(head));
	for (unsigned i = 0; i < 8; i++)
		len = len << 8 | head[i];
	assert_true(len >= 4 * n && len <= sizeof(data));
	get(fd, data, len);
	for (unsigned i = 0; i < n; i++) {
		memcpy(&word[i], data + 4 * i, 4);
		word[i] = ntohl(word[i]);
	}
	assert_int_equal(reply_decode(data + 4 * n, len - 4 * n, &r), 0);
	return r;
}

static bool hung_up(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t byte;

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	return recv(fd, &byte, 1, 0) <= 0;
}

/* Until the other end of the connection, ours too, has read all of it. */
static void wait_until_read(int fd)
{
	uint64_t until = clock_mono_ns() + PATIENCE_MS * CLOCK_NS_PER_MS;
	struct sockaddr_in self, peer;
	socklen_t len = sizeof(self);
	int unread = 1;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&self, &len), 0);
	while (unread > 0 && clock_mono_ns() < until) {
		for (int other = 3; other < 256; other++) {
			len = sizeof(peer);
			if (!getpeername(other, (struct sockaddr *)&peer,
					 &len) &&
			    peer.sin_port == self.sin_port)
				assert_int_equal(
					ioctl(other, FIONREAD, &unread), 0);
		}
	}
	assert_int_equal(unread, 0);
}

/* --- the engine's side --- */

/* Sleeps until so much is there, however it is woken: late is never. */
static void wait_for(struct fixture *f, struct gate_enough enough)
{
	uint64_t until = clock_mono_ns() + PATIENCE_MS * CLOCK_NS_PER_MS;

	gate_wait(f->gate, &enough, until);
	assert_true(clock_mono_ns() < until);
}

static struct gate_request take(struct fixture *f)
{
	struct gate_request r = { .len = 0 };

	wait_for(f, (struct gate_enough){ 1, 0, SIZE_MAX });
	assert_int_equal(gate_collect(f->gate, &r, 1, SIZE_MAX), 1);
	return r;
}

static void accept_as(struct fixture *f, struct gate_request *r, uint64_t n)
{
	struct reply yes = { .protocol = PROTOCOL_VERSION,
			     .status = REPLY_ACCEPTED,
			     .sequence = n };

	gate_reply(f->gate, r, &yes, false);
	gate_flush(f->gate);
}

/* Waits for it without collecting, so that no peer gets BUSY either. */
static void wait_for_stats(struct fixture *f, uint64_t messages,
			   uint64_t waited)
{
	uint64_t until = clock_mono_ns() + PATIENCE_MS * CLOCK_NS_PER_MS;
	struct gate_stats st;

	do {
		gate_stats(f->gate, &st);
		poll(NULL, 0, 1);
	} while ((st.messages < messages || st.waited < waited) &&
		 clock_mono_ns() < until);
	assert_int_equal(st.messages, messages);
	assert_int_equal(st.waited, waited);
}

static void an_answer_has_the_words_of_its_request(void **state)
{
	static const uint32_t words[] = { 7, 0x7fffffff, 0x80000bad };
	struct fixture *f = *state;
	struct gate_request r;
	uint8_t message[64];
	uint32_t got[3];
	size_t len;

	open_gate(f, (struct gate_options){ 0 });
	f->peer[0] = greet(f);
	len = head_of(message, 5, words, 3);
	memcpy(message + len, "12345", 5);
	for (size_t i = 0; i < len + 5; i++) { /* byte by byte */
		put(f->peer[0], message + i, 1);
		poll(NULL, 0, 1);
	}
	r = take(f);
	assert_int_equal(r.len, 5);
	assert_memory_equal(r.data, "12345", 5);
	accept_as(f, &r, 4711);
	assert_int_equal(hear(f->peer[0], got, 3).sequence, 4711);
	assert_memory_equal(got, words, sizeof(words));
	/* And the next, with nothing in it. */
	ask(f->peer[0], 8, "", 0);
	r = take(f);
	assert_int_equal(r.len, 0);
	accept_as(f, &r, 4712);
	assert_int_equal(hear(f->peer[0], got, 1).sequence, 4712);
	assert_int_equal(got[0], 0x80000008);
}

/* What a peer sends without waiting is read along, kept, and comes in turn. */
static void requests_sent_ahead_are_answered_in_turn(void **state)
{
	enum { AHEAD = 5, SMALL = 100 };
	struct fixture *f = *state;
	uint8_t all[AHEAD * (12 + SMALL)];
	struct gate_stats st;
	size_t len = 0;

	open_gate(f, (struct gate_options){ 0 });
	f->peer[0] = greet(f);
	for (uint32_t i = 0; i < AHEAD; i++) {
		uint32_t word = i | 0x80000000;

		len += head_of(all + len, SMALL, &word, 1);
		memset(all + len, (int)('a' + i), SMALL);
		len += SMALL;
	}
	/* In two pieces, whatever message the cut is in. */
	for (size_t cut = 1; cut < len; cut += 7) {
		put(f->peer[0], all, cut);
		poll(NULL, 0, 1);
		put(f->peer[0], all + cut, len - cut);
		for (uint32_t i = 0; i < AHEAD; i++) {
			struct gate_request r = take(f);
			uint32_t word;

			gate_stats(f->gate, &st);
			assert_true(st.held_bytes <= len);
			assert_int_equal(r.len, SMALL);
			assert_int_equal(((const char *)r.data)[SMALL - 1],
					 'a' + i);
			accept_as(f, &r, i);
			assert_int_equal(hear(f->peer[0], &word, 1).sequence,
					 i);
			assert_int_equal(word, i | 0x80000000);
		}
		gate_stats(f->gate, &st);
		assert_int_equal(st.held_bytes, 0);
	}
}

static void holds_no_more_than_its_queue_and_serves_all_in_turn(void **state)
{
	struct fixture *f = *state;
	bool seen[PEERS] = { false };
	struct gate_stats st;
	size_t bytes;

	open_gate(f, (struct gate_options){ .wait_ms = 600000 });
	for (unsigned i = 0; i < PEERS; i++) {
		uint32_t id = htonl(i);

		f->peer[i] = greet(f);
		memcpy(body, &id, sizeof(id));
		ask(f->peer[i], i, body, BODY);
	}
	wait_for_stats(f, ROOM, PEERS - ROOM);
	assert_int_equal(gate_queued(f->gate, &bytes), ROOM);
	assert_int_equal(bytes, ROOM * BODY);
	for (unsigned k = 0; k < PEERS; k++) {
		struct gate_request r = take(f);
		uint32_t i, word;

		gate_stats(f->gate, &st);
		assert_true(st.held_bytes <= ROOM * BODY);
		assert_int_equal(r.len, BODY);
		memcpy(&i, r.data, sizeof(i));
		i = ntohl(i);
		assert_true(i < PEERS && !seen[i]);
		seen[i] = true;
		accept_as(f, &r, i);
		assert_int_equal(hear(f->peer[i], &word, 1).sequence, i);
		assert_int_equal(word, i | 0x80000000);
	}
	gate_stats(f->gate, &st);
	assert_int_equal(st.held_bytes, 0);
	assert_int_equal(st.busy, 0);
	assert_int_equal(st.connections, PEERS);
}

static void who_waits_for_long_is_told_busy_and_asks_again(void **state)
{
	struct fixture *f = *state;
	struct gate_request r[ROOM];
	struct gate_stats st;
	uint32_t word;

	open_gate(f, (struct gate_options){ .wait_ms = 50 });
	for (unsigned i = 0; i <= ROOM; i++) {
		f->peer[i] = greet(f);
		ask(f->peer[i], i, body, BODY);
		if (i < ROOM)
			wait_for_stats(f, i + 1, 0);
	}
	wait_for_stats(f, ROOM, 1);
	assert_int_equal(gate_collect(f->gate, r, ROOM, SIZE_MAX), ROOM);
	for (st.busy = 0; st.busy == 0; gate_stats(f->gate, &st))
		gate_collect(f->gate, r, 0, 0); /* time goes by */
	assert_int_equal(hear(f->peer[ROOM], &word, 1).status, REPLY_BUSY);
	assert_int_equal(word, 0x80000000 | ROOM);
	accept_as(f, &r[0], 1);
	/* What it sent is gone; the same connection goes on. */
	ask(f->peer[ROOM], 99, body, BODY);
	r[0] = take(f);
	assert_int_equal(r[0].len, BODY);
	accept_as(f, &r[0], 2);
	assert_int_equal(hear(f->peer[ROOM], &word, 1).status, REPLY_ACCEPTED);
	assert_int_equal(word, 0x80000000 | 99);
	for (unsigned i = 1; i < ROOM; i++) {
		accept_as(f, &r[i], 3);
		assert_int_equal(hear(f->peer[i], &word, 1).sequence, 3);
	}
	gate_stats(f->gate, &st);
	assert_int_equal(st.busy, 1);
	assert_int_equal(st.held_bytes, 0);
}

static void a_body_that_does_not_come_gives_its_room_back(void **state)
{
	struct fixture *f = *state;
	struct gate_request r;
	uint32_t word = 0x80000001;
	uint8_t head[12];

	open_gate(f,
		  (struct gate_options){ .wait_ms = 600000, .body_ms = 500 });
	f->peer[0] = greet(f);
	put(f->peer[0], head, head_of(head, ROOM * BODY, &word, 1));
	put(f->peer[0], body, 10);
	wait_until_read(f->peer[0]); /* it has the room */
	f->peer[1] = greet(f);
	ask(f->peer[1], 2, body, BODY);
	assert_true(hung_up(f->peer[0]));
	r = take(f);
	assert_int_equal(r.len, BODY);
	accept_as(f, &r, 1);
	assert_int_equal(hear(f->peer[1], &word, 1).status, REPLY_ACCEPTED);
}

static void strangers_are_hung_up_on(void **state)
{
	static const uint32_t hops[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	struct fixture *f = *state;
	uint32_t word = 0x80000001;
	uint64_t until = clock_mono_ns() + PATIENCE_MS * CLOCK_NS_PER_MS;
	struct gate_stats st;
	uint8_t head[64];
	size_t n;

	open_gate(f, (struct gate_options){ .max_connections = 1 });
	f->peer[0] = greet(f); /* one byte more than is allowed */
	head_of(head, LIMIT_MESSAGE_BYTES - 3, &word, 1);
	put(f->peer[0], head, 8);
	assert_true(hung_up(f->peer[0]));
	f->peer[1] = greet(f); /* no id anywhere */
	put(f->peer[1], head, head_of(head, 1, hops, 8));
	assert_true(hung_up(f->peer[1]));
	f->peer[2] = greet(f); /* shorter than its id */
	n = head_of(head, 0, &word, 1);
	head[7] = 3;
	put(f->peer[2], head, n);
	assert_true(hung_up(f->peer[2]));
	do {
		gate_stats(f->gate, &st);
	} while (st.connections > 0 && clock_mono_ns() < until);
	assert_int_equal(st.connections, 0);
	assert_int_equal(st.held_bytes, 0);
	assert_int_equal(st.refused[REFUSAL_SIZE], 1);
	assert_int_equal(st.refused[REFUSAL_HELLO], 2);
	assert_int_equal(st.refused[REFUSAL_CONNECTIONS], 0);
}

static void exchange(struct fixture *f, int fd)
{
	uint32_t word = 0x80000001;
	struct gate_request r;

	ask(fd, 1, "batch", 5);
	r = take(f);
	accept_as(f, &r, 1);
	assert_int_equal(hear(fd, &word, 1).status, REPLY_ACCEPTED);
}

static void the_silent_make_place_and_the_proven_keep_it(void **state)
{
	struct fixture *f = *state;
	struct gate_stats st;

	open_gate(f, (struct gate_options){ .max_connections = 3 });
	for (int i = 0; i < 2; i++) {
		f->peer[i] = greet(f);
		exchange(f, f->peer[i]);
	}
	f->peer[2] = greet(f); /* says nothing */
	f->peer[3] = greet(f);
	assert_true(hung_up(f->peer[2]));
	exchange(f, f->peer[3]);
	/* All have proven themselves. */
	f->peer[4] = dial(f);
	assert_true(hung_up(f->peer[4]));
	gate_stats(f->gate, &st);
	assert_int_equal(st.refused[REFUSAL_CONNECTIONS], 1);
	exchange(f, f->peer[0]);
	/* A place that is left is free again. */
	close(f->peer[3]);
	f->peer[3] = -1;
	do {
		gate_stats(f->gate, &st);
	} while (st.connections > 2);
	f->peer[5] = greet(f);
	exchange(f, f->peer[5]);
}

static void the_silent_are_hung_up_on_in_time(void **state)
{
	struct fixture *f = *state;
	struct gate_stats st;

	open_gate(f, (struct gate_options){ .first_ms = 50, .idle_ms = 60000 });
	f->peer[0] = greet(f);
	exchange(f, f->peer[0]);
	f->peer[1] = greet(f);
	assert_true(hung_up(f->peer[1]));
	gate_stats(f->gate, &st);
	assert_int_equal(st.refused[REFUSAL_SILENT], 1);
	/* One that has been heard may be silent for longer. */
	exchange(f, f->peer[0]);
}

static void a_stopped_gate_says_busy(void **state)
{
	struct fixture *f = *state;
	struct gate_stats st;
	uint32_t word;

	open_gate(f, (struct gate_options){ 0 });
	f->peer[0] = greet(f);
	gate_stop(f->gate);
	ask(f->peer[0], 1, body, BODY);
	assert_int_equal(hear(f->peer[0], &word, 1).status, REPLY_BUSY);
	gate_stats(f->gate, &st);
	assert_int_equal(st.busy, 1);
	assert_int_equal(st.held_bytes, 0);
}

static void waits_for_so_many_messages_or_so_many_bytes(void **state)
{
	struct fixture *f = *state;
	struct gate_request r[ROOM];
	size_t bytes;

	open_gate(f, (struct gate_options){ .wait_ms = 600000 });
	for (unsigned i = 0; i < 3; i++)
		f->peer[i] = greet(f);
	ask(f->peer[0], 0, body, BODY);
	wait_for(f, (struct gate_enough){ 1, 0, SIZE_MAX });
	ask(f->peer[1], 1, body, BODY);
	/* One of such bytes is not enough, two of fewer neither. */
	wait_for(f, (struct gate_enough){ 1, BODY + 1, SIZE_MAX });
	assert_int_equal(gate_queued(f->gate, &bytes), 2);
	ask(f->peer[2], 2, "", 0);
	wait_for(f, (struct gate_enough){ 3, 2 * BODY, SIZE_MAX });
	assert_int_equal(gate_queued(f->gate, &bytes), 3);
	wait_for(f, (struct gate_enough){ PEERS, 0, 2 * BODY });
	assert_int_equal(gate_collect(f->gate, r, ROOM, 2 * BODY), 3);
	assert_int_equal(gate_queued(f->gate, &bytes), 0);
	for (unsigned i = 0; i < 3; i++)
		accept_as(f, &r[i], 1);
}

static void waits_no_longer_than_until_then_or_until_woken(void **state)
{
	static const struct gate_enough never = { PEERS, 0, SIZE_MAX };
	struct fixture *f = *state;
	uint64_t until = clock_mono_ns() + 20 * CLOCK_NS_PER_MS;
	struct gate_request r;

	open_gate(f, (struct gate_options){ 0 });
	f->peer[0] = greet(f);
	ask(f->peer[0], 1, body, BODY);
	wait_for_stats(f, 1, 0);
	gate_wait(f->gate, &never, until);
	assert_true(clock_mono_ns() >= until);
	gate_wait(f->gate, &never, 0);
	gate_wake(f->gate);
	wait_for(f, never); /* it was woken before it slept */
	r = take(f);
	accept_as(f, &r, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_answer_has_the_words_of_its_request),
		TEST(requests_sent_ahead_are_answered_in_turn),
		TEST(holds_no_more_than_its_queue_and_serves_all_in_turn),
		TEST(who_waits_for_long_is_told_busy_and_asks_again),
		TEST(a_body_that_does_not_come_gives_its_room_back),
		TEST(strangers_are_hung_up_on),
		TEST(the_silent_make_place_and_the_proven_keep_it),
		TEST(the_silent_are_hung_up_on_in_time),
		TEST(a_stopped_gate_says_busy),
		TEST(waits_for_so_many_messages_or_so_many_bytes),
		TEST(waits_no_longer_than_until_then_or_until_woken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
