/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_PIPELINE_H
#define PROBE_AGENT_PIPELINE_H

#include <stddef.h>
#include <stdint.h>

#include "probe-agent/config/config.h"
#include "probe-agent/http/conn.h"
#include "probe-agent/outbox/outbox.h"
#include "probe-agent/tls/tls.h"
#include "proto/batch.h"

/*
 * From tap records to batches in the outbox: the HTTP engine, the process's
 * identity, the route, the packer. Shared by all sources of records (the
 * kernel, a recording). Not locked: the agent's loop thread owns it.
 */
struct pipeline;
struct samples_table;

struct pipeline_options {
	const struct agent_config *cfg; /* borrowed for the pipeline's life */
	struct outbox *outbox; /* borrowed likewise */
	struct conn_source source; /* see conn.h */
	const struct http_proto *const *protos; /* see conn.h; NULL: all */
	/* Called with every batch before it goes to the outbox; may be NULL. */
	void (*batch)(void *arg, const void *data, size_t len);
	void *arg; /* of batch() */
};

/* Sets *out, released by pipeline_free(). -EINVAL, -ENOMEM. */
int pipeline_new(struct pipeline **out, const struct pipeline_options *opt);
/* Drops what was not flushed. NULL is fine. */
void pipeline_free(struct pipeline *p);

/* Sets what batches say about this agent. Copied. -ENOMEM. */
int pipeline_set_info(struct pipeline *p, const struct batch_info *info);

/* See conn_feed(). */
int pipeline_feed(struct pipeline *p, const void *record, size_t len);

/*
 * Call a few times a second: real_us is the wall clock at now_ns of
 * CLOCK_MONOTONIC.
 */
void pipeline_tick(struct pipeline *p, uint64_t now_ns, int64_t real_us);

/* Does what can wait for a pause: see identity_idle(). */
void pipeline_idle(struct pipeline *p);

/* What the capture counted, since the agent started. */
struct pipeline_tap {
	uint64_t kernel[TAP_C_MAX]; /* by enum tap_counter */
	struct tls_stats tls;
	uint64_t gaps[GAP_REASONS]; /* services that can't be read, now */
};

/*
 * Puts the pending events into the outbox as a batch; without any, a heartbeat.
 * 0, or negative errno: then the events count as lost.
 */
int pipeline_flush(struct pipeline *p, const struct pipeline_tap *tap);

/* The same with the tap's counters as of the last flush. */
int pipeline_flush_samples(struct pipeline *p);
/* Samples that go along with the next flush; owned by the pipeline. */
struct samples_table *pipeline_samples(struct pipeline *p);

/* Events not flushed, and 1 more if samples wait. */
size_t pipeline_pending(const struct pipeline *p);
uint64_t pipeline_events(const struct pipeline *p); /* packed, ever */
void pipeline_conn_stats(const struct pipeline *p, struct conn_stats *out);

#endif /* PROBE_AGENT_PIPELINE_H */
