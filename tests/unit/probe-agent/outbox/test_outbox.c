/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "probe-agent/batch/packer.h"
#include "probe-agent/batch/rollup.h"
#include "probe-agent/outbox/outbox.h"
#include "proto/batch.h"
#include "proto/buckets.h"
#include "proto/limits.h"

/* --- the truth: what every event adds, computed from the event itself --- */

#define ROUTES 7
#define WINDOWS 16
#define NATIVE_MIN (-200)
#define NATIVE_N 800
static const uint64_t bounds_us[] = { 5000,    10000,	25000,	 50000,
				      75000,   100000,	250000,	 500000,
				      750000,  1000000, 2500000, 5000000,
				      7500000, 10000000 };
static const uint64_t bounds_bytes[] = { 0,   32,   64,	  128,	256,
					 512, 1024, 2048, 4096, 8192 };

struct histogram {
	uint64_t native[NATIVE_N], zero, classic[16];
};

struct sums {
	uint64_t count, duration_us, request_bytes, response_bytes;
	struct histogram duration, request, response;
};

struct truth {
	struct sums of[ROUTES][WINDOWS];
};

#define START_US INT64_C(1700000000000000) /* a multiple of 10 s */

static void tally(struct histogram *h, const uint64_t *bounds, size_t n,
		  bool seconds, uint64_t v, uint64_t count)
{
	size_t i = 0;

	while (i < n && v > bounds[i])
		i++;
	h->classic[i] += count;
	if (v == 0)
		h->zero += count;
	else if (seconds)
		h->native[bucket_native_seconds(v) - NATIVE_MIN] += count;
	else
		h->native[bucket_native_bytes(v) - NATIVE_MIN] += count;
}

static void tally_us(struct histogram *h, uint64_t v, uint64_t count)
{
	tally(h, bounds_us, sizeof(bounds_us) / 8, true, v, count);
}

static void tally_bytes(struct histogram *h, uint64_t v, uint64_t count)
{
	tally(h, bounds_bytes, sizeof(bounds_bytes) / 8, false, v, count);
}

static struct sums *place(struct truth *t, unsigned route, int64_t end_us)
{
	int64_t window = (end_us - START_US) / 10000000;

	assert_true(route < ROUTES && window >= 0 && window < WINDOWS);
	return &t->of[route][window];
}

static void add_one(struct sums *s, uint64_t duration, uint64_t request,
		    uint64_t response)
{
	s->count++;
	s->duration_us += duration;
	s->request_bytes += request;
	s->response_bytes += response;
	tally_us(&s->duration, duration, 1);
	tally_bytes(&s->request, request, 1);
	tally_bytes(&s->response, response, 1);
}

/* --- the other way: what arrives, events and rollups --- */

static unsigned route_of(const struct batch *b, uint32_t series)
{
	return (unsigned)atoi(b->strings[b->series.route[series]].data + 1);
}

static void receive_rollups(struct truth *t, const struct batch *b)
{
	const struct batch_rollups *r = &b->rollups;
	size_t d = 0, q = 0, p = 0;

	for (size_t i = 0; i < r->n; i++) {
		struct sums *s =
			place(t, route_of(b, r->series[i]),
			      b->base_us + r->window_delta_s[i] * 1000000);

		s->count += r->count[i];
		s->duration_us += r->duration_sum_us[i];
		s->request_bytes += r->request_bytes_sum[i];
		s->response_bytes += r->response_bytes_sum[i];
		for (uint32_t k = 0; k < r->duration.buckets[i]; k++, d++)
			tally_us(&s->duration,
				 bucket_seconds_upper(r->duration.index[d]),
				 r->duration.count[d]);
		for (uint32_t k = 0; k < r->request.buckets[i]; k++, q++)
			tally_bytes(&s->request,
				    bucket_bytes_upper(r->request.index[q]),
				    r->request.count[q]);
		for (uint32_t k = 0; k < r->response.buckets[i]; k++, p++)
			tally_bytes(&s->response,
				    bucket_bytes_upper(r->response.index[p]),
				    r->response.count[p]);
	}
}

