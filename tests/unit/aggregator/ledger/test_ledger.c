/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/ledger/ledger.h"

#define S ((int64_t)1000000)

static struct ledger *make(size_t max)
{
	struct ledger *l = NULL;

	assert_int_equal(ledger_new(&l, max), 0);
	return l;
}

/* A batch of an agent whose clock is ours; runs: it is no replay. */
static int offer_batch(struct ledger *l, const struct batch *b,
		       uint64_t requests, int64_t now_us, bool runs,
		       struct ledger_epoch **row)
{
	const struct ledger_arrival a = { .batch = b,
					  .requests = requests,
					  .now_us = now_us,
					  .clock_us = runs ? now_us : 0 };
	struct ledger_epoch *none;

	return ledger_offer(l, &a, row ? row : &none);
}

static int offer(struct ledger *l, const char *agent, uint64_t epoch,
		 uint64_t sequence, uint64_t requests, int64_t now_us)
{
	struct batch b = { .agent = agent,
			   .epoch = epoch,
			   .sequence = sequence };

	return offer_batch(l, &b, requests, now_us, false, NULL);
}

/* The same, of an agent that runs. */
static int send(struct ledger *l, uint64_t epoch, uint64_t sequence,
		int64_t now_us)
{
	struct batch b = { .agent = "a", .epoch = epoch, .sequence = sequence };

	return offer_batch(l, &b, 1, now_us, true, NULL);
}

static const struct ledger_totals *totals(struct ledger *l)
{
	return &ledger_at(l, 0)->newest->committed.totals;
}

static void takes_each_number_once(void **state)
{
	struct ledger *l = make(0);

	(void)state;
	assert_int_equal(offer(l, "a", 1, 1, 10, S), LEDGER_NEW);
	/* Still pending: the same group may hold it twice. */
	assert_int_equal(offer(l, "a", 1, 1, 10, S), LEDGER_DUPLICATE);
	ledger_commit(l);
	assert_int_equal(offer(l, "a", 1, 1, 10, S), LEDGER_DUPLICATE);
	assert_int_equal(offer(l, "a", 1, 2, 5, S), LEDGER_NEW);
	ledger_commit(l);
	assert_null(ledger_dirty(l));
	assert_int_equal(totals(l)->counted, 15);
	assert_int_equal(totals(l)->batches, 2);
	assert_int_equal(totals(l)->duplicates, 2);
	assert_int_equal(totals(l)->gap_batches, 0);
	ledger_free(l);
}

static void an_abort_takes_everything_back(void **state)
{
	struct ledger *l = make(0);

	(void)state;
	assert_int_equal(offer(l, "a", 1, 1, 10, S), LEDGER_NEW);
	ledger_commit(l);
	assert_int_equal(offer(l, "a", 1, 2, 10, S), LEDGER_NEW);
	ledger_abort(l);
	assert_int_equal(totals(l)->counted, 10);
	assert_int_equal(offer(l, "a", 1, 2, 10, S), LEDGER_NEW);
	ledger_commit(l);
	assert_int_equal(totals(l)->counted, 20);
	ledger_free(l);
}

static void counts_numbers_that_were_left_out(void **state)
{
	struct ledger *l = make(0);

	(void)state;
	assert_int_equal(offer(l, "a", 1, 3, 10, S), LEDGER_NEW);
	assert_int_equal(offer(l, "a", 1, 4, 10, S), LEDGER_NEW);
	assert_int_equal(offer(l, "a", 1, 7, 10, S), LEDGER_NEW);
	ledger_commit(l);
	assert_int_equal(totals(l)->gap_batches, 2 + 2);
	ledger_free(l);
}

