/* SPDX-License-Identifier: Apache-2.0 */
/* GET /api/v1/tail: events as they are committed. */
#include <errno.h>

#include "aggregator/web/api.h"
#include "aggregator/web/api_events.h"
#include "common/clock.h"

#define LIMIT 200
#define LIMIT_MAX 1000

struct tail {
	struct api_filter filter;
	struct api_events events;
	uint64_t after, next, lost, log_id;
	bool from_now;
};

static int on_match(void *arg, const struct batch *b, uint32_t event,
		    int64_t end_us)
{
	struct tail *t = arg;

	return api_events_add(&t->events, t->log_id, b, event, end_us);
}

/* Reads the batches of a row that are not read yet. */
static int read_row(struct api *a, struct tail *t)
{
	struct store_log batch;
	int err = store_reader_log(a->reader, t->next + 1);

	while (!err && t->events.n < t->events.limit &&
	       (err = store_reader_log_next(a->reader, &batch)) > 0) {
		err = 0;
		if (batch.id <= t->next)
			continue;
		t->log_id = t->next = batch.id;
		err = api_events_scan(a, &batch, &t->filter, &t->events,
				      on_match, t);
	}
	store_reader_log_done(a->reader);
	return err;
}

/*
 * Reads on from after, until something matches and the time is up, or the log's
 * end. Batches are taken whole, so next needs no event.
 */
static int read_on(struct api *a, struct tail *t)
{
	uint64_t until_ns = clock_mono_ns() + API_BUDGET_MS * CLOCK_NS_PER_MS;
	int err = 0;

	while (!err && t->events.n < t->events.limit &&
	       clock_mono_ns() < until_ns)
		err = read_row(a, t);
	return err == -ENOENT ? 0 : err;
}

static int begin_reading(struct api *a, struct tail *t)
{
	struct store_log_bounds log;
	int err = store_reader_log_bounds(a->reader, &log);

	if (err < 0)
		return err;
	/* A store that was set aside begins at 1 again: go on from its end. */
	if (t->from_now || t->after > log.last)
		t->after = log.last;
	t->next = t->after;
	if (log.first > t->after + 1) {
		t->lost = log.first - t->after - 1;
		t->next = log.first - 1;
	}
	return 0;
}

static unsigned parse_tail(struct tail *t, const struct api *a,
			   const struct api_query *q, struct buf *out)
{
	const char *after = api_get(q, "after");
	uint64_t limit;
	unsigned status = api_filter_parse(&t->filter, a, q, out);

	if (status)
		return status;
	if (api_get_u64(q, "limit", 1, LIMIT_MAX, LIMIT, &limit))
		return api_bad(out, "limit", "not 1 to 1000");
	if (api_get_u64(q, "after", 0, INT64_MAX, 0, &t->after))
		return api_bad(out, "after", "not the next of an answer");
	t->from_now = !after || !*after;
	t->events.limit = limit;
	return 0;
}

unsigned api_tail_wait_s(const struct api_query *q)
{
	uint64_t s;

	if (api_get_u64(q, "wait", 0, API_TAIL_WAIT_MAX_S, API_TAIL_WAIT_S, &s))
		return API_TAIL_WAIT_S;
	return (unsigned)s;
}

unsigned api_tail(struct api *a, const struct api_query *q, bool last,
		  uint64_t *seen, struct buf *out)
{
	struct tail t = { .after = 0 };
	struct api_json j = { .out = out };
	unsigned status;
	bool waits;
	int err;

	if (!a->opt.tail)
		return api_error(out, 403, "the tail is switched off", NULL);
	status = parse_tail(&t, a, q, out);
	if (!status)
		status = api_open(a, out);
	if (status)
		return status;
	err = begin_reading(a, &t);
	if (!err && *seen > t.next)
		t.next = *seen;
	if (!err)
		err = read_on(a, &t);
	*seen = t.next;
	/* Who begins now must know where, so as to miss nothing. */
	waits = !err && !last && !t.from_now && !t.events.matched && !t.lost;
	if (!err && !waits) {
		api_json_open(&j, '{');
		api_json_put_u64(&j, "after", t.after);
		api_json_put_u64(&j, "next", t.next);
		api_json_put_u64(&j, "scanned", t.events.scanned);
		api_json_put_u64(&j, "matched", t.events.matched);
		api_json_put_u64(&j, "shown", t.events.n);
		api_json_put_u64(&j, "skipped", t.events.matched - t.events.n);
		api_json_put_u64(&j, "lost", t.lost);
		api_events_put(&t.events, &j);
		api_json_close(&j, '}');
		buf_putc(out, '\n');
		err = out->err;
	}
	api_events_fini(&t.events);
	if (err < 0)
		return api_failed(out, err);
	return waits ? 0 : 200;
}
