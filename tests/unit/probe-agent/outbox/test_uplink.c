/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/supplemental/tls/tls.h>
#include <nng/transport/tls/tls.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "probe-agent/batch/packer.h"
#include "probe-agent/outbox/last_words.h"
#include "probe-agent/outbox/outbox.h"
#include "probe-agent/outbox/uplink.h"
#include "proto/batch.h"
#include "proto/limits.h"

#define SEEN_MAX 4096

/* Of this process alone, as the same test may run elsewhere on the machine. */
#define URL our_url
#define TLS_URL our_tls_url
static char our_url[40], our_tls_url[40];

static void choose_addresses(void)
{
	unsigned pid = (unsigned)getpid();

	snprintf(our_url, sizeof(our_url), "tcp://127.%u.%u.%u:21010",
		 1 + (pid >> 16 & 63), pid >> 8 & 255, 1 + pid % 254);
	/* A certificate's name needs the usual address. */
	snprintf(our_tls_url, sizeof(our_tls_url), "tls+tcp://localhost:%u",
		 22000 + pid % 10000);
}

/*
 * A real peer: a REP socket whose thread decodes what comes and answers by
 * script, one status after the other; when the script is over, ACCEPTED.
 */
struct peer {
	nng_socket socket;
	pthread_t thread;
	struct batch_arena *arena;
	enum reply_status script[16]; /* REPLY_UNKNOWN: no reply at all */
	size_t n_script;
	uint32_t retry_ms, gather_ms;
	pthread_mutex_t lock;
	uint64_t seen[SEEN_MAX]; /* sequences in order of arrival */
	size_t n_seen, events;
	struct push_health health[8]; /* of the first messages */
	char token[64]; /* of the last one */
};

static enum reply_status note(struct peer *p, const struct push *push,
			      const struct batch *b)
{
	enum reply_status status = REPLY_ACCEPTED;

	pthread_mutex_lock(&p->lock);
	if (p->n_seen < sizeof(p->health) / sizeof(*p->health))
		p->health[p->n_seen] = push->health;
	snprintf(p->token, sizeof(p->token), "%.*s", (int)push->token_len,
		 push->token ? push->token : "");
	if (p->n_seen < p->n_script)
		status = p->script[p->n_seen];
	if (p->n_seen < SEEN_MAX)
		p->seen[p->n_seen++] = b->sequence;
	p->events += b->events.n;
	pthread_mutex_unlock(&p->lock);
	return status;
}

static void answer(struct peer *p, nng_msg *msg)
{
	struct reply reply = { .protocol = PROTOCOL_VERSION,
			       .retry_ms = p->retry_ms,
			       .gather_ms = p->gather_ms };
	struct push push;
	struct batch b;
	uint8_t data[REPLY_BYTES_MAX];

	assert_int_equal(
		push_decode(nng_msg_body(msg), nng_msg_len(msg), &push), 0);
	assert_int_equal(push.protocol, 1); /* 2 only with samples */
	assert_true(push.sent_us > 1600000000000000);
	assert_int_equal(
		batch_decode(p->arena, push.batch, push.batch_len, &b, NULL),
		0);
	if (b.events.n > 0)
		assert_true(llabs(push.clock_us - clock_steady_us()) <
			    60000000);
	reply.status = note(p, &push, &b);
	reply.epoch = b.epoch;
	reply.sequence = b.sequence;
	nng_msg_free(msg);
	if (reply.status == REPLY_UNKNOWN)
		return;
	assert_int_equal(nng_msg_alloc(&msg, 0), 0);
	nng_msg_append(msg, data, reply_put(&reply, data));
	if (nng_sendmsg(p->socket, msg, 0) != 0)
		nng_msg_free(msg);
}

static void *serve(void *arg)
{
	struct peer *p = arg;
	nng_msg *msg;

	while (nng_recvmsg(p->socket, &msg, 0) == 0)
		answer(p, msg);
	return NULL;
}