static void a_rollup_stands_for_the_numbers_it_names(void **state)
{
	struct ledger *l = make(0);
	struct batch b = { .agent = "a", .epoch = 1, .sequence = 9 };
	struct ledger_epoch *row;

	(void)state;
	assert_int_equal(offer(l, "a", 1, 2, 1, S), LEDGER_NEW);
	b.first_sequence = 2;
	assert_int_equal(offer_batch(l, &b, 70, S, false, &row),
			 LEDGER_OVERLAP);
	b.first_sequence = 3;
	assert_int_equal(offer_batch(l, &b, 70, S, false, &row), LEDGER_NEW);
	assert_int_equal(offer_batch(l, &b, 70, S, false, &row),
			 LEDGER_DUPLICATE);
	ledger_commit(l);
	assert_int_equal(totals(l)->gap_batches, 1); /* number 1 */
	assert_int_equal(totals(l)->counted, 71);
	ledger_free(l);
}

static void an_older_epoch_is_drained_when_the_newer_is_silent(void **state)
{
	struct ledger *l = make(0);

	(void)state;
	assert_int_equal(offer(l, "a", 9, 1, 1, S), LEDGER_NEW);
	for (uint64_t i = 1; i <= 20; i++)
		assert_int_equal(offer(l, "a", 5, i, 1, 60 * S), LEDGER_NEW);
	ledger_free(l);
}

static void a_restart_is_no_conflict(void **state)
{
	struct ledger *l = make(0);

	(void)state;
	for (uint64_t epoch = 1; epoch <= 20; epoch++)
		for (uint64_t i = 1; i <= 5; i++)
			assert_int_equal(
				offer(l, "a", epoch, i, 1, (int64_t)epoch * S),
				LEDGER_NEW);
	/* What was on its way at each of many restarts, one soon after another.
	 */
	for (uint64_t epoch = 20; epoch <= 40; epoch++) {
		assert_int_equal(offer(l, "a", epoch + 1, 1, 1, 20 * S),
				 LEDGER_NEW);
		assert_int_equal(offer(l, "a", epoch, 6, 1, 20 * S),
				 LEDGER_NEW);
	}
	ledger_commit(l);
	assert_false(ledger_at(l, 0)->conflict);
	ledger_free(l);
}

static void two_live_agents_with_one_id_are_told_apart(void **state)
{
	struct ledger *l = make(0);
	unsigned refused = 0;

	(void)state;
	for (uint64_t i = 1; i <= 10; i++) {
		int64_t now = (int64_t)i * S;

		if (offer(l, "a", 1, i - refused, 1, now) == LEDGER_CONFLICT)
			refused++;
		assert_int_equal(offer(l, "a", 2, i, 1, now), LEDGER_NEW);
	}
	/* The first came before the newer; the next may have been on its way.
	 */
	assert_int_equal(refused, 10 - 1 - 1);
	assert_true(ledger_at(l, 0)->conflict);
	/* Duplicates are acknowledged whoever sends them. */
	assert_int_equal(offer(l, "a", 1, 2, 1, 10 * S), LEDGER_DUPLICATE);
	/* The newer one is gone: what the older has is taken again. */
	assert_int_equal(offer(l, "a", 1, 3, 1, 40 * S), LEDGER_NEW);
	ledger_commit(l);
	assert_int_equal(totals(l)->conflicts, 0);
	assert_int_equal(
		ledger_at(l, 0)->newest->older->committed.totals.conflicts, 8);
	ledger_free(l);
}

/* As a checkpoint does. */
static void all_stored(struct ledger *l)
{
	for (size_t i = 0; i < ledger_agents(l); i++)
		for (struct ledger_epoch *e = ledger_at(l, i)->newest; e;
		     e = e->older)
			e->unstored = false;
}

