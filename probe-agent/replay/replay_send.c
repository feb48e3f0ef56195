/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/outbox/reply_policy.h"
#include "proto/limits.h"

/* Without a reply for this long, the wait is logged. */
#define TELL_MS 5000u
#define CONFLICTS_MAX 6 /* tries; an agent that ended loses its id in 15 s */
#define BAR_EVERY_MS 200u
#define BAR_WIDTH 30

volatile sig_atomic_t replay_interrupted;

/* Sleeps; ends early when interrupted. */
static void pause_ms(uint64_t ms)
{
	uint64_t end_ns = clock_mono_ns() + ms * CLOCK_NS_PER_MS;

	while (!replay_interrupted && clock_mono_ns() < end_ns) {
		uint64_t left = end_ns - clock_mono_ns();
		uint64_t step = left < 50 * CLOCK_NS_PER_MS
					? left
					: 50 * CLOCK_NS_PER_MS;

		nanosleep(&(struct timespec){ .tv_nsec = (long)step }, NULL);
	}
}

/* --- progress --- */

void replay_draw(struct replay *r, bool last)
{
	uint64_t now_ns = clock_mono_ns(), done;
	double part, seconds;
	char bar[BAR_WIDTH + 1];

	if (!r->bar ||
	    (!last && now_ns - r->bar_ns < BAR_EVERY_MS * CLOCK_NS_PER_MS))
		return;
	r->bar_ns = now_ns;
	done = r->requests + r->known_requests + r->refused_requests;
	part = r->plan.requests ? (double)done / (double)r->plan.requests : 1;
	seconds = (double)(now_ns - r->start_ns) / 1e9;
	for (int i = 0; i < BAR_WIDTH; i++)
		bar[i] = i < (int)(part * BAR_WIDTH) ? '#' : '.';
	bar[BAR_WIDTH] = '\0';
	fprintf(stderr,
		"\r%s [%s] %3.0f%% %" PRIu64 " requests, %.0f/s\033[K%s",
		r->name, bar, 100 * part, done,
		seconds > 0 ? (double)r->requests / seconds : 0,
		last ? "\n" : "");
	fflush(stderr);
}

/* --- one batch --- */

/* Waits until the batch is due. Returns what to add to its times, µs. */
static int64_t wait_and_shift(struct replay *r, const struct batch *b)
{
	const int64_t step_us = (int64_t)WINDOW_SECONDS * 1000000;
	int64_t end_us = replay_streams_batch_end_us(b),
		to_us = r->plan.last_us;
	uint64_t due_ns, now_ns;

	if (r->speed > 0 && end_us > r->plan.first_us) {
		due_ns = r->start_ns +
			 (uint64_t)((double)(end_us - r->plan.first_us) * 1e3 /
				    r->speed);
		while (!replay_interrupted &&
		       (now_ns = clock_mono_ns()) < due_ns) {
			uint64_t left_ms = (due_ns - now_ns) / CLOCK_NS_PER_MS;

			pause_ms(left_ms < BAR_EVERY_MS ? left_ms + 1
							: BAR_EVERY_MS);
			replay_draw(r, false);
		}
		to_us = end_us;
	}
	if (!r->shift)
		return 0;
	/* By whole windows, so that each stays whole, not into the future. */
	to_us = clock_real_us() - to_us;
	return to_us - ((to_us % step_us) + step_us) % step_us;
}

/* The delivery of one batch. */
struct delivery {
	uint64_t silent_ns; /* start of the time without a reply; 0: none */
	uint64_t sent_before; /* messages sent before this batch */
	unsigned conflicts;
	bool told, again; /* again: it may be counted, with the reply lost */
};

/* True if the batch was counted before this command sent it. */
static bool was_known(const struct batch *b, const struct reply *reply,
		      const struct delivery *d)
{
	return reply->sequence > b->sequence || (reply->duplicate && !d->again);
}