static void peer_listen(struct peer *p, const char *url, nng_tls_config *tls)
{
	nng_listener listener;
	int code = -1;

	assert_int_equal(nng_rep0_open(&p->socket), 0);
	assert_int_equal(nng_listener_create(&listener, p->socket, url), 0);
	if (tls)
		assert_int_equal(
			nng_listener_set_ptr(listener, NNG_OPT_TLS_CONFIG, tls),
			0);
	for (int i = 0; i < 100 && code != 0; i++) {
		code = nng_listener_start(listener, 0);
		if (code != 0)
			usleep(20000);
	}
	assert_int_equal(code, 0);
	pthread_create(&p->thread, NULL, serve, p);
}

static void peer_close(struct peer *p)
{
	nng_close(p->socket);
	pthread_join(p->thread, NULL);
}

struct world {
	struct peer peer;
	struct outbox *outbox;
	struct packer *packer;
	struct uplink *uplink;
};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct outbox_options opt = { 0 };
	uint64_t epoch, sequence;

	pthread_mutex_init(&w->peer.lock, NULL);
	assert_int_equal(batch_arena_new(&w->peer.arena), 0);
	assert_int_equal(outbox_open(&w->outbox, &opt), 0);
	outbox_epoch(w->outbox, &epoch, &sequence);
	assert_int_equal(sequence, 0);
	assert_int_equal(packer_new(&w->packer, "node", epoch), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	uplink_stop(w->uplink, 0);
	packer_free(w->packer);
	outbox_close(w->outbox);
	batch_arena_free(w->peer.arena);
	pthread_mutex_destroy(&w->peer.lock);
	free(w);
	return 0;
}

/* One batch of n events. */
static void push(struct world *w, unsigned n)
{
	struct packer_event e = { .service = "s",
				  .method = "GET",
				  .route = "/",
				  .scheme = "http",
				  .role = 1,
				  .status = 200,
				  .version = 11,
				  .start_us = 1700000000000000,
				  .duration_us = 5 };
	struct batch_losses losses = { 0 };
	uint64_t epoch, sequence, last;
	void *data;
	size_t len;

	for (unsigned i = 0; i < n; i++)
		packer_add(w->packer, &e);
	assert_int_equal(
		packer_take(w->packer, &losses, &data, &len, &sequence), 0);
	outbox_epoch(w->outbox, &epoch, &last);
	assert_int_equal(outbox_push(w->outbox, &data, len, epoch, sequence, n),
			 0);
	assert_null(data);
}

static void start(struct world *w, const struct uplink_options *opt)
{
	assert_int_equal(uplink_start(&w->uplink, opt, w->outbox), 0);
}

/* Until the outbox is empty; the milliseconds it took. */
static unsigned drain(struct world *w, unsigned max_ms)
{
	uint64_t begin = clock_mono_ns();
	struct outbox_stats s;
	unsigned ms;

	do {
		usleep(1000);
		outbox_stats(w->outbox, &s);
		ms = (unsigned)((clock_mono_ns() - begin) / CLOCK_NS_PER_MS);
	} while (s.batches > 0 && ms < max_ms);
	if (s.batches > 0)
		fail_msg("%u batches left after %u ms", (unsigned)s.batches,
			 ms);
	return ms;
}

static void batches_arrive_in_order_and_leave_the_outbox(void **state)
{
	struct world *w = *state;
	struct uplink_stats stats;
	struct outbox_stats ob;

	peer_listen(&w->peer, URL, NULL);
	start(w, &(struct uplink_options){ .url = URL });
	for (unsigned i = 1; i <= 211; i++) {
		push(w, i % 7);
		drain(w, 5000);
	}
	uplink_stats(w->uplink, &stats);
	assert_int_equal(stats.sent, 211);
	assert_int_equal(stats.acknowledged, 211);
	assert_int_equal(stats.connects, 1);
	assert_int_equal(stats.connected, 1);
	outbox_stats(w->outbox, &ob);
	assert_int_equal(ob.acknowledged, 211);
	assert_int_equal(ob.bytes, 0);
	peer_close(&w->peer);
	assert_int_equal(w->peer.n_seen, 211);
	for (size_t i = 0; i < 211; i++)
		assert_int_equal(w->peer.seen[i], i + 1);
	assert_int_equal(w->peer.events, 211 / 7 * 21 + 1);
}

