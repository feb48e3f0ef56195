/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a start makes of stored rows and the log after them is what was
 * committed before, wherever it was cut off.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/ledger/ledger.h"

#define AGENTS 5u
#define EPOCHS 3u
#define STEPS 3000u
#define CRASHES 100u /* at least */
#define S INT64_C(1000000)

/* What SQLite would hold: rows by agent and epoch, and the log. */
struct disk {
	struct {
		bool there;
		struct ledger_state state;
	} row[AGENTS][EPOCHS + 1];
	struct entry {
		unsigned agent;
		struct batch batch;
		uint64_t requests;
		int64_t received_us;
	} log[STEPS];
	size_t n_log;
	size_t mark; /* the rows have all entries before it */
};

struct sender {
	char name[8];
	uint64_t epoch, sequence, packed, dropped;
};

struct world {
	struct ledger *ledger;
	struct sender sender[AGENTS];
	struct disk disk;
	uint64_t random;
	int64_t now_us;
};

static uint64_t rnd(struct world *w, uint64_t n)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (w->random >> 11) % n;
}

static unsigned number_of(const char *name)
{
	return (unsigned)(name[1] - '0');
}

static void store_row(struct world *w, const struct ledger_epoch *e)
{
	unsigned a = number_of(e->agent->name);

	w->disk.row[a][e->epoch].there = true;
	w->disk.row[a][e->epoch].state = e->pending;
	w->disk.row[a][e->epoch].state.log_id = w->disk.n_log;
}

/* A batch as an agent might send it: most with requests, some lost, a rollup,
 * one sent twice, one of an older start. */
static struct entry make_entry(struct world *w)
{
	unsigned a = (unsigned)rnd(w, AGENTS);
	struct sender *s = &w->sender[a];
	struct entry e = { .agent = a, .requests = 1 + rnd(w, 90) };
	uint64_t kind = rnd(w, 20);

	if (kind == 0 && s->epoch < EPOCHS) {
		s->epoch++;
		s->sequence = s->packed = s->dropped = 0;
	}
	e.batch = (struct batch){ .agent = s->name, .epoch = s->epoch };
	if (kind == 1 && s->sequence > 0) {
		e.batch.sequence = s->sequence; /* again */
		e.batch.losses.packed = s->packed;
		return e;
	}
	if (kind == 2 && s->epoch > 1) {
		e.batch.epoch = s->epoch - 1; /* of a twin */
		e.batch.sequence = 1 + rnd(w, 500);
		return e;
	}
	if (kind == 3)
		e.requests = 0; /* a heartbeat */
	if (kind == 4) { /* the next numbers never come */
		s->sequence += 1 + rnd(w, 3);
		s->packed += 17;
		s->dropped += rnd(w, 2) * 17;
	}
	s->sequence++;
	if (kind == 5) {
		e.batch.first_sequence = s->sequence;
		s->sequence += 4;
	}
	s->packed += e.requests;
	e.batch.sequence = s->sequence;
	e.batch.losses.captured = s->packed;
	e.batch.losses.packed = s->packed;
	e.batch.losses.dropped[LOSS_OUTBOX] = s->dropped;
	return e;
}

/* As if another sender had used the last numbers of a start. */
static void mend_one(struct world *w)
{
	struct ledger_agent *a;
	struct ledger_epoch *e;
	unsigned i = (unsigned)rnd(w, AGENTS);

	if (i >= ledger_agents(w->ledger))
		return;
	a = ledger_at(w->ledger, i);
	e = a->newest;
	if (!e || e->pending.sequence < 9)
		return;
	ledger_mend(w->ledger, e, e->pending.sequence - 5);
	w->sender[number_of(a->name)].sequence -= 5;
}

/* A group of batches, committed as the engine does, or given up. */
static void one_group(struct world *w)
{
	size_t before = w->disk.n_log;
	bool fails = rnd(w, 10) == 0;
	struct ledger_epoch *row;
	struct disk *was = NULL;

	if (fails) {
		was = malloc(sizeof(*was));
		assert_non_null(was);
		*was = w->disk;
	}
	for (uint64_t n = 1 + rnd(w, 6); n > 0; n--) {
		struct entry e = make_entry(w);
		struct ledger_arrival in = { .batch = &e.batch,
					     .requests = e.requests };

		w->now_us += (int64_t)rnd(w, 3) * S;
		in.now_us = e.received_us = w->now_us;
		if (ledger_offer(w->ledger, &in, &row) == LEDGER_NEW &&
		    e.requests > 0)
			w->disk.log[w->disk.n_log++] = e;
	}
	if (rnd(w, 40) == 0)
		mend_one(w);
	for (row = ledger_dirty(w->ledger); row; row = row->next_dirty)
		if (row->must_store)
			store_row(w, row);
	if (!fails) {
		ledger_commit(w->ledger);
		return;
	}
	ledger_abort(w->ledger);
	w->disk = *was;
	free(was);
	assert_int_equal(w->disk.n_log, before);
}

