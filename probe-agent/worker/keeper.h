/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_KEEPER_H
#define PROBE_AGENT_WORKER_KEEPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/worker/worker.h"

/*
 * The agent's side of its worker. A keeper process, forked before the agent
 * drops its privileges, starts workers: if one dies, the program that it was at
 * is set aside, and the next one goes on with the others. Both end when the
 * agent does. Loop thread only.
 */
struct keeper;

/* What one read of the worker brought: all of it, or nothing, is counted. */
struct keeper_commit {
	const struct keeper_part *batch; /* encoded, with samples alone */
	size_t n_batches;
	/* How far pinned maps were counted with it: rows to keep, and forget.
	 */
	const struct keeper_base *base;
	size_t n_bases;
};
struct keeper_part {
	const void *data;
	size_t len;
};
struct keeper_base {
	enum {
		KEEPER_PUT,
		KEEPER_DELETE,
		/* All of a program but one generation: key is the program's
		 * name and a NUL, value the 8 bytes behind it that stay. */
		KEEPER_FORGET,
	} what;
	const void *key, *value;
	size_t key_len, value_len;
};

/* Gives rows, until it returns an error. */
typedef int (*keeper_row_fn)(void *arg, const void *key, size_t key_len,
			     const void *value, size_t value_len);

struct keeper_options {
	struct worker_options worker; /* strings are borrowed */
	/* Keeps the privileges that workers need, and no other. May be NULL. */
	int (*drop)(bool xdp);
	/* All in the agent's loop thread. */
	int (*commit)(void *arg, const struct keeper_commit *c);
	int (*bases)(void *arg, keeper_row_fn fn, void *fn_arg); /* each row */
	void *arg;
};

/*
 * Forks the keeper: call it while there is one thread, before files are opened.
 * Sets *out, released by keeper_free(). Negative errno.
 */
int keeper_start(struct keeper **out, const struct keeper_options *opt);

int keeper_fd(const struct keeper *k); /* readable: call keeper_turn() */
/* Takes what the worker has sent. An error is one of commit(). */
int keeper_turn(struct keeper *k);
/* Reads the folder of programs again. */
void keeper_reload(struct keeper *k);
/* Has the programs detached and read once more; waits up to wait_ms for it. */
void keeper_stop(struct keeper *k, unsigned wait_ms);
void keeper_free(struct keeper *k); /* NULL is fine */

struct keeper_stats {
	uint64_t starts; /* of workers */
	uint64_t quarantined; /* programs set aside */
};
void keeper_stats(const struct keeper *k, struct keeper_stats *out);

#endif /* PROBE_AGENT_WORKER_KEEPER_H */
