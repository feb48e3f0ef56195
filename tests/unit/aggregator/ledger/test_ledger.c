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

static void epochs_are_retired_late_and_lowest_first(void **state)
{
	struct ledger *l = restarted(20);
	struct ledger_agent *a = ledger_at(l, 0), after;
	uint64_t gone[20];

	(void)state;
	/* None is silent for long enough; then 5; and 8 stay whatever. */
	assert_int_equal(ledger_retirable(a, 1 * S), 0);
	assert_int_equal(ledger_retirable(a, 6 * S), 5);
	assert_int_equal(ledger_retirable(a, 9000 * S),
			 20 - LEDGER_EPOCHS_KEPT);
	/* What is heard again holds back itself and all above. */
	assert_int_equal(offer(l, "a", 3, 2, 1, 90 * S), LEDGER_NEW);
	ledger_commit(l);
	assert_int_equal(ledger_retirable(a, 6 * S), 2);
	ledger_retire_preview(a, 2, &after, gone);
	assert_int_equal(gone[0], 2);
	assert_int_equal(gone[1], 1);
	assert_int_equal(after.retired_epoch, 2);
	assert_int_equal(after.retired.counted, 2);
	assert_int_equal(a->n_epochs, 20); /* still */
	ledger_retire(a, 2);
	assert_int_equal(a->n_epochs, 18);
	assert_int_equal(a->retired_epoch, 2);
	assert_int_equal(sum_of(l).counted, 21);
	ledger_free(l);
}

static void a_batch_of_a_retired_epoch_is_named_and_not_counted(void **state)
{
	struct ledger *l = restarted(20);
	struct ledger_agent *a = ledger_at(l, 0);

	(void)state;
	ledger_retire(a, 12);
	assert_int_equal(sum_of(l).counted, 20);
	/* It is unknown whether the batch was counted. */
	assert_int_equal(offer(l, "a", 12, 1, 7, 99 * S), LEDGER_EXPIRED);
	assert_int_equal(offer(l, "a", 5, 2, 3, 99 * S), LEDGER_EXPIRED);
	ledger_abort(l);
	assert_int_equal(sum_of(l).expired_requests, 0);
	assert_int_equal(offer(l, "a", 5, 2, 3, 99 * S), LEDGER_EXPIRED);
	ledger_commit(l);
	assert_int_equal(sum_of(l).expired_batches, 1);
	assert_int_equal(sum_of(l).expired_requests, 3);
	assert_int_equal(sum_of(l).counted, 20);
	/* The ones that stayed know what they have. */
	assert_int_equal(offer(l, "a", 13, 1, 1, 99 * S), LEDGER_DUPLICATE);
	assert_int_equal(offer(l, "a", 13, 2, 1, 99 * S), LEDGER_NEW);
	ledger_free(l);
}

static void many_starts_do_not_fill_the_table(void **state)
{
	struct ledger *l = make(0);
	struct ledger_agent *a;
	unsigned crowded = 0;

	(void)state;
	for (uint64_t i = 1; i <= 10000; i++) {
		int verdict = offer(l, "a", i, 1, 1, S);

		ledger_commit(l);
		a = ledger_at(l, 0);
		if (verdict == LEDGER_CROWDED) {
			crowded++;
			ledger_retire(a, ledger_retirable(a, 0));
			assert_int_equal(a->n_epochs, LEDGER_EPOCHS_MAX);
			verdict = offer(l, "a", i, 1, 1, S);
			ledger_commit(l);
		}
		assert_int_equal(verdict, LEDGER_NEW);
		assert_true(a->n_epochs <= LEDGER_EPOCHS_CROWD);
	}
	assert_int_equal(crowded,
			 (10000 - 1 - LEDGER_EPOCHS_MAX) /
				 (LEDGER_EPOCHS_CROWD - LEDGER_EPOCHS_MAX));
	assert_int_equal(sum_of(l).counted, 10000);
	ledger_free(l);
}

/*
 * An agent stops with batches 4 to 9: 4 was sent, and may have been counted;
 * of the others the next start says that they are given up.
 */
static void what_a_stop_gave_up_closes_the_sum(void **state)
{
	(void)state;
	for (int counted = 0; counted <= 1; counted++) {
		struct batch b = { .agent = "a", .epoch = 1 };
		struct ledger *l = make(0);
		struct ledger_epoch *row;
		const struct ledger_totals *t;

		for (b.sequence = 1; b.sequence <= 3 + (unsigned)counted;
		     b.sequence++) {
			b.losses.captured = b.losses.packed += 10;
			assert_int_equal(ledger_offer(l, &b, 10, 0, S, &row),
					 LEDGER_NEW);
		}
		b.sequence = 10;
		b.losses.captured = b.losses.packed = 90;
		b.losses.dropped[LOSS_STOPPED] = 50;
		assert_int_equal(ledger_offer(l, &b, 0, 0, S, &row),
				 LEDGER_NEW);
		/* Again, as its reply was lost. */
		assert_int_equal(ledger_offer(l, &b, 0, 0, S, &row),
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
		cmocka_unit_test(knows_so_many_agents_and_no_more),
		cmocka_unit_test(an_agents_losses_never_go_back),
		cmocka_unit_test(epochs_are_retired_late_and_lowest_first),
		cmocka_unit_test(
			a_batch_of_a_retired_epoch_is_named_and_not_counted),
		cmocka_unit_test(many_starts_do_not_fill_the_table),
		cmocka_unit_test(what_a_stop_gave_up_closes_the_sum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
