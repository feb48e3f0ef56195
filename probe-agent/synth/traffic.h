/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_SYNTH_TRAFFIC_H
#define PROBE_AGENT_SYNTH_TRAFFIC_H

#include <stdint.h>
#include <stdio.h>

/*
 * Made traffic whose truth is known. A seed gives a set of template batches,
 * always the same ones, which agents send over and over; the truth is what each
 * template holds, times how often it was counted. Pure.
 */
struct traffic;

struct traffic_options {
	uint64_t seed;
	unsigned services, routes; /* routes: per service */
	unsigned templates; /* 0: enough for all services */
	unsigned events; /* of each template */
	unsigned rest; /* of one more, the last template; 0: none */
	uint64_t gap_us; /* mean time between two events of a batch */
};

/* Sets *out, released by traffic_free(). -EINVAL, -ENOMEM. */
int traffic_new(struct traffic **out, const struct traffic_options *opt);
void traffic_free(struct traffic *t); /* NULL is fine */

/* Without the one that holds the rest, whose number this is. */
unsigned traffic_templates(const struct traffic *t);

struct traffic_template {
	const void *body; /* encoded without agent, epoch and sequence */
	size_t len;
	uint64_t events;
	int64_t span_us; /* from the first start to the last end */
};
void traffic_template(const struct traffic *t, unsigned i,
		      struct traffic_template *out);

/*
 * Writes the truth as a JSON array: per service, route, method, status and
 * outcome the count, sums, and exact quantiles (the value at rank ceil(q * n)).
 * times[i] says how often template i was counted, the rest's last. -ENOMEM.
 */
int traffic_truth(const struct traffic *t, const uint64_t *times, FILE *f);

#endif /* PROBE_AGENT_SYNTH_TRAFFIC_H */