/* Gives up on a version, and on a conflict that does not end. */
static int may_try_again(const struct reply *reply, const char *id,
			 struct delivery *d)
{
	if (reply->status == REPLY_VERSION) {
		log_error("aggregator does not speak our protocol "
			  "reason=\"%s\"",
			  reply->reason);
		return -EPROTONOSUPPORT;
	}
	if (reply->status == REPLY_CONFLICT && ++d->conflicts > CONFLICTS_MAX) {
		log_error("aggregator holds batches of this id back, see --as "
			  "and --token-file id=%s reason=\"%s\"",
			  id, reply->reason);
		return -EBUSY;
	}
	return 0;
}

/* Handles a reply. Returns 0: send again; 1: done. Negative errno: give up. */
static int on_reply(struct replay *r, struct replay_stream *s,
		    const struct batch *b, const struct reply *reply,
		    struct delivery *d)
{
	uint64_t n = replay_streams_batch_requests(b);
	uint32_t wait_ms;
	int err;

	switch (reply_policy(reply, s->new_epoch, b->sequence, &wait_ms)) {
	case REPLY_POLICY_COUNTED:
		s->counted = reply->sequence;
		if (was_known(b, reply, d)) {
			r->known_batches++;
			r->known_requests += n;
		} else {
			r->batches++;
			r->requests += n;
		}
		return 1;
	case REPLY_POLICY_REFUSED:
		log_error("aggregator refused batch agent=%s "
			  "sequence=%" PRIu64 " reason=\"%s\"",
			  s->id, b->sequence, reply->reason);
		r->refused_requests += n;
		return 1;
	case REPLY_POLICY_AGAIN:
		err = may_try_again(reply, s->id, d);
		if (err)
			return err;
		break;
	case REPLY_POLICY_STRANGE:
		log_warn("unexpected reply status=%d", reply->status);
		break;
	}
	pause_ms(wait_ms);
	return 0;
}

/* Handles a missing reply. Returns 0. -ETIMEDOUT: none for too long. */
static int silence(const struct replay *r, struct delivery *d, int why)
{
	struct uplink_stats st;
	uint64_t ms;

	uplink_stats(r->uplink, &st);
	d->again = st.sent > d->sent_before;
	ms = (clock_mono_ns() - d->silent_ns) / CLOCK_NS_PER_MS;
	if (ms >= TELL_MS && !d->told) {
		d->told = true;
		log_warn("no reply yet to=%s error=\"%s\" "
			 "silent_s=%" PRIu64 " gives_up_after_s=%" PRIu64,
			 r->uplink_options.url, strerror(-why), ms / 1000,
			 r->wait_ms / 1000);
	}
	return ms >= r->wait_ms ? -ETIMEDOUT : 0;
}

static int deliver(struct replay *r, struct replay_stream *s,
		   const struct batch *b, const void *data, size_t len)
{
	struct delivery d = { 0 };
	struct uplink_stats st;
	struct reply reply;
	int err;

	uplink_stats(r->uplink, &st);
	d.sent_before = st.sent;
	while (!replay_interrupted) {
		if (d.silent_ns == 0)
			d.silent_ns = clock_mono_ns();
		err = uplink_exchange(r->uplink, data, len, &reply);
		if (!err) {
			d.silent_ns = 0;
			err = on_reply(r, s, b, &reply, &d);
			if (err)
				return err > 0 ? 0 : err;
			continue;
		}
		if (err == -EINVAL || err == -ENOMEM)
			return err;
		err = silence(r, &d, err);
		if (err < 0)
			return err;
		pause_ms(REPLY_POLICY_RETRY_MS);
	}
	return -EINTR;
}

int replay_send(struct replay *r, const struct batch *b, const void *data,
		size_t len)
{
	struct replay_stream *s = replay_streams_find(&r->plan, b);
	void *out;
	int err;

	if (!s || b->sequence <= s->told)
		return 0; /* twice in the file */
	if (b->sequence <= s->counted) {
		s->told = b->sequence;
		r->known_batches++;
		r->known_requests += replay_streams_batch_requests(b);
		return 0;
	}
	err = replay_streams_rewrite(s, b, data, len, wait_and_shift(r, b),
				     &out, &len);
	if (err)
		return err;
	err = replay_interrupted ? -EINTR : deliver(r, s, b, out, len);
	free(out);
	if (!err)
		s->told = b->sequence;
	return err;
}