static void an_agent_too_many_makes_the_silent_leave(void **state)
{
	struct ledger *l = make(3);

	(void)state;
	assert_int_equal(offer(l, "a", 1, 1, 1, 5 * S), LEDGER_NEW);
	assert_int_equal(offer(l, "b", 1, 1, 1, 3 * S), LEDGER_NEW);
	assert_int_equal(offer(l, "c", 1, 1, 1, 4 * S), LEDGER_NEW);
	assert_int_equal(offer(l, "d", 1, 1, 1, 6 * S), LEDGER_FULL);
	assert_int_equal(offer(l, "a", 1, 2, 1, 6 * S), LEDGER_NEW);
	ledger_commit(l);
	assert_int_equal(ledger_agents(l), 3);
	/* What is in the log only stays. */
	assert_int_equal(ledger_evict(l, 1, 9 * S), 0);
	all_stored(l);
	/* None has been silent for long enough; then the most silent goes. */
	assert_int_equal(ledger_evict(l, 1, 3 * S), 0);
	assert_int_equal(ledger_evict(l, 1, 9 * S), 1);
	assert_null(ledger_find(l, "b"));
	assert_non_null(ledger_find(l, "a"));
	assert_non_null(ledger_find(l, "c"));
	assert_int_equal(ledger_epochs(l), 2);
	assert_int_equal(offer(l, "d", 1, 1, 1, 6 * S), LEDGER_NEW);
	ledger_commit(l);
	all_stored(l);
	/* All that were silent since. */
	assert_int_equal(ledger_evict(l, 3, 6 * S), 1);
	assert_int_equal(ledger_agents(l), 2);
	ledger_drop(l, ledger_find(l, "a"));
	assert_int_equal(ledger_agents(l), 1);
	assert_ptr_equal(ledger_at(l, 0), ledger_find(l, "d"));
	assert_int_equal(offer(l, "d", 1, 1, 1, 6 * S), LEDGER_DUPLICATE);
	ledger_free(l);
}

static void an_agents_losses_never_go_back(void **state)
{
	struct ledger *l = make(0);
	struct batch b = { .agent = "a", .epoch = 1, .sequence = 1 };
	struct ledger_epoch *row;

	(void)state;
	b.losses.captured = 100;
	b.losses.dropped[LOSS_RING] = 7;
	assert_int_equal(offer_batch(l, &b, 93, S, false, &row), LEDGER_NEW);
	b.sequence = 2;
	b.losses.captured = 60;
	b.losses.dropped[LOSS_RING] = 1;
	assert_int_equal(offer_batch(l, &b, 0, S, false, &row), LEDGER_NEW);
	ledger_commit(l);
	assert_int_equal(totals(l)->captured, 100);
	assert_int_equal(totals(l)->dropped[LOSS_RING], 7);
	ledger_free(l);
}

/* Batch number n of events each; told: dropped by the outbox, it says. */
static void offer_packed(struct ledger *l, uint64_t n, uint64_t packed,
			 uint64_t told)
{
	struct batch b = { .agent = "a", .epoch = 1, .sequence = n };
	struct ledger_epoch *row;

	b.losses.captured = b.losses.packed = packed;
	b.losses.dropped[LOSS_OUTBOX] = told;
	assert_int_equal(offer_batch(l, &b, 10, S, false, &row), LEDGER_NEW);
	ledger_commit(l);
}

static void a_gap_is_counted_in_requests_and_once(void **state)
{
	struct ledger *l = make(0);

	(void)state;
	offer_packed(l, 1, 10, 0);
	offer_packed(l, 4, 47, 0); /* 27 in numbers 2 and 3 */
	assert_int_equal(totals(l)->gap_batches, 2);
	assert_int_equal(totals(l)->gap_requests, 27);
	offer_packed(l, 5, 57, 0);
	/* The agent had dropped them, it says now: no other loss. */
	offer_packed(l, 6, 67, 27);
	assert_int_equal(totals(l)->gap_requests, 27);
	assert_int_equal(totals(l)->told_late, 27);
	/* This loss is reported in time. */
	offer_packed(l, 8, 100, 50);
	assert_int_equal(totals(l)->gap_requests, 27);
	assert_int_equal(totals(l)->told_late, 27);
	assert_int_equal(totals(l)->packed,
			 totals(l)->counted + totals(l)->gap_requests +
				 totals(l)->dropped[LOSS_OUTBOX] -
				 totals(l)->told_late);
	ledger_free(l);
}

/* An agent that started n times, a second apart, one request each. */
static struct ledger *restarted(uint64_t n)
{
	struct ledger *l = make(0);

