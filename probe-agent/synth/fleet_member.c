/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/outbox/reply_policy.h"
#include "probe-agent/synth/fleet_state.h"
#include "proto/batch.h"

#define RUBBISH_BYTES 100u

static void finish_member(struct fleet_member *m)
{
	struct fleet *f = m->fleet;

	if (m->finished)
		return;
	m->finished = true;
	fleet_timer_clear(&f->timers, &m->timer);
	atomic_fetch_sub(&f->active, 1);
}

/* --- messages --- */

/*
 * Body and head in one piece, the head last: of numbers in messages within
 * messages, protobuf-c takes those of the last one. -ENOMEM.
 */
static int join_body(struct fleet_member *m, const void *head, size_t len)
{
	uint8_t *p = realloc(m->joined, m->batch.len + len);

	if (!p)
		return -ENOMEM;
	m->joined = p;
	memcpy(p, m->batch.body, m->batch.len);
	memcpy(p + m->batch.len, head, len);
	m->body = p;
	m->body_len = m->batch.len + len;
	return 0;
}

/*
 * protobuf messages add up when put together: head and body are one batch. -E:
 * no memory.
 */
static int put_batch(struct fleet_member *m, size_t *len)
{
	struct batch head = {
		.agent = m->id,
		.epoch = m->fleet->opt.epoch,
		.sequence = m->sequence,
		.base_us = m->base_us,
		.losses = { .captured = m->packed, .packed = m->packed },
		.samples = { .read = m->read },
	};
	struct push push = { .protocol = batch_protocol(m->batch.body,
							m->batch.len),
			     .sent_us = clock_real_us() };
	void *data;
	size_t n;
	int err;

	if (m->sequence <= 2)
		head.info = (struct batch_info){ "synth", "",	"synth",
						 0,	  NULL, NULL };
	err = batch_encode(&head, &data, &n);
	if (err)
		return err;
	push.batch_len = n + m->batch.len;
	*len = push_head(&push, m->head + FLEET_MESSAGE_HEAD);
	if (m->batch.increments > 0) {
		err = join_body(m, data, n);
		free(data);
		return err;
	}
	memcpy(m->head + FLEET_MESSAGE_HEAD + *len, data, n);
	*len += n;
	free(data);
	m->body = m->batch.body;
	m->body_len = m->batch.len;
	return 0;
}

static size_t put_rubbish(struct fleet_member *m)
{
	uint8_t *at = m->head + FLEET_MESSAGE_HEAD;
	uint64_t x = m->k * 0x9e3779b97f4a7c15u + m->index + 1;
	struct push push = { .protocol = PROTOCOL_VERSION,
			     .sent_us = clock_real_us(),
			     .batch_len = RUBBISH_BYTES };
	size_t len = m->k % 2 ? push_head(&push, at) : 0; /* every other time */

	for (size_t i = 0; i < RUBBISH_BYTES; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		at[len++] = (uint8_t)x;
	}
	m->body_len = 0;
	return len;
}

static void ask(struct fleet_member *m)
{
	size_t len = 0;

	if (m->content == FLEET_RUBBISH) {
		len = put_rubbish(m);
	} else if (put_batch(m, &len)) {
		fleet_wake_in(m, REPLY_POLICY_RETRY_MS);
		return;
	}
	if (m->asked_ns == 0)
		m->asked_ns = m->fleet->now_ns;
	fleet_conn_ask(m, len);
}

/* --- what comes next --- */

/* Sequence of batch k: 1 2 3 4, or 2 1 4 3. */
static uint64_t sequence_of(const struct fleet *f, uint64_t k)
{
	if (f->opt.fault == FLEET_FAULT_REORDER)
		return (k ^ 1) + 1;
	return k + 1;
}

/* The batches of all agents are spread evenly over the interval. */
static uint64_t interval_end_ns(const struct fleet_member *m, uint64_t i)
{
	const struct fleet_options *o = &m->fleet->opt;

	return m->fleet->start_ns +
	       (i * o->interval_us + m->index * o->interval_us / o->agents) *
		       CLOCK_NS_PER_US;
}

/* Intervals that have ended and are in no batch yet. */
static uint64_t intervals_due(const struct fleet_member *m)
{
	uint64_t first_ns = interval_end_ns(m, m->taken);
	uint64_t interval_ns = m->fleet->opt.interval_us * CLOCK_NS_PER_US;

	if (interval_ns == 0)
		return 1;
	return m->fleet->now_ns < first_ns
		       ? 0
		       : (m->fleet->now_ns - first_ns) / interval_ns + 1;
}

/* How many of them the aggregator wants in a batch. */
static uint64_t intervals_wanted(const struct fleet_member *m)
{
	uint64_t interval_us = m->fleet->opt.interval_us;
	uint64_t gather_us = m->gather_ms * UINT64_C(1000);

	if (interval_us == 0 || gather_us <= interval_us)
		return 1;
	return (gather_us + interval_us - 1) / interval_us;
}

