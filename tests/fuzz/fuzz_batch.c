/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever comes over the wire. What is accepted is walked without checks, must
 * survive encoding and decoding, and must fold into a rollup that holds as many
 * requests and is accepted itself. What our own unpacking takes, protobuf-c
 * takes, too, and has the same tables.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/batch/rollup.h"
#include "proto/batch.h"
#include "proto/batch_unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static volatile uint64_t sink;

static uint64_t walk(const struct batch *b)
{
	uint64_t requests = b->events.n, sum = strlen(b->agent);
	const struct batch_series *s = &b->series;

	for (size_t i = 0; i < b->n_strings; i++) {
		assert(strlen(b->strings[i].data) == b->strings[i].len);
		sum += b->strings[i].len;
	}
	for (size_t i = 0; i < s->n; i++) {
		sum += b->strings[s->method[i]].len;
		sum += b->strings[s->route[i]].len;
		sum += b->strings[b->resources.service[s->resource[i]]].len;
	}
	for (size_t i = 0; i < b->events.n; i++)
		sum += s->status[b->events.series[i]] +
		       b->events.duration_us[i] - b->events.tail_us[i];
	for (size_t i = 0; i < b->events.n_traced * 24; i++)
		sum += b->events.trace_ids[i];
	for (size_t i = 0; i < b->rollups.n; i++)
		requests += b->rollups.count[i];
	sink = sum;
	return requests;
}

static void again(struct batch_arena *arena, const struct batch *b,
		  uint64_t requests)
{
	const char *reason = NULL;
	struct batch out;
	void *data;
	size_t len;
	int err = batch_encode(b, &data, &len);

	/* Numbers in their longest form can be longer than they were. */
	assert(!err);
	err = batch_decode(arena, data, len, &out, &reason);
	assert(!err);
	assert(walk(&out) == requests);
	assert(out.sequence == b->sequence && out.epoch == b->epoch);
	free(data);
}

static void fold(struct rollup *r, struct batch_arena *arena,
		 const struct batch *b, uint64_t requests)
{
	const char *reason = NULL;
	struct batch out;
	void *data;
	size_t len;
	int err;

	rollup_reset(r);
	assert(rollup_add(r, b) == 0);
	assert(rollup_events(r) == requests);
	err = rollup_encode(r, b->agent, b->epoch, b->sequence, b->sequence,
			    &data, &len);
	assert(!err || err == -EMSGSIZE);
	if (err)
		return;
	err = batch_decode(arena, data, len, &out, &reason);
	assert(!err);
	assert(walk(&out) == requests);
	free(data);
}

#define SAME_COLUMN(x, y, column)                                              \
	do {                                                                   \
		assert((x)->n_##column == (y)->n_##column);                    \
		assert((x)->n_##column == 0 ||                                 \
		       memcmp((x)->column, (y)->column,                        \
			      (x)->n_##column * sizeof(*(x)->column)) == 0);   \
	} while (0)

static void compare(const Redtap__Batch *x, const Redtap__Batch *y)
{
	assert(x->epoch == y->epoch && x->sequence == y->sequence &&
	       x->first_sequence == y->first_sequence &&
	       x->base_us == y->base_us && x->n_strings == y->n_strings &&
	       !x->resources == !y->resources && !x->series == !y->series &&
	       !x->losses == !y->losses && strcmp(x->agent, y->agent) == 0);
	for (size_t i = 0; i < x->n_strings; i++)
		assert(strcmp(x->strings[i], y->strings[i]) == 0);
	if (x->resources) {
		SAME_COLUMN(x->resources, y->resources, service);
		SAME_COLUMN(x->resources, y->resources, executable);
	}
	if (x->series) {
		SAME_COLUMN(x->series, y->series, resource);
		SAME_COLUMN(x->series, y->series, route);
		SAME_COLUMN(x->series, y->series, port);
	}
	if (x->losses) {
		SAME_COLUMN(x->losses, y->losses, dropped);
		SAME_COLUMN(x->losses, y->losses, counters);
		assert(x->losses->captured == y->losses->captured);
	}
}

static void both_ways(struct batch_arena *ours, struct batch_arena *theirs,
		      const uint8_t *data, size_t len)
{
	Redtap__Batch *x, *y;

	batch_arena_reset(ours);
	batch_arena_reset(theirs);
	x = batch_unpack(ours, ours, data, len);
	if (!x)
		return;
	y = redtap__batch__unpack(&theirs->allocator, len, data);
	assert(y || theirs->total > (64u << 20)); /* it takes more memory */
	if (y)
		compare(x, y);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct batch_arena *first, *second;
	static struct rollup *rollup;
	const char *reason = NULL;
	struct reply reply;
	struct push push;
	struct batch b;
	uint64_t requests;
	int err;

	if (!first &&
	    (batch_arena_new(&first) != 0 || batch_arena_new(&second) != 0 ||
	     rollup_new(&rollup) != 0))
		abort();
	reply_decode(data, len, &reply);
	if (push_decode(data, len, &push) == 0)
		assert((const uint8_t *)push.batch >= data &&
		       (const uint8_t *)push.batch + push.batch_len <=
			       data + len);
	both_ways(first, second, data, len);
	err = batch_decode(first, data, len, &b, &reason);
	if (err) {
		assert(err == -EPROTO && reason);
		return 0;
	}
	requests = walk(&b);
	again(second, &b, requests);
	fold(rollup, second, &b, requests);
	return 0;
}
