/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent that was cut off: its outbox (of the default size, in memory or in
 * a file) is filled with what a real one would have gathered every half second,
 * then its uplink starts while requests go on. Prints how long it takes until
 * nothing waits, as JSON.
 *
 *	backlog URL ID SECONDS_CUT_OFF REQUESTS_PER_SECOND [FILE]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/batch/packer.h"
#include "probe-agent/outbox/outbox.h"
#include "probe-agent/outbox/uplink.h"
#include "proto/batch.h"

#define FLUSH_MS 500u /* of a real agent */
#define LOOK_MS 5u
#define MOST_MS 300000u /* then it gives up */

struct agent {
	struct packer *packer;
	struct outbox *outbox;
	uint64_t epoch, sequence, requests;
	unsigned per_batch;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "backlog: %s\n", what);
	exit(1);
}

/* Packs the half second that ends at end_us. */
static void add_batch(struct agent *a, int64_t end_us)
{
	struct packer_event e = { .service = "backlog",
				  .namespace_ = "",
				  .instance = "",
				  .container = "",
				  .executable = "",
				  .method = "GET",
				  .scheme = "http",
				  .address = "",
				  .role = 1,
				  .status = 200,
				  .version = 11 };
	struct batch_losses losses = { .captured = a->requests + a->per_batch };
	char route[24];
	void *data;
	size_t len;

	e.route = route;
	for (unsigned i = 0; i < a->per_batch; i++) {
		unsigned n = (unsigned)(a->requests + i);

		snprintf(route, sizeof(route), "/route-%u/{id}", n % 20);
		e.status = n % 50 ? 200 : 503;
		e.duration_us = 500 + n * 2654435761u % 60000;
		e.ttfb_us = e.duration_us - 40;
		e.response_bytes = 100 + n * 40503u % 20000;
		e.start_us = end_us - (int64_t)e.duration_us -
			     (int64_t)(FLUSH_MS * 1000u / a->per_batch *
				       (a->per_batch - 1 - i));
		if (packer_add(a->packer, &e) < 0)
			die("packer_add");
	}
	a->requests += a->per_batch;
	if (packer_take(a->packer, &losses, &data, &len, &a->sequence) < 0 ||
	    outbox_push(a->outbox, &data, len, a->epoch, a->sequence,
			a->per_batch) < 0)
		die("outbox_push");
}

static void pause_ms(unsigned ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000L }, NULL);
}

static uint64_t since_ms(uint64_t ns)
{
	return (clock_mono_ns() - ns) / CLOCK_NS_PER_MS;
}

/* Goes on as a real agent does. Returns after how many ms nothing is left. */
static uint64_t catch_up(struct agent *a, struct outbox_stats *st)
{
	uint64_t start_ns = clock_mono_ns(), flushes = 0;

	do {
		pause_ms(LOOK_MS);
		if (since_ms(start_ns) >= (flushes + 1) * FLUSH_MS) {
			add_batch(a, clock_real_us());
			flushes++;
		}
		outbox_stats(a->outbox, st);
		if (since_ms(start_ns) > MOST_MS)
			die("it did not catch up");
	} while (st->batches > 0);
	return since_ms(start_ns);
}

int main(int argc, char **argv)
{
	struct outbox_options oo = { 0 };
	struct uplink_options uo = { 0 };
	struct outbox_stats before, st;
	struct uplink_stats sent;
	struct uplink *uplink;
	struct agent a = { 0 };
	unsigned seconds, batches;
	uint64_t took_ms;

	if (argc != 5 && argc != 6)
		die("URL ID SECONDS_CUT_OFF REQUESTS_PER_SECOND [FILE]");
	oo.path = argv[5]; /* or NULL */
	log_init(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	uo.url = argv[1];
	seconds = (unsigned)strtoul(argv[3], NULL, 10);
	a.per_batch = (unsigned)strtoul(argv[4], NULL, 10) * FLUSH_MS / 1000;
	batches = seconds * 1000 / FLUSH_MS;
	if (seconds == 0 || a.per_batch == 0)
		die("bad number");
	if (outbox_open(&a.outbox, &oo) < 0)
		die("outbox_open");
	outbox_epoch(a.outbox, &a.epoch, &a.sequence);
	if (packer_new(&a.packer, argv[2], a.epoch) < 0)
		die("packer_new");
	for (unsigned i = 0; i < batches; i++)
		add_batch(&a, clock_real_us() - (int64_t)(batches - 1 - i) *
							FLUSH_MS * 1000);
	outbox_stats(a.outbox, &before);
	if (uplink_start(&uplink, &uo, a.outbox) < 0)
		die("uplink_start");
	took_ms = catch_up(&a, &st);
	uplink_stats(uplink, &sent);
	printf("{\"requests\":%" PRIu64 ",\"batches\":%" PRIu64
	       ",\"bytes\":%" PRIu64 ",\"rolled_up\":%" PRIu64
	       ",\"dropped\":%" PRIu64 ",\"messages\":%" PRIu64
	       ",\"seconds\":%.3f}\n",
	       a.requests, before.batches, before.bytes, st.rolled_up_events,
	       st.dropped_events, sent.sent, (double)took_ms / 1000);
	uplink_stop(uplink, 1000);
	packer_free(a.packer);
	outbox_close(a.outbox);
	return 0;
}