static void take_batch(struct fleet_member *m, uint64_t intervals)
{
	struct fleet *f = m->fleet;

	if (atomic_load(&f->stop) ||
	    !f->opt.next(f->opt.arg, m->index, m->k, intervals, &m->batch)) {
		finish_member(m);
		return;
	}
	atomic_fetch_add(&f->outstanding, 1);
	m->holds = true;
	m->sequence = sequence_of(f, m->k++);
	m->taken += m->batch.intervals;
	m->packed += m->batch.events;
	m->read += m->batch.increments;
	m->base_us = clock_real_us() - m->batch.span_us;
	m->asked_ns = 0;
	m->content = f->opt.fault == FLEET_FAULT_RUBBISH ? FLEET_RUBBISH
							 : FLEET_BATCH;
	ask(m);
}

/* Takes the next batch if it is due, or sets the timer. */
static void begin_next(struct fleet_member *m)
{
	uint64_t due, wanted;

	if (m->finished)
		return;
	due = intervals_due(m);
	wanted = intervals_wanted(m);
	if (due >= wanted || atomic_load(&m->fleet->stop))
		take_batch(m, due);
	else
		fleet_timer_set(&m->fleet->timers, &m->timer,
				interval_end_ns(m, m->taken + wanted - 1));
}

void fleet_member_up(struct fleet_member *m)
{
	if (m->holds)
		ask(m);
	else
		begin_next(m);
}

void fleet_member_down(struct fleet_member *m)
{
	if (m->finished) /* its batches are all answered */
		fleet_timer_clear(&m->fleet->timers, &m->timer);
}

void fleet_member_stop(struct fleet_member *m)
{
	if (!m->holds)
		finish_member(m);
}

void fleet_member_timer(struct fleet_member *m)
{
	if (m->finished)
		return;
	if (m->link == FLEET_DOWN) {
		fleet_conn_dial(m);
	} else if (m->link != FLEET_UP || m->asking) {
		/* As an uplink does: a new connection may be faster. */
		if (m->asking)
			atomic_fetch_add(&m->fleet->resent, 1);
		fleet_conn_close(m);
		fleet_conn_dial(m);
	} else {
		fleet_member_up(m);
	}
}

/* --- replies --- */

static void let_go(struct fleet_member *m)
{
	struct fleet *f = m->fleet;
	uint64_t ms = (f->now_ns - m->asked_ns) / CLOCK_NS_PER_MS;

	atomic_fetch_add(
		&f->reply_ms[ms < FLEET_REPLY_MS ? ms : FLEET_REPLY_MS], 1);
	atomic_fetch_sub(&f->outstanding, 1);
	m->holds = false;
	begin_next(m);
}

static void accepted(struct fleet_member *m)
{
	struct fleet *f = m->fleet;

	if (m->content == FLEET_AGAIN) {
		atomic_fetch_add(&f->duplicates, 1);
	} else if (f->opt.fault == FLEET_FAULT_REORDER && m->sequence % 2) {
		atomic_fetch_add(&f->late, 1);
	} else {
		atomic_fetch_add(&f->batches, 1);
		atomic_fetch_add(&f->events, m->batch.events);
		atomic_fetch_add(&f->bytes, m->batch.len);
		f->opt.counted(f->opt.arg, &m->batch);
		if (f->opt.fault == FLEET_FAULT_DUP) {
			m->content = FLEET_AGAIN;
			ask(m);
			return;
		}
	}
	let_go(m);
}

static void not_accepted(struct fleet_member *m, const struct reply *r,
			 uint32_t wait_ms)
{
	struct fleet *f = m->fleet;

	if (r->status == REPLY_BUSY)
		atomic_fetch_add(&f->busy, 1);
	else if (r->status == REPLY_CONFLICT)
		atomic_fetch_add(&f->conflicts, 1);
	else
		log_warn("batch not accepted id=%s status=%d reason=\"%s\"",
			 m->id, (int)r->status, r->reason);
	fleet_wake_in(m, wait_ms + fleet_random(f, wait_ms / 2 + 1));
}

void fleet_member_reply(struct fleet_member *m, const uint8_t *data, size_t len)
{
	struct fleet *f = m->fleet;
	enum reply_policy policy;
	struct reply r;
	uint32_t wait_ms;

	if (reply_decode(data, len, &r)) {
		fleet_wake_in(m, REPLY_POLICY_RETRY_MS);
		return;
	}
	if (m->content == FLEET_RUBBISH && r.status == REPLY_REFUSED) {
		atomic_fetch_add(&f->rubbish, 1);
		m->content = FLEET_BATCH;
		ask(m);
		return;
	}
	policy = reply_policy(&r, f->opt.epoch, m->sequence, &wait_ms);
	switch (policy) {
	case REPLY_POLICY_COUNTED:
		m->gather_ms = r.gather_ms;
		atomic_store(&f->gather_ms, r.gather_ms);
		accepted(m);
		break;
	case REPLY_POLICY_REFUSED:
		log_warn("batch refused id=%s sequence=%llu reason=\"%s\"",
			 m->id, (unsigned long long)m->sequence, r.reason);
		atomic_fetch_add(&f->refused, 1);
		let_go(m);
		break;
	case REPLY_POLICY_AGAIN:
	case REPLY_POLICY_STRANGE:
		not_accepted(m, &r, wait_ms);
		break;
	}
}
