/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_WORKER_H
#define PROBE_AGENT_WORKER_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/programs/decode.h"
#include "probe-agent/programs/spec.h"

/*
 * The process that loads users' programs and reads their maps. It is one of
 * its own, since libbpf and libelf read strangers' files in it: see keeper.h.
 */

/* From the configuration; borrowed for the process's life. */
struct worker_options {
	const char *dir; /* of program files; NULL: none */
	const char *prefix; /* of metrics; NULL: each dialect's own */
	struct spec_limits limits; /* of programs that say none */
	bool xdp;
	const char *pin_root; /* NULL: pins are refused */
	const char *socket; /* for commands; NULL: none */
	const char *debug_address; /* "127.0.0.1:9472"; NULL: none */
	decode_process_fn *process; /* names of processes; may be NULL */
	void *process_arg;
};

/*
 * What the worker is at, in memory that outlives it, and which programs made
 * others like it die.
 */
#define WORKER_NAME_BYTES 128u
#define WORKER_QUARANTINE_MAX 64u
struct worker_page {
	char program[WORKER_NAME_BYTES]; /* "": none in particular */
	char doing[16]; /* "load", "attach", "read" */
	unsigned n_quarantined;
	struct {
		char program[WORKER_NAME_BYTES];
		char reason[192];
	} quarantined[WORKER_QUARANTINE_MAX];
};

/* Serves the agent at the other end of fd until it is gone. Exit status. */
int worker_run(const struct worker_options *opt, int fd,
	       struct worker_page *page);

#endif /* PROBE_AGENT_WORKER_WORKER_H */
