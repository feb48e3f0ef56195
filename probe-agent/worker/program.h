/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_PROGRAM_H
#define PROBE_AGENT_WORKER_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/batch/samples_table.h"
#include "probe-agent/programs/decode.h"
#include "probe-agent/programs/spec.h"
#include "probe-agent/worker/cost.h"
#include "probe-agent/worker/table.h"

/*
 * One program of a user from its file to its samples: loaded, attached, read,
 * measured, detached. Whatever fails is its own matter: its state and reason
 * tell. One thread.
 */
struct program;

/* What is being done, for whoever looks why the process died. */
typedef void (*program_phase_fn)(void *arg, const char *program,
				 const char *doing);

struct program_options {
	struct decode *decode; /* all borrowed */
	struct map_reader *reader;
	program_phase_fn phase; /* may be NULL */
	void *arg;
	const char *pin_root; /* folder of all pins; NULL: none are allowed */
	bool xdp; /* allowed */
	uint64_t trap_ns; /* see cost_of_trap() */
};

/* Maps that are only shown are read, too. Before it is loaded. */
void program_show_prints(struct program *p);
/* Takes the spec over and clears it. -ENOMEM. */
int program_new(struct program **out, struct spec *spec,
		const struct program_options *opt);
/* Detaches what is attached. NULL is fine. */
void program_free(struct program *p);

/*
 * Loads it, finds what its maps mean; and attaches it. -EINVAL: it failed, see
 * program_reason(); -ENOMEM.
 */
int program_load(struct program *p);
int program_attach(struct program *p);
/* Reports the time between old's last and this one's first count. */
void program_follow(struct program *p, const struct program *old);
/* Takes it out of the kernel; its maps stay for a last read. */
void program_detach(struct program *p);
/* Its pins go, too, so that it ends with this process. */
void program_unpin(struct program *p);
/* Gives it up, for a reason told. */
void program_fail(struct program *p, enum samples_state state, const char *fmt,
		  ...) __attribute__((format(printf, 3, 4)));

/* Reads its maps. -ENOMEM; other errors are its own matter. */
int program_read(struct program *p, struct samples_table *to, int64_t now_us);
/* Takes events out of its buffers. -ENOMEM. */
int program_drain(struct program *p, struct samples_table *to);
/* Has the samples' frame been sent? Its bases were taken then. -ENOMEM. */
int program_next_frame(struct program *p);
bool program_has_events(const struct program *p);
/* Calls fn with the fds to poll for events. */
void program_each_fd(const struct program *p, void (*fn)(void *arg, int fd),
		     void *arg);

/* --- what a budget needs --- */

void program_window(struct program *p, uint64_t now_ns, bool begins);
/* Is it over its budget, twice in a row? */
bool program_over(const struct program *p);

/* --- reports --- */

const char *program_name(const struct program *p);
const struct spec *program_spec(const struct program *p);
const struct object *program_object(const struct program *p); /* NULL: none */
enum samples_state program_state(const struct program *p);
const char *program_reason(const struct program *p);
bool program_pinned(const struct program *p);
/* Goes on from what another process left pinned. */
bool program_adopted(const struct program *p);
const struct cost *program_cost(const struct program *p);
uint64_t program_read_ns(const struct program *p); /* when read last */
int64_t program_read_us(const struct program *p); /* by the wall clock */
int64_t program_took_us(const struct program *p); /* from then on */
/* When it was attached, and the one before it detached, if it replaced one. */
struct program_times {
	int64_t detach_us[2], attach_us[2]; /* begin, end; wall clock */
};
const struct program_times *program_times(const struct program *p);
/* Adds state and cost as of now to a table. -ENOMEM; -ENOSPC: over a limit. */
int program_tell(struct program *p, struct samples_table *to);
/* Its maps, by number; NULL: there are no more. */
struct table *program_table(struct program *p, size_t i);
struct program_figures {
	uint64_t series, entries, max_entries, lost;
};
void program_figures(struct program *p, struct program_figures *out);

/* See table_each_base(): map is the name. */
typedef int (*program_base_fn)(void *arg, const char *map, const uint8_t *key,
			       size_t key_len, const uint64_t *value, size_t n);
int program_each_base(struct program *p, program_base_fn fn, void *arg);
int program_set_base(struct program *p, const char *map, const uint8_t *key,
		     size_t key_len, const uint64_t *value, size_t n);

#endif /* PROBE_AGENT_WORKER_PROGRAM_H */
