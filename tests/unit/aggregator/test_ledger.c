/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/ledger.h"

#define S ((int64_t)1000000)

static struct ledger *make(size_t max)
{
	struct ledger *l = NULL;

	assert_int_equal(ledger_new(&l, max), 0);
	return l;
}

static int offer(struct ledger *l, const char *agent, uint64_t epoch,
		 uint64_t sequence, uint64_t requests, int64_t now_us)
{
	struct batch b = { .agent = agent,
			   .epoch = epoch,
			   .sequence = sequence };
	struct ledger_epoch *row;

	return ledger_offer(l, &b, requests, 0, now_us, &row);
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
	assert_int_equal(ledger_offer(l, &b, 70, 0, S, &row), LEDGER_OVERLAP);
	b.first_sequence = 3;
	assert_int_equal(ledger_offer(l, &b, 70, 0, S, &row), LEDGER_NEW);
	assert_int_equal(ledger_offer(l, &b, 70, 0, S, &row), LEDGER_DUPLICATE);
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
	/* A late message of the one before, once. */
	assert_int_equal(offer(l, "a", 19, 6, 1, 20 * S), LEDGER_NEW);
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
	/* The first comes before the newer is known, three are strikes. */
	assert_int_equal(refused, 10 - 1 - 3);
	assert_true(ledger_at(l, 0)->conflict);
	/* Duplicates are acknowledged whoever sends them. */
	assert_int_equal(offer(l, "a", 1, 4, 1, 10 * S), LEDGER_DUPLICATE);
	/* The newer one is gone: what the older has is taken again. */
	assert_int_equal(offer(l, "a", 1, 5, 1, 40 * S), LEDGER_NEW);
	ledger_commit(l);
	assert_int_equal(totals(l)->conflicts, 0);
	assert_int_equal(
		ledger_at(l, 0)->newest->older->committed.totals.conflicts, 6);
	ledger_free(l);
}

static void knows_so_many_agents_and_no_more(void **state)
{
	struct ledger *l = make(2);

	(void)state;
	assert_int_equal(offer(l, "a", 1, 1, 1, S), LEDGER_NEW);
	assert_int_equal(offer(l, "b", 1, 1, 1, S), LEDGER_NEW);
	assert_int_equal(offer(l, "c", 1, 1, 1, S), LEDGER_FULL);
	assert_int_equal(offer(l, "a", 1, 2, 1, S), LEDGER_NEW);
	assert_int_equal(ledger_agents(l), 2);
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
	assert_int_equal(ledger_offer(l, &b, 93, 0, S, &row), LEDGER_NEW);
	b.sequence = 2;
	b.losses.captured = 60;
	b.losses.dropped[LOSS_RING] = 1;
	assert_int_equal(ledger_offer(l, &b, 0, 0, S, &row), LEDGER_NEW);
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
	assert_int_equal(ledger_offer(l, &b, 10, 0, S, &row), LEDGER_NEW);
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
	/* This one is told in time. */
	offer_packed(l, 8, 100, 50);
	assert_int_equal(totals(l)->gap_requests, 27);
	assert_int_equal(totals(l)->told_late, 27);
	assert_int_equal(totals(l)->packed,
			 totals(l)->counted + totals(l)->gap_requests +
				 totals(l)->dropped[LOSS_OUTBOX] -
				 totals(l)->told_late);
	ledger_free(l);
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
		cmocka_unit_test(knows_so_many_agents_and_no_more),
		cmocka_unit_test(an_agents_losses_never_go_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