static void receive(struct truth *t, const struct batch *b)
{
	int64_t at = b->base_us;

	for (size_t i = 0; i < b->events.n; i++) {
		at += b->events.start_delta_us[i];
		add_one(place(t, route_of(b, b->events.series[i]),
			      at + (int64_t)b->events.duration_us[i]),
			b->events.duration_us[i], b->events.request_bytes[i],
			b->events.response_bytes[i]);
	}
	receive_rollups(t, b);
}

/* --- an agent: events into packer and outbox --- */

struct world {
	struct outbox *outbox;
	struct packer *packer;
	struct batch_arena *arena;
	uint64_t epoch, random, sequence, pushed_events;
	struct truth *sent, *received;
	struct batch_losses losses; /* of the newest batch received */
	size_t received_batches, received_rollups;
	uint64_t received_sequence; /* all up to here arrived or were dropped */
	uint64_t gaps;
	char dir[32], path[64];
};

static void open_outbox(struct world *w, size_t cap_bytes, bool durable)
{
	struct outbox_options opt = { .cap_bytes = cap_bytes,
				      .path = durable ? w->path : NULL };

	assert_int_equal(outbox_open(&w->outbox, &opt), 0);
	outbox_epoch(w->outbox, &w->epoch, &w->sequence);
	assert_int_equal(packer_new(&w->packer, "node", w->epoch), 0);
	packer_resume(w->packer, w->sequence, w->pushed_events);
}

