/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "aggregator/ledger/ledger_state.h"
#include "common/log.h"
#include "common/sums.h"

/*
 * The decision about a batch. Each question may end it:
 *
 *	agent unknown: its epoch is made up           AHEAD
 *	               there are too many             FULL
 *	epoch unknown: it is retired, or may be       EXPIRED
 *	               it is made up                  AHEAD
 *	               it is one too many             CROWDED
 *	               a newer one is alive           CONFLICT
 *	number taken:  long ago, and the agent runs   BEHIND
 *	               else                           DUPLICATE
 *	epoch known:   a newer one is alive           CONFLICT
 *	the first of its numbers is taken             OVERLAP
 *	too many numbers are left out                 LEAP
 *	none of these                                 NEW
 */

/* Batches of an older epoch that may still arrive after a restart. */
#define STRIKES 1u

/* --- totals --- */

static uint64_t greater(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void take_losses(struct ledger_totals *t, const struct batch_losses *l)
{
	t->captured = greater(t->captured, l->captured);
	t->packed = greater(t->packed, l->packed);
	t->rolled_up = greater(t->rolled_up, l->rolled_up);
	for (size_t i = 0; i < LOSS_STAGES; i++)
		t->dropped[i] = greater(t->dropped[i], l->dropped[i]);
	for (size_t i = 0; i < AGENT_COUNTERS; i++)
		t->counters[i] = greater(t->counters[i], l->counters[i]);
}

static void take_samples(struct ledger_totals *t, const struct batch_samples *s)
{
	t->samples_read = greater(t->samples_read, s->read);
	for (size_t i = 0; i < SAMPLES_STAGES; i++)
		t->samples_dropped[i] =
			greater(t->samples_dropped[i], s->dropped[i]);
	t->samples_counted =
		sums_add(t->samples_counted, samples_increments(s));
}

/*
 * Of the requests that the agent has packed, each was counted here, or dropped
 * as the agent reports, or lost in skipped sequence numbers. The agent may
 * report a drop only after its gap was counted: told_late keeps that from
 * counting twice.
 */
static void take_gap(struct ledger_totals *t, uint64_t batches)
{
	uint64_t explained = t->counted + t->gap_requests +
			     t->dropped[LOSS_OUTBOX] +
			     t->dropped[LOSS_REFUSED] +
			     t->dropped[LOSS_STOPPED] - t->told_late;

	t->gap_batches = sums_add(t->gap_batches, batches);
	if (batches > 0 && explained < t->packed)
		t->gap_requests += t->packed - explained;
	else if (explained > t->packed && t->gap_requests > 0)
		t->told_late = sums_add(t->told_late, explained - t->packed);
	if (t->told_late > t->gap_requests)
		t->told_late = t->gap_requests;
}

/* --- one question each --- */

/*
 * When the batch's epoch began, by our clock: the sender's clock may be wrong,
 * but it is the one that the epoch was taken from. INT64_MAX: it is beyond all
 * clocks.
 */
static int64_t began_us(const struct ledger_arrival *in)
{
	const struct batch *b = in->batch;
	uint64_t epoch_us = b->epoch / 1000;
	int64_t clock_us = in->clock_us > 0 ? in->clock_us : in->now_us;

	if (epoch_us >= LIMIT_TIME_US)
		return INT64_MAX;
	return in->now_us - (clock_us - (int64_t)epoch_us);
}

static bool is_ahead(const struct ledger_arrival *in)
{
	return began_us(in) > in->now_us + LEDGER_AHEAD_US;
}

/*
 * An epoch that is not higher than a retired one was retired itself, unless it
 * began, by our clock, after all of these had ended. Replays have no clock.
 */
static bool may_be_retired(const struct ledger_agent *a,
			   const struct ledger_arrival *in)
{
	if (in->batch->epoch > a->retired_epoch)
		return false;
	return in->clock_us <= 0 || a->retired_seen_us == 0 ||
	       began_us(in) <= a->retired_seen_us;
}

/*
 * An agent has one epoch at a time. So a new batch of an older epoch while the
 * newer one is alive means that another agent uses the same id. One such batch
 * may have been on its way when the agent restarted; since an agent sends one
 * at a time, a second one proves the conflict.
 */
static bool in_conflict(struct ledger_agent *a, uint64_t epoch, bool begins,
			int64_t now_us)
{
	if (!a->newest || epoch >= a->newest->epoch) {
		a->newest_heard_us = now_us;
		if (begins)
			a->strikes = 0;
		return false;
	}
	if (a->newest_heard_us > now_us)
		a->newest_heard_us = now_us; /* our clock went back */
	if (a->newest_heard_us == 0 ||
	    now_us - a->newest_heard_us > LEDGER_ALIVE_US) {
		a->strikes = 0;
		a->conflict = false;
		return false;
	}
	if (a->strikes < STRIKES) {
		a->strikes++;
		return false;
	}
	if (!a->conflict)
		log_warn("two agents use the same id agent=%s", a->name);
	a->conflict = true;
	return true;
}

static bool leaps(const struct ledger_state *s, const struct ledger_arrival *in,
		  uint64_t gap)
{
	uint64_t packed = in->batch->losses.packed;
	int64_t since_us = s->seen_us ? s->seen_us : began_us(in);
	int64_t silent_us = in->now_us - since_us;
	uint64_t most = LEDGER_LEAP_MORE;

	if (packed > s->totals.packed)
		most += packed - s->totals.packed;
	if (silent_us > 0)
		most += (uint64_t)(silent_us / LEDGER_LEAP_US);
	return gap > most;
}

/* --- verdicts --- */

/* For a change that no batch of the log repeats. */
static void must_store(struct ledger *l, struct ledger_epoch *e)
{
	ledger_mark_dirty(l, e);
	e->must_store = true;
}

/* Counts it in the row, else in the newest one, which is never retired. */
static int hold(struct ledger *l, struct ledger_agent *a,
		struct ledger_epoch *e, int verdict, struct ledger_epoch **row)
{
	*row = e ? e : a->newest;
	if (*row) {
		must_store(l, *row);
		(*row)->pending.totals.conflicts++;
	}
	return verdict;
}

static int take_duplicate(struct ledger *l, const struct ledger_arrival *in,
			  struct ledger_epoch *e, struct ledger_epoch **row)
{
	struct ledger_state *s = &e->pending;

	if (in->clock_us > 0 &&
	    s->sequence - in->batch->sequence > LEDGER_BEHIND_MAX)
		return hold(l, e->agent, e, LEDGER_BEHIND, row);
	must_store(l, e);
	*row = e;
	s->totals.duplicates++;
	/* If it was never counted, captured shows that something is missing. */
	take_losses(&s->totals, &in->batch->losses);
	return LEDGER_DUPLICATE;
}

/* A rollup replaces batches of a range of sequence numbers. */
static uint64_t first_of(const struct batch *b)
{
	return b->first_sequence > 0 ? b->first_sequence : b->sequence;
}

/* What a batch changes that was logged. */
static void accept_batch(struct ledger_state *s, const struct batch *b,
			 uint64_t requests, int64_t now_us)
{
	uint64_t first = first_of(b);
	uint64_t gap = first > s->sequence ? first - s->sequence - 1 : 0;

	s->sequence = b->sequence;
	s->seen_us = now_us;
	s->totals.batches++;
	s->totals.counted = sums_add(s->totals.counted, requests);
	take_losses(&s->totals, &b->losses);
	memcpy(s->totals.gauges, b->losses.gauges, sizeof(s->totals.gauges));
	memcpy(s->totals.gaps, b->losses.gaps, sizeof(s->totals.gaps));
	take_samples(&s->totals, &b->samples);
	take_gap(&s->totals, gap);
}

static void take_new(struct ledger *l, const struct ledger_arrival *in,
		     struct ledger_epoch *e)
{
	ledger_mark_dirty(l, e);
	/*
	 * Replaying the log makes no row of a start that is below a retired
	 * one.
	 */
	if (!ledger_batch_is_logged(in->batch, in->requests) ||
	    e->epoch <= e->agent->retired_epoch)
		e->must_store = true;
	accept_batch(&e->pending, in->batch, in->requests, in->now_us);
	if (in->sent_us)
		e->pending.skew_us = in->sent_us - in->now_us;
}

/* The rest of the decision, for an agent that has a row for the epoch. */
static int offer_to_epoch(struct ledger *l, const struct ledger_arrival *in,
			  struct ledger_epoch *e, bool begins,
			  struct ledger_epoch **row)
{
	const struct batch *b = in->batch;
	struct ledger_state *s = &e->pending;

	e->heard_us = in->now_us;
	if (b->sequence <= s->sequence)
		return take_duplicate(l, in, e, row);
	if (!begins && in_conflict(e->agent, b->epoch, false, in->now_us))
		return hold(l, e->agent, e, LEDGER_CONFLICT, row);
	*row = e;
	if (first_of(b) <= s->sequence)
		return LEDGER_OVERLAP;
	if (leaps(s, in, first_of(b) - s->sequence - 1))
		return hold(l, e->agent, e, LEDGER_LEAP, row);
	take_new(l, in, e);
	return LEDGER_NEW;
}

/* The same, for a new epoch: a row is made only for a batch that is taken. */
static int offer_new_epoch(struct ledger *l, const struct ledger_arrival *in,
			   struct ledger_agent *a, struct ledger_epoch **row)
{
	const struct batch *b = in->batch;
	struct ledger_state none = { .sequence = 0 };
	struct ledger_epoch *e;

	if (may_be_retired(a, in))
		return hold(l, a, NULL, LEDGER_EXPIRED, row);
	if (is_ahead(in))
		return hold(l, a, NULL, LEDGER_AHEAD, row);
	if (a->n_epochs >= LEDGER_EPOCHS_CROWD ||
	    (a->n_epochs >= 2 && ledger_is_crowded(l)))
		return LEDGER_CROWDED;
	if (leaps(&none, in, first_of(b) - 1))
		return hold(l, a, NULL, LEDGER_LEAP, row);
	if (in_conflict(a, b->epoch, true, in->now_us))
		return hold(l, a, NULL, LEDGER_CONFLICT, row);
	e = ledger_epoch_add(l, a, b->epoch);
	return e ? offer_to_epoch(l, in, e, true, row) : -ENOMEM;
}

int ledger_offer(struct ledger *l, const struct ledger_arrival *in,
		 struct ledger_epoch **row)
{
	struct ledger_agent *a = ledger_find(l, in->batch->agent);
	struct ledger_epoch *e;
	int err;

	*row = NULL;
	if (!a && is_ahead(in))
		return LEDGER_AHEAD;
	err = ledger_agent_get(l, in->batch->agent, &a);
	if (err == -ENOSPC)
		return LEDGER_FULL;
	if (err < 0)
		return err;
	e = ledger_epoch_find(a, in->batch->epoch);
	return e ? offer_to_epoch(l, in, e, false, row)
		 : offer_new_epoch(l, in, a, row);
}

int ledger_replay(struct ledger *l, const struct batch *b, uint64_t requests,
		  int64_t received_us, uint64_t log_id)
{
	struct ledger_agent *a;
	struct ledger_epoch *e;
	int err = ledger_agent_get(l, b->agent, &a);

	if (err < 0)
		return err;
	e = ledger_epoch_find(a, b->epoch);
	if (!e && b->epoch <= a->retired_epoch)
		return 0;
	if (!e)
		e = ledger_epoch_add(l, a, b->epoch);
	if (!e)
		return -ENOMEM;
	if (log_id <= e->committed.log_id)
		return 0;
	/* A row of an older version does not say which ids it has. */
	if (e->committed.log_id == 0 && b->sequence <= e->committed.sequence)
		return 0;
	accept_batch(&e->committed, b, requests, received_us);
	e->pending = e->committed;
	if (received_us > e->heard_us)
		e->heard_us = received_us;
	e->unstored = true;
	return 0;
}

void ledger_refuse(struct ledger *l, struct ledger_epoch *e)
{
	must_store(l, e);
	e->pending.totals.refused++;
}

void ledger_mend(struct ledger *l, struct ledger_epoch *e, uint64_t sequence)
{
	must_store(l, e);
	e->pending.sequence = sequence;
}