static void a_backlog_goes_in_one_piece(void **state)
{
	struct world *w = *state;
	struct uplink_stats stats;

	push(w, 3);
	start(w,
	      &(struct uplink_options){ .url = URL, .reply_timeout_ms = 100 });
	usleep(250000); /* tries to send it, in vain */
	for (unsigned i = 2; i <= 211; i++)
		push(w, i % 7);
	usleep(250000);
	peer_listen(&w->peer, URL, NULL);
	drain(w, 5000);
	uplink_stats(w->uplink, &stats);
	assert_int_equal(stats.acknowledged, 1);
	peer_close(&w->peer);
	assert_int_equal(w->peer.seen[0], 211);
	assert_int_equal(w->peer.events, 3 + 211 / 7 * 21);
}

static void the_last_reply_tells_how_long_to_gather(void **state)
{
	static const uint32_t told[] = {
		0, 1500, HEARTBEAT_MS, HEARTBEAT_MS + 1, UINT32_MAX, 0
	};
	struct world *w = *state;

	peer_listen(&w->peer, URL, NULL);
	start(w, &(struct uplink_options){ .url = URL });
	assert_int_equal(uplink_gather_ms(w->uplink), 0);
	for (size_t i = 0; i < sizeof(told) / sizeof(*told); i++) {
		w->peer.gather_ms = told[i];
		push(w, 1);
		drain(w, 5000);
		/* An agent must be heard with each heartbeat. */
		assert_int_equal(uplink_gather_ms(w->uplink),
				 told[i] < HEARTBEAT_MS ? told[i]
							: HEARTBEAT_MS);
	}
	assert_int_equal(uplink_gather_ms(NULL), 0);
	peer_close(&w->peer);
}

static void an_earlier_start_is_heard_first(void **state)
{
	static const enum reply_status script[] = { REPLY_BUSY, REPLY_ACCEPTED,
						    REPLY_ACCEPTED };
	struct batch b = { .agent = "x", .epoch = 5, .sequence = 77 };
	char path[] = "/tmp/redtap-words-XXXXXX";
	struct world *w = *state;
	struct last_words *words;
	struct outbox_item it;
	size_t len;
	void *data;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(batch_encode(&b, &data, &len), 0);
	assert_int_equal(last_words_add(path, data, len), 0);
	assert_int_equal(last_words_open(&words, path), 0);
	memcpy(w->peer.script, script, sizeof(script));
	w->peer.n_script = 3;
	peer_listen(&w->peer, URL, NULL);
	push(w, 1);
	start(w, &(struct uplink_options){ .url = URL, .last_words = words });
	drain(w, 5000);
	peer_close(&w->peer);
	assert_int_equal(w->peer.n_seen, 3);
	assert_int_equal(w->peer.seen[0], 77);
	assert_int_equal(w->peer.seen[1], 77);
	assert_int_equal(w->peer.seen[2], 1);
	assert_false(last_words_first(words, &it));
	uplink_stop(w->uplink, 0);
	w->uplink = NULL;
	last_words_close(words);
	assert_int_equal(access(path, F_OK), -1);
	free(data);
}

