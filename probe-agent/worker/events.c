/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/worker/events.h"

#include <errno.h>
#include <stdlib.h>

#include <bpf/libbpf.h>

#include "common/clock.h"

#define PERF_PAGES 64 /* of each CPU */

struct events {
	struct ring_buffer *ring;
	struct perf_buffer *perf;
	events_fn fn;
	void *arg;
	uint32_t rate;
	uint64_t tokens; /* thousandths of an event */
	uint64_t filled_ns;
	struct events_stats stats;
	int err; /* of fn, in this drain */
};

/* A second's worth may come at once. */
static void fill_tokens(struct events *e)
{
	uint64_t now_ns = clock_mono_ns(), most = (uint64_t)e->rate * 1000;
	uint64_t ms = (now_ns - e->filled_ns) / CLOCK_NS_PER_MS;

	if (ms == 0)
		return;
	e->filled_ns += ms * CLOCK_NS_PER_MS;
	if (ms > 1000)
		ms = 1000;
	e->tokens += ms * e->rate;
	if (e->tokens > most)
		e->tokens = most;
}

static int take_record(struct events *e, const void *data, size_t len)
{
	if (e->rate > 0) {
		if (e->tokens < 1000)
			fill_tokens(e);
		if (e->tokens < 1000) {
			e->stats.over_rate++;
			return 0;
		}
		e->tokens -= 1000;
	}
	e->stats.delivered++;
	if (!e->err)
		e->err = e->fn(e->arg, data, len);
	return 0;
}

static int on_ring(void *arg, void *data, size_t len)
{
	return take_record(arg, data, len);
}

static void on_perf(void *arg, int cpu, void *data, uint32_t len)
{
	(void)cpu;
	take_record(arg, data, len);
}

static void on_lost(void *arg, int cpu, unsigned long long n)
{
	struct events *e = arg;

	(void)cpu;
	e->stats.lost += n;
}

int events_new(struct events **out, const struct object_map *m, uint32_t rate,
	       events_fn fn, void *arg)
{
	struct events *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->fn = fn;
	e->arg = arg;
	e->rate = rate;
	e->tokens = (uint64_t)rate * 1000;
	e->filled_ns = clock_mono_ns();
	errno = 0;
	if (m->type == OBJECT_MAP_RING)
		e->ring = ring_buffer__new(m->fd, on_ring, e, NULL);
	else
		e->perf = perf_buffer__new(m->fd, PERF_PAGES, on_perf, on_lost,
					   e, NULL);
	if (!e->ring && !e->perf) {
		int err = errno ? -errno : -ENOMEM;

		free(e);
		return err;
	}
	*out = e;
	return 0;
}

void events_free(struct events *e)
{
	if (!e)
		return;
	ring_buffer__free(e->ring);
	perf_buffer__free(e->perf);
	free(e);
}

int events_fd(const struct events *e)
{
	return e->ring ? ring_buffer__epoll_fd(e->ring)
		       : perf_buffer__epoll_fd(e->perf);
}

int events_drain(struct events *e)
{
	int n;

	e->err = 0;
	n = e->ring ? ring_buffer__consume(e->ring)
		    : perf_buffer__consume(e->perf);
	return e->err ? e->err : n < 0 ? n : 0;
}

void events_stats(const struct events *e, struct events_stats *out)
{
	*out = e->stats;
}
