/* SPDX-License-Identifier: Apache-2.0 */
/* GET /api/v1/requests: stored events, newest or slowest. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/web/api.h"
#include "aggregator/web/api_events.h"
#include "aggregator/web/api_range.h"
#include "common/clock.h"

#define LIMIT 100
#define LIMIT_MAX 1000

struct search {
	struct api_filter filter;
	struct api_events found;
	struct api_event *row; /* matches of the row in hand, as they come */
	size_t n_row, row_cap;
	uint64_t log_id; /* of the batch in hand */
	bool slowest;
	uint64_t before_id; /* the cursor: older than this event of it */
	uint32_t before_event;
	/* Where an answer that goes on begins; 0: all was scanned. */
	uint64_t next_id;
	uint32_t next_event;
	bool complete;
};

/* --- newest --- */

static bool before_cursor(const struct search *s, uint32_t event)
{
	return s->log_id < s->before_id ||
	       (s->log_id == s->before_id && event < s->before_event);
}

/* The last ones of the row are the newest. */
static int on_newest(void *arg, const struct batch *b, uint32_t event,
		     int64_t end_us)
{
	struct search *s = arg;

	if (!before_cursor(s, event)) {
		s->found.matched--;
		return 0;
	}
	if (s->found.n + s->n_row >= s->found.limit && s->n_row > 0) {
		/* Full: of this row, its older events make room. */
		api_event_free(&s->row[0]);
		memmove(s->row, s->row + 1, --s->n_row * sizeof(*s->row));
	} else if (s->found.n >= s->found.limit) {
		return 0;
	}
	if (s->n_row == s->row_cap) {
		size_t cap = s->row_cap ? 2 * s->row_cap : 64;
		void *p = realloc(s->row, cap * sizeof(*s->row));

		if (!p)
			return -ENOMEM;
		s->row = p;
		s->row_cap = cap;
	}
	return api_event_copy(&s->row[s->n_row++], s->log_id, b, event, end_us);
}

/* Moves the row's matches to what was found, newest first. */
static int take_row(struct search *s)
{
	struct api_events *e = &s->found;
	void *p;

	if (!s->n_row)
		return 0;
	p = realloc(e->at, (e->n + s->n_row) * sizeof(*e->at));
	if (!p)
		return -ENOMEM;
	e->at = p;
	while (s->n_row)
		e->at[e->n++] = s->row[--s->n_row];
	return 0;
}

/* --- slowest: a heap whose top is the least slow --- */

static bool less_slow(const struct api_event *a, const struct api_event *b)
{
	return a->duration_us < b->duration_us;
}

static void swap_events(struct api_event *a, struct api_event *b)
{
	struct api_event c = *a;

	*a = *b;
	*b = c;
}

static void sink(struct api_event *at, size_t n)
{
	for (size_t i = 0;;) {
		size_t least = 2 * i + 1;

		if (least + 1 < n && less_slow(&at[least + 1], &at[least]))
			least++;
		if (least >= n || !less_slow(&at[least], &at[i]))
			return;
		swap_events(&at[least], &at[i]);
		i = least;
	}
}

