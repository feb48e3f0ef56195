/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_REPLAY_REPLAY_H
#define PROBE_AGENT_REPLAY_REPLAY_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/outbox/uplink.h"
#include "probe-agent/replay/backfill.h"
#include "probe-agent/replay/import.h"
#include "probe-agent/replay/replay_streams.h"

/*
 * The inside of `redtap-agent replay`: replay.c has the flags and the files,
 * replay_send.c sends their batches and draws how far it is. One thread.
 */

#define REPLAY_FILES_MAX 256

struct replay {
	/* As asked for. */
	const char *file[REPLAY_FILES_MAX];
	size_t n_files;
	struct uplink_options uplink_options;
	double speed; /* 0: as fast as it goes */
	const char *as, *backfill_file;
	bool shift;
	uint64_t wait_ms; /* for an answer, then it gives up */
	struct import_options import;
	/* Of all files. */
	struct uplink *uplink;
	struct backfill *backfill;
	bool bar;
	/* Of the one under way. */
	const char *name;
	struct replay_streams plan;
	uint64_t batches, requests; /* sent */
	uint64_t known_batches, known_requests; /* counted before */
	uint64_t refused_requests;
	uint64_t start_ns, bar_ns;
};

/* Set by a signal: everything comes to an end, and can go on later. */
extern volatile sig_atomic_t replay_interrupted;

/*
 * Sends one batch of the file when it is due, unless it is known to be counted.
 * 0; -EINTR; -EBUSY: another agent of that name; -ETIMEDOUT: nobody answers;
 * negative errno: give up.
 */
int replay_send(struct replay *r, const struct batch *b, const void *data,
		size_t len);

/* Draws the bar if there is a terminal and it was not drawn just now. */
void replay_draw(struct replay *r, bool last);

#endif /* PROBE_AGENT_REPLAY_REPLAY_H */