	for (uint64_t i = 1; i <= n; i++) {
		assert_int_equal(offer(l, "a", i, 1, 1, (int64_t)i * S),
				 LEDGER_NEW);
		ledger_commit(l);
	}
	return l;
}

/* Sum over all rows and what was retired. */
static struct ledger_totals sum_of(struct ledger *l)
{
	struct ledger_agent *a = ledger_at(l, 0);
	struct ledger_totals sum = a->retired;

	for (struct ledger_epoch *e = a->newest; e; e = e->older)
		ledger_totals_add(&sum, &e->committed.totals);
	return sum;
}

static size_t retirable(struct ledger *l, int64_t before_us, int64_t now_us)
{
	uint64_t epochs[LEDGER_EPOCHS_CROWD];

	return ledger_retirable(l, ledger_at(l, 0), before_us, now_us, epochs,
				LEDGER_EPOCHS_CROWD);
}

/* Retires what may be; returns how many. */
static size_t retire(struct ledger *l, int64_t before_us, int64_t now_us)
{
	uint64_t epochs[LEDGER_EPOCHS_CROWD];
	struct ledger_agent *a = ledger_at(l, 0);
	size_t n = ledger_retirable(l, a, before_us, now_us, epochs,
				    LEDGER_EPOCHS_CROWD);

	ledger_retire(l, a, epochs, n);
	return n;
}

static void epochs_are_retired_after_long_silence(void **state)
{
	struct ledger *l = restarted(20);
	struct ledger_agent *a = ledger_at(l, 0), after;
	uint64_t gone[20];

	(void)state;
	/* None is silent for long enough; then 5; and 8 stay whatever. */
	assert_int_equal(retirable(l, 1 * S, 21 * S), 0);
	assert_int_equal(retirable(l, 6 * S, 21 * S), 5);
	assert_int_equal(retirable(l, 9000 * S, 21 * S),
			 20 - LEDGER_EPOCHS_KEPT);
	/* One that is heard again stays, whatever its number. */
	assert_int_equal(offer(l, "a", 3, 2, 1, 90 * S), LEDGER_NEW);
	ledger_commit(l);
	assert_int_equal(ledger_retirable(l, a, 6 * S, 90 * S, gone, 2), 2);
	assert_int_equal(ledger_retirable(l, a, 6 * S, 90 * S, gone, 20), 4);
	assert_int_equal(gone[0], 1);
	assert_int_equal(gone[1], 2);
	assert_int_equal(gone[2], 4);
	ledger_retire_preview(a, gone, 4, &after);
	assert_int_equal(after.retired_epoch, 5);
	assert_int_equal(after.retired_seen_us, 5 * S);
	assert_int_equal(after.retired.counted, 4);
	assert_int_equal(a->n_epochs, 20); /* still */
	ledger_retire(l, a, gone, 4);
	assert_int_equal(a->n_epochs, 16);
	assert_int_equal(ledger_epochs(l), 16);
	assert_int_equal(a->retired_epoch, 5);
	assert_non_null(ledger_epoch_find(a, 3));
	assert_int_equal(sum_of(l).counted, 21);
	ledger_free(l);
}

static void a_batch_of_a_retired_epoch_is_held_back(void **state)
{
	struct ledger *l = restarted(20);
	struct batch b = { .agent = "a", .epoch = 5, .sequence = 2 };

	(void)state;
	assert_int_equal(retire(l, 9000 * S, 21 * S), 12);
	assert_int_equal(sum_of(l).counted, 20);
	/* It may have been counted. Nothing is lost. */
	assert_int_equal(offer(l, "a", 12, 1, 7, 99 * S), LEDGER_EXPIRED);
	assert_int_equal(offer(l, "a", 5, 2, 3, 99 * S), LEDGER_EXPIRED);
	assert_int_equal(offer_batch(l, &b, 3, 99 * S, true, NULL),
			 LEDGER_EXPIRED);
	ledger_commit(l);
	assert_int_equal(sum_of(l).expired_requests, 0);
	assert_int_equal(sum_of(l).conflicts, 3);
	assert_int_equal(sum_of(l).counted, 20);
	/* The ones that stayed know what they have. */
	assert_int_equal(offer(l, "a", 13, 1, 1, 99 * S), LEDGER_DUPLICATE);
	assert_int_equal(offer(l, "a", 13, 2, 1, 99 * S), LEDGER_NEW);
	ledger_free(l);
}

