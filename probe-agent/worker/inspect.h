/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_INSPECT_H
#define PROBE_AGENT_WORKER_INSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/worker/elf_code.h"
#include "proto/samples.h"

/*
 * Reads the code of an object before it is loaded: which helpers and kernel
 * functions it calls, and how it changes its maps. Pure.
 */

struct inspect_map {
	const char *name; /* of the code, borrowed */
	bool deletes; /* some code takes keys out */
	bool adds_racily; /* some code adds without an atomic instruction */
	bool updates; /* some code puts whole values in */
};

struct inspect {
	struct inspect_map map[256];
	size_t n_maps;
	bool reads_kernel, reads_user; /* memory, by a helper */
	char refused[200]; /* what is not allowed; "": nothing */
};

struct inspect_options {
	bool xdp; /* helpers of XDP programs are allowed, too */
};

/* -ENOMEM. */
int inspect_code(struct inspect *out, const struct elf_code *c,
		 const struct inspect_options *opt);

/* Is this a section whose programs may be loaded? *why: static, if not. */
bool inspect_section_allowed(const char *name,
			     const struct inspect_options *opt,
			     const char **why);

/* How exact counters of that map are. lru and per_cpu are of its type. */
enum samples_guarantee inspect_guarantee(const struct inspect *i,
					 const char *map, bool lru,
					 bool per_cpu);

/* "bpf_probe_read_kernel"; "helper 999": not known here. Valid until the next
 * call. */
const char *inspect_helper_name(uint32_t id);
/* May user programs call it? */
bool inspect_helper_allowed(uint32_t id, const struct inspect_options *opt);

/* --- for inspect.c: the flow of values (inspect_flow.c) --- */

int inspect_flow(struct inspect *out, const struct elf_code *c);

#endif /* PROBE_AGENT_WORKER_INSPECT_H */
