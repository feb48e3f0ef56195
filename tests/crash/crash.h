/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_CRASH_CRASH_H
#define TESTS_CRASH_CRASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

/* The parts of crash.c. All end the program on what should not be. */

_Noreturn void crash_die(const char *what);
void crash_sleep_ms(unsigned ms);
unsigned crash_number(const char *text, unsigned max);

/* --- the truth: what batch number k of an agent holds, and all up to k --- */

unsigned crash_requests_of(uint64_t sequence);
uint64_t crash_duration_of(uint64_t sequence, unsigned i);
struct sums {
	uint64_t requests, duration_us;
};

struct sums crash_truth_of(uint64_t last_sequence);

/*
 * An agent: NAME URL OUTBOX DONE [CAP_BYTES TICK_US]. OUTBOX "": in memory.
 * Writes the last sequence to DONE when told to end, once all is acknowledged.
 */
int crash_agent(int argc, char **argv);

/* --- scrapes --- */

struct sample {
	char *name; /* with labels */
	double value;
};

struct samples {
	struct sample *row;
	size_t n, cap;
};

/* The whole answer, or false: the aggregator was not there to the end. */
bool crash_scrape(unsigned port, struct buf *out);
/* Of a scrape, the counters that outlive the aggregator's process. */
void crash_parse(struct samples *s, struct buf *text);
void crash_samples_free(struct samples *s);
/* How many counters of before are lower or missing in now; told on stderr. */
unsigned crash_went_back(const struct samples *before,
			 const struct samples *now);
/* Sum of a family's samples with that label; -1 if there is none. */
double crash_sum_of(const struct samples *s, const char *family,
		    const char *label, const char *value);

#endif /* TESTS_CRASH_CRASH_H */