static void
a_start_after_all_retired_ones_is_new_whatever_its_number(void **state)
{
	/* Its clock was far ahead, and is put right now. */
	const int64_t now_us = 1000000 * S, ahead_us = 40000000 * S;
	struct ledger *l = make(0);
	struct batch b = { .agent = "a", .sequence = 1 };
	struct ledger_arrival in = { .batch = &b, .requests = 1 };
	struct ledger_epoch *row;

	(void)state;
	for (int64_t i = 0; i < 20; i++) {
		b.epoch = (uint64_t)(now_us + i * S + ahead_us) * 1000;
		in.now_us = now_us + i * S;
		in.clock_us = in.now_us + ahead_us;
		assert_int_equal(ledger_offer(l, &in, &row), LEDGER_NEW);
		ledger_commit(l);
	}
	assert_int_equal(retire(l, now_us + 900 * S, now_us + 900 * S), 12);
	b.epoch = (uint64_t)(now_us + 890 * S) * 1000;
	in.now_us = now_us + 900 * S;
	in.clock_us = 0; /* a replay of something that began then */
	assert_int_equal(ledger_offer(l, &in, &row), LEDGER_EXPIRED);
	in.clock_us = in.now_us;
	assert_int_equal(ledger_offer(l, &in, &row), LEDGER_NEW);
	/* Began before the last retired one was heard: it may be that. */
	b.epoch = (uint64_t)(now_us + 5 * S) * 1000;
	assert_int_equal(ledger_offer(l, &in, &row), LEDGER_EXPIRED);
	ledger_free(l);
}

static void many_starts_do_not_fill_the_table(void **state)
{
	struct ledger *l = make(0);
	unsigned crowded = 0;
	int64_t now_us = S;

	(void)state;
	for (uint64_t i = 1; i <= 10000; i++) {
		int verdict = offer(l, "a", i, 1, 1, now_us);

		ledger_commit(l);
		if (verdict == LEDGER_CROWDED) {
			crowded++;
			/* Those of now were heard too lately to be retired. */
			if (crowded == 1)
				assert_int_equal(retire(l, 0, now_us), 0);
			now_us += LEDGER_ALIVE_US + 1;
			assert_int_equal(retire(l, 0, now_us),
					 LEDGER_EPOCHS_CROWD -
						 LEDGER_EPOCHS_MAX);
			verdict = offer(l, "a", i, 1, 1, now_us);
			ledger_commit(l);
		}
		assert_int_equal(verdict, LEDGER_NEW);
		assert_true(ledger_epochs(l) <= LEDGER_EPOCHS_CROWD);
	}
	assert_int_equal(crowded,
			 (10000 - 1 - LEDGER_EPOCHS_MAX) /
				 (LEDGER_EPOCHS_CROWD - LEDGER_EPOCHS_MAX));
	assert_int_equal(sum_of(l).counted, 10000);
	ledger_free(l);
}