static void an_earlier_start_that_is_not_taken_holds_nothing_up(void **state)
{
	struct batch b = { .agent = "x", .epoch = 5, .sequence = 77 };
	char path[] = "/tmp/redtap-words-XXXXXX";
	struct world *w = *state;
	struct last_words *words;
	struct outbox_item it;
	size_t len;
	void *data;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(batch_encode(&b, &data, &len), 0);
	assert_int_equal(last_words_add(path, data, len), 0);
	assert_int_equal(last_words_open(&words, path), 0);
	w->peer.script[0] = REPLY_CONFLICT;
	w->peer.n_script = 1;
	peer_listen(&w->peer, URL, NULL);
	push(w, 1);
	start(w, &(struct uplink_options){ .url = URL, .last_words = words });
	drain(w, 3000);
	peer_close(&w->peer);
	assert_int_equal(w->peer.n_seen, 2);
	assert_true(last_words_first(words, &it)); /* the next start's */
	uplink_stop(w->uplink, 0);
	w->uplink = NULL;
	last_words_close(words);
	assert_int_equal(unlink(path), 0);
	free(data);
}

static void each_message_tells_what_the_outbox_holds(void **state)
{
	struct world *w = *state;
	const struct push_health *h = w->peer.health;

	w->peer.script[0] = REPLY_BUSY;
	w->peer.n_script = 1;
	w->peer.retry_ms = 300;
	push(w, 4);
	peer_listen(&w->peer, URL, NULL);
	usleep(50000);
	start(w, &(struct uplink_options){ .url = URL });
	drain(w, 5000);
	push(w, 2);
	drain(w, 5000);
	peer_close(&w->peer);
	assert_int_equal(w->peer.n_seen, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_true(h[i].told);
		assert_int_equal(h[i].outbox_batches, 1);
		assert_true(h[i].outbox_bytes > 0);
		assert_int_equal(h[i].acknowledged, i == 2);
	}
	/* The same batch, older by the time of the reply; then a new one. */
	assert_true(h[0].oldest_ms >= 50 && h[0].oldest_ms < 2000);
	assert_true(h[1].oldest_ms >= h[0].oldest_ms + 300);
	assert_true(h[2].oldest_ms < h[1].oldest_ms);
}

static void a_token_that_changes_is_found_when_it_is_refused(void **state)
{
	struct world *w = *state;
	char path[] = "/tmp/redtap-token-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "old\n", 4), 4);
	w->peer.script[0] = REPLY_CONFLICT;
	w->peer.n_script = 1;
	peer_listen(&w->peer, URL, NULL);
	start(w, &(struct uplink_options){ .url = URL, .token_file = path });
	assert_int_equal(pwrite(fd, "new\n", 4, 0), 4);
	push(w, 1);
	drain(w, 10000);
	peer_close(&w->peer);
	assert_int_equal(w->peer.n_seen, 2);
	assert_string_equal(w->peer.token, "new");
	close(fd);
	assert_int_equal(unlink(path), 0);
}

static void an_agent_may_start_before_its_aggregator(void **state)
{
	struct world *w = *state;

	push(w, 3);
	start(w, &(struct uplink_options){ .url = URL });
	usleep(700000);
	peer_listen(&w->peer, URL, NULL);
	assert_true(drain(w, 5000) <= 2500);
	peer_close(&w->peer);
	assert_int_equal(w->peer.events, 3);
}

static void
a_restarted_aggregator_is_found_within_the_longest_pause(void **state)
{
	struct world *w = *state;

	peer_listen(&w->peer, URL, NULL);
	start(w, &(struct uplink_options){ .url = URL });
	for (int round = 0; round < 3; round++) {
		unsigned ms;

		push(w, 1);
		drain(w, 3000);
		peer_close(&w->peer);
		push(w, 1); /* sent without a receiver */
		usleep(300000);
		peer_listen(&w->peer, URL, NULL);
		ms = drain(w, 5000);
		if (ms > 2500)
			fail_msg("took %u ms", ms);
	}
	peer_close(&w->peer);
	assert_int_equal(w->peer.n_seen, 6);
}

