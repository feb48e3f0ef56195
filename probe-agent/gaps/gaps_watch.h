/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_GAPS_GAPS_WATCH_H
#define PROBE_AGENT_GAPS_GAPS_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "probe-agent/identity/filter.h"
#include "probe-agent/identity/identity.h"
#include "proto/batch.h"

/*
 * Looks for gaps (see gaps.h) soon after the start and then every five minutes,
 * in a thread of its own and of the lowest priority. Files are read once, at
 * most GAPS_WATCH_BYTES_MAX of them each time.
 */
struct gaps_watch;

#define GAPS_WATCH_BYTES_MAX (UINT64_C(512) << 20)

struct gaps_watch_options {
	const char *front; /* copied */
	bool tls_off;
	const struct filter_options *select; /* copied */
	const struct identity_options *identity; /* what it borrows: kept */
	uint32_t first_ms; /* from the start; 0: 10 s */
};

/* Sets *out, released by gaps_watch_stop(). -ENOMEM, -EAGAIN, -EINVAL. */
int gaps_watch_start(struct gaps_watch **out,
		     const struct gaps_watch_options *opt);
void gaps_watch_stop(struct gaps_watch *w); /* waits; NULL is fine */

/*
 * Services by reason, as the last search found them; all 0 before. Returns the
 * number of searches that were made. Any thread.
 */
uint64_t gaps_watch_read(struct gaps_watch *w, uint64_t out[GAP_REASONS]);

#endif /* PROBE_AGENT_GAPS_GAPS_WATCH_H */
