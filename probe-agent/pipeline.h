/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_PIPELINE_H
#define PROBE_AGENT_PIPELINE_H

#include <stddef.h>
#include <stdint.h>

#include "probe-agent/config/config.h"
#include "probe-agent/http/conn.h"
#include "probe-agent/outbox/outbox.h"
#include "proto/batch.h"

/*
 * From tap records to batches in the outbox: the engine, who the process is,
 * what the route is, the packer. What every source of records shares (the
 * kernel, a recording). Not locked: the agent's loop thread owns it.
 */
struct pipeline;
struct samples_table;

struct pipeline_options {
	const struct agent_config *cfg; /* borrowed for the pipeline's life */
	struct outbox *outbox; /* borrowed likewise */
	conn_ignore_fn ignore; /* see conn.h; may be NULL */
	conn_progress_fn progress; /* see conn.h; may be NULL */
	/* Every batch, before it goes to the outbox; may be NULL. */
	void (*batch)(void *arg, const void *data, size_t len);
	void *arg; /* of these */
};

/* Sets *out, released by pipeline_free(). -EINVAL, -ENOMEM. */
int pipeline_new(struct pipeline **out, const struct pipeline_options *opt);
/* What was not flushed is dropped. NULL is fine. */
void pipeline_free(struct pipeline *p);

/* What the batches say of this agent. Copied. -ENOMEM. */
int pipeline_set_info(struct pipeline *p, const struct batch_info *info);

/* See conn_feed(). */
int pipeline_feed(struct pipeline *p, const void *record, size_t len);

/*
 * Call a few times a second: real_us is the wall clock at now_ns of
 * CLOCK_MONOTONIC.
 */
void pipeline_tick(struct pipeline *p, uint64_t now_ns, int64_t real_us);

/*
 * Puts what is pending into the outbox as a batch; with nothing pending, as a
 * heartbeat. tap holds the kernel's counters, by enum tap_counter. 0 or
 * negative errno; then the requests are counted lost.
 */
int pipeline_flush(struct pipeline *p, const uint64_t tap[TAP_C_MAX]);

/* Samples that go along with the next flush; owned by the pipeline. */
struct samples_table *pipeline_samples(struct pipeline *p);

/* Events not flushed, and 1 more if samples wait. */
size_t pipeline_pending(const struct pipeline *p);
uint64_t pipeline_events(const struct pipeline *p); /* packed, ever */
void pipeline_conn_stats(const struct pipeline *p, struct conn_stats *out);

#endif /* PROBE_AGENT_PIPELINE_H */