static void all_agents_together_have_a_bound_on_starts(void **state)
{
	enum { AGENTS = 10, ROWS = AGENTS * LEDGER_EPOCHS_MEAN };
	struct ledger *l = make(AGENTS);
	char name[2] = "a";
	unsigned busy = 0;

	(void)state;
	for (uint64_t epoch = 1; epoch <= 8; epoch++)
		for (int i = 0; i < AGENTS; i++) {
			int verdict;

			name[0] = (char)('a' + i);
			verdict = offer(l, name, epoch, 1, 1, S);
			if (verdict == LEDGER_CROWDED)
				busy++;
			else
				assert_int_equal(verdict, LEDGER_NEW);
		}
	ledger_commit(l);
	assert_int_equal(ledger_epochs(l), ROWS);
	assert_int_equal(busy, 8 * AGENTS - ROWS);
	/* Only two of each stay then. */
	assert_int_equal(retire(l, 0, S + LEDGER_ALIVE_US + 1),
			 LEDGER_EPOCHS_MEAN - 2);
	assert_int_equal(offer(l, "a", 9, 1, 1, 99 * S), LEDGER_NEW);
	ledger_free(l);
}

/* --- batches that no agent has sent --- */

#define YEAR (365 * (int64_t)86400 * S)
#define NOW (55 * YEAR)
#define BEGAN ((uint64_t)(NOW - 3600 * S) * 1000) /* an agent's start */

static void starts_in_the_future_leave_no_trace(void **state)
{
	struct ledger *l = make(0);

	(void)state;
	assert_int_equal(send(l, BEGAN, 1, NOW), LEDGER_NEW);
	ledger_commit(l);
	for (uint64_t i = 0; i < 300; i++) {
		assert_int_equal(offer(l, "a", UINT64_MAX - i, 1, 1, NOW),
				 LEDGER_AHEAD);
		assert_int_equal(send(l, UINT64_MAX - i, 1, NOW), LEDGER_AHEAD);
		assert_int_equal(
			send(l, (uint64_t)(NOW + 2 * 86400 * S) * 1000, 1, NOW),
			LEDGER_AHEAD);
	}
	assert_int_equal(offer(l, "unheard", UINT64_MAX, 1, 1, NOW),
			 LEDGER_AHEAD);
	ledger_commit(l);
	assert_int_equal(ledger_agents(l), 1);
	assert_int_equal(ledger_epochs(l), 1);
	assert_int_equal(send(l, BEGAN, 2, NOW), LEDGER_NEW);
	/* A clock that is a year ahead agrees with its own start. */
	{
		struct batch b = { .agent = "b",
				   .epoch = BEGAN,
				   .sequence = 1 };
		struct ledger_arrival in = { .batch = &b,
					     .now_us = NOW - YEAR,
					     .clock_us = NOW };
		struct ledger_epoch *row;

		assert_int_equal(ledger_offer(l, &in, &row), LEDGER_NEW);
	}
	ledger_free(l);
}

static void a_start_in_conflict_leaves_no_row(void **state)
{
	struct ledger *l = make(0);
	unsigned held = 0;

	(void)state;
	assert_int_equal(send(l, BEGAN, 1, NOW), LEDGER_NEW);
	/* Each is lower than the one before, and than the agent's. */
	for (uint64_t i = 1; i <= 300; i++)
		held += send(l, BEGAN - i, 1, NOW) == LEDGER_CONFLICT;
	ledger_commit(l);
	assert_int_equal(held, 300 - 1);
	assert_int_equal(ledger_epochs(l), 2);
	assert_int_equal(send(l, BEGAN, 2, NOW), LEDGER_NEW);
	ledger_free(l);
}

static void made_up_starts_do_not_retire_one_that_is_heard(void **state)
{
	struct ledger *l = make(0);
	int64_t now_us = NOW;
	uint64_t made_up = BEGAN, sequence = 2;

	(void)state;
	assert_int_equal(send(l, BEGAN, 1, now_us), LEDGER_NEW);
	ledger_commit(l);
	/* For ten minutes, ten starts a second, each later than all before. */
	for (int second = 0; second < 600; second++, now_us += S) {
		for (int i = 0; i < 10; i++)
			send(l, ++made_up, 1, now_us);
		if (second % 5 == 0) /* as after a CONFLICT */
			assert_int_not_equal(send(l, BEGAN, sequence, now_us),
					     LEDGER_EXPIRED);
		ledger_commit(l);
		retire(l, now_us - 86400 * S, now_us);
		assert_non_null(ledger_epoch_find(ledger_at(l, 0), BEGAN));
	}
	now_us += LEDGER_ALIVE_US + S;
	sequence =
		ledger_epoch_find(ledger_at(l, 0), BEGAN)->committed.sequence;
	assert_int_equal(send(l, BEGAN, sequence + 1, now_us), LEDGER_NEW);
	ledger_free(l);
}