static void close_outbox(struct world *w)
{
	outbox_close(w->outbox);
	packer_free(w->packer);
	w->outbox = NULL;
	w->packer = NULL;
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->random = 88172645463325252u;
	w->sent = calloc(1, sizeof(*w->sent));
	w->received = calloc(1, sizeof(*w->received));
	strcpy(w->dir, "/tmp/redtap-outbox-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof(w->path), "%s/outbox.db", w->dir);
	assert_int_equal(batch_arena_new(&w->arena), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	char command[64];

	close_outbox(w);
	batch_arena_free(w->arena);
	free(w->sent);
	free(w->received);
	snprintf(command, sizeof(command), "rm -r %s", w->dir);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

static uint64_t next_random(struct world *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random;
}

/* Packs and pushes a batch of n made events; 0 is a heartbeat. */
static int push(struct world *w, unsigned n)
{
	struct batch_losses losses = { .captured = w->pushed_events + n };
	char route[16];
	struct packer_event e = { .service = "s",
				  .method = "GET",
				  .route = route,
				  .scheme = "http",
				  .role = 1,
				  .status = 200,
				  .version = 11 };
	void *data;
	size_t len;

	for (unsigned i = 0; i < n; i++) {
		unsigned r = (unsigned)(next_random(w) % ROUTES);

		snprintf(route, sizeof(route), "/%u", r);
		e.start_us = START_US + (int64_t)(next_random(w) % 100000000);
		e.duration_us = next_random(w) >> (40 + next_random(w) % 24);
		e.request_bytes =
			next_random(w) % 3 ? 0 : next_random(w) % 9000;
		e.response_bytes = next_random(w) % 100000;
		add_one(place(w->sent, r, e.start_us + (int64_t)e.duration_us),
			e.duration_us, e.request_bytes, e.response_bytes);
		packer_add(w->packer, &e);
	}
	w->pushed_events += n;
	assert_int_equal(
		packer_take(w->packer, &losses, &data, &len, &w->sequence), 0);
	return outbox_push(w->outbox, &data, len, w->epoch, w->sequence, n);
}

/* What an aggregator does with the oldest batch, without the last word. */
static bool take(struct world *w, struct outbox_item *it)
{
	const char *reason = "";
	struct batch b;
	uint64_t first;

	if (outbox_peek(w->outbox, it, 0) != 0)
		return false;
	if (batch_decode(w->arena, it->data, it->len, &b, &reason) != 0)
		fail_msg("%s", reason);
	assert_true(b.epoch == w->epoch && b.sequence == it->sequence);
	if (b.sequence <= w->received_sequence)
		return true; /* again: not counted */
	first = b.first_sequence > 0 ? b.first_sequence : b.sequence;
	assert_true(first > w->received_sequence);
	w->gaps += first - w->received_sequence - 1;
	w->received_sequence = b.sequence;
	w->received_batches++;
	w->received_rollups += b.rollups.n > 0;
	w->losses = b.losses;
	receive(w->received, &b);
	return true;
}

static void drain(struct world *w)
{
	struct outbox_item it;

	while (take(w, &it))
		outbox_ack(w->outbox, it.epoch, it.sequence);
}

/* --- tests --- */

static void
batches_come_out_oldest_first_and_stay_until_acknowledged(void **state)
{
	struct world *w = *state;
	struct outbox_stats stats;
	struct outbox_item it;

	open_outbox(w, 0, false);
	for (uint64_t i = 1; i <= 97; i++) {
		assert_int_equal(push(w, (unsigned)i % 5), 0);
		outbox_stats(w->outbox, &stats);
		assert_int_equal(stats.batches, 1);
		assert_int_equal(outbox_peek(w->outbox, &it, 0), 0);
		assert_int_equal(it.sequence, i);
		assert_int_equal(outbox_peek(w->outbox, &it, 0), 0);
		assert_int_equal(it.sequence, i);
		outbox_ack(w->outbox, it.epoch + 1, i); /* not it */
		outbox_ack(w->outbox, it.epoch, i + 1);
		outbox_ack(w->outbox, it.epoch, i);
	}
	assert_int_equal(outbox_peek(w->outbox, &it, 0), -EAGAIN);
	outbox_stats(w->outbox, &stats);
	assert_int_equal(stats.batches, 0);
	assert_int_equal(stats.bytes, 0);
	assert_int_equal(stats.acknowledged, 97);
	assert_int_equal(stats.dropped_events, 0);
}

static void *wake_later(void *arg)
{
	usleep(100000);
	outbox_wake(arg);
	return NULL;
}

static void waiting_ends_by_time_by_wake_and_by_a_batch(void **state)
{
	struct world *w = *state;
	struct outbox_item it;
	uint64_t begin_ns;
	pthread_t thread;

	open_outbox(w, 0, false);
	begin_ns = clock_mono_ns();
	assert_int_equal(outbox_peek(w->outbox, &it, 120), -EAGAIN);
	assert_true(clock_mono_ns() - begin_ns >= 120 * CLOCK_NS_PER_MS);
	pthread_create(&thread, NULL, wake_later, w->outbox);
	assert_int_equal(outbox_peek(w->outbox, &it, 10000), -ECANCELED);
	pthread_join(thread, NULL);
	push(w, 1);
	assert_int_equal(outbox_peek(w->outbox, &it, 10000), 0);
}

/* Batch 1 is under way while 2 to 200 arrive. */
static void join_backlog(struct world *w, bool durable)
{
	struct outbox_stats stats;
	struct outbox_item it;

	open_outbox(w, 0, durable);
	push(w, 50);
	assert_true(take(w, &it));
	assert_int_equal(it.sequence, 1);
	for (unsigned i = 2; i <= 200; i++)
		push(w, i % 9 ? 1 + i % 70 : 0);
	/* It may have been counted: it comes again as it was. */
	assert_true(take(w, &it));
	assert_int_equal(it.sequence, 1);
	assert_int_equal(w->received_batches, 1);
	outbox_ack(w->outbox, it.epoch, it.sequence);
	assert_true(take(w, &it));
	assert_int_equal(it.sequence, 200);
	outbox_stats(w->outbox, &stats);
	assert_int_equal(stats.batches, 1);
	push(w, 3); /* comes too late for what is under way */
	assert_true(take(w, &it));
	assert_int_equal(it.sequence, 200);
	drain(w);
	assert_int_equal(w->received_sequence, 201);
	assert_int_equal(w->received_batches, 3);
	assert_int_equal(w->received_rollups, 0);
	assert_int_equal(w->gaps, 0);
	assert_int_equal(w->losses.packed, w->pushed_events);
	assert_memory_equal(w->sent, w->received, sizeof(*w->sent));
	outbox_stats(w->outbox, &stats);
	assert_int_equal(stats.bytes, 0);
}

static void what_did_not_leave_is_joined_too(void **state)
{
	struct world *w = *state;
	struct outbox_left left;
	struct outbox_item it;
	size_t len;
	void *data;

	open_outbox(w, 0, false);
	push(w, 50);
	assert_int_equal(outbox_peek(w->outbox, &it, 0), 0);
	outbox_not_sent(w->outbox, it.epoch, it.sequence);
	push(w, 60);
	assert_int_equal(outbox_peek(w->outbox, &it, 0), 0);
	assert_int_equal(it.sequence, 2); /* both */
	/* This one leaves; the next attempt does not, which changes nothing. */
	assert_int_equal(outbox_peek(w->outbox, &it, 0), 0);
	outbox_not_sent(w->outbox, it.epoch, it.sequence);
	push(w, 70);
	assert_int_equal(outbox_give_up(w->outbox, &left, &data, &len), 0);
	free(data);
	assert_int_equal(left.sent, 110);
	assert_int_equal(left.requests, 70);
	assert_true(take(w, &it));
	assert_int_equal(it.sequence, 2);
	drain(w);
	assert_int_equal(w->received_batches, 2);
	assert_memory_equal(w->sent, w->received, sizeof(*w->sent));
}

static void a_backlog_is_joined_but_not_with_what_was_sent(void **state)
{
	join_backlog(*state, false);
}

static void a_backlog_in_the_file_is_joined_too(void **state)
{
	join_backlog(*state, true);
}

/* Of the file's batches some may have been sent by the agent that had it. */
static void a_restart_joins_only_what_was_certainly_not_sent(void **state)
{
	struct world *w = *state;
	struct outbox_item it;
	uint64_t sent;

	open_outbox(w, 0, true);
	for (unsigned i = 1; i <= 300; i++)
		push(w, 20);
	close_outbox(w);
	open_outbox(w, 0, true);
	for (sent = 1; take(w, &it) && it.sequence == sent; sent++)
		outbox_ack(w->outbox, it.epoch, it.sequence);
	/* The file had allowed so many to be sent; the rest is one. */
	assert_true(sent > 1 && sent < 100);
	assert_int_equal(it.sequence, 300);
	drain(w);
	assert_int_equal(w->received_batches, sent);
	assert_int_equal(w->gaps, 0);
	assert_memory_equal(w->sent, w->received, sizeof(*w->sent));
}

static void a_refused_batch_counts_its_events(void **state)
{
	struct world *w = *state;
	struct outbox_stats stats;
	struct outbox_item it;

	open_outbox(w, 0, false);
	push(w, 17);
	assert_int_equal(outbox_peek(w->outbox, &it, 0), 0);
	push(w, 1);
	outbox_refused(w->outbox, it.epoch, it.sequence);
	outbox_stats(w->outbox, &stats);
	assert_int_equal(stats.refused_events, 17);
	assert_int_equal(outbox_peek(w->outbox, &it, 0), 0);
	assert_int_equal(it.sequence, 2);
}

static void overload(struct world *w, size_t cap_bytes, bool durable)
{
	struct outbox_stats stats;
	struct outbox_item it;

	open_outbox(w, cap_bytes, durable);
	for (unsigned i = 0; i < 600; i++) {
		assert_int_equal(push(w, 1009), 0);
		/* One is under way, and its reply is lost for long. */
		if (i == 0)
			assert_true(take(w, &it));
		outbox_stats(w->outbox, &stats);
		assert_true(stats.bytes <= cap_bytes);
	}
	assert_true(stats.rolled_up_events > 100000);
	assert_int_equal(stats.dropped_events, 0);
	outbox_ack(w->outbox, it.epoch, it.sequence);
	drain(w);
	outbox_stats(w->outbox, &stats);
	assert_int_equal(stats.batches, 0);
	assert_int_equal(stats.bytes, 0);
	assert_int_equal(w->received_sequence, 600);
	assert_int_equal(w->gaps, 0);
	assert_true(w->received_rollups > 0);
	assert_true(w->received_batches < 600);
	assert_int_equal(w->losses.packed, 600 * 1009);
	assert_memory_equal(w->sent, w->received, sizeof(*w->sent));
}

static void a_full_outbox_keeps_every_count_and_bucket(void **state)
{
	overload(*state, 2u << 20, false);
}

static void a_full_file_keeps_every_count_and_bucket(void **state)
{
	overload(*state, 2u << 20, true);
}

/* Every event a series of its own: a rollup saves nothing. */
static void what_cannot_be_folded_is_dropped_and_counted(void **state)
{
	struct batch_losses losses = { 0 };
	struct world *w = *state;
	struct outbox_stats stats;
	struct outbox_item it;
	uint64_t arrived = 0, sequence;
	struct batch b;
	char route[32];
	struct packer_event e = { .service = "s",
				  .method = "GET",
				  .route = route,
				  .scheme = "http",
				  .role = 1,
				  .start_us = START_US,
				  .version = 11 };
	size_t len;
	void *data;

	open_outbox(w, 300000, false);
	for (unsigned i = 0; i < 100; i++) {
		for (unsigned k = 0; k < 503; k++) {
			snprintf(route, sizeof(route), "/%u-%u", i, k);
			packer_add(w->packer, &e);
		}
		assert_int_equal(
			packer_take(w->packer, &losses, &data, &len, &sequence),
			0);
		assert_int_equal(outbox_push(w->outbox, &data, len, w->epoch,
					     sequence, 503),
				 0);
	}
	while (outbox_peek(w->outbox, &it, 0) == 0) {
		assert_int_equal(
			batch_decode(w->arena, it.data, it.len, &b, NULL), 0);
		arrived += b.events.n;
		for (size_t i = 0; i < b.rollups.n; i++)
			arrived += b.rollups.count[i];
		outbox_ack(w->outbox, it.epoch, it.sequence);
	}
	outbox_stats(w->outbox, &stats);
	assert_true(stats.dropped_events > 0);
	assert_int_equal(arrived + stats.dropped_events, 100 * 503);
}

static void a_batch_larger_than_the_outbox_is_dropped_and_counted(void **state)
{
	struct world *w = *state;
	struct outbox_stats stats;

	open_outbox(w, 20000, false);
	assert_int_equal(push(w, 10), 0);
	assert_int_equal(push(w, 8000), 0);
	assert_int_equal(push(w, 10), 0);
	outbox_stats(w->outbox, &stats);
	assert_int_equal(stats.dropped_events, 8000);
	assert_int_equal(stats.batches, 2);
}

static void a_file_goes_on_with_epoch_sequence_and_losses(void **state)
{
	struct world *w = *state;
	struct batch_losses losses;
	uint64_t epoch;

	open_outbox(w, 0, true);
	epoch = w->epoch;
	for (int i = 0; i < 10; i++)
		push(w, 100);
	close_outbox(w);
	open_outbox(w, 0, true);
	assert_true(w->epoch == epoch);
	assert_int_equal(w->sequence, 10);
	outbox_losses(w->outbox, &losses);
	assert_int_equal(losses.packed, 1000);
	assert_int_equal(losses.captured, 1000);
	push(w, 50);
	drain(w);
	close_outbox(w);
	open_outbox(w, 0, true); /* all acknowledged: nothing comes again */
	assert_true(w->epoch == epoch);
	assert_int_equal(w->sequence, 11);
	outbox_losses(w->outbox, &losses);
	assert_int_equal(losses.packed, 1050);
	drain(w);
	assert_int_equal(w->received_batches, 11);
	assert_int_equal(w->gaps, 0);
	assert_memory_equal(w->sent, w->received, sizeof(*w->sent));
}

static void a_stop_tells_what_it_gives_up(void **state)
{
	struct world *w = *state;
	struct outbox_left left;
	struct outbox_item it;
	struct batch b;
	size_t len;
	void *data;

	open_outbox(w, 0, false);
	assert_int_equal(outbox_give_up(w->outbox, &left, &data, &len), 0);
	assert_null(data);
	push(w, 100);
	drain(w);
	assert_int_equal(outbox_give_up(w->outbox, &left, &data, &len), 0);
	assert_int_equal(left.requests + left.sent, 0);
	assert_null(data);
	push(w, 17);
	assert_true(take(w, &it)); /* whether it was counted, who knows */
	for (unsigned i = 0; i < 5; i++)
		push(w, 11);
	assert_int_equal(outbox_give_up(w->outbox, &left, &data, &len), 0);
	assert_int_equal(left.sent, 17);
	assert_int_equal(left.requests, 55);
	assert_int_equal(batch_decode(w->arena, data, len, &b, NULL), 0);
	assert_string_equal(b.agent, "node");
	assert_true(b.epoch == w->epoch);
	assert_int_equal(b.sequence, 8);
	assert_int_equal(b.first_sequence, 0);
	assert_int_equal(b.events.n, 0);
	assert_int_equal(b.losses.packed, 172);
	assert_int_equal(b.losses.captured, 172);
	assert_int_equal(b.losses.dropped[LOSS_STOPPED], 55);
	free(data);
}

static void a_stop_with_a_file_gives_nothing_up(void **state)
{
	struct world *w = *state;
	struct outbox_left left;
	size_t len;
	void *data;

	open_outbox(w, 0, true);
	for (unsigned i = 0; i < 5; i++)
		push(w, 11);
	assert_int_equal(outbox_give_up(w->outbox, &left, &data, &len), 0);
	assert_int_equal(left.requests, 55);
	assert_null(data);
	close_outbox(w);
	open_outbox(w, 0, true);
	drain(w);
	assert_memory_equal(w->sent, w->received, sizeof(*w->sent));
}

static void two_agents_cannot_share_a_file(void **state)
{
	struct world *w = *state;
	struct outbox_options opt = { .path = w->path };
	struct outbox *second = NULL;

	open_outbox(w, 0, true);
	assert_int_equal(outbox_open(&second, &opt), -EBUSY);
	assert_null(second);
}

static void a_damaged_file_is_set_aside(void **state)
{
	struct world *w = *state;
	char command[160];
	uint64_t epoch;
	FILE *f;

	open_outbox(w, 0, true);
	epoch = w->epoch;
	push(w, 10);
	close_outbox(w);
	f = fopen(w->path, "w");
	for (int i = 0; i < 10000; i++)
		fputs("rubbish", f);
	fclose(f);
	open_outbox(w, 0, true);
	assert_true(w->epoch != epoch);
	assert_int_equal(w->sequence, 0);
	push(w, 10);
	drain(w);
	snprintf(command, sizeof(command),
		 "grep -q rubbish %s/outbox.db.damaged-*", w->dir);
	assert_int_equal(system(command), 0);
}

static void run_on(const char *path, const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void a_file_of_no_version_is_set_aside(void **state)
{
	static const char *const texts[] = {
		"PRAGMA user_version = -1",
		"ALTER TABLE batch DROP COLUMN rollup",
		"DROP TABLE state; CREATE TABLE state(x)",
	};
	struct world *w = *state;
	char command[160];

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		open_outbox(w, 0, true);
		push(w, 10);
		close_outbox(w);
		run_on(w->path, texts[i]);
		open_outbox(w, 0, true);
		assert_int_equal(w->sequence, 0);
		close_outbox(w);
		snprintf(command, sizeof(command),
			 "test $(ls %s | grep -c 'damaged-[0-9-]*$') = %zu",
			 w->dir, i + 1);
		assert_int_equal(system(command), 0);
		unlink(w->path);
	}
	open_outbox(w, 0, true);
}

static void other_users_cannot_read_the_file(void **state)
{
	struct world *w = *state;
	mode_t before = umask(0);
	char path[96];
	struct stat st;

	for (int round = 0; round < 2; round++) {
		open_outbox(w, 0, true);
		push(w, 10);
		assert_int_equal(stat(w->path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0640);
		snprintf(path, sizeof(path), "%s-wal", w->path);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0640);
		close_outbox(w);
		chmod(w->path, 0644);
	}
	umask(before);
	open_outbox(w, 0, true);
}

/* --- kill -9 --- */

/*
 * What parent and child share. The child is an agent that dies anywhere; the
 * parent, an aggregator that does not: its state is the page.
 */
struct shared {
	volatile uint64_t pushed; /* last sequence that outbox_push() took */
	volatile uint64_t pushing; /* the one it may have taken */
	volatile uint64_t got; /* ledger: last sequence counted */
	volatile uint64_t events, repeats, gaps, rollups;
	volatile uint64_t steps; /* pushes of the child that runs */
};

/* The most pushes before a child is killed; twice that overfills its file. */
#define STEPS 40u
#define CAP_BYTES 150000u /* of the outbox */

static void count_in(struct shared *sh, struct world *w, struct outbox_item *it)
{
	struct batch b;
	uint64_t first, events;

	if (batch_decode(w->arena, it->data, it->len, &b, NULL) != 0)
		_exit(3);
	if (b.sequence <= sh->got) {
		sh->repeats++;
		return;
	}
	first = b.first_sequence > 0 ? b.first_sequence : b.sequence;
	events = b.events.n;
	for (size_t i = 0; i < b.rollups.n; i++)
		events += b.rollups.count[i];
	/* One store that cannot be cut in two by the kill: see the parent. */
	sh->gaps += first > sh->got ? first - sh->got - 1 : 1000000;
	sh->events += events;
	sh->rollups += b.rollups.n > 0;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	sh->got = b.sequence;
}

/* The push under way when the last child died is in the file or is not. */
static bool goes_on(const struct world *w, const struct shared *sh)
{
	return w->sequence == sh->pushed || w->sequence == sh->pushing;
}

static void deliver(struct world *w, struct shared *sh, const sigset_t *kill_me)
{
	struct outbox_item it;

	if (outbox_peek(w->outbox, &it, 0) != 0)
		return;
	/* The aggregator does not die with the agent. */
	sigprocmask(SIG_BLOCK, kill_me, NULL);
	count_in(sh, w, &it);
	usleep(1000); /* the reply is on its way */
	sigprocmask(SIG_UNBLOCK, kill_me, NULL);
	outbox_ack(w->outbox, it.epoch, it.sequence);
}

static void child(struct world *w, struct shared *sh, bool cut_off,
		  const sigset_t *kill_me)
{
	struct outbox_stats stats;

	open_outbox(w, CAP_BYTES, true);
	if (!goes_on(w, sh))
		_exit(6);
	sh->pushed = w->sequence;
	for (;; sh->steps++) {
		sh->pushing = w->sequence + 1;
		if (push(w, 101) != 0)
			_exit(4);
		sh->pushed = w->sequence;
		outbox_stats(w->outbox, &stats);
		if (stats.dropped_events > 0)
			_exit(5);
		for (uint64_t n = next_random(w) % 5 / 2; n > 0 && !cut_off;
		     n--)
			deliver(w, sh, kill_me);
	}
}

static void die(int sig)
{
	(void)sig;
	kill(getpid(), SIGKILL);
}

/*
 * Kills the child a moment after it made this many steps: anywhere in the next
 * one, however slow the machine is. 0: perhaps while it opens the file.
 */
static void kill_after(struct shared *sh, pid_t pid, uint64_t steps,
		       useconds_t moment)
{
	int status = 0;

	while (sh->steps < steps && waitpid(pid, &status, WNOHANG) == 0)
		usleep(100);
	if (status == 0) {
		usleep(moment);
		kill(pid, SIGALRM); /* its handler is kill -9 */
		assert_int_equal(waitpid(pid, &status, 0), pid);
	}
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fail_msg("child ended by itself: %x", status);
}

/* Of four children in a row, two find no aggregator and overfill the file. */
static void run_and_kill(struct world *w, struct shared *sh, unsigned round,
			 const sigset_t *kill_me)
{
	bool cut_off = round / 2 % 2;
	pid_t pid;

	sh->steps = 0;
	pid = fork();
	if (pid == 0) {
		w->random += (uint64_t)round * 7919;
		child(w, sh, cut_off, kill_me);
	}
	kill_after(sh, pid,
		   cut_off && round % 2 ? 2 * STEPS
					: next_random(w) % (STEPS + 1),
		   (useconds_t)(next_random(w) % 4000));
}

static void an_agent_killed_anywhere_loses_and_repeats_nothing(void **state)
{
	struct world *w = *state;
	struct shared *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct outbox_item it;
	struct outbox_stats stats;
	sigset_t kill_me;

	sigemptyset(&kill_me);
	sigaddset(&kill_me, SIGALRM);
	signal(SIGALRM, die); /* for the children */
	/* A kill between delivery and acknowledgement is a matter of luck. */
	for (unsigned round = 0; round < 30 || !sh->repeats || !sh->rollups;
	     round++)
		run_and_kill(w, sh, round, &kill_me);
	open_outbox(w, CAP_BYTES, true);
	assert_true(goes_on(w, sh));
	while (outbox_peek(w->outbox, &it, 0) == 0) {
		count_in(sh, w, &it);
		outbox_ack(w->outbox, it.epoch, it.sequence);
	}
	outbox_stats(w->outbox, &stats);
	assert_int_equal(stats.dropped_events, 0);
	print_message("%llu batches, %llu sent again, %llu rolled up\n",
		      (unsigned long long)w->sequence,
		      (unsigned long long)sh->repeats,
		      (unsigned long long)sh->rollups);
	assert_int_equal(sh->gaps, 0);
	assert_int_equal(sh->got, w->sequence);
	assert_int_equal(sh->events, w->sequence * 101);
	munmap(sh, sizeof(*sh));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(batches_come_out_oldest_first_and_stay_until_acknowledged),
		TEST(waiting_ends_by_time_by_wake_and_by_a_batch),
		TEST(what_did_not_leave_is_joined_too),
		TEST(a_backlog_is_joined_but_not_with_what_was_sent),
		TEST(a_backlog_in_the_file_is_joined_too),
		TEST(a_restart_joins_only_what_was_certainly_not_sent),
		TEST(a_refused_batch_counts_its_events),
		TEST(a_full_outbox_keeps_every_count_and_bucket),
		TEST(a_full_file_keeps_every_count_and_bucket),
		TEST(what_cannot_be_folded_is_dropped_and_counted),
		TEST(a_batch_larger_than_the_outbox_is_dropped_and_counted),
		TEST(a_file_goes_on_with_epoch_sequence_and_losses),
		TEST(a_stop_tells_what_it_gives_up),
		TEST(a_stop_with_a_file_gives_nothing_up),
		TEST(two_agents_cannot_share_a_file),
		TEST(a_damaged_file_is_set_aside),
		TEST(a_file_of_no_version_is_set_aside),
		TEST(other_users_cannot_read_the_file),
		TEST(an_agent_killed_anywhere_loses_and_repeats_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
