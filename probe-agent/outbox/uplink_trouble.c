/* SPDX-License-Identifier: Apache-2.0 */
#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/outbox/uplink_state.h"

/*
 * What keeps batches waiting, in words: at once when it begins, then once a
 * minute with what is waiting, and when it is over. Nothing is lost meanwhile,
 * until the outbox is full.
 */

#define AGAIN_NS (60 * CLOCK_NS_PER_S)
/* Without a connection for this long, the cause is searched for. */
#define CONNECT_MS 2000
/* An aggregator under load answers "busy" for moments; that is no trouble. */
#define BUSY_NS (10 * CLOCK_NS_PER_S)

static uint64_t age_ms(const struct outbox_stats *stats)
{
	int64_t age_us = clock_steady_us() - stats->oldest_us;

	return stats->oldest_us && age_us > 0 ? (uint64_t)age_us / 1000 : 0;
}

void uplink_health(const struct uplink *up, struct push_health *out)
{
	struct outbox_stats stats;

	if (!up->outbox)
		return;
	outbox_stats(up->outbox, &stats);
	out->told = true;
	out->outbox_batches = stats.batches;
	out->outbox_bytes = stats.bytes;
	out->oldest_ms = age_ms(&stats);
	out->acknowledged = up->acknowledged_ns != 0;
	if (out->acknowledged)
		out->acknowledged_ms = (clock_mono_ns() - up->acknowledged_ns) /
				       CLOCK_NS_PER_MS;
}

static void warn(struct uplink *up, const char *cause,
		 const struct uplink_trial *t)
{
	struct outbox_stats stats;

	outbox_stats(up->outbox, &stats);
	log_warn("batches wait url=%s%s%s cause=\"%s\"%s%s%s batches=%llu "
		 "bytes=%llu oldest_s=%llu",
		 up->url, *t->address ? " address=" : "", t->address, cause,
		 *t->advice ? " advice=\"" : "", t->advice,
		 *t->advice ? "\"" : "", (unsigned long long)stats.batches,
		 (unsigned long long)stats.bytes,
		 (unsigned long long)(age_ms(&stats) / 1000));
}

/* Starts the clock of a failure; true when it is time to say so. */
static bool due(struct uplink *up, uint64_t after_ns)
{
	struct uplink_trouble *t = &up->trouble;
	uint64_t now = clock_mono_ns();

	if (!t->since_ns)
		t->since_ns = now;
	if (now - t->since_ns < after_ns)
		return false;
	return !t->told_ns || now - t->told_ns >= AGAIN_NS;
}

void uplink_failed(struct uplink *up, const char *cause)
{
	struct uplink_trial trial = { .failed = UPLINK_STEPS };
	const struct uplink_options opt = {
		.url = up->url,
		.ca_file = up->ca_file,
		.cert_file = up->cert_file,
		.key_file = up->key_file,
	};

	if (!up->outbox || !due(up, 0))
		return;
	if (!cause) {
		uplink_trial_run(&opt, &up->secret.token, NULL, &up->quit,
				 &trial);
		cause = trial.failed == UPLINK_STEPS ? "no reply in time"
						     : trial.cause;
	}
	if (uplink_quitting(up))
		return;
	warn(up, cause, &trial);
	up->trouble.told_ns = clock_mono_ns();
}

void uplink_busy(struct uplink *up, const char *cause)
{
	if (due(up, BUSY_NS))
		uplink_failed(up, cause);
}

bool uplink_connected(struct uplink *up)
{
	struct timespec until = uplink_in_ms(CONNECT_MS);
	int err = 0;

	pthread_mutex_lock(&up->lock);
	while (!err && !atomic_load(&up->quit) && !atomic_load(&up->pipes))
		err = pthread_cond_timedwait(&up->wake, &up->lock, &until);
	pthread_mutex_unlock(&up->lock);
	if (err)
		uplink_failed(up, NULL);
	return !err && !uplink_quitting(up);
}

void uplink_worked(struct uplink *up)
{
	struct uplink_trouble *t = &up->trouble;

	if (t->told_ns)
		log_info("batches are taken again url=%s after_s=%llu", up->url,
			 (unsigned long long)((clock_mono_ns() - t->since_ns) /
					      CLOCK_NS_PER_S));
	*t = (struct uplink_trouble){ .since_ns = 0 };
}