static void numbers_that_cannot_have_been_reached_are_held_back(void **state)
{
	struct ledger *l = make(0);
	struct batch b = { .agent = "a", .epoch = BEGAN };

	(void)state;
	assert_int_equal(send(l, BEGAN, UINT64_MAX, NOW), LEDGER_LEAP);
	assert_int_equal(ledger_epochs(l), 0);
	assert_int_equal(send(l, BEGAN, 1, NOW), LEDGER_NEW);
	assert_int_equal(send(l, BEGAN, UINT64_MAX, NOW), LEDGER_LEAP);
	assert_int_equal(send(l, BEGAN, 1 + LEDGER_LEAP_MORE + 2, NOW),
			 LEDGER_LEAP);
	assert_int_equal(send(l, BEGAN, 2, NOW), LEDGER_NEW);
	/* Its outbox was full for a day: it says that it packed more. */
	b.sequence = 200000;
	b.losses.packed = 198000;
	assert_int_equal(offer_batch(l, &b, 1, NOW, true, NULL), LEDGER_LEAP);
	b.losses.packed = 200000;
	assert_int_equal(offer_batch(l, &b, 1, NOW, true, NULL), LEDGER_NEW);
	/* Or it had nothing but heartbeats to send. */
	assert_int_equal(send(l, BEGAN, 217000, NOW), LEDGER_LEAP);
	assert_int_equal(send(l, BEGAN, 217000, NOW + 86400 * S), LEDGER_NEW);
	ledger_free(l);
}

static void a_number_used_by_another_sender_is_held_back(void **state)
{
	struct ledger *l = make(0);
	struct ledger_agent *a;

	(void)state;
	assert_int_equal(send(l, BEGAN, 10, NOW), LEDGER_NEW);
	assert_int_equal(send(l, BEGAN, 900, NOW), LEDGER_NEW);
	ledger_commit(l);
	assert_int_equal(send(l, BEGAN, 11, NOW), LEDGER_BEHIND);
	/* A replay may begin anew: the reply tells it how far it is. */
	assert_int_equal(offer(l, "a", BEGAN, 11, 1, NOW), LEDGER_DUPLICATE);
	/* So may an agent that crashed, a little. */
	assert_int_equal(send(l, BEGAN, 900 - LEDGER_BEHIND_MAX, NOW),
			 LEDGER_DUPLICATE);
	assert_int_equal(send(l, BEGAN, 899 - LEDGER_BEHIND_MAX, NOW),
			 LEDGER_BEHIND);
	/* The log showed that only number 10 was counted. */
	a = ledger_at(l, 0);
	ledger_mend(l, a->newest, 10);
	assert_int_equal(send(l, BEGAN, 11, NOW), LEDGER_NEW);
	ledger_abort(l);
	assert_int_equal(a->newest->committed.sequence, 900);
	ledger_free(l);
}

static void a_duplicates_losses_show_what_was_not_counted(void **state)
{
	struct ledger *l = make(0);
	struct batch b = { .agent = "a", .epoch = 1, .sequence = 2 };

	(void)state;
	b.losses.captured = b.losses.packed = 10;
	assert_int_equal(offer_batch(l, &b, 10, S, false, NULL), LEDGER_NEW);
	b.losses.captured = b.losses.packed = 25;
	assert_int_equal(offer_batch(l, &b, 15, S, false, NULL),
			 LEDGER_DUPLICATE);
	ledger_commit(l);
	assert_int_equal(totals(l)->captured, 25);
	assert_int_equal(totals(l)->counted, 10);
	ledger_free(l);
}

