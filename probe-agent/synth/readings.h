/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_SYNTH_READINGS_H
#define PROBE_AGENT_SYNTH_READINGS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Made readings of user programs' maps whose truth is known: template batches
 * of counters, histograms and gauges, always the same for a seed. The truth is
 * what each template holds, times how often it was counted. Pure.
 */
struct readings;

struct readings_options {
	uint64_t seed;
	unsigned series; /* of each template */
	unsigned templates; /* [16] */
};

/* Sets *out, released by readings_free(). -EINVAL, -ENOMEM. */
int readings_new(struct readings **out, const struct readings_options *opt);
void readings_free(struct readings *r); /* NULL is fine */

unsigned readings_templates(const struct readings *r);
/* Increments of each template: of counters and of buckets. */
uint64_t readings_increments(const struct readings *r);
/* Encoded without agent, epoch and sequence. Borrowed. */
const void *readings_body(const struct readings *r, unsigned template,
			  size_t *len);

/*
 * Writes the truth over all agents as a JSON object: by metric and key the
 * value of counters, count and sum of histograms. times[i] says how often
 * template i was counted.
 */
void readings_truth(const struct readings *r, const uint64_t *times, FILE *f);

#endif /* PROBE_AGENT_SYNTH_READINGS_H */