/* Some rows, or all and the watermark. */
static void checkpoint(struct world *w)
{
	bool whole = rnd(w, 2);

	for (size_t i = 0; i < ledger_agents(w->ledger); i++)
		for (struct ledger_epoch *e = ledger_at(w->ledger, i)->newest;
		     e; e = e->older)
			if (e->unstored && (whole || rnd(w, 2))) {
				store_row(w, e);
				e->unstored = false;
			}
	if (whole)
		w->disk.mark = w->disk.n_log;
}

static struct ledger *start(const struct disk *d)
{
	struct ledger *l = NULL;
	char name[8];

	assert_int_equal(ledger_new(&l, 0), 0);
	for (unsigned a = 0; a < AGENTS; a++)
		for (unsigned e = 1; e <= EPOCHS; e++) {
			snprintf(name, sizeof(name), "a%u", a);
			if (d->row[a][e].there)
				assert_int_equal(
					ledger_restore(l, name, e,
						       &d->row[a][e].state),
					0);
		}
	for (size_t i = d->mark; i < d->n_log; i++)
		assert_int_equal(ledger_replay(l, &d->log[i].batch,
					       d->log[i].requests,
					       d->log[i].received_us, i + 1),
				 0);
	return l;
}

static const struct ledger_epoch *find(struct ledger *l, const char *name,
				       uint64_t epoch)
{
	for (size_t i = 0; i < ledger_agents(l); i++)
		for (struct ledger_epoch *e = ledger_at(l, i)->newest; e;
		     e = e->older)
			if (strcmp(e->agent->name, name) == 0 &&
			    e->epoch == epoch)
				return e;
	return NULL;
}

static size_t count(struct ledger *l)
{
	size_t n = 0;

	for (size_t i = 0; i < ledger_agents(l); i++)
		n += ledger_at(l, i)->n_epochs;
	return n;
}

static void expect_same(struct ledger *now, struct ledger *was)
{
	/* A row of nothing but given up batches exists in memory only. */
	assert_true(count(now) <= count(was));
	for (size_t i = 0; i < ledger_agents(was); i++)
		for (struct ledger_epoch *e = ledger_at(was, i)->newest; e;
		     e = e->older) {
			const struct ledger_epoch *n =
				find(now, e->agent->name, e->epoch);
			static const struct ledger_state zero;
			const struct ledger_state *s =
				n ? &n->committed : &zero;

			assert_int_equal(s->sequence, e->committed.sequence);
			assert_int_equal(s->seen_us, e->committed.seen_us);
			assert_memory_equal(&s->totals, &e->committed.totals,
					    sizeof(s->totals));
		}
}

static void a_start_finds_what_was_committed(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct ledger *again;
	unsigned crashes = 0;

	(void)state;
	assert_non_null(w);
	w->random = 88172645463325252u;
	w->now_us = S;
	assert_int_equal(ledger_new(&w->ledger, 0), 0);
	for (unsigned a = 0; a < AGENTS; a++) {
		snprintf(w->sender[a].name, sizeof(w->sender[a].name), "a%u",
			 a);
		w->sender[a].epoch = 1;
	}
	while (w->disk.n_log + 6 < STEPS) {
		one_group(w);
		if (rnd(w, 8) == 0)
			checkpoint(w);
		if (rnd(w, 3) > 0)
			continue;
		again = start(&w->disk);
		expect_same(again, w->ledger);
		crashes++;
		if (rnd(w, 5) > 0) {
			ledger_free(again);
			continue;
		}
		/* Go on with it: rows not stored yet must still be known. */
		ledger_free(w->ledger);
		w->ledger = again;
	}
	assert_true(crashes > CRASHES);
	ledger_free(w->ledger);
	free(w);
}

static void batches_of_a_retired_epoch_stay_retired(void **state)
{
	struct batch b = { .agent = "a0", .epoch = 3, .sequence = 9 };
	struct ledger_agent *a;
	struct ledger *l;

	(void)state;
	assert_int_equal(ledger_new(&l, 0), 0);
	assert_int_equal(ledger_agent_get(l, "a0", &a), 0);
	a->retired_epoch = 3;
	a->retired.counted = 50;
	assert_int_equal(ledger_replay(l, &b, 50, S, 1), 0);
	assert_null(a->newest);
	b.epoch = 4;
	assert_int_equal(ledger_replay(l, &b, 7, S, 2), 0);
	assert_int_equal(a->newest->committed.totals.counted, 7);
	assert_int_equal(a->retired.counted, 50);
	ledger_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_start_finds_what_was_committed),
		cmocka_unit_test(batches_of_a_retired_epoch_stay_retired),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