static void sums_stop_at_their_maximum(void **state)
{
	struct ledger *l = make(0);
	struct ledger_totals a = { .captured = INT64_MAX - 5, .counted = 7 };
	const struct ledger_totals b = { .captured = 10, .counted = 8 };

	(void)state;
	ledger_totals_add(&a, &b);
	assert_int_equal(a.captured, INT64_MAX);
	assert_int_equal(a.counted, 15);
	for (uint64_t i = 1; i <= 5; i++)
		assert_int_equal(offer(l, "a", 1, i, UINT64_C(1) << 61, S),
				 LEDGER_NEW);
	ledger_commit(l);
	assert_int_equal(totals(l)->counted, INT64_MAX);
	ledger_free(l);
}

/*
 * An agent stops with batches 4 to 9: 4 was sent, and may have been counted; of
 * the others the next start says that they are given up.
 */
static void what_a_stop_gave_up_closes_the_sum(void **state)
{
	(void)state;
	for (int counted = 0; counted <= 1; counted++) {
		struct batch b = { .agent = "a", .epoch = 1 };
		struct ledger *l = make(0);
		const struct ledger_totals *t;

		for (b.sequence = 1; b.sequence <= 3 + (unsigned)counted;
		     b.sequence++) {
			b.losses.captured = b.losses.packed += 10;
			assert_int_equal(offer_batch(l, &b, 10, S, false, NULL),
					 LEDGER_NEW);
		}
		b.sequence = 10;
		b.losses.captured = b.losses.packed = 90;
		b.losses.dropped[LOSS_STOPPED] = 50;
		assert_int_equal(offer_batch(l, &b, 0, S, false, NULL),
				 LEDGER_NEW);
		/* Again, as its reply was lost. */
		assert_int_equal(offer_batch(l, &b, 0, S, false, NULL),
				 LEDGER_DUPLICATE);
		ledger_commit(l);
		t = totals(l);
		assert_int_equal(t->counted, 30 + 10 * counted);
		assert_int_equal(t->dropped[LOSS_STOPPED], 50);
		assert_int_equal(t->gap_requests, 10 - 10 * counted);
		assert_int_equal(t->told_late, 0);
		assert_int_equal(t->captured, t->counted + t->gap_requests +
						      t->dropped[LOSS_STOPPED]);
		ledger_free(l);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_each_number_once),
		cmocka_unit_test(an_abort_takes_everything_back),
		cmocka_unit_test(counts_numbers_that_were_left_out),
		cmocka_unit_test(a_gap_is_counted_in_requests_and_once),
		cmocka_unit_test(a_rollup_stands_for_the_numbers_it_names),
		cmocka_unit_test(
			an_older_epoch_is_drained_when_the_newer_is_silent),
		cmocka_unit_test(a_restart_is_no_conflict),
		cmocka_unit_test(two_live_agents_with_one_id_are_told_apart),
		cmocka_unit_test(an_agent_too_many_makes_the_silent_leave),
		cmocka_unit_test(an_agents_losses_never_go_back),
		cmocka_unit_test(epochs_are_retired_after_long_silence),
		cmocka_unit_test(a_batch_of_a_retired_epoch_is_held_back),
		cmocka_unit_test(
			a_start_after_all_retired_ones_is_new_whatever_its_number),
		cmocka_unit_test(many_starts_do_not_fill_the_table),
		cmocka_unit_test(all_agents_together_have_a_bound_on_starts),
		cmocka_unit_test(starts_in_the_future_leave_no_trace),
		cmocka_unit_test(a_start_in_conflict_leaves_no_row),
		cmocka_unit_test(
			made_up_starts_do_not_retire_one_that_is_heard),
		cmocka_unit_test(
			numbers_that_cannot_have_been_reached_are_held_back),
		cmocka_unit_test(a_number_used_by_another_sender_is_held_back),
		cmocka_unit_test(a_duplicates_losses_show_what_was_not_counted),
		cmocka_unit_test(sums_stop_at_their_maximum),
		cmocka_unit_test(what_a_stop_gave_up_closes_the_sum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