static void rise(struct api_event *at, size_t i)
{
	while (i > 0 && less_slow(&at[i], &at[(i - 1) / 2])) {
		swap_events(&at[i], &at[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
}

static int on_slow(void *arg, const struct batch *b, uint32_t event,
		   int64_t end_us)
{
	struct search *s = arg;
	struct api_events *e = &s->found;
	struct api_event copy;
	int err;

	if (!before_cursor(s, event)) {
		e->matched--;
		return 0;
	}
	if (e->n < e->limit) {
		err = api_events_add(e, s->log_id, b, event, end_us);
		if (!err)
			rise(e->at, e->n - 1);
		return err;
	}
	if (b->events.duration_us[event] <= e->at[0].duration_us)
		return 0;
	err = api_event_copy(&copy, s->log_id, b, event, end_us);
	if (err < 0)
		return err;
	api_event_free(&e->at[0]);
	e->at[0] = copy;
	sink(e->at, e->n);
	return 0;
}

static int compare_slow(const void *pa, const void *pb)
{
	const struct api_event *a = pa, *b = pb;

	if (a->duration_us != b->duration_us)
		return a->duration_us > b->duration_us ? -1 : 1;
	return a->log_id > b->log_id ? -1 : a->log_id < b->log_id;
}

/* --- the search --- */

static int scan_row(struct api *a, struct search *s, uint64_t id)
{
	struct store_log batch;
	int err = store_reader_log(a->reader, id);

	if (err == -ENOENT) /* retention took it meanwhile */
		return 0;
	while (!err && (err = store_reader_log_next(a->reader, &batch)) > 0) {
		s->log_id = batch.id;
		err = api_events_scan(a, &batch, &s->filter, &s->found,
				      s->slowest ? on_slow : on_newest, s);
	}
	store_reader_log_done(a->reader);
	if (!err && !s->slowest)
		err = take_row(s);
	return err;
}

static int search(struct api *a, struct search *s)
{
	uint64_t until_ns = clock_mono_ns() + API_BUDGET_MS * CLOCK_NS_PER_MS;
	uint64_t *ids = NULL;
	size_t n = 0, i = 0;
	int err = store_reader_log_ids(a->reader, s->filter.from_s,
				       s->filter.to_s, s->before_id, &ids, &n);

	for (; i < n && !err; i++) {
		if (i > 0 && clock_mono_ns() > until_ns)
			break;
		err = scan_row(a, s, ids[i]);
	}
	s->complete = i == n;
	if (!s->complete && !s->next_id) {
		s->next_id = ids[i];
		s->next_event = UINT32_MAX;
	}
	free(ids);
	return err;
}

/* After the last that is shown, if more matched; else where the time ended. */
static void set_next(struct search *s)
{
	const struct api_events *e = &s->found;

	if (s->slowest || e->matched <= e->n || !e->n)
		return;
	s->next_id = e->at[e->n - 1].log_id;
	s->next_event = e->at[e->n - 1].event;
}

static void put_answer(const struct search *s, const struct api_range *range,
		       struct buf *out)
{
	struct api_json j = { .out = out };
	char next[48];

	api_json_open(&j, '{');
	api_range_put(range, &j);
	api_json_put_u64(&j, "scanned", s->found.scanned);
	api_json_put_u64(&j, "matched", s->found.matched);
	api_json_put_u64(&j, "shown", s->found.n);
	api_json_put_u64(&j, "rolled_up", s->found.rolled_up);
	api_json_put_bool(&j, "complete", s->complete);
	snprintf(next, sizeof(next), "%llu-%u", (unsigned long long)s->next_id,
		 s->next_event);
	api_json_put_text(&j, "next", s->next_id ? next : NULL);
	api_events_put(&s->found, &j);
	api_json_close(&j, '}');
	buf_putc(out, '\n');
}

static unsigned parse_search(struct search *s, const struct api *a,
			     const struct api_query *q, struct buf *out)
{
	const char *order = api_get(q, "order"), *after = api_get(q, "after");
	uint64_t limit;
	unsigned status = api_filter_parse(&s->filter, a, q, out);

	if (status)
		return status;
	if (api_get_u64(q, "limit", 1, LIMIT_MAX, LIMIT, &limit))
		return api_bad(out, "limit", "not 1 to 1000");
	s->found.limit = limit;
	if (order && *order && strcmp(order, "newest") &&
	    strcmp(order, "slowest"))
		return api_bad(out, "order", "neither newest nor slowest");
	s->slowest = order && !strcmp(order, "slowest");
	s->before_id = INT64_MAX;
	s->before_event = UINT32_MAX;
	if (after && *after &&
	    api_request_parse(after, &s->before_id, &s->before_event))
		return api_bad(out, "after", "not the next of an answer");
	return 0;
}

unsigned api_requests(struct api *a, const struct api_query *q, struct buf *out)
{
	struct search s = { .slowest = false };
	struct api_range range;
	unsigned status = api_range_parse(&range, q, out);
	int err;

	if (!status)
		status = parse_search(&s, a, q, out);
	if (!status)
		status = api_open(a, out);
	if (status)
		return status;
	s.filter.from_s = range.from_s;
	s.filter.to_s = range.to_s;
	err = search(a, &s);
	if (!err && s.slowest && s.found.n)
		qsort(s.found.at, s.found.n, sizeof(*s.found.at), compare_slow);
	set_next(&s);
	if (!err) {
		put_answer(&s, &range, out);
		err = out->err;
	}
	for (size_t i = 0; i < s.n_row; i++)
		api_event_free(&s.row[i]);
	free(s.row);
	api_events_fini(&s.found);
	return err < 0 ? api_failed(out, err) : 200;
}
