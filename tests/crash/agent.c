/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/batch/packer.h"
#include "probe-agent/outbox/outbox.h"
#include "probe-agent/outbox/uplink.h"
#include "tests/crash/crash.h"

#define TICK_US 4000u
#define STUCK_MS 60000u /* without progress: something is wrong */
#define LOOK_MS 20u

/* --- the truth --- */

unsigned crash_requests_of(uint64_t sequence)
{
	return 1 + (unsigned)(sequence * 7919 % 211);
}

uint64_t crash_duration_of(uint64_t sequence, unsigned i)
{
	return (sequence * 31 + i * 977) % 1300000;
}

struct sums crash_truth_of(uint64_t last_sequence)
{
	struct sums s = { 0, 0 };

	for (uint64_t k = 1; k <= last_sequence; k++)
		for (unsigned i = 0; i < crash_requests_of(k); i++) {
			s.requests++;
			s.duration_us += crash_duration_of(k, i);
		}
	return s;
}

/* --- an agent --- */

static volatile sig_atomic_t agent_ends;

static void on_term(int sig)
{
	(void)sig;
	agent_ends = 1;
}

struct agent {
	const char *name;
	struct outbox *outbox;
	struct uplink *uplink;
	struct packer *packer;
	struct batch_losses before; /* of earlier lives */
	uint64_t epoch, sequence, captured;
};

static void add_batch(struct agent *a)
{
	uint64_t k = a->sequence + 1;
	unsigned n = crash_requests_of(k);
	struct outbox_stats st;
	struct batch_losses l = a->before;
	void *data;
	size_t len;

	for (unsigned i = 0; i < n; i++) {
		struct packer_event e = {
			.service = a->name,
			.namespace_ = "",
			.instance = "",
			.container = "",
			.executable = "",
			.method = i % 3 ? "GET" : "POST",
			.route = i % 2 ? "/a" : "/b/{id}",
			.scheme = "http",
			.address = "",
			.role = 1,
			.status = i % 5 ? 200 : 500,
			.version = 11,
			.duration_us = crash_duration_of(k, i),
			.response_bytes = k % 1000,
		};

		e.start_us = clock_steady_us() - (int64_t)e.duration_us;
		e.ttfb_us = e.duration_us;
		if (packer_add(a->packer, &e) < 0)
			crash_die("packer_add");
	}
	outbox_stats(a->outbox, &st);
	a->captured += n;
	l.captured = a->captured;
	l.dropped[LOSS_OUTBOX] += st.dropped_events;
	l.dropped[LOSS_REFUSED] += st.refused_events;
	l.rolled_up += st.rolled_up_events;
	if (packer_take(a->packer, &l, &data, &len, &a->sequence) < 0 ||
	    outbox_push(a->outbox, &data, len, a->epoch, a->sequence, n) < 0)
		crash_die("outbox_push");
}

/*
 * Waits until all is acknowledged, however long that takes on this machine. It
 * ends the program only if nothing is acknowledged any more.
 */
static void drain(struct agent *a)
{
	uint64_t moved_ns = clock_mono_ns(), last = 0;
	struct outbox_stats st;

	for (;;) {
		outbox_stats(a->outbox, &st);
		if (st.batches == 0)
			return;
		if (st.acknowledged + st.refused_events != last)
			moved_ns = clock_mono_ns();
		last = st.acknowledged + st.refused_events;
		if (clock_mono_ns() - moved_ns > STUCK_MS * CLOCK_NS_PER_MS) {
			fprintf(stderr,
				"crash: %s: %llu batches are not acknowledged "
				"and none was for %u s\n",
				a->name, (unsigned long long)st.batches,
				STUCK_MS / 1000);
			exit(1);
		}
		crash_sleep_ms(LOOK_MS);
	}
}

static void sleep_us(unsigned us)
{
	struct timespec t = { us / 1000000, (long)(us % 1000000) * 1000 };

	nanosleep(&t, NULL);
}

int crash_agent(int argc, char **argv)
{
	const char *url = argv[1], *path = argv[2], *done = argv[3];
	struct outbox_options oo = { .path = *path ? path : NULL };
	unsigned tick_us = TICK_US;
	struct uplink_options uo = { .url = url, .reply_timeout_ms = 300 };
	struct agent a = { .name = argv[0] };
	sigset_t term;
	FILE *f;

	if (argc == 6) {
		oo.cap_bytes = crash_number(argv[4], 1u << 31);
		tick_us = crash_number(argv[5], 1u << 31);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_init(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	/* start_agent() blocked it, so that none is too early. */
	signal(SIGTERM, on_term);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(SIG_UNBLOCK, &term, NULL);
	if (outbox_open(&a.outbox, &oo) < 0)
		crash_die("outbox_open");
	outbox_epoch(a.outbox, &a.epoch, &a.sequence);
	outbox_losses(a.outbox, &a.before);
	a.captured = a.before.captured;
	if (packer_new(&a.packer, a.name, a.epoch) < 0 ||
	    uplink_start(&a.uplink, &uo, a.outbox) < 0)
		crash_die("agent");
	packer_resume(a.packer, a.sequence, a.before.packed);
	while (!agent_ends) {
		add_batch(&a);
		sleep_us(tick_us);
	}
	add_batch(&a); /* its losses are the last word */
	drain(&a);
	uplink_stop(a.uplink, 0);
	packer_free(a.packer);
	f = fopen(done, "w");
	if (!f || fprintf(f, "%llu\n", (unsigned long long)a.sequence) < 0 ||
	    fclose(f) != 0)
		crash_die(done);
	outbox_close(a.outbox);
	return 0;
}