static void a_refused_batch_is_counted_lost_and_the_next_one_goes(void **state)
{
	struct world *w = *state;
	struct uplink_stats stats;
	struct outbox_stats ob;

	w->peer.script[0] = REPLY_REFUSED;
	w->peer.n_script = 1;
	peer_listen(&w->peer, URL, NULL);
	push(w, 13);
	start(w, &(struct uplink_options){ .url = URL });
	drain(w, 3000);
	push(w, 1);
	drain(w, 3000);
	uplink_stats(w->uplink, &stats);
	assert_int_equal(stats.refused, 1);
	assert_int_equal(stats.acknowledged, 1);
	outbox_stats(w->outbox, &ob);
	assert_int_equal(ob.refused_events, 13);
	peer_close(&w->peer);
	assert_int_equal(w->peer.n_seen, 2);
}

static void a_busy_aggregator_gets_the_time_it_asks_for(void **state)
{
	struct world *w = *state;
	struct uplink_stats stats;

	w->peer.script[0] = w->peer.script[1] = REPLY_BUSY;
	w->peer.n_script = 2;
	w->peer.retry_ms = 150;
	peer_listen(&w->peer, URL, NULL);
	push(w, 1);
	start(w, &(struct uplink_options){ .url = URL });
	assert_true(drain(w, 3000) >= 295);
	uplink_stats(w->uplink, &stats);
	assert_int_equal(stats.busy, 2);
	assert_int_equal(stats.acknowledged, 1);
	peer_close(&w->peer);
	assert_int_equal(w->peer.n_seen, 3);
}

static void a_conflict_or_another_version_keeps_the_batch(void **state)
{
	static const enum reply_status answers[] = { REPLY_CONFLICT,
						     REPLY_VERSION };
	struct world *w = *state;
	struct uplink_stats stats;
	struct outbox_stats ob;

	push(w, 1);
	for (int i = 0; i < 2; i++) {
		uint64_t begin;

		w->peer.script[0] = answers[i];
		w->peer.n_script = 1;
		w->peer.n_seen = 0;
		peer_listen(&w->peer, URL, NULL);
		start(w, &(struct uplink_options){ .url = URL });
		usleep(500000);
		uplink_stats(w->uplink, &stats);
		assert_int_equal(stats.sent, 1);
		assert_int_equal(stats.acknowledged, 0);
		assert_int_equal(stats.conflicts, i == 0);
		outbox_stats(w->outbox, &ob);
		assert_int_equal(ob.batches, 1);
		begin = clock_mono_ns();
		uplink_stop(w->uplink, 0);
		w->uplink = NULL;
		assert_true(clock_mono_ns() - begin < CLOCK_NS_PER_S);
		peer_close(&w->peer);
	}
}

static void a_lost_reply_makes_the_same_batch_come_again(void **state)
{
	struct world *w = *state;
	struct uplink_stats stats;

	w->peer.n_script = 2; /* both REPLY_UNKNOWN: silence */
	peer_listen(&w->peer, URL, NULL);
	push(w, 1);
	push(w, 1);
	start(w,
	      &(struct uplink_options){ .url = URL, .reply_timeout_ms = 200 });
	drain(w, 3000);
	uplink_stats(w->uplink, &stats);
	assert_int_equal(stats.timeouts, 2);
	assert_int_equal(stats.sent, 3);
	peer_close(&w->peer);
	assert_int_equal(w->peer.n_seen, 3);
	for (size_t i = 0; i < 3; i++) /* both in one, as never sent before */
		assert_int_equal(w->peer.seen[i], 2);
}

static void stopping_drains_first(void **state)
{
	struct world *w = *state;
	struct outbox_stats ob;

	peer_listen(&w->peer, URL, NULL);
	start(w, &(struct uplink_options){ .url = URL });
	for (int i = 0; i < 100; i++)
		push(w, 1);
	uplink_stop(w->uplink, 5000);
	w->uplink = NULL;
	outbox_stats(w->outbox, &ob);
	assert_int_equal(ob.batches, 0);
	peer_close(&w->peer);
	assert_int_equal(w->peer.events, 100);
	assert_int_equal(w->peer.seen[w->peer.n_seen - 1], 100);
}

