/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_WORKER_STATE_H
#define PROBE_AGENT_WORKER_WORKER_STATE_H

#include "common/sha256.h"
#include "probe-agent/worker/frames.h"
#include "probe-agent/worker/program.h"
#include "probe-agent/worker/worker.h"

/* What worker*.c share. */

#define WORKER_PROGRAMS_MAX 256u

struct worker_client;

struct worker_program {
	struct program *program;
	uint8_t digest[SHA256_BYTES]; /* of its file, and of its object */
	bool stays; /* while the folder is read again */
	struct worker_client *client; /* who runs it; NULL: the folder has it */
	unsigned retries; /* after it was over its budget */
	uint64_t retry_ns; /* 0: never */
};

struct worker {
	const struct worker_options *opt;
	struct worker_page *page;
	int fd; /* to the agent */
	struct frames_in in;
	struct worker_program *program;
	size_t n_programs;
	struct decode *decode;
	struct map_reader *reader;
	struct samples_table *samples;
	struct buf known; /* bases from the agent: length, row, … */
	struct buf base; /* one row */
	bool started, stopping, changed; /* changed: states not reported yet */
	uint64_t told_ns;
	/* Measuring: while stats is open, windows follow on each other. */
	int stats; /* -1: closed */
	uint64_t window_ns, all_until_ns; /* measured without a pause until */
	uint64_t trap_ns;
	int listener, debug; /* -1: none */
	struct worker_client *clients;
	int err; /* of writing to the agent */
};

/* --- worker.c --- */

void worker_phase(void *worker, const char *program, const char *doing);
/* Why a program of that name, or a file, is not touched. NULL: it may be. */
const char *worker_quarantined(const struct worker *w, const char *name);
/* Sends all samples that wait; as one with its bases if p is pinned. */
void worker_flush(struct worker *w, struct program *p);
/* Loads and attaches, and reports what fails. -ENOMEM. */
int worker_begin(struct worker *w, struct worker_program *wp);
/* Detaches, reads once more, and sends that. Leaves it without its object. */
void worker_end(struct worker *w, struct worker_program *wp);
int worker_add(struct worker *w, struct spec *spec, const uint8_t *digest,
	       struct worker_program **out);
void worker_remove(struct worker *w, size_t i);

/* --- worker_dir.c --- */

/* Brings the programs in line with the folder. -ENOMEM. */
int worker_scan(struct worker *w);

/* --- worker_cost.c --- */

/* Measures what is due, and detaches programs that are over budget. */
void worker_measure(struct worker *w, uint64_t now_ns);
/* When worker_measure() must be called again. */
uint64_t worker_measure_ns(const struct worker *w);
/* A program was attached: measures for a while without a pause. */
void worker_measure_all(struct worker *w);

/* --- worker_control.c --- */

int worker_listen(struct worker *w);
void worker_unlisten(struct worker *w);
struct pollfd;
/* Adds what clients wait for. Returns how many. */
size_t worker_control_poll(struct worker *w, struct pollfd *p, size_t max);
void worker_control_turn(struct worker *w, const struct pollfd *p, size_t n);

#endif /* PROBE_AGENT_WORKER_WORKER_STATE_H */
