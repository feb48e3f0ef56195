/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_SYNTH_TRAFFIC_H
#define PROBE_AGENT_SYNTH_TRAFFIC_H

#include <stdint.h>
#include <stdio.h>

/*
 * Synthetic traffic whose truth is known. A seed always gives the same set of
 * template batches, which agents send over and over. The truth is the content
 * of each template, times the number of times that it was counted. Not locked.
 */
struct traffic;

struct traffic_options {
	uint64_t seed;
	unsigned services, routes; /* routes: per service */
	unsigned templates; /* 0: enough for all services */
	unsigned events; /* per template */
	/*
	 * Templates with a multiple of the events, as many as of the plain ones
	 * for each, which come behind those. Multiples that would be more than
	 * BATCH_EVENTS are left out. Ascending; borrowed.
	 */
	const unsigned *multiples;
	unsigned n_multiples;
	unsigned rest; /* events of one more template at the end; 0: none */
	uint64_t gap_us; /* mean time between two events of a batch */
};

/* Sets *out, released by traffic_free(). -EINVAL, -ENOMEM. */
int traffic_new(struct traffic **out, const struct traffic_options *opt);
void traffic_free(struct traffic *t); /* NULL is fine */

/* Number of templates without that of the rest, whose index this is. */
unsigned traffic_templates(const struct traffic *t);
/* Number of plain ones, and of those of each multiple. */
unsigned traffic_plain(const struct traffic *t);
/* Number of multiples that there are. */
unsigned traffic_multiples(const struct traffic *t);

struct traffic_template {
	const void *body; /* encoded without agent, epoch, sequence, base */
	size_t len;
	uint64_t events;
	int64_t span_us; /* from the first start to the last end */
};
void traffic_template(const struct traffic *t, unsigned i,
		      struct traffic_template *out);

/*
 * Writes the truth as a JSON array: per service, route, method, status and
 * outcome the count, sums, and exact quantiles (the value at rank ceil(q * n)).
 * times[i] is how often template i was counted; that of the rest is the last.
 * -ENOMEM.
 */
int traffic_truth(const struct traffic *t, const uint64_t *times, FILE *f);

#endif /* PROBE_AGENT_SYNTH_TRAFFIC_H */