static void addresses_that_make_no_sense_are_refused(void **state)
{
	static const char *const urls[] = {
		NULL,		"",	  "http://127.0.0.1:1",
		"ipc:///tmp/x", "tcp://", "tls+tcp://localhost:21099"
	};
	struct world *w = *state;

	/* The last one has no certificate of who may be trusted. */
	for (size_t i = 0; i < sizeof(urls) / sizeof(*urls); i++) {
		struct uplink_options opt = { .url = urls[i] };

		if (uplink_start(&w->uplink, &opt, w->outbox) != -EINVAL)
			fail_msg("%s was taken", urls[i]);
	}
}

static void tls_carries_batches_to_whom_the_ca_vouches_for(void **state)
{
	struct world *w = *state;
	char dir[] = "/tmp/redtap-uplink-XXXXXX", command[1024], pem[128],
	     crt[128];
	struct uplink_stats stats;
	nng_tls_config *tls;

	assert_non_null(mkdtemp(dir));
	snprintf(pem, sizeof(pem), "%s/both.pem", dir);
	snprintf(crt, sizeof(crt), "%s/crt.pem", dir);
	snprintf(command, sizeof(command),
		 "openssl req -x509 -newkey rsa:2048 -nodes -days 2 "
		 "-subj /CN=localhost -addext subjectAltName=DNS:localhost "
		 "-keyout %s/key.pem -out %s 2>/dev/null && "
		 "cat %s/key.pem %s >%s",
		 dir, crt, dir, crt, pem);
	if (system(command) != 0)
		skip(); /* no openssl */
	assert_int_equal(nng_tls_config_alloc(&tls, NNG_TLS_MODE_SERVER), 0);
	assert_int_equal(nng_tls_config_cert_key_file(tls, pem, NULL), 0);
	assert_int_equal(nng_tls_config_ca_file(tls, crt), 0);
	assert_int_equal(
		nng_tls_config_auth_mode(tls, NNG_TLS_AUTH_MODE_REQUIRED), 0);
	peer_listen(&w->peer, TLS_URL, tls);
	push(w, 5);
	/* Without a certificate of our own the peer does not listen. */
	start(w, &(struct uplink_options){ .url = TLS_URL, .ca_file = crt });
	usleep(600000);
	uplink_stats(w->uplink, &stats);
	assert_int_equal(stats.acknowledged, 0);
	uplink_stop(w->uplink, 0);
	start(w, &(struct uplink_options){
			 .url = TLS_URL, .ca_file = crt, .cert_file = pem });
	drain(w, 5000);
	uplink_stop(w->uplink, 0);
	w->uplink = NULL;
	peer_close(&w->peer);
	nng_tls_config_free(tls);
	assert_int_equal(w->peer.events, 5);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(batches_arrive_in_order_and_leave_the_outbox),
		TEST(a_backlog_goes_in_one_piece),
		TEST(the_last_reply_tells_how_long_to_gather),
		TEST(an_earlier_start_is_heard_first),
		TEST(an_earlier_start_that_is_not_taken_holds_nothing_up),
		TEST(each_message_tells_what_the_outbox_holds),
		TEST(a_token_that_changes_is_found_when_it_is_refused),
		TEST(an_agent_may_start_before_its_aggregator),
		TEST(a_restarted_aggregator_is_found_within_the_longest_pause),
		TEST(a_refused_batch_is_counted_lost_and_the_next_one_goes),
		TEST(a_busy_aggregator_gets_the_time_it_asks_for),
		TEST(a_conflict_or_another_version_keeps_the_batch),
		TEST(a_lost_reply_makes_the_same_batch_come_again),
		TEST(stopping_drains_first),
		TEST(addresses_that_make_no_sense_are_refused),
		TEST(tls_carries_batches_to_whom_the_ca_vouches_for),
	};

	choose_addresses();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
